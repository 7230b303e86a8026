//! Small random graphs, as cases of the op suite: a graph that shows a mistake is a file for `ops/`.
//!
//! A graph is a function of inputs, weights and at times a state, grown op by op. Its axes are of a few
//! lengths, so that values fit together: odd ones, some beyond the lanes of a sum, and two symbols.

use std::ptr::fn_addr_eq;

use ir::interp::Tensor;
use ir::{
    Attr, Bindings, Call, DType, Dim, Dims, Expr, FunctionBuilder, FunctionId, LocalId, Module, Op,
    Place, Site, State, StateId, Type, Weight, WeightId, WeightSource, infer, text,
};
use rand::rngs::StdRng;
use rand::seq::{IndexedRandom, SliceRandom};
use rand::{Rng, SeedableRng};

use crate::suite::{Case, elements};

/// Most elements of a value.
const ELEMENTS: i64 = 3000;
/// Most axes of a value.
const RANK: usize = 4;
const LENGTHS: [i64; 14] = [1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 24, 33, 40];

/// A case of up to so many ops; the same seed with fewer ops begins in the same way.
///
/// # Panics
/// If what was made is no module, which is a mistake in here.
pub fn graph(seed: u64, ops: usize) -> Case {
    let random = &mut StdRng::seed_from_u64(seed);
    let mut dims = Dims::default();
    let symbols = [dims.declare("R", 0, 9), dims.declare("K", 1, 37)];
    let mut lengths: Vec<Dim> = symbols.to_vec();
    lengths.extend((0..3).map(|_| Dim::from(*LENGTHS.choose(random).expect("there are lengths"))));
    let mut module = Module {
        name: format!("random_{seed}"),
        dims,
        ..Module::default()
    };
    let dims = module.dims.clone();
    let builder = FunctionBuilder::new("f", &dims);
    let mut grower = Grower {
        random,
        dims: &dims,
        lengths,
        builder: &builder,
        values: vec![],
        used: vec![],
        state: None,
        put: None,
    };
    let args = grower.parameters(&mut module);
    let params = grower.values.len();
    let mut rounds = 0;
    while grower.values.len() < params + ops && rounds < 20 * ops {
        grower.grow();
        rounds += 1;
    }
    let put = grower.put.or_else(|| grower.put());
    let results = grower.results(params, put);
    let exprs: Vec<Expr> = results.iter().map(|i| grower.values[*i]).collect();
    let function = builder.finish(&exprs);
    module.functions = vec![function.expect("only ops that keep the constraints are taken")];
    let mut places = vec![];
    for (i, expr) in results.iter().zip(&exprs) {
        if Some(*i) == put && !places.contains(&Place::State(StateId(0))) {
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

/// The comments that give a module's weights and the inputs of two steps.
fn data(module: &Module, random: &mut StdRng) -> String {
    let wild = random.random_bool(0.4);
    let mut lines = String::new();
    for weight in &module.weights {
        let words = drawn(&weight.ty, &Bindings::default(), wild, random);
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
            let words = drawn(&input.ty, &bindings, wild, random);
            lines += &format!("// in {} = {words}\n", input.name);
        }
    }
    lines
}

/// Random elements of a tensor; wild ones are now and then infinite, NaN, of the smallest or largest.
fn drawn(ty: &Type, bindings: &Bindings, wild: bool, random: &mut StdRng) -> String {
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
    let real = |random: &mut StdRng| match wild && random.random_bool(0.05) {
        true => WILD[random.random_range(0..WILD.len())],
        false => (random.random_range(-2f32..2.0) * 1000.0).round() / 1000.0,
    };
    let int = |random: &mut StdRng| match wild && random.random_bool(0.05) {
        true => [i32::MIN, i32::MAX][random.random_range(0..2)],
        false => random.random_range(-20..60),
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

struct Grower<'g, 'b> {
    random: &'g mut StdRng,
    dims: &'b Dims,
    lengths: Vec<Dim>,
    builder: &'b FunctionBuilder<'b>,
    values: Vec<Expr<'b>>,
    /// Which of them an op takes.
    used: Vec<bool>,
    /// The state, where there is one, and the state with rows put into it.
    state: Option<usize>,
    put: Option<usize>,
}

impl<'b> Grower<'_, 'b> {
    fn below(&mut self, n: usize) -> usize {
        self.random.random_range(0..n)
    }

    fn length(&mut self) -> Dim {
        self.lengths[self.random.random_range(0..self.lengths.len())].clone()
    }

    fn fits(&self, ty: &Type) -> bool {
        let most = self.dims.range(&ty.elements());
        ty.rank() <= RANK && most.is_some_and(|(_, most)| most <= ELEMENTS)
    }

    /// Inputs and weights of random types, one of integers among them, and a state with rows for it.
    fn parameters(&mut self, module: &mut Module) -> Vec<Place> {
        let mut args = vec![];
        let mut wanted = 2 + self.below(3);
        while wanted > 0 {
            let dtype = match (wanted, self.below(8)) {
                (1, _) => DType::I32,
                (_, 0) => DType::I32,
                (_, 1) => DType::Bool,
                (_, 2) => DType::F16,
                (_, 3..5) => DType::BF16,
                _ => DType::F32,
            };
            let rank = if wanted == 1 { 1 } else { self.below(RANK) };
            let ty = Type::new(dtype, (0..rank).map(|_| self.length()));
            if !self.fits(&ty) {
                continue;
            }
            let constant = ty.dims.iter().all(|d| d.as_const().is_some());
            args.push(match constant && self.below(3) > 0 {
                true => self.weight(module, ty),
                false => self.input(module, ty),
            });
            wanted -= 1;
        }
        if self.below(3) == 0 {
            let constants: Vec<Dim> = self.lengths[2..].to_vec();
            let inner: Vec<Dim> = (0..self.below(2)).map(|i| constants[i].clone()).collect();
            let dtype = [DType::F32, DType::BF16][self.below(2)];
            let rows = Type::new(dtype, [&self.lengths[..1], &inner].concat());
            let capacity = *LENGTHS.choose(self.random).expect("there are lengths");
            let ty = Type::new(
                dtype,
                [&[Dim::from(2i64), Dim::from(capacity)], &inner[..]].concat(),
            );
            args.push(self.input(module, rows));
            module.states.push(State {
                name: "s".into(),
                ty: ty.clone(),
            });
            self.state = Some(self.values.len());
            self.parameter("s", ty);
            args.push(Place::State(StateId(0)));
        }
        args
    }

    fn parameter(&mut self, name: &str, ty: Type) {
        self.values.push(self.builder.param(name, ty));
        self.used.push(false);
    }

    fn input(&mut self, module: &mut Module, ty: Type) -> Place {
        let name = format!("x{}", self.values.len());
        self.parameter(&name, ty.clone());
        let local: LocalId = module.step.add_local(&name, ty);
        module.step.inputs += 1;
        Place::Local(local)
    }

    fn weight(&mut self, module: &mut Module, ty: Type) -> Place {
        let name = format!("w{}", self.values.len());
        self.parameter(&name, ty.clone());
        module.weights.push(Weight {
            name,
            ty,
            source: WeightSource::Stored,
        });
        Place::Weight(WeightId(module.weights.len() - 1))
    }

    /// An op over values, if it keeps the constraints and its result is small.
    fn op(&mut self, op: Op, operands: &[usize], attrs: Vec<Attr>) -> Option<usize> {
        let types: Vec<Type> = operands.iter().map(|i| self.values[*i].ty()).collect();
        let site = Site {
            def: op.def(),
            attrs: &attrs,
            operands: &types.iter().collect::<Vec<_>>(),
            dims: self.dims,
        };
        infer(&site).ok().filter(|ty| self.fits(ty))?;
        let exprs: Vec<Expr> = operands.iter().map(|i| self.values[*i]).collect();
        self.values.push(self.builder.op(op, &exprs, attrs));
        self.used.push(false);
        for i in operands {
            self.used[*i] = true;
        }
        Some(self.values.len() - 1)
    }

    /// A value for which this holds; late ones more often than early ones.
    fn find(&mut self, holds: impl Fn(&Type) -> bool) -> Option<usize> {
        let all: Vec<usize> = (0..self.values.len()).collect();
        let fitting: Vec<usize> = all
            .into_iter()
            .filter(|i| holds(&self.values[*i].ty()))
            .collect();
        let late = fitting.len().saturating_sub(3);
        match self.below(2) {
            0 => fitting[late..].choose(self.random).copied(),
            _ => fitting.choose(self.random).copied(),
        }
    }

    /// A constant of this type.
    fn constant(&mut self, ty: &Type, value: f64) -> Option<usize> {
        let attrs = vec![
            Attr::To(ty.dtype),
            Attr::Dims(ty.dims.clone()),
            Attr::Literals(vec![ir::Literal(value)]),
        ];
        self.op(Op::Const, &[], attrs)
    }

    /// One of these axes, or more, each once, in any order.
    fn axes(&mut self, rank: usize) -> Vec<usize> {
        let mut axes: Vec<usize> = (0..rank).collect();
        axes.shuffle(self.random);
        let count = if rank == 0 { 0 } else { 1 + self.below(rank) };
        axes.truncate(count);
        axes
    }

    /// Adds an op, or a few that belong together, or nothing if it did not fit.
    fn grow(&mut self) -> Option<usize> {
        match self.below(20) {
            0 | 1 => self.unary(),
            2..=4 => self.binary(),
            5 => self.logic(),
            6 | 7 => self.cast(),
            8 | 9 => self.regroup(),
            10 => self.concat(),
            11 => self.take(),
            12..=14 => self.reduce(),
            15..=17 => self.dot(),
            18 => self.put(),
            _ => {
                let length = self.length();
                self.op(Op::Iota, &[], vec![Attr::Dim(length)])
            }
        }
    }

    fn unary(&mut self) -> Option<usize> {
        let neg = Op::Neg.def();
        let alike = |op: &Op| {
            fn_addr_eq(op.def().rule, neg.rule) && op.def().operands.len() == neg.operands.len()
        };
        let ops: Vec<Op> = Op::all().filter(alike).collect();
        let x = self.find(|ty| ty.dtype == DType::F32)?;
        let op = ops[self.below(ops.len())];
        self.op(op, &[x], vec![])
    }

    /// A value of the type of another: one that is there, one brought to its shape, or a constant.
    fn beside(&mut self, x: usize) -> Option<usize> {
        let ty = self.values[x].ty();
        if self.below(3) == 0 {
            let value = f64::from(self.random.random_range(-3..4));
            let value = if ty.dtype == DType::Bool { 1.0 } else { value };
            return self.constant(&ty, value);
        }
        let smaller = self.find(|other| {
            let mut rest = ty.dims.iter();
            let inside = other.dims.iter().all(|d| rest.any(|r| r == d));
            other.dtype == ty.dtype && inside
        })?;
        let from = self.values[smaller].ty();
        if from == ty {
            return Some(smaller);
        }
        // The first axes that fit, in order.
        let mut at = 0;
        let mut axes = vec![];
        for d in &from.dims {
            at += ty.dims[at..].iter().position(|e| e == d)?;
            axes.push(at);
            at += 1;
        }
        self.op(
            Op::Broadcast,
            &[smaller],
            vec![Attr::Dims(ty.dims), Attr::Axes(axes)],
        )
    }

    fn binary(&mut self) -> Option<usize> {
        use Op::{Add, Div, Eq, Le, Lt, Max, Min, Mul, Rem, Sub};
        let x = self.find(|ty| matches!(ty.dtype, DType::F32 | DType::I32))?;
        let y = self.beside(x)?;
        let op = [Add, Sub, Mul, Max, Min, Div, Rem, Lt, Le, Eq][self.below(10)];
        let pair = if self.below(2) == 0 { [x, y] } else { [y, x] };
        self.op(op, &pair, vec![])
    }

    fn logic(&mut self) -> Option<usize> {
        let c = self.find(|ty| ty.dtype == DType::Bool)?;
        match self.below(4) {
            0 => self.op(Op::Not, &[c], vec![]),
            1 => {
                let d = self.beside(c)?;
                let op = [Op::And, Op::Or][self.below(2)];
                self.op(op, &[c, d], vec![])
            }
            _ => {
                let dims = self.values[c].ty().dims;
                let x = self.find(|ty| ty.dims == dims)?;
                let y = self.find(|ty| ty.dims == dims)?;
                self.op(Op::Select, &[c, x, y], vec![])
            }
        }
    }

    fn cast(&mut self) -> Option<usize> {
        let x = self.find(|ty| ty.dtype != DType::Bool)?;
        let to = match self.values[x].ty().dtype {
            DType::F32 => [DType::BF16, DType::F16][self.below(2)],
            _ => DType::F32,
        };
        self.op(Op::Cast, &[x], vec![Attr::To(to)])
    }

    /// A view.
    fn regroup(&mut self) -> Option<usize> {
        let x = self.find(|ty| ty.rank() > 0)?;
        let ty = self.values[x].ty();
        let at = self.below(ty.rank());
        let mut dims = ty.dims.clone();
        match self.below(5) {
            0 => {
                let mut axes: Vec<usize> = (0..ty.rank()).collect();
                axes.shuffle(self.random);
                self.op(Op::Transpose, &[x], vec![Attr::Axes(axes)])
            }
            1 => {
                let length = self.length();
                let to = self.below(ty.rank() + 1);
                dims.insert(to, length);
                let axes = (0..dims.len()).filter(|i| *i != to).collect();
                self.op(
                    Op::Broadcast,
                    &[x],
                    vec![Attr::Dims(dims), Attr::Axes(axes)],
                )
            }
            2 => self.slice(x, at),
            3 if at + 1 < dims.len() => {
                let joined = &dims[at] * &dims[at + 1];
                dims.splice(at..at + 2, [joined]);
                self.op(Op::Reshape, &[x], vec![Attr::Dims(dims)])
            }
            _ => {
                let n = dims[at].as_const().filter(|n| *n > 0);
                let factors = (1..=n.unwrap_or(1)).filter(|f| n.unwrap_or(1) % f == 0);
                let factor = *factors.collect::<Vec<i64>>().choose(self.random)?;
                let rest = n.map_or(dims[at].clone(), |n| Dim::from(n / factor));
                dims.splice(at..=at, [Dim::from(factor), rest]);
                self.op(Op::Reshape, &[x], vec![Attr::Dims(dims)])
            }
        }
    }

    fn slice(&mut self, x: usize, axis: usize) -> Option<usize> {
        let length = self.values[x].ty().dims[axis].clone();
        let (least, _) = self.dims.range(&length)?;
        let start = self.random.random_range(0..=least);
        let behind = self.random.random_range(0..=least - start);
        let stop = &length - &Dim::from(behind);
        self.op(
            Op::Slice,
            &[x],
            vec![Attr::Axis(axis), Attr::Dim(start.into()), Attr::Dim(stop)],
        )
    }

    fn concat(&mut self) -> Option<usize> {
        let x = self.find(|ty| ty.rank() > 0)?;
        let ty = self.values[x].ty();
        let axis = self.below(ty.rank());
        let mut parts = vec![x];
        for _ in 0..1 + self.below(2) {
            let other = self.find(|other| {
                let mut other = other.clone();
                if let Some(d) = other.dims.get_mut(axis) {
                    *d = ty.dims[axis].clone();
                }
                other == ty
            })?;
            let other = match self.below(2) {
                0 => other,
                _ => self.slice(other, axis)?,
            };
            parts.push(other);
        }
        parts.shuffle(self.random);
        self.op(Op::Concat, &parts, vec![Attr::Axis(axis)])
    }

    /// Integers below a length, `[dims]`.
    fn index(&mut self, count: &Dim, length: i64) -> Option<usize> {
        let ty = Type::new(DType::I32, [count]);
        let raw = match self.find(|other| *other == ty) {
            Some(raw) if self.below(3) > 0 => raw,
            _ => self.op(Op::Iota, &[], vec![Attr::Dim(count.clone())])?,
        };
        let length = self.constant(&ty, length as f64)?;
        self.op(Op::Rem, &[raw, length], vec![])
    }

    fn take(&mut self) -> Option<usize> {
        let x = self.find(|ty| ty.rank() > 0)?;
        let ty = self.values[x].ty();
        let axis = self.below(ty.rank());
        let (least, _) = self.dims.range(&ty.dims[axis])?;
        let count = self.length();
        let index = (least > 0).then(|| self.index(&count, least))??;
        self.op(Op::Take, &[x, index], vec![Attr::Axis(axis)])
    }

    fn reduce(&mut self) -> Option<usize> {
        let x = self.find(|ty| ty.dtype == DType::F32 && ty.rank() > 0)?;
        let rank = self.values[x].ty().rank();
        let axes = match self.below(24) {
            0 => vec![],
            _ => self.axes(rank),
        };
        let op = [Op::ReduceSum, Op::ReduceMax][self.below(2)];
        self.op(op, &[x], vec![Attr::Axes(axes)])
    }

    /// A dot over some of the pairs of axes of equal length, others of which are its batch.
    fn dot(&mut self) -> Option<usize> {
        let is_operand = |ty: &Type| matches!(ty.dtype, DType::F32 | DType::BF16) && ty.rank() > 0;
        let mut sides = [self.find(is_operand)?, self.find(is_operand)?];
        let types = sides.map(|x| self.values[x].ty());
        let mut pairs = vec![];
        for i in self.axes(types[0].rank()) {
            let mut others: Vec<usize> = (0..types[1].rank()).collect();
            others.shuffle(self.random);
            let free = |j: &usize| !pairs.iter().any(|(_, k)| k == j);
            let mut equal = others.into_iter().filter(free);
            pairs.extend(
                equal
                    .find(|j| types[0].dims[i] == types[1].dims[*j])
                    .map(|j| (i, j)),
            );
        }
        let batch = match pairs.len() {
            0 => return None,
            n => [0, self.below(n)][self.below(2)],
        };
        for side in &mut sides {
            if self.values[*side].ty().dtype == DType::BF16 {
                *side = self.op(Op::Cast, &[*side], vec![Attr::To(DType::F32)])?;
            }
        }
        let (batch, contract) = pairs.split_at(batch);
        let attrs = [batch, contract].map(|pairs| -> [Vec<usize>; 2] {
            let (a, b) = pairs.iter().copied().unzip();
            [a, b]
        });
        let attrs = attrs.concat().into_iter().map(Attr::Axes).collect();
        self.op(Op::Dot, &sides, attrs)
    }

    /// The state with rows put into it, if some fit.
    fn put(&mut self) -> Option<usize> {
        let state = self.state.filter(|_| self.put.is_none())?;
        let ty = self.values[state].ty();
        let rows = self.find(|rows| {
            rows.dtype == ty.dtype && rows.rank() > 0 && rows.dims[1..] == ty.dims[2..]
        })?;
        let count = self.values[rows].ty().dims[0].clone();
        let slot = self.index(&count, 2)?;
        let index = self.index(&count, ty.dims[1].as_const()?)?;
        self.put = self.op(Op::Put, &[state, slot, index, rows], vec![]);
        self.put
    }

    /// What the function returns: what nothing takes, and perhaps one more.
    fn results(&mut self, params: usize, put: Option<usize>) -> Vec<usize> {
        let ops: Vec<usize> = (params..self.values.len()).collect();
        let mut results: Vec<usize> = put.into_iter().collect();
        results.extend(ops.iter().filter(|i| !self.used[**i] && Some(**i) != put));
        results.extend(ops.choose(self.random).filter(|i| !results.contains(i)));
        if results.len() == usize::from(put.is_some()) || self.below(2) == 0 {
            results.extend(put);
        }
        results
    }
}
