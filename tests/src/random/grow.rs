//! How a random graph grows.

use ir::{
    Attr, Class, DType, Dim, Dims, Expr, FunctionBuilder, Literal, LocalId, Module, Op, Place,
    Site, State, StateId, Type, Weight, WeightId, WeightSource, infer,
};
use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::{IndexedRandom, SliceRandom};

use super::length;

/// Most elements of a value.
const ELEMENTS: i64 = 6000;
/// Most axes of a value.
const RANK: usize = 4;

pub struct Grower<'g, 'b> {
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
    /// Whether there may be block formats.
    blocks: bool,
}

impl<'g, 'b> Grower<'g, 'b> {
    pub fn new(
        random: &'g mut StdRng,
        dims: &'b Dims,
        lengths: Vec<Dim>,
        builder: &'b FunctionBuilder<'b>,
        blocks: bool,
    ) -> Grower<'g, 'b> {
        Grower {
            random,
            dims,
            lengths,
            builder,
            values: vec![],
            used: vec![],
            state: None,
            put: None,
            blocks,
        }
    }

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
    pub fn parameters(&mut self, module: &mut Module) -> Vec<Place> {
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
        if self.blocks {
            let ty = Type::new([DType::Q8_0, DType::Q4_0][self.below(2)], [3i64, 64]);
            args.push(self.weight(module, ty));
        }
        if self.below(3) == 0 {
            let constants: Vec<Dim> = self.lengths[2..].to_vec();
            let inner: Vec<Dim> = (0..self.below(2)).map(|i| constants[i].clone()).collect();
            let dtype = [DType::F32, DType::BF16][self.below(2)];
            let rows = Type::new(dtype, [&self.lengths[..1], &inner].concat());
            let capacity = Dim::from(length(self.random).clamp(1, 40));
            let ty = Type::new(dtype, [&[Dim::from(2i64), capacity], &inner[..]].concat());
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

    /// Grows up to so many ops; gives what the function returns: what nothing takes, and perhaps more. With each
    /// goes its number and whether it is the state's next value.
    pub fn results(&mut self, ops: usize) -> Vec<(usize, Expr<'b>, bool)> {
        let params = self.values.len();
        let mut rounds = 0;
        while self.values.len() < params + ops && rounds < 20 * ops {
            self.grow();
            rounds += 1;
        }
        let put = self.put.or_else(|| self.put_into_state());
        let made: Vec<usize> = (params..self.values.len()).collect();
        let mut results: Vec<usize> = put.into_iter().collect();
        results.extend(made.iter().filter(|i| !self.used[**i] && Some(**i) != put));
        results.extend(made.choose(self.random).filter(|i| !results.contains(i)));
        if results.len() == usize::from(put.is_some()) || self.below(2) == 0 {
            results.extend(put);
        }
        let each = results.into_iter();
        each.map(|i| (i, self.values[i], Some(i) == put)).collect()
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

    /// One of these ops.
    fn any(&mut self, ops: &[Op], operands: &[usize], attrs: Vec<Attr>) -> Option<usize> {
        let op = *ops.choose(self.random)?;
        self.op(op, operands, attrs)
    }

    fn ty(&self, value: usize) -> Type {
        self.values[value].ty()
    }

    /// A value for which this holds; late ones more often than early ones.
    fn find(&mut self, holds: impl Fn(&Type) -> bool) -> Option<usize> {
        let all: Vec<usize> = (0..self.values.len()).collect();
        let fitting: Vec<usize> = all.into_iter().filter(|i| holds(&self.ty(*i))).collect();
        let late = fitting.len().saturating_sub(3);
        match self.below(2) {
            0 => fitting[late..].choose(self.random).copied(),
            _ => fitting.choose(self.random).copied(),
        }
    }

    /// Adds an op, or a few that belong together, or nothing if it did not fit.
    fn grow(&mut self) -> Option<usize> {
        match self.below(30) {
            0 | 1 => self.unary(),
            2..=4 => self.binary(),
            5 | 6 => self.logic(),
            7 | 8 => self.cast(),
            9..=11 => self.view(),
            12 => self.concat(),
            13 | 14 => self.take(),
            15..=17 => self.reduce(),
            18..=20 => self.dot(),
            21 => self.put_into_state(),
            22 => self.put(),
            23 => self.chain(),
            24 | 25 => self.row_less(),
            26 | 27 => self.masked(),
            28 => self.blocks.then(|| self.block())?,
            _ => {
                let length = self.length();
                self.op(Op::Iota, &[], vec![Attr::Dim(length)])
            }
        }
    }

    /// A function of one float.
    fn unary_of(&mut self, x: usize) -> Option<usize> {
        let ops = Op::all().filter(|op| {
            let def = op.def();
            def.class == Class::Pointwise
                && def.operands.len() == 1
                && def.attrs.is_empty()
                && !matches!(op, Op::Not | Op::Dequant)
        });
        let ops: Vec<Op> = ops.collect();
        self.any(&ops, &[x], vec![])
    }

    fn unary(&mut self) -> Option<usize> {
        let x = self.find(|ty| ty.dtype == DType::F32)?;
        self.unary_of(x)
    }

    /// A constant of this type: one number, or at times many.
    fn constant(&mut self, ty: &Type, value: f64) -> Option<usize> {
        let count = ty.elements().as_const().filter(|n| (2..=64).contains(n));
        let count = count.filter(|_| self.below(4) == 0).unwrap_or(1);
        let step = f64::from(ty.dtype != DType::Bool);
        let values = (0..count).map(|i| Literal(value + step * (i % 5) as f64));
        let attrs = vec![
            Attr::To(ty.dtype),
            Attr::Dims(ty.dims.clone()),
            Attr::Literals(values.collect()),
        ];
        self.op(Op::Const, &[], attrs)
    }

    /// A value of a type: one that is there, one brought to its shape, or a constant.
    fn of_type(&mut self, ty: &Type) -> Option<usize> {
        let constant = matches!(ty.dtype, DType::F32 | DType::I32 | DType::Bool);
        if constant && self.below(3) == 0 {
            let value = f64::from(self.random.random_range(-3..4));
            let value = if ty.dtype == DType::Bool { 1.0 } else { value };
            return self.constant(ty, value);
        }
        let smaller = self.find(|other| {
            let mut rest = ty.dims.iter();
            let inside = other.dims.iter().all(|d| rest.any(|r| r == d));
            other.dtype == ty.dtype && inside
        })?;
        self.brought(smaller, ty)
    }

    /// A value repeated along the axes that it lacks.
    fn brought(&mut self, x: usize, ty: &Type) -> Option<usize> {
        let from = self.ty(x);
        if from == *ty {
            return Some(x);
        }
        // The first axes that fit, in order.
        let mut at = 0;
        let mut axes = vec![];
        for d in &from.dims {
            at += ty.dims.get(at..)?.iter().position(|e| e == d)?;
            axes.push(at);
            at += 1;
        }
        let attrs = vec![Attr::Dims(ty.dims.clone()), Attr::Axes(axes)];
        self.op(Op::Broadcast, &[x], attrs)
    }

    fn binary(&mut self) -> Option<usize> {
        use Op::{Add, Div, Eq, Le, Lt, Max, Min, Mul, Rem, Sub};
        let x = self.find(|ty| matches!(ty.dtype, DType::F32 | DType::I32))?;
        let ty = self.ty(x);
        let y = self.of_type(&ty)?;
        let ops = [Add, Sub, Mul, Max, Min, Div, Rem, Lt, Le, Eq];
        let pair = if self.below(2) == 0 { [x, y] } else { [y, x] };
        self.any(&ops, &pair, vec![])
    }

    fn logic(&mut self) -> Option<usize> {
        let c = self.find(|ty| ty.dtype == DType::Bool)?;
        match self.below(5) {
            0 => self.op(Op::Not, &[c], vec![]),
            1 => {
                let ty = self.ty(c);
                let d = self.of_type(&ty)?;
                self.any(&[Op::And, Op::Or], &[c, d], vec![])
            }
            _ => {
                let dims = self.ty(c).dims;
                let x = self.find(|ty| ty.dims == dims && !ty.dtype.is_block())?;
                let ty = self.ty(x);
                let y = self.of_type(&ty)?;
                self.op(Op::Select, &[c, x, y], vec![])
            }
        }
    }

    fn cast(&mut self) -> Option<usize> {
        let x = self.find(|ty| ty.dtype != DType::Bool && !ty.dtype.is_block())?;
        let to = match self.ty(x).dtype {
            DType::F32 => [DType::BF16, DType::F16][self.below(2)],
            _ => DType::F32,
        };
        self.op(Op::Cast, &[x], vec![Attr::To(to)])
    }

    /// From a block format and to one.
    fn block(&mut self) -> Option<usize> {
        if self.below(2) == 0 {
            let x = self.find(|ty| ty.dtype.is_block())?;
            return self.op(Op::Dequant, &[x], vec![]);
        }
        let x = self.find(|ty| {
            let last = ty.dims.last().and_then(Dim::as_const);
            ty.dtype == DType::F32 && last.is_some_and(|n| n % 32 == 0)
        })?;
        let to = [DType::Q8_0, DType::Q4_0][self.below(2)];
        self.op(Op::Quantize, &[x], vec![Attr::To(to)])
    }

    fn view(&mut self) -> Option<usize> {
        let x = self.find(|ty| ty.rank() > 0)?;
        let first = self.view_of(x)?;
        match self.below(3) {
            0 => self.view_of(first),
            _ => Some(first),
        }
    }

    fn view_of(&mut self, x: usize) -> Option<usize> {
        let ty = self.ty(x);
        let at = (ty.rank() > 0).then(|| self.below(ty.rank()))?;
        let mut dims = ty.dims.clone();
        match self.below(6) {
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
                let attrs = vec![Attr::Dims(dims), Attr::Axes(axes)];
                self.op(Op::Broadcast, &[x], attrs)
            }
            2 => self.slice(x, at),
            3 if at + 1 < dims.len() => {
                let joined = &dims[at] * &dims[at + 1];
                dims.splice(at..at + 2, [joined]);
                self.op(Op::Reshape, &[x], vec![Attr::Dims(dims)])
            }
            // The same elements in as many axes, of other lengths or in another order.
            4 if at + 1 < dims.len() => {
                dims.swap(at, at + 1);
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
        let length = self.ty(x).dims[axis].clone();
        let (least, _) = self.dims.range(&length)?;
        let start = self.random.random_range(0..=least);
        let behind = self.random.random_range(0..=least - start);
        let stop = &length - &Dim::from(behind);
        let attrs = vec![Attr::Axis(axis), Attr::Dim(start.into()), Attr::Dim(stop)];
        self.op(Op::Slice, &[x], attrs)
    }

    fn concat(&mut self) -> Option<usize> {
        let x = self.find(|ty| ty.rank() > 0)?;
        let ty = self.ty(x);
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

    /// Integers below a length, `[count]`, computed in one of several ways.
    fn index(&mut self, count: &Dim, length: i64) -> Option<usize> {
        let ty = Type::new(DType::I32, [count]);
        let ends = self.dims.proves_le(count, &Dim::from(length));
        let raw = match self.find(|other| *other == ty) {
            Some(raw) if self.below(3) > 0 => raw,
            _ => {
                let iota = self.op(Op::Iota, &[], vec![Attr::Dim(count.clone())])?;
                match self.below(4) {
                    0 if ends => return Some(iota),
                    1 if ends => {
                        let last = self.constant(&ty, (length - 1) as f64)?;
                        let last = self.op(Op::Max, &[last, last], vec![])?;
                        let back = self.op(Op::Sub, &[last, iota], vec![])?;
                        iota.max(back)
                    }
                    _ => iota,
                }
            }
        };
        match self.below(3) {
            0 => {
                let (none, last) = (self.one(&ty, 0)?, self.one(&ty, length - 1)?);
                let above = self.op(Op::Max, &[raw, none], vec![])?;
                self.op(Op::Min, &[above, last], vec![])
            }
            1 => {
                let other = self.of_type(&ty)?;
                let sum = self.op(Op::Add, &[raw, other], vec![])?;
                let length = self.one(&ty, length)?;
                self.op(Op::Rem, &[sum, length], vec![])
            }
            _ => {
                let length = self.one(&ty, length)?;
                self.op(Op::Rem, &[raw, length], vec![])
            }
        }
    }

    /// One integer for all elements.
    fn one(&mut self, ty: &Type, value: i64) -> Option<usize> {
        let attrs = vec![
            Attr::To(ty.dtype),
            Attr::Dims(ty.dims.clone()),
            Attr::Literals(vec![Literal(value as f64)]),
        ];
        self.op(Op::Const, &[], attrs)
    }

    fn take(&mut self) -> Option<usize> {
        let x = self.find(|ty| ty.rank() > 0)?;
        let ty = self.ty(x);
        let axis = self.below(ty.rank());
        let (least, _) = self.dims.range(&ty.dims[axis])?;
        let count = match self.below(2) {
            0 => ty.dims[axis].clone(),
            _ => self.length(),
        };
        let index = (least > 0).then(|| self.index(&count, least))??;
        self.op(Op::Take, &[x, index], vec![Attr::Axis(axis)])
    }

    /// One of these axes, or more, each once, in any order.
    fn axes(&mut self, rank: usize) -> Vec<usize> {
        let mut axes: Vec<usize> = (0..rank).collect();
        axes.shuffle(self.random);
        let count = if rank == 0 { 0 } else { 1 + self.below(rank) };
        axes.truncate(count);
        axes
    }

    fn reduce(&mut self) -> Option<usize> {
        let x = self.find(|ty| ty.dtype == DType::F32 && ty.rank() > 0)?;
        let x = match self.below(3) {
            0 => self.view_of(x)?,
            _ => x,
        };
        self.reduce_of(x)
    }

    fn reduce_of(&mut self, x: usize) -> Option<usize> {
        let rank = self.ty(x).rank();
        let axes = match self.below(24) {
            0 => vec![],
            _ => self.axes(rank),
        };
        self.any(
            &[Op::ReduceSum, Op::ReduceMax],
            &[x],
            vec![Attr::Axes(axes)],
        )
    }

    /// Rows less something of each row, folded or in a softmax.
    fn row_less(&mut self) -> Option<usize> {
        let x = self.find(|ty| ty.dtype == DType::F32 && ty.rank() > 1)?;
        let ty = self.ty(x);
        let axis = self.below(ty.rank());
        let mut rows = ty.clone();
        rows.dims.remove(axis);
        let kept: Vec<usize> = (0..ty.rank()).filter(|i| *i != axis).collect();
        let along = vec![Attr::Axes(vec![axis])];
        let row = match self.below(3) {
            0 => self.of_type(&rows)?,
            1 => {
                let folded = self.any(&[Op::ReduceSum, Op::ReduceMax], &[x], along.clone())?;
                self.unary_of(folded)?
            }
            _ => self.op(Op::ReduceMax, &[x], along.clone())?,
        };
        let spread = vec![Attr::Dims(ty.dims.clone()), Attr::Axes(kept)];
        let row = self.op(Op::Broadcast, &[row], spread.clone())?;
        let less = self.op(Op::Sub, &[x, row], vec![])?;
        match self.below(4) {
            0 | 1 => self.reduce_of(less),
            2 => Some(less),
            _ => {
                let weights = self.op(Op::Exp, &[less], vec![])?;
                let sum = self.op(Op::ReduceSum, &[weights], along)?;
                let sum = self.op(Op::Broadcast, &[sum], spread)?;
                self.op(Op::Div, &[weights, sum], vec![])
            }
        }
    }

    /// Rows of which a mask takes a stretch: what `k <= i`, `k < i`, `k > i - n` and the like let stand, folded.
    fn masked(&mut self) -> Option<usize> {
        let x = self.find(|ty| ty.dtype == DType::F32 && ty.rank() > 0)?;
        let ty = self.ty(x);
        let axis = self.below(ty.rank());
        let ints = Type::new(DType::I32, ty.dims.clone());
        let keys = self.op(Op::Iota, &[], vec![Attr::Dim(ty.dims[axis].clone())])?;
        let attrs = vec![Attr::Dims(ty.dims.clone()), Attr::Axes(vec![axis])];
        let keys = self.op(Op::Broadcast, &[keys], attrs)?;
        let other = self.of_type(&ints)?;
        let pair = if self.below(2) == 0 {
            [keys, other]
        } else {
            [other, keys]
        };
        let mut mask = self.any(&[Op::Lt, Op::Le], &pair, vec![])?;
        if self.below(3) == 0 {
            let window = self.one(&ints, 5)?;
            let from = self.op(Op::Sub, &[other, window], vec![])?;
            let within = self.op(Op::Lt, &[from, keys], vec![])?;
            mask = self.any(&[Op::And, Op::Or], &[mask, within], vec![])?;
        }
        let value = [f64::NEG_INFINITY, 0.0][self.below(2)];
        let literal = Attr::Literals(vec![Literal(value)]);
        let attrs = vec![Attr::To(DType::F32), Attr::Dims(ty.dims.clone()), literal];
        let outside = self.op(Op::Const, &[], attrs)?;
        let pair = if self.below(3) > 0 {
            [x, outside]
        } else {
            [outside, x]
        };
        let masked = self.op(Op::Select, &[mask, pair[0], pair[1]], vec![])?;
        match self.below(4) {
            0 => Some(masked),
            _ => self.any(
                &[Op::ReduceSum, Op::ReduceMax],
                &[masked],
                vec![Attr::Axes(vec![axis])],
            ),
        }
    }

    /// A few ops on one value, some of which take it again.
    fn chain(&mut self) -> Option<usize> {
        let first = self.find(|ty| matches!(ty.dtype, DType::F32 | DType::I32))?;
        let float = self.ty(first).dtype == DType::F32;
        let mut last = first;
        for _ in 0..2 + self.below(3) {
            last = match self.below(3) {
                0 if float => self.unary_of(last)?,
                1 => self.any(&[Op::Mul, Op::Sub, Op::Max], &[last, first], vec![])?,
                _ => {
                    let ty = self.ty(first);
                    let other = self.of_type(&ty)?;
                    self.any(&[Op::Add, Op::Min], &[last, other], vec![])?
                }
            };
        }
        Some(last)
    }

    /// A dot over some of the pairs of axes of equal length, others of which are its batch.
    fn dot(&mut self) -> Option<usize> {
        let is_operand = |ty: &Type| matches!(ty.dtype, DType::F32 | DType::BF16) && ty.rank() > 0;
        let mut sides = [self.find(is_operand)?, self.find(is_operand)?];
        let types = sides.map(|x| self.ty(x));
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
            if self.ty(*side).dtype == DType::BF16 {
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
    fn put_into_state(&mut self) -> Option<usize> {
        let state = self.state.filter(|_| self.put.is_none())?;
        let ty = self.ty(state);
        let rows = self.find(|rows| {
            rows.dtype == ty.dtype && rows.rank() > 0 && rows.dims[1..] == ty.dims[2..]
        })?;
        self.put = self.put_rows(state, rows);
        self.put
    }

    /// Any value with rows put into it.
    fn put(&mut self) -> Option<usize> {
        let into = self.find(|ty| ty.rank() > 1 && !ty.dtype.is_block())?;
        let ty = self.ty(into);
        let count = self.length();
        let rows = Type::new(ty.dtype, [&[count], &ty.dims[2..]].concat());
        let rows = self.of_type(&rows)?;
        self.put_rows(into, rows)
    }

    fn put_rows(&mut self, into: usize, rows: usize) -> Option<usize> {
        let ty = self.ty(into);
        let count = self.ty(rows).dims[0].clone();
        let mut at = vec![];
        for dim in &ty.dims[..2] {
            let (least, _) = self.dims.range(dim)?;
            at.push((least > 0).then(|| self.index(&count, least))??);
        }
        self.op(Op::Put, &[into, at[0], at[1], rows], vec![])
    }
}
