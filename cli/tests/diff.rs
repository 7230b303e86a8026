//! `lapidary diff`: what changed from one plan to another.

mod common;

use std::fs;
use std::path::Path;

use common::{folder, refused, says, text};
use serde_json::Value;

const GRAPH: &str = "module gated

dim R in 1..8
dim N in 0..8

where N <= R

fn f(%x: f32[R, 4]) {
  %0: f32[R, 4] = const() {to = f32, shape = [R, 4], values = [3.0]}
  %1: f32[R, 4] = div(%x, %0)
  %2: f32[R, 4] = exp(%1)
  %y: f32[R, 4] = mul(%x, %2)
  return %y
}

fn g(%x: f32[R, 4]) {
  %y: f32[R, 4] = tanh(%x)
  return %y
}

step(%x: f32[R, 4]) {
  %a: f32[R, 4] = f(%x)
  %b: f32[R, 4] = f(%a)
  %y: f32[R, 4] = g(%b)
  return %y
}
";

/// Plans the graph in this way, into a file of this name.
fn plan(dir: &Path, name: &str, how: &[&str]) -> String {
    let graph = dir.join("gated.lir");
    fs::write(&graph, GRAPH).expect("it can be written");
    let plan = dir.join(name);
    let args = ["opt", "--until", "plan", text(&graph), "-o", text(&plan)];
    says(&[&args[..], how].concat());
    text(&plan).to_string()
}

fn json(args: &[&str]) -> Value {
    let args = [&["diff", "-o", "json"], args].concat();
    serde_json::from_str(&says(&args)).expect("the answer is JSON")
}

fn list(value: &Value) -> &[Value] {
    value.as_array().expect("a list")
}

#[test]
fn equal_plans_are_the_same() {
    let dir = folder();
    let a = plan(dir.path(), "a.plan", &[]);
    let said = says(&["diff", &a, &a]);
    assert!(said.contains("the same: f, g"), "{said}");
    assert!(!said.contains("fn f"), "{said}");
}

#[test]
fn a_fusion_switched_off_shows_as_kernels_values_and_its_price() {
    let dir = folder();
    let a = plan(dir.path(), "a.plan", &[]);
    let b = plan(dir.path(), "b.plan", &["--extract", "none"]);
    let diff = json(&[&a, &b]);
    let f = &diff["functions"][0];
    let change = |name: &str| {
        let mut kernels = list(&f["kernels"]).iter();
        let kernel = kernels.find(|k| k["a"] == name || k["b"] == name);
        kernel.map(|k| k["change"].as_str().unwrap_or("").to_string())
    };
    assert_eq!(change("k.y").as_deref(), Some("changed"));
    assert_eq!(change("k.2").as_deref(), Some("added"));
    assert_eq!(f["values_added"], Value::Array(vec![]));
    assert_eq!(f["values_removed"], Value::Array(vec![]));
    let moved = list(&f["moved"]).iter().find(|m| m["value"] == "2");
    let moved = moved.expect("%2 has its own kernel now");
    assert_eq!(list(&moved["from"]), ["k.y"]);
    assert_eq!(list(&moved["to"]), ["k.2"]);
    // In each of two calls two values of 8 rows of 4 floats are written and read back, and %x is read again.
    let bytes = |side: &str| diff["step"][side]["bytes"].as_f64().expect("a number");
    assert_eq!(bytes("b") - bytes("a"), 2.0 * 5.0 * 128.0);
    assert_eq!(diff["functions"][1]["kernels"][0]["change"], "same");
    let back = json(&[&b, &a]);
    let kernels = list(&back["functions"][0]["kernels"]).iter();
    let removed = kernels.filter(|k| k["change"] == "removed");
    assert_eq!(removed.count(), 2);
    let said = says(&["diff", &a, &b]);
    assert!(said.contains("+ k.2"), "{said}");
    assert!(said.contains("%2: k.y → k.2"), "{said}");
    assert!(said.contains("the same: g"), "{said}");
}

#[test]
fn values_are_compared_by_what_they_are_and_not_by_their_names() {
    let dir = folder();
    let a = plan(dir.path(), "a.plan", &[]);
    let renamed = fs::read_to_string(&a).expect("it can be read");
    let renamed = renamed.replace("%2", "%other");
    let b = dir.path().join("b.plan");
    fs::write(&b, renamed).expect("it can be written");
    let said = says(&["diff", &a, text(&b)]);
    assert!(said.contains("the same: f, g"), "{said}");
}

#[test]
fn values_that_a_rule_added_and_removed_are_told() {
    let dir = folder();
    let a = plan(dir.path(), "a.plan", &[]);
    let b = plan(dir.path(), "b.plan", &["--fidelity", "fast"]);
    let diff = json(&[&a, &b]);
    let f = &diff["functions"][0];
    let lines = |what: &str| -> String {
        let lines = list(&f[what]).iter().filter_map(Value::as_str);
        lines.collect::<Vec<_>>().join("\n")
    };
    assert!(lines("values_removed").contains(" = div(%x, "), "{f}");
    assert!(lines("values_added").contains(" = mul(%x, "), "{f}");
    let said = says(&["diff", &a, &b]);
    assert!(said.contains("- %2: f32[R, 4] = div(%x, %1)"), "{said}");
    assert!(said.contains("+ %2: f32[R, 4] = mul(%x, %1)"), "{said}");
    // What is made of it is the same, though of something else.
    assert!(!said.contains("exp"), "{said}");
}

#[test]
fn figures_are_for_the_symbols_that_are_bound() {
    let dir = folder();
    let a = plan(dir.path(), "a.plan", &[]);
    let b = plan(dir.path(), "b.plan", &["--extract", "none"]);
    // N is at most R, and so is bound with it.
    let bytes = |diff: &Value| diff["step"]["a"]["bytes"].as_f64().expect("a number");
    let one = bytes(&json(&[&a, &b, "--bind", "R=1"]));
    assert_eq!(one * 8.0, bytes(&json(&[&a, &b])));
}

#[test]
fn both_plans_can_be_measured() {
    let dir = folder();
    let a = plan(dir.path(), "a.plan", &[]);
    let b = plan(dir.path(), "b.plan", &["--extract", "none"]);
    let diff = json(&[&a, &b, "--measure", "--threads", "1"]);
    for side in ["a", "b"] {
        let measured = diff["step"][side]["measured_s"].as_f64();
        assert!(measured.is_some_and(|s| s > 0.0), "{diff}");
    }
    let said = says(&["diff", &a, &b, "--measure", "--threads", "1"]);
    assert!(said.contains("measured"), "{said}");
}

#[test]
fn what_is_no_plan_is_refused() {
    let dir = folder();
    let a = plan(dir.path(), "a.plan", &[]);
    let graph = dir.path().join("gated.lir");
    let message = refused(2, &["diff", &a, text(&graph)]);
    let expected =
        "gated.lir: a graph, expected the text of a plan, which lapidary opt --until plan prints";
    assert!(message.contains(expected), "{message}");
    let message = refused(2, &["diff", "nowhere.plan", &a]);
    assert!(message.contains("nowhere.plan"), "{message}");
}
