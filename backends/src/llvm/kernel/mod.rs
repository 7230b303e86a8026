//! One kernel's function: its tiles, and for each tile the stages of its nest.

mod bounds;
mod columns;
mod dot;
mod expr;
mod flow;
mod index;
mod memory;
mod stage;
mod sweep;

use std::collections::HashMap;

use inkwell::context::Context;
use inkwell::module::{Linkage, Module};
use inkwell::types::BasicTypeEnum;
use inkwell::values::{BasicValueEnum, FunctionValue, IntValue, PointerValue};
use inkwell::{AddressSpace, IntPredicate};
use ir::{DType, Dim, Dims, Function, Literal, Sym, Type, ValueId};

use self::flow::Flow;
use self::index::{Index, LANES};
use self::memory::Memory;
use self::sweep::Carried;
use super::lanes::written;
use super::target::Target;
use crate::loops::{Home, Nest, Part, space};

/// What kernels of a module have in common.
#[derive(Clone, Copy)]
pub struct Shared<'m, 'c> {
    /// LLVM's context.
    pub context: &'c Context,
    /// The module that the functions go to.
    pub module: &'m Module<'c>,
    /// What they are made for.
    pub target: &'m Target,
    /// Whether sums are to be in the one order.
    pub ordered: bool,
    /// The symbols of their dims, in the order in which they are passed.
    pub dims: &'m Dims,
}

/// Writes a kernel's function, of the type that [`runtime::Kernel`] is, under this name.
pub fn write<'c>(shared: Shared<'_, 'c>, name: &str, function: &Function, nest: &Nest) {
    let context = shared.context;
    let pointer = context.ptr_type(AddressSpace::default());
    let i64s = context.i64_type();
    let params = [
        pointer.into(),
        pointer.into(),
        pointer.into(),
        i64s.into(),
        i64s.into(),
    ];
    let entry = shared
        .module
        .add_function(name, i64s.fn_type(&params, false), None);
    shared.target.mark(entry);
    let mut kernel = Kernel::new(shared, entry, function, nest);
    kernel.run(entry);
}

/// A kernel in the making.
struct Kernel<'k, 'm, 'c> {
    shared: Shared<'m, 'c>,
    function: &'k Function,
    nest: &'k Nest,
    flow: Flow<'m, 'c>,
    /// Where the values lie that are in memory so far.
    memories: HashMap<ValueId, Memory<'c>>,
    /// Values rounded to bf16 for a dot.
    narrowed: HashMap<ValueId, Memory<'c>>,
    /// Tables of constants.
    tables: HashMap<(Type, Vec<Literal>), Memory<'c>>,
    /// Where the results go.
    results: Vec<PointerValue<'c>>,
    /// The worker's own memory.
    scratch: PointerValue<'c>,
    symbols: HashMap<Sym, IntValue<'c>>,
    dims: HashMap<Dim, IntValue<'c>>,
    /// First element and end of the present tile, along each tile axis, and of the present block, where an axis
    /// is swept; and their scope.
    tile: Vec<([IntValue<'c>; 2], usize)>,
    /// What the sweep that has begun carries from block to block.
    carried: Option<Carried<'c>>,
    /// Counts indices outside of their axes.
    outside: PointerValue<'c>,
}

/// From where to where a stage goes along an axis.
#[derive(Clone, Copy)]
struct Extent<'c> {
    low: IntValue<'c>,
    high: IntValue<'c>,
    /// A number known to divide `low`.
    align: i64,
    /// The length, where it is always the same.
    length: Option<i64>,
    /// The scope of its ends.
    depth: usize,
}

