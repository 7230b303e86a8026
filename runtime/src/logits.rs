//! The logits of a whole prompt, streamed to a safetensors file.

use std::io::{self, Write};
use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::Instant;

use serde_json::json;

use crate::file::OutputFile;
use crate::generate::{check_prompt, progress};
use crate::{Error, Generator, Session};

/// Most bytes of logits held at once.
const BUFFER_BYTES: usize = 64 << 20;

/// Feeds `prompt` to a new sequence and writes `tokens` `[T]` i64 and `logits` `[T, vocab]` f32 to `path`.
///
/// # Errors
///
/// Those of [`Generator::generate`] before and in a step; [`Error::File`];
/// [`Error::Interrupted`]. No file is left then.
pub(crate) fn write_logits(
    generator: &mut Generator<'_>,
    prompt: &[u32],
    path: &Path,
) -> Result<(), Error> {
    let limits = generator.executor.limits();
    check_prompt(prompt, 0, limits)?;
    let rows = (BUFFER_BYTES / (size_of::<f32>() * limits.vocab)).clamp(1, generator.prefill_chunk);
    let mut file = OutputFile::create(path)?;
    file.write(|out| write_header(out, prompt.len(), limits.vocab))?;
    file.write(|out| {
        prompt
            .iter()
            .try_for_each(|&token| out.write_all(&i64::from(token).to_le_bytes()))
    })?;

    let mut session = Session::new(0);
    let mut logits = vec![0.0; rows.min(prompt.len()) * limits.vocab];
    let wanted: Vec<usize> = (0..rows).collect();
    let progress = progress(prompt.len(), rows);
    for chunk in prompt.chunks(rows) {
        if generator.interrupt.load(Ordering::Relaxed) {
            return Err(Error::Interrupted { path: path.into() });
        }
        let logits = &mut logits[..chunk.len() * limits.vocab];
        let first = session.position();
        let started = Instant::now();
        session.feed(generator.executor, chunk, &wanted[..chunk.len()], logits)?;
        generator
            .stats
            .prefilled(first, chunk.len(), chunk.len(), started.elapsed());
        file.write(|out| {
            logits
                .iter()
                .try_for_each(|logit| out.write_all(&logit.to_le_bytes()))
        })?;
        progress.inc(chunk.len() as u64);
    }
    progress.finish_and_clear();
    file.finish()
}

/// The safetensors header. The tokens come first, so that both tensors are aligned to their elements.
fn write_header(out: &mut dyn Write, tokens: usize, vocab: usize) -> io::Result<()> {
    let tokens_end = tokens as u64 * 8;
    let logits_end = tokens_end + tokens as u64 * vocab as u64 * 4;
    let header = json!({
        "tokens": { "dtype": "I64", "shape": [tokens], "data_offsets": [0, tokens_end] },
        "logits": { "dtype": "F32", "shape": [tokens, vocab], "data_offsets": [tokens_end, logits_end] },
    });
    let header = header.to_string();
    let length = header.len().next_multiple_of(8);
    out.write_all(&(length as u64).to_le_bytes())?;
    write!(out, "{header:length$}")
}
