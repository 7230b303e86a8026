//! However a sequence is cut into steps, and whatever runs them, its logits have the same bits.
//!
//! What the interpreter gives for a sequence that is fed whole, alone, in one step is what it must give in
//! any other way, and what machine code must give.

use backends::Fidelity;
use ir::DType;
use lapidary_tests::compiled::{compiled_models, exact_plan_of, levels};
use lapidary_tests::feed::{Model, Sequence, chunks, feed, feed_prompt};
use lapidary_tests::golden::{recorded, shipped};
use lapidary_tests::synthesize::{Recipe, Synthetic, small};
use models::{Checkpoint, Config, Interpreted, LayerKind, StepShape};
use runtime::Level;

/// Steps of up to so many rows, for one sequence of the model's context, with an f32 cache.
fn shape(checkpoint: &Checkpoint, rows: (usize, usize)) -> StepShape {
    StepShape {
        rows,
        slots: 1,
        context: checkpoint.config().context,
        kv_format: DType::F32,
        hidden: false,
    }
}

fn interpreted<'c>(checkpoint: &'c Checkpoint, shape: &StepShape) -> Interpreted<'c, f32> {
    Interpreted::new(checkpoint, shape, 1).unwrap()
}

/// What can run a model, with its name.
type Models<'c> = Vec<(String, Box<dyn Model<f32> + 'c>)>;

/// A checkpoint's model for steps of this shape: interpreted, and as machine code of the highest level that
/// this CPU has.
fn models<'c>(checkpoint: &'c Checkpoint, shape: &StepShape) -> Models<'c> {
    let highest = levels().pop();
    models_at(checkpoint, shape, highest.as_slice())
}

/// A checkpoint's model for steps of this shape: interpreted, and as machine code of these levels.
fn models_at<'c>(checkpoint: &'c Checkpoint, shape: &StepShape, levels: &[Level]) -> Models<'c> {
    let mut models: Models = vec![("interp".into(), Box::new(interpreted(checkpoint, shape)))];
    if shape.rows.0 > 1 {
        // A program that runs on its own takes any number of rows.
        return models;
    }
    for level in levels {
        let exact = Fidelity::Exact;
        let [model] = compiled_models(checkpoint, shape, exact_plan_of, *level, exact, [2]);
        models.push((level.to_string(), Box::new(model)));
    }
    models
}

/// Logits of a sequence fed whole, alone, in one step.
fn whole(checkpoint: &Checkpoint, tokens: &[u32]) -> Vec<f32> {
    let shape = shape(checkpoint, (1, tokens.len()));
    feed_prompt(&mut interpreted(checkpoint, &shape), tokens, tokens.len())
}

/// A sequence fed in chunks, to models whose steps have at most as many rows as a chunk.
#[track_caller]
fn assert_in_chunks(
    checkpoint: &Checkpoint,
    tokens: &[u32],
    chunk: usize,
    expected: &[f32],
    what: &str,
) {
    for (name, mut model) in models(checkpoint, &shape(checkpoint, (1, chunk))) {
        let made = feed_prompt(&mut *model, tokens, chunk);
        assert_same_bits(
            &made,
            expected,
            &format!("{what} in chunks of {chunk} on {name}"),
        );
    }
}

/// Sequences fed to models give what each gives alone.
#[track_caller]
fn assert_fed(
    models: Models,
    checkpoint: &Checkpoint,
    sequences: &[Sequence],
    steps: &[Vec<usize>],
) {
    for (name, mut model) in models {
        let made = feed(&mut *model, sequences, steps);
        for (i, (sequence, made)) in sequences.iter().zip(made).enumerate() {
            let count = made.len() / checkpoint.config().vocab;
            let expected = whole(checkpoint, &sequence.tokens[..count]);
            assert_same_bits(&made, &expected, &format!("sequence {i} on {name}"));
        }
    }
}

