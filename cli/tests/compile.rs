//! Compiled files as their users meet them, and the cache of runs.

mod common;

use std::collections::BTreeSet;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::Duration;

use common::*;

/// Compiles a checkpoint to a file in this folder.
fn compile(checkpoint: &str, dir: &Path, options: &[&str]) -> PathBuf {
    let path = dir.join("gemma");
    let args = ["compile", checkpoint, "-o", text(&path)];
    says(&[&args[..], options].concat());
    path
}

/// Runs a compiled file from another folder. A file that was just written may still be open in a process that another
/// test is about to start.
fn run(file: &Path, args: &[&str]) -> Output {
    loop {
        let mut command = Command::new(file);
        command.args(args).current_dir("/").stdin(Stdio::null());
        match command.output() {
            Err(error) if error.kind() == ErrorKind::ExecutableFileBusy => thread::yield_now(),
            output => return output.expect("the file starts"),
        }
    }
}

fn answer(file: &Path) -> String {
    said(run(file, &["--temperature", "0", QUESTION]))
}

/// Bytes of the runtime that a compiled file begins with.
fn runtime_bytes() -> usize {
    let found = fs::metadata(env!("LAPIDARY_RUNTIME"));
    found.expect("a file").len() as usize
}

/// Writes a file that can be started.
fn write_program(path: &Path, bytes: &[u8]) {
    fs::write(path, bytes).expect("a file");
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("a file");
}

fn names(dir: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(dir).expect("a folder");
    let names = entries.map(|entry| entry.expect("an entry").file_name());
    names.map(|name| name.display().to_string()).collect()
}

#[test]
fn a_compiled_file_answers_alone_from_anywhere() {
    let dir = folder();
    let checkpoint = copy_of_tiny(dir.path());
    for fidelity in ["exact", "fast"] {
        let made = compile(&checkpoint, dir.path(), &["--fidelity", fidelity]);
        let elsewhere = folder();
        let moved = elsewhere.path().join("renamed");
        fs::rename(made, &moved).expect("the same disk");
        assert_eq!(answer(&moved), ANSWER, "{fidelity}");
    }
    let made = compile(&checkpoint, dir.path(), &[]);
    fs::remove_dir_all(checkpoint).expect("a folder");
    assert_eq!(answer(&made), ANSWER);
    assert_eq!(names(dir.path()), ["gemma".to_string()].into());
}

#[test]
fn several_run_at_once_and_a_file_in_use_can_be_replaced() {
    let dir = folder();
    let file = compile(&tiny(), dir.path(), &[]);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| assert_eq!(answer(&file), ANSWER));
        }
        compile(&tiny(), dir.path(), &[]);
    });
    assert_eq!(names(dir.path()).len(), 1);
}

#[test]
fn a_weight_file_goes_with_its_program() {
    let dir = folder();
    let file = compile(&tiny(), dir.path(), &["--weights", "sidecar"]);
    assert_eq!(
        names(dir.path()),
        ["gemma", "gemma.weights"].map(String::from).into()
    );
    let elsewhere = folder();
    for name in ["gemma", "gemma.weights"] {
        fs::copy(dir.path().join(name), elsewhere.path().join(name)).expect("a copy");
    }
    assert_eq!(answer(&elsewhere.path().join("gemma")), ANSWER);

    fs::remove_file(dir.path().join("gemma.weights")).expect("a file");
    let (name, dir) = (text(&file), dir.path());
    let message = refusal(2, run(&file, &["hi"]));
    let expected =
        format!("error: {name}.weights: no such file, expected the weights of {name} there\n");
    assert_eq!(message, expected);
    let other = compile(
        &tiny(),
        elsewhere.path(),
        &["--weights", "sidecar", "--weight-format", "f32"],
    );
    fs::copy(other.with_extension("weights"), dir.join("gemma.weights")).expect("a copy");
    let message = refusal(2, run(&file, &["hi"]));
    let expected = format!(
        "error: {name}.weights holds other weights than those that {name} was compiled with\n"
    );
    assert_eq!(message, expected);
}

#[test]
fn a_file_cut_off_anywhere_says_so_in_one_line_before_it_does_anything() {
    let dir = folder();
    let file = compile(&tiny(), dir.path(), &[]);
    let whole = fs::read(&file).expect("a file");
    let runtime = runtime_bytes();
    let cut = dir.path().join("cut");
    let line = |length: usize| {
        write_program(&cut, &whole[..length]);
        refusal(2, run(&cut, &["hi"]))
    };
    let name = text(&cut);
    for length in [
        whole.len() - 1,
        whole.len() - 33,
        whole.len() / 5 * 4,
        runtime + 1,
    ] {
        let expected = format!(
            "error: {name} is not whole: its end was cut off or changed after it was compiled\n"
        );
        assert_eq!(line(length), expected, "{length}");
    }
    for length in [runtime - 1, runtime / 2, runtime / 5] {
        let expected = "error: this file is not whole: its end was cut off after it was compiled\n";
        assert_eq!(line(length), expected, "{length}");
    }
    let expected = format!(
        "error: {name} holds no model: `lapidary compile CHECKPOINT -o FILE` makes a file that does\n"
    );
    assert_eq!(line(runtime), expected);
}

