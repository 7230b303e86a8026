//! Checkpoints with recorded truth, and how near it a run must come.

use std::env;
use std::path::{Path, PathBuf};

use ir::DType;
use ir::interp::Real;
use models::{Checkpoint, Golden, StepShape};

/// A checkpoint with what is known of it.
pub struct Recorded {
    /// The checkpoint.
    pub checkpoint: Checkpoint,
    /// Its `golden.safetensors`.
    pub golden: Golden,
}

const GOLDEN: &str = "golden.safetensors";

/// The trained checkpoint, the random ones beside this crate, and those that `LAPIDARY_CHECKPOINTS`
/// names: folders separated by colons, each a checkpoint or a folder of checkpoints.
pub fn recorded() -> Vec<Recorded> {
    let mut dirs = vec![shipped_dir("tiny")];
    dirs.extend(checkpoints_in(&here().join("checkpoints")));
    if let Some(named) = env::var_os("LAPIDARY_CHECKPOINTS") {
        dirs.extend(env::split_paths(&named).flat_map(|dir| checkpoints_in(&dir)));
    }
    dirs.iter().map(|dir| Recorded::open(dir)).collect()
}

/// The checkpoint of that name that the project ships: `tiny`, or one of those beside this crate.
pub fn shipped(name: &str) -> Recorded {
    Recorded::open(&shipped_dir(name))
}

fn here() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn shipped_dir(name: &str) -> PathBuf {
    match name {
        "tiny" => here().join("../models/tiny"),
        _ => here().join("checkpoints").join(name),
    }
}

/// The folder itself, where it holds a golden, or else those of its folders that do, by name.
fn checkpoints_in(dir: &Path) -> Vec<PathBuf> {
    let has_golden = |dir: &PathBuf| dir.join(GOLDEN).exists();
    if has_golden(&dir.to_path_buf()) {
        return vec![dir.to_path_buf()];
    }
    let entries = dir.read_dir();
    let entries = entries.unwrap_or_else(|error| panic!("{}: {error}", dir.display()));
    let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    let mut found: Vec<PathBuf> = paths.filter(has_golden).collect();
    found.sort();
    assert!(!found.is_empty(), "{}: no {GOLDEN} in it", dir.display());
    found
}

impl Recorded {
    fn open(dir: &Path) -> Recorded {
        let checkpoint = Checkpoint::open(dir).unwrap_or_else(|error| panic!("{error}"));
        let golden = Golden::open(&dir.join(GOLDEN), checkpoint.config());
        Recorded {
            golden: golden.unwrap_or_else(|error| panic!("{error}")),
            checkpoint,
        }
    }

    /// Where it lies.
    pub fn name(&self) -> String {
        self.checkpoint.dir().display().to_string()
    }

    /// Steps of up to so many rows for one sequence of the model's context, with an f32 cache.
    pub fn shape(&self, rows: usize) -> StepShape {
        StepShape {
            rows: (1, rows),
            slots: 1,
            context: self.checkpoint.config().context,
            kv_format: DType::F32,
            hidden: false,
        }
    }

    /// The largest error that exact logits may have: twice that of the reference framework in f32,
    /// plus 1e-5.
    pub fn bound(&self) -> f64 {
        let framework = self.golden.logits_f32.as_ref();
        let framework = framework.expect("a golden holds logits.f32");
        2.0 * max_error(framework, &self.golden.logits_f64) + 1e-5
    }
}

/// The largest difference between numbers and the truth; infinite where a number is NaN.
pub fn max_error<F: Real>(x: &[F], truth: &[f64]) -> f64 {
    assert_eq!(
        x.len(),
        truth.len(),
        "as many numbers as there are in the truth"
    );
    let error = |(x, t): (&F, &f64)| (x.to_f64() - t).abs();
    let errors = x.iter().zip(truth).map(error);
    errors.fold(0.0, |max, e| match e.is_nan() {
        true => f64::INFINITY,
        false => f64::max(max, e),
    })
}

/// The root of the mean square of the differences between numbers and the truth.
pub fn rms_error<F: Real>(x: &[F], truth: &[f64]) -> f64 {
    assert_eq!(
        x.len(),
        truth.len(),
        "as many numbers as there are in the truth"
    );
    let squares = x.iter().zip(truth).map(|(x, t)| (x.to_f64() - t).powi(2));
    (squares.sum::<f64>() / truth.len() as f64).sqrt()
}

/// Whether a token is what greedy decoding gives, as far as logits of that tolerance can tell: no
/// logit is further above the token's own.
pub fn is_greedy<F: Real>(logits: &[F], token: u32, tolerance: f64) -> bool {
    let own = logits[token as usize].to_f64();
    logits.iter().all(|z| z.to_f64() - own <= tolerance)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nan_is_no_small_error() {
        assert_eq!(max_error(&[1f32, 2.5], &[1.0, 2.0]), 0.5);
        assert_eq!(max_error(&[f32::NAN, 2.0], &[1.0, 2.0]), f64::INFINITY);
        assert_eq!(max_error(&[1.0, f32::NAN], &[1.0, 2.0]), f64::INFINITY);
        assert_eq!(max_error(&[f32::INFINITY], &[1.0]), f64::INFINITY);
    }

    #[test]
    fn tokens_are_compared_only_where_the_logits_can_tell() {
        let near_tie = [1.0f32, 4.00002, 4.0];
        assert!(is_greedy(&near_tie, 1, 5e-5));
        assert!(
            is_greedy(&near_tie, 2, 5e-5),
            "either of the two may come first"
        );
        assert!(!is_greedy(&near_tie, 0, 5e-5));
        assert!(!is_greedy(&near_tie, 2, 1e-5), "here the logits can tell");
        assert!(!is_greedy(&[f32::NAN, 1.0], 1, 1.0));
    }
}
