//! Text to module, by recursive descent.

use std::collections::HashMap;

use super::TextError;
use super::lexer::{self, Kind, Token};
use crate::attr::{Attr, AttrKind, Literal};
use crate::dim::{Dim, Sym};
use crate::dtype::DType;
use crate::graph::{
    Call, Def, Function, FunctionId, Local, LocalId, Module, Place, State, StateId, Step, Value,
    ValueId, Weight, WeightId, WeightSource,
};
use crate::ops::Op;
use crate::ty::Type;

/// Characters of a token that an error shows.
const LONGEST_FOUND: usize = 60;

type Parsed<T> = Result<T, TextError>;

/// Reads a module's text.
///
/// Names are resolved here; whether the module is well-formed is for [`crate::verify`] to say.
pub fn parse(text: &str) -> Parsed<Module> {
    let tokens = lexer::tokens(text)?;
    Parser {
        text,
        tokens,
        at: 0,
        module: Module::default(),
        names: Names::default(),
    }
    .module()
}

/// Where each of a module's names stands; the verifier refuses a name that is there twice.
#[derive(Default)]
struct Names<'t> {
    functions: HashMap<&'t str, FunctionId>,
    weights: HashMap<&'t str, WeightId>,
    states: HashMap<&'t str, StateId>,
    locals: HashMap<&'t str, LocalId>,
}

struct Parser<'t> {
    text: &'t str,
    tokens: Vec<Token<'t>>,
    at: usize,
    module: Module,
    names: Names<'t>,
}

