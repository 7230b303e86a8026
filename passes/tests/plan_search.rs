//! The search held against brute force, and buffers against their lifetimes, on random graphs.

use std::ops::RangeInclusive;

use ir::interp::{Data, Interpreter, Tensor};
use ir::{
    Attr, Bindings, Call, DType, Dim, Dims, Expr, FunctionBuilder, FunctionId, Local, LocalId,
    Module, Op, Place, Step, Type,
};
use lapidary_passes::fusion::{Extract, Machine, Search, TRIES, fuse};
use lapidary_passes::pipeline::{self, PlanOptions};
use lapidary_passes::plan;
use proptest::prelude::*;

/// A function of two square parameters; each number adds an op over earlier values.
fn graph(dims: &Dims, ops: &[(u8, usize, usize)]) -> Module {
    let square = Type::new(DType::F32, [64i64, 64]);
    let b = FunctionBuilder::new("f", dims);
    let mut all: Vec<Expr> = vec![b.param("x", square.clone()), b.param("w", square.clone())];
    for (kind, i, j) in ops {
        // The later values are the likelier.
        let pick = |n: &usize| all[all.len() - 1 - n % all.len().min(4)];
        let (x, y) = (pick(i), pick(j));
        all.push(match kind % 7 {
            0 => b.op(Op::Tanh, &[x], vec![]),
            1 => x + y,
            2 => x * y,
            3 | 4 => {
                let none = || Attr::Axes(vec![]);
                let axes = vec![none(), none(), Attr::Axes(vec![1]), Attr::Axes(vec![1])];
                b.op(Op::Dot, &[x, y], axes)
            }
            5 => {
                let sum = b.op(Op::ReduceSum, &[x], vec![Attr::Axes(vec![1])]);
                let shape = Attr::Dims(square.dims.clone());
                let wide = b.op(Op::Broadcast, &[sum], vec![shape, Attr::Axes(vec![0])]);
                wide + y
            }
            _ => b.op(Op::Transpose, &[x], vec![Attr::Axes(vec![1, 0])]),
        });
    }
    let results: Vec<Expr> = all.iter().rev().take(2).copied().collect();
    let function = b.finish(&results).expect("all values are square");
    let local = |name: &str| Local {
        name: name.into(),
        ty: square.clone(),
    };
    let step = Step {
        locals: ["x", "w", "y", "z"].map(local).into(),
        inputs: 2,
        calls: vec![Call {
            results: [2, 3].map(|i| Place::Local(LocalId(i))).into(),
            function: FunctionId(0),
            args: [0, 1].map(|i| Place::Local(LocalId(i))).into(),
        }],
        outputs: vec![LocalId(2), LocalId(3)],
    };
    let module = Module {
        name: "random".into(),
        dims: dims.clone(),
        functions: vec![function],
        step,
        ..Module::default()
    };
    ir::verify(&module).unwrap_or_else(|e| panic!("{e}"));
    module
}

fn run(module: &Module) -> Vec<u32> {
    let interpreter = Interpreter::<f32>::new(module.clone(), |_| None, 1);
    let mut interpreter = interpreter.unwrap_or_else(|e| panic!("{e}"));
    let input = |seed: usize| {
        let element = |i: usize| ((i * 37 + seed) % 101) as f32 / 1000.0 - 0.05;
        Tensor::real(vec![64, 64], (0..4096).map(element).collect())
    };
    let outputs = interpreter.step(&Bindings::default(), vec![input(0), input(50)]);
    let outputs = outputs.unwrap_or_else(|e| panic!("{e}"));
    let bits = outputs.iter().flat_map(|o| match &o.data {
        Data::Real(x) => x.iter().map(|x| x.to_bits()).collect::<Vec<u32>>(),
        _ => panic!("outputs are f32"),
    });
    bits.collect()
}

/// The same random graphs every time: SplitMix64.
fn graphs(dims: &Dims) -> impl Iterator<Item = Module> {
    let mut state = 7u64;
    let mut next = move || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) as usize
    };
    std::iter::repeat_with(move || {
        let count = 4 + next() % 8;
        let ops: Vec<(u8, usize, usize)> = (0..count)
            .map(|_| ((next() % 7) as u8, next() % 64, next() % 64))
            .collect();
        graph(dims, &ops)
    })
}

/// How many of so many random graphs with this many choices are planned within 1% of brute force.
fn near_brute_force(choices: RangeInclusive<usize>, cases: usize) -> usize {
    let dims = Dims::default();
    let machine = Machine::default();
    let sized = graphs(&dims).filter(|module| {
        let search = Search::new(&module.functions[0], &dims, &machine);
        let regions = search.regions();
        choices.contains(&(regions.edges.len() + regions.shares.len()))
    });
    let near = sized.take(cases).filter(|module| {
        let function = &module.functions[0];
        let mut search = Search::new(function, &dims, &machine);
        let choices = search.regions().edges.len() + search.regions().shares.len();
        let mut least = f64::INFINITY;
        for bits in 0..1u32 << choices {
            let choice: Vec<bool> = (0..choices).map(|i| bits >> i & 1 == 1).collect();
            least = least.min(search.cost(&choice, machine.recompute));
        }
        let found = fuse(function, &dims, &machine, Extract::Search, TRIES)
            .1
            .cost;
        let greedy = fuse(function, &dims, &machine, Extract::Greedy, TRIES)
            .1
            .cost;
        let worst = fuse(function, &dims, &machine, Extract::Worst, TRIES)
            .1
            .cost;
        assert!(found <= greedy && found <= worst);
        found <= least * 1.01
    });
    near.count()
}

#[test]
fn the_search_is_as_good_as_brute_force_and_never_worse_than_greedy() {
    for (choices, cases) in [(4..=10, 300), (11..=13, 100), (16..=16, 3)] {
        let near = near_brute_force(choices.clone(), cases);
        assert!(
            near * 100 >= cases * 99,
            "{near} of {cases} with {choices:?}"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn any_choice_of_a_random_graph_is_legal_and_keeps_the_bits(
        ops in prop::collection::vec((0..7u8, 0..64usize, 0..64usize), 1..16),
        seed in any::<u64>(),
    ) {
        let module = graph(&Dims::default(), &ops);
        let expected = run(&module);
        for extract in [Extract::Search, Extract::Worst, Extract::Random(seed)] {
            let options = PlanOptions { extract, ..PlanOptions::default() };
            let (plan, _) = pipeline::plan(&module, &options);
            // Among others: no two live values share a byte of the arena.
            let verified = plan::verify(&plan);
            prop_assert!(verified.is_ok(), "{:?}: {:?}", extract, verified);
            prop_assert_eq!(run(&plan::lower(&plan).module), expected.clone());
            prop_assert_eq!(plan::text::parse(&plan::text::print(&plan)), Ok(plan));
        }
    }
}

#[test]
fn live_values_lie_apart_and_dead_ones_give_their_place() {
    let chain: Vec<(u8, usize, usize)> = (0..8).map(|_| (0, 0, 0)).collect();
    let module = graph(&Dims::default(), &chain);
    let options = PlanOptions {
        extract: Extract::None,
        ..PlanOptions::default()
    };
    let (plan, _) = pipeline::plan(&module, &options);
    let buffers = &plan.functions[0].buffers;
    // Six values pass through two places: each is dead once the next is made.
    assert_eq!(buffers.slots.len(), 6);
    let one = Type::new(DType::F32, [64i64, 64]).bytes();
    assert_eq!(Dim::from(buffers.arena as i64), &one * &Dim::from(2i64));
}
