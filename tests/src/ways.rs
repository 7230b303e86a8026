//! Every way in which a case can be planned and run, held against the interpreter: in exact every bit is the
//! same; in fast results are as near as [`crate::bounded`] says.

use std::any::Any;
use std::fmt;
use std::ops::AddAssign;
use std::panic::{AssertUnwindSafe, catch_unwind};

use backends::Fidelity;
use ir::Module;
use ir::interp::{Real, Tensor};
use passes::fusion::Extract;
use passes::pipeline::{self, Options, PlanOptions};
use passes::plan::{self, Plan};
use passes::rules::RuleSet;
use runtime::Level;

use crate::bounded::{Bounded, decided};
use crate::executors::{Outputs, has_no_code, interpret, run_code};
use crate::suite::{Case, difference};

/// How many times its bound the error of a result in fast may be: rules move roundings about.
const SLACK: f64 = 4.0;

/// How a module becomes a plan.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Way {
    /// Whether the fidelity's shipped rules are applied before.
    pub rules: bool,
    /// The fidelity.
    pub fidelity: Fidelity,
    /// What is computed in place.
    pub extract: Extract,
    /// What runs it.
    pub run: Run,
}

/// What runs a plan.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Run {
    /// The interpreter.
    Plan,
    /// Machine code for a level, on so many threads.
    Code(Level, usize),
}

/// A way in which a case gives what it must not.
#[derive(Clone, Debug)]
pub struct Difference {
    /// The way.
    pub way: Way,
    /// What it gives.
    pub what: String,
}

/// How much was compared.
#[derive(Clone, Copy, Debug, Default)]
pub struct Compared {
    /// Plans that are not like another one.
    pub plans: usize,
    /// Results of fast code that were held against a bound.
    pub bounded: usize,
    /// Results of fast code of which nothing was known.
    pub open: usize,
}

impl AddAssign for Compared {
    fn add_assign(&mut self, more: Compared) {
        self.plans += more.plans;
        self.bounded += more.bounded;
        self.open += more.open;
    }
}

impl fmt::Display for Compared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Compared {
            plans,
            bounded,
            open,
        } = self;
        let all = bounded + open;
        write!(
            f,
            "{plans} plans; {bounded} of {all} runs in fast were held to a bound"
        )
    }
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.run {
            Run::Plan => write!(f, "the plan, interpreted")?,
            Run::Code(level, threads) => write!(f, "{level} on {threads} threads")?,
        }
        let rules = if self.rules { "its rules" } else { "no rules" };
        write!(f, ", {:?} with {rules}, {:?}", self.fidelity, self.extract)
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.way, self.what)
    }
}

/// Every way, on these levels of CPU; the seed is for what is drawn.
pub fn ways(seed: u64, levels: &[Level]) -> Vec<Way> {
    // Threads that share cores with other graphs' wait for one another.
    let threads = if seed % 8 == 3 { 3 } else { 1 };
    let extracts = [
        Extract::Search,
        Extract::Greedy,
        Extract::None,
        Extract::Worst,
        Extract::Random(seed),
        Extract::Random(seed + 1),
        Extract::Random(seed + 2),
    ];
    let code = levels.iter().map(|level| Run::Code(*level, threads));
    let code: Vec<Run> = code.collect();
    let runs = [Run::Plan].into_iter().chain(code.iter().copied());
    let exact: Vec<(Fidelity, Run)> = runs.map(|run| (Fidelity::Exact, run)).collect();
    let fast = code.into_iter().map(|run| (Fidelity::Fast, run)).collect();
    let mut ways = Vec::new();
    for group in [exact, fast] {
        for extract in extracts {
            ways.extend(group.iter().map(|(fidelity, run)| Way {
                rules: seed.is_multiple_of(2),
                fidelity: *fidelity,
                extract,
                run: *run,
            }));
        }
    }
    ways
}

