//! The value of an element, or of a vector of them, at an index: one arm for each op that is computed in
//! place.

use inkwell::FloatPredicate::{OEQ, OGT, OLE, OLT};
use inkwell::IntPredicate::{EQ, SGT, SLE, SLT, UGE};
use inkwell::values::{BasicValueEnum, IntValue, VectorValue};
use ir::math::{self, Lane};
use ir::{Attr, DType, Dim, Literal, Op, ValueId};

use super::Kernel;
use super::index::{Index, LANES, Place};
use super::memory::Memory;
use crate::llvm::convert;
use crate::llvm::lanes::{Lanes, written};
use crate::loops::{axes, axis, groups, op};

type Value<'c> = BasicValueEnum<'c>;

fn dim(attrs: &[Attr], i: usize) -> &Dim {
    match attrs.get(i) {
        Some(Attr::Dim(dim)) => dim,
        other => panic!("attribute {i} of a verified op is a dim, not {other:?}"),
    }
}

fn literals(attrs: &[Attr]) -> &[Literal] {
    match attrs.last() {
        Some(Attr::Literals(literals)) => literals,
        other => panic!("a verified constant ends in literals, not {other:?}"),
    }
}

impl<'c> Kernel<'_, '_, 'c> {
    /// The outermost scope in which a value at an index can be written.
    fn depth_of(&self, value: ValueId, at: &[Index<'c>]) -> usize {
        let deepest = at.iter().map(|index| index.depth).max().unwrap_or(0);
        match self.memories.get(&value) {
            Some(memory) if !memory.own => deepest,
            _ => deepest.max(self.flow.floor()),
        }
    }

    /// The value at an index: one element, or a vector where an index moves from lane to lane.
    pub fn value(&mut self, value: ValueId, at: &[Index<'c>]) -> Value<'c> {
        let depth = self.depth_of(value, at);
        let key = (value, at.to_vec());
        if let Some(known) = self.flow.written_at(depth, &key) {
            return known;
        }
        let memory = self.memories.get(&value).cloned();
        let result = match memory {
            Some(memory) => self.read(&memory, at, depth),
            None => self.within(depth, |kernel| kernel.compute(value, at)),
        };
        self.flow.remember(depth, key, result);
        result
    }

    /// The value in place of which memory is not looked at: what a stage computes.
    pub fn fresh(&mut self, value: ValueId, at: &[Index<'c>]) -> Value<'c> {
        let depth = self.depth_of(value, at).max(self.flow.floor());
        self.within(depth, |kernel| kernel.compute(value, at))
    }

    fn read(&mut self, memory: &Memory<'c>, at: &[Index<'c>], depth: usize) -> Value<'c> {
        let offset = self.flow.offset(memory, at);
        self.flow.at_depth(depth, |flow| flow.load(memory, offset))
    }

    /// Writes in an outer scope.
    fn within<T>(&mut self, depth: usize, write: impl FnOnce(&mut Self) -> T) -> T {
        let from = self.flow.leave(depth);
        let result = write(self);
        self.flow.come_back(from);
        result
    }

    fn compute(&mut self, value: ValueId, at: &[Index<'c>]) -> Value<'c> {
        let function = self.function;
        let Some((kind, attrs, operands)) = op(function, value) else {
            panic!("a parameter lies in memory");
        };
        let ty = &function.values[value.0].ty;
        match kind {
            Op::Neg => self.math(operands[0], at, |x| -x),
            Op::Exp => self.math(operands[0], at, |x| math::exp(x)),
            Op::Log => self.math(operands[0], at, |x| math::log(x)),
            Op::Tanh => self.math(operands[0], at, |x| math::tanh(x)),
            Op::Sin => self.math(operands[0], at, |x| math::sin(x)),
            Op::Cos => self.math(operands[0], at, |x| math::cos(x)),
            Op::Sqrt => self.math(operands[0], at, |x| x.sqrt()),
            Op::Rsqrt => self.math(operands[0], at, |x| x.constant(1.0) / x.sqrt()),
            Op::Add | Op::Sub | Op::Mul | Op::Div | Op::Max | Op::Min => {
                let (a, b) = (self.value(operands[0], at), self.value(operands[1], at));
                self.arithmetic(kind, ty.dtype, a, b)
            }
            Op::Rem => {
                let (a, b) = (self.value(operands[0], at), self.value(operands[1], at));
                self.modulo(a, b)
            }
            Op::Lt | Op::Le | Op::Eq => {
                let (a, b) = (self.value(operands[0], at), self.value(operands[1], at));
                let (floats, ints) = match kind {
                    Op::Lt => (OLT, SLT),
                    Op::Le => (OLE, SLE),
                    _ => (OEQ, EQ),
                };
                match function.values[operands[0].0].ty.dtype {
                    DType::I32 => self.flow.int_compare(ints, a, b),
                    _ => self.flow.float_compare(floats, a, b),
                }
            }
            Op::And => {
                let (a, b) = (self.value(operands[0], at), self.value(operands[1], at));
                self.flow.int_and(a, b)
            }
            Op::Or => {
                let (a, b) = (self.value(operands[0], at), self.value(operands[1], at));
                self.flow.int_or(a, b)
            }
            Op::Not => {
                let a = self.value(operands[0], at);
                let one = self.flow.context.bool_type().const_all_ones();
                self.flow.int_xor(a, one.into())
            }
            Op::Select => {
                let condition = self.value(operands[0], at);
                let (a, b) = (self.value(operands[1], at), self.value(operands[2], at));
                self.flow.pick(condition, a, b)
            }
            Op::Cast => {
                let x = self.value(operands[0], at);
                self.cast(x, function.values[operands[0].0].ty.dtype, ty.dtype)
            }
            Op::Const => self.constant(ty, literals(attrs), at),
            Op::Iota => self.flow.index_as_i32(at[0]),
            Op::Reshape => {
                let from = function.values[operands[0].0].ty.dims.clone();
                let at = self.reshaped(&from, &ty.dims, at);
                self.value(operands[0], &at)
            }
            Op::Transpose => {
                let moved = axes(attrs, 0);
                let mut from = at.to_vec();
                for (to, axis) in moved.iter().enumerate() {
                    from[*axis] = at[to];
                }
                self.value(operands[0], &from)
            }
            Op::Broadcast => {
                let from: Vec<Index> = axes(attrs, 1).iter().map(|axis| at[*axis]).collect();
                self.value(operands[0], &from)
            }
            Op::Slice => {
                let start = self.dim(dim(attrs, 1));
                let mut from = at.to_vec();
                let axis = axis(attrs, 0);
                from[axis] = self.flow.index_offset(from[axis], start);
                self.value(operands[0], &from)
            }
            Op::Concat => self.concat(operands, axis(attrs, 0), at),
            Op::Take => {
                let axis = axis(attrs, 0);
                let length = function.values[operands[0].0].ty.dims[axis].clone();
                let mut from = at.to_vec();
                from[axis] = self.looked_up(operands[1], at[axis], &length);
                self.value(operands[0], &from)
            }
            Op::ReduceSum | Op::ReduceMax | Op::Dot | Op::Put => {
                panic!("{} is computed by a stage", kind.def().name)
            }
            Op::Dequant | Op::Quantize => panic!("block formats are refused before"),
        }
    }

    /// A function of one number.
    fn math(
        &mut self,
        operand: ValueId,
        at: &[Index<'c>],
        function: impl for<'x> Fn(Lanes<'x, 'c>) -> Lanes<'x, 'c>,
    ) -> Value<'c> {
        let x = self.value(operand, at);
        self.lanewise(x, |x| function(x).value)
    }

    /// A function of vectors, of a vector or of one element.
    pub fn lanewise(
        &mut self,
        x: Value<'c>,
        f: impl Fn(Lanes<'_, 'c>) -> VectorValue<'c>,
    ) -> Value<'c> {
        let site = self.flow.site();
        if let Value::VectorValue(value) = x {
            return f(Lanes { site, value }).into();
        }
        let zero = self.flow.context.i32_type().const_zero();
        let single = super::flow::vector_of(x.get_type(), 1).get_undef();
        let value = written(site.builder.build_insert_element(single, x, zero, ""));
        let result = f(Lanes { site, value });
        written(site.builder.build_extract_element(result, zero, ""))
    }

    /// Arithmetic on two numbers, floats or integers; the second where a comparison says neither.
    fn arithmetic(&mut self, kind: Op, dtype: DType, a: Value<'c>, b: Value<'c>) -> Value<'c> {
        let flow = &mut self.flow;
        match (kind, dtype) {
            (Op::Add, DType::I32) => flow.int_add(a, b),
            (Op::Sub, DType::I32) => flow.int_sub(a, b),
            (Op::Mul, DType::I32) => flow.int_mul(a, b),
            (Op::Add, _) => flow.float_add(a, b),
            (Op::Sub, _) => flow.float_sub(a, b),
            (Op::Mul, _) => flow.float_mul(a, b),
            (Op::Div, _) => flow.float_div(a, b),
            _ => {
                let first = match (kind, dtype) {
                    (Op::Max, DType::I32) => flow.int_compare(SGT, a, b),
                    (Op::Max, _) => flow.float_compare(OGT, a, b),
                    (_, DType::I32) => flow.int_compare(SLT, a, b),
                    _ => flow.float_compare(OLT, a, b),
                };
                flow.pick(first, a, b)
            }
        }
    }

    /// `a` modulo `b`, with the sign of `b`; 0 where `b` is 0.
    fn modulo(&mut self, a: Value<'c>, b: Value<'c>) -> Value<'c> {
        let i32s = self.flow.context.i32_type();
        let (zero, one) = (i32s.const_zero().into(), i32s.const_int(1, false).into());
        let all: Value = i32s.const_all_ones().into();
        // By 0 nothing is divided; by -1 the smallest integer cannot be, and every rest is 0.
        let is_zero = self.flow.int_compare(EQ, b, zero);
        let is_less = self.flow.int_compare(EQ, b, all);
        let special = self.flow.int_or(is_zero, is_less);
        let by = self.flow.pick(special, one, b);
        let rest = self.flow.int_signed_rem(a, by);
        let signs = self.flow.int_xor(rest, b);
        let differ = self.flow.int_compare(SLT, signs, zero);
        let some = self.flow.int_compare(EQ, rest, zero);
        let moved = self.flow.int_add(rest, b);
        let moved = self.flow.pick(differ, moved, rest);
        self.flow.pick(some, rest, moved)
    }

    fn cast(&mut self, x: Value<'c>, from: DType, to: DType) -> Value<'c> {
        let convert = |lanes: Lanes<'_, 'c>| {
            let (site, x) = (lanes.site, lanes.value);
            match (from, to) {
                (DType::BF16, DType::F32) => convert::bf16_to_f32(site, x),
                (DType::F16, DType::F32) => convert::f16_to_f32(site, x),
                (DType::I32, DType::F32) => convert::i32_to_f32(site, x),
                (DType::F32, DType::BF16) => convert::f32_to_bf16(site, x),
                (DType::F32, DType::F16) => convert::f32_to_f16(site, x),
                (from, to) if from == to => x,
                (from, to) => panic!("a verified cast is not from {from} to {to}"),
            }
        };
        self.lanewise(x, convert)
    }

    fn constant(&mut self, ty: &ir::Type, literals: &[Literal], at: &[Index<'c>]) -> Value<'c> {
        if let [one] = literals {
            return self.literal(ty.dtype, *one);
        }
        let memory = self.table(ty, literals);
        let offset = self.flow.offset(&memory, at);
        self.flow.load(&memory, offset)
    }

    /// An index through a reshape.
    fn reshaped(&mut self, from: &[Dim], to: &[Dim], at: &[Index<'c>]) -> Vec<Index<'c>> {
        let zero = Index::uniform(self.flow.i64(0), 0, 0);
        let mut moved = vec![zero; from.len()];
        for group in groups(from, to) {
            let mut flat = zero;
            for axis in group.to.clone() {
                let inner = self.dim(&Dim::product(&to[axis + 1..group.to.end]));
                let part = self.flow.index_times(at[axis], inner);
                flat = self.flow.index_add(flat, part);
            }
            let one = Dim::from(1i64);
            let real: Vec<usize> = group.from.clone().filter(|i| from[*i] != one).collect();
            let lengths: Vec<Dim> = real.iter().map(|axis| from[*axis].clone()).collect();
            let split = self.unflattened(flat, &lengths);
            for (axis, index) in real.iter().zip(split) {
                moved[*axis] = index;
            }
        }
        moved
    }

    /// An element of one of several values after one another.
    fn concat(&mut self, operands: &[ValueId], axis: usize, at: &[Index<'c>]) -> Value<'c> {
        let function = self.function;
        let lengths: Vec<Dim> = operands
            .iter()
            .map(|o| function.values[o.0].ty.dims[axis].clone())
            .collect();
        let mut starts = vec![Dim::from(0i64)];
        for length in &lengths {
            let start = starts.last().expect("there is a first") + length;
            starts.push(start);
        }
        let one = match at[axis].place {
            Place::Affine { stride: 0, .. } => true,
            Place::Affine {
                stride: 1, align, ..
            } => {
                let whole = |d: &Dim| d.as_const().is_some_and(|n| n % LANES == 0);
                align % LANES == 0 && starts.iter().all(whole)
            }
            _ => false,
        };
        match one {
            true => self.concat_one(operands, &starts, axis, at),
            false => self.concat_lanes(operands, &starts, axis, at),
        }
    }

    /// All lanes lie in one part: only that is computed.
    fn concat_one(
        &mut self,
        operands: &[ValueId],
        starts: &[Dim],
        axis: usize,
        at: &[Index<'c>],
    ) -> Value<'c> {
        let part = |kernel: &mut Self, operand: ValueId| {
            let mut from = at.to_vec();
            let start = kernel.dim(&starts[0]);
            let back = kernel.flow.negated(start);
            // What lies outside of the part must not be read before it is known to be inside.
            from[axis].depth = from[axis].depth.max(kernel.flow.depth());
            from[axis] = kernel.flow.index_offset(from[axis], back);
            let value = kernel.value(operand, &from);
            let wide = at.iter().any(|index| !index.is_uniform());
            if wide {
                kernel.flow.splat(value)
            } else {
                value
            }
        };
        let ([first], [..]) = (operands, starts) else {
            let Place::Affine { base, .. } = at[axis].place else {
                panic!("one part for all lanes has a first lane");
            };
            let end = self.dim(&starts[1]);
            let inside = self.flow.int_compare(SLT, base.into(), end.into());
            let branch = self.flow.begin(inside.into_int_value());
            let here = part(self, operands[0]);
            let branch = self.flow.otherwise(branch, vec![here]);
            let there = self.concat_one(&operands[1..], &starts[1..], axis, at);
            return self.flow.join(branch, &[there])[0];
        };
        part(self, *first)
    }

    /// Each lane from its own part: all are computed that have elements, at indices that they have.
    fn concat_lanes(
        &mut self,
        operands: &[ValueId],
        starts: &[Dim],
        axis: usize,
        at: &[Index<'c>],
    ) -> Value<'c> {
        let depth = at[axis].depth;
        let lanes: Value = self
            .flow
            .at_depth(depth, |flow| flow.lanes_of(at[axis]))
            .into();
        let mut result: Option<Value> = None;
        for (i, operand) in operands.iter().enumerate() {
            let (start, end) = (self.dim(&starts[i]), self.dim(&starts[i + 1]));
            let zero: Value = self.flow.i64(0).into();
            let index = self.flow.at_depth(depth, |flow| {
                let last = flow.int_sub(end.into(), start.into());
                let one = flow.i64(1).into();
                let last = flow.int_sub(last, one);
                let lanes = flow.int_sub(lanes, start.into());
                let over = flow.int_compare(SGT, lanes, last);
                let lanes = flow.pick(over, last, lanes);
                let under = flow.int_compare(SLT, lanes, zero);
                flow.pick(under, zero, lanes)
            });
            let mut from = at.to_vec();
            from[axis] = Index {
                place: Place::Any(index.into_vector_value()),
                depth,
            };
            let length = &starts[i + 1] - &starts[i];
            let some = self.shared.dims.proves_le(&Dim::from(1i64), &length);
            let part = match some {
                true => self.value(*operand, &from),
                false => self.where_some(*operand, [start, end], axis, from),
            };
            result = Some(match result {
                None => part,
                Some(before) => {
                    let here = self.flow.int_compare(UGE, lanes, start.into());
                    self.flow.pick(here, part, before)
                }
            });
        }
        result.expect("a verified concat has an operand")
    }

    /// The value at an index if its axis has elements: of one that has none, there is nothing to read.
    fn where_some(
        &mut self,
        value: ValueId,
        [start, end]: [IntValue<'c>; 2],
        axis: usize,
        mut at: Vec<Index<'c>>,
    ) -> Value<'c> {
        let some = self.flow.int_compare(SLT, start.into(), end.into());
        let branch = self.flow.begin(some.into_int_value());
        at[axis].depth = at[axis].depth.max(self.flow.depth());
        let found = self.value(value, &at);
        let found = self.flow.splat(found);
        let none = found.get_type().const_zero();
        let branch = self.flow.otherwise(branch, vec![found]);
        self.flow.join(branch, &[none])[0]
    }

    /// A computed index, held within its axis; one outside of it is counted, unless its lane is masked out.
    pub fn looked_up(&mut self, index: ValueId, at: Index<'c>, length: &Dim) -> Index<'c> {
        let depth = self.depth_of(index, &[at]);
        let length = self.dim(length);
        let found = self.value(index, &[at]);
        self.within(depth, |kernel| {
            let flow = &mut kernel.flow;
            let wide = |flow: &super::flow::Flow<'_, 'c>| match found {
                Value::VectorValue(lanes) => {
                    let i64s = flow.context.i64_type().vec_type(LANES as u32);
                    written(flow.builder.build_int_s_extend(lanes, i64s, "")).into()
                }
                one => {
                    let i64s = flow.context.i64_type();
                    written(
                        flow.builder
                            .build_int_s_extend(one.into_int_value(), i64s, ""),
                    )
                    .into()
                }
            };
            let found: Value = wide(flow);
            let outside = flow.int_compare(UGE, found, length.into());
            let zero = flow.i64(0).into();
            let held = flow.pick(outside, zero, found);
            kernel.count(outside);
            let place = match held {
                Value::VectorValue(lanes) => Place::Any(lanes),
                one => Place::Affine {
                    base: one.into_int_value(),
                    stride: 0,
                    align: 1,
                },
            };
            Index { place, depth }
        })
    }

    /// Counts an index outside of its axis.
    fn count(&mut self, outside: Value<'c>) {
        let outside = match self.flow.mask().filter(|_| outside.is_vector_value()) {
            Some(mask) => self.flow.int_and(outside, mask.into()),
            None => outside,
        };
        let i64s = self.flow.context.i64_type();
        let builder = &self.flow.builder;
        let any: IntValue = match outside {
            Value::VectorValue(lanes) => {
                let bits = self.flow.context.i16_type();
                let bits = written(builder.build_bit_cast(lanes, bits, "")).into_int_value();
                let zero = bits.get_type().const_zero();
                written(builder.build_int_compare(inkwell::IntPredicate::NE, bits, zero, ""))
            }
            one => one.into_int_value(),
        };
        let one = written(builder.build_int_z_extend(any, i64s, ""));
        let before = written(builder.build_load(i64s, self.outside, "")).into_int_value();
        let after = written(builder.build_int_add(before, one, ""));
        written(builder.build_store(self.outside, after));
    }
}
