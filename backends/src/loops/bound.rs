//! Stages held to the part of an axis that can change what is made of them.

use std::collections::{HashMap, HashSet};

use ir::{Dims, Function, Op, ValueId};

use super::parts::same_axes;
use super::support::{Limit, back, forth, from_parameters, kept_axes, moved, skipped};
use super::{Along, Bound, Home, Nest, Work, axes, op, space};

/// An axis of no more elements than these is taken whole: it is one vector.
const SHORT: i64 = 16;

/// Finds the bounds of a nest's stages.
///
/// What folds an axis is bounded by its operand's mask; what is only read by such stages need not be computed
/// elsewhere, and is held to the same limits, so that nothing is read that was not computed.
pub fn bound(nest: &mut Nest, function: &Function, dims: &Dims) {
    let folds = folds(nest, function, dims);
    if folds.is_empty() {
        return;
    }
    let mut needed = needed(function, &folds);
    for stage in &mut nest.stages {
        let folding = matches!(stage.work, Work::Reduce | Work::Dot { .. });
        if let Some(limits) = folds.get(&stage.value).filter(|_| folding) {
            stage.bounds.push(Bound {
                along: Along::Folded,
                limits: limits.clone(),
            });
        }
        let scratch = matches!(stage.to, Home::Scratch { .. });
        if !scratch || matches!(stage.work, Work::Put | Work::Narrow) {
            continue;
        }
        let axes = needed.remove(&stage.value).unwrap_or_default();
        let axes = axes.into_iter().enumerate();
        stage.bounds.extend(axes.filter_map(|(axis, limits)| {
            let along = Along::Axis(axis);
            let whole = stage.parts[axis].is_none() && !limits.is_empty();
            whole.then_some(Bound { along, limits })
        }));
    }
}

/// The limits of what reductions and dots fold, by the axes of their results.
fn folds(nest: &Nest, function: &Function, dims: &Dims) -> HashMap<ValueId, Vec<Limit>> {
    let staged: HashSet<ValueId> = nest.stages.iter().map(|stage| stage.value).collect();
    let stages = nest.stages.iter().filter(|stage| match stage.work {
        Work::Reduce | Work::Dot { narrow: false } => true,
        Work::Dot { narrow: true } | Work::Map | Work::Put | Work::Copy | Work::Narrow => false,
    });
    let found = stages.filter_map(|stage| {
        let (kind, _, operands) = op(function, stage.value)?;
        let each = (0..operands.len()).filter_map(|i| {
            let axis = folded(function, stage.value, i)?;
            let length = dims.range(&function.values[operands[i].0].ty.dims[axis]);
            let long = length.is_some_and(|(_, most)| most > SHORT);
            let limits = skipped(function, kind, operands[i], axis).filter(|_| long)?;
            let pairs = same_axes(function, stage.value, i);
            let limits = moved(&limits, &|axis| forth(&pairs, axis))?;
            let known = |v: ValueId| from_parameters(function, v, &|v| staged.contains(&v));
            let all = limits
                .iter()
                .flat_map(Limit::terms)
                .all(|term| known(term.value));
            all.then_some(limits)
        });
        Some((stage.value, each.into_iter().next()?))
    });
    found.collect()
}

/// The one axis of an operand that a reduction or a dot folds.
pub fn folded(function: &Function, value: ValueId, operand: usize) -> Option<usize> {
    let (kind, attrs, _) = op(function, value)?;
    let gone = match kind {
        Op::ReduceSum | Op::ReduceMax => axes(attrs, 0),
        Op::Dot => axes(attrs, 2 + operand),
        _ => return None,
    };
    match gone[..] {
        [axis] => Some(axis),
        _ => None,
    }
}

/// For each axis of each value, the limits that all that is needed of it keeps; none where all of it is needed.
fn needed(
    function: &Function,
    folds: &HashMap<ValueId, Vec<Limit>>,
) -> HashMap<ValueId, Vec<Vec<Limit>>> {
    let all = |value: ValueId| vec![vec![]; space(function, value).len()];
    let mut needed: HashMap<ValueId, Vec<Vec<Limit>>> = HashMap::new();
    for result in &function.results {
        needed.insert(*result, all(*result));
    }
    for value in (function.params().len()..function.values.len())
        .rev()
        .map(ValueId)
    {
        let (Some((kind, _, operands)), Some(wanted)) = (op(function, value), needed.get(&value))
        else {
            continue;
        };
        let wanted = match kind {
            Op::Put => all(value),
            _ => wanted.clone(),
        };
        for (i, operand) in operands.iter().enumerate() {
            let pairs = kept_axes(function, value, i);
            let mut more = vec![vec![]; function.values[operand.0].ty.rank()];
            let there =
                |limits: &[Limit]| moved(limits, &|axis| back(&pairs, axis)).unwrap_or_default();
            for (from, to) in &pairs {
                more[*from] = there(&wanted[*to]);
            }
            if let (Some(limits), Some(axis)) = (folds.get(&value), folded(function, value, i)) {
                more[axis] = there(limits);
            }
            let merged = match needed.remove(operand) {
                None => more,
                Some(before) => {
                    let both = before.into_iter().zip(more);
                    both.map(|(a, b)| if a == b { a } else { vec![] }).collect()
                }
            };
            needed.insert(*operand, merged);
        }
    }
    needed
}
