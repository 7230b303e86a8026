//! The algebra e-graph: a function to a cheaper function that computes the same.
//!
//! [`optimize`] makes an e-graph of a function (equal subexpressions become one), applies
//! rules until nothing is new or a limit is hit ([`Limits`]), chooses one node for each value that is
//! needed ([`extract()`]) and makes a function of them again. Parameters and the types of results stay.

mod analysis;
mod convert;
mod extract;
pub(crate) mod fold;
mod node;
mod search;

pub use analysis::{Fact, Facts, Graph};
pub(crate) use analysis::{first_of, site_of};
pub use convert::{Source, restore};
pub use extract::{Choice, Costs, extract};
pub(crate) use fold::{NAME as FOLD_CONSTANTS, fold_constants};
pub(crate) use node::split;
pub use node::{Head, Node};
pub use search::{Limits, Report, Round, RuleGrowth, Stop};

use ir::{Dims, Function};

use crate::rules::RuleSet;

/// A function that the rules make of this one, the cheapest found, and how it was found.
///
/// # Panics
/// If the function does not verify.
pub fn optimize(
    function: &Function,
    dims: &Dims,
    rules: &RuleSet,
    limits: &Limits,
    costs: &Costs,
) -> (Function, Report) {
    let mut source = Source::new(function, dims);
    let cost_before = extract(&source.graph, &source.results, costs).cost;
    let run = search::search(source.graph, rules, limits);
    let found = Report::new(&function.name, &run);
    source.graph = run.egraph;
    let choice = extract(&source.graph, &source.results, costs);
    let report = Report {
        cost_before,
        cost_after: choice.cost,
        ..found
    };
    (restore(function, &source, &choice), report)
}

/// The e-graph of a function after the search, which can say by which rules two nodes are equal.
pub(crate) fn explained(
    function: &Function,
    dims: &Dims,
    rules: &RuleSet,
    limits: &Limits,
) -> Source {
    let mut source = Source::explained(function, dims);
    source.graph = search::search(source.graph, rules, limits).egraph;
    source
}
