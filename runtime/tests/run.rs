//! A whole run: prompts in; text, ids and refusals out.

mod common;

use common::{Run, SMALL, Toy, ids, saying, tiny_text, with};
use lapidary_runtime::Limits;

/// The largest logit after each token, as the model's definition has it.
fn expected(toy: &Toy, prompt: &[u32], count: usize) -> Vec<u32> {
    let mut history = prompt.to_vec();
    for _ in 0..count {
        let logits = toy.logits(&history);
        let best = (0..logits.len())
            .max_by(|&a, &b| logits[a].total_cmp(&logits[b]))
            .unwrap();
        history.push(best as u32);
    }
    history.split_off(prompt.len())
}

#[test]
fn ids_come_out_separated_by_spaces_and_end_with_a_newline() {
    let mut toy = Toy::new(SMALL);
    let outcome = Run::default().go(
        &mut toy,
        &with(&["--tokens", "2,5,9", "--max-new-tokens", "4"]),
    );
    outcome.result.unwrap();
    let want = expected(&toy, &[2, 5, 9], 4);
    assert_eq!(
        outcome.output,
        format!("{} {} {} {}\n", want[0], want[1], want[2], want[3])
    );
    assert_eq!(outcome.notes, "");
    assert_eq!(toy.steps, [3, 1, 1, 1], "the last token is not fed");
    assert_eq!(toy.wanted, [1, 1, 1, 1]);
}

#[test]
fn the_size_of_the_prefill_chunk_changes_nothing() {
    let prompt = "7,3,3,12,49,0,1,8,30,2,2";
    for (chunk, steps) in [
        ("1", vec![1; 11]),
        ("4", vec![4, 4, 3]),
        ("11", vec![11]),
        ("1000", vec![11]),
    ] {
        let mut toy = Toy::new(SMALL);
        let outcome = Run::default().go(
            &mut toy,
            &with(&[
                "--tokens",
                prompt,
                "--prefill-chunk",
                chunk,
                "--max-new-tokens",
                "9",
            ]),
        );
        outcome.result.unwrap();
        assert_eq!(
            ids(&outcome.output),
            expected(&toy, &[7, 3, 3, 12, 49, 0, 1, 8, 30, 2, 2], 9),
            "chunks of {chunk}"
        );
        assert_eq!(toy.steps[..steps.len()], steps);
        assert_eq!(
            toy.wanted[..steps.len()].iter().sum::<usize>(),
            1,
            "logits of the last row only"
        );
    }
}

#[test]
fn steps_never_have_more_rows_than_the_executor_takes() {
    let mut toy = Toy::new(Limits { rows: 5, ..SMALL });
    Run::default()
        .go(
            &mut toy,
            &with(&[
                "--tokens",
                "1,2,3,4,5,6,7,8,9,10,11,12",
                "--max-new-tokens",
                "1",
            ]),
        )
        .result
        .unwrap();
    assert_eq!(toy.steps, [5, 5, 2]);
}

#[test]
fn a_stop_id_ends_generation_and_is_not_printed() {
    let mut toy = Toy::new(SMALL);
    toy.script = Box::new(|history| Some([20, 21, 22, 1, 23][history.len() - 3]));
    let go = |stop_ids: &[u32], toy: &mut Toy| {
        let outcome = Run {
            stop_ids,
            ..Run::default()
        }
        .go(toy, &with(&["--tokens", "2,5,9", "--max-new-tokens", "5"]));
        outcome.result.unwrap();
        outcome.output
    };
    assert_eq!(go(&[40, 1], &mut toy), "20 21 22\n");
    assert_eq!(go(&[], &mut toy), "20 21 22 1 23\n");
    assert_eq!(go(&[20], &mut toy), "\n");
}

#[test]
fn generation_stops_at_the_contexts_end_and_says_so() {
    let mut toy = Toy::new(Limits {
        context: 6,
        ..SMALL
    });
    let outcome = Run::default().go(&mut toy, &with(&["--tokens", "2,5,9"]));
    outcome.result.unwrap();
    assert_eq!(
        ids(&outcome.output),
        expected(&toy, &[2, 5, 9], 4),
        "three more positions, and one token after the last"
    );
    assert_eq!(
        outcome.notes,
        "note: the context of 6 positions is full; generation stopped\n"
    );

    let full = Run::default().go(&mut toy, &with(&["--tokens", "1,2,3,4,5,6"]));
    full.result.unwrap();
    assert_eq!(ids(&full.output).len(), 1, "a prompt may fill the context");
    let exact = Run::default().go(
        &mut toy,
        &with(&["--tokens", "1,2,3,4,5,6", "--max-new-tokens", "1"]),
    );
    assert_eq!(exact.notes, "", "the context did not end it");
}

