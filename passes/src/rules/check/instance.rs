//! One instance of a rule: both sides as functions, and operands to run them on.

use std::collections::BTreeMap;
use std::sync::Arc;

use ir::interp::{Data, Tensor};
use ir::{Bindings, Dim, Dims, Expr, Function, FunctionBuilder, Type};

use super::choices::Choices;
use super::generate::{Generator, has_few_elements, most_elements};
use super::lift::lifted;
use super::run::{Counterexample, Operands};
use super::signature::signature;
use super::values::{Mood, Values};
use crate::random::Rng;
use crate::rules::{Built, Rule, Scope, Term, Thing};

/// Both sides of a rule at one place.
pub(super) struct Instance {
    left: Built,
    right: Built,
    /// What the rule's variables stand for.
    scope: Scope,
    dims: Dims,
    /// Variables that are indices, and below what.
    bounds: BTreeMap<usize, Dim>,
    /// What is equal in it by chance.
    pub signature: u64,
}

impl Instance {
    /// One that a rule applies to, or `None`.
    pub fn draw(rule: &Rule, choices: &mut Choices) -> Option<Instance> {
        let Term::Op { op, .. } = rule.left else {
            return None;
        };
        let symbolic = choices.once_in(4);
        let mut generator = Generator::new(rule, choices);
        let result = generator.result(op);
        generator.term(&rule.left, &result)?;
        let (scope, bounds) = (generator.scope, generator.bounds);
        let bounds = bounds.into_iter().map(|(var, n)| (var, Dim::from(n)));
        let bounds = bounds.collect();
        if symbolic
            && let Some((scope, dims, bounds)) = lifted(choices, &rule.left, &scope, &bounds)
            && let Some(instance) = Instance::new(rule, scope, dims, bounds)
        {
            return Some(instance);
        }
        Instance::new(rule, scope, Dims::default(), bounds)
    }

    /// The instance where the left side's variables stand for these, if the rule applies.
    fn new(
        rule: &Rule,
        mut scope: Scope,
        dims: Dims,
        bounds: BTreeMap<usize, Dim>,
    ) -> Option<Instance> {
        let left = rule.left.build(&scope, &dims)?;
        let result = left.ty(&scope)?.clone();
        let right = rule.replacement(&mut scope, &result, &dims)?;
        let any = most_elements(&result, &dims).is_some_and(|n| n > 0);
        let mut values = scope.iter().filter_map(|thing| match thing {
            Some(Thing::Value(ty)) => Some(ty),
            _ => None,
        });
        let small = |side| is_small(side, &dims);
        let few = values.all(|ty| {
            let sound = !ty.dtype.is_block() || ir::check_type(ty, &dims).is_ok();
            sound && has_few_elements(ty, &dims)
        });
        if !any || !few || !small(&left) || !small(&right) {
            return None;
        }
        let signature = signature(&scope);
        Some(Instance {
            left,
            right,
            scope,
            dims,
            bounds,
            signature,
        })
    }

    /// Both sides as functions of the rule's values, in their order.
    pub fn functions(&self, rule: &Rule) -> (Function, Function) {
        let function = |name, side| self.function(name, rule, side);
        (function("left", &self.left), function("right", &self.right))
    }

    fn function(&self, name: &str, rule: &Rule, side: &Built) -> Function {
        let builder = FunctionBuilder::new(name, &self.dims);
        let params = rule.vars.iter().zip(&self.scope);
        let params: Vec<Option<Expr>> = params
            .map(|(var, thing)| match thing {
                Some(Thing::Value(ty)) => {
                    Some(builder.param(var.name.trim_start_matches('?'), ty.clone()))
                }
                _ => None,
            })
            .collect();
        let result = expr(&builder, &params, side);
        let function = builder.finish(&[result]);
        function.expect("a side is built of what the ops' rules accept")
    }

    /// The symbols.
    pub fn dims(&self) -> &Dims {
        &self.dims
    }

