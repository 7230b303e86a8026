//! A kernel's loop nest: which values are computed into memory, over which part of them, in which order.
//!
//! A kernel's work is cut into tiles ([`Tile`]), which workers share. For a tile, the [`Stage`]s run in order:
//! each computes one value over the part of it that the tile needs ([`Part`]) into a result or into scratch
//! memory of the worker. Everything else is computed in place, where a stage uses it, at the outermost loop
//! that it does not depend on. Which part of a value belongs to a tile follows from the ops between them
//! (the `parts` module); where no relation is known a tile needs all of the value, so a nest may do work again but is
//! never wrong.
//!
//! A stage that folds an axis goes only through the elements that a mask lets count, and what is computed for it
//! alone only through these (the `support` and `bound` modules).
//!
//! Where sums may be taken in any order, a softmax and what is summed with its weights become one [`Sweep`] over blocks
//! of their axis.
//!
//! The nest is the same for every target that runs a tile on one worker with memory of its own.

mod bound;
mod layout;
mod parts;
mod schedule;
mod support;
mod sweep;

pub use bound::folded;
pub use parts::{Group, Part, groups};
pub use schedule::{Form, schedule};
pub use support::{Limit, Linear, Term};

use std::fmt;
use std::ops::Range;

use ir::{Attr, Def, Dim, Function, Op, ValueId};

/// A kernel's loops.
#[derive(Clone, Debug, PartialEq)]
pub struct Nest {
    /// The axes along which the work is cut, the outermost first.
    pub tiles: Vec<Tile>,
    /// What is computed for a tile, in order; by level, the lowest first.
    pub stages: Vec<Stage>,
    /// What of it is computed block by block.
    pub sweep: Option<Sweep>,
    /// Bytes of scratch memory that a worker needs.
    pub scratch: u64,
}

/// An axis cut into tiles.
#[derive(Clone, Debug, PartialEq)]
pub struct Tile {
    /// The axis's length.
    pub extent: Dim,
    /// Elements of a tile; the last may have fewer.
    pub size: i64,
}

impl Nest {
    /// An axis that parts name: one along which the work is cut, or behind these the one that is swept.
    ///
    /// # Panics
    /// If it has no such axis.
    pub fn tile(&self, axis: usize) -> &Tile {
        let swept = self.sweep.iter().map(|sweep| &sweep.tile);
        let found = self.tiles.iter().chain(swept).nth(axis);
        found.expect("parts are of the nest's own axes")
    }
}

/// An axis that a worker goes through itself, block after block, for every tile.
///
/// The stages inside are run for a block at a time. Of these, a maximum and sums fold the axis: they carry what they
/// made of the blocks before. The sums are of weights relative to the maximum so far, so whenever a block raises
/// it, they are multiplied by what the weights of all blocks before have to be multiplied by.
#[derive(Clone, Debug, PartialEq)]
pub struct Sweep {
    /// The axis, and the elements of a block.
    pub tile: Tile,
    /// The stages inside.
    pub stages: Range<usize>,
    /// Limits of the axis, by the axes of the maximum.
    pub limits: Vec<Limit>,
    /// The maximum.
    pub most: ValueId,
    /// Where what stands for the maximum inside lies, shaped as it is: the lowest finite number where the
    /// maximum is -inf, so that what is masked weighs 0 in any block.
    pub shift: Home,
    /// Where the factor for the sums lies, shaped as the maximum.
    pub decay: Home,
    /// The sums.
    pub sums: Vec<Sum>,
}

/// A sum of a softmax's weights, or of their products.
#[derive(Clone, Debug, PartialEq)]
pub struct Sum {
    /// The reduction or dot.
    pub value: ValueId,
    /// For each axis of the maximum, the sum's.
    pub axes: Vec<usize>,
}

/// A value computed into memory.
#[derive(Clone, Debug, PartialEq)]
pub struct Stage {
    /// The value.
    pub value: ValueId,
    /// How it is computed.
    pub work: Work,
    /// The part of each axis that a tile needs: all of it, or what belongs to the tile. Of a `put`, the
    /// parts of the rows that are put.
    pub parts: Vec<Option<Part>>,
    /// Axes that it goes through only between limits.
    pub bounds: Vec<Bound>,
    /// Where it goes.
    pub to: Home,
    /// How many tile axes, from the outermost, it depends on: it is computed again when one of them moves.
    pub level: usize,
    /// Whether only the first tile along the axes that it does not depend on computes it.
    pub once: bool,
}

/// An axis of which a stage takes only the elements within limits: for all indices along the other axes that
/// belong to the tile, from the first element to the last that some of these let count, in whole vectors of 16;
/// where none counts, the first vector.
#[derive(Clone, Debug, PartialEq)]
pub struct Bound {
    /// The axis.
    pub along: Along,
    /// The limits, by the axes of the stage's value.
    pub limits: Vec<Limit>,
}

/// An axis that a stage goes through.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Along {
    /// One of its value.
    Axis(usize),
    /// The one that it folds.
    Folded,
}

/// How a stage computes its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Work {
    /// Element by element.
    Map,
    /// Lanes along the reduced axes.
    Reduce,
    /// Register tiles; `narrow` where the first operand was rounded to bf16 for it.
    Dot {
        /// Whether products are of bf16 pairs.
        narrow: bool,
    },
    /// Row by row, into the state.
    Put,
    /// From the scratch memory where it was computed.
    Copy,
    /// Element by element, rounded to bf16 for a dot.
    Narrow,
}

/// Where a stage's value lies.
#[derive(Clone, Debug, PartialEq)]
pub enum Home {
    /// In a result of the kernel, by its place.
    Result(usize),
    /// In the worker's scratch memory, row-major over the part of it that a tile needs.
    Scratch {
        /// Where it begins, a multiple of 64.
        offset: u64,
        /// Elements from one index to the next, of each axis.
        strides: Vec<i64>,
    },
}

