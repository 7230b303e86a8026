//! Sequences fed to a model in steps.

use ir::interp::Real;
use models::Interpreted;
use runtime::{CompiledModel, Executor, Row};

/// What gives the logits of a step.
pub trait Model<F> {
    /// Runs a step: row r is `tokens[r]` at `positions[r]` of sequence `slots[r]`. Gives the logits of the
    /// wanted rows, `[wanted, vocab]`.
    fn step(
        &mut self,
        tokens: &[u32],
        positions: &[u32],
        slots: &[u32],
        wanted: &[usize],
    ) -> Vec<F>;
}

impl<F: Real> Model<F> for Interpreted<'_, F> {
    fn step(
        &mut self,
        tokens: &[u32],
        positions: &[u32],
        slots: &[u32],
        wanted: &[usize],
    ) -> Vec<F> {
        let made = Interpreted::step(self, tokens, positions, slots, wanted);
        made.unwrap_or_else(|error| panic!("{error}")).logits
    }
}

impl Model<f32> for CompiledModel {
    fn step(
        &mut self,
        tokens: &[u32],
        positions: &[u32],
        slots: &[u32],
        wanted: &[usize],
    ) -> Vec<f32> {
        let each = tokens.iter().zip(positions).zip(slots);
        let rows = each.map(|((token, position), slot)| Row {
            token: *token,
            position: *position,
            slot: *slot,
        });
        let rows: Vec<Row> = rows.collect();
        let mut logits = vec![0.0; wanted.len() * self.limits().vocab];
        let made = Executor::step(self, &rows, wanted, &mut logits);
        made.unwrap_or_else(|error| panic!("{error}"));
        logits
    }
}

/// Tokens that go to one slot, from position 0 on.
pub struct Sequence<'t> {
    /// Whose state is read and replaced.
    pub slot: u32,
    /// All of them.
    pub tokens: &'t [u32],
}

/// Runs steps and gives each sequence's logits, `[tokens fed, vocab]`.
///
/// A step is a list of its rows, each the index of a sequence: the row is that sequence's next token.
pub fn feed<F: Copy>(
    model: &mut (impl Model<F> + ?Sized),
    sequences: &[Sequence],
    steps: &[Vec<usize>],
) -> Vec<Vec<F>> {
    let mut fed = vec![0; sequences.len()];
    let mut logits = vec![vec![]; sequences.len()];
    for rows in steps {
        let (mut tokens, mut positions, mut slots) = (vec![], vec![], vec![]);
        for s in rows {
            tokens.push(sequences[*s].tokens[fed[*s]]);
            positions.push(fed[*s] as u32);
            slots.push(sequences[*s].slot);
            fed[*s] += 1;
        }
        let wanted: Vec<usize> = (0..rows.len()).collect();
        let made = model.step(&tokens, &positions, &slots, &wanted);
        let vocab = made.len() / rows.len();
        for (s, row) in rows.iter().zip(made.chunks(vocab)) {
            logits[*s].extend(row);
        }
    }
    logits
}

/// The logits of a prompt fed to slot 0 so many tokens a step, `[T, vocab]`.
pub fn feed_prompt<F: Copy>(
    model: &mut (impl Model<F> + ?Sized),
    tokens: &[u32],
    chunk: usize,
) -> Vec<F> {
    let steps = chunks(0, tokens.len(), chunk);
    feed(model, &[Sequence { slot: 0, tokens }], &steps).concat()
}

/// The steps that feed a sequence's tokens, so many at a time.
pub fn chunks(sequence: usize, length: usize, chunk: usize) -> Vec<Vec<usize>> {
    let rows = vec![sequence; length];
    rows.chunks(chunk).map(<[usize]>::to_vec).collect()
}
