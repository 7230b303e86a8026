//! `lapidary compile`: a checkpoint to one file that runs it.

pub mod cached;
mod code;
mod file;
mod options;
mod weights;

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use backends::Emit;
use models::Checkpoint;
use runtime::OutputFile;

use crate::backend::{Fidelity, context};
use crate::error::Error;
use crate::passes::PassArgs;
use crate::progress::Progress;
use crate::space;
pub use code::compile;
use file::Destination;
pub use options::best_here;
pub use options::{Build, CompileOptions, Placement, Scope};

/// Arguments of `compile`.
#[derive(clap::Args)]
pub struct Args {
    /// Folder of a Gemma 2 checkpoint in the Hugging Face layout
    checkpoint: PathBuf,

    /// The file to make: a program that takes every option of a run
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,

    /// How faithful it is to the specification
    #[arg(long, value_enum, default_value_t = Fidelity::Fast)]
    fidelity: Fidelity,

    #[command(flatten)]
    options: CompileOptions,

    #[command(flatten)]
    passes: PassArgs,

    /// Positions that a sequence may have, 1 or more [default: the model's own, which is also the most]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    max_context: Option<u32>,

    /// Write what is made on the way to FILE instead: loops, the kernels' loop nests; ll, LLVM's text before it is improved; asm, assembly; obj, an object file
    #[arg(long, value_enum, conflicts_with = "weights")]
    emit: Option<EmitKind>,
}

/// What of the generated code is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum EmitKind {
    Loops,
    Ll,
    Asm,
    Obj,
}

/// Runs the command.
pub fn run(args: &Args) -> Result<(), Error> {
    let checkpoint = Checkpoint::open(&args.checkpoint)?;
    let context = context(args.max_context, checkpoint.config().context)?;
    let passes = args.passes.read()?;
    let options = &args.options;
    let build = options.build(args.fidelity, context, Scope::Anywhere, passes)?;
    let target = &args.output;
    check_target(target, &checkpoint)?;
    let progress = Progress::shown();
    if let Some(kind) = args.emit {
        OutputFile::check(target)?;
        return emit(&checkpoint, &build, kind, target, &progress);
    }
    let beside = match options.placement() {
        None | Some(Placement::Embed) => None,
        Some(Placement::Sidecar) => Some(weight_file(target)),
    };
    for path in beside.iter().chain([target]) {
        check_target(path, &checkpoint)?;
        check_regular(path)?;
        OutputFile::check(path)?;
    }
    let text = file::text(&checkpoint)?;
    let embedded = build.weight_bytes(&checkpoint);
    space::check(target, file::bytes(None, text.as_ref()) + embedded)?;
    let compiled = compile(&checkpoint, &build, &progress)?;
    let needed = file::bytes(Some(&compiled), text.as_ref());
    space::check(
        target,
        needed + file::weight_bytes(&compiled.program.weights),
    )?;
    let destination = match &beside {
        None => Destination::Embedded,
        Some(path) => Destination::Beside(path),
    };
    let source = file::Source {
        checkpoint: &checkpoint,
        build: &build,
        compiled: &compiled,
        text: text.as_ref(),
    };
    file::write(target, &source, destination, &progress)
}

fn emit(
    checkpoint: &Checkpoint,
    build: &Build,
    kind: EmitKind,
    target: &Path,
    progress: &Progress,
) -> Result<(), Error> {
    let level = match build.levels.as_slice() {
        [only] => *only,
        _ => best_here("--emit for --cpu auto")?,
    };
    let what = match kind {
        EmitKind::Loops => Emit::Loops,
        EmitKind::Ll => Emit::Ll,
        EmitKind::Asm => Emit::Asm,
        EmitKind::Obj => Emit::Obj,
    };
    let code = code::emit(checkpoint, build, level, what, progress)?;
    let mut file = OutputFile::create(target)?;
    file.write(|out| out.write_all(&code))?;
    Ok(file.finish()?)
}

/// The weight file of a compiled file.
fn weight_file(target: &Path) -> PathBuf {
    let mut name = OsString::from(target);
    name.push(".weights");
    PathBuf::from(name)
}

/// Refuses to write over a file of the checkpoint.
fn check_target(target: &Path, checkpoint: &Checkpoint) -> Result<(), Error> {
    let Ok(found) = fs::metadata(target) else {
        return Ok(());
    };
    let folder = fs::read_dir(checkpoint.dir());
    let files = folder.into_iter().flatten().flatten();
    let is_target = |path: PathBuf| {
        fs::metadata(path).is_ok_and(|file| (file.dev(), file.ino()) == (found.dev(), found.ino()))
    };
    match files.map(|entry| entry.path()).any(is_target) && found.is_file() {
        false => Ok(()),
        true => Err(Error::Option(format!(
            "-o {}: a file of the checkpoint, expected a file that may be replaced",
            target.display()
        ))),
    }
}

/// Refuses what a compiled file cannot take the place of.
fn check_regular(target: &Path) -> Result<(), Error> {
    let found = match fs::metadata(target) {
        Ok(found) if found.is_dir() => "a folder",
        Ok(found) if !found.is_file() => "a pipe, socket or device",
        _ => return Ok(()),
    };
    Err(Error::Option(format!(
        "-o {}: {found}, expected a file's path",
        target.display()
    )))
}
