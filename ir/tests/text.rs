//! The text form: what is printed reads back as the same module.

mod random;

use lapidary_ir::text::{parse, print};
use lapidary_ir::{
    Attr, AttrKind, DType, Def, Dims, FunctionBuilder, Literal, Module, Op, Type, Value, verify,
};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use std::collections::HashSet;

const EVERY_OP: &str = include_str!("every_op.lir");

/// Values of a constant after it has been printed in a module and read back.
fn through_text(values: &[f64]) -> Vec<Literal> {
    let dims = Dims::default();
    let b = FunctionBuilder::new("f", &dims);
    let constant = b.constant(Type::new(DType::F32, [values.len()]), values);
    let function = b.finish(&[constant]).expect("a constant has its values");
    let module = Module {
        name: "m".into(),
        functions: vec![function],
        ..Module::default()
    };
    let back = parse(&print(&module)).expect("a printed module is a module");
    assert_eq!(back, module);
    match &back.functions[0].values[0].def {
        Def::Op { attrs, .. } => match &attrs[2] {
            Attr::Literals(values) => values.clone(),
            other => panic!("{other} is no list of literals"),
        },
        Def::Param => panic!("a constant is no parameter"),
    }
}

fn ops_of(module: &Module) -> Vec<Op> {
    let values = module.functions.iter().flat_map(|f| &f.values);
    let op = |v: &Value| match v.def {
        Def::Op { op, .. } => Some(op),
        Def::Param => None,
    };
    values.filter_map(op).collect()
}

#[test]
fn a_text_in_printed_form_is_printed_as_it_is_but_for_comments() {
    let module = parse(EVERY_OP).expect("the text is a module");
    assert_eq!(verify(&module), Ok(()));
    let lines = EVERY_OP.lines().filter(|line| !line.starts_with("//"));
    let expected: Vec<&str> = lines.collect();
    let printed = print(&module);
    assert_eq!(printed.lines().collect::<Vec<_>>(), expected);
    assert_eq!(parse(&printed), Ok(module));
}

#[test]
fn the_text_above_has_every_form_of_op_attribute_kind_and_dtype() {
    let module = parse(EVERY_OP).expect("the text is a module");
    let values = || module.functions.iter().flat_map(|f| &f.values);
    let ops = ops_of(&module);
    let form = |op: Op| (op.def().operands.len(), op.def().variadic, op.def().attrs);
    for op in Op::all() {
        let alike = |other: &Op| form(*other) == form(op);
        assert!(ops.iter().any(alike), "{}", op.def().name);
    }
    for dtype in DType::all() {
        assert!(values().any(|v| v.ty.dtype == dtype) || dtype == DType::Bool);
    }
    let kinds = ops.iter().flat_map(|op| op.def().attrs).map(|(_, k)| *k);
    let kinds: Vec<AttrKind> = kinds.collect();
    use AttrKind::{Axes, Axis, Dim, Dims, Literals, To};
    for kind in [Axis, Axes, Dim, Dims, To, Literals] {
        assert!(kinds.contains(&kind), "{kind:?}");
    }
}

#[test]
fn line_breaks_spaces_and_comments_mean_nothing() {
    let module = parse(EVERY_OP).expect("the text is a module");
    let uncommented = EVERY_OP.lines().filter(|line| !line.starts_with("//"));
    let one_line = uncommented.collect::<Vec<_>>().join(" ");
    assert_eq!(parse(&one_line), Ok(module.clone()));
    let token_a_line = one_line.replace(' ', "\r\n\t// a comment, with 'quotes', %x and ü\n");
    assert_eq!(parse(&token_a_line), Ok(module));
}

#[test]
fn sections_may_stand_in_any_order_in_which_names_come_before_their_uses() {
    let mixed = "module m step(%x: f32[R]) { return %x } state $k: f32[1] dim R in 1..2 \
                 weight @w: f32[2]";
    let sorted = "module m\n\ndim R in 1..2\n\nweight @w: f32[2]\n\nstate $k: f32[1]\n\n\
                  step(%x: f32[R]) {\n  return %x\n}\n";
    let module = parse(mixed).expect("the text is a module");
    assert_eq!(print(&module), sorted);
}

#[test]
fn dims_are_printed_in_normal_form() {
    let text = "module m dim R in 1..2 dim S in 1..2 \
                step(%x: f32[3 + R*2 - R, S*R*2 + R*S - 0*S, 7 - 7 - 3*R + 9]) { return }";
    let printed = print(&parse(text).expect("the text is a module"));
    assert!(
        printed.contains("step(%x: f32[R + 3, 3*R*S, -3*R + 9])"),
        "{printed}"
    );
}

#[test]
fn the_ends_of_the_integers_survive() {
    let max = i64::MAX;
    let text = format!(
        "module m\n\ndim R in 0..{max}\n\nwhere -{max}*R - {max} <= {max}\n\nstep() {{\n  return\n}}\n"
    );
    let module = parse(&text).expect("the text is a module");
    assert_eq!(print(&module), text);
    let beyond = text.replace(" <=", " - 1 <=");
    let saturated = parse(&beyond).expect("coefficients saturate");
    assert_eq!(saturated, module);
}

#[test]
fn literals_keep_every_bit_but_those_of_a_nan() {
    let values = [
        0.0,
        -0.0,
        f64::INFINITY,
        f64::NEG_INFINITY,
        f64::NAN,
        -f64::NAN,
        f64::from_bits(0x7ff0_0000_dead_beef),
        f64::from_bits(1),
        -f64::MIN_POSITIVE,
        f64::MAX,
        f64::from(f32::from_bits(1)),
        f64::from(f32::MAX),
        0.1,
        f64::from(0.1f32),
        1e22,
        123_456_789_012_345_680.0,
    ];
    for (before, after) in values.iter().zip(through_text(&values)) {
        let same = before.to_bits() == after.0.to_bits();
        assert!(same || (before.is_nan() && after.0.is_nan()), "{before}");
    }
}

#[test]
fn a_call_without_results_or_arguments_reads_back() {
    let text = "module m\n\nfn f() {\n  return\n}\n\nprepare {\n  f()\n}\n\nstep() {\n  f()\n  return\n}\n";
    assert_eq!(print(&parse(text).expect("the text is a module")), text);
}

#[test]
fn random_modules_reach_every_op() {
    let mut runner = TestRunner::deterministic();
    let mut reached = HashSet::new();
    for _ in 0..200 {
        let tree = random::module().new_tree(&mut runner);
        reached.extend(ops_of(&tree.expect("modules are never rejected").current()));
    }
    for op in Op::all() {
        assert!(reached.contains(&op), "{}", op.def().name);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn any_literal_reads_back(bits in prop::collection::vec(any::<u64>(), 1..20)) {
        let values: Vec<f64> = bits.into_iter().map(f64::from_bits).collect();
        for (before, after) in values.iter().zip(through_text(&values)) {
            prop_assert_eq!(Literal(*before), after);
        }
    }

    #[test]
    fn a_random_module_reads_back_and_its_text_is_a_fixed_point(module in random::module()) {
        prop_assert_eq!(verify(&module), Ok(()));
        let printed = print(&module);
        let back = parse(&printed);
        prop_assert_eq!(back.as_ref(), Ok(&module));
        prop_assert_eq!(print(&back.expect("just compared")), printed);
    }
}
