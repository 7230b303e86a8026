//! Where along an axis a value can be anything but one known constant.
//!
//! A mask compares an element's index `k` along an axis with integers that do not depend on it, as in
//! `k <= position`. Where such a mask does not hold, `select(mask, x, c)` is c; what is then computed from it
//! element by element is another constant; and a sum, a maximum or a dot need not look at elements that
//! cannot change it. The [`Limit`]s of such a mask say so of a whole stretch of the axis at once.
//!
//! As in the contract of [`ir::interp`], a weight of 0 is taken to make nothing of what it multiplies.

use ir::{Attr, Class, Function, Op, ValueId};

use super::parts::{groups, same_axes};
use super::{axes, free, op};

/// How many ops deep a mask is looked into.
const DEEP: usize = 8;

/// A sum of integers, among them the index along the limited axis.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Linear {
    /// How often the index is added: -1, 0 or 1 times.
    pub along: i64,
    /// What else is added.
    pub terms: Vec<Term>,
    /// A known number.
    pub constant: i64,
}

/// An i32 value, added or taken away.
#[derive(Clone, Debug, PartialEq)]
pub struct Term {
    /// Whether it is added.
    pub plus: bool,
    /// The value.
    pub value: ValueId,
    /// For each of its axes, the axis of the limited value that has the same index.
    pub axes: Vec<usize>,
}

/// `low <= high`, where neither side leaves i32. Elements for which it does not hold are the constant.
#[derive(Clone, Debug, PartialEq)]
pub struct Limit {
    /// The smaller side.
    pub low: Linear,
    /// The larger side.
    pub high: Linear,
}

/// What a value is outside of its limits.
#[derive(Clone, Debug, PartialEq)]
struct Support {
    /// The constant.
    outside: f32,
    /// Whether it is that even where every element along the axis is NaN.
    certain: bool,
    /// The limits; an element inside keeps all of them. There is one at least.
    limits: Vec<Limit>,
}

impl Linear {
    fn new(along: i64, constant: i64) -> Linear {
        Linear {
            along,
            terms: Vec::new(),
            constant,
        }
    }

    fn of(value: ValueId, axes: Vec<usize>) -> Linear {
        let mut alone = Linear::default();
        alone.terms.push(Term {
            plus: true,
            value,
            axes,
        });
        alone
    }

    fn plus(mut self, other: Linear, sign: i64) -> Linear {
        self.along += sign * other.along;
        self.constant += sign * other.constant;
        self.terms.extend(other.terms.into_iter().map(|term| Term {
            plus: term.plus == (sign > 0),
            ..term
        }));
        self
    }

    fn moved(&self, to: &dyn Fn(usize) -> Option<usize>) -> Option<Linear> {
        let terms = self.terms.iter().map(|term| {
            Some(Term {
                axes: term
                    .axes
                    .iter()
                    .map(|axis| to(*axis))
                    .collect::<Option<_>>()?,
                ..term.clone()
            })
        });
        Some(Linear {
            terms: terms.collect::<Option<_>>()?,
            ..*self
        })
    }
}

impl Limit {
    /// The limit `low <= high`, if it tells apart indices along the axis.
    fn new(low: Linear, high: Linear) -> Vec<Limit> {
        match low.along - high.along {
            1 | -1 => vec![Limit { low, high }],
            _ => vec![],
        }
    }

    /// The values that it depends on.
    pub fn terms(&self) -> impl Iterator<Item = &Term> {
        self.low.terms.iter().chain(&self.high.terms)
    }
}

/// Limits where the axes that they name have other numbers; none if one of these has no number.
pub fn moved(limits: &[Limit], to: &dyn Fn(usize) -> Option<usize>) -> Option<Vec<Limit>> {
    let moved = limits.iter().map(|limit| {
        Some(Limit {
            low: limit.low.moved(to)?,
            high: limit.high.moved(to)?,
        })
    });
    moved.collect()
}

/// Axes of an operand and of the result along which the same index means the same element, those that a
/// reshape leaves whole among them.
pub fn kept_axes(function: &Function, value: ValueId, operand: usize) -> Vec<(usize, usize)> {
    let Some((Op::Reshape, _, [x])) = op(function, value) else {
        return same_axes(function, value, operand);
    };
    let (from, to) = (
        &function.values[x.0].ty.dims,
        &function.values[value.0].ty.dims,
    );
    let one = ir::Dim::from(1i64);
    let whole = groups(from, to).into_iter().filter_map(|group| {
        let from: Vec<usize> = group.from.filter(|i| from[*i] != one).collect();
        let to: Vec<usize> = group.to.filter(|i| to[*i] != one).collect();
        match (&from[..], &to[..]) {
            ([from], [to]) => Some((*from, *to)),
            _ => None,
        }
    });
    whole.collect()
}

