//! Shapes, types and attributes that a rule's left side matches, found from the result downwards: the
//! type wanted of an op and the attributes chosen for it say what is wanted of its operands.

use std::collections::BTreeMap;

use ir::{AttrKind, Class, DType, Dim, Dims, Op, Type};

use super::choices::Choices;
use super::regroup::regrouped;
use super::values;
use crate::rules::{Expr, Rule, Scope, Term, Thing};

/// Most elements of a tensor.
const MAX_ELEMENTS: i64 = 1 << 13;

/// Most axes of the result.
const RANK: usize = 4;

/// Longest of the short axes.
const SHORT: usize = 4;

/// How many elements a tensor of this type has at most; `None` if that is not known.
pub(super) fn most_elements(ty: &Type, dims: &Dims) -> Option<i64> {
    ty.dims.iter().try_fold(1i64, |product, d| {
        let (_, most) = dims.range(d)?;
        Some(product.saturating_mul(most))
    })
}

/// Whether a tensor of this type is no larger than one may be, whatever the symbols.
pub(super) fn has_few_elements(ty: &Type, dims: &Dims) -> bool {
    most_elements(ty, dims).is_some_and(|most| most <= MAX_ELEMENTS)
}

/// What is bound so far.
pub(super) struct Generator<'c> {
    choices: &'c mut Choices,
    /// The lengths that axes have; any short ones if there are none.
    lengths: Vec<usize>,
    /// Whether an axis may be longer than the sixteen lanes of a sum.
    long: bool,
    pub scope: Scope,
    /// Variables that are indices, and below what.
    pub bounds: BTreeMap<usize, usize>,
}

const PLAIN: [DType; 5] = [DType::F32, DType::I32, DType::Bool, DType::BF16, DType::F16];

/// Whether a side has an op that combines the elements of an axis.
fn combines(side: &Term) -> bool {
    match side {
        Term::Var(_) => false,
        Term::Op { op, operands, .. } => {
            matches!(op.def().class, Class::Reduce | Class::Dot) || operands.iter().any(combines)
        }
    }
}