#[test]
fn prompts_that_cannot_be_run_are_refused_before_any_step() {
    let text = tiny_text();
    let mut toy = Toy::new(Limits {
        vocab: 300,
        context: 6,
        rows: 6,
        slots: 1,
    });
    let with_text = || Run {
        text: Some(&text),
        ..Run::default()
    };
    let cases = [
        (
            Run::default().go(&mut toy, &["--tokens", "1,2,3,4,5,6,7"]),
            "the prompt has 7 tokens, but the context holds 6 (--max-context, at most the model's own)",
        ),
        (
            Run::default().go(&mut toy, &["--tokens", "299,300"]),
            "token 300 is out of range: the vocabulary has 300 ids, 0 to 299",
        ),
        (
            Run::default().go(&mut toy, &["Hello"]),
            "the model has no tokenizer.json: give --tokens",
        ),
        (
            Run::default().go(&mut toy, &["--chat"]),
            "the model has no tokenizer.json: give --tokens",
        ),
        (
            with_text().go(&mut toy, &[""]),
            "the prompt is empty: give some text",
        ),
        (
            with_text().go(&mut toy, &[" \n"]),
            "the prompt is empty: give some text",
        ),
        (
            with_text().go(&mut toy, &["--raw", ""]),
            "the prompt is empty: give some text",
        ),
        (
            with_text().go(&mut toy, &[]),
            "the prompt is empty: give some text",
        ),
        (
            Run {
                terminal: true,
                ..with_text()
            }
            .go(&mut toy, &[]),
            "no prompt: give one as the argument or on standard input, or start a conversation with --chat",
        ),
        (
            Run {
                input: b"caf\xC3\xA9 \xC3(".to_vec(),
                ..with_text()
            }
            .go(&mut toy, &[]),
            "standard input is not UTF-8: byte 6 is invalid",
        ),
        (
            with_text().go(
                &mut toy,
                &["--tokens", "1", "--stats", "no/such/folder/stats.json"],
            ),
            "no/such/folder/stats.json: entity not found",
        ),
        (
            with_text().go(&mut toy, &["--tokens", "1", "--logits", "src"]),
            "src: is a directory",
        ),
    ];
    for (outcome, message) in cases {
        assert_eq!(outcome.refusal(), message);
    }
    assert!(toy.steps.is_empty());
}

#[test]
fn a_question_is_put_in_the_chat_form_and_the_answer_streams_in_whole_characters() {
    let text = tiny_text();
    let mut toy = saying("  The price:\n\n\t5 € 😀.");
    let run = Run {
        text: Some(&text),
        stop_ids: &[1, 107],
        ..Run::default()
    };
    let outcome = run.go(&mut toy, &with(&["How much?"]));
    outcome.result.unwrap();
    assert_eq!(outcome.output, "  The price:\n\n\t5 € 😀.\n");
    let prompt = text
        .encode("<bos><start_of_turn>user\nHow much?<end_of_turn>\n<start_of_turn>model\n")
        .unwrap();
    assert_eq!(toy.slots[0][..prompt.len()], prompt);
    assert_eq!(toy.steps[0], prompt.len());
}

#[test]
fn a_prompt_on_standard_input_is_the_same_less_one_newline() {
    let text = tiny_text();
    let fed = |input: &str, arguments: &[&str]| {
        let mut toy = saying("Yes.");
        let run = Run {
            text: Some(&text),
            stop_ids: &[107],
            input: input.into(),
            ..Run::default()
        };
        run.go(
            &mut toy,
            &[&with(&["--max-new-tokens", "1"]), arguments].concat(),
        )
        .result
        .unwrap();
        toy.slots.remove(0)
    };
    assert_eq!(fed("Is it?\n", &[]), fed("", &["Is it?"]));
    assert_eq!(fed("a \n\n", &["--raw"]), text.encode("a \n").unwrap());
    assert_eq!(fed("a\r\n", &["--raw"]), text.encode("a").unwrap());
    assert_eq!(
        fed("", &["--raw", "<bos>In the beginning"]),
        fed("", &["--raw", "In the beginning"])
    );
}

#[test]
fn the_same_seed_gives_the_same_tokens() {
    let go = |seed: &str| {
        let arguments = [
            "--tokens",
            "2,5",
            "--temperature",
            "1.5",
            "--max-new-tokens",
            "30",
            "--seed",
            seed,
        ];
        Run::default().go(&mut Toy::new(SMALL), &arguments).output
    };
    assert_eq!(go("1"), go("1"));
    assert_ne!(go("1"), go("2"));
}

#[test]
fn the_repetition_penalty_covers_the_prompt_and_what_was_generated() {
    let go = |arguments: &[&str]| {
        let mut toy = Toy::new(SMALL);
        toy.script = Box::new(|_| Some(5));
        ids(&Run::default()
            .go(
                &mut toy,
                &[&with(&["--max-new-tokens", "2"]), arguments].concat(),
            )
            .output)
    };
    assert_eq!(go(&["--tokens", "5,1"]), [5, 5]);
    assert_ne!(go(&["--tokens", "5,1", "--repetition-penalty", "10"])[0], 5);
    let penalised = go(&["--tokens", "1", "--repetition-penalty", "10"]);
    assert!(penalised[0] == 5 && penalised[1] != 5, "{penalised:?}");
}
