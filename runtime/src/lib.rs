//! What a run of a model needs beside the model's arithmetic.
//!
//! ```text
//! RunOptions ── prompt ──▶ Text ── ids ──▶ Generator ── rows ──▶ Executor
//!                           ▲                │    ▲                 │
//!                  text ◀── TokenStream ◀────┘    └─── Sampler ◀────┘ logits
//! ```
//!
//! - [`Executor`] is all that is asked of a model: run a step of [`Row`]s within its [`Limits`]. The interpreter is one;
//!   a [`CompiledModel`] is another.
//! - [`RunOptions`] are the command line of a run, the same for every command and every binary.
//! - [`Text`] turns a conversation into ids, with the checkpoint's chat template and tokenizer; a [`TokenStream`] turns
//!   ids back into text as they come, in whole characters.
//! - [`Session`] is where one sequence stands in its slot. [`Generator`] feeds it a prompt in chunks, chooses tokens
//!   with a [`Sampler`], and says at last why it stopped ([`Stop`]).
//! - [`run`](run()) puts these together: an answer, a conversation, or the logits of a prompt in a file; it keeps
//!   [`Stats`] on the way. [`run_in`] does the same over any streams, given as a [`Host`].
//! - A compiled model is a [`Program`] over an [`Image`] of machine code, the ABI between the compiler and this crate. A
//!   [`Machine`] runs its kernels one after the other, each on all [`Workers`]; a [`CompiledModel`] is the executor over
//!   it.
//! - [`Description`] is what a machine can do at most, as `lapidary calibrate` measured it; [`Work`] is what a model's
//!   steps read and compute. [`Stats`] hold one against the other.
//! - [`bundle`] is the compiled file: this runtime, code, text and weights in one, sealed by hashes. An [`OutputFile`]
//!   appears whole or not at all.
//! - [`Error`] is one line for the user, and an exit code: 2 for what the caller can mend, 1 otherwise.
//!
//! Standard output carries the result and nothing else. Result files appear whole or not at all. A step allocates
//! nothing here but the text of its token.
//!
//! This crate depends on no other of the project: it travels inside every compiled binary.

pub mod bundle;
mod chat;
mod compiled;
mod description;
mod error;
mod executor;
mod file;
mod generate;
mod host;
mod interrupt;
mod logits;
mod machine;
mod options;
mod program;
mod run;
mod sampler;
mod session;
mod stats;
mod stream;
mod template;
mod text;
mod work;

pub use compiled::CompiledModel;
pub use description::{Description, Measured, Rates};
pub use error::Error;
pub use executor::{Executor, Limits, Row};
pub use file::OutputFile;
pub use generate::{Generator, Stop};
pub use host::Host;
pub use machine::{Barrier, Broken, Code, Machine, Weights, Workers};
pub use options::RunOptions;
pub use program::{Address, Buffer, Image, Kernel, Launch, Level, Program, Symbol, Weight};
pub use run::{run, run_in};
pub use sampler::{Sampler, Sampling};
pub use session::Session;
pub use stats::Stats;
pub use stream::TokenStream;
pub use template::{Message, Role};
pub use text::{Text, TextSource, TokenizerJson};
pub use work::{Arithmetic, AttentionWork, Work};
