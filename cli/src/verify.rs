//! `lapidary verify`: a backend's errors against the float64 truth.

use std::io::Write;
use std::path::PathBuf;

use ir::interp::Real;
use models::{Checkpoint, Golden, Interpreted, StepOutput, StepShape};

use crate::backend::{Backend, BackendArgs, Fidelity, exact_shape};
use crate::compile::{CompileOptions, Placement, Scope};
use crate::error::Error;
use crate::model::Model;
use crate::passes::PassArgs;
use crate::table;

/// Tokens of the prompt that is made up where there is no golden.
const MADE_UP_TOKENS: usize = 32;

/// Arguments of `verify`.
#[derive(clap::Args)]
pub struct Args {
    /// Folder of a Gemma 2 checkpoint in the Hugging Face layout
    checkpoint: PathBuf,

    /// The recorded truth [default: CHECKPOINT/golden.safetensors; where there is none, the interpreter's float64 run of a made-up prompt]
    #[arg(long, value_name = "FILE")]
    golden: Option<PathBuf>,

    #[command(flatten)]
    backend: BackendArgs,

    #[command(flatten)]
    compile: CompileOptions,

    #[command(flatten)]
    passes: PassArgs,

    /// Threads to compute with [default: all cores]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=4096))]
    threads: Option<u32>,
}

/// What a backend is measured against.
struct Truth {
    tokens: Vec<u32>,
    logits: Vec<f64>,
    /// Before each layer, then the final norm's output; empty where it is not known.
    hidden: Vec<Vec<f64>>,
    framework_f32: Option<Errors>,
    framework_bf16: Option<Errors>,
    greedy: Vec<u32>,
}

/// Largest and root-mean-square difference; infinite where a number is not finite.
#[derive(Clone, Copy)]
struct Errors {
    max: f64,
    rms: f64,
}

impl Errors {
    fn of<F: Real>(found: &[F], truth: &[f64]) -> Errors {
        let mut errors = Errors { max: 0.0, rms: 0.0 };
        for (x, t) in found.iter().zip(truth) {
            let difference = (x.to_f64() - t).abs();
            let difference = if difference.is_finite() {
                difference
            } else {
                f64::INFINITY
            };
            errors.max = errors.max.max(difference);
            errors.rms += difference * difference;
        }
        errors.rms = (errors.rms / found.len().max(1) as f64).sqrt();
        errors
    }

    fn row(self, name: impl Into<String>) -> Vec<String> {
        vec![
            name.into(),
            format!("{:.2e}", self.max),
            format!("{:.2e}", self.rms),
        ]
    }
}

