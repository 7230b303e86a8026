//! A module in, its Plan out: the files of `plan/`; and what makes a plan legal.
//!
//! A file has two parts, `=== module` and `=== expected`, of which the second holds the plan's text behind
//! the module's. `LAPIDARY_BLESS=1` writes what comes out into the files.

use std::fs;
use std::path::{Path, PathBuf};

use ir::interp::{Interpreter, Tensor};
use ir::{Bindings, Module};
use lapidary_passes::fusion::Extract;
use lapidary_passes::pipeline::{self, PlanOptions};
use lapidary_passes::plan::{self, Plan, text};

fn files() -> Vec<(PathBuf, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/plan");
    let files = fs::read_dir(&folder).expect("the folder is there");
    let mut paths: Vec<_> = files.map(|f| f.expect("it can be listed").path()).collect();
    paths.sort();
    assert!(!paths.is_empty());
    let read = |path: PathBuf| {
        let text = fs::read_to_string(&path).expect("it can be read");
        (path, text)
    };
    paths.into_iter().map(read).collect()
}

fn parts(text: &str) -> (&str, &str) {
    let (_, rest) = text.split_once("=== module\n").expect("it has a module");
    rest.split_once("=== expected\n")
        .expect("it says what comes out")
}

fn plan_by(module: &str, extract: Extract) -> Plan {
    let module = ir::text::parse(module).unwrap_or_else(|e| panic!("{e}"));
    ir::verify(&module).unwrap_or_else(|e| panic!("{e}"));
    let options = PlanOptions {
        extract,
        ..PlanOptions::default()
    };
    pipeline::plan(&module, &options).0
}

fn plan_of(module: &str) -> Plan {
    plan_by(module, Extract::Search)
}

fn residual() -> Plan {
    plan_of(parts(include_str!("plan/residual.test")).0)
}

fn refusal(plan: &Plan) -> String {
    plan::verify(plan).expect_err("it is refused").to_string()
}

#[test]
fn every_file_comes_out_as_it_says_and_reads_back() {
    let bless = std::env::var_os("LAPIDARY_BLESS").is_some();
    for (path, whole) in files() {
        let (module, expected) = parts(&whole);
        let plan = plan_of(module);
        plan::verify(&plan).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let all = text::print(&plan);
        assert_eq!(text::parse(&all), Ok(plan), "{}", path.display());
        let found = all.split_once("\nplan ").expect("a function is planned").1;
        let found = format!("plan {found}");
        if bless {
            let kept = &whole[..whole.len() - expected.len()];
            fs::write(&path, format!("{kept}{found}")).expect("it can be written");
        } else {
            assert_eq!(found, expected, "{}", path.display());
        }
    }
}

#[test]
fn a_value_that_is_neither_read_nor_computed_is_refused() {
    let mut plan = residual();
    let kernel = &mut plan.functions[0].kernels[0];
    let read = kernel.reads.remove(0);
    let (kernel, value) = (
        kernel.name.clone(),
        plan.module.functions[0].values[read.0].name.clone(),
    );
    assert_eq!(
        refusal(&plan),
        format!(
            "fn residual, kernel {kernel}, %{value}: it is used, and neither read nor computed before"
        )
    );
}

#[test]
fn a_result_that_no_kernel_writes_is_refused() {
    let mut plan = residual();
    plan.functions[0].kernels.clear();
    assert_eq!(
        refusal(&plan),
        "fn residual, %sum: a result that no kernel writes"
    );
}

#[test]
fn a_kernel_that_claims_another_template_is_refused() {
    let mut plan = residual();
    let kernels = &mut plan.functions[0].kernels;
    let dot = kernels.iter_mut().find(|k| k.template.is_some());
    dot.expect("there is a dot").template = Some(plan::Template::Attention);
    let found = refusal(&plan);
    assert!(
        found.ends_with("the region follows another schedule template"),
        "{found}"
    );
}

#[test]
fn a_kernel_is_read_only_after_it_is_written() {
    let module = parts(include_str!("plan/swiglu.test")).0;
    let mut plan = plan_of(module);
    plan.functions[0].kernels.reverse();
    let found = refusal(&plan);
    assert!(
        found.ends_with("it is read before a kernel writes it"),
        "{found}"
    );
}

#[test]
fn a_value_written_by_two_kernels_is_refused() {
    let mut plan = residual();
    let mut again = plan.functions[0].kernels[0].clone();
    again.name = "again".into();
    plan.functions[0].kernels.push(again);
    let found = refusal(&plan);
    assert!(found.ends_with("it is written twice"), "{found}");
}

#[test]
fn a_state_written_in_place_while_its_old_value_is_read_is_refused() {
    let mut plan = plan_of(parts(include_str!("plan/state.test")).0);
    let buffers = &mut plan.functions[0].buffers;
    assert!(buffers.in_place.values().any(|in_place| !in_place));
    buffers
        .in_place
        .values_mut()
        .for_each(|in_place| *in_place = true);
    assert_eq!(
        refusal(&plan),
        "fn update, %a2: it is written in place, and the old state is read"
    );
}

#[test]
fn two_live_values_in_one_place_are_refused() {
    let module = parts(include_str!("plan/swiglu.test")).0;
    let mut plan = plan_by(module, Extract::None);
    let buffers = &mut plan.functions[0].buffers;
    assert!(buffers.slots.len() > 1);
    buffers
        .slots
        .values_mut()
        .for_each(|(offset, _)| *offset = 0);
    let found = refusal(&plan);
    assert!(
        found.ends_with("it lies where another live value lies"),
        "{found}"
    );
}

