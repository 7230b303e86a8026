//! Dots whose second operand lies in memory along its free axis: vectors go along the columns of the result.
//!
//! In the one order of sums a vector holds one lane of 16 results, and all 16 lanes of these are summed side
//! by side. A long sum is taken in pieces, for all columns each, with the lanes kept in memory between them,
//! so that what a piece reads of the operand stays in a core's cache. Where the order is free, a vector holds
//! 16 results, summed as the operand's rows come.

use inkwell::IntPredicate;
use inkwell::values::{BasicValueEnum, IntValue};
use ir::DType;

use super::dot::{At, Dot, registers};
use super::index::{Index, LANES, gcd};
use super::memory::Memory;
use super::{Extent, Kernel};
use crate::llvm::lanes::written;

type Value<'c> = BasicValueEnum<'c>;

/// Elements of a sum that are taken at a time.
const PIECE: i64 = 128;
/// Columns, at most, whose lanes are kept in memory from piece to piece.
const KEPT: i64 = 1024;

impl<'c> Kernel<'_, '_, 'c> {
    /// A dot by vectors along the last axis of its columns.
    pub fn dot_by_columns(
        &mut self,
        dot: &Dot<'_, 'c>,
        at: &At<'c>,
        rows: &[Extent<'c>],
        columns: Extent<'c>,
        home: &Memory<'c>,
    ) {
        let vectors = columns.length.filter(|n| n % LANES == 0).map(|n| n / LANES);
        if let (false, Some(vectors)) = (self.shared.ordered, vectors) {
            return self.unordered(dot, at, rows, columns, vectors, home);
        }
        let long = dot.total.length.is_none_or(|n| n > PIECE);
        let kept = columns.length.filter(|n| long && *n <= KEPT);
        self.steps(rows.first(), 1, &mut |kernel, rows| {
            let at = at.with_row(rows[0]);
            match kept {
                Some(length) => kernel.by_pieces(dot, &at, columns, length, home),
                None => kernel.at_once(dot, &at, columns, home),
            }
        });
    }

    /// One row, with whole sums for a vector of columns at a time.
    fn at_once(&mut self, dot: &Dot<'_, 'c>, at: &At<'c>, columns: Extent<'c>, home: &Memory<'c>) {
        let ends = [dot.total.low, dot.total.high];
        let zero = self.zeros();
        self.vectors(columns, &mut |kernel, column| {
            let at = at.with_column(Some(column));
            let sums = kernel.lanes_between(dot, &at, ends, &[zero; LANES as usize]);
            kernel.combine_columns(dot, &at, sums, home);
        });
    }

    /// One row, piece by piece of the sums.
    fn by_pieces(
        &mut self,
        dot: &Dot<'_, 'c>,
        at: &At<'c>,
        columns: Extent<'c>,
        length: i64,
        home: &Memory<'c>,
    ) {
        let Extent { low, high, .. } = dot.total;
        let kept = self.kept(columns, length);
        let zero = self.zeros();
        self.vectors(columns, &mut |kernel, column| {
            for offset in kernel.lanes_at(&kept, column) {
                kernel.flow.store(&kept, offset, zero);
            }
        });
        let pieces = self.flow.begin_loop([low, high], PIECE, &[]);
        let piece = self.flow.i64(PIECE).into();
        let end = self.flow.int_add(pieces.index.into(), piece);
        let over = self.flow.int_compare(IntPredicate::SGT, end, high.into());
        let end = self.flow.pick(over, high.into(), end).into_int_value();
        let ends = [pieces.index, end];
        self.vectors(columns, &mut |kernel, column| {
            let at = at.with_column(Some(column));
            let places = kernel.lanes_at(&kept, column);
            let start = places.iter().map(|place| kernel.flow.load(&kept, *place));
            let start: Vec<Value> = start.collect();
            let sums = kernel.lanes_between(dot, &at, ends, &start);
            for (place, sum) in places.iter().zip(sums) {
                kernel.flow.store(&kept, *place, sum);
            }
        });
        self.flow.end_loop(pieces, &[]);
        self.vectors(columns, &mut |kernel, column| {
            let at = at.with_column(Some(column));
            let places = kernel.lanes_at(&kept, column);
            let sums = places.iter().map(|place| kernel.flow.load(&kept, *place));
            let sums = sums.collect();
            kernel.combine_columns(dot, &at, sums, home);
        });
    }

    /// Memory on the stack for the lanes of so many columns.
    fn kept(&mut self, columns: Extent<'c>, length: i64) -> Memory<'c> {
        let array = self
            .flow
            .context
            .f32_type()
            .array_type((LANES * length) as u32);
        let pointer = self.flow.at_depth(0, |flow| {
            let pointer = written(flow.builder.build_alloca(array, "lanes"));
            let instruction = pointer
                .as_instruction()
                .expect("an alloca is an instruction");
            instruction.set_alignment(64).expect("64 is a power of two");
            pointer
        });
        let first = Index::uniform(self.flow.i64(0), 0, 0);
        Memory {
            pointer,
            dtype: DType::F32,
            strides: vec![self.flow.i64(length), self.flow.i64(1)],
            origin: vec![
                first,
                Index::uniform(columns.low, columns.align, columns.depth),
            ],
            own: true,
        }
    }

    /// Where the lanes of a vector of columns are kept.
    fn lanes_at(&mut self, kept: &Memory<'c>, column: Index<'c>) -> Vec<Index<'c>> {
        let lane = |i: i64| {
            let lane = Index::uniform(self.flow.i64(i), 0, 0);
            self.flow.offset(kept, &[lane, column])
        };
        (0..LANES).map(lane).collect()
    }

    /// Combines the lanes of a vector of columns into results.
    fn combine_columns(
        &mut self,
        dot: &Dot<'_, 'c>,
        at: &At<'c>,
        mut sums: Vec<Value<'c>>,
        home: &Memory<'c>,
    ) {
        for half in [8, 4, 2, 1] {
            for i in 0..half {
                sums[i] = self.flow.float_add(sums[i], sums[i + half]);
            }
        }
        self.put_sum(dot.value, home, &at.all(), sums[0]);
    }

    /// All 16 lanes of the results at a vector of columns, continued by the elements between two ends, the
    /// first of them a multiple of 16.
    fn lanes_between(
        &mut self,
        dot: &Dot<'_, 'c>,
        at: &At<'c>,
        ends: [IntValue<'c>; 2],
        start: &[Value<'c>],
    ) -> Vec<Value<'c>> {
        let count = registers(self.shared.target.level()).lanes;
        let each = start.chunks(count as usize).enumerate();
        let sums = each.map(|(i, start)| self.some_lanes(dot, at, ends, i as i64 * count, start));
        sums.collect::<Vec<_>>().concat()
    }

    /// Lanes from `first` on.
    fn some_lanes(
        &mut self,
        dot: &Dot<'_, 'c>,
        at: &At<'c>,
        [low, high]: [IntValue<'c>; 2],
        first: i64,
        start: &[Value<'c>],
    ) -> Vec<Value<'c>> {
        let mask = self.flow.i64(LANES - 1).into();
        let length = self.flow.int_sub(high.into(), low.into());
        let rest = self.flow.int_and(length, mask);
        let end = self.flow.int_sub(high.into(), rest).into_int_value();
        let turns = self.flow.begin_loop([low, end], LANES, start);
        let mut next = Vec::new();
        for (lane, sum) in turns.values.iter().enumerate() {
            let step = self.flow.i64(first + lane as i64).into();
            let k = self.flow.int_add(turns.index.into(), step).into_int_value();
            next.push(self.product(dot, at, Index::uniform(k, 1, turns.depth), *sum));
        }
        let mut sums = self.flow.end_loop(turns, &next);
        if dot.total.length.is_some_and(|n| n % LANES == 0) {
            return sums;
        }
        for (lane, sum) in sums.iter_mut().enumerate() {
            let step = self.flow.i64(first + lane as i64).into();
            let k = self.flow.int_add(end.into(), step);
            let there = self.flow.int_compare(IntPredicate::SLT, k, high.into());
            let branch = self.flow.begin(there.into_int_value());
            let depth = self.flow.depth();
            let k = Index::uniform(k.into_int_value(), 1, depth);
            let more = self.product(dot, at, k, *sum);
            let branch = self.flow.otherwise(branch, vec![more]);
            *sum = self.flow.join(branch, &[*sum])[0];
        }
        sums
    }

    /// A sum and one more product.
    fn product(
        &mut self,
        dot: &Dot<'_, 'c>,
        at: &At<'c>,
        k: Index<'c>,
        sum: Value<'c>,
    ) -> Value<'c> {
        let inner = self.contracted(dot, k);
        let a = self.value(dot.a, &dot.a_index(at, &inner));
        let b = self.value(dot.b, &dot.b_index(at, &inner));
        self.fused(a, b, sum)
    }

    /// Two rows and a run of columns at a time, summed in the order in which the second operand's rows come.
    fn unordered(
        &mut self,
        dot: &Dot<'_, 'c>,
        at: &At<'c>,
        rows: &[Extent<'c>],
        columns: Extent<'c>,
        vectors: i64,
        home: &Memory<'c>,
    ) {
        let most = registers(self.shared.target.level()).vectors;
        let ends_of_sum = [dot.total.low, dot.total.high];
        self.steps(rows.first(), 2, &mut |kernel, rows| {
            let fit = most / rows.len() as i64;
            let run = (1..=fit).rev().find(|n| vectors % n == 0).unwrap_or(1);
            let ends = [columns.low, columns.high];
            let runs = kernel.flow.begin_loop(ends, run * LANES, &[]);
            let run = (0..run).map(|i| {
                let step = kernel.flow.i64(i * LANES).into();
                let base = kernel
                    .flow
                    .int_add(runs.index.into(), step)
                    .into_int_value();
                Index::run(base, gcd(columns.align, LANES), runs.depth)
            });
            let run: Vec<Index> = run.collect();
            let places = rows.iter().flat_map(|row| {
                let at = at.with_row(*row);
                run.iter().map(move |column| at.with_column(Some(*column)))
            });
            let places: Vec<At> = places.collect();
            let start = vec![kernel.zeros(); places.len()];
            let turns = kernel.flow.begin_loop(ends_of_sum, 1, &start);
            let k = Index::uniform(turns.index, 1, turns.depth);
            let pairs = places.iter().zip(&turns.values);
            let next = pairs.map(|(at, sum)| kernel.product(dot, at, k, *sum));
            let next: Vec<Value> = next.collect();
            let sums = kernel.flow.end_loop(turns, &next);
            for (at, sum) in places.iter().zip(sums) {
                kernel.put_sum(dot.value, home, &at.all(), sum);
            }
            kernel.flow.end_loop(runs, &[]);
        });
    }
}
