//! A softmax's maximum, and what is summed with its weights, in one sweep over blocks of an axis.
//!
//! Over the reals, `exp(x - new)` is `exp(x - old) * exp(old - new)`: a sum of `exp(x - max)` over the elements
//! seen so far stays right when a further element raises the maximum, if it is scaled by `exp(old - new)`. So the
//! maximum need not be known before the first weight is summed, and no more of the scores is kept than a block.
//! Sums are then taken in another order than the one that the interpreter has, and weights are rounded elsewhere.

use std::collections::{HashMap, HashSet};

use ir::{Dims, Function, Op, ValueId};

use super::bound::folded;
use super::layout::bytes;
use super::parts::same_axes;
use super::support::{Limit, back, forth, kept_axes, moved, spread};
use super::{Along, Home, Nest, Part, Stage, Sum, Sweep, Tile, Work, free, op};

/// Elements of a block, at least: whole register tiles of 3, 4, 6 and 8 columns, and whole vectors. A block is a
/// multiple of them.
const UNIT: i64 = 192;
/// Elements of a block, at most: of more, a core gains nothing.
const MOST: i64 = 768;
/// Bytes of what is kept of a block, about: it stays in a core's first-level cache.
const BLOCK_BYTES: i64 = 24 << 10;

/// Gives a nest the sweep that its values allow, if they do and the axis is longer than a block.
pub fn sweep(nest: &mut Nest, function: &Function, dims: &Dims) {
    let weights = (function.params().len()..function.values.len()).map(ValueId);
    let mut found = weights.filter_map(|weight| Finder::new(nest, function, weight)?.sweep());
    let Some((sweep, stages)) = found.next() else {
        return;
    };
    let mut swept = Nest {
        tiles: nest.tiles.clone(),
        stages,
        sweep: Some(sweep),
        scratch: 0,
    };
    let size = block(&swept, function, dims);
    if let Some(sweep) = &mut swept.sweep {
        sweep.tile.size = size;
        let length = dims.range(&sweep.tile.extent);
        if length.is_some_and(|(_, most)| most > size) {
            *nest = swept;
        }
    }
}

/// Elements of a block for which what is kept of it takes about so many bytes.
fn block(nest: &Nest, function: &Function, dims: &Dims) -> i64 {
    let kept = nest.stages.iter().filter(|stage| {
        let swept = |part: &Part| part.tile == nest.tiles.len();
        stage.parts.iter().flatten().any(swept)
    });
    let bytes: i64 = kept.map(|stage| bytes(nest, function, dims, stage)).sum();
    (BLOCK_BYTES / bytes.max(1) * UNIT).clamp(UNIT, MOST)
}

type Consumers = HashMap<ValueId, Vec<(ValueId, usize)>>;

/// A softmax's weights and what is around them.
struct Finder<'n> {
    nest: &'n Nest,
    function: &'n Function,
    consumers: Consumers,
    /// `exp(x - max)`, from the bottom: the maximum put back along its axis, the difference, the weights.
    chain: [ValueId; 3],
    most: ValueId,
    /// The axis of the weights along which the maximum is.
    axis: usize,
}

