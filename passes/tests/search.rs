//! The search and the choice, on graphs large and small.

use std::sync::Arc;

use ir::interp::{Interpreter, Tensor};
use ir::{
    Bindings, Call, DType, Dim, Dims, Function, FunctionBuilder, FunctionId, LocalId, Module,
    Place, Type, text,
};
use lapidary_passes::algebra::{Costs, Limits, Round, Source, Stop, extract, optimize};
use lapidary_passes::rules::RuleSet;
use proptest::prelude::*;

fn rules(text: &str) -> RuleSet {
    RuleSet::parse(text, "test.rules").unwrap_or_else(|e| panic!("{e}"))
}

/// `x0 + x1 + … `, from left to right.
fn chain(length: usize) -> Function {
    let dims = Dims::default();
    let b = FunctionBuilder::new("chain", &dims);
    let ty = Type::new(DType::F32, [4usize]);
    let params: Vec<_> = (0..length)
        .map(|i| b.param(format!("x{i}"), ty.clone()))
        .collect();
    let sum = params.iter().copied().reduce(|a, b| a + b);
    b.finish(&[sum.expect("there are params")])
        .expect("they have one shape")
}

const FREE: &str = "
commute exact: add(?x, ?y) => add(?y, ?x)
associate reassoc: add(add(?x, ?y), ?z) => add(?x, add(?y, ?z))
";

#[test]
fn a_search_that_is_cut_off_says_so_and_names_the_rule_that_grew_most() {
    let limits = Limits {
        nodes: 2000,
        ..Limits::default()
    };
    let dims = Dims::default();
    let (better, report) = optimize(&chain(12), &dims, &rules(FREE), &limits, &Costs::default());
    assert_eq!(report.stop, Stop::Nodes);
    let (rule, nodes) = report.grown.first().expect("rules have added nodes");
    assert!(*nodes > 100);
    let said = report.to_string();
    assert!(said.contains("cut off by the limit on nodes"), "{said}");
    assert!(
        said.ends_with(&format!("{rule} grew most, by {nodes} nodes")),
        "{said}"
    );
    assert_eq!(
        better.values.len(),
        chain(12).values.len(),
        "the sum is none the cheaper"
    );

    let limits = Limits {
        iterations: 2,
        ..Limits::default()
    };
    let (_, report) = optimize(&chain(12), &dims, &rules(FREE), &limits, &Costs::default());
    assert_eq!((report.stop, report.iterations), (Stop::Iterations, 2));
}

#[test]
fn each_round_says_what_each_rule_did_and_together_they_are_the_whole_search() {
    let dims = Dims::default();
    let limits = Limits {
        iterations: 3,
        ..Limits::default()
    };
    let (_, report) = optimize(&chain(6), &dims, &rules(FREE), &limits, &Costs::default());
    assert_eq!(report.rounds.len(), report.iterations);
    let last = report.rounds.last().expect("there are rounds");
    assert_eq!((last.nodes, last.classes), (report.nodes, report.classes));
    for (rule, times) in &report.fired {
        let of_rule = |round: &Round| {
            let did = round.rules.iter().filter(|did| did.rule == *rule);
            did.map(|did| (did.fired, did.nodes)).collect::<Vec<_>>()
        };
        let each: Vec<(usize, usize)> = report.rounds.iter().flat_map(of_rule).collect();
        let grown = report.grown.iter().find(|(name, _)| name == rule);
        let sums = each.iter().fold((0, 0), |a, b| (a.0 + b.0, a.1 + b.1));
        assert_eq!(sums, (*times, grown.map_or(0, |(_, nodes)| *nodes)));
    }
}

#[test]
fn constants_are_folded_where_the_rules_ask_for_it() {
    let dims = Dims::default();
    let b = FunctionBuilder::new("f", &dims);
    let ty = Type::new(DType::F32, [2usize]);
    let sum = b.constant(ty.clone(), &[1.0, 2.0]) + b.constant(ty, &[3.0, 4.0]);
    let f = b.finish(&[sum]).expect("one shape");
    let values = |set: &RuleSet| {
        let (better, _) = optimize(&f, &dims, set, &Limits::default(), &Costs::default());
        better.values.len()
    };
    assert_eq!(values(&rules("fold-constants exact: built-in")), 1);
    assert_eq!(values(&RuleSet::shipped()), 1);
    assert_eq!(values(&RuleSet::shipped().without_folding()), 3);
}

