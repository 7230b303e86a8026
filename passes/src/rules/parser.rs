//! A line of a rules file to rules, by recursive descent; kinds are checked as they are read.

mod expr;

use ir::{Class, Op};

use super::expr::{Expr, Kind, Thing};
use super::lexer::{self, Kind as Is, Token};
use super::rule::{Rule, RuleClass, Term, Var};
use crate::algebra::fold;

/// What is wrong with a line, at a byte offset.
#[derive(Debug)]
pub(super) struct Wrong {
    pub at: usize,
    /// Bytes of what stands there.
    pub length: usize,
    pub expected: String,
    pub found: String,
}

/// What stands for the sides of a rule that is built in.
const BUILT_IN: &str = "built-in";

/// Longest line, which bounds how deep terms nest.
const MAX_TOKENS: usize = 2000;

type Parsed<T> = Result<T, Wrong>;

/// What a line says.
pub(super) enum Line {
    /// One rule, or a family's.
    Rules(Vec<Rule>),
    /// That constants are folded.
    Folding,
}

/// Reads a line.
pub(super) fn line(text: &str, reason: &str, place: &str) -> Parsed<Line> {
    let tokens = lexer::tokens(text).map_err(|at| Wrong {
        at,
        length: text[at..].chars().next().map_or(0, char::len_utf8),
        expected: "a token".into(),
        found: format!("'{}'", text[at..].chars().next().unwrap_or(' ')),
    })?;
    if let Some(token) = tokens.get(MAX_TOKENS) {
        return wrong(*token, &format!("a line of at most {MAX_TOKENS} tokens"));
    }
    if let [name, class, _, built_in, end] = tokens[..]
        && built_in.text == BUILT_IN
    {
        return match (name.text, class.text, end.kind) {
            (fold::NAME, "exact", Is::End) => Ok(Line::Folding),
            (fold::NAME, _, _) => wrong(class, "exact, the class of what is built in"),
            _ => wrong(name, &format!("{}, the one rule built in", fold::NAME)),
        };
    }
    let head = Parser::new(&tokens, None).family()?;
    let members = head.map_or(vec![None], |(name, ops)| {
        ops.into_iter().map(|op| Some((name, op))).collect()
    });
    let rules = members.into_iter().map(|member| {
        let mut rule = Parser::new(&tokens, member).rule()?;
        if let Some((_, op)) = member {
            rule.name = format!("{}/{}", rule.name, op.def().name);
        }
        (rule.reason, rule.place) = (reason.into(), place.into());
        Ok(rule)
    });
    Ok(Line::Rules(rules.collect::<Parsed<_>>()?))
}

struct Parser<'t> {
    tokens: &'t [Token<'t>],
    at: usize,
    /// The name that stands for an op, and the op.
    member: Option<(&'t str, Op)>,
    vars: Vec<Known>,
    side: Side,
}

/// A variable as far as it is known, and where it is first seen.
struct Known {
    name: String,
    kind: Option<Kind>,
    bound: bool,
    at: usize,
}

#[derive(Clone, Copy, PartialEq)]
enum Side {
    Left,
    Right,
}

impl<'t> Parser<'t> {
    fn new(tokens: &'t [Token<'t>], member: Option<(&'t str, Op)>) -> Parser<'t> {
        Parser {
            tokens,
            at: 0,
            member,
            vars: Vec::new(),
            side: Side::Left,
        }
    }

    fn peek(&self) -> Token<'t> {
        self.tokens[self.at]
    }

