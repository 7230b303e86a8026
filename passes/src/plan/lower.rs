//! A plan to a module whose functions are the kernels, which the interpreter runs.

use std::collections::{BTreeMap, HashMap, HashSet};

use ir::{
    Attr, Call, Def, Function, FunctionId, Local, LocalId, Module, Op, Place, Type, Value, ValueId,
    Weight, WeightId, WeightSource,
};

use super::{Kernel, Plan};

/// A plan as a module, and where in the arena its step's values lie.
#[derive(Clone, Debug, PartialEq)]
pub struct Lowered {
    /// The source module with one function for each kernel in place of its functions, and one call of it
    /// for each time that the kernel runs.
    pub module: Module,
    /// Locals of the step that kernels of one call of the source's step hand to one another: offset and
    /// bytes in the arena ([`super::Buffers::slots`]), which is free for the next call when the last of these
    /// kernels has run. All other locals (inputs, results of the source's calls, and values held for a
    /// copy) have no place in it.
    pub slots: BTreeMap<LocalId, (u64, u64)>,
}

/// The module that runs the plan's kernels, one function each, in place of its functions.
///
/// # Panics
/// If the plan does not verify.
pub fn lower(plan: &Plan) -> Lowered {
    let source = &plan.module;
    let mut module = source.clone();
    module.functions.clear();
    module.prepare.clear();
    module.step.calls.clear();
    let mut lowering = Lowering {
        plan,
        names: HashSet::new(),
        kernels: Vec::new(),
        lowered: Lowered {
            module,
            slots: BTreeMap::new(),
        },
    };
    for (function, planned) in source.functions.iter().zip(&plan.functions) {
        let ids = planned.kernels.iter();
        let ids = ids.map(|k| lowering.kernel(function, k)).collect();
        lowering.kernels.push(ids);
    }
    for call in &source.prepare {
        let calls = lowering.call(call, true);
        lowering.lowered.module.prepare.extend(calls);
    }
    for call in &source.step.calls {
        let calls = lowering.call(call, false);
        lowering.lowered.module.step.calls.extend(calls);
    }
    lowering.lowered
}

struct Lowering<'p> {
    plan: &'p Plan,
    /// Names of the functions made.
    names: HashSet<String>,
    /// For each function of the plan, its kernels' functions.
    kernels: Vec<Vec<FunctionId>>,
    lowered: Lowered,
}

/// The first of `name`, `name.1`, `name.2`, … that is not taken.
fn fresh(name: String, taken: impl Fn(&str) -> bool) -> String {
    let numbered = (1..).map(|i| format!("{name}.{i}"));
    let mut names = std::iter::once(name.clone()).chain(numbered);
    let free = names.find(|n| !taken(n));
    free.expect("some number is free")
}