impl<'k, 'm, 'c> Kernel<'k, 'm, 'c> {
    fn new(
        shared: Shared<'m, 'c>,
        entry: FunctionValue<'c>,
        function: &'k Function,
        nest: &'k Nest,
    ) -> Kernel<'k, 'm, 'c> {
        let flow = Flow::new(shared.context, shared.module, entry);
        let param = |i: u32| {
            entry
                .get_nth_param(i)
                .expect("a kernel has five parameters")
        };
        let pointer: BasicTypeEnum = shared.context.ptr_type(AddressSpace::default()).into();
        let i64s = shared.context.i64_type();
        let (args, symbols) = (param(0).into_pointer_value(), param(1).into_pointer_value());
        let argument = |i: usize| {
            let at = flow.element_at(args, pointer, flow.i64(i as i64));
            written(flow.builder.build_load(pointer, at, "")).into_pointer_value()
        };
        let count = function.params().len();
        let pointers: Vec<PointerValue> =
            (0..count + function.results.len()).map(argument).collect();
        let values = shared.dims.ranges.iter().enumerate().map(|(i, (sym, ..))| {
            let at = flow.element_at(symbols, i64s.into(), flow.i64(i as i64));
            let value = written(flow.builder.build_load(i64s, at, sym.name()));
            (sym.clone(), value.into_int_value())
        });
        let symbols = values.collect();
        let outside = written(flow.builder.build_alloca(i64s, "outside"));
        written(flow.builder.build_store(outside, i64s.const_zero()));
        let mut kernel = Kernel {
            shared,
            function,
            nest,
            memories: HashMap::new(),
            narrowed: HashMap::new(),
            tables: HashMap::new(),
            results: pointers[count..].to_vec(),
            scratch: param(2).into_pointer_value(),
            symbols,
            dims: HashMap::new(),
            tile: Vec::new(),
            carried: None,
            outside,
            flow,
        };
        for (i, pointer) in pointers[..count].iter().enumerate() {
            let ty = &function.values[i].ty;
            let memory = kernel.whole(*pointer, ty.dtype, &ty.dims, false);
            kernel.memories.insert(ValueId(i), memory);
        }
        kernel
    }

    /// A whole tensor in memory, row-major.
    fn whole(
        &mut self,
        pointer: PointerValue<'c>,
        dtype: DType,
        dims: &[Dim],
        own: bool,
    ) -> Memory<'c> {
        let strides = (0..dims.len()).map(|i| self.dim(&Dim::product(&dims[i + 1..])));
        Memory {
            pointer,
            dtype,
            strides: strides.collect(),
            origin: vec![],
            own,
        }
    }

    /// A dim's value, written at the function's entry.
    fn dim(&mut self, dim: &Dim) -> IntValue<'c> {
        if let Some(value) = self.dims.get(dim) {
            return *value;
        }
        let symbols = &self.symbols;
        let value = self.flow.at_depth(0, |flow| {
            let mut sum = flow.i64(0);
            for (syms, coefficient) in dim.terms() {
                let mut term = flow.i64(coefficient);
                for sym in syms {
                    term = flow
                        .int_mul(term.into(), symbols[sym].into())
                        .into_int_value();
                }
                sum = flow.int_add(sum.into(), term.into()).into_int_value();
            }
            sum
        });
        self.dims.insert(dim.clone(), value);
        value
    }

    fn run(&mut self, entry: FunctionValue<'c>) {
        let param = |i: u32| {
            entry
                .get_nth_param(i)
                .expect("a kernel has five parameters")
        };
        let (worker, workers) = (param(3), param(4));
        let one: BasicValueEnum = self.flow.i64(1).into();
        // How many tiles there are along each axis: one at least, for what does not depend on it.
        let mut counts = Vec::new();
        for tile in &self.nest.tiles {
            let extent = self.dim(&tile.extent);
            let size = self.flow.i64(tile.size);
            let up = self.flow.i64(tile.size - 1);
            let count = self.flow.int_add(extent.into(), up.into());
            let count = self.flow.int_div(count, size.into());
            let none = self.flow.int_compare(IntPredicate::SLT, count, one);
            counts.push(self.flow.pick(none, one, count));
        }
        let total = counts
            .iter()
            .fold(one, |total, count| self.flow.int_mul(total, *count));
        let deals = self.deals();
        let [low, high] = if deals {
            let less = self.flow.int_sub(total, worker);
            let up = self.flow.int_add(less, workers);
            let up = self.flow.int_sub(up, one);
            let turns = self.flow.int_div(up, workers).into_int_value();
            [self.flow.i64(0), turns]
        } else {
            let share = |kernel: &mut Self, worker: BasicValueEnum<'c>| {
                let upto = kernel.flow.int_mul(total, worker);
                kernel.flow.int_div(upto, workers).into_int_value()
            };
            let next = self.flow.int_add(worker, one);
            [share(self, worker), share(self, next)]
        };

        let tiles = self.flow.begin_loop([low, high], 1, &[]);
        let zero: BasicValueEnum = self.flow.i64(0).into();
        let mut rest: BasicValueEnum = tiles.index.into();
        if deals {
            rest = self.flow.int_mul(rest, workers);
            rest = self.flow.int_add(rest, worker);
        }
        let mut places = vec![zero; counts.len()];
        let mut inner_first: Vec<usize> = (0..counts.len()).rev().collect();
        if deals {
            inner_first.reverse();
        }
        for axis in inner_first {
            places[axis] = self.flow.int_rem(rest, counts[axis]);
            rest = self.flow.int_div(rest, counts[axis]);
        }
        for (tile, place) in self.nest.tiles.iter().zip(&places) {
            let extent = self.dim(&tile.extent).into();
            let size = self.flow.i64(tile.size).into();
            let from = self.flow.int_mul(*place, size);
            let to = self.flow.int_add(from, size);
            let over = self.flow.int_compare(IntPredicate::SLT, extent, to);
            let to = self.flow.pick(over, extent, to);
            let ends = [from.into_int_value(), to.into_int_value()];
            self.tile.push((ends, tiles.depth));
        }
        // For each level, whether the tile is the first along the axes behind it.
        let yes: BasicValueEnum = self.flow.context.bool_type().const_all_ones().into();
        let mut firsts = vec![yes; counts.len() + 1];
        for level in (0..counts.len()).rev() {
            let first = self.flow.int_compare(IntPredicate::EQ, places[level], zero);
            firsts[level] = self.flow.int_and(first, firsts[level + 1]);
        }
        let begun = self
            .flow
            .int_compare(IntPredicate::EQ, tiles.index.into(), low.into());
        let mut swept = None;
        for (i, stage) in self.nest.stages.iter().enumerate() {
            if let Some(sweep) = self.nest.sweep.as_ref().filter(|s| s.stages.start == i) {
                swept = Some(self.begin_sweep(sweep));
            }
            let first = firsts[stage.level];
            let condition = match (stage.level == counts.len(), stage.once) {
                (true, _) => None,
                (false, true) => Some(first),
                (false, false) => Some(self.flow.int_or(first, begun)),
            };
            let branch = condition.map(|c| self.flow.begin(c.into_int_value()));
            let scope = self.flow.begin_stage();
            let home = self.stage(stage);
            self.flow.end_stage(scope);
            if let Some(branch) = branch {
                self.flow.end(branch);
            }
            self.settle(stage, home);
            let done = self.nest.sweep.iter().any(|s| s.stages.end == i + 1);
            if let Some(swept) = swept.take_if(|_| done) {
                self.end_sweep(swept);
            }
        }
        self.flow.end_loop(tiles, &[]);
        let i64s = self.flow.context.i64_type();
        let outside = written(self.flow.builder.build_load(i64s, self.outside, ""));
        written(self.flow.builder.build_return(Some(&outside)));
    }

    /// Whether tiles are dealt out one by one, not in runs, and those along the first axis follow one another: with
    /// bounds they are of unequal work, mostly more and more, and read much of what their neighbours read.
    fn deals(&self) -> bool {
        let Nest { tiles, stages, .. } = self.nest;
        let limits = self.nest.sweep.iter().any(|sweep| !sweep.limits.is_empty());
        let bounded = limits || stages.iter().any(|stage| !stage.bounds.is_empty());
        bounded && stages.iter().all(|stage| stage.level == tiles.len())
    }

    /// From where to where a part goes.
    fn extent(&mut self, dim: &Dim, part: Option<Part>) -> Extent<'c> {
        let Some(part) = part else {
            return Extent {
                low: self.flow.i64(0),
                high: self.dim(dim),
                align: 0,
                length: dim.as_const(),
                depth: 0,
            };
        };
        let tile = self.nest.tile(part.tile);
        let (ends, depth) = self.tile[part.tile];
        let (per, of) = (self.flow.i64(part.per), self.flow.i64(part.of));
        let [low, high] = ends.map(|end| {
            self.flow.at_depth(depth, |flow| {
                let scaled = flow.int_div(end.into(), of.into());
                flow.int_mul(scaled, per.into()).into_int_value()
            })
        });
        let cut = part.tile < self.nest.tiles.len();
        let whole = tile
            .extent
            .as_const()
            .filter(|extent| cut && *extent > 0 && extent % tile.size == 0);
        Extent {
            low,
            high,
            align: match cut {
                true => tile.size / part.of * part.per,
                false => LANES,
            },
            length: whole.map(|_| tile.size / part.of * part.per),
            depth,
        }
    }

    /// The memory that a stage writes.
    fn home(
        &mut self,
        value: ValueId,
        parts: &[Option<Part>],
        home: &Home,
        dtype: DType,
    ) -> Memory<'c> {
        match home {
            Home::Result(i) => {
                let dims = self.function.values[value.0].ty.dims.clone();
                self.whole(self.results[*i], dtype, &dims, true)
            }
            Home::Scratch { offset, strides } => {
                let byte = self.flow.context.i8_type().into();
                let offset = self.flow.i64(*offset as i64);
                let scratch = self.scratch;
                let pointer = self
                    .flow
                    .at_depth(0, |flow| flow.element_at(scratch, byte, offset));
                let dims = space(self.function, value);
                let origin = parts.iter().zip(dims).map(|(part, dim)| {
                    let extent = self.extent(dim, *part);
                    Index::uniform(extent.low, extent.align, extent.depth)
                });
                Memory {
                    pointer,
                    dtype,
                    origin: origin.collect(),
                    strides: strides.iter().map(|s| self.flow.i64(*s)).collect(),
                    own: true,
                }
            }
        }
    }

    /// A number written in the graph.
    fn literal(&self, dtype: DType, literal: Literal) -> BasicValueEnum<'c> {
        let context = self.flow.context;
        let narrow = |bits: u16| context.i16_type().const_int(bits.into(), false).into();
        match dtype {
            DType::F32 => {
                // By its bits: a NaN, a -0 and a subnormal stay what they are.
                let bits = (literal.0 as f32).to_bits();
                let bits = context.i32_type().const_int(bits.into(), false);
                written(
                    self.flow
                        .builder
                        .build_bit_cast(bits, context.f32_type(), ""),
                )
            }
            DType::BF16 => narrow(half::bf16::from_f64(literal.0).to_bits()),
            DType::F16 => narrow(half::f16::from_f64(literal.0).to_bits()),
            DType::I32 => {
                let number = literal.0 as i32;
                context
                    .i32_type()
                    .const_int(number as u32 as u64, false)
                    .into()
            }
            DType::Bool => {
                let set = u64::from(literal.0 != 0.0);
                context.bool_type().const_int(set, false).into()
            }
            DType::Q8_0 | DType::Q4_0 => panic!("a constant is of no block format"),
        }
    }

    /// A table of constants in the image.
    fn table(&mut self, ty: &Type, literals: &[Literal]) -> Memory<'c> {
        let key = (ty.clone(), literals.to_vec());
        if let Some(memory) = self.tables.get(&key) {
            return memory.clone();
        }
        let context = self.flow.context;
        let bytes: Vec<u8> = literals
            .iter()
            .flat_map(|x| literal_bytes(ty.dtype, *x))
            .collect();
        let bytes: Vec<_> = bytes
            .into_iter()
            .map(|b| context.i8_type().const_int(b.into(), false))
            .collect();
        let array = context.i8_type().const_array(&bytes);
        let global = self
            .shared
            .module
            .add_global(array.get_type(), None, "table");
        global.set_initializer(&array);
        global.set_constant(true);
        global.set_linkage(Linkage::Private);
        global.set_alignment(64);
        let memory = self.whole(global.as_pointer_value(), ty.dtype, &ty.dims, false);
        self.tables.insert(key, memory.clone());
        memory
    }
}

/// A number of a table, as it is stored.
fn literal_bytes(dtype: DType, literal: Literal) -> Vec<u8> {
    match dtype {
        DType::F32 => (literal.0 as f32).to_le_bytes().to_vec(),
        DType::BF16 => half::bf16::from_f64(literal.0).to_le_bytes().to_vec(),
        DType::F16 => half::f16::from_f64(literal.0).to_le_bytes().to_vec(),
        DType::I32 => (literal.0 as i32).to_le_bytes().to_vec(),
        DType::Bool => vec![u8::from(literal.0 != 0.0)],
        DType::Q8_0 | DType::Q4_0 => panic!("a constant is of no block format"),
    }
}
