//! What a command is given to look at: a checkpoint, or the text of a graph or of a plan.

use std::path::{Path, PathBuf};

use ir::text::TextError;
use ir::{DType, Module, Violation};
use miette::{NamedSource, SourceSpan};
use models::{Checkpoint, StepShape, gemma2};
use passes::plan::{self, Plan, PlanError};

use crate::backend::{Fidelity, context};
use crate::error::{BadText, Error};

/// What is at a path that a command was given.
pub enum Input {
    /// A folder: a Gemma 2 checkpoint.
    Checkpoint(Box<Checkpoint>),
    /// The text of a module that verifies.
    Module(Module),
    /// The text of a plan that verifies.
    Plan(Plan),
}

impl Input {
    /// Reads a folder as a checkpoint, and a file as the text of a module or of a plan, whichever it says it is.
    ///
    /// # Errors
    /// What is there cannot be read, is neither, or breaks a constraint.
    pub fn read(path: &Path) -> Result<Input, Error> {
        if path.is_dir() {
            return Ok(Input::Checkpoint(Box::new(Checkpoint::open(path)?)));
        }
        let source = Source::read(path)?;
        match plan::text::is_plan(&source.text) {
            true => Ok(Input::Plan(plan_of(&source)?)),
            false => Ok(Input::Module(module_of(&source)?)),
        }
    }
}

/// A text that a user gave by its file.
#[derive(Clone, Debug, PartialEq)]
pub struct Source {
    /// The file.
    pub path: PathBuf,
    /// What it said when it was read.
    pub text: String,
}

impl Source {
    /// Reads a file.
    ///
    /// # Errors
    /// It cannot be read, or is no UTF-8.
    pub fn read(path: &Path) -> Result<Source, Error> {
        let text = std::fs::read_to_string(path).map_err(|source| Error::File {
            path: path.into(),
            source,
        })?;
        Ok(Source {
            path: path.into(),
            text,
        })
    }

    /// The file as errors name it.
    pub fn name(&self) -> String {
        self.path.display().to_string()
    }

    /// The error that shows a place of the text, in bytes.
    pub fn bad(&self, span: impl Into<SourceSpan>, expected: &str, message: String) -> Error {
        Error::Text(Box::new(BadText {
            text: NamedSource::new(self.name(), self.text.clone()),
            span: span.into(),
            expected: expected.into(),
            message,
        }))
    }

    fn bad_text(&self, error: TextError) -> Error {
        let message = format!("{}: {error}", self.name());
        self.bad(error.span, &error.expected, message)
    }

    fn broken(&self, violation: Violation) -> Error {
        Error::Violation {
            name: self.name(),
            violation,
        }
    }
}

/// The step that a checkpoint's graph is made for.
#[derive(clap::Args, Clone, Debug)]
pub struct StepArgs {
    /// Of a checkpoint: most rows in a step
    #[arg(long, value_name = "N", default_value_t = 512, value_parser = clap::value_parser!(u32).range(1..))]
    rows: u32,

    /// Of a checkpoint: sequences whose state is kept
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=65536))]
    slots: u32,

    /// Of a checkpoint: positions that a sequence may have [default: the model's own]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    max_context: Option<u32>,
}

impl StepArgs {
    /// The checkpoint's graph. As given by default it is that which `compile` makes for the same fidelity, so that a
    /// plan of the one is a plan of the other: weights as they are stored, keys and values in f32, or in bf16 in fast.
    ///
    /// # Errors
    /// More positions than the model has.
    pub fn module(&self, checkpoint: &Checkpoint, fidelity: Fidelity) -> Result<Module, Error> {
        let context = context(self.max_context, checkpoint.config().context)?;
        let shape = StepShape {
            rows: (1, (self.rows as usize).min(context)),
            slots: self.slots as usize,
            context,
            kv_format: fidelity.kv_format(),
            hidden: false,
        };
        let stored = |name: &str| checkpoint.tensor(name).map_or(DType::F32, |w| w.dtype);
        graph(checkpoint, &shape, stored)
    }
}

/// A checkpoint's graph for steps of this shape, with its weights stored as these dtypes.
///
/// # Errors
/// A graph that breaks a constraint of the IR.
pub fn graph(
    checkpoint: &Checkpoint,
    shape: &StepShape,
    dtype_of: impl Fn(&str) -> DType,
) -> Result<Module, Error> {
    let named = |violation| Error::Violation {
        name: checkpoint.dir().display().to_string(),
        violation,
    };
    let module = gemma2(checkpoint.config(), dtype_of, shape).map_err(named)?;
    ir::verify(&module).map_err(named)?;
    Ok(module)
}

/// The plan that a text is.
///
/// # Errors
/// It is no plan's text, or an illegal plan: the function, the kernel, the value and the reason.
pub fn plan_of(source: &Source) -> Result<Plan, Error> {
    let plan = plan::text::parse(&source.text).map_err(|error| source.bad_text(error))?;
    plan::verify(&plan).map_err(|error| match error {
        PlanError::Module(violation) => source.broken(violation),
        other => Error::Option(format!("{}: {other}", source.name())),
    })?;
    Ok(plan)
}

fn module_of(source: &Source) -> Result<Module, Error> {
    let module = ir::text::parse(&source.text).map_err(|error| source.bad_text(error))?;
    ir::verify(&module).map_err(|violation| source.broken(violation))?;
    Ok(module)
}