#[test]
fn a_file_edited_anywhere_behind_its_runtime_says_so_in_one_line() {
    let dir = folder();
    let file = compile(&tiny(), dir.path(), &[]);
    let whole = fs::read(&file).expect("a file");
    let runtime = runtime_bytes();
    let edited = dir.path().join("edited");
    let steps = (runtime..whole.len() - 32).step_by((whole.len() - runtime) / 12);
    for at in steps.chain([whole.len() - 40]) {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        write_program(&edited, &bytes);
        let message = refusal(2, run(&edited, &["--temperature", "0", QUESTION]));
        let expected = format!(
            "error: {} was changed after it was compiled (at bytes ",
            text(&edited)
        );
        assert!(message.starts_with(&expected), "{at}: {message}");
        assert_eq!(message.matches('\n').count(), 1, "{message}");
    }
}

#[test]
fn a_compiled_file_says_what_it_was_built_from() {
    let dir = folder();
    let options = [
        "--fidelity",
        "exact",
        "--cpu",
        "x86-64-v3",
        "--max-context",
        "300",
    ];
    let file = compile(&tiny(), dir.path(), &options);
    let version = said(run(&file, &["--version"]));
    let info = said(run(&file, &["--info"]));
    let fact = |name: &str| {
        let line = info.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap_or_else(|| panic!("{name} in {info}")).trim()
    };
    let (checkpoint, rules) = (fact("checkpoint"), fact("rules"));
    assert_eq!(checkpoint.len(), 16);
    let compiler = env!("CARGO_PKG_VERSION");
    assert_eq!(
        version,
        format!(
            "tiny, checkpoint {checkpoint}, exact, weights bf16, KV cache f32, context 300, rules {rules}, compiled by lapidary {compiler}\n"
        )
    );
    assert_eq!(fact("context"), "300");
    assert_eq!(fact("rows a step"), "300");
    assert_eq!(fact("stop ids"), "1, 107");
    assert!(
        fact("CPU").starts_with("x86-64-v3; on this machine x86-64-v3"),
        "{info}"
    );
    assert_eq!(
        fact("weights"),
        "4004096 bytes (4.0 MB), bf16, in this file"
    );

    // The hash is of the checkpoint, whatever is made of it.
    let options = [
        "--weights",
        "sidecar",
        "--weight-format",
        "f32",
        "--cpu",
        "x86-64-v3",
    ];
    let file = compile(&tiny(), dir.path(), &options);
    let info = said(run(&file, &["--info"]));
    assert!(
        info.contains(&format!("checkpoint           {checkpoint}\n")),
        "{info}"
    );
    assert!(
        info.contains("8008192 bytes (8.0 MB), f32, in gemma.weights\n"),
        "{info}"
    );
}

/// The bytes of the logits of a prompt of 20 tokens.
fn logits(command: &mut Command, dir: &Path) -> Vec<u8> {
    let path = dir.join("logits");
    let ids = (0..20).map(|i| (2 + i * 37 % 250).to_string());
    let ids = ids.collect::<Vec<_>>().join(",");
    command.args(["--tokens", &ids, "--logits", text(&path)]);
    said(command.output().expect("it starts"));
    fs::read(path).expect("a file")
}

#[test]
fn exact_is_the_interpreters_bits_at_every_level_with_weights_as_stored_and_widened() {
    let dir = folder();
    for name in ["2b-shape", "large-residual"] {
        let checkpoint = random(name);
        let mut interp = lapidary(&["run", &checkpoint, "--backend", "interp"]);
        let truth = logits(&mut interp, dir.path());
        for level in ["x86-64-v3", "x86-64-v4"] {
            for format in [&[][..], &["--weight-format", "f32"]] {
                let options = ["--fidelity", "exact", "--cpu", level];
                let file = compile(&checkpoint, dir.path(), &[&options[..], format].concat());
                let info = said(run(&file, &["--info"]));
                if info.contains("on this machine none of them") {
                    eprintln!("skipped: this CPU cannot run {level}");
                    continue;
                }
                let found = logits(&mut Command::new(&file), dir.path());
                assert!(found == truth, "{name} {level} {format:?}");
            }
        }
    }
}

#[test]
fn a_compiled_file_holds_no_more_positions_than_it_was_compiled_for() {
    let dir = folder();
    let file = compile(&random("2b-shape"), dir.path(), &["--max-context", "4"]);
    let message = refusal(2, run(&file, &["--tokens", "2,3,4,5,6"]));
    let expected = "error: the prompt has 5 tokens, but the context holds 4 (--max-context, at most the model's own)\n";
    assert_eq!(message, expected);
    let message = refusal(2, run(&file, &["--max-context", "5", "--tokens", "2"]));
    let expected = "error: --max-context 5 is out of range: the model has 4 positions\n";
    assert_eq!(message, expected);
    let message = refusal(2, run(&file, &["--max-context", "2", "--tokens", "2,3,4"]));
    assert!(
        message.contains("3 tokens, but the context holds 2"),
        "{message}"
    );
    let ids = said(run(&file, &["--temperature", "0", "--tokens", "2,3,4,5"]));
    assert_eq!(ids.split(' ').count(), 1, "{ids}");
    let one = compile(&random("2b-shape"), dir.path(), &["--max-context", "1"]);
    let id = said(run(&one, &["--temperature", "0", "--tokens", "2"]));
    assert!(id.trim_end().parse::<u32>().is_ok(), "{id}");
}

