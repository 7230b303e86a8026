//! Code made by LLVM, linked into an image, mapped and run: it runs wherever it lies, and computes what the
//! interpreter computes, on every level of CPU that this machine has.

use half::{bf16, f16};
use inkwell::builder::Builder;
use inkwell::context::Context;
use inkwell::module::{Linkage, Module};
use inkwell::types::VectorType;
use inkwell::values::{FunctionValue, IntValue, PointerValue, VectorValue};
use inkwell::{AddressSpace, IntPredicate};
use ir::math;
use lapidary_backends::Error;
use lapidary_backends::llvm::convert;
use lapidary_backends::llvm::image::link;
use lapidary_backends::llvm::lanes::{Lanes, Site, written};
use lapidary_backends::llvm::target::Target;
use memmap2::{Mmap, MmapMut};
use runtime::{Image, Level};

/// The levels that this machine can run; says of the others what it lacks.
fn levels_here() -> impl Iterator<Item = Level> {
    Level::ALL.into_iter().filter(|level| {
        let lacking = level.lacks();
        if let Some(feature) = lacking {
            println!("{level} is not tested: this CPU has no {feature}");
        }
        lacking.is_none()
    })
}

fn target(level: Level) -> Target {
    Target::new(level, false).unwrap()
}

/// An image in executable memory.
struct Mapped {
    code: Mmap,
    entries: Vec<u64>,
}

/// What the functions of these tests are called as.
type Entry = unsafe extern "C" fn(*const u8, *mut u8);

impl Mapped {
    fn new(image: &Image) -> Mapped {
        let mut map = MmapMut::map_anon(image.code.len()).unwrap();
        map.copy_from_slice(&image.code);
        Mapped {
            code: map.make_exec().unwrap(),
            entries: image.entries.clone(),
        }
    }

    fn entry(&self, kernel: usize) -> *const u8 {
        self.code[self.entries[kernel] as usize..].as_ptr()
    }

    /// Calls a kernel that reads `N` of `I` and writes `N` of `O`, for each `N` of the inputs.
    fn map<I: Copy, O: Copy + Default, const N: usize>(
        &self,
        kernel: usize,
        inputs: &[I],
    ) -> Vec<O> {
        // SAFETY: the entry begins a function that was compiled with this signature.
        let call: Entry = unsafe { std::mem::transmute(self.entry(kernel)) };
        let (blocks, rest) = inputs.as_chunks::<N>();
        assert!(rest.is_empty(), "inputs come in whole vectors");
        let results = blocks.iter().flat_map(|block| {
            let mut results = [O::default(); N];
            // SAFETY: it reads and writes one vector of N elements of these types.
            unsafe { call(block.as_ptr().cast(), results.as_mut_ptr().cast()) };
            results
        });
        results.collect()
    }
}

/// A function of two pointers with a body that `body` writes.
fn define<'ctx>(
    target: &Target,
    module: &Module<'ctx>,
    name: &str,
    body: impl FnOnce(&Builder<'ctx>, FunctionValue<'ctx>),
) -> FunctionValue<'ctx> {
    let context = module.get_context();
    let pointer = context.ptr_type(AddressSpace::default());
    let ty = context
        .void_type()
        .fn_type(&[pointer.into(), pointer.into()], false);
    let function = module.add_function(name, ty, None);
    target.mark(function);
    let builder = context.create_builder();
    builder.position_at_end(context.append_basic_block(function, "entry"));
    body(&builder, function);
    written(builder.build_return(None));
    function
}

/// The function's two arguments.
fn pointers<'ctx>(function: FunctionValue<'ctx>) -> [PointerValue<'ctx>; 2] {
    [0, 1].map(|i| function.get_nth_param(i).unwrap().into_pointer_value())
}

/// A function that writes `f` of the vector that it reads.
fn define_map<'ctx>(
    target: &Target,
    module: &Module<'ctx>,
    name: &str,
    input: VectorType<'ctx>,
    f: impl FnOnce(Site<'_, 'ctx>, VectorValue<'ctx>) -> VectorValue<'ctx>,
) {
    define(target, module, name, |builder, function| {
        let [from, to] = pointers(function);
        let x = written(builder.build_load(input, from, "")).into_vector_value();
        x.as_instruction().unwrap().set_alignment(1).unwrap();
        let result = f(Site { module, builder }, x);
        written(builder.build_store(to, result))
            .set_alignment(1)
            .unwrap();
    });
}

