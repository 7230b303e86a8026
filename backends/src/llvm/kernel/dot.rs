//! Dots by register tiles.
//!
//! Where an operand's contracted axis lies in memory element after element, a vector holds the 16 lanes of
//! one result, and a tile of rows times columns of such vectors is kept in registers. Where a free axis of
//! the second operand does, vectors go along it: see the `columns` module.

use inkwell::values::BasicValueEnum;
use ir::{Class, Dim, Op, ValueId};
use runtime::Level;

use super::index::{Index, LANES};
use super::memory::Memory;
use super::stage::PAIRED;
use super::{Extent, Kernel};
use crate::llvm::lanes::written;
use crate::loops::{axes, axis, free, groups, op};

type Value<'c> = BasicValueEnum<'c>;

/// Rows and columns whose sums are kept in registers.
#[derive(Clone, Copy)]
pub struct Registers {
    rows: i64,
    columns: i64,
    /// Columns, where there is one row.
    columns_of_one: i64,
    /// Lanes of 16 columns that are summed at a time.
    pub lanes: i64,
    /// Vectors of columns, of all rows together, that are summed at a time where their order is free.
    pub vectors: i64,
}

/// What fits the registers of a level.
pub fn registers(level: Level) -> Registers {
    match level {
        Level::V3 => Registers {
            rows: 2,
            columns: 3,
            columns_of_one: 4,
            lanes: 4,
            vectors: 6,
        },
        Level::V4 => Registers {
            rows: 4,
            columns: 6,
            columns_of_one: 8,
            lanes: 16,
            vectors: 16,
        },
    }
}

/// A dot's operands and their axes.
pub struct Dot<'k, 'c> {
    pub value: ValueId,
    pub a: ValueId,
    pub b: ValueId,
    a_batch: &'k [usize],
    b_batch: &'k [usize],
    a_contract: &'k [usize],
    b_contract: &'k [usize],
    a_free: Vec<usize>,
    b_free: Vec<usize>,
    /// The contracted dims.
    dims: Vec<Dim>,
    /// From where to where their flat index goes.
    pub total: Extent<'c>,
    narrow: bool,
}

/// Indices of a result: batch axes, rows, columns.
pub struct At<'c> {
    batch: Vec<Index<'c>>,
    rows: Vec<Index<'c>>,
    columns: Vec<Index<'c>>,
}

impl<'c> At<'c> {
    /// All of them, in the result's order.
    pub fn all(&self) -> Vec<Index<'c>> {
        [&self.batch[..], &self.rows, &self.columns].concat()
    }

    /// With an index along the last axis of the rows.
    pub fn with_row(&self, row: Option<Index<'c>>) -> At<'c> {
        At {
            batch: self.batch.clone(),
            rows: [&self.rows[..], row.as_slice()].concat(),
            columns: self.columns.clone(),
        }
    }

    /// With an index along the last axis of the columns.
    pub fn with_column(&self, column: Option<Index<'c>>) -> At<'c> {
        At {
            batch: self.batch.clone(),
            rows: self.rows.clone(),
            columns: [&self.columns[..], column.as_slice()].concat(),
        }
    }
}

/// An operand's index from those of its batch, free and contracted axes.
fn placed<'c>(groups: [(&[usize], &[Index<'c>]); 3]) -> Vec<Index<'c>> {
    let mut each: Vec<(usize, Index<'c>)> = Vec::new();
    for (axes, indices) in groups {
        each.extend(axes.iter().copied().zip(indices.iter().copied()));
    }
    each.sort_by_key(|(axis, _)| *axis);
    each.into_iter().map(|(_, index)| index).collect()
}

impl<'c> Dot<'_, 'c> {
    /// The first operand's index, for these indices of the result and along the contracted axes.
    pub fn a_index(&self, at: &At<'c>, inner: &[Index<'c>]) -> Vec<Index<'c>> {
        placed([
            (self.a_batch, &at.batch),
            (&self.a_free, &at.rows),
            (self.a_contract, inner),
        ])
    }

    /// The second operand's.
    pub fn b_index(&self, at: &At<'c>, inner: &[Index<'c>]) -> Vec<Index<'c>> {
        placed([
            (self.b_batch, &at.batch),
            (&self.b_free, &at.columns),
            (self.b_contract, inner),
        ])
    }
}

