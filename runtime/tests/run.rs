//! A whole run: prompts in, text, ids, files and refusals out.

mod common;

use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use common::{Outcome, Run, SetWhenSeen, Toy, options, tiny_text};
use lapidary_runtime::{Error, Limits};
use serde_json::Value;

const SMALL: Limits = Limits {
    vocab: 50,
    context: 64,
    rows: 64,
    slots: 1,
};
const GREEDY: [&str; 2] = ["--temperature", "0"];

fn with<'a>(more: &[&'a str]) -> Vec<&'a str> {
    [&GREEDY, more].concat()
}

fn ids(output: &str) -> Vec<u32> {
    output
        .split_whitespace()
        .map(|id| id.parse().unwrap())
        .collect()
}

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

/// Says `reply` and then the stop id, whatever is asked.
fn saying(reply: &str) -> Toy {
    let text = tiny_text();
    let reply = [text.encode_part(reply).unwrap(), vec![107]].concat();
    let opening = text.encode_part("<start_of_turn>model\n").unwrap();
    Toy::talking(move |history| {
        let said =
            (0..history.len()).find(|&said| history[..history.len() - said].ends_with(&opening))?;
        reply.get(said).copied()
    })
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
    let mut toy = Toy::new(Limits { vocab: 8, ..SMALL });
    let arguments = with(&[
        "--tokens",
        "0,1,2",
        "--repetition-penalty",
        "1e6",
        "--max-new-tokens",
        "5",
    ]);
    // Positive logits shrink to nothing and negative ones sink, so that no token returns before all have been.
    toy.script = Box::new(|_| None);
    let outcome = Run::default().go(&mut toy, &arguments);
    outcome.result.unwrap();
    let mut seen = ids(&outcome.output);
    let positive_unseen_exists = |history: &[u32]| {
        let logits = toy.logits(history);
        (0..8).any(|token| !history.contains(&token) && logits[token as usize] > 0.0)
    };
    let mut history = vec![0, 1, 2];
    for token in seen.drain(..) {
        assert!(
            !positive_unseen_exists(&history) || !history.contains(&token),
            "{token} returned after {history:?}"
        );
        history.push(token);
    }
}

#[test]
fn an_executors_error_is_the_runs() {
    let mut toy = Toy::new(SMALL);
    toy.before_step = Box::new(|steps| match steps {
        2 => Err(Error::Executor("the device is gone".into())),
        _ => Ok(()),
    });
    let outcome = Run::default().go(&mut toy, &with(&["--tokens", "2,5,9"]));
    assert_eq!(ids(&outcome.output).len(), 2);
    let error = outcome.result.unwrap_err();
    assert_eq!(
        (error.to_string().as_str(), error.exit_code()),
        ("the device is gone", 1)
    );
}

#[test]
fn logits_that_are_not_finite_end_the_run_with_their_position() {
    struct Nan(Toy);
    impl lapidary_runtime::Executor for Nan {
        fn limits(&self) -> Limits {
            self.0.limits
        }
        fn step(
            &mut self,
            rows: &[lapidary_runtime::Row],
            wanted: &[usize],
            logits: &mut [f32],
        ) -> Result<(), Error> {
            self.0.step(rows, wanted, logits)?;
            if rows[0].position == 4 {
                logits[7] = f32::NAN;
            }
            Ok(())
        }
    }
    let outcome = Run::default().go(&mut Nan(Toy::new(SMALL)), &with(&["--tokens", "2,5,9"]));
    let error = outcome.result.unwrap_err().to_string();
    assert_eq!(
        error,
        "the logits at position 4 are not finite: token 7 has NaN"
    );
}

#[test]
fn an_interrupt_ends_after_the_present_token_with_a_newline_and_the_stats() {
    let folder = tempfile::tempdir().unwrap();
    let stats = folder.path().join("stats.json");
    let interrupt = AtomicBool::new(false);
    let mut toy = Toy::new(SMALL);
    toy.script = Box::new(|history| Some(history.len() as u32));
    let mut output = SetWhenSeen {
        mark: " 5",
        flag: &interrupt,
        text: String::new(),
    };
    let run = Run {
        interrupt: &interrupt,
        ..Run::default()
    };
    let outcome = run.go_to(
        &mut output,
        &mut toy,
        &with(&["--tokens", "2,5,9", "--stats", stats.to_str().unwrap()]),
    );
    outcome.result.unwrap();
    assert_eq!(output.text, "3 4 5\n");
    let stats: Value = serde_json::from_slice(&std::fs::read(stats).unwrap()).unwrap();
    assert_eq!(stats["decode_tokens"], 2);
}

