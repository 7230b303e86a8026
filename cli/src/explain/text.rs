//! `explain` for a reader: a table for each function, then its kernels one by one.

use std::io::{self, Write};

use super::report::{
    Choice, Figures, First, Function, Kernel, Operand, Origin, Report, Step, Use, Value,
};
use crate::table;

/// Ops that a table names.
const SHOWN: usize = 4;

/// Writes a report, or with `details` only what is said of its kernels one by one.
pub fn write(report: &Report, details: bool, out: &mut dyn Write) -> io::Result<()> {
    if !details {
        head(report, out)?;
        for function in &report.functions {
            writeln!(out, "\n{}", title(function))?;
            table::print(out, &rows(function))?;
        }
    }
    for function in &report.functions {
        let many = !details || report.functions.len() > 1 || function.kernels.len() > 1;
        for (i, kernel) in function.kernels.iter().enumerate() {
            if many && (!details || i > 0) {
                writeln!(out)?;
            }
            write_kernel(function, kernel, out)?;
        }
    }
    Ok(())
}

fn head(report: &Report, out: &mut dyn Write) -> io::Result<()> {
    let machine = &report.machine;
    writeln!(out, "module {}, {}", report.module, report.fidelity)?;
    writeln!(
        out,
        "machine: {:.1} GB/s, {:.1} Gflop/s, {} from kernel to kernel, {} workers",
        machine.bytes_per_s / 1e9,
        machine.flops_per_s / 1e9,
        table::seconds(machine.launch_s),
        machine.workers
    )?;
    let symbols = report.symbols.iter();
    let symbols: Vec<String> = symbols
        .map(|s| format!("{} = {} of {}..{}", s.name, s.value, s.low, s.high))
        .collect();
    if !symbols.is_empty() {
        writeln!(out, "figures for {}", symbols.join(", "))?;
    }
    let step = &report.step;
    write!(
        out,
        "a step: {} launches, {}, {}, {} predicted",
        step.launches,
        table::bytes(step.bytes as usize),
        table::flops(step.flops),
        table::seconds(step.predicted_s)
    )?;
    if let (Some(measured), Some(ratio)) = (step.measured_s, step.ratio) {
        write!(
            out,
            ", {} measured, {ratio:.2} of what is predicted",
            table::seconds(measured)
        )?;
    }
    writeln!(out)
}

fn title(function: &Function) -> String {
    let called = match (function.calls, function.prepare_calls) {
        (0, 0) => "not called".to_string(),
        (0, _) => "called once, to prepare weights".to_string(),
        (1, _) => "called once a step".to_string(),
        (n, _) => format!("called {n} times a step"),
    };
    format!("fn {}, {called}", function.name)
}

/// The ops in short: `3 dot, reduce_sum, 2 mul and 7 more`.
fn ops(kernel: &Kernel) -> String {
    let each = kernel.ops.iter().take(SHOWN).map(|o| match o.count {
        1 => o.op.to_string(),
        n => format!("{n} {}", o.op),
    });
    let shown = each.collect::<Vec<_>>().join(", ");
    let more: usize = kernel.ops.iter().skip(SHOWN).map(|o| o.count).sum();
    match more {
        0 => shown,
        n => format!("{shown} and {n} more"),
    }
}

fn rows(function: &Function) -> Vec<Vec<String>> {
    let width = function.kernels.iter().map(|k| k.name.chars().count());
    let width = width.max().unwrap_or(0).max("one call".len());
    let measured = function.call.measured_s.is_some();
    let row = |name: &str, ops: &str, figures: &Figures, bound: &str| {
        let mut row = vec![
            format!("{name:<width$}   {ops}"),
            table::bytes(figures.bytes as usize),
            table::flops(figures.flops),
            table::seconds(figures.predicted_s),
            bound.to_string(),
        ];
        if measured {
            row.push(figures.measured_s.map(table::seconds).unwrap_or_default());
            let ratio = figures.ratio.map(|r| format!("{r:.2}"));
            row.push(ratio.unwrap_or_default());
        }
        row
    };
    let mut header = vec![format!("{:<width$}   ops", "kernel")];
    header.extend(["bytes", "flops", "predicted", "bound"].map(String::from));
    if measured {
        header.extend(["measured", "ratio"].map(String::from));
    }
    let mut rows = vec![header];
    for kernel in &function.kernels {
        rows.push(row(
            &kernel.name,
            &ops(kernel),
            &Figures::of(kernel),
            kernel.bound,
        ));
    }
    rows.push(row("one call", "", &function.call, ""));
    if function.calls > 1 {
        rows.push(row("a step", "", &function.step, ""));
    }
    rows
}