#[track_caller]
fn assert_same_bits(a: &[f32], b: &[f32], what: &str) {
    assert_eq!(a.len(), b.len(), "{what}");
    let differs = |(a, b): (&f32, &f32)| a.to_bits() != b.to_bits();
    let first = a.iter().zip(b).position(differs);
    assert_eq!(first, None, "{what}: the first logit that differs");
    assert!(a.iter().all(|z| z.is_finite()), "{what}");
}

/// Random weights for [`small`], changed.
fn synthetic(change: impl FnOnce(&mut Config)) -> (Recipe, Synthetic) {
    let mut config = small();
    change(&mut config);
    let recipe = Recipe::new(config, 7);
    let checkpoint = recipe.make();
    (recipe, checkpoint)
}

/// The rows of several sequences of these lengths, taken in turn and cut into steps.
fn interleaved(lengths: &[usize], rows: usize) -> Vec<Vec<usize>> {
    let longest = lengths.iter().copied().max().unwrap_or(0);
    let turn = |at: usize| (0..lengths.len()).filter(move |s| at < lengths[*s]);
    let all: Vec<usize> = (0..longest).flat_map(turn).collect();
    all.chunks(rows).map(<[usize]>::to_vec).collect()
}

#[test]
fn golden_prompts_give_the_same_bits_in_any_chunks() {
    for case in recorded() {
        let tokens = &case.golden.tokens;
        let expected = whole(&case.checkpoint, tokens);
        for chunk in [7, 1] {
            let shape = shape(&case.checkpoint, (1, chunk));
            let made = feed_prompt(&mut interpreted(&case.checkpoint, &shape), tokens, chunk);
            let what = format!("{} in chunks of {chunk}", case.name());
            assert_same_bits(&made, &expected, &what);
        }
    }
}

#[test]
fn golden_prompts_give_the_same_bits_in_steps_shared_by_several_sequences() {
    for case in recorded() {
        let checkpoint = &case.checkpoint;
        let first = &case.golden.tokens[..];
        let second: Vec<u32> = first.iter().rev().copied().collect();
        let third = &first[first.len() / 3..];
        let tokens = [first, &second[..first.len() / 2], third];
        let rows = interleaved(&tokens.map(<[u32]>::len), 11);
        let shape = StepShape {
            slots: 3,
            ..shape(checkpoint, (1, 11))
        };
        let slots = [2, 0, 1].iter().zip(tokens);
        let sequences: Vec<Sequence> = slots
            .map(|(slot, tokens)| Sequence {
                slot: *slot,
                tokens,
            })
            .collect();
        assert_fed(
            models_at(checkpoint, &shape, &levels()),
            checkpoint,
            &sequences,
            &rows,
        );
    }
}

#[test]
fn a_prompt_is_prefilled_while_another_sequence_decodes() {
    let (recipe, synthetic) = synthetic(|_| ());
    let checkpoint = synthetic.checkpoint();
    let (old, new) = (recipe.prompt(30), recipe.prompt(24));
    let shape = StepShape {
        slots: 2,
        ..shape(checkpoint, (1, 20))
    };
    let mut steps = vec![vec![0; 20]];
    steps.extend((0..4).map(|_| [vec![1; 3], vec![0], vec![1; 3]].concat()));
    steps.extend(chunks(0, 6, 1));
    let sequences = [(1, &old), (0, &new)];
    let sequences = sequences.map(|(slot, tokens)| Sequence { slot, tokens });
    assert_fed(models(checkpoint, &shape), checkpoint, &sequences, &steps);
}

