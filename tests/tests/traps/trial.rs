//! The check that every trap is put to.

use ir::{DType, Expr, Module};
use lapidary_tests::feed::feed_prompt;
use lapidary_tests::golden::{Recorded, max_error};
use lapidary_tests::reference::Reference;
use lapidary_tests::rewrite::{Spot, rewritten};
use models::{Checkpoint, Config, Interpreted, StepShape, gemma2};

/// A prompt whose logits are known, and how it is fed.
pub struct Trial<'c> {
    pub checkpoint: &'c Checkpoint,
    pub tokens: Vec<u32>,
    /// The prompt's logits in float64.
    pub truth: Vec<f64>,
    /// The largest error that passes.
    pub bound: f64,
    /// Tokens a step.
    pub chunk: usize,
}

impl<'c> Trial<'c> {
    /// The recorded prompt, in one step.
    pub fn of(recorded: &'c Recorded) -> Trial<'c> {
        Trial {
            checkpoint: &recorded.checkpoint,
            tokens: recorded.golden.tokens.clone(),
            truth: recorded.golden.logits_f64.clone(),
            bound: recorded.bound(),
            chunk: recorded.golden.tokens.len(),
        }
    }

    /// A prompt that nothing is recorded of, in one step. The bound is well above what f32 makes of
    /// scores past 100, and well below what any trap does.
    pub fn against(
        reference: Reference,
        checkpoint: &'c Checkpoint,
        tokens: Vec<u32>,
    ) -> Trial<'c> {
        Trial {
            checkpoint,
            truth: reference.logits,
            bound: 1e-3,
            chunk: tokens.len(),
            tokens,
        }
    }

    pub fn shape(&self) -> StepShape {
        StepShape {
            rows: (1, self.chunk),
            slots: 1,
            context: self.checkpoint.config().context,
            kv_format: DType::F32,
            hidden: false,
        }
    }

    pub fn module(&self, config: &Config) -> Module {
        let dtype_of = |name: &str| self.checkpoint.tensor(name).unwrap().dtype;
        gemma2(config, dtype_of, &self.shape()).unwrap()
    }

    /// Logits of the whole prompt in f32.
    pub fn logits(&self, module: &Module) -> Vec<f32> {
        let mut model = Interpreted::<f32>::of_module(module.clone(), self.checkpoint, 1).unwrap();
        feed_prompt(&mut model, &self.tokens, self.chunk)
    }

    pub fn error(&self, module: &Module) -> f64 {
        max_error(&self.logits(module), &self.truth)
    }

    /// Checks that the right module passes, and that this one does not.
    #[track_caller]
    pub fn assert_noticed(&self, trapped: &Module) {
        let right = self.error(&self.module(self.checkpoint.config()));
        assert!(
            right <= self.bound,
            "without the trap: {right:e} > {:e}",
            self.bound
        );
        let error = self.error(trapped);
        assert!(
            error > self.bound,
            "with the trap: {error:e} <= {:e}",
            self.bound
        );
    }

    /// The same for the module that a trap makes of the right one.
    #[track_caller]
    pub fn assert_trap_noticed(&self, trap: impl for<'b> Fn(&Spot<'b>) -> Option<Expr<'b>>) {
        let module = self.module(self.checkpoint.config());
        self.assert_noticed(&rewritten(&module, trap));
    }
}

/// The value rounded to a narrow float.
pub fn rounded(x: Expr, dtype: DType) -> Expr {
    x.cast(dtype).cast(DType::F32)
}
