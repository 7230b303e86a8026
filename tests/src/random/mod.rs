//! Small random graphs, as cases of the op suite: a graph that shows a mistake is a file for `ops/`.
//!
//! A graph is a function of inputs, weights and at times a state, grown op by op (the `grow` module). Its axes are
//! of a few lengths, so that values fit together: 1 to 70, now and then none or some hundreds, and two symbols.

mod grow;

use ir::interp::Tensor;
use ir::{
    Bindings, Call, DType, Dim, Dims, Expr, FunctionBuilder, FunctionId, Module, Place, StateId,
    Type, text,
};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};

use self::grow::Grower;
use crate::suite::{Case, elements};

/// Lengths about which vectors, register tiles and blocks begin and end.
const LENGTHS: [i64; 16] = [1, 2, 3, 4, 8, 15, 16, 17, 24, 31, 32, 33, 48, 63, 64, 65];
/// A graph in so many has block formats, for which there is no machine code.
const BLOCKS: u64 = 12;

/// A case of up to so many ops; the same seed with fewer ops begins in the same way.
///
/// # Panics
/// If what was made is no module, which is a mistake in here.
pub fn graph(seed: u64, ops: usize) -> Case {
    let random = &mut StdRng::seed_from_u64(seed);
    let mut dims = Dims::default();
    let least = random.random_range(0..2);
    let symbols = [dims.declare("R", 0, 9), dims.declare("K", least, 70)];
    let mut lengths: Vec<Dim> = symbols.to_vec();
    lengths.extend((0..3).map(|_| Dim::from(length(random))));
    let blocks = seed.is_multiple_of(BLOCKS);
    if blocks {
        lengths[2] = Dim::from(64i64);
    }
    let mut module = Module {
        name: format!("random_{seed}"),
        dims,
        ..Module::default()
    };
    let dims = module.dims.clone();
    let builder = FunctionBuilder::new("f", &dims);
    let mut grower = Grower::new(random, &dims, lengths, &builder, blocks);
    let args = grower.parameters(&mut module);
    let results = grower.results(ops);
    let exprs: Vec<Expr> = results.iter().map(|(_, expr, _)| *expr).collect();
    let function = builder.finish(&exprs);
    module.functions = vec![function.expect("only ops that keep the constraints are taken")];
    let mut places = vec![];
    for (i, expr, state) in results {
        if state && !places.contains(&Place::State(StateId(0))) {
            places.push(Place::State(StateId(0)));
        } else {
            let local = module.step.add_local(format!("y{i}"), expr.ty());
            module.step.outputs.push(local);
            places.push(Place::Local(local));
        }
    }
    module.step.calls = vec![Call {
        results: places,
        function: FunctionId(0),
        args,
    }];
    let source = format!("{}{}", data(&module, random), text::print(&module));
    Case::read(format!("{}.lir", module.name).into(), source.clone())
        .unwrap_or_else(|error| panic!("{error}\n{source}"))
}

fn length(random: &mut StdRng) -> i64 {
    match random.random_range(0..48) {
        0..=2 => 0,
        3 => random.random_range(193..=500),
        4..=23 => *LENGTHS.choose(random).expect("there are lengths"),
        _ => random.random_range(1..=70),
    }
}

/// What numbers a case has.
#[derive(Clone, Copy, PartialEq)]
enum Numbers {
    /// Of moderate size.
    Moderate,
    /// Small whole ones, of which sums are exact.
    Whole,
    /// Now and then infinite, NaN, of the smallest or the largest.
    Wild,
}

/// The comments that give a module's weights and the inputs of two steps.
fn data(module: &Module, random: &mut StdRng) -> String {
    let numbers = match random.random_range(0..10) {
        0..=3 => Numbers::Moderate,
        4..=6 => Numbers::Whole,
        _ => Numbers::Wild,
    };
    let mut lines = String::new();
    for weight in &module.weights {
        let words = drawn(&weight.ty, &Bindings::default(), numbers, random);
        lines += &format!("// weight {} = {words}\n", weight.name);
    }
    for _ in 0..2 {
        let ranges = module.dims.ranges.iter();
        let values = ranges.map(|(sym, low, high)| match random.random_range(0..4) {
            0 => (sym.name(), *low),
            1 => (sym.name(), *high),
            _ => (sym.name(), random.random_range(*low..=*high)),
        });
        let values: Vec<(&str, i64)> = values.collect();
        let text = values.iter().map(|(name, value)| format!("{name}={value}"));
        lines += &format!("// step {}\n", text.collect::<Vec<_>>().join(", "));
        let bindings = Bindings::new(values);
        for input in module.step.input_locals() {
            let words = drawn(&input.ty, &bindings, numbers, random);
            lines += &format!("// in {} = {words}\n", input.name);
        }
    }
    lines
}

/// Random elements of a tensor.
fn drawn(ty: &Type, bindings: &Bindings, numbers: Numbers, random: &mut StdRng) -> String {
    const WILD: [f32; 8] = [
        f32::INFINITY,
        f32::NEG_INFINITY,
        f32::NAN,
        -0.0,
        1e-40,
        f32::MAX,
        -3e38,
        0.0,
    ];
    let shape = ty.shape(bindings).expect("a step binds every symbol");
    let count = shape.iter().product();
    let wild = numbers == Numbers::Wild;
    let real = |random: &mut StdRng| match numbers {
        Numbers::Wild if random.random_bool(0.05) => WILD[random.random_range(0..WILD.len())],
        Numbers::Whole => random.random_range(-4i8..=4).into(),
        _ => (random.random_range(-2f32..2.0) * 1000.0).round() / 1000.0,
    };
    let int = |random: &mut StdRng| match wild && random.random_bool(0.05) {
        true => [i32::MIN, i32::MAX][random.random_range(0..2)],
        false => random.random_range(-20..80),
    };
    let x = match ty.dtype {
        DType::I32 => Tensor::int(shape, (0..count).map(|_| int(random)).collect()),
        DType::Bool => Tensor::bool(shape, (0..count).map(|_| random.random()).collect()),
        dtype => {
            let x: Vec<f32> = (0..count).map(|_| real(random)).collect();
            Tensor::narrowed(dtype, shape, x.into())
        }
    };
    elements(&x).join(" ")
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use ir::{Def, Op};

    use super::*;

    #[test]
    fn every_op_is_drawn() {
        let mut found = HashSet::new();
        for seed in 0..300 {
            let case = graph(seed, 20);
            let values = case.module.functions.iter().flat_map(|f| &f.values);
            found.extend(values.filter_map(|value| match value.def {
                Def::Op { op, .. } => Some(op),
                Def::Param => None,
            }));
        }
        let missing: Vec<&str> = Op::all()
            .filter(|op| !found.contains(op))
            .map(|op| op.def().name)
            .collect();
        assert!(missing.is_empty(), "{missing:?}");
    }
}
