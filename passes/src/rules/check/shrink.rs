//! Smaller counterexamples: simpler choices make smaller shapes, and simpler values are put in.

use std::mem::{Discriminant, discriminant};
use std::sync::Arc;

use ir::interp::{Data, Tensor};

use super::choices::Choices;
use super::compare::{Difference, Mismatch};
use super::instance::Instance;
use super::run::Counterexample;
use super::values::{Mood, with_element};
use super::{attempt, attempt_on};
use crate::rules::Rule;

/// Draws that are tried.
const DRAWS: usize = 6000;

/// Random choices that are tried behind a lowered one.
const CONTINUATIONS: u64 = 150;

/// Random operands that each of them is tried on.
const OPERANDS: u64 = 12;

/// A counterexample with fewer and shorter axes, simpler attributes, and elements that are 0, 1 or round.
pub(super) fn shrunk(
    rule: &Rule,
    choices: Vec<usize>,
    size: i64,
    found: Box<Counterexample>,
    mood: Mood,
) -> Box<Counterexample> {
    let mut shrinking = Shrinking {
        rule,
        mood,
        choices: trimmed(choices),
        found,
        size,
        left: DRAWS,
    };
    while shrinking.left > 0 && shrinking.simplify() {}
    plain(shrinking.found, mood)
}

struct Shrinking<'r> {
    rule: &'r Rule,
    mood: Mood,
    choices: Vec<usize>,
    found: Box<Counterexample>,
    /// Elements of the values in it.
    size: i64,
    /// Draws that may still be tried.
    left: usize,
}

impl Shrinking<'_> {
    /// Tries to leave choices out and to lower them, and says whether that helped.
    fn simplify(&mut self) -> bool {
        let mut helped = false;
        for width in [8, 4, 2, 1] {
            for at in (0..self.choices.len()).rev() {
                let mut fewer = self.choices.clone();
                if at + width <= fewer.len() {
                    fewer.drain(at..at + width);
                    helped |= self.takes(Choices::given(fewer));
                }
            }
        }
        let mut at = 0;
        while let Some(&choice) = self.choices.get(at) {
            for lower in [0, choice / 2, choice.saturating_sub(1)] {
                if lower < self.choices.get(at).copied().unwrap_or(0) {
                    helped |= self.lower(at, lower);
                }
            }
            at += 1;
        }
        helped
    }

    /// Lowers a choice. Where what came behind it does not fit then, as an axis fewer has no length and is
    /// in no list of axes, other choices may.
    fn lower(&mut self, at: usize, lower: usize) -> bool {
        let mut lowered = self.choices.clone();
        lowered[at] = lower;
        if self.takes(Choices::given(lowered.clone())) {
            return true;
        }
        lowered.truncate(at + 1);
        (0..CONTINUATIONS).any(|seed| self.takes(Choices::begun(lowered.clone(), seed)))
    }

    /// Keeps the choices if they are simpler and show a counterexample too.
    fn takes(&mut self, mut choices: Choices) -> bool {
        if self.left == 0 {
            return false;
        }
        self.left -= 1;
        let Some(instance) = Instance::draw(self.rule, &mut choices) else {
            return false;
        };
        let made = trimmed(choices.made());
        let size = instance.size();
        // What counts as simple: few elements, then few and low choices.
        if (size, made.len(), &made) >= (self.size, self.choices.len(), &self.choices) {
            return false;
        }
        let alike = |outcome: Option<Result<_, Box<Counterexample>>>| {
            let found = outcome?.err()?;
            (kind(&found.mismatch) == kind(&self.found.mismatch)).then_some(found)
        };
        let bindings = vec![self.found.bindings.clone()];
        let found = attempt_on(self.rule, &instance, self.mood, bindings, |bindings| {
            instance.operands_like(&self.found, bindings)
        });
        let mut seeds = 0..OPERANDS;
        let found = alike(found).or_else(|| {
            seeds.find_map(|seed| alike(attempt(self.rule, &instance, seed, self.mood)))
        });
        let Some(found) = found else {
            return false;
        };
        (self.size, self.choices, self.found) = (size, made, found);
        true
    }
}

/// What is wrong, which stays the same while a counterexample shrinks.
fn kind(mismatch: &Option<Mismatch>) -> Option<Discriminant<Difference>> {
    let mismatch = mismatch.as_ref();
    mismatch.map(|mismatch| discriminant(&mismatch.difference))
}

/// Without the simplest choices at the end, which are made when no others are given.
fn trimmed(mut choices: Vec<usize>) -> Vec<usize> {
    while choices.last() == Some(&0) {
        choices.pop();
    }
    choices
}

/// The same with as many elements as possible made 0, 1 or a round number.
fn plain(mut found: Box<Counterexample>, mood: Mood) -> Box<Counterexample> {
    for i in 0..found.operands.len() {
        for j in 0..found.operands[i].shape.iter().product() {
            for simpler in simpler(&found.operands[i], j) {
                let mut changed = found.clone();
                changed.operands[i] = Arc::new(simpler);
                if let Some(Err(mismatch)) = changed.judged(mood)
                    && kind(&mismatch) == kind(&found.mismatch)
                {
                    changed.mismatch = mismatch;
                    found = changed;
                    break;
                }
            }
        }
    }
    found
}

/// The tensor with an element made simpler, the simplest first: one that is 0 or 1 has nothing simpler behind that.
fn simpler(x: &Tensor<'static, f32>, element: usize) -> Vec<Tensor<'static, f32>> {
    let values: Vec<f64> = match &x.data {
        Data::Real(reals) => {
            let was = reals[element];
            let length = |x: f32| format!("{x:?}").len();
            let shorter = [-1.0, 10.0, 100.0, -10.0, -100.0, 1000.0, -1000.0];
            let digits = [0, 1, 2].map(|digits| rounded(was, digits));
            let shorter = shorter.into_iter().chain(digits);
            let shorter = shorter.filter(|x| length(*x) < length(was));
            let all = [0.0, 1.0].into_iter().chain(shorter);
            let all = all.take_while(|x| x.to_bits() != was.to_bits());
            all.map(f64::from).collect()
        }
        Data::Int(ints) => {
            let all = [0, 1, -1].into_iter().take_while(|x| *x != ints[element]);
            all.map(f64::from).collect()
        }
        Data::Bool(_) | Data::Stored(_) => vec![],
    };
    let made = values.into_iter();
    made.map(|value| with_element(x, element, value)).collect()
}

/// A number with so many decimal digits behind the first.
fn rounded(x: f32, digits: usize) -> f32 {
    format!("{x:.digits$e}").parse().unwrap_or(x)
}