fn compile(target: &Target, module: &Module<'_>, kernels: &[&str]) -> Result<Image, Error> {
    target.optimise(module)?;
    link(target.level(), &[target.object(module)?], kernels)
}

fn refusal(write: impl FnOnce(&Target, &Module<'_>)) -> String {
    let (target, context) = (target(Level::V3), Context::create());
    let module = target.module(&context, "refused");
    write(&target, &module);
    compile(&target, &module, &["f"]).unwrap_err().to_string()
}

/// Bit patterns in vectors of 16: zero, infinity, NaN, the ends of the subnormals and places where methods
/// change, with neighbours and both signs, then every `step`th, which is every exponent many times.
fn sample(step: usize) -> Vec<u32> {
    let special = [
        0.0,
        0.625,
        1.0,
        89.0,
        104.0,
        1_048_576.0,
        f32::MIN_POSITIVE,
        f32::MAX,
        f32::INFINITY,
        f32::NAN,
    ];
    let around = |x: f32| (0..9).map(move |i| x.to_bits().wrapping_add(i).wrapping_sub(4));
    let special = special.into_iter().flat_map(around);
    let mut bits: Vec<u32> = special
        .flat_map(|bits| [bits, bits ^ 1 << 31])
        .chain((0..=u32::MAX).step_by(step))
        .collect();
    bits.truncate(bits.len() / 16 * 16);
    bits
}

fn floats(step: usize) -> Vec<f32> {
    sample(step).into_iter().map(f32::from_bits).collect()
}

/// Whether both are the same f32, or both are NaN.
fn same(a: f32, b: f32) -> bool {
    a.to_bits() == b.to_bits() || a.is_nan() && b.is_nan()
}

#[test]
fn constants_jump_tables_and_calls_work_wherever_the_image_lies() {
    for level in levels_here() {
        let (target, context) = (target(level), Context::create());
        let module = target.module(&context, "parts");
        let f32s = context.f32_type().vec_type(16);
        define_map(&target, &module, "constants", f32s, |site, x| {
            let numbers = (0..16).map(|i| context.f32_type().const_float(f64::from(i) + 0.5));
            let numbers = VectorType::const_vector(&numbers.collect::<Vec<_>>());
            written(site.builder.build_float_add(x, numbers, ""))
        });
        let helper = define(&target, &module, "helper", write_jump_table);
        helper.set_linkage(Linkage::Internal);
        define(&target, &module, "calls", |builder, function| {
            let arguments: Vec<_> = function.get_param_iter().map(Into::into).collect();
            written(builder.build_call(helper, &arguments, ""));
        });
        let image = compile(&target, &module, &["calls", "constants"]).unwrap();
        let assembly = String::from_utf8(target.assembly(&module).unwrap()).unwrap();
        assert!(assembly.contains(".LJTI"), "no jump table: {assembly}");
        assert_eq!(image.level, level);

        let mapped = Mapped::new(&image);
        let expected: Vec<f32> = (0..16).map(|i| 100.0 + i as f32 + 0.5).collect();
        assert_eq!(mapped.map::<f32, f32, 16>(1, &[100.0; 16]), expected);
        let cases = mapped.map::<i64, i64, 1>(0, &[0, 1, 2, 3, 4, 5, 6, -1]);
        assert_eq!(cases, [7, 6, 14, 2, 32, -3, 6, -1]);
    }
}

/// Writes the number that it reads, changed by another operation for each of 0 to 5.
fn write_jump_table<'ctx>(b: &Builder<'ctx>, function: FunctionValue<'ctx>) {
    let context = function.get_type().get_context();
    let [from, to] = pointers(function);
    let ty = context.i64_type();
    let x = written(b.build_load(ty, from, "")).into_int_value();
    let constant = |n| ty.const_int(n, false);
    let (entry, end) = (
        b.get_insert_block().unwrap(),
        context.append_basic_block(function, "end"),
    );
    let operations: [&dyn Fn() -> IntValue<'ctx>; 6] = [
        &|| written(b.build_int_add(x, constant(7), "")),
        &|| written(b.build_xor(x, constant(7), "")),
        &|| written(b.build_int_mul(x, constant(7), "")),
        &|| written(b.build_and(x, constant(2), "")),
        &|| written(b.build_left_shift(x, constant(3), "")),
        &|| written(b.build_int_sub(x, constant(8), "")),
    ];
    let cases = operations.map(|operation| {
        let block = context.append_basic_block(function, "case");
        b.position_at_end(block);
        let result = operation();
        written(b.build_unconditional_branch(end));
        (block, result)
    });
    b.position_at_end(entry);
    let labels = cases
        .iter()
        .enumerate()
        .map(|(i, (block, _))| (constant(i as u64), *block));
    written(b.build_switch(x, end, &labels.collect::<Vec<_>>()));
    b.position_at_end(end);
    let phi = written(b.build_phi(ty, ""));
    phi.add_incoming(&[(&x, entry)]);
    for (block, result) in cases {
        phi.add_incoming(&[(&result, block)]);
    }
    written(b.build_store(to, phi.as_basic_value()));
}

