//! One instance of a rule: both sides as functions, and operands to run them on.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use ir::interp::{Data, Interpreter, Real, Tensor};
use ir::{
    Attr, Bindings, Call, Dims, Expr, Function, FunctionBuilder, FunctionId, Literal, LocalId,
    Module, Place, Type,
};

use super::compare::{self, Agreement, Mismatch, Runs, U};
use super::generate::{Generator, Size};
use super::random::{self, Mood};
use crate::random::Rng;
use crate::rules::{Built, Rule, RuleClass, Scope, Term, Thing};

/// Most elements of a tensor.
const MAX_ELEMENTS: i64 = 1 << 13;

/// How often an operand is perturbed by random signs: two terms that cancel are perturbed alike in every
/// one of them, and their condition missed, once in 2^16 times.
const PERTURBATIONS: usize = 16;

/// Most elements of an operand that a message shows.
const SHOWN: usize = 64;

/// What came of a draw.
pub(super) enum Attempt {
    /// No instance, or one that tells nothing.
    Rejected,
    /// Both sides agree.
    Held(Agreement),
    /// Both sides differ.
    Failed(Box<Counterexample>),
}

/// Operands on which a rule's sides differ.
#[derive(Clone, Debug, PartialEq)]
pub struct Counterexample {
    /// The rule.
    pub rule: String,
    /// Its class.
    pub class: RuleClass,
    /// The left side.
    pub left: Function,
    /// The right side.
    pub right: Function,
    /// What both are run on.
    pub operands: Vec<Tensor<'static, f32>>,
    /// Where they differ; `None` if the right side could not be run.
    pub mismatch: Option<Mismatch>,
}

/// Draws an instance and runs it.
pub(super) fn attempt(rule: &Rule, seed: u64, size: Size) -> Attempt {
    let mut rng = Rng::new(seed);
    match draw(rule, &mut rng, size) {
        Some(instance) => instance.outcome(),
        None => Attempt::Rejected,
    }
}

fn draw(rule: &Rule, rng: &mut Rng, size: Size) -> Option<Counterexample> {
    let Term::Op { op, .. } = rule.left else {
        return None;
    };
    let mut generator = Generator {
        rng,
        size,
        scope: vec![None; rule.vars.len()],
        bounds: BTreeMap::new(),
    };
    let result = generator.result(op);
    generator.term(&rule.left, &result)?;
    let (mut scope, bounds) = (generator.scope, generator.bounds);
    let dims = Dims::default();
    let left = rule.left.build(&scope, &dims)?;
    if left.ty(&scope)? != &result {
        return None;
    }
    let right = rule.replacement(&mut scope, &result, &dims)?;
    let any = result.elements().as_const().is_some_and(|n| n > 0);
    if !any || !is_small(&left) || !is_small(&right) {
        return None;
    }
    let mood = match rule.class {
        RuleClass::Exact => rng.pick(&[Mood::Tame, Mood::Plain, Mood::Wild]),
        RuleClass::Reassoc | RuleClass::Rounds => Mood::Tame,
    };
    let mut operands = Vec::new();
    for (i, thing) in scope.iter().enumerate() {
        let Some(Thing::Value(ty)) = thing else {
            continue;
        };
        let bound = bounds.get(&i).copied();
        let shape = ty.shape(&Bindings::default()).ok()?;
        if !has_few_elements(ty) || bound == Some(0) && shape.iter().product::<usize>() > 0 {
            return None;
        }
        operands.push(random::tensor(rng, ty.dtype, &shape, mood, bound));
    }
    Some(Counterexample {
        rule: rule.name.clone(),
        class: rule.class,
        left: function("left", rule, &scope, &left),
        right: function("right", rule, &scope, &right),
        operands,
        mismatch: None,
    })
}

/// Whether a tensor of this type is no larger than one may be.
pub(super) fn has_few_elements(ty: &Type) -> bool {
    ty.elements().as_const().is_some_and(|n| n <= MAX_ELEMENTS)
}

/// Whether no op of a side makes a large tensor.
fn is_small(side: &Built) -> bool {
    match side {
        Built::Var(_) => true,
        Built::Op { operands, ty, .. } => has_few_elements(ty) && operands.iter().all(is_small),
    }
}

/// A side as a function of the rule's values, in their order.
fn function(name: &str, rule: &Rule, scope: &Scope, side: &Built) -> Function {
    let dims = Dims::default();
    let builder = FunctionBuilder::new(name, &dims);
    let mut params = BTreeMap::new();
    for (i, thing) in scope.iter().enumerate() {
        if let Some(Thing::Value(ty)) = thing {
            let name = rule.vars[i].name.trim_start_matches('?');
            params.insert(i, builder.param(name, ty.clone()));
        }
    }
    let result = expr(&builder, &params, side);
    let function = builder.finish(&[result]);
    function.expect("both sides' types were inferred before")
}

fn expr<'b>(
    builder: &'b FunctionBuilder<'b>,
    params: &BTreeMap<usize, Expr<'b>>,
    side: &Built,
) -> Expr<'b> {
    match side {
        Built::Var(i) => params[i],
        Built::Op {
            op,
            operands,
            attrs,
            ..
        } => {
            let operands: Vec<Expr> = operands.iter().map(|o| expr(builder, params, o)).collect();
            builder.op(*op, &operands, attrs.clone())
        }
    }
}

