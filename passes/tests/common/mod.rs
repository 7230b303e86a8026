//! Files that say what comes out of a module and rules.
//!
//! A file has three parts, `=== rules`, `=== module` and `=== expected`. The rules are `shipped exact`,
//! `shipped`, or rules written out. `LAPIDARY_BLESS=1` writes what comes out into the files.

use std::fs;
use std::path::{Path, PathBuf};

use lapidary_passes::rules::RuleSet;

/// The files of a folder beside the tests, by name.
pub fn files(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests")
        .join(folder);
    let files = fs::read_dir(&folder).expect("the folder is there");
    let mut paths: Vec<_> = files.map(|f| f.expect("it can be listed").path()).collect();
    paths.sort();
    assert!(!paths.is_empty());
    paths
}

/// The parts of a file: rules, module, expected.
pub fn parts(text: &str) -> Option<[&str; 3]> {
    let (_, rest) = text.split_once("=== rules\n")?;
    let (rules, rest) = rest.split_once("=== module\n")?;
    let (module, expected) = rest.split_once("=== expected\n")?;
    Some([rules, module, expected])
}

/// The rules of a file.
pub fn rules(text: &str) -> RuleSet {
    match text.trim() {
        "shipped" => RuleSet::shipped(),
        "shipped exact" => RuleSet::shipped().exact(),
        text => RuleSet::parse(text, "rules").unwrap_or_else(|e| panic!("{e}")),
    }
}

/// Holds what comes out of each file's rules and module to what the file expects.
pub fn every_file_comes_out_as_it_says(folder: &str, outcome: impl Fn(RuleSet, &str) -> String) {
    let bless = std::env::var_os("LAPIDARY_BLESS").is_some();
    let mut wrong = Vec::new();
    for path in files(folder) {
        let text = fs::read_to_string(&path).expect("it can be read");
        let Some([set, module, expected]) = parts(&text) else {
            panic!("{}: a part is missing", path.display());
        };
        let found = outcome(rules(set), module);
        if found == expected {
            continue;
        }
        if bless {
            let kept = &text[..text.len() - expected.len()];
            fs::write(&path, format!("{kept}{found}")).expect("it can be written");
        } else {
            wrong.push(format!("{}:\n{found}", path.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
