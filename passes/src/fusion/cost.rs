//! What a kernel costs: the greater of its memory and its arithmetic, and its launch.

use ir::{Bindings, Dims, Function, Op};

use super::regions::{Group, Regions};
use crate::plan::Kernel;

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

/// What a kernel does, and how long it takes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cost {
    /// Bytes read and written.
    pub bytes: f64,
    /// Floating-point operations, each as often as it is done.
    pub flops: f64,
    /// Seconds that its bytes take.
    pub memory: f64,
    /// Seconds that its arithmetic takes.
    pub arithmetic: f64,
    /// Seconds besides its work.
    pub launch: f64,
}

/// What most of a kernel's time goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Bound {
    /// Bytes.
    Memory,
    /// Arithmetic.
    Arithmetic,
    /// The way from kernel to kernel.
    Launch,
}

impl Bound {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Bound::Memory => "memory",
            Bound::Arithmetic => "arithmetic",
            Bound::Launch => "launch",
        }
    }
}

impl Cost {
    /// Seconds of the whole: the greater of memory and arithmetic, and the launch.
    pub fn seconds(&self) -> f64 {
        self.memory.max(self.arithmetic) + self.launch
    }

    /// What the greatest share of the time goes to.
    pub fn bound(&self) -> Bound {
        if self.launch > self.memory.max(self.arithmetic) {
            Bound::Launch
        } else if self.memory >= self.arithmetic {
            Bound::Memory
        } else {
            Bound::Arithmetic
        }
    }
}

impl Machine {
    /// What a kernel takes.
    pub(super) fn cost(&self, regions: &Regions, group: &Group) -> Cost {
        let needed = needed(regions, group);
        let bytes = bytes(regions, group, &needed);
        let flops = flops(regions, group, &needed);
        Cost {
            bytes,
            flops,
            memory: bytes / self.bandwidth,
            arithmetic: flops / self.rate,
            launch: self.launch,
        }
    }

    /// Seconds of kernels, one after the other.
    pub(super) fn seconds(&self, regions: &Regions, groups: &[Group]) -> f64 {
        let each = groups.iter().map(|group| self.cost(regions, group));
        each.map(|cost| cost.seconds()).sum()
    }
}

/// What each of a function's kernels takes on a machine, with the machine's values of the symbols.
///
/// # Panics
/// If the kernels are no plan of the function.
pub fn costs(function: &Function, dims: &Dims, machine: &Machine, kernels: &[Kernel]) -> Vec<Cost> {
    let regions = Regions::new(function, dims, machine);
    let groups = kernels.iter().map(|kernel| regions.of_kernel(kernel));
    groups.map(|group| machine.cost(&regions, &group)).collect()
}

/// The share of each value's elements that a kernel needs: of what is sliced or gathered from, what is
/// taken, and of the old state nothing.
fn needed(regions: &Regions, group: &Group) -> Vec<f64> {
    let mut whole = vec![0.0f64; regions.values.len()];
    let mut sliced = vec![0.0f64; regions.values.len()];
    for output in group.outputs.iter() {
        whole[output] = 1.0;
    }
    let values: Vec<usize> = group.values.iter().collect();
    for v in values.into_iter().rev() {
        let info = &regions.values[v];
        let share = whole[v].max(sliced[v].min(1.0));
        for (i, operand) in info.operands.iter().enumerate() {
            let part = share * info.bytes / regions.values[*operand].bytes.max(1.0);
            match (info.op, i) {
                (Some(Op::Put), 0) => {}
                (Some(Op::Slice | Op::Take), 0) => sliced[*operand] += part,
                _ => whole[*operand] = whole[*operand].max(share),
            }
        }
    }
    let shares = whole.into_iter().zip(sliced);
    shares.map(|(all, part)| all.max(part.min(1.0))).collect()
}

/// Bytes read and written, each once.
fn bytes(regions: &Regions, group: &Group, needed: &[f64]) -> f64 {
    let read = |r: usize| needed[r] * regions.values[r].bytes;
    let written = |o: usize| {
        let info = &regions.values[o];
        match (info.op, &info.operands[..]) {
            (Some(Op::Put), [_, _, _, rows]) => regions.values[*rows].bytes,
            _ => info.bytes,
        }
    };
    group.reads.iter().map(read).sum::<f64>() + group.outputs.iter().map(written).sum::<f64>()
}

/// Floating-point operations, an element's as often as it is computed.
fn flops(regions: &Regions, group: &Group, needed: &[f64]) -> f64 {
    let values: Vec<usize> = group.values.iter().collect();
    let mut times = vec![0.0f64; regions.values.len()];
    for output in group.outputs.iter() {
        times[output] = 1.0;
    }
    let mut total = 0.0;
    for v in values.into_iter().rev() {
        let info = &regions.values[v];
        total += info.flops * needed[v] * times[v];
        for (operand, factor) in info.operands.iter().zip(&info.repeats) {
            times[*operand] = times[*operand].max(times[v] * factor);
        }
    }
    total
}