fn write_kernel(function: &Function, kernel: &Kernel, out: &mut dyn Write) -> io::Result<()> {
    let template = kernel.template.map(|t| format!(" template {t}"));
    writeln!(
        out,
        "fn {}, kernel {} over [{}]{}",
        function.name,
        kernel.name,
        kernel.space.join(", "),
        template.unwrap_or_default()
    )?;
    writeln!(
        out,
        "  {} predicted, bound by {}: memory {}, arithmetic {}, launch {}",
        table::seconds(kernel.predicted_s),
        kernel.bound,
        table::seconds(kernel.memory_s),
        table::seconds(kernel.arithmetic_s),
        table::seconds(kernel.launch_s)
    )?;
    if let (Some(measured), Some(spread), Some(ratio)) =
        (kernel.measured_s, kernel.spread_s, kernel.ratio)
    {
        let [measured, spread] = [measured, spread].map(table::seconds);
        writeln!(
            out,
            "  {measured} ± {spread} measured, {ratio:.2} of what is predicted"
        )?;
    }
    operands("reads", &kernel.reads, "a parameter", out)?;
    operands("writes", &kernel.writes, "", out)?;
    uses(&kernel.uses, out)?;
    writeln!(out, "  computes")?;
    for name in &kernel.values {
        if let Some(value) = function.values.iter().find(|v| v.name == *name) {
            writeln!(out, "    %{name}: {} = {}", value.ty, value.text)?;
            origin(value, out)?;
        }
    }
    Ok(())
}

fn operands(
    word: &str,
    operands: &[Operand],
    parameter: &str,
    out: &mut dyn Write,
) -> io::Result<()> {
    if operands.is_empty() {
        return Ok(());
    }
    writeln!(out, "  {word}")?;
    for operand in operands {
        let size = table::bytes(usize::try_from(operand.bytes).unwrap_or(0));
        let from = match (&operand.kernel, parameter.is_empty()) {
            (_, true) => String::new(),
            (Some(kernel), false) => format!(", of {kernel}"),
            (None, false) => format!(", {parameter}"),
        };
        writeln!(out, "    %{}: {}, {size}{from}", operand.name, operand.ty)?;
    }
    Ok(())
}

/// A row for each use: how it is, and what a call would take if it alone were the other way.
fn uses(uses: &[Use], out: &mut dyn Write) -> io::Result<()> {
    let Some(first) = uses.first() else {
        return Ok(());
    };
    let (planned, here) = (first.planned.chosen_s, first.here.chosen_s);
    let two = planned != here;
    writeln!(
        out,
        "  operands read (mat) or computed in place (inl), and what a call takes with that one the other way"
    )?;
    let cells = |c: &Choice| match c.other_s {
        Some(s) => [
            table::seconds(s),
            format!("{:+.1} %", (s / c.chosen_s - 1.0) * 100.0),
        ],
        None => ["the same".to_string(), String::new()],
    };
    let mut rows = vec![vec!["    as it is".to_string(), table::seconds(planned)]];
    if two {
        rows.insert(
            0,
            ["", "as planned", "", "at these figures"]
                .map(String::from)
                .to_vec(),
        );
        rows[1].extend([String::new(), table::seconds(here)]);
    }
    for u in uses {
        let mut row = vec![format!("    %{} in %{}: {}", u.value, u.consumer, u.choice)];
        row.extend(cells(&u.planned));
        if two {
            row.extend(cells(&u.here));
        }
        rows.push(row);
    }
    table::print(out, &rows)
}

fn origin(value: &Value, out: &mut dyn Write) -> io::Result<()> {
    let (first, text, steps, error) = match &value.origin {
        None | Some(Origin::Parameter | Origin::Source { .. }) => return Ok(()),
        Some(Origin::Unknown) => {
            return writeln!(
                out,
                "      the rules do not lead to it within the search's limits"
            );
        }
        Some(Origin::Rules {
            first,
            text,
            steps,
            error,
        }) => (first, text, steps, error),
    };
    match first {
        First::Source { value } => writeln!(out, "      was the source's %{value} = {text}")?,
        First::Part { of, rule } => writeln!(out, "      came with %{of}, by {rule}, as {text}")?,
    }
    for step in steps {
        write_step(step, out)?;
    }
    match error {
        Some(error) => writeln!(out, "        DOES NOT REPLAY: {error}"),
        None => Ok(()),
    }
}

fn write_step(step: &Step, out: &mut dyn Write) -> io::Result<()> {
    let way = if step.forward { "" } else { ", backwards" };
    writeln!(out, "        {} ({}{way})", step.rule, step.class)?;
    writeln!(out, "          {} => {}", step.before, step.after)?;
    match step.position.is_empty() {
        true => Ok(()),
        false => writeln!(out, "          in all: {}", step.whole),
    }
}
