//! How a run ends early, and the stats it leaves.

mod common;

use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use common::{Outcome, Run, SMALL, SetWhenSeen, Toy, ids, options, saying, tiny_text, with};
use lapidary_runtime::{Error, Executor, Host, Limits, Row, run_in};
use serde_json::Value;

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
    impl Executor for Nan {
        fn limits(&self) -> Limits {
            self.0.limits
        }
        fn step(
            &mut self,
            rows: &[Row],
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
        let host = Host {
            input: Box::new(io::BufReader::new(Never)),
            input_is_terminal: false,
            output: &mut io::sink(),
            output_is_terminal: false,
            notes: &mut io::sink(),
            interrupt: &interrupt,
        };
        let mut toy = saying("Yes.");
        let options = options(&arguments).unwrap();
        run_in(
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
