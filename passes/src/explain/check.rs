//! Replaying a chain of rules, without the e-graph that found it.

use ir::{Attr, DType, Literal, Op, Type};

use super::terms::{Root, TermId, Terms};
use crate::algebra;
use crate::rules::{self, Built, Expr, Rule, RuleSet, Scope, Thing};

/// One rule, applied at one position.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// The rule.
    pub rule: String,
    /// Whether its left side is replaced by its right side; otherwise the right by the left, since an
    /// equality holds both ways.
    pub forward: bool,
    /// Where in the whole term: operand after operand from the root on.
    pub position: Vec<usize>,
    /// What stands there before.
    pub before: TermId,
    /// What stands there after.
    pub after: TermId,
}

/// Why a chain does not replay.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("step {step}, {rule}: {reason}")]
pub struct Refusal {
    /// The step, from 1; for the chain's end one more than its steps.
    pub step: usize,
    /// The step's rule.
    pub rule: String,
    /// What is wrong with it.
    pub reason: Reason,
}

impl Refusal {
    /// Of an explanation with more than so many steps.
    pub(super) fn too_long(steps: usize) -> Refusal {
        Refusal {
            step: steps,
            rule: "the end".into(),
            reason: Reason::Length,
        }
    }
}

/// What is wrong with a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// No rule has that name.
    #[error("there is no such rule")]
    NoRule,
    /// The whole term has no such position, or another term stands there.
    #[error("the term before does not stand at this position")]
    Position,
    /// The rule's left side is no pattern of the term.
    #[error("the rule's left side does not match")]
    Match,
    /// A guard or a binding does not hold, or the replacement is ill-typed.
    #[error("a guard, a binding or the type does not hold")]
    Guard,
    /// The rule makes another term.
    #[error("the rule gives another term")]
    Replacement,
    /// The interpreter makes another constant.
    #[error("the interpreter gives another constant")]
    Constant,
    /// The chain was not even read.
    #[error("the explanation has more steps than that")]
    Length,
    /// The last term is not the one to be explained.
    #[error("the chain ends at another term")]
    End,
}

/// Replays a chain from one term to another: every step's rule must make its second term of its first.
/// The wholes after each step.
///
/// # Errors
/// The first step that does not replay.
pub fn replay(
    terms: &mut Terms,
    rules: &RuleSet,
    from: TermId,
    steps: &[Step],
    to: TermId,
) -> Result<Vec<TermId>, Refusal> {
    let mut whole = from;
    let mut wholes = Vec::new();
    for (number, step) in (1..).zip(steps) {
        let refused = |reason| Refusal {
            step: number,
            rule: step.rule.clone(),
            reason,
        };
        if terms.at(whole, &step.position) != Some(step.before) {
            return Err(refused(Reason::Position));
        }
        apply(terms, rules, step).map_err(refused)?;
        let replaced = terms.replaced(whole, &step.position, step.after);
        whole = replaced.ok_or_else(|| refused(Reason::Position))?;
        wholes.push(whole);
    }
    if whole != to {
        return Err(Refusal {
            step: steps.len() + 1,
            rule: "the end".into(),
            reason: Reason::End,
        });
    }
    Ok(wholes)
}

/// Checks that a step's rule makes its second term of its first.
fn apply(terms: &Terms, rules: &RuleSet, step: &Step) -> Result<(), Reason> {
    let (left, right) = match step.forward {
        true => (step.before, step.after),
        false => (step.after, step.before),
    };
    if step.rule == algebra::FOLD_CONSTANTS {
        rules.folding().ok_or(Reason::NoRule)?;
        return fold(terms, left, right);
    }
    let rule = rules.rules().iter().find(|r| r.name == step.rule);
    let rule = rule.ok_or(Reason::NoRule)?;
    rewrites(terms, rule, left, right)
}

/// What a rule's variables stand for: terms, and what bindings and guards see of them.
struct Match {
    values: Vec<Option<TermId>>,
    scope: Scope,
}