/// What a function gives for these operands, or `None` if it could not be run.
fn run<F: Real>(
    function: &Function,
    operands: Vec<Tensor<'static, F>>,
) -> Option<Tensor<'static, F>> {
    let mut module = Module {
        name: "check".into(),
        functions: vec![function.clone()],
        ..Module::default()
    };
    for param in function.params() {
        module.step.add_local(&param.name, param.ty.clone());
    }
    module.step.inputs = module.step.locals.len();
    let result = function.result_types().next()?.clone();
    let output = module.step.add_local("result.of.function", result);
    module.step.calls.push(Call {
        results: vec![Place::Local(output)],
        function: FunctionId(0),
        args: (0..module.step.inputs)
            .map(|i| Place::Local(LocalId(i)))
            .collect(),
    });
    module.step.outputs.push(output);
    let mut interpreter = Interpreter::<F>::new(module, |_| None, 1).ok()?;
    let outputs = interpreter.step(&Bindings::default(), operands).ok()?;
    outputs.into_iter().next().map(Arc::unwrap_or_clone)
}

/// The same elements in f64, each changed by a factor.
fn widened(x: &Tensor<'static, f32>, mut factor: impl FnMut() -> f64) -> Tensor<'static, f64> {
    let data = match &x.data {
        Data::Real(x) => Data::Real(x.iter().map(|x| f64::from(*x) * factor()).collect()),
        Data::Int(x) => Data::Int(x.clone()),
        Data::Bool(x) => Data::Bool(x.clone()),
        Data::Stored(x) => Data::Stored(x.clone()),
    };
    Tensor {
        dtype: x.dtype,
        shape: x.shape.clone(),
        data,
    }
}

impl Counterexample {
    /// What running both sides says.
    fn outcome(mut self) -> Attempt {
        let Some(left) = run(&self.left, self.operands.clone()) else {
            return Attempt::Rejected;
        };
        let Some(right) = run(&self.right, self.operands.clone()) else {
            return Attempt::Failed(Box::new(self));
        };
        let compared = match self.class {
            RuleClass::Exact => compare::bits(&left, &right),
            RuleClass::Reassoc | RuleClass::Rounds => match self.truth() {
                Some((truth, other, moved)) => compare::bounded(&Runs {
                    left,
                    right,
                    truth,
                    other,
                    moved,
                }),
                None => return Attempt::Rejected,
            },
        };
        match compared {
            Ok(agreement) => Attempt::Held(agreement),
            Err(mismatch) => {
                self.mismatch = Some(mismatch);
                Attempt::Failed(Box::new(self))
            }
        }
    }

    /// Both sides in f64, and how far the left one moves with its operands.
    fn truth(&self) -> Option<(Vec<f64>, Vec<f64>, Vec<f64>)> {
        let exact = |x: &Tensor<'static, f32>| widened(x, || 1.0);
        let plain: Vec<_> = self.operands.iter().map(exact).collect();
        let truth = compare::elements(&run(&self.left, plain.clone())?);
        let other = compare::elements(&run(&self.right, plain.clone())?);
        let mut moved = vec![0.0; truth.len()];
        let mut rng = Rng::new(0);
        for (i, operand) in self.operands.iter().enumerate() {
            let mut most = vec![0f64; truth.len()];
            for _ in 0..PERTURBATIONS {
                let mut operands = plain.clone();
                operands[i] = widened(operand, || if rng.once_in(2) { 1.0 + U } else { 1.0 - U });
                let run = compare::elements(&run(&self.left, operands)?);
                for ((most, x), t) in most.iter_mut().zip(run).zip(&truth) {
                    *most = most.max((x - t).abs());
                }
            }
            for (moved, most) in moved.iter_mut().zip(most) {
                *moved += most;
            }
        }
        Some((truth, other, moved))
    }

    /// The same with as many elements as possible made 0 or 1.
    pub(super) fn plain(mut self) -> Counterexample {
        for i in 0..self.operands.len() {
            for j in 0..self.operands[i].shape.iter().product() {
                for simple in [0u8, 1] {
                    let mut simpler = self.clone();
                    let changed = match &mut simpler.operands[i].data {
                        Data::Real(x) => f64::from(std::mem::replace(&mut x[j], simple.into())),
                        Data::Int(x) => std::mem::replace(&mut x[j], simple.into()).into(),
                        Data::Bool(_) | Data::Stored(_) => break,
                    };
                    if changed.to_bits() == f64::from(simple).to_bits() {
                        break;
                    }
                    if let Attempt::Failed(simpler) = simpler.outcome() {
                        self = *simpler;
                        break;
                    }
                }
            }
        }
        self
    }
}

impl fmt::Display for Counterexample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "rule {} is not {}:", self.rule, self.class)?;
        let module = Module {
            name: "counterexample".into(),
            functions: vec![self.left.clone(), self.right.clone()],
            ..Module::default()
        };
        let text = ir::text::print(&module);
        let functions = text.split("\n\n").filter(|part| part.starts_with("fn "));
        for part in functions {
            writeln!(f, "{part}")?;
        }
        for (param, tensor) in self.left.params().iter().zip(&self.operands) {
            let elements = compare::elements(tensor);
            let shown = elements.iter().take(SHOWN).map(|x| Literal(*x)).collect();
            write!(f, "%{} = {}", param.name, Attr::Literals(shown))?;
            match elements.len() {
                n if n > SHOWN => writeln!(f, " and {} more", n - SHOWN)?,
                _ => writeln!(f)?,
            }
        }
        match &self.mismatch {
            Some(mismatch) => mismatch.fmt(f),
            None => f.write_str("the left side runs, the right side does not"),
        }
    }
}
