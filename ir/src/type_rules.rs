//! Shape and dtype rules: the type of an op's result, or the constraint that is broken.

use crate::attr::{Attr, Literal};
use crate::constraint::Constraint;
use crate::dim::{Dim, Dims};
use crate::dtype::DType;
use crate::ops::OpDef;
use crate::ty::Type;

/// An op at the place where it is used.
pub struct Site<'a> {
    /// The op's row.
    pub def: &'static OpDef,
    /// Its attributes, of the row's kinds.
    pub attrs: &'a [Attr],
    /// Types of its operands, as many as the row has.
    pub operands: &'a [&'a Type],
    /// What is known of the symbols.
    pub dims: &'a Dims,
}

/// A broken constraint and how it is broken.
#[derive(Clone, Debug, PartialEq)]
pub struct Breach {
    /// Which constraint.
    pub constraint: Constraint,
    /// What was found and what was expected.
    pub detail: String,
}

/// A row's rule.
pub type Rule = fn(&Site) -> Result<Type, Breach>;

type Inferred = Result<Type, Breach>;

fn breach<T>(constraint: Constraint, detail: impl Into<String>) -> Result<T, Breach> {
    Err(Breach {
        constraint,
        detail: detail.into(),
    })
}

/// Largest length of an axis.
pub const MAX_DIM: i64 = 1 << 40;
/// Most elements in a tensor.
pub const MAX_ELEMENTS: i64 = 1 << 60;

/// The type of the op's result.
pub fn infer(site: &Site) -> Inferred {
    let (wanted, found) = (site.def.operands.len(), site.operands.len());
    if found != wanted && !(site.def.variadic && found >= wanted) {
        let at_least = if site.def.variadic { "at least " } else { "" };
        let detail = format!("expected {at_least}{wanted} operands, found {found}");
        return breach(Constraint::Operands, detail);
    }
    let kinds = site.def.attrs.iter().map(|(_, kind)| *kind);
    if !kinds.eq(site.attrs.iter().map(Attr::kind)) {
        let names: Vec<&str> = site.def.attrs.iter().map(|(name, _)| *name).collect();
        let detail = format!("expected attributes {{{}}}", names.join(", "));
        return breach(Constraint::Attributes, detail);
    }
    let ty = (site.def.rule)(site)?;
    check_type(&ty, site.dims)?;
    Ok(ty)
}

/// Whether a type can stand anywhere: constraints Symbol, Size and Block.
pub fn check_type(ty: &Type, dims: &Dims) -> Result<(), Breach> {
    let mut most = 1i64;
    for d in &ty.dims {
        if let Some(s) = d.syms().find(|s| dims.range_of(s).is_none()) {
            return breach(Constraint::Symbol, format!("{s} in {ty} is not declared"));
        }
        match dims.range(d) {
            Some((_, high)) if dims.proves_le(&Dim::default(), d) && high <= MAX_DIM => {
                most = most.saturating_mul(high.max(1));
            }
            range => {
                let (low, high) = range.unwrap_or_default();
                let detail = format!("{d} in {ty} lies in {low}..{high}");
                return breach(Constraint::Size, detail);
            }
        }
    }
    if most > MAX_ELEMENTS {
        return breach(Constraint::Size, format!("{ty} has up to {most} elements"));
    }
    let last = ty.dims.last().and_then(Dim::as_const);
    if ty.dtype.is_block() && last.is_none() {
        return breach(Constraint::Block, format!("{ty} has no constant last axis"));
    }
    Ok(())
}

impl Site<'_> {
    fn attr(&self, i: usize) -> &Attr {
        self.attrs
            .get(i)
            .expect("attributes are checked against the op's row before its rule runs")
    }

    fn operand(&self, i: usize) -> &Type {
        self.operands
            .get(i)
            .expect("operands are counted against the op's row before its rule runs")
    }
}

/// Reads attribute `i` as the kind that the op's row gives it.
macro_rules! attr_readers {
    ($($name:ident $kind:ident $ty:ty;)*) => {
        impl Site<'_> {
            $(
                #[doc = concat!("Attribute `i`, of kind ", stringify!($kind), ".")]
                pub fn $name(&self, i: usize) -> &$ty {
                    match self.attr(i) {
                        Attr::$kind(x) => x,
                        other => panic!("attribute {i} of {} is {other}", self.def.name),
                    }
                }
            )*
        }
    };
}

