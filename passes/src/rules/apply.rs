//! A rule as egg's rewrite.

use egg::{Applier, ENodeOrVar, Id, Language, Pattern, PatternAst, Rewrite, Subst, Symbol};
use ir::Dims;

use super::expr::{Expr, Thing};
use super::rule::{Built, Rule, Scope, Term};
use crate::algebra::{Fact, Facts, Graph, Node, first_of};

/// The rewrite of a rule.
pub(crate) fn rewrite(rule: &Rule) -> Rewrite<Node, Facts> {
    let mut ast = PatternAst::default();
    pattern(&rule.left, &mut ast);
    let replace = Replace { rule: rule.clone() };
    Rewrite::new(rule.name.as_str(), Pattern::new(ast), replace)
        .expect("the applier names no variables of its own")
}

fn var(place: usize) -> egg::Var {
    egg::Var::from_u32(place as u32)
}

/// Adds a left side to a pattern.
fn pattern(term: &Term, ast: &mut PatternAst<Node>) -> Id {
    let (op, operands, attrs) = match term {
        Term::Var(i) => return ast.add(ENodeOrVar::Var(var(*i))),
        Term::Op {
            op,
            operands,
            attrs,
        } => (*op, operands, attrs),
    };
    let mut children: Vec<Id> = operands.iter().map(|t| pattern(t, ast)).collect();
    for (expr, (_, kind)) in attrs.iter().zip(op.def().attrs) {
        children.push(ast.add(match expr {
            Expr::Var(i) => ENodeOrVar::Var(var(*i)),
            written => {
                let thing = written.eval(&[], &Dims::default());
                let attr = thing.and_then(|t| t.to_attr(*kind));
                let attr = attr.expect("the left side's attributes are variables or written out");
                ENodeOrVar::ENode(Node::Attr(attr))
            }
        }));
    }
    ast.add(ENodeOrVar::ENode(Node::Op(op, children)))
}

struct Replace {
    rule: Rule,
}

impl Applier<Node, Facts> for Replace {
    fn apply_one(
        &self,
        graph: &mut Graph,
        class: Id,
        subst: &Subst,
        searched: Option<&PatternAst<Node>>,
        name: Symbol,
    ) -> Vec<Id> {
        let fact = |i: usize| Some(&graph[*subst.get(var(i))?].data);
        let thing = |fact: &Fact| match fact {
            Fact::Value { ty, .. } => Thing::Value(ty.clone()),
            Fact::Attr(attr) => Thing::from_attr(attr),
        };
        let mut scope: Scope = (0..self.rule.vars.len())
            .map(|i| fact(i).map(thing))
            .collect();
        let Some(result) = graph[class].data.ty().cloned() else {
            return vec![];
        };
        let dims = &graph.analysis.dims;
        let Some(built) = self.rule.replacement(&mut scope, &result, dims) else {
            return vec![];
        };
        let mut ast = PatternAst::default();
        replacement(&built, &mut ast);
        let before = graph.total_size();
        // An explanation is of nodes: it tells of the left side, and is short where a class is one node.
        let (from, subst) = match searched {
            Some(left) if graph.are_explanations_enabled() => {
                let mut firsts = Subst::default();
                for i in 0..self.rule.vars.len() {
                    if let Some(id) = subst.get(var(i)) {
                        firsts.insert(var(i), first_of(graph, *id));
                    }
                }
                (instantiate(graph, left, &firsts), firsts)
            }
            _ => (class, subst.clone()),
        };
        let to = instantiate(graph, &ast, &subst);
        let changed = graph.union_trusted(from, to, name);
        let grown = graph.total_size() - before;
        let growth = &mut graph.analysis.growth;
        *growth.entry(self.rule.name.clone()).or_default() += grown;
        if changed { vec![class] } else { vec![] }
    }
}

/// The node of a pattern whose variables stand for these nodes.
fn instantiate(graph: &mut Graph, ast: &PatternAst<Node>, subst: &Subst) -> Id {
    let mut made: Vec<Id> = Vec::with_capacity(ast.len());
    for part in ast {
        made.push(match part {
            ENodeOrVar::Var(var) => subst[*var],
            ENodeOrVar::ENode(node) => {
                let node = node.clone().map_children(|child| made[usize::from(child)]);
                graph.add_uncanonical(node)
            }
        });
    }
    *made.last().expect("a pattern has a root")
}

fn replacement(built: &Built, ast: &mut PatternAst<Node>) -> Id {
    let (op, operands, attrs) = match built {
        Built::Var(i) => return ast.add(ENodeOrVar::Var(var(*i))),
        Built::Op {
            op,
            operands,
            attrs,
            ..
        } => (*op, operands, attrs),
    };
    let mut children: Vec<Id> = operands.iter().map(|b| replacement(b, ast)).collect();
    let leaves = attrs.iter().cloned().map(Node::Attr);
    children.extend(leaves.map(|leaf| ast.add(ENodeOrVar::ENode(leaf))));
    ast.add(ENodeOrVar::ENode(Node::Op(op, children)))
}

#[cfg(test)]
mod tests {
    use egg::Runner;
    use ir::{DType, Type};

    use super::*;
    use crate::rules::RuleSet;

    #[test]
    fn egg_can_say_by_which_rules_two_values_are_equal() {
        let mut graph = Graph::new(Facts {
            params: vec![Type::new(DType::F32, [2usize, 3])],
            ..Facts::default()
        })
        .with_explanations_enabled();
        let x = graph.add(Node::Param(0));
        let axes = graph.add(Node::Attr(ir::Attr::Axes(vec![1, 0])));
        let once = graph.add(Node::Op(ir::Op::Transpose, vec![x, axes]));
        let twice = graph.add(Node::Op(ir::Op::Transpose, vec![once, axes]));
        let rules = RuleSet::shipped();
        let rewrites: Vec<_> = rules.rules().iter().map(rewrite).collect();
        let runner: Runner<Node, Facts> = Runner::new(Facts::default()).with_egraph(graph);
        let mut graph = runner.run(&rewrites).egraph;
        assert_eq!(graph.find(twice), graph.find(x));
        let mut explanation = graph.explain_id_equivalence(twice, x);
        let steps = explanation.make_flat_explanation().iter();
        let named: Vec<String> = steps
            .filter_map(|step| step.forward_rule.or(step.backward_rule))
            .map(|rule| rule.to_string())
            .collect();
        assert_eq!(named, ["transpose-of-transpose", "transpose-identity"]);
    }
}
