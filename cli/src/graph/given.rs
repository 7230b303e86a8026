//! What a step of a graph is run on.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::Path;

use ir::interp::{Data, Tensor};
use ir::{Bindings, DType, Dim, Dims, Local, Module, Sym, Type, Weight, WeightSource};
use passes::random::Rng;

use super::tensors::{Files, Found, stored};
use crate::error::Error;

/// All that a step is given, each tensor as its elements are stored.
pub struct Given<'f> {
    /// The value of each symbol.
    pub bindings: Bindings,
    /// The step's inputs, in the module's order.
    pub inputs: Vec<Tensor<'f, f32>>,
    /// The states before the step, in the module's order; none for zeros.
    pub states: Vec<Option<Tensor<'f, f32>>>,
    /// The stored weights' bytes, by name.
    weights: BTreeMap<String, Cow<'f, [u8]>>,
}

/// What becomes of inputs and weights that no file has, and of symbols that nothing fixes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Absent {
    /// They are refused.
    Refused,
    /// They are made up: a symbol is its upper bound, numbers are random in -1..1, integers count from 0.
    Made,
}

/// Why a step cannot be run.
pub enum Problem {
    /// A line that names a tensor and its file.
    Tensor(String),
    /// What is wrong with the graph as it is asked for.
    Graph(String),
}

impl Problem {
    /// As an error of a command that was given the graph at this path.
    pub fn of(self, path: &Path) -> Error {
        Error::Option(match self {
            Problem::Tensor(line) => line,
            Problem::Graph(line) => format!("{}: {line}", path.display()),
        })
    }
}

impl<'f> Given<'f> {
    /// The inputs and states of a module in these files, with some symbols bound; the others are found from the shapes.
    /// Says on standard error which tensors of the files are none of the graph's.
    ///
    /// # Errors
    /// A tensor of another dtype or shape, one that is absent, a symbol that nothing fixes or that is out of its range.
    pub fn new(
        module: &Module,
        files: &'f Files,
        mut bindings: Bindings,
        absent: Absent,
    ) -> Result<Given<'f>, Problem> {
        let locals = module.step.input_locals();
        let mut sizes = Vec::new();
        for Local { name, ty } in locals {
            match (files.find(name), absent) {
                (Some(found), _) if found.view.shape.len() != ty.rank() => {
                    return Err(Problem::Tensor(found.refusal(
                        name,
                        &found.text(),
                        &ty.to_string(),
                    )));
                }
                (Some(found), _) => sizes.extend(ty.dims.iter().zip(found.view.shape)),
                (None, Absent::Refused) => {
                    return Err(Problem::Tensor(missing(name, "input", ty, files)));
                }
                (None, Absent::Made) => {}
            }
        }
        solve(sizes, &mut bindings);
        if absent == Absent::Made {
            bindings = module.dims.upper_bounds(&bindings);
        }
        check(&module.dims, &bindings)?;

        let mut made = Made::of(module, &bindings);
        let inputs = locals
            .iter()
            .map(|Local { name, ty }| match files.find(name) {
                Some(found) => taken(name, &found, ty, &bindings),
                None => made.tensor(name, ty),
            });
        let inputs = inputs.collect::<Result<_, _>>().map_err(Problem::Tensor)?;
        let states = module.states.iter().map(|s| {
            let name = state_name(&s.name);
            let found = files.find(&name);
            let taken = found.map(|found| taken(&name, &found, &s.ty, &bindings));
            taken.transpose().map_err(Problem::Tensor)
        });
        let states = states.collect::<Result<_, _>>()?;
        note_strangers(module, files);
        Ok(Given {
            bindings,
            inputs,
            states,
            weights: BTreeMap::new(),
        })
    }

    /// The stored weights of the module too, from these files.
    ///
    /// # Errors
    /// A tensor of another dtype or shape, or one that is absent.
    pub fn with_weights(
        mut self,
        module: &Module,
        files: &'f Files,
        absent: Absent,
    ) -> Result<Given<'f>, Problem> {
        let unbound = Bindings::default();
        let mut made = Made::of(module, &unbound);
        let stored = |w: &&Weight| w.source == WeightSource::Stored;
        for Weight { name, ty, .. } in module.weights.iter().filter(stored) {
            let tensor = match (files.find(name), absent) {
                (Some(found), _) => taken(name, &found, ty, &unbound),
                (None, Absent::Made) => made.tensor(name, ty),
                (None, Absent::Refused) => Err(missing(name, "weight", ty, files)),
            };
            let Data::Stored(bytes) = tensor.map_err(Problem::Tensor)?.data else {
                panic!("tensors are taken and made as they are stored");
            };
            self.weights.insert(name.clone(), bytes);
        }
        Ok(self)
    }

    /// The bytes of a stored weight.
    pub fn weight(&self, name: &str) -> Option<&[u8]> {
        self.weights.get(name).map(|bytes| &**bytes)
    }
}

