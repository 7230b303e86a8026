//! A graph that a command runs: its text, the tensors it is run on, and what runs it.

mod given;
mod session;
mod tensors;

use std::path::{Path, PathBuf};

use ir::Module;
use ir::interp::RunError;
use passes::plan::{Plan, lower};
use runtime::Weight;

pub use given::{Absent, Given, language_model};
pub use session::{Compiled, Session, packed};
pub use tensors::{Files, Named, write};

use crate::backend::{Backend, Fidelity};
use crate::bind::BindArgs;
use crate::error::Error;
use crate::input::Input;
use crate::machine::{MachineArgs, planned_for};
use crate::passes::{PassOptions, Passes};
use crate::progress::Progress;

/// The options of a command that runs a graph.
#[derive(clap::Args)]
pub struct GraphArgs {
    /// The text of a module, or of a plan, whose kernels are then taken as they are
    #[arg(value_name = "GRAPH")]
    path: PathBuf,

    /// A safetensors file with tensors of the graph: inputs and weights by name, states as state.NAME; may be repeated
    #[arg(long, value_name = "FILE")]
    inputs: Vec<PathBuf>,

    #[command(flatten)]
    bind: BindArgs,

    /// Threads to compute with [default: all cores]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=4096))]
    threads: Option<u32>,

    #[command(flatten)]
    passes: PassOptions,

    /// The machine that is planned for.
    #[command(flatten)]
    pub machine: MachineArgs,
}

/// A graph, or a plan of one.
enum Text {
    Module(Module),
    Plan(Plan),
}

/// A graph as a command was given it.
pub struct Graph<'a> {
    args: &'a GraphArgs,
    text: Text,
}

impl GraphArgs {
    /// The file of the graph.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Threads to compute with.
    pub fn threads(&self) -> usize {
        match self.threads {
            Some(threads) => threads as usize,
            None => std::thread::available_parallelism().map_or(1, |n| n.get()),
        }
    }

    /// Reads the graph; of a checkpoint's folder, `instead` says what to do.
    ///
    /// # Errors
    /// What is there is no graph, or options of the passes were given with a plan.
    pub fn read(&self, instead: &str) -> Result<Graph<'_>, Error> {
        let named = |what: &str| format!("{}: {what}", self.path.display());
        let text = match Input::read(&self.path)? {
            Input::Checkpoint(_) => {
                let found = format!("a checkpoint, expected the text of a graph; {instead}");
                return Err(Error::Option(named(&found)));
            }
            Input::Module(module) => Text::Module(module),
            Input::Plan(plan) => {
                let kept = named("a plan, whose kernels are taken as they are");
                self.passes.refuse(&kept)?;
                Text::Plan(plan)
            }
        };
        Ok(Graph { args: self, text })
    }

    /// An index outside its axis, which came with the inputs, as an error of theirs with this `hint`; another error as it
    /// is.
    pub fn index_error(&self, error: Error, hint: &str) -> Error {
        match error {
            Error::Interpreter(RunError::Index { .. })
            | Error::Runtime(runtime::Error::Index { .. }) => {
                Error::Option(format!("{}: {error}{hint}", self.path.display()))
            }
            other => other,
        }
    }

    /// The files that tensors were given in.
    ///
    /// # Errors
    /// One that cannot be read, or is no safetensors file.
    pub fn files(&self) -> Result<Files, Error> {
        Files::open(&self.inputs)
    }
}

impl Graph<'_> {
    /// The module, or that of the plan.
    pub fn module(&self) -> &Module {
        match &self.text {
            Text::Module(module) => module,
            Text::Plan(plan) => &plan.module,
        }
    }

    /// What a step is run on: tensors of these files, and values of `--bind`.
    ///
    /// # Errors
    /// Those of [`Given::new`] and [`Given::with_weights`].
    pub fn given<'f>(&self, files: &'f Files, absent: Absent) -> Result<Given<'f>, Error> {
        let module = self.module();
        let bindings = self.args.bind.bindings(&module.dims)?;
        let given = Given::new(module, files, bindings, absent)
            .and_then(|given| given.with_weights(module, files, absent));
        given.map_err(|problem| problem.of(&self.args.path))
    }

    /// The graph's plan: of its text, of `--plan`, or made by the passes.
    ///
    /// # Errors
    /// Those of the passes.
    pub fn plan(&self, fidelity: Fidelity) -> Result<Plan, Error> {
        match &self.text {
            Text::Plan(plan) => Ok(plan.clone()),
            Text::Module(module) => Ok(self.passes()?.plan(module, fidelity)?.plan),
        }
    }

    fn passes(&self) -> Result<Passes, Error> {
        let machine = planned_for(self.args.machine.machine()?.as_ref());
        self.args.passes.read(machine)
    }

    /// The module that the interpreter runs: the graph itself, or the kernels of a plan where there is one.
    ///
    /// # Errors
    /// Options of the passes without a plan: the interpreter has no use for them.
    fn interpreted(&self) -> Result<Module, Error> {
        match &self.text {
            Text::Plan(plan) => Ok(lower(plan).module),
            Text::Module(module) => {
                let passes = self.passes()?;
                if passes.plan.is_some() {
                    return Ok(lower(&passes.plan(module, Fidelity::Exact)?.plan).module);
                }
                self.args.passes.refuse_for_interp()?;
                Ok(module.clone())
            }
        }
    }

    /// Gets the graph ready to run on a backend.
    ///
    /// # Errors
    /// Those of the passes and of the backend.
    pub fn session<'g>(
        &self,
        backend: Backend,
        fidelity: Fidelity,
        given: &'g Given<'g>,
        progress: &Progress,
    ) -> Result<Session<'g>, Error> {
        let threads = self.args.threads();
        match backend {
            Backend::Interp => Session::interpreted(self.interpreted()?, given, threads),
            Backend::Cpu => {
                let plan = self.plan(fidelity)?;
                let weights = |places: &[Weight]| packed(places, |name| given.weight(name));
                let compiled = Compiled::new(plan, fidelity, threads, progress, weights)?;
                Ok(Session::compiled(compiled, given))
            }
        }
    }
}
