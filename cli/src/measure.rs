//! How long the kernels of a plan take.

use std::path::Path;
use std::time::Instant;

use ir::Bindings;
use models::Checkpoint;
use passes::plan::Plan;
use serde::Serialize;

use crate::backend::Fidelity;
use crate::compile::cached;
use crate::error::Error;
use crate::graph::{Absent, Compiled, Files, Given, language_model, packed};
use crate::progress::Progress;

/// Steps that run before any is measured: with them come the weights into memory, and the states to where they stay.
const WARM_UP: usize = 2;
/// The fewest rounds that are measured.
const FEWEST: usize = 5;
/// The most.
const MOST: usize = 200;
/// Seconds after which no more than the fewest are measured.
const ENOUGH: f64 = 1.0;

/// What seconds, measured several times, come to.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Seconds {
    /// The middle one; of an even number, the greater middle one.
    #[serde(rename = "median_s")]
    pub median: f64,
    /// Half the distance between the quartiles.
    #[serde(rename = "spread_s")]
    pub spread: f64,
    /// The least.
    #[serde(rename = "min_s")]
    pub min: f64,
    /// The greatest.
    #[serde(rename = "max_s")]
    pub max: f64,
}

impl Seconds {
    /// Of these samples, at least one.
    ///
    /// # Panics
    /// If there is none.
    pub fn of(mut samples: Vec<f64>) -> Seconds {
        samples.sort_by(f64::total_cmp);
        let last = samples.len() - 1;
        Seconds {
            median: samples[samples.len() / 2],
            spread: (samples[last - last / 4] - samples[last / 4]) / 2.0,
            min: samples[0],
            max: samples[last],
        }
    }
}

/// How long a kernel takes.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct KernelTime {
    /// How often a step launches it.
    pub launches: usize,
    /// Seconds of one launch: of each step measured, the mean of its launches.
    #[serde(flatten)]
    pub seconds: Seconds,
}

/// How long a plan's step takes.
#[derive(Clone, Debug, PartialEq)]
pub struct Times {
    /// For each function of the plan, for each of its kernels; none for one that a step does not launch.
    pub kernels: Vec<Vec<Option<KernelTime>>>,
    /// Seconds of a whole step whose kernels are not timed.
    pub step: Seconds,
}

/// Measures a plan's step on this machine. Whole steps, and steps whose kernels are timed, take turns: at least 5 of
/// each, and more while they are short.
///
/// The symbols that `bindings` leaves out take their upper bounds; inputs are made up as [`Absent::Made`] says. Weights
/// are the checkpoint's, mapped from the file that the cache has of them, or else random; `path` is the name of the graph
/// in errors. States begin as zeros, and do so again before each step unless it is a language model's, which puts the
/// same keys in the same places again.
///
/// # Errors
/// What the backend has no code for, weights that cannot be written to the cache, an index outside its axis.
pub fn measure(
    plan: &Plan,
    fidelity: Fidelity,
    threads: usize,
    bindings: Bindings,
    checkpoint: Option<&Checkpoint>,
    path: &Path,
) -> Result<Times, Error> {
    let module = &plan.module;
    let progress = Progress::in_terminal();
    let files = Files::open(&[])?;
    let mut given = Given::new(module, &files, bindings, Absent::Made);
    if checkpoint.is_none() {
        given = given.and_then(|given| given.with_weights(module, &files, Absent::Made));
    }
    let given = given.map_err(|problem| problem.of(path))?;
    let mut held = None;
    let mut compiled =
        Compiled::new(
            plan.clone(),
            fidelity,
            threads,
            &progress,
            |places| match checkpoint {
                None => packed(places, |name| given.weight(name)),
                Some(checkpoint) => {
                    let (weights, lock) = cached::mapped(checkpoint, places, threads, &progress)?;
                    held = lock;
                    Ok(weights)
                }
            },
        )?;
    compiled.set_inputs(&given);
    let restarts = language_model(module, &given.bindings).is_none();
    let mut timer = KernelTimer::default();
    let mut steps = Vec::new();
    let start = Instant::now();
    let _phase = progress.phase("measuring");
    for round in 0.. {
        let enough = start.elapsed().as_secs_f64() > ENOUGH;
        if steps.len() >= MOST || steps.len() >= FEWEST && enough {
            break;
        }
        if restarts {
            compiled.set_states(&given);
        }
        let begin = Instant::now();
        compiled.step(&given.bindings)?;
        let whole = begin.elapsed().as_secs_f64();
        if restarts {
            compiled.set_states(&given);
        }
        let launches = compiled.step_timed(&given.bindings)?;
        if round >= WARM_UP {
            steps.push(whole);
            timer.add(&launches);
        }
    }
    Ok(Times {
        kernels: timer.times(plan),
        step: Seconds::of(steps),
    })
}

