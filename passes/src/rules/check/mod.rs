//! The property test of a rule, made from its own patterns.
//!
//! Types and attributes that the left side and the guards accept are drawn at random, both sides are built
//! as functions, and the interpreter runs both on random tensors.
//!
//! - `exact`: the same bits, all NaNs being one, on tensors with zeros of both signs, subnormals,
//!   infinities, NaN and the largest numbers, and with sums longer than sixteen elements.
//! - `reassoc` and `rounds`: on tensors of moderate size (constants may be of any), against the f64 run `t` of the left side. With
//!   `u` = 2^-24 and `k` = |t| plus, for each operand, how much `t` moves when that operand's elements
//!   are perturbed by relative `u`, over `u` (the condition, found by running): the f64 runs of both sides
//!   agree within 1e-12 k, and |right - t| <= 2 |left - t| + 8 u k in f32. Results that are not floats
//!   agree in every bit.
//!
//! A rule of which no instances could be made is a failure and not a pass.

mod compare;
mod generate;
mod instance;
mod random;

use std::fmt;

use super::{Rule, RuleSet};
use crate::random::Rng;
use generate::Size;
use instance::{Attempt, attempt};

pub use compare::Mismatch;
pub use instance::Counterexample;

/// How much a check does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Effort {
    /// Instances that must hold.
    pub instances: usize,
    /// Draws, of which an instance can be made or not, before it gives up.
    pub draws: usize,
    /// Where the random numbers start.
    pub seed: u64,
}

impl Default for Effort {
    fn default() -> Effort {
        Effort {
            instances: 128,
            draws: 100_000,
            seed: 1,
        }
    }
}

/// What a check that a rule passed amounts to.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Checked {
    /// Instances, each with elements in its result, that held.
    pub instances: usize,
    /// Draws that this took.
    pub draws: usize,
    /// Instances of which every bit was the same, as all are of an exact rule.
    pub same: usize,
    /// Of a rule that is not exact: the largest error of an element, as a share of what its bound allows.
    pub worst: f64,
}

/// Why a rule does not pass.
#[derive(Clone, Debug, PartialEq)]
pub enum Flaw {
    /// Both sides differ.
    Counterexample(Box<Counterexample>),
    /// Too few instances could be made.
    Untested {
        /// The rule.
        rule: String,
        /// Instances that held.
        instances: usize,
        /// Draws.
        draws: usize,
    },
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Flaw::Counterexample(found) => found.fmt(f),
            Flaw::Untested {
                rule,
                instances,
                draws,
            } => write!(
                f,
                "rule {rule}: only {instances} instances could be made in {draws} draws; it is untested"
            ),
        }
    }
}

impl std::error::Error for Flaw {}

/// Sizes of instances.
const LARGE: Size = Size {
    rank: 4,
    dim: 4,
    long: true,
};

/// Checks one rule.
pub fn check(rule: &Rule, effort: &Effort) -> Result<Checked, Flaw> {
    let mut seeds = Rng::new(effort.seed);
    let mut checked = Checked::default();
    for draws in 1..=effort.draws {
        match attempt(rule, seeds.bits(), LARGE) {
            Attempt::Rejected => {}
            Attempt::Held(agreement) => {
                checked.instances += 1;
                checked.same += usize::from(agreement.same);
                checked.worst = checked.worst.max(agreement.worst);
            }
            Attempt::Failed(found) => return Err(Flaw::Counterexample(shrunk(rule, found))),
        }
        if checked.instances == effort.instances {
            return Ok(Checked { draws, ..checked });
        }
    }
    Err(Flaw::Untested {
        rule: rule.name.clone(),
        instances: checked.instances,
        draws: effort.draws,
    })
}

/// Checks every rule, and gives each one's outcome.
pub fn check_all<'r>(
    rules: &'r RuleSet,
    effort: &Effort,
) -> Vec<(&'r Rule, Result<Checked, Flaw>)> {
    let rules = rules.rules().iter();
    rules.map(|rule| (rule, check(rule, effort))).collect()
}

/// A counterexample of the smallest shapes that show one, with its elements made plain.
fn shrunk(rule: &Rule, found: Box<Counterexample>) -> Box<Counterexample> {
    let sizes = [(0, 1), (1, 1), (1, 2), (2, 1), (2, 2), (3, 2)];
    for (rank, dim) in sizes {
        let size = Size {
            rank,
            dim,
            long: false,
        };
        let mut seeds = Rng::new(0);
        for _ in 0..400 {
            if let Attempt::Failed(smaller) = attempt(rule, seeds.bits(), size) {
                return Box::new(smaller.plain());
            }
        }
    }
    Box::new(found.plain())
}
