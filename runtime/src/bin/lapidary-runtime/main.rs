//! The runtime that a compiled file begins with: it runs the model that follows it in the same file.

mod guard;
mod info;

use std::fs::File;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use lapidary_runtime::bundle::Bundle;
use lapidary_runtime::{Error, RunOptions};

/// A model with all that it needs: give it a prompt, a conversation, or token ids
#[derive(Parser)]
#[command(disable_version_flag = true)]
struct Cli {
    #[command(flatten)]
    options: RunOptions,

    /// Print what this file was built from, and what memory it needs
    #[arg(long, exclusive = true)]
    info: bool,

    /// Print what this file was built from, in one line
    #[arg(short = 'V', long, exclusive = true)]
    version: bool,
}

fn main() -> ExitCode {
    let start = Instant::now();
    match run(&Cli::parse(), start) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(error.exit_code())
        }
    }
}

fn run(cli: &Cli, start: Instant) -> Result<(), Error> {
    let options = &cli.options;
    let exe = PathBuf::from("/proc/self/exe");
    let name = std::fs::read_link(&exe).unwrap_or_else(|_| exe.clone());
    let file = File::open(&exe).map_err(|source| Error::File { path: exe, source })?;
    let bundle = Bundle::open(file, &name, options.threads())?;
    let manifest = bundle.program.manifest();
    if cli.version {
        return info::print(&info::line(manifest));
    }
    if cli.info {
        return info::print(&info::table(&bundle));
    }
    let mut limits = manifest.model.limits;
    limits.context = options.max_context(limits.context)?;
    let text = match options.needs_text() {
        true => bundle.text()?,
        false => None,
    };
    let mut model = bundle.load(limits, options.threads())?;
    let stop_ids = &manifest.model.stop_ids;
    lapidary_runtime::run(&mut model, text.as_ref(), stop_ids, options, start)
}
