//! `lapidary run` and the cache that it compiles into.

mod common;

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::thread;

use common::*;
use tempfile::TempDir;

/// A cache of a test's own.
struct Cache {
    dir: TempDir,
}

impl Cache {
    fn new() -> Cache {
        Cache { dir: folder() }
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = lapidary(&[&["run"], args].concat());
        command.env("XDG_CACHE_HOME", self.dir.path());
        command
    }

    fn output(&self, args: &[&str]) -> Output {
        self.command(args).output().expect("lapidary starts")
    }

    fn answers(&self, args: &[&str]) {
        let tiny = tiny();
        let all = [&[&tiny[..]], args, &["--temperature", "0", QUESTION]].concat();
        assert_eq!(said(self.output(&all)), ANSWER, "{args:?}");
    }

    fn folder(&self) -> PathBuf {
        self.dir.path().join("lapidary")
    }

    /// The files, as names and inodes: programs, and weights.
    fn files(&self) -> [Vec<(PathBuf, u64)>; 2] {
        let entries = fs::read_dir(self.folder()).expect("a folder");
        let paths = entries.map(|entry| entry.expect("an entry").path());
        // What `rules list` tells is kept there too.
        let paths = paths.filter(|path| !path.ends_with("fired.json"));
        let mut files: Vec<(PathBuf, u64)> = paths
            .map(|path| {
                let inode = fs::metadata(&path).expect("a file").ino();
                (path, inode)
            })
            .collect();
        files.sort();
        let (weights, programs) = files
            .into_iter()
            .partition(|(path, _)| path.extension().is_some());
        [programs, weights]
    }
}

#[test]
fn a_run_compiles_once_and_all_programs_share_the_weights() {
    let cache = Cache::new();
    cache.answers(&[]);
    let first = cache.files();
    assert_eq!(first.clone().map(|files| files.len()), [1, 1]);
    cache.answers(&["--threads", "1"]);
    assert_eq!(cache.files(), first);
    cache.answers(&["--fidelity", "exact"]);
    cache.answers(&["--max-context", "100"]);
    let [programs, weights] = cache.files();
    assert_eq!(programs.len(), 3);
    assert_eq!(weights, first[1]);
    cache.answers(&["--weight-format", "f32"]);
    assert_eq!(cache.files().map(|files| files.len()), [4, 2]);
    cache.answers(&["--weights", "embed"]);
    assert_eq!(cache.files().map(|files| files.len()), [5, 2]);
}

#[test]
fn what_changes_the_plan_changes_the_program() {
    let cache = Cache::new();
    let dir = folder();
    let (rules, plan) = (dir.path().join("my.rules"), dir.path().join("tiny.plan"));
    let (rules, plan) = (text(&rules), text(&plan));
    let mut programs = 0;
    let mut another = |args: &[&str], by: usize| {
        cache.answers(args);
        programs += by;
        assert_eq!(cache.files()[0].len(), programs, "{args:?}");
    };
    another(&[], 1);
    another(&["--extract", "greedy"], 1);
    another(&["--no-rule", "div-*"], 1);
    another(&["--nodes", "100"], 1);
    fs::write(rules, "mine exact: neg(neg(neg(?x))) => neg(?x)").expect("a file");
    another(&["--rules", rules], 1);
    another(&["--rules", rules], 0);
    another(&["--only", rules], 1);
    another(&["--rules", rules, "--unchecked"], 1);
    fs::write(rules, "mine exact: neg(neg(neg(neg(?x)))) => ?x").expect("a file");
    another(&["--rules", rules], 1);
    let opt = ["opt", &tiny(), "--until", "plan", "--fidelity", "fast"];
    says(&[&opt[..], &["-o", plan]].concat());
    another(&["--plan", plan], 1);
    another(&["--plan", plan], 0);
    let renamed =
        fs::read_to_string(plan)
            .expect("a plan")
            .replacen("kernel k.", "kernel first.", 1);
    fs::write(plan, renamed).expect("a file");
    another(&["--plan", plan], 1);
}

#[test]
fn a_checkpoint_that_was_changed_is_compiled_again() {
    let cache = Cache::new();
    let dir = folder();
    let checkpoint = copy_of_tiny(dir.path());
    let run = || {
        let args = [&checkpoint, "--temperature", "0", QUESTION];
        assert_eq!(said(cache.output(&args)), ANSWER);
    };
    run();
    assert_eq!(cache.files().map(|files| files.len()), [1, 1]);
    // Settings of generation go into the program alone.
    let generation = Path::new(&checkpoint).join("generation_config.json");
    fs::write(generation, r#"{"eos_token_id": [1, 107, 0]}"#).expect("a file");
    run();
    assert_eq!(cache.files().map(|files| files.len()), [2, 1]);
    let weights = fs::File::open(Path::new(&checkpoint).join("model.safetensors"));
    let changed = weights.and_then(|file| file.set_modified(std::time::UNIX_EPOCH));
    changed.expect("a time");
    run();
    assert_eq!(cache.files().map(|files| files.len()), [3, 2]);
}

#[test]
fn a_damaged_file_of_the_cache_is_made_again() {
    let cache = Cache::new();
    cache.answers(&[]);
    let [programs, weights] = cache.files();
    let (program, weights) = (&programs[0].0, &weights[0].0);
    let (whole, all_weights) = (fs::read(program), fs::read(weights));
    let (whole, all_weights) = (whole.expect("a file"), all_weights.expect("a file"));
    let check = |damage: &dyn Fn()| {
        damage();
        cache.answers(&[]);
        assert!(fs::read(program).expect("a file") == whole);
        assert!(fs::read(weights).expect("a file") == all_weights);
    };
    let flipped = |bytes: &[u8], at: usize| {
        let mut bytes = bytes.to_vec();
        bytes[at] ^= 1;
        bytes
    };
    check(&|| fs::write(program, flipped(&whole, whole.len() - 50_000)).expect("a file"));
    check(&|| fs::write(program, &whole[..whole.len() / 2]).expect("a file"));
    check(&|| fs::write(program, "").expect("a file"));
    check(&|| fs::write(weights, flipped(&all_weights, 1_000_000)).expect("a file"));
    check(&|| fs::write(weights, &all_weights[..all_weights.len() - 1]).expect("a file"));
    check(&|| fs::remove_file(weights).expect("a file"));
    check(&|| fs::remove_file(program).expect("a file"));
}

#[test]
fn runs_that_begin_at_once_fill_the_cache_together() {
    let cache = Cache::new();
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| cache.answers(&[]));
        }
    });
    assert_eq!(cache.files().map(|files| files.len()), [1, 1]);
}