/// Runs the command.
pub fn run(args: &Args) -> Result<(), Error> {
    let (backend, fidelity) = args.backend.choose()?;
    let checkpoint = Checkpoint::open(&args.checkpoint)?;
    let threads = match args.threads {
        Some(n) => n as usize,
        None => std::thread::available_parallelism().map_or(1, |n| n.get()),
    };
    let beside = args.checkpoint.join("golden.safetensors");
    let golden = args
        .golden
        .clone()
        .or_else(|| beside.exists().then_some(beside));
    let (truth, source) = match golden {
        Some(path) => (recorded(&checkpoint, &path)?, path.display().to_string()),
        None => (
            interpreted(&checkpoint, threads)?,
            "the interpreter in float64, on a made-up prompt".into(),
        ),
    };
    let context = (truth.tokens.len() + truth.greedy.len()).min(checkpoint.config().context);
    let shape = StepShape {
        hidden: true,
        ..exact_shape(truth.tokens.len(), context)
    };
    eprintln!("running {} ({})", backend.name(), fidelity.name());
    let mut model = match backend {
        Backend::Interp => {
            args.compile.refuse_for_interp()?;
            args.passes.options().refuse_for_interp()?;
            Model::interpreted(&checkpoint, &shape, threads)?
        }
        Backend::Cpu => {
            args.passes.options().refuse_growth()?;
            args.passes.options().refuse_plan("verify's step gives out the residual stream too, and no plan that opt writes is of it")?;
            let passes = args.passes.read()?;
            let options = &args.compile;
            let build = options.build(fidelity, context, Scope::Here, passes)?;
            let placement = options.placement().unwrap_or(Placement::Sidecar);
            Model::compiled(&checkpoint, &shape, threads, build, placement)?
        }
    };
    let output = model.prefill(&truth.tokens)?;
    let errors = Errors::of(&output.logits, &truth.logits);
    let bound = bound(fidelity, &truth);

    let mut out = std::io::stdout().lock();
    writeln!(out, "checkpoint   {}", args.checkpoint.display())?;
    writeln!(out, "truth        {source}, {} tokens", truth.tokens.len())?;
    writeln!(
        out,
        "backend      {}, {}\n",
        backend.name(),
        fidelity.name()
    )?;
    let mut rows = vec![
        ["", "max error", "rms error"].map(String::from).to_vec(),
        errors.row("logits"),
    ];
    rows.extend(
        truth
            .framework_f32
            .map(|e| e.row("logits, framework in float32")),
    );
    rows.extend(
        truth
            .framework_bf16
            .map(|e| e.row("logits, framework in bfloat16")),
    );
    let last = truth.hidden.len().saturating_sub(1);
    for (i, (found, truth)) in output.hidden.iter().zip(&truth.hidden).enumerate() {
        let name = match i {
            i if i == last => "final norm".to_string(),
            i => format!("residual stream before layer {i}"),
        };
        rows.push(Errors::of(found, truth).row(name));
    }
    table::print(&mut out, &rows)?;
    writeln!(out)?;
    let mut broken = None;
    match bound {
        None => writeln!(
            out,
            "bound        none: the truth has no figures of the framework"
        )?,
        Some(bound) => {
            let holds = bound.found(errors) <= bound.limit;
            let verdict = if holds { "holds" } else { "BROKEN" };
            let found = bound.found(errors);
            let (limit, name) = (bound.limit, bound.name);
            let line = format!("{found:.2e} against {limit:.2e}, {name}: {verdict}");
            writeln!(out, "bound        {line}")?;
            if !holds {
                broken = Some(format!("the contract's bound is broken: {line}"));
            }
        }
    }
    if !truth.greedy.is_empty() {
        let allowed = bound.map_or(0.0, |b| b.limit);
        let greedy = follow(&mut model, &truth, &output, context, allowed)?;
        writeln!(out, "greedy       {}", greedy.text)?;
        broken = broken.or(greedy.broken);
    }
    broken.map_or(Ok(()), |text| Err(Error::Bound(text)))
}

/// The contract's bound on the logits.
#[derive(Clone, Copy)]
struct Bound {
    limit: f64,
    name: &'static str,
    of: fn(Errors) -> f64,
}

impl Bound {
    fn found(&self, errors: Errors) -> f64 {
        (self.of)(errors)
    }
}

/// exact: at most twice the framework's max error in f32, plus 1e-5; fast: at most its rms error in bf16.
fn bound(fidelity: Fidelity, truth: &Truth) -> Option<Bound> {
    Some(match fidelity {
        Fidelity::Exact => Bound {
            limit: 2.0 * truth.framework_f32?.max + 1e-5,
            name: "max error, twice the framework's in float32 plus 1e-5",
            of: |e| e.max,
        },
        Fidelity::Fast => Bound {
            limit: truth.framework_bf16?.rms,
            name: "rms error, the framework's in bfloat16",
            of: |e| e.rms,
        },
    })
}

/// A prompt's output by the interpreter.
fn prefill<F: Real>(model: &mut Interpreted<F>, tokens: &[u32]) -> Result<StepOutput<F>, Error> {
    let positions: Vec<u32> = (0..tokens.len() as u32).collect();
    let all: Vec<usize> = (0..tokens.len()).collect();
    Ok(model.step(tokens, &positions, &vec![0; tokens.len()], &all)?)
}

