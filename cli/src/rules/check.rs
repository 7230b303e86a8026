//! `lapidary rules check`.

use std::io::Write;
use std::path::PathBuf;

use passes::rules::check::{Checked, Effort, Flaw, check_family};
use passes::rules::{Folding, Rule, RuleClass, RuleSet};
use serde_json::{Value, json};

use super::{Format, lines, print, sources, title};
use crate::error::Error;
use crate::input::Source;

/// Draws for each instance asked for, of which some make none: what the usual effort allows.
const DRAWS: usize = 200;

/// Arguments of `rules check`.
#[derive(clap::Args)]
pub struct Args {
    /// The rules to test [default: the shipped ones]
    file: Option<PathBuf>,

    /// Instances that each rule must hold in: random shapes, attributes and tensors that it matches; a quarter of them for each op of a family
    #[arg(long, value_name = "N", default_value_t = 2000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    instances: u32,

    /// Where the random numbers start
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,

    /// How the outcome is written
    #[arg(short, long, value_enum, value_name = "FORMAT", default_value_t = Format::Text)]
    output: Format,
}

/// What came of a line of a file.
struct Entry<'r> {
    name: &'r str,
    title: String,
    class: RuleClass,
    place: &'r str,
    outcome: Outcome,
}

enum Outcome {
    /// All members held, together in so many instances.
    Sound(Checked),
    /// A member did not.
    Flawed(Flaw),
    /// There is nothing to test.
    BuiltIn,
}

/// Runs the command.
pub fn run(args: &Args) -> Result<(), Error> {
    let source = args.file.as_deref().map(Source::read).transpose()?;
    let rules = match &source {
        None => RuleSet::shipped(),
        Some(source) => sources::parse(source)?,
    };
    let effort = Effort {
        instances: args.instances as usize,
        draws: Effort::default().draws.max(args.instances as usize * DRAWS),
        seed: args.seed,
    };
    let entries = lines(rules.rules());
    let entries = entries.filter_map(|(name, line)| Entry::of_line(name, line, &effort));
    let entries: Vec<Entry> = entries
        .chain(rules.folding().map(Entry::of_folding))
        .collect();
    let mut out = std::io::stdout().lock();
    match args.output {
        Format::Text => {
            let rows: Vec<_> = entries.iter().map(Entry::row).collect();
            print(&mut out, &rows)?;
            for flaw in entries.iter().filter_map(Entry::flaw) {
                writeln!(out, "\n{flaw}")?;
            }
        }
        Format::Json => {
            let entries: Vec<Value> = entries.iter().map(Entry::json).collect();
            writeln!(out, "{:#}", json!({ "rules": entries }))?;
        }
    }
    let flawed = entries.iter().filter(|entry| entry.flaw().is_some());
    let names: Vec<&str> = flawed.map(|entry| entry.name).collect();
    if names.is_empty() {
        return Ok(());
    }
    let file = source.map_or("the shipped rules".into(), |source| source.name());
    Err(Error::Unsound(format!(
        "{file}: {} of {} rules did not pass: {}",
        names.len(),
        entries.len(),
        names.join(", ")
    )))
}

impl<'r> Entry<'r> {
    /// Tests the members of a line, until one fails.
    fn of_line(name: &'r str, line: &'r [Rule], effort: &Effort) -> Option<Entry<'r>> {
        let first = line.first()?;
        Some(Entry {
            name,
            title: title(name, line),
            class: first.class,
            place: &first.place,
            outcome: check_family(line, effort).map_or_else(Outcome::Flawed, Outcome::Sound),
        })
    }

    fn of_folding(folding: &'r Folding) -> Entry<'r> {
        Entry {
            name: Folding::NAME,
            title: Folding::NAME.into(),
            class: Folding::CLASS,
            place: &folding.place,
            outcome: Outcome::BuiltIn,
        }
    }

    fn flaw(&self) -> Option<&Flaw> {
        match &self.outcome {
            Outcome::Flawed(flaw) => Some(flaw),
            Outcome::Sound(_) | Outcome::BuiltIn => None,
        }
    }

    fn row(&self) -> [String; 4] {
        let (instances, verdict) = match &self.outcome {
            Outcome::BuiltIn => ("-".into(), "built in: the interpreter's own result".into()),
            Outcome::Flawed(Flaw::Counterexample(_)) => ("-".into(), "UNSOUND".into()),
            Outcome::Flawed(Flaw::Untested { .. }) => ("-".into(), "UNTESTED".into()),
            Outcome::Sound(checked) => {
                let Checked {
                    instances,
                    same,
                    worst,
                    ..
                } = checked;
                let kept = format!("kept every bit in {same} of {instances}");
                let verdict = match self.class {
                    RuleClass::Exact => "sound".into(),
                    RuleClass::Reassoc | RuleClass::Rounds if checked.is_exact() => {
                        format!("sound, in fact exact: {kept}")
                    }
                    RuleClass::Reassoc | RuleClass::Rounds => {
                        format!("sound: {kept}, worst error {worst:.2} of its bound")
                    }
                };
                (instances.to_string(), verdict)
            }
        };
        [
            self.title.clone(),
            self.class.name().into(),
            instances,
            verdict,
        ]
    }

    fn json(&self) -> Value {
        let (verdict, checked, flaw) = match &self.outcome {
            Outcome::Sound(checked) => ("sound", Some(checked), None),
            Outcome::Flawed(flaw @ Flaw::Counterexample(_)) => ("unsound", None, Some(flaw)),
            Outcome::Flawed(flaw @ Flaw::Untested { .. }) => ("untested", None, Some(flaw)),
            Outcome::BuiltIn => ("built-in", None, None),
        };
        let bounded = checked.filter(|_| self.class != RuleClass::Exact);
        json!({
            "name": self.name,
            "class": self.class.name(),
            "place": self.place,
            "verdict": verdict,
            "instances": checked.map(|c| c.instances),
            "kept_every_bit": checked.map(|c| c.same),
            "worst_error_of_bound": bounded.map(|c| c.worst),
            "flaw": flaw.map(Flaw::to_string),
        })
    }
}
