//! What executes a model, and how faithfully.

use ir::DType;
use ir::interp::RunError;
use models::{Checkpoint, Interpreted, StepShape};
use runtime::{Executor, Limits, Row};

use crate::error::Error;

/// What executes a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Backend {
    /// The interpreter: the specification itself, slow and exact
    Interp,
}

/// How close to the specification a backend stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Fidelity {
    /// The same bits as the interpreter
    Exact,
    /// Within the reference framework's bfloat16 error
    Fast,
}

/// The options that choose a backend.
#[derive(clap::Args, Clone, Debug)]
pub struct BackendArgs {
    /// What executes the model
    #[arg(long, value_enum, default_value_t = Backend::Interp)]
    backend: Backend,

    /// How faithful it is to the specification [default: exact]
    #[arg(long, value_enum)]
    fidelity: Option<Fidelity>,
}

impl BackendArgs {
    /// The backend and its fidelity.
    ///
    /// # Errors
    /// A fidelity that the backend does not have.
    pub fn choose(&self) -> Result<(Backend, Fidelity), Error> {
        match (self.backend, self.fidelity) {
            (Backend::Interp, None | Some(Fidelity::Exact)) => {
                Ok((Backend::Interp, Fidelity::Exact))
            }
            (Backend::Interp, Some(Fidelity::Fast)) => Err(Error::Option(
                "--fidelity fast: the interpreter has no fast mode, give --fidelity exact".into(),
            )),
        }
    }
}

impl Backend {
    /// The name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Backend::Interp => "interp",
        }
    }
}

impl Fidelity {
    /// The name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Fidelity::Exact => "exact",
            Fidelity::Fast => "fast",
        }
    }
}

/// Positions a sequence may have: the model's own, unless `--max-context` asked for fewer.
///
/// # Errors
/// More were asked for than the model has.
pub fn context(asked: Option<u32>, model: usize) -> Result<usize, Error> {
    match asked.map(|n| n as usize) {
        Some(asked) if asked > model => Err(runtime::Error::MaxContext { asked, model }.into()),
        asked => Ok(asked.unwrap_or(model)),
    }
}

/// A step shape of one sequence, up to so many rows a step, in exact arithmetic.
pub fn exact_shape(rows: usize, context: usize) -> StepShape {
    StepShape {
        rows: (1, rows),
        slots: 1,
        context,
        kv_format: DType::F32,
        hidden: false,
    }
}

/// A checkpoint executed by the interpreter.
pub struct InterpExecutor<'c> {
    model: Interpreted<'c, f32>,
    limits: Limits,
}

impl<'c> InterpExecutor<'c> {
    /// Loads the checkpoint for steps of this shape.
    ///
    /// # Errors
    /// A model that breaks a constraint of the IR.
    pub fn new(
        checkpoint: &'c Checkpoint,
        shape: &StepShape,
        threads: usize,
    ) -> Result<InterpExecutor<'c>, RunError> {
        Ok(InterpExecutor {
            model: Interpreted::new(checkpoint, shape, threads)?,
            limits: Limits {
                vocab: checkpoint.config().vocab,
                context: shape.context,
                rows: shape.rows.1,
                slots: shape.slots,
            },
        })
    }
}

impl Executor for InterpExecutor<'_> {
    fn limits(&self) -> Limits {
        self.limits
    }

    fn step(
        &mut self,
        rows: &[Row],
        wanted: &[usize],
        logits: &mut [f32],
    ) -> Result<(), runtime::Error> {
        let column = |part: fn(&Row) -> u32| rows.iter().map(part).collect::<Vec<u32>>();
        let (tokens, positions) = (column(|r| r.token), column(|r| r.position));
        let output = self
            .model
            .step(&tokens, &positions, &column(|r| r.slot), wanted)
            .map_err(|error| runtime::Error::Executor(error.into()))?;
        logits.copy_from_slice(&output.logits);
        Ok(())
    }
}
