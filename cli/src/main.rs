//! The command `lapidary`.
//!
//! Each subcommand is a module with its arguments and a `run` function; `error::Error` is what can go
//! wrong in any of them and decides the exit code.

mod backend;
mod bench;
mod bind;
mod cache;
mod calibrate;
mod compile;
mod diff;
mod error;
mod exec;
mod explain;
mod graph;
mod host;
mod info;
mod input;
mod machine;
mod measure;
mod model;
mod names;
mod opt;
mod passes;
mod progress;
mod rules;
mod run;
mod space;
mod table;
mod verify;

use std::process::ExitCode;
use std::time::Instant;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

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
    /// Make one file of a checkpoint: a program that takes a prompt, a conversation, or token ids
    Compile(compile::Args),
    /// Ask a model: a prompt, a conversation, or token ids
    Run(run::Args),
    /// Measure a backend's errors against the float64 truth
    Verify(verify::Args),
    /// Say what a checkpoint is, and what memory it needs
    Info(info::Args),
    /// Print the text of a stage between checkpoint and machine
    Opt(opt::Args),
    /// Run a graph's step on given tensors
    Exec(exec::Args),
    /// List or test the rewrite rules
    Rules(rules::Args),
    /// Say of every kernel of a plan what it does, what it takes, and why it is what it is
    Explain(explain::Args),
    /// Measure how long a graph's step takes
    Bench(bench::Args),
    /// Say what changed from one plan to another
    Diff(diff::Args),
    /// Measure what this machine can do, for planning and for --stats
    Calibrate(calibrate::Args),
}

fn main() -> ExitCode {
    let start = Instant::now();
    let matches = Cli::command().get_matches();
    let cli = Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    let of_command = matches.subcommand().map(|(_, matches)| matches);
    let of_command = of_command.expect("a command is required");
    let result = match cli.command {
        Command::Compile(args) => compile::run(&args),
        Command::Run(args) => run::run(&args, of_command, start),
        Command::Verify(args) => verify::run(&args),
        Command::Info(args) => info::run(&args),
        Command::Opt(args) => opt::run(&args),
        Command::Exec(args) => exec::run(&args),
        Command::Rules(args) => rules::run(&args),
        Command::Explain(args) => explain::run(&args),
        Command::Bench(args) => bench::run(&args),
        Command::Diff(args) => diff::run(&args),
        Command::Calibrate(args) => calibrate::run(&args),
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
