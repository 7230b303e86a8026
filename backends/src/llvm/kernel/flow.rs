//! Instructions, loops and branches of a kernel in the making, and which of them a value depends on.
//!
//! A [`Flow`] writes one function. Every loop body and branch is a scope; a value is written in the
//! outermost scope that has all it depends on, at its end, before the loop or branch inside it begins: so
//! what does not depend on a loop is computed once, outside of it.

use std::collections::HashMap;

use inkwell::FloatPredicate;
use inkwell::IntPredicate;
use inkwell::basic_block::BasicBlock;
use inkwell::builder::Builder;
use inkwell::context::Context;
use inkwell::module::Module;
use inkwell::types::{BasicTypeEnum, VectorType};
use inkwell::values::{
    BasicValue, BasicValueEnum, FunctionValue, IntValue, PhiValue, PointerValue, VectorValue,
};
use ir::{DType, ValueId};

use super::index::{Index, LANES};
use crate::llvm::lanes::{Site, written};

/// A loop body or a branch.
struct Scope<'c> {
    /// Values written in it, by their indices.
    memo: HashMap<(ValueId, Vec<Index<'c>>), BasicValueEnum<'c>>,
    /// Its last block, which has no end yet.
    end: BasicBlock<'c>,
}

/// A stage that has begun.
pub struct Stage<'c> {
    block: BasicBlock<'c>,
    outer: usize,
    floor: usize,
}

/// A loop that has begun.
pub struct Loop<'c> {
    /// Its index.
    pub index: IntValue<'c>,
    /// The carried values at the beginning of a turn.
    pub values: Vec<BasicValueEnum<'c>>,
    /// The scope of its body.
    pub depth: usize,
    counter: PhiValue<'c>,
    carried: Vec<PhiValue<'c>>,
    start: Vec<BasicValueEnum<'c>>,
    low: IntValue<'c>,
    step: i64,
    header: BasicBlock<'c>,
    exit: BasicBlock<'c>,
    outer: usize,
}

/// A branch that has begun.
pub struct Branch<'c> {
    condition: IntValue<'c>,
    blocks: [BasicBlock<'c>; 3],
    outer: usize,
    taken: Option<(Vec<BasicValueEnum<'c>>, BasicBlock<'c>)>,
}

/// A function in the making.
pub struct Flow<'m, 'c> {
    /// LLVM's context.
    pub context: &'c Context,
    /// The module.
    pub module: &'m Module<'c>,
    /// Writes at the end of the current scope.
    pub builder: Builder<'c>,
    function: FunctionValue<'c>,
    scopes: Vec<Scope<'c>>,
    current: usize,
    /// Nothing that reads what the kernel computes may be written outside of this scope.
    floor: usize,
    /// Which lanes are there, in the last, partial vector of an axis.
    mask: Option<VectorValue<'c>>,
}

impl<'m, 'c> Flow<'m, 'c> {
    /// A flow that begins at the function's entry.
    pub fn new(
        context: &'c Context,
        module: &'m Module<'c>,
        function: FunctionValue<'c>,
    ) -> Flow<'m, 'c> {
        let entry = context.append_basic_block(function, "entry");
        let builder = context.create_builder();
        builder.position_at_end(entry);
        let scope = Scope {
            memo: HashMap::new(),
            end: entry,
        };
        Flow {
            context,
            module,
            builder,
            function,
            scopes: vec![scope],
            current: 0,
            floor: 0,
            mask: None,
        }
    }

    /// Where the shared math is written.
    pub fn site(&self) -> Site<'_, 'c> {
        Site {
            module: self.module,
            builder: &self.builder,
        }
    }

    /// The current scope.
    pub fn depth(&self) -> usize {
        self.current
    }

    /// The outermost scope for what reads memory that the kernel writes.
    pub fn floor(&self) -> usize {
        self.floor
    }

