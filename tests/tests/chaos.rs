//! Whatever is chosen to be computed in place, the bits are the same: the worst kernels that a hill climb
//! finds and many by lot, of every function of Gemma 2.

use ir::Module;
use lapidary_tests::executors::exact_algebra;
use lapidary_tests::feed::{Sequence, chunks, feed};
use lapidary_tests::golden::{Recorded, shipped};
use models::{Interpreted, StepShape, gemma2};
use passes::fusion::{Extract, Fused};
use passes::pipeline::{self, PlanOptions};
use passes::plan::{self, Plan};

/// Choices by lot, of each function.
const LOTS: u64 = 50;
/// Most rows of a step.
const ROWS: usize = 6;

/// The bits of the logits of two sequences: one fed in chunks, past a window of 8 and around its ring, then
/// both a token at a time.
fn bits(module: Module, recorded: &Recorded) -> Vec<u32> {
    let model = Interpreted::<f32>::of_module(module, &recorded.checkpoint, 1);
    let mut model = model.unwrap_or_else(|error| panic!("{error}"));
    let tokens = &recorded.golden.tokens;
    let sequence = |slot, tokens| Sequence { slot, tokens };
    let sequences = [sequence(1, &tokens[..21]), sequence(0, &tokens[21..24])];
    let mut steps = chunks(0, 18, ROWS);
    steps.extend(vec![vec![1, 0]; 3]);
    let logits = feed(&mut model, &sequences, &steps).concat();
    logits.iter().map(|x| x.to_bits()).collect()
}

fn planned(module: &Module, extract: Extract) -> (Plan, Vec<Fused>) {
    let options = PlanOptions {
        extract,
        ..PlanOptions::default()
    };
    let (plan, reports) = pipeline::plan(module, &options);
    plan::verify(&plan).unwrap_or_else(|error| panic!("{extract:?}: {error}"));
    (plan, reports)
}

/// The functions whose kernels, each with the others' as the search finds them, do not give these bits.
fn guilty(plan: &Plan, recorded: &Recorded, expected: &[u32]) -> Vec<String> {
    let (usual, _) = planned(&plan.module, Extract::Search);
    let each = plan.functions.iter().enumerate();
    let wrong = each.filter(|(i, function)| {
        let mut one = usual.clone();
        one.functions[*i] = (*function).clone();
        bits(plan::lower(&one).module, recorded) != expected
    });
    wrong
        .map(|(i, _)| plan.module.functions[i].name.clone())
        .collect()
}

fn every_choice_keeps_the_bits(name: &str) {
    let recorded = shipped(name);
    let checkpoint = &recorded.checkpoint;
    let dtype_of = |name: &str| checkpoint.tensor(name).expect("a weight").dtype;
    let shape = StepShape {
        slots: 2,
        ..recorded.shape(ROWS)
    };
    let module = gemma2(checkpoint.config(), dtype_of, &shape);
    let source = module.unwrap_or_else(|error| panic!("{error}"));
    let expected = bits(source.clone(), &recorded);
    let module = exact_algebra(&source);
    let (_, worst) = planned(&module, Extract::Worst);
    for extract in [Extract::Worst]
        .into_iter()
        .chain((0..LOTS).map(Extract::Random))
    {
        let (plan, reports) = planned(&module, extract);
        for (worst, other) in worst.iter().zip(&reports) {
            assert!(worst.cost >= other.cost, "{name}, {extract:?}: {other}");
        }
        if bits(plan::lower(&plan).module, &recorded) != expected {
            let guilty = guilty(&plan, &recorded, &expected);
            panic!("{name}: {extract:?} changes the bits, in {guilty:?}");
        }
    }
}

#[test]
fn every_choice_keeps_the_bits_of_2b_shape() {
    every_choice_keeps_the_bits("2b-shape");
}

#[test]
fn every_choice_keeps_the_bits_of_27b_shape() {
    every_choice_keeps_the_bits("27b-shape");
}

#[test]
fn every_choice_keeps_the_bits_of_large_residual() {
    every_choice_keeps_the_bits("large-residual");
}
