//! `lapidary bench`: how long graphs take.

mod common;

use std::fs;

use common::tensors::{graph, ints, reals, write};
use common::{folder, output, refused, said, says, text, tiny};
use serde_json::{Value, json};

fn benched(args: &[&str]) -> String {
    says(&[&["bench"], args].concat())
}

/// The JSON that a benchmark with these arguments gives.
fn measured(args: &[&str]) -> Value {
    let text = benched(&[args, &["-o", "json"]].concat());
    serde_json::from_str(&text).expect("JSON")
}

/// A description of a machine that reads 1 GB and does 2 Gflop a second.
fn machine() -> Value {
    let measured = |x: f64| json!({ "median": x, "min": x, "max": x });
    let rates = |x: f64| json!({ "one_thread": measured(x), "all_threads": measured(x) });
    json!({
        "cpu": "a CPU", "threads": 2, "date": "2026-08-31", "read_bytes_per_s": rates(1e9), "f32_flops": rates(2e9),
        "bf16_flops": null, "int8_ops": null, "barrier_s": measured(1e-6),
    })
}

#[test]
fn every_sample_is_in_the_json() {
    let graph = graph("attention");
    let found = measured(&[
        &graph,
        "-r",
        "7",
        "--bind",
        "R=1",
        "--backend",
        "cpu,interp",
        "--threads",
        "2",
    ]);
    assert_eq!(found["graph"], json!(graph));
    // What is not bound takes its upper bound.
    assert_eq!(found["symbols"], json!({ "R": 1, "K": 32 }));
    assert_eq!(found["threads"], json!(2));
    assert_eq!(found["machine"], Value::Null);
    let runs = found["runs"].as_array().expect("a list");
    let kinds: Vec<_> = runs
        .iter()
        .map(|run| (&run["backend"], &run["fidelity"]))
        .collect();
    assert_eq!(
        kinds,
        [
            (&json!("cpu"), &json!("fast")),
            (&json!("interp"), &json!("exact"))
        ]
    );
    for run in runs {
        let number = |key: &str| run[key].as_f64().expect("a number");
        let samples = run["samples_s"].as_array().expect("a list");
        let mut samples: Vec<f64> = samples
            .iter()
            .map(|x| x.as_f64().expect("a number"))
            .collect();
        samples.sort_by(f64::total_cmp);
        assert_eq!(samples.len(), 7);
        assert!(samples[0] > 0.0);
        assert_eq!(number("median_s"), samples[3]);
        assert_eq!((number("min_s"), number("max_s")), (samples[0], samples[6]));
        assert!((samples[0]..=samples[6]).contains(&number("mean_s")));
        assert!(run["limit_s"].is_null());
        assert_eq!(run["kernels"], json!([]));
    }
    assert_eq!(runs[1].get("bytes"), None);
}

#[test]
fn kernels_are_timed_and_held_against_the_machine() {
    let dir = folder();
    let description = dir.path().join("machine.json");
    fs::write(&description, machine().to_string()).expect("written");
    let graph = graph("decode");
    let args = [
        &graph,
        "--kernels",
        "-r",
        "3",
        "--machine",
        text(&description),
        "--extract",
        "none",
    ];
    let with = write(
        dir.path(),
        "in.safetensors",
        &[
            ints("token", &[1, 2]),
            ints("slot", &[0, 1]),
            ints("pos", &[3, 3]),
        ],
    );
    let args = [&args, &["--inputs", &with][..]].concat();
    let found = measured(&args);
    assert_eq!(found["machine"], json!("a CPU"));
    let run = &found["runs"][0];
    let kernels = run["kernels"].as_array().expect("a list");
    let names = kernels
        .iter()
        .map(|kernel| kernel["kernel"].as_str().expect("a name"));
    let names: Vec<&str> = names.collect();
    assert!(
        names.contains(&"embedding.k.rows") && names.contains(&"score.k.y"),
        "{names:?}"
    );
    for kernel in kernels {
        assert_eq!(kernel["launches"], json!(1));
        assert!(kernel["median_s"].as_f64().expect("a number") > 0.0);
        let number = |key: &str| kernel[key].as_f64().expect("a number");
        let limit = f64::max(number("bytes") / 1e9, number("flops") / 2e9);
        assert_eq!(number("limit_s"), limit);
    }
    let sum = |key: &str| {
        kernels
            .iter()
            .map(|kernel| kernel[key].as_f64().expect("a number"))
            .sum::<f64>()
    };
    for key in ["bytes", "flops", "limit_s"] {
        let all = run[key].as_f64().expect("a number");
        assert!((all - sum(key)).abs() <= 1e-9 * all, "{key}: {all}");
    }
    let tables = benched(&args);
    let graph = common::tensors::graph("rms_norm");
    let run = &measured(&[&graph, "-r", "1", "--bind", "R=2"])["runs"][0];
    // x and, in bf16, w are read, y is written.
    let bytes = 2.0 * 33.0 * 4.0 + 33.0 * 2.0 + 2.0 * 33.0 * 4.0;
    assert_eq!(run["bytes"], json!(bytes));
    assert!(tables.contains("| score.k.y "), "{tables}");
    assert!(tables.contains("of the limit"), "{tables}");
}

