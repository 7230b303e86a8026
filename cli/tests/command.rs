//! The command as scripts see it: output, files, exit codes.

mod common;

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use safetensors::{Dtype, SafeTensors};

use common::{lapidary, output, random, refused, says, tiny, with_stdin};

fn run_tiny<'a>(rest: &[&'a str], tiny: &'a str) -> Vec<&'a str> {
    [
        &["run", tiny, "--backend", "interp", "--fidelity", "exact"],
        rest,
    ]
    .concat()
}

#[test]
fn a_prompt_is_answered_greedily_from_the_argument_and_from_standard_input() {
    let tiny = tiny();
    let greedy = run_tiny(&["--temperature", "0"], &tiny);
    let question = "What is the opposite of up?";
    let answer = "The opposite of up is down.\n";
    assert_eq!(says(&[&greedy[..], &[question]].concat()), answer);
    let piped = with_stdin(&greedy, format!("{question}\n").as_bytes());
    assert_eq!(String::from_utf8_lossy(&piped.stdout), answer);
    assert_eq!(piped.status.code(), Some(0));
}

#[test]
fn ids_go_in_and_come_out() {
    let args = [
        "run",
        &random("2b-shape"),
        "--tokens",
        "2,5,9",
        "--temperature",
        "0",
    ];
    let ids = says(&[&args[..], &["--max-new-tokens", "6"]].concat());
    let parsed: Vec<u32> = ids
        .trim_end()
        .split(' ')
        .map(|id| id.parse().expect("an id"))
        .collect();
    assert_eq!(parsed.len(), 6, "{ids}");
    assert!(ids.ends_with('\n'));
    let first = says(&[&args[..], &["--max-new-tokens", "1"]].concat());
    assert_eq!(first.trim_end(), parsed[0].to_string());
}

#[test]
fn a_seed_fixes_what_is_sampled() {
    let tiny = tiny();
    let sampled = |seed| {
        let args = [
            "--temperature",
            "1.5",
            "--top-k",
            "0",
            "--top-p",
            "1",
            "--seed",
            seed,
        ];
        let args = [
            &args[..],
            &[
                "--max-new-tokens",
                "24",
                "Tell me a short story about Anna.",
            ],
        ];
        says(&run_tiny(&args.concat(), &tiny))
    };
    assert_eq!(sampled("7"), sampled("7"));
    assert_ne!(sampled("7"), sampled("8"));
}

/// A `--logits` file's tokens, logits and their shape.
fn logits_file(path: &Path) -> (Vec<i64>, Vec<u8>, Vec<usize>) {
    let bytes = fs::read(path).expect("the file is there");
    let file = SafeTensors::deserialize(&bytes).expect("the file is safetensors");
    let tokens = file.tensor("tokens").expect("tokens");
    assert_eq!(tokens.dtype(), Dtype::I64);
    let logits = file.tensor("logits").expect("logits");
    assert_eq!(logits.dtype(), Dtype::F32);
    let (ids, _) = tokens.data().as_chunks::<8>();
    let ids = ids.iter().map(|b| i64::from_le_bytes(*b)).collect();
    (ids, logits.data().to_vec(), logits.shape().to_vec())
}

#[test]
fn logits_are_the_same_bits_in_chunks_of_any_size_and_on_any_number_of_threads() {
    let dir = tempfile::tempdir().expect("a folder");
    let ids: Vec<String> = (0..23).map(|i| (2 + i * 37 % 500).to_string()).collect();
    let ids = ids.join(",");
    let path = dir.path().join("logits");
    let run = |backend: &[&str], chunk: &str, threads: &str| {
        let file = path.to_str().expect("the path is text");
        let checkpoint = random("2b-shape");
        let args = ["run", &checkpoint, "--tokens", &ids, "--logits", file];
        let rest = ["--prefill-chunk", chunk, "--threads", threads];
        assert_eq!(says(&[&args[..], backend, &rest].concat()), "");
        logits_file(&path)
    };
    let truth = run(&["--backend", "interp"], "512", "2");
    let (tokens, _, shape) = &truth;
    assert_eq!(tokens.len(), 23);
    assert_eq!(tokens[..3], [2, 39, 76]);
    assert_eq!(*shape, [23, 515]);
    let backends: [&[&str]; 2] = [
        &["--backend", "interp"],
        &["--backend", "cpu", "--fidelity", "exact"],
    ];
    for backend in backends {
        for (chunk, threads) in [("512", "2"), ("7", "1"), ("1", "3")] {
            let found = run(backend, chunk, threads);
            assert!(
                found == truth,
                "{backend:?}, chunks of {chunk}, {threads} threads"
            );
        }
    }
    assert_eq!(fs::read_dir(dir.path()).expect("a folder").count(), 1);
}