attr_readers! {
    axis Axis usize;
    axes Axes [usize];
    dim Dim Dim;
    shape Dims [Dim];
    to To DType;
    literals Literals [Literal];
}

fn want_dtypes(ty: &Type, taken: &[DType]) -> Result<(), Breach> {
    if taken.contains(&ty.dtype) {
        return Ok(());
    }
    let names: Vec<&str> = taken.iter().map(|t| t.name()).collect();
    breach(
        Constraint::Dtype,
        format!("{ty} is not {}", names.join(" or ")),
    )
}

/// Pointwise operands of these dtypes, all of one shape and of one dtype.
fn alike(operands: &[&Type], taken: &[DType]) -> Inferred {
    let Some((first, rest)) = operands.split_first() else {
        return breach(Constraint::Operands, "expected an operand");
    };
    want_dtypes(first, taken)?;
    for other in rest {
        if other.dtype != first.dtype {
            return breach(Constraint::Dtype, format!("{first} beside {other}"));
        }
        if other.dims != first.dims {
            return breach(Constraint::SameShape, format!("{first} beside {other}"));
        }
    }
    Ok((*first).clone())
}

pub(crate) fn float(s: &Site) -> Inferred {
    alike(s.operands, &[DType::F32])
}

pub(crate) fn arithmetic(s: &Site) -> Inferred {
    alike(s.operands, &[DType::F32, DType::I32])
}

pub(crate) fn integer(s: &Site) -> Inferred {
    alike(s.operands, &[DType::I32])
}

pub(crate) fn logic(s: &Site) -> Inferred {
    alike(s.operands, &[DType::Bool])
}

pub(crate) fn compare(s: &Site) -> Inferred {
    let ty = arithmetic(s)?;
    Ok(Type {
        dtype: DType::Bool,
        ..ty
    })
}

pub(crate) fn select(s: &Site) -> Inferred {
    let condition = s.operand(0);
    want_dtypes(condition, &[DType::Bool])?;
    let unblocked: Vec<DType> = DType::all().filter(|t| !t.is_block()).collect();
    let ty = alike(s.operands.get(1..).unwrap_or_default(), &unblocked)?;
    if condition.dims != ty.dims {
        return breach(Constraint::SameShape, format!("{condition} beside {ty}"));
    }
    Ok(ty)
}

pub(crate) fn cast(s: &Site) -> Inferred {
    use DType::{BF16, F16, F32, I32};
    let (x, to) = (s.operand(0), *s.to(0));
    match (x.dtype, to) {
        (BF16 | F16 | I32, F32) | (F32, BF16 | F16) => Ok(Type {
            dtype: to,
            dims: x.dims.clone(),
        }),
        _ => breach(
            Constraint::Conversion,
            format!("{x} cannot be cast to {to}"),
        ),
    }
}

pub(crate) fn dequant(s: &Site) -> Inferred {
    let x = s.operand(0);
    if !x.dtype.is_block() {
        return breach(Constraint::Conversion, format!("{x} is not a block format"));
    }
    Ok(Type {
        dtype: DType::F32,
        dims: x.dims.clone(),
    })
}

pub(crate) fn quantize(s: &Site) -> Inferred {
    let (x, to) = (s.operand(0), *s.to(0));
    if x.dtype != DType::F32 || !to.is_block() {
        return breach(
            Constraint::Conversion,
            format!("{x} cannot be quantized to {to}"),
        );
    }
    Ok(Type {
        dtype: to,
        dims: x.dims.clone(),
    })
}

