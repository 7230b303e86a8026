//! The Plan: every function as an ordered list of kernels, and where their values lie.
//!
//! A [`Kernel`] computes a region of a function's values, each operand either computed in the kernel or
//! read from memory, and writes its outputs. A value may be computed in several kernels and is written by
//! one. [`verify`] holds a plan to that, [`text`] writes and reads it, [`lower`] makes a module of it that
//! the interpreter runs.

pub mod buffers;
mod lower;
pub mod text;
mod verify;

pub use buffers::Buffers;
pub use lower::{Lowered, lower};
pub use verify::{PlanError, verify};

use ir::{Def, Dim, Function, Module, Op, ValueId};

/// A module and how its functions are computed.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// Dims, weights, states, functions, `prepare` and the step.
    pub module: Module,
    /// One for each of the module's functions, in its order.
    pub functions: Vec<FunctionPlan>,
}

/// How a function is computed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FunctionPlan {
    /// Its kernels, in the order in which they run.
    pub kernels: Vec<Kernel>,
    /// Where the values lie that kernels hand to one another.
    pub buffers: Buffers,
}

/// What is computed at once, between two barriers.
#[derive(Clone, Debug, PartialEq)]
pub struct Kernel {
    /// Its name, its own within the function.
    pub name: String,
    /// What it computes, in order.
    pub values: Vec<ValueId>,
    /// What it reads: parameters, and outputs of earlier kernels.
    pub reads: Vec<ValueId>,
    /// What it writes, the last being its root.
    pub outputs: Vec<ValueId>,
    /// The iteration space: the dims of its root, or of the rows that the root puts.
    pub space: Vec<Dim>,
    /// The schedule that its loops follow; none for pointwise and row work.
    pub template: Option<Template>,
}

/// A schedule template.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Template {
    /// A dot, or several side by side over rows of the same lengths; before them any work, after them
    /// pointwise work and views.
    Dot,
    /// A dot over batches whose result is worked on by rows, and perhaps a second dot that contracts
    /// the rows' axis.
    Attention,
}

impl Template {
    /// Every template.
    pub const ALL: [Template; 2] = [Template::Dot, Template::Attention];

    /// Its name in the text form.
    pub fn name(self) -> &'static str {
        match self {
            Template::Dot => "dot",
            Template::Attention => "attention",
        }
    }
}

/// The iteration space of a kernel with this root.
pub fn space(function: &Function, root: ValueId) -> Vec<Dim> {
    let shaped = match op(function, root) {
        Some((Op::Put, [_, _, _, rows])) => *rows,
        _ => root,
    };
    function.values[shaped.0].ty.dims.clone()
}

/// A value's op and operands; none for a parameter.
pub(crate) fn op(function: &Function, value: ValueId) -> Option<(Op, &[ValueId])> {
    match &function.values[value.0].def {
        Def::Param => None,
        Def::Op { op, operands, .. } => Some((*op, operands)),
    }
}
