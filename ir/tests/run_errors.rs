//! What the interpreter says when it cannot run a module, and what it is left as.

use std::collections::HashMap;

use lapidary_ir::interp::{Data, Interpreter, RunError, Tensor};
use lapidary_ir::text::parse;
use lapidary_ir::{Bindings, DType, Module, StateId};

/// R rows are put into a state, and rows of it and of a table are taken.
const ROWS: &str = "
module rows

dim R in 1..4
dim N in 0..4
where N <= R

weight @table: bf16[3, 2]
state $k: f32[2, 3]

fn body(%x: f32[R], %slot: i32[R], %index: i32[R], %k: f32[2, 3], %table: bf16[3, 2]) {
  %put: f32[2, 3] = put(%k, %slot, %index, %x)
  %took: bf16[R, 2] = take(%table, %index) {axis = 0}
  return %put, %put
}

step(%x: f32[R], %slot: i32[R], %index: i32[R]) {
  $k, %y: f32[2, 3] = body(%x, %slot, %index, $k, @table)
  return %y
}
";

fn module(text: &str) -> Module {
    parse(text).expect("the text is a module")
}

/// An interpreter of the module above.
fn rows() -> Interpreter<'static, f32> {
    Interpreter::new(module(ROWS), |_| Some(&[0; 12]), 1).expect("the module can be run")
}

fn bind(r: i64) -> Bindings {
    Bindings::new([("R", r), ("N", 0)])
}

/// Inputs of a step of two rows that puts 1 and 2 at these places.
fn two_rows(slot: [i32; 2], index: [i32; 2]) -> Vec<Tensor<'static, f32>> {
    vec![
        Tensor::real(vec![2], vec![1.0, 2.0]),
        Tensor::int(vec![2], slot.into()),
        Tensor::int(vec![2], index.into()),
    ]
}

fn says<T>(result: Result<T, RunError>) -> String {
    match result {
        Ok(_) => "nothing".into(),
        Err(error) => error.to_string(),
    }
}

#[test]
fn a_weight_that_is_missing_or_of_another_size_is_named_with_its_bytes() {
    let with =
        |bytes: Option<&'static [u8]>| says(Interpreter::<f32>::new(module(ROWS), |_| bytes, 1));
    assert_eq!(with(None), "weight @table: expected 12 bytes, found 0");
    assert_eq!(
        with(Some(&[0; 11])),
        "weight @table: expected 12 bytes, found 11"
    );
    assert_eq!(
        with(Some(&[0; 24])),
        "weight @table: expected 12 bytes, found 24"
    );
    assert_eq!(with(Some(&[0; 12])), "nothing");
}

#[test]
fn the_bytes_of_a_block_format_count_the_padding_of_each_row() {
    let text = "module m weight @q: q8_0[3, 33] step() { return }";
    let with =
        |bytes: &'static [u8]| says(Interpreter::<f32>::new(module(text), |_| Some(bytes), 1));
    assert_eq!(with(&[0; 3 * 68]), "nothing");
    assert_eq!(
        with(&[0; 3 * 35]),
        "weight @q: expected 204 bytes, found 105"
    );
}

#[test]
fn a_module_that_breaks_a_constraint_is_not_run() {
    let text = "module m step() { return }";
    let mut broken = module(text);
    broken.name = "a b".into();
    assert_eq!(
        says(Interpreter::<f32>::new(broken, |_| None, 1)),
        "C20 broken in module: 'a b' is no word (names are unique among their kind, and made of \
         letters, digits, '_' and '.')"
    );
}

#[test]
fn a_dim_that_is_unbound_out_of_range_or_against_what_is_known_is_named() {
    let with = |pairs: &[(&str, i64)]| {
        let bindings = Bindings::new(pairs.iter().copied());
        says(rows().step(&bindings, two_rows([0, 0], [0, 0])))
    };
    assert_eq!(with(&[("R", 2)]), "dim N has no value");
    assert_eq!(with(&[("R", 5), ("N", 0)]), "dim R is 5, outside 1..4");
    assert_eq!(with(&[("R", -1), ("N", 0)]), "dim R is -1, outside 1..4");
    assert_eq!(with(&[("R", 2), ("N", 3)]), "N <= R does not hold: 3 > 2");
    assert_eq!(with(&[("R", 2), ("N", 2)]), "nothing");
}

#[test]
fn an_input_of_another_type_is_named_with_both_types() {
    let with = |r: i64, change: &dyn Fn(&mut Vec<Tensor<'static, f32>>)| {
        let mut inputs = two_rows([0, 0], [0, 0]);
        change(&mut inputs);
        says(rows().step(&bind(r), inputs))
    };
    assert_eq!(with(3, &|_| ()), "input %x: expected f32[3], found f32[2]");
    assert_eq!(
        with(2, &|inputs| inputs[1] = Tensor::real(vec![2], vec![0.0; 2])),
        "input %slot: expected i32[2], found f32[2]"
    );
    assert_eq!(
        with(2, &|inputs| inputs[0].shape = vec![2, 1]),
        "input %x: expected f32[2], found f32[2, 1]"
    );
}

#[test]
fn an_input_too_many_or_too_few_is_refused() {
    let mut inputs = two_rows([0, 0], [0, 0]);
    inputs.push(Tensor::real(vec![], vec![0.0]));
    assert_eq!(
        says(rows().step(&bind(2), inputs.clone())),
        "expected 3 inputs, found 4"
    );
    inputs.truncate(2);
    assert_eq!(
        says(rows().step(&bind(2), inputs)),
        "expected 3 inputs, found 2"
    );
}