#[test]
fn stats_are_one_json_object() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("stats.json");
    let file = path.to_str().expect("the path is text");
    let tiny = tiny();
    let args = [
        "--temperature",
        "0",
        "--threads",
        "1",
        "--stats",
        file,
        "Add 5 and 0.",
    ];
    says(&run_tiny(&args, &tiny));
    let text = fs::read_to_string(&path).expect("the file is there");
    let stats: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let number = |key: &str| {
        stats[key]
            .as_f64()
            .unwrap_or_else(|| panic!("{key} in {text}"))
    };
    for key in [
        "prefill_tokens_per_s",
        "decode_tokens_per_s",
        "load_ms",
        "first_token_ms",
        "peak_rss_bytes",
    ] {
        assert!(number(key) > 0.0, "{key} in {text}");
    }
    assert_eq!(number("threads"), 1.0);
    assert!(number("prefill_tokens") > 5.0);
    assert!(number("decode_tokens") > 3.0);
    assert!(number("first_token_ms") > number("load_ms"));
}

#[test]
fn what_the_caller_can_mend_is_one_line_and_exit_code_2() {
    let (tiny, bare) = (tiny(), random("large-residual"));
    let long: Vec<String> = (0..513).map(|_| "5".to_string()).collect();
    let long = long.join(",");
    let dir = tempfile::tempdir().expect("a folder");
    let folder = dir.path().to_str().expect("the path is text");
    let cases: &[(&[&str], &[&str])] = &[
        (&["run", "nowhere", "hi"], &["nowhere", "found nothing"]),
        (&["run", folder, "hi"], &["config.json", "no such file"]),
        (&["run", &bare, "hi"], &["tokenizer.json", "--tokens"]),
        (&["run", &bare, "--tokens", "2,256"], &["256", "0 to 255"]),
        (&["run", &bare, "--tokens", &long], &["513 tokens", "512"]),
        (
            &[
                "run",
                &tiny,
                "--max-context",
                "8",
                "What is the capital of France?",
            ],
            &["8"],
        ),
        (
            &["run", &tiny, "--max-context", "2000", "hi"],
            &["--max-context 2000", "1024"],
        ),
        (
            &[
                "run",
                &tiny,
                "--backend",
                "interp",
                "--fidelity",
                "fast",
                "hi",
            ],
            &["--fidelity fast", "exact"],
        ),
        (
            &[
                "run",
                &tiny,
                "--backend",
                "interp",
                "--kv-format",
                "bf16",
                "hi",
            ],
            &["--kv-format", "--backend cpu"],
        ),
        (&["run", &tiny, ""], &["prompt is empty"]),
        (
            &["verify", &tiny, "--golden", "nowhere.safetensors"],
            &["nowhere.safetensors"],
        ),
        (&["info", "nowhere"], &["nowhere"]),
        (&["opt", "nowhere.lir"], &["nowhere.lir"]),
        (
            &["opt", &tiny, "--max-context", "2000"],
            &["--max-context 2000"],
        ),
    ];
    for (args, expected) in cases {
        let message = refused(2, args);
        assert_eq!(message.matches('\n').count(), 1, "one line: {message}");
        for part in *expected {
            assert!(message.contains(part), "{part} in {message}");
        }
    }
}

#[test]
fn flags_out_of_range_are_refused_by_name() {
    let tiny = tiny();
    for flags in [
        ["--temperature", "-1"],
        ["--temperature", "nan"],
        ["--top-p", "0"],
        ["--top-p", "1.1"],
        ["--top-k", "x"],
        ["--max-new-tokens", "4097"],
        ["--max-new-tokens", "0"],
        ["--prefill-chunk", "0"],
        ["--threads", "0"],
        ["--repetition-penalty", "0"],
        ["--tokens", "2,x"],
        ["--backend", "abacus"],
    ] {
        let message = refused(2, &run_tiny(&flags, &tiny));
        assert!(message.contains(flags[0]), "{flags:?}: {message}");
    }
}

#[test]
fn a_result_file_that_cannot_be_written_is_refused_before_any_work() {
    let checkpoint = random("2b-shape");
    let args = [
        "run",
        &checkpoint,
        "--tokens",
        "2,5",
        "--logits",
        "/nowhere/at/all",
    ];
    assert!(refused(2, &args).contains("/nowhere/at/all"));
}

