//! `lapidary rules`: the rewrite rules, listed and tested.

mod check;
pub mod fired;
pub mod growth;
mod list;
mod sources;

use std::io::{self, Write};

use passes::rules::Rule;

use crate::error::Error;
pub use sources::{RuleArgs, RuleSources};

/// Arguments of `rules`.
#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// List the rules: name, class, how often each fired on the last graph given, where it is written, and why it holds
    List(list::Args),
    /// Test rules on random shapes and tensors, and show where one fails
    Check(check::Args),
}

/// How a result is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// A table
    Text,
    /// One JSON object
    Json,
}

/// Runs the command.
pub fn run(args: &Args) -> Result<(), Error> {
    match &args.command {
        Command::List(args) => list::run(args),
        Command::Check(args) => check::run(args),
    }
}

/// The rules of one line of a file: one, or the members of a family.
fn lines(rules: &[Rule]) -> impl Iterator<Item = (&str, &[Rule])> {
    let lines = rules.chunk_by(|a, b| a.place == b.place);
    lines.filter_map(|line| Some((sources::family(&line.first()?.name), line)))
}

/// A line's name in tables, with the number of its members if it is a family.
fn title(name: &str, line: &[Rule]) -> String {
    let single = line.first().is_none_or(|rule| rule.name == name);
    match single {
        true => name.into(),
        false => format!("{name} ({} ops)", line.len()),
    }
}

/// Prints rows with their columns aligned to the left, the last one ragged.
fn print<const N: usize>(out: &mut dyn Write, rows: &[[String; N]]) -> io::Result<()> {
    let width = |c: usize| rows.iter().map(|row| row[c].chars().count()).max();
    let widths: [usize; N] = std::array::from_fn(|c| width(c).unwrap_or(0));
    for row in rows {
        let cells = row.iter().zip(widths);
        let line: Vec<String> = cells.map(|(cell, w)| format!("{cell:<w$}")).collect();
        writeln!(out, "{}", line.join("  ").trim_end())?;
    }
    Ok(())
}