/// An axis's number behind one of these pairs.
pub fn forth(pairs: &[(usize, usize)], axis: usize) -> Option<usize> {
    pairs.iter().find(|(a, _)| *a == axis).map(|(_, b)| *b)
}

/// An axis's number before one of these pairs.
pub fn back(pairs: &[(usize, usize)], axis: usize) -> Option<usize> {
    pairs.iter().find(|(_, b)| *b == axis).map(|(a, _)| *a)
}

/// The number that all elements of a constant are.
fn constant(function: &Function, value: ValueId) -> Option<f64> {
    match op(function, value)? {
        (Op::Const, attrs, _) => match attrs.last() {
            Some(Attr::Literals(literals)) => match literals[..] {
                [one] => Some(one.0),
                _ => None,
            },
            _ => None,
        },
        (Op::Broadcast | Op::Reshape | Op::Transpose, _, [x]) => constant(function, *x),
        _ => None,
    }
}

/// A view's operand, and which of its axes is the view's axis.
fn viewed(function: &Function, view: ValueId, axis: usize) -> Option<(ValueId, Option<usize>)> {
    let (Op::Broadcast | Op::Reshape | Op::Transpose, _, [x]) = op(function, view)? else {
        return None;
    };
    Some((*x, back(&kept_axes(function, view, 0), axis)))
}

/// An i32 value as a sum with the index along an axis, if that is seen so many ops deep.
fn linear(function: &Function, value: ValueId, axis: usize, deep: usize) -> Option<Linear> {
    if let Some(constant) = constant(function, value) {
        return Some(Linear::new(0, constant as i32 as i64));
    }
    let (kind, _, operands) = op(function, value)?;
    match (kind, operands) {
        (Op::Iota, _) => Some(Linear::new(1, 0)),
        (Op::Add | Op::Sub, [a, b]) => {
            let sign = if kind == Op::Add { 1 } else { -1 };
            let deep = deep.checked_sub(1)?;
            let a = linear(function, *a, axis, deep)?;
            Some(a.plus(linear(function, *b, axis, deep)?, sign))
        }
        (Op::Broadcast | Op::Reshape | Op::Transpose, [x]) => {
            let pairs = kept_axes(function, value, 0);
            let inner = match back(&pairs, axis) {
                Some(axis) => linear(function, *x, axis, deep)?,
                None if kind == Op::Broadcast => {
                    let rank = function.values[x.0].ty.rank();
                    Linear::of(*x, (0..rank).collect())
                }
                None => return None,
            };
            inner.moved(&|axis| forth(&pairs, axis))
        }
        _ => None,
    }
}

/// What an index along an axis must keep for a bool value to be `holds`, as far as that is seen so many ops
/// deep.
fn mask(function: &Function, value: ValueId, axis: usize, holds: bool, deep: usize) -> Vec<Limit> {
    let (Some((kind, _, operands)), Some(deep)) = (op(function, value), deep.checked_sub(1)) else {
        return vec![];
    };
    match (kind, operands, holds) {
        (Op::Not, [a], _) => mask(function, *a, axis, !holds, deep),
        (Op::And, [a, b], true) | (Op::Or, [a, b], false) => {
            let both = [a, b].map(|x| mask(function, *x, axis, holds, deep));
            both.concat()
        }
        (Op::Le | Op::Lt, [a, b], _) => {
            let sides = [a, b].map(|x| linear(function, *x, axis, DEEP));
            let [Some(a), Some(b)] = sides else {
                return vec![];
            };
            // Of integers, a < b is a <= b - 1.
            let (low, high) = if holds { (a, b) } else { (b, a) };
            match (kind == Op::Lt) == holds {
                true => Limit::new(low, high.plus(Linear::new(0, 1), -1)),
                false => Limit::new(low, high),
            }
        }
        (Op::Broadcast | Op::Reshape | Op::Transpose, ..) => {
            let Some((x, Some(axis))) = viewed(function, value, axis) else {
                return vec![];
            };
            let pairs = kept_axes(function, value, 0);
            let each = mask(function, x, axis, holds, deep).into_iter();
            let each = each.filter_map(|limit| moved(&[limit], &|axis| forth(&pairs, axis)));
            each.flatten().collect()
        }
        _ => vec![],
    }
}

/// The limits of a reduction's or a dot's operand along the one axis that is folded, if what lies outside of
/// them cannot change the result. Of a maximum, that is so whatever the elements are; of a sum, it is so if what a
/// weight multiplies is finite.
pub fn skipped(function: &Function, fold: Op, operand: ValueId, axis: usize) -> Option<Vec<Limit>> {
    let Support {
        outside,
        certain,
        limits,
    } = support(function, operand, axis)?;
    let skips = match fold {
        Op::ReduceMax => certain && outside == f32::NEG_INFINITY,
        _ => outside == 0.0,
    };
    skips.then_some(limits)
}

