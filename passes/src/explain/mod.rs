//! Why a value of the algebra stage is what it is: the chain of rules that led to it from the source.
//!
//! [`provenance`] runs the search once more, in an e-graph that keeps egg's explanations, and asks it
//! about every value that the source does not have as it stands. A chain leads from what the value was at
//! first, a value of the source or a part of what a rule made of one, to what it is. What its operands were
//! at first are leaves: they have chains of their own, so that no chain is told twice. The e-graph is not believed: [`replay`] applies every step's
//! rule to the term before it, and compares what comes of it with the term after it.

mod chain;
mod check;
mod terms;

pub use check::{Reason, Refusal, Step, replay};
use terms::Writer;
pub use terms::{Root, TermId, Terms};

use std::collections::{HashMap, HashSet};

use egg::Id;
use ir::{Def, Dims, Function, ValueId};

use crate::algebra::{self, Limits, Node, Source, first_of, site_of, split};
use crate::rules::{Rule, RuleSet};

/// Where a function's values come from.
#[derive(Clone, Debug)]
pub struct Provenance {
    /// The terms that the chains are about.
    pub terms: Terms,
    /// Names by terms: of what the function's values were at first those values' own, and of the source's other
    /// values `source.NAME`.
    pub names: HashMap<TermId, String>,
    /// One for each value of the function, in its order.
    pub origins: Vec<Origin>,
}

/// Where a value comes from.
#[derive(Clone, Debug)]
pub enum Origin {
    /// It is a parameter.
    Param,
    /// The source has it as it stands: this value.
    Source(ValueId),
    /// Rules made it.
    Rules(Chain),
    /// The rules do not lead to it, within the search's limits.
    Unknown,
}

/// The rules that led to a value of the function, from what it was at first.
#[derive(Clone, Debug)]
pub struct Chain {
    /// What it was at first.
    pub from: First,
    /// The term of that.
    pub first: TermId,
    /// The rules, in order; none where the value is what it was at first.
    pub steps: Vec<Step>,
    /// The whole term after each step, as far as they were replayed.
    pub wholes: Vec<TermId>,
    /// Whether it replays.
    pub checked: Result<(), Refusal>,
}

/// What a value was at first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum First {
    /// A value of the source, to which it is equal.
    Source(ValueId),
    /// What a rule made as a part of another value: it is equal to no value of the source.
    Part {
        /// The value of the function in whose chain it appeared.
        of: ValueId,
        /// The step of that chain after which it was there, from 0.
        step: usize,
    },
}

/// A step in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepText {
    /// What the step replaces, as far as the rule sees it.
    pub before: String,
    /// What takes its place.
    pub after: String,
    /// The whole after the step.
    pub whole: String,
}

/// Explains `target`, a function that these rules made of `source`, value by value.
///
/// # Panics
/// If the functions do not verify, or have other parameters.
pub fn provenance(
    source: &Function,
    target: &Function,
    dims: &Dims,
    rules: &RuleSet,
    limits: &Limits,
) -> Provenance {
    assert!(
        source
            .params()
            .iter()
            .map(|p| &p.ty)
            .eq(target.params().iter().map(|p| &p.ty)),
        "{} has the parameters of its source",
        target.name
    );
    // A limit on nodes ends a search in the middle of a round, in which explained graphs may have made other nodes.
    let limits = Limits {
        nodes: limits.nodes.saturating_mul(2),
        ..*limits
    };
    let graph = algebra::explained(source, dims, rules, &limits);
    let mut terms = Terms::new(source, dims);
    let verified = "a verified function's values are well-typed";
    let of_source = terms.of_function(source).expect(verified);
    let of_nodes = graph.values.iter().copied().zip(of_source.iter().copied());
    let of_nodes = of_nodes.collect();
    let mut tracer = Tracer {
        target,
        rules,
        graph,
        of_nodes,
        terms,
        of_target: Vec::new(),
    };
    let origins = (0..target.values.len()).map(|i| tracer.value(ValueId(i)));
    let mut origins: Vec<Origin> = origins.collect();
    tracer.parts(&mut origins);
    let results = target.results.iter().zip(&tracer.graph.results);
    for (result, of_source) in results {
        let class = tracer.of_target[result.0].node;
        if tracer.graph.graph.find(class) != tracer.graph.graph.find(*of_source) {
            origins[result.0] = Origin::Unknown;
        }
    }
    let mut names = HashMap::new();
    for (placed, value) in tracer.of_target.iter().zip(&target.values) {
        names.entry(placed.term).or_insert(value.name.clone());
    }
    for (term, value) in of_source.iter().zip(&source.values) {
        let name = || format!("source.{}", value.name);
        names.entry(*term).or_insert_with(name);
    }
    Provenance {
        terms: tracer.terms,
        names,
        origins,
    }
}

/// A value of the target in the source's e-graph.
struct Placed {
    /// The first node of its class.
    node: Id,
    /// The term of that node: what the value was at first, and what other values' chains see of it.
    term: TermId,
}

struct Tracer<'f> {
    target: &'f Function,
    rules: &'f RuleSet,
    graph: Source,
    terms: Terms,
    /// The terms of nodes.
    of_nodes: HashMap<Id, TermId>,
    of_target: Vec<Placed>,
}

