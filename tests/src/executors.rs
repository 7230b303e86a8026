//! The one list of what can run a module; a new backend is one more line of it.

use backends::Fidelity;
use ir::Module;
use ir::interp::{Data, Interpreter, Real, Tensor};
use passes::pipeline::{self, Options, Stage};
use passes::plan::Plan;
use passes::rules::RuleSet;
use runtime::Level;

use crate::compiled::{Built, exact_plan_of};
use crate::suite::Case;

/// The outputs of each step.
pub type Outputs = Vec<Vec<Tensor<'static, f32>>>;

/// Something that runs modules by the contract of [`ir::interp`]: every executor gives the same bits.
pub trait Executor: Sync {
    /// Its name in a report.
    fn name(&self) -> String;

    /// Why a case is not run, if it is not.
    fn skips(&self, case: &Case) -> Option<String> {
        let _ = case;
        None
    }

    /// The outputs of each of a case's steps, run one after the other from states of zero; or why the
    /// module could not be run, in one line.
    fn run(&self, case: &Case) -> Result<Outputs, String>;
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
    &Compiled {
        level: Level::V3,
        threads: 1,
    },
    &Compiled {
        level: Level::V4,
        threads: 1,
    },
    &Compiled {
        level: Level::V4,
        threads: 3,
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

    fn run(&self, case: &Case) -> Result<Outputs, String> {
        ir::verify(&case.module).map_err(|e| e.to_string())?;
        let module = match self.stage {
            Stage::Graph => case.module.clone(),
            Stage::Algebra => exact_algebra(&case.module),
            Stage::Plan => exact_plan(&case.module),
        };
        interpret(case, module, self.threads)
    }
}

/// Machine code of the plan that exact rules lead to.
struct Compiled {
    level: Level,
    threads: usize,
}

impl Executor for Compiled {
    fn name(&self) -> String {
        format!("{}, {} threads", self.level, self.threads)
    }

    fn skips(&self, case: &Case) -> Option<String> {
        if let Some(feature) = self.level.lacks() {
            return Some(format!("this CPU has no {feature}"));
        }
        has_no_code(case)
    }

    fn run(&self, case: &Case) -> Result<Outputs, String> {
        let plan = exact_plan_of(&case.module);
        run_code(case, &plan, self.level, Fidelity::Exact, self.threads)
    }
}

/// Why a case has no machine code, if it has none.
pub(crate) fn has_no_code(case: &Case) -> Option<String> {
    let functions = case.module.functions.iter();
    let mut values = functions.flat_map(|f| &f.values);
    let block = values.find(|v| v.ty.dtype.is_block())?;
    Some(format!("there is no code for {} yet", block.ty.dtype))
}

/// The outputs of each of a case's steps, computed by the interpreter over `F` as a module says that stands for
/// the case's own.
///
/// # Errors
/// Why the interpreter does not run it, in one line.
pub fn interpret<F: Real>(
    case: &Case,
    module: Module,
    threads: usize,
) -> Result<Vec<Vec<Tensor<'static, F>>>, String> {
    let stored = |name: &str| case.weights.get(name).map(Vec::as_slice);
    let interpreter = Interpreter::<F>::new(module, stored, threads);
    let mut interpreter = interpreter.map_err(|e| e.to_string())?;
    let steps = case.steps.iter().map(|step| {
        let inputs = step.inputs.iter().map(widened).collect();
        let outputs = interpreter.step(&step.bindings, inputs);
        let outputs = outputs.map_err(|e| e.to_string())?;
        Ok(outputs.iter().map(|x| owned(x)).collect())
    });
    steps.collect()
}

/// The outputs of each of a case's steps, computed by a plan's machine code.
///
/// # Errors
/// What the backend or the runtime refuses, in one line.
pub fn run_code(
    case: &Case,
    plan: &Plan,
    level: Level,
    fidelity: Fidelity,
    threads: usize,
) -> Result<Outputs, String> {
    let stored = |name: &str| case.weights.get(name).map(Vec::as_slice);
    let mut model = Built::new(plan, level, fidelity, stored)?.load(threads)?;
    let steps = case.steps.iter();
    steps
        .map(|step| model.step(&step.bindings, &step.inputs))
        .collect()
}

/// What the shipped exact rules make of a module.
pub fn exact_algebra(module: &Module) -> Module {
    let options = Options::new(RuleSet::shipped().exact());
    pipeline::algebra(module, &options).0
}

/// The plan of what the shipped exact rules make of a module, as a module whose functions are kernels.
pub fn exact_plan(module: &Module) -> Module {
    passes::plan::lower(&exact_plan_of(module)).module
}

/// The same numbers over `F`.
fn widened<F: Real>(x: &Tensor<f32>) -> Tensor<'static, F> {
    let real = |x: &f32| F::from_f64(f64::from(*x));
    Tensor {
        dtype: x.dtype,
        shape: x.shape.clone(),
        data: match &x.data {
            Data::Real(x) => Data::Real(x.iter().map(real).collect()),
            Data::Int(x) => Data::Int(x.clone()),
            Data::Bool(x) => Data::Bool(x.clone()),
            Data::Stored(x) => Data::Stored(x.to_vec().into()),
        },
    }
}

/// The tensor with bytes of its own where it borrows a weight's.
fn owned<F: Real>(x: &Tensor<F>) -> Tensor<'static, F> {
    Tensor {
        dtype: x.dtype,
        shape: x.shape.clone(),
        data: match &x.data {
            Data::Real(x) => Data::Real(x.clone()),
            Data::Int(x) => Data::Int(x.clone()),
            Data::Bool(x) => Data::Bool(x.clone()),
            Data::Stored(x) => Data::Stored(x.to_vec().into()),
        },
    }
}
