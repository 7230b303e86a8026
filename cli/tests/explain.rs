//! `lapidary explain`: what it says of a plan's kernels, and that its numbers fit one another.

mod common;

use std::fs;

use common::{folder, output, refused, says, text, tiny};
use serde_json::Value;
use tempfile::TempDir;

/// A scaled row is normed and projected: a division that becomes a product, and two kernels at most.
const GRAPH: &str = "module scaled

dim R in 1..8

weight @w: f32[6, 4]

fn f(%x: f32[R, 4], %w: f32[6, 4]) {
  %0: f32[R, 4] = const() {to = f32, shape = [R, 4], values = [16.0]}
  %1: f32[R, 4] = div(%x, %0)
  %2: f32[R, 4] = neg(%1)
  %3: f32[R, 4] = neg(%2)
  %4: f32[R, 4] = exp(%3)
  %y: f32[R, 6] = dot(%4, %w) {a_batch = [], b_batch = [], a_contract = [1], b_contract = [1]}
  return %y
}

step(%x: f32[R, 4]) {
  %h: f32[R, 6] = f(%x, @w)
  %y: f32[R, 6] = f(%x, @w)
  return %h, %y
}
";

fn graph() -> (TempDir, String) {
    let dir = folder();
    let path = dir.path().join("scaled.lir");
    fs::write(&path, GRAPH).expect("it can be written");
    let path = text(&path).to_string();
    (dir, path)
}

fn json(args: &[&str]) -> Value {
    let args = [&["explain", "-o", "json"], args].concat();
    serde_json::from_str(&says(&args)).expect("the answer is JSON")
}

fn list(value: &Value) -> &[Value] {
    value.as_array().expect("a list")
}

fn number(value: &Value) -> f64 {
    value.as_f64().expect("a number")
}

/// The values, by name, of a function.
fn value<'v>(function: &'v Value, name: &str) -> &'v Value {
    let mut values = list(&function["values"]).iter();
    values
        .find(|v| v["name"] == name)
        .expect("the value is there")
}

#[test]
fn a_value_that_rules_made_is_told_with_the_rules() {
    let (_dir, graph) = graph();
    let report = json(&[&graph]);
    let function = &report["functions"][0];
    let exp = list(&function["values"]).iter().find(|v| v["op"] == "exp");
    let scaled = exp.expect("it is computed")["operands"][0].as_str();
    let origin = &value(function, scaled.expect("a name"))["origin"];
    assert_eq!(origin["kind"], "rules");
    assert_eq!(origin["first"]["kind"], "source");
    assert_eq!(origin["first"]["value"], "1");
    assert_eq!(origin["error"], Value::Null);
    let steps = list(&origin["steps"]);
    assert_eq!(steps.len(), 1);
    assert_eq!(steps[0]["rule"], "div-by-power-of-two");
    assert_eq!(steps[0]["class"], "exact");
    assert_eq!(steps[0]["before"], "div(%x, 16.0)");
    assert_eq!(steps[0]["after"], "mul(%x, 0.0625)");
    assert_eq!(value(function, "x")["origin"]["kind"], "parameter");
    // exp reads what neg of neg gave, and now what it was given; what is made of exp is as it was.
    assert_eq!(
        exp.expect("it is computed")["origin"]["steps"][0]["rule"],
        "neg-of-neg"
    );
    assert_eq!(value(function, "y")["origin"]["kind"], "source");
    let said = says(&["explain", &graph]);
    assert!(said.contains("div-by-power-of-two (exact)"), "{said}");
    assert!(said.contains("div(%x, 16.0) => mul(%x, 0.0625)"), "{said}");
}

#[test]
fn a_rule_that_was_dropped_leads_to_nothing() {
    let (_dir, graph) = graph();
    let report = json(&[&graph, "--no-rule", "*"]);
    let values = list(&report["functions"][0]["values"]);
    let kinds = values.iter().map(|v| v["origin"]["kind"].as_str());
    assert!(kinds.flatten().all(|k| k == "source" || k == "parameter"));
    assert_eq!(values.len(), list(&report["source"][0]["values"]).len());
}

