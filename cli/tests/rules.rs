//! `lapidary rules`, and the options that choose rules.

mod common;

use std::fs;
use std::path::PathBuf;
use std::process::Output;

use common::*;
use serde_json::Value;
use tempfile::TempDir;

/// A folder with files of rules, and a cache of its own.
struct Rules {
    dir: TempDir,
}

impl Rules {
    /// One file, `my.rules`.
    fn of(rules: &str) -> Rules {
        let found = Rules { dir: folder() };
        found.write("my.rules", rules);
        found
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.dir.path().join(name);
        fs::write(&path, text).expect("a file");
        path
    }

    fn output(&self, args: &[&str]) -> Output {
        let mut command = lapidary(args);
        command.current_dir(self.dir.path());
        command.env("XDG_CACHE_HOME", self.dir.path().join("cache"));
        command.output().expect("lapidary starts")
    }

    /// Standard output and standard error of a command that succeeds.
    fn says(&self, args: &[&str]) -> (String, String) {
        let output = self.output(args);
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        (said(output), errors)
    }

    /// The message of a command that is refused as something that the caller can mend.
    fn refused(&self, args: &[&str]) -> String {
        refusal(2, self.output(args))
    }

    /// The algebra of a function over `%x: f32[4]`, whose body this is, by these options.
    fn algebra(&self, body: &str, options: &[&str]) -> (String, String) {
        self.graph(body);
        let opt = ["opt", "graph.lir", "--until", "algebra"];
        self.says(&[&opt, options].concat())
    }

    fn graph(&self, body: &str) {
        self.write(
            "graph.lir",
            &format!(
                "module little fn f(%x: f32[4]) {{ {body} return %y }}
                 step(%x: f32[4]) {{ %y: f32[4] = f(%x) return %y }}"
            ),
        );
    }
}

/// Two negations and a sum of constants.
const BODY: &str = "%0: f32[4] = neg(%x) %1: f32[4] = neg(%0)
    %2: f32[4] = const() {to = f32, shape = [4], values = [1.0]}
    %3: f32[4] = add(%2, %2) %y: f32[4] = mul(%1, %3)";

const COMMUTE: &str = "// a sum has no order
commute rounds: add(?x, ?y) => add(?y, ?x)
";

const SWAPPED: &str = "swapped exact: sub(?x, ?y) => sub(?y, ?x)\n";

#[test]
fn a_check_prints_a_line_for_each_rule() {
    let rules = Rules::of(&format!(
        "{COMMUTE}fold-constants exact: built-in
negations exact: f(neg(?x), neg(?y)) => f(?x, ?y) for f in mul, div
"
    ));
    let (out, errors) = rules.says(&["rules", "check", "my.rules", "--instances", "40"]);
    assert_eq!(
        out,
        "\
commute            rounds  40  sound: kept every bit in 40 of 40, worst error 0.00 of its bound
negations (2 ops)  exact   40  sound
fold-constants     exact   -   built in: the interpreter's own result
"
    );
    assert_eq!(errors, "");
}

#[test]
fn a_check_says_how_near_its_bound_a_rule_came_that_rounds() {
    let rules = Rules::of(
        "thirds rounds: div(?x, const() {to = ?t, shape = ?s, values = ?v}) => mul(?x, const() {to = ?t, shape = ?s, values = recip(?v)}) if normal(?v), normal(recip(?v))",
    );
    let (out, _) = rules.says(&["rules", "check", "my.rules", "-o", "json"]);
    let checked: Value = serde_json::from_str(&out).expect("JSON");
    let rule = &checked["rules"][0];
    assert_eq!(rule["verdict"], "sound");
    assert_eq!(rule["instances"], 2000);
    let (kept, worst) = (&rule["kept_every_bit"], &rule["worst_error_of_bound"]);
    assert!(kept.as_u64().is_some_and(|n| 0 < n && n < 2000), "{out}");
    assert!(worst.as_f64().is_some_and(|w| 0.0 < w && w <= 1.0), "{out}");
    let (text, _) = rules.says(&["rules", "check", "my.rules"]);
    let worst = worst.as_f64().expect("a number");
    let line =
        format!("sound: kept every bit in {kept} of 2000, worst error {worst:.2} of its bound\n");
    assert_eq!(text, format!("thirds  rounds  2000  {line}"));
}

