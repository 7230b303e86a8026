//! A module and rules in, the module after the algebra stage out: the files of `algebra/`.
//!
//! A file has three parts, `=== rules`, `=== module` and `=== expected`. The rules are `shipped exact`,
//! `shipped`, or rules written out. `LAPIDARY_BLESS=1` writes what comes out into the files.

use std::fs;
use std::path::Path;

use ir::text;
use lapidary_passes::pipeline::{self, Options, Stage};
use lapidary_passes::rules::RuleSet;

/// The parts of a file: rules, module, expected.
fn parts(text: &str) -> Option<[&str; 3]> {
    let (_, rest) = text.split_once("=== rules\n")?;
    let (rules, rest) = rest.split_once("=== module\n")?;
    let (module, expected) = rest.split_once("=== expected\n")?;
    Some([rules, module, expected])
}

fn outcome(rules: &str, module: &str) -> String {
    let set = match rules.trim() {
        "shipped" => RuleSet::shipped(),
        "shipped exact" => RuleSet::shipped().exact(),
        text => RuleSet::parse(text, "rules").unwrap_or_else(|e| panic!("{e}")),
    };
    let module = text::parse(module).unwrap_or_else(|e| panic!("{e}"));
    ir::verify(&module).unwrap_or_else(|e| panic!("{e}"));
    let (better, reports) = pipeline::algebra(&module, &Options::new(set));
    let mut out = text::print(&better);
    ir::verify(&better).unwrap_or_else(|e| panic!("{e}\n{out}"));
    for report in reports {
        out.push_str(&format!("\n// {report}\n"));
        for (rule, times) in &report.fired {
            out.push_str(&format!("// {rule}: {times}\n"));
        }
    }
    out
}

#[test]
fn every_file_comes_out_as_it_says() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/algebra");
    let bless = std::env::var_os("LAPIDARY_BLESS").is_some();
    let files = fs::read_dir(&folder).expect("the folder is there");
    let mut paths: Vec<_> = files.map(|f| f.expect("it can be listed").path()).collect();
    paths.sort();
    assert!(!paths.is_empty());
    let mut wrong = Vec::new();
    for path in paths {
        let text = fs::read_to_string(&path).expect("it can be read");
        let Some([rules, module, expected]) = parts(&text) else {
            panic!("{}: a part is missing", path.display());
        };
        let found = outcome(rules, module);
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

#[test]
fn stages_are_found_by_their_names_in_order() {
    let names = Stage::ALL.map(Stage::name);
    assert_eq!(names, ["graph", "algebra", "plan"]);
    assert_eq!(names.map(Stage::from_name), Stage::ALL.map(Some));
    assert_eq!(Stage::from_name("graphs"), None);
}
