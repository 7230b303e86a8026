//! Where one sequence stands in its slot.

use crate::{Error, Executor, Row};

/// One sequence: the slot that holds its state and the number of tokens fed so far.
pub struct Session {
    slot: u32,
    position: usize,
    rows: Vec<Row>,
}

impl Session {
    /// An empty sequence in `slot`.
    pub fn new(slot: u32) -> Self {
        Session {
            slot,
            position: 0,
            rows: Vec::new(),
        }
    }

    /// Tokens fed so far: the position of the next.
    pub fn position(&self) -> usize {
        self.position
    }

    /// Begins a new sequence in the same slot.
    pub fn reset(&mut self) {
        self.position = 0;
    }

    /// Feeds `tokens` in one step. `wanted` and `logits` are those of [`Executor::step`].
    ///
    /// The caller has seen to it that the tokens are in the vocabulary, fit a step, and fit the context.
    ///
    /// # Errors
    ///
    /// Whatever the executor reports; the sequence then stands where it stood.
    pub fn feed(
        &mut self,
        executor: &mut dyn Executor,
        tokens: &[u32],
        wanted: &[usize],
        logits: &mut [f32],
    ) -> Result<(), Error> {
        let slot = self.slot;
        self.rows.clear();
        self.rows.extend(
            (self.position as u32..)
                .zip(tokens)
                .map(|(position, &token)| Row {
                    token,
                    position,
                    slot,
                }),
        );
        executor.step(&self.rows, wanted, logits)?;
        self.position += tokens.len();
        Ok(())
    }
}
