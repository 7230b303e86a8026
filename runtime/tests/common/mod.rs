//! A model whose every logit depends on all tokens before it, and a run of it with everything captured.
#![allow(dead_code)] // each test file uses a part of this

use std::collections::BTreeMap;
use std::io::{self, Cursor, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use clap::Parser;
use lapidary_runtime::{
    Error, Executor, Host, Limits, Row, RunOptions, Text, TextSource, TokenizerJson, run_in,
};

/// What the model says next after these tokens, where it is not left to chance.
type Script = Box<dyn Fn(&[u32]) -> Option<u32>>;

/// Remembers every slot's tokens by position, and derives logits from them: a wrong or missing row shows.
pub struct Toy {
    pub limits: Limits,
    /// The tokens that each slot's sequence consists of.
    pub slots: Vec<Vec<u32>>,
    /// The rows of each step.
    pub steps: Vec<usize>,
    /// The logits rows wanted of each step.
    pub wanted: Vec<usize>,
    pub script: Script,
    /// Runs before each step, with the number of steps before it; what it returns is reported.
    pub before_step: Box<dyn Fn(usize) -> Result<(), Error>>,
}

impl Toy {
    pub fn new(limits: Limits) -> Self {
        Toy {
            limits,
            slots: vec![Vec::new(); limits.slots],
            steps: Vec::new(),
            wanted: Vec::new(),
            script: Box::new(|_| None),
            before_step: Box::new(|_| Ok(())),
        }
    }

    /// The model of the tiny checkpoint's sizes, which answers as `script` says.
    pub fn talking(script: impl Fn(&[u32]) -> Option<u32> + 'static) -> Self {
        let mut toy = Toy::new(Limits {
            vocab: 4096,
            context: 1024,
            rows: 512,
            slots: 1,
        });
        toy.script = Box::new(script);
        toy
    }

    /// The logits that follow `history`.
    pub fn logits(&self, history: &[u32]) -> Vec<f32> {
        let mix = |hash: u64, x: u64| {
            let z = (hash ^ x).wrapping_mul(0x9E37_79B9_7F4A_7C15);
            (z ^ (z >> 29)).wrapping_mul(0xBF58_476D_1CE4_E5B9)
        };
        let hash = history
            .iter()
            .fold(1, |hash, &token| mix(hash, u64::from(token) + 1));
        let mut logits: Vec<f32> = (0..self.limits.vocab as u64)
            .map(|token| (mix(hash, token) >> 40) as f32 / (1 << 20) as f32 - 8.0)
            .collect();
        if let Some(token) = (self.script)(history) {
            logits[token as usize] = 30.0;
        }
        logits
    }
}

impl Executor for Toy {
    fn limits(&self) -> Limits {
        self.limits
    }

    fn step(&mut self, rows: &[Row], wanted: &[usize], logits: &mut [f32]) -> Result<(), Error> {
        (self.before_step)(self.steps.len())?;
        assert!(
            (1..=self.limits.rows).contains(&rows.len()),
            "{} rows",
            rows.len()
        );
        assert!(wanted.is_sorted_by(|a, b| a < b));
        assert_eq!(logits.len(), wanted.len() * self.limits.vocab);
        self.steps.push(rows.len());
        self.wanted.push(wanted.len());
        for (index, row) in rows.iter().enumerate() {
            let slot = &mut self.slots[row.slot as usize];
            if row.position == 0 {
                slot.clear();
            }
            assert_eq!(
                row.position as usize,
                slot.len(),
                "positions are fed without gaps"
            );
            assert!(slot.len() < self.limits.context && (row.token as usize) < self.limits.vocab);
            slot.push(row.token);
            if let Some(place) = wanted.iter().position(|&wanted| wanted == index) {
                let of_row = self.logits(&self.slots[row.slot as usize]);
                logits[place * self.limits.vocab..][..self.limits.vocab].copy_from_slice(&of_row);
            }
        }
        Ok(())
    }
}

#[derive(Parser)]
#[command(name = "toy")]
struct Cli {
    #[command(flatten)]
    run: RunOptions,
}

/// The options that a command line gives, or clap's message and exit code.
pub fn options(arguments: &[&str]) -> Result<RunOptions, (String, i32)> {
    Cli::try_parse_from([&["toy"], arguments].concat())
        .map(|cli| cli.run)
        .map_err(|error| (error.to_string(), error.exit_code()))
}

/// What a run left behind.
#[derive(Debug)]
pub struct Outcome {
    pub result: Result<(), Error>,
    pub output: String,
    pub notes: String,
}

impl Outcome {
    /// The refusal that the caller can mend.
    pub fn refusal(self) -> String {
        let error = self.result.expect_err("refused");
        assert_eq!(error.exit_code(), 2, "{error}");
        assert_eq!(self.output, "");
        error.to_string()
    }
}

/// A run under test: what surrounds it, with quiet defaults.
pub struct Run<'a> {
    pub text: Option<&'a Text>,
    pub stop_ids: &'a [u32],
    pub input: Vec<u8>,
    pub terminal: bool,
    pub interrupt: &'a AtomicBool,
}

