//! The text form: one value a line, types always shown; `parse(print(m)) == m`.
//!
//! ```text
//! module twice
//!
//! dim R in 1..8
//!
//! fn double(%x: f32[R]) {
//!   %y: f32[R] = add(%x, %x)
//!   return %y
//! }
//!
//! step(%x: f32[R]) {
//!   %y: f32[R] = double(%x)
//!   return %y
//! }
//! ```
//!
//! `%` names a value, `@` a weight, `$` a state; `//` starts a comment.

mod lexer;
mod parser;
mod printer;

use std::fmt;

pub use parser::parse;
pub(crate) use printer::op_text;
pub use printer::{definition, print};

/// Whether a name can stand behind `%`, `@` or `$`.
pub(crate) fn is_name(name: &str) -> bool {
    !name.is_empty() && name.chars().all(lexer::in_name)
}

/// Whether a name can stand alone, as a function's or a symbol's does; `return` ends a body.
pub(crate) fn is_word(name: &str) -> bool {
    is_name(name) && name.starts_with(lexer::starts_word) && name != "return"
}

/// Text that is not a module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TextError {
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// Byte offset into the text, and bytes, of what was found.
    pub span: (usize, usize),
    /// What could have stood there.
    pub expected: String,
    /// What stands there.
    pub found: String,
}

impl fmt::Display for TextError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "line {}, column {}: expected {}, found {}",
            self.line, self.column, self.expected, self.found
        )
    }
}

impl std::error::Error for TextError {}