/// The truth of a golden file.
fn recorded(checkpoint: &Checkpoint, path: &std::path::Path) -> Result<Truth, Error> {
    let config = checkpoint.config();
    let golden = Golden::open(path, config)?;
    let errors = |x: &Vec<f32>| Errors::of(x, &golden.logits_f64);
    let stream = golden.hidden_f64.as_deref().unwrap_or_default();
    let a_layer = golden.tokens.len() * config.hidden;
    Ok(Truth {
        framework_f32: golden.logits_f32.as_ref().map(errors),
        framework_bf16: golden.logits_bf16.as_ref().map(errors),
        hidden: stream.chunks(a_layer).map(<[f64]>::to_vec).collect(),
        greedy: golden.greedy.unwrap_or_default(),
        tokens: golden.tokens,
        logits: golden.logits_f64,
    })
}

/// The truth by the interpreter's own f64 run: `<bos>`, then ids spread over the vocabulary.
fn interpreted(checkpoint: &Checkpoint, threads: usize) -> Result<Truth, Error> {
    let config = checkpoint.config();
    let count = MADE_UP_TOKENS.min(config.context);
    let spread = |i: usize| (i.wrapping_mul(2_654_435_761) % config.vocab) as u32;
    let mut tokens: Vec<u32> = (0..count).map(spread).collect();
    tokens[0] = config.bos;
    let shape = StepShape {
        hidden: true,
        ..exact_shape(count, count)
    };
    eprintln!("running the interpreter in float64 for the truth");
    let mut model = Interpreted::<f64>::new(checkpoint, &shape, threads)?;
    let output = prefill(&mut model, &tokens)?;
    Ok(Truth {
        tokens,
        logits: output.logits,
        hidden: output.hidden,
        framework_f32: None,
        framework_bf16: None,
        greedy: vec![],
    })
}

/// What following the greedy continuation showed.
struct Greedy {
    text: String,
    broken: Option<String>,
}

/// Decodes the recorded continuation one token at a time. At each position the backend must choose the
/// recorded token, unless its own top two logits are no further apart than `allowed`.
fn follow(
    model: &mut Model<'_>,
    truth: &Truth,
    prefill: &StepOutput<f32>,
    context: usize,
    allowed: f64,
) -> Result<Greedy, Error> {
    let vocab = prefill.logits.len() / truth.tokens.len();
    let mut logits = prefill.logits[prefill.logits.len() - vocab..].to_vec();
    let (mut equal, mut near, mut checked) = (0, 0, 0);
    let mut broken = None;
    for (i, expected) in truth.greedy.iter().enumerate() {
        let (chosen, gap) = top_two(&logits);
        checked += 1;
        if chosen == *expected as usize {
            equal += 1;
        } else if gap <= allowed {
            near += 1;
        } else {
            broken.get_or_insert(format!(
                "greedy token {i} is {chosen}, the truth has {expected}, {gap:.2e} ahead of the next"
            ));
        }
        let position = truth.tokens.len() + i;
        if position >= context {
            break;
        }
        logits = model.step(&[*expected], position, &[0])?.logits;
    }
    let near = match near {
        0 => String::new(),
        n => format!(", {n} within a near tie"),
    };
    Ok(Greedy {
        text: format!("{equal} of {checked} tokens as in the truth{near}"),
        broken,
    })
}

/// The likeliest token, and how far its logit is ahead of the next.
fn top_two(logits: &[f32]) -> (usize, f64) {
    let mut best = (0, f32::NEG_INFINITY);
    let mut second = f32::NEG_INFINITY;
    for (i, x) in logits.iter().enumerate() {
        if *x > best.1 {
            second = best.1;
            best = (i, *x);
        } else if *x > second {
            second = *x;
        }
    }
    (best.0, f64::from(best.1) - f64::from(second))
}
