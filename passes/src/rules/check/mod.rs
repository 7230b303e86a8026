//! The property test of a rule, made from its own patterns.
//!
//! Types and attributes that the left side and the guards accept are drawn at random, both sides are built
//! as functions, and the interpreter runs both on random tensors.
//!
//! - Shapes are drawn with axes of few lengths, 0 and 1 among them, reshapes of every kind, and in part over
//!   a symbol, which is then run at both ends of its range and between. Instances in which lists or numbers are
//!   equal by chance are drawn most and show least: of what is equal, each combination is run about
//!   equally often.
//! - `exact`: the same bits, all NaNs being one, on tensors with zeros of both signs, subnormals,
//!   infinities, NaN and the largest numbers, and with sums longer than sixteen elements.
//! - `reassoc` and `rounds`: on tensors of moderate size, of sizes from 1e-4 to 1e4 with ties, and with -inf
//!   where a mask could make it (constants may be of any size). What is finite on the left in f32 and f64 must be
//!   finite on the right, and what is infinite there, of moderate operands, not finite. Against the f64 run `t` of the left side, with
//!   `u` = 2^-24 and `k` = |t| plus, for each operand, how much `t` moves when that operand's elements
//!   are perturbed by relative `u`, over `u` (the condition, found by running): the f64 runs of both sides
//!   agree within 1e-12 k, and |right - t| <= 2 |left - t| + 8 u k in f32. Results that are not floats
//!   agree in every bit.
//! - `reassoc` besides: both sides are the same sums of the same products, but for the order.
//!
//! A rule of which no instances could be made is a failure and not a pass.

mod choices;
mod compare;
mod generate;
mod instance;
mod lift;
mod message;
mod regroup;
mod run;
mod shrink;
mod signature;
mod traced;
mod values;

use std::fmt;

use ir::Bindings;

use super::{Rule, RuleClass, RuleSet};
use crate::random::Rng;
use choices::Choices;
use compare::Agreement;
use instance::Instance;
use run::Operands;
use shrink::shrunk;
use values::Mood;

pub use compare::{Difference, Mismatch};
pub use run::Counterexample;

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
            instances: 2000,
            draws: 400_000,
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

impl Flaw {
    /// The name of the rule.
    pub fn rule(&self) -> &str {
        match self {
            Flaw::Counterexample(found) => &found.rule,
            Flaw::Untested { rule, .. } => rule,
        }
    }
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

impl Checked {
    /// Whether every bit was kept in so many instances, wild ones among them, that the rule can be said
    /// to be exact.
    pub fn is_exact(&self) -> bool {
        self.same == self.instances && self.instances >= Effort::default().instances
    }
}

/// Checks one rule.
pub fn check(rule: &Rule, effort: &Effort) -> Result<Checked, Flaw> {
    let mut seeds = Rng::new(effort.seed);
    let mut checked = Checked::default();
    let mut runs = signature::Runs::default();
    for draws in 1..=effort.draws {
        let mut choices = Choices::random(seeds.bits());
        let Some(instance) = Instance::draw(rule, &mut choices) else {
            continue;
        };
        if !runs.wants(instance.signature, draws) {
            continue;
        }
        let mood = seeds.pick(moods(rule.class));
        match attempt(rule, &instance, seeds.bits(), mood) {
            None => continue,
            Some(Ok(agreement)) => {
                checked.instances += 1;
                checked.same += usize::from(agreement.same);
                checked.worst = checked.worst.max(agreement.worst);
            }
            Some(Err(found)) => {
                let found = shrunk(rule, choices.made(), instance.size(), found, mood);
                return Err(Flaw::Counterexample(found));
            }
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

/// Checks the members of a family, which share the instances: a quarter of them for each at least. A rule by itself
/// is a family of one.
pub fn check_family(members: &[Rule], effort: &Effort) -> Result<Checked, Flaw> {
    let share = Effort {
        instances: effort.instances.div_ceil(members.len().clamp(1, 4)),
        ..*effort
    };
    members.iter().try_fold(Checked::default(), |all, rule| {
        let one = check(rule, &share)?;
        Ok(Checked {
            instances: all.instances + one.instances,
            draws: all.draws + one.draws,
            same: all.same + one.same,
            worst: all.worst.max(one.worst),
        })
    })
}

/// What the operands of a rule's instances are like.
fn moods(class: RuleClass) -> &'static [Mood] {
    match class {
        RuleClass::Exact => &[Mood::Tame, Mood::Plain, Mood::Wide, Mood::Wild],
        RuleClass::Reassoc | RuleClass::Rounds => {
            &[Mood::Tame, Mood::Wide, Mood::Wide, Mood::Masked, Mood::Wild]
        }
    }
}

/// Runs an instance on random operands, for some values of its symbols; `None` if it tells nothing.
fn attempt(
    rule: &Rule,
    instance: &Instance,
    seed: u64,
    mood: Mood,
) -> Option<Result<Agreement, Box<Counterexample>>> {
    let mut rng = Rng::new(seed);
    let bindings = instance.bindings(&mut rng);
    attempt_on(rule, instance, mood, bindings, |bindings| {
        instance.operands(&mut rng, mood, bindings)
    })
}

/// Runs an instance on these operands, for these values of its symbols; `None` if it tells nothing.
fn attempt_on(
    rule: &Rule,
    instance: &Instance,
    mood: Mood,
    bindings: Vec<Bindings>,
    mut operands: impl FnMut(&Bindings) -> Option<Operands<f32>>,
) -> Option<Result<Agreement, Box<Counterexample>>> {
    let (left, right) = instance.functions(rule);
    let mut found = Counterexample {
        rule: rule.name.clone(),
        class: rule.class,
        left,
        right,
        dims: instance.dims().clone(),
        bindings: Bindings::default(),
        operands: vec![],
        mismatch: None,
    };
    let mut all: Option<Agreement> = None;
    for bindings in bindings {
        let Some(operands) = operands(&bindings) else {
            continue;
        };
        (found.operands, found.bindings) = (operands, bindings);
        match found.judged(mood) {
            None => {}
            Some(Ok(one)) => all = Some(all.map_or(one, |all| all.and(one))),
            Some(Err(mismatch)) => {
                found.mismatch = mismatch;
                return Some(Err(Box::new(found)));
            }
        }
    }
    all.map(Ok)
}

/// Checks every rule, and gives each one's outcome.
pub fn check_all<'r>(
    rules: &'r RuleSet,
    effort: &Effort,
) -> Vec<(&'r Rule, Result<Checked, Flaw>)> {
    let rules = rules.rules().iter();
    rules.map(|rule| (rule, check(rule, effort))).collect()
}