    /// The mask of a partial vector, if the lanes are one.
    pub fn mask(&self) -> Option<VectorValue<'c>> {
        self.mask
    }

    /// Sets the mask; gives the one before.
    pub fn set_mask(&mut self, mask: Option<VectorValue<'c>>) -> Option<VectorValue<'c>> {
        std::mem::replace(&mut self.mask, mask)
    }

    fn here(&self) -> BasicBlock<'c> {
        let block = self.builder.get_insert_block();
        block.expect("a flow always stands in a block")
    }

    /// Goes to the end of an outer scope; gives the scope to [come back](Flow::come_back) to.
    pub fn leave(&mut self, depth: usize) -> usize {
        let from = self.current;
        self.scopes[from].end = self.here();
        self.current = depth;
        self.builder.position_at_end(self.scopes[depth].end);
        from
    }

    /// Comes back from an outer scope.
    pub fn come_back(&mut self, from: usize) {
        self.scopes[self.current].end = self.here();
        self.current = from;
        self.builder.position_at_end(self.scopes[from].end);
    }

    /// Writes at the end of an outer scope.
    pub fn at_depth<T>(&mut self, depth: usize, write: impl FnOnce(&mut Self) -> T) -> T {
        let from = self.leave(depth);
        let result = write(self);
        self.come_back(from);
        result
    }

    /// A value written in a scope before.
    pub fn written_at(
        &self,
        depth: usize,
        key: &(ValueId, Vec<Index<'c>>),
    ) -> Option<BasicValueEnum<'c>> {
        self.scopes[depth].memo.get(key).copied()
    }

    /// Remembers a value written in a scope.
    pub fn remember(
        &mut self,
        depth: usize,
        key: (ValueId, Vec<Index<'c>>),
        value: BasicValueEnum<'c>,
    ) {
        self.scopes[depth].memo.insert(key, value);
    }

    fn block(&self, name: &str) -> BasicBlock<'c> {
        self.context.append_basic_block(self.function, name)
    }

    /// Begins a scope inside the current one; gives the current one.
    fn open(&mut self, block: BasicBlock<'c>) -> usize {
        let outer = self.current;
        self.scopes[outer].end = self.here();
        self.scopes.push(Scope {
            memo: HashMap::new(),
            end: block,
        });
        self.current = self.scopes.len() - 1;
        self.builder.position_at_end(block);
        outer
    }

    /// Ends the innermost scope and goes back to the one around it; gives its last block.
    fn close(&mut self, outer: usize) -> BasicBlock<'c> {
        let end = self.here();
        self.scopes.pop();
        self.current = outer;
        self.builder.position_at_end(self.scopes[outer].end);
        end
    }

    /// Begins a stage: reads of the kernel's own memory stay behind all that was written so far.
    pub fn begin_stage(&mut self) -> Stage<'c> {
        let block = self.block("stage");
        let floor = self.floor;
        let outer = self.open(block);
        self.floor = self.current;
        Stage {
            block,
            outer,
            floor,
        }
    }

    /// Ends a stage.
    pub fn end_stage(&mut self, stage: Stage<'c>) {
        let end = self.close(stage.outer);
        self.floor = stage.floor;
        written(self.builder.build_unconditional_branch(stage.block));
        self.builder.position_at_end(end);
    }

    /// Begins `for i in (low..high).step_by(step)`, with values carried from one turn to the next.
    pub fn begin_loop(
        &mut self,
        [low, high]: [IntValue<'c>; 2],
        step: i64,
        start: &[BasicValueEnum<'c>],
    ) -> Loop<'c> {
        let (header, inside, exit) = (self.block("loop"), self.block("body"), self.block("done"));
        let before = self.here();
        self.builder.position_at_end(header);
        let counter = written(self.builder.build_phi(self.context.i64_type(), "i"));
        let index = counter.as_basic_value().into_int_value();
        let carried: Vec<_> = start
            .iter()
            .map(|x| written(self.builder.build_phi(x.get_type(), "carried")))
            .collect();
        let more = self
            .builder
            .build_int_compare(IntPredicate::SLT, index, high, "");
        written(
            self.builder
                .build_conditional_branch(written(more), inside, exit),
        );
        self.builder.position_at_end(before);
        let outer = self.open(inside);
        Loop {
            index,
            values: carried.iter().map(|phi| phi.as_basic_value()).collect(),
            depth: self.current,
            counter,
            carried,
            start: start.to_vec(),
            low,
            step,
            header,
            exit,
            outer,
        }
    }

    /// Ends a loop's body; gives the carried values behind the loop.
    pub fn end_loop(
        &mut self,
        begun: Loop<'c>,
        next: &[BasicValueEnum<'c>],
    ) -> Vec<BasicValueEnum<'c>> {
        let step = self.i64(begun.step);
        let following = self.int_add(begun.index.into(), step.into());
        let end = self.close(begun.outer);
        let before = self.here();
        written(self.builder.build_unconditional_branch(begun.header));
        self.builder.position_at_end(end);
        written(self.builder.build_unconditional_branch(begun.header));
        begun
            .counter
            .add_incoming(&[(&begun.low, before), (&following, end)]);
        for ((phi, start), next) in begun.carried.iter().zip(&begun.start).zip(next) {
            phi.add_incoming(&[(start, before), (next, end)]);
        }
        self.builder.position_at_end(begun.exit);
        begun.values
    }

    /// Begins a branch that is taken where the condition holds.
    pub fn begin(&mut self, condition: IntValue<'c>) -> Branch<'c> {
        let blocks = [self.block("then"), self.block("else"), self.block("both")];
        let outer = self.open(blocks[0]);
        Branch {
            condition,
            blocks,
            outer,
            taken: None,
        }
    }

    /// Ends a branch with its values and begins the one that is taken where the condition does not hold.
    pub fn otherwise(
        &mut self,
        mut branch: Branch<'c>,
        values: Vec<BasicValueEnum<'c>>,
    ) -> Branch<'c> {
        let end = self.close(branch.outer);
        branch.taken = Some((values, end));
        self.open(branch.blocks[1]);
        branch
    }

    /// Ends the second branch with its values; gives those of the one that was taken.
    pub fn join(
        &mut self,
        branch: Branch<'c>,
        values: &[BasicValueEnum<'c>],
    ) -> Vec<BasicValueEnum<'c>> {
        let other_end = self.close(branch.outer);
        let [then, other, both] = branch.blocks;
        let (taken, then_end) = branch.taken.expect("a first branch was ended");
        written(
            self.builder
                .build_conditional_branch(branch.condition, then, other),
        );
        for end in [then_end, other_end] {
            self.builder.position_at_end(end);
            written(self.builder.build_unconditional_branch(both));
        }
        self.builder.position_at_end(both);
        let pairs = taken.iter().zip(values);
        let chosen = pairs.map(|(a, b)| {
            let phi = written(self.builder.build_phi(a.get_type(), "chosen"));
            phi.add_incoming(&[(a, then_end), (b, other_end)]);
            phi.as_basic_value()
        });
        chosen.collect()
    }

    /// Ends a branch beside which there is nothing to do.
    pub fn end(&mut self, branch: Branch<'c>) {
        let branch = self.otherwise(branch, vec![]);
        self.join(branch, &[]);
    }

    /// An i64 constant.
    pub fn i64(&self, n: i64) -> IntValue<'c> {
        self.context.i64_type().const_int(n as u64, true)
    }

    /// What an element of a dtype is in a register.
    pub fn element(&self, dtype: DType) -> BasicTypeEnum<'c> {
        match dtype {
            DType::F32 => self.context.f32_type().into(),
            DType::BF16 | DType::F16 => self.context.i16_type().into(),
            DType::I32 => self.context.i32_type().into(),
            DType::Bool => self.context.bool_type().into(),
            DType::Q8_0 | DType::Q4_0 => panic!("a block format is no register's type"),
        }
    }

    /// `<16 x element>`.
    pub fn vector(&self, element: BasicTypeEnum<'c>) -> VectorType<'c> {
        vector_of(element, LANES as u32)
    }

    /// The same value in every lane.
    pub fn splat(&mut self, value: BasicValueEnum<'c>) -> BasicValueEnum<'c> {
        if value.is_vector_value() {
            return value;
        }
        self.splat_to(value, LANES as u32)
    }

    /// The same integer in each of so many lanes.
    pub fn splat_to(&mut self, value: BasicValueEnum<'c>, lanes: u32) -> BasicValueEnum<'c> {
        let ty = vector_of(value.get_type(), lanes);
        let zero = self.context.i32_type().const_zero();
        let one = self
            .builder
            .build_insert_element(ty.get_undef(), value, zero, "");
        let order = self.context.i32_type().vec_type(lanes).const_zero();
        let splat = self
            .builder
            .build_shuffle_vector(written(one), ty.get_undef(), order, "");
        written(splat).into()
    }

    /// Both as vectors if one is.
    pub fn alike(
        &mut self,
        a: BasicValueEnum<'c>,
        b: BasicValueEnum<'c>,
    ) -> (BasicValueEnum<'c>, BasicValueEnum<'c>) {
        match a.is_vector_value() || b.is_vector_value() {
            true => (self.splat(a), self.splat(b)),
            false => (a, b),
        }
    }

    /// The pointer so many elements further.
    pub fn element_at(
        &self,
        pointer: PointerValue<'c>,
        element: BasicTypeEnum<'c>,
        offset: IntValue<'c>,
    ) -> PointerValue<'c> {
        // SAFETY: inkwell marks it so because the instruction written is undefined where the offset leaves
        // the object; offsets come from indices within a buffer's dims.
        written(unsafe { self.builder.build_gep(element, pointer, &[offset], "") })
    }
}

/// `<lanes x element>`.
pub fn vector_of<'c>(element: BasicTypeEnum<'c>, lanes: u32) -> VectorType<'c> {
    match element {
        BasicTypeEnum::FloatType(ty) => ty.vec_type(lanes),
        BasicTypeEnum::IntType(ty) => ty.vec_type(lanes),
        BasicTypeEnum::PointerType(ty) => ty.vec_type(lanes),
        other => panic!("{other} is no element of a vector"),
    }
}

