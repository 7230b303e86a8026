//! A sweep: the loop over an axis's blocks, and what its maximum and its sums carry from block to block.

use inkwell::values::BasicValueEnum;
use ir::{DType, ValueId, math};

use super::flow;
use super::index::Index;
use super::memory::Memory;
use super::{Extent, Kernel};
use crate::loops::{Home, Part, Stage, Sweep, space};

type Value<'c> = BasicValueEnum<'c>;

/// What a sweep keeps beside its maximum.
pub struct Carried<'c> {
    /// What stands for the maximum.
    shift: Memory<'c>,
    /// The factor for sums.
    decay: Memory<'c>,
}

/// A sweep that has begun.
pub struct Swept<'c> {
    most: (ValueId, Memory<'c>),
    blocks: flow::Loop<'c>,
    scope: flow::Stage<'c>,
}

impl<'c> Kernel<'_, '_, 'c> {
    /// Begins the loop over a sweep's blocks, with sums of nothing yet.
    pub fn begin_sweep(&mut self, sweep: &Sweep) -> Swept<'c> {
        let scope = self.flow.begin_stage();
        let f32s = self.flow.context.f32_type();
        let mut most = None;
        for stage in &self.nest.stages[sweep.stages.clone()] {
            let is_most = stage.value == sweep.most;
            if !is_most && sweep.sums.iter().all(|sum| sum.value != stage.value) {
                continue;
            }
            let extents = self.extents(stage);
            let begin = |kernel: &mut Self, to: &Home, start: f32| {
                let start: Value = f32s.const_float(start.into()).into();
                let home = kernel.home(stage.value, &stage.parts, to, DType::F32);
                kernel.map(&extents, &home, &mut |_, _| start);
                home
            };
            if is_most {
                let home = begin(self, &stage.to, f32::NEG_INFINITY);
                let shift = begin(self, &sweep.shift, f32::MIN);
                let decay = self.home(stage.value, &stage.parts, &sweep.decay, DType::F32);
                self.carried = Some(Carried { shift, decay });
                let ends = match sweep.limits.is_empty() {
                    true => self.extent(&sweep.tile.extent, None),
                    false => self.limited(&sweep.limits, &extents, &sweep.tile.extent),
                };
                most = Some((home, ends));
            } else {
                begin(self, &stage.to, 0.0);
            }
        }
        let (home, ends) = most.expect("the maximum is one of the stages inside");
        let Extent { low, high, .. } = ends;
        let blocks = self.flow.begin_loop([low, high], sweep.tile.size, &[]);
        let size = self.flow.i64(sweep.tile.size).into();
        let end = self.flow.int_add(blocks.index.into(), size);
        let end = self.least(end, high.into()).into_int_value();
        self.tile.push(([blocks.index, end], blocks.depth));
        Swept {
            most: (sweep.most, home),
            blocks,
            scope,
        }
    }

    /// Ends it: the maximum is from now on what it is.
    pub fn end_sweep(&mut self, swept: Swept<'c>) {
        self.tile.pop();
        self.flow.end_loop(swept.blocks, &[]);
        self.flow.end_stage(swept.scope);
        let (most, home) = swept.most;
        self.memories.insert(most, home);
    }

    /// From where to where a stage goes along its value's axes.
    pub fn extents(&mut self, stage: &Stage) -> Vec<Extent<'c>> {
        let dims = space(self.function, stage.value).iter();
        let each = dims.zip(&stage.parts);
        each.map(|(dim, part)| self.extent(dim, *part)).collect()
    }

    /// The present block, if a value folds the axis that is swept.
    pub fn block_of(&mut self, value: ValueId) -> Option<Extent<'c>> {
        let sweep = self.nest.sweep.as_ref()?;
        let folds = sweep.most == value || sweep.sums.iter().any(|sum| sum.value == value);
        let part = Part {
            tile: self.nest.tiles.len(),
            per: 1,
            of: 1,
        };
        folds.then(|| self.extent(&sweep.tile.extent, Some(part)))
    }

    /// Whether a value is the maximum of a sweep.
    pub fn raises(&self, value: ValueId) -> bool {
        let sweep = self.nest.sweep.as_ref();
        sweep.is_some_and(|sweep| sweep.most == value)
    }

    /// What is read inside a sweep in place of its maximum.
    pub fn stands_for(&self, value: ValueId) -> Option<Memory<'c>> {
        let carried = self.carried.as_ref().filter(|_| self.raises(value));
        Some(carried?.shift.clone())
    }

    /// Takes a block's maximum in, and keeps the factor that this makes for the sums so far.
    pub fn raise(
        &mut self,
        home: &Memory<'c>,
        at: &[Index<'c>],
        found: Value<'c>,
        greater: &mut dyn FnMut(&mut Self, Value<'c>, Value<'c>) -> Value<'c>,
    ) {
        let offset = self.flow.offset(home, at);
        let old = self.flow.load(home, offset);
        let new = greater(self, old, found);
        self.flow.store(home, offset, new);
        let carried = self.carried.as_ref().expect("a sweep has begun");
        let (shift, decay) = (carried.shift.clone(), carried.decay.clone());
        let lowest: Value = self
            .flow
            .context
            .f32_type()
            .const_float(f32::MIN.into())
            .into();
        let new = greater(self, new, lowest);
        let offset = self.flow.offset(&shift, at);
        let old = self.flow.load(&shift, offset);
        self.flow.store(&shift, offset, new);
        let less = self.flow.float_sub(old, new);
        let factor = self.lanewise(less, |x| math::exp(x).value);
        let offset = self.flow.offset(&decay, at);
        self.flow.store(&decay, offset, factor);
    }

    /// Stores a sum; in a sweep, with what was summed before.
    pub fn put_sum(&mut self, value: ValueId, home: &Memory<'c>, at: &[Index<'c>], sum: Value<'c>) {
        let offset = self.flow.offset(home, at);
        let mut sums = self.nest.sweep.iter().flat_map(|sweep| &sweep.sums);
        let Some(carried) = sums.find(|sum| sum.value == value) else {
            return self.flow.store(home, offset, sum);
        };
        let by: Vec<Index> = carried.axes.iter().map(|axis| at[*axis]).collect();
        let made = self.carried.as_ref().expect("a sweep has begun");
        let decay = made.decay.clone();
        let factor = self.flow.offset(&decay, &by);
        let factor = self.flow.load(&decay, factor);
        let before = self.flow.load(home, offset);
        let before = self.flow.float_mul(before, factor);
        let sum = self.flow.float_add(before, sum);
        self.flow.store(home, offset, sum);
    }
}