impl Lowering<'_> {
    fn add(&mut self, mut function: Function) -> FunctionId {
        function.name = fresh(function.name, |n| self.names.contains(n));
        self.names.insert(function.name.clone());
        self.lowered.module.functions.push(function);
        FunctionId(self.lowered.module.functions.len() - 1)
    }

    fn kernel(&mut self, source: &Function, kernel: &Kernel) -> FunctionId {
        let order: Vec<ValueId> = kernel.reads.iter().chain(&kernel.values).copied().collect();
        let at: HashMap<ValueId, usize> = order.iter().enumerate().map(|(i, v)| (*v, i)).collect();
        let values = order.iter().enumerate().map(|(i, id)| {
            let mut value = source.values[id.0].clone();
            match &mut value.def {
                _ if i < kernel.reads.len() => value.def = Def::Param,
                Def::Op { operands, .. } => {
                    for operand in operands {
                        *operand = ValueId(at[operand]);
                    }
                }
                Def::Param => panic!("a verified kernel computes no parameter"),
            }
            value
        });
        self.add(Function {
            name: format!("{}.{}", source.name, kernel.name),
            values: values.collect(),
            results: kernel.outputs.iter().map(|o| ValueId(at[o])).collect(),
        })
    }

    /// A function that gives what it takes.
    fn copy(&mut self, from: Place, to: Place, ty: &Type) -> Call {
        let value = |name: &str, def| Value {
            name: name.into(),
            ty: ty.clone(),
            def,
        };
        let same = Def::Op {
            op: Op::Reshape,
            attrs: vec![Attr::Dims(ty.dims.clone())],
            operands: vec![ValueId(0)],
        };
        let function = self.add(Function {
            name: "copy".into(),
            values: vec![value("x", Def::Param), value("y", same)],
            results: vec![ValueId(1)],
        });
        Call {
            results: vec![to],
            function,
            args: vec![from],
        }
    }

    /// A place for a value that only kernels of one call see.
    fn between(&mut self, name: &str, ty: &Type, prepare: bool) -> Place {
        let (name, ty) = (name.to_string(), ty.clone());
        if prepare {
            let weights = &mut self.lowered.module.weights;
            let name = fresh(name, |n| weights.iter().any(|w| w.name == n));
            let source = WeightSource::Prepared;
            weights.push(Weight { name, ty, source });
            return Place::Weight(WeightId(weights.len() - 1));
        }
        let locals = &mut self.lowered.module.step.locals;
        let name = fresh(name, |n| locals.iter().any(|l| l.name == n));
        locals.push(Local { name, ty });
        Place::Local(LocalId(locals.len() - 1))
    }

    fn call(&mut self, call: &Call, prepare: bool) -> Vec<Call> {
        let plan = self.plan;
        let function = &plan.module.functions[call.function.0];
        let planned = &plan.functions[call.function.0];
        let kernels = &planned.kernels;
        let mut places: HashMap<ValueId, Place> = HashMap::new();
        for (i, arg) in call.args.iter().enumerate() {
            places.insert(ValueId(i), *arg);
        }
        let mut calls = Vec::new();
        for (i, kernel) in kernels.iter().enumerate() {
            let args = kernel.reads.iter().map(|r| places[r]).collect();
            let mut results = Vec::new();
            for output in &kernel.outputs {
                let first = function.results.iter().position(|r| r == output);
                let given = first.map(|at| call.results[at]);
                // A state still holds its old value for the kernels that read it, this one among them unless it
                // puts rows in place.
                let from = i + usize::from(planned.buffers.in_place.get(output) == Some(&true));
                let reads_old = |place: Place| {
                    let mut later = kernels[from..].iter().flat_map(|k| &k.reads);
                    let old = later.any(|r| call.args.get(r.0) == Some(&place));
                    old || function
                        .results
                        .iter()
                        .any(|r| call.args.get(r.0) == Some(&place))
                };
                let value = &function.values[output.0];
                let place = match given {
                    Some(Place::State(id)) if reads_old(Place::State(id)) => None,
                    given => given,
                };
                let place = place.unwrap_or_else(|| self.between(&value.name, &value.ty, prepare));
                if let (Place::Local(local), Some(slot)) =
                    (place, planned.buffers.slots.get(output))
                {
                    self.lowered.slots.insert(local, *slot);
                }
                results.push(place);
                places.insert(*output, place);
            }
            calls.push(Call {
                results,
                function: self.kernels[call.function.0][i],
                args,
            });
        }
        // Results that are parameters, that stand twice, or that waited for the old state to be read. All
        // leave their places before any is overwritten.
        let mut moves = Vec::new();
        for (result, to) in function.results.iter().zip(&call.results) {
            let (from, ty) = (places[result], &function.values[result.0].ty);
            if from == *to {
                continue;
            }
            let held = match from {
                Place::State(_) => {
                    let held = self.between("held", ty, prepare);
                    calls.push(self.copy(from, held, ty));
                    held
                }
                Place::Local(_) | Place::Weight(_) => from,
            };
            moves.push((held, *to, ty));
        }
        for (from, to, ty) in moves {
            calls.push(self.copy(from, to, ty));
        }
        calls
    }
}
