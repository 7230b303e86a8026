//! The verifier: a module that passes keeps every [`Constraint`].

use std::collections::HashSet;
use std::fmt;

use crate::attr::Attr;
use crate::constraint::Constraint;
use crate::dim::{Dim, Dims};
use crate::graph::{Call, Def, Function, Local, Module, Place, ValueId, WeightSource};
use crate::text::{is_name, is_word, op_text};
use crate::ty::Type;
use crate::type_rules::{self, Breach, Site};

/// A broken constraint, where, and by what op over what shapes.
#[derive(Clone, Debug, PartialEq)]
pub struct Violation {
    /// Which constraint.
    pub constraint: Constraint,
    /// The function or section, and what in it, with its op and operand types.
    pub place: String,
    /// What was found.
    pub detail: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} broken in {}: {} ({})",
            self.constraint,
            self.place,
            self.detail,
            self.constraint.text()
        )
    }
}

impl std::error::Error for Violation {}

type Checked = Result<(), Violation>;

fn refuse<T>(
    constraint: Constraint,
    place: impl Into<String>,
    detail: impl Into<String>,
) -> Result<T, Violation> {
    Err(Violation {
        constraint,
        place: place.into(),
        detail: detail.into(),
    })
}

impl Breach {
    /// The violation that this is at a place.
    pub(crate) fn at(self, place: impl Into<String>) -> Violation {
        Violation {
            constraint: self.constraint,
            place: place.into(),
            detail: self.detail,
        }
    }
}

/// Checks a whole module; the error is the first constraint broken, in the text's order.
pub fn verify(module: &Module) -> Checked {
    symbols(&module.dims)?;
    storage(module)?;
    unique("functions", module.functions.iter().map(|f| &f.name))?;
    words(module)?;
    for function in &module.functions {
        verify_function(function, &module.dims)?;
    }
    prepare(module)?;
    step(module)
}

fn symbols(dims: &Dims) -> Checked {
    unique("dims", dims.ranges.iter().map(|(s, ..)| s.name()))?;
    for (sym, low, high) in &dims.ranges {
        if *low < 0 || low > high || *high > type_rules::MAX_DIM {
            let place = format!("dim {sym}");
            return refuse(Constraint::Symbol, place, format!("found {low}..{high}"));
        }
    }
    for (a, b) in &dims.known {
        let undeclared = a.syms().chain(b.syms());
        if let Some(s) = undeclared.into_iter().find(|s| dims.range_of(s).is_none()) {
            let place = format!("where {a} <= {b}");
            return refuse(Constraint::Symbol, place, format!("{s} is not declared"));
        }
    }
    Ok(())
}

fn unique<S: AsRef<str>>(place: &str, names: impl IntoIterator<Item = S>) -> Checked {
    let mut seen = HashSet::new();
    for name in names {
        let name = name.as_ref();
        if !is_name(name) {
            return refuse(Constraint::Name, place, format!("'{name}' is no name"));
        }
        if !seen.insert(name.to_owned()) {
            return refuse(Constraint::Name, place, format!("{name} is there twice"));
        }
    }
    Ok(())
}

/// Names without a sigil begin with a letter, or they would read as numbers.
fn words(module: &Module) -> Checked {
    let functions = module.functions.iter().map(|f| f.name.as_str());
    let symbols = module.dims.ranges.iter().map(|(s, ..)| s.name());
    for name in [module.name.as_str()]
        .into_iter()
        .chain(functions)
        .chain(symbols)
    {
        if !is_word(name) {
            return refuse(Constraint::Name, "module", format!("'{name}' is no word"));
        }
    }
    Ok(())
}

fn storage(module: &Module) -> Checked {
    unique("weights", module.weights.iter().map(|w| &w.name))?;
    unique("states", module.states.iter().map(|s| &s.name))?;
    let weights = module
        .weights
        .iter()
        .map(|w| (format!("@{}", w.name), &w.ty));
    let states = module
        .states
        .iter()
        .map(|s| (format!("${}", s.name), &s.ty));
    for (place, ty) in weights.chain(states) {
        type_rules::check_type(ty, &module.dims).map_err(|b| b.at(&place))?;
        if ty.dims.iter().any(|d| d.as_const().is_none()) {
            return refuse(Constraint::Storage, place, format!("found {ty}"));
        }
    }
    Ok(())
}

/// Checks one function against what is known of the symbols.
pub fn verify_function(function: &Function, dims: &Dims) -> Checked {
    let place = format!("fn {}", function.name);
    unique(&place, function.values.iter().map(|v| &v.name))?;
    let params = function.params().len();
    for (i, value) in function.values.iter().enumerate() {
        let Def::Op {
            op,
            attrs,
            operands,
        } = &value.def
        else {
            let place = format!("{place}, %{}", value.name);
            if i >= params {
                return refuse(Constraint::Order, place, "a parameter after an op");
            }
            type_rules::check_type(&value.ty, dims).map_err(|b| b.at(place))?;
            continue;
        };
        let earlier = &function.values[..i];
        let types = operand_types(earlier, operands).ok_or(()).or_else(|()| {
            let place = format!("{place}, %{}", value.name);
            refuse(Constraint::Order, place, "an operand is not made yet")
        })?;
        let site = Site {
            def: op.def(),
            attrs,
            operands: &types,
            dims,
        };
        let place = || format!("{place}, %{} = {}", value.name, op_text(&site));
        let ty = type_rules::infer(&site).map_err(|b| b.at(place()))?;
        if ty != value.ty {
            let detail = format!("{} is written, the op gives {ty}", value.ty);
            return refuse(Constraint::DeclaredType, place(), detail);
        }
    }
    if function
        .results
        .iter()
        .any(|r| r.0 >= function.values.len())
    {
        return refuse(Constraint::Order, place, "a result is never made");
    }
    Ok(())
}

