//! Whether two sides' results agree.

use std::fmt;

use ir::interp::{Data, Real, Tensor};

use super::traced::Traced;
use super::values::index;

/// Where two results differ.
#[derive(Clone, Debug, PartialEq)]
pub struct Mismatch {
    /// The element, row-major.
    pub element: usize,
    /// The element, as an index.
    pub index: Vec<usize>,
    /// What the left side gives.
    pub left: f64,
    /// What the right side gives.
    pub right: f64,
    /// What they should not differ in.
    pub difference: Difference,
}

/// What two sides should not differ in.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Difference {
    /// Any bit.
    Bits,
    /// More than an error allowed.
    Error {
        /// The left side in f64.
        truth: f64,
        /// How far from it a result may be.
        bound: f64,
    },
    /// Whether they are finite, or infinite.
    Range {
        /// The left side in f64.
        truth: f64,
    },
    /// More than the order of sums and products.
    Order,
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (index, left, right) = (&self.index, self.left, self.right);
        write!(f, "element {index:?}: ")?;
        let sides = format!("the left side gives {left:?}, the right side {right:?}");
        match self.difference {
            Difference::Bits => f.write_str(&sides),
            Difference::Error { truth, bound } => {
                write!(
                    f,
                    "{sides}; in f64 it is {truth:?}, and {bound:e} is allowed"
                )
            }
            Difference::Range { truth } => {
                let range = if truth.is_finite() {
                    "finite"
                } else {
                    "infinite"
                };
                write!(
                    f,
                    "{sides}; in f64 it is {truth:?}, which must stay {range}"
                )
            }
            Difference::Order => f.write_str(
                "more differs than the order of sums and products, which is all that reassoc is; \
                 the class for that is rounds",
            ),
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

impl Agreement {
    /// How well two runs agree together.
    pub fn and(self, other: Agreement) -> Agreement {
        Agreement {
            same: self.same && other.same,
            worst: self.worst.max(other.worst),
        }
    }
}

/// The first element whose bits differ, all NaNs being one.
pub(super) fn bits(left: &Tensor<f32>, right: &Tensor<f32>) -> Result<Agreement, Mismatch> {
    for (element, (l, r)) in elements(left).into_iter().zip(elements(right)).enumerate() {
        let same = l.to_bits() == r.to_bits() || l.is_nan() && r.is_nan();
        if !same {
            return Err(mismatch(&left.shape, element, (l, r), Difference::Bits));
        }
    }
    Ok(Agreement {
        same: true,
        worst: 0.0,
    })
}

fn mismatch(
    shape: &[usize],
    element: usize,
    (left, right): (f64, f64),
    difference: Difference,
) -> Mismatch {
    Mismatch {
        element,
        index: index(shape, element),
        left,
        right,
        difference,
    }
}

/// The first element that is made of other things, whatever the order.
pub(super) fn ordered(left: &Tensor<Traced>, right: &Tensor<Traced>) -> Option<Mismatch> {
    let (l, r) = (left.to_real()?, right.to_real()?);
    let element = l
        .iter()
        .zip(r.iter())
        .position(|(l, r)| l.form() != r.form())?;
    let values = (l[element].to_f64(), r[element].to_f64());
    Some(mismatch(&left.shape, element, values, Difference::Order))
}

/// The unit roundoff of f32.
pub(super) const U: f64 = 1.0 / 16_777_216.0;

/// Share of a bound below which the condition, which only widens it, is not asked for.
const NEAR: f64 = 0.125;

/// How often operands are perturbed: a few times, and where that does not widen the bound enough, often. Two
/// terms that cancel are perturbed alike in every try, and their condition missed, once in 2^16 times.
const TRIES: [usize; 2] = [2, 16];

/// Share of a bound below which a few tries do.
const CLEAR: f64 = 0.5;

/// What the f64 run may lose of what the f32 run does: its unit roundoff is 2^-29 of the other's.
const ROUNDING: f64 = 8.0 / (1u64 << 29) as f64;

/// Both sides' runs in f32 and f64.
pub(super) struct Runs {
    pub left: Tensor<'static, f32>,
    pub right: Tensor<'static, f32>,
    /// The left side in f64.
    pub truth: Vec<f64>,
    /// The right side in f64.
    pub other: Vec<f64>,
    /// Whether the operands are of moderate size, so that what is infinite in f64 did not become so by its size.
    pub moderate: bool,
}

impl Runs {
    /// The first element whose error passes the bound. `moved` gives, for each element, the sum over the
    /// operands of how far it moves when they move by relative [`U`], found in so many tries; `rounding`
    /// how far the f32 run of the left side is from the f64 run thereabouts.
    pub fn bounded(
        &self,
        moved: impl Fn(usize) -> Option<Vec<f64>>,
        rounding: impl Fn() -> Option<Vec<f64>>,
    ) -> Result<Agreement, Mismatch> {
        let same = bits(&self.left, &self.right);
        if !matches!(self.left.data, Data::Real(_)) {
            return same;
        }
        let (left, right) = (elements(&self.left), elements(&self.right));
        let mut far = Vec::new();
        let mut worst = 0f64;
        for (i, (l, r)) in left.iter().copied().zip(right.iter().copied()).enumerate() {
            let (truth, other) = (self.truth[i], self.other[i]);
            // What is not finite in f64, or passes f32, has no error to speak of; but a mask must stay one.
            if !truth.is_finite() || !l.is_finite() {
                if self.moderate && truth.is_infinite() && l == truth && r.is_finite() {
                    let difference = Difference::Range { truth };
                    return Err(mismatch(&self.left.shape, i, (l, r), difference));
                }
                continue;
            }
            let sides = match r.is_finite() {
                true => (truth, other),
                false => (l, r),
            };
            if !r.is_finite() || !other.is_finite() {
                let difference = Difference::Range { truth };
                return Err(mismatch(&self.left.shape, i, sides, difference));
            }
            if l == r && truth == other {
                continue;
            }
            match judged((l, r), (truth, other), truth.abs(), 0.0) {
                Ok(share) if share <= NEAR => worst = worst.max(share),
                _ => far.push(i),
            }
        }
        for tries in TRIES {
            if far.is_empty() {
                break;
            }
            let last = tries == TRIES[TRIES.len() - 1];
            let moved = moved(tries);
            let rounding = if last { rounding() } else { None };
            let mut farther = Vec::new();
            for i in far {
                let moved = moved.as_ref().map_or(0.0, |moved| moved[i]);
                let condition = self.truth[i].abs() + moved / U;
                if !condition.is_finite() {
                    continue;
                }
                let sides = ((left[i], right[i]), (self.truth[i], self.other[i]));
                let rounding = rounding.as_ref().map_or(0.0, |rounding| rounding[i]);
                match judged(sides.0, sides.1, condition, rounding) {
                    Ok(share) if last || share <= CLEAR => worst = worst.max(share),
                    Err((sides, bound)) if last => {
                        let truth = self.truth[i];
                        let difference = Difference::Error { truth, bound };
                        return Err(mismatch(&self.left.shape, i, sides, difference));
                    }
                    _ => farther.push(i),
                }
            }
            far = farther;
        }
        Ok(Agreement {
            same: same.is_ok(),
            worst,
        })
    }
}

/// The error of an element as a share of its bound, or two numbers that are too far apart and the bound.
fn judged(
    (l, r): (f64, f64),
    (truth, other): (f64, f64),
    condition: f64,
    rounding: f64,
) -> Result<f64, ((f64, f64), f64)> {
    // Below the smallest normal f32 errors are absolute.
    let tiny = f64::from(f32::MIN_POSITIVE);
    let bound = 1e-12 * condition + ROUNDING * rounding + 1e-12 * tiny;
    if (other - truth).abs() > bound {
        return Err(((truth, other), bound));
    }
    let bound = 2.0 * (l - truth).abs() + 8.0 * U * condition + 8.0 * U * tiny;
    match (r - truth).abs() {
        error if error > bound => Err(((l, r), bound)),
        error => Ok(error / bound),
    }
}
