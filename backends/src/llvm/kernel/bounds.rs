//! From where to where a stage goes along an axis that a mask limits.

use inkwell::IntPredicate::{SGT, SLT};
use inkwell::values::{BasicValueEnum, IntValue};
use ir::Dim;

use super::index::{Index, LANES};
use super::{Extent, Kernel};
use crate::llvm::lanes::written;
use crate::loops::{Along, Limit, Linear, Stage, Term, folded, op, space};

type Value<'c> = BasicValueEnum<'c>;

impl<'c> Kernel<'_, '_, 'c> {
    /// A stage's extents, with its bounds; and that of the axis that it folds, if that has a bound.
    pub fn bounded(
        &mut self,
        stage: &Stage,
        extents: Vec<Extent<'c>>,
    ) -> (Vec<Extent<'c>>, Option<Extent<'c>>) {
        let function = self.function;
        let (mut each, mut over) = (extents.clone(), None);
        for bound in &stage.bounds {
            match bound.along {
                Along::Axis(axis) => {
                    let dim = &space(function, stage.value)[axis];
                    each[axis] = self.limited(&bound.limits, &extents, dim);
                }
                Along::Folded => {
                    let operand = op(function, stage.value).map(|(_, _, operands)| operands[0]);
                    let axis = folded(function, stage.value, 0);
                    let (operand, axis) = operand.zip(axis).expect("a fold of one axis");
                    let dim = &function.values[operand.0].ty.dims[axis];
                    over = Some(self.limited(&bound.limits, &extents, dim));
                }
            }
        }
        (each, over)
    }

    /// The whole vectors of an axis with every element that is within limits, for all indices along the other
    /// axes; where there is none for some of these, with the first element.
    pub fn limited(&mut self, limits: &[Limit], others: &[Extent<'c>], dim: &Dim) -> Extent<'c> {
        let length: Value = self.dim(dim).into();
        let mut axes: Vec<usize> = limits
            .iter()
            .flat_map(Limit::terms)
            .flat_map(|term| term.axes.clone())
            .collect();
        axes.sort_unstable();
        axes.dedup();
        let zero = self.flow.i64(0).into();
        let mut at = vec![None; others.len()];
        let [low, high] = self.hull(limits, others, &axes, &mut at, length, [length, zero]);
        let [units, up] = [-LANES, LANES - 1].map(|n| self.flow.i64(n).into());
        let high = self.flow.int_add(high, up);
        let high = self.flow.int_and(high, units);
        let high = self.least(high, length);
        let low = self.flow.int_and(low, units);
        let low = self.least(low, high);
        Extent {
            low: low.into_int_value(),
            high: high.into_int_value(),
            align: LANES,
            length: None,
            depth: self.flow.depth(),
        }
    }

    /// The least and the greatest end for all indices along these axes.
    fn hull(
        &mut self,
        limits: &[Limit],
        others: &[Extent<'c>],
        axes: &[usize],
        at: &mut Vec<Option<Index<'c>>>,
        length: Value<'c>,
        [low, high]: [Value<'c>; 2],
    ) -> [Value<'c>; 2] {
        let Some((axis, inner)) = axes.split_first() else {
            let [first, end] = self.ends(limits, at, length);
            return [self.least(low, first), self.most(high, end)];
        };
        let extent = others[*axis];
        let turns = self
            .flow
            .begin_loop([extent.low, extent.high], 1, &[low, high]);
        at[*axis] = Some(Index::uniform(turns.index, 1, turns.depth));
        let [low, high] = [turns.values[0], turns.values[1]];
        let next = self.hull(limits, others, inner, at, length, [low, high]);
        let ends = self.flow.end_loop(turns, &next);
        [ends[0], ends[1]]
    }

    /// The first element within limits and the end of these; of none, those of the first element.
    fn ends(
        &mut self,
        limits: &[Limit],
        at: &[Option<Index<'c>>],
        length: Value<'c>,
    ) -> [Value<'c>; 2] {
        let [zero, one]: [Value; 2] = [0, 1].map(|n| self.flow.i64(n).into());
        let (mut first, mut end) = (zero, length);
        for Limit { low, high } in limits {
            let [below, above] = [low, high].map(|sum| self.without_index(sum, at));
            let sides = [(low.along, below), (high.along, above)];
            let [a, b] = sides.map(|(along, rest)| self.fits(along, rest, length));
            let known = self.flow.int_and(a, b);
            if low.along > high.along {
                let last = self.flow.int_sub(above, below);
                let behind = self.flow.int_add(last, one);
                let less = self.least(behind, end);
                end = self.flow.pick(known, less, end);
            } else {
                let from = self.flow.int_sub(below, above);
                let more = self.most(from, first);
                first = self.flow.pick(known, more, first);
            }
        }
        let some = self.flow.int_compare(SLT, first, end);
        [
            self.flow.pick(some, first, zero),
            self.flow.pick(some, end, one),
        ]
    }

    /// What a sum adds to the index, as an i64.
    fn without_index(&mut self, sum: &Linear, at: &[Option<Index<'c>>]) -> Value<'c> {
        let i64s = self.flow.context.i64_type();
        let mut total: Value = self.flow.i64(sum.constant).into();
        for Term { plus, value, axes } in &sum.terms {
            let index = axes
                .iter()
                .map(|axis| at[*axis].expect("the axes of every term are gone through"));
            let index: Vec<Index> = index.collect();
            let term: IntValue = self.value(*value, &index).into_int_value();
            let term = written(self.flow.builder.build_int_s_extend(term, i64s, "")).into();
            total = match plus {
                true => self.flow.int_add(total, term),
                false => self.flow.int_sub(total, term),
            };
        }
        total
    }

    /// Whether a sum stays clear of the ends of i32 at every index, so that it is what its i32 value is.
    fn fits(&mut self, along: i64, rest: Value<'c>, length: Value<'c>) -> Value<'c> {
        let along = self.flow.i64(along).into();
        let moved = self.flow.int_mul(length, along);
        let last = self.flow.int_add(rest, moved);
        let (low, high) = (self.least(rest, last), self.most(rest, last));
        let [min, max] = [i32::MIN, i32::MAX].map(|end| self.flow.i64(end.into()).into());
        let above = self.flow.int_compare(SGT, low, min);
        let below = self.flow.int_compare(SLT, high, max);
        self.flow.int_and(above, below)
    }

    /// The smaller of two.
    pub fn least(&mut self, a: Value<'c>, b: Value<'c>) -> Value<'c> {
        let less = self.flow.int_compare(SLT, a, b);
        self.flow.pick(less, a, b)
    }

    /// The greater of two.
    fn most(&mut self, a: Value<'c>, b: Value<'c>) -> Value<'c> {
        let more = self.flow.int_compare(SGT, a, b);
        self.flow.pick(more, a, b)
    }
}