impl Default for Run<'_> {
    fn default() -> Self {
        static NEVER: AtomicBool = AtomicBool::new(false);
        Run {
            text: None,
            stop_ids: &[],
            input: Vec::new(),
            terminal: false,
            interrupt: &NEVER,
        }
    }
}

impl Run<'_> {
    pub fn go(self, executor: &mut dyn Executor, arguments: &[&str]) -> Outcome {
        let mut output = Vec::new();
        let mut outcome = self.go_to(&mut output, executor, arguments);
        outcome.output = String::from_utf8(output).expect("only whole characters are written");
        outcome
    }

    /// As `go`, with the output elsewhere.
    pub fn go_to(
        self,
        output: &mut dyn Write,
        executor: &mut dyn Executor,
        arguments: &[&str],
    ) -> Outcome {
        let options = options(arguments).expect("the options are right");
        let mut notes = Vec::new();
        let host = Host {
            input: Box::new(Cursor::new(self.input)),
            input_is_terminal: self.terminal,
            output,
            output_is_terminal: false,
            notes: &mut notes,
            interrupt: self.interrupt,
        };
        let result = run_in(
            host,
            executor,
            self.text,
            self.stop_ids,
            &options,
            Instant::now(),
        );
        Outcome {
            result,
            output: String::new(),
            notes: String::from_utf8(notes).unwrap(),
        }
    }
}

/// Sets the flag when the text so far contains a mark; collects the text.
pub struct SetWhenSeen<'a> {
    pub mark: &'static str,
    pub flag: &'a AtomicBool,
    pub text: String,
}

impl Write for SetWhenSeen<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.text += std::str::from_utf8(bytes).expect("only whole characters are written");
        if self.text.ends_with(self.mark) {
            self.flag.store(true, Ordering::Relaxed);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A file of the tiny checkpoint.
pub fn tiny(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../models/tiny")
        .join(file)
}

/// The tiny checkpoint's text, with another template if one is given; none at all is `Some(None)`.
pub fn tiny_text_with(template: Option<Option<&str>>) -> Result<Text, Error> {
    let config = std::fs::read(tiny("tokenizer_config.json")).expect("tokenizer_config.json");
    let config: serde_json::Value = serde_json::from_slice(&config).expect("JSON");
    let string = |key: &str| config[key].as_str().map(str::to_string);
    let special = ["bos_token", "eos_token", "pad_token", "unk_token"];
    Text::new(TextSource {
        tokenizer_json: TokenizerJson::File(&tiny("tokenizer.json")),
        chat_template: match template {
            Some(template) => template.map(str::to_string),
            None => string("chat_template"),
        },
        special: BTreeMap::from_iter(special.map(|key| (key.to_string(), string(key).expect(key)))),
        bos: 2,
    })
}

/// The tiny checkpoint's text.
pub fn tiny_text() -> Text {
    tiny_text_with(None).expect("the tiny checkpoint's text loads")
}

/// A small model's sizes.
pub const SMALL: Limits = Limits {
    vocab: 50,
    context: 64,
    rows: 64,
    slots: 1,
};

const GREEDY: [&str; 2] = ["--temperature", "0"];

/// Greedy, with more options.
pub fn with<'a>(more: &[&'a str]) -> Vec<&'a str> {
    [&GREEDY, more].concat()
}

/// The ids printed.
pub fn ids(output: &str) -> Vec<u32> {
    output
        .split_whitespace()
        .map(|id| id.parse().unwrap())
        .collect()
}

/// Says `reply` and then the stop id, whatever is asked.
pub fn saying(reply: &str) -> Toy {
    let text = tiny_text();
    let reply = [text.encode_part(reply).unwrap(), vec![107]].concat();
    let opening = text.encode_part("<start_of_turn>model\n").unwrap();
    Toy::talking(move |history| {
        let said =
            (0..history.len()).find(|&said| history[..history.len() - said].ends_with(&opening))?;
        reply.get(said).copied()
    })
}
