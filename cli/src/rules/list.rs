//! `lapidary rules list`.

use std::io::Write;

use passes::rules::{Folding, Rule};
use serde_json::{Value, json};

use super::fired::{self, Fired};
use super::{Format, RuleArgs, lines, print, title};
use crate::error::Error;

/// Arguments of `rules list`.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    rules: RuleArgs,

    /// How the list is written
    #[arg(short, long, value_enum, value_name = "FORMAT", default_value_t = Format::Text)]
    output: Format,
}

/// A line of the list.
struct Entry<'r> {
    name: &'r str,
    title: String,
    class: &'static str,
    /// Where it is written, as `file:line`.
    place: &'r str,
    reason: &'r str,
    /// How often each of its members fired.
    members: Vec<(&'r str, Option<u64>)>,
}

impl<'r> Entry<'r> {
    fn of_line(name: &'r str, line: &'r [Rule], last: Option<&Fired>) -> Option<Entry<'r>> {
        let first = line.first()?;
        let times = |rule: &'r Rule| {
            let times = last.map(|last| last.times(&rule.name));
            (rule.name.as_str(), times)
        };
        Some(Entry {
            name,
            title: title(name, line),
            class: first.class.name(),
            place: &first.place,
            reason: &first.reason,
            members: line.iter().map(times).collect(),
        })
    }

    fn of_folding(folding: &'r Folding, last: Option<&Fired>) -> Entry<'r> {
        Entry {
            name: Folding::NAME,
            title: Folding::NAME.into(),
            class: Folding::CLASS.name(),
            place: &folding.place,
            reason: &folding.reason,
            members: vec![(Folding::NAME, last.map(|last| last.times(Folding::NAME)))],
        }
    }

    fn fired(&self) -> Option<u64> {
        self.members.iter().map(|(_, times)| *times).sum()
    }

    fn row(&self) -> [String; 5] {
        [
            self.title.clone(),
            self.class.into(),
            self.fired().map_or("-".into(), |n| n.to_string()),
            self.place.into(),
            self.reason.into(),
        ]
    }

    fn json(&self) -> Value {
        let members: serde_json::Map<String, Value> = self
            .members
            .iter()
            .map(|(name, times)| (name.to_string(), json!(times)))
            .collect();
        json!({
            "name": self.name,
            "class": self.class,
            "place": self.place,
            "reason": self.reason,
            "fired": self.fired(),
            "members": members,
        })
    }
}

/// Runs the command.
pub fn run(args: &Args) -> Result<(), Error> {
    let rules = args.rules.read()?.all()?;
    let last = fired::last();
    let entries = lines(rules.rules());
    let entries = entries.filter_map(|(name, line)| Entry::of_line(name, line, last.as_ref()));
    let folding = rules.folding();
    let folding = folding.map(|folding| Entry::of_folding(folding, last.as_ref()));
    let entries: Vec<Entry> = entries.chain(folding).collect();
    let graph = last.as_ref().map(|last| last.graph.as_str());
    let mut out = std::io::stdout().lock();
    match args.output {
        Format::Text => {
            let head = ["name", "class", "fired", "where", "why"].map(String::from);
            let rows: Vec<_> = std::iter::once(head)
                .chain(entries.iter().map(Entry::row))
                .collect();
            print(&mut out, &rows)?;
        }
        Format::Json => {
            let entries: Vec<Value> = entries.iter().map(Entry::json).collect();
            let list = json!({ "fired_on": graph, "rules": entries });
            writeln!(out, "{list:#}")?;
        }
    }
    match graph {
        Some(graph) => eprintln!("fired: on {graph}"),
        None => eprintln!("fired: no graph has been given yet"),
    }
    Ok(())
}