impl Home {
    /// Scratch memory where no place is given yet.
    const SCRATCH: Home = Home::Scratch {
        offset: 0,
        strides: Vec::new(),
    };
}

/// A value's op, attributes and operands; none for a parameter.
pub(crate) fn op(function: &Function, value: ValueId) -> Option<(Op, &[Attr], &[ValueId])> {
    match &function.values[value.0].def {
        Def::Param => None,
        Def::Op {
            op,
            attrs,
            operands,
        } => Some((*op, attrs, operands)),
    }
}

/// The dims over which a stage of this value loops: its own, or of a `put` those of the rows.
pub(crate) fn space(function: &Function, value: ValueId) -> &[Dim] {
    match op(function, value) {
        Some((Op::Put, _, [_, _, _, rows])) => &function.values[rows.0].ty.dims,
        _ => &function.values[value.0].ty.dims,
    }
}

/// The axes of an attribute.
pub(crate) fn axes(attrs: &[Attr], i: usize) -> &[usize] {
    match attrs.get(i) {
        Some(Attr::Axes(axes)) => axes,
        other => panic!("attribute {i} of a verified op is axes, not {other:?}"),
    }
}

/// The axis of an attribute.
pub(crate) fn axis(attrs: &[Attr], i: usize) -> usize {
    match attrs.get(i) {
        Some(Attr::Axis(axis)) => *axis,
        other => panic!("attribute {i} of a verified op is an axis, not {other:?}"),
    }
}

/// A dot's free axes of an operand, in order.
pub(crate) fn free(rank: usize, batch: &[usize], contract: &[usize]) -> Vec<usize> {
    let free = (0..rank).filter(|i| !batch.contains(i) && !contract.contains(i));
    free.collect()
}

/// A nest with the names of its function's values.
pub struct Shown<'n>(pub &'n Nest, pub &'n Function);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Shown(nest, function) = self;
        writeln!(f, "nest {} scratch {} {{", function.name, nest.scratch)?;
        for (i, tile) in nest.tiles.iter().enumerate() {
            writeln!(f, "  tile {i} of {} by {}", tile.extent, tile.size)?;
        }
        for (i, stage) in nest.stages.iter().enumerate() {
            if let Some(sweep) = nest.sweep.as_ref().filter(|sweep| sweep.stages.start == i) {
                write!(
                    f,
                    "  sweep {} of {} by {}",
                    nest.tiles.len(),
                    sweep.tile.extent,
                    sweep.tile.size
                )?;
                write_limits(f, function, &sweep.limits)?;
                writeln!(f, " {{")?;
            }
            let swept = nest
                .sweep
                .as_ref()
                .is_some_and(|sweep| sweep.stages.contains(&i));
            let value = &function.values[stage.value.0];
            let work = match stage.work {
                Work::Map => "map",
                Work::Reduce => "reduce",
                Work::Dot { narrow: false } => "dot",
                Work::Dot { narrow: true } => "dot.bf16",
                Work::Put => "put",
                Work::Copy => "copy",
                Work::Narrow => "narrow",
            };
            write!(
                f,
                "  {}{}{work} %{}[",
                if swept { "  " } else { "" },
                if stage.once { "once " } else { "" },
                value.name
            )?;
            for (i, (part, dim)) in stage
                .parts
                .iter()
                .zip(space(function, stage.value))
                .enumerate()
            {
                let comma = if i == 0 { "" } else { ", " };
                match part {
                    None => write!(f, "{comma}{dim}")?,
                    Some(part) => write!(f, "{comma}{part}")?,
                }
            }
            match &stage.to {
                Home::Result(i) => write!(f, "] to result {i}")?,
                Home::Scratch { offset, strides } => write!(f, "] to {offset} by {strides:?}")?,
            }
            for Bound { along, limits } in &stage.bounds {
                match along {
                    Along::Axis(axis) => write!(f, " for k of axis {axis}")?,
                    Along::Folded => write!(f, " for k")?,
                }
                write_limits(f, function, limits)?;
            }
            writeln!(f)?;
            if nest
                .sweep
                .as_ref()
                .is_some_and(|sweep| sweep.stages.end == i + 1)
            {
                writeln!(f, "  }}")?;
            }
        }
        writeln!(f, "}}")
    }
}

/// Limits, as what holds of the index `k`.
fn write_limits(f: &mut fmt::Formatter<'_>, function: &Function, limits: &[Limit]) -> fmt::Result {
    for (i, Limit { low, high }) in limits.iter().enumerate() {
        write!(f, "{}", if i == 0 { " where " } else { ", " })?;
        write_linear(f, function, low)?;
        write!(f, " <= ")?;
        write_linear(f, function, high)?;
    }
    Ok(())
}

fn write_linear(f: &mut fmt::Formatter<'_>, function: &Function, sum: &Linear) -> fmt::Result {
    let name = |term: &Term| format!("%{}", function.values[term.value.0].name);
    let terms = sum.terms.iter().map(|term| (term.plus, name(term)));
    let index = (sum.along != 0).then(|| (sum.along > 0, "k".into()));
    let known = sum.constant;
    let mut summands: Vec<(bool, String)> = terms.chain(index).collect();
    if known != 0 || summands.is_empty() {
        summands.push((known >= 0, known.abs().to_string()));
    }
    for (i, (plus, summand)) in summands.iter().enumerate() {
        match (i, plus) {
            (0, true) => {}
            (0, false) => write!(f, "-")?,
            (_, true) => write!(f, " + ")?,
            (_, false) => write!(f, " - ")?,
        }
        write!(f, "{summand}")?;
    }
    Ok(())
}