#[test]
fn the_figures_of_kernels_add_up_to_those_of_a_call_and_of_the_step() {
    let (_dir, graph) = graph();
    for input in [&graph, &tiny()] {
        let report = json(&[input]);
        for what in ["bytes", "flops", "predicted_s"] {
            let mut step = 0.0;
            for function in list(&report["functions"]) {
                let kernels = list(&function["kernels"]).iter();
                let call: f64 = kernels.map(|k| number(&k[what])).sum();
                let told = number(&function["call"][what]);
                assert!((call - told).abs() <= 1e-9 * told, "{call} {told}");
                step += call * number(&function["calls"]);
            }
            let told = number(&report["step"][what]);
            assert!((step - told).abs() <= 1e-9 * told, "{what}: {step} {told}");
        }
    }
}

#[test]
fn a_kernels_time_is_what_its_bound_says() {
    let report = json(&[&tiny()]);
    for function in list(&report["functions"]) {
        for kernel in list(&function["kernels"]) {
            let [memory, arithmetic, launch] =
                ["memory_s", "arithmetic_s", "launch_s"].map(|f| number(&kernel[f]));
            assert_eq!(
                number(&kernel["predicted_s"]),
                memory.max(arithmetic) + launch
            );
            let greatest = memory.max(arithmetic).max(launch);
            let bound = match kernel["bound"].as_str() {
                Some("memory") => memory,
                Some("arithmetic") => arithmetic,
                _ => launch,
            };
            assert_eq!(bound, greatest, "{kernel}");
        }
    }
}

#[test]
fn every_kernel_reads_what_it_says_and_every_value_is_where_it_belongs() {
    let report = json(&[&tiny()]);
    for function in list(&report["functions"]) {
        let kernels = list(&function["kernels"]);
        for (i, kernel) in kernels.iter().enumerate() {
            for read in list(&kernel["reads"]) {
                let from = kernels[..i].iter().find(|k| k["name"] == read["kernel"]);
                match from {
                    None => assert_eq!(
                        value(function, read["name"].as_str().unwrap_or(""))["op"],
                        Value::Null
                    ),
                    Some(from) => {
                        let mut writes = list(&from["writes"]).iter();
                        assert!(writes.any(|w| w["name"] == read["name"]));
                    }
                }
            }
            for name in list(&kernel["values"]) {
                value(function, name.as_str().expect("a name"));
            }
            for one in list(&kernel["uses"]) {
                assert!(list(&kernel["values"]).contains(&one["consumer"]));
                assert!(number(&one["planned"]["chosen_s"]) > 0.0);
            }
        }
    }
}

#[test]
fn a_checkpoint_is_explained_for_a_decode_step_and_a_graph_at_its_upper_bounds() {
    let symbols = |report: &Value| -> Vec<(String, i64)> {
        let each = list(&report["symbols"]).iter();
        each.map(|s| {
            (
                s["name"].as_str().unwrap_or("").into(),
                s["value"].as_i64().unwrap_or(0),
            )
        })
        .collect()
    };
    let mut decode = symbols(&json(&[&tiny()]));
    decode.sort();
    assert_eq!(
        decode,
        [("K".into(), 128), ("N".into(), 1), ("R".into(), 1)]
    );
    let (_dir, graph) = graph();
    assert_eq!(symbols(&json(&[&graph])), [("R".to_string(), 8)]);
    let one = json(&[&graph, "--bind", "R=1"]);
    assert_eq!(symbols(&one), [("R".to_string(), 1)]);
    let all = json(&[&graph]);
    assert!(number(&one["step"]["flops"]) < number(&all["step"]["flops"]));
    let prefill = json(&[&tiny(), "--bind", "R=64,N=1,K=64"]);
    assert!(number(&prefill["step"]["flops"]) > number(&json(&[&tiny()])["step"]["flops"]));
}

#[test]
fn one_kernel_can_be_asked_for_by_either_name() {
    let (_dir, graph) = graph();
    let report = json(&[&graph]);
    let kernels = list(&report["functions"][0]["kernels"]);
    let name = kernels.last().expect("a kernel")["name"]
        .as_str()
        .unwrap_or("");
    for asked in [name.to_string(), format!("f.{name}")] {
        let one = json(&[&graph, "--kernel", &asked]);
        let found = list(&one["functions"][0]["kernels"]);
        assert_eq!(found, &kernels[kernels.len() - 1..]);
        let said = says(&["explain", &graph, "--kernel", &asked]);
        assert!(
            said.starts_with(&format!("fn f, kernel {name} over [R, 6]")),
            "{said}"
        );
    }
    let message = refused(2, &["explain", &graph, "--kernel", "k.none"]);
    let expected = format!("--kernel k.none: no such kernel, expected one of f.{name}");
    assert!(message.contains(&expected), "{message}");
}