fn operand_types<'a>(
    earlier: &'a [crate::graph::Value],
    operands: &[ValueId],
) -> Option<Vec<&'a Type>> {
    operands
        .iter()
        .map(|id| earlier.get(id.0).map(|v| &v.ty))
        .collect()
}

/// Checks a call's types, and that `readable` holds for its arguments.
fn call(module: &Module, call: &Call, section: &str, readable: impl Fn(Place) -> bool) -> Checked {
    let Some(function) = module.functions.get(call.function.0) else {
        return refuse(Constraint::Call, section, "a call of no function");
    };
    let place = format!("{section}, call of {}", function.name);
    if call.args.iter().any(|a| !readable(*a)) {
        return refuse(Constraint::Order, place, "an argument is not made yet");
    }
    let params = function.params().iter().map(|p| Some(&p.ty));
    let args: Vec<Option<&Type>> = call.args.iter().map(|a| module.type_of(*a)).collect();
    if !params.clone().eq(args.iter().copied()) {
        let detail = format!("expected {}, found {}", types(params), types(args));
        return refuse(Constraint::Call, place, detail);
    }
    let made = function.result_types().map(Some);
    let places: Vec<Option<&Type>> = call.results.iter().map(|r| module.type_of(*r)).collect();
    if !made.eq(places.iter().copied()) {
        let made = types(function.result_types().map(Some));
        let detail = format!("{made} go to {}", types(places));
        return refuse(Constraint::Result, place, detail);
    }
    Ok(())
}

fn types<'a>(types: impl IntoIterator<Item = Option<&'a Type>>) -> String {
    let texts: Vec<String> = types
        .into_iter()
        .map(|t| t.map_or("nothing".into(), Type::to_string))
        .collect();
    format!("({})", texts.join(", "))
}

fn prepare(module: &Module) -> Checked {
    let weight = |place: Place| match place {
        Place::Weight(id) => module.weights.get(id.0).map(|w| (id, w)),
        _ => None,
    };
    let mut made = HashSet::new();
    for c in &module.prepare {
        if !c.args.iter().all(|a| matches!(a, Place::Weight(_))) {
            return refuse(
                Constraint::Prepare,
                "prepare",
                "an argument is not a weight",
            );
        }
        call(module, c, "prepare", |place| {
            weight(place)
                .is_some_and(|(id, w)| w.source == WeightSource::Stored || made.contains(&id))
        })?;
        let function = &module.functions[c.function.0];
        let place = format!("prepare, call of {}", function.name);
        let symbolic = |d: &Dim| d.as_const().is_none();
        let attrs = function.values.iter().flat_map(|v| match &v.def {
            Def::Param => &[],
            Def::Op { attrs, .. } => &attrs[..],
        });
        let shapes = function.values.iter().map(|v| &v.ty.dims[..]);
        if shapes.chain(attrs.map(Attr::dims)).flatten().any(symbolic) {
            return refuse(Constraint::Prepare, place, "the function uses a symbol");
        }
        for result in &c.results {
            match weight(*result) {
                Some((id, w)) if w.source == WeightSource::Prepared && made.insert(id) => {}
                _ => {
                    let detail = "a result is not a prepared weight, or is made twice";
                    return refuse(Constraint::Prepare, place, detail);
                }
            }
        }
    }
    for (i, w) in module.weights.iter().enumerate() {
        if w.source == WeightSource::Prepared && !made.contains(&crate::WeightId(i)) {
            let detail = format!("@{} is never made", w.name);
            return refuse(Constraint::Prepare, "prepare", detail);
        }
    }
    Ok(())
}

fn step(module: &Module) -> Checked {
    let step = &module.step;
    unique("step", step.locals.iter().map(|l| &l.name))?;
    for Local { name, ty } in &step.locals {
        type_rules::check_type(ty, &module.dims).map_err(|b| b.at(format!("step, %{name}")))?;
    }
    if step.inputs > step.locals.len() {
        return refuse(Constraint::Step, "step", "more inputs than values");
    }
    let mut made: HashSet<usize> = (0..step.inputs).collect();
    for c in &step.calls {
        call(module, c, "step", |place| match place {
            Place::Local(id) => made.contains(&id.0),
            _ => true,
        })?;
        for result in &c.results {
            let fresh = match result {
                Place::Local(id) => made.insert(id.0),
                Place::State(_) => true,
                Place::Weight(_) => false,
            };
            if !fresh {
                let name = &module.functions[c.function.0].name;
                let detail = "a result goes to a weight, or to a value that is made already";
                return refuse(Constraint::Step, format!("step, call of {name}"), detail);
            }
        }
    }
    if step.outputs.iter().any(|o| !made.contains(&o.0)) {
        return refuse(Constraint::Order, "step", "an output is never made");
    }
    Ok(())
}