#[test]
fn equal_subexpressions_are_made_and_counted_once() {
    let dims = Dims::default();
    let b = FunctionBuilder::new("f", &dims);
    let x = b.param("x", Type::new(DType::F32, [1000usize]));
    let both = x.tanh() + x.tanh();
    let f = b.finish(&[both.named("y"), x.tanh()]).expect("one shape");
    let source = Source::new(&f, &dims);
    let once = extract(&source.graph, &source.results, &Costs::default());
    let (better, report) = optimize(
        &f,
        &dims,
        &RuleSet::default(),
        &Limits::default(),
        &Costs::default(),
    );
    assert_eq!(better.values.len(), 3);
    assert_eq!(report.cost_after, once.cost);
    // 8000 bytes for tanh and 12000 for add, at 20 GB/s: what the two cost, but for a thousandth.
    assert!((once.cost - 1e-6).abs() < 2e-9, "{}", once.cost);
}

#[test]
fn what_is_shared_by_two_results_is_kept_though_each_alone_would_do_without() {
    // Either result alone is cheaper as one op; both need e, and e is cheaper made once.
    let set = rules("neg-of-tanh exact: neg(tanh(?x)) => tanh(neg(?x))");
    let dims = Dims::default();
    let b = FunctionBuilder::new("f", &dims);
    let x = b.param("x", Type::new(DType::F32, [100_000usize]));
    let t = x.tanh();
    let f = b.finish(&[t, -t]).expect("one shape");
    let (better, _) = optimize(&f, &dims, &set, &Limits::default(), &Costs::default());
    assert_eq!(better.values.len(), 3, "one tanh and one neg");
}

#[test]
fn names_survive_with_their_values_and_parameters_stay() {
    let module = text::parse(
        "module m
         fn f(%0: f32[4], %unused: f32[4]) {
           %a: f32[4] = neg(%0)
           %b: f32[4] = neg(%a)
           %1: f32[4] = exp(%b)
           %kept: f32[4] = tanh(%1)
           return %kept, %0, %unused, %kept
         }
         step() { return }",
    )
    .unwrap_or_else(|e| panic!("{e}"));
    let exact = RuleSet::shipped().exact();
    let f = &module.functions[0];
    let (better, _) = optimize(
        f,
        &module.dims,
        &exact,
        &Limits::default(),
        &Costs::default(),
    );
    let names: Vec<&str> = better.values.iter().map(|v| v.name.as_str()).collect();
    assert_eq!(names, ["0", "unused", "2", "kept"]);
    assert_eq!(better.params(), f.params());
    assert!(better.result_types().eq(f.result_types()));
}

/// `R in 2..5`, which is 3 when a random function runs.
fn symbols() -> Dims {
    let mut dims = Dims::default();
    dims.declare("R", 2, 5);
    dims
}

