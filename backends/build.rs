//! Has the system libraries that LLVM uses linked statically where the machine has them so, for a compiler that
//! runs on machines without them.

use std::env;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

/// LLVM's Rust bindings ask for these by name alone, so what the linker finds first is what it takes.
const LIBRARIES: [&str; 4] = ["libstdc++.a", "libz.a", "libzstd.a", "libffi.a"];

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let folder = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR")).join("static");
    // What an earlier run left may point to what is gone.
    if folder.exists() {
        fs::remove_dir_all(&folder).expect("the build's own folder can be removed");
    }
    fs::create_dir(&folder).expect("a folder can be made in OUT_DIR");
    for name in LIBRARIES {
        if let Some(library) = find(name) {
            symlink(library, folder.join(name)).expect("a link can be made in OUT_DIR");
        }
    }
    println!("cargo::rustc-link-search=native={}", folder.display());
}

/// Where the C compiler would take this library from; none if it has none, or cannot be asked.
fn find(name: &str) -> Option<PathBuf> {
    let question = format!("-print-file-name={name}");
    let answer = Command::new("cc").arg(question).output().ok()?;
    let path = String::from_utf8(answer.stdout).ok()?;
    // A library that it does not have it answers by its name.
    let path = Path::new(path.trim());
    path.is_absolute().then(|| path.to_owned())
}