fn rewrites(terms: &Terms, rule: &Rule, left: TermId, right: TermId) -> Result<(), Reason> {
    let mut found = Match {
        values: vec![None; rule.vars.len()],
        scope: vec![None; rule.vars.len()],
    };
    if !matches(terms, &rule.left, left, &mut found) {
        return Err(Reason::Match);
    }
    let built = rule.replacement(&mut found.scope, terms.ty(left), terms.dims());
    let built = built.ok_or(Reason::Guard)?;
    match is(terms, &built, right, &found.values) {
        true => Ok(()),
        false => Err(Reason::Replacement),
    }
}

/// Whether a rule's side matches a term, and with what for its variables.
fn matches(terms: &Terms, side: &rules::Term, term: TermId, found: &mut Match) -> bool {
    let (op, operands, attrs) = match side {
        rules::Term::Var(i) => {
            found.scope[*i] = Some(Thing::Value(terms.ty(term).clone()));
            return *found.values[*i].get_or_insert(term) == term;
        }
        rules::Term::Op {
            op,
            operands,
            attrs,
        } => (op, operands, attrs),
    };
    let Root::Op {
        op: here,
        attrs: given,
        operands: below,
    } = terms.root(term)
    else {
        return false;
    };
    if here != op || below.len() != operands.len() || given.len() != attrs.len() {
        return false;
    }
    let mut same = attrs.iter().zip(given).all(|(expr, attr)| match expr {
        Expr::Var(i) => {
            let thing = Thing::from_attr(attr);
            *found.scope[*i].get_or_insert_with(|| thing.clone()) == thing
        }
        written => {
            let thing = written.eval(&[], terms.dims());
            thing.and_then(|t| t.to_attr(attr.kind())).as_ref() == Some(attr)
        }
    });
    let mut each = operands.iter().zip(below);
    same = same && each.all(|(side, term)| matches(terms, side, *term, found));
    same
}

/// Whether a term is what a rule built, over these terms for its variables.
fn is(terms: &Terms, built: &Built, term: TermId, values: &[Option<TermId>]) -> bool {
    match built {
        Built::Var(i) => values.get(*i) == Some(&Some(term)),
        Built::Op {
            op,
            operands,
            attrs,
            ty,
        } => match terms.root(term) {
            Root::Param(_) => false,
            Root::Op {
                op: here,
                attrs: given,
                operands: below,
            } => {
                let mut each = operands.iter().zip(below);
                here == op
                    && given == attrs
                    && terms.ty(term) == ty
                    && below.len() == operands.len()
                    && each.all(|(built, term)| is(terms, built, *term, values))
            }
        },
    }
}

/// Whether the interpreter makes this constant of an op over constants.
fn fold(terms: &Terms, op: TermId, constant: TermId) -> Result<(), Reason> {
    let Root::Op {
        op: folded,
        attrs,
        operands,
    } = terms.root(op)
    else {
        return Err(Reason::Match);
    };
    let values = operands.iter().map(|o| literals(terms, *o));
    let values: Vec<&[Literal]> = values.collect::<Option<_>>().ok_or(Reason::Match)?;
    let expected = literals(terms, constant).ok_or(Reason::Match)?;
    let types: Vec<&Type> = operands.iter().map(|o| terms.ty(*o)).collect();
    let ty = terms.ty(op);
    if ty != terms.ty(constant) {
        return Err(Reason::Guard);
    }
    let made = algebra::fold_constants(*folded, attrs, &types, &values, ty);
    let same = made.is_some_and(|made| fills(ty, &made) == fills(ty, expected));
    match same {
        true => Ok(()),
        false => Err(Reason::Constant),
    }
}

/// A constant's numbers as its dtype has them.
fn fills(ty: &Type, values: &[Literal]) -> Vec<Literal> {
    let rounded = |v: &Literal| match ty.dtype {
        DType::F32 => Literal(f64::from(v.0 as f32)),
        _ => *v,
    };
    values.iter().map(rounded).collect()
}

/// The numbers of a constant.
fn literals(terms: &Terms, term: TermId) -> Option<&[Literal]> {
    match terms.root(term) {
        Root::Op {
            op: Op::Const,
            attrs,
            ..
        } => match &attrs[..] {
            [_, _, Attr::Literals(values)] => Some(values),
            _ => None,
        },
        _ => None,
    }
}
