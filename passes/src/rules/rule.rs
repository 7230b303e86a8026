//! A rule, and what its variables make of it at one place.

use std::fmt;

use ir::{Attr, Dims, Op, Site, Type};

use super::expr::{Expr, Kind, Thing};

/// What a rule promises of the replacement's numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RuleClass {
    /// The same bits, every NaN being the same.
    Exact,
    /// The same over the reals, with sums or products taken in another order.
    Reassoc,
    /// The same over the reals, with roundings elsewhere.
    Rounds,
}

impl RuleClass {
    /// Every class.
    pub const ALL: [RuleClass; 3] = [RuleClass::Exact, RuleClass::Reassoc, RuleClass::Rounds];

    /// The name in a rules file.
    pub fn name(self) -> &'static str {
        match self {
            RuleClass::Exact => "exact",
            RuleClass::Reassoc => "reassoc",
            RuleClass::Rounds => "rounds",
        }
    }
}

impl fmt::Display for RuleClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One side of a rule.
#[derive(Clone, Debug, PartialEq)]
pub enum Term {
    /// Any value, by its variable's place in the rule.
    Var(usize),
    /// An op over terms.
    Op {
        /// The op.
        op: Op,
        /// Its operands.
        operands: Vec<Term>,
        /// Its attributes, in its row's order; on the left side variables or what is written.
        attrs: Vec<Expr>,
    },
}

/// A variable of a rule.
#[derive(Clone, Debug, PartialEq)]
pub struct Var {
    /// Its name, with the `?`; empty for an attribute that the left side leaves open.
    pub name: String,
    /// What it stands for.
    pub kind: Kind,
}

/// A rewrite rule.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    /// Its name; a member of a family has its op's name behind a slash.
    pub name: String,
    /// What it promises.
    pub class: RuleClass,
    /// The comment above it: why it holds, or where it is from.
    pub reason: String,
    /// Where it is written, as `file:line`.
    pub place: String,
    /// Its variables.
    pub vars: Vec<Var>,
    /// What it matches: an op, never a lone variable.
    pub left: Term,
    /// What replaces that.
    pub right: Term,
    /// Variables bound to expressions, in order.
    pub bindings: Vec<(usize, Expr)>,
    /// What must hold besides.
    pub guards: Vec<Expr>,
}

/// A side of a rule with everything but the values filled in.
#[derive(Clone, Debug, PartialEq)]
pub enum Built {
    /// The value of a variable.
    Var(usize),
    /// An op.
    Op {
        /// The op.
        op: Op,
        /// Its operands.
        operands: Vec<Built>,
        /// Its attributes.
        attrs: Vec<Attr>,
        /// The type of its result.
        ty: Type,
    },
}

/// What each variable stands for, if it is bound.
pub type Scope = Vec<Option<Thing>>;

impl Built {
    /// The type of the whole.
    pub fn ty<'a>(&'a self, scope: &'a Scope) -> Option<&'a Type> {
        match self {
            Built::Var(i) => match scope.get(*i)?.as_ref()? {
                Thing::Value(ty) => Some(ty),
                _ => None,
            },
            Built::Op { ty, .. } => Some(ty),
        }
    }
}

impl Term {
    /// The term with its attributes evaluated and its types inferred; `None` where an attribute has no
    /// value or a constraint of the op would be broken.
    pub fn build(&self, scope: &Scope, dims: &Dims) -> Option<Built> {
        let (op, operands, attrs) = match self {
            Term::Var(i) => return Some(Built::Var(*i)),
            Term::Op {
                op,
                operands,
                attrs,
            } => (*op, operands, attrs),
        };
        let operands: Option<Vec<Built>> = operands.iter().map(|t| t.build(scope, dims)).collect();
        let operands = operands?;
        let kinds = op.def().attrs.iter().map(|(_, kind)| *kind);
        let attrs = attrs.iter().zip(kinds);
        let attrs: Option<Vec<Attr>> = attrs
            .map(|(expr, kind)| expr.eval(scope, dims)?.to_attr(kind))
            .collect();
        let attrs = attrs?;
        let types: Option<Vec<&Type>> = operands.iter().map(|b| b.ty(scope)).collect();
        let site = Site {
            def: op.def(),
            attrs: &attrs,
            operands: &types?,
            dims,
        };
        let ty = ir::infer(&site).ok()?;
        Some(Built::Op {
            op,
            operands,
            attrs,
            ty,
        })
    }
}

impl Rule {
    /// The replacement where the left side's variables stand for these and its result has this type:
    /// `None` if a binding has no value, a guard fails, or the replacement is of another type or none.
    pub fn replacement(&self, scope: &mut Scope, result: &Type, dims: &Dims) -> Option<Built> {
        for (var, expr) in &self.bindings {
            let thing = expr.eval(scope, dims)?;
            *scope.get_mut(*var)? = Some(thing);
        }
        let holds = |g: &Expr| g.eval(scope, dims) == Some(Thing::Truth(true));
        if !self.guards.iter().all(holds) {
            return None;
        }
        let built = self.right.build(scope, dims)?;
        (built.ty(scope)? == result).then_some(built)
    }
}
