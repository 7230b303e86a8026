//! Compiled modules, run in this process.

use backends::{Compiled, Fidelity, Options, compile};
use ir::interp::Tensor;
use ir::{Bindings, Module, WeightSource};
use models::{Checkpoint, StepShape, gemma2};
use passes::pipeline::{self, PlanOptions};
use passes::plan::Plan;
use runtime::{Code, CompiledModel, Level, Limits, Machine, Weights};

use crate::executors::exact_algebra;

/// A plan compiled for one level of CPU.
pub struct Built {
    compiled: Compiled,
    weights: Vec<u8>,
    module: Module,
}

/// A compiled plan, loaded and ready.
pub struct CompiledModule {
    /// What runs it.
    pub machine: Machine,
    module: Module,
}

/// The plan of what the shipped exact rules make of a module.
pub fn exact_plan_of(module: &Module) -> Plan {
    pipeline::plan(&exact_algebra(module), &PlanOptions::default()).0
}

/// Gemma 2 of a checkpoint, for steps of this shape, compiled for one level of CPU and loaded, for each of
/// these numbers of threads.
///
/// # Panics
/// If it cannot be: see [`Built::new`].
pub fn compiled_models<const N: usize>(
    checkpoint: &Checkpoint,
    shape: &StepShape,
    plan: impl Fn(&Module) -> Plan,
    level: Level,
    fidelity: Fidelity,
    threads: [usize; N],
) -> [CompiledModel; N] {
    let dtype_of = |name: &str| checkpoint.tensor(name).expect("a weight").dtype;
    let config = checkpoint.config();
    let module = gemma2(config, dtype_of, shape).unwrap_or_else(|error| panic!("{error}"));
    let stored = |name: &str| checkpoint.tensor(name).map(|w| w.bytes);
    let built = Built::new(&plan(&module), level, fidelity, stored);
    let built = built.unwrap_or_else(|error| panic!("{error}"));
    let limits = Limits {
        vocab: config.vocab,
        context: shape.context,
        rows: shape.rows.1,
        slots: shape.slots,
    };
    threads.map(|threads| {
        let loaded = built
            .load(threads)
            .unwrap_or_else(|error| panic!("{error}"));
        let model = CompiledModel::new(loaded.machine, limits, None);
        model.unwrap_or_else(|error| panic!("{error}"))
    })
}

/// The levels that this CPU has; the others are named.
pub fn levels() -> Vec<Level> {
    let has = |level: &Level| match level.lacks() {
        None => true,
        Some(feature) => {
            println!("skipped: {level}, this CPU has no {feature}");
            false
        }
    };
    Level::ALL.into_iter().filter(has).collect()
}

impl Built {
    /// Compiles a plan, with weights from `stored`.
    ///
    /// # Errors
    /// What the backend refuses, in one line.
    pub fn new<'w>(
        plan: &Plan,
        level: Level,
        fidelity: Fidelity,
        stored: impl Fn(&str) -> Option<&'w [u8]>,
    ) -> Result<Built, String> {
        let options = Options {
            levels: vec![level],
            fidelity,
            tune_for_host: false,
        };
        let compiled = compile(plan, &options, &mut |_, _| {}).map_err(|e| e.to_string())?;
        let mut weights = Vec::new();
        for (weight, place) in plan.module.weights.iter().zip(&compiled.program.weights) {
            assert_eq!(weight.source, WeightSource::Stored, "{}", weight.name);
            let bytes =
                stored(&weight.name).ok_or_else(|| format!("{} is missing", weight.name))?;
            weights.resize(place.offset as usize, 0);
            weights.extend_from_slice(bytes);
        }
        Ok(Built {
            compiled,
            weights,
            module: plan.module.clone(),
        })
    }

    /// Loads it, to run on so many threads.
    ///
    /// # Errors
    /// What the runtime refuses, in one line.
    ///
    /// # Panics
    /// If this CPU lacks the level: ask [`Level::lacks`] before.
    pub fn load(&self, threads: usize) -> Result<CompiledModule, String> {
        let image = &self.compiled.images[0];
        assert_eq!(
            image.level.lacks(),
            None,
            "this CPU does not have {}",
            image.level
        );
        // SAFETY: the image is the compiler's own, and this CPU has its level.
        let code = unsafe { Code::from_image(image) }.map_err(|e| e.to_string())?;
        let weights = Weights::copied(&self.weights).map_err(|e| e.to_string())?;
        let machine = Machine::new(self.compiled.program.clone(), code, weights, threads);
        Ok(CompiledModule {
            machine: machine.map_err(|e| e.to_string())?,
            module: self.module.clone(),
        })
    }
}

impl CompiledModule {
    /// Runs a step: the outputs, in the module's order.
    ///
    /// # Errors
    /// What the runtime reports, in one line.
    pub fn step(
        &mut self,
        bindings: &Bindings,
        inputs: &[Tensor<f32>],
    ) -> Result<Vec<Tensor<'static, f32>>, String> {
        for (i, input) in inputs.iter().enumerate() {
            let bytes = input.to_bytes();
            self.machine.input_mut(i)[..bytes.len()].copy_from_slice(&bytes);
        }
        let ranges = self.module.dims.ranges.iter();
        let symbols =
            ranges.map(|(sym, ..)| bindings.get(sym).ok_or(format!("{sym} has no value")));
        let symbols = symbols.collect::<Result<Vec<i64>, String>>()?;
        self.machine.step(&symbols).map_err(|e| e.to_string())?;
        let step = &self.module.step;
        let outputs = step.outputs.iter().enumerate().map(|(i, output)| {
            let ty = &step.locals[output.0].ty;
            let shape = ty
                .shape(bindings)
                .map_err(|s| format!("{s} has no value"))?;
            let bytes = ty.dtype.bytes(&shape).ok_or("an output is too large")?;
            let bytes = self.machine.output(i)[..bytes].to_vec();
            Ok(Tensor::stored(ty.dtype, shape, bytes))
        });
        outputs.collect()
    }
}
