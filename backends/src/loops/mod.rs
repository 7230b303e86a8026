//! A kernel's loop nest: which values are computed into memory, over which part of them, in which order.
//!
//! A kernel's work is cut into tiles ([`Tile`]), which workers share. For a tile, the [`Stage`]s run in order:
//! each computes one value over the part of it that the tile needs ([`Part`]) into a result or into scratch
//! memory of the worker. Everything else is computed in place, where a stage uses it, at the outermost loop
//! that it does not depend on. Which part of a value belongs to a tile follows from the ops between them
//! (the `parts` module); where no relation is known a tile needs all of the value, so a nest may do work again but is
//! never wrong.
//!
//! The nest is the same for every target that runs a tile on one worker with memory of its own.

mod parts;
mod schedule;

pub use parts::{Group, Part, groups};
pub use schedule::{Form, schedule};

use std::fmt;

use ir::{Attr, Def, Dim, Function, Op, ValueId};

/// A kernel's loops.
#[derive(Clone, Debug, PartialEq)]
pub struct Nest {
    /// The axes along which the work is cut, the outermost first.
    pub tiles: Vec<Tile>,
    /// What is computed for a tile, in order; by level, the lowest first.
    pub stages: Vec<Stage>,
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
    /// Where it goes.
    pub to: Home,
    /// How many tile axes, from the outermost, it depends on: it is computed again when one of them moves.
    pub level: usize,
    /// Whether only the first tile along the axes that it does not depend on computes it.
    pub once: bool,
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
        for stage in &nest.stages {
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
                "  {}{work} %{}[",
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
                Home::Result(i) => writeln!(f, "] to result {i}")?,
                Home::Scratch { offset, strides } => writeln!(f, "] to {offset} by {strides:?}")?,
            }
        }
        writeln!(f, "}}")
    }
}