#[test]
fn an_input_whose_elements_are_not_those_of_its_type_is_refused() {
    let with = |data: Data<'static, f32>| {
        let mut inputs = two_rows([0, 0], [0, 0]);
        inputs[0].data = data;
        says(rows().step(&bind(2), inputs))
    };
    let expected = "input %x: expected f32[2], found f32[2] with other elements";
    assert_eq!(with(Data::Real(vec![1.0])), expected);
    assert_eq!(with(Data::Int(vec![1, 2])), expected);
    assert_eq!(with(Data::Stored(vec![0; 7].into())), expected);
    assert_eq!(with(Data::Stored(vec![0; 8].into())), "nothing");
}

#[test]
fn an_index_outside_its_axis_is_named_with_the_value_and_the_length() {
    let with = |slot, index| says(rows().step(&bind(2), two_rows(slot, index)));
    assert_eq!(
        with([0, 2], [0, 0]),
        "fn body, %put: index 2 is outside 0..2"
    );
    assert_eq!(
        with([0, 0], [0, -1]),
        "fn body, %put: index -1 is outside 0..3"
    );
    assert_eq!(
        with([0, 0], [i32::MAX, 0]),
        "fn body, %put: index 2147483647 is outside 0..3"
    );
    assert_eq!(with([1, 1], [2, 2]), "nothing");
}

#[test]
fn an_index_outside_its_axis_is_named_in_a_take_too() {
    let text = "module m fn f(%x: f32[0, 2], %i: i32[1]) { \
                %y: f32[1, 2] = take(%x, %i) {axis = 0} return %y } \
                step(%x: f32[0, 2], %i: i32[1]) { %y: f32[1, 2] = f(%x, %i) return %y }";
    let mut interpreter = Interpreter::<f32>::new(module(text), |_| None, 1).expect("it runs");
    let inputs = vec![
        Tensor::real(vec![0, 2], vec![]),
        Tensor::int(vec![1], vec![0]),
    ];
    assert_eq!(
        says(interpreter.step(&Bindings::default(), inputs)),
        "fn f, %y: index 0 is outside 0..0"
    );
}

#[test]
fn an_index_outside_its_axis_is_found_in_prepare() {
    let text = "module m weight @w: i32[1] prepared @p: i32[1] fn f(%x: i32[1]) { \
                %y: i32[1] = take(%x, %x) {axis = 0} return %y } \
                prepare { @p = f(@w) } step() { return }";
    let weights = HashMap::from([("w", [1, 0, 0, 0])]);
    let stored = |name: &str| weights.get(name).map(|w| &w[..]);
    assert_eq!(
        says(Interpreter::<f32>::new(module(text), stored, 1)),
        "fn f, %y: index 1 is outside 0..1"
    );
}

#[test]
fn after_an_error_in_a_step_the_states_are_zero_again() {
    let mut interpreter = rows();
    let mut step = |slot, index| {
        let made = interpreter.step(&bind(2), two_rows(slot, index));
        made.map(|made| made[0].to_real().expect("the state is f32").to_vec())
    };
    let first = step([0, 1], [0, 2]).expect("the places exist");
    assert_eq!(first, [1.0, 0.0, 0.0, 0.0, 0.0, 2.0]);
    assert!(step([0, 9], [0, 0]).is_err());
    let second = step([0, 0], [1, 2]).expect("the places exist");
    assert_eq!(second, [0.0, 1.0, 2.0, 0.0, 0.0, 0.0]);
}

#[test]
fn a_step_that_is_refused_before_it_begins_leaves_the_states() {
    let mut interpreter = rows();
    let first = interpreter.step(&bind(2), two_rows([0, 1], [0, 2]));
    assert!(first.is_ok());
    assert!(interpreter.step(&bind(9), vec![]).is_err());
    assert!(interpreter.step(&bind(2), vec![]).is_err());
    let second = interpreter.step(&bind(2), two_rows([0, 0], [1, 1]));
    let second = second.expect("the places exist");
    assert_eq!(second[0].dtype, DType::F32);
    let state = second[0].to_real().expect("the state is f32");
    assert_eq!(*state, [1.0, 2.0, 0.0, 0.0, 0.0, 2.0]);
}

#[test]
fn a_state_that_is_set_is_what_the_next_step_finds() {
    let mut interpreter = rows();
    let k = StateId(0);
    let bytes = [1.0f32, 2.0, 3.0, 4.0, 5.0, 6.0].map(f32::to_le_bytes);
    let value = Tensor::stored(DType::F32, vec![2, 3], bytes.concat());
    assert_eq!(says(interpreter.set_state(k, value)), "nothing");
    assert_eq!(
        says(interpreter.step(&bind(2), two_rows([0, 1], [0, 2]))),
        "nothing"
    );
    let after = [1.0f32, 2.0, 3.0, 4.0, 5.0, 2.0].map(f32::to_le_bytes);
    assert_eq!(*interpreter.state(k).to_bytes(), after.concat());
}

#[test]
fn a_state_of_another_type_is_named_with_both_types() {
    let with = |value| says(rows().set_state(StateId(0), value));
    assert_eq!(
        with(Tensor::real(vec![3, 2], vec![0.0; 6])),
        "state $k: expected f32[2, 3], found f32[3, 2]"
    );
    assert_eq!(
        with(Tensor::int(vec![2, 3], vec![0; 6])),
        "state $k: expected f32[2, 3], found i32[2, 3]"
    );
    assert_eq!(
        with(Tensor::stored(DType::F32, vec![2, 3], vec![0; 20])),
        "state $k: expected f32[2, 3], found f32[2, 3] with other elements"
    );
}