/// Gathers the seconds of kernels over steps.
#[derive(Default)]
pub struct KernelTimer {
    /// For each kernel of the lowered plan, the launches of a step, and each step's mean of seconds.
    kernels: Vec<(usize, Vec<f64>)>,
}

impl KernelTimer {
    /// Takes in a step: the kernel of the lowered plan and the seconds of each launch.
    pub fn add(&mut self, launches: &[(usize, f64)]) {
        let count = launches.iter().map(|(kernel, _)| kernel + 1).max();
        let mut sums = vec![(0, 0.0); count.unwrap_or(0)];
        for (kernel, seconds) in launches {
            let (launches, sum) = &mut sums[*kernel];
            *launches += 1;
            *sum += seconds;
        }
        self.kernels.resize(sums.len(), (0, vec![]));
        for ((launches, samples), (count, sum)) in self.kernels.iter_mut().zip(sums) {
            *launches = count;
            if count > 0 {
                samples.push(sum / count as f64);
            }
        }
    }

    /// The times of a plan's kernels, as [`Times::kernels`].
    pub fn times(self, plan: &Plan) -> Vec<Vec<Option<KernelTime>>> {
        // A lowered plan has the kernels of all functions one after the other, and behind them copies.
        let mut all = self.kernels.into_iter();
        let mut next = || {
            let (launches, samples) = all.next()?;
            (launches > 0).then(|| KernelTime {
                launches,
                seconds: Seconds::of(samples),
            })
        };
        let functions = plan.functions.iter();
        let of = |f: &passes::plan::FunctionPlan| f.kernels.iter().map(|_| next()).collect();
        functions.map(of).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kernels_time_is_the_mean_over_a_step_and_the_median_over_steps() {
        let module = ir::text::parse(
            "module m
             fn f(%x: f32[4]) {
               %y: f32[4] = neg(%x)
               return %y
             }
             fn g(%x: f32[4]) {
               %y: f32[4] = exp(%x)
               %z: f32[4] = neg(%y)
               return %z
             }
             step(%x: f32[4]) {
               %y: f32[4] = g(%x)
               %z: f32[4] = g(%y)
               return %z
             }",
        );
        let module = module.expect("a module");
        let options = passes::pipeline::PlanOptions {
            extract: passes::fusion::Extract::None,
            ..Default::default()
        };
        let (plan, _) = passes::pipeline::plan(&module, &options);
        let mut timer = KernelTimer::default();
        for scale in [1.0, 3.0, 2.0] {
            timer.add(&[(1, 1.0 * scale), (2, 5.0), (1, 3.0 * scale), (2, 7.0)]);
        }
        let of = |median, min, max| {
            Some(KernelTime {
                launches: 2,
                seconds: Seconds {
                    median,
                    spread: (max - min) / 2.0,
                    min,
                    max,
                },
            })
        };
        let expected = vec![vec![None], vec![of(4.0, 2.0, 6.0), of(6.0, 6.0, 6.0)]];
        assert_eq!(timer.times(&plan), expected);
    }

    #[test]
    fn the_spread_leaves_out_the_quarters_at_both_ends() {
        let all = |samples: &[f64]| Seconds::of(samples.to_vec());
        let of = |median, spread, min, max| Seconds {
            median,
            spread,
            min,
            max,
        };
        assert_eq!(all(&[3.0]), of(3.0, 0.0, 3.0, 3.0));
        assert_eq!(all(&[9.0, 1.0]), of(9.0, 4.0, 1.0, 9.0));
        assert_eq!(all(&[100.0, 2.0, 3.0, 1.0, 5.0]), of(3.0, 1.5, 1.0, 100.0));
    }
}