#[cfg(unix)]
#[test]
fn ctrl_c_ends_cleanly() {
    let checkpoint = random("2b-shape");
    let args = ["run", &checkpoint, "--tokens", "2,5", "--temperature", "0"];
    let args = [&args[..], &["--backend", "interp"]].concat();
    let mut child = lapidary(&[&args[..], &["--max-new-tokens", "510"]].concat())
        .stdout(Stdio::piped())
        .spawn()
        .expect("lapidary starts");
    let mut out = BufReader::new(child.stdout.take().expect("stdout is a pipe"));
    let mut text = Vec::new();
    out.read_until(b' ', &mut text).expect("a first token");
    let pid = child.id().to_string();
    let sent = Command::new("kill")
        .args(["-INT", &pid])
        .status()
        .expect("kill starts");
    assert!(sent.success());
    out.read_until(b'\n', &mut text).expect("the rest");
    assert_eq!(child.wait().expect("lapidary ends").code(), Some(0));
    assert_eq!(text.last(), Some(&b'\n'));
    let ids = text.split(|b| *b == b' ').count();
    assert!(ids < 510, "{ids} ids came before Ctrl-C took effect");
}

#[test]
fn a_conversation_keeps_its_turns_apart() {
    let tiny = tiny();
    let args = run_tiny(&["--temperature", "0", "--chat"], &tiny);
    let talk = with_stdin(&args, b"Give the opposite of up.\nAdd 5 and 0.\n");
    assert_eq!(talk.status.code(), Some(0));
    let said = String::from_utf8(talk.stdout).expect("text");
    let answers: Vec<&str> = said.lines().collect();
    assert_eq!(answers, ["The opposite of up is down.", "5 + 0 = 5."]);
}

#[test]
fn verify_shows_errors_and_holds_the_bound() {
    for checkpoint in [
        tiny(),
        random("2b-shape"),
        random("27b-shape"),
        random("large-residual"),
    ] {
        let backends: [(&[&str], &str, &str); 3] = [
            (
                &["--backend", "interp"],
                "interp, exact",
                "greedy       24 of 24",
            ),
            (
                &["--backend", "cpu", "--fidelity", "exact"],
                "cpu, exact",
                "greedy       24 of 24",
            ),
            (&[], "cpu, fast", "of 24 tokens"),
        ];
        let tables = backends.map(|(backend, name, greedy)| {
            let table = says(&[&["verify", &checkpoint], backend].concat());
            for part in [
                "logits, framework in float32",
                "final norm",
                "holds",
                name,
                greedy,
            ] {
                assert!(table.contains(part), "{part} in {table}");
            }
            table.replace(name, "")
        });
        assert_eq!(tables[0], tables[1], "exact has the interpreter's bits");
    }
}

#[test]
fn verify_exits_with_1_when_the_bound_is_broken() {
    let dir = tempfile::tempdir().expect("a folder");
    let golden = dir.path().join("golden.safetensors");
    let mut bytes = fs::read(format!("{}/golden.safetensors", random("2b-shape"))).expect("golden");
    let header = u64::from_le_bytes(*bytes.first_chunk().expect("a header")) as usize;
    let json: serde_json::Value = serde_json::from_slice(&bytes[8..8 + header]).expect("JSON");
    let at = json["tokens"]["data_offsets"][0]
        .as_u64()
        .expect("an offset") as usize;
    let first = &mut bytes[8 + header + at..][..8];
    first.copy_from_slice(&9i64.to_le_bytes());
    fs::write(&golden, bytes).expect("the folder takes files");
    let golden = golden.to_str().expect("the path is text");
    let output = output(&["verify", &random("2b-shape"), "--golden", golden]);
    assert_eq!(output.status.code(), Some(1));
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(message.contains("bound is broken"), "{message}");
}

#[test]
fn verify_makes_its_own_truth_where_none_is_recorded() {
    let dir = tempfile::tempdir().expect("a folder");
    for file in ["config.json", "model.safetensors"] {
        let from = PathBuf::from(random("27b-shape")).join(file);
        fs::copy(from, dir.path().join(file)).expect("the folder takes files");
    }
    let table = says(&["verify", dir.path().to_str().expect("the path is text")]);
    assert!(table.contains("the interpreter in float64"), "{table}");
    assert!(table.contains("bound        none"), "{table}");
}

