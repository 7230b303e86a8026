//! What this machine says of itself, and where its user keeps things.

use std::env;
use std::fs;
use std::path::PathBuf;

/// The CPU's own name, as Linux gives it.
pub fn cpu_name() -> Option<String> {
    let text = fs::read_to_string("/proc/cpuinfo").ok()?;
    text.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        (key.trim() == "model name").then(|| value.trim().to_string())
    })
}

/// A folder of the user's by the XDG base directory specification: the one that the variable names, or this one in the
/// home folder; nothing where neither is an absolute path.
pub fn folder(variable: &str, in_home: &str) -> Option<PathBuf> {
    let absolute = |name| {
        let path = env::var_os(name).map(PathBuf::from);
        path.filter(|path| path.is_absolute())
    };
    absolute(variable).or_else(|| Some(absolute("HOME")?.join(in_home)))
}
