//! A case that fails, made small: fewer steps, results and ops, shorter axes, plainer numbers.
//!
//! For cases such as [`crate::random`] makes: one function, called once.

use std::collections::{BTreeMap, BTreeSet};

use ir::interp::Tensor;
use ir::{
    Attr, Bindings, Call, Def, Dim, FunctionBuilder, FunctionId, Module, Op, Place, Site, StateId,
    Type, ValueId, WeightId, infer, text,
};

use crate::executors::interpret;
use crate::suite::{Case, elements};

/// The smallest case that was found to fail as well.
///
/// # Panics
/// If the case's module is not one function, called once.
pub fn shrunk(case: &Case, fails: &mut dyn FnMut(&Case) -> bool) -> Case {
    let mut smallest = Draft::of(case);
    loop {
        let fails = |draft: &Draft| draft.case().is_some_and(|case| fails(&case));
        let Some(smaller) = smallest.smaller().find(fails) else {
            break;
        };
        smallest = smaller;
    }
    smallest.case().expect("a draft that failed is a case")
}

/// A case's parts; elements as they are written.
#[derive(Clone)]
struct Draft {
    module: Module,
    /// By the weights' places.
    weights: Vec<Vec<String>>,
    steps: Vec<DraftStep>,
}

#[derive(Clone)]
struct DraftStep {
    bindings: Bindings,
    inputs: Vec<Vec<String>>,
}

impl Draft {
    fn of(case: &Case) -> Draft {
        let weight = |weight: &ir::Weight| {
            let shape = weight.ty.shape(&Bindings::default());
            let shape = shape.expect("a weight's dims are constant");
            let bytes = case.weights[&weight.name].clone();
            elements(&Tensor::stored(weight.ty.dtype, shape, bytes))
        };
        let step = |step: &crate::suite::CaseStep| DraftStep {
            bindings: step.bindings.clone(),
            inputs: step.inputs.iter().map(elements).collect(),
        };
        Draft {
            module: case.module.clone(),
            weights: case.module.weights.iter().map(weight).collect(),
            steps: case.steps.iter().map(step).collect(),
        }
    }

    /// The case, if it is one that the interpreter runs.
    fn case(&self) -> Option<Case> {
        let mut source = String::new();
        for (weight, words) in self.module.weights.iter().zip(&self.weights) {
            source += &format!("// weight {} = {}\n", weight.name, words.join(" "));
        }
        for step in &self.steps {
            let syms = self.module.dims.ranges.iter();
            let values = syms.map(|(sym, ..)| Some(format!("{sym}={}", step.bindings.get(sym)?)));
            let values = values.collect::<Option<Vec<String>>>()?;
            source += &format!("// step {}\n", values.join(", "));
            for (input, words) in self.module.step.input_locals().iter().zip(&step.inputs) {
                source += &format!("// in {} = {}\n", input.name, words.join(" "));
            }
        }
        source += &text::print(&self.module);
        let mut case = Case::read("shrunk.lir".into(), source).ok()?;
        let made = interpret::<f32>(&case, case.module.clone(), 1).ok()?;
        let blessed = case.blessed(&made);
        case = Case::read("shrunk.lir".into(), blessed).ok()?;
        Some(case)
    }

    /// Drafts that are one change smaller, the largest changes first.
    fn smaller(&self) -> impl Iterator<Item = Draft> {
        let steps = (0..self.steps.len()).filter(|_| self.steps.len() > 1);
        let steps = steps.map(|step| {
            let mut draft = self.clone();
            draft.steps = vec![self.steps[step].clone()];
            Some(draft)
        });
        let function = &self.module.functions[0];
        let results = function.results.len();
        let alone = (0..results).filter(move |_| results > 1);
        let alone = alone.map(|kept| self.cut(&[kept], None));
        let all: Vec<usize> = (0..results).collect();
        let fewer = (0..results).filter(move |_| results > 1).map({
            let all = all.clone();
            move |gone| {
                let kept: Vec<usize> = all.iter().copied().filter(|r| *r != gone).collect();
                self.cut(&kept, None)
            }
        });
        let made = (function.params().len()..function.values.len()).rev();
        let cuts = made.map(move |value| self.cut(&all, Some(ValueId(value))));
        let each = steps.chain(alone).chain(fewer).chain(cuts);
        each.chain(self.shorter()).chain(self.plainer()).flatten()
    }

