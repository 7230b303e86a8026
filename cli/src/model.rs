//! A checkpoint that is executed one way or another, with its residual stream.

use models::{Checkpoint, Interpreted, StepOutput, StepShape};
use runtime::{CompiledModel, Executor, Limits, Row};

use crate::compile::{Build, Placement, cached};
use crate::error::Error;

/// A model of one sequence.
pub enum Model<'c> {
    /// The interpreter's.
    Interpreted(Interpreted<'c, f32>),
    /// Machine code's, and the width of its residual stream.
    Compiled(CompiledModel, usize),
}

impl<'c> Model<'c> {
    /// The interpreter's model, for steps of this shape.
    ///
    /// # Errors
    /// A model that breaks a constraint of the IR.
    pub fn interpreted(
        checkpoint: &'c Checkpoint,
        shape: &StepShape,
        threads: usize,
    ) -> Result<Model<'c>, Error> {
        let model = Interpreted::new(checkpoint, shape, threads)?;
        Ok(Model::Interpreted(model))
    }

    /// The compiled model of a build, for steps of this shape, from the cache.
    ///
    /// # Errors
    /// Those of compiling.
    pub fn compiled(
        checkpoint: &'c Checkpoint,
        shape: &StepShape,
        threads: usize,
        build: Build,
        placement: Placement,
    ) -> Result<Model<'c>, Error> {
        let build = Build {
            rows: shape.rows.1,
            hidden: shape.hidden,
            ..build
        };
        let cached = cached::program(checkpoint, &build, placement, threads)?;
        let config = checkpoint.config();
        let limits = Limits {
            vocab: config.vocab,
            context: build.context,
            rows: build.rows,
            slots: shape.slots,
        };
        let model = cached.bundle.load(limits, threads)?;
        Ok(Model::Compiled(model, config.hidden))
    }

    /// Runs one step that begins a sequence, and gives all that the step gives.
    ///
    /// # Errors
    /// What the executor reports.
    pub fn prefill(&mut self, tokens: &[u32]) -> Result<StepOutput<f32>, Error> {
        let all: Vec<usize> = (0..tokens.len()).collect();
        self.step(tokens, 0, &all)
    }

    /// Runs one step of these tokens from this position on.
    ///
    /// # Errors
    /// What the executor reports.
    pub fn step(
        &mut self,
        tokens: &[u32],
        first: usize,
        wanted: &[usize],
    ) -> Result<StepOutput<f32>, Error> {
        let positions = (first as u32..).take(tokens.len());
        match self {
            Model::Interpreted(model) => {
                let positions: Vec<u32> = positions.collect();
                Ok(model.step(tokens, &positions, &vec![0; tokens.len()], wanted)?)
            }
            Model::Compiled(model, hidden) => {
                let rows = positions.zip(tokens).map(|(position, token)| Row {
                    token: *token,
                    position,
                    slot: 0,
                });
                let rows: Vec<Row> = rows.collect();
                let mut logits = vec![0.0; wanted.len() * model.limits().vocab];
                model.step(&rows, wanted, &mut logits)?;
                let hidden = residual_stream(model, *hidden, rows.len(), wanted.len());
                Ok(StepOutput { logits, hidden })
            }
        }
    }
}

/// The outputs beside the logits, of the last step: the residual stream of all rows, and at last the final norm of the
/// wanted ones.
fn residual_stream(
    model: &CompiledModel,
    width: usize,
    rows: usize,
    wanted: usize,
) -> Vec<Vec<f32>> {
    let machine = model.machine();
    let outputs = machine.program().outputs.len();
    let stream = (1..outputs).map(|i| {
        let rows = if i + 1 == outputs { wanted } else { rows };
        let (floats, _) = machine.output(i).as_chunks::<4>();
        let floats = floats.iter().take(rows * width);
        floats.map(|x| f32::from_le_bytes(*x)).collect()
    });
    stream.collect()
}
