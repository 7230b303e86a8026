//! Rules that the check must refuse, and rules that it must accept: each says why.

use lapidary_passes::rules::check::{Checked, Effort, Flaw, check};
use lapidary_passes::rules::{Rule, RuleSet};

/// The rules for which this gives something to say against them, with what that is, for each of these
/// starts of the random numbers.
fn complaints(
    text: &str,
    file: &str,
    seeds: &[u64],
    complaint: impl Fn(Result<Checked, Flaw>) -> Option<String> + Sync,
) -> Vec<String> {
    let rules = RuleSet::parse(text, file).unwrap_or_else(|e| panic!("{e}"));
    let complaint = &complaint;
    let of_rule = |rule: &Rule| {
        assert!(!rule.reason.is_empty(), "{} says not why", rule.name);
        let outcomes = seeds.iter().filter_map(|seed| {
            let effort = Effort {
                seed: *seed,
                ..Effort::default()
            };
            let complaint = complaint(check(rule, &effort))?;
            Some(format!("{}, seed {seed}: {complaint}", rule.name))
        });
        outcomes.collect::<Vec<_>>()
    };
    let of_rule = &of_rule;
    let threads = std::thread::available_parallelism().map_or(1, |n| n.get());
    let share = rules.rules().len().div_ceil(threads);
    std::thread::scope(|scope| {
        let chunks = rules.rules().chunks(share);
        let running: Vec<_> = chunks
            .map(|rules| scope.spawn(|| rules.iter().flat_map(of_rule).collect::<Vec<_>>()))
            .collect();
        let joined = running.into_iter().map(|thread| thread.join());
        joined.flat_map(|all| all.expect("a check ends")).collect()
    })
}

#[test]
fn every_wrong_rule_is_refused() {
    let text = include_str!("rules/wrong.rules");
    let passed = complaints(text, "wrong.rules", &[1, 2], |outcome| match outcome {
        Err(Flaw::Counterexample(_)) => None,
        other => Some(format!("{other:?}")),
    });
    assert!(passed.is_empty(), "{}", passed.join("\n"));
}

#[test]
fn every_right_rule_is_accepted() {
    let text = include_str!("rules/right.rules");
    let refused = complaints(text, "right.rules", &[1], |outcome| {
        outcome.err().map(|flaw| flaw.to_string())
    });
    assert!(refused.is_empty(), "{}", refused.join("\n"));
}
