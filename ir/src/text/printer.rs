//! Module to text.

use std::fmt::{self, Write};

use crate::attr::Attr;
use crate::graph::{Call, Def, Function, Module, Place, Value, ValueId, WeightSource};
use crate::ops::OpDef;
use crate::type_rules::Site;

/// The text of a module.
pub fn print(module: &Module) -> String {
    let mut text = String::new();
    write_module(&mut text, module).expect("writing to a string does not fail");
    text
}

/// An op as a violation shows it: operand types in place of names.
pub(crate) fn op_text(site: &Site) -> String {
    let types: Vec<String> = site.operands.iter().map(|t| t.to_string()).collect();
    let mut text = String::new();
    write_op(&mut text, site.def, &types, site.attrs).expect("writing to a string does not fail");
    text
}

fn write_module(out: &mut String, module: &Module) -> fmt::Result {
    writeln!(out, "module {}", module.name)?;
    section(out, &module.dims.ranges, |(s, low, high)| {
        format!("dim {s} in {low}..{high}")
    })?;
    section(out, &module.dims.known, |(a, b)| {
        format!("where {a} <= {b}")
    })?;
    section(out, &module.weights, |w| {
        let keyword = match w.source {
            WeightSource::Stored => "weight",
            WeightSource::Prepared => "prepared",
        };
        format!("{keyword} @{}: {}", w.name, w.ty)
    })?;
    section(out, &module.states, |s| {
        format!("state ${}: {}", s.name, s.ty)
    })?;
    for function in &module.functions {
        write_function(out, function)?;
    }
    if !module.prepare.is_empty() {
        writeln!(out, "\nprepare {{")?;
        for call in &module.prepare {
            write_call(out, module, call)?;
        }
        writeln!(out, "}}")?;
    }
    let step = &module.step;
    let typed = |l: &crate::graph::Local| format!("%{}: {}", l.name, l.ty);
    let inputs: Vec<String> = step.input_locals().iter().map(typed).collect();
    writeln!(out, "\nstep({}) {{", inputs.join(", "))?;
    for call in &step.calls {
        write_call(out, module, call)?;
    }
    let outputs = step.outputs.iter().map(|o| &step.locals[o.0].name);
    write_return(out, outputs)
}

fn section<T>(out: &mut String, items: &[T], line: impl Fn(&T) -> String) -> fmt::Result {
    for (i, item) in items.iter().enumerate() {
        writeln!(out, "{}{}", if i == 0 { "\n" } else { "" }, line(item))?;
    }
    Ok(())
}

/// What makes a value, as its line shows it behind the `=`; nothing for a parameter.
pub fn definition(function: &Function, value: ValueId) -> Option<String> {
    let Def::Op {
        op,
        attrs,
        operands,
    } = &function.values[value.0].def
    else {
        return None;
    };
    let name = |v: &ValueId| format!("%{}", function.values[v.0].name);
    let names: Vec<String> = operands.iter().map(name).collect();
    let mut text = String::new();
    write_op(&mut text, op.def(), &names, attrs).expect("writing to a string does not fail");
    Some(text)
}

fn write_function(out: &mut String, function: &Function) -> fmt::Result {
    let typed = |v: &Value| format!("%{}: {}", v.name, v.ty);
    let params: Vec<String> = function.params().iter().map(typed).collect();
    writeln!(out, "\nfn {}({}) {{", function.name, params.join(", "))?;
    for (i, value) in function.values.iter().enumerate() {
        if let Some(definition) = definition(function, ValueId(i)) {
            writeln!(out, "  {} = {definition}", typed(value))?;
        }
    }
    write_return(
        out,
        function.results.iter().map(|r| &function.values[r.0].name),
    )
}

fn write_return<'a>(out: &mut String, names: impl Iterator<Item = &'a String>) -> fmt::Result {
    let names: Vec<String> = names.map(|n| format!("%{n}")).collect();
    let gap = if names.is_empty() { "" } else { " " };
    writeln!(out, "  return{gap}{}\n}}", names.join(", "))
}

fn write_op(out: &mut String, def: &OpDef, operands: &[String], attrs: &[Attr]) -> fmt::Result {
    write!(out, "{}({})", def.name, operands.join(", "))?;
    if !attrs.is_empty() {
        let named = def.attrs.iter().zip(attrs);
        let texts: Vec<String> = named
            .map(|((name, _), a)| format!("{name} = {a}"))
            .collect();
        write!(out, " {{{}}}", texts.join(", "))?;
    }
    Ok(())
}

fn write_call(out: &mut String, module: &Module, call: &Call) -> fmt::Result {
    let name = |place: &Place| match place {
        Place::Local(id) => format!("%{}", module.step.locals[id.0].name),
        Place::Weight(id) => format!("@{}", module.weights[id.0].name),
        Place::State(id) => format!("${}", module.states[id.0].name),
    };
    let result = |place: &Place| match place {
        Place::Local(id) => format!("{}: {}", name(place), module.step.locals[id.0].ty),
        Place::Weight(_) | Place::State(_) => name(place),
    };
    let results: Vec<String> = call.results.iter().map(result).collect();
    let args: Vec<String> = call.args.iter().map(name).collect();
    let function = &module.functions[call.function.0].name;
    let equals = if results.is_empty() { "" } else { " = " };
    writeln!(
        out,
        "  {}{equals}{function}({})",
        results.join(", "),
        args.join(", ")
    )
}