impl<'c> Generator<'c> {
    /// Nothing is bound yet.
    pub fn new(rule: &Rule, choices: &'c mut Choices) -> Generator<'c> {
        // Few lengths, lest every mistake about which axis is which make another type.
        let lengths = match choices.below(4) {
            0 => vec![],
            n => (0..n).map(|_| 1 + choices.below(SHORT)).collect(),
        };
        let sums = combines(&rule.left) || combines(&rule.right);
        Generator {
            lengths,
            long: sums && choices.once_in(2),
            scope: vec![None; rule.vars.len()],
            bounds: BTreeMap::new(),
            choices,
        }
    }

    fn dim(&mut self) -> usize {
        if self.long && self.choices.once_in(6) {
            return 17 + self.choices.below(24);
        }
        // No elements at all is a case too, but a rare one.
        match self.choices.below(16) {
            15 => 0,
            13 | 14 => 1,
            _ if self.lengths.is_empty() => 1 + self.choices.below(SHORT),
            _ => self.lengths[self.choices.below(self.lengths.len())],
        }
    }

    /// A type for the result of the left side.
    pub fn result(&mut self, op: Op) -> Type {
        let rank = self.choices.below(RANK + 1);
        let dims = (0..rank).map(|_| self.dim()).collect::<Vec<_>>();
        let dtype = match op.def().class {
            Class::View | Class::Gather | Class::State | Class::Pointwise
                if self.choices.once_in(2) =>
            {
                self.choices.pick(&PLAIN)
            }
            _ => DType::F32,
        };
        if op.def().class != Class::Pointwise && self.choices.once_in(16) {
            let blocks = [DType::Q8_0, DType::Q4_0];
            return Type::new(self.choices.pick(&blocks), [&dims[..], &[32]].concat());
        }
        Type::new(dtype, dims)
    }

    /// Binds the variables of a term so that it is of this type; `None` if that did not succeed.
    pub fn term(&mut self, term: &Term, want: &Type) -> Option<()> {
        if !has_few_elements(want, &Dims::default()) {
            return None;
        }
        let (op, operands, attrs) = match term {
            Term::Var(i) => return self.bind(*i, Thing::Value(want.clone())),
            Term::Op {
                op,
                operands,
                attrs,
            } => (*op, operands, attrs),
        };
        let same = |dtype| Type {
            dtype,
            dims: want.dims.clone(),
        };
        let each: Vec<Type> = match op {
            Op::Lt | Op::Le | Op::Eq => {
                let known = operands.iter().find_map(|o| self.known_type(o));
                let dtype = known.map(|t| t.dtype);
                let dtype = dtype.unwrap_or_else(|| self.choices.pick(&[DType::F32, DType::I32]));
                vec![same(dtype); 2]
            }
            Op::Select => vec![same(DType::Bool), want.clone(), want.clone()],
            Op::Cast | Op::Quantize => {
                self.attr(&attrs[0], Thing::DType(want.dtype))?;
                let from = match want.dtype {
                    DType::F32 => self.choices.pick(&[DType::BF16, DType::F16, DType::I32]),
                    _ => DType::F32,
                };
                vec![same(from)]
            }
            Op::Dequant => vec![same(self.choices.pick(&[DType::Q8_0, DType::Q4_0]))],
            Op::Const => {
                self.attr(&attrs[0], Thing::DType(want.dtype))?;
                self.attr(&attrs[1], Thing::Numbers(want.dims.clone()))?;
                if self.known(&attrs[2]).is_none() {
                    let count = usize::try_from(want.elements().as_const()?).ok()?;
                    let values = values::literals(self.choices, want.dtype, count);
                    self.attr(&attrs[2], Thing::Literals(values))?;
                }
                vec![]
            }
            Op::Iota => {
                self.attr(&attrs[0], Thing::Number(want.dims.first()?.clone()))?;
                vec![]
            }
            Op::Reshape => {
                self.attr(&attrs[0], Thing::Numbers(want.dims.clone()))?;
                vec![self.reshaped(&operands[0], want)?]
            }
            Op::Transpose => {
                let axes = self.choose(&attrs[0], |g| numbers(&g.shuffled(want.rank())))?;
                let axes = indices(&axes)?;
                let mut dims = want.dims.clone();
                for (axis, d) in axes.iter().zip(&want.dims) {
                    *dims.get_mut(*axis)? = d.clone();
                }
                vec![Type::new(want.dtype, dims)]
            }
            Op::Broadcast => {
                self.attr(&attrs[0], Thing::Numbers(want.dims.clone()))?;
                let known = self.known_dims(&operands[0]);
                let axes = self.choose(&attrs[1], |g| numbers(&g.placed(want, known)))?;
                let dims = indices(&axes)?
                    .into_iter()
                    .map(|a| want.dims.get(a).cloned());
                vec![Type::new(want.dtype, dims.collect::<Option<Vec<_>>>()?)]
            }
            Op::Slice => vec![self.slice(operands, attrs, want)?],
            Op::Concat => {
                let axis = self.axis(&attrs[0], want.rank())?;
                let mut left = usize::try_from(want.dims.get(axis)?.as_const()?).ok()?;
                let mut parts = Vec::new();
                for (i, operand) in operands.iter().enumerate() {
                    let known = self.known_type(operand);
                    let known = known.and_then(|t| t.dims.get(axis)?.as_const());
                    let length = match known {
                        _ if i + 1 == operands.len() => left,
                        Some(n) => usize::try_from(n).ok()?,
                        None => self.choices.below(left + 1),
                    };
                    left = left.checked_sub(length)?;
                    parts.push(with(want, axis, length)?);
                }
                parts
            }
            Op::ReduceSum | Op::ReduceMax => {
                let known = self.known_dims(&operands[0]);
                let more = match &known {
                    Some(dims) => dims.len().checked_sub(want.rank())?,
                    None => 1 + self.choices.below(2),
                };
                let axes = self.choose(&attrs[0], |g| {
                    let all = g.shuffled(want.rank() + more);
                    numbers(&all[..more])
                })?;
                let dims = match known {
                    Some(dims) => dims,
                    None => self.around(&want.dims, &[&indices(&axes)?])?,
                };
                vec![Type::new(want.dtype, dims)]
            }
            Op::Dot => self.dot(attrs, want)?,
            Op::Take => {
                let axis = self.axis(&attrs[0], want.rank())?;
                let known = self.known_type(&operands[0]);
                let known = known.and_then(|t| t.dims.get(axis)?.as_const());
                let length = match known {
                    Some(n) => usize::try_from(n).ok()?,
                    None => self.dim().max(1),
                };
                self.below(&operands[1], length);
                let index = Type::new(DType::I32, [want.dims.get(axis)?]);
                vec![with(want, axis, length)?, index]
            }
            Op::Put => {
                let rows = Dim::from(self.dim());
                let index = Type::new(DType::I32, [&rows]);
                for (i, operand) in operands[1..3].iter().enumerate() {
                    let length = want.dims.get(i)?.as_const()?;
                    self.below(operand, usize::try_from(length).ok()?);
                }
                let inner = want.dims.get(2..)?;
                let rows = Type::new(want.dtype, [&[rows], inner].concat());
                vec![want.clone(), index.clone(), index, rows]
            }
            // The rest is pointwise, and takes what it gives.
            _ => vec![want.clone(); operands.len()],
        };
        operands
            .iter()
            .zip(&each)
            .try_for_each(|(operand, ty)| self.term(operand, ty))
    }

    fn bind(&mut self, var: usize, thing: Thing) -> Option<()> {
        match self.scope.get_mut(var)? {
            Some(bound) => (*bound == thing).then_some(()),
            free => {
                *free = Some(thing);
                Some(())
            }
        }
    }

    fn attr(&mut self, expr: &Expr, thing: Thing) -> Option<()> {
        match (expr, self.known(expr)) {
            (_, Some(known)) => (known == thing).then_some(()),
            (Expr::Var(i), None) => self.bind(*i, thing),
            _ => None,
        }
    }

    fn known(&self, expr: &Expr) -> Option<Thing> {
        expr.eval(&self.scope, &ir::Dims::default())
    }

    /// The type of a term, if it is a variable that is bound.
    fn known_type(&self, term: &Term) -> Option<Type> {
        match term {
            Term::Var(i) => match self.scope.get(*i)?.as_ref()? {
                Thing::Value(ty) => Some(ty.clone()),
                _ => None,
            },
            Term::Op { .. } => None,
        }
    }

    /// What the attribute is bound to, or is now.
    fn choose(&mut self, expr: &Expr, choice: impl FnOnce(&mut Self) -> Thing) -> Option<Thing> {
        if let Some(known) = self.known(expr) {
            return Some(known);
        }
        let thing = choice(self);
        self.attr(expr, thing.clone())?;
        Some(thing)
    }

    fn axis(&mut self, expr: &Expr, rank: usize) -> Option<usize> {
        let chosen = self.choose(expr, |g| Thing::Number(Dim::from(g.choices.below(rank))))?;
        match chosen.to_attr(AttrKind::Axis)? {
            ir::Attr::Axis(axis) => (axis < rank).then_some(axis),
            _ => None,
        }
    }

    fn shuffled(&mut self, n: usize) -> Vec<usize> {
        let mut all: Vec<usize> = (0..n).collect();
        for i in (1..n).rev() {
            all.swap(i, i - self.choices.below(i + 1));
        }
        all
    }

    /// The dims of a term, where what is bound says them.
    fn known_dims(&self, term: &Term) -> Option<Vec<Dim>> {
        let (op, operands, attrs) = match term {
            Term::Var(_) => return self.known_type(term).map(|ty| ty.dims),
            Term::Op {
                op,
                operands,
                attrs,
            } => (*op, operands, attrs),
        };
        let shape = match op {
            Op::Reshape | Op::Broadcast => attrs.first()?,
            Op::Const => attrs.get(1)?,
            _ if op.def().class == Class::Pointwise => {
                return operands.iter().find_map(|o| self.known_dims(o));
            }
            _ => return None,
        };
        match self.known(shape)? {
            Thing::Numbers(dims) => Some(dims),
            _ => None,
        }
    }

    /// Axes of a broadcast at which its operand may lie: of these dims, if they are known.
    fn placed(&mut self, want: &Type, known: Option<Vec<Dim>>) -> Vec<usize> {
        let all = self.choices.once_in(4);
        for _ in 0..8 {
            let axes = 0..want.rank();
            let axes: Vec<usize> = axes.filter(|_| all || self.choices.once_in(2)).collect();
            let dims = axes.iter().map(|a| &want.dims[*a]);
            if known.as_ref().is_none_or(|known| known.iter().eq(dims)) {
                return axes;
            }
        }
        vec![]
    }

    /// A type with the elements of this one in other axes.
    fn reshaped(&mut self, operand: &Term, want: &Type) -> Option<Type> {
        if let Some(dims) = self.known_dims(operand) {
            return Some(Type::new(want.dtype, dims));
        }
        let lengths = |dims: &[Dim]| {
            let lengths = dims.iter().map(|d| usize::try_from(d.as_const()?).ok());
            lengths.collect::<Option<Vec<usize>>>()
        };
        let dims = match want.dims.split_last() {
            Some((blocks, outer)) if want.dtype.is_block() => {
                let outer = regrouped(self.choices, &lengths(outer)?);
                let outer = outer.into_iter().map(Dim::from);
                outer.chain([blocks.clone()]).collect()
            }
            _ => {
                let dims = regrouped(self.choices, &lengths(&want.dims)?);
                dims.into_iter().map(Dim::from).collect::<Vec<_>>()
            }
        };
        Some(Type::new(want.dtype, dims))
    }

    fn slice(&mut self, operands: &[Term], attrs: &[Expr], want: &Type) -> Option<Type> {
        let axis = self.axis(&attrs[0], want.rank())?;
        let length = usize::try_from(want.dims.get(axis)?.as_const()?).ok()?;
        let known = self.known_type(&operands[0]);
        let whole = known.and_then(|t| t.dims.get(axis)?.as_const());
        let whole = whole.and_then(|n| usize::try_from(n).ok());
        let most = whole.map_or(3, |n| n.saturating_sub(length));
        let start = self.choose(&attrs[1], |g| {
            Thing::Number(Dim::from(g.choices.below(most + 1)))
        })?;
        let Thing::Number(start) = start else {
            return None;
        };
        let stop = &start + &Dim::from(length);
        self.attr(&attrs[2], Thing::Number(stop.clone()))?;
        let behind = self.choices.below(4);
        let stop = usize::try_from(stop.as_const()?).ok()?;
        with(want, axis, whole.unwrap_or(stop + behind))
    }

    /// Dims of which those outside the lists are these; the lists' axes get lengths of their own.
    fn around(&mut self, kept: &[Dim], lists: &[&[usize]]) -> Option<Vec<Dim>> {
        let named = lists.concat();
        let mut kept = kept.iter();
        let rank = kept.len() + named.len();
        let mut dims = Vec::new();
        for axis in 0..rank {
            dims.push(match named.contains(&axis) {
                true => Dim::from(self.dim()),
                false => kept.next()?.clone(),
            });
        }
        Some(dims)
    }

    /// Operands of a dot whose result has this type: some axes of batch, some of a, the rest of b.
    fn dot(&mut self, attrs: &[Expr], want: &Type) -> Option<Vec<Type>> {
        let [p, q, c, d] = attrs else { return None };
        let batch = match self.known(p) {
            Some(known) => indices(&known)?.len(),
            None => self.choices.below(want.rank().min(2) + 1),
        };
        let contracted = match self.known(c) {
            Some(known) => indices(&known)?.len(),
            None => 1 + self.choices.below(2),
        };
        let a_free = self.choices.below(want.rank().checked_sub(batch)? + 1);
        let b_free = want.rank() - batch - a_free;
        let mut sides = Vec::new();
        for (free, batch_of, contract_of) in [(a_free, p, c), (b_free, q, d)] {
            let all = self.shuffled(batch + free + contracted);
            let on = self.choose(batch_of, |_| numbers(&all[..batch]))?;
            let off = self.choose(contract_of, |_| numbers(&all[batch..batch + contracted]))?;
            sides.push((free, indices(&on)?, indices(&off)?));
        }
        let lengths: Vec<Dim> = (0..contracted).map(|_| Dim::from(self.dim())).collect();
        let mut from = batch;
        let mut types = Vec::new();
        for (free, on, off) in sides {
            let own = want.dims.get(from..from + free)?;
            from += free;
            let mut dims = self.around(own, &[&on, &off])?;
            for (axis, d) in on.iter().zip(&want.dims).chain(off.iter().zip(&lengths)) {
                *dims.get_mut(*axis)? = d.clone();
            }
            types.push(Type::new(DType::F32, dims));
        }
        Some(types)
    }

    /// Notes that a variable is an index below this length.
    fn below(&mut self, term: &Term, length: usize) {
        if let Term::Var(i) = term {
            let bound = self.bounds.entry(*i).or_insert(length);
            *bound = length.min(*bound);
        }
    }
}

/// The type with this length of an axis.
fn with(ty: &Type, axis: usize, length: usize) -> Option<Type> {
    let mut ty = ty.clone();
    *ty.dims.get_mut(axis)? = Dim::from(length);
    Some(ty)
}

fn numbers(n: &[usize]) -> Thing {
    Thing::Numbers(n.iter().map(|n| Dim::from(*n)).collect())
}

fn indices(thing: &Thing) -> Option<Vec<usize>> {
    match thing.to_attr(AttrKind::Axes)? {
        ir::Attr::Axes(axes) => Some(axes),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::RuleSet;

    #[test]
    fn a_type_too_large_to_run_is_drawn_no_values_for() {
        let same = "const() {to = ?t, shape = ?s, values = ?v}";
        let rules = RuleSet::parse(&format!("same exact: {same} => {same}"), "my.rules");
        let rules = rules.unwrap_or_else(|e| panic!("{e}"));
        let rule = &rules.rules()[0];
        for seed in 0..16 {
            let mut choices = Choices::random(seed);
            let mut generator = Generator::new(rule, &mut choices);
            let huge = Type::new(DType::F32, [1usize << 40]);
            assert_eq!(generator.term(&rule.left, &huge), None);
        }
    }
}
