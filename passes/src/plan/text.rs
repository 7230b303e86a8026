//! The text form of a plan: its module's text, then each function's kernels; `parse(print(p)) == p`.
//!
//! ```text
//! plan mlp {
//!   kernel k.y over [R, 8] template dot {
//!     read %x, %w
//!     compute %0, %y
//!     write %y
//!   }
//!   arena 256 {
//!     %h at 0 size 256
//!   }
//!   put %k in place
//!   put %v copied
//! }
//! ```

use std::fmt::Write;

use ir::text::TextError;
use ir::{Dim, Function, FunctionId, Sym, ValueId};

use super::{Buffers, FunctionPlan, Kernel, Plan, Template};

/// The text of a plan.
pub fn print(plan: &Plan) -> String {
    let mut out = ir::text::print(&plan.module);
    for (function, planned) in plan.module.functions.iter().zip(&plan.functions) {
        write_function(&mut out, function, planned).expect("writing to a string does not fail");
    }
    out
}

fn write_function(
    out: &mut String,
    function: &Function,
    planned: &FunctionPlan,
) -> std::fmt::Result {
    let name = |v: &ValueId| format!("%{}", function.values[v.0].name);
    let names = |values: &[ValueId]| values.iter().map(name).collect::<Vec<_>>().join(", ");
    writeln!(out, "\nplan {} {{", function.name)?;
    for kernel in &planned.kernels {
        let space: Vec<String> = kernel.space.iter().map(Dim::to_string).collect();
        write!(out, "  kernel {} over [{}]", kernel.name, space.join(", "))?;
        if let Some(template) = kernel.template {
            write!(out, " template {}", template.name())?;
        }
        writeln!(out, " {{")?;
        for (word, values) in [
            ("read", &kernel.reads),
            ("compute", &kernel.values),
            ("write", &kernel.outputs),
        ] {
            if !values.is_empty() {
                writeln!(out, "    {word} {}", names(values))?;
            }
        }
        writeln!(out, "  }}")?;
    }
    let buffers = &planned.buffers;
    if buffers.arena > 0 || !buffers.slots.is_empty() {
        writeln!(out, "  arena {} {{", buffers.arena)?;
        for (value, (offset, size)) in &buffers.slots {
            writeln!(out, "    {} at {offset} size {size}", name(value))?;
        }
        writeln!(out, "  }}")?;
    }
    for (value, in_place) in &buffers.in_place {
        let how = if *in_place { "in place" } else { "copied" };
        writeln!(out, "  put {} {how}", name(value))?;
    }
    writeln!(out, "}}")
}

/// Whether a text is a plan's: a module's text has no `plan` in it.
pub fn is_plan(text: &str) -> bool {
    first_plan(text).is_some()
}

/// Where the first function's plan begins.
fn first_plan(text: &str) -> Option<usize> {
    let lines = text.split_inclusive('\n').scan(0, |at, line| {
        let start = *at;
        *at += line.len();
        Some((start, line))
    });
    let mut plans = lines.filter(|(_, line)| line.starts_with("plan ") && line.contains('{'));
    plans.next().map(|(start, _)| start)
}

/// Reads a plan's text. Names are resolved here; whether the plan is legal is for [`super::verify`] to say.
pub fn parse(text: &str) -> Result<Plan, TextError> {
    let cut = first_plan(text).unwrap_or(text.len());
    let mut plan = Plan {
        module: ir::text::parse(&text[..cut])?,
        functions: Vec::new(),
    };
    let mut parser = Parser { text, at: cut };
    while !parser.at_end() {
        let (function, planned) = parser.function(&plan)?;
        if function.0 != plan.functions.len() {
            let next = plan.module.functions.get(plan.functions.len());
            let expected = next.map_or("the end".into(), |f| format!("the plan of {}", f.name));
            return parser.fail(&expected);
        }
        plan.functions.push(planned);
    }
    Ok(plan)
}

type Parsed<T> = Result<T, TextError>;

struct Parser<'t> {
    text: &'t str,
    at: usize,
}

impl<'t> Parser<'t> {
    fn skip(&mut self) {
        loop {
            let rest = &self.text[self.at..];
            let blank = rest.len() - rest.trim_start().len();
            let comment = rest[blank..].starts_with("//");
            let line = rest[blank..].find('\n').unwrap_or(rest.len() - blank);
            self.at += if comment { blank + line } else { blank };
            if !comment {
                return;
            }
        }
    }

    fn at_end(&mut self) -> bool {
        self.skip();
        self.at == self.text.len()
    }

