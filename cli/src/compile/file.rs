//! A compiled checkpoint, written to its file.

use std::path::Path;

use backends::Compiled;
use models::{Checkpoint, TextFiles};
use runtime::bundle::{About, Hash, Model, ProgramFile, WeightFile};
use runtime::{Limits, Text, TextSource, TokenizerJson};

use super::code;
use super::options::Build;
use super::weights::{PlacedWeights, read, stream};
use crate::error::Error;
use crate::host;
use crate::progress::Progress;

/// The runtime that every compiled file begins with; see `build.rs`.
const RUNTIME: &[u8] = include_bytes!(env!("LAPIDARY_RUNTIME"));

/// Bytes that manifests, and padding between parts, take at most, beside the weights' hashes.
const REST: u64 = 4 << 20;

/// What a compiled file is made of.
pub struct Source<'s> {
    /// The checkpoint.
    pub checkpoint: &'s Checkpoint,
    /// What was built of it.
    pub build: &'s Build,
    /// The program and its code.
    pub compiled: &'s Compiled,
    /// The text side, if the checkpoint has one.
    pub text: Option<&'s Tokenizer>,
}

impl Source<'_> {
    /// The weights of the program.
    pub fn weights(&self) -> PlacedWeights<'_> {
        PlacedWeights {
            checkpoint: self.checkpoint,
            format: self.build.weight_format,
            places: &self.compiled.program.weights,
        }
    }
}

/// Where the weights go.
pub enum Destination<'d> {
    /// Into the file.
    Embedded,
    /// Into this file, in the same folder.
    Beside(&'d Path),
    /// They are there already.
    Written(&'d WrittenWeights),
}

/// A weight file that has been written.
pub struct WrittenWeights {
    /// Its name.
    pub file: String,
    /// The hash of its manifest.
    pub seal: Hash,
    /// The hash of the checkpoint.
    pub checkpoint: Hash,
}

/// A checkpoint's tokenizer, read and tried.
pub struct Tokenizer {
    json: Vec<u8>,
    files: TextFiles,
}

/// Reads the checkpoint's text side and tries it.
///
/// # Errors
/// Those that a run with it would end with.
pub fn text(checkpoint: &Checkpoint) -> Result<Option<Tokenizer>, Error> {
    let Some(files) = checkpoint.text()? else {
        return Ok(None);
    };
    Text::new(TextSource {
        tokenizer_json: TokenizerJson::File(&files.tokenizer_json),
        chat_template: files.chat_template.clone(),
        special: files.special.clone(),
        bos: checkpoint.config().bos,
    })?;
    let json = read(&files.tokenizer_json)?;
    Ok(Some(Tokenizer { json, files }))
}

/// Bytes that a compiled file takes without its weights; without code, at the least.
pub fn bytes(compiled: Option<&Compiled>, text: Option<&Tokenizer>) -> u64 {
    let images = compiled.iter().flat_map(|compiled| &compiled.images);
    let code: usize = images.map(|image| image.code.len()).sum();
    let text = text.map_or(0, |text| text.json.len());
    (RUNTIME.len() + code + text) as u64 + REST
}

/// Bytes of the weight data of these places.
pub fn weight_bytes(places: &[runtime::Weight]) -> u64 {
    let ends = places.iter().map(|w| w.offset + w.bytes);
    ends.max().unwrap_or(0)
}

/// Writes a compiled file, and its weight file if there is one to write; both appear whole or not at all.
///
/// # Errors
/// A file that cannot be read or written.
pub fn write(
    path: &Path,
    source: &Source<'_>,
    destination: Destination<'_>,
    progress: &Progress,
) -> Result<(), Error> {
    let Source {
        checkpoint,
        build,
        compiled,
        text,
    } = source;
    let mut file = ProgramFile::create(path, RUNTIME)?;
    for image in &compiled.images {
        file.image(image)?;
    }
    if let Some(Tokenizer { json, files }) = text {
        file.tokenizer(json, files.chat_template.clone(), files.special.clone())?;
    }
    let hash = match destination {
        Destination::Embedded => file.embed(|out| stream(&source.weights(), out, progress))?,
        Destination::Beside(path) => {
            let written = write_weights(path, &source.weights(), progress)?;
            file.sidecar(written.file, written.seal);
            written.checkpoint
        }
        Destination::Written(written) => {
            file.sidecar(written.file.clone(), written.seal);
            written.checkpoint
        }
    };
    let config = checkpoint.config();
    let model = Model {
        limits: Limits {
            vocab: config.vocab,
            context: build.context,
            rows: build.rows,
            slots: build.shape().slots,
        },
        bos: config.bos,
        stop_ids: checkpoint.stop_ids().to_vec(),
        work: Some(code::work(checkpoint, build)),
    };
    Ok(file.finish(about(source, hash), model, compiled.program.clone())?)
}

/// Writes a program's weight file.
///
/// # Errors
/// A file that cannot be read or written.
pub fn write_weights(
    path: &Path,
    weights: &PlacedWeights<'_>,
    progress: &Progress,
) -> Result<WrittenWeights, Error> {
    let name = path.file_name().and_then(|name| name.to_str());
    let name = name.ok_or_else(|| {
        let message = format!("{}: expected a name in UTF-8", path.display());
        Error::Option(message)
    })?;
    let out = WeightFile::create(path)?;
    let (checkpoint, seal) = out.finish(|out| stream(weights, out, progress))?;
    Ok(WrittenWeights {
        file: name.to_string(),
        seal,
        checkpoint,
    })
}

fn about(source: &Source<'_>, checkpoint: Hash) -> About {
    let Source { build, .. } = source;
    About {
        name: name(source.checkpoint.dir()),
        compiler: env!("CARGO_PKG_VERSION").into(),
        checkpoint,
        rules: build.passes.rules.hash(build.fidelity),
        fidelity: build.fidelity.name().into(),
        weight_format: build.weight_formats(source.checkpoint),
        kv_format: build.kv_format.name().into(),
        tuned_for: build.tune_for_host.then(host::cpu_name).flatten(),
    }
}

/// The name of a checkpoint's folder.
pub fn name(dir: &Path) -> String {
    let whole = dir.canonicalize().unwrap_or_else(|_| dir.to_path_buf());
    let name = whole
        .file_name()
        .map(|name| name.to_string_lossy().into_owned());
    name.unwrap_or_else(|| "gemma2".into())
}