/// Instructions on scalars and vectors alike; a scalar beside a vector stands for all lanes.
macro_rules! instructions {
    ($($name:ident $build:ident $into_scalar:ident;)*) => {
        impl<'c> Flow<'_, 'c> {$(
            #[doc = concat!("`", stringify!($build), "`.")]
            pub fn $name(&mut self, a: BasicValueEnum<'c>, b: BasicValueEnum<'c>) -> BasicValueEnum<'c> {
                let (a, b) = self.alike(a, b);
                if a.is_vector_value() {
                    let (a, b) = (a.into_vector_value(), b.into_vector_value());
                    return written(self.builder.$build(a, b, "")).as_basic_value_enum();
                }
                let (a, b) = (a.$into_scalar(), b.$into_scalar());
                written(self.builder.$build(a, b, "")).as_basic_value_enum()
            }
        )*}
    };
}

instructions! {
    int_add build_int_add into_int_value;
    int_sub build_int_sub into_int_value;
    int_mul build_int_mul into_int_value;
    int_div build_int_unsigned_div into_int_value;
    int_rem build_int_unsigned_rem into_int_value;
    int_signed_rem build_int_signed_rem into_int_value;
    int_and build_and into_int_value;
    int_or build_or into_int_value;
    int_xor build_xor into_int_value;
    float_add build_float_add into_float_value;
    float_sub build_float_sub into_float_value;
    float_mul build_float_mul into_float_value;
    float_div build_float_div into_float_value;
}