    /// With these results alone, and a value given instead of computed.
    fn cut(&self, results: &[usize], given: Option<ValueId>) -> Option<Draft> {
        let (function, call) = (&self.module.functions[0], &self.module.step.calls[0]);
        let values = match given {
            Some(value) => self.values_of(value)?,
            None => vec![],
        };
        let mut live: BTreeSet<ValueId> = results.iter().map(|r| function.results[*r]).collect();
        for id in (0..function.values.len()).rev().map(ValueId) {
            let Def::Op { operands, .. } = &function.values[id.0].def else {
                continue;
            };
            if live.contains(&id) && given != Some(id) {
                live.extend(operands);
            }
        }
        if given.is_some_and(|value| !live.contains(&value)) {
            return None;
        }
        let mut draft = Draft {
            module: Module {
                name: self.module.name.clone(),
                dims: self.module.dims.clone(),
                ..Module::default()
            },
            weights: vec![],
            steps: self
                .steps
                .iter()
                .map(|step| DraftStep {
                    bindings: step.bindings.clone(),
                    inputs: vec![],
                })
                .collect(),
        };
        let dims = self.module.dims.clone();
        let builder = FunctionBuilder::new("f", &dims);
        let mut exprs = BTreeMap::new();
        let mut args = vec![];
        for id in live.iter().copied() {
            let value = &function.values[id.0];
            let parameter = value.def == Def::Param;
            if !parameter && given != Some(id) {
                continue;
            }
            let name = if parameter {
                value.name.clone()
            } else {
                format!("v{}", id.0)
            };
            exprs.insert(id, builder.param(&name, value.ty.clone()));
            args.push(match call.args.get(id.0).filter(|_| parameter) {
                Some(Place::Weight(weight)) => {
                    draft
                        .module
                        .weights
                        .push(self.module.weights[weight.0].clone());
                    draft.weights.push(self.weights[weight.0].clone());
                    Place::Weight(WeightId(draft.weights.len() - 1))
                }
                Some(Place::State(state)) => {
                    draft
                        .module
                        .states
                        .push(self.module.states[state.0].clone());
                    Place::State(StateId(draft.module.states.len() - 1))
                }
                place => {
                    for (i, step) in draft.steps.iter_mut().enumerate() {
                        step.inputs.push(match place {
                            Some(Place::Local(local)) => self.steps[i].inputs[local.0].clone(),
                            _ => values[i].clone(),
                        });
                    }
                    let local = draft.module.step.add_local(name, value.ty.clone());
                    draft.module.step.inputs += 1;
                    Place::Local(local)
                }
            });
        }
        for id in live {
            let value = &function.values[id.0];
            let Def::Op {
                op,
                attrs,
                operands,
            } = &value.def
            else {
                continue;
            };
            if given == Some(id) {
                continue;
            }
            let x: Vec<_> = operands.iter().map(|o| exprs[o]).collect();
            exprs.insert(id, builder.op(*op, &x, attrs.clone()));
        }
        let mut places = vec![];
        for result in results {
            let value = function.results[*result];
            let state = matches!(call.results[*result], Place::State(_));
            let kept = (0..draft.module.states.len()).map(|i| Place::State(StateId(i)));
            let place = match kept.into_iter().find(|_| state) {
                Some(place) => place,
                None => {
                    let name = format!("y{result}");
                    let local = draft
                        .module
                        .step
                        .add_local(name, function.values[value.0].ty.clone());
                    draft.module.step.outputs.push(local);
                    Place::Local(local)
                }
            };
            places.push(place);
        }
        let results: Vec<_> = results
            .iter()
            .map(|r| exprs[&function.results[*r]])
            .collect();
        draft.module.functions = vec![builder.finish(&results).ok()?];
        draft.module.step.calls = vec![Call {
            results: places,
            function: FunctionId(0),
            args,
        }];
        Some(draft)
    }

    /// What a value is in each step.
    fn values_of(&self, value: ValueId) -> Option<Vec<Vec<String>>> {
        let case = self.case()?;
        let mut module = self.module.clone();
        let ty = module.functions[0].values[value.0].ty.clone();
        let local = module.step.add_local("wanted", ty);
        module.step.outputs.push(local);
        module.functions[0].results.push(value);
        module.step.calls[0].results.push(Place::Local(local));
        let made = interpret::<f32>(&case, module, 1).ok()?;
        made.iter()
            .map(|outputs| Some(elements(outputs.last()?)))
            .collect()
    }

    /// With an axis that is shorter wherever its length occurs, or a smaller value of a symbol.
    fn shorter(&self) -> impl Iterator<Item = Option<Draft>> {
        let types = self.module.functions[0].values.iter().map(|v| &v.ty);
        let lengths: BTreeSet<i64> = types
            .flat_map(|ty| &ty.dims)
            .filter_map(Dim::as_const)
            .collect();
        let each = lengths.into_iter().filter(|n| *n > 1).flat_map(|n| {
            let shorter = BTreeSet::from([1, 2, n / 2, n - 1]);
            shorter
                .into_iter()
                .filter(move |m| *m < n)
                .map(move |m| (n, m))
        });
        let lengths = each.map(|(from, to)| self.with_length(from, to));
        let steps = (0..self.steps.len()).flat_map(move |step| {
            let ranges = self.module.dims.ranges.iter();
            ranges.flat_map(move |(sym, low, _)| {
                let now = self.steps[step].bindings.get(sym).unwrap_or(*low);
                let less = BTreeSet::from([*low, now / 2, now - 1]);
                let less = less.into_iter().filter(move |n| (*low..now).contains(n));
                less.map(move |n| {
                    let mut draft = self.clone();
                    draft.steps[step].bindings.bind(sym, n);
                    draft.refill()
                })
            })
        });
        lengths.chain(steps)
    }

