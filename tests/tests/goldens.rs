//! Every checkpoint with recorded truth, run by the interpreter and held against that truth.
//!
//! `LAPIDARY_CHECKPOINTS` names further folders of checkpoints; see `lapidary_tests::golden`.

use std::fs;

use lapidary_tests::feed::feed_prompt;
use lapidary_tests::golden::{Recorded, is_greedy, max_error, recorded, shipped};
use lapidary_tests::reference::Reference;
use models::{Checkpoint, Interpreted, StepOutput, StepShape};
use runtime::{Message, Role, Text, TextSource, TokenizerJson};

/// The two f64 evaluations differ by rounding alone.
const F64_TOLERANCE: f64 = 1e-9;

/// The whole prompt in one step: logits of every row, and the residual stream.
fn prefill<F: ir::interp::Real>(checkpoint: &Checkpoint, tokens: &[u32]) -> StepOutput<F> {
    let count = tokens.len();
    let shape = StepShape {
        rows: (1, count),
        slots: 1,
        context: checkpoint.config().context,
        kv_format: ir::DType::F32,
        hidden: true,
    };
    let mut model = Interpreted::new(checkpoint, &shape, 2).unwrap();
    let positions: Vec<u32> = (0..count as u32).collect();
    let wanted: Vec<usize> = (0..count).collect();
    let slots = vec![0; count];
    model.step(tokens, &positions, &slots, &wanted).unwrap()
}

/// Checks f64 logits and residual stream against the truth.
fn assert_true(case: &Recorded, logits: &[f64], hidden: &[f64]) {
    let golden = &case.golden;
    let error = max_error(logits, &golden.logits_f64);
    assert!(error <= F64_TOLERANCE, "{}: {error:e}", case.name());
    let truth = golden.hidden_f64.as_ref();
    let truth = truth.expect("a golden holds hidden.f64");
    assert_eq!(hidden.len(), truth.len(), "{}", case.name());
    let layer = golden.tokens.len() * case.checkpoint.config().hidden;
    for (hidden, truth) in hidden.chunks(layer).zip(truth.chunks(layer)) {
        let error = max_error(hidden, truth) / largest(truth).max(1.0);
        assert!(error <= F64_TOLERANCE, "{}: {error:e}", case.name());
    }
}

fn largest(x: &[f64]) -> f64 {
    x.iter().fold(0.0, |m, x| x.abs().max(m))
}

#[test]
fn the_straight_line_reference_gives_the_recorded_truth() {
    for case in recorded() {
        let reference = Reference::of(&case.checkpoint, &case.golden.tokens);
        assert_true(&case, &reference.logits, &reference.hidden);
    }
}

#[test]
fn the_interpreter_in_f64_gives_the_recorded_truth() {
    for case in recorded() {
        let made: StepOutput<f64> = prefill(&case.checkpoint, &case.golden.tokens);
        assert_true(&case, &made.logits, &made.hidden.concat());
    }
}

#[test]
fn exact_logits_err_at_most_twice_as_much_as_the_framework_in_f32() {
    for case in recorded() {
        let golden = &case.golden;
        let made: StepOutput<f32> = prefill(&case.checkpoint, &golden.tokens);
        let error = max_error(&made.logits, &golden.logits_f64);
        assert!(error <= case.bound(), "{}: {error:e}", case.name());
    }
}

/// Of a row's largest number, the embedding loses two roundings (the scale's and the product's), and
/// a layer at most 64: a score of up to 50, the softcap, brings an error of 50 roundings into its
/// exponential; what norms and dots lose is a few.
#[test]
fn the_residual_stream_in_f32_loses_few_roundings_a_layer() {
    const ROUNDING: f64 = 1.0 / (1 << 24) as f64;
    for case in recorded() {
        let golden = &case.golden;
        let made: StepOutput<f32> = prefill(&case.checkpoint, &golden.tokens);
        let width = case.checkpoint.config().hidden;
        let truth = golden.hidden_f64.as_ref();
        let truth = truth.expect("a golden holds hidden.f64");
        for (layer, (made, truth)) in made
            .hidden
            .iter()
            .zip(truth.chunks(made.hidden[0].len()))
            .enumerate()
        {
            let bound = (2 + 64 * layer) as f64 * ROUNDING;
            for (made, truth) in made.chunks(width).zip(truth.chunks(width)) {
                let error = max_error(made, truth) / largest(truth);
                assert!(error <= bound, "{}, layer {layer}: {error:e}", case.name());
            }
        }
    }
}