/// A random function of %x: f32[R, 4], %y: f32[R, 4] and %i: i32[2], an index below 2.
fn random_function(choices: &[(u8, u8, u8)]) -> Function {
    let dims = symbols();
    let b = FunctionBuilder::new("f", &dims);
    let ty = Type::new(DType::F32, [Dim::sym("R"), Dim::from(4usize)]);
    let x = b.param("x", ty.clone());
    let y = b.param("y", ty);
    let index = b.param("i", Type::new(DType::I32, [2usize]));
    let mut made = vec![x, y];
    let length = |n: i64| Dim::from(n);
    for (op, first, second) in choices {
        let a = made[*first as usize % made.len()];
        let shape = a.ty().dims;
        let alike = |e: &&ir::Expr| e.ty() == a.ty();
        let partners: Vec<_> = made.iter().filter(alike).copied().collect();
        let c = partners[*second as usize % partners.len()];
        let constant = [0.0, -0.0, 1.0, -1.0, 2.0, 0.5, 3.0, 64.0][*second as usize % 8];
        let axis = *second as usize % shape.len().max(1);
        let zero = a.filled(0.0);
        let new = match op % 18 {
            0 => -a,
            1 => a.tanh(),
            2 => a + c,
            3 => a - c,
            4 => a * c,
            5 => a / constant,
            6 => a * constant,
            7 => a + constant,
            8 => a - constant,
            9 => zero.lt(a).select(a, c),
            _ if shape.is_empty() => a.exp(),
            10 => b.op(
                ir::Op::Transpose,
                &[a],
                vec![ir::Attr::Axes((0..shape.len()).rev().collect())],
            ),
            11 => a.reshape(&[&Dim::product(&shape)]),
            12 if dims.proves_le(&length(1), &shape[axis]) => a.slice(axis, &length(0), &length(1)),
            13 => a.concat(c, axis),
            14 => a.sum(&[axis]),
            15 => a.max(&[axis]),
            16 if dims.proves_le(&length(2), &shape[axis]) => a.take(index, axis),
            17 if shape.len() == 1 => {
                let wide = [shape[0].clone(), length(3)];
                a.broadcast(&wide, &[0])
            }
            _ => a.dot(c, &[], &[(axis, axis)]),
        };
        // Shapes that grow without end would only cost time.
        let range = dims.range(&new.ty().elements());
        if new.ty().rank() <= 4 && range.is_some_and(|(_, most)| most <= 1000) {
            made.push(new);
        }
    }
    let from = made.len().saturating_sub(3);
    b.finish(&made[from..])
        .expect("every op is given what it takes")
}

fn run(function: &Function, inputs: &[Tensor<'static, f32>]) -> Vec<Vec<u32>> {
    let mut module = Module {
        name: "m".into(),
        dims: symbols(),
        functions: vec![function.clone()],
        ..Module::default()
    };
    for param in function.params() {
        module.step.add_local(&param.name, param.ty.clone());
    }
    module.step.inputs = 3;
    let results = function.result_types().enumerate();
    let results: Vec<_> = results
        .map(|(i, ty)| module.step.add_local(format!("r{i}"), ty.clone()))
        .collect();
    module.step.calls.push(Call {
        results: results.iter().copied().map(Place::Local).collect(),
        function: FunctionId(0),
        args: (0..3).map(|i| Place::Local(LocalId(i))).collect(),
    });
    module.step.outputs = results;
    let interpreter = Interpreter::<f32>::new(module, |_| None, 1);
    let mut interpreter = interpreter.unwrap_or_else(|e| panic!("{e}"));
    let outputs = interpreter.step(&Bindings::new([("R", 3)]), inputs.to_vec());
    let outputs: Vec<Arc<Tensor<f32>>> = outputs.unwrap_or_else(|e| panic!("{e}"));
    let bits = |x: &f32| {
        if x.is_nan() {
            f32::NAN.to_bits()
        } else {
            x.to_bits()
        }
    };
    let reals = outputs
        .iter()
        .map(|t| t.to_real().expect("results are f32"));
    reals.map(|r| r.iter().map(bits).collect()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]
    #[test]
    fn the_exact_rules_together_keep_every_bit_of_random_functions(
        choices in prop::collection::vec(any::<(u8, u8, u8)>(), 1..14),
        bits in prop::collection::vec(prop_oneof![
            any::<u32>(),
            Just(0), Just(0x8000_0000), Just(0x7f80_0000), Just(0x3f80_0000),
            0x3e00_0000u32..0x4100_0000, 0xbe00_0000u32..0xc100_0000,
        ], 24),
        index in prop::collection::vec(0..2i32, 2),
    ) {
        let f = random_function(&choices);
        let limits = Limits { nodes: 4000, ..Limits::default() };
        let exact = RuleSet::shipped().exact();
        let (better, _) = optimize(&f, &symbols(), &exact, &limits, &Costs::default());
        let reals: Vec<f32> = bits.iter().map(|b| f32::from_bits(*b)).collect();
        let inputs = [
            Tensor::real(vec![3, 4], reals[..12].to_vec()),
            Tensor::real(vec![3, 4], reals[12..].to_vec()),
            Tensor::int(vec![2], index),
        ];
        prop_assert_eq!(run(&f, &inputs), run(&better, &inputs));
    }
}