    /// The next token: a name with its sigil, a number, or a mark.
    fn peek(&mut self) -> &'t str {
        self.skip();
        let rest = &self.text[self.at..];
        let in_name = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '.';
        let sigil = usize::from(rest.starts_with('%'));
        let end = rest[sigil..]
            .find(|c| !in_name(c))
            .map_or(rest.len(), |n| n + sigil);
        let mark = rest.chars().next().map_or(0, char::len_utf8);
        &rest[..end.max(mark)]
    }

    fn next(&mut self) -> &'t str {
        let token = self.peek();
        self.at += token.len();
        token
    }

    fn fail<T>(&mut self, expected: &str) -> Parsed<T> {
        let token = self.peek();
        let before = &self.text[..self.at];
        let line_start = before.rfind('\n').map_or(0, |i| i + 1);
        let short: String = token.chars().take(60).collect();
        Err(TextError {
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
            span: (self.at, token.len()),
            expected: expected.into(),
            found: match token {
                "" => "the end of the text".into(),
                _ => format!("'{short}'"),
            },
        })
    }

    fn eat(&mut self, token: &str) -> bool {
        let found = self.peek() == token;
        self.at += if found { token.len() } else { 0 };
        found
    }

    fn want(&mut self, token: &str) -> Parsed<()> {
        if self.eat(token) {
            return Ok(());
        }
        self.fail(&format!("'{token}'"))
    }

    fn function(&mut self, plan: &Plan) -> Parsed<(FunctionId, FunctionPlan)> {
        self.want("plan")?;
        let name = self.peek();
        let Some(id) = plan.module.function(name) else {
            return self.fail("a function of the module");
        };
        self.next();
        let function = &plan.module.functions[id.0];
        let mut planned = FunctionPlan::default();
        self.want("{")?;
        loop {
            if self.eat("}") {
                return Ok((id, planned));
            } else if self.eat("kernel") {
                planned.kernels.push(self.kernel(function)?);
            } else if self.eat("arena") {
                self.arena(function, &mut planned.buffers)?;
            } else if self.eat("put") {
                let value = self.value(function)?;
                let in_place = !self.eat("copied");
                if in_place && !self.eat("in") {
                    return self.fail("'in place' or 'copied'");
                }
                if in_place {
                    self.want("place")?;
                }
                planned.buffers.in_place.insert(value, in_place);
            } else {
                return self.fail("'kernel', 'arena', 'put' or '}'");
            }
        }
    }

    fn kernel(&mut self, function: &Function) -> Parsed<Kernel> {
        let name = self.peek();
        if !name.starts_with(|c: char| c.is_ascii_alphabetic()) {
            return self.fail("the kernel's name");
        }
        self.next();
        self.want("over")?;
        self.want("[")?;
        let mut space = Vec::new();
        while !self.eat("]") {
            if !space.is_empty() {
                self.want(",")?;
            }
            space.push(self.dim()?);
        }
        let mut template = None;
        if self.eat("template") {
            let name = self.peek();
            template = Template::ALL.into_iter().find(|t| t.name() == name);
            if template.is_none() {
                return self.fail("'dot' or 'attention'");
            }
            self.next();
        }
        self.want("{")?;
        let mut lists = ["read", "compute", "write"].map(|word| (word, Vec::new()));
        for (word, values) in &mut lists {
            if self.eat(word) {
                values.push(self.value(function)?);
                while self.eat(",") {
                    values.push(self.value(function)?);
                }
            }
        }
        if !self.eat("}") {
            return self.fail("'read', 'compute' and 'write', in this order, or '}'");
        }
        let [(_, reads), (_, values), (_, outputs)] = lists;
        Ok(Kernel {
            name: name.into(),
            values,
            reads,
            outputs,
            space,
            template,
        })
    }

    fn arena(&mut self, function: &Function, buffers: &mut Buffers) -> Parsed<()> {
        buffers.arena = self.number()?;
        self.want("{")?;
        while !self.eat("}") {
            let value = self.value(function)?;
            self.want("at")?;
            let offset = self.number()?;
            self.want("size")?;
            let size = self.number()?;
            buffers.slots.insert(value, (offset, size));
        }
        Ok(())
    }

    fn value(&mut self, function: &Function) -> Parsed<ValueId> {
        let name = self.peek().strip_prefix('%');
        match name.and_then(|name| function.value(name)) {
            Some(id) => {
                self.next();
                Ok(id)
            }
            None => self.fail(&format!("a value of {}, '%name'", function.name)),
        }
    }

    fn number(&mut self) -> Parsed<u64> {
        match self.peek().parse() {
            Ok(n) => {
                self.next();
                Ok(n)
            }
            Err(_) => self.fail("an integer below 2^64"),
        }
    }

    /// A sum of products of integers and symbols.
    fn dim(&mut self) -> Parsed<Dim> {
        let mut sum = Dim::default();
        let mut negative = self.eat("-");
        loop {
            let mut product = Dim::from(if negative { -1i64 } else { 1 });
            loop {
                let token = self.peek();
                let factor = if token.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') {
                    Dim::sym(Sym::new(token).name())
                } else if let Ok(n) = token.parse::<i64>() {
                    Dim::from(n)
                } else {
                    return self.fail("a dim: an integer or a symbol");
                };
                self.next();
                product = &product * &factor;
                if !self.eat("*") {
                    break;
                }
            }
            sum = &sum + &product;
            negative = self.eat("-");
            if !negative && !self.eat("+") {
                return Ok(sum);
            }
        }
    }
}
