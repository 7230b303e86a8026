//! The stages, in order, and the arrow that leads to each.

use ir::Module;

use crate::algebra::{self, Costs, Limits, Report};
use crate::fusion::{self, Extract, Fused, Machine};
use crate::plan::{Buffers, FunctionPlan, Plan, buffers};
use crate::rules::RuleSet;

/// A stage of compilation, at which the program can be printed and run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Stage {
    /// The source graph.
    Graph,
    /// The graph after the algebra e-graph.
    Algebra,
    /// Its functions as kernels.
    Plan,
}

impl Stage {
    /// Every stage, in order.
    pub const ALL: [Stage; 3] = [Stage::Graph, Stage::Algebra, Stage::Plan];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Stage::Graph => "graph",
            Stage::Algebra => "algebra",
            Stage::Plan => "plan",
        }
    }

    /// The stage of that name, if there is one.
    pub fn from_name(name: &str) -> Option<Stage> {
        Stage::ALL.into_iter().find(|s| s.name() == name)
    }
}

/// What the stages are told.
#[derive(Clone, Debug)]
pub struct Options {
    /// The rules; for the exact fidelity, exact ones alone.
    pub rules: RuleSet,
    /// How far a search may go, in each function.
    pub limits: Limits,
    /// What work costs.
    pub costs: Costs,
}

impl Options {
    /// These rules, with the usual limits and costs.
    pub fn new(rules: RuleSet) -> Options {
        Options {
            rules,
            limits: Limits::default(),
            costs: Costs::default(),
        }
    }
}

/// From the graph to algebra: every function is made cheaper, those of the step and of `prepare` alike;
/// weights, states, calls and the functions' types stay. One report for each function.
///
/// # Panics
/// If the module does not verify.
pub fn algebra(module: &Module, options: &Options) -> (Module, Vec<Report>) {
    let mut module = module.clone();
    let mut reports = Vec::new();
    for function in &mut module.functions {
        let Options {
            rules,
            limits,
            costs,
        } = options;
        let (better, report) = algebra::optimize(function, &module.dims, rules, limits, costs);
        *function = better;
        reports.push(report);
    }
    (module, reports)
}

/// What planning is told.
#[derive(Clone, Debug, PartialEq)]
pub struct PlanOptions {
    /// How the choice between reading and computing in place is made.
    pub extract: Extract,
    /// The machine planned for.
    pub machine: Machine,
    /// The most choices whose cost is found in each function.
    pub tries: usize,
}

impl Default for PlanOptions {
    fn default() -> PlanOptions {
        PlanOptions {
            extract: Extract::default(),
            machine: Machine::default(),
            tries: fusion::TRIES,
        }
    }
}

/// From algebra to the Plan: every function becomes kernels, with buffers; the module stays as it is. One
/// report for each function.
///
/// # Panics
/// If the module does not verify.
pub fn plan(module: &Module, options: &PlanOptions) -> (Plan, Vec<Fused>) {
    let mut plan = Plan {
        module: module.clone(),
        functions: Vec::new(),
    };
    let mut reports = Vec::new();
    for (index, function) in module.functions.iter().enumerate() {
        let PlanOptions {
            extract,
            machine,
            tries,
        } = options;
        let (kernels, report) = fusion::fuse(function, &module.dims, machine, *extract, *tries);
        let buffers: Buffers = buffers::plan(module, index, &kernels);
        plan.functions.push(FunctionPlan { kernels, buffers });
        reports.push(report);
    }
    (plan, reports)
}
