//! A checkpoint to machine code: the stages in order.

use backends::{Compiled, Emit};
use models::{Checkpoint, Config, LayerKind};
use passes::plan::Plan;
use runtime::{Arithmetic, AttentionWork, Level, Work};

use super::options::Build;
use crate::backend::Fidelity;
use crate::error::Error;
use crate::input;
use crate::passes::say_cut_off;
use crate::progress::Progress;

/// Makes a checkpoint's program and code.
///
/// # Errors
/// A model that breaks a constraint of the IR, and what the backend reports.
pub fn compile(
    checkpoint: &Checkpoint,
    build: &Build,
    progress: &Progress,
) -> Result<Compiled, Error> {
    let plan = plan(checkpoint, build, progress)?;
    let kernels = plan.functions.iter().map(|f| f.kernels.len());
    let phase = progress.kernels("code", kernels.sum());
    let options = backend_options(build);
    let compiled = backends::compile(&plan, &options, &mut |done, of| {
        phase.at(done as u64, of as u64);
    })?;
    Ok(compiled)
}

/// Makes a checkpoint's code for the build's first level and shows it.
///
/// # Errors
/// Those of [`compile`].
pub fn emit(
    checkpoint: &Checkpoint,
    build: &Build,
    level: Level,
    what: Emit,
    progress: &Progress,
) -> Result<Vec<u8>, Error> {
    let plan = plan(checkpoint, build, progress)?;
    let _phase = progress.phase("code");
    Ok(backends::emit(&plan, level, &backend_options(build), what)?)
}

fn backend_options(build: &Build) -> backends::Options {
    backends::Options {
        levels: build.levels.clone(),
        fidelity: match build.fidelity {
            Fidelity::Exact => backends::Fidelity::Exact,
            Fidelity::Fast => backends::Fidelity::Fast,
        },
        tune_for_host: build.tune_for_host,
    }
}

fn plan(checkpoint: &Checkpoint, build: &Build, progress: &Progress) -> Result<Plan, Error> {
    let phase = progress.phase("saturation");
    let dtype_of = |name: &str| build.dtype_of(checkpoint, name);
    let module = input::graph(checkpoint, &build.shape(), dtype_of)?;
    let planned = build.passes.plan(&module, build.fidelity)?;
    drop(phase);
    say_cut_off(&planned.algebra);
    Ok(planned.plan)
}

/// What steps of a compiled checkpoint read and compute at the least.
pub fn work(checkpoint: &Checkpoint, build: &Build) -> Work {
    let config = checkpoint.config();
    let elements = |shape: &[usize]| shape.iter().product::<usize>() as u64;
    let matrices = config.layer_tensors();
    let matrices = matrices.iter().filter(|(_, shape)| shape.len() == 2);
    let layer: u64 = matrices.map(|(_, shape)| elements(shape)).sum();
    let kinds = [LayerKind::Sliding, LayerKind::Full];
    let attention = kinds.map(|kind| attention(config, build, kind));
    let narrow = build.fidelity == Fidelity::Fast
        && build.levels.contains(&Level::V4)
        && build.weight_formats(checkpoint) == "bf16";
    Work {
        weight_bytes: build.weight_bytes(checkpoint),
        row_flops: 2 * layer * config.layers.len() as u64,
        logits_flops: 2 * elements(&[config.vocab, config.hidden]),
        attention: attention.into_iter().flatten().collect(),
        arithmetic: match narrow {
            true => Arithmetic::Bf16,
            false => Arithmetic::F32,
        },
    }
}

/// The attention of all layers of a kind, if there are any.
fn attention(config: &Config, build: &Build, kind: LayerKind) -> Option<AttentionWork> {
    let layers = config.layers.iter().filter(|k| **k == kind).count();
    let keys = build.kv_format.row_bytes(config.kv_heads * config.head_dim);
    (layers > 0).then(|| AttentionWork {
        window: match kind {
            LayerKind::Sliding => Some(config.window as u64),
            LayerKind::Full => None,
        },
        position_bytes: (2 * layers * keys) as u64,
        position_flops: (4 * layers * config.heads * config.head_dim) as u64,
    })
}
