//! Times and counts of a run, for `--stats`.

use std::path::Path;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::Error;
use crate::file::OutputFile;

/// What a run took, gathered as it goes.
pub struct Stats {
    load: Duration,
    asked: Instant,
    first_token: Option<Duration>,
    prefill_tokens: usize,
    prefill: Duration,
    decode_tokens: usize,
    decode: Duration,
}

/// The JSON object that `--stats` writes. A rate or time of something that did not happen is null.
#[derive(Serialize)]
struct Report {
    /// Prompt tokens fed, over all turns of a conversation.
    prefill_tokens: usize,
    prefill_tokens_per_s: Option<f64>,
    /// Steps of one row that followed a prompt; each gave one token, a stop id included. A prompt's first token comes
    /// of its prefill and is not counted here.
    decode_tokens: usize,
    decode_tokens_per_s: Option<f64>,
    /// From the start of the process until the model was ready.
    load_ms: f64,
    /// From the start of the process until the first token was chosen, the wait for the first prompt left out.
    first_token_ms: Option<f64>,
    /// The most memory the process has held, mapped files included as far as they were touched.
    peak_rss_bytes: Option<u64>,
    threads: usize,
}

impl Stats {
    /// The model is ready; the process began at `start`.
    pub fn ready(start: Instant) -> Self {
        Stats {
            load: start.elapsed(),
            asked: Instant::now(),
            first_token: None,
            prefill_tokens: 0,
            prefill: Duration::ZERO,
            decode_tokens: 0,
            decode: Duration::ZERO,
        }
    }

    /// The prompt is at hand.
    pub fn asked(&mut self) {
        self.asked = Instant::now();
    }

    /// A step fed `tokens` of a prompt.
    pub fn prefilled(&mut self, tokens: usize, time: Duration) {
        self.prefill_tokens += tokens;
        self.prefill += time;
    }

    /// A token came of a prompt; the first such is the first token of the run.
    pub fn first_token(&mut self) {
        self.first_token
            .get_or_insert(self.load + self.asked.elapsed());
    }

    /// A step after the prompt gave one token.
    pub fn decoded(&mut self, time: Duration) {
        self.decode_tokens += 1;
        self.decode += time;
    }

    /// Writes the JSON object; the file appears whole or not at all.
    ///
    /// # Errors
    ///
    /// [`Error::File`] when it cannot be written.
    pub fn write(&self, path: &Path, threads: usize) -> Result<(), Error> {
        let report = Report {
            prefill_tokens: self.prefill_tokens,
            prefill_tokens_per_s: rate(self.prefill_tokens, self.prefill),
            decode_tokens: self.decode_tokens,
            decode_tokens_per_s: rate(self.decode_tokens, self.decode),
            load_ms: milliseconds(self.load),
            first_token_ms: self.first_token.map(milliseconds),
            peak_rss_bytes: peak_rss_bytes(),
            threads,
        };
        let json =
            serde_json::to_string_pretty(&report).expect("a report is numbers under fixed names");
        let mut file = OutputFile::create(path)?;
        file.write(|out| writeln!(out, "{json}"))?;
        file.finish()
    }
}

fn rate(tokens: usize, time: Duration) -> Option<f64> {
    (tokens > 0 && time > Duration::ZERO).then(|| tokens as f64 / time.as_secs_f64())
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// The process's high-water mark of resident memory, as Linux keeps it.
fn peak_rss_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}
