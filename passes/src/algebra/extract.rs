//! Choosing one node for each class: the cheapest graph found that gives all results.
//!
//! A node costs max(bytes / bandwidth, flops / rate), as if it were a kernel of its own, at the upper
//! bounds of the symbols. Views cost nothing by themselves, nor does what has no operands (constants,
//! iota), which any reader can make for itself. A node that several others read is counted once. The choice starts with each class's
//! cheapest tree and then changes one class at a time while the cost of the whole falls.

use std::collections::{BTreeMap, HashMap, HashSet};

use egg::{Id, Language};
use ir::{Bindings, Site};

use super::analysis::{Graph, site_of, type_of};
use super::node::Node;

/// The share at which the lesser of memory and arithmetic counts, which hides behind the other: it decides
/// between graphs that are otherwise equal, as x / 16 and x * 0.0625 are.
const HIDDEN: f64 = 1e-3;

/// What work costs.
#[derive(Clone, Debug, PartialEq)]
pub struct Costs {
    /// Bytes a second.
    pub bandwidth: f64,
    /// Floating-point operations a second.
    pub rate: f64,
    /// Seconds that every op with operands costs besides, so that of two equals the smaller graph is
    /// chosen.
    pub node: f64,
    /// Values of symbols; a symbol that has none here takes its upper bound.
    pub bindings: Bindings,
}

impl Default for Costs {
    /// A plain desktop machine: 20 GB/s, 100 Gflop/s, and a picosecond for each op.
    fn default() -> Costs {
        Costs {
            bandwidth: 20e9,
            rate: 100e9,
            node: 1e-12,
            bindings: Bindings::default(),
        }
    }
}

impl Costs {
    /// Seconds that a node of a class takes by itself.
    fn of(&self, graph: &Graph, class: Id, node: &Node, bindings: &Bindings) -> f64 {
        let Node::Op(op, children) = node else {
            return 0.0;
        };
        let (operands, attrs) = site_of(graph, *op, children);
        if operands.is_empty() {
            return 0.0;
        }
        let site = Site {
            def: op.def(),
            attrs: &attrs,
            operands: &operands,
            dims: &graph.analysis.dims,
        };
        let result = type_of(graph, class);
        // Every symbol of a verified type is declared, and so is bound.
        let count = |dim: ir::Dim| dim.eval(bindings).unwrap_or(0) as f64;
        let memory = count(site.bytes(result)) / self.bandwidth;
        let arithmetic = count(site.flops(result)) / self.rate;
        memory.max(arithmetic) + memory.min(arithmetic) * HIDDEN + self.node
    }
}

/// One node for each class that can be made.
pub struct Choice {
    /// The place of the chosen node among its class's nodes.
    chosen: HashMap<Id, usize>,
    /// Seconds of all that the results need.
    pub cost: f64,
}

impl Choice {
    /// The chosen node of a class.
    pub fn node<'g>(&self, graph: &'g Graph, class: Id) -> &'g Node {
        let class = graph.find(class);
        &graph[class].nodes[self.chosen[&class]]
    }

    /// The classes that these need, themselves included.
    pub fn reachable(&self, graph: &Graph, roots: &[Id]) -> HashSet<Id> {
        let mut seen = HashSet::new();
        let mut open: Vec<Id> = roots.iter().map(|r| graph.find(*r)).collect();
        while let Some(class) = open.pop() {
            if seen.insert(class) {
                let children = self.node(graph, class).children().iter();
                open.extend(children.map(|c| graph.find(*c)));
            }
        }
        seen
    }
}

/// The cheapest choice found for these results.
pub fn extract(graph: &Graph, results: &[Id], costs: &Costs) -> Choice {
    let bindings = graph.analysis.dims.upper_bounds(&costs.bindings);
    // Egg keeps classes in a hash map; in order of their ids the outcome is the same every time.
    let own: BTreeMap<Id, Vec<f64>> = graph
        .classes()
        .map(|class| {
            let each = class.nodes.iter();
            let own = each.map(|n| costs.of(graph, class.id, n, &bindings));
            (class.id, own.collect())
        })
        .collect();
    let mut extractor = Extractor {
        graph,
        own,
        roots: results.iter().map(|r| graph.find(*r)).collect(),
    };
    let mut choice = extractor.trees();
    extractor.improve(&mut choice);
    choice
}

struct Extractor<'g> {
    graph: &'g Graph,
    /// What each node of each class costs by itself.
    own: BTreeMap<Id, Vec<f64>>,
    roots: Vec<Id>,
}

impl Extractor<'_> {
    /// The cheapest tree of each class: sharing is not seen, and no class is below itself.
    fn trees(&self) -> Choice {
        let mut best: HashMap<Id, (f64, usize)> = HashMap::new();
        let mut changed = true;
        while changed {
            changed = false;
            for (class, own) in &self.own {
                for (i, (node, own)) in self.graph[*class].nodes.iter().zip(own).enumerate() {
                    let children = node.children().iter().map(|c| self.graph.find(*c));
                    let below: Option<f64> = children.map(|c| Some(best.get(&c)?.0)).sum();
                    let Some(below) = below else { continue };
                    let cost = own + below;
                    if best.get(class).is_none_or(|(least, _)| cost < *least) {
                        best.insert(*class, (cost, i));
                        changed = true;
                    }
                }
            }
        }
        let chosen = best.into_iter().map(|(id, (_, i))| (id, i)).collect();
        let mut choice = Choice { chosen, cost: 0.0 };
        choice.cost = self.cost(&choice).expect("cheapest trees have no cycle");
        choice
    }

    /// Seconds of all that the results need, each class once; `None` if a class needs itself.
    fn cost(&self, choice: &Choice) -> Option<f64> {
        #[derive(PartialEq)]
        enum Mark {
            Open,
            Done,
        }
        let mut marks: HashMap<Id, Mark> = HashMap::new();
        let mut total = 0.0;
        let mut stack: Vec<(Id, bool)> = self.roots.iter().map(|r| (*r, false)).collect();
        while let Some((class, leaving)) = stack.pop() {
            if leaving {
                marks.insert(class, Mark::Done);
                continue;
            }
            match marks.get(&class) {
                Some(Mark::Done) => continue,
                Some(Mark::Open) => return None,
                None => marks.insert(class, Mark::Open),
            };
            let i = *choice.chosen.get(&class)?;
            total += self.own[&class][i];
            stack.push((class, true));
            let children = self.graph[class].nodes[i].children().iter();
            let children: Vec<Id> = children.map(|c| self.graph.find(*c)).collect();
            for child in children {
                match marks.get(&child) {
                    Some(Mark::Done) => {}
                    Some(Mark::Open) => return None,
                    None => stack.push((child, false)),
                }
            }
        }
        Some(total)
    }

    /// Takes another node for one needed class at a time, while that makes the whole cheaper.
    fn improve(&mut self, choice: &mut Choice) {
        loop {
            let before = choice.cost;
            let mut needed: Vec<Id> = choice
                .reachable(self.graph, &self.roots)
                .into_iter()
                .filter(|class| self.own[class].len() > 1)
                .collect();
            needed.sort_unstable();
            for class in needed {
                let mut kept = choice.chosen[&class];
                for other in 0..self.own[&class].len() {
                    choice.chosen.insert(class, other);
                    match self.cost(choice) {
                        Some(cost) if cost < choice.cost => (choice.cost, kept) = (cost, other),
                        _ => {}
                    }
                }
                choice.chosen.insert(class, kept);
            }
            if choice.cost >= before {
                return;
            }
        }
    }
}