#[test]
fn text_that_is_no_plan_is_refused_where_it_goes_wrong() {
    let text = text::print(&residual());
    for (good, bad, expected) in [
        ("over [", "under [", "'over'"),
        ("template dot", "template loop", "'dot' or 'attention'"),
        ("read %x", "read %absent", "a value of residual, '%name'"),
        ("plan residual", "plan absent", "a function of the module"),
        (
            "    compute",
            "    calculate",
            "'read', 'compute' and 'write', in this order, or '}'",
        ),
    ] {
        assert!(text.contains(good), "{good}");
        let wrong = text.replacen(good, bad, 1);
        let error = text::parse(&wrong).expect_err("it is refused");
        assert_eq!(error.expected, expected);
        let line = wrong
            .lines()
            .nth(error.line - 1)
            .expect("the line is there");
        let at: String = line.chars().skip(error.column - 1).collect();
        let found = error.found.trim_matches('\'');
        assert!(at.starts_with(found), "{error}");
    }
}

/// A prepared weight, results that are parameters or stand twice, and a state that goes to another.
fn swapped() -> Module {
    let module = ir::text::parse(
        "module m
         weight @w: f32[2, 4]
         prepared @w1: f32[2, 4]
         state $a: f32[2, 4]
         state $b: f32[2, 4]
         fn make(%w: f32[2, 4]) {
           %0: f32[2, 4] = exp(%w)
           %1: f32[4, 2] = transpose(%0) {axes = [1, 0]}
           %2: f32[4, 4] = dot(%1, %0) {a_batch = [], b_batch = [], a_contract = [1], b_contract = [0]}
           %y: f32[2, 4] = dot(%0, %2) {a_batch = [], b_batch = [], a_contract = [1], b_contract = [0]}
           return %y
         }
         fn f(%x: f32[2, 4], %a: f32[2, 4], %b: f32[2, 4], %w: f32[2, 4]) {
           %s: f32[2, 4] = add(%x, %a)
           %y: f32[2, 4] = mul(%s, %w)
           %z: f32[2, 4] = sub(%y, %a)
           return %b, %s, %x, %z, %z
         }
         prepare {
           @w1 = make(@w)
         }
         step(%x: f32[2, 4]) {
           $a, $b, %p: f32[2, 4], %q: f32[2, 4], %r: f32[2, 4] = f(%x, $a, $b, @w1)
           return %p, %q, %r
         }",
    );
    module.unwrap_or_else(|e| panic!("{e}"))
}

#[test]
fn results_that_need_no_kernel_swapped_states_and_prepared_weights_are_run_as_the_source_says() {
    let module = swapped();
    let bytes: Vec<u8> = (0..8)
        .flat_map(|i| (i as f32 / 9.0).to_le_bytes())
        .collect();
    let run = |module: &ir::Module| {
        let interpreter = Interpreter::<f32>::new(module.clone(), |_| Some(&bytes), 1);
        let mut interpreter = interpreter.unwrap_or_else(|e| panic!("{e}"));
        let steps = (0..4).map(|i| {
            let x = (0..8).map(|j| (i * 8 + j) as f32 / 7.0).collect();
            let outputs = interpreter.step(&Bindings::default(), vec![Tensor::real(vec![2, 4], x)]);
            outputs.unwrap_or_else(|e| panic!("{e}"))
        });
        steps.collect::<Vec<_>>()
    };
    let expected = run(&module);
    assert_ne!(expected[2], expected[3]);
    for extract in [Extract::Search, Extract::None, Extract::Random(3)] {
        let options = PlanOptions {
            extract,
            ..PlanOptions::default()
        };
        let (plan, _) = pipeline::plan(&module, &options);
        plan::verify(&plan).unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(run(&plan::lower(&plan).module), expected, "{extract:?}");
    }
}

#[test]
fn what_kernels_of_a_call_hand_on_lies_in_the_arena_and_copies_do_not() {
    let options = PlanOptions {
        extract: Extract::None,
        ..PlanOptions::default()
    };
    let (plan, _) = pipeline::plan(&swapped(), &options);
    let lowered = plan::lower(&plan);
    let step = &lowered.module.step;
    let y = step.local("y").expect("a kernel hands it on");
    let function = plan.module.function("f").expect("it is there");
    let slots = &plan.functions[function.0].buffers.slots;
    let of = plan.module.functions[function.0].value("y");
    let slot = slots[&of.expect("it is there")];
    assert_eq!(slot, (0, 64));
    // A result that waits for the old state to be read, and a state's value held for a copy.
    assert!(step.local("s").is_some() && step.local("held").is_some());
    assert_eq!(lowered.slots.into_iter().collect::<Vec<_>>(), [(y, slot)]);
}

#[test]
fn a_result_in_the_arena_is_refused() {
    let mut plan = residual();
    let sum = plan.module.functions[0].results[0];
    let buffers = &mut plan.functions[0].buffers;
    buffers.slots.insert(sum, (buffers.arena, 1 << 20));
    buffers.arena += 1 << 20;
    assert_eq!(
        refusal(&plan),
        "fn residual, %sum: a result lies where the caller says, not in the arena"
    );
}
