//! Machine code against the interpreter, on whole models.

use backends::Fidelity;
use ir::DType;
use lapidary_tests::compiled::{compiled_model, exact_plan_of};
use lapidary_tests::feed::feed_prompt;
use lapidary_tests::golden::recorded;
use models::{Checkpoint, Interpreted, StepShape};
use runtime::Level;

/// Steps of up to so many rows, for so many sequences of the model's context, with an f32 cache.
fn shape(checkpoint: &Checkpoint, rows: usize, slots: usize) -> StepShape {
    StepShape {
        rows: (1, rows),
        slots,
        context: checkpoint.config().context,
        kv_format: DType::F32,
        hidden: false,
    }
}

/// The levels that this CPU has; the others are named.
fn levels() -> Vec<Level> {
    let has = |level: &Level| match level.lacks() {
        None => true,
        Some(feature) => {
            println!("skipped: {level}, this CPU has no {feature}");
            false
        }
    };
    Level::ALL.into_iter().filter(has).collect()
}

#[track_caller]
fn assert_same_bits(found: &[f32], expected: &[f32], what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    let differs = |(a, b): (&f32, &f32)| a.to_bits() != b.to_bits();
    let first = found.iter().zip(expected).position(differs);
    assert_eq!(first, None, "{what}: the first logit that differs");
}

#[test]
fn exact_code_gives_the_interpreters_bits_on_any_threads_and_in_any_chunks() {
    for case in recorded() {
        let (checkpoint, tokens) = (&case.checkpoint, &case.golden.tokens);
        let shape = shape(checkpoint, tokens.len(), 1);
        let mut model = Interpreted::<f32>::new(checkpoint, &shape, 2).unwrap();
        let expected = feed_prompt(&mut model, tokens, tokens.len());
        for level in levels() {
            for threads in [1, 2, 3] {
                let exact = Fidelity::Exact;
                let mut model =
                    compiled_model(checkpoint, &shape, exact_plan_of, level, exact, threads);
                for chunk in [tokens.len(), 7, 1] {
                    let what = format!("{} at {level}, {threads} threads, {chunk}", case.name());
                    assert_same_bits(&feed_prompt(&mut model, tokens, chunk), &expected, &what);
                }
            }
        }
    }
}
