//! Rules: files of them, and sets.
//!
//! A rule is one line of a `.rules` file; the `//` comment lines right above say why it holds.
//!
//! ```text
//! // axis i of the result is axis q[i] of the inner result, which is axis p[q[i]] of x
//! transpose-of-transpose exact: transpose(transpose(?x) {axes = ?p}) {axes = ?q} => transpose(?x) {axes = pick(?p, ?q)}
//! ```
//!
//! ```text
//! rule    := name class ':' term '=>' term
//!            ['where' ?var '=' expr, …] ['if' expr, …] ['for' name 'in' op, …]
//!          | 'fold-constants' 'exact' ':' 'built-in'
//! class   := 'exact' | 'reassoc' | 'rounds'
//! term    := ?var | number | op '(' term, … ')' ['{' attribute '=' expr, … '}']
//! ```
//!
//! - Ops and attributes are those of the op table. The left side may leave attributes out, and its
//!   attributes are variables or written out; the right side gives every attribute, by any expression. A
//!   number as an operand on the left stands for a constant filled with it. A variable that occurs twice
//!   stands for one and the same thing.
//! - Expressions are over dims, axes, lists of them, dtypes and constants' values: `+ - *`, `==`, `<=`,
//!   `<`, `not` and the functions of [`FUNCTIONS`]. A comparison holds if it is proved for every value of
//!   the symbols, and its opposite if it is refuted for every one: of a length that may be 0, neither
//!   `dim(?x, 0) == 0` nor `not dim(?x, 0) == 0` holds. Bindings are made first, in order; where one has no value the rule does not apply.
//! - `for f in unary` makes a family: a rule for each op of class pointwise with one operand and no
//!   attributes (`binary`: two), or for each op listed, with `f` standing for it.
//! - `fold-constants exact: built-in` asks for constant folding, the one rule that no terms can state.
//! - A rule keeps the type: where the replacement has another type than what it replaces, or breaks a
//!   constraint of the IR, the rule does not apply. It speaks of runs that succeed: an index outside its
//!   axis may go unnoticed if the element it names is not needed.

mod apply;
pub mod check;
mod expr;
mod lexer;
mod parser;
mod rule;

use std::path::Path;

pub(crate) use apply::rewrite;
pub use expr::{Expr, FUNCTIONS, Function, Kind, Relation, Thing};
use parser::Line;
pub use rule::{Built, Rule, RuleClass, Scope, Term, Var};

use crate::algebra::fold;
use crate::error::RulesError;

/// The rules files that are shipped: name and text.
pub const SHIPPED: [(&str, &str); 5] = [
    ("views.rules", include_str!("../../rules/views.rules")),
    ("rows.rules", include_str!("../../rules/rows.rules")),
    (
        "arithmetic.rules",
        include_str!("../../rules/arithmetic.rules"),
    ),
    (
        "constants.rules",
        include_str!("../../rules/constants.rules"),
    ),
    ("reals.rules", include_str!("../../rules/reals.rules")),
];

/// Rules with names of their own.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RuleSet {
    rules: Vec<Rule>,
    folding: Option<Folding>,
}

/// Where a rules file asks for constant folding.
#[derive(Clone, Debug, PartialEq)]
pub struct Folding {
    /// The comment above it.
    pub reason: String,
    /// Where it is written, as `file:line`.
    pub place: String,
}

impl Folding {
    /// Its name, as that of a rule.
    pub const NAME: &'static str = fold::NAME;
    /// Its class.
    pub const CLASS: RuleClass = RuleClass::Exact;
}

impl RuleSet {
    /// The shipped rules.
    pub fn shipped() -> RuleSet {
        let mut set = RuleSet::default();
        for (file, text) in SHIPPED {
            let added = RuleSet::parse(text, file).and_then(|more| set.add(more));
            added.unwrap_or_else(|e| panic!("the shipped rules are well-formed: {e}"));
        }
        set
    }

    /// The rules of a text; `file` is its name in errors.
    pub fn parse(text: &str, file: &str) -> Result<RuleSet, RulesError> {
        let mut set = RuleSet::default();
        let mut reason: Vec<&str> = Vec::new();
        let mut start = 0;
        for (number, line) in (1..).zip(text.split_inclusive('\n')) {
            let line_text = line.trim();
            let begin = start;
            start += line.len();
            if let Some(comment) = line_text.strip_prefix("//") {
                reason.push(comment.trim());
                continue;
            }
            if !line_text.is_empty() {
                let (place, why) = (format!("{file}:{number}"), reason.join(" "));
                let read = parser::line(line.trim_end(), &why, &place);
                let read = read.map_err(|wrong| RulesError::Syntax {
                    file: file.into(),
                    line: number,
                    column: line[..wrong.at].chars().count() + 1,
                    span: begin + wrong.at..begin + wrong.at + wrong.length,
                    expected: wrong.expected,
                    found: wrong.found,
                })?;
                set.add(match read {
                    Line::Rules(rules) => RuleSet {
                        rules,
                        folding: None,
                    },
                    Line::Folding => RuleSet {
                        rules: vec![],
                        folding: Some(Folding { reason: why, place }),
                    },
                })?;
            }
            reason.clear();
        }
        Ok(set)
    }

    /// The rules of a file.
    pub fn load(path: &Path) -> Result<RuleSet, RulesError> {
        let text = std::fs::read_to_string(path).map_err(|source| RulesError::Read {
            path: path.into(),
            source,
        })?;
        RuleSet::parse(&text, &path.display().to_string())
    }

    /// Adds rules, whose names must be new.
    pub fn add(&mut self, more: RuleSet) -> Result<(), RulesError> {
        for rule in more.rules {
            if let Some(first) = self.rules.iter().find(|r| r.name == rule.name) {
                return Err(RulesError::Duplicate {
                    name: rule.name,
                    first: first.place.clone(),
                    second: rule.place,
                });
            }
            self.rules.push(rule);
        }
        match (&self.folding, more.folding) {
            (Some(first), Some(second)) => {
                return Err(RulesError::Duplicate {
                    name: Folding::NAME.into(),
                    first: first.place.clone(),
                    second: second.place,
                });
            }
            (None, folding) => self.folding = folding,
            (Some(_), None) => {}
        }
        Ok(())
    }

    /// The rules for which this holds; `|r| r.class == RuleClass::Exact` makes the exact fidelity's.
    pub fn filtered(mut self, keep: impl Fn(&Rule) -> bool) -> RuleSet {
        self.rules.retain(keep);
        self
    }

    /// The rules of class exact, which are all that the exact fidelity uses.
    pub fn exact(self) -> RuleSet {
        self.filtered(|r| r.class == RuleClass::Exact)
    }

    /// The same without constant folding.
    pub fn without_folding(mut self) -> RuleSet {
        self.folding = None;
        self
    }

    /// Where constant folding is asked for, if it is.
    pub fn folding(&self) -> Option<&Folding> {
        self.folding.as_ref()
    }

    /// The rules, in order, constant folding aside.
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }
}
