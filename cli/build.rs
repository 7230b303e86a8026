//! Builds the runtime that every compiled file begins with, for `include_bytes!`.
//!
//! It is built apart from everything else: for any x86-64, so that it can start on a CPU that a model's code was not
//! built for and say so; linked statically, so that it needs nothing of the machine it runs on; small and optimised, in
//! whatever profile the command itself is built. It is entered where its `guard.rs` says. GNU's linker puts code near
//! the beginning of the file, and takes the script that lays zeros out as data.

use std::env;
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Command;

fn main() {
    let variable = |name| env::var_os(name).unwrap_or_else(|| panic!("cargo sets {name}"));
    let root = PathBuf::from(variable("CARGO_MANIFEST_DIR")).join("..");
    for path in [
        "runtime/src",
        "runtime/Cargo.toml",
        "Cargo.toml",
        "Cargo.lock",
    ] {
        println!("cargo::rerun-if-changed={}", root.join(path).display());
    }
    let script = root.join("runtime/src/bin/lapidary-runtime/link.ld");
    let flags = [
        "-Ctarget-cpu=x86-64".into(),
        "-Ctarget-feature=+crt-static".into(),
        "-Clinker-features=-lld".into(),
        "-Clink-arg=-Wl,--entry=lapidary_start".into(),
        "-Clink-arg=-T".into(),
        OsString::from_iter(["-Clink-arg=".into(), script.into_os_string()]),
    ];
    let target = variable("TARGET");
    let folder = PathBuf::from(variable("OUT_DIR")).join("runtime");
    let mut cargo = Command::new(variable("CARGO"));
    cargo
        .current_dir(&root)
        .args(["build", "--release", "--locked", "--quiet"])
        .args(["--package", "lapidary-runtime", "--bin", "lapidary-runtime"])
        .arg("--target")
        .arg(&target)
        .arg("--target-dir")
        .arg(&folder)
        .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f".as_ref()))
        .env("CARGO_PROFILE_RELEASE_STRIP", "symbols")
        .env("CARGO_PROFILE_RELEASE_LTO", "fat")
        .env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "1")
        .env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "s");
    // What a lint or a test run asks of the command's own crates is not asked of the runtime.
    for name in ["RUSTC_WORKSPACE_WRAPPER", "CLIPPY_ARGS", "RUSTFLAGS"] {
        cargo.env_remove(name);
    }
    let built = cargo.status();
    let built = built.unwrap_or_else(|error| panic!("cargo does not start: {error}"));
    assert!(built.success(), "the runtime could not be built: {built}");
    let runtime = folder.join(target).join("release/lapidary-runtime");
    println!("cargo::rustc-env=LAPIDARY_RUNTIME={}", runtime.display());
}
