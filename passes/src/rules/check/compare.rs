//! Whether two sides' results agree.

use std::fmt;

use ir::interp::{Data, Real, Tensor};

/// Where two results differ.
#[derive(Clone, Debug, PartialEq)]
pub struct Mismatch {
    /// The element, row-major.
    pub element: usize,
    /// What the left side gives.
    pub left: f64,
    /// What the right side gives.
    pub right: f64,
    /// For a rule that is not exact: the f64 truth and the error allowed.
    pub bound: Option<(f64, f64)>,
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "element {}: the left side gives {:?}, the right side {:?}",
            self.element, self.left, self.right
        )?;
        match self.bound {
            Some((truth, bound)) => write!(f, "; in f64 it is {truth:?}, and {bound:e} is allowed"),
            None => Ok(()),
        }
    }
}

/// Elements as f64, which every dtype's fit in.
pub(super) fn elements<F: Real>(x: &Tensor<F>) -> Vec<f64> {
    if let Some(reals) = x.to_real() {
        return reals.iter().map(|x| x.to_f64()).collect();
    }
    if let Some(ints) = x.to_int() {
        return ints.iter().map(|x| f64::from(*x)).collect();
    }
    let bools = x.to_bool().unwrap_or_default();
    bools.iter().map(|b| f64::from(u8::from(*b))).collect()
}

/// How well two sides that agree do so.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Agreement {
    /// Whether every bit is the same.
    pub same: bool,
    /// The largest error of an element of the right side, of what its bound allows: at most 1.
    pub worst: f64,
}

/// The first element whose bits differ, all NaNs being one.
pub(super) fn bits(left: &Tensor<f32>, right: &Tensor<f32>) -> Result<Agreement, Mismatch> {
    for (element, (l, r)) in elements(left).into_iter().zip(elements(right)).enumerate() {
        let same = l.to_bits() == r.to_bits() || l.is_nan() && r.is_nan();
        if !same {
            return Err(Mismatch {
                element,
                left: l,
                right: r,
                bound: None,
            });
        }
    }
    Ok(Agreement {
        same: true,
        worst: 0.0,
    })
}

/// The unit roundoff of f32.
pub(super) const U: f64 = 1.0 / 16_777_216.0;

/// Both sides' runs, and how far the truth moves with the operands.
pub(super) struct Runs {
    pub left: Tensor<'static, f32>,
    pub right: Tensor<'static, f32>,
    /// The left side in f64.
    pub truth: Vec<f64>,
    /// The right side in f64.
    pub other: Vec<f64>,
    /// For each element, the sum over the operands of how far it moves when they move by relative [`U`].
    pub moved: Vec<f64>,
}

/// The first element whose error passes the bound.
pub(super) fn bounded(runs: &Runs) -> Result<Agreement, Mismatch> {
    let same = bits(&runs.left, &runs.right);
    if !matches!(runs.left.data, Data::Real(_)) {
        return same;
    }
    let mut worst = 0f64;
    let (left, right) = (elements(&runs.left), elements(&runs.right));
    for (element, (l, r)) in left.into_iter().zip(right).enumerate() {
        let (truth, other) = (runs.truth[element], runs.other[element]);
        let condition = truth.abs() + runs.moved[element] / U;
        // What is not finite in f64, or passes f32, has no error to speak of.
        if !truth.is_finite() || !condition.is_finite() || !l.is_finite() {
            continue;
        }
        // Below the smallest normal f32 errors are absolute.
        let tiny = f64::from(f32::MIN_POSITIVE);
        let wrong = |error: f64, bound: f64| error.is_nan() || error > bound;
        let mismatch = |left, right, bound| Mismatch {
            element,
            left,
            right,
            bound: Some((truth, bound)),
        };
        let bound = 1e-12 * condition + 1e-12 * tiny;
        if wrong((other - truth).abs(), bound) {
            return Err(mismatch(truth, other, bound));
        }
        let bound = 2.0 * (l - truth).abs() + 8.0 * U * condition + 8.0 * U * tiny;
        if wrong((r - truth).abs(), bound) {
            return Err(mismatch(l, r, bound));
        }
        if bound > 0.0 {
            worst = worst.max((r - truth).abs() / bound);
        }
    }
    Ok(Agreement {
        same: same.is_ok(),
        worst,
    })
}