#[test]
fn kernels_of_several_objects_call_one_another() {
    for level in levels_here() {
        let (target, context) = (target(level), Context::create());
        let [first, second] = ["first", "second"].map(|name| target.module(&context, name));
        define(&target, &first, "inner", |b, function| {
            let [_, to] = pointers(function);
            written(b.build_store(to, context.i64_type().const_int(42, false)));
        });
        let ty = first.get_function("inner").unwrap().get_type();
        let inner = second.add_function("inner", ty, None);
        define(&target, &second, "outer", |b, function| {
            let arguments: Vec<_> = function.get_param_iter().map(Into::into).collect();
            written(b.build_call(inner, &arguments, ""));
        });
        let objects = [&second, &first].map(|module| target.object(module).unwrap());
        let image = link(level, &objects, &["outer"]).unwrap();
        assert_eq!(Mapped::new(&image).map::<i64, i64, 1>(0, &[0]), [42]);

        let twice = link(level, &[&objects[1], &objects[1]], &["inner"]).unwrap_err();
        assert_eq!(twice.to_string(), "object code: inner is defined twice");
    }
}

#[test]
fn what_an_image_cannot_hold_is_refused() {
    assert_eq!(refusal(|_, _| ()), "object code: f is not defined");

    let undefined = refusal(|target, module| {
        let ty = module.get_context().void_type().fn_type(&[], false);
        let callee = module.add_function("elsewhere", ty, None);
        define(target, module, "f", |b, _| {
            written(b.build_call(callee, &[], ""));
        });
    });
    assert_eq!(undefined, "object code: elsewhere is not defined");

    let writable = refusal(|target, module| {
        let ty = module.get_context().i64_type();
        let variable = module.add_global(ty, None, "variable");
        variable.set_initializer(&ty.const_int(5, false));
        define(target, module, "f", |_, _| ());
    });
    assert_eq!(
        writable,
        "object code: section .data (Data) is neither code nor constants"
    );

    let by_table = refusal(|target, module| {
        let ty = module.get_context().i64_type();
        let constant = module.add_global(ty, None, "constant");
        constant.set_initializer(&ty.const_int(5, false));
        constant.set_constant(true);
        define(target, module, "f", |b, function| {
            let [_, to] = pointers(function);
            written(b.build_store(to, constant.as_pointer_value()));
        });
    });
    assert!(by_table.ends_with("is not a distance"), "{by_table}");

    let garbage = link(Level::V3, &[b"not an object"], &["f"]).unwrap_err();
    assert!(
        garbage.to_string().starts_with("object code: "),
        "{garbage}"
    );
}

#[test]
fn a_module_that_is_not_well_formed_is_refused_with_what_llvm_says() {
    let message = refusal(|target, module| {
        let function = define(target, module, "f", |_, _| ());
        module.get_context().append_basic_block(function, "open");
    });
    assert_eq!(
        message,
        "LLVM verifying a module: Basic Block in function 'f' does not have terminator!; label %open"
    );
}

