//! What executes a model, and how faithfully.

use ir::DType;
use ir::interp::RunError;
use models::{Checkpoint, Interpreted, StepShape};
use runtime::{Executor, Limits, Row};

use crate::error::Error;

/// What executes a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Backend {
    /// Machine code for this CPU
    Cpu,
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
    #[arg(long, value_enum, default_value_t = Backend::Cpu)]
    backend: Backend,

    /// How faithful it is to the specification [default: fast; of the interpreter, exact]
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
            (Backend::Cpu, fidelity) => Ok((Backend::Cpu, fidelity.unwrap_or(Fidelity::Fast))),
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
            Backend::Cpu => "cpu",
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

    /// What keys and values are stored as, unless the user says otherwise.
    pub fn kv_format(self) -> DType {
        match self {
            Fidelity::Exact => DType::F32,
            Fidelity::Fast => DType::BF16,
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

/// Bytes of keys that the interpreter may gather for the rows of a step; values take as many again.
const GATHERED_BYTES: usize = 1 << 28;

/// A checkpoint executed by the interpreter.
///
/// The interpreter gathers the keys of every row, so a step of many rows far into a context is run in
/// parts that fit the memory; by the contract the bits are the same.
pub struct InterpExecutor<'c> {
    model: Interpreted<'c, f32>,
    limits: Limits,
    /// Bytes of one position's keys.
    key_bytes: usize,
    gathered_bytes: usize,
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
        let config = checkpoint.config();
        Ok(InterpExecutor {
            model: Interpreted::new(checkpoint, shape, threads)?,
            limits: Limits {
                vocab: config.vocab,
                context: shape.context,
                rows: shape.rows.1,
                slots: shape.slots,
            },
            key_bytes: DType::F32.row_bytes(config.kv_heads * config.head_dim),
            gathered_bytes: GATHERED_BYTES,
        })
    }

    /// How many of these rows one step of the interpreter takes.
    fn rows_at_once(&self, rows: &[Row]) -> usize {
        let keys = rows.iter().map(|r| r.position as usize + 1).max();
        (self.gathered_bytes / (keys.unwrap_or(1) * self.key_bytes)).max(1)
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
        let mut rest = logits;
        let mut first = 0;
        for part in rows.chunks(self.rows_at_once(rows)) {
            let end = first + part.len();
            let wanted = wanted.iter().filter(|w| (first..end).contains(w));
            let wanted: Vec<usize> = wanted.map(|w| w - first).collect();
            let column = |of: fn(&Row) -> u32| part.iter().map(of).collect::<Vec<u32>>();
            let (tokens, positions) = (column(|r| r.token), column(|r| r.position));
            let output = self
                .model
                .step(&tokens, &positions, &column(|r| r.slot), &wanted)
                .map_err(|error| runtime::Error::Executor(error.into()))?;
            let (here, behind) = rest.split_at_mut(output.logits.len());
            here.copy_from_slice(&output.logits);
            rest = behind;
            first = end;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn a_step_run_in_parts_gives_the_same_bits() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/checkpoints/2b-shape");
        let checkpoint = Checkpoint::open(Path::new(folder)).expect("a checkpoint");
        let rows: Vec<Row> = (0..20)
            .map(|i| Row {
                token: 2 + i * 7,
                position: i,
                slot: 0,
            })
            .collect();
        let wanted = [0, 6, 7, 19];
        let logits = |gathered_bytes| {
            let mut executor = InterpExecutor {
                gathered_bytes,
                ..InterpExecutor::new(&checkpoint, &exact_shape(20, 32), 1).expect("a model")
            };
            let mut logits = vec![0.0; wanted.len() * executor.limits().vocab];
            executor.step(&rows, &wanted, &mut logits).expect("a step");
            let bits: Vec<u32> = logits.iter().map(|x| x.to_bits()).collect();
            (executor.rows_at_once(&rows), bits)
        };
        let (all, whole) = logits(GATHERED_BYTES);
        assert!(all >= 20);
        let seven_rows = 7 * 20 * 4 * 2 * 24;
        assert_eq!(logits(seven_rows), (7, whole.clone()));
        assert_eq!(logits(0), (1, whole));
    }
}