#[test]
fn what_compile_refuses_is_one_line_and_leaves_nothing() {
    let dir = folder();
    let checkpoint = copy_of_tiny(dir.path());
    let weights = format!("{checkpoint}/model.safetensors");
    let before = fs::read(&weights).expect("a file");
    let taken = dir.path().join("taken");
    fs::create_dir(&taken).expect("a folder");
    let target = dir.path().join("gemma");
    let (taken, target, tiny) = (text(&taken), text(&target), checkpoint.as_str());
    let config = format!("{checkpoint}/config.json");
    let cases: &[(&[&str], String)] = &[
        (
            &["nowhere", "-o", target],
            "nowhere: found nothing, expected a checkpoint's folder".into(),
        ),
        (
            &[tiny, "-o", taken],
            format!("-o {taken}: a folder, expected a file's path"),
        ),
        (
            &[tiny, "-o", "/dev/null"],
            "-o /dev/null: a pipe, socket or device, expected a file's path".into(),
        ),
        (
            &[tiny, "-o", "/nowhere/at/all"],
            "/nowhere/at/all: entity not found".into(),
        ),
        (
            &[tiny, "-o", &weights],
            format!("-o {weights}: a file of the checkpoint, expected a file that may be replaced"),
        ),
        (
            &[tiny, "-o", &config, "--emit", "ll"],
            format!("-o {config}: a file of the checkpoint, expected a file that may be replaced"),
        ),
        (
            &[tiny, "-o", target, "--max-context", "2000"],
            "--max-context 2000 is out of range: the model has 1024 positions".into(),
        ),
    ];
    for (args, expected) in cases {
        let message = refused(2, &[&["compile"], *args].concat());
        assert_eq!(message, format!("error: {expected}\n"), "{args:?}");
    }
    for flags in [
        ["--cpu", "z80"],
        ["--fidelity", "x"],
        ["--weights", "x"],
        ["--emit", "x"],
    ] {
        let args = [&["compile", tiny, "-o", target], &flags[..]].concat();
        let message = refused(2, &args);
        assert!(message.contains(flags[0]), "{message}");
    }
    assert_eq!(
        names(dir.path()),
        ["taken", "tiny"].map(String::from).into()
    );
    assert!(fs::read(&weights).expect("a file") == before);
}

#[test]
fn a_tokenizer_that_no_run_could_use_is_refused_before_anything_is_compiled() {
    let dir = folder();
    let checkpoint = copy_of_tiny(dir.path());
    let tokenizer = Path::new(&checkpoint).join("tokenizer.json");
    fs::write(&tokenizer, "{}").expect("a file");
    let target = dir.path().join("gemma");
    let message = refused(2, &["compile", &checkpoint, "-o", text(&target)]);
    assert!(
        message.starts_with(&format!("error: {}: ", text(&tokenizer))),
        "{message}"
    );
    assert_eq!(message.matches('\n').count(), 1, "{message}");
}

#[test]
fn a_compile_that_is_killed_leaves_nothing() {
    let dir = folder();
    let target = dir.path().join("gemma");
    for delay in [1, 30, 100, 200, 300, 400] {
        let args = [
            "compile",
            &tiny(),
            "-o",
            text(&target),
            "--weights",
            "sidecar",
        ];
        let mut child = lapidary(&args)
            .stderr(Stdio::null())
            .spawn()
            .expect("lapidary starts");
        thread::sleep(Duration::from_millis(delay));
        let ended = child.try_wait().expect("a process").is_some();
        child.kill().expect("a process");
        child.wait().expect("a process");
        let found = names(dir.path());
        if ended || found.contains("gemma") {
            assert_eq!(answer(&target), ANSWER);
            break;
        }
        let whole: BTreeSet<String> = ["gemma.weights".to_string()].into();
        assert!(found.is_subset(&whole), "after {delay} ms: {found:?}");
    }
}

#[test]
fn the_generated_code_is_written_as_asked() {
    let dir = folder();
    let emit = |kind: &str| {
        let file = compile(&tiny(), dir.path(), &["--emit", kind, "--cpu", "x86-64-v3"]);
        fs::read(file).expect("a file")
    };
    let (ll, asm, obj) = (emit("ll"), emit("asm"), emit("obj"));
    let ll = String::from_utf8(ll).expect("text");
    assert!(ll.contains("target triple = \"x86_64-"), "{}", &ll[..200]);
    assert!(ll.contains("\ndefine "));
    let asm = String::from_utf8(asm).expect("text");
    assert!(asm.contains("vfmadd") && !asm.contains("%zmm") && !asm.contains("zmm0"));
    assert!(obj.starts_with(b"\x7fELF"));
    assert_eq!(obj[16], 1, "a relocatable file");
}