#[test]
fn a_rule_that_fails_is_shown_on_the_smallest_operands_that_show_it() {
    let rules = Rules::of(&format!("{COMMUTE}{SWAPPED}"));
    let output = rules.output(&["rules", "check", "my.rules"]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        "\
commute  rounds  2000  sound, in fact exact: kept every bit in 2000 of 2000
swapped  exact   -     UNSOUND

rule swapped is not exact:
fn left(%x: f32[], %y: f32[]) {
  %2: f32[] = sub(%x, %y)
  return %2
}
fn right(%x: f32[], %y: f32[]) {
  %2: f32[] = sub(%y, %x)
  return %2
}
%x = [1.0]
%y = [0.0]
element []: the left side gives 1.0, the right side -1.0
"
    );
    assert_eq!(
        String::from_utf8_lossy(&output.stderr),
        "error: my.rules: 1 of 2 rules did not pass: swapped\n"
    );
}

#[test]
fn a_wrong_rule_of_each_class_is_caught() {
    let window = "and(le(?k, ?q), lt(sub(?q, ?k), 4.0))";
    let four = "const() {to = i32, shape = shape(?q), values = [4.0]}";
    let wrong = [
        "uncapped rounds: mul(tanh(div(?x, 30.0)), 30.0) => ?x",
        "swapped reassoc: div(?x, ?y) => div(?y, ?x)",
        &format!("wide exact: {window} => and(le(?k, ?q), le(sub(?q, ?k), {four}))"),
        "associate exact: add(add(?x, ?y), ?z) => add(?x, add(?y, ?z))",
    ];
    for rule in wrong {
        let rules = Rules::of(rule);
        let output = rules.output(&["rules", "check", "my.rules"]);
        assert_eq!(output.status.code(), Some(1), "{rule}");
        let out = String::from_utf8_lossy(&output.stdout);
        let (name, rest) = rule.split_once(' ').expect("a name");
        let (class, _) = rest.split_once(':').expect("a class");
        let line = format!("\nrule {name} is not {class}:\n");
        assert!(out.contains(&line), "{out}");
    }
}

#[test]
fn a_rule_that_no_instance_could_be_made_for_does_not_pass() {
    let rules = Rules::of("never exact: not(add(?x, ?y)) => not(add(?y, ?x))");
    let output = rules.output(&["rules", "check", "my.rules", "-o", "json"]);
    assert_eq!(output.status.code(), Some(1));
    let checked: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(checked["rules"][0]["verdict"], "untested");
    let refused = rules.refused(&["rules", "list", "--rules", "my.rules"]);
    assert_eq!(
        refused,
        "error: my.rules:1: rule never could not be tested, as no instances were found; expected sound rules, or --unchecked\n"
    );
}

#[test]
fn the_shipped_rules_pass() {
    let (out, _) = Rules::of("").says(&["rules", "check", "--instances", "20", "-o", "json"]);
    let checked: Value = serde_json::from_str(&out).expect("JSON");
    let checked = checked["rules"].as_array().expect("a list");
    assert!(checked.len() > 50);
    for rule in checked {
        let sound = rule["verdict"] == "sound";
        assert!(sound || rule["name"] == "fold-constants", "{rule}");
    }
}

#[test]
fn bad_syntax_is_shown_where_it_stands() {
    let rules = Rules::of("// because\nmine exact: negate(?x) => ?x\n");
    let shown = "\
error: my.rules, line 2, column 13: expected an op or a '?variable', found 'negate'
   ╭─[my.rules:2:13]
 1 │ // because
 2 │ mine exact: negate(?x) => ?x
   ·             ───┬──
   ·                ╰── expected an op or a '?variable'
   ╰────
";
    assert_eq!(rules.refused(&["rules", "check", "my.rules"]), shown);
    let opt = ["opt", &tiny(), "--until", "algebra", "--rules", "my.rules"];
    assert_eq!(rules.refused(&opt), shown);
    assert_eq!(
        rules.refused(&["rules", "check", "no.rules"]),
        "error: no.rules: No such file or directory (os error 2)\n"
    );
}

