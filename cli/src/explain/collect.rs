//! A planned module to what `explain` says of it.

use std::collections::BTreeMap;

use ir::{Bindings, Call, Class, Def, Dims, FunctionId, Module, Op, Type, ValueId};
use passes::explain::{self, Chain, Provenance, provenance};
use passes::fusion::{self, Alternative};
use passes::pipeline::Options;
use passes::plan::{self, Plan};
use passes::rules::RuleClass;

use crate::measure::{Seconds, Times};

use super::report::{
    Choice, Figures, First, Function, Kernel, Machine, OpCount, Operand, Origin, Report, Source,
    Step, Symbol, Use, Value,
};

/// What a report is made from.
pub struct Subject<'a> {
    /// The source graph.
    pub source: &'a Module,
    /// Its plan.
    pub plan: &'a Plan,
    /// The rules that led from the one to the other, and how far the search went.
    pub options: &'a Options,
    /// The machine planned for, with the symbols at the values that the plan was made for.
    pub machine: &'a fusion::Machine,
    /// Values of all symbols, for the figures.
    pub bindings: Bindings,
    /// The fidelity's name.
    pub fidelity: &'static str,
    /// What was measured, if it was asked for.
    pub times: Option<Times>,
}

/// Reports on a plan.
pub fn report(subject: &Subject) -> Report {
    let module = &subject.plan.module;
    let here = fusion::Machine {
        bindings: subject.bindings.clone(),
        ..subject.machine.clone()
    };
    let functions = (0..module.functions.len()).map(|i| function(subject, &here, FunctionId(i)));
    let functions: Vec<Function> = functions.collect();
    let mut step = Figures::default();
    for function in &functions {
        step.add(&function.step, 1);
    }
    if let Some(times) = &subject.times {
        step.measured(times.step.median);
    }
    let machine = subject.machine;
    Report {
        module: module.name.clone(),
        fidelity: subject.fidelity,
        machine: Machine {
            bytes_per_s: machine.bandwidth,
            flops_per_s: machine.rate,
            launch_s: machine.launch,
            workers: machine.workers,
        },
        symbols: symbols(&module.dims, &subject.bindings),
        step,
        source: sources(subject),
        functions,
    }
}

/// The symbols of a module under these values.
fn symbols(dims: &Dims, bindings: &Bindings) -> Vec<Symbol> {
    let each = dims.ranges.iter().map(|(sym, low, high)| Symbol {
        name: sym.to_string(),
        value: bindings.get(sym).unwrap_or(*high),
        low: *low,
        high: *high,
    });
    each.collect()
}

/// Bytes of a value of this type.
fn size(ty: &Type, bindings: &Bindings) -> i64 {
    // Every symbol of a verified type is declared, and so is bound.
    ty.bytes().eval(bindings).unwrap_or(0)
}

/// How often calls name a function.
pub fn times(calls: &[Call], function: FunctionId) -> usize {
    calls.iter().filter(|c| c.function == function).count()
}

/// Seconds of a launch of a function's kernel, by its place, if they were measured and a step launches it.
pub fn launch(times: Option<&Times>, function: FunctionId, kernel: usize) -> Option<Seconds> {
    let kernels = times?.kernels.get(function.0)?;
    Some(kernels.get(kernel)?.as_ref()?.seconds)
}

/// The values of a function by name.
fn names(function: &ir::Function, values: &[ValueId]) -> Vec<String> {
    let each = values.iter().map(|v| function.values[v.0].name.clone());
    each.collect()
}

fn sources(subject: &Subject) -> Vec<Source> {
    let functions = subject.source.functions.iter().map(|function| Source {
        name: function.name.clone(),
        values: values(function, &subject.bindings),
        results: names(function, &function.results),
    });
    functions.collect()
}

fn values(function: &ir::Function, bindings: &Bindings) -> Vec<Value> {
    let each = function.values.iter().enumerate().map(|(i, value)| {
        let (op, operands) = match &value.def {
            Def::Param => (None, vec![]),
            Def::Op { op, operands, .. } => (Some(op.def().name), names(function, operands)),
        };
        Value {
            name: value.name.clone(),
            ty: value.ty.to_string(),
            bytes: size(&value.ty, bindings),
            op,
            operands,
            text: ir::text::definition(function, ValueId(i)).unwrap_or_default(),
            origin: None,
        }
    });
    each.collect()
}

fn function(subject: &Subject, here: &fusion::Machine, id: FunctionId) -> Function {
    let Subject { plan, options, .. } = subject;
    let (module, source) = (&plan.module, &subject.source.functions[id.0]);
    let function = &module.functions[id.0];
    let mut told = values(function, &subject.bindings);
    let found = provenance(
        source,
        function,
        &module.dims,
        &options.rules,
        &options.limits,
    );
    let origins = Origins {
        source,
        function,
        options,
        found: &found,
    };
    for (i, value) in told.iter_mut().enumerate() {
        value.origin = Some(origins.of(i));
    }
    let kernels = kernels(subject, here, id);
    let mut call = Figures::default();
    for kernel in &kernels {
        call.add(&Figures::of(kernel), 1);
    }
    let calls = times(&module.step.calls, id);
    let mut step = Figures::default();
    step.add(&call, calls);
    Function {
        name: function.name.clone(),
        calls,
        prepare_calls: times(&module.prepare, id),
        call,
        step,
        values: told,
        results: names(function, &function.results),
        kernels,
    }
}

/// What is known of a function's values' origins.
struct Origins<'a> {
    source: &'a ir::Function,
    function: &'a ir::Function,
    options: &'a Options,
    found: &'a Provenance,
}