/// Where a value of f32 is one constant along an axis.
fn support(function: &Function, value: ValueId, axis: usize) -> Option<Support> {
    let (kind, _, operands) = op(function, value)?;
    match (kind, operands) {
        (Op::Select, [c, a, b]) => {
            let (holds, inside, outside) = match (constant(function, *a), constant(function, *b)) {
                (_, Some(outside)) => (true, a, outside),
                (Some(outside), None) => (false, b, outside),
                (None, None) => return None,
            };
            let outside = outside as f32;
            let mut limits = mask(function, *c, axis, holds, DEEP);
            let within = support(function, *inside, axis);
            let within = within.filter(|s| s.certain && s.outside.to_bits() == outside.to_bits());
            limits.extend(within.into_iter().flat_map(|s| s.limits));
            (!limits.is_empty()).then_some(Support {
                outside,
                certain: true,
                limits,
            })
        }
        (Op::Broadcast | Op::Reshape | Op::Transpose, _) => {
            let (x, axis) = viewed(function, value, axis)?;
            let inner = support(function, x, axis?)?;
            let pairs = kept_axes(function, value, 0);
            let limits = moved(&inner.limits, &|axis| forth(&pairs, axis))?;
            Some(Support { limits, ..inner })
        }
        (_, [x]) => {
            let inner = support(function, *x, axis)?;
            let outside = match kind {
                Op::Neg => -inner.outside,
                Op::Exp => ir::math::exp(inner.outside),
                Op::Tanh => ir::math::tanh(inner.outside),
                _ => return None,
            };
            Some(Support { outside, ..inner })
        }
        (Op::Add | Op::Sub | Op::Mul | Op::Div, [a, b]) => {
            arithmetic(function, kind, [*a, *b], axis)
        }
        _ => None,
    }
}

/// Arithmetic with a constant, or with what the elements along the axis were folded to. Of the latter there are
/// two that leave the constant outside of the limits as it is, or else make every element along the axis NaN:
///
/// - `-inf - max`: where the maximum is -inf or NaN, all differences are NaN.
/// - `0 / sum` of what is never negative: where the sum is 0, so are all elements; where it is NaN, all quotients
///   are.
fn arithmetic(function: &Function, kind: Op, [a, b]: [ValueId; 2], axis: usize) -> Option<Support> {
    let of = |a: f32, b: f32| match kind {
        Op::Add => a + b,
        Op::Sub => a - b,
        Op::Mul => a * b,
        _ => a / b,
    };
    if let Some(number) = constant(function, b) {
        let left = support(function, a, axis)?;
        let outside = of(left.outside, number as f32);
        return Some(Support { outside, ..left });
    }
    if let Some(number) = constant(function, a) {
        let right = support(function, b, axis)?;
        let outside = of(number as f32, right.outside);
        return Some(Support { outside, ..right });
    }
    let never_negative = matches!(op(function, a), Some((Op::Exp, ..)));
    let (fold, stays) = match kind {
        Op::Sub => (Op::ReduceMax, f32::NEG_INFINITY),
        Op::Div if never_negative => (Op::ReduceSum, 0.0),
        _ => return None,
    };
    let (_, of, gone) = spread(function, b, fold)?;
    if of != a || gone != [axis] {
        return None;
    }
    let left = support(function, a, axis).filter(|s| s.outside == stays)?;
    Some(Support {
        certain: false,
        ..left
    })
}

/// A reduction, its operand and the axes that it folds, where a value is the result of this one, put back at each
/// index along these axes.
pub fn spread(
    function: &Function,
    value: ValueId,
    fold: Op,
) -> Option<(ValueId, ValueId, &[usize])> {
    let (Op::Broadcast, attrs, [folded]) = op(function, value)? else {
        return None;
    };
    let (kind, by, [of]) = op(function, *folded)? else {
        return None;
    };
    if kind != fold {
        return None;
    }
    let gone = axes(by, 0);
    let rank = function.values[of.0].ty.rank();
    let same =
        function.values[value.0].ty.rank() == rank && axes(attrs, 1) == free(rank, &[], gone);
    same.then_some((*folded, *of, gone))
}

/// Whether a value is computed in place, from parameters alone.
pub fn from_parameters(
    function: &Function,
    value: ValueId,
    staged: &dyn Fn(ValueId) -> bool,
) -> bool {
    let Some((kind, _, operands)) = op(function, value) else {
        return true;
    };
    let folds = matches!(kind.def().class, Class::Reduce | Class::Dot | Class::State);
    !folds
        && !staged(value)
        && operands
            .iter()
            .all(|v| from_parameters(function, *v, staged))
}
