//! Attributes: what an op is told besides its operands.

use std::fmt;

use crate::dim::Dim;
use crate::dtype::DType;

/// The kind of an attribute, which fixes how it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttrKind {
    /// `2`
    Axis,
    /// `[0, 2]`
    Axes,
    /// `R + 1`
    Dim,
    /// `[R, 96]`
    Dims,
    /// `f32`
    To,
    /// `[0.5, -inf]`
    Literals,
}

/// A number written in a graph. Equal when the bits are, or when both are NaN, so that graphs can be
/// compared and hashed.
#[derive(Clone, Copy, Debug)]
pub struct Literal(pub f64);

impl Literal {
    /// The number, every NaN the same.
    fn key(self) -> f64 {
        if self.0.is_nan() { f64::NAN } else { self.0 }
    }
}

impl PartialEq for Literal {
    fn eq(&self, other: &Literal) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Literal {}

impl std::hash::Hash for Literal {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.key().to_bits().hash(state);
    }
}

impl PartialOrd for Literal {
    fn partial_cmp(&self, other: &Literal) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Literal {
    fn cmp(&self, other: &Literal) -> std::cmp::Ordering {
        self.key().total_cmp(&other.key())
    }
}

impl fmt::Display for Literal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            x if x.is_nan() => f.write_str("nan"),
            x if x.is_finite() => write!(f, "{x:?}"),
            x if x > 0.0 => f.write_str("inf"),
            _ => f.write_str("-inf"),
        }
    }
}

/// An attribute's value; its kind is the one that the op's row names.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Attr {
    /// An axis of an operand.
    Axis(usize),
    /// Several axes.
    Axes(Vec<usize>),
    /// One length or bound.
    Dim(Dim),
    /// A shape.
    Dims(Vec<Dim>),
    /// A dtype.
    To(DType),
    /// Numbers.
    Literals(Vec<Literal>),
}

impl Attr {
    /// Its kind.
    pub fn kind(&self) -> AttrKind {
        match self {
            Attr::Axis(_) => AttrKind::Axis,
            Attr::Axes(_) => AttrKind::Axes,
            Attr::Dim(_) => AttrKind::Dim,
            Attr::Dims(_) => AttrKind::Dims,
            Attr::To(_) => AttrKind::To,
            Attr::Literals(_) => AttrKind::Literals,
        }
    }

    /// The dims in it.
    pub fn dims(&self) -> &[Dim] {
        match self {
            Attr::Dim(dim) => std::slice::from_ref(dim),
            Attr::Dims(dims) => dims,
            Attr::Axis(_) | Attr::Axes(_) | Attr::To(_) | Attr::Literals(_) => &[],
        }
    }
}

/// Writes `[a, b, c]`.
pub(crate) fn write_list<T: fmt::Display>(f: &mut fmt::Formatter<'_>, items: &[T]) -> fmt::Result {
    f.write_str("[")?;
    for (i, x) in items.iter().enumerate() {
        write!(f, "{}{x}", if i == 0 { "" } else { ", " })?;
    }
    f.write_str("]")
}

impl fmt::Display for Attr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Attr::Axis(a) => write!(f, "{a}"),
            Attr::Axes(a) => write_list(f, a),
            Attr::Dim(d) => write!(f, "{d}"),
            Attr::Dims(d) => write_list(f, d),
            Attr::To(t) => write!(f, "{t}"),
            Attr::Literals(x) => write_list(f, x),
        }
    }
}