#[test]
fn a_table_has_a_row_for_each_backend() {
    let graph = graph("rms_norm");
    let table = benched(&[
        &graph,
        "-r",
        "1",
        "--backend",
        "cpu,interp",
        "--threads",
        "1",
        "--fidelity",
        "exact",
    ]);
    let lines: Vec<&str> = table.lines().collect();
    assert_eq!(lines[0], format!("{graph}, R=4, 1 thread"));
    assert_eq!(lines.len(), 6, "{table}");
    assert!(
        lines[2].starts_with("| backend") && lines[2].ends_with("| Gflop/s |"),
        "{table}"
    );
    assert!(lines[4].starts_with("| cpu exact "), "{table}");
    assert!(lines[5].starts_with("| interp exact |"), "{table}");
    assert!(lines[5].ends_with(" - |"), "{table}");
    let widths = lines[2..].iter().map(|line| line.chars().count());
    assert_eq!(
        widths.collect::<std::collections::BTreeSet<_>>().len(),
        1,
        "{table}"
    );
}

#[test]
fn lines_are_one_for_each_backend_and_kernel() {
    let graph = graph("rms_norm");
    let both = ["-r", "2", "--backend", "cpu,interp"];
    let lines = benched(&[&[&graph[..]], &both[..], &["-o", "jsonl"]].concat());
    let lines: Vec<Value> = lines
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    let backends: Vec<_> = lines.iter().map(|line| &line["backend"]).collect();
    assert_eq!(backends, [&json!("cpu"), &json!("interp")]);
    assert_eq!(lines[0]["graph"], json!(graph));

    let lines = benched(&[&[&graph[..]], &both[..], &["--kernels", "-o", "csv"]].concat());
    let lines: Vec<Vec<&str>> = lines
        .lines()
        .map(|line| line.split(',').collect())
        .collect();
    assert!(
        lines.iter().all(|line| line.len() == lines[0].len()),
        "{lines:?}"
    );
    let of = |line: &[&str]| [line[1], line[4], line[5]].map(String::from);
    let found: Vec<[String; 3]> = lines.iter().map(|line| of(line)).collect();
    let expected = [
        ["backend", "kernel", "launches"],
        ["cpu", "", ""],
        ["cpu", "f.k.y", "1"],
        ["interp", "", ""],
    ];
    assert_eq!(found, expected);
}

#[test]
fn every_step_begins_with_the_same_states() {
    let dir = folder();
    let path = dir.path().join("once.lir");
    // The state says where the next row is put: a second step that began with the first one's would be outside.
    let module = "module once
state $at: i32[1]
state $rows: f32[1, 1]
fn f(%at: i32[1], %rows: f32[1, 1], %x: f32[1]) {
  %zero: i32[1] = const() {to = i32, shape = [1], values = [0.0]}
  %one: i32[1] = const() {to = i32, shape = [1], values = [1.0]}
  %next: i32[1] = add(%at, %one)
  %put: f32[1, 1] = put(%rows, %zero, %at, %x)
  return %next, %put
}
step(%x: f32[1]) {
  $at, $rows = f($at, $rows, %x)
  return
}
";
    fs::write(&path, module).expect("written");
    let args = [text(&path), "--backend", "cpu,interp", "--kernels"];
    benched(&args);
    let late = write(dir.path(), "late.safetensors", &[ints("state.at", &[1])]);
    let message = refused_with_progress(&[&["bench"], &args[..], &["--inputs", &late]].concat());
    assert!(message.contains("outside"), "{message}");
    assert!(
        message.ends_with("; give others by --inputs FILE"),
        "{message}"
    );
}

/// The last line of a refusal that came after a beginning.
fn refused_with_progress(args: &[&str]) -> String {
    let done = output(args);
    assert_eq!(done.status.code(), Some(2));
    let errors = String::from_utf8(done.stderr).expect("the message is text");
    errors.lines().last().expect("a line").to_string()
}

#[test]
fn the_result_alone_is_on_standard_output() {
    let done = output(&["bench", &graph("add"), "-o", "jsonl"]);
    let errors = String::from_utf8(done.stderr.clone()).expect("the progress is text");
    assert_eq!(errors, "code\nmeasuring\n");
    assert_eq!(said(done).lines().count(), 1);
}

#[test]
fn what_cannot_be_measured_is_refused() {
    let checkpoint = tiny();
    assert_eq!(
        refused(2, &["bench", &checkpoint]),
        format!(
            "error: {checkpoint}: a checkpoint, expected the text of a graph; lapidary run --stats measures a model, \
             lapidary opt prints its graph\n"
        )
    );
    let dir = folder();
    let file = write(
        dir.path(),
        "in.safetensors",
        &[reals("q", &[1, 2], &[0.0; 2])],
    );
    assert_eq!(
        refused(2, &["bench", &graph("attention"), "--inputs", &file]),
        format!("error: {file}: tensor \"q\": found F32 [1, 2], expected f32[R, 2, 3]\n")
    );
    let huge = dir.path().join("huge.lir");
    let module = "module huge
dim N in 1..1000000000000
fn f(%x: f32[N, 1000000]) {
  %y: f32[N, 1000000] = neg(%x)
  return %y
}
step(%x: f32[N, 1000000]) {
  %y: f32[N, 1000000] = f(%x)
  return %y
}
";
    fs::write(&huge, module).expect("written");
    assert_eq!(
        refused(2, &["bench", text(&huge)]),
        "error: x: F32 [1000000000000, 1000000] for f32[N, 1000000] is too large to be made up, give --bind or --inputs \
         FILE\n"
    );
    assert_eq!(
        refused(
            2,
            &[
                "bench",
                &graph("add"),
                "--backend",
                "interp",
                "--extract",
                "none"
            ]
        ),
        "error: --extract: the interpreter plans nothing, give --backend cpu\n"
    );
}
