//! What is known of each e-class: a value's type and literals, or the attribute that it is.

use std::collections::BTreeMap;

use egg::{Analysis, DidMerge, Id};
use ir::{Attr, Dims, Literal, Op, Site, Type};

use super::node::{Node, split};

/// The e-graph of a function.
pub type Graph = egg::EGraph<Node, Facts>;

/// What the analysis is told, and what the rules leave with it.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// What is known of the symbols.
    pub dims: Dims,
    /// Types of the function's parameters.
    pub params: Vec<Type>,
    /// How many nodes each rule has added.
    pub growth: BTreeMap<String, usize>,
}

/// What is known of an e-class.
#[derive(Clone, Debug, PartialEq)]
pub enum Fact {
    /// A value.
    Value {
        /// Its type.
        ty: Type,
        /// Its elements, row-major, if a constant is in the class; a single one fills the shape.
        constant: Option<Vec<Literal>>,
        /// The class's first node: that of a source value, if one is in the class.
        first: Id,
    },
    /// An attribute.
    Attr(Attr),
}

impl Fact {
    /// The type, of a value.
    pub fn ty(&self) -> Option<&Type> {
        match self {
            Fact::Value { ty, .. } => Some(ty),
            Fact::Attr(_) => None,
        }
    }

    /// The literals, of a constant.
    pub fn constant(&self) -> Option<&[Literal]> {
        match self {
            Fact::Value { constant, .. } => constant.as_deref(),
            Fact::Attr(_) => None,
        }
    }
}

/// The type of a value's class.
///
/// # Panics
/// If the class is an attribute: operands are values, which the rules' loader and applier keep.
pub fn type_of(graph: &Graph, id: Id) -> &Type {
    let ty = graph[id].data.ty();
    ty.expect("an operand is a value, not an attribute")
}

/// The node that stands for a class where its equalities are explained: its first, an attribute's own.
pub fn first_of(graph: &Graph, id: Id) -> Id {
    match &graph[id].data {
        Fact::Value { first, .. } => *first,
        Fact::Attr(_) => id,
    }
}

/// An op's operand types and attributes.
pub fn site_of<'g>(graph: &'g Graph, op: Op, children: &[Id]) -> (Vec<&'g Type>, Vec<Attr>) {
    let (operands, attrs) = split(op, children);
    let attr = |id: &Id| match &graph[*id].data {
        Fact::Attr(attr) => attr.clone(),
        Fact::Value { .. } => panic!("an attribute of {} is a value", op.def().name),
    };
    let types = operands.iter().map(|id| type_of(graph, *id)).collect();
    (types, attrs.iter().map(attr).collect())
}

impl Analysis<Node> for Facts {
    type Data = Fact;

    fn make(graph: &mut Graph, node: &Node, id: Id) -> Fact {
        let (op, children) = match node {
            Node::Param(i) => {
                let ty = graph.analysis.params[*i].clone();
                return Fact::Value {
                    ty,
                    constant: None,
                    first: id,
                };
            }
            Node::Attr(attr) => return Fact::Attr(attr.clone()),
            Node::Op(op, children) => (*op, children),
        };
        let (operands, attrs) = site_of(graph, op, children);
        let site = Site {
            def: op.def(),
            attrs: &attrs,
            operands: &operands,
            dims: &graph.analysis.dims,
        };
        let ty = ir::infer(&site).unwrap_or_else(|breach| {
            panic!(
                "an ill-typed {} entered the e-graph: {}",
                op.def().name,
                breach.detail
            )
        });
        let constant = (op == Op::Const).then(|| site.literals(2).to_vec());
        Fact::Value {
            ty,
            constant,
            first: id,
        }
    }

    fn merge(&mut self, to: &mut Fact, from: Fact) -> DidMerge {
        match (to, from) {
            (Fact::Attr(a), Fact::Attr(b)) => {
                assert_eq!(*a, b, "two attributes were merged");
                DidMerge(false, false)
            }
            (
                Fact::Value {
                    ty,
                    constant,
                    first,
                },
                Fact::Value {
                    ty: other,
                    constant: from,
                    first: other_first,
                },
            ) => {
                assert_eq!(*ty, other, "values of two types were merged");
                // No fact about another class is made of this one.
                *first = (*first).min(other_first);
                match (&constant, from) {
                    (None, None) => DidMerge(false, false),
                    (Some(_), None) => DidMerge(false, true),
                    (None, Some(values)) => {
                        *constant = Some(values);
                        DidMerge(true, false)
                    }
                    // Rounded to their dtype they are the same numbers.
                    (Some(_), Some(_)) => DidMerge(false, true),
                }
            }
            (to, from) => panic!("a value was merged with an attribute: {to:?}, {from:?}"),
        }
    }
}