#[test]
fn a_product_and_a_sum_are_rounded_apart() {
    for level in Level::ALL {
        let (target, context) = (target(level), Context::create());
        let module = target.module(&context, "apart");
        let f32s = context.f32_type().vec_type(target.vector_bits() / 32);
        define_map(&target, &module, "f", f32s, |site, x| {
            let product = written(site.builder.build_float_mul(x, x, ""));
            written(site.builder.build_float_add(product, x, ""))
        });
        target.optimise(&module).unwrap();
        let assembly = String::from_utf8(target.assembly(&module).unwrap()).unwrap();
        assert!(
            assembly.contains("vmulps") && assembly.contains("vaddps"),
            "{assembly}"
        );
        assert!(!assembly.contains("vfm"), "{assembly}");
    }
}

#[test]
fn a_loop_over_vectors_keeps_their_width_and_its_length() {
    for (level, registers) in [(Level::V3, "%ymm"), (Level::V4, "%zmm")] {
        for tune_for_host in [false, true] {
            let (target, context) = (
                Target::new(level, tune_for_host).unwrap(),
                Context::create(),
            );
            let module = target.module(&context, "loop");
            let f32s = context.f32_type().vec_type(target.vector_bits() / 32);
            define(&target, &module, "f", |b, function| {
                write_loop(b, function, f32s)
            });
            target.optimise(&module).unwrap();
            let assembly = String::from_utf8(target.assembly(&module).unwrap()).unwrap();
            let products: Vec<&str> = assembly
                .lines()
                .filter(|line| line.contains("vmulps"))
                .collect();
            assert!(
                products.len() == 1 && products[0].contains(registers),
                "{assembly}"
            );
        }
    }
}

/// Squares 64 vectors in place.
fn write_loop<'ctx>(b: &Builder<'ctx>, function: FunctionValue<'ctx>, vector: VectorType<'ctx>) {
    let context = function.get_type().get_context();
    let i64 = context.i64_type();
    let [_, to] = pointers(function);
    let entry = b.get_insert_block().unwrap();
    let [body, end] = ["body", "end"].map(|name| context.append_basic_block(function, name));
    written(b.build_unconditional_branch(body));
    b.position_at_end(body);
    let i = written(b.build_phi(i64, ""));
    let index = i.as_basic_value().into_int_value();
    // SAFETY: the function is never called.
    let at = written(unsafe { b.build_gep(vector, to, &[index], "") });
    let x = written(b.build_load(vector, at, "")).into_vector_value();
    written(b.build_store(at, written(b.build_float_mul(x, x, ""))));
    let next = written(b.build_int_add(index, i64.const_int(1, false), ""));
    i.add_incoming(&[(&i64.const_zero(), entry), (&next, body)]);
    let is_last =
        written(b.build_int_compare(IntPredicate::EQ, next, i64.const_int(64, false), ""));
    written(b.build_conditional_branch(is_last, end, body));
    b.position_at_end(end);
}

/// Asserts that a function of [`Lanes`] computes, in vectors of `N`, what the same function of f32 does.
macro_rules! assert_same_in_lanes {
    ($N:literal, $step:expr, $($f:path),*) => {
        for level in levels_here() {
            let (target, context) = (target(level), Context::create());
            let module = target.module(&context, "math");
            let ty = context.f32_type().vec_type($N);
            let names = [$(stringify!($f)),*];
            $(define_map(&target, &module, stringify!($f), ty, |site, value| {
                $f(Lanes { site, value }).value
            });)*
            let mapped = Mapped::new(&compile(&target, &module, &names).unwrap());
            let inputs = floats($step);
            let expected: [fn(f32) -> f32; _] = [$($f),*];
            for (kernel, (name, expected)) in names.iter().zip(expected).enumerate() {
                let results = mapped.map::<f32, f32, $N>(kernel, &inputs);
                for (x, got) in inputs.iter().zip(results) {
                    let expected = expected(*x);
                    assert!(
                        same(got, expected),
                        "{name}({x:e}) on {level}, {} lanes: {got:e}, expected {expected:e}", $N
                    );
                }
            }
        }
    };
}

#[test]
fn exp_log_tanh_sin_and_cos_have_the_interpreters_bits_in_every_lane() {
    assert_same_in_lanes!(
        16,
        997,
        math::exp,
        math::log,
        math::tanh,
        math::sin,
        math::cos
    );
}

