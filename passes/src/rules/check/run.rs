//! Both sides run on the same operands.

use std::sync::Arc;

use ir::interp::{Data, Real, Tensor, run};
use ir::{Bindings, Dims, Function};

use super::compare::{self, Agreement, Mismatch, Runs, U};
use super::traced::Traced;
use super::values::{Mood, converted};
use crate::random::Rng;
use crate::rules::RuleClass;

/// How many operands near by show what a side's own operations round.
const NEIGHBOURS: usize = 16;

/// Operands on which a rule's sides differ.
#[derive(Clone, Debug, PartialEq)]
pub struct Counterexample {
    /// The rule.
    pub rule: String,
    /// Its class.
    pub class: RuleClass,
    /// The left side.
    pub left: Function,
    /// The right side.
    pub right: Function,
    /// The symbols in their types.
    pub dims: Dims,
    /// What the symbols are.
    pub bindings: Bindings,
    /// What both are run on.
    pub operands: Vec<Arc<Tensor<'static, f32>>>,
    /// Where they differ; `None` if the right side could not be run.
    pub mismatch: Option<Mismatch>,
}

/// A tensor for each value of a rule.
pub(super) type Operands<F> = Vec<Arc<Tensor<'static, F>>>;

impl Counterexample {
    /// What a side gives, or `None` if it could not be run.
    pub(super) fn run<F: Real>(
        &self,
        side: &Function,
        operands: &Operands<F>,
    ) -> Option<Tensor<'static, F>> {
        let results = run(side, operands.clone(), &self.dims, &self.bindings).ok()?;
        results.into_iter().next().map(Arc::unwrap_or_clone)
    }

    /// Runs both sides: how well they agree, or where they differ. `None` if the left side could not be
    /// run, and says nothing.
    pub(super) fn judged(&self, mood: Mood) -> Option<Result<Agreement, Option<Mismatch>>> {
        let left = self.run(&self.left, &self.operands)?;
        let Some(right) = self.run(&self.right, &self.operands) else {
            return Some(Err(None));
        };
        if self.class == RuleClass::Exact {
            return Some(compare::bits(&left, &right).map_err(Some));
        }
        if mood == Mood::Wild {
            // What has no error to speak of can still say whether every bit is kept.
            let same = compare::bits(&left, &right).is_ok();
            return Some(Ok(Agreement { same, worst: 0.0 }));
        }
        let exact = self.operands_as(|_, _, x| f64::from(x));
        let runs = Runs {
            left,
            right,
            truth: compare::elements(&self.run(&self.left, &exact)?),
            other: compare::elements(&self.run(&self.right, &exact)?),
            moderate: matches!(mood, Mood::Tame | Mood::Masked),
        };
        let agreement = match runs.bounded(
            |tries| self.moved(&runs.truth, tries),
            || self.rounding(runs.truth.len()),
        ) {
            Ok(agreement) => agreement,
            Err(mismatch) => return Some(Err(Some(mismatch))),
        };
        if self.class == RuleClass::Reassoc
            && let Some(mismatch) = self.reordered()
        {
            return Some(Err(Some(mismatch)));
        }
        Some(Ok(agreement))
    }

    /// The operands with each f32 element as another kind of number, from its operand and its place.
    fn operands_as<F>(&self, mut number: impl FnMut(usize, usize, f32) -> F) -> Operands<F> {
        let operands = self.operands.iter().enumerate();
        let convert = |(i, x): (usize, &Arc<Tensor<'static, f32>>)| {
            let mut place = 0..;
            let number = |x: &f32| number(i, place.next().unwrap_or_default(), *x);
            Arc::new(converted(x, number, |x| *x))
        };
        operands.map(convert).collect()
    }

    /// Where the right side is made of other things than the left, whatever the order.
    fn reordered(&self) -> Option<Mismatch> {
        let mut rng = Rng::new(0);
        let atoms = self.operands_as(|operand, element, _| {
            // No two are equal, so that comparisons choose the same on both sides.
            let size = (rng.bits() >> 11) as f64 / (1u64 << 50) as f64;
            Traced::atom((operand, element), size - 4.0)
        });
        let left = self.run(&self.left, &atoms)?;
        let right = self.run(&self.right, &atoms)?;
        compare::ordered(&left, &right)
    }

    /// How far each element of the left side in f32 is from the f64 one, at most, on operands near by: what
    /// its own operations round.
    fn rounding(&self, elements: usize) -> Option<Vec<f64>> {
        let mut most = vec![0f64; elements];
        let mut rng = Rng::new(0);
        for _ in 0..NEIGHBOURS {
            let near = |x: &Arc<Tensor<'static, f32>>| {
                Arc::new(converted(x, |x| x * (1.0 + rng.unit() / 8.0), |x| *x))
            };
            let near = Counterexample {
                operands: self.operands.iter().map(near).collect(),
                ..self.clone()
            };
            let exact = near.operands_as(|_, _, x| f64::from(x));
            let single = compare::elements(&near.run(&near.left, &near.operands)?);
            let double = compare::elements(&near.run(&near.left, &exact)?);
            for ((most, x), t) in most.iter_mut().zip(single).zip(double) {
                *most = most.max((x - t).abs());
            }
        }
        Some(most)
    }

    /// How far each element of the left side in f64 moves with the operands, at most in so many tries.
    fn moved(&self, truth: &[f64], tries: usize) -> Option<Vec<f64>> {
        let exact = self.operands_as(|_, _, x| f64::from(x));
        let mut moved = vec![0.0; truth.len()];
        let mut rng = Rng::new(0);
        for (i, operand) in self.operands.iter().enumerate() {
            let still = matches!(operand.data, Data::Bool(_) | Data::Stored(_));
            if still || operand.shape.contains(&0) {
                continue;
            }
            let mut most = vec![0f64; truth.len()];
            for _ in 0..tries {
                let mut perturbed = exact.clone();
                let mut signs = rng.clone();
                let real = |x: &f32| f64::from(*x) * (1.0 + signed(&mut rng));
                // An integer that f32 holds exactly is not rounded, and does not move.
                let int = |x: &i32| {
                    let by = (f64::from(*x) * signed(&mut signs)) as i32;
                    x.saturating_add(by)
                };
                perturbed[i] = Arc::new(converted(operand, real, int));
                let run = compare::elements(&self.run(&self.left, &perturbed)?);
                for ((most, x), t) in most.iter_mut().zip(run).zip(truth) {
                    *most = most.max((x - t).abs());
                }
            }
            for (moved, most) in moved.iter_mut().zip(most) {
                *moved += most;
            }
        }
        Some(moved)
    }
}

/// [`U`] of either sign.
fn signed(rng: &mut Rng) -> f64 {
    if rng.once_in(2) { U } else { -U }
}
