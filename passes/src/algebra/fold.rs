//! Constant folding, through the interpreter.

use egg::{Applier, Id, PatternAst, Rewrite, SearchMatches, Searcher, Subst, Symbol};
use ir::interp::{Interpreter, Tensor};
use ir::{
    Attr, Bindings, Call, Class, DType, Function, FunctionBuilder, FunctionId, Literal, Module, Op,
    Place, Type,
};

use super::analysis::{Fact, Facts, Graph, site_of, type_of};
use super::node::{Node, split};

/// The rule's name in reports.
pub const NAME: &str = "fold-constants";

/// Most elements of an operand or a result that is folded.
const MAX_ELEMENTS: i64 = 1024;

/// The built-in exact rule: an op over constants is the constant that the interpreter makes of it.
pub fn rewrite() -> Rewrite<Node, Facts> {
    Rewrite::new(NAME, Constants, Constants).expect("the rule has no variables")
}

struct Constants;

/// A node of a class that is not known to be constant, over classes that are.
fn foldable(graph: &Graph, class: Id) -> Option<&Node> {
    let class = &graph[class];
    let known = |id: &Id| graph[*id].data.constant().is_some();
    if class.data.ty().is_none() || class.data.constant().is_some() {
        return None;
    }
    class.nodes.iter().find(|node| match node {
        Node::Op(op, children) => {
            let (operands, _) = split(*op, children);
            !operands.is_empty() && operands.iter().all(known)
        }
        Node::Param(_) | Node::Attr(_) => false,
    })
}

impl Searcher<Node, Facts> for Constants {
    fn search_eclass_with_limit(
        &self,
        graph: &Graph,
        eclass: Id,
        _: usize,
    ) -> Option<SearchMatches<'_, Node>> {
        foldable(graph, eclass)?;
        Some(SearchMatches {
            eclass,
            substs: vec![Subst::default()],
            ast: None,
        })
    }

    fn vars(&self) -> Vec<egg::Var> {
        vec![]
    }
}

impl Applier<Node, Facts> for Constants {
    fn apply_one(
        &self,
        graph: &mut Graph,
        class: Id,
        _: &Subst,
        _: Option<&PatternAst<Node>>,
        name: Symbol,
    ) -> Vec<Id> {
        let Some(node) = foldable(graph, class).cloned() else {
            return vec![];
        };
        let Some((ty, values)) = fold(graph, class, &node) else {
            return vec![];
        };
        let before = graph.total_size();
        let from = match node {
            Node::Op(op, children) if graph.are_explanations_enabled() => {
                let children = children.iter().map(|id| known(graph, *id)).collect();
                graph.add_uncanonical(Node::Op(op, children))
            }
            _ => class,
        };
        let constant = constant(graph, ty, values);
        let grown = graph.total_size() - before;
        let growth = &mut graph.analysis.growth;
        *growth.entry(NAME.into()).or_default() += grown;
        match graph.union_trusted(from, constant, name) {
            true => vec![class],
            false => vec![],
        }
    }
}

/// The node of a constant.
fn constant(graph: &mut Graph, ty: Type, values: Vec<Literal>) -> Id {
    let attrs = [
        Attr::To(ty.dtype),
        Attr::Dims(ty.dims),
        Attr::Literals(values),
    ];
    let children = attrs.map(|attr| graph.add(Node::Attr(attr)));
    graph.add_uncanonical(Node::Op(Op::Const, children.into()))
}

/// The node of the constant in a class, or else the class.
fn known(graph: &mut Graph, class: Id) -> Id {
    match graph[class].data.clone() {
        Fact::Value {
            ty,
            constant: Some(values),
            ..
        } => constant(graph, ty, values),
        Fact::Value { .. } | Fact::Attr(_) => class,
    }
}

/// The type and values of what a node makes of constants, if that is small and can be written.
fn fold(graph: &Graph, class: Id, node: &Node) -> Option<(Type, Vec<Literal>)> {
    let Node::Op(op, children) = node else {
        return None;
    };
    let ty = type_of(graph, class).clone();
    let (types, attrs) = site_of(graph, *op, children);
    let (operands, _) = split(*op, children);
    let values = operands.iter().map(|o| graph[*o].data.constant());
    let values: Vec<&[Literal]> = values.collect::<Option<_>>()?;
    let literals = fold_constants(*op, &attrs, &types, &values, &ty)?;
    Some((ty, literals))
}

/// The numbers that the interpreter makes of an op over constants of these types and numbers, as a constant
/// of this type writes them; nothing if there are many or none, or a dtype has no literals.
pub(crate) fn fold_constants(
    op: Op,
    attrs: &[Attr],
    types: &[&Type],
    values: &[&[Literal]],
    ty: &Type,
) -> Option<Vec<Literal>> {
    if !matches!(ty.dtype, DType::F32 | DType::I32 | DType::Bool) {
        return None;
    }
    // One value in, one value out, whatever the shape.
    let uniform = op.def().class == Class::Pointwise && values.iter().all(|v| v.len() == 1);
    let shaped = |ty: &Type| match uniform {
        true => Type::new(ty.dtype, [] as [ir::Dim; 0]),
        false => ty.clone(),
    };
    let types: Vec<Type> = types.iter().map(|ty| shaped(ty)).collect();
    let small = |ty: &Type| ty.elements().as_const().is_some_and(|n| n <= MAX_ELEMENTS);
    if !types.iter().all(small) || !small(&shaped(ty)) {
        return None;
    }
    // A single value fills its shape; without elements there is none to write.
    run(op, attrs, &types, values).filter(|literals| !literals.is_empty())
}

/// What the interpreter makes of an op over constants.
fn run(op: Op, attrs: &[Attr], types: &[Type], values: &[&[Literal]]) -> Option<Vec<Literal>> {
    let dims = ir::Dims::default();
    let builder = FunctionBuilder::new("fold", &dims);
    let constants = types.iter().zip(values).map(|(ty, v)| {
        let values: Vec<f64> = v.iter().map(|x| x.0).collect();
        builder.constant(ty.clone(), &values)
    });
    let operands: Vec<_> = constants.collect();
    let result = builder.op(op, &operands, attrs.to_vec());
    let function: Function = builder.finish(&[result]).ok()?;
    let mut module = Module {
        name: "fold".into(),
        ..Module::default()
    };
    let output = module.step.add_local("y", result.ty());
    module.functions.push(function);
    module.step.calls.push(Call {
        results: vec![Place::Local(output)],
        function: FunctionId(0),
        args: vec![],
    });
    module.step.outputs.push(output);
    let mut interpreter = Interpreter::<f32>::new(module, |_| None, 1).ok()?;
    let outputs = interpreter.step(&Bindings::default(), vec![]).ok()?;
    let y: &Tensor<f32> = outputs.first()?;
    if let Some(reals) = y.to_real() {
        return Some(reals.iter().map(|x| Literal((*x).into())).collect());
    }
    if let Some(ints) = y.to_int() {
        return Some(ints.iter().map(|x| Literal((*x).into())).collect());
    }
    let bools = y.to_bool()?;
    Some(
        bools
            .iter()
            .map(|b| Literal(f64::from(u8::from(*b))))
            .collect(),
    )
}
