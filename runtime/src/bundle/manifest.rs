//! What a compiled file and a weight file say of themselves.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Hash;
use crate::{Level, Limits, Program, Work};

/// What a compiled file holds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// What it was made from and how.
    pub about: About,
    /// What a run has to know of the model.
    pub model: Model,
    /// What is launched over which memory.
    pub program: Program,
    /// The program's machine code, once for each level of CPU.
    pub images: Vec<StoredImage>,
    /// The tokenizer, if the checkpoint has one.
    pub tokenizer: Option<Tokenizer>,
    /// Where the weights are.
    pub weights: WeightPlace,
}

/// What a compiled file was made from and how; for people to read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct About {
    /// Name of the checkpoint's folder.
    pub name: String,
    /// Version of the compiler.
    pub compiler: String,
    /// Hash of the checkpoint's configuration and weights.
    pub checkpoint: Hash,
    /// Hash of the rewrite rules that were used.
    pub rules: Hash,
    /// `exact` or `fast`.
    pub fidelity: String,
    /// What the weights are stored as.
    pub weight_format: String,
    /// What keys and values are stored as.
    pub kv_format: String,
    /// The CPU that the code was tuned for, if it was for one.
    pub tuned_for: Option<String>,
}

/// What a run has to know of a model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Model {
    /// The sizes that the program was built for.
    pub limits: Limits,
    /// The id that begins every sequence.
    pub bos: u32,
    /// The ids that end an answer.
    pub stop_ids: Vec<u32>,
    /// Bytes of parameters, keys and values that a step touches and what it computes, if that is known.
    pub work: Option<Work>,
}

/// A part of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Span {
    /// Where it begins.
    pub offset: u64,
    /// Its length in bytes.
    pub bytes: u64,
}

/// An [`Image`](crate::Image) in the file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredImage {
    /// The CPUs that can run it.
    pub level: Level,
    /// StoredImage and constants.
    pub span: Span,
    /// Where each kernel of the program begins in the code.
    pub entries: Vec<u64>,
}

/// A checkpoint's tokenizer and what belongs to it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tokenizer {
    /// The content of its tokenizer.json.
    pub json: Span,
    /// The checkpoint's chat template, if it has its own.
    pub chat_template: Option<String>,
    /// The special tokens that the template may name.
    pub special: BTreeMap<String, String>,
}

/// Where a compiled file's weights are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum WeightPlace {
    /// In the file itself.
    Embedded(Span),
    /// In a file beside it.
    Sidecar {
        /// The file's name, in the folder of the compiled file.
        file: String,
        /// The hash of its manifest, and so of all of it.
        seal: Hash,
    },
}

/// What a weight file holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WeightManifest {
    /// Hash of the checkpoint's configuration and weights.
    pub checkpoint: Hash,
    /// Where the weights' data are.
    pub data: Span,
}