impl Tracer<'_> {
    /// Places a value whose operands are placed, and says where it comes from; of a part it is not said yet of
    /// which value.
    fn value(&mut self, value: ValueId) -> Origin {
        let (op, attrs, operands) = match &self.target.values[value.0].def {
            Def::Param => {
                let node = self.graph.values[value.0];
                let term = self.term(node);
                self.of_target.push(Placed { node, term });
                return Origin::Param;
            }
            Def::Op {
                op,
                attrs,
                operands,
            } => (*op, attrs, operands),
        };
        let below = operands.iter().map(|o| &self.of_target[o.0]);
        let (mut children, operands): (Vec<Id>, Vec<TermId>) =
            below.map(|placed| (placed.node, placed.term)).unzip();
        let graph = &mut self.graph.graph;
        children.extend(attrs.iter().map(|a| graph.add(Node::Attr(a.clone()))));
        let own = graph.add_uncanonical(Node::Op(op, children));
        let node = first_of(graph, own);
        let term = self.term(node);
        self.of_target.push(Placed { node, term });
        let of_source = |node: Id| self.graph.values.iter().position(|v| *v == node);
        let (same, first) = (of_source(own), of_source(node));
        if let Some(same) = same {
            return Origin::Source(ValueId(same));
        }
        let from = match first {
            Some(first) => First::Source(ValueId(first)),
            None => First::Part { of: value, step: 0 },
        };
        let last = self.terms.op(op, attrs.clone(), operands);
        let last = last.expect("equal values have equal types");
        Origin::Rules(self.chain(from, [node, own], [term, last]))
    }

    /// The term of a node.
    fn term(&mut self, node: Id) -> TermId {
        if let Some(term) = self.of_nodes.get(&node) {
            return *term;
        }
        let term = match self.graph.graph.id_to_node(node).clone() {
            Node::Param(i) => {
                let param = self.terms.param(i);
                param.expect("the e-graph has the function's parameters")
            }
            Node::Attr(_) => panic!("an attribute is no term"),
            Node::Op(op, children) => {
                let (_, attrs) = site_of(&self.graph.graph, op, &children);
                let (operands, _) = split(op, &children);
                let operands = operands.iter().map(|o| self.term(*o)).collect();
                let term = self.terms.op(op, attrs, operands);
                term.expect("the e-graph's nodes are well-typed")
            }
        };
        self.of_nodes.insert(node, term);
        term
    }

    /// The rules from one node of a class to another, whose terms these are.
    fn chain(&mut self, from: First, nodes: [Id; 2], [first, last]: [TermId; 2]) -> Chain {
        let [start, end] = nodes;
        let explanation = self.graph.graph.explain_id_equivalence(start, end);
        let steps = chain::steps(&mut self.terms, &explanation.explanation_trees);
        let (steps, replayed) = match steps {
            Some(steps) => {
                let replayed = replay(&mut self.terms, self.rules, first, &steps, last);
                (steps, replayed)
            }
            None => (Vec::new(), Err(Refusal::too_long(chain::MAX_STEPS))),
        };
        let (wholes, checked) = match replayed {
            Ok(wholes) => (wholes, Ok(())),
            Err(refusal) => (Vec::new(), Err(refusal)),
        };
        Chain {
            from,
            first,
            steps,
            wholes,
            checked,
        }
    }

    /// Finds the chains in which parts appeared; a part that appeared in none is unknown.
    fn parts(&self, origins: &mut [Origin]) {
        for i in 0..origins.len() {
            let part = self.of_target[i].term;
            let Origin::Rules(chain) = &origins[i] else {
                continue;
            };
            if matches!(chain.from, First::Source(_)) {
                continue;
            }
            // What needs a value stands behind it.
            let each = origins.iter().enumerate().skip(i + 1);
            let mut found = each.filter_map(|(of, origin)| {
                let Origin::Rules(chain) = origin else {
                    return None;
                };
                let there = |whole: &TermId| contains(&self.terms, *whole, part);
                let step = chain.wholes.iter().position(there)?;
                Some(First::Part {
                    of: ValueId(of),
                    step,
                })
            });
            let found = found.next();
            match (&mut origins[i], found) {
                (Origin::Rules(chain), Some(found)) => chain.from = found,
                (origin, _) => *origin = Origin::Unknown,
            }
        }
    }
}

/// Whether a term is another, or has it in it.
fn contains(terms: &Terms, whole: TermId, part: TermId) -> bool {
    let mut seen = HashSet::new();
    let mut open = vec![whole];
    while let Some(term) = open.pop() {
        if term == part {
            return true;
        }
        // Terms are made after what they are made of.
        if term > part && seen.insert(term) {
            open.extend(terms.operands(term));
        }
    }
    false
}

impl Provenance {
    /// A term in words, its root written out.
    pub fn text(&self, term: TermId) -> String {
        Writer::new(&self.terms, &self.names).one(term)
    }

    /// A chain's steps in words, as far as it replays.
    pub fn steps(&self, chain: &Chain, rules: &RuleSet) -> Vec<StepText> {
        let writer = Writer::new(&self.terms, &self.names);
        let each = chain.steps.iter().zip(&chain.wholes).map(|(step, whole)| {
            let rule = rules.rules().iter().find(|r| r.name == step.rule);
            let sides = |rule: &Rule| match step.forward {
                true => (rule.left.clone(), rule.right.clone()),
                false => (rule.right.clone(), rule.left.clone()),
            };
            let (before, after) = rule.map(sides).unzip();
            let after = writer.as_seen(step.after, after.as_ref());
            StepText {
                before: writer.as_seen(step.before, before.as_ref()),
                whole: writer.around(*whole, &step.position, after.clone()),
                after,
            }
        });
        each.collect()
    }
}
