//! The one thing a run asks of a model: execute a step.

use serde::{Deserialize, Serialize};

use crate::{Error, Work};

/// One row of a step: a token at a position of the sequence held in a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// The token's id, below [`Limits::vocab`].
    pub token: u32,
    /// The token's absolute position in its sequence, from 0, below [`Limits::context`].
    pub position: u32,
    /// The sequence the row belongs to, below [`Limits::slots`].
    pub slot: u32,
}

/// The sizes an executor was built for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Token ids, and so logits per row.
    pub vocab: usize,
    /// Positions a sequence may have.
    pub context: usize,
    /// Most rows in one step.
    pub rows: usize,
    /// Sequences whose state is held side by side.
    pub slots: usize,
}

/// What executes steps of a model.
///
/// Within a slot, positions are fed in increasing order without gaps. A row at position 0 begins a new sequence in its
/// slot, whatever the slot held before.
pub trait Executor {
    /// The sizes this executor was built for.
    fn limits(&self) -> Limits;

    /// What its steps read and compute, if it knows; for [`Stats`](crate::Stats) alone.
    fn work(&self) -> Option<&Work> {
        None
    }

    /// Runs one step of 1 to `limits().rows` rows and keeps what the rows add to their slots' state.
    ///
    /// `logits` is `[wanted.len(), vocab]` in f32, row-major: one row for each index into `rows` in `wanted`, which
    /// ascends and may be empty (then only state changes).
    ///
    /// # Errors
    ///
    /// [`Error::Executor`] with whatever kept the step from running.
    fn step(&mut self, rows: &[Row], wanted: &[usize], logits: &mut [f32]) -> Result<(), Error>;
}
