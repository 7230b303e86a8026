//! What can be wrong with rules.

use std::path::PathBuf;

/// Why rules could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum RulesError {
    /// A line is no rule.
    #[error("{file}, line {line}, column {column}: expected {expected}, found {found}")]
    Syntax {
        /// The file.
        file: String,
        /// Line, from 1.
        line: usize,
        /// Column in characters, from 1.
        column: usize,
        /// Where that is in the file, in bytes.
        span: std::ops::Range<usize>,
        /// What could have stood there.
        expected: String,
        /// What stands there.
        found: String,
    },
    /// Two rules have one name.
    #[error("rule {name} at {second} has the name of the rule at {first}")]
    Duplicate {
        /// The name.
        name: String,
        /// Where it is first.
        first: String,
        /// Where it is again.
        second: String,
    },
    /// A file cannot be read.
    #[error("{}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}
