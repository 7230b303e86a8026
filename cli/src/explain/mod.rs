//! `lapidary explain`: every kernel of a plan, and why it is what it is.

mod collect;
mod html;
mod report;
mod text;

use std::io::Write;
use std::path::PathBuf;

use ir::{Bindings, Dim, Dims, Module, Sym};
use models::Checkpoint;
use passes::pipeline::Options;
use passes::plan::Plan;
use passes::rules::RuleSet;

use crate::backend::Fidelity;
use crate::bind::BindArgs;
use crate::error::Error;
use crate::input::{Input, StepArgs};
use crate::measure::measure;
use crate::passes::{PassArgs, say_cut_off};

use collect::Subject;
pub use collect::{launch, times};
pub use report::Figures;
use report::{Origin, Report};

/// Arguments of `explain`.
#[derive(clap::Args)]
pub struct Args {
    /// Folder of a Gemma 2 checkpoint, or the text of a graph or of a plan
    #[arg(value_name = "CHECKPOINT|GRAPH")]
    input: PathBuf,

    /// Show this kernel alone: KERNEL, or FUNCTION.KERNEL
    #[arg(long, value_name = "NAME")]
    kernel: Option<String>,

    /// Measure besides how long each kernel takes on this machine
    #[arg(long)]
    measure: bool,

    /// Of --measure: threads to compute with [default: all cores]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=4096))]
    threads: Option<u32>,

    /// The form of the answer
    #[arg(short, long, value_enum, default_value_t = Form::Text)]
    output: Form,

    /// Which rules may be used: exact ones, which keep every bit, or all that hold over the reals
    #[arg(long, value_enum, default_value_t = Fidelity::Fast)]
    fidelity: Fidelity,

    #[command(flatten)]
    bind: BindArgs,

    #[command(flatten)]
    step: StepArgs,

    #[command(flatten)]
    passes: PassArgs,
}

/// A form of the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Form {
    /// Tables and lines
    Text,
    /// Every field
    Json,
    /// A page for a browser, in one file
    Html,
}

/// A step that answers one token, by its symbols: one row, whose logits are wanted, after so many keys.
const DECODE: [(&str, i64); 3] = [("R", 1), ("N", 1), ("K", 128)];

/// A graph and its plan.
struct Planned {
    source: Module,
    plan: Plan,
    options: Options,
    /// Where its weights come from.
    checkpoint: Option<Box<Checkpoint>>,
    /// What its symbols are where nothing is said of them.
    usual: Bindings,
}

/// Runs the command.
pub fn run(args: &Args) -> Result<(), Error> {
    let machine = args.passes.machine()?;
    let planned = planned(args)?;
    let bindings = bindings(&args.bind, &planned.plan.module.dims, &planned.usual)?;
    let times = match args.measure {
        false => None,
        true => Some(measure(
            &planned.plan,
            args.fidelity,
            threads(args.threads),
            bindings.clone(),
            planned.checkpoint.as_deref(),
            &args.input,
        )?),
    };
    let mut report = collect::report(&Subject {
        source: &planned.source,
        plan: &planned.plan,
        options: &planned.options,
        machine: &machine,
        bindings,
        fidelity: args.fidelity.name(),
        times,
    });
    if let Some(name) = &args.kernel {
        keep(&mut report, name)?;
    }
    let mut out = std::io::stdout().lock();
    match args.output {
        Form::Text => text::write(&report, args.kernel.is_some(), &mut out)?,
        Form::Json => {
            let text = serde_json::to_string_pretty(&report).map_err(std::io::Error::other)?;
            writeln!(out, "{text}")?;
        }
        Form::Html => html::write(&report, &mut out)?,
    }
    replayed(&report)
}

/// Threads to measure with: those asked for, or all cores.
pub fn threads(asked: Option<u32>) -> usize {
    match asked {
        Some(threads) => threads as usize,
        None => std::thread::available_parallelism().map_or(1, |n| n.get()),
    }
}

