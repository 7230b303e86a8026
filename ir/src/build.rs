//! Building a function as one writes the formula.

use std::cell::RefCell;
use std::ops::{Add, Div, Mul, Neg, Rem, Sub};

use crate::attr::{Attr, Literal};
use crate::dim::{Dim, Dims};
use crate::dtype::DType;
use crate::graph::{Def, Function, Value, ValueId};
use crate::ops::Op;
use crate::text::op_text;
use crate::ty::Type;
use crate::type_rules::{self, Site};
use crate::verify::Violation;

/// Makes a [`Function`] value by value.
///
/// An op that breaks a constraint is remembered, and [`FunctionBuilder::finish`] gives it back: until
/// then expressions go on as if nothing had happened.
///
/// ```
/// use lapidary_ir::{DType, Dims, FunctionBuilder, Type};
/// let mut dims = Dims::default();
/// let r = dims.declare("R", 1, 8);
/// let b = FunctionBuilder::new("double", &dims);
/// let x = b.param("x", Type::new(DType::F32, [&r]));
/// let f = b.finish(&[(x + x).named("y")]).expect("x has one shape");
/// assert_eq!(f.values[1].ty.to_string(), "f32[R]");
/// ```
pub struct FunctionBuilder<'d> {
    dims: &'d Dims,
    made: RefCell<Made>,
}

struct Made {
    function: Function,
    broken: Option<Violation>,
}

/// A value of the function being built.
#[derive(Clone, Copy)]
pub struct Expr<'b> {
    builder: &'b FunctionBuilder<'b>,
    id: ValueId,
}

impl<'d> FunctionBuilder<'d> {
    /// A function of that name, over these symbols.
    pub fn new(name: impl Into<String>, dims: &'d Dims) -> FunctionBuilder<'d> {
        FunctionBuilder {
            dims,
            made: RefCell::new(Made {
                function: Function {
                    name: name.into(),
                    ..Function::default()
                },
                broken: None,
            }),
        }
    }

    fn push(&self, value: Value) -> Expr<'_> {
        let values = &mut self.made.borrow_mut().function.values;
        values.push(value);
        Expr {
            builder: self,
            id: ValueId(values.len() - 1),
        }
    }

    /// The next parameter; all parameters come before the first op.
    pub fn param(&self, name: impl Into<String>, ty: Type) -> Expr<'_> {
        self.push(Value {
            name: name.into(),
            ty,
            def: Def::Param,
        })
    }

    /// Any op, its type by its row's rule.
    pub fn op(&self, op: Op, operands: &[Expr], attrs: Vec<Attr>) -> Expr<'_> {
        let types: Vec<Type> = operands.iter().map(|e| e.ty()).collect();
        let site = Site {
            def: op.def(),
            attrs: &attrs,
            operands: &types.iter().collect::<Vec<_>>(),
            dims: self.dims,
        };
        let ty = type_rules::infer(&site).unwrap_or_else(|breach| {
            let mut made = self.made.borrow_mut();
            let place = format!("fn {}, {}", made.function.name, op_text(&site));
            made.broken.get_or_insert(breach.at(place));
            types
                .first()
                .cloned()
                .unwrap_or_else(|| Type::new(DType::F32, [] as [Dim; 0]))
        });
        let name = self.made.borrow().function.values.len().to_string();
        let operands = operands.iter().map(|e| e.id).collect();
        let def = Def::Op {
            op,
            attrs,
            operands,
        };
        self.push(Value { name, ty, def })
    }

    /// A constant that fills a shape, or whose values are written row-major.
    pub fn constant(&self, ty: Type, values: &[f64]) -> Expr<'_> {
        let values = values.iter().copied().map(Literal).collect();
        let attrs = vec![
            Attr::To(ty.dtype),
            Attr::Dims(ty.dims),
            Attr::Literals(values),
        ];
        self.op(Op::Const, &[], attrs)
    }

    /// 0, 1, 2, … up to the length.
    pub fn iota(&self, length: &Dim) -> Expr<'_> {
        self.op(Op::Iota, &[], vec![Attr::Dim(length.clone())])
    }

    /// The function that returns these values, or the first constraint that was broken.
    pub fn finish(&self, results: &[Expr]) -> Result<Function, Violation> {
        let made = self.made.borrow();
        if let Some(violation) = &made.broken {
            return Err(violation.clone());
        }
        let mut function = made.function.clone();
        function.results = results.iter().map(|e| e.id).collect();
        Ok(function)
    }
}

/// Declares methods that apply an op to this value, and to another.
macro_rules! methods {
    ($(#[$doc:meta] $name:ident $op:ident ($($other:ident),*);)*) => {
        impl<'b> Expr<'b> {
            $(#[$doc] pub fn $name(self $(, $other: Expr<'b>)*) -> Expr<'b> {
                self.builder.op(Op::$op, &[self $(, $other)*], vec![])
            })*
        }
    };
}

