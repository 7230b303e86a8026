//! The one list of what can run a module; a new backend is one more line of it.

use ir::Module;
use ir::interp::{Interpreter, Tensor};
use passes::pipeline::{self, Options, PlanOptions, Stage};
use passes::rules::RuleSet;

use crate::suite::Case;

/// Something that runs modules by the contract of [`ir::interp`]: every executor gives the same bits.
pub trait Executor: Sync {
    /// Its name in a report.
    fn name(&self) -> String;

    /// The outputs of each of a case's steps, run one after the other from states of zero; or why the
    /// module could not be run, in one line.
    fn run(&self, case: &Case) -> Result<Vec<Vec<Tensor<'static, f32>>>, String>;
}

/// Every executor. The first is the specification, from which expected outputs are written.
pub const EXECUTORS: &[&dyn Executor] = &[
    &Interpreted {
        stage: Stage::Graph,
        threads: 1,
    },
    &Interpreted {
        stage: Stage::Graph,
        threads: 3,
    },
    &Interpreted {
        stage: Stage::Algebra,
        threads: 1,
    },
    &Interpreted {
        stage: Stage::Plan,
        threads: 1,
    },
];

/// The interpreter in f32, of the module at a stage reached by exact rules.
struct Interpreted {
    stage: Stage,
    threads: usize,
}

impl Executor for Interpreted {
    fn name(&self) -> String {
        format!("interp of {}, {} threads", self.stage.name(), self.threads)
    }

    fn run(&self, case: &Case) -> Result<Vec<Vec<Tensor<'static, f32>>>, String> {
        let stored = |name: &str| case.weights.get(name).map(Vec::as_slice);
        ir::verify(&case.module).map_err(|e| e.to_string())?;
        let module = match self.stage {
            Stage::Graph => case.module.clone(),
            Stage::Algebra => exact_algebra(&case.module),
            Stage::Plan => exact_plan(&case.module),
        };
        let interpreter = Interpreter::<f32>::new(module, stored, self.threads);
        let mut interpreter = interpreter.map_err(|e| e.to_string())?;
        let steps = case.steps.iter().map(|step| {
            let outputs = interpreter.step(&step.bindings, step.inputs.clone());
            let outputs = outputs.map_err(|e| e.to_string())?;
            Ok(outputs.iter().map(|x| owned(x)).collect())
        });
        steps.collect()
    }
}

/// What the shipped exact rules make of a module.
pub fn exact_algebra(module: &Module) -> Module {
    let options = Options::new(RuleSet::shipped().exact());
    pipeline::algebra(module, &options).0
}

/// The plan of what the shipped exact rules make of a module, as a module whose functions are kernels.
pub fn exact_plan(module: &Module) -> Module {
    let (plan, _) = pipeline::plan(&exact_algebra(module), &PlanOptions::default());
    passes::plan::lower(&plan)
}

/// The tensor with bytes of its own where it borrows a weight's.
fn owned(x: &Tensor<f32>) -> Tensor<'static, f32> {
    use ir::interp::Data;
    let data = match &x.data {
        Data::Real(x) => Data::Real(x.clone()),
        Data::Int(x) => Data::Int(x.clone()),
        Data::Bool(x) => Data::Bool(x.clone()),
        Data::Stored(x) => Data::Stored(x.to_vec().into()),
    };
    Tensor {
        dtype: x.dtype,
        shape: x.shape.clone(),
        data,
    }
}