#[test]
fn an_interrupt_in_a_long_prompt_ends_it_between_steps() {
    static FLAG: AtomicBool = AtomicBool::new(false);
    let mut toy = Toy::new(SMALL);
    toy.before_step = Box::new(|steps| {
        FLAG.store(steps == 1, Ordering::Relaxed);
        Ok(())
    });
    let run = Run {
        interrupt: &FLAG,
        ..Run::default()
    };
    let outcome = run.go(
        &mut toy,
        &with(&["--tokens", "1,2,3,4,5,6", "--prefill-chunk", "2"]),
    );
    outcome.result.unwrap();
    assert_eq!((outcome.output.as_str(), toy.steps), ("\n", vec![2, 2]));
}

#[test]
fn an_interrupt_ends_the_wait_for_a_prompt() {
    struct Never;
    impl io::Read for Never {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            loop {
                std::thread::park();
            }
        }
    }
    let text = tiny_text();
    let interrupt = AtomicBool::new(true);
    for arguments in [vec![], vec!["--chat"]] {
        let host = lapidary_runtime::Host {
            input: Box::new(io::BufReader::new(Never)),
            input_is_terminal: false,
            output: &mut io::sink(),
            output_is_terminal: false,
            notes: &mut io::sink(),
            interrupt: &interrupt,
        };
        let mut toy = saying("Yes.");
        let options = options(&arguments).unwrap();
        lapidary_runtime::run_in(
            host,
            &mut toy,
            Some(&text),
            &[107],
            &options,
            std::time::Instant::now(),
        )
        .unwrap();
        assert!(toy.steps.is_empty());
    }
}

/// Fails after `left` writes.
struct Failing {
    left: AtomicUsize,
    kind: io::ErrorKind,
}

impl Write for Failing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.left.fetch_sub(1, Ordering::Relaxed) {
            1.. => Ok(bytes.len()),
            0 => Err(self.kind.into()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn an_output_that_nobody_reads_ends_the_run_quietly_and_a_full_one_with_an_error() {
    let go = |kind| -> (Outcome, usize) {
        let mut toy = Toy::new(SMALL);
        let mut output = Failing {
            left: AtomicUsize::new(3),
            kind,
        };
        let outcome = Run::default().go_to(&mut output, &mut toy, &with(&["--tokens", "2,5,9"]));
        (outcome, toy.steps.len())
    };
    let (outcome, steps) = go(io::ErrorKind::BrokenPipe);
    outcome.result.unwrap();
    assert_eq!((outcome.notes.as_str(), steps), ("", 4));
    let (outcome, _) = go(io::ErrorKind::StorageFull);
    let error = outcome.result.unwrap_err();
    assert_eq!(
        (error.to_string().as_str(), error.exit_code()),
        ("standard output: no storage space", 1)
    );
}

#[test]
fn stats_are_one_object_of_numbers_and_null_where_nothing_happened() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("stats.json");
    let stats = |arguments: &[&str], stop_ids: &[u32]| -> Value {
        let arguments = [&with(&["--stats", path.to_str().unwrap()]), arguments].concat();
        let run = Run {
            stop_ids,
            ..Run::default()
        };
        run.go(&mut Toy::new(SMALL), &arguments).result.unwrap();
        serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap()
    };
    let answered = stats(
        &[
            "--tokens",
            "2,5,9",
            "--max-new-tokens",
            "4",
            "--threads",
            "3",
        ],
        &[],
    );
    let keys: Vec<&str> = answered
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    assert_eq!(
        keys,
        [
            "prefill_tokens",
            "prefill_tokens_per_s",
            "decode_tokens",
            "decode_tokens_per_s",
            "load_ms",
            "first_token_ms",
            "peak_rss_bytes",
            "threads"
        ]
    );
    assert_eq!(
        (
            &answered["prefill_tokens"],
            &answered["decode_tokens"],
            &answered["threads"]
        ),
        (&3.into(), &3.into(), &3.into())
    );
    for key in keys {
        assert!(
            answered[key].as_f64().is_some_and(|number| number > 0.0),
            "{key}: {}",
            answered[key]
        );
    }
    assert!(answered["first_token_ms"].as_f64() >= answered["load_ms"].as_f64());
    assert!(answered["peak_rss_bytes"].as_u64().unwrap() > 1 << 20);

    let one = stats(&["--tokens", "2,5,9", "--max-new-tokens", "1"], &[]);
    assert_eq!(
        (&one["decode_tokens"], &one["decode_tokens_per_s"]),
        (&0.into(), &Value::Null)
    );
    let all: Vec<u32> = (0..50).collect();
    let stopped = stats(&["--tokens", "2,5,9"], &all);
    assert_eq!(stopped["decode_tokens"], 0);
    assert!(
        stopped["first_token_ms"].is_number(),
        "a stop id is a token too"
    );
    let logits = folder.path().join("logits");
    let none = stats(
        &["--tokens", "2,5,9", "--logits", logits.to_str().unwrap()],
        &[],
    );
    assert_eq!(
        (&none["prefill_tokens"], &none["first_token_ms"]),
        (&3.into(), &Value::Null)
    );
    assert_eq!(
        std::fs::read_dir(folder.path()).unwrap().count(),
        2,
        "nothing is left but the two files"
    );
}
