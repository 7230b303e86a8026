//! Every numbered constraint, broken by modules as small as they can be, and what the verifier says.

use lapidary_ir::Constraint::{self, *};
use lapidary_ir::text::parse;
use lapidary_ir::{
    Attr, Call, DType, Def, FunctionId, LocalId, Module, Op, Place, StateId, Sym, Type, Value,
    ValueId, WeightId, verify,
};

/// A constraint, a module that breaks it, and what is said before the constraint's own text.
type Row = (Constraint, Module, &'static str);

/// The module of a text, to which `module m` is added.
fn text(sections: &str) -> Module {
    parse(&format!("module m\n{sections}")).expect("the text is a module")
}

/// A module of one function that nobody calls: its parameters, and its body before `return`.
fn function(params: &str, body: &str) -> Module {
    text(&format!(
        "dim R in 1..8\nfn f({params}) {{\n{body}\nreturn }}\nstep() {{ return }}"
    ))
}

/// The module of a text with something about it changed that text cannot say.
fn changed(mut module: Module, change: impl FnOnce(&mut Module)) -> Module {
    change(&mut module);
    module
}

/// `%y: f32[2] = reduce_sum(%x)` over the first axis of f32[3, 2], with other attributes.
fn sum_with(attrs: Vec<Attr>) -> Module {
    let sum = "%y: f32[2] = reduce_sum(%x) {axes = [0]}";
    changed(function("%x: f32[3, 2]", sum), |m| {
        m.functions[0].values[1].def = Def::Op {
            op: Op::ReduceSum,
            attrs,
            operands: vec![ValueId(0)],
        };
    })
}

/// Constraints on an op and its operands.
fn op_rows() -> Vec<Row> {
    vec![
        (
            Operands,
            function("%x: f32[2]", "%y: f32[2] = add(%x)"),
            "C01 broken in fn f, %y = add(f32[2]): expected 2 operands, found 1",
        ),
        (
            Operands,
            function("", "%y: f32[2] = concat() {axis = 0}"),
            "C01 broken in fn f, %y = concat() {axis = 0}: expected at least 1 operands, found 0",
        ),
        (
            Attributes,
            sum_with(vec![Attr::Axis(0)]),
            "C02 broken in fn f, %y = reduce_sum(f32[3, 2]) {axes = 0}: expected attributes {axes}",
        ),
        (
            Attributes,
            sum_with(vec![]),
            "C02 broken in fn f, %y = reduce_sum(f32[3, 2]): expected attributes {axes}",
        ),
        (
            Dtype,
            function("%x: bool[2]", "%y: bool[2] = add(%x, %x)"),
            "C03 broken in fn f, %y = add(bool[2], bool[2]): bool[2] is not f32 or i32",
        ),
        (
            Dtype,
            function("%x: f32[2], %i: i32[2]", "%y: f32[2] = add(%x, %i)"),
            "C03 broken in fn f, %y = add(f32[2], i32[2]): f32[2] beside i32[2]",
        ),
        (
            SameShape,
            function("%x: f32[2], %z: f32[R]", "%y: f32[2] = add(%x, %z)"),
            "C04 broken in fn f, %y = add(f32[2], f32[R]): f32[2] beside f32[R]",
        ),
        (
            Axes,
            function("%x: f32[2]", "%y: f32[2] = reduce_sum(%x) {axes = [1]}"),
            "C05 broken in fn f, %y = reduce_sum(f32[2]) {axes = [1]}: f32[2] has no axis 1",
        ),
        (
            Axes,
            function("%x: f32[2]", "%y: f32[] = reduce_sum(%x) {axes = [0, 0]}"),
            "C05 broken in fn f, %y = reduce_sum(f32[2]) {axes = [0, 0]}: \
             axis 0 of f32[2] is named twice",
        ),
        (
            Elements,
            function("%x: f32[R, 2]", "%y: f32[R] = reshape(%x) {shape = [R]}"),
            "C06 broken in fn f, %y = reshape(f32[R, 2]) {shape = [R]}: 2*R elements become R",
        ),
        (
            Conversion,
            function("%i: i32[2]", "%y: bf16[2] = cast(%i) {to = bf16}"),
            "C15 broken in fn f, %y = cast(i32[2]) {to = bf16}: i32[2] cannot be cast to bf16",
        ),
        (
            Literals,
            function(
                "",
                "%y: i32[2] = const() {to = i32, shape = [2], values = [1, 0.5]}",
            ),
            "C16 broken in fn f, %y = const() {to = i32, shape = [2], values = [1.0, 0.5]}: \
             0.5 is no i32",
        ),
        (
            Literals,
            function(
                "",
                "%y: f32[R] = const() {to = f32, shape = [R], values = [1, 2]}",
            ),
            "C16 broken in fn f, %y = const() {to = f32, shape = [R], values = [1.0, 2.0]}: \
             2 values for f32[R]",
        ),
    ]
}

/// Constraints on views, dots, indices and states.
fn view_rows() -> Vec<Row> {
    vec![
        (
            Broadcast,
            function(
                "%x: f32[2]",
                "%y: f32[3] = broadcast(%x) {shape = [3], axes = [0]}",
            ),
            "C07 broken in fn f, %y = broadcast(f32[2]) {shape = [3], axes = [0]}: \
             f32[2] does not lie in f32[3] at axes [0]",
        ),
        (
            Broadcast,
            function(
                "%x: f32[2, 2]",
                "%y: f32[2, 2] = broadcast(%x) {shape = [2, 2], axes = [1, 0]}",
            ),
            "C07 broken in fn f, %y = broadcast(f32[2, 2]) {shape = [2, 2], axes = [1, 0]}: \
             f32[2, 2] does not lie in f32[2, 2] at axes [1, 0]",
        ),
        (
            Permutation,
            function(
                "%x: f32[2, 3]",
                "%y: f32[2, 2] = transpose(%x) {axes = [0, 0]}",
            ),
            "C08 broken in fn f, %y = transpose(f32[2, 3]) {axes = [0, 0]}: \
             [0, 0] is no permutation of the 2 axes of f32[2, 3]",
        ),
        (
            Slice,
            function(
                "%x: f32[4]",
                "%y: f32[R] = slice(%x) {axis = 0, start = 0, stop = R}",
            ),
            "C09 broken in fn f, %y = slice(f32[4]) {axis = 0, start = 0, stop = R}: \
             R <= 4 does not hold for every value of the dims",
        ),
        (
            Slice,
            function(
                "%x: f32[R]",
                "%y: f32[2] = slice(%x) {axis = 0, start = R - 2, stop = R}",
            ),
            "C09 broken in fn f, %y = slice(f32[R]) {axis = 0, start = R - 2, stop = R}: \
             0 <= R - 2 does not hold for every value of the dims",
        ),
        (
            Slice,
            function(
                "%x: f32[4]",
                "%y: f32[0] = slice(%x) {axis = 0, start = 2, stop = 1}",
            ),
            "C09 broken in fn f, %y = slice(f32[4]) {axis = 0, start = 2, stop = 1}: \
             2 <= 1 does not hold for every value of the dims",
        ),
        (
            Concat,
            function(
                "%x: f32[2, 3], %z: f32[2, 4]",
                "%y: f32[4, 3] = concat(%x, %z) {axis = 0}",
            ),
            "C10 broken in fn f, %y = concat(f32[2, 3], f32[2, 4]) {axis = 0}: \
             f32[2, 3] beside f32[2, 4] along axis 0",
        ),
        (
            Dot,
            function(
                "%a: f32[2, 3], %b: f32[4]",
                "%y: f32[2] = dot(%a, %b) {a_batch = [], b_batch = [], a_contract = [1], b_contract = [0]}",
            ),
            "C11 broken in fn f, %y = dot(f32[2, 3], f32[4]) \
             {a_batch = [], b_batch = [], a_contract = [1], b_contract = [0]}: \
             contracted axes [1] of f32[2, 3] do not match [0] of f32[4]",
        ),
        (
            Dot,
            function(
                "%a: f32[2, 3], %b: f32[3]",
                "%y: f32[2] = dot(%a, %b) {a_batch = [0], b_batch = [], a_contract = [1], b_contract = [0]}",
            ),
            "C11 broken in fn f, %y = dot(f32[2, 3], f32[3]) \
             {a_batch = [0], b_batch = [], a_contract = [1], b_contract = [0]}: \
             batch axes [0] of f32[2, 3] do not match [] of f32[3]",
        ),
        (
            Index,
            function(
                "%x: f32[4], %i: f32[R]",
                "%y: f32[R] = take(%x, %i) {axis = 0}",
            ),
            "C12 broken in fn f, %y = take(f32[4], f32[R]) {axis = 0}: f32[R] is no index",
        ),
        (
            Put,
            function(
                "%k: f32[2, 4, 3], %i: i32[R], %x: f32[R, 5]",
                "%y: f32[2, 4, 3] = put(%k, %i, %i, %x)",
            ),
            "C13 broken in fn f, %y = put(f32[2, 4, 3], i32[R], i32[R], f32[R, 5]): \
             f32[R, 5] does not go into f32[2, 4, 3] at i32[R], i32[R]",
        ),
        (
            Block,
            function("%x: q8_0[R]", ""),
            "C14 broken in fn f, %x: q8_0[R] has no constant last axis",
        ),
        (
            Block,
            function(
                "%x: q4_0[2, 64]",
                "%y: q4_0[2, 32] = slice(%x) {axis = 1, start = 0, stop = 32}",
            ),
            "C14 broken in fn f, %y = slice(q4_0[2, 64]) {axis = 1, start = 0, stop = 32}: \
             the last axis of q4_0[2, 64] moves",
        ),
    ]
}

/// Constraints on dims, names and the order of values.
fn value_rows() -> Vec<Row> {
    let negate = || function("%x: f32[2]", "%y: f32[2] = neg(%x)");
    vec![
        (
            Size,
            function("%x: f32[R - 2]", ""),
            "C17 broken in fn f, %x: R - 2 in f32[R - 2] lies in -1..6",
        ),
        (
            Size,
            text("weight @w: i32[1099511627777]\nstep() { return }"),
            "C17 broken in @w: 1099511627777 in i32[1099511627777] lies in \
             1099511627777..1099511627777",
        ),
        (
            Size,
            text("step(%x: f32[1073741824, 1073741824, 2]) { return }"),
            "C17 broken in step, %x: f32[1073741824, 1073741824, 2] has up to \
             2305843009213693952 elements",
        ),
        (
            Symbol,
            function("%x: f32[T]", ""),
            "C18 broken in fn f, %x: T in f32[T] is not declared",
        ),
        (
            Symbol,
            text("dim R in 2..1\nstep() { return }"),
            "C18 broken in dim R: found 2..1",
        ),
        (
            Symbol,
            text("dim R in 0..1099511627777\nstep() { return }"),
            "C18 broken in dim R: found 0..1099511627777",
        ),
        (
            Symbol,
            changed(text("step() { return }"), |m| {
                m.dims.ranges.push((Sym::new("R"), -1, 1));
            }),
            "C18 broken in dim R: found -1..1",
        ),
        (
            Symbol,
            text("dim R in 1..8\nwhere R <= T\nstep() { return }"),
            "C18 broken in where R <= T: T is not declared",
        ),
        (
            Order,
            changed(negate(), |m| {
                m.functions[0].values[1].def = Def::Op {
                    op: Op::Neg,
                    attrs: vec![],
                    operands: vec![ValueId(1)],
                };
            }),
            "C19 broken in fn f, %y: an operand is not made yet",
        ),
        (
            Order,
            changed(negate(), |m| {
                m.functions[0].values.push(Value {
                    name: "z".into(),
                    ty: Type::new(DType::F32, [2i64]),
                    def: Def::Param,
                });
            }),
            "C19 broken in fn f, %z: a parameter after an op",
        ),
        (
            Order,
            changed(negate(), |m| m.functions[0].results.push(ValueId(2))),
            "C19 broken in fn f: a result is never made",
        ),
        (
            Order,
            changed(
                text("fn f(%x: f32[2]) { return }\nstep() { return }"),
                |m| {
                    let late = m.step.add_local("late", Type::new(DType::F32, [2i64]));
                    m.step.calls.push(Call {
                        results: vec![],
                        function: FunctionId(0),
                        args: vec![Place::Local(late)],
                    });
                },
            ),
            "C19 broken in step, call of f: an argument is not made yet",
        ),
        (
            Order,
            changed(text("step() { return }"), |m| {
                m.step.outputs.push(LocalId(0))
            }),
            "C19 broken in step: an output is never made",
        ),
        (
            Order,
            text(
                "prepared @a: f32[2]\nprepared @b: f32[2]\nfn f(%x: f32[2]) { return %x }\n\
                 prepare { @a = f(@b) @b = f(@a) }\nstep() { return }",
            ),
            "C19 broken in prepare, call of f: an argument is not made yet",
        ),
        (
            Name,
            function("%x: f32[2]", "%x: f32[2] = neg(%x)"),
            "C20 broken in fn f: x is there twice",
        ),
        (
            Name,
            text("fn f() { return }\nfn f() { return }\nstep() { return }"),
            "C20 broken in functions: f is there twice",
        ),
        (
            Name,
            text("weight @w: f32[2]\nweight @w: f32[3]\nstep() { return }"),
            "C20 broken in weights: w is there twice",
        ),
        (
            Name,
            text("state $k: f32[2]\nstate $k: f32[3]\nstep() { return }"),
            "C20 broken in states: k is there twice",
        ),
        (
            Name,
            text("dim R in 0..1\ndim R in 0..1\nstep() { return }"),
            "C20 broken in dims: R is there twice",
        ),
        (
            Name,
            text("step(%x: f32[2], %x: f32[2]) { return }"),
            "C20 broken in step: x is there twice",
        ),
        (
            Name,
            changed(negate(), |m| m.functions[0].values[1].name = "a b".into()),
            "C20 broken in fn f: 'a b' is no name",
        ),
        (
            Name,
            changed(negate(), |m| m.functions[0].values[1].name = String::new()),
            "C20 broken in fn f: '' is no name",
        ),
        (
            Name,
            changed(negate(), |m| m.functions[0].name = "1st".into()),
            "C20 broken in module: '1st' is no word",
        ),
        (
            Name,
            text("fn return() { return }\nstep() { return }"),
            "C20 broken in module: 'return' is no word",
        ),
        (
            DeclaredType,
            function("%x: f32[R]", "%y: f32[2] = neg(%x)"),
            "C21 broken in fn f, %y = neg(f32[R]): f32[2] is written, the op gives f32[R]",
        ),
    ]
}

/// A module that has a function f, f32[2] to f32[2], beside these sections.
fn calling(sections: &str) -> Module {
    text(&format!("fn f(%x: f32[2]) {{ return %x }}\n{sections}"))
}

/// Constraints on calls, storage, `prepare` and `step`.
fn program_rows() -> Vec<Row> {
    vec![
        (
            Constraint::Call,
            calling("step(%x: f32[3]) { %y: f32[2] = f(%x) return }"),
            "C22 broken in step, call of f: expected (f32[2]), found (f32[3])",
        ),
        (
            Constraint::Call,
            calling("step() { %y: f32[2] = f() return }"),
            "C22 broken in step, call of f: expected (f32[2]), found ()",
        ),
        (
            Constraint::Call,
            changed(calling("step() { %y: f32[2] = f() return }"), |m| {
                m.step.calls[0].args.push(Place::State(StateId(0)));
            }),
            "C22 broken in step, call of f: expected (f32[2]), found (nothing)",
        ),
        (
            Constraint::Call,
            changed(calling("step(%x: f32[2]) { f(%x) return }"), |m| {
                m.step.calls[0].function = FunctionId(1);
            }),
            "C22 broken in step: a call of no function",
        ),
        (
            Result,
            calling("step(%x: f32[2]) { f(%x) return }"),
            "C23 broken in step, call of f: (f32[2]) go to ()",
        ),
        (
            Result,
            calling("state $k: f32[3]\nstep(%x: f32[2]) { $k = f(%x) return }"),
            "C23 broken in step, call of f: (f32[2]) go to (f32[3])",
        ),
        (
            Storage,
            text("dim R in 1..8\nweight @w: f32[R]\nstep() { return }"),
            "C24 broken in @w: found f32[R]",
        ),
        (
            Storage,
            text("dim R in 1..8\nstate $k: f32[R]\nstep() { return }"),
            "C24 broken in $k: found f32[R]",
        ),
        (
            Prepare,
            text("prepared @a: f32[2]\nstep() { return }"),
            "C25 broken in prepare: @a is never made",
        ),
        (
            Prepare,
            calling(
                "weight @w: f32[2]\nprepared @a: f32[2]\n\
                 prepare { @a = f(@w) @a = f(@w) }\nstep() { return }",
            ),
            "C25 broken in prepare, call of f: a result is not a prepared weight, or is made twice",
        ),
        (
            Prepare,
            calling("weight @w: f32[2]\nprepare { @w = f(@w) }\nstep() { return }"),
            "C25 broken in prepare, call of f: a result is not a prepared weight, or is made twice",
        ),
        (
            Prepare,
            calling(
                "prepared @a: f32[2]\nstate $k: f32[2]\n\
                 prepare { @a = f($k) }\nstep() { return }",
            ),
            "C25 broken in prepare: an argument is not a weight",
        ),
        (
            Prepare,
            text(
                "dim R in 1..8\nfn f() { %y: i32[R] = iota() {length = R} return }\n\
                 prepare { f() }\nstep() { return }",
            ),
            "C25 broken in prepare, call of f: the function uses a symbol",
        ),
        (
            Prepare,
            text(
                "dim R in 0..1\nweight @w: f32[3]\n\
                 fn f(%x: f32[3]) { %y: f32[2] = slice(%x) {axis = 0, start = R, stop = R + 2} return }\n\
                 prepare { f(@w) }\nstep() { return }",
            ),
            "C25 broken in prepare, call of f: the function uses a symbol",
        ),
        (
            Constraint::Step,
            calling("weight @w: f32[2]\nstep(%x: f32[2]) { @w = f(%x) return }"),
            "C26 broken in step, call of f: \
             a result goes to a weight, or to a value that is made already",
        ),
        (
            Constraint::Step,
            changed(
                calling("step(%x: f32[2]) { %y: f32[2] = f(%x) return }"),
                |m| m.step.calls[0].results[0] = Place::Local(LocalId(0)),
            ),
            "C26 broken in step, call of f: \
             a result goes to a weight, or to a value that is made already",
        ),
        (
            Constraint::Step,
            changed(text("step() { return }"), |m| m.step.inputs = 1),
            "C26 broken in step: more inputs than values",
        ),
    ]
}

fn table() -> Vec<Row> {
    [op_rows(), view_rows(), value_rows(), program_rows()].concat()
}

#[test]
fn a_broken_module_is_refused_with_the_number_the_place_and_the_shapes() {
    for (constraint, module, says) in table() {
        let refusal = verify(&module).map_err(|violation| violation.to_string());
        let expected = format!("{says} ({})", constraint.text());
        assert_eq!(refusal, Err(expected));
    }
}

#[test]
fn every_constraint_has_a_module_that_breaks_it() {
    let table = table();
    for constraint in Constraint::ALL {
        let broken = table.iter().any(|(c, ..)| c == constraint);
        assert!(broken, "{constraint}: {}", constraint.text());
    }
}

#[test]
fn constraints_are_numbered_from_1_without_a_gap() {
    let numbers: Vec<String> = Constraint::ALL.iter().map(|c| c.to_string()).collect();
    let expected: Vec<String> = (1..=26).map(|i| format!("C{i:02}")).collect();
    assert_eq!(numbers, expected);
}

#[test]
fn the_first_constraint_broken_in_the_texts_order_is_the_one_reported() {
    let two = "dim R in 1..8\nweight @w: f32[R]\nfn f(%x: f32[2]) { %y: f32[3] = neg(%x) return }\n\
               step() { return }";
    let both = verify(&text(two)).expect_err("two constraints are broken");
    assert_eq!(both.constraint, Storage);
}

#[test]
fn a_place_that_the_module_does_not_have_is_refused_and_not_a_panic() {
    let step = "step(%x: f32[2]) { %y: f32[2] = f(%x) return %y }";
    let place = |place: Place| {
        let mut wrong_result = calling(step);
        wrong_result.step.calls[0].results[0] = place;
        let mut wrong_argument = calling(step);
        wrong_argument.step.calls[0].args[0] = place;
        assert!(verify(&wrong_result).is_err());
        assert!(verify(&wrong_argument).is_err());
    };
    place(Place::Local(LocalId(9)));
    place(Place::Weight(WeightId(9)));
    place(Place::State(StateId(9)));
}
