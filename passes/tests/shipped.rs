//! Every shipped rule keeps its promise.

use std::collections::HashSet;

use lapidary_passes::rules::check::{Effort, check_all};
use lapidary_passes::rules::{RuleClass, RuleSet, SHIPPED};

#[test]
fn every_shipped_rule_passes_the_test_made_from_its_patterns() {
    let rules = RuleSet::shipped();
    let effort = Effort {
        instances: 250,
        ..Effort::default()
    };
    let outcomes = check_all(&rules, &effort);
    let flaws = outcomes.iter().filter_map(|(_, o)| o.as_ref().err());
    let flaws: Vec<String> = flaws.map(ToString::to_string).collect();
    assert!(flaws.is_empty(), "{}", flaws.join("\n\n"));
    for (rule, outcome) in outcomes {
        let checked = outcome.expect("there are no flaws");
        assert_eq!(checked.instances, effort.instances, "{}", rule.name);
    }
}

#[test]
fn every_shipped_rule_says_why_it_holds() {
    for rule in RuleSet::shipped().rules() {
        assert!(!rule.reason.is_empty(), "{} at {}", rule.name, rule.place);
    }
}

#[test]
fn the_exact_fidelity_loads_exact_rules_alone() {
    let all = RuleSet::shipped();
    let classes: HashSet<RuleClass> = all.rules().iter().map(|r| r.class).collect();
    assert_eq!(classes.len(), 3, "rules of every class are shipped");
    let exact = all.exact();
    assert!(exact.rules().iter().all(|r| r.class == RuleClass::Exact));
}

#[test]
fn shipped_files_can_as_well_be_loaded_from_disk() {
    for (file, text) in SHIPPED {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("rules")
            .join(file);
        let loaded = RuleSet::load(&path).expect("it is there");
        let embedded = RuleSet::parse(text, &path.display().to_string()).expect("it parses");
        assert_eq!(loaded, embedded);
    }
}

#[test]
fn every_file_of_rules_is_shipped_and_so_is_checked() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("rules");
    let files = std::fs::read_dir(folder).expect("the folder is there");
    let name = |file: std::io::Result<std::fs::DirEntry>| {
        let name = file.expect("it can be listed").file_name();
        name.into_string().expect("names are text")
    };
    let files: HashSet<String> = files.map(name).collect();
    let shipped: HashSet<String> = SHIPPED.iter().map(|(file, _)| file.to_string()).collect();
    assert_eq!(files, shipped);
}
