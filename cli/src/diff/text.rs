//! `diff` for a reader.

use std::io::{self, Write};

use super::compare::{Both, Change, Diff, FunctionDiff, Moved};
use crate::explain::Figures;
use crate::table;

/// Writes what changed.
pub fn write(diff: &Diff, out: &mut dyn Write) -> io::Result<()> {
    let measured = diff.step.a.is_some_and(|f| f.measured_s.is_some());
    let mut rows = vec![header("function", measured)];
    let changed = diff.functions.iter().filter(|f| !f.same());
    for function in changed.clone() {
        rows.push(row(
            &format!("fn {}, a call", function.name),
            &function.call,
        ));
    }
    rows.push(row("a step", &diff.step));
    table::print(out, &rows)?;
    let same = diff.functions.iter().filter(|f| f.same());
    let same: Vec<&str> = same.map(|f| f.name.as_str()).collect();
    if !same.is_empty() {
        writeln!(out, "the same: {}", same.join(", "))?;
    }
    for function in changed {
        write_function(function, measured, out)?;
    }
    Ok(())
}

fn header(first: &str, measured: bool) -> Vec<String> {
    let mut columns = vec![first, "kernels", "", "bytes", "", "", "predicted", "", ""];
    if measured {
        columns.extend(["measured", "", ""]);
    }
    columns.into_iter().map(String::from).collect()
}

/// A row: of each figure what it was, what it is, and by how much it changed.
fn row(name: &str, both: &Both) -> Vec<String> {
    let cell = |figures: &Option<Figures>, text: &dyn Fn(&Figures) -> String| {
        figures.as_ref().map_or("-".to_string(), text)
    };
    let change = |of: &dyn Fn(&Figures) -> f64| match both {
        Both {
            a: Some(a),
            b: Some(b),
        } if of(a) != 0.0 && of(a) != of(b) => {
            format!("{:+.1} %", (of(b) / of(a) - 1.0) * 100.0)
        }
        _ => String::new(),
    };
    let launches = |f: &Figures| f.launches.to_string();
    let bytes = |f: &Figures| table::bytes(f.bytes as usize);
    let seconds = |f: &Figures| table::seconds(f.predicted_s);
    let arrow = |text: String| format!("→ {text}");
    let mut row = vec![
        name.to_string(),
        cell(&both.a, &launches),
        arrow(cell(&both.b, &launches)),
        cell(&both.a, &bytes),
        arrow(cell(&both.b, &bytes)),
        change(&|f| f.bytes),
        cell(&both.a, &seconds),
        arrow(cell(&both.b, &seconds)),
        change(&|f| f.predicted_s),
    ];
    let measured = |f: &Figures| f.measured_s.map_or("-".to_string(), table::seconds);
    let known = |f: Option<Figures>| f.and_then(|f| f.measured_s);
    if known(both.a).or(known(both.b)).is_some() {
        row.push(cell(&both.a, &measured));
        row.push(arrow(cell(&both.b, &measured)));
        row.push(change(&|f| f.measured_s.unwrap_or(0.0)));
    }
    row
}

fn write_function(function: &FunctionDiff, measured: bool, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "\nfn {}", function.name)?;
    let mut rows = vec![header("kernel", measured)];
    for kernel in &function.kernels {
        let mark = match kernel.change {
            Change::Same => continue,
            Change::Changed => "~",
            Change::Added => "+",
            Change::Removed => "-",
        };
        let name = match (&kernel.a, &kernel.b) {
            (Some(a), Some(b)) if a != b => format!("{a} → {b}"),
            (Some(name), _) | (None, Some(name)) => name.clone(),
            (None, None) => String::new(),
        };
        rows.push(row(&format!("{mark} {name}"), &kernel.run));
    }
    for row in &mut rows {
        // One kernel is one kernel.
        row.drain(1..3);
    }
    if rows.len() > 1 {
        table::print(out, &rows)?;
    }
    for value in &function.values_removed {
        writeln!(out, "- {value}")?;
    }
    for value in &function.values_added {
        writeln!(out, "+ {value}")?;
    }
    let mut left: &[Moved] = &function.moved;
    while let Some(first) = left.first() {
        // Neighbours that moved alike are one line.
        let alike = |m: &&Moved| m.from == first.from && m.to == first.to;
        let together = left.iter().take_while(alike).count();
        let (now, rest) = left.split_at(together);
        let names: Vec<String> = now.iter().map(|m| format!("%{}", m.value)).collect();
        let (from, to) = (first.from.join(", "), first.to.join(", "));
        writeln!(out, "{}: {from} → {to}", names.join(", "))?;
        left = rest;
    }
    Ok(())
}