    /// How many elements the values of both sides have, where the symbols are the highest.
    pub fn size(&self) -> i64 {
        let most = |ty: &Type| most_elements(ty, &self.dims).unwrap_or(0);
        let values = self.scope.iter().map(|thing| match thing {
            Some(Thing::Value(ty)) => most(ty),
            _ => 0,
        });
        values.sum::<i64>() + elements(&self.left, &most) + elements(&self.right, &most)
    }

    /// Values of the symbols: the lowest, the highest, and some between; none need any if there are none.
    pub fn bindings(&self, rng: &mut Rng) -> Vec<Bindings> {
        let Some((symbol, low, high)) = self.dims.ranges.first() else {
            return vec![Bindings::default()];
        };
        let between = low + rng.below((high - low + 1) as usize) as i64;
        let all = [*high, between, *low];
        let all = all.map(|n| Bindings::new([(symbol.name(), n)]));
        all.into()
    }

    /// Random operands; `None` if an index has nowhere to point, or the result has no elements.
    pub fn operands(
        &self,
        rng: &mut Rng,
        mood: Mood,
        bindings: &Bindings,
    ) -> Option<Operands<f32>> {
        let count = |ty: &Type| ty.elements().eval(bindings).ok();
        count(self.left.ty(&self.scope)?).filter(|n| *n > 0)?;
        let mut values = Values::new(rng, mood);
        let mut operands = Vec::new();
        for (var, thing) in self.scope.iter().enumerate() {
            let Some(Thing::Value(ty)) = thing else {
                continue;
            };
            let bound = match self.bounds.get(&var) {
                Some(bound) => Some(usize::try_from(bound.eval(bindings).ok()?).ok()?),
                None => None,
            };
            if bound == Some(0) && count(ty)? > 0 {
                return None;
            }
            let shape = ty.shape(bindings).ok()?;
            operands.push(Arc::new(values.tensor(ty.dtype, &shape, bound)));
        }
        Some(operands)
    }

    /// Operands each of whose elements is one that a mismatch was found on.
    pub fn operands_like(
        &self,
        found: &Counterexample,
        bindings: &Bindings,
    ) -> Option<Operands<f32>> {
        bindings.check(&self.dims).ok()?;
        let at = found.mismatch.as_ref()?.element;
        let types = self.scope.iter().filter_map(|thing| match thing {
            Some(Thing::Value(ty)) => Some(ty),
            _ => None,
        });
        let operands = types.zip(&found.operands).map(|(ty, before)| {
            let shape = ty.shape(bindings).ok()?;
            let count = shape.iter().product();
            let data = match &before.data {
                Data::Real(x) => Data::Real(vec![*x.get(at % x.len().max(1))?; count]),
                Data::Int(x) => Data::Int(vec![*x.get(at % x.len().max(1))?; count]),
                Data::Bool(x) => Data::Bool(vec![*x.get(at % x.len().max(1))?; count]),
                Data::Stored(_) => return None,
            };
            let dtype = (ty.dtype == before.dtype).then_some(ty.dtype)?;
            Some(Arc::new(Tensor { dtype, shape, data }))
        });
        operands.collect()
    }
}

/// Whether no op of a side makes a large tensor.
fn is_small(side: &Built, dims: &Dims) -> bool {
    match side {
        Built::Var(_) => true,
        Built::Op { operands, ty, .. } => {
            has_few_elements(ty, dims) && operands.iter().all(|side| is_small(side, dims))
        }
    }
}

/// Elements that the ops of a side make.
fn elements(side: &Built, of: &impl Fn(&Type) -> i64) -> i64 {
    match side {
        Built::Var(_) => 0,
        Built::Op { operands, ty, .. } => {
            let operands = operands.iter().map(|side| elements(side, of));
            of(ty) + operands.sum::<i64>()
        }
    }
}

fn expr<'b>(
    builder: &'b FunctionBuilder<'b>,
    params: &[Option<Expr<'b>>],
    side: &Built,
) -> Expr<'b> {
    match side {
        Built::Var(i) => params[*i].expect("a side's variables are values"),
        Built::Op {
            op,
            operands,
            attrs,
            ..
        } => {
            let operands = operands.iter().map(|side| expr(builder, params, side));
            let operands: Vec<Expr> = operands.collect();
            builder.op(*op, &operands, attrs.clone())
        }
    }
}
