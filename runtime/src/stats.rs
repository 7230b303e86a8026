//! Times and counts of a run, for `--stats`.

use std::path::Path;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::file::write_json;
use crate::{Description, Error, Work};

/// What a run took, gathered as it goes.
pub struct Stats {
    work: Option<Work>,
    load: Duration,
    asked: Instant,
    first_token: Option<Duration>,
    prefill_tokens: usize,
    prefill: Duration,
    prefill_flops: u64,
    decode_tokens: usize,
    decode: Duration,
    decode_bytes: u64,
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
    /// Left out where no machine is given.
    #[serde(flatten)]
    shares: Option<Shares>,
}

/// The run against what the machine can do. A number is null where the executor does not know its work, or the machine
/// has no peak in its arithmetic.
#[derive(Serialize)]
struct Shares {
    /// Operations a second in prefill.
    prefill_flops: Option<f64>,
    /// The same as a part of the peak of the executor's arithmetic.
    prefill_of_peak: Option<f64>,
    /// Weights, keys and values read a second in decode; the time includes the choice of the token.
    decode_read_bytes_per_s: Option<f64>,
    /// The same as a part of the machine's read bandwidth.
    decode_of_read_bandwidth: Option<f64>,
}

impl Stats {
    /// The model is ready, and this is what its steps read and compute, if it is known; the process began at `start`.
    pub fn ready(start: Instant, work: Option<Work>) -> Self {
        Stats {
            work,
            load: start.elapsed(),
            asked: Instant::now(),
            first_token: None,
            prefill_tokens: 0,
            prefill: Duration::ZERO,
            prefill_flops: 0,
            decode_tokens: 0,
            decode: Duration::ZERO,
            decode_bytes: 0,
        }
    }

    /// The prompt is at hand.
    pub fn asked(&mut self) {
        self.asked = Instant::now();
    }

    /// A step fed `tokens` of a prompt from the position `first` on, and gave the logits of `wanted` of them.
    pub fn prefilled(&mut self, first: usize, tokens: usize, wanted: usize, time: Duration) {
        self.prefill_tokens += tokens;
        self.prefill += time;
        if let Some(work) = &self.work {
            self.prefill_flops += work.flops_of_step(first, tokens, wanted);
        }
    }

    /// A token came of a prompt; the first such is the first token of the run.
    pub fn first_token(&mut self) {
        self.first_token
            .get_or_insert(self.load + self.asked.elapsed());
    }

    /// A step after the prompt fed the token at `position` and gave one more.
    pub fn decoded(&mut self, position: usize, time: Duration) {
        self.decode_tokens += 1;
        self.decode += time;
        if let Some(work) = &self.work {
            self.decode_bytes += work.bytes_of_row(position);
        }
    }

    /// Writes the JSON object; the file appears whole or not at all. With a machine, it holds the run against that.
    ///
    /// # Errors
    ///
    /// [`Error::File`] when it cannot be written.
    pub fn write(
        &self,
        path: &Path,
        threads: usize,
        machine: Option<&Description>,
    ) -> Result<(), Error> {
        let report = Report {
            prefill_tokens: self.prefill_tokens,
            prefill_tokens_per_s: rate(self.prefill_tokens as u64, self.prefill),
            decode_tokens: self.decode_tokens,
            decode_tokens_per_s: rate(self.decode_tokens as u64, self.decode),
            load_ms: milliseconds(self.load),
            first_token_ms: self.first_token.map(milliseconds),
            peak_rss_bytes: peak_rss_bytes(),
            threads,
            shares: machine.map(|machine| self.shares(machine, threads)),
        };
        write_json(path, &report)
    }

    fn shares(&self, machine: &Description, threads: usize) -> Shares {
        let peak = self.work.as_ref();
        let peak = peak.and_then(|work| machine.peak(work.arithmetic, threads));
        let bandwidth = machine.read_bytes_per_s.of(threads);
        let flops = rate(self.prefill_flops, self.prefill);
        let bytes = rate(self.decode_bytes, self.decode);
        Shares {
            prefill_flops: flops,
            prefill_of_peak: flops.zip(peak).map(|(flops, peak)| flops / peak),
            decode_read_bytes_per_s: bytes,
            decode_of_read_bandwidth: bytes.map(|bytes| bytes / bandwidth),
        }
    }
}

/// So much a second, if anything was done.
fn rate(amount: u64, time: Duration) -> Option<f64> {
    (amount > 0 && time > Duration::ZERO).then(|| amount as f64 / time.as_secs_f64())
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
