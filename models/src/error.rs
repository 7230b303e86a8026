//! What can be wrong with a checkpoint's files.

use std::fmt::Display;
use std::io;
use std::path::{Path, PathBuf};

/// Longest piece of a file's own text that a message repeats, in characters.
const LONGEST: usize = 100;

/// A checkpoint, configuration or golden that cannot be used.
///
/// Displayed as one line: the file, then the key or tensor, what was found there, and what was
/// expected. The caller can mend every one of them by giving another file.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The system refused to read a file.
    #[error("{}: cannot be read: {source}", line(path))]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// A file as a whole is not what it should be.
    #[error("{}: found {found}, expected {expected}", line(path))]
    File {
        /// The file or folder.
        path: PathBuf,
        /// What is there.
        found: String,
        /// What should be there.
        expected: String,
    },
    /// A key of a JSON file is absent, ill-typed or has a value that is not supported.
    #[error(
        "{}: key {}: found {found}, expected {expected}",
        line(path),
        quoted(key)
    )]
    Key {
        /// The file.
        path: PathBuf,
        /// The key; keys of inner objects follow their parent's after a dot.
        key: String,
        /// The value there.
        found: String,
        /// What it should be.
        expected: String,
    },
    /// A tensor is absent, surplus, or not of the right shape, dtype or place.
    #[error(
        "{}: tensor {}: found {found}, expected {expected}",
        line(path),
        quoted(tensor)
    )]
    Tensor {
        /// The file that the tensor is, or should be, in.
        path: PathBuf,
        /// The tensor's name.
        tensor: String,
        /// What is there.
        found: String,
        /// What should be there.
        expected: String,
    },
}

impl Error {
    pub(crate) fn io(path: &Path, source: io::Error) -> Error {
        let path = path.to_path_buf();
        Error::Io { path, source }
    }

    pub(crate) fn file(path: &Path, found: impl Display, expected: impl Display) -> Error {
        Error::File {
            path: path.to_path_buf(),
            found: found.to_string(),
            expected: expected.to_string(),
        }
    }

    pub(crate) fn key(
        path: &Path,
        key: &str,
        found: impl Display,
        expected: impl Display,
    ) -> Error {
        Error::Key {
            path: path.to_path_buf(),
            key: key.to_string(),
            found: found.to_string(),
            expected: expected.to_string(),
        }
    }

    pub(crate) fn tensor(
        path: &Path,
        tensor: &str,
        found: impl Display,
        expected: impl Display,
    ) -> Error {
        Error::Tensor {
            path: path.to_path_buf(),
            tensor: tensor.to_string(),
            found: found.to_string(),
            expected: expected.to_string(),
        }
    }
}

/// A path on one line, whatever characters its names hold.
fn line(path: &Path) -> String {
    let mut text = String::new();
    for c in path.display().to_string().chars() {
        if c.is_control() {
            text.extend(c.escape_default());
        } else {
            text.push(c);
        }
    }
    text
}

/// Text from a file, in quotes, escaped and cut to a readable length.
pub(crate) fn quoted(text: &str) -> String {
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{:?}…", &text[..end]),
        None => format!("{text:?}"),
    }
}

/// A JSON value as a file has it, cut to a readable length.
pub(crate) fn shown(value: &serde_json::Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}
