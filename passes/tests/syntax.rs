//! What a rules file may say, and how it is told that it may not.

use lapidary_passes::RulesError;
use lapidary_passes::rules::{Kind, RuleClass, RuleSet};

fn error(text: &str) -> String {
    match RuleSet::parse(text, "my.rules") {
        Err(error) => error.to_string(),
        Ok(set) => panic!("{text} parses: {set:?}"),
    }
}

#[test]
fn a_rule_has_a_name_a_class_two_sides_bindings_and_guards_and_the_comment_above_as_its_reason() {
    let text = "
// heading

// because
// of this
mine rounds: slice(?x) {axis = 0, stop = ?e} => slice(?x) {axis = 0, start = ?n, stop = ?e} where ?n = dim(?x, 0) - dim(?x, 0) if rank(?x) == 2, ?e <= 4 * rank(?x)
";
    let set = RuleSet::parse(text, "my.rules").unwrap_or_else(|e| panic!("{e}"));
    let [rule] = set.rules() else {
        panic!("one rule");
    };
    assert_eq!(rule.name, "mine");
    assert_eq!(rule.class, RuleClass::Rounds);
    assert_eq!(rule.reason, "because of this");
    assert_eq!(rule.place, "my.rules:6");
    let vars: Vec<_> = rule
        .vars
        .iter()
        .map(|v| (v.name.as_str(), v.kind))
        .collect();
    let expected = [
        ("?x", Kind::Value),
        ("?e", Kind::Number),
        ("", Kind::Number),
        ("?n", Kind::Number),
    ];
    assert_eq!(vars, expected);
    assert_eq!((rule.bindings.len(), rule.guards.len()), (1, 2));
}

#[test]
fn a_family_is_a_rule_for_each_op() {
    let text = "twice exact: f(?x, ?x) => f(?x, ?x) for f in add, max";
    let set = RuleSet::parse(text, "my.rules").unwrap_or_else(|e| panic!("{e}"));
    let names: Vec<&str> = set.rules().iter().map(|r| r.name.as_str()).collect();
    assert_eq!(names, ["twice/add", "twice/max"]);
    let unary = "all exact: f(?x) => f(?x) for f in unary";
    let set = RuleSet::parse(unary, "my.rules").unwrap_or_else(|e| panic!("{e}"));
    assert!(set.rules().iter().any(|r| r.name == "all/tanh"));
    assert!(
        set.rules().iter().all(|r| r.name != "all/cast"),
        "cast has an attribute"
    );
}