#[test]
fn a_plan_is_explained_as_it_is_and_an_edited_one_with_the_rules_before_it() {
    let (dir, graph) = graph();
    let plan = dir.path().join("none.plan");
    let plan = text(&plan);
    let make = [
        "opt",
        "--until",
        "plan",
        "--extract",
        "none",
        &graph,
        "-o",
        plan,
    ];
    says(&make);
    let given = json(&[&graph, "--plan", plan, "--fidelity", "exact"]);
    let chosen = json(&[&graph, "--fidelity", "exact"]);
    let kernels = |r: &Value| list(&r["functions"][0]["kernels"]).len();
    assert!(kernels(&given) > kernels(&chosen));
    let count = |r: &Value, kind: &str| {
        let values = list(&r["functions"][0]["values"]).iter();
        values.filter(|v| v["origin"]["kind"] == kind).count()
    };
    assert!(count(&given, "rules") > 0);
    let alone = json(&[plan]);
    assert_eq!(kernels(&alone), kernels(&given));
    assert_eq!(count(&alone, "rules"), 0);
    let message = refused(2, &["explain", plan, "--no-rule", "neg-of-neg"]);
    assert!(
        message.contains("a plan, whose kernels are taken as they are"),
        "{message}"
    );
}

#[test]
fn another_machine_gives_another_prediction() {
    let (dir, graph) = graph();
    let machine = dir.path().join("machine.json");
    let measured = |x: f64| format!("{{\"median\": {x:e}, \"min\": {x:e}, \"max\": {x:e}}}");
    let rates = |x: f64| format!("{{\"one_thread\": {0}, \"all_threads\": {0}}}", measured(x));
    let text_of = format!(
        "{{\"cpu\": \"slow\", \"threads\": 1, \"date\": \"2026-01-01\", \"read_bytes_per_s\": {}, \"f32_flops\": {}, \"bf16_flops\": null, \"int8_ops\": null, \"barrier_s\": {}}}",
        rates(1e6),
        rates(1e12),
        measured(1e-9)
    );
    fs::write(&machine, text_of).expect("it can be written");
    let slow = json(&[&graph, "--machine", text(&machine)]);
    let plain = json(&[&graph]);
    assert_eq!(number(&slow["machine"]["bytes_per_s"]), 1e6);
    assert!(number(&slow["step"]["predicted_s"]) > number(&plain["step"]["predicted_s"]));
    let kernels = list(&slow["functions"][0]["kernels"]);
    assert!(kernels.iter().all(|k| k["bound"] == "memory"));
}

#[test]
fn what_is_measured_stands_beside_what_is_predicted() {
    let (_dir, graph) = graph();
    let report = json(&[&graph, "--measure", "--threads", "1"]);
    let figures = &report["step"];
    assert!(number(&figures["measured_s"]) > 0.0);
    for kernel in list(&report["functions"][0]["kernels"]) {
        let (measured, predicted) = (
            number(&kernel["measured_s"]),
            number(&kernel["predicted_s"]),
        );
        assert_eq!(number(&kernel["ratio"]), measured / predicted);
        assert!(number(&kernel["spread_s"]) >= 0.0);
    }
    let plain = json(&[&graph]);
    assert_eq!(plain["step"]["measured_s"], Value::Null);
    let said = says(&["explain", &graph, "--measure"]);
    assert!(said.contains("measured   ratio"), "{said}");
}

#[test]
fn the_same_plan_is_explained_in_the_same_words() {
    let args = ["explain", &tiny()];
    assert_eq!(says(&args), says(&args));
}

#[test]
fn what_cannot_be_explained_is_refused() {
    let (_dir, graph) = graph();
    for (args, expected) in [
        (
            vec!["--bind", "Q=1"],
            "--bind Q=1: no such symbol, expected one of R",
        ),
        (vec!["--bind", "R=9"], "--bind R=9: expected 1 to 8"),
        (vec!["--plan", "nowhere.plan"], "nowhere.plan"),
    ] {
        let args = [vec!["explain", &graph], args].concat();
        let message = refused(2, &args);
        assert!(message.contains(expected), "{message}");
    }
    let found = output(&["explain", "nowhere"]);
    assert_eq!(found.status.code(), Some(2));
}