    fn with_length(&self, from: i64, to: i64) -> Option<Draft> {
        let mut draft = self.clone();
        let renew = |dims: &mut Vec<Dim>| {
            for dim in dims {
                if dim.as_const() == Some(from) {
                    *dim = Dim::from(to);
                }
            }
        };
        let Module {
            weights,
            states,
            step,
            functions,
            dims,
            ..
        } = &mut draft.module;
        let weights = weights.iter_mut().map(|weight| &mut weight.ty);
        let states = states.iter_mut().map(|state| &mut state.ty);
        let locals = step.locals.iter_mut().map(|local| &mut local.ty);
        for ty in weights.chain(states).chain(locals) {
            renew(&mut ty.dims);
        }
        let function = &mut functions[0];
        for i in 0..function.values.len() {
            let (before, rest) = function.values.split_at_mut(i);
            let value = &mut rest[0];
            let Def::Op {
                op,
                attrs,
                operands,
            } = &mut value.def
            else {
                renew(&mut value.ty.dims);
                continue;
            };
            for attr in attrs.iter_mut() {
                match attr {
                    Attr::Dims(dims) => renew(dims),
                    Attr::Dim(dim)
                        if matches!(op, Op::Iota | Op::Slice) && dim.as_const() == Some(from) =>
                    {
                        *dim = Dim::from(to);
                    }
                    _ => {}
                }
            }
            let operands: Vec<&Type> = operands.iter().map(|o| &before[o.0].ty).collect();
            let site = Site {
                def: op.def(),
                attrs,
                operands: &operands,
                dims,
            };
            value.ty = infer(&site).ok()?;
        }
        for (result, place) in function.results.iter().zip(&step.calls[0].results) {
            if let Place::Local(local) = place {
                step.locals[local.0].ty = function.values[result.0].ty.clone();
            }
        }
        draft.refill()
    }

    /// As many elements as the types have now, of those that there were.
    fn refill(mut self) -> Option<Draft> {
        let fit = |words: &mut Vec<String>, ty: &Type, bindings: &Bindings| -> Option<()> {
            if !ty.dtype.is_block() {
                let count = ty.shape(bindings).ok()?.iter().product();
                *words = words.iter().cycle().take(count).cloned().collect();
            }
            Some(())
        };
        for (words, weight) in self.weights.iter_mut().zip(&self.module.weights) {
            fit(words, &weight.ty, &Bindings::default())?;
        }
        for step in &mut self.steps {
            for (words, input) in step.inputs.iter_mut().zip(self.module.step.input_locals()) {
                fit(words, &input.ty, &step.bindings)?;
            }
        }
        Some(self)
    }

    /// With plainer numbers in one tensor.
    fn plainer(&self) -> impl Iterator<Item = Option<Draft>> {
        let weights = (0..self.weights.len()).map(|i| (None, i));
        let inputs = (0..self.steps.len())
            .flat_map(|step| (0..self.steps[step].inputs.len()).map(move |i| (Some(step), i)));
        weights.chain(inputs).flat_map(move |(step, i)| {
            [Plain::Zero, Plain::One, Plain::Whole]
                .into_iter()
                .map(move |plain| {
                    let mut draft = self.clone();
                    let words = match step {
                        None => &mut draft.weights[i],
                        Some(step) => &mut draft.steps[step].inputs[i],
                    };
                    let before = words.clone();
                    plain.make(words);
                    (*words != before).then_some(draft)
                })
        })
    }
}

/// Plainer numbers.
#[derive(Clone, Copy, PartialEq)]
enum Plain {
    Zero,
    One,
    Whole,
}

impl Plain {
    /// Makes numbers plainer that are not as plain as this, all of one kind at once.
    fn make(self, words: &mut [String]) {
        if self != Plain::Whole && words.iter().all(|word| word == "0") {
            return;
        }
        for word in words {
            match self {
                Plain::Zero => *word = "0".into(),
                Plain::One => *word = "1".into(),
                Plain::Whole => {
                    if let Ok(x) = word.parse::<f32>() {
                        let whole = x.round();
                        if x.is_finite() && x != whole && whole.abs() < 100.0 {
                            *word = format!("{}", whole as i32);
                        }
                    }
                }
            }
        }
    }
}
