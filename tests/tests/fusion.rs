//! Graphs that are not Gemma 2: each file says into how many kernels its functions are fused, and why. Their
//! bits are checked with the op suite's; what the blocks among them compute, with an evaluation of their
//! formulas in double precision (`fusion/truth.py`).

use std::collections::BTreeMap;

use backends::Fidelity;
use ir::interp::{Real, Tensor};
use ir::{DType, Module, Op};
use lapidary_tests::compiled::levels;
use lapidary_tests::executors::{EXECUTORS, exact_algebra, interpret, run_code};
use lapidary_tests::rewrite::{op_of, rewritten};
use lapidary_tests::suite::{Case, cases};
use passes::pipeline::{self, Options, PlanOptions};
use passes::plan;
use passes::rules::RuleSet;

/// What the lines `// kernels FUNCTION = COUNT` of a file state.
fn stated(case: &Case) -> BTreeMap<String, usize> {
    let lines = case.text().lines();
    let lines = lines.filter_map(|line| line.strip_prefix("// kernels "));
    let stated = lines.map(|line| {
        let (function, count) = line.split_once(" = ").expect("FUNCTION = COUNT");
        (function.into(), count.parse().expect("a count"))
    });
    stated.collect()
}

#[test]
fn every_graph_is_fused_into_as_many_kernels_as_its_file_says() {
    let cases = cases("fusion").unwrap_or_else(|error| panic!("{error}"));
    assert!(!cases.is_empty());
    for case in cases {
        let module = exact_algebra(&case.module);
        let (plan, _) = pipeline::plan(&module, &PlanOptions::default());
        plan::verify(&plan).unwrap_or_else(|error| panic!("{}: {error}", case.path.display()));
        let functions = module.functions.iter().zip(&plan.functions);
        let found = functions.map(|(f, planned)| (f.name.clone(), planned.kernels.len()));
        assert_eq!(
            found.collect::<BTreeMap<_, _>>(),
            stated(&case),
            "{}",
            case.path.display()
        );
    }
}

/// Graphs that have to have a truth.
const BLOCKS: [&str; 8] = [
    "alibi",
    "batch_norm",
    "decoder_block",
    "depthwise",
    "gpt2_block",
    "nll",
    "router",
    "scan",
];

/// Roundings that may stand between a block's inputs and an output: a sum over up to 40 terms in 16 lanes has
/// seven of them in a row, and the longest block has nine sums.
const ROUNDINGS: f64 = 64.0;

/// In double precision, the truth has as many roundings of its own.
const F64_BOUND: f64 = 2.0 * ROUNDINGS * (f64::EPSILON / 2.0);

const F32_BOUND: f64 = ROUNDINGS * (f32::EPSILON as f64 / 2.0);

/// Rules that hold over the reals add roundings, and bring some to larger numbers.
const FAST_BOUND: f64 = 2.0 * F32_BOUND;

/// The elements of each output of each step.
type Numbers = Vec<Vec<Vec<f64>>>;

fn numbers<F: Real>(outputs: &[Vec<Tensor<F>>]) -> Numbers {
    let wide = |x: &Tensor<F>| {
        let x = x.to_real().expect("a block's outputs are real");
        x.iter().map(|x| x.to_f64()).collect()
    };
    let steps = outputs.iter();
    steps.map(|step| step.iter().map(wide).collect()).collect()
}

/// What the module gives in double precision for a case's inputs.
fn run_in_f64(case: &Case, module: Module) -> Numbers {
    let outputs = interpret::<f64>(case, module, 1);
    numbers(&outputs.unwrap_or_else(|e| panic!("{}: {e}", case.path.display())))
}

/// The largest difference between a case's truth `t` and what a run gave, as a share of `1 + |t|`; infinite where
/// it gave NaN.
fn error(case: &Case, found: &Numbers) -> f64 {
    let mut largest: f64 = 0.0;
    for (step, found) in case.steps.iter().zip(found) {
        for (truth, found) in step.truth.iter().zip(found) {
            let path = case.path.display();
            let truth = truth.as_ref();
            let truth = truth.unwrap_or_else(|| panic!("{path}: a truth is missing"));
            assert_eq!(truth.len(), found.len());
            for (t, x) in truth.iter().zip(found) {
                let error = (x - t).abs() / (1.0 + t.abs());
                largest = largest.max(if error.is_nan() { f64::INFINITY } else { error });
            }
        }
    }
    largest
}

/// The graphs with a truth, which all of [`BLOCKS`] are.
fn blocks() -> Vec<Case> {
    let mut blocks = cases("fusion").unwrap_or_else(|error| panic!("{error}"));
    blocks.retain(|case| {
        let mut steps = case.steps.iter();
        steps.any(|step| step.truth.iter().any(Option::is_some))
    });
    for name in BLOCKS {
        let found = blocks.iter().any(|case| case.module.name == name);
        assert!(found, "{name} has no truth");
    }
    blocks
}

#[test]
fn every_block_gives_what_its_formula_gives_in_double_precision() {
    for case in blocks() {
        let name = case.path.display();
        let check = |how: &str, found: &Numbers, bound: f64| {
            let error = error(&case, found);
            println!("{name}, {how}: {error:.1e}");
            assert!(error <= bound, "{name}, {how}: {error:e}, above {bound:e}");
        };
        check("f64", &run_in_f64(&case, case.module.clone()), F64_BOUND);
        let exact = EXECUTORS[0].run(&case);
        let exact = exact.unwrap_or_else(|error| panic!("{name}: {error}"));
        check("f32", &numbers(&exact), F32_BOUND);

        let (fast, _) = pipeline::algebra(&case.module, &Options::new(RuleSet::shipped()));
        let (plan, _) = pipeline::plan(&fast, &PlanOptions::default());
        for level in levels() {
            let fast = run_code(&case, &plan, level, Fidelity::Fast, 2);
            let fast = fast.unwrap_or_else(|error| panic!("{name}, fast, {level}: {error}"));
            check(&format!("fast, {level}"), &numbers(&fast), FAST_BOUND);
        }
    }
}

/// Each sum, difference, product and quotient of a block matters to its truth, but for the largest score that
/// a softmax takes off every score.
#[test]
fn a_block_that_leaves_out_an_operation_is_found_out_by_its_truth() {
    for case in blocks() {
        for function in &case.module.functions {
            let binary = [Op::Add, Op::Sub, Op::Mul, Op::Div];
            let left_out = function.values.iter().filter(|value| {
                value.ty.dtype == DType::F32
                    && value.name != "low"
                    && op_of(value).is_some_and(|op| binary.contains(&op))
            });
            for value in left_out {
                let wrong = rewritten(&case.module, |spot| {
                    let here = spot.function.name == function.name && spot.is_named(&value.name);
                    here.then(|| spot.x(0))
                });
                let error = error(&case, &run_in_f64(&case, wrong));
                let name = case.path.display();
                assert!(
                    error > F64_BOUND,
                    "{name} without {}: {error:e}",
                    value.name
                );
            }
        }
    }
}