impl<'c> Flow<'_, 'c> {
    /// `-x`, of a number known everywhere.
    pub fn negated(&mut self, x: IntValue<'c>) -> IntValue<'c> {
        self.at_depth(0, |flow| written(flow.builder.build_int_neg(x, "")))
    }

    /// `a` where the condition holds, else `b`.
    pub fn pick(
        &mut self,
        condition: BasicValueEnum<'c>,
        a: BasicValueEnum<'c>,
        b: BasicValueEnum<'c>,
    ) -> BasicValueEnum<'c> {
        let (a, b) = self.alike(a, b);
        if condition.is_vector_value() {
            let (a, b) = (self.splat(a), self.splat(b));
            let condition = condition.into_vector_value();
            return written(self.builder.build_select(condition, a, b, ""));
        }
        written(
            self.builder
                .build_select(condition.into_int_value(), a, b, ""),
        )
    }
}

/// Comparisons, alike; of floats false where either is NaN.
macro_rules! comparisons {
    ($($name:ident $predicate:ident $build:ident $into_scalar:ident;)*) => {
        impl<'c> Flow<'_, 'c> {$(
            #[doc = concat!("`", stringify!($build), "`.")]
            pub fn $name(
                &mut self,
                how: $predicate,
                a: BasicValueEnum<'c>,
                b: BasicValueEnum<'c>,
            ) -> BasicValueEnum<'c> {
                let (a, b) = self.alike(a, b);
                if a.is_vector_value() {
                    let (a, b) = (a.into_vector_value(), b.into_vector_value());
                    return written(self.builder.$build(how, a, b, "")).into();
                }
                let (a, b) = (a.$into_scalar(), b.$into_scalar());
                written(self.builder.$build(how, a, b, "")).into()
            }
        )*}
    };
}

comparisons! {
    int_compare IntPredicate build_int_compare into_int_value;
    float_compare FloatPredicate build_float_compare into_float_value;
}