#[test]
fn the_cache_keeps_within_its_limit_by_what_was_used_last() {
    let cache = Cache::new();
    cache.answers(&[]);
    let [first, weights] = cache.files();
    let size = |files: &[(PathBuf, u64)]| fs::metadata(&files[0].0).expect("a file").len();
    // Room for the weights and for one program and a half.
    let limit = size(&weights) + size(&first) * 3 / 2 + (4 << 20);
    let args = [
        &tiny()[..],
        "--fidelity",
        "exact",
        "--temperature",
        "0",
        QUESTION,
    ];
    let mut command = cache.command(&args);
    let output = command
        .env("LAPIDARY_CACHE_LIMIT", limit.to_string())
        .output();
    assert_eq!(said(output.expect("lapidary starts")), ANSWER);
    let [programs, kept] = cache.files();
    assert_eq!(programs.len(), 1);
    assert_ne!(programs, first);
    assert_eq!(kept, weights);

    let limited = |limit: &str| {
        let mut command = cache.command(&[&tiny(), "--max-context", "50", "hi"]);
        let output = command.env("LAPIDARY_CACHE_LIMIT", limit).output();
        refusal(2, output.expect("lapidary starts"))
    };
    let message = limited("1000000");
    let expected =
        "error: LAPIDARY_CACHE_LIMIT: the cache may hold 1000000 bytes, and this model needs ";
    assert!(message.starts_with(expected), "{message}");
    let expected = "error: LAPIDARY_CACHE_LIMIT: found 'much', expected a number of bytes\n";
    assert_eq!(limited("much"), expected);
}

#[test]
fn a_run_without_a_place_for_the_cache_is_refused() {
    let mut command = Cache::new().command(&[&tiny(), "hi"]);
    let output = command
        .env("XDG_CACHE_HOME", "relative")
        .env_remove("HOME")
        .output();
    assert_eq!(
        refusal(2, output.expect("lapidary starts")),
        "error: no place for the cache: expected an absolute path in XDG_CACHE_HOME or HOME\n"
    );
}

#[test]
fn a_run_takes_every_option_to_the_compiled_file() {
    let tiny = tiny();
    let greedy = ["run", &tiny, "--temperature", "0"];
    let with = |rest: &[&str]| says(&[&greedy[..], rest].concat());
    assert_eq!(with(&["--", QUESTION]), ANSWER);
    let raw = with(&[
        "--raw",
        "--max-new-tokens",
        "3",
        "--",
        "--a prompt with dashes",
    ]);
    assert_eq!(
        raw,
        with(&[
            "--max-new-tokens=3",
            "--raw",
            "--",
            "--a prompt with dashes"
        ])
    );
    let talk = with_stdin(
        &[&greedy[..], &["--chat"]].concat(),
        b"Give the opposite of up.\nAdd 5 and 0.\n",
    );
    assert_eq!(said(talk), "The opposite of up is down.\n5 + 0 = 5.\n");
    let piped = with_stdin(&greedy, QUESTION.as_bytes());
    assert_eq!(said(piped), ANSWER);
    let sampled = |seed: &str| {
        let options = [
            "--temperature",
            "1.5",
            "--top-k",
            "0",
            "--top-p",
            "1",
            "--seed",
            seed,
        ];
        let rest = [
            "--max-new-tokens",
            "24",
            "Tell me a short story about Anna.",
        ];
        says(&[&["run", &tiny], &options[..], &rest].concat())
    };
    assert_eq!(sampled("7"), sampled("7"));
    assert_ne!(sampled("7"), sampled("8"));
    let dir = folder();
    let stats = dir.path().join("stats.json");
    with(&["--threads", "1", "--stats", text(&stats), "Add 5 and 0."]);
    let stats = fs::read_to_string(stats).expect("a file");
    let stats: serde_json::Value = serde_json::from_str(&stats).expect("JSON");
    assert_eq!(stats["threads"], 1);
    assert!(
        stats["decode_tokens"].as_u64().is_some_and(|n| n > 3),
        "{stats}"
    );
}

#[test]
fn a_run_needs_a_tokenizer_or_tokens_before_anything_is_compiled() {
    let cache = Cache::new();
    let output = cache.output(&[&random("2b-shape"), "hi"]);
    assert_eq!(
        refusal(2, output),
        "error: the model has no tokenizer.json: give --tokens\n"
    );
    assert!(!cache.folder().exists());
}
