//! The choices that a draw makes: noted, so that it can be made again with simpler ones.

use crate::random::Rng;

/// Where choices come from. The lower a choice, the simpler is what comes of it.
pub(super) struct Choices {
    rng: Rng,
    given: Vec<usize>,
    /// Whether what is not given is random, or the simplest.
    random: bool,
    made: Vec<usize>,
}

impl Choices {
    /// Random ones.
    pub fn random(seed: u64) -> Choices {
        Choices::begun(vec![], seed)
    }

    /// These, and random ones ever after.
    pub fn begun(given: Vec<usize>, seed: u64) -> Choices {
        Choices {
            rng: Rng::new(seed),
            given,
            random: true,
            made: Vec::new(),
        }
    }

    /// These, and the simplest ever after.
    pub fn given(given: Vec<usize>) -> Choices {
        Choices {
            random: false,
            ..Choices::begun(given, 0)
        }
    }

    /// A number below `n`, which is not 0.
    pub fn below(&mut self, n: usize) -> usize {
        let choice = match self.given.get(self.made.len()) {
            Some(given) => given % n.max(1),
            None if self.random => self.rng.below(n),
            None => 0,
        };
        self.made.push(choice);
        choice
    }

    /// True once in `n` times, and not where choices are the simplest.
    pub fn once_in(&mut self, n: usize) -> bool {
        self.below(n) + 1 == n
    }

    /// One of these, of which there is at least one.
    pub fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }

    /// The choices made so far.
    pub fn made(self) -> Vec<usize> {
        self.made
    }
}