pub(crate) fn constant(s: &Site) -> Inferred {
    let ty = Type::new(*s.to(0), s.shape(1));
    let values = s.literals(2);
    check_type(&ty, s.dims)?;
    let fits = match ty.dtype {
        DType::F32 => |_: f64| true,
        DType::I32 => |x: f64| x == f64::from(x as i32),
        DType::Bool => |x: f64| x == 0.0 || x == 1.0,
        other => return breach(Constraint::Literals, format!("no constant is {other}")),
    };
    if let Some(x) = values.iter().find(|x| !fits(x.0)) {
        return breach(Constraint::Literals, format!("{x} is no {}", ty.dtype));
    }
    let count = ty.elements().as_const();
    if values.len() != 1 && count != i64::try_from(values.len()).ok() {
        return breach(
            Constraint::Literals,
            format!("{} values for {ty}", values.len()),
        );
    }
    Ok(ty)
}

pub(crate) fn iota(s: &Site) -> Inferred {
    let (length, most) = (s.dim(0), Dim::from(1i64 << 31));
    let ty = Type::new(DType::I32, [length]);
    check_type(&ty, s.dims)?;
    if !s.dims.proves_le(length, &most) {
        return breach(Constraint::Size, format!("{ty} would pass the largest i32"));
    }
    Ok(ty)
}

fn want_axes(ty: &Type, axes: &[usize]) -> Result<(), Breach> {
    for (i, a) in axes.iter().enumerate() {
        if *a >= ty.rank() {
            return breach(Constraint::Axes, format!("{ty} has no axis {a}"));
        }
        if axes[..i].contains(a) {
            return breach(Constraint::Axes, format!("axis {a} of {ty} is named twice"));
        }
    }
    Ok(())
}

/// Refuses a view that moves elements within or between a block format's rows' blocks.
fn keep_blocks(ty: &Type, touches_last: bool) -> Result<(), Breach> {
    if ty.dtype.is_block() && touches_last {
        return breach(Constraint::Block, format!("the last axis of {ty} moves"));
    }
    Ok(())
}

pub(crate) fn reshape(s: &Site) -> Inferred {
    let x = s.operand(0);
    let ty = Type::new(x.dtype, s.shape(0));
    check_type(&ty, s.dims)?;
    keep_blocks(x, x.dims.last() != ty.dims.last())?;
    if ty.elements() != x.elements() {
        return breach(
            Constraint::Elements,
            format!("{} elements become {}", x.elements(), ty.elements()),
        );
    }
    Ok(ty)
}

pub(crate) fn transpose(s: &Site) -> Inferred {
    let (x, axes) = (s.operand(0), s.axes(0));
    let mut sorted = axes.to_vec();
    sorted.sort_unstable();
    if !sorted.iter().copied().eq(0..x.rank()) {
        return breach(
            Constraint::Permutation,
            format!("{axes:?} is no permutation of the {} axes of {x}", x.rank()),
        );
    }
    keep_blocks(x, axes.last().is_some_and(|a| a + 1 != x.rank()))?;
    Ok(Type::new(x.dtype, axes.iter().map(|a| &x.dims[*a])))
}

pub(crate) fn broadcast(s: &Site) -> Inferred {
    let (x, axes) = (s.operand(0), s.axes(1));
    let ty = Type::new(x.dtype, s.shape(0));
    let increasing = axes.windows(2).all(|w| w[0] < w[1]);
    let agree = axes.len() == x.rank()
        && axes
            .iter()
            .zip(&x.dims)
            .all(|(a, d)| ty.dims.get(*a) == Some(d));
    if !increasing || !agree {
        return breach(
            Constraint::Broadcast,
            format!("{x} does not lie in {ty} at axes {axes:?}"),
        );
    }
    keep_blocks(x, axes.last().is_some_and(|a| a + 1 != ty.rank()))?;
    Ok(ty)
}

pub(crate) fn slice(s: &Site) -> Inferred {
    let (x, axis, start, stop) = (s.operand(0), *s.axis(0), s.dim(1), s.dim(2));
    want_axes(x, &[axis])?;
    keep_blocks(x, axis + 1 == x.rank())?;
    let length = &x.dims[axis];
    for (a, b) in [(&Dim::default(), start), (start, stop), (stop, length)] {
        if !s.dims.proves_le(a, b) {
            return breach(
                Constraint::Slice,
                format!("{a} <= {b} does not hold for every value of the dims"),
            );
        }
    }
    let mut ty = x.clone();
    ty.dims[axis] = stop - start;
    Ok(ty)
}

