//! `lapidary exec`: a graph's step on given tensors.

use std::io::Write;
use std::path::PathBuf;

use ir::DType;
use ir::interp::Tensor;
use runtime::OutputFile;

use crate::backend::BackendArgs;
use crate::error::Error;
use crate::graph::{Absent, Graph, GraphArgs, Named, write};
use crate::progress::Progress;
use crate::table;

/// Arguments of `exec`.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    backend: BackendArgs,

    /// Write outputs by name, and states after the step as state.NAME, to FILE (safetensors), instead of showing them
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,

    #[command(flatten)]
    graph: GraphArgs,
}

/// Runs the command.
pub fn run(args: &Args) -> Result<(), Error> {
    let (backend, fidelity) = args.backend.choose()?;
    let graph = args
        .graph
        .read("lapidary run asks a model, lapidary opt prints its graph")?;
    check_names(&graph)?;
    if let Some(path) = &args.output {
        OutputFile::check(path)?;
    }
    let files = args.graph.files()?;
    let given = graph.given(&files, Absent::Refused)?;
    let progress = Progress::in_terminal();
    let mut session = graph.session(backend, fidelity, &given, &progress)?;
    session.restart()?;
    session
        .step()
        .map_err(|error| args.graph.index_error(error, ""))?;
    let results = session.results();
    match &args.output {
        Some(path) => write(path, &results),
        None => show(&results, &mut std::io::stdout().lock()),
    }
}

/// Refuses a graph of which two results would have one name.
fn check_names(graph: &Graph<'_>) -> Result<(), Error> {
    let module = graph.module();
    let step = &module.step;
    let names = step.outputs.iter().map(|o| &step.locals[o.0].name);
    let state = |name: &String| module.state(name.strip_prefix("state.")?);
    match names.into_iter().find(|name| state(name).is_some()) {
        None => Ok(()),
        Some(name) => Err(Error::Option(format!(
            "the output %{name} and a state after the step would both be called {name}: rename one of them"
        ))),
    }
}

/// Elements that the table shows.
const SHOWN: usize = 4;

/// A row for each tensor: its type, its range, and its first elements.
fn show(results: &[Named], out: &mut dyn Write) -> Result<(), Error> {
    let mut rows = vec![
        ["name", "type", "min", "max", "mean", "first"]
            .map(String::from)
            .to_vec(),
    ];
    for Named { name, tensor } in results {
        let elements = elements(tensor);
        let number = |x: f64| format!("{x:.6}");
        let of_all = |of: fn(&[f64]) -> f64| match elements.is_empty() {
            true => "-".into(),
            false => number(of(&elements)),
        };
        let shape = format!("{}{:?}", tensor.dtype, tensor.shape);
        let first = elements.iter().take(SHOWN).map(|x| match tensor.dtype {
            DType::I32 | DType::Bool => x.to_string(),
            _ => (*x as f32).to_string(),
        });
        let first: Vec<String> = first.collect();
        let more = if elements.len() > SHOWN { ", ..." } else { "" };
        rows.push(vec![
            name.clone(),
            shape,
            of_all(|x| x.iter().copied().fold(f64::INFINITY, f64::min)),
            of_all(|x| x.iter().copied().fold(f64::NEG_INFINITY, f64::max)),
            of_all(|x| x.iter().sum::<f64>() / x.len() as f64),
            first.join(", ") + more,
        ]);
    }
    Ok(table::print(out, &rows)?)
}

/// A tensor's elements as numbers.
fn elements(tensor: &Tensor<'_, f32>) -> Vec<f64> {
    if let Some(ints) = tensor.to_int() {
        return ints.iter().map(|x| f64::from(*x)).collect();
    }
    if let Some(bools) = tensor.to_bool() {
        return bools.iter().map(|x| f64::from(u8::from(*x))).collect();
    }
    let reals = tensor.to_real().unwrap_or_default();
    reals.iter().map(|x| f64::from(*x)).collect()
}
