//! The measurement of a machine, and the commands that use it.

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

/// The command, in an environment where `home` is the user's folder.
fn lapidary(home: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lapidary"));
    command.args(args).stdin(Stdio::null());
    command.env_remove("XDG_CONFIG_HOME").env("HOME", home);
    command.output().expect("lapidary starts")
}

fn succeeds(output: &Output) -> String {
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{errors}");
    String::from_utf8(output.stdout.clone()).expect("the output is text")
}

/// The one line of a refusal that the caller can mend.
fn refusal(output: &Output) -> String {
    let message = String::from_utf8(output.stderr.clone()).expect("the message is text");
    assert_eq!(output.status.code(), Some(2), "{message}");
    assert_eq!(output.stdout, b"");
    message
}

/// A description whose every number is plain.
fn description() -> Value {
    let measured = |x: f64| json!({ "median": x, "min": x, "max": x });
    let rates = |x: f64| json!({ "one_thread": measured(x), "all_threads": measured(x) });
    json!({
        "cpu": "a CPU",
        "threads": 2,
        "date": "2026-08-31",
        "read_bytes_per_s": rates(30e9),
        "f32_flops": rates(226e9),
        "bf16_flops": rates(465e9),
        "int8_ops": null,
        "barrier_s": measured(1e-6),
    })
}

#[test]
fn calibrate_writes_what_it_measured_and_shows_it() {
    let home = tempfile::tempdir().expect("a folder");
    let path = home.path().join("m.json");
    let file = path.to_str().expect("the path is text");
    let small = ["calibrate", "--rounds", "2", "--memory", "16", "-o", file];
    let output = lapidary(home.path(), &small);
    let table = succeeds(&output);
    for row in [
        "read, GB/s, one thread",
        "f32 FMA, GFLOP/s, all",
        "barrier, µs",
    ] {
        assert!(table.contains(row), "{row} in {table}");
    }
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(errors, format!("written to {file}\n"));

    let text = fs::read_to_string(&path).expect("the file is there");
    let found: Value = serde_json::from_str(&text).expect("JSON");
    assert!(table.starts_with(found["cpu"].as_str().expect("a name")));
    assert!(found["threads"].as_u64().expect("a count") >= 1);
    let positive = |measured: &Value| {
        let number = |key: &str| measured[key].as_f64().unwrap_or(0.0);
        let [min, median, max] = ["min", "median", "max"].map(number);
        assert!(0.0 < min && min <= median && median <= max, "{text}");
    };
    positive(&found["barrier_s"]);
    for key in ["read_bytes_per_s", "f32_flops", "bf16_flops", "int8_ops"] {
        let rates = found.get(key).expect("every key is there");
        if key.ends_with("_s") || key.starts_with("f32") || !rates.is_null() {
            positive(&rates["one_thread"]);
            positive(&rates["all_threads"]);
        }
    }
    assert_eq!(fs::read_dir(home.path()).expect("a folder").count(), 1);
}

#[test]
fn the_default_file_is_made_and_used() {
    let home = tempfile::tempdir().expect("a folder");
    let small = ["calibrate", "--rounds", "1", "--memory", "1"];
    succeeds(&lapidary(home.path(), &small));
    let path = home.path().join(".config/lapidary/machine.json");
    assert!(path.is_file());

    let checkpoint = format!("{ROOT}/tests/checkpoints/2b-shape");
    let plan = ["opt", &checkpoint, "--until", "plan"];
    assert!(succeeds(&lapidary(home.path(), &plan)).contains("\nplan "));
    fs::write(&path, "{}").expect("the file is ours");
    let expected = format!("error: {}: cpu is missing\n", path.display());
    assert_eq!(refusal(&lapidary(home.path(), &plan)), expected);
}

#[test]
fn a_plan_is_made_for_the_machine_given() {
    let home = tempfile::tempdir().expect("a folder");
    let path = home.path().join("m.json");
    let file = path.to_str().expect("the path is text");
    let seconds_in_report = |machine: &Value| {
        fs::write(&path, machine.to_string()).expect("the folder takes files");
        let checkpoint = format!("{ROOT}/tests/checkpoints/2b-shape");
        let output = lapidary(
            home.path(),
            &["opt", &checkpoint, "--until", "plan", "--machine", file],
        );
        succeeds(&output);
        String::from_utf8(output.stderr).expect("the report is text")
    };
    let fast = seconds_in_report(&description());
    let mut slow = description();
    slow["barrier_s"] = json!({ "median": 1.0, "min": 1.0, "max": 1.0 });
    assert_ne!(fast, seconds_in_report(&slow));
}

#[test]
fn a_machine_that_is_none_is_refused_by_every_command_that_takes_one() {
    let home = tempfile::tempdir().expect("a folder");
    let path = home.path().join("m.json");
    let file = path.to_str().expect("the path is text");
    let mut machine = description();
    machine["threads"] = json!("two");
    fs::write(&path, machine.to_string()).expect("the folder takes files");
    let checkpoint = format!("{ROOT}/tests/checkpoints/2b-shape");
    let expected =
        format!("error: {file}: threads: expected a whole number from 1 up, found \"two\"\n");
    for command in [
        &["opt", &checkpoint][..],
        &["run", &checkpoint, "--backend", "interp", "--tokens", "2"],
    ] {
        let output = lapidary(home.path(), &[command, &["--machine", file]].concat());
        assert_eq!(refusal(&output), expected, "{command:?}");
    }
    let missing = ["opt", &checkpoint, "--machine", "nowhere.json"];
    assert_eq!(
        refusal(&lapidary(home.path(), &missing)),
        "error: nowhere.json: entity not found\n"
    );
}

#[test]
fn what_calibrate_cannot_do_is_one_line() {
    let home = tempfile::tempdir().expect("a folder");
    let folder = home.path().to_str().expect("the path is text");
    let refused = |args: &[&str]| refusal(&lapidary(home.path(), &[&["calibrate"], args].concat()));
    assert_eq!(
        refused(&["-o", folder]),
        format!("error: {folder}: is a directory\n")
    );
    assert_eq!(
        refused(&["-o", "/nowhere/m.json"]),
        "error: /nowhere/m.json: entity not found\n"
    );
    for flag in [["--rounds", "0"], ["--memory", "0"], ["--memory", "x"]] {
        let message = refused(&flag);
        assert!(message.contains(flag[0]), "{message}");
    }
    assert_eq!(
        refusal(&lapidary(Path::new("no/absolute/folder"), &["calibrate"])),
        "error: neither XDG_CONFIG_HOME nor HOME names a folder: give -o FILE\n"
    );
}
