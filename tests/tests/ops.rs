//! One suite of ops and small graphs, run by every executor.
//!
//! `LAPIDARY_BLESS=1` writes what the first executor gives into the files as what is expected.

use std::collections::HashSet;
use std::fs;
use std::path::PathBuf;

use ir::{Def, Op};
use lapidary_tests::executors::EXECUTORS;
use lapidary_tests::suite::{Case, cases};

/// The ops and small graphs, and the graphs whose fusion is stated (`fusion.rs`).
fn suite() -> Vec<Case> {
    let cases = ["ops", "fusion"].map(cases).into_iter();
    let cases = cases.flat_map(|cases| cases.unwrap_or_else(|error| panic!("{error}")));
    cases.collect()
}

fn bless(case: &Case) -> Result<(), String> {
    let text = case.blessed(&EXECUTORS[0].run(case)?);
    fs::write(&case.path, text).map_err(|e| e.to_string())
}

#[test]
fn every_case_gives_its_expected_bits_on_every_executor() {
    if std::env::var_os("LAPIDARY_BLESS").is_some() {
        for case in suite() {
            bless(&case).unwrap_or_else(|error| panic!("{}: {error}", case.path.display()));
        }
    }
    let suite = suite();
    let runs = suite
        .iter()
        .flat_map(|case| EXECUTORS.iter().map(move |executor| (case, executor)))
        .filter(|(case, executor)| {
            let skipped = executor.skips(case);
            if let Some(reason) = &skipped {
                let path = case.path.display();
                println!("skipped: {path} on {}: {reason}", executor.name());
            }
            skipped.is_none()
        });
    let differences: Vec<String> = runs
        .flat_map(|(case, executor)| case.differences(*executor))
        .collect();
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

#[test]
fn every_op_occurs_in_the_suite() {
    let mut found = HashSet::new();
    for case in suite() {
        for value in case.module.functions.iter().flat_map(|f| &f.values) {
            if let Def::Op { op, .. } = value.def {
                found.insert(op);
            }
        }
    }
    for op in Op::all() {
        assert!(found.contains(&op), "no case has {}", op.def().name);
    }
}

#[test]
fn executors_differ_in_name() {
    let names: HashSet<String> = EXECUTORS.iter().map(|e| e.name()).collect();
    assert_eq!(names.len(), EXECUTORS.len());
}

/// A case of a module that doubles f32[R], of the weight w to i32[2], and of these lines.
fn doubling(lines: &str) -> Result<Case, String> {
    let comments: String = lines.lines().map(|line| format!("// {line}\n")).collect();
    let text = format!(
        "{comments}module twice\ndim R in 0..3\nweight @w: i32[2]\n\
         fn twice(%x: f32[R]) {{ %y: f32[R] = add(%x, %x) return %y }}\n\
         step(%x: f32[R]) {{ %y: f32[R] = twice(%x) return %y }}"
    );
    Case::read(PathBuf::from("case.lir"), text).map_err(|e| e.to_string())
}

#[test]
fn a_case_that_does_not_fit_its_module_is_refused_with_its_line() {
    let table = [
        ("", "line 1: weight w is missing"),
        ("weight w = 1 2", "line 1: no step is there"),
        (
            "weight w = 1",
            "line 1: expected 2 elements of i32[2], found 1",
        ),
        ("weight w = 1 2.5", "line 1: 2.5 is no i32"),
        ("weight v = 1 2", "line 1: the module has no such weight: v"),
        ("prose\nin x = 1", "line 2: no step has begun"),
        ("step", "line 1: dim R has no value"),
        ("step R=4", "line 1: dim R is 4, outside 0..3"),
        ("step R=1, R=2", "line 1: R has two values"),
        ("step R=1, N", "line 1: expected dim=value, found N"),
        (
            "step R=1\nin x = 1 2",
            "line 2: expected 1 elements of f32[R], found 2",
        ),
        ("step R=1\nin x = one", "line 2: one is no f32"),
        (
            "step R=1\nin y = 1",
            "line 2: y is not the step's next input",
        ),
        (
            "step R=1\nin x = 1\nin x = 1",
            "line 3: x is not the step's next input",
        ),
        (
            "step R=1\nout x = 1",
            "line 2: the module has no such out: x",
        ),
        (
            "step R=1\ntruth x = 1",
            "line 2: the module has no such truth: x",
        ),
        (
            "step R=1\ntruth y = 1 2",
            "line 2: expected 1 elements of f32[R], found 2",
        ),
        ("step R=1\ntruth y = one", "line 2: one is no f64"),
        (
            "weight w = 1 2\nstep R=1",
            "line 1: step 1: in x is missing",
        ),
    ];
    for (lines, message) in table {
        let error = doubling(lines).err();
        assert_eq!(error, Some(format!("case.lir, {message}")), "{lines}");
    }
}

#[test]
fn what_is_not_as_expected_is_reported_with_the_executor_the_step_and_the_element() {
    let differences = |lines: &str| {
        let case = doubling(&format!("weight w = 0 0\n{lines}")).expect("the case can be read");
        case.differences(EXECUTORS[0])
    };
    let good = "step R=3\nin x = 0x3f800000 nan -0\nout y = 2 nan -0";
    assert!(differences(good).is_empty());
    let second_wrong = format!("{good}\nstep R=2\nin x = 1 -0\nout y = 2 0");
    assert_eq!(
        differences(&second_wrong),
        ["case.lir on interp of graph, 1 threads: step 2, out y[1]: expected 0, found -0"]
    );
    assert_eq!(
        differences("step R=0\nin x ="),
        ["case.lir on interp of graph, 1 threads: step 1, out y is not in the file"]
    );
}

#[test]
fn blessing_puts_a_steps_outputs_behind_its_inputs_and_keeps_the_rest() {
    let case = doubling(
        "Prose.\nweight w = 0 0\nstep R=2\nin x = 0.1 3e38\nout y = 7 7\nstep R=0\nin x =",
    )
    .expect("the case can be read");
    let made = EXECUTORS[0].run(&case).expect("the module can be run");
    let text = case.blessed(&made);
    let head: Vec<&str> = text.lines().take(9).collect();
    assert_eq!(
        head,
        [
            "// Prose.",
            "// weight w = 0 0",
            "// step R=2",
            "// in x = 0.1 3e38",
            "// out y = 0.2 inf",
            "// step R=0",
            "// in x =",
            "// out y =",
            "module twice",
        ]
    );
    let again = Case::read(case.path, text.clone()).expect("the case can be read");
    assert_eq!(again.blessed(&made), text);
    assert!(again.differences(EXECUTORS[0]).is_empty());
}
