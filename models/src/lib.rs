//! Gemma 2: its checkpoints, read and checked, and its computation as a graph.
//!
//! ```text
//! folder ──Checkpoint::open──▶ Checkpoint ─┬─ Config ──gemma2──▶ ir::Module ─┐
//!                                          └─ weights, memory-mapped ────────┴─▶ Interpreted
//! ```
//!
//! - [`Checkpoint`]: a folder in the Hugging Face layout, checked whole before anything is made of it;
//!   [`Config`]: its sizes and constants; [`SafeTensors`]: one file of tensors; [`TextFiles`]: what it has
//!   for turning text into tokens.
//! - [`gemma2()`]: the module that computes the model, from primitives, for steps of a [`StepShape`].
//! - [`Interpreted`]: that module run by the interpreter, on a checkpoint's weights.
//! - [`Golden`]: the recorded truth beside a checkpoint.
//!
//! Every [`Error`] is one line that names the file, the key or tensor, what was found and what was
//! expected.

mod checkpoint;
mod config;
mod error;
mod file;
mod gemma2;
mod golden;
mod interpreted;
mod json;
mod safetensors;
mod text_files;

pub use checkpoint::{Checkpoint, Weight};
pub use config::{Config, LayerKind};
pub use error::Error;
pub use gemma2::{StepShape, gemma2};
pub use golden::Golden;
pub use interpreted::{Interpreted, StepOutput};
pub use safetensors::{SafeTensors, StoredDType, TensorView};
pub use text_files::TextFiles;
