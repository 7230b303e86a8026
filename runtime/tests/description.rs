//! The machine description, and a run held against it.

mod common;

use std::fs;
use std::path::Path;

use common::{Run, SMALL, Toy, with};
use lapidary_runtime::{
    Arithmetic, AttentionWork, Description, Error, Executor, Limits, Measured, Rates, Row, Work,
};
use serde_json::{Value, json};

fn measured(median: f64) -> Measured {
    Measured::of(vec![median * 1.25, median, median * 0.5])
}

/// A machine whose every limit can be told from the others.
fn machine() -> Description {
    let rates = |one: f64| Rates {
        one_thread: measured(one),
        all_threads: measured(2.0 * one),
    };
    Description {
        cpu: "A CPU of \"tests\"".into(),
        threads: 2,
        date: "2026-08-31".into(),
        read_bytes_per_s: rates(1e3),
        f32_flops: rates(1e5),
        bf16_flops: Some(rates(1e7)),
        int8_ops: None,
        barrier_s: measured(1e-6),
    }
}

/// What is said of a file with this content.
fn refusal(content: &str) -> String {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("m.json");
    fs::write(&path, content).unwrap();
    let error = Description::load(&path).expect_err("refused");
    assert_eq!(error.exit_code(), 2, "{error}");
    let message = error.to_string();
    let prefix = format!("{}: ", path.display());
    message.strip_prefix(&prefix).expect(&message).to_string()
}

/// What is said of the machine's file when the value at a path is another, or missing.
fn edited(keys: &str, value: Option<Value>) -> String {
    let mut file = serde_json::to_value(machine()).unwrap();
    let (parent, key) = match keys.rsplit_once('.') {
        Some((parent, key)) => (format!("/{}", parent.replace('.', "/")), key),
        None => (String::new(), keys),
    };
    let object = file.pointer_mut(&parent).unwrap().as_object_mut().unwrap();
    match value {
        Some(value) => object.insert(key.into(), value),
        None => object.remove(key),
    };
    refusal(&file.to_string())
}

#[test]
fn a_description_comes_back_from_its_file_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("machine.json");
    let with_int8 = Description {
        bf16_flops: None,
        int8_ops: Some(machine().f32_flops),
        ..machine()
    };
    for description in [machine(), with_int8] {
        description.save(&path).unwrap();
        assert_eq!(Description::load(&path).unwrap(), description);
    }
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[test]
fn the_median_is_the_middle_of_the_rounds() {
    let of = |rounds: &[f64]| {
        let Measured { median, min, max } = Measured::of(rounds.to_vec());
        [median, min, max]
    };
    assert_eq!(of(&[7.0]), [7.0, 7.0, 7.0]);
    assert_eq!(of(&[2.0, 1.0]), [2.0, 1.0, 2.0]);
    assert_eq!(of(&[3.0, 9.0, 1.0, 4.0, 2.0]), [3.0, 1.0, 9.0]);
}

#[test]
fn a_missing_key_is_named() {
    for key in [
        "cpu",
        "threads",
        "date",
        "bf16_flops",
        "int8_ops",
        "barrier_s",
        "read_bytes_per_s.all_threads",
        "f32_flops.one_thread.median",
    ] {
        assert_eq!(edited(key, None), format!("{key} is missing"));
    }
}

#[test]
fn a_value_that_no_measurement_gives_is_refused_with_its_key() {
    for (key, value, expected) in [
        ("cpu", json!(7), "expected a text, found 7"),
        (
            "threads",
            json!(0),
            "expected a whole number from 1 up, found 0",
        ),
        (
            "threads",
            json!(1.5),
            "expected a whole number from 1 up, found 1.5",
        ),
        ("f32_flops", json!(null), "expected an object, found null"),
        ("int8_ops", json!([1]), "expected an object, found a list"),
        (
            "barrier_s.median",
            json!(-1),
            "expected a number over 0, found -1",
        ),
        (
            "read_bytes_per_s.one_thread.min",
            json!("fast"),
            "expected a number over 0, found \"fast\"",
        ),
        (
            "bf16_flops.all_threads.max",
            json!({}),
            "expected a number over 0, found an object",
        ),
        (
            "read_bytes_per_s.one_thread.median",
            json!(2000.0),
            "expected a number from min 500 to max 1250, found 2000.0",
        ),
    ] {
        assert_eq!(edited(key, Some(value)), format!("{key}: {expected}"));
    }
}