#[test]
fn info_gives_sizes_and_memory() {
    let text = says(&["info", &tiny()]);
    for part in [
        "2,002,048",
        "68 tensors in bf16, 4.0 MB",
        "q4_0",
        "1024 positions",
        "Memory of the compiled program, fast, 512 rows a step",
        "KV cache                          1.2 MB",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
}

#[test]
fn opt_prints_a_graph_and_takes_it_in() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("tiny.lir");
    let file = path.to_str().expect("the path is text");
    let printed = says(&["opt", &tiny()]);
    assert_eq!(says(&["opt", &tiny(), "--until", "graph", "-o", file]), "");
    assert_eq!(
        fs::read_to_string(&path).expect("the file is there"),
        printed
    );
    assert_eq!(says(&["opt", file]), printed);
}

#[test]
fn opt_applies_the_rules_and_says_which_fired() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("m.lir");
    let file = path.to_str().expect("the path is text");
    let module = "module m\n\nfn f(%x: f32[4]) {\n  %0: f32[4] = neg(%x)\n  %y: f32[4] = neg(%0)\n  return %y\n}\n\nstep(%x: f32[4]) {\n  %y: f32[4] = f(%x)\n  return %y\n}\n";
    fs::write(&path, module).expect("the folder takes files");
    let output = output(&["opt", file, "--until", "algebra"]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        text.contains("fn f(%x: f32[4]) {\n  return %x\n}"),
        "{text}"
    );
    let report = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(report.contains("saturated\n  neg-of-neg: 1\n"), "{report}");
    let plan = says(&["opt", file, "--until", "plan"]);
    assert!(plan.contains("\nplan f {"), "{plan}");
    let message = refused(2, &["opt", file, "--until", "loops"]);
    assert!(message.contains("graph or algebra or plan"), "{message}");
}

#[test]
fn opt_takes_a_plan_in_and_refuses_one_that_is_wrong_or_an_earlier_stage() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("tiny.plan");
    let file = path.to_str().expect("the path is text");
    says(&["opt", &tiny(), "--until", "plan", "-o", file]);
    let printed = fs::read_to_string(&path).expect("the file is there");
    assert_eq!(says(&["opt", file, "--until", "plan"]), printed);
    assert_eq!(says(&["opt", file]), printed);
    for earlier in ["graph", "algebra"] {
        let message = refused(2, &["opt", file, "--until", earlier]);
        let expected = format!(
            "error: {file}: a plan's text, which is at stage plan: expected --until plan, found {earlier}\n"
        );
        assert_eq!(message, expected);
    }
    let (module, plans) = printed.split_at(printed.find("\nplan ").expect("functions are planned"));
    let wrong =
        |plans: String| fs::write(&path, format!("{module}{plans}")).expect("it is written");
    wrong(plans.replacen(" put ", " get ", 1));
    let message = refused(2, &["opt", file]);
    assert!(
        message.contains("expected 'kernel', 'arena', 'put' or '}', found 'get'"),
        "{message}"
    );
    wrong(plans.replacen(" template attention", "", 1));
    let message = refused(2, &["opt", file]);
    let expected = "the region follows another schedule template\n";
    assert!(
        message.starts_with(&format!("error: {file}: fn layer.")) && message.ends_with(expected),
        "{message}"
    );
}

#[test]
fn opt_says_where_a_text_is_wrong_and_which_constraint_a_graph_breaks() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("wrong.lir");
    let file = path.to_str().expect("the path is text");
    let module = |op: &str| {
        format!(
            "module m\nfn f(%x: f32[4]) {{\n  %y: f32[3] = {op}\n  return %y\n}}\nstep() {{ return }}\n"
        )
    };
    fs::write(&path, module("frob(%x)")).expect("the folder takes files");
    let message = refused(2, &["opt", file]);
    assert!(
        message.contains("line 3, column 16: expected an op, found 'frob'"),
        "{message}"
    );
    fs::write(&path, module("reshape(%x) {shape = [3]}")).expect("the folder takes files");
    let message = refused(2, &["opt", file]);
    assert!(message.contains("C06"), "{message}");
    assert!(message.contains("reshape(f32[4])"), "{message}");
}

#[test]
fn every_command_has_a_version_and_a_help() {
    for command in [
        &[][..],
        &["run"],
        &["verify"],
        &["info"],
        &["opt"],
        &["calibrate"],
        &["compile"],
    ] {
        let version = says(&[command, &["--version"]].concat());
        assert!(version.contains(env!("CARGO_PKG_VERSION")), "{version}");
        assert!(says(&[command, &["--help"]].concat()).contains("Usage: lapidary"));
    }
}
