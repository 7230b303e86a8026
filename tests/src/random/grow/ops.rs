//! One op at a time.

use ir::{Attr, Class, DType, Dim, Op, Type};
use rand::Rng;
use rand::seq::{IndexedRandom, SliceRandom};

use super::Grower;

impl Grower<'_, '_> {
    /// Adds an op, or a few that belong together, or nothing if it did not fit.
    pub(super) fn grow(&mut self) -> Option<usize> {
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
    pub(super) fn unary_of(&mut self, x: usize) -> Option<usize> {
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

    pub(super) fn unary(&mut self) -> Option<usize> {
        let x = self.find(|ty| ty.dtype == DType::F32)?;
        self.unary_of(x)
    }

    pub(super) fn binary(&mut self) -> Option<usize> {
        use Op::{Add, Div, Eq, Le, Lt, Max, Min, Mul, Rem, Sub};
        let x = self.find(|ty| matches!(ty.dtype, DType::F32 | DType::I32))?;
        let ty = self.ty(x);
        let y = self.of_type(&ty)?;
        let ops = [Add, Sub, Mul, Max, Min, Div, Rem, Lt, Le, Eq];
        let pair = if self.below(2) == 0 { [x, y] } else { [y, x] };
        self.any(&ops, &pair, vec![])
    }

    pub(super) fn logic(&mut self) -> Option<usize> {
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

    pub(super) fn cast(&mut self) -> Option<usize> {
        let x = self.find(|ty| ty.dtype != DType::Bool && !ty.dtype.is_block())?;
        let to = match self.ty(x).dtype {
            DType::F32 => [DType::BF16, DType::F16][self.below(2)],
            _ => DType::F32,
        };
        self.op(Op::Cast, &[x], vec![Attr::To(to)])
    }

    /// From a block format and to one.
    pub(super) fn block(&mut self) -> Option<usize> {
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

    pub(super) fn view(&mut self) -> Option<usize> {
        let x = self.find(|ty| ty.rank() > 0)?;
        let first = self.view_of(x)?;
        match self.below(3) {
            0 => self.view_of(first),
            _ => Some(first),
        }
    }

    pub(super) fn view_of(&mut self, x: usize) -> Option<usize> {
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

    pub(super) fn slice(&mut self, x: usize, axis: usize) -> Option<usize> {
        let length = self.ty(x).dims[axis].clone();
        let (least, _) = self.dims.range(&length)?;
        let start = self.random.random_range(0..=least);
        let behind = self.random.random_range(0..=least - start);
        let stop = &length - &Dim::from(behind);
        let attrs = vec![Attr::Axis(axis), Attr::Dim(start.into()), Attr::Dim(stop)];
        self.op(Op::Slice, &[x], attrs)
    }

    pub(super) fn concat(&mut self) -> Option<usize> {
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

    pub(super) fn take(&mut self) -> Option<usize> {
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
    pub(super) fn axes(&mut self, rank: usize) -> Vec<usize> {
        let mut axes: Vec<usize> = (0..rank).collect();
        axes.shuffle(self.random);
        let count = if rank == 0 { 0 } else { 1 + self.below(rank) };
        axes.truncate(count);
        axes
    }

    pub(super) fn reduce(&mut self) -> Option<usize> {
        let x = self.find(|ty| ty.dtype == DType::F32 && ty.rank() > 0)?;
        let x = match self.below(3) {
            0 => self.view_of(x)?,
            _ => x,
        };
        self.reduce_of(x)
    }

    pub(super) fn reduce_of(&mut self, x: usize) -> Option<usize> {
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

    /// A dot over some of the pairs of axes of equal length, others of which are its batch.
    pub(super) fn dot(&mut self) -> Option<usize> {
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
}