impl<'t> Parser<'t> {
    fn peek(&self) -> Token<'t> {
        self.tokens[self.at]
    }

    /// The next token; the end stays.
    fn next(&mut self) -> Token<'t> {
        let token = self.peek();
        if token.kind != Kind::End {
            self.at += 1;
        }
        token
    }

    fn fail<T>(&self, token: Token, expected: &str) -> Parsed<T> {
        let found = match token.kind {
            Kind::End => "the end of the text".into(),
            _ => {
                let (start, length) = token.span;
                let mut found = self.text[start..start + length].chars();
                let short: String = found.by_ref().take(LONGEST_FOUND).collect();
                let more = if found.next().is_some() { "…" } else { "" };
                format!("'{short}{more}'")
            }
        };
        Err(lexer::error(self.text, token.span, expected, &found))
    }

    fn take(&mut self, kind: Kind, expected: &str) -> Parsed<&'t str> {
        match self.next() {
            t if t.kind == kind => Ok(t.text),
            t => self.fail(t, expected),
        }
    }

    fn is(&self, text: &str) -> bool {
        let t = self.peek();
        matches!(t.kind, Kind::Mark | Kind::Word) && t.text == text
    }

    fn eat(&mut self, text: &str) -> bool {
        let found = self.is(text);
        self.at += usize::from(found);
        found
    }

    fn mark(&mut self, text: &str) -> Parsed<()> {
        if self.eat(text) {
            return Ok(());
        }
        self.fail(self.peek(), &format!("'{text}'"))
    }

    /// `open item, item, … close`
    fn list<T>(
        &mut self,
        open: &str,
        close: &str,
        mut item: impl FnMut(&mut Self) -> Parsed<T>,
    ) -> Parsed<Vec<T>> {
        self.mark(open)?;
        let mut items = Vec::new();
        while !self.eat(close) {
            if !items.is_empty() && !self.eat(",") {
                return self.fail(self.peek(), &format!("',' or '{close}'"));
            }
            items.push(item(self)?);
        }
        Ok(items)
    }

    fn module(mut self) -> Parsed<Module> {
        self.mark("module")?;
        self.module.name = self.take(Kind::Word, "the module's name")?.into();
        let mut stepped = false;
        loop {
            let token = self.next();
            match (token.kind, token.text) {
                (Kind::Word, "dim") => self.dim_range()?,
                (Kind::Word, "where") => {
                    let low = self.dim()?;
                    self.mark("<=")?;
                    let high = self.dim()?;
                    self.module.dims.known.push((low, high));
                }
                (Kind::Word, "weight") => self.weight(WeightSource::Stored)?,
                (Kind::Word, "prepared") => self.weight(WeightSource::Prepared)?,
                (Kind::Word, "state") => self.state()?,
                (Kind::Word, "fn") => self.function()?,
                (Kind::Word, "prepare") => {
                    self.mark("{")?;
                    while !self.eat("}") {
                        let call = self.call()?;
                        self.module.prepare.push(call);
                    }
                }
                (Kind::Word, "step") if !stepped => {
                    stepped = true;
                    self.step()?;
                }
                (Kind::End, _) if stepped => return Ok(self.module),
                _ => {
                    let expected = "'dim', 'where', 'weight', 'prepared', 'state', 'fn', 'prepare' or one 'step'";
                    return self.fail(token, expected);
                }
            }
        }
    }

    fn dim_range(&mut self) -> Parsed<()> {
        let name = self.take(Kind::Word, "a symbol")?;
        self.mark("in")?;
        let low = self.integer()?;
        self.mark("..")?;
        let high = self.integer()?;
        self.module.dims.ranges.push((Sym::new(name), low, high));
        Ok(())
    }

    fn weight(&mut self, source: WeightSource) -> Parsed<()> {
        let name = self.take(Kind::Weight, "a weight, '@name'")?;
        let ty = self.typed()?;
        let id = WeightId(self.module.weights.len());
        self.names.weights.insert(name, id);
        self.module.weights.push(Weight {
            name: name.into(),
            ty,
            source,
        });
        Ok(())
    }

    fn state(&mut self) -> Parsed<()> {
        let name = self.take(Kind::State, "a state, '$name'")?;
        let ty = self.typed()?;
        let id = StateId(self.module.states.len());
        self.names.states.insert(name, id);
        self.module.states.push(State {
            name: name.into(),
            ty,
        });
        Ok(())
    }

    /// `: type`
    fn typed(&mut self) -> Parsed<Type> {
        self.mark(":")?;
        let dtype = self.dtype()?;
        let dims = self.list("[", "]", Self::dim)?;
        Ok(Type { dtype, dims })
    }

    fn dtype(&mut self) -> Parsed<DType> {
        let token = self.next();
        let found = (token.kind == Kind::Word).then(|| DType::from_name(token.text));
        match found.flatten() {
            Some(dtype) => Ok(dtype),
            None => {
                let names: Vec<&str> = DType::all().map(DType::name).collect();
                self.fail(token, &format!("a dtype ({})", names.join(", ")))
            }
        }
    }

    fn integer(&mut self) -> Parsed<i64> {
        let token = self.next();
        match token.text.parse() {
            Ok(n) if token.kind == Kind::Number => Ok(n),
            _ => self.fail(token, "an integer below 2^63"),
        }
    }

    fn dim(&mut self) -> Parsed<Dim> {
        let mut sum = Dim::default();
        let mut negative = self.eat("-");
        loop {
            let mut coefficient = if negative { -1i64 } else { 1 };
            let mut syms = Vec::new();
            loop {
                let token = self.peek();
                match token.kind {
                    Kind::Number => coefficient = coefficient.saturating_mul(self.integer()?),
                    Kind::Word => {
                        self.at += 1;
                        syms.push(Sym::new(token.text));
                    }
                    _ => return self.fail(token, "a dim: an integer or a symbol"),
                }
                if !self.eat("*") {
                    break;
                }
            }
            sum.add_term(syms, coefficient);
            negative = self.is("-");
            if !negative && !self.is("+") {
                return Ok(sum);
            }
            self.at += 1;
        }
    }

    fn function(&mut self) -> Parsed<()> {
        let name = self.take(Kind::Word, "the function's name")?;
        let mut function = Function {
            name: name.into(),
            ..Function::default()
        };
        let mut ids = HashMap::new();
        for (param, ty) in self.list("(", ")", Self::param)? {
            ids.insert(param, ValueId(function.values.len()));
            function.values.push(Value {
                name: param.into(),
                ty,
                def: Def::Param,
            });
        }
        self.mark("{")?;
        while !self.eat("return") {
            let (value, ty) = self.param_or("a value, '%name', or 'return'")?;
            self.mark("=")?;
            let def = self.op(&ids)?;
            ids.insert(value, ValueId(function.values.len()));
            function.values.push(Value {
                name: value.into(),
                ty,
                def,
            });
        }
        function.results = self.returned(&ids)?;
        let id = FunctionId(self.module.functions.len());
        self.names.functions.insert(name, id);
        self.module.functions.push(function);
        Ok(())
    }

    /// `%name: type`
    fn param(&mut self) -> Parsed<(&'t str, Type)> {
        self.param_or("a value, '%name'")
    }

    fn param_or(&mut self, expected: &str) -> Parsed<(&'t str, Type)> {
        let name = self.take(Kind::Local, expected)?;
        Ok((name, self.typed()?))
    }

    /// What stands between `return` and `}`.
    fn returned<I: Copy>(&mut self, ids: &HashMap<&str, I>) -> Parsed<Vec<I>> {
        let mut results = Vec::new();
        while !self.eat("}") {
            if !results.is_empty() && !self.eat(",") {
                return self.fail(self.peek(), "',' or '}'");
            }
            results.push(self.known(Kind::Local, ids, "a value made above, '%name'")?);
        }
        Ok(results)
    }

    /// A name that stands in the table.
    fn known<I: Copy>(&mut self, kind: Kind, ids: &HashMap<&str, I>, expected: &str) -> Parsed<I> {
        let token = self.next();
        match ids.get(token.text) {
            Some(id) if token.kind == kind => Ok(*id),
            _ => self.fail(token, expected),
        }
    }

    fn op(&mut self, ids: &HashMap<&str, ValueId>) -> Parsed<Def> {
        let token = self.next();
        let found = (token.kind == Kind::Word).then(|| Op::from_name(token.text));
        let Some(op) = found.flatten() else {
            return self.fail(token, "an op");
        };
        let operands = self.list("(", ")", |p| {
            p.known(Kind::Local, ids, "a value made above, '%name'")
        })?;
        let mut attrs = Vec::new();
        for (i, (name, kind)) in op.def().attrs.iter().enumerate() {
            self.mark(if i == 0 { "{" } else { "," })?;
            if !self.eat(name) {
                return self.fail(self.peek(), &format!("attribute '{name}'"));
            }
            self.mark("=")?;
            attrs.push(self.attr(*kind)?);
        }
        if !attrs.is_empty() {
            self.mark("}")?;
        }
        Ok(Def::Op {
            op,
            attrs,
            operands,
        })
    }

    fn attr(&mut self, kind: AttrKind) -> Parsed<Attr> {
        Ok(match kind {
            AttrKind::Axis => Attr::Axis(self.axis()?),
            AttrKind::Axes => Attr::Axes(self.list("[", "]", Self::axis)?),
            AttrKind::Dim => Attr::Dim(self.dim()?),
            AttrKind::Dims => Attr::Dims(self.list("[", "]", Self::dim)?),
            AttrKind::To => Attr::To(self.dtype()?),
            AttrKind::Literals => Attr::Literals(self.list("[", "]", Self::literal)?),
        })
    }

    fn axis(&mut self) -> Parsed<usize> {
        let token = self.next();
        match token.text.parse() {
            Ok(axis) if token.kind == Kind::Number => Ok(axis),
            _ => self.fail(token, "an axis"),
        }
    }

    fn literal(&mut self) -> Parsed<Literal> {
        let negative = self.eat("-");
        let token = self.next();
        let number = matches!(token.kind, Kind::Number)
            || (token.kind == Kind::Word && matches!(token.text, "inf" | "nan"));
        match token.text.parse::<f64>() {
            Ok(x) if number => Ok(Literal(if negative { -x } else { x })),
            _ => self.fail(token, "a number"),
        }
    }

    fn step(&mut self) -> Parsed<()> {
        for (name, ty) in self.list("(", ")", Self::param)? {
            self.local(name, ty);
        }
        self.module.step.inputs = self.module.step.locals.len();
        self.mark("{")?;
        while !self.eat("return") {
            let call = self.call()?;
            self.module.step.calls.push(call);
        }
        let names = std::mem::take(&mut self.names.locals);
        self.module.step.outputs = self.returned(&names)?;
        Ok(())
    }

    fn local(&mut self, name: &'t str, ty: Type) -> LocalId {
        let step: &mut Step = &mut self.module.step;
        step.locals.push(Local {
            name: name.into(),
            ty,
        });
        let id = LocalId(step.locals.len() - 1);
        self.names.locals.insert(name, id);
        id
    }

    /// `%x: type, $s = function(%y, @w)`; without results no `=`.
    fn call(&mut self) -> Parsed<Call> {
        let mut results = Vec::new();
        let mut more = self.peek().kind != Kind::Word;
        while more {
            results.push(match self.peek().kind {
                Kind::Local => {
                    let (name, ty) = self.param()?;
                    Place::Local(self.local(name, ty))
                }
                Kind::Weight | Kind::State => self.place()?,
                _ => return self.fail(self.peek(), "a call: results, '=', a function"),
            });
            more = self.eat(",");
            if !more && !self.eat("=") {
                return self.fail(self.peek(), "',' or '='");
            }
        }
        let functions = &self.names.functions;
        let token = self.peek();
        let Some(function) = functions
            .get(token.text)
            .filter(|_| token.kind == Kind::Word)
        else {
            return self.fail(token, "a function defined above");
        };
        let function = *function;
        self.at += 1;
        let args = self.list("(", ")", Self::place)?;
        Ok(Call {
            results,
            function,
            args,
        })
    }

    fn place(&mut self) -> Parsed<Place> {
        let token = self.next();
        let names = &self.names;
        let place = match token.kind {
            Kind::Local => names.locals.get(token.text).map(|id| Place::Local(*id)),
            Kind::Weight => names.weights.get(token.text).map(|id| Place::Weight(*id)),
            Kind::State => names.states.get(token.text).map(|id| Place::State(*id)),
            Kind::Word | Kind::Number | Kind::Mark | Kind::End => None,
        };
        match place {
            Some(place) => Ok(place),
            None => self.fail(token, "a '%value', '@weight' or '$state' declared above"),
        }
    }
}
