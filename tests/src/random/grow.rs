//! How a random graph grows: by single ops, and by ops that belong together.

mod forms;
mod ops;

use ir::{
    Attr, DType, Dim, Dims, Expr, FunctionBuilder, Literal, LocalId, Module, Op, Place, Site,
    State, StateId, Type, Weight, WeightId, WeightSource, infer,
};
use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;

use super::length;

/// Most elements of a value.
const ELEMENTS: i64 = 6000;
/// Most axes of a value.
const RANK: usize = 4;

/// A function in the making.
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

    /// One integer for all elements.
    fn one(&mut self, ty: &Type, value: i64) -> Option<usize> {
        let attrs = vec![
            Attr::To(ty.dtype),
            Attr::Dims(ty.dims.clone()),
            Attr::Literals(vec![Literal(value as f64)]),
        ];
        self.op(Op::Const, &[], attrs)
    }
}
