//! Which part of one value belongs to a part of another.

use std::fmt;
use std::ops::Range;

use ir::{Bindings, Class, Dim, Function, Op, ValueId};

use super::{axes, axis, free, op};

/// What a tile has of an axis: `per` elements for every `of` elements of the tile's axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Part {
    /// Which tile axis.
    pub tile: usize,
    /// Elements of this axis …
    pub per: i64,
    /// … for so many of the tile's.
    pub of: i64,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.per, self.of) {
            (1, 1) => write!(f, "tile {}", self.tile),
            (per, of) => write!(f, "tile {} * {per}/{of}", self.tile),
        }
    }
}

/// Axes before and behind a reshape that hold the same elements.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Axes of the operand.
    pub from: Range<usize>,
    /// Axes of the result.
    pub to: Range<usize>,
}

/// The greatest common divisor.
pub fn gcd(a: i64, b: i64) -> i64 {
    if b == 0 { a.max(1) } else { gcd(b, a % b) }
}

/// The smallest common multiple.
pub fn lcm(a: i64, b: i64) -> i64 {
    a / gcd(a, b) * b
}

/// The smallest groups of axes of two shapes with equal products.
pub fn groups(from: &[Dim], to: &[Dim]) -> Vec<Group> {
    // Which of two products is behind is seen at some values of the symbols; whether they are equal, for all.
    let syms = from.iter().chain(to).flat_map(Dim::syms);
    let mut bindings = Bindings::default();
    for (i, sym) in syms.enumerate() {
        if bindings.get(sym).is_none() {
            bindings.bind(sym, 10_007 + 2 * i as i64);
        }
    }
    let size = |dims: &[Dim]| Dim::product(dims).eval(&bindings).unwrap_or(i64::MAX);
    let mut groups = Vec::new();
    let (mut i, mut j) = (0, 0);
    while i < from.len() || j < to.len() {
        let (start_i, start_j) = (i, j);
        i = (i + 1).min(from.len());
        j = (j + 1).min(to.len());
        while Dim::product(&from[start_i..i]) != Dim::product(&to[start_j..j]) {
            if i == from.len() && j == to.len() {
                break;
            }
            let behind = size(&from[start_i..i]) < size(&to[start_j..j]);
            if (behind && i < from.len()) || j == to.len() {
                i += 1;
            } else {
                j += 1;
            }
        }
        groups.push(Group {
            from: start_i..i,
            to: start_j..j,
        });
    }
    // Axes of length 1 at the end belong to the group before them.
    while groups.len() > 1
        && groups
            .last()
            .is_some_and(|g| g.from.is_empty() || g.to.is_empty())
    {
        let last = groups.pop().expect("there is more than one group");
        let before = groups.last_mut().expect("there was more than one group");
        before.from.end = last.from.end;
        before.to.end = last.to.end;
    }
    groups
}

/// A part of an axis through a reshape, and how many elements of the tile axis it must be a multiple of.
fn through_reshape(from: &[Dim], to: &[Dim], at: usize, part: Part) -> Option<(usize, Part, i64)> {
    let groups = groups(from, to);
    let group = groups.iter().find(|g| g.from.contains(&at))?;
    let one = Dim::from(1i64);
    if from[group.from.start..at].iter().any(|d| *d != one) {
        return None;
    }
    let first = group.to.clone().find(|i| to[*i] != one)?;
    let inner = Dim::product(&from[at + 1..group.from.end]);
    let inner_to = Dim::product(&to[first + 1..group.to.end]);
    if inner == inner_to {
        return Some((first, part, 1));
    }
    let (inner, inner_to) = (inner.as_const()?, inner_to.as_const()?);
    if inner <= 0 || inner_to <= 0 {
        return None;
    }
    let scale = inner_to / gcd(part.per * inner, inner_to);
    let (per, of) = (part.per * scale * inner / inner_to, part.of * scale);
    let common = gcd(per, of);
    let part = Part {
        tile: part.tile,
        per: per / common,
        of: of / common,
    };
    Some((first, part, of))
}

/// Axes of an operand and of the result along which the same index means the same element.
pub fn same_axes(function: &Function, value: ValueId, operand: usize) -> Vec<(usize, usize)> {
    let Some((kind, attrs, operands)) = op(function, value) else {
        return vec![];
    };
    let rank = function.values[operands[operand].0].ty.rank();
    let all_but = |axis: usize| (0..rank).filter(|i| *i != axis).map(|i| (i, i)).collect();
    match kind {
        Op::Reshape => vec![],
        Op::Transpose => axes(attrs, 0)
            .iter()
            .enumerate()
            .map(|(i, a)| (*a, i))
            .collect(),
        Op::Broadcast => axes(attrs, 1).iter().copied().enumerate().collect(),
        Op::Slice | Op::Concat => all_but(axis(attrs, 0)),
        Op::ReduceSum | Op::ReduceMax => {
            let kept = free(rank, &[], axes(attrs, 0));
            kept.into_iter().enumerate().map(|(i, a)| (a, i)).collect()
        }
        Op::Dot => {
            let (batch, contract) = (axes(attrs, operand), axes(attrs, 2 + operand));
            let before = match operand {
                0 => 0,
                _ => {
                    let a = function.values[operands[0].0].ty.rank();
                    free(a, axes(attrs, 0), axes(attrs, 2)).len()
                }
            };
            let free = free(rank, batch, contract).into_iter();
            let free = free.enumerate().map(|(i, a)| (a, batch.len() + before + i));
            let batch = batch.iter().enumerate().map(|(i, a)| (*a, i));
            batch.chain(free).collect()
        }
        Op::Take if operand == 0 => all_but(axis(attrs, 0)),
        Op::Take => vec![(0, axis(attrs, 0))],
        Op::Put if operand == 0 => vec![],
        Op::Put => (0..rank).map(|i| (i, i)).collect(),
        _ if kind.def().class == Class::Pointwise => (0..rank).map(|i| (i, i)).collect(),
        _ => vec![],
    }
}

/// The part of a result to which a part of an operand's axis leads, and how many elements of the tile axis
/// a tile must be a multiple of.
pub fn forward(
    function: &Function,
    value: ValueId,
    operand: usize,
    at: usize,
    part: Part,
) -> Option<(usize, Part, i64)> {
    let (kind, _, operands) = op(function, value)?;
    if kind == Op::Reshape {
        let from = &function.values[operands[operand].0].ty.dims;
        return through_reshape(from, &function.values[value.0].ty.dims, at, part);
    }
    let same = same_axes(function, value, operand);
    let (_, to) = same.iter().find(|(from, _)| *from == at)?;
    Some((*to, part, 1))
}

/// The parts of an operand that are needed for these parts of a value; `sizes` are those of the tiles.
pub fn backward(
    function: &Function,
    value: ValueId,
    operand: usize,
    parts: &[Option<Part>],
    sizes: &[i64],
) -> Vec<Option<Part>> {
    let Some((kind, _, operands)) = op(function, value) else {
        return vec![];
    };
    let dims = &function.values[operands[operand].0].ty.dims;
    let mut needed = vec![None; dims.len()];
    if kind == Op::Reshape {
        let to = &function.values[value.0].ty.dims;
        for (at, part) in parts.iter().enumerate() {
            let Some((axis, part, of)) = part.and_then(|p| through_reshape(to, dims, at, p)) else {
                continue;
            };
            // A tile that is no whole number of the operand's elements needs all of them.
            if sizes[part.tile] % of == 0 {
                needed[axis] = Some(part);
            }
        }
        return needed;
    }
    for (from, to) in same_axes(function, value, operand) {
        needed[from] = parts[to];
    }
    needed
}