#[test]
fn what_is_no_json_object_is_refused() {
    assert_eq!(
        refusal("{\"cpu\": \"x\""),
        "not a machine description: EOF while parsing an object at line 1 column 11"
    );
    assert_eq!(refusal("3"), "expected an object, found 3");
    let missing = Description::load(Path::new("nowhere.json")).unwrap_err();
    assert_eq!(missing.to_string(), "nowhere.json: entity not found");
    assert_eq!(missing.exit_code(), 2);
}

#[test]
fn keys_from_elsewhere_are_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("machine.json");
    let mut file = serde_json::to_value(machine()).unwrap();
    file["note"] = json!("of the machine in the cellar");
    fs::write(&path, file.to_string()).unwrap();
    assert_eq!(Description::load(&path).unwrap(), machine());
}

/// The toy model, which says what its steps read and compute.
struct Working(Toy, Work);

impl Executor for Working {
    fn limits(&self) -> Limits {
        self.0.limits
    }

    fn work(&self) -> Option<&Work> {
        Some(&self.1)
    }

    fn step(&mut self, rows: &[Row], wanted: &[usize], logits: &mut [f32]) -> Result<(), Error> {
        self.0.step(rows, wanted, logits)
    }
}

fn work(arithmetic: Arithmetic) -> Work {
    Work {
        weight_bytes: 1000,
        row_flops: 500,
        logits_flops: 70,
        attention: vec![AttentionWork {
            window: None,
            position_bytes: 10,
            position_flops: 3,
        }],
        arithmetic,
    }
}

/// The stats of a run of two tokens after a prompt of three, with these options besides.
fn stats(executor: &mut dyn Executor, more: &[&str]) -> Value {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("stats.json");
    let fixed = ["--tokens", "1,2,3", "--max-new-tokens", "3"];
    let file = ["--stats", path.to_str().unwrap()];
    let outcome = Run::default().go(executor, &with(&[&fixed[..], &file, more].concat()));
    outcome.result.unwrap();
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

#[test]
fn stats_hold_the_run_against_the_machine() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("machine.json");
    machine().save(&path).unwrap();
    let file = path.to_str().unwrap();
    for (threads, bandwidth, peak) in [("1", 1e3, 1e7), ("2", 2e3, 2e7), ("3", 2e3, 2e7)] {
        let mut model = Working(Toy::new(SMALL), work(Arithmetic::Bf16));
        let stats = stats(&mut model, &["--machine", file, "--threads", threads]);
        let number = |key: &str| stats[key].as_f64().expect(key);
        let equal = |a: f64, b: f64| assert!((a / b - 1.0).abs() < 1e-9, "{a} is not {b}");
        let prefill_seconds = 3.0 / number("prefill_tokens_per_s");
        let prefill_flops = 3.0 * 500.0 + 3.0 * (1.0 + 2.0 + 3.0) + 70.0;
        equal(number("prefill_flops") * prefill_seconds, prefill_flops);
        equal(number("prefill_of_peak") * peak, number("prefill_flops"));
        let decode_seconds = 2.0 / number("decode_tokens_per_s");
        let decode_bytes = 2.0 * 1000.0 + 10.0 * (4.0 + 5.0);
        let read = number("decode_read_bytes_per_s");
        equal(read * decode_seconds, decode_bytes);
        equal(number("decode_of_read_bandwidth") * bandwidth, read);
    }
}

#[test]
fn a_share_of_what_is_not_known_is_null_and_without_a_machine_there_is_none() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("machine.json");
    machine().save(&path).unwrap();
    let given = ["--machine", path.to_str().unwrap()];

    let unknown = stats(&mut Toy::new(SMALL), &given);
    for key in [
        "prefill_flops",
        "prefill_of_peak",
        "decode_read_bytes_per_s",
        "decode_of_read_bandwidth",
    ] {
        assert_eq!(unknown.get(key), Some(&Value::Null), "{key}");
    }
    let no_peak = stats(
        &mut Working(Toy::new(SMALL), work(Arithmetic::Int8)),
        &given,
    );
    assert!(no_peak["prefill_flops"].as_f64().unwrap() > 0.0);
    assert_eq!(no_peak["prefill_of_peak"], Value::Null);

    let none = stats(&mut Working(Toy::new(SMALL), work(Arithmetic::Bf16)), &[]);
    assert_eq!(none.get("prefill_flops"), None);
    assert!(none["prefill_tokens_per_s"].as_f64().unwrap() > 0.0);
}

#[test]
fn a_description_that_is_none_is_refused_before_any_step() {
    let mut toy = Toy::new(SMALL);
    let run = Run::default();
    let outcome = run.go(&mut toy, &["--tokens", "1", "--machine", "nowhere.json"]);
    assert_eq!(outcome.refusal(), "nowhere.json: entity not found");
    assert!(toy.steps.is_empty());
}