#[test]
fn errors_say_where_what_was_expected_and_what_was_found() {
    let cases = [
        (
            "a exact neg(?x) => ?x",
            "line 1, column 9: expected ':', found 'neg'",
        ),
        (
            "\na fast: neg(?x) => ?x",
            "line 2, column 3: expected a class (exact, reassoc, rounds), found 'fast'",
        ),
        (
            "a exact: negate(?x) => ?x",
            "line 1, column 10: expected an op or a '?variable', found 'negate'",
        ),
        (
            "a exact: add(?x) => ?x",
            "line 1, column 10: expected 2 operands of add, found 'add'",
        ),
        (
            "a exact: cast(?x) {into = f32} => ?x",
            "line 1, column 20: expected an attribute (to), found 'into'",
        ),
        (
            "a exact: cast(?x) {to = 3} => ?x",
            "line 1, column 25: expected a dtype, found a number",
        ),
        (
            "a exact: neg(?x) => cast(?x)",
            "line 1, column 21: expected attribute 'to' of cast, found 'cast'",
        ),
        (
            "a exact: neg(?x) => ?y",
            "line 1, column 21: expected a variable that the left side or 'where' binds, found '?y'",
        ),
        (
            "a exact: ?x => ?x",
            "line 1, column 10: expected an op: a rule cannot match every value, found '?x'",
        ),
        (
            "a exact: cast(?x) {to = ?x} => ?x",
            "line 1, column 25: expected a dtype, found '?x', a value",
        ),
        (
            "a exact: neg(?x) => ?x if dtype(?x) == 3",
            "line 1, column 40: expected a dtype, found '3'",
        ),
        (
            "a exact: neg(?x) => ?x if ?x < 3",
            "line 1, column 27: expected a number, found '?x'",
        ),
        (
            "a exact: neg(?x) => ?x if rank(?x)",
            "line 1, column 27: expected a condition, found a number",
        ),
        (
            "a exact: neg(?x) => ?x where ?x = 3",
            "line 1, column 30: expected a variable that is not bound yet, found '?x'",
        ),
        (
            "a exact: neg(?x) => ?x!",
            "line 1, column 23: expected a token, found '!'",
        ),
        (
            "a exact: neg(?x) =>",
            "line 1, column 20: expected an op or a '?variable', found the end of the line",
        ),
        (
            "a exact: f(?x) => ?x for f in cosine",
            "line 1, column 31: expected 'unary', 'binary' or an op, found 'cosine'",
        ),
        (
            "a exact: slice(?x) {axis = 0 - 1} => ?x",
            "line 1, column 28: expected an axis, found '0'",
        ),
        (
            "a exact: slice(?x) {axis = rank(?x)} => ?x",
            "line 1, column 28: expected a variable or what is written out, found 'rank'",
        ),
        (
            "a exact: neg(?x) => ?x ?y",
            "line 1, column 24: expected 'where', 'if', 'for' or the end of the line, found '?y'",
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(error(text), format!("my.rules, {expected}"), "{text}");
    }
    let unknown = error("a exact: neg(?x) => ?x if norm(?x) == 2");
    assert!(
        unknown.contains("column 27: expected a dtype or a function (dtype, rank,"),
        "{unknown}"
    );
}

#[test]
fn errors_span_what_was_found_in_the_whole_text() {
    let text = "// é\r\na exact: neg(?x) => ?x\n\nb exact: negate(?x) => ?x\n";
    match RuleSet::parse(text, "my.rules") {
        Err(RulesError::Syntax { line, span, .. }) => {
            assert_eq!((line, &text[span]), (4, "negate"));
        }
        other => panic!("expected a syntax error, found {other:?}"),
    }
}

#[test]
fn constant_folding_is_asked_for_by_its_name_and_is_exact() {
    let text = "// known is known\nfold-constants exact: built-in";
    let set = RuleSet::parse(text, "my.rules").unwrap_or_else(|e| panic!("{e}"));
    let folding = set.folding().expect("it is asked for");
    assert_eq!(folding.reason, "known is known");
    assert_eq!(folding.place, "my.rules:2");
    assert!(set.rules().is_empty());
    assert_eq!(set.without_folding(), RuleSet::default());
    assert_eq!(
        error("fold exact: built-in"),
        "my.rules, line 1, column 1: expected fold-constants, the one rule built in, found 'fold'"
    );
    assert_eq!(
        error("fold-constants rounds: built-in"),
        "my.rules, line 1, column 16: expected exact, the class of what is built in, found 'rounds'"
    );
    assert_eq!(
        error(&format!("{text}\n{text}")),
        "rule fold-constants at my.rules:4 has the name of the rule at my.rules:2"
    );
}

#[test]
fn a_line_without_end_is_refused_before_it_is_read() {
    let deep = format!("a exact: {}", "neg(".repeat(100_000));
    let error = error(&deep);
    assert!(
        error.contains("expected a line of at most 2000 tokens"),
        "{error}"
    );
}

#[test]
fn two_rules_of_one_name_are_refused_in_a_file_and_between_files() {
    let text = "a exact: neg(neg(?x)) => ?x";
    assert_eq!(
        error(&format!("{text}\n{text}")),
        "rule a at my.rules:2 has the name of the rule at my.rules:1"
    );
    let parse = |file| RuleSet::parse(text, file).unwrap_or_else(|e| panic!("{e}"));
    let added = parse("one.rules").add(parse("two.rules"));
    assert!(matches!(added, Err(RulesError::Duplicate { .. })));
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let missing = RuleSet::load(std::path::Path::new("no/such.rules"));
    let error = missing.expect_err("there is no such file").to_string();
    assert!(error.starts_with("no/such.rules: "), "{error}");
}