/// Plans what the command was given.
fn planned(args: &Args) -> Result<Planned, Error> {
    let input = args.input.display();
    let (source, usual, checkpoint) = match Input::read(&args.input)? {
        Input::Checkpoint(checkpoint) => {
            let module = args.step.module(&checkpoint, args.fidelity)?;
            let usual = decode(&module.dims);
            (module, usual, Some(checkpoint))
        }
        Input::Module(module) => (module, Bindings::default(), None),
        Input::Plan(plan) => {
            let kept = format!("{input}: a plan, whose kernels are taken as they are");
            args.passes.options().refuse(&kept)?;
            // Its own values are the source: no rule led to them.
            return Ok(Planned {
                source: plan.module.clone(),
                plan,
                options: Options::new(RuleSet::default()),
                checkpoint: None,
                usual: Bindings::default(),
            });
        }
    };
    let passes = args.passes.read()?;
    let planned = passes.plan(&source, args.fidelity)?;
    say_cut_off(&planned.algebra);
    Ok(Planned {
        source,
        plan: planned.plan,
        options: passes.options(args.fidelity)?,
        checkpoint,
        usual,
    })
}

/// The symbols of a step that answers one token, as far as a module has them.
fn decode(dims: &Dims) -> Bindings {
    let mut bindings = Bindings::default();
    for (name, value) in DECODE {
        let sym = Sym::new(name);
        if let Some((low, high)) = dims.range_of(&sym) {
            bindings.bind(&sym, value.clamp(low, high));
        }
    }
    bindings
}

/// Values for all symbols: those given, else the usual ones, else the upper ends of their ranges, or what the other
/// symbols leave of them.
///
/// # Errors
/// Those of [`BindArgs::bindings`], and values that do not fit one another.
pub fn bindings(args: &BindArgs, dims: &Dims, usual: &Bindings) -> Result<Bindings, Error> {
    let given = args.bindings(dims)?;
    let mut bindings = dims.upper_bounds(usual);
    for (sym, ..) in &dims.ranges {
        if let Some(value) = given.get(sym) {
            bindings.bind(sym, value);
        }
    }
    for (less, more) in &dims.known {
        let mut free = dims.ranges.iter().map(|(sym, ..)| sym);
        let free = free.find(|sym| Dim::sym(sym.name()) == *less && given.get(sym).is_none());
        if let (Some(sym), Ok(most)) = (free, more.eval(&bindings)) {
            let value = bindings.get(sym).unwrap_or(most);
            bindings.bind(sym, value.min(most));
        }
    }
    let checked = bindings.check(dims);
    checked.map_err(|why| Error::Option(format!("--bind: {why}")))?;
    Ok(bindings)
}

/// Keeps the kernels of this name alone.
fn keep(report: &mut Report, name: &str) -> Result<(), Error> {
    let mut all = Vec::new();
    for function in &mut report.functions {
        let full = |kernel: &str| format!("{}.{kernel}", function.name);
        all.extend(function.kernels.iter().map(|k| full(&k.name)));
        let meant = |kernel: &str| kernel == name || full(kernel) == name;
        function.kernels.retain(|k| meant(&k.name));
    }
    report.functions.retain(|f| !f.kernels.is_empty());
    match report.functions.is_empty() {
        false => Ok(()),
        true => Err(Error::Option(format!(
            "--kernel {name}: no such kernel, expected one of {}",
            all.join(", ")
        ))),
    }
}

/// Says which chains of rules do not replay: a bug, which must not stay unseen.
fn replayed(report: &Report) -> Result<(), Error> {
    for function in &report.functions {
        for value in &function.values {
            if let Some(Origin::Rules {
                error: Some(error), ..
            }) = &value.origin
            {
                return Err(Error::Unsound(format!(
                    "fn {}, %{}: the rules that led to it do not replay: {error}",
                    function.name, value.name
                )));
            }
        }
    }
    Ok(())
}
