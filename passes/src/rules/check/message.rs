//! A counterexample as a person reads it.

use std::fmt;
use std::sync::Arc;

use ir::interp::{Data, Tensor};
use ir::{Attr, Literal, Module};

use super::compare::elements;
use super::run::Counterexample;
use super::values::{index, with_element};

/// Most elements of an operand that a message shows, and most in all that are tried for being read.
const SHOWN: usize = 64;

/// Most elements that it names as read.
const READ: usize = 8;

impl fmt::Display for Counterexample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "rule {} is not {}:", self.rule, self.class)?;
        for (symbol, low, high) in &self.dims.ranges {
            let value = self.bindings.get(symbol).unwrap_or_default();
            writeln!(f, "dim {symbol} in {low}..{high}, here {value}")?;
        }
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
            let elements = elements(tensor);
            let shown = elements.iter().take(SHOWN).map(|x| Literal(*x)).collect();
            write!(f, "%{} = {}", param.name, Attr::Literals(shown))?;
            match elements.len() {
                n if n > SHOWN => writeln!(f, " and {} more", n - SHOWN)?,
                _ => writeln!(f)?,
            }
        }
        match &self.mismatch {
            Some(mismatch) => {
                mismatch.fmt(f)?;
                let read = self.read(mismatch.element);
                match read.is_empty() {
                    true => Ok(()),
                    false => write!(f, "\nit reads {}", read.join(", ")),
                }
            }
            None => f.write_str("the left side runs, the right side does not"),
        }
    }
}

impl Counterexample {
    /// The operands' elements that a result's element depends on, with their values: those that change
    /// it when they are changed. None are named where every operand has one element.
    fn read(&self, element: usize) -> Vec<String> {
        let counts = self.operands.iter().map(|x| x.shape.iter().product());
        let counts: Vec<usize> = counts.collect();
        if counts.iter().all(|n| *n <= 1) || counts.iter().sum::<usize>() > SHOWN {
            return vec![];
        }
        let before = self.results(element);
        let mut read = Vec::new();
        for (i, operand) in self.operands.iter().enumerate() {
            let values = elements(operand);
            for (j, value) in values.into_iter().enumerate() {
                let depends = changes(operand, j).into_iter().any(|changed| {
                    let mut other = self.clone();
                    other.operands[i] = Arc::new(changed);
                    other.results(element) != before
                });
                if depends {
                    let name = &self.left.params()[i].name;
                    let index = index(&operand.shape, j);
                    read.push(format!("%{name}{index:?} = {}", Literal(value)));
                }
            }
        }
        if read.len() > READ {
            let more = read.len() - READ;
            read.truncate(READ);
            read.push(format!("and {more} more"));
        }
        read
    }

    /// The bits of an element of both sides.
    fn results(&self, element: usize) -> [Option<u64>; 2] {
        [&self.left, &self.right].map(|side| {
            let result = self.run(side, &self.operands)?;
            elements(&result).get(element).map(|x| x.to_bits())
        })
    }
}

/// The tensor with an element changed in one way or another.
fn changes(x: &Tensor<'static, f32>, element: usize) -> Vec<Tensor<'static, f32>> {
    let values = match &x.data {
        Data::Real(_) => vec![f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 0.0],
        Data::Int(ints) => vec![ints[element].wrapping_add(1).into()],
        Data::Bool(bools) => vec![f64::from(u8::from(!bools[element]))],
        Data::Stored(_) => vec![],
    };
    let changed = values.into_iter();
    changed
        .map(|value| with_element(x, element, value))
        .collect()
}
