//! Everything that can end a run early, and the exit code each deserves.

use std::io;
use std::path::PathBuf;

/// Why a run ended early.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No prompt was given and standard input is a terminal.
    #[error(
        "no prompt: give one as the argument or on standard input, or start a conversation with --chat"
    )]
    NoPrompt,
    /// The prompt has no text.
    #[error("the prompt is empty: give some text")]
    EmptyPrompt,
    /// Standard input is not text.
    #[error("standard input is not UTF-8: byte {offset} is invalid")]
    NotUtf8 {
        /// The offset of the first invalid byte.
        offset: usize,
    },
    /// Text was asked of a model that came without a tokenizer.
    #[error("the model has no tokenizer.json: give --tokens")]
    NoTokenizer,
    /// The prompt has more tokens than the context has positions.
    #[error(
        "the prompt has {tokens} tokens, but the context holds {context} (--max-context, at most the model's own)"
    )]
    PromptTooLong {
        /// Tokens in the prompt.
        tokens: usize,
        /// Positions in the context.
        context: usize,
    },
    /// A token id that the model does not have.
    #[error("token {id} is out of range: the vocabulary has {vocab} ids, 0 to {}", vocab.saturating_sub(1))]
    TokenOutOfRange {
        /// The id.
        id: u32,
        /// The vocabulary's size.
        vocab: usize,
    },
    /// More positions were asked for than the model has.
    #[error("--max-context {asked} is out of range: the model has {model} positions")]
    MaxContext {
        /// What was asked for.
        asked: usize,
        /// The model's own number of positions.
        model: usize,
    },
    /// The tokenizer could not be loaded or used.
    #[error("{name}: {message}")]
    Tokenizer {
        /// Where the tokenizer came from.
        name: String,
        /// What is wrong.
        message: String,
    },
    /// The checkpoint's chat template is faulty.
    #[error("chat template: {message}")]
    Template {
        /// What is wrong, and at which line.
        message: String,
    },
    /// The chat template refused the conversation; this is its own message.
    #[error("{0}")]
    Conversation(String),
    /// A logit is NaN or infinite.
    #[error("the logits at position {position} are not finite: token {token} has {value}")]
    NotFinite {
        /// The position of the row in its sequence.
        position: usize,
        /// The first token whose logit is not finite.
        token: usize,
        /// That logit.
        value: f32,
    },
    /// The executor failed.
    #[error("{0}")]
    Executor(Box<dyn std::error::Error + Send + Sync>),
    /// A result file could not be written.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What went wrong.
        source: io::Error,
    },
    /// The run was interrupted before the file was whole.
    #[error("interrupted: {} was not written", path.display())]
    Interrupted {
        /// The file.
        path: PathBuf,
    },
    /// Standard input could not be read.
    #[error("standard input: {0}")]
    Input(io::Error),
    /// Standard output could not be written.
    #[error("standard output: {0}")]
    Output(io::Error),
    /// Ctrl-C could not be caught.
    #[error("the signal handler could not be installed: {0}")]
    Signals(ctrlc::Error),
    /// The terminal could not be used for line editing.
    #[error("the terminal: {0}")]
    Terminal(rustyline::error::ReadlineError),
}

impl Error {
    /// The process's exit code: 2 for what the caller can mend, 1 otherwise.
    pub fn exit_code(&self) -> u8 {
        match self {
            Error::NoPrompt
            | Error::EmptyPrompt
            | Error::NotUtf8 { .. }
            | Error::NoTokenizer
            | Error::PromptTooLong { .. }
            | Error::TokenOutOfRange { .. }
            | Error::MaxContext { .. }
            | Error::Tokenizer { .. }
            | Error::Template { .. }
            | Error::Conversation(_) => 2,
            Error::File { source, .. } => match source.kind() {
                io::ErrorKind::NotFound
                | io::ErrorKind::PermissionDenied
                | io::ErrorKind::NotADirectory
                | io::ErrorKind::IsADirectory
                | io::ErrorKind::ReadOnlyFilesystem => 2,
                _ => 1,
            },
            Error::NotFinite { .. }
            | Error::Executor(_)
            | Error::Interrupted { .. }
            | Error::Input(_)
            | Error::Output(_)
            | Error::Signals(_)
            | Error::Terminal(_) => 1,
        }
    }
}
