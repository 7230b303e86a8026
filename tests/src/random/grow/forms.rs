//! Ops that belong together: computed indices and what they are for, rows less something of their own, masks, chains.

use ir::{Attr, DType, Dim, Literal, Op, Type};

use super::Grower;

impl Grower<'_, '_> {
    /// Integers below a length, `[count]`, computed in one of several ways.
    pub(super) fn index(&mut self, count: &Dim, length: i64) -> Option<usize> {
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

    /// Rows less something of each row, folded or in a softmax.
    pub(super) fn row_less(&mut self) -> Option<usize> {
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
    pub(super) fn masked(&mut self) -> Option<usize> {
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
    pub(super) fn chain(&mut self) -> Option<usize> {
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

    /// The state with rows put into it, if some fit.
    pub(super) fn put_into_state(&mut self) -> Option<usize> {
        let state = self.state.filter(|_| self.put.is_none())?;
        let ty = self.ty(state);
        let rows = self.find(|rows| {
            rows.dtype == ty.dtype && rows.rank() > 0 && rows.dims[1..] == ty.dims[2..]
        })?;
        self.put = self.put_rows(state, rows);
        self.put
    }

    /// Any value with rows put into it.
    pub(super) fn put(&mut self) -> Option<usize> {
        let into = self.find(|ty| ty.rank() > 1 && !ty.dtype.is_block())?;
        let ty = self.ty(into);
        let count = self.length();
        let rows = Type::new(ty.dtype, [&[count], &ty.dims[2..]].concat());
        let rows = self.of_type(&rows)?;
        self.put_rows(into, rows)
    }

    pub(super) fn put_rows(&mut self, into: usize, rows: usize) -> Option<usize> {
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