/// The first of these ways in which a case does not give what the interpreter gives. Ways that lead to the same
/// plan are run once.
///
/// # Errors
/// Why the interpreter does not run the case.
pub fn first_difference(
    case: &Case,
    ways: &[Way],
    compared: &mut Compared,
) -> Result<Option<Difference>, String> {
    let expected: Vec<Vec<Tensor<f32>>> = interpreted(case)?;
    let has_code = has_no_code(case).is_none();
    let mut bounds = None;
    let mut algebra: Option<((bool, Fidelity), Module)> = None;
    let mut present: Option<(Extract, Plan)> = None;
    let mut seen: Vec<Plan> = Vec::new();
    for way in ways {
        let key = (way.rules, way.fidelity);
        let differs = |what| Ok(Some(Difference { way: *way, what }));
        if !has_code && way.run != Run::Plan {
            continue;
        }
        if algebra.as_ref().is_none_or(|(of, _)| *of != key) {
            match caught(|| Ok(rewritten(case, way))) {
                Ok(module) => algebra = Some((key, module)),
                Err(what) => return differs(what),
            }
            (present, seen) = (None, Vec::new());
        }
        let Some((_, module)) = &algebra else {
            continue;
        };
        if present.as_ref().is_none_or(|(of, _)| *of != way.extract) {
            seen.extend(present.take().map(|(_, plan)| plan));
            match caught(|| planned(module, way.extract)) {
                Ok(plan) => present = Some((way.extract, plan)),
                Err(what) => return differs(what),
            }
            compared.plans += 1;
        }
        let Some((_, plan)) = present.as_ref().filter(|(_, plan)| !seen.contains(plan)) else {
            continue;
        };
        let made = caught(|| match way.run {
            Run::Plan => interpret(case, plan::lower(plan).module, 1),
            Run::Code(level, threads) => run_code(case, plan, level, way.fidelity, threads),
        });
        let made = match made {
            Ok(made) => made,
            Err(what) => return differs(what),
        };
        let what = match way.fidelity {
            Fidelity::Exact => first_bits(&expected, &made),
            Fidelity::Fast => {
                let (bounds, clear) =
                    bounds.get_or_insert_with(|| decided(|| interpreted::<Bounded>(case)));
                match bounds {
                    Ok(bounds) if *clear => {
                        compared.bounded += 1;
                        first_beyond(bounds, &made)
                    }
                    _ => {
                        compared.open += 1;
                        None
                    }
                }
            }
        };
        if let Some(what) = what {
            return differs(what);
        }
    }
    Ok(None)
}

/// What the module itself gives.
fn interpreted<F: Real>(case: &Case) -> Result<Vec<Vec<Tensor<'static, F>>>, String> {
    interpret(case, case.module.clone(), 1)
}

fn rewritten(case: &Case, way: &Way) -> Module {
    let rules = match way.fidelity {
        Fidelity::Exact => RuleSet::shipped().exact(),
        Fidelity::Fast => RuleSet::shipped(),
    };
    match way.rules {
        true => pipeline::algebra(&case.module, &Options::new(rules)).0,
        false => case.module.clone(),
    }
}

fn planned(module: &Module, extract: Extract) -> Result<Plan, String> {
    let options = PlanOptions {
        extract,
        ..PlanOptions::default()
    };
    let (plan, _) = pipeline::plan(module, &options);
    plan::verify(&plan).map_err(|e| e.to_string())?;
    Ok(plan)
}

/// What a run gives; a panic is an error like any other.
fn caught<T>(run: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|panic| Err(message(&*panic)))
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
    format!("it panics: {}", text.unwrap_or("with no message"))
}

/// The outputs of two runs side by side, and what they are called.
fn outputs<'o, A, B>(
    a: &'o [Vec<A>],
    b: &'o [Vec<B>],
) -> impl Iterator<Item = (String, &'o A, &'o B)> {
    let steps = a.iter().zip(b).enumerate();
    steps.flat_map(|(step, (a, b))| {
        let outputs = a.iter().zip(b).enumerate();
        outputs.map(move |(i, (a, b))| (format!("step {}, output {}", step + 1, i + 1), a, b))
    })
}

fn first_bits(expected: &Outputs, made: &Outputs) -> Option<String> {
    let mut each = outputs(expected, made);
    each.find_map(|(place, expected, made)| Some(place + &difference(expected, made)?))
}

/// The first element that is further from the truth than it may be.
fn first_beyond(bounds: &[Vec<Tensor<Bounded>>], made: &Outputs) -> Option<String> {
    let mut each = outputs(bounds, made);
    each.find_map(|(place, bound, made)| {
        if let Some(ints) = bound.to_int() {
            let other = made.to_int().unwrap_or_default();
            return (ints != other).then(|| format!("{place}: other integers"));
        }
        if let Some(bools) = bound.to_bool() {
            let other = made.to_bool().unwrap_or_default();
            return (bools != other).then(|| format!("{place}: other bools"));
        }
        let (bound, made) = (bound.to_real()?, made.to_real()?);
        let mut elements = bound.iter().zip(made.iter()).enumerate();
        elements.find_map(|(i, (bound, made))| {
            let (truth, allowed) = (bound.to_f64(), SLACK * bound.error());
            let made = f64::from(*made);
            let right = truth == made || (truth - made).abs() <= allowed;
            let known = !truth.is_nan() && allowed.is_finite();
            (known && !right).then(|| {
                format!("{place}[{i}]: expected {truth:?} within {allowed:e}, found {made:?}")
            })
        })
    })
}
