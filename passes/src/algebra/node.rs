//! The e-graph's language, derived from the op table.

use std::fmt;

use egg::{Id, Language};
use ir::{Attr, Op};

/// An e-node.
///
/// An op's children are its operands, then its attributes as [`Node::Attr`] leaves, both in the order of
/// its row: so a pattern binds an attribute as it binds an operand.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Node {
    /// A parameter of the function, by its place.
    Param(usize),
    /// An attribute.
    Attr(Attr),
    /// An op over its operands and attributes.
    Op(Op, Vec<Id>),
}

/// What must agree for two nodes to match, the number of a variadic op's operands aside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Head {
    /// A parameter.
    Param(usize),
    /// Any attribute.
    Attr,
    /// This op.
    Op(Op),
}

/// An op's children as operands and attributes.
pub fn split(op: Op, children: &[Id]) -> (&[Id], &[Id]) {
    children.split_at(children.len().saturating_sub(op.def().attrs.len()))
}

impl Language for Node {
    type Discriminant = Head;

    fn discriminant(&self) -> Head {
        match self {
            Node::Param(i) => Head::Param(*i),
            Node::Attr(_) => Head::Attr,
            Node::Op(op, _) => Head::Op(*op),
        }
    }

    fn matches(&self, other: &Node) -> bool {
        match (self, other) {
            (Node::Op(a, x), Node::Op(b, y)) => a == b && x.len() == y.len(),
            _ => self == other,
        }
    }

    fn children(&self) -> &[Id] {
        match self {
            Node::Op(_, children) => children,
            Node::Param(_) | Node::Attr(_) => &[],
        }
    }

    fn children_mut(&mut self) -> &mut [Id] {
        match self {
            Node::Op(_, children) => children,
            Node::Param(_) | Node::Attr(_) => &mut [],
        }
    }
}

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Node::Param(i) => write!(f, "param{i}"),
            Node::Attr(attr) => write!(f, "{attr}"),
            Node::Op(op, _) => f.write_str(op.def().name),
        }
    }
}
