//! The options of a run, shared by every command that runs a model.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::{Error, Sampling};

/// Rows of a prefill step unless `--prefill-chunk` says otherwise.
const PREFILL_CHUNK: usize = 512;

/// What to ask a model, and how: flatten it into a command's own arguments.
///
/// clap refuses options that contradict each other and values out of range; what depends on the model is checked by
/// the accessors and by [`run`](crate::run()).
#[derive(clap::Args, Clone, Debug)]
#[command(about = None, long_about = None)]
pub struct RunOptions {
    /// What to ask; read from standard input when left out
    #[arg(value_name = "PROMPT", conflicts_with_all = ["chat", "tokens"])]
    pub(crate) prompt: Option<String>,

    /// Continue the prompt as it stands, without the chat template
    #[arg(long, conflicts_with_all = ["chat", "tokens"])]
    pub(crate) raw: bool,

    /// Hold a conversation: in the terminal, or one message per line of standard input
    #[arg(long, conflicts_with_all = ["tokens", "logits"])]
    pub(crate) chat: bool,

    /// Token ids instead of text, such as 2,5,9; the ids generated come out, without the stop id
    #[arg(long, value_name = "IDS")]
    pub(crate) tokens: Option<TokenIds>,

    /// Threads to compute with [default: all cores]
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = clap::value_parser!(u32).range(1..=4096))]
    threads: Option<u32>,

    /// Prompt tokens per step, 1 or more [default: 512]
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = clap::value_parser!(u32).range(1..))]
    prefill_chunk: Option<u32>,

    /// Positions a sequence may have, 1 or more [default: the model's own, which is also the most]
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = clap::value_parser!(u32).range(1..))]
    max_context: Option<u32>,

    /// Most tokens to generate for one prompt, 1 to 4096
    #[arg(long, value_name = "N", default_value_t = 1024, allow_negative_numbers = true, value_parser = clap::value_parser!(u32).range(1..=4096))]
    max_new_tokens: u32,

    /// 0 takes the likeliest token each time (greedy); higher is more varied
    #[arg(long, value_name = "T", default_value_t = 0.6, allow_negative_numbers = true, value_parser = temperature)]
    temperature: f64,

    /// Sample from the fewest likeliest tokens whose probabilities reach P, over 0 and up to 1 (1: off)
    #[arg(long, value_name = "P", default_value_t = 0.9, allow_negative_numbers = true, value_parser = top_p)]
    top_p: f64,

    /// Sample from the K likeliest tokens only (0: off)
    #[arg(long, value_name = "K", default_value_t = 50, allow_negative_numbers = true, value_parser = clap::value_parser!(u32))]
    top_k: u32,

    /// Make tokens already seen less likely when over 1, likelier when under 1 (1: off)
    #[arg(long, value_name = "R", default_value_t = 1.0, allow_negative_numbers = true, value_parser = repetition_penalty)]
    repetition_penalty: f32,

    /// Seed of the random choices: the same seed gives the same text [default: a new one each time]
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = seed)]
    seed: Option<u64>,

    /// Write the logits of every prompt position to FILE (safetensors) and generate nothing
    #[arg(long, value_name = "FILE")]
    pub(crate) logits: Option<PathBuf>,

    /// Write times and counts of the run to FILE (JSON)
    #[arg(long, value_name = "FILE")]
    pub(crate) stats: Option<PathBuf>,

    /// This machine as `lapidary calibrate` described it: --stats then holds the run against what it can do
    #[arg(long, value_name = "FILE")]
    machine: Option<PathBuf>,
}

impl RunOptions {
    /// Threads to compute with: all cores unless `--threads` says otherwise.
    pub fn threads(&self) -> usize {
        match self.threads {
            Some(threads) => threads as usize,
            None => std::thread::available_parallelism().map_or(1, |n| n.get()),
        }
    }

    /// Positions a sequence may have, given the model's own number of them.
    ///
    /// # Errors
    ///
    /// [`Error::MaxContext`] when `--max-context` asks for more than the model has.
    pub fn max_context(&self, model: usize) -> Result<usize, Error> {
        match self.max_context.map(|asked| asked as usize) {
            Some(asked) if asked > model => Err(Error::MaxContext { asked, model }),
            Some(asked) => Ok(asked),
            None => Ok(model),
        }
    }

    /// Prompt tokens per step, never more than the context's positions.
    pub fn prefill_chunk(&self, context: usize) -> usize {
        let chunk = self.prefill_chunk.map_or(PREFILL_CHUNK, |n| n as usize);
        chunk.min(context)
    }

    /// Most tokens to generate for one prompt.
    pub fn max_new_tokens(&self) -> usize {
        self.max_new_tokens as usize
    }

    /// How tokens are chosen.
    pub fn sampling(&self) -> Sampling {
        Sampling {
            temperature: self.temperature,
            top_p: self.top_p,
            top_k: self.top_k as usize,
            repetition_penalty: self.repetition_penalty,
        }
    }

    /// The seed of the random choices, if one was given.
    pub fn seed(&self) -> Option<u64> {
        self.seed
    }

    /// The file for the logits of the prompt, if they were asked for.
    pub fn logits(&self) -> Option<&Path> {
        self.logits.as_deref()
    }

    /// The file of the machine's [`Description`](crate::Description), if one was given.
    pub fn machine(&self) -> Option<&Path> {
        self.machine.as_deref()
    }

    /// Whether the run needs a tokenizer: everything does but `--tokens`.
    pub fn needs_text(&self) -> bool {
        self.tokens.is_none()
    }
}

/// The ids of `--tokens`: separated by commas, spaces or both, so that what a run prints can be given to the next.
#[derive(Clone, Debug)]
pub(crate) struct TokenIds(pub(crate) Vec<u32>);

impl FromStr for TokenIds {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let ids = text
            .split([',', ' '])
            .filter(|part| !part.is_empty())
            .map(|part| {
                part.parse()
                    .map_err(|_| format!("'{part}' is not a token id"))
            })
            .collect::<Result<Vec<u32>, String>>()?;
        if ids.is_empty() {
            return Err("no token ids".to_string());
        }
        Ok(TokenIds(ids))
    }
}

fn temperature(text: &str) -> Result<f64, String> {
    number(
        text,
        |t: f64| t >= 0.0 && t.is_finite(),
        "a number from 0 up",
    )
}

fn top_p(text: &str) -> Result<f64, String> {
    number(
        text,
        |p: f64| p > 0.0 && p <= 1.0,
        "a number over 0 and up to 1",
    )
}

fn repetition_penalty(text: &str) -> Result<f32, String> {
    number(text, |r: f32| r > 0.0 && r.is_finite(), "a number over 0")
}

fn seed(text: &str) -> Result<u64, String> {
    number(text, |_| true, "a whole number from 0 up, of 64 bits")
}

fn number<T: FromStr + Copy>(
    text: &str,
    in_range: impl Fn(T) -> bool,
    range: &str,
) -> Result<T, String> {
    match text.parse() {
        Ok(value) if in_range(value) => Ok(value),
        _ => Err(format!("expected {range}")),
    }
}
