//! A compiled language model, asked for steps.

mod kernels;

use kernels::{MODEL, buffer, launch, machine, names};
use lapidary_runtime::{
    Address, CompiledModel, Error, Executor, Limits, Machine, Program, Row, Symbol,
};

const LIMITS: Limits = Limits {
    vocab: 4,
    context: 50,
    rows: 8,
    slots: 2,
};

/// Logits of a wanted row are its token, position and slot, and the number of keys.
fn program() -> Program {
    let symbol = |name: &str, low, high| Symbol {
        name: name.into(),
        low,
        high,
    };
    Program {
        symbols: vec![symbol("R", 1, 8), symbol("K", 1, 50), symbol("N", 0, 8)],
        // The order is the program's own affair.
        inputs: vec![
            buffer("wanted", 32),
            buffer("slots", 32),
            buffer("positions", 32),
            buffer("tokens", 32),
        ],
        outputs: vec![buffer("other", 8), buffer("logits", 128)],
        kernels: names(),
        launches: vec![launch(
            MODEL,
            &[
                Address::Input(3),
                Address::Input(2),
                Address::Input(1),
                Address::Input(0),
                Address::Output(1),
            ],
        )],
        ..Program::default()
    }
}

fn run_by(program: Program) -> Machine {
    machine(program, &[], 2)
}

fn model() -> CompiledModel {
    CompiledModel::new(run_by(program()), LIMITS, None).expect("a model")
}

fn row(token: u32, position: u32, slot: u32) -> Row {
    Row {
        token,
        position,
        slot,
    }
}

#[test]
fn a_step_gives_the_logits_of_the_wanted_rows_alone() {
    let mut model = model();
    assert_eq!(model.limits(), LIMITS);
    let rows = [row(3, 10, 1), row(0, 40, 0), row(2, 11, 1)];
    let mut logits = [0.0; 8];
    model.step(&rows, &[0, 2], &mut logits).expect("a step");
    assert_eq!(logits, [3.0, 10.0, 1.0, 41.0, 2.0, 11.0, 1.0, 41.0]);
    let mut logits = [0.0; 4];
    model
        .step(&[row(1, 49, 0)], &[0], &mut logits)
        .expect("a step");
    assert_eq!(logits, [1.0, 49.0, 0.0, 50.0]);
}

#[test]
fn a_step_may_be_as_large_as_the_limits() {
    let rows: Vec<Row> = (0..8).map(|i| row(i % 4, i, 0)).collect();
    let mut logits = [0.0; 32];
    let all: Vec<usize> = (0..8).collect();
    model().step(&rows, &all, &mut logits).expect("a step");
    assert_eq!(logits[28..], [3.0, 7.0, 0.0, 8.0]);
}

#[test]
fn a_step_may_want_no_logits() {
    model().step(&[row(1, 2, 0)], &[], &mut []).expect("a step");
}

#[test]
fn rows_out_of_the_limits_are_refused() {
    let refused = |rows: &[Row]| {
        let error = model().step(rows, &[], &mut []).expect_err("a refusal");
        error.to_string()
    };
    assert_eq!(
        refused(&[row(1, 0, 0), row(4, 1, 0)]),
        "token 4 is out of range: the vocabulary has 4 ids, 0 to 3"
    );
    assert_eq!(
        refused(&[row(1, 50, 0)]),
        "position 50 is out of range: the model has 50"
    );
    assert_eq!(
        refused(&[row(1, 0, 2)]),
        "slot 2 is out of range: the model has 2"
    );
    assert_eq!(
        refused(&[row(1, 0, 0); 9]),
        "a step has 9 rows, expected 1 to 8"
    );
    assert_eq!(refused(&[]), "a step has 0 rows, expected 1 to 8");
}

#[test]
fn a_model_of_one_row_a_step_needs_no_symbol_for_it() {
    let mut program = program();
    program.symbols.remove(0);
    let limits = Limits { rows: 1, ..LIMITS };
    let mut model = CompiledModel::new(run_by(program), limits, None).expect("a model");
    model.step(&[row(1, 2, 0)], &[], &mut []).expect("a step");
    let error = model.step(&[row(1, 2, 0); 2], &[], &mut []);
    assert_eq!(
        error.expect_err("a refusal").to_string(),
        "a step has 2 rows, expected 1 to 1"
    );
}

/// Why a changed program is refused.
fn refusal(change: fn(&mut Program)) -> String {
    let mut program = program();
    change(&mut program);
    match CompiledModel::new(run_by(program), LIMITS, None) {
        Ok(_) => panic!("accepted"),
        Err(error @ Error::Program(_)) => error.to_string(),
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn a_program_that_lacks_what_a_language_model_needs_is_refused() {
    assert_eq!(
        refusal(|program| program.symbols.truncate(2)),
        "the compiled program is faulty: it has no symbol N"
    );
    assert_eq!(
        refusal(|program| drop(program.symbols.remove(0))),
        "the compiled program is faulty: it has no symbol R"
    );
    assert_eq!(
        refusal(|program| program.inputs[1].name = "slot".into()),
        "the compiled program is faulty: it has no input slots"
    );
    assert_eq!(
        refusal(|program| program.outputs[1].name = "hidden".into()),
        "the compiled program is faulty: it has no output logits"
    );
}

#[test]
fn a_program_of_other_symbols_is_refused() {
    assert_eq!(
        refusal(|program| program.symbols.push(Symbol {
            name: "H".into(),
            low: 1,
            high: 1,
        })),
        "the compiled program is faulty: it has a symbol H, expected R, K and N alone"
    );
}

#[test]
fn a_program_of_smaller_limits_is_refused() {
    assert_eq!(
        refusal(|program| program.symbols[1].high = 49),
        "the compiled program is faulty: its symbol K is from 1 to 49, expected 1 to 50"
    );
    assert_eq!(
        refusal(|program| program.symbols[2].low = 1),
        "the compiled program is faulty: its symbol N is from 1 to 8, expected 0 to 8"
    );
    assert_eq!(
        refusal(|program| program.inputs[3].bytes = 28),
        "the compiled program is faulty: its input tokens has 28 bytes, expected 32"
    );
    assert_eq!(
        refusal(|program| program.outputs[1].bytes = 124),
        "the compiled program is faulty: its output logits has 124 bytes, expected 128"
    );
}
