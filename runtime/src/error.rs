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
    /// A compiled program contradicts itself, its code or its weights, or is not what it is used as.
    #[error("the compiled program is faulty: {0}")]
    Program(String),
    /// A compiled program's code could not be made executable.
    #[error("the compiled program's code could not be mapped: {0}")]
    Code(io::Error),
    /// The memory of a compiled program could not be had.
    #[error("{bytes} bytes of memory could not be mapped: {source}")]
    Memory {
        /// How much.
        bytes: u64,
        /// What went wrong.
        source: io::Error,
    },
    /// The threads to compute with could not be had.
    #[error("a thread could not be started: {0}")]
    Threads(io::Error),
    /// A number that a step binds is out of its range.
    #[error("{name} is {value}, but the program was compiled for {low} to {high}")]
    Symbol {
        /// The number's name.
        name: String,
        /// Its value.
        value: i64,
        /// The lowest it may have.
        low: i64,
        /// The highest it may have.
        high: i64,
    },
    /// A kernel read an index that is outside the axis it indexes.
    #[error("kernel {kernel} read an index that is outside the axis it indexes")]
    Index {
        /// The kernel's name.
        kernel: String,
    },
    /// A machine description is not what calibration writes.
    #[error("{}: {message}", path.display())]
    Description {
        /// The file.
        path: PathBuf,
        /// The key, what was expected there and what was found.
        message: String,
    },
    /// A runtime has no compiled model at its end.
    #[error("{} holds no model: `lapidary compile CHECKPOINT -o FILE` makes a file that does", path.display())]
    NotCompiled {
        /// The file.
        path: PathBuf,
    },
    /// A compiled file or weight file lacks its end.
    #[error("{} is not whole: its end was cut off or changed after it was compiled", path.display())]
    NotWhole {
        /// The file.
        path: PathBuf,
    },
    /// A compiled file or weight file is not what was written.
    #[error("{} was changed after it was compiled (at bytes {from}..{to})", path.display())]
    Changed {
        /// The file.
        path: PathBuf,
        /// Where the first part begins that was changed.
        from: u64,
        /// Where it ends.
        to: u64,
    },
    /// A weight file was written by another version.
    #[error("{} is of format {found}, expected {expected}: compile again with one version of lapidary", path.display())]
    OtherFormat {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: u32,
        /// The format that this version reads.
        expected: u32,
    },
    /// A compiled file's weight file is not there.
    #[error("{}: no such file, expected the weights of {} there", path.display(), program.display())]
    NoWeights {
        /// Where it should be.
        path: PathBuf,
        /// The compiled file.
        program: PathBuf,
    },
    /// A weight file is whole, but not that of the compiled file.
    #[error("{} holds other weights than those that {} was compiled with", path.display(), program.display())]
    OtherWeights {
        /// The weight file.
        path: PathBuf,
        /// The compiled file.
        program: PathBuf,
    },
    /// The CPU cannot run any of a compiled file's code.
    #[error("{} needs {feature}, which this CPU lacks: it was built for {levels}", path.display())]
    Cpu {
        /// The compiled file.
        path: PathBuf,
        /// The first feature that is missing.
        feature: &'static str,
        /// What it was built for.
        levels: String,
    },
    /// A file could not be read or written.
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
            | Error::Description { .. }
            | Error::NotCompiled { .. }
            | Error::NotWhole { .. }
            | Error::Changed { .. }
            | Error::OtherFormat { .. }
            | Error::NoWeights { .. }
            | Error::OtherWeights { .. }
            | Error::Cpu { .. }
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
            | Error::Program(_)
            | Error::Code(_)
            | Error::Memory { .. }
            | Error::Threads(_)
            | Error::Symbol { .. }
            | Error::Index { .. }
            | Error::Interrupted { .. }
            | Error::Input(_)
            | Error::Output(_)
            | Error::Signals(_)
            | Error::Terminal(_) => 1,
        }
    }
}
