//! What a model's steps read and compute, to be held against what the machine can do.

use serde::{Deserialize, Serialize};

/// What a step of a model reads and computes at the least, whatever the program that does it.
///
/// A multiplication and the addition of its product are two operations.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Work {
    /// Bytes of weights that a step with a wanted row reads, once for all its rows.
    pub weight_bytes: u64,
    /// Operations of a row, besides its attention and its logits.
    pub row_flops: u64,
    /// Operations of a wanted row's logits.
    pub logits_flops: u64,
    /// The attention of each kind of layer, all layers of the kind together.
    pub attention: Vec<AttentionWork>,
    /// What the matrix products multiply.
    pub arithmetic: Arithmetic,
}

/// The attention of layers that look back equally far, all of them together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttentionWork {
    /// The most positions that a row attends to; none: every one up to its own.
    pub window: Option<u64>,
    /// Bytes of keys and values at one position.
    pub position_bytes: u64,
    /// Operations of a row for one position that it attends to.
    pub position_flops: u64,
}

/// What matrix products multiply; each has its own peak.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Arithmetic {
    /// f32 by f32, added in f32.
    F32,
    /// bf16 by bf16, added in f32.
    Bf16,
    /// int8 by int8, added in i32.
    Int8,
}

impl Work {
    /// Bytes that a step of one wanted row reads, the row at this position of its sequence.
    pub fn bytes_of_row(&self, position: usize) -> u64 {
        let attention = self.attention.iter();
        let bytes = attention.map(|kind| kind.positions(position) * kind.position_bytes);
        self.weight_bytes + bytes.sum::<u64>()
    }

    /// Operations of a step of `rows` rows from the position `first` on, of which `wanted` have logits.
    pub fn flops_of_step(&self, first: usize, rows: usize, wanted: usize) -> u64 {
        let of_row = |position: usize| {
            let attention = self.attention.iter();
            let flops = attention.map(|kind| kind.positions(position) * kind.position_flops);
            self.row_flops + flops.sum::<u64>()
        };
        let rows = (first..first + rows).map(of_row).sum::<u64>();
        rows + wanted as u64 * self.logits_flops
    }
}

impl AttentionWork {
    /// How many positions a row at this one attends to.
    fn positions(&self, position: usize) -> u64 {
        let all = position as u64 + 1;
        self.window.map_or(all, |window| window.min(all))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A step that reads 1000 bytes of weights; attention within 4 positions and over all.
    fn work() -> Work {
        let attention = |window, position_bytes, position_flops| AttentionWork {
            window,
            position_bytes,
            position_flops,
        };
        Work {
            weight_bytes: 1000,
            row_flops: 500,
            logits_flops: 70,
            attention: vec![attention(Some(4), 10, 3), attention(None, 1, 2)],
            arithmetic: Arithmetic::Bf16,
        }
    }

    #[test]
    fn a_row_reads_the_weights_and_what_it_attends_to() {
        let work = work();
        assert_eq!(work.bytes_of_row(0), 1000 + 10 + 1);
        assert_eq!(work.bytes_of_row(3), 1000 + 40 + 4);
        assert_eq!(work.bytes_of_row(9), 1000 + 40 + 10);
    }

    #[test]
    fn a_step_computes_every_row_and_the_wanted_logits() {
        let work = work();
        assert_eq!(work.flops_of_step(0, 1, 0), 500 + 3 + 2);
        let attention = 3 * (3 + 4 + 4) + 2 * (3 + 4 + 5);
        assert_eq!(work.flops_of_step(2, 3, 1), 3 * 500 + attention + 70);
    }
}
