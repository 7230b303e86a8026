//! Stages: loops over the part of a value that a tile needs.

use inkwell::IntPredicate;
use inkwell::types::VectorType;
use inkwell::values::{BasicValueEnum, IntValue, VectorValue};
use ir::{DType, Dim, Op, ValueId};

use super::index::{Index, LANES, gcd};
use super::memory::Memory;
use super::{Extent, Kernel};
use crate::llvm::convert;
use crate::llvm::lanes::written;
use crate::loops::{Stage, Work, axes, op};

/// Elements that a row of bf16 pairs is padded to.
pub const PAIRED: i64 = 2 * LANES;

type Value<'c> = BasicValueEnum<'c>;

/// What a fold does with a vector of lanes: from what was folded before to what is folded behind.
pub type Fold<'f, K, Index, Value> = &'f mut dyn FnMut(&mut K, Index, &[Value]) -> Vec<Value>;

impl<'c> Kernel<'_, '_, 'c> {
    /// Computes a stage; gives the memory that it wrote.
    pub fn stage(&mut self, stage: &Stage) -> Memory<'c> {
        let value = stage.value;
        let dtype = match stage.work {
            Work::Narrow => DType::BF16,
            _ => self.function.values[value.0].ty.dtype,
        };
        let home = self.home(value, &stage.parts, &stage.to, dtype);
        let extents = self.extents(stage);
        let (extents, folded) = self.bounded(stage, extents);
        let folded = self.block_of(value).or(folded);
        match stage.work {
            Work::Map => self.map(&extents, &home, &mut |kernel, at| kernel.fresh(value, at)),
            Work::Copy => self.map(&extents, &home, &mut |kernel, at| kernel.value(value, at)),
            Work::Narrow => self.narrow(value, &extents, &home),
            Work::Reduce => self.reduce(value, &extents, folded, &home),
            Work::Dot { narrow } => self.dot(value, &extents, folded, &home, narrow),
            Work::Put => self.put(value, &extents, &home),
        }
        home
    }

    /// Notes where a stage's value lies now.
    pub fn settle(&mut self, stage: &Stage, home: Memory<'c>) {
        match stage.work {
            Work::Copy | Work::Put => {}
            Work::Narrow => {
                self.narrowed.insert(stage.value, home);
            }
            Work::Map | Work::Reduce | Work::Dot { .. } => {
                let home = self.stands_for(stage.value).unwrap_or(home);
                self.memories.insert(stage.value, home);
            }
        }
    }

    /// A loop for each extent, one index at a time.
    pub fn each(
        &mut self,
        extents: &[Extent<'c>],
        at: &[Index<'c>],
        body: &mut dyn FnMut(&mut Self, &[Index<'c>]),
    ) {
        let Some((extent, inner)) = extents.split_first() else {
            return body(self, at);
        };
        if extent.length == Some(1) {
            let index = Index::uniform(extent.low, extent.align, extent.depth);
            return self.each(inner, &[at, &[index]].concat(), body);
        }
        let turns = self.flow.begin_loop([extent.low, extent.high], 1, &[]);
        let index = Index::uniform(turns.index, 1, turns.depth);
        self.each(inner, &[at, &[index]].concat(), body);
        self.flow.end_loop(turns, &[]);
    }

    /// An extent by vectors, the last of which may be partial and is then masked.
    pub fn vectors(&mut self, extent: Extent<'c>, body: &mut dyn FnMut(&mut Self, Index<'c>)) {
        let align = gcd(extent.align, LANES);
        let length = self.flow.int_sub(extent.high.into(), extent.low.into());
        let rest_mask = self.flow.i64(LANES - 1).into();
        let rest = self.flow.int_and(length, rest_mask);
        let end = self.flow.int_sub(extent.high.into(), rest).into_int_value();
        if extent.length.is_none_or(|n| n >= LANES) {
            let turns = self.flow.begin_loop([extent.low, end], LANES, &[]);
            body(self, Index::run(turns.index, align, turns.depth));
            self.flow.end_loop(turns, &[]);
        }
        if extent.length.is_none_or(|n| n % LANES != 0) {
            let zero = self.flow.i64(0).into();
            let some = self.flow.int_compare(IntPredicate::NE, rest, zero);
            let branch = self.flow.begin(some.into_int_value());
            let mask = self.first_lanes(rest, LANES);
            let before = self.flow.set_mask(Some(mask));
            let depth = self.flow.depth();
            body(self, Index::run(end, align, depth));
            self.flow.set_mask(before);
            self.flow.end(branch);
        }
    }

    /// A mask of so many lanes from the first.
    pub fn first_lanes(&mut self, count: Value<'c>, lanes: i64) -> VectorValue<'c> {
        let numbers: Vec<_> = (0..lanes).map(|i| self.flow.i64(i)).collect();
        let numbers = VectorType::const_vector(&numbers);
        let count = self.flow.splat_to(count, lanes as u32);
        let mask = self
            .flow
            .int_compare(IntPredicate::SLT, numbers.into(), count);
        mask.into_vector_value()
    }

    /// Element by element, in vectors along the last axis.
    pub fn map(
        &mut self,
        extents: &[Extent<'c>],
        home: &Memory<'c>,
        value: &mut dyn FnMut(&mut Self, &[Index<'c>]) -> Value<'c>,
    ) {
        let Some((last, outer)) = extents.split_last() else {
            let result = value(self, &[]);
            let offset = self.flow.offset(home, &[]);
            return self.flow.store(home, offset, result);
        };
        self.each(outer, &[], &mut |kernel, at| {
            kernel.vectors(*last, &mut |kernel, lanes| {
                let at = [at, &[lanes]].concat();
                let result = value(kernel, &at);
                let offset = kernel.flow.offset(home, &at);
                kernel.flow.store(home, offset, result);
            });
        });
    }

    /// Element by element, rounded to bf16, each row padded with zeros to whole vectors of pairs.
    fn narrow(&mut self, value: ValueId, extents: &[Extent<'c>], home: &Memory<'c>) {
        let (last, outer) = extents.split_last().expect("a dot's operand has an axis");
        let padded = last.length.is_some_and(|n| n % PAIRED == 0);
        self.each(outer, &[], &mut |kernel, at| {
            if !padded {
                let zero = kernel.flow.i64(0);
                let up = kernel.flow.i64(PAIRED - 1).into();
                let count = kernel.flow.int_add(last.high.into(), up);
                let unit = kernel.flow.i64(PAIRED).into();
                let count = kernel.flow.int_div(count, unit);
                let count = kernel.flow.int_mul(count, unit).into_int_value();
                let turns = kernel.flow.begin_loop([zero, count], LANES, &[]);
                let lanes = Index::run(turns.index, LANES, turns.depth);
                let offset = kernel.flow.offset(home, &[at, &[lanes]].concat());
                let none = kernel.flow.context.i16_type().const_zero();
                kernel.flow.store(home, offset, none.into());
                kernel.flow.end_loop(turns, &[]);
            }
            kernel.vectors(*last, &mut |kernel, lanes| {
                let at = [at, &[lanes]].concat();
                let result = kernel.value(value, &at);
                let result = kernel.flow.splat(result).into_vector_value();
                let narrow = convert::f32_to_bf16(kernel.flow.site(), result);
                let offset = kernel.flow.offset(home, &at);
                kernel.flow.store(home, offset, narrow.into());
            });
        });
    }

    /// Folds vectors of lanes along the flattened axes of a contraction, from the first of a vector; a partial
    /// one leaves its other lanes as they were.
    pub fn fold(
        &mut self,
        extent: Extent<'c>,
        step: i64,
        start: &[Value<'c>],
        body: Fold<'_, Self, Index<'c>, Value<'c>>,
    ) -> Vec<Value<'c>> {
        let mask = self.flow.i64(step - 1).into();
        let rest = self.flow.int_and(extent.high.into(), mask);
        let end = self.flow.int_sub(extent.high.into(), rest);
        let end = end.into_int_value();
        let mut folded = start.to_vec();
        let known = extent.length;
        if known.is_none_or(|n| n >= step) {
            let turns = self.flow.begin_loop([extent.low, end], step, start);
            let next = body(
                self,
                Index::run(turns.index, step, turns.depth),
                &turns.values,
            );
            folded = self.flow.end_loop(turns, &next);
        }
        if known.is_none_or(|n| n % step != 0) {
            let zero = self.flow.i64(0).into();
            let some = self.flow.int_compare(IntPredicate::NE, rest, zero);
            let branch = self.flow.begin(some.into_int_value());
            let mask = self.first_lanes(rest, step);
            let before = self.flow.set_mask(Some(mask));
            let depth = self.flow.depth();
            let mut next = body(self, Index::run(end, step, depth), &folded);
            self.flow.set_mask(before);
            if step == LANES {
                for (next, old) in next.iter_mut().zip(&folded) {
                    *next = self.flow.pick(mask.into(), *next, *old);
                }
            }
            let branch = self.flow.otherwise(branch, next);
            folded = self.flow.join(branch, &folded);
        }
        folded
    }

    /// One number of 16 lanes: i with i+8, +4, +2, +1.
    pub fn combine(
        &mut self,
        lanes: Value<'c>,
        with: &mut dyn FnMut(&mut Self, Value<'c>, Value<'c>) -> Value<'c>,
    ) -> Value<'c> {
        let mut lanes = lanes.into_vector_value();
        let i32s = self.flow.context.i32_type();
        for half in [8u64, 4, 2, 1] {
            let part = |from: u64| {
                let order: Vec<_> = (0..half).map(|i| i32s.const_int(from + i, false)).collect();
                let order = VectorType::const_vector(&order);
                let none = lanes.get_type().get_undef();
                written(
                    self.flow
                        .builder
                        .build_shuffle_vector(lanes, none, order, ""),
                )
            };
            let (low, high) = (part(0), part(half));
            lanes = with(self, low.into(), high.into()).into_vector_value();
        }
        let zero = i32s.const_zero();
        written(self.flow.builder.build_extract_element(lanes, zero, ""))
    }

    /// An index along several axes at once, row-major, as one along each.
    pub fn unflattened(&mut self, flat: Index<'c>, dims: &[Dim]) -> Vec<Index<'c>> {
        let mut rest = flat;
        let mut each = Vec::new();
        for i in 1..dims.len() {
            let inner = self.divisor(&Dim::product(&dims[i..]));
            let (outer, inside) = self.flow.index_split(rest, inner);
            each.push(outer);
            rest = inside;
        }
        if !dims.is_empty() {
            each.push(rest);
        }
        each
    }

    /// A length to divide by: 1 where it is 0, and there is no element of which the index is split.
    fn divisor(&mut self, dim: &Dim) -> IntValue<'c> {
        let length = self.dim(dim);
        let range = self.shared.dims.range(dim);
        if range.is_some_and(|(low, _)| low > 0) {
            return length;
        }
        self.flow.at_depth(0, |flow| {
            let one = flow.i64(1).into();
            let none = flow.int_compare(IntPredicate::SLT, length.into(), one);
            flow.pick(none, one, length.into()).into_int_value()
        })
    }

    fn reduce(
        &mut self,
        value: ValueId,
        extents: &[Extent<'c>],
        bounded: Option<Extent<'c>>,
        home: &Memory<'c>,
    ) {
        let function = self.function;
        let Some((kind, attrs, [operand])) = op(function, value) else {
            panic!("a reduction has one operand");
        };
        let gone = axes(attrs, 0);
        let from = &function.values[operand.0].ty.dims;
        let dims: Vec<Dim> = gone.iter().map(|axis| from[*axis].clone()).collect();
        let total = self.extent(&Dim::product(&dims), None);
        let f32s = self.flow.context.f32_type();
        let start = match kind {
            Op::ReduceSum => f32s.const_zero(),
            _ => f32s.const_float(f64::NEG_INFINITY),
        };
        let start = self.flow.splat(start.into());
        let sums = kind == Op::ReduceSum;
        let mut with = move |kernel: &mut Self, a: Value<'c>, b: Value<'c>| match sums {
            true => kernel.flow.float_add(a, b),
            false => {
                let more = kernel
                    .flow
                    .float_compare(inkwell::FloatPredicate::OGT, a, b);
                kernel.flow.pick(more, a, b)
            }
        };
        self.each(extents, &[], &mut |kernel, at| {
            let extent = bounded.unwrap_or(total);
            let folded = kernel.fold(extent, LANES, &[start], &mut |kernel, flat, lanes| {
                let inner = kernel.unflattened(flat, &dims);
                let mut kept = at.iter();
                let each =
                    (0..from.len()).map(|axis| match gone.iter().position(|gone| *gone == axis) {
                        Some(i) => inner[i],
                        None => *kept.next().expect("a kept axis is one of the result"),
                    });
                let each: Vec<Index> = each.collect();
                let x = kernel.value(*operand, &each);
                vec![with(kernel, lanes[0], x)]
            });
            let mut folded = folded[0];
            if bounded.is_some() && !sums && !kernel.raises(value) {
                // A maximum forgets a NaN where a number follows, also one that is left out.
                let behind = kernel.flow.int_sub(total.high.into(), extent.high.into());
                let mask = kernel.first_lanes(behind, LANES);
                let more = with(kernel, folded, start);
                folded = kernel.flow.pick(mask.into(), more, folded);
            }
            let result = kernel.combine(folded, &mut with);
            if kernel.raises(value) {
                return kernel.raise(home, at, result, &mut with);
            }
            kernel.put_sum(value, home, at, result);
        });
    }

    /// Rows of a put, in order; into a copy of the state, if the result is not the state's own memory. What the
    /// kernel itself makes is put there element by element.
    fn put(&mut self, value: ValueId, extents: &[Extent<'c>], home: &Memory<'c>) {
        let function = self.function;
        let Some((_, _, [state, slot, index, rows])) = op(function, value) else {
            panic!("a put has four operands");
        };
        let dims = &function.values[state.0].ty.dims;
        let given = self.memories.get(state).filter(|memory| !memory.own);
        match given.cloned() {
            Some(memory) => self.copy_unless_same(memory, home, &Dim::product(dims)),
            None => {
                let all: Vec<Extent> = dims.iter().map(|dim| self.extent(dim, None)).collect();
                self.map(&all, home, &mut |kernel, at| kernel.value(*state, at));
            }
        }
        let (first, inner) = extents.split_first().expect("a put's rows have an axis");
        self.each(&[*first], &[], &mut |kernel, row| {
            let slot = kernel.looked_up(*slot, row[0], &dims[0]);
            let index = kernel.looked_up(*index, row[0], &dims[1]);
            let Some((last, outer)) = inner.split_last() else {
                let element = kernel.value(*rows, row);
                let offset = kernel.flow.offset(home, &[slot, index]);
                return kernel.flow.store(home, offset, element);
            };
            kernel.each(outer, &[], &mut |kernel, at| {
                kernel.vectors(*last, &mut |kernel, lanes| {
                    let element = kernel.value(*rows, &[row, at, &[lanes]].concat());
                    let to = [&[slot, index], at, &[lanes]].concat();
                    let offset = kernel.flow.offset(home, &to);
                    kernel.flow.store(home, offset, element);
                });
            });
        });
    }

    fn copy_unless_same(&mut self, mut from: Memory<'c>, home: &Memory<'c>, total: &Dim) {
        let mut to = home.clone();
        let i64s = self.flow.context.i64_type();
        let address = |pointer| written(self.flow.builder.build_ptr_to_int(pointer, i64s, ""));
        let (a, b) = (address(from.pointer), address(to.pointer));
        let differ = self.flow.int_compare(IntPredicate::NE, a.into(), b.into());
        let one = self.flow.i64(1);
        (from.strides, to.strides) = (vec![one], vec![one]);
        let branch = self.flow.begin(differ.into_int_value());
        let depth = self.flow.depth();
        let extent = Extent {
            low: self.flow.i64(0),
            high: self.dim(total),
            align: 0,
            length: total.as_const(),
            depth,
        };
        self.vectors(extent, &mut |kernel, lanes| {
            let old = kernel.flow.load(&from, lanes);
            kernel.flow.store(&to, lanes, old);
        });
        self.flow.end(branch);
    }
}