    /// The next token; the end stays.
    fn next(&mut self) -> Token<'t> {
        let token = self.peek();
        if token.kind != Is::End {
            self.at += 1;
        }
        token
    }

    fn is(&self, text: &str) -> bool {
        let token = self.peek();
        matches!(token.kind, Is::Mark | Is::Word) && token.text == text
    }

    fn eat(&mut self, text: &str) -> bool {
        let is = self.is(text);
        self.at += usize::from(is);
        is
    }

    fn mark(&mut self, text: &str) -> Parsed<()> {
        if self.eat(text) {
            return Ok(());
        }
        wrong(self.peek(), &format!("'{text}'"))
    }

    fn word(&mut self, expected: &str) -> Parsed<Token<'t>> {
        let token = self.next();
        match token.kind {
            Is::Word => Ok(token),
            _ => wrong(token, expected),
        }
    }

    /// `for f in unary` or `for f in neg, exp` at the end of the line.
    fn family(&mut self) -> Parsed<Option<(&'t str, Vec<Op>)>> {
        let is_for = |t: &Token| t.kind == Is::Word && t.text == "for";
        let Some(at) = self.tokens.iter().rposition(is_for) else {
            return Ok(None);
        };
        self.at = at + 1;
        let name = self.word("a name that stands for an op")?;
        if Op::from_name(name.text).is_some() {
            return wrong(name, "a name that is not itself an op's");
        }
        self.mark("in")?;
        let plain = |operands: usize| -> Vec<Op> {
            let is = |op: &Op| {
                let def = op.def();
                def.class == Class::Pointwise
                    && def.attrs.is_empty()
                    && def.operands.len() == operands
            };
            Op::all().filter(is).collect()
        };
        let mut ops = Vec::new();
        loop {
            let token = self.word("'unary', 'binary' or an op")?;
            match (token.text, Op::from_name(token.text)) {
                ("unary", _) => ops.extend(plain(1)),
                ("binary", _) => ops.extend(plain(2)),
                (_, Some(op)) => ops.push(op),
                (_, None) => return wrong(token, "'unary', 'binary' or an op"),
            }
            if !self.eat(",") {
                break;
            }
        }
        match self.peek().kind {
            Is::End => Ok(Some((name.text, ops))),
            _ => wrong(self.peek(), "',' or the end of the line"),
        }
    }

    fn rule(mut self) -> Parsed<Rule> {
        let name = self.word("a rule's name")?.text.to_owned();
        let token = self.word("a class (exact, reassoc, rounds)")?;
        let class = RuleClass::ALL.into_iter().find(|c| c.name() == token.text);
        let Some(class) = class else {
            return wrong(token, "a class (exact, reassoc, rounds)");
        };
        self.mark(":")?;
        let start = self.peek();
        let left = self.term()?;
        if let Term::Var(_) = left {
            return wrong(start, "an op: a rule cannot match every value");
        }
        self.mark("=>")?;
        self.side = Side::Right;
        let right = self.term()?;
        let mut bindings = Vec::new();
        if self.eat("where") {
            loop {
                bindings.push(self.binding()?);
                if !self.eat(",") {
                    break;
                }
            }
        }
        let mut guards = Vec::new();
        if self.eat("if") {
            loop {
                guards.push(self.expr_of(Kind::Truth)?);
                if !self.eat(",") {
                    break;
                }
            }
        }
        if self.peek().kind != Is::End && !self.is("for") {
            return wrong(self.peek(), "'where', 'if', 'for' or the end of the line");
        }
        let mut vars = Vec::new();
        for var in self.vars {
            match var.kind {
                Some(kind) if var.bound => vars.push(Var {
                    name: var.name,
                    kind,
                }),
                _ => {
                    return Err(Wrong {
                        at: var.at,
                        length: var.name.len(),
                        expected: "a variable that the left side or 'where' binds".into(),
                        found: format!("'{}'", var.name),
                    });
                }
            }
        }
        Ok(Rule {
            name,
            class,
            reason: String::new(),
            place: String::new(),
            vars,
            left,
            right,
            bindings,
            guards,
        })
    }

    fn binding(&mut self) -> Parsed<(usize, Expr)> {
        let token = self.next();
        if token.kind != Is::Var {
            return wrong(token, "a variable to bind");
        }
        let var = self.variable(token, None)?;
        if self.vars[var].bound {
            return wrong(token, "a variable that is not bound yet");
        }
        self.mark("=")?;
        let start = self.peek();
        let expr = self.expr()?;
        let kind = self.kind_of(&expr, start)?;
        self.vars[var].bound = true;
        match self.vars[var].kind.replace(kind) {
            Some(wanted) if wanted != kind => wrong(start, &wanted.to_string()),
            _ => Ok((var, expr)),
        }
    }

    /// The place of a variable, which is of this kind if one is given.
    fn variable(&mut self, token: Token, kind: Option<Kind>) -> Parsed<usize> {
        let bound = self.side == Side::Left;
        let at = match self.vars.iter().position(|v| v.name == token.text) {
            Some(at) => at,
            None => {
                self.vars.push(Known {
                    name: token.text.into(),
                    kind: None,
                    bound: false,
                    at: token.at,
                });
                self.vars.len() - 1
            }
        };
        let var = &mut self.vars[at];
        var.bound |= bound;
        match (var.kind, kind) {
            (Some(is), Some(wanted)) if is != wanted => Err(Wrong {
                at: token.at,
                length: token.text.len(),
                expected: wanted.to_string(),
                found: format!("'{}', {is}", token.text),
            }),
            (is, wanted) => {
                var.kind = is.or(wanted);
                Ok(at)
            }
        }
    }

    /// A variable without a name, for an attribute that the left side leaves open.
    fn open(&mut self, kind: Kind) -> Expr {
        self.vars.push(Known {
            name: String::new(),
            kind: Some(kind),
            bound: true,
            at: 0,
        });
        Expr::Var(self.vars.len() - 1)
    }

    /// `?x`, `op(term, …) {name = expr, …}`, or on the left a number, for a constant filled with it.
    fn term(&mut self) -> Parsed<Term> {
        let token = self.peek();
        let op = match token.kind {
            Is::Var => {
                self.at += 1;
                return Ok(Term::Var(self.variable(token, Some(Kind::Value))?));
            }
            Is::Word => match self.member {
                Some((name, op)) if name == token.text => Some(op),
                _ => Op::from_name(token.text),
            },
            _ => None,
        };
        let number = matches!(token.kind, Is::Real | Is::Integer) || self.is("-");
        if number && self.side == Side::Left {
            let values = Thing::Literals(vec![self.literal()?]);
            let attrs = vec![
                self.open(Kind::DType),
                self.open(Kind::Numbers),
                Expr::Written(values),
            ];
            return Ok(Term::Op {
                op: Op::Const,
                operands: vec![],
                attrs,
            });
        }
        let Some(op) = op else {
            return wrong(token, "an op or a '?variable'");
        };
        self.at += 1;
        let mut operands = Vec::new();
        self.mark("(")?;
        while !self.eat(")") {
            if !operands.is_empty() && !self.eat(",") {
                return wrong(self.peek(), "',' or ')'");
            }
            operands.push(self.term()?);
        }
        let (wanted, def) = (op.def().operands.len(), op.def());
        if operands.len() != wanted && !(def.variadic && operands.len() > wanted) {
            return wrong(token, &format!("{wanted} operands of {}", def.name));
        }
        let attrs = self.attrs(op, token)?;
        Ok(Term::Op {
            op,
            operands,
            attrs,
        })
    }

    /// The attributes in braces, by name, in any order; the left side may leave some out.
    fn attrs(&mut self, op: Op, place: Token) -> Parsed<Vec<Expr>> {
        let row = op.def().attrs;
        let mut attrs: Vec<Option<Expr>> = vec![None; row.len()];
        if self.eat("{") {
            loop {
                let token = self.next();
                let found = row.iter().position(|(name, _)| *name == token.text);
                let Some(i) = found.filter(|i| attrs[*i].is_none()) else {
                    let open = row.iter().zip(&attrs).filter(|(_, a)| a.is_none());
                    let names: Vec<&str> = open.map(|((name, _), _)| *name).collect();
                    return wrong(token, &format!("an attribute ({})", names.join(", ")));
                };
                self.mark("=")?;
                attrs[i] = Some(self.attr(row[i].1)?);
                if !self.eat(",") {
                    break;
                }
            }
            self.mark("}")?;
        }
        let mut all = Vec::new();
        for (attr, (name, kind)) in attrs.into_iter().zip(row) {
            all.push(match attr {
                Some(attr) => attr,
                None if self.side == Side::Left => self.open(Kind::of(*kind)),
                None => return wrong(place, &format!("attribute '{name}' of {}", op.def().name)),
            });
        }
        Ok(all)
    }
}

fn wrong<T>(token: Token, expected: &str) -> Parsed<T> {
    Err(Wrong {
        at: token.at,
        length: token.text.len(),
        expected: expected.into(),
        found: match token.kind {
            Is::End => "the end of the line".into(),
            _ => format!("'{}'", token.text),
        },
    })
}
