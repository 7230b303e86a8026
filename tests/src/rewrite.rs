//! Modules changed on purpose: every function built anew, with other values in places.

use ir::{Def, Dim, Expr, Function, FunctionBuilder, Module, Op, Value, ValueId};

/// A value while its function is built anew, and what it is made of.
pub struct Spot<'b> {
    /// The function, as it was.
    pub function: &'b Function,
    /// The value, as it was.
    pub value: &'b Value,
    /// The op that makes it.
    pub op: Op,
    operands: &'b [ValueId],
    /// What builds the function anew.
    pub builder: &'b FunctionBuilder<'b>,
    /// The earlier values, built anew, by their ids.
    pub earlier: Vec<Expr<'b>>,
    /// This value, built anew.
    pub made: Expr<'b>,
}

impl<'b> Spot<'b> {
    /// Whether this op makes it.
    pub fn is(&self, op: Op) -> bool {
        self.op == op
    }

    /// Whether it has this name.
    pub fn is_named(&self, name: &str) -> bool {
        self.value.name == name
    }

    /// Whether there is an element for every key.
    pub fn is_over_keys(&self) -> bool {
        self.value.ty.dims.contains(&Dim::sym("K"))
    }

    /// Whether operand i is made by this op.
    pub fn takes(&self, i: usize, op: Op) -> bool {
        op_of(self.operand(i)) == Some(op)
    }

    /// Operand i, as it was.
    pub fn operand(&self, i: usize) -> &'b Value {
        &self.function.values[self.operands[i].0]
    }

    /// Operand i, built anew.
    pub fn x(&self, i: usize) -> Expr<'b> {
        self.earlier[self.operands[i].0]
    }

    /// The earlier value of that name, built anew.
    pub fn named(&self, name: &str) -> Expr<'b> {
        let id = self.function.value(name);
        self.earlier[id.expect("the function has a value of that name").0]
    }
}

/// The op that makes a value, unless it is a parameter.
pub fn op_of(value: &Value) -> Option<Op> {
    match &value.def {
        Def::Op { op, .. } => Some(*op),
        Def::Param => None,
    }
}

/// The module with every function built anew, where `change` may put another value in the place of
/// one of the same type.
pub fn rewritten(
    module: &Module,
    change: impl for<'b> Fn(&Spot<'b>) -> Option<Expr<'b>>,
) -> Module {
    let mut changed = module.clone();
    for (old, new) in module.functions.iter().zip(&mut changed.functions) {
        let builder = FunctionBuilder::new(&old.name, &module.dims);
        let mut exprs: Vec<Expr> = vec![];
        for value in &old.values {
            let expr = match &value.def {
                Def::Param => builder.param(&value.name, value.ty.clone()),
                Def::Op {
                    op,
                    attrs,
                    operands,
                } => {
                    let x: Vec<Expr> = operands.iter().map(|id| exprs[id.0]).collect();
                    let spot = Spot {
                        function: old,
                        value,
                        op: *op,
                        operands,
                        builder: &builder,
                        earlier: exprs.clone(),
                        made: builder.op(*op, &x, attrs.clone()),
                    };
                    change(&spot).unwrap_or(spot.made)
                }
            };
            // Values that are numbered are numbered anew.
            exprs.push(match value.name.parse::<usize>() {
                Ok(_) => expr,
                Err(_) => expr.named(&value.name),
            });
        }
        let results: Vec<Expr> = old.results.iter().map(|id| exprs[id.0]).collect();
        *new = builder
            .finish(&results)
            .unwrap_or_else(|error| panic!("{error}"));
    }
    assert_ne!(&changed, module, "the change is in the module");
    let text = ir::text::print(&changed);
    assert_eq!(ir::text::parse(&text).as_ref(), Ok(&changed));
    changed
}

#[cfg(test)]
mod tests {
    use ir::{DType, Type};

    use super::*;

    fn doubled() -> Module {
        let mut module = Module {
            name: "doubled".into(),
            ..Module::default()
        };
        let builder = FunctionBuilder::new("double", &module.dims);
        let x = builder.param("x", Type::new(DType::F32, [3usize]));
        let function = builder.finish(&[(x + x).named("y")]);
        module.functions.push(function.unwrap());
        module
    }

    #[test]
    fn a_change_puts_one_value_in_the_place_of_another() {
        let changed = rewritten(&doubled(), |spot| spot.is(Op::Add).then(|| -spot.x(0)));
        let result = &changed.functions[0].values[changed.functions[0].results[0].0];
        assert_eq!((op_of(result), &result.name[..]), (Some(Op::Neg), "y"));
    }

    #[test]
    #[should_panic(expected = "the change is in the module")]
    fn a_change_that_finds_no_place_is_no_test() {
        rewritten(&doubled(), |spot| spot.is(Op::Mul).then(|| spot.x(0)));
    }
}
