//! The compiled file: a model's runtime, code, text and weights in one, and the weight file beside it.
//!
//! ```text
//! compiled file   runtime ELF | code image for each level | tokenizer.json | weights | manifest | trailer
//! weight file     weights | manifest | trailer
//!
//! trailer         "LAPIDARY", then three u64, little-endian: where the manifest begins, its length, its xxh3
//! ```
//!
//! Images and weights begin at multiples of 4096 and are mapped from the file as they are. The manifest is JSON: what
//! the file holds and where, and the xxh3 of every 4 MiB of what comes before it. So a file that was cut short or
//! changed anywhere is refused before anything of it is run.
//!
//! - [`ProgramFile`] and [`WeightFile`] write; the file appears whole or not at all.
//! - [`Bundle`] opens a compiled file, with its weight file if it has one, and checks all of it.

mod manifest;
mod open;
mod seal;
mod write;

pub use manifest::{
    About, Manifest, Model, Span, StoredImage, Tokenizer, WeightManifest, WeightPlace,
};
pub use open::Bundle;
pub use seal::{Hash, Sealed};
pub use write::{ProgramFile, WeightFile, WeightWriter};

/// What code and weights begin at a multiple of.
const PAGE: u64 = 4096;