/// What a state is called in a file.
pub fn state_name(state: &str) -> String {
    format!("state.{state}")
}

/// Binds the symbols that follow from sizes of axes: of an axis with one symbol unbound, to the first power, that one.
fn solve(mut sizes: Vec<(&Dim, &usize)>, bindings: &mut Bindings) {
    loop {
        let before = sizes.len();
        sizes.retain(|(dim, size)| {
            let Some((sym, value)) = only_unbound(dim, **size, bindings) else {
                return true;
            };
            bindings.bind(&sym, value);
            false
        });
        if sizes.len() == before {
            return;
        }
    }
}

/// The one unbound symbol of a dim of this size, and its value, if the dim is linear in it and the value whole.
fn only_unbound(dim: &Dim, size: usize, bindings: &Bindings) -> Option<(Sym, i64)> {
    let mut unbound = dim.syms().filter(|sym| bindings.get(sym).is_none());
    let sym = unbound.next()?;
    if unbound.next().is_some() {
        return None;
    }
    let at = |value: i64| {
        let mut bindings = bindings.clone();
        bindings.bind(sym, value);
        dim.eval(&bindings).ok()
    };
    let (constant, with_one) = (at(0)?, at(1)?);
    let factor = with_one.checked_sub(constant).filter(|f| *f != 0)?;
    let rest = i64::try_from(size).ok()?.checked_sub(constant)?;
    (rest % factor == 0).then(|| (sym.clone(), rest / factor))
}

/// Checks that every symbol is bound within what is known.
fn check(dims: &Dims, bindings: &Bindings) -> Result<(), Problem> {
    let unbound = dims
        .ranges
        .iter()
        .find(|(sym, ..)| bindings.get(sym).is_none());
    if let Some((sym, low, high)) = unbound {
        return Err(Problem::Graph(format!(
            "no input fixes {sym}, give --bind {sym}=VALUE with a value from {low} to {high}"
        )));
    }
    bindings.check(dims).map_err(Problem::Graph)
}

/// A type with the shape that it has.
fn shaped(ty: &Type, bindings: &Bindings) -> (Vec<usize>, String) {
    let shape = ty.shape(bindings);
    let shape = shape.expect("every symbol of a verified module is bound");
    let (dtype, held) = stored(ty.dtype, &shape);
    let mut text = format!("{dtype} {held:?}");
    if ty.dtype.is_block() || ty.dims.iter().any(|dim| dim.as_const().is_none()) {
        text += &format!(" for {ty}");
    }
    (shape, text)
}

/// A file's tensor as one of this type.
fn taken<'f>(
    name: &str,
    found: &Found<'f>,
    ty: &Type,
    bindings: &Bindings,
) -> Result<Tensor<'f, f32>, String> {
    let (shape, expected) = shaped(ty, bindings);
    let view = &found.view;
    if (view.dtype, view.shape.to_vec()) != stored(ty.dtype, &shape) {
        return Err(found.refusal(name, &found.text(), &expected));
    }
    if ty.dtype == DType::Bool
        && let Some(byte) = view.bytes.iter().find(|byte| **byte > 1)
    {
        return Err(found.refusal(name, &format!("a BOOL that is {byte}"), &expected));
    }
    Ok(Tensor::stored(ty.dtype, shape, view.bytes))
}

