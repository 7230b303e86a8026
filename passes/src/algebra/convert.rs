//! A function to an e-graph and back.

use std::collections::{HashMap, HashSet};

use egg::Id;
use ir::{Def, Dims, Function, Type, Value, ValueId, verify_function};

use super::analysis::{Facts, Graph, site_of, type_of};
use super::extract::Choice;
use super::node::{Node, split};

/// A function's e-graph.
pub struct Source {
    /// The e-graph.
    pub graph: Graph,
    /// The class of each of the function's values.
    pub values: Vec<Id>,
    /// The classes of its results.
    pub results: Vec<Id>,
}

impl Source {
    /// The e-graph of a function over these symbols. Equal subexpressions share a class.
    ///
    /// # Panics
    /// If the function does not verify.
    pub fn new(function: &Function, dims: &Dims) -> Source {
        Source::over(function, dims, |graph| graph)
    }

    /// The same, in an e-graph that keeps why classes are equal.
    ///
    /// # Panics
    /// If the function does not verify.
    pub fn explained(function: &Function, dims: &Dims) -> Source {
        // Shorter explanations would take longer to find than all else.
        Source::over(function, dims, |graph| {
            let graph = graph.with_explanations_enabled();
            graph.without_explanation_length_optimization()
        })
    }

    fn over(function: &Function, dims: &Dims, prepared: impl Fn(Graph) -> Graph) -> Source {
        if let Err(violation) = verify_function(function, dims) {
            panic!("only a function that verifies has an e-graph: {violation}");
        }
        let params: Vec<Type> = function.params().iter().map(|p| p.ty.clone()).collect();
        let mut graph = prepared(Graph::new(Facts {
            dims: dims.clone(),
            params,
            ..Facts::default()
        }));
        let mut values: Vec<Id> = Vec::new();
        for (i, value) in function.values.iter().enumerate() {
            let node = match &value.def {
                Def::Param => Node::Param(i),
                Def::Op {
                    op,
                    attrs,
                    operands,
                } => {
                    let mut children: Vec<Id> = operands.iter().map(|o| values[o.0]).collect();
                    let leaves = attrs.iter().cloned().map(Node::Attr);
                    children.extend(leaves.map(|leaf| graph.add(leaf)));
                    Node::Op(*op, children)
                }
            };
            values.push(graph.add(node));
        }
        graph.rebuild();
        let results = function.results.iter().map(|r| values[r.0]).collect();
        Source {
            graph,
            values,
            results,
        }
    }
}

/// The function of the chosen nodes: the source's parameters, then what its results need, in the
/// source's order where a value survives. Such a value keeps its name; others are numbered.
///
/// # Panics
/// If what was chosen does not verify or has other result types, which the e-graph's types rule out.
pub fn restore(source: &Function, of: &Source, choice: &Choice) -> Function {
    let graph = &of.graph;
    let params = source.params().len();
    let needed = choice.reachable(graph, &of.results);
    let mut made: HashMap<Id, ValueId> = HashMap::new();
    let mut values = source.params().to_vec();
    for (i, class) in of.values[..params].iter().enumerate() {
        made.entry(graph.find(*class)).or_insert(ValueId(i));
    }
    let mut names = Names::new(source, of);
    let surviving = of.values[params..].iter().map(|id| graph.find(*id));
    let surviving = surviving.filter(|id| needed.contains(id));
    let results: Vec<Id> = of.results.iter().map(|id| graph.find(*id)).collect();
    // Depth first: a class is left, with its operands made, when it is met again on the stack.
    let mut stack: Vec<Id> = surviving.chain(results.iter().copied()).collect();
    stack.reverse();
    while let Some(class) = stack.pop() {
        if made.contains_key(&class) {
            continue;
        }
        let Node::Op(op, children) = choice.node(graph, class) else {
            panic!("a chosen value is a parameter, all of which are made, or an op");
        };
        let (operands, _) = split(*op, children);
        let operands: Vec<Id> = operands.iter().map(|o| graph.find(*o)).collect();
        let missing = operands.iter().filter(|o| !made.contains_key(*o));
        let missing: Vec<Id> = missing.copied().collect();
        if !missing.is_empty() {
            stack.push(class);
            stack.extend(missing.into_iter().rev());
            continue;
        }
        let (_, attrs) = site_of(graph, *op, children);
        values.push(Value {
            name: names.of(class, values.len()),
            ty: type_of(graph, class).clone(),
            def: Def::Op {
                op: *op,
                attrs,
                operands: operands.iter().map(|o| made[o]).collect(),
            },
        });
        made.insert(class, ValueId(values.len() - 1));
    }
    let function = Function {
        name: source.name.clone(),
        values,
        results: results.iter().map(|r| made[r]).collect(),
    };
    if let Err(violation) = verify_function(&function, &graph.analysis.dims) {
        panic!("the e-graph gave a function that does not verify: {violation}");
    }
    assert!(
        function.result_types().eq(source.result_types()),
        "the e-graph changed the type of a result of {}",
        source.name
    );
    function
}

/// The names of a function's values.
struct Names {
    /// Names, not numbers, that the source gives to a class; the first wins.
    given: HashMap<Id, String>,
    taken: HashSet<String>,
}

impl Names {
    fn new(source: &Function, of: &Source) -> Names {
        let params = source.params().len();
        let mut given = HashMap::new();
        let mut taken: HashSet<String> = source.params().iter().map(|p| p.name.clone()).collect();
        for (value, class) in source.values.iter().zip(&of.values).skip(params) {
            if !value.name.chars().all(|c| c.is_ascii_digit()) {
                let class = of.graph.find(*class);
                given.entry(class).or_insert_with(|| value.name.clone());
                taken.insert(value.name.clone());
            }
        }
        Names { given, taken }
    }

    /// The class's name, or the first free number from this one on.
    fn of(&mut self, class: Id, number: usize) -> String {
        if let Some(name) = self.given.remove(&class) {
            return name;
        }
        let mut numbers = (number..).map(|n| n.to_string());
        let free = numbers.find(|n| !self.taken.contains(n));
        let name = free.expect("numbers do not run out");
        self.taken.insert(name.clone());
        name
    }
}
