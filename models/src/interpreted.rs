//! Gemma 2 run by the interpreter.

use ir::interp::{Interpreter, Real, RunError, Tensor};
use ir::{Bindings, DType, Module};

use crate::checkpoint::Checkpoint;
use crate::gemma2::{StepShape, gemma2};

/// A checkpoint's model, executed by the interpreter: in f32 the specification, in f64 the truth.
pub struct Interpreted<'c, F> {
    interpreter: Interpreter<'c, F>,
}

/// What a step gives.
#[derive(Clone, Debug, PartialEq)]
pub struct StepOutput<F> {
    /// Logits of the wanted rows, [wanted, vocab].
    pub logits: Vec<F>,
    /// With [`StepShape::hidden`]: the residual stream before each layer, [rows, hidden] each, and the
    /// final norm's output of the wanted rows, [wanted, hidden].
    pub hidden: Vec<Vec<F>>,
}

impl<'c, F: Real> Interpreted<'c, F> {
    /// The model of a checkpoint, for steps of this shape, on so many threads.
    ///
    /// # Errors
    /// A model that breaks a constraint of the IR.
    pub fn new(
        checkpoint: &'c Checkpoint,
        shape: &StepShape,
        threads: usize,
    ) -> Result<Interpreted<'c, F>, RunError> {
        let dtype_of = |name: &str| checkpoint.tensor(name).map_or(DType::F32, |w| w.dtype);
        let module = gemma2(checkpoint.config(), dtype_of, shape)?;
        Interpreted::of_module(module, checkpoint, threads)
    }

    /// Any module with the inputs and outputs of [`gemma2`]'s, on the weights of a checkpoint.
    ///
    /// # Errors
    /// A module that breaks a constraint of the IR, or asks for weights that the checkpoint does not have.
    pub fn of_module(
        module: Module,
        checkpoint: &'c Checkpoint,
        threads: usize,
    ) -> Result<Interpreted<'c, F>, RunError> {
        let stored = |name: &str| checkpoint.tensor(name).map(|w| w.bytes);
        let interpreter = Interpreter::new(module, stored, threads)?;
        Ok(Interpreted { interpreter })
    }

    /// Runs one step: row r is `tokens[r]` at `positions[r]` of sequence `slots[r]`; a slot's rows come
    /// in order of position and go on where its last step ended. `wanted` are indices of rows.
    ///
    /// # Errors
    /// More rows or a later position than the step's shape allows, a token outside the vocabulary, a
    /// slot or wanted row that is not there.
    pub fn step(
        &mut self,
        tokens: &[u32],
        positions: &[u32],
        slots: &[u32],
        wanted: &[usize],
    ) -> Result<StepOutput<F>, RunError> {
        let keys = positions.iter().max().map_or(1, |p| i64::from(*p) + 1);
        let bindings = Bindings::new([
            ("R", tokens.len() as i64),
            ("K", keys),
            ("N", wanted.len() as i64),
        ]);
        // A number past i32 becomes -1, which no index accepts.
        let index = |x: &[u32]| {
            let ints = x.iter().map(|x| i32::try_from(*x).unwrap_or(-1));
            Tensor::int(vec![x.len()], ints.collect())
        };
        let wanted: Vec<u32> = wanted.iter().map(|w| *w as u32).collect();
        let inputs = [tokens, positions, slots, &wanted].map(index);
        let outputs = self.interpreter.step(&bindings, inputs.into())?;
        let mut outputs = outputs.iter().map(|t| {
            let reals = t.to_real().expect("the outputs of Gemma 2 are f32");
            reals.into_owned()
        });
        Ok(StepOutput {
            logits: outputs.next().expect("a step gives logits"),
            hidden: outputs.collect(),
        })
    }
}
