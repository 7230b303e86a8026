//! What a kernel costs: the greater of its memory and its arithmetic, and its launch.

use ir::{Bindings, Op};

use super::regions::{Group, Regions};

/// The machine planned for.
#[derive(Clone, Debug, PartialEq)]
pub struct Machine {
    /// Bytes a second, all workers together.
    pub bandwidth: f64,
    /// Floating-point operations a second, all workers together.
    pub rate: f64,
    /// Seconds that a kernel takes besides its work: the barrier between two kernels.
    pub launch: f64,
    /// Workers that share a kernel's work.
    pub workers: f64,
    /// The most times that a value may be computed again in a kernel.
    pub recompute: f64,
    /// Values of symbols; a symbol that has none here takes its upper bound.
    pub bindings: Bindings,
}

impl Default for Machine {
    /// A plain desktop machine: 20 GB/s, 100 Gflop/s, 2 µs from kernel to kernel, 4 workers.
    fn default() -> Machine {
        Machine {
            bandwidth: 20e9,
            rate: 100e9,
            launch: 2e-6,
            workers: 4.0,
            recompute: 16.0,
            bindings: Bindings::default(),
        }
    }
}

impl Machine {
    /// Seconds of kernels, one after the other.
    pub(super) fn seconds(&self, regions: &Regions, groups: &[Group]) -> f64 {
        let each = groups.iter().map(|group| {
            let memory = bytes(regions, group) / self.bandwidth;
            let arithmetic = flops(regions, group) / self.rate;
            memory.max(arithmetic) + self.launch
        });
        each.sum()
    }
}

/// Bytes read and written, each value once; of what is only gathered from, as much as is gathered.
fn bytes(regions: &Regions, group: &Group) -> f64 {
    let mut used = vec![0.0f64; regions.values.len()];
    for v in group.values.iter() {
        let info = &regions.values[v];
        for (i, operand) in info.operands.iter().enumerate() {
            used[*operand] += match info.op {
                Some(Op::Put) if i == 0 => 0.0,
                Some(Op::Take) if i == 0 => info.bytes,
                _ => regions.values[*operand].bytes,
            };
        }
    }
    let read = |r: usize| used[r].min(regions.values[r].bytes);
    let written = |o: usize| {
        let info = &regions.values[o];
        match (info.op, &info.operands[..]) {
            (Some(Op::Put), [_, _, _, rows]) => regions.values[*rows].bytes,
            _ => info.bytes,
        }
    };
    group.reads.iter().map(read).sum::<f64>() + group.outputs.iter().map(written).sum::<f64>()
}

/// Floating-point operations, a value's as often as it is computed.
fn flops(regions: &Regions, group: &Group) -> f64 {
    let values: Vec<usize> = group.values.iter().collect();
    let mut times = vec![0.0f64; regions.values.len()];
    for output in group.outputs.iter() {
        times[output] = 1.0;
    }
    let mut total = 0.0;
    for v in values.into_iter().rev() {
        let info = &regions.values[v];
        total += info.flops * times[v];
        for (operand, factor) in info.operands.iter().zip(&info.repeats) {
            times[*operand] = times[*operand].max(times[v] * factor);
        }
    }
    total
}