impl<'k, 'c> Kernel<'k, '_, 'c> {
    /// Indices along a dot's contracted axes.
    pub fn contracted(&mut self, dot: &Dot<'_, 'c>, flat: Index<'c>) -> Vec<Index<'c>> {
        self.unflattened(flat, &dot.dims)
    }

    /// Computes a dot.
    pub fn dot(
        &mut self,
        value: ValueId,
        extents: &[Extent<'c>],
        bounded: Option<Extent<'c>>,
        home: &Memory<'c>,
        narrow: bool,
    ) {
        let function = self.function;
        let Some((_, attrs, [a, b])) = op(function, value) else {
            panic!("a dot has two operands");
        };
        let [a_batch, b_batch, a_contract, b_contract] = [0, 1, 2, 3].map(|i| axes(attrs, i));
        let rank = |v: &ValueId| function.values[v.0].ty.rank();
        let from = &function.values[a.0].ty.dims;
        let dims: Vec<Dim> = a_contract.iter().map(|axis| from[*axis].clone()).collect();
        let dot = Dot {
            value,
            a: *a,
            b: *b,
            a_batch,
            b_batch,
            a_contract,
            b_contract,
            a_free: free(rank(a), a_batch, a_contract),
            b_free: free(rank(b), b_batch, b_contract),
            total: bounded.unwrap_or_else(|| self.extent(&Dim::product(&dims), None)),
            dims,
            narrow,
        };
        let (batch, rest) = extents.split_at(a_batch.len());
        let (rows, columns) = rest.split_at(dot.a_free.len());
        let by_columns = dot
            .b_free
            .last()
            .is_some_and(|axis| self.is_run(dot.b, *axis));
        let (outer_rows, last_row) = rows.split_at(rows.len().saturating_sub(1));
        let (outer_columns, last_column) = columns.split_at(columns.len().saturating_sub(1));
        let outer = [batch, outer_rows, outer_columns].concat();
        self.each(&outer, &[], &mut |kernel, at| {
            let (batch, rest) = at.split_at(batch.len());
            let (rows, columns) = rest.split_at(outer_rows.len());
            let at = At {
                batch: batch.to_vec(),
                rows: rows.to_vec(),
                columns: columns.to_vec(),
            };
            match last_column {
                [last] if by_columns => kernel.dot_by_columns(&dot, &at, last_row, *last, home),
                _ => kernel.dot_by_lanes(&dot, &at, last_row, last_column, home),
            }
        });
    }

    /// Whether elements along an axis of a value lie one after another in memory.
    fn is_run(&self, value: ValueId, at: usize) -> bool {
        let ty = &self.function.values[value.0].ty;
        if self.memories.contains_key(&value) {
            return at + 1 == ty.rank();
        }
        let Some((kind, attrs, operands)) = op(self.function, value) else {
            return false;
        };
        let Some(first) = operands.first() else {
            return true;
        };
        match kind {
            Op::Reshape => {
                let from = &self.function.values[first.0].ty.dims;
                let groups = groups(from, &ty.dims);
                let group = groups.iter().find(|g| g.to.contains(&at));
                group.is_some_and(|g| at + 1 == g.to.end && self.is_run(*first, g.from.end - 1))
            }
            Op::Transpose => self.is_run(*first, axes(attrs, 0)[at]),
            Op::Broadcast => {
                let from = axes(attrs, 1).iter().position(|axis| *axis == at);
                from.is_some_and(|axis| self.is_run(*first, axis))
            }
            Op::Take => at != axis(attrs, 0) && self.is_run(*first, at),
            Op::Slice | Op::Concat => self.is_run(*first, at),
            _ => kind.def().class == Class::Pointwise && self.is_run(*first, at),
        }
    }

    /// Steps over an extent by so many, then one by one.
    pub fn steps(
        &mut self,
        extent: Option<&Extent<'c>>,
        by: i64,
        body: &mut dyn FnMut(&mut Self, &[Option<Index<'c>>]),
    ) {
        let Some(extent) = extent else {
            return body(self, &[None]);
        };
        let by = extent.length.map_or(by, |n| by.min(n)).max(1);
        let length = self.flow.int_sub(extent.high.into(), extent.low.into());
        let unit = self.flow.i64(by).into();
        let rest = self.flow.int_rem(length, unit);
        let end = self.flow.int_sub(extent.high.into(), rest).into_int_value();
        let turns = self.flow.begin_loop([extent.low, end], by, &[]);
        let each = (0..by).map(|i| {
            let step = self.flow.i64(i).into();
            let index = self.flow.int_add(turns.index.into(), step).into_int_value();
            Some(Index::uniform(index, 1, turns.depth))
        });
        let each: Vec<_> = each.collect();
        body(self, &each);
        self.flow.end_loop(turns, &[]);
        if by > 1 && extent.length.is_none_or(|n| n % by != 0) {
            let turns = self.flow.begin_loop([end, extent.high], 1, &[]);
            body(self, &[Some(Index::uniform(turns.index, 1, turns.depth))]);
            self.flow.end_loop(turns, &[]);
        }
    }

    /// Vectors of the lanes of one result.
    fn dot_by_lanes(
        &mut self,
        dot: &Dot<'_, 'c>,
        at: &At<'c>,
        rows: &[Extent<'c>],
        columns: &[Extent<'c>],
        home: &Memory<'c>,
    ) {
        let registers = registers(self.shared.target.level());
        self.steps(rows.first(), registers.rows, &mut |kernel, rows| {
            let by = match rows.len() {
                1 => registers.columns_of_one,
                _ => registers.columns,
            };
            kernel.steps(columns.first(), by, &mut |kernel, columns| {
                kernel.register_tile(dot, at, rows, columns, home);
            });
        });
    }

    fn register_tile(
        &mut self,
        dot: &Dot<'_, 'c>,
        at: &At<'c>,
        rows: &[Option<Index<'c>>],
        columns: &[Option<Index<'c>>],
        home: &Memory<'c>,
    ) {
        let start = vec![self.zeros(); rows.len() * columns.len()];
        let step = if dot.narrow { PAIRED } else { LANES };
        let sums = self.fold(dot.total, step, &start, &mut |kernel, flat, sums| {
            let inner = kernel.contracted(dot, flat);
            let a: Vec<Value> = rows
                .iter()
                .map(|row| {
                    let index = dot.a_index(&at.with_row(*row), &inner);
                    match dot.narrow {
                        true => kernel.narrow_rows(dot.a, &index),
                        false => kernel.value(dot.a, &index),
                    }
                })
                .collect();
            let b: Vec<Value> = columns
                .iter()
                .map(|column| {
                    let index = dot.b_index(&at.with_column(*column), &inner);
                    match dot.narrow {
                        true => kernel.narrow_weights(dot.b, &index),
                        false => kernel.value(dot.b, &index),
                    }
                })
                .collect();
            let mut next = Vec::with_capacity(sums.len());
            for (i, sum) in sums.iter().enumerate() {
                let (a, b) = (a[i / b.len()], b[i % b.len()]);
                next.push(match dot.narrow {
                    true => kernel.add_pairs(*sum, a, b),
                    false => kernel.fused(a, b, *sum),
                });
            }
            next
        });
        for (i, sum) in sums.iter().enumerate() {
            let at = at.with_row(rows[i / columns.len()]);
            let at = at.with_column(columns[i % columns.len()]);
            let result = self.combine(*sum, &mut |kernel, a, b| kernel.flow.float_add(a, b));
            self.put_sum(dot.value, home, &at.all(), result);
        }
    }

    /// 16 sums of nothing yet.
    pub fn zeros(&mut self) -> Value<'c> {
        let zero = self.flow.context.f32_type().const_zero();
        self.flow.splat(zero.into())
    }

    /// `a * b + c`, rounded once.
    pub fn fused(&mut self, a: Value<'c>, b: Value<'c>, c: Value<'c>) -> Value<'c> {
        let (a, b) = (self.flow.splat(a), self.flow.splat(b));
        let operands = [a, b, c].map(BasicValueEnum::into_vector_value);
        self.flow.site().intrinsic("llvm.fma", operands).into()
    }

    /// Sums of 16 pairs of products of bf16.
    fn add_pairs(&mut self, sum: Value<'c>, a: Value<'c>, b: Value<'c>) -> Value<'c> {
        let pairs = self.flow.context.bf16_type().vec_type(PAIRED as u32);
        let cast = |x: Value<'c>| written(self.flow.builder.build_bit_cast(x, pairs, ""));
        let operands = [sum.into(), cast(a).into(), cast(b).into()];
        let site = self.flow.site();
        let sum = site.call("llvm.x86.avx512bf16.dpbf16ps.512", &[], &operands);
        sum.expect("a sum of products is a value")
    }

    /// 32 rounded elements of the first operand; rows are padded, so no mask is needed.
    fn narrow_rows(&mut self, a: ValueId, at: &[Index<'c>]) -> Value<'c> {
        let memory = self.narrowed[&a].clone();
        let before = self.flow.set_mask(None);
        let lanes = self.wide_load(&memory, at);
        self.flow.set_mask(before);
        lanes
    }

    /// 32 elements of weights stored as bf16; 0 behind their row's end.
    fn narrow_weights(&mut self, b: ValueId, at: &[Index<'c>]) -> Value<'c> {
        let Some((Op::Cast, _, [weights])) = op(self.function, b) else {
            panic!("weights of a dot of pairs are cast from bf16");
        };
        let memory = self.memories[weights].clone();
        self.wide_load(&memory, at)
    }

    fn wide_load(&mut self, memory: &Memory<'c>, at: &[Index<'c>]) -> Value<'c> {
        let offset = self.flow.offset(memory, at);
        self.flow.load_run(memory, offset, PAIRED)
    }
}