#[test]
fn every_command_refuses_an_unsound_file_unless_it_is_taken_unchecked() {
    let rules = Rules::of(SWAPPED);
    let tiny = tiny();
    let graph = format!("{}/../tests/ops/geglu.lir", env!("CARGO_MANIFEST_DIR"));
    let commands: [&[&str]; 6] = [
        &["opt", &graph, "--until", "algebra"],
        &["compile", &tiny, "-o", "tiny.bin"],
        &["run", &tiny, QUESTION],
        &["verify", &tiny],
        &["explain", &graph],
        &["rules", "list"],
    ];
    for command in commands {
        for option in ["--rules", "--only"] {
            let output = rules.output(&[command, &[option, "my.rules"]].concat());
            assert_eq!(output.status.code(), Some(2), "{command:?}");
            assert_eq!(output.stdout, b"", "{command:?}");
            let errors = String::from_utf8_lossy(&output.stderr);
            let last = errors.lines().last().expect("a line");
            assert_eq!(
                last,
                "error: my.rules:1: rule swapped is not exact, as lapidary rules check my.rules shows; expected sound rules, or --unchecked"
            );
        }
    }
    assert!(!rules.dir.path().join("tiny.bin").exists());
    let swapping = ["--rules", "my.rules", "--unchecked"];
    let body = "%0: f32[4] = neg(%x) %y: f32[4] = sub(%x, %0)";
    let (_, errors) = rules.algebra(body, &swapping);
    assert!(
        errors.starts_with("warning: my.rules: its rules are taken unchecked\n"),
        "{errors}"
    );
    assert!(errors.contains("\n  swapped: "), "{errors}");
}

#[test]
fn only_takes_the_place_of_the_shipped_rules_and_no_rule_leaves_some_out() {
    let rules = Rules::of("");
    let values = |options: &[&str]| {
        let (text, _) = rules.algebra(BODY, options);
        let lines = text.lines().filter(|line| line.contains(" = "));
        lines.count() - 1
    };
    assert_eq!(values(&[]), 2, "a folded constant and a product");
    assert_eq!(values(&["--only", "my.rules"]), 5, "no rules at all");
    assert_eq!(values(&["--no-rule", "*"]), 5);
    assert_eq!(values(&["--no-rule", "fold-constants"]), 3);
    assert_eq!(values(&["--no-rule", "neg-of-*"]), 4);
    rules.write("fold.rules", "fold-constants exact: built-in");
    assert_eq!(values(&["--only", "fold.rules"]), 4);
    rules.write("neg.rules", "twice exact: neg(neg(?x)) => ?x");
    assert_eq!(values(&["--only", "fold.rules", "--rules", "neg.rules"]), 2);
    let no_family = [
        "--no-rule",
        "slice-of-unary",
        "--no-rule",
        "take-of-unary/ne?",
    ];
    assert_eq!(values(&no_family), 2);
}

#[test]
fn a_rule_left_out_must_be_there_and_one_added_must_have_a_name_of_its_own() {
    let rules = Rules::of("neg-of-neg exact: neg(neg(?x)) => ?x");
    rules.graph(BODY);
    let opt = ["opt", "graph.lir", "--until", "algebra"];
    let refused = |options: &[&str]| rules.refused(&[&opt, options].concat());
    assert_eq!(
        refused(&["--no-rule", "neg-of-nag"]),
        "error: --no-rule neg-of-nag: no rule has this name; the nearest are neg-of-neg, add-of-neg, not-of-not\n"
    );
    rules.write("empty.rules", "");
    assert_eq!(
        refused(&["--only", "empty.rules", "--no-rule", "x*"]),
        "error: --no-rule x*: no rule has this name; there are no rules\n"
    );
    let twice = refused(&["--rules", "my.rules"]);
    let first =
        "error: rule neg-of-neg at my.rules:1 has the name of the rule at arithmetic.rules:";
    assert!(twice.starts_with(first), "{twice}");
}

#[test]
fn exact_leaves_out_the_users_rules_that_are_not_and_says_so() {
    let rules = Rules::of(COMMUTE);
    let options = ["--only", "my.rules"];
    let body = "%0: f32[4] = neg(%x) %y: f32[4] = add(%x, %0)";
    let (_, errors) = rules.algebra(body, &options);
    let note = "note: exact uses exact rules alone, and leaves out commute\n";
    assert!(errors.starts_with(note), "{errors}");
    assert!(!errors.contains("  commute: "), "{errors}");
    let (_, errors) = rules.algebra(body, &[&options[..], &["--fidelity", "fast"]].concat());
    assert!(!errors.contains("note:"), "{errors}");
    assert!(errors.contains("  commute: "), "{errors}");
}

