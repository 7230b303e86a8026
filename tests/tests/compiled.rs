//! Machine code on whole models: exactly the interpreter's bits, and in the fast fidelity as near to the
//! truth as the reference framework in bf16. How sequences may be cut into steps is in `steps`.

use backends::Fidelity;
use ir::{DType, Module};
use lapidary_tests::compiled::{compiled_models, exact_plan_of, levels};
use lapidary_tests::feed::{Model, chunks, feed_prompt};
use lapidary_tests::golden::{Recorded, is_greedy, max_error, recorded, rms_error};
use lapidary_tests::synthesize::{Recipe, small};
use models::{Interpreted, LayerKind, StepShape};
use passes::pipeline::{self, Options, PlanOptions};
use passes::plan::Plan;
use passes::rules::RuleSet;
use runtime::{CompiledModel, Level};

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
        let shape = case.shape(tokens.len());
        let mut model = Interpreted::<f32>::new(checkpoint, &shape, 2).unwrap();
        let expected = feed_prompt(&mut model, tokens, tokens.len());
        for level in levels() {
            let exact = Fidelity::Exact;
            let threads = [1, 2, 3];
            let models = compiled_models(checkpoint, &shape, exact_plan_of, level, exact, threads);
            for (threads, mut model) in threads.into_iter().zip(models) {
                for chunk in [tokens.len(), 7, 1] {
                    let what = format!("{} at {level}, {threads} threads, {chunk}", case.name());
                    assert_same_bits(&feed_prompt(&mut model, tokens, chunk), &expected, &what);
                }
            }
        }
    }
}

#[test]
fn weights_of_any_dtype_give_the_interpreters_bits() {
    for dtypes in [vec![DType::F32], vec![DType::F32, DType::BF16, DType::F16]] {
        let recipe = Recipe {
            dtypes: dtypes.clone(),
            ..Recipe::new(small(), 3)
        };
        let synthetic = recipe.make();
        let tokens = recipe.prompt(30);
        let shape = StepShape {
            rows: (1, 12),
            slots: 1,
            context: 64,
            kv_format: DType::F32,
            hidden: false,
        };
        let checkpoint = synthetic.checkpoint();
        let mut model = Interpreted::<f32>::new(checkpoint, &shape, 1).unwrap();
        let expected = feed_prompt(&mut model, &tokens, 12);
        for level in levels() {
            let exact = Fidelity::Exact;
            let [mut model] = compiled_models(checkpoint, &shape, exact_plan_of, level, exact, [2]);
            let what = format!("{dtypes:?} at {level}");
            assert_same_bits(&feed_prompt(&mut model, &tokens, 12), &expected, &what);
        }
    }
}

/// The plan of what all rules make of a module.
fn fast_plan_of(module: &Module) -> Plan {
    let (module, _) = pipeline::algebra(module, &Options::new(RuleSet::shipped()));
    pipeline::plan(&module, &PlanOptions::default()).0
}

/// As it is compiled by default: all rules, bf16 products, a bf16 cache.
fn fast_models<const N: usize>(
    case: &Recorded,
    level: Level,
    threads: [usize; N],
) -> [CompiledModel; N] {
    let shape = StepShape {
        kv_format: DType::BF16,
        ..case.shape(case.golden.tokens.len())
    };
    compiled_models(
        &case.checkpoint,
        &shape,
        fast_plan_of,
        level,
        Fidelity::Fast,
        threads,
    )
}

#[test]
fn fast_code_is_no_further_from_the_truth_than_the_framework_in_bf16() {
    for case in recorded() {
        let golden = &case.golden;
        let (tokens, truth) = (&golden.tokens, &golden.logits_f64);
        let framework = golden
            .logits_bf16
            .as_ref()
            .expect("a golden holds logits.bf16");
        let tolerance = 2.0 * max_error(framework, truth);
        let framework = rms_error(framework, truth);
        for level in levels() {
            let what = format!("{} at {level}", case.name());
            let [mut model] = fast_models(&case, level, [1]);
            let made = feed_prompt(&mut model, tokens, tokens.len());
            let error = rms_error(&made, truth);
            println!("{what}: rms error {error:.4}, the framework's {framework:.4}");
            assert!(error <= framework, "{what}: {error} > {framework}");

            let mut logits = made[made.len() - case.checkpoint.config().vocab..].to_vec();
            let greedy = golden.greedy.iter().flatten();
            for (position, token) in (tokens.len() as u32..).zip(greedy) {
                assert!(
                    is_greedy(&logits, *token, tolerance),
                    "{what}: greedy at {position}"
                );
                logits = model.step(&[*token], &[position], &[0], &[0]);
            }
        }
    }
}

#[test]
fn fast_code_gives_the_same_bits_on_any_threads_and_in_any_chunks() {
    for case in recorded() {
        let tokens = &case.golden.tokens;
        for level in levels() {
            let [mut model, others @ ..] = fast_models(&case, level, [1, 2, 3]);
            let expected = feed_prompt(&mut model, tokens, tokens.len());
            for (threads, mut model) in (1..).zip([model].into_iter().chain(others)) {
                for chunk in [tokens.len(), 7, 1] {
                    let what = format!("{} at {level}, {threads} threads, {chunk}", case.name());
                    assert_same_bits(&feed_prompt(&mut model, tokens, chunk), &expected, &what);
                }
            }
        }
    }
}

/// Feeds a prompt of so many tokens, in chunks, and holds a few rows of it to the interpreter's, the last
/// ones in steps of one row.
fn long_prompt(window: usize, length: usize, chunk: usize) {
    let mut config = small();
    config.layers = vec![LayerKind::Sliding, LayerKind::Full];
    config.window = window;
    config.context = (length + 16).next_power_of_two();
    let recipe = Recipe::new(config, 5);
    let synthetic = recipe.make();
    let checkpoint = synthetic.checkpoint();
    let tokens = recipe.prompt(length);
    let shape = StepShape {
        rows: (1, chunk),
        slots: 1,
        context: checkpoint.config().context,
        kv_format: DType::F32,
        hidden: false,
    };
    let steps = [chunks(0, length - 3, chunk), chunks(0, 3, 1)].concat();
    let last_rows = |model: &mut dyn Model<f32>| {
        let (mut fed, mut logits) = (0, vec![]);
        for step in &steps {
            let rows = fed..fed + step.len();
            let positions: Vec<u32> = rows.clone().map(|p| p as u32).collect();
            let wanted = [step.len() - 1];
            let slots = vec![0; step.len()];
            logits.extend(model.step(&tokens[rows.clone()], &positions, &slots, &wanted));
            fed = rows.end;
        }
        logits
    };
    let started = std::time::Instant::now();
    let mut model = Interpreted::<f32>::new(checkpoint, &shape, 2).unwrap();
    let expected = last_rows(&mut model);
    println!("interpreted in {:?}", started.elapsed());
    for level in levels() {
        let started = std::time::Instant::now();
        let exact = Fidelity::Exact;
        let [mut model] = compiled_models(checkpoint, &shape, exact_plan_of, level, exact, [2]);
        assert_same_bits(&last_rows(&mut model), &expected, &format!("{level}"));
        println!("{level} in {:?}", started.elapsed());
    }
}

#[test]
fn a_prompt_of_1000_tokens_gives_the_interpreters_bits() {
    long_prompt(512, 1000, 250);
}

#[test]
#[ignore = "the interpreter takes minutes; 1000 tokens and a window of 512 run always"]
fn a_prompt_of_8000_tokens_gives_the_interpreters_bits() {
    long_prompt(4096, 8000, 500);
}
