//! Which rules fired on the last graph that a command was given, kept from one command to the next.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::PathBuf;

use passes::algebra::Report;
use serde_json::{Value, json};

use crate::backend::Fidelity;
use crate::cache::Cache;

/// The file's name in the cache.
const FILE: &str = "fired.json";

/// How often rules fired.
pub struct Fired {
    /// On what.
    pub graph: String,
    times: BTreeMap<String, u64>,
}

impl Fired {
    /// How often the rule of this name fired.
    pub fn times(&self, rule: &str) -> u64 {
        self.times.get(rule).copied().unwrap_or(0)
    }
}

/// Keeps what fired on a module. It is a note for `rules list` alone: where it cannot be kept, nothing else fails.
pub fn note(module: &str, fidelity: Fidelity, reports: &[Report]) {
    let mut times: BTreeMap<&str, usize> = BTreeMap::new();
    for (rule, n) in reports.iter().flat_map(|report| &report.fired) {
        *times.entry(rule).or_default() += n;
    }
    let functions = match reports {
        [_] => "1 function".into(),
        all => format!("{} functions", all.len()),
    };
    let graph = format!("module {module} ({functions}, {})", fidelity.name());
    let text = json!({ "graph": graph, "rules": times }).to_string();
    let _ = keep(&text);
}

fn keep(text: &str) -> Option<()> {
    let path = path()?;
    let mut file = tempfile::NamedTempFile::new_in(path.parent()?).ok()?;
    file.write_all(text.as_bytes()).ok()?;
    file.persist(path).ok()?;
    Some(())
}

fn path() -> Option<PathBuf> {
    Some(Cache::open().ok()?.path(FILE))
}

/// What fired on the last graph, if that is known.
pub fn last() -> Option<Fired> {
    let text = fs::read_to_string(path()?).ok()?;
    let value: Value = serde_json::from_str(&text).ok()?;
    let times = value.get("rules")?.as_object()?;
    let times = times
        .iter()
        .map(|(rule, n)| Some((rule.clone(), n.as_u64()?)));
    Some(Fired {
        graph: value.get("graph")?.as_str()?.into(),
        times: times.collect::<Option<_>>()?,
    })
}
