//! Egg's explanation of one equality as a chain of rules.

use std::collections::HashMap;
use std::rc::Rc;

use egg::{TreeExplanation, TreeTerm};

use super::check::Step;
use super::terms::{TermId, Terms};
use crate::algebra::Node;

/// The most steps that a chain may have.
pub(super) const MAX_STEPS: usize = 1000;

/// The steps of an explanation; nothing if there are more than [`MAX_STEPS`].
///
/// An explanation is a tree of proofs in which equal parts are shared. It is walked where something is
/// rewritten, and nowhere else: written out as trees its terms would not fit any memory.
pub(super) fn steps(terms: &mut Terms, explanation: &TreeExplanation<Node>) -> Option<Vec<Step>> {
    let mut reader = Reader {
        terms,
        ends: HashMap::new(),
        steps: Vec::new(),
    };
    reader.proof(explanation, &mut Vec::new())?;
    Some(without_loops(reader.steps))
}

struct Reader<'t> {
    terms: &'t mut Terms,
    /// First and last term of each part, by its address: the explanation keeps all parts alive.
    ends: HashMap<*const TreeTerm<Node>, (TermId, TermId)>,
    steps: Vec<Step>,
}

impl Reader<'_> {
    /// The term that a part starts from, and the one that it ends with.
    fn ends(&mut self, part: &Rc<TreeTerm<Node>>) -> (TermId, TermId) {
        if let Some(ends) = self.ends.get(&Rc::as_ptr(part)) {
            return *ends;
        }
        let made = match &part.node {
            Node::Param(i) => {
                let param = self.terms.param(*i);
                let param = param.expect("the terms are over the e-graph's parameters");
                (param, param)
            }
            Node::Attr(_) => panic!("an attribute is no term"),
            Node::Op(op, _) => {
                let (mut first, mut last, mut attrs) = (vec![], vec![], vec![]);
                for proof in &part.child_proofs {
                    let (Some(from), Some(to)) = (proof.first(), proof.last()) else {
                        panic!("egg's proofs have a first term");
                    };
                    if let Node::Attr(attr) = &from.node {
                        attrs.push(attr.clone());
                    } else {
                        first.push(self.ends(from).0);
                        last.push(self.ends(to).1);
                    }
                }
                let mut made = |operands| {
                    let made = self.terms.op(*op, attrs.clone(), operands);
                    made.unwrap_or_else(|breach| {
                        panic!(
                            "an ill-typed {} is in the e-graph: {}",
                            op.def().name,
                            breach.detail
                        )
                    })
                };
                (made(first), made(last))
            }
        };
        self.ends.insert(Rc::as_ptr(part), made);
        made
    }

    /// Adds the steps of a proof at a position.
    fn proof(&mut self, proof: &TreeExplanation<Node>, position: &mut Vec<usize>) -> Option<()> {
        let mut here: Option<TermId> = None;
        for part in proof {
            let (first, last) = self.ends(part);
            let named = [(part.forward_rule, true), (part.backward_rule, false)];
            let rules = named.into_iter().filter_map(|(rule, f)| Some((rule?, f)));
            for (rule, forward) in rules {
                self.steps.push(Step {
                    rule: rule.to_string(),
                    forward,
                    position: position.clone(),
                    before: here?,
                    after: first,
                });
            }
            if self.steps.len() > MAX_STEPS {
                return None;
            }
            // What comes back to where it was needs no proof.
            if first != last {
                let operands = part.child_proofs.iter().enumerate();
                for (operand, below) in operands {
                    let attribute = matches!(below.first()?.node, Node::Attr(_));
                    if attribute || self.ends(below.first()?).0 == self.ends(below.last()?).1 {
                        continue;
                    }
                    position.push(operand);
                    self.proof(below, position)?;
                    position.pop();
                }
            }
            here = Some(last);
        }
        Some(())
    }
}

/// The steps without those that lead from a term back to it.
fn without_loops(steps: Vec<Step>) -> Vec<Step> {
    let mut kept: Vec<Step> = Vec::new();
    for step in steps {
        let here = |k: &Step| k.position == step.position && k.before == step.after;
        let above =
            |k: &Step| k.position != step.position && step.position.starts_with(&k.position);
        match kept.iter().position(here) {
            // What was done there and below is undone; what was done beside it stays.
            Some(at) if !kept[at..].iter().any(above) => {
                let since = kept.split_off(at);
                let beside = since.into_iter();
                kept.extend(beside.filter(|k| !k.position.starts_with(&step.position)));
            }
            _ => kept.push(step),
        }
    }
    kept
}
