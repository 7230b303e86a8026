//! `lapidary opt`: the text of a stage.

use std::io::Write;
use std::path::{Path, PathBuf};

use ir::text::TextError;
use ir::{DType, Module, Violation};
use miette::NamedSource;
use models::{Checkpoint, StepShape, gemma2};
use passes::fusion::Machine;
use passes::pipeline::{self, Options, PlanOptions, Stage};
use passes::plan::{self, Plan, PlanError};
use passes::rules::RuleSet;

use crate::backend::{Fidelity, context, exact_shape};
use crate::error::{BadText, Error};
use crate::machine::{MachineArgs, planned_for};

/// Arguments of `opt`.
#[derive(clap::Args)]
pub struct Args {
    /// Folder of a Gemma 2 checkpoint, or the text of a module or of a plan
    #[arg(value_name = "CHECKPOINT|FILE.lir")]
    input: PathBuf,

    /// The last stage to run: graph, the source by primitives only; algebra, what the rewrite rules make of it; plan, the kernels it is fused into [default: graph, or plan where the text is a plan]
    #[arg(long, value_name = "STAGE", value_parser = stage)]
    until: Option<Stage>,

    /// Which rules may be used: exact ones, which keep every bit, or all that hold over the reals
    #[arg(long, value_enum, default_value_t = Fidelity::Exact)]
    fidelity: Fidelity,

    /// Where the text goes, instead of standard output
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,

    /// Of a checkpoint: most rows in a step
    #[arg(long, value_name = "N", default_value_t = 512, value_parser = clap::value_parser!(u32).range(1..))]
    rows: u32,

    /// Of a checkpoint: sequences whose state is kept
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=65536))]
    slots: u32,

    /// Of a checkpoint: positions that a sequence may have [default: the model's own]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    max_context: Option<u32>,

    #[command(flatten)]
    machine: MachineArgs,
}

/// Runs the command.
pub fn run(args: &Args) -> Result<(), Error> {
    let machine = planned_for(args.machine.machine()?.as_ref());
    let text = match read(args)? {
        Input::Module(module) => match args.until.unwrap_or(Stage::Graph) {
            Stage::Graph => ir::text::print(&module),
            Stage::Algebra => ir::text::print(&algebra(&module, args.fidelity)),
            Stage::Plan => planned(&algebra(&module, args.fidelity), machine),
        },
        Input::Plan(plan) => match args.until.unwrap_or(Stage::Plan) {
            Stage::Plan => plan::text::print(&plan),
            earlier @ (Stage::Graph | Stage::Algebra) => {
                return Err(Error::Option(format!(
                    "{}: a plan's text, which is at stage plan: expected --until plan, found {}",
                    args.input.display(),
                    earlier.name()
                )));
            }
        },
    };
    match &args.output {
        None => std::io::stdout().lock().write_all(text.as_bytes())?,
        Some(path) => write_whole(path, &text).map_err(|source| Error::File {
            path: path.clone(),
            source,
        })?,
    }
    Ok(())
}

/// What a text or a checkpoint is.
enum Input {
    Module(Module),
    Plan(Plan),
}

fn read(args: &Args) -> Result<Input, Error> {
    if args.input.is_dir() {
        return Ok(Input::Module(from_checkpoint(args)?));
    }
    from_text(&args.input)
}

/// The stage of that name.
fn stage(name: &str) -> Result<Stage, String> {
    Stage::from_name(name).ok_or_else(|| {
        let names = Stage::ALL.map(Stage::name).join(" or ");
        format!("expected {names}")
    })
}

/// Applies the shipped rules, and says on standard error what each function came to.
fn algebra(module: &Module, fidelity: Fidelity) -> Module {
    let rules = match fidelity {
        Fidelity::Exact => RuleSet::shipped().exact(),
        Fidelity::Fast => RuleSet::shipped(),
    };
    let (module, reports) = pipeline::algebra(module, &Options::new(rules));
    for report in reports {
        eprintln!("{report}");
        for (rule, times) in &report.fired {
            eprintln!("  {rule}: {times}");
        }
    }
    module
}

/// The text of the plan for a machine, and on standard error how each function was fused.
fn planned(module: &Module, machine: Machine) -> String {
    let options = PlanOptions {
        machine,
        ..PlanOptions::default()
    };
    let (plan, reports) = pipeline::plan(module, &options);
    for report in reports {
        eprintln!("{report}");
    }
    plan::text::print(&plan)
}

fn from_checkpoint(args: &Args) -> Result<Module, Error> {
    let checkpoint = Checkpoint::open(&args.input)?;
    let config = checkpoint.config();
    let context = context(args.max_context, config.context)?;
    let shape = StepShape {
        slots: args.slots as usize,
        ..exact_shape((args.rows as usize).min(context), context)
    };
    let dtype_of = |name: &str| checkpoint.tensor(name).map_or(DType::F32, |w| w.dtype);
    let named = |violation| Error::Violation {
        name: args.input.display().to_string(),
        violation,
    };
    let module = gemma2(config, dtype_of, &shape).map_err(named)?;
    ir::verify(&module).map_err(named)?;
    Ok(module)
}

fn from_text(path: &Path) -> Result<Input, Error> {
    let name = path.display().to_string();
    let text = std::fs::read_to_string(path).map_err(|source| Error::File {
        path: path.into(),
        source,
    })?;
    let bad_text = |error: TextError| {
        Box::new(BadText {
            name: name.clone(),
            text: NamedSource::new(&name, text.clone()),
            span: error.span.into(),
            error,
        })
    };
    let broken = |violation: Violation| Error::Violation {
        name: name.clone(),
        violation,
    };
    if !plan::text::is_plan(&text) {
        let module = ir::text::parse(&text).map_err(bad_text)?;
        ir::verify(&module).map_err(broken)?;
        return Ok(Input::Module(module));
    }
    let plan = plan::text::parse(&text).map_err(bad_text)?;
    plan::verify(&plan).map_err(|error| match error {
        PlanError::Module(violation) => broken(violation),
        other => Error::Option(format!("{name}: {other}")),
    })?;
    Ok(Input::Plan(plan))
}

/// Writes a file under a temporary name in its folder, then gives it its own.
fn write_whole(path: &Path, text: &str) -> std::io::Result<()> {
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty());
    let mut file = tempfile::NamedTempFile::new_in(folder.unwrap_or(Path::new(".")))?;
    file.write_all(text.as_bytes())?;
    file.persist(path).map_err(|error| error.error)?;
    Ok(())
}
