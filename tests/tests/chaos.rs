//! Whatever is chosen to be computed in place, the bits are the same: the worst kernels that a hill climb
//! finds and many by lot, of every function of Gemma 2, interpreted and as machine code.
//!
//! `LAPIDARY_CHAOS=200` tries so many choices by lot of each checkpoint, a twentieth of them through LLVM.

use backends::Fidelity;
use ir::Module;
use lapidary_tests::compiled::{compiled_models, levels};
use lapidary_tests::executors::exact_algebra;
use lapidary_tests::feed::{Model, Sequence, chunks, feed};
use lapidary_tests::golden::{Recorded, shipped};
use models::{Interpreted, StepShape, gemma2};
use passes::fusion::{Extract, Fused};
use passes::pipeline::{self, PlanOptions};
use passes::plan::{self, Plan};

/// Most rows of a step.
const ROWS: usize = 6;

/// Choices by lot, of each function.
fn lots() -> u64 {
    match std::env::var("LAPIDARY_CHAOS") {
        Ok(count) => count.parse().expect("LAPIDARY_CHAOS is a count"),
        Err(_) => 40,
    }
}

fn shape(recorded: &Recorded) -> StepShape {
    StepShape {
        slots: 2,
        ..recorded.shape(ROWS)
    }
}

/// The bits of the logits of two sequences: one fed in chunks, past a window of 8 and around its ring, then
/// both a token at a time.
fn bits(model: &mut dyn Model<f32>, recorded: &Recorded) -> Vec<u32> {
    let tokens = &recorded.golden.tokens;
    let sequence = |slot, tokens| Sequence { slot, tokens };
    let sequences = [sequence(1, &tokens[..21]), sequence(0, &tokens[21..24])];
    let mut steps = chunks(0, 18, ROWS);
    steps.extend(vec![vec![1, 0]; 3]);
    let logits = feed(model, &sequences, &steps).concat();
    logits.iter().map(|x| x.to_bits()).collect()
}

fn interpreted(module: Module, recorded: &Recorded) -> Vec<u32> {
    let model = Interpreted::<f32>::of_module(module, &recorded.checkpoint, 1);
    bits(
        &mut model.unwrap_or_else(|error| panic!("{error}")),
        recorded,
    )
}

fn source(recorded: &Recorded) -> Module {
    let checkpoint = &recorded.checkpoint;
    let dtype_of = |name: &str| checkpoint.tensor(name).expect("a weight").dtype;
    let module = gemma2(checkpoint.config(), dtype_of, &shape(recorded));
    module.unwrap_or_else(|error| panic!("{error}"))
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
        interpreted(plan::lower(&one).module, recorded) != expected
    });
    wrong
        .map(|(i, _)| plan.module.functions[i].name.clone())
        .collect()
}

fn every_choice_keeps_the_bits(name: &str) {
    let recorded = shipped(name);
    let source = source(&recorded);
    let module = exact_algebra(&source);
    let expected = interpreted(source, &recorded);
    let (_, worst) = planned(&module, Extract::Worst);
    for extract in [Extract::Worst]
        .into_iter()
        .chain((0..lots()).map(Extract::Random))
    {
        let (plan, reports) = planned(&module, extract);
        for (worst, other) in worst.iter().zip(&reports) {
            assert!(worst.cost >= other.cost, "{name}, {extract:?}: {other}");
        }
        if interpreted(plan::lower(&plan).module, &recorded) != expected {
            let guilty = guilty(&plan, &recorded, &expected);
            panic!("{name}: {extract:?} changes the bits, in {guilty:?}");
        }
    }
}

fn every_choice_keeps_the_bits_as_machine_code(name: &str) {
    let recorded = shipped(name);
    let expected = interpreted(source(&recorded), &recorded);
    let level = levels().pop().expect("this CPU has a level");
    let named = [Extract::Worst, Extract::None, Extract::Greedy];
    let by_lot = (0..lots() / 20).map(Extract::Random);
    for extract in named.into_iter().chain(by_lot) {
        let plan = |module: &Module| planned(&exact_algebra(module), extract).0;
        let exact = Fidelity::Exact;
        let shape = shape(&recorded);
        let [mut model] = compiled_models(&recorded.checkpoint, &shape, plan, level, exact, [2]);
        let same = bits(&mut model, &recorded) == expected;
        assert!(same, "{name}: {extract:?} at {level} changes the bits");
    }
}

/// The two tests of each checkpoint, which run side by side with the others'.
macro_rules! checkpoints {
    ($($module:ident: $name:literal;)*) => {$(
        mod $module {
            #[test]
            fn every_choice_keeps_the_bits() {
                super::every_choice_keeps_the_bits($name);
            }

            #[test]
            fn every_choice_keeps_the_bits_as_machine_code() {
                super::every_choice_keeps_the_bits_as_machine_code($name);
            }
        }
    )*};
}

checkpoints! {
    tiny: "tiny";
    shape_2b: "2b-shape";
    shape_27b: "27b-shape";
    large_residual: "large-residual";
}
