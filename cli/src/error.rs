//! What can go wrong in a command.

use std::io;
use std::path::PathBuf;

use ir::Violation;
use ir::interp::RunError;
use miette::{Diagnostic, GraphicalReportHandler, GraphicalTheme, NamedSource, SourceSpan};

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A checkpoint or golden is not what it should be.
    #[error(transparent)]
    Models(#[from] models::Error),
    /// The run could not begin, or ended early.
    #[error(transparent)]
    Runtime(#[from] runtime::Error),
    /// The interpreter refused a program or a step.
    #[error(transparent)]
    Interpreter(#[from] RunError),
    /// The backend could not make code.
    #[error(transparent)]
    Backend(#[from] backends::Error),
    /// What is to be written does not fit the disk.
    #[error("{}: {needed} bytes are needed there, and {free} are free", path.display())]
    Space {
        /// The file, or the folder, that is to be written.
        path: PathBuf,
        /// Bytes it takes.
        needed: u64,
        /// Bytes that are free.
        free: u64,
    },
    /// A text is no module, plan or file of rules.
    #[error(transparent)]
    Text(#[from] Box<BadText>),
    /// A module breaks a constraint.
    #[error("{name}: {violation}")]
    Violation {
        /// The file, or the checkpoint that the module was built from.
        name: String,
        /// Which constraint, where and how.
        violation: Violation,
    },
    /// A file could not be read or written.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// Standard output could not be written.
    #[error("standard output: {0}")]
    Output(#[from] io::Error),
    /// An option, or the environment, asks for what cannot be done.
    #[error("{0}")]
    Option(String),
    /// A backend breaks the contract's bound.
    #[error("{0}")]
    Bound(String),
    /// A rule does not keep its promise.
    #[error("{0}")]
    Unsound(String),
}

/// A text that is not what it should be, and where.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[error("{message}")]
pub struct BadText {
    /// The whole text, and the file's name.
    #[source_code]
    pub text: NamedSource<String>,
    /// What stands where, in the text.
    #[label("expected {expected}")]
    pub span: SourceSpan,
    /// What could have stood there.
    pub expected: String,
    /// One line: the file, the line, the column, what was expected and what was found.
    pub message: String,
}

impl Error {
    /// The process's exit code: 2 for what the caller can mend, 1 otherwise.
    pub fn exit_code(&self) -> u8 {
        match self {
            Error::Runtime(error) => error.exit_code(),
            Error::Models(_)
            | Error::Text(_)
            | Error::Violation { .. }
            | Error::File { .. }
            | Error::Space { .. }
            | Error::Option(_) => 2,
            Error::Interpreter(_)
            | Error::Backend(_)
            | Error::Output(_)
            | Error::Bound(_)
            | Error::Unsound(_) => 1,
        }
    }

    /// Tells the user, on standard error: one line, and the place in the text where there is one.
    pub fn report(&self) {
        match self {
            Error::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
            Error::Text(bad) => {
                let mut theme = GraphicalTheme::unicode_nocolor();
                theme.characters.error = "error:".into();
                let handler = GraphicalReportHandler::new_themed(theme).with_wrap_lines(false);
                let mut report = String::new();
                match handler.render_report(&mut report, bad.as_ref()) {
                    Ok(()) => eprint!("{}", report.trim_start()),
                    Err(_) => eprintln!("error: {self}"),
                }
            }
            _ => eprintln!("error: {self}"),
        }
    }
}
