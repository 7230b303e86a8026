//! The fusion e-graph: a function to kernels.
//!
//! Each operand is a use ([`uses`]): read from memory, or computed in place. A choice for every use gives
//! kernels ([`regions`]), each over a region that follows at most one schedule template ([`template_of`]),
//! and a cost ([`Machine`]); the search ([`Extract`]) looks for the choice that costs least.

mod cost;
pub mod regions;
mod search;
mod template;
pub mod uses;

pub use cost::{Bound, Cost, Machine, costs};
pub use search::{Alternative, Extract, Search, alternatives};
pub use template::template_of;

use std::fmt;

use ir::{Dims, Function, ValueId};

use crate::plan::{Kernel, space};

/// How a function was fused.
#[derive(Clone, Debug, PartialEq)]
pub struct Fused {
    /// The function.
    pub function: String,
    /// Operands for which there was a choice.
    pub uses: usize,
    /// Kernels.
    pub kernels: usize,
    /// Choices whose cost was found.
    pub tried: usize,
    /// Whether the search ended because it had tried as many as it may.
    pub cut_off: bool,
    /// Seconds that the kernels are foreseen to take.
    pub cost: f64,
}

impl fmt::Display for Fused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "fn {}: {} kernels, {} uses, {} choices tried, {:.3e} s",
            self.function, self.kernels, self.uses, self.tried, self.cost
        )?;
        match self.cut_off {
            true => f.write_str(", cut off by the limit on choices tried"),
            false => Ok(()),
        }
    }
}

/// How many choices a search costs in a function unless told otherwise: twice what a layer of Gemma 2 takes.
pub const TRIES: usize = 5000;

/// The kernels of a function, and how they were found, costing no more than so many choices.
///
/// # Panics
/// If the function does not verify.
pub fn fuse(
    function: &Function,
    dims: &Dims,
    machine: &Machine,
    extract: Extract,
    tries: usize,
) -> (Vec<Kernel>, Fused) {
    let mut search = Search::new(function, dims, machine).limited(tries);
    let (choice, most) = search.extract(extract);
    let groups = search.kernels(&choice, most);
    let cut_off = search.is_cut_off();
    let cost = search.cost(&choice, most);
    let kernels = groups.iter().map(|group| {
        let outputs: Vec<ValueId> = group.outputs.iter().map(ValueId).collect();
        let root = *outputs.last().expect("a kernel writes something");
        Kernel {
            name: format!("k.{}", function.values[root.0].name),
            values: group.values.iter().map(ValueId).collect(),
            reads: group.reads.iter().map(ValueId).collect(),
            outputs,
            space: space(function, root),
            template: group.template,
        }
    });
    let kernels: Vec<Kernel> = kernels.collect();
    let report = Fused {
        function: function.name.clone(),
        uses: search.regions().edges.len(),
        kernels: kernels.len(),
        tried: search.tried(),
        cut_off,
        cost,
    };
    (kernels, report)
}
