//! The command as a test runs it.

#![allow(dead_code, reason = "every file of tests uses its own part")]

pub mod browser;
pub mod tensors;

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

/// A question to the checkpoint that comes with the repository, …
pub const QUESTION: &str = "What is the opposite of up?";
/// … and its answer.
pub const ANSWER: &str = "The opposite of up is down.\n";

/// The checkpoint that comes with the repository.
pub fn tiny() -> String {
    format!("{ROOT}/models/tiny")
}

/// A random checkpoint, without a tokenizer.
pub fn random(name: &str) -> String {
    format!("{ROOT}/tests/checkpoints/{name}")
}

/// The command with these arguments, with a cache of the tests' own and no description of the machine.
pub fn lapidary<S: AsRef<str>>(args: &[S]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lapidary"));
    command.args(args.iter().map(AsRef::as_ref));
    command.env(
        "XDG_CACHE_HOME",
        concat!(env!("CARGO_TARGET_TMPDIR"), "/cache"),
    );
    command.env(
        "XDG_CONFIG_HOME",
        concat!(env!("CARGO_TARGET_TMPDIR"), "/config"),
    );
    command.env("LAPIDARY_CACHE_LIMIT", "500000000");
    command.stdin(Stdio::null());
    command
}

/// What the command with these arguments gives.
pub fn output<S: AsRef<str>>(args: &[S]) -> Output {
    lapidary(args).output().expect("lapidary starts")
}

/// Standard output of a run that succeeds.
pub fn says<S: AsRef<str>>(args: &[S]) -> String {
    said(output(args))
}

/// Standard output of a process that succeeded.
pub fn said(output: Output) -> String {
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(0), "{errors}");
    String::from_utf8(output.stdout).expect("the output is text")
}

/// The message of a run that is refused with this exit code, and that leaves standard output empty.
pub fn refused<S: AsRef<str>>(code: i32, args: &[S]) -> String {
    refusal(code, output(args))
}

/// The message of a process that ended with this exit code and left standard output empty.
pub fn refusal(code: i32, output: Output) -> String {
    let message = String::from_utf8(output.stderr).expect("the message is text");
    assert_eq!(output.status.code(), Some(code), "{message}");
    assert_eq!(output.stdout, b"");
    message
}

/// What the command gives when this is its standard input.
pub fn with_stdin(args: &[&str], input: &[u8]) -> Output {
    let mut child = lapidary(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("lapidary starts");
    let mut stdin = child.stdin.take().expect("stdin is a pipe");
    stdin.write_all(input).expect("lapidary reads its input");
    drop(stdin);
    child.wait_with_output().expect("lapidary ends")
}

/// A folder of a test's own.
pub fn folder() -> TempDir {
    tempfile::tempdir().expect("a folder")
}

/// A path as an argument.
pub fn text(path: &Path) -> &str {
    path.to_str().expect("the path is text")
}

/// The files of `models/tiny` that a run needs, elsewhere.
pub fn copy_of_tiny(dir: &Path) -> String {
    let copy = dir.join("tiny");
    fs::create_dir(&copy).expect("a folder");
    for file in [
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    ] {
        fs::copy(Path::new(&tiny()).join(file), copy.join(file)).expect("a copy");
    }
    text(&copy).to_string()
}
