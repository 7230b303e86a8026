//! `lapidary run`: ask a model.

use std::path::PathBuf;
use std::time::Instant;

use models::Checkpoint;
use runtime::{RunOptions, Text, TextSource, TokenizerJson};

use crate::backend::{Backend, BackendArgs, InterpExecutor, exact_shape};
use crate::error::Error;

/// Arguments of `run`.
#[derive(clap::Args)]
pub struct Args {
    /// Folder of a Gemma 2 checkpoint in the Hugging Face layout
    checkpoint: PathBuf,

    #[command(flatten)]
    backend: BackendArgs,

    #[command(flatten)]
    options: RunOptions,
}

/// Runs the command; `start` is when the process began.
pub fn run(args: &Args, start: Instant) -> Result<(), Error> {
    let (backend, _) = args.backend.choose()?;
    let checkpoint = Checkpoint::open(&args.checkpoint)?;
    let context = args.options.max_context(checkpoint.config().context)?;
    let text = match args.options.needs_text() {
        true => load_text(&checkpoint)?,
        false => None,
    };
    let shape = exact_shape(args.options.prefill_chunk(context), context);
    let mut executor = match backend {
        Backend::Interp => InterpExecutor::new(&checkpoint, &shape, args.options.threads())?,
    };
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
