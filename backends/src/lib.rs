//! Plans turned into machine code.
//!
//! ```text
//! Plan ── lower ──▶ a function for each kernel ── loops ──▶ Nest ── llvm ──▶ object ── link ──▶ Image
//!                   └── program ──▶ Program: launches and memory
//! ```
//!
//! - [`loops`] cuts a kernel into tiles and stages: which values are computed into memory, over which part of
//!   them, in which order. It is the same for every target.
//! - [`llvm`] writes a nest's function, improves it, and makes of the object file an image that can be mapped
//!   and run anywhere.
//! - `program` says which kernel runs when, over which memory, as [`runtime::Program`].
//! - [`compile`] does all of it for the CPU; [`emit`] shows the code on the way.
//!
//! In the exact fidelity every kernel computes the bits that the interpreter computes: reductions in 16 lanes,
//! functions by the definitions of [`ir::math`], nothing contracted. In the fast fidelity a dot may sum in
//! another order, a softmax and what is summed with its weights are taken in one sweep, and a dot over bf16 weights
//! rounds its other operand to bf16 where the CPU has products of bf16 pairs.

mod error;
pub mod llvm;
pub mod loops;
mod program;

pub use error::Error;

use inkwell::context::Context;
use ir::{Module, Type};
use llvm::kernel::{self, Shared};
use llvm::target::Target;
use loops::Nest;
use passes::plan::{Plan, lower};
use runtime::{Image, Level, Program};

/// How close to the interpreter the code stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fidelity {
    /// The same bits.
    Exact,
    /// Sums in any order, and products of bf16 pairs where the CPU has them.
    Fast,
}

/// What code is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// For which CPUs: one image for each.
    pub levels: Vec<Level>,
    /// How close to the interpreter.
    pub fidelity: Fidelity,
    /// Whether instructions are scheduled for this machine's CPU rather than for any of the level.
    pub tune_for_host: bool,
}

/// A compiled plan.
#[derive(Clone, Debug, PartialEq)]
pub struct Compiled {
    /// What runs when, over which memory.
    pub program: Program,
    /// The code, for each level asked for.
    pub images: Vec<Image>,
}

/// What of the generated code is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Emit {
    /// The kernels' loop nests.
    Loops,
    /// LLVM's text, before it is improved.
    Ll,
    /// Assembly.
    Asm,
    /// A relocatable ELF file.
    Obj,
}

/// Compiles a plan for the CPU.
///
/// `progress` is told how many of how many kernels are written.
///
/// # Errors
/// [`Error::Unsupported`] for what has no code yet; otherwise what LLVM reports.
pub fn compile(
    plan: &Plan,
    options: &Options,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<Compiled, Error> {
    let lowered = lower(plan);
    let module = &lowered.module;
    let names: Vec<String> = module.functions.iter().map(|f| f.name.clone()).collect();
    let mut scratch = 0;
    let mut images = Vec::new();
    let of = names.len() * options.levels.len();
    for (i, level) in options.levels.iter().enumerate() {
        let target = Target::new(*level, options.tune_for_host)?;
        let context = Context::create();
        let code = target.module(&context, &module.name);
        let shared = Shared {
            context: &context,
            module: &code,
            target: &target,
            ordered: options.fidelity == Fidelity::Exact,
            dims: &module.dims,
        };
        let written = &mut |n| progress(i * names.len() + n, of);
        scratch = write(module, shared, options.fidelity, written)?.max(scratch);
        target.optimise(&code)?;
        images.push(llvm::image::link(*level, &[target.object(&code)?], &names)?);
    }
    Ok(Compiled {
        program: program::program(&lowered, scratch)?,
        images,
    })
}

/// The generated code for one level.
///
/// # Errors
/// As [`compile`].
pub fn emit(plan: &Plan, level: Level, options: &Options, what: Emit) -> Result<Vec<u8>, Error> {
    let lowered = lower(plan);
    if what == Emit::Loops {
        let functions = lowered.module.functions.iter().enumerate();
        let nests = functions.map(|(i, f)| {
            let nest = nest(&lowered.module, i, level, options.fidelity);
            loops::Shown(&nest, f).to_string()
        });
        return Ok(nests.collect::<Vec<String>>().join("\n").into_bytes());
    }
    let target = Target::new(level, options.tune_for_host)?;
    let context = Context::create();
    let code = target.module(&context, &lowered.module.name);
    let shared = Shared {
        context: &context,
        module: &code,
        target: &target,
        ordered: options.fidelity == Fidelity::Exact,
        dims: &lowered.module.dims,
    };
    write(&lowered.module, shared, options.fidelity, &mut |_| {})?;
    if what == Emit::Ll {
        return Ok(code.print_to_string().to_bytes().to_vec());
    }
    target.optimise(&code)?;
    match what {
        Emit::Asm => target.assembly(&code),
        _ => target.object(&code),
    }
}

/// The loop nest of the kernel at `index`.
fn nest(module: &Module, index: usize, level: Level, fidelity: Fidelity) -> Nest {
    let form = loops::Form {
        narrow_dots: fidelity == Fidelity::Fast && level == Level::V4,
        in_place: program::in_place(module, index),
        any_order: fidelity == Fidelity::Fast,
    };
    loops::schedule(&module.functions[index], &module.dims, form)
}

/// Writes every kernel's function; gives the scratch memory that they need.
fn write(
    module: &Module,
    shared: Shared<'_, '_>,
    fidelity: Fidelity,
    written: &mut dyn FnMut(usize),
) -> Result<u64, Error> {
    let mut scratch = 0;
    for (i, function) in module.functions.iter().enumerate() {
        let blocks = |ty: &&Type| ty.dtype.is_block();
        if let Some(ty) = function.values.iter().map(|v| &v.ty).find(blocks) {
            return Err(Error::Unsupported(format!("{} on the CPU", ty.dtype)));
        }
        let nest = nest(module, i, shared.target.level(), fidelity);
        scratch = nest.scratch.max(scratch);
        kernel::write(shared, &function.name, function, &nest);
        written(i + 1);
    }
    Ok(scratch)
}
