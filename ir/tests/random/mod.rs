//! Random well-formed modules: DAGs of ops over random types, of which every op keeps its rule.

use lapidary_ir::{
    Attr, Call, DType, Dim, Dims, Expr, Function, FunctionBuilder, FunctionId, Literal, LocalId,
    Module, Op, Place, Site, State, StateId, Step, Type, Weight, WeightId, WeightSource, infer,
};
use proptest::prelude::*;

/// Choices an op's operands and attributes are drawn from before the op is left out.
const TRIES: usize = 60;
/// Most elements of a value, so that running a module takes no time.
const MOST_ELEMENTS: i64 = 1 << 13;

/// Random modules with a function, a prepared weight, states and one step.
pub fn module() -> impl Strategy<Value = Module> {
    let ops: Vec<Op> = Op::all().collect();
    let body = prop::collection::vec(prop::sample::select(ops), 0..24);
    (body, any::<u64>()).prop_map(|(ops, seed)| build(&ops, &mut Rng(seed | 1)))
}

/// xorshift64.
struct Rng(u64);

impl Rng {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % n.max(1)
    }

    fn one_of<T: Clone>(&mut self, items: &[T]) -> T {
        items[self.below(items.len())].clone()
    }

    fn some_of<T: Clone>(&mut self, items: &[T], most: usize) -> Vec<T> {
        let n = self.below(most + 1);
        (0..n).map(|_| self.one_of(items)).collect()
    }

    fn shuffled(&mut self, n: usize) -> Vec<usize> {
        let mut axes: Vec<usize> = (0..n).collect();
        for i in 0..n {
            let j = i + self.below(n - i);
            axes.swap(i, j);
        }
        axes
    }
}

fn build(ops: &[Op], rng: &mut Rng) -> Module {
    let mut dims = Dims::default();
    let r = dims.declare("R", 0, 4);
    let n = dims.declare("N", 1, 3);
    dims.known.push((n.clone(), &r + &Dim::from(1i64)));
    let constant: Vec<Dim> = [0i64, 1, 2, 3, 3, 4, 16, 17].map(Dim::from).into();
    let sum = &r + &n;
    let any_length = [&constant[1..], &[r.clone(), r.clone(), n, sum]].concat();

    let few = rng.below(4);
    let early = &ops[..few.min(ops.len())];
    let stored = [random_type(&constant, rng), random_type(&constant, rng)];
    let prepare = random_function("prepare_w", &dims, &constant, &stored, early, rng);
    let made: Vec<Type> = prepare.result_types().cloned().collect();
    let states = [
        Type::new(DType::F32, [2i64, 4, 3]),
        random_type(&constant, rng),
    ];
    let mut inputs = vec![
        Type::new(DType::F32, [&r, &Dim::from(3i64)]),
        Type::new(DType::I32, [&r]),
    ];
    inputs.extend((0..rng.below(3)).map(|_| random_type(&any_length, rng)));

    let params = [&stored, &made[..], &states, &inputs].concat();
    let mut body = random_function("body", &dims, &any_length, &params, ops, rng);
    let at = stored.len() + made.len();
    let like = |ty: &Type| body.values.iter().rposition(|v| v.ty == *ty);
    let next_states = states.iter().map(|ty| like(ty).expect("a param has it"));
    let mut results: Vec<_> = next_states.map(lapidary_ir::ValueId).collect();
    results.append(&mut body.results);
    body.results = results;

    let mut step = Step::default();
    for (i, ty) in inputs.iter().enumerate() {
        step.add_local(format!("in.{i}"), ty.clone());
    }
    step.inputs = inputs.len();
    let given: Vec<Type> = body.result_types().skip(states.len()).cloned().collect();
    for (i, ty) in given.into_iter().enumerate() {
        let local = step.add_local(format!("{i}"), ty);
        step.outputs.push(local);
    }
    let weight_places = (0..at).map(|i| Place::Weight(WeightId(i)));
    let state_places: Vec<Place> = (0..states.len())
        .map(|i| Place::State(StateId(i)))
        .collect();
    let local = |i: usize| Place::Local(LocalId(i));
    let results = state_places.iter().copied();
    step.calls = vec![Call {
        results: results
            .chain((inputs.len()..step.locals.len()).map(local))
            .collect(),
        function: FunctionId(1),
        args: weight_places
            .chain(state_places.iter().copied())
            .chain((0..inputs.len()).map(local))
            .collect(),
    }];
    let weight = |(i, ty): (usize, &Type)| Weight {
        name: format!("layer.{i}"),
        ty: ty.clone(),
        source: match i < stored.len() {
            true => WeightSource::Stored,
            false => WeightSource::Prepared,
        },
    };
    Module {
        name: "random".into(),
        weights: stored.iter().chain(&made).enumerate().map(weight).collect(),
        states: (0..states.len())
            .map(|i| State {
                name: format!("state.{i}"),
                ty: states[i].clone(),
            })
            .collect(),
        prepare: vec![Call {
            results: (stored.len()..at)
                .map(|i| Place::Weight(WeightId(i)))
                .collect(),
            function: FunctionId(0),
            args: (0..stored.len())
                .map(|i| Place::Weight(WeightId(i)))
                .collect(),
        }],
        functions: vec![prepare, body],
        dims,
        step,
    }
}