pub(crate) fn concat(s: &Site) -> Inferred {
    let (axis, mut ty) = (*s.axis(0), s.operand(0).clone());
    want_axes(&ty, &[axis])?;
    keep_blocks(&ty, axis + 1 == ty.rank())?;
    for other in s.operands.get(1..).unwrap_or_default() {
        let mut same = (*other).clone();
        if let Some(d) = same.dims.get_mut(axis) {
            *d = ty.dims[axis].clone();
        }
        if same != ty {
            return breach(
                Constraint::Concat,
                format!("{} beside {other} along axis {axis}", s.operand(0)),
            );
        }
        ty.dims[axis] = &ty.dims[axis] + &other.dims[axis];
    }
    Ok(ty)
}

pub(crate) fn reduce(s: &Site) -> Inferred {
    let (x, axes) = (s.operand(0), s.axes(0));
    want_dtypes(x, &[DType::F32])?;
    want_axes(x, axes)?;
    Ok(Type::new(x.dtype, other_dims(x, &[axes])))
}

/// Dims of the axes that none of the lists names.
fn other_dims<'a>(ty: &'a Type, named: &[&[usize]]) -> Vec<&'a Dim> {
    let named = named.concat();
    let kept = ty.dims.iter().enumerate();
    kept.filter(|(i, _)| !named.contains(i))
        .map(|(_, d)| d)
        .collect()
}

pub(crate) fn dot(s: &Site) -> Inferred {
    let (a, b) = (s.operand(0), s.operand(1));
    let [a_batch, b_batch, a_contract, b_contract] = [0, 1, 2, 3].map(|i| s.axes(i));
    want_dtypes(a, &[DType::F32])?;
    want_dtypes(b, &[DType::F32])?;
    want_axes(a, &[a_batch, a_contract].concat())?;
    want_axes(b, &[b_batch, b_contract].concat())?;
    let pairs = |x: &[usize], y: &[usize]| {
        x.len() == y.len() && x.iter().zip(y).all(|(i, j)| a.dims[*i] == b.dims[*j])
    };
    if !pairs(a_batch, b_batch) {
        return breach(
            Constraint::Dot,
            format!("batch axes {a_batch:?} of {a} do not match {b_batch:?} of {b}"),
        );
    }
    if a_contract.is_empty() || !pairs(a_contract, b_contract) {
        return breach(
            Constraint::Dot,
            format!("contracted axes {a_contract:?} of {a} do not match {b_contract:?} of {b}"),
        );
    }
    let batch = a_batch.iter().map(|i| &a.dims[*i]);
    let a_free = other_dims(a, &[a_batch, a_contract]);
    let b_free = other_dims(b, &[b_batch, b_contract]);
    Ok(Type::new(DType::F32, batch.chain(a_free).chain(b_free)))
}

fn want_index(ty: &Type) -> Result<(), Breach> {
    if ty.dtype == DType::I32 && ty.rank() == 1 {
        return Ok(());
    }
    breach(Constraint::Index, format!("{ty} is no index"))
}

pub(crate) fn take(s: &Site) -> Inferred {
    let (x, index, axis) = (s.operand(0), s.operand(1), *s.axis(0));
    want_index(index)?;
    want_axes(x, &[axis])?;
    keep_blocks(x, axis + 1 == x.rank())?;
    let mut ty = x.clone();
    ty.dims[axis] = index.dims[0].clone();
    Ok(ty)
}

pub(crate) fn put(s: &Site) -> Inferred {
    let [state, slot, index, rows] = [0, 1, 2, 3].map(|i| s.operand(i));
    want_index(slot)?;
    want_index(index)?;
    let fits = state.rank() >= 2
        && state.dtype == rows.dtype
        && slot == index
        && rows.dims.first() == slot.dims.first()
        && rows.dims.get(1..) == state.dims.get(2..);
    if !fits {
        return breach(
            Constraint::Put,
            format!("{rows} does not go into {state} at {slot}, {index}"),
        );
    }
    keep_blocks(state, state.rank() == 2)?;
    Ok(state.clone())
}
