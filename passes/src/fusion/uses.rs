//! The e-graph of uses: one class for each operand that may be read from memory or computed in place.

use egg::{Id, Rewrite, Runner, define_language, rewrite};

define_language! {
    /// How an operand is had. Children: the consumer, the operand's place in it, and the value.
    enum Use {
        "mat" = Mat([Id; 3]),
        "inl" = Inl([Id; 3]),
        Number(usize),
    }
}

/// An operand of a computation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Edge {
    /// The value computed.
    pub consumer: usize,
    /// The operand's place.
    pub operand: usize,
    /// The value used.
    pub value: usize,
}

/// Which edges may be read and which may be computed in place, as the e-graph says: from `mat` at every
/// edge and the one rule `mat(x) <=> inl(x)`. A use is never one with its value.
pub fn choices(edges: &[Edge]) -> Vec<[bool; 2]> {
    let mut graph = egg::EGraph::<Use, ()>::default();
    let mut classes = Vec::new();
    for edge in edges {
        let children = [edge.consumer, edge.operand, edge.value];
        let children = children.map(|n| graph.add(Use::Number(n)));
        classes.push(graph.add(Use::Mat(children)));
    }
    let rules: Vec<Rewrite<Use, ()>> =
        rewrite!("mat-or-inl"; "(mat ?c ?i ?x)" <=> "(inl ?c ?i ?x)");
    let run = Runner::default()
        .with_egraph(graph)
        .with_node_limit(usize::MAX)
        .run(&rules);
    let of = |class: &Id| {
        let nodes = &run.egraph[*class].nodes;
        [
            nodes.iter().any(|n| matches!(n, Use::Mat(_))),
            nodes.iter().any(|n| matches!(n, Use::Inl(_))),
        ]
    };
    classes.iter().map(of).collect()
}