impl<'n> Finder<'n> {
    fn new(nest: &'n Nest, function: &'n Function, weight: ValueId) -> Option<Finder<'n>> {
        let (Op::Exp, _, [less]) = op(function, weight)? else {
            return None;
        };
        let (Op::Sub, _, [x, peaks]) = op(function, *less)? else {
            return None;
        };
        let (most, of, &[axis]) = spread(function, *peaks, Op::ReduceMax)? else {
            return None;
        };
        let mut consumers = Consumers::new();
        for value in (function.params().len()..function.values.len()).map(ValueId) {
            let (_, _, operands) = op(function, value)?;
            for (i, operand) in operands.iter().enumerate() {
                consumers.entry(*operand).or_default().push((value, i));
            }
        }
        (of == *x).then_some(Finder {
            nest,
            function,
            consumers,
            chain: [*peaks, *less, weight],
            most,
            axis,
        })
    }

    fn consumers(&self, value: ValueId) -> &[(ValueId, usize)] {
        self.consumers.get(&value).map_or(&[], Vec::as_slice)
    }

    /// The sweep, and the stages in their new order.
    fn sweep(&self) -> Option<(Sweep, Vec<Stage>)> {
        let [_, _, weight] = self.chain;
        let extent = &self.function.values[weight.0].ty.dims[self.axis];
        if self.function.results.contains(&weight) {
            return None;
        }
        let sums = self.sums()?;
        let inside = self.inside(&sums);
        let after = self.made_from_most();
        let other = |value: &ValueId| after.contains(value) && !self.chain.contains(value);
        let kept =
            |stage: &Stage| self.chain.contains(&stage.value) && !inside.contains_key(&stage.value);
        if inside.keys().any(other) || self.nest.stages.iter().any(kept) {
            return None;
        }
        let swept = |stage: &Stage| {
            let folds = stage.value == self.most || sums.iter().any(|sum| sum.value == stage.value);
            match stage.work {
                Work::Copy => false,
                _ => folds || inside.contains_key(&stage.value),
            }
        };
        let (mut within, rest): (Vec<Stage>, Vec<Stage>) =
            self.nest.stages.iter().cloned().partition(swept);
        let (behind, before): (Vec<Stage>, Vec<Stage>) = rest
            .into_iter()
            .partition(|stage| stage.value == self.most || after.contains(&stage.value));
        let deepest = self.nest.tiles.len();
        if within
            .iter()
            .chain(&behind)
            .any(|stage| stage.level != deepest)
        {
            return None;
        }
        let limits = self.limits(&within, &sums)?;
        for stage in &mut within {
            let along = match inside.get(&stage.value) {
                None => Along::Folded,
                Some(axis) => {
                    let plain = matches!(
                        stage.work,
                        Work::Map | Work::Reduce | Work::Dot { narrow: false }
                    );
                    if !plain || stage.parts[*axis].is_some() {
                        return None;
                    }
                    stage.parts[*axis] = Some(Part {
                        tile: deepest,
                        per: 1,
                        of: 1,
                    });
                    Along::Axis(*axis)
                }
            };
            stage.bounds.retain(|bound| bound.along != along);
        }
        let stages = before.len()..before.len() + within.len();
        let sweep = Sweep {
            tile: Tile {
                extent: extent.clone(),
                size: UNIT,
            },
            stages,
            limits,
            most: self.most,
            shift: Home::SCRATCH,
            decay: Home::SCRATCH,
            sums,
        };
        Some((sweep, [before, within, behind].concat()))
    }

    /// All that is made of the weights, if it is sums along their axis; and if what they multiply does not depend
    /// on the maximum.
    fn sums(&self) -> Option<Vec<Sum>> {
        let [_, _, weight] = self.chain;
        let after = self.made_from_most();
        let rank = self.function.values[weight.0].ty.rank();
        let kept = free(rank, &[], &[self.axis]);
        let sums = self.consumers(weight).iter().map(|(value, i)| {
            let (kind, _, operands) = op(self.function, *value)?;
            let linear = matches!(kind, Op::ReduceSum | Op::Dot);
            let others = operands.iter().enumerate().filter(|(j, _)| j != i);
            let apart = others.clone().all(|(_, other)| !after.contains(other));
            let over = folded(self.function, *value, *i) == Some(self.axis);
            let pairs = same_axes(self.function, *value, *i);
            let axes = kept.iter().map(|axis| forth(&pairs, *axis));
            let axes = axes.collect::<Option<_>>()?;
            (linear && apart && over).then_some(Sum {
                value: *value,
                axes,
            })
        });
        let sums: Vec<Sum> = sums.collect::<Option<_>>()?;
        (!sums.is_empty()).then_some(sums)
    }

    /// Values of which no more than a block is needed at a time, with their axis that is swept.
    fn inside(&self, sums: &[Sum]) -> HashMap<ValueId, usize> {
        let mut inside: HashMap<ValueId, usize> = HashMap::new();
        let folds: Vec<ValueId> = sums
            .iter()
            .map(|sum| sum.value)
            .chain([self.most])
            .collect();
        for value in (0..self.function.values.len()).rev().map(ValueId) {
            let axes = self.consumers(value).iter().map(|(consumer, i)| {
                if folds.contains(consumer) {
                    return folded(self.function, *consumer, *i);
                }
                let pairs = kept_axes(self.function, *consumer, *i);
                back(&pairs, *inside.get(consumer)?)
            });
            let axes: Option<HashSet<usize>> = axes.collect();
            let axes: Vec<usize> = axes.into_iter().flatten().collect();
            if let ([axis], false) = (&axes[..], self.function.results.contains(&value)) {
                inside.insert(value, *axis);
            }
        }
        inside
    }

    /// The values that depend on the maximum.
    fn made_from_most(&self) -> HashSet<ValueId> {
        let mut made = HashSet::new();
        for value in (self.most.0 + 1..self.function.values.len()).map(ValueId) {
            let operands = op(self.function, value).map_or(&[][..], |(_, _, operands)| operands);
            if operands.iter().any(|v| *v == self.most || made.contains(v)) {
                made.insert(value);
            }
        }
        made
    }

    /// The limits that the maximum and all sums keep, by the axes of the maximum.
    fn limits(&self, stages: &[Stage], sums: &[Sum]) -> Option<Vec<Limit>> {
        let of = |value: ValueId| {
            let stage = stages.iter().find(|stage| stage.value == value)?;
            let mut bounds = stage.bounds.iter().filter(|b| b.along == Along::Folded);
            Some(bounds.next().map_or(vec![], |bound| bound.limits.clone()))
        };
        let limits = of(self.most)?;
        for sum in sums {
            let to = |axis: usize| sum.axes.iter().position(|a| *a == axis);
            if moved(&of(sum.value)?, &to)? != limits {
                return None;
            }
        }
        Some(limits)
    }
}