fn random_type(lengths: &[Dim], rng: &mut Rng) -> Type {
    let dtypes: Vec<DType> = DType::all().chain([DType::F32; 5]).collect();
    let ty = Type::new(rng.one_of(&dtypes), rng.some_of(lengths, 3));
    match (ty.dtype.is_block(), ty.dims.last().and_then(Dim::as_const)) {
        (true, None) => Type::new(ty.dtype, [3i64, 33]),
        _ => ty,
    }
}

/// A function whose results are values that no other value uses.
fn random_function(
    name: &str,
    dims: &Dims,
    lengths: &[Dim],
    params: &[Type],
    ops: &[Op],
    rng: &mut Rng,
) -> Function {
    let builder = FunctionBuilder::new(name, dims);
    let param = |(i, ty): (usize, &Type)| builder.param(format!("p{i}"), ty.clone());
    let mut made: Vec<Expr> = params.iter().enumerate().map(param).collect();
    for op in ops {
        if let Some((operands, attrs)) = application(*op, &made, dims, lengths, rng) {
            made.push(builder.op(*op, &operands, attrs));
        }
    }
    let last = made.len().saturating_sub(4).max(params.len());
    let function = builder.finish(&made[last..]);
    function.expect("only ops that keep their rule are built")
}

/// Operands and attributes with which the op keeps its rule, unless none are found.
fn application<'b>(
    op: Op,
    made: &[Expr<'b>],
    dims: &Dims,
    lengths: &[Dim],
    rng: &mut Rng,
) -> Option<(Vec<Expr<'b>>, Vec<Attr>)> {
    let def = op.def();
    for _ in 0..TRIES {
        let more = if def.variadic { rng.below(3) } else { 0 };
        let mut operands: Vec<Expr> = Vec::new();
        for _ in 0..def.operands.len() + more {
            let next = match operands.last() {
                // What goes together is mostly alike.
                Some(last) if rng.below(2) == 0 => {
                    let like = |e: &&Expr| e.ty() == last.ty();
                    let alike: Vec<Expr> = made.iter().filter(like).copied().collect();
                    rng.one_of(&alike)
                }
                _ => rng.one_of(made),
            };
            operands.push(next);
        }
        let types: Vec<Type> = operands.iter().map(|e| e.ty()).collect();
        let types: Vec<&Type> = types.iter().collect();
        let attrs = random_attrs(op, types.first().copied(), lengths, rng);
        let site = Site {
            def,
            attrs: &attrs,
            operands: &types,
            dims,
        };
        let small = |ty: &Type| {
            let range = dims.range(&ty.elements());
            range.is_some_and(|(_, high)| high <= MOST_ELEMENTS)
        };
        if infer(&site).is_ok_and(|ty| small(&ty)) {
            return Some((operands, attrs));
        }
    }
    None
}