methods! {
    /// See [`Op::Exp`].
    exp Exp ();
    /// See [`Op::Tanh`].
    tanh Tanh ();
    /// See [`Op::Sin`].
    sin Sin ();
    /// See [`Op::Cos`].
    cos Cos ();
    /// See [`Op::Rsqrt`].
    rsqrt Rsqrt ();
    /// See [`Op::Dequant`].
    dequant Dequant ();
    /// See [`Op::Lt`].
    lt Lt (b);
    /// See [`Op::Le`].
    le Le (b);
    /// See [`Op::And`].
    and And (b);
    /// See [`Op::Select`]; this value is the condition.
    select Select (a, b);
    /// See [`Op::Put`]; this value is the state.
    put Put (slot, index, rows);
}

impl<'b> Expr<'b> {
    /// Its type.
    pub fn ty(self) -> Type {
        self.builder.made.borrow().function.values[self.id.0]
            .ty
            .clone()
    }

    /// The same value under a name, unless an earlier value has it.
    pub fn named(self, name: &str) -> Expr<'b> {
        let function = &mut self.builder.made.borrow_mut().function;
        if function.value(name).is_none() {
            function.values[self.id.0].name = name.into();
        }
        self
    }

    /// A constant of this value's shape.
    pub fn filled(self, value: f64) -> Expr<'b> {
        self.builder.constant(self.ty(), &[value])
    }

    /// See [`Op::Cast`].
    pub fn cast(self, to: DType) -> Expr<'b> {
        self.builder.op(Op::Cast, &[self], vec![Attr::To(to)])
    }

    /// See [`Op::Reshape`].
    pub fn reshape(self, shape: &[&Dim]) -> Expr<'b> {
        let shape = Attr::Dims(shape.iter().copied().cloned().collect());
        self.builder.op(Op::Reshape, &[self], vec![shape])
    }

    /// See [`Op::Broadcast`].
    pub fn broadcast(self, shape: &[Dim], axes: &[usize]) -> Expr<'b> {
        let attrs = vec![Attr::Dims(shape.to_vec()), Attr::Axes(axes.to_vec())];
        self.builder.op(Op::Broadcast, &[self], attrs)
    }

    /// See [`Op::Slice`].
    pub fn slice(self, axis: usize, start: &Dim, stop: &Dim) -> Expr<'b> {
        let attrs = vec![
            Attr::Axis(axis),
            Attr::Dim(start.clone()),
            Attr::Dim(stop.clone()),
        ];
        self.builder.op(Op::Slice, &[self], attrs)
    }

    /// See [`Op::Concat`].
    pub fn concat(self, other: Expr<'b>, axis: usize) -> Expr<'b> {
        self.builder
            .op(Op::Concat, &[self, other], vec![Attr::Axis(axis)])
    }

    /// See [`Op::ReduceSum`].
    pub fn sum(self, axes: &[usize]) -> Expr<'b> {
        self.builder
            .op(Op::ReduceSum, &[self], vec![Attr::Axes(axes.to_vec())])
    }

    /// See [`Op::ReduceMax`].
    pub fn max(self, axes: &[usize]) -> Expr<'b> {
        self.builder
            .op(Op::ReduceMax, &[self], vec![Attr::Axes(axes.to_vec())])
    }

    /// See [`Op::Dot`]: pairs of batch axes, pairs of contracted axes.
    pub fn dot(
        self,
        other: Expr<'b>,
        batch: &[(usize, usize)],
        contract: &[(usize, usize)],
    ) -> Expr<'b> {
        let (a_batch, b_batch) = batch.iter().copied().unzip();
        let (a_contract, b_contract) = contract.iter().copied().unzip();
        let attrs = [a_batch, b_batch, a_contract, b_contract].map(Attr::Axes);
        self.builder.op(Op::Dot, &[self, other], attrs.into())
    }

    /// See [`Op::Take`].
    pub fn take(self, index: Expr<'b>, axis: usize) -> Expr<'b> {
        self.builder
            .op(Op::Take, &[self, index], vec![Attr::Axis(axis)])
    }
}

/// Lets formulas be written with operators, between values and with a constant on the right.
macro_rules! operators {
    ($($trait:ident $method:ident $op:ident;)*) => {$(
        impl<'b> $trait for Expr<'b> {
            type Output = Expr<'b>;
            fn $method(self, other: Expr<'b>) -> Expr<'b> {
                self.builder.op(Op::$op, &[self, other], vec![])
            }
        }

        impl<'b> $trait<f64> for Expr<'b> {
            type Output = Expr<'b>;
            fn $method(self, other: f64) -> Expr<'b> {
                self.$method(self.filled(other))
            }
        }
    )*};
}

operators! {
    Add add Add;
    Sub sub Sub;
    Mul mul Mul;
    Div div Div;
    Rem rem Rem;
}

impl<'b> Neg for Expr<'b> {
    type Output = Expr<'b>;
    fn neg(self) -> Expr<'b> {
        self.builder.op(Op::Neg, &[self], vec![])
    }
}