#[test]
fn a_slot_forgets_the_sequence_that_it_held_before() {
    let (recipe, synthetic) = synthetic(|_| ());
    let checkpoint = synthetic.checkpoint();
    let shape = StepShape {
        slots: 2,
        ..shape(checkpoint, (1, 9))
    };
    for (name, mut model) in models(checkpoint, &shape) {
        for length in [70, 12, 41, 1, 6] {
            let tokens = [recipe.prompt(length), recipe.prompt(length / 2 + 1)];
            let sequences = [(0, &tokens[0]), (1, &tokens[1])];
            let sequences = sequences.map(|(slot, tokens)| Sequence { slot, tokens });
            let steps = interleaved(&tokens.each_ref().map(Vec::len), 9);
            let made = feed(&mut *model, &sequences, &steps);
            for (tokens, made) in tokens.iter().zip(made) {
                let what = format!("a slot used again on {name}");
                assert_same_bits(&made, &whole(checkpoint, tokens), &what);
            }
        }
    }
}

#[test]
fn decode_goes_around_the_ring_several_times() {
    for window in [1, 2, 5, 16, 17] {
        let (recipe, synthetic) = synthetic(|config| config.window = window);
        let checkpoint = synthetic.checkpoint();
        let tokens = recipe.prompt(128);
        let decode = shape(checkpoint, (1, 1));
        let capacity = decode.capacity(checkpoint.config(), LayerKind::Sliding);
        assert!(
            tokens.len() >= 4 * capacity,
            "the ring of window {window} wraps"
        );
        let expected = whole(checkpoint, &tokens);
        let what = format!("window {window}");
        assert_in_chunks(checkpoint, &tokens, 1, &expected, &what);

        let steps = [chunks(0, 40, 40), chunks(0, 88, 1)].concat();
        let sequence = Sequence {
            slot: 0,
            tokens: &tokens,
        };
        assert_fed(
            models(checkpoint, &shape(checkpoint, (1, 40))),
            checkpoint,
            &[sequence],
            &steps,
        );
    }
}

#[test]
fn chunks_may_be_larger_than_the_window_and_of_any_size() {
    let (recipe, synthetic) = synthetic(|config| config.window = 3);
    let checkpoint = synthetic.checkpoint();
    let tokens = recipe.prompt(100);
    let expected = whole(checkpoint, &tokens);
    for chunk in [2, 3, 4, 16, 20, 33, 99] {
        assert_in_chunks(checkpoint, &tokens, chunk, &expected, "window 3");
    }
    let steps = [5, 1, 37, 2, 1, 1, 30, 23].map(|rows| vec![0; rows]);
    let sequence = Sequence {
        slot: 0,
        tokens: &tokens,
    };
    assert_fed(
        models(checkpoint, &shape(checkpoint, (1, 37))),
        checkpoint,
        &[sequence],
        &steps,
    );
}

#[test]
fn the_context_may_be_smaller_than_the_window() {
    for context in [1, 23, 32] {
        let (recipe, synthetic) = synthetic(|config| {
            config.context = context;
            config.window = 40;
        });
        let checkpoint = synthetic.checkpoint();
        let tokens = recipe.prompt(context);
        let expected = whole(checkpoint, &tokens);
        for chunk in [5, 1] {
            assert_in_chunks(
                checkpoint,
                &tokens,
                chunk,
                &expected,
                &format!("context {context}"),
            );
        }
    }
}

#[test]
fn a_context_shorter_than_the_models_own_changes_no_bit() {
    let (recipe, synthetic) = synthetic(|_| ());
    let checkpoint = synthetic.checkpoint();
    let tokens = recipe.prompt(50);
    let shape = StepShape {
        context: 50,
        ..shape(checkpoint, (1, 8))
    };
    let tokens = &tokens[..];
    assert_fed(
        models(checkpoint, &shape),
        checkpoint,
        &[Sequence { slot: 0, tokens }],
        &chunks(0, 50, 8),
    );
}