/// Attributes of the op's kinds that the first operand may fit.
fn random_attrs(op: Op, x: Option<&Type>, lengths: &[Dim], rng: &mut Rng) -> Vec<Attr> {
    let none = Type::new(DType::F32, [] as [Dim; 0]);
    let x = x.unwrap_or(&none);
    let zero = Dim::default();
    let bounds = [x.dims.clone(), vec![zero], lengths[..3].to_vec()].concat();
    let some_axes = |rng: &mut Rng| {
        let mut axes = rng.shuffled(x.rank());
        axes.truncate(rng.below(x.rank() + 1));
        Attr::Axes(axes)
    };
    match op {
        Op::Cast | Op::Quantize => {
            let all: Vec<DType> = DType::all().collect();
            vec![Attr::To(rng.one_of(&all))]
        }
        Op::Const => random_constant(lengths, rng),
        Op::Iota => vec![Attr::Dim(rng.one_of(lengths))],
        Op::Reshape => {
            let one = Dim::from(1i64);
            let turned = rng.shuffled(x.rank());
            let turned = turned.iter().map(|a| x.dims[*a].clone());
            let shapes = [
                vec![x.elements()],
                turned.collect(),
                [
                    std::slice::from_ref(&one),
                    &x.dims[..],
                    std::slice::from_ref(&one),
                ]
                .concat(),
            ];
            vec![Attr::Dims(rng.one_of(&shapes))]
        }
        Op::Transpose => vec![Attr::Axes(rng.shuffled(x.rank()))],
        Op::Broadcast => {
            let mut shape = Vec::new();
            let mut axes = Vec::new();
            for d in &x.dims {
                shape.extend(rng.some_of(lengths, 1));
                axes.push(shape.len());
                shape.push(d.clone());
            }
            if !x.dtype.is_block() {
                shape.extend(rng.some_of(lengths, 1));
            }
            vec![Attr::Dims(shape), Attr::Axes(axes)]
        }
        Op::Slice => vec![
            Attr::Axis(rng.below(x.rank())),
            Attr::Dim(rng.one_of(&bounds)),
            Attr::Dim(rng.one_of(&bounds)),
        ],
        Op::Concat | Op::Take => vec![Attr::Axis(rng.below(x.rank()))],
        Op::ReduceSum | Op::ReduceMax => vec![some_axes(rng)],
        Op::Dot => {
            let axes = rng.shuffled(x.rank());
            let batch = rng.below(x.rank().max(1));
            let contract = batch + rng.below(x.rank() + 1 - batch);
            let (batch, contract) = (axes[..batch].to_vec(), axes[batch..contract].to_vec());
            [batch.clone(), batch, contract.clone(), contract]
                .map(Attr::Axes)
                .into()
        }
        _ => vec![],
    }
}

fn random_constant(lengths: &[Dim], rng: &mut Rng) -> Vec<Attr> {
    let (dtype, values) = rng.one_of(&[
        (DType::F32, vec![0.5, -0.0, f64::INFINITY, 1e-45, 0.1]),
        (DType::I32, vec![0.0, 1.0, -3.0, 2147483647.0]),
        (DType::Bool, vec![0.0, 1.0]),
    ]);
    let shape = rng.some_of(lengths, 2);
    let count = match Dim::product(&shape).as_const() {
        Some(n @ 0..=20) => n as usize,
        _ => 1,
    };
    let values = (0..count).map(|_| Literal(rng.one_of(&values))).collect();
    vec![Attr::To(dtype), Attr::Dims(shape), Attr::Literals(values)]
}