#[test]
fn a_list_says_what_each_rule_is_and_how_often_it_fired_on_the_last_graph() {
    let rules = Rules::of(&format!(
        "{COMMUTE}// the signs cancel
negations exact: f(neg(?x), neg(?y)) => f(?x, ?y) for f in mul, div
"
    ));
    let list = ["rules", "list", "--only", "my.rules"];
    let (out, errors) = rules.says(&list);
    assert_eq!(
        out,
        "\
name               class   fired  where       why
commute            rounds  -      my.rules:2  a sum has no order
negations (2 ops)  exact   -      my.rules:4  the signs cancel
"
    );
    assert_eq!(errors, "fired: no graph has been given yet\n");
    let body = "%0: f32[4] = neg(%x) %1: f32[4] = neg(%0)
        %2: f32[4] = mul(%0, %1) %3: f32[4] = div(%1, %0) %y: f32[4] = sub(%2, %3)";
    rules.algebra(body, &["--only", "my.rules"]);
    let (out, errors) = rules.says(&list);
    assert_eq!(
        out,
        "\
name               class   fired  where       why
commute            rounds  0      my.rules:2  a sum has no order
negations (2 ops)  exact   2      my.rules:4  the signs cancel
"
    );
    assert_eq!(errors, "fired: on module little (1 function, exact)\n");
    let (out, _) = rules.says(&[&list[..], &["-o", "json"]].concat());
    let listed: Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!(listed["fired_on"], "module little (1 function, exact)");
    let family = &listed["rules"][1];
    assert_eq!(family["place"], "my.rules:4");
    assert_eq!(family["fired"], 2);
    assert_eq!(family["members"]["negations/div"], 1);
}

#[test]
fn the_shipped_rules_are_listed_with_constant_folding_and_their_reasons() {
    let (out, _) = Rules::of("").says(&["rules", "list", "-o", "json"]);
    let listed: Value = serde_json::from_str(&out).expect("JSON");
    let listed = listed["rules"].as_array().expect("a list");
    assert!(listed.iter().any(|rule| rule["name"] == "fold-constants"));
    for rule in listed {
        let reason = rule["reason"].as_str();
        assert!(reason.is_some_and(|reason| !reason.is_empty()), "{rule}");
    }
}

#[test]
fn a_limit_that_cut_a_search_off_is_named_with_the_rule_that_grew_most() {
    let rules = Rules::of("mix reassoc: add(add(?x, ?y), ?z) => add(?y, add(?z, ?x))\n");
    let body = "%0: f32[4] = neg(%x) %1: f32[4] = add(%x, %0) %2: f32[4] = add(%1, %x)
        %y: f32[4] = add(%2, %0)";
    let options = ["--only", "my.rules", "--fidelity", "fast"];
    let cut_off = |limit: &[&str]| rules.algebra(body, &[&options, limit].concat()).1;
    let report = cut_off(&["--iterations", "1"]);
    let line = report.lines().next().expect("a line");
    let limit = "after 1 iterations, cut off by the limit on iterations; mix grew most, by ";
    assert!(line.contains(limit), "{report}");
    let report = cut_off(&["--nodes", "6"]);
    assert!(report.contains("cut off by the limit on nodes"), "{report}");
    let report = cut_off(&["--search-time", "1e-9"]);
    assert!(report.contains("cut off by the limit on time"), "{report}");
    let refused = rules.refused(&["opt", "graph.lir", "--search-time", "0"]);
    assert!(
        refused.contains("expected a number of seconds above 0"),
        "{refused}"
    );
}

#[test]
fn the_growth_of_an_e_graph_is_had_by_round_and_rule() {
    let rules = Rules::of("");
    rules.algebra(BODY, &["--growth", "growth.json"]);
    let text = fs::read_to_string(rules.dir.path().join("growth.json")).expect("a file");
    let growth: Value = serde_json::from_str(&text).expect("JSON");
    let function = &growth["functions"][0];
    assert_eq!(function["function"], "f");
    assert_eq!(function["stop"], "saturated");
    let rounds = function["iterations"].as_array().expect("a list");
    assert_eq!(rounds.len(), 2, "the second finds nothing new");
    let (first, last) = (&rounds[0], &rounds[1]);
    assert!(first["seconds"].as_f64().is_some_and(|s| s > 0.0));
    assert_eq!(first["rules"][0]["rule"], "fold-constants");
    assert_eq!(first["rules"][0]["fired"], 1);
    assert_eq!(first["rules"][1]["rule"], "neg-of-neg");
    assert_eq!(first["rules"][1]["nodes_added"], 0, "x is there already");
    assert_eq!(last["rules"], serde_json::json!([]));
    assert_eq!(last["nodes"], function["nodes"]);
    assert_eq!(last["classes"], function["classes"]);
}