/// Why a tensor that no file has is refused.
fn missing(name: &str, what: &str, ty: &Type, files: &Files) -> String {
    match files.text() {
        none if none.is_empty() => format!("{what} {name}: expected {ty}, give --inputs FILE"),
        files => format!("{files}: no tensor \"{name}\", expected {what} {name}: {ty}"),
    }
}

/// Says which tensors of the files are neither inputs, weights, states nor, from a step before, outputs.
fn note_strangers(module: &Module, files: &Files) {
    let step = &module.step;
    let outputs = step.outputs.iter().map(|o| step.locals[o.0].name.clone());
    let inputs = step.input_locals().iter().map(|l| l.name.clone());
    let weights = module.weights.iter().map(|w| w.name.clone());
    let states = module.states.iter().map(|s| state_name(&s.name));
    let known: Vec<String> = inputs.chain(weights).chain(states).chain(outputs).collect();
    for (path, name) in files.names() {
        if !known.iter().any(|known| known == name) {
            let path = path.display();
            eprintln!("note: {path}: tensor \"{name}\" is no input, weight or state of the graph");
        }
    }
}

/// How tensors are made up.
struct Made<'b> {
    bindings: &'b Bindings,
    /// Of a language model's step: rows, keys and wanted rows.
    rows: Option<[i64; 3]>,
    random: Rng,
}

impl Made<'_> {
    fn of<'b>(module: &Module, bindings: &'b Bindings) -> Made<'b> {
        Made {
            bindings,
            rows: language_model(module, bindings),
            random: Rng::new(0),
        }
    }

    /// A tensor of this type: what an input of a language model's step is, or else integers from 0 on and numbers
    /// uniform in -1..1.
    ///
    /// # Errors
    /// One line, for a tensor that memory does not hold.
    fn tensor<'f>(&mut self, name: &str, ty: &Type) -> Result<Tensor<'f, f32>, String> {
        let (shape, text) = shaped(ty, self.bindings);
        let n = shape.iter().copied().try_fold(1, usize::checked_mul);
        // Beside its elements as numbers there are those as they are stored.
        let fits = |n: &usize| Vec::<[f32; 2]>::new().try_reserve_exact(*n).is_ok();
        let n = n.filter(fits).ok_or_else(|| {
            format!("{name}: {text} is too large to be made up, give --bind or --inputs FILE")
        })?;
        let first = match (self.rows, name) {
            (Some(_), "slots") => None,
            (Some([rows, keys, _]), "positions") => Some((keys - rows).max(0)),
            (Some([rows, _, wanted]), "wanted") => Some((rows - wanted).max(0)),
            _ => Some(0),
        };
        let random = &mut self.random;
        let tensor = match ty.dtype {
            DType::I32 => {
                let int = |i: usize| first.map_or(0, |first| first + i as i64) as i32;
                Tensor::int(shape, (0..n).map(int).collect())
            }
            DType::Bool => Tensor::bool(shape, (0..n).map(|_| random.once_in(2)).collect()),
            dtype => {
                let numbers: Vec<f32> = (0..n).map(|_| random.unit()).collect();
                Tensor::narrowed(dtype, shape, numbers.into())
            }
        };
        let bytes = tensor.to_bytes().into_owned();
        Ok(Tensor::stored(tensor.dtype, tensor.shape, bytes))
    }
}

/// Rows, keys and wanted rows of a step that takes tokens, positions, slots and wanted rows, as a language model's does.
pub fn language_model(module: &Module, bindings: &Bindings) -> Option<[i64; 3]> {
    let names = module.step.input_locals().iter().map(|l| l.name.as_str());
    let is_one = names.eq(["tokens", "positions", "slots", "wanted"]);
    let rows = |name: &str| {
        let local = module.step.local(name)?;
        let dims = &module.step.locals[local.0].ty.dims;
        dims.first()?.eval(bindings).ok()
    };
    let keys = bindings.get(&Sym::new("K"))?;
    is_one.then_some([rows("tokens")?, keys, rows("wanted")?])
}