#[test]
fn the_bits_do_not_depend_on_the_number_of_lanes() {
    assert_same_in_lanes!(
        1,
        99_991,
        math::exp,
        math::log,
        math::tanh,
        math::sin,
        math::cos
    );
    assert_same_in_lanes!(
        8,
        99_991,
        math::exp,
        math::log,
        math::tanh,
        math::sin,
        math::cos
    );
}

/// Asserts that a conversion computes what `expected` does for each of the inputs.
fn assert_converts<'ctx, I: Copy + std::fmt::Debug, O: Copy + Default + std::fmt::Debug>(
    context: &'ctx Context,
    input: VectorType<'ctx>,
    inputs: &[I],
    convert: impl Fn(Site<'_, 'ctx>, VectorValue<'ctx>) -> VectorValue<'ctx>,
    expected: impl Fn(I) -> O,
    same: impl Fn(O, O) -> bool,
) {
    for level in levels_here() {
        let target = target(level);
        let module = target.module(context, "convert");
        define_map(&target, &module, "f", input, &convert);
        let mapped = Mapped::new(&compile(&target, &module, &["f"]).unwrap());
        for (x, got) in inputs.iter().zip(mapped.map::<I, O, 16>(0, inputs)) {
            let expected = expected(*x);
            assert!(
                same(got, expected),
                "{x:?} on {level}: {got:?}, expected {expected:?}"
            );
        }
    }
}

#[test]
fn square_roots_are_correctly_rounded() {
    let context = Context::create();
    let f32s = context.f32_type().vec_type(16);
    assert_converts(
        &context,
        f32s,
        &floats(997),
        |site, value| Lanes { site, value }.sqrt().value,
        f32::sqrt,
        same,
    );
}

#[test]
fn narrow_floats_widen_exactly() {
    let context = Context::create();
    let i16s = context.i16_type().vec_type(16);
    let all: Vec<u16> = (0..=u16::MAX).collect();
    let from_bf16 = |bits| bf16::from_bits(bits).to_f32();
    let from_f16 = |bits| f16::from_bits(bits).to_f32();
    assert_converts(&context, i16s, &all, convert::bf16_to_f32, from_bf16, same);
    assert_converts(&context, i16s, &all, convert::f16_to_f32, from_f16, same);
}

#[test]
fn narrowing_rounds_to_nearest_even_and_keeps_subnormals_and_nan() {
    let context = Context::create();
    let f32s = context.f32_type().vec_type(16);
    // Ties of bf16 and of f16, and what is next to them, at every exponent.
    let ties = (0..=u16::MAX).step_by(31).flat_map(|upper| {
        [
            0x0fff, 0x1000, 0x1001, 0x2fff, 0x3000, 0x3001, 0x7fff, 0x8000, 0x8001,
        ]
        .map(|lower| u32::from(upper) << 16 | lower)
    });
    let mut inputs: Vec<f32> = sample(997)
        .into_iter()
        .chain(ties)
        .map(f32::from_bits)
        .collect();
    inputs.truncate(inputs.len() / 16 * 16);

    let to_bf16 = |x| bf16::from_f32(x).to_bits();
    let to_f16 = |x| f16::from_f32(x).to_bits();
    let same_bf16 = |a, b| a == b || bf16::from_bits(a).is_nan() && bf16::from_bits(b).is_nan();
    let same_f16 = |a, b| a == b || f16::from_bits(a).is_nan() && f16::from_bits(b).is_nan();
    assert_converts(
        &context,
        f32s,
        &inputs,
        convert::f32_to_bf16,
        to_bf16,
        same_bf16,
    );
    assert_converts(
        &context,
        f32s,
        &inputs,
        convert::f32_to_f16,
        to_f16,
        same_f16,
    );
}

#[test]
fn integers_become_the_nearest_f32() {
    let context = Context::create();
    let i32s = context.i32_type().vec_type(16);
    let inputs: Vec<i32> = sample(997).into_iter().map(|bits| bits as i32).collect();
    assert_converts(
        &context,
        i32s,
        &inputs,
        convert::i32_to_f32,
        |x| x as f32,
        same,
    );
}
