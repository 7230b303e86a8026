//! `lapidary diff`: what changed from one plan to another.

mod compare;
mod text;

use std::io::Write;
use std::path::{Path, PathBuf};

use ir::Bindings;
use passes::fusion::Machine;
use passes::plan::Plan;

use compare::Side;

use crate::backend::Fidelity;
use crate::bind::BindArgs;
use crate::error::Error;
use crate::explain::{bindings, threads};
use crate::input::Input;
use crate::machine::{MachineArgs, planned_for};
use crate::measure::measure;

/// Arguments of `diff`.
#[derive(clap::Args)]
pub struct Args {
    /// The text of a plan
    #[arg(value_name = "A.plan")]
    a: PathBuf,

    /// The text of the plan that it became
    #[arg(value_name = "B.plan")]
    b: PathBuf,

    /// The form of the answer
    #[arg(short, long, value_enum, default_value_t = Form::Text)]
    output: Form,

    /// Measure besides how long each kernel takes on this machine
    #[arg(long)]
    measure: bool,

    /// Of --measure: whether the kernels keep every bit, or are within the reference framework's bfloat16 error
    #[arg(long, value_enum, default_value_t = Fidelity::Fast)]
    fidelity: Fidelity,

    /// Of --measure: threads to compute with [default: all cores]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=4096))]
    threads: Option<u32>,

    #[command(flatten)]
    bind: BindArgs,

    #[command(flatten)]
    machine: MachineArgs,
}

/// A form of the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Form {
    /// Tables and lines
    Text,
    /// Every field
    Json,
}

/// Runs the command.
pub fn run(args: &Args) -> Result<(), Error> {
    let machine = planned_for(args.machine.machine()?.as_ref());
    let [a, b] = [&args.a, &args.b].map(|path| read(path));
    let [a, b] = [a?, b?];
    let side = |plan: Plan, path: &Path| -> Result<Side, Error> {
        let usual = Bindings::default();
        let bindings = bindings(&args.bind, &plan.module.dims, &usual)?;
        let times = match args.measure {
            false => None,
            true => Some(measure(
                &plan,
                args.fidelity,
                threads(args.threads),
                bindings.clone(),
                None,
                path,
            )?),
        };
        let machine = Machine {
            bindings,
            ..machine.clone()
        };
        Ok(Side {
            plan,
            machine,
            times,
        })
    };
    let diff = compare::plans(&side(a, &args.a)?, &side(b, &args.b)?);
    let mut out = std::io::stdout().lock();
    match args.output {
        Form::Text => text::write(&diff, &mut out)?,
        Form::Json => {
            let text = serde_json::to_string_pretty(&diff).map_err(std::io::Error::other)?;
            writeln!(out, "{text}")?;
        }
    }
    Ok(())
}

/// Reads a plan.
fn read(path: &Path) -> Result<Plan, Error> {
    let found = match Input::read(path)? {
        Input::Plan(plan) => return Ok(plan),
        Input::Checkpoint(_) => "a checkpoint",
        Input::Module(_) => "a graph",
    };
    Err(Error::Option(format!(
        "{}: {found}, expected the text of a plan, which lapidary opt --until plan prints",
        path.display()
    )))
}