impl Origins<'_> {
    fn of(&self, value: usize) -> Origin {
        use explain::Origin as Found;
        match &self.found.origins[value] {
            Found::Param => Origin::Parameter,
            Found::Source(value) => Origin::Source {
                value: self.source.values[value.0].name.clone(),
            },
            Found::Rules(chain) => Origin::Rules {
                first: self.first(chain.from),
                text: self.found.text(chain.first),
                steps: self.steps(chain),
                error: chain.checked.as_ref().err().map(|e| e.to_string()),
            },
            Found::Unknown => Origin::Unknown,
        }
    }

    fn first(&self, from: explain::First) -> First {
        match from {
            explain::First::Source(value) => First::Source {
                value: self.source.values[value.0].name.clone(),
            },
            explain::First::Part { of, step } => {
                let rule = match &self.found.origins[of.0] {
                    explain::Origin::Rules(chain) => chain.steps.get(step),
                    _ => None,
                };
                First::Part {
                    of: self.function.values[of.0].name.clone(),
                    rule: rule.map(|s| s.rule.clone()).unwrap_or_default(),
                }
            }
        }
    }

    fn steps(&self, chain: &Chain) -> Vec<Step> {
        let rules = &self.options.rules;
        let texts = self.found.steps(chain, rules);
        let each = chain.steps.iter().zip(texts).map(|(step, text)| {
            let rule = rules.rules().iter().find(|r| r.name == step.rule);
            // Constant folding is the one rule that is no member of the set; it is exact.
            let class = rule.map_or(RuleClass::Exact, |r| r.class);
            Step {
                rule: step.rule.clone(),
                class: class.name(),
                forward: step.forward,
                position: step.position.clone(),
                before: text.before,
                after: text.after,
                whole: text.whole,
            }
        });
        each.collect()
    }
}

fn kernels(subject: &Subject, here: &fusion::Machine, id: FunctionId) -> Vec<Kernel> {
    let dims = &subject.plan.module.dims;
    let function = &subject.plan.module.functions[id.0];
    let kernels = &subject.plan.functions[id.0].kernels;
    let times = subject.times.as_ref();
    let costs = fusion::costs(function, dims, here, kernels);
    let planned = fusion::alternatives(function, dims, subject.machine, kernels);
    let bound = fusion::alternatives(function, dims, here, kernels);
    let choices: Vec<_> = planned.into_iter().zip(bound).collect();
    let each = kernels
        .iter()
        .zip(costs)
        .enumerate()
        .map(|(i, (kernel, cost))| {
            let measured = launch(times, id, i);
            let operand = |v: &ValueId| {
                let value = &function.values[v.0];
                let from = kernels.iter().find(|k| k.outputs.contains(v));
                Operand {
                    name: value.name.clone(),
                    ty: value.ty.to_string(),
                    bytes: size(&value.ty, &subject.bindings),
                    kernel: from.map(|k| k.name.clone()),
                }
            };
            let own = choices.iter();
            let own = own.filter(|(planned, _)| kernel.values.contains(&planned.consumer));
            Kernel {
                name: kernel.name.clone(),
                template: kernel.template.map(plan::Template::name),
                space: kernel.space.iter().map(|d| d.to_string()).collect(),
                ops: ops(function, &kernel.values),
                values: names(function, &kernel.values),
                reads: kernel.reads.iter().map(operand).collect(),
                writes: kernel.outputs.iter().map(operand).collect(),
                uses: own.map(|(p, h)| used(function, p, h)).collect(),
                bytes: cost.bytes,
                flops: cost.flops,
                memory_s: cost.memory,
                arithmetic_s: cost.arithmetic,
                launch_s: cost.launch,
                predicted_s: cost.seconds(),
                bound: cost.bound().name(),
                measured_s: measured.map(|m| m.median),
                spread_s: measured.map(|m| m.spread),
                ratio: measured.map(|m| m.median / cost.seconds()),
            }
        });
    each.collect()
}

fn used(function: &ir::Function, planned: &Alternative, here: &Alternative) -> Use {
    let choice = |a: &Alternative| Choice {
        chosen_s: a.cost,
        other_s: (a.other != a.cost).then_some(a.other),
    };
    Use {
        consumer: function.values[planned.consumer.0].name.clone(),
        operand: planned.operand,
        value: function.values[planned.value.0].name.clone(),
        choice: if planned.inlined { "inl" } else { "mat" },
        planned: choice(planned),
        here: choice(here),
    }
}

/// How many values each op makes: sums of products first, then other sums, what is gathered and stored, then
/// the rest, and of one kind the most first.
fn ops(function: &ir::Function, values: &[ValueId]) -> Vec<OpCount> {
    let mut counts: BTreeMap<Op, usize> = BTreeMap::new();
    for value in values {
        if let Def::Op { op, .. } = &function.values[value.0].def {
            *counts.entry(*op).or_default() += 1;
        }
    }
    let weight = |op: Op| match op.def().class {
        Class::Dot => 0,
        Class::Reduce => 1,
        Class::State | Class::Gather => 2,
        Class::Pointwise => 3,
        Class::View => 4,
    };
    let mut counts: Vec<(Op, usize)> = counts.into_iter().collect();
    counts.sort_by_key(|(op, count)| (weight(*op), std::cmp::Reverse(*count)));
    let named = counts.into_iter().map(|(op, count)| OpCount {
        op: op.def().name,
        count,
    });
    named.collect()
}
