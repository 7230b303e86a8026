//! Sequences fed to a model in steps.

use ir::interp::Real;
use models::Interpreted;

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
pub fn feed<F: Real>(
    model: &mut Interpreted<F>,
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
        let made = made.unwrap_or_else(|error| panic!("{error}"));
        let vocab = made.logits.len() / rows.len();
        for (s, row) in rows.iter().zip(made.logits.chunks(vocab)) {
            logits[*s].extend(row);
        }
    }
    logits
}

/// The logits of a prompt fed to slot 0 so many tokens a step, `[T, vocab]`.
pub fn feed_prompt<F: Real>(model: &mut Interpreted<F>, tokens: &[u32], chunk: usize) -> Vec<F> {
    let steps = chunks(0, tokens.len(), chunk);
    feed(model, &[Sequence { slot: 0, tokens }], &steps).concat()
}

/// The steps that feed a sequence's tokens, so many at a time.
pub fn chunks(sequence: usize, length: usize, chunk: usize) -> Vec<Vec<usize>> {
    let rows = vec![sequence; length];
    rows.chunks(chunk).map(<[usize]>::to_vec).collect()
}
