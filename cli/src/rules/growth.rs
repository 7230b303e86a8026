//! How the e-graphs grew, as JSON.

use std::path::Path;

use passes::algebra::{Report, Round, RuleGrowth};
use runtime::OutputFile;
use serde_json::{Value, json};

use crate::error::Error;

/// Writes, for each function, why its search ended and what every round and rule added; whole or not at all.
///
/// # Errors
/// The file cannot be written.
pub fn write(path: &Path, reports: &[Report]) -> Result<(), Error> {
    let functions: Vec<Value> = reports.iter().map(function).collect();
    let mut file = OutputFile::create(path)?;
    file.write(|out| writeln!(out, "{:#}", json!({ "functions": functions })))?;
    Ok(file.finish()?)
}

fn function(report: &Report) -> Value {
    let rule = |rule: &RuleGrowth| json!({ "rule": rule.rule, "fired": rule.fired, "nodes_added": rule.nodes });
    let round = |round: &Round| {
        json!({
            "nodes": round.nodes,
            "classes": round.classes,
            "seconds": round.seconds,
            "rules": round.rules.iter().map(rule).collect::<Vec<_>>(),
        })
    };
    json!({
        "function": report.function,
        "stop": report.stop.name(),
        "nodes": report.nodes,
        "classes": report.classes,
        "iterations": report.rounds.iter().map(round).collect::<Vec<_>>(),
    })
}
