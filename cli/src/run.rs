//! `lapidary run`: ask a model.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;
use std::time::Instant;

use clap::parser::ValueSource;
use clap::{ArgMatches, Args as _};
use models::Checkpoint;
use runtime::{RunOptions, Text, TextSource, TokenizerJson};

use crate::backend::{Backend, BackendArgs, InterpExecutor, exact_shape};
use crate::compile::{CompileOptions, Placement, Scope, cached};
use crate::error::Error;
use crate::machine;
use crate::passes::PassOptions;

/// Arguments of `run`.
#[derive(clap::Args)]
pub struct Args {
    /// Folder of a Gemma 2 checkpoint in the Hugging Face layout
    checkpoint: PathBuf,

    #[command(flatten)]
    backend: BackendArgs,

    #[command(flatten)]
    compile: CompileOptions,

    #[command(flatten)]
    passes: PassOptions,

    #[command(flatten)]
    options: RunOptions,
}

/// Runs the command, whose arguments were these `matches`; `start` is when the process began.
pub fn run(args: &Args, matches: &ArgMatches, start: Instant) -> Result<(), Error> {
    let (backend, fidelity) = args.backend.choose()?;
    let checkpoint = Checkpoint::open(&args.checkpoint)?;
    let context = args.options.max_context(checkpoint.config().context)?;
    match backend {
        Backend::Interp => interpret(args, &checkpoint, context, start),
        Backend::Cpu => {
            if args.options.needs_text() && checkpoint.text()?.is_none() {
                return Err(runtime::Error::NoTokenizer.into());
            }
            let machine = machine::planned_for(machine::load(args.options.machine())?.as_ref());
            args.passes.refuse_growth()?;
            let passes = args.passes.read(machine)?;
            let build = args.compile.build(fidelity, context, Scope::Here, passes)?;
            let placement = args.compile.placement().unwrap_or(Placement::Sidecar);
            let threads = args.options.threads();
            let cached = cached::program(&checkpoint, &build, placement, threads)?;
            // The program takes this one's place, with the locks that keep it in the cache.
            let source = Command::new(&cached.path)
                .args(run_arguments(matches))
                .exec();
            let path = cached.path;
            Err(Error::File { path, source })
        }
    }
}

/// The arguments that are the run's own, as they were given.
fn run_arguments(matches: &ArgMatches) -> Vec<OsString> {
    let options = RunOptions::augment_args(clap::Command::new("run"));
    let (mut named, mut positional) = (Vec::new(), Vec::new());
    for option in options.get_arguments() {
        let id = option.get_id().as_str();
        if matches.value_source(id) != Some(ValueSource::CommandLine) {
            continue;
        }
        let values = matches.get_raw(id).into_iter().flatten();
        match option.get_long() {
            None => positional.extend(values.map(OsString::from)),
            Some(long) if option.get_action().takes_values() => {
                named.extend(values.map(|value| {
                    let mut text = OsString::from(format!("--{long}="));
                    text.push(value);
                    text
                }));
            }
            Some(long) => named.push(format!("--{long}").into()),
        }
    }
    if !positional.is_empty() {
        named.push("--".into());
        named.extend(positional);
    }
    named
}

/// Runs the checkpoint by the interpreter.
fn interpret(
    args: &Args,
    checkpoint: &Checkpoint,
    context: usize,
    start: Instant,
) -> Result<(), Error> {
    args.compile.refuse_for_interp()?;
    args.passes.refuse_for_interp()?;
    let text = match args.options.needs_text() {
        true => load_text(checkpoint)?,
        false => None,
    };
    let shape = exact_shape(args.options.prefill_chunk(context), context);
    let mut executor = InterpExecutor::new(checkpoint, &shape, args.options.threads())?;
    runtime::run(
        &mut executor,
        text.as_ref(),
        checkpoint.stop_ids(),
        &args.options,
        start,
    )?;
    Ok(())
}

/// The checkpoint's tokenizer and chat template, if it has them.
fn load_text(checkpoint: &Checkpoint) -> Result<Option<Text>, Error> {
    let Some(files) = checkpoint.text()? else {
        return Ok(None);
    };
    Ok(Some(Text::new(TextSource {
        tokenizer_json: TokenizerJson::File(&files.tokenizer_json),
        chat_template: files.chat_template,
        special: files.special,
        bos: checkpoint.config().bos,
    })?))
}
