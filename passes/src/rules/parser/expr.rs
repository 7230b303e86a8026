//! Attributes, guards and bindings: the expressions of a rule.

use ir::{AttrKind, DType, Dim, Literal};

use super::{Is, Parsed, Parser, Side, Wrong, wrong};
use crate::rules::expr::{Expr, FUNCTIONS, Kind, Relation, Thing};
use crate::rules::lexer::Token;

impl Parser<'_> {
    pub(super) fn attr(&mut self, kind: AttrKind) -> Parsed<Expr> {
        let start = self.peek();
        let attr = match kind {
            AttrKind::Literals if self.is("[") => Expr::Written(self.literals()?),
            _ => self.expr_of(Kind::of(kind))?,
        };
        if self.side == Side::Right {
            return Ok(attr);
        }
        if let Expr::Var(_) = attr {
            return Ok(attr);
        }
        // What is written out, as a list of numbers is, has a value already.
        match attr.eval(&[], &ir::Dims::default()) {
            Some(thing) if thing.to_attr(kind).is_some() => Ok(Expr::Written(thing)),
            Some(_) => wrong(start, "an axis"),
            None => wrong(start, "a variable or what is written out"),
        }
    }

    /// `[0.5, -inf]`
    fn literals(&mut self) -> Parsed<Thing> {
        self.mark("[")?;
        let mut values = Vec::new();
        while !self.eat("]") {
            if !values.is_empty() && !self.eat(",") {
                return wrong(self.peek(), "',' or ']'");
            }
            values.push(self.literal()?);
        }
        Ok(Thing::Literals(values))
    }

    pub(super) fn literal(&mut self) -> Parsed<Literal> {
        let negative = self.eat("-");
        let token = self.next();
        let number = matches!(token.kind, Is::Integer | Is::Real)
            || (token.kind == Is::Word && matches!(token.text, "inf" | "nan"));
        match token.text.parse::<f64>() {
            Ok(x) if number => Ok(Literal(if negative { -x } else { x })),
            _ => wrong(token, "a number"),
        }
    }

    pub(super) fn expr_of(&mut self, kind: Kind) -> Parsed<Expr> {
        let start = self.peek();
        if start.kind == Is::Var {
            let alone = self.tokens.get(self.at + 1);
            if alone.is_some_and(|t| matches!(t.text, "," | "}" | "]" | ")" | "")) {
                self.at += 1;
                return Ok(Expr::Var(self.variable(start, Some(kind))?));
            }
        }
        let expr = self.expr()?;
        match self.kind_of(&expr, start)? {
            found if found == kind => Ok(expr),
            found => Err(Wrong {
                at: start.at,
                length: start.text.len(),
                expected: kind.to_string(),
                found: found.to_string(),
            }),
        }
    }

    pub(super) fn kind_of(&self, expr: &Expr, start: Token) -> Parsed<Kind> {
        match expr.kind(|i| self.vars[i].kind) {
            Some(kind) => Ok(kind),
            None => wrong(start, "a variable whose kind is known"),
        }
    }

    /// `sum == sum`, `sum`, or `not expr`.
    pub(super) fn expr(&mut self) -> Parsed<Expr> {
        if self.eat("not") {
            return Ok(Expr::Not(Box::new(self.expr_of(Kind::Truth)?)));
        }
        let start = self.peek();
        let a = self.sum()?;
        let relations = [
            ("==", Relation::Equal),
            ("<=", Relation::AtMost),
            ("<", Relation::Less),
        ];
        let relation = relations.iter().find(|(mark, _)| self.eat(mark));
        let Some((_, relation)) = relation else {
            return Ok(a);
        };
        let kind = match relation {
            Relation::Equal => self.kind_of(&a, start)?,
            Relation::AtMost | Relation::Less => Kind::Number,
        };
        let (second, b) = (self.peek(), self.sum()?);
        for (token, side) in [(start, &a), (second, &b)] {
            if self.kind_of(side, token)? != kind {
                return wrong(token, &kind.to_string());
            }
        }
        Ok(Expr::Compare(*relation, Box::new(a), Box::new(b)))
    }

    fn sum(&mut self) -> Parsed<Expr> {
        let start = self.peek();
        let mut sum = self.product()?;
        loop {
            let make = match () {
                () if self.eat("+") => Expr::Add,
                () if self.eat("-") => Expr::Sub,
                () => return Ok(sum),
            };
            self.want_number(&sum, start)?;
            let second = self.peek();
            let b = self.product()?;
            self.want_number(&b, second)?;
            sum = make(Box::new(sum), Box::new(b));
        }
    }

    fn product(&mut self) -> Parsed<Expr> {
        let start = self.peek();
        let mut product = self.atom()?;
        while self.eat("*") {
            self.want_number(&product, start)?;
            let second = self.peek();
            let b = self.atom()?;
            self.want_number(&b, second)?;
            product = Expr::Mul(Box::new(product), Box::new(b));
        }
        Ok(product)
    }

    /// Refuses what is known not to be a number.
    fn want_number(&mut self, expr: &Expr, start: Token) -> Parsed<()> {
        match (expr, expr.kind(|i| self.vars[i].kind)) {
            (_, Some(Kind::Number)) => Ok(()),
            (Expr::Var(i), None) => {
                self.vars[*i].kind = Some(Kind::Number);
                Ok(())
            }
            _ => wrong(start, &Kind::Number.to_string()),
        }
    }

    fn atom(&mut self) -> Parsed<Expr> {
        let token = self.next();
        match token.kind {
            Is::Var => Ok(Expr::Var(self.variable(token, None)?)),
            Is::Integer => match token.text.parse::<i64>() {
                Ok(n) => Ok(Expr::Written(Thing::Number(Dim::from(n)))),
                Err(_) => wrong(token, "an integer below 2^63"),
            },
            Is::Word => {
                if let Some(dtype) = DType::from_name(token.text) {
                    return Ok(Expr::Written(Thing::DType(dtype)));
                }
                let Some(function) = FUNCTIONS.iter().find(|f| f.name == token.text) else {
                    let names: Vec<&str> = FUNCTIONS.iter().map(|f| f.name).collect();
                    return wrong(
                        token,
                        &format!("a dtype or a function ({})", names.join(", ")),
                    );
                };
                self.mark("(")?;
                let mut args = Vec::new();
                for (i, kind) in function.params.iter().enumerate() {
                    if i > 0 {
                        self.mark(",")?;
                    }
                    args.push(self.expr_of(*kind)?);
                }
                self.mark(")")?;
                Ok(Expr::Call(function, args))
            }
            Is::Mark if token.text == "[" => {
                let mut items = Vec::new();
                while !self.eat("]") {
                    if !items.is_empty() && !self.eat(",") {
                        return wrong(self.peek(), "',' or ']'");
                    }
                    items.push(self.expr_of(Kind::Number)?);
                }
                Ok(Expr::List(items))
            }
            Is::Mark if token.text == "(" => {
                let inner = self.expr()?;
                self.mark(")")?;
                Ok(inner)
            }
            Is::Mark | Is::Real | Is::End => wrong(
                token,
                "a number, a list, a dtype, a function or a '?variable'",
            ),
        }
    }
}
