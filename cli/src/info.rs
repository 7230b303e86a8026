//! `lapidary info`: what a checkpoint is, and what memory it needs.

use std::io::Write;
use std::path::PathBuf;

use ir::DType;
use models::{Checkpoint, Config, LayerKind};
use passes::pipeline::PlanOptions;
use runtime::Buffer;

use crate::backend::{Fidelity, context, exact_shape};
use crate::compile::{CompileOptions, Scope, compile};
use crate::error::Error;
use crate::machine::{MachineArgs, planned_for};
use crate::passes::Passes;
use crate::progress::Progress;
use crate::table;

/// Arguments of `info`.
#[derive(clap::Args)]
pub struct Args {
    /// Folder of a Gemma 2 checkpoint in the Hugging Face layout
    checkpoint: PathBuf,

    /// Positions a sequence may have, for the size of the KV cache [default: the model's own]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    max_context: Option<u32>,

    /// Prompt tokens per step, for the memory of the program and its KV cache
    #[arg(long, value_name = "N", default_value_t = 512, value_parser = clap::value_parser!(u32).range(1..))]
    prefill_chunk: u32,

    /// How faithful the compiled program is, whose memory is foretold
    #[arg(long, value_enum, default_value_t = Fidelity::Fast)]
    fidelity: Fidelity,

    #[command(flatten)]
    options: CompileOptions,

    #[command(flatten)]
    machine: MachineArgs,
}

/// Runs the command.
pub fn run(args: &Args) -> Result<(), Error> {
    let checkpoint = Checkpoint::open(&args.checkpoint)?;
    let c = checkpoint.config();
    let context = context(args.max_context, c.context)?;
    let text = match checkpoint.text()? {
        None => "none: token ids only".to_string(),
        Some(files) => match files.chat_template {
            Some(_) => "tokenizer.json, with a chat template".into(),
            None => "tokenizer.json; no chat template, Gemma 2's own form is used".into(),
        },
    };
    let mut stored: Vec<String> = Vec::new();
    for dtype in DType::all() {
        let of_dtype = checkpoint.tensors().filter(|(_, w)| w.dtype == dtype);
        let sizes: Vec<usize> = of_dtype.map(|(_, w)| w.bytes.len()).collect();
        if !sizes.is_empty() {
            let bytes = table::bytes(sizes.iter().sum());
            stored.push(format!("{} tensors in {dtype}, {bytes}", sizes.len()));
        }
    }
    let sliding = c
        .layers
        .iter()
        .filter(|k| **k == LayerKind::Sliding)
        .count();
    let stop: Vec<String> = checkpoint.stop_ids().iter().map(u32::to_string).collect();
    let row = |name: &str, value: String| vec![name.to_string(), value];
    let facts = [
        row("model", "Gemma 2".into()),
        row("parameters", table::thousands(c.parameters())),
        row("stored", stored.join("; ")),
        row("hidden", c.hidden.to_string()),
        row(
            "layers",
            format!(
                "{}: {sliding} with a window of {}, {} over all keys",
                c.layers.len(),
                c.window,
                c.layers.len() - sliding
            ),
        ),
        row(
            "heads",
            format!("{} over {} kv heads of {}", c.heads, c.kv_heads, c.head_dim),
        ),
        row("intermediate", c.intermediate.to_string()),
        row("vocabulary", c.vocab.to_string()),
        row("context", c.context.to_string()),
        row("text", text),
        row("stop ids", stop.join(", ")),
    ];
    let mut out = std::io::stdout().lock();
    let width = facts.iter().map(|f| f[0].len()).max().unwrap_or(0);
    for fact in &facts {
        writeln!(out, "{:width$}   {}", fact[0], fact[1])?;
    }

    writeln!(out, "\nMemory for the weights, by format:")?;
    let mut rows = vec![];
    for (name, format) in FORMATS {
        rows.push(row(name, table::bytes(weight_bytes(c, format))));
    }
    table::print(&mut out, &rows)?;

    writeln!(
        out,
        "\nMemory for the KV cache of a sequence, {context} positions:"
    )?;
    let mut shape = exact_shape((args.prefill_chunk as usize).min(context), context);
    let mut rows = vec![];
    for format in [DType::F32, DType::BF16] {
        shape.kv_format = format;
        rows.push(row(format.name(), table::bytes(shape.cache_bytes(c))));
    }
    table::print(&mut out, &rows)?;

    let passes = Passes {
        kernels: PlanOptions {
            machine: planned_for(args.machine.machine()?.as_ref()),
            ..PlanOptions::default()
        },
        ..Passes::default()
    };
    let options = &args.options;
    let mut build = options.build(args.fidelity, context, Scope::Anywhere, passes)?;
    build.rows = (args.prefill_chunk as usize).min(context);
    let program = compile(&checkpoint, &build, &Progress::in_terminal())?.program;
    let fidelity = args.fidelity.name();
    let (kernels, launches) = (program.kernels.len(), program.launches.len());
    writeln!(
        out,
        "\nMemory of the compiled program, {fidelity}, {} rows a step, {kernels} kernels, {launches} launches:",
        build.rows
    )?;
    let all = |buffers: &[Buffer]| buffers.iter().map(|b| b.bytes).sum::<u64>();
    let weights = program.weights.iter().map(|w| w.bytes).sum();
    let given = all(&program.inputs) + all(&program.outputs);
    let parts = [
        ("weights, mapped from the file", weights),
        ("KV cache", all(&program.states)),
        ("arena, at most", program.arena),
        ("inputs and outputs, at most", given),
        ("scratch of each thread", program.scratch),
    ];
    let parts = parts.map(|(name, bytes)| row(name, table::bytes(bytes as usize)));
    table::print(&mut out, &parts)?;
    Ok(())
}

/// A weight format's name, the dtype of matrices and that of the embedding, which is also the head.
const FORMATS: [(&str, [DType; 2]); 4] = [
    ("f32", [DType::F32, DType::F32]),
    ("bf16", [DType::BF16, DType::BF16]),
    ("q8_0", [DType::Q8_0, DType::Q8_0]),
    ("q4_0 (embedding q8_0)", [DType::Q4_0, DType::Q8_0]),
];

/// Bytes of all weights in a format; norms, which have one axis, stay f32 in the block formats.
fn weight_bytes(config: &Config, [matrices, embedding]: [DType; 2]) -> usize {
    let bytes = |(name, shape): &(String, Vec<usize>)| {
        let dtype = match (shape.len(), name.as_str()) {
            (1, _) if matrices.is_block() => DType::F32,
            (_, "model.embed_tokens.weight") => embedding,
            _ => matrices,
        };
        dtype
            .bytes(shape)
            .expect("a checked configuration's sizes do not overflow")
    };
    config.tensors().iter().map(bytes).sum()
}