/// Prefill, then one token at a time: the recorded continuation is fed, whatever was foretold.
#[test]
fn the_greedy_continuation_is_foretold_token_by_token() {
    for case in recorded() {
        let golden = &case.golden;
        let Some(greedy) = &golden.greedy else {
            continue;
        };
        let config = case.checkpoint.config();
        let mut model = Interpreted::<f32>::new(&case.checkpoint, &case.shape(7), 2).unwrap();
        let prompt = feed_prompt(&mut model, &golden.tokens, 7);
        let mut logits = prompt[prompt.len() - config.vocab..].to_vec();
        for (n, token) in greedy.iter().enumerate() {
            let name = case.name();
            assert!(
                is_greedy(&logits, *token, case.bound()),
                "{name}: token {n}"
            );
            let position = (golden.tokens.len() + n) as u32;
            logits = model
                .step(&[*token], &[position], &[0], &[0])
                .unwrap()
                .logits;
        }
    }
}

/// One line of `answers.jsonl`.
struct Answer {
    question: String,
    answer: String,
}

/// The recorded answers of the trained checkpoint.
fn answers(tiny: &Checkpoint) -> Vec<Answer> {
    let text = fs::read_to_string(tiny.dir().join("answers.jsonl")).unwrap();
    let answer = |line: &str| {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        let field = |key: &str| line[key].as_str().unwrap().to_string();
        Answer {
            question: field("question"),
            answer: field("answer"),
        }
    };
    text.lines().map(answer).collect()
}

/// Asks each question alone, in the chat form, and decodes greedily up to a stop id.
fn assert_answered<'a>(tiny: &Recorded, answers: impl Iterator<Item = &'a Answer>) {
    let checkpoint = &tiny.checkpoint;
    let files = checkpoint.text().unwrap().unwrap();
    let text = Text::new(TextSource {
        tokenizer_json: TokenizerJson::File(&files.tokenizer_json),
        chat_template: files.chat_template,
        special: files.special,
        bos: checkpoint.config().bos,
    });
    let text = text.unwrap();
    let mut model = Interpreted::<f32>::new(checkpoint, &tiny.shape(64), 1).unwrap();
    for Answer { question, answer } in answers {
        let message = Message {
            role: Role::User,
            content: question.clone(),
        };
        let prompt = text.encode(&text.render(&[message]).unwrap()).unwrap();
        let positions: Vec<u32> = (0..prompt.len() as u32).collect();
        let slots = vec![0; prompt.len()];
        let last = prompt.len() - 1;
        let mut made = model.step(&prompt, &positions, &slots, &[last]).unwrap();
        let mut ids = vec![];
        loop {
            let token = argmax(&made.logits);
            if checkpoint.stop_ids().contains(&token) || ids.len() == 100 {
                break;
            }
            let position = (prompt.len() + ids.len()) as u32;
            ids.push(token);
            made = model.step(&[token], &[position], &[0], &[0]).unwrap();
        }
        assert_eq!(&text.decode(&ids).unwrap(), answer, "{question}");
    }
}

fn argmax(logits: &[f32]) -> u32 {
    let highest = (0..logits.len()).max_by(|a, b| logits[*a].total_cmp(&logits[*b]));
    highest.expect("a vocabulary is not empty") as u32
}

#[test]
fn a_sample_of_the_trained_checkpoints_answers_is_given_to_the_letter() {
    let tiny = shipped("tiny");
    let answers = answers(&tiny.checkpoint);
    assert_eq!(answers.len(), 200);
    assert_answered(&tiny, answers.iter().step_by(10));
}

#[test]
#[ignore = "all 200 take a minute; a sample of them runs always"]
fn all_of_the_trained_checkpoints_answers_are_given_to_the_letter() {
    let tiny = shipped("tiny");
    assert_answered(&tiny, answers(&tiny.checkpoint).iter());
}