#[test]
fn a_step_of_fixed_rows_gives_the_same_bits() {
    let (recipe, synthetic) = synthetic(|_| ());
    let checkpoint = synthetic.checkpoint();
    let tokens = recipe.prompt(60);
    for rows in [1, 4, 20] {
        let shape = shape(checkpoint, (rows, rows));
        let tokens = &tokens[..];
        assert_fed(
            models(checkpoint, &shape),
            checkpoint,
            &[Sequence { slot: 0, tokens }],
            &chunks(0, 60, rows),
        );
    }
    let slots = 4;
    let shape = StepShape {
        slots,
        ..shape(checkpoint, (slots, slots))
    };
    let tokens: Vec<Vec<u32>> = (0..slots).map(|s| recipe.prompt(20 + s)).collect();
    let sequences: Vec<Sequence> = tokens
        .iter()
        .enumerate()
        .map(|(slot, tokens)| Sequence {
            slot: slot as u32,
            tokens,
        })
        .collect();
    let steps = vec![(0..slots).collect(); 20];
    assert_fed(models(checkpoint, &shape), checkpoint, &sequences, &steps);
}

#[test]
fn a_narrow_cache_gives_the_same_bits_in_any_chunks() {
    let (recipe, synthetic) = synthetic(|_| ());
    let checkpoint = synthetic.checkpoint();
    let tokens = recipe.prompt(60);
    let exact = whole(checkpoint, &tokens);
    for kv_format in [DType::BF16, DType::F16] {
        let shape = StepShape {
            kv_format,
            ..shape(checkpoint, (1, 60))
        };
        let expected = feed_prompt(&mut interpreted(checkpoint, &shape), &tokens, 60);
        assert_ne!(expected, exact, "the cast to {kv_format} is there");
        for (name, mut model) in models(checkpoint, &shape) {
            for chunk in [60, 7, 1] {
                let what = format!("{kv_format}, chunks of {chunk} on {name}");
                assert_same_bits(&feed_prompt(&mut *model, &tokens, chunk), &expected, &what);
            }
        }
    }
}

#[test]
fn the_number_of_threads_changes_no_bit() {
    // The trained checkpoint's dots are large enough to be shared among threads.
    let tiny = shipped("tiny");
    let tokens = &tiny.golden.tokens;
    let shape = tiny.shape(tokens.len());
    let made = [1, 2, 3].map(|threads| {
        let mut model = Interpreted::<f32>::new(&tiny.checkpoint, &shape, threads).unwrap();
        feed_prompt(&mut model, tokens, tokens.len())
    });
    assert_same_bits(&made[1], &made[0], "2 threads");
    assert_same_bits(&made[2], &made[0], "3 threads");
}

#[test]
fn only_the_wanted_rows_logits_are_made_and_they_have_the_same_bits() {
    let (recipe, synthetic) = synthetic(|_| ());
    let checkpoint = synthetic.checkpoint();
    let vocab = checkpoint.config().vocab;
    let tokens = recipe.prompt(24);
    let expected = whole(checkpoint, &tokens);
    let row = |r: usize| &expected[r * vocab..][..vocab];
    let asked: [&[usize]; 3] = [&[], &[1, 4, 7], &[0, 1, 2, 3, 4, 5, 6, 7]];
    for (name, mut model) in models(checkpoint, &shape(checkpoint, (1, 8))) {
        for (step, wanted) in asked.into_iter().enumerate() {
            let first = step * 8;
            let positions: Vec<u32> = (first as u32..first as u32 + 8).collect();
            let made = model.step(&tokens[first..][..8], &positions, &[0; 8], wanted);
            let wanted: Vec<&[f32]> = wanted.iter().map(|r| row(first + r)).collect();
            assert_same_bits(
                &made,
                &wanted.concat(),
                &format!("the wanted rows on {name}"),
            );
        }
    }
}

#[test]
fn giving_out_the_residual_stream_changes_no_bit() {
    let (recipe, synthetic) = synthetic(|_| ());
    let checkpoint = synthetic.checkpoint();
    let tokens = recipe.prompt(30);
    let shape = StepShape {
        hidden: true,
        ..shape(checkpoint, (1, 7))
    };
    let made = feed_prompt(&mut interpreted(checkpoint, &shape), &tokens, 7);
    assert_same_bits(&made, &whole(checkpoint, &tokens), "with the stream");
}
