//! What is equal in an instance: draws in which much is equal by chance are common, and show least.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use ir::Dim;

use crate::rules::{Scope, Thing};

/// How many draws of common signatures are passed over in a row.
const PATIENCE: usize = 8;

/// Draws for each instance, beyond which none is passed over.
const DRAWS: usize = 24;

/// Which of an instance's lists and numbers are equal, and which lists are plain.
pub(super) fn signature(scope: &Scope) -> u64 {
    let mut hash = DefaultHasher::new();
    let mut lists: Vec<&[Dim]> = Vec::new();
    let mut numbers: Vec<&Dim> = Vec::new();
    for thing in scope.iter().flatten() {
        match thing {
            Thing::Value(ty) => lists.push(&ty.dims),
            Thing::Numbers(list) => lists.push(list),
            Thing::Number(n) => numbers.push(n),
            _ => {}
        }
    }
    for (i, list) in lists.iter().enumerate() {
        let counts = list.iter().enumerate().all(|(i, d)| *d == Dim::from(i));
        let alike = list.windows(2).all(|pair| pair[0] == pair[1]);
        (counts, alike, list.is_empty()).hash(&mut hash);
        for other in &lists[..i] {
            (list == other, list.len() == other.len()).hash(&mut hash);
        }
    }
    for (i, n) in numbers.iter().enumerate() {
        (n.as_const() == Some(0)).hash(&mut hash);
        for other in &numbers[..i] {
            (n == other).hash(&mut hash);
        }
        for list in &lists {
            list.last().is_some_and(|last| last == *n).hash(&mut hash);
        }
    }
    hash.finish()
}

/// How often each signature was run.
#[derive(Default)]
pub(super) struct Runs {
    of: HashMap<u64, usize>,
    all: usize,
    passed_over: usize,
}

impl Runs {
    /// Whether one of this signature is to be run, after so many draws; it is counted then.
    pub fn wants(&mut self, signature: u64, draws: usize) -> bool {
        let patient = self.passed_over < PATIENCE && draws < DRAWS * (self.all + PATIENCE);
        let kinds = self.of.len().max(1);
        let ran = self.of.entry(signature).or_default();
        if *ran > self.all / kinds && patient {
            self.passed_over += 1;
            return false;
        }
        *ran += 1;
        self.all += 1;
        self.passed_over = 0;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rare_signature_is_always_run_and_a_common_one_less_than_it_is_drawn() {
        let mut runs = Runs::default();
        let mut ran = [0, 0];
        for draw in 0..1000 {
            let rare = draw % 100 == 0;
            ran[usize::from(rare)] += usize::from(runs.wants(u64::from(rare), draw));
        }
        assert_eq!(ran[1], 10);
        assert!((100..200).contains(&ran[0]), "{ran:?}");
    }
}
