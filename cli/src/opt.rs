//! `lapidary opt`: the text of a stage.

use std::io::Write;
use std::path::{Path, PathBuf};

use ir::Module;
use passes::algebra::Report;
use passes::pipeline::Stage;
use passes::plan;

use crate::backend::Fidelity;
use crate::error::Error;
use crate::input::{Input, StepArgs};
use crate::passes::{PassArgs, Planned};

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

    #[command(flatten)]
    step: StepArgs,

    #[command(flatten)]
    passes: PassArgs,
}

/// Runs the command.
pub fn run(args: &Args) -> Result<(), Error> {
    let text = match Input::read(&args.input)? {
        Input::Checkpoint(checkpoint) => {
            of_module(args, &args.step.module(&checkpoint, args.fidelity)?)?
        }
        Input::Module(module) => of_module(args, &module)?,
        Input::Plan(plan) => match args.until.unwrap_or(Stage::Plan) {
            Stage::Plan => {
                let because = "the kernels of a plan's text are chosen already";
                args.passes.options().refuse(because)?;
                plan::text::print(&plan)
            }
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

/// The stage of that name.
fn stage(name: &str) -> Result<Stage, String> {
    Stage::from_name(name).ok_or_else(|| {
        let names = Stage::ALL.map(Stage::name).join(" or ");
        format!("expected {names}")
    })
}

/// The text of a module's stage, and on standard error what each function came to.
fn of_module(args: &Args, module: &Module) -> Result<String, Error> {
    match args.until.unwrap_or(Stage::Graph) {
        Stage::Graph => {
            let because = "no passes run before stage graph, give --until algebra or plan";
            args.passes.options().refuse(because)?;
            args.passes.machine()?;
            Ok(ir::text::print(module))
        }
        Stage::Algebra => {
            let (module, reports) = args.passes.algebra(module, args.fidelity)?;
            say(&reports);
            Ok(ir::text::print(&module))
        }
        Stage::Plan => {
            let Planned {
                algebra,
                fused,
                plan,
            } = args.passes.plan(module, args.fidelity)?;
            say(&algebra);
            for report in fused {
                eprintln!("{report}");
            }
            Ok(plan::text::print(&plan))
        }
    }
}

fn say(reports: &[Report]) {
    for report in reports {
        eprintln!("{report}");
        for (rule, times) in &report.fired {
            eprintln!("  {rule}: {times}");
        }
    }
}

/// Writes a file under a temporary name in its folder, then gives it its own.
fn write_whole(path: &Path, text: &str) -> std::io::Result<()> {
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty());
    let mut file = tempfile::NamedTempFile::new_in(folder.unwrap_or(Path::new(".")))?;
    file.write_all(text.as_bytes())?;
    file.persist(path).map_err(|error| error.error)?;
    Ok(())
}
