//! The command `lapidary`.
//!
//! Each subcommand is a module with its arguments and a `run` function; `error::Error` is what can go
//! wrong in any of them and decides the exit code.

mod backend;
mod error;
mod info;
mod opt;
mod run;
mod table;
mod verify;

use std::process::ExitCode;
use std::time::Instant;

use clap::{Parser, Subcommand};

/// Gemma 2, from a Hugging Face checkpoint to a standalone binary
#[derive(Parser)]
#[command(
    name = "lapidary",
    version,
    disable_help_subcommand = true,
    propagate_version = true
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Ask a model: a prompt, a conversation, or token ids
    Run(run::Args),
    /// Measure a backend's errors against the float64 truth
    Verify(verify::Args),
    /// Say what a checkpoint is, and what memory it needs
    Info(info::Args),
    /// Print the text of a stage between checkpoint and machine
    Opt(opt::Args),
}

fn main() -> ExitCode {
    let start = Instant::now();
    let result = match Cli::parse().command {
        Command::Run(args) => run::run(&args, start),
        Command::Verify(args) => verify::run(&args),
        Command::Info(args) => info::run(&args),
        Command::Opt(args) => opt::run(&args),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let code = error.exit_code();
            error.report();
            ExitCode::from(code)
        }
    }
}
