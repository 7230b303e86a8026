//! The op table: one row per primitive.
//!
//! The parser, the printer, the verifier and the passes' e-graph language derive from these rows; the
//! interpreter and each backend add one arm. An op's meaning stands at its row; its numbers follow the
//! contract of [`crate::interp`].

use crate::attr::AttrKind::{self, Axes, Axis, Dim as D, Dims as Ds, Literals, To};
use crate::dim::Dim;
use crate::ty::Type;
use crate::type_rules::{self, Rule, Site};

/// What kind of work an op is, which is all that fusion asks of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// Each result element from the operands' elements at the same index (from none, for a constant).
    Pointwise,
    /// Folds axes away, in the 16-lane order.
    Reduce,
    /// Moves elements by an index map that shapes and attributes fix.
    View,
    /// Sums of products, in the 16-lane order.
    Dot,
    /// Moves elements by an index map read from memory.
    Gather,
    /// Makes the new value of a state.
    State,
}

/// How an op's floating-point work is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flops {
    /// So many for each element of the result.
    PerResult(i64),
    /// So many for each element of the first operand.
    PerOperand(i64),
    /// Two for each product summed: twice the result's elements times the contracted dims.
    Dot,
}

/// How an op's memory traffic is counted when nothing is fused with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Traffic {
    /// Every operand is read, the result is written.
    Stream,
    /// As many of the first operand's elements are read as the result has; other operands are read.
    Gather,
    /// The last operand is read and written into the first, in place.
    Update,
    /// A view costs nothing by itself.
    None,
}

/// A row of the table.
pub struct OpDef {
    /// The op.
    pub op: Op,
    /// Its name in the text form.
    pub name: &'static str,
    /// Names of the operands; the last may repeat when `variadic`.
    pub operands: &'static [&'static str],
    /// Whether the last operand may repeat.
    pub variadic: bool,
    /// Names and kinds of the attributes, all required, in printed order.
    pub attrs: &'static [(&'static str, AttrKind)],
    /// The kind of work.
    pub class: Class,
    /// Shape and dtype of the result, or the constraint that is broken.
    pub rule: Rule,
    /// Floating-point work.
    pub flops: Flops,
    /// Memory traffic.
    pub traffic: Traffic,
}

/// Declares [`Op`] and its table from the same rows.
macro_rules! ops {
    ($(
        $(#[$doc:meta])*
        $op:ident $name:literal ($($operand:ident),* $(; $last:ident)?) {$($attr:ident: $kind:expr),*}
            $class:ident $rule:ident $flops:expr, $traffic:ident;
    )*) => {
        /// A primitive operation.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Op { $($(#[$doc])* $op,)* }

        static TABLE: &[OpDef] = &[$(OpDef {
            op: Op::$op,
            name: $name,
            operands: &[$(stringify!($operand),)* $(stringify!($last))?],
            variadic: false $(|| !stringify!($last).is_empty())?,
            attrs: &[$((stringify!($attr), $kind)),*],
            class: Class::$class,
            rule: type_rules::$rule,
            flops: $flops,
            traffic: Traffic::$traffic,
        },)*];
    };
}

use Flops::{Dot as Products, PerOperand, PerResult};

ops! {
    /// `-x`.
    Neg "neg" (x) {} Pointwise float PerResult(1), Stream;
    /// `e^x`, as [`crate::math::exp`] defines it.
    Exp "exp" (x) {} Pointwise float PerResult(16), Stream;
    /// The natural logarithm, as [`crate::math::log`] defines it.
    Log "log" (x) {} Pointwise float PerResult(20), Stream;
    /// The hyperbolic tangent, as [`crate::math::tanh`] defines it.
    Tanh "tanh" (x) {} Pointwise float PerResult(24), Stream;
    /// The sine, as [`crate::math::sin`] defines it.
    Sin "sin" (x) {} Pointwise float PerResult(24), Stream;
    /// The cosine, as [`crate::math::cos`] defines it.
    Cos "cos" (x) {} Pointwise float PerResult(24), Stream;
    /// The square root, correctly rounded.
    Sqrt "sqrt" (x) {} Pointwise float PerResult(4), Stream;
    /// `1 / sqrt(x)`: a correctly rounded root, then a correctly rounded quotient.
    Rsqrt "rsqrt" (x) {} Pointwise float PerResult(8), Stream;
    /// `a + b`; i32 wraps.
    Add "add" (a, b) {} Pointwise arithmetic PerResult(1), Stream;
    /// `a - b`; i32 wraps.
    Sub "sub" (a, b) {} Pointwise arithmetic PerResult(1), Stream;
    /// `a * b`; i32 wraps.
    Mul "mul" (a, b) {} Pointwise arithmetic PerResult(1), Stream;
    /// `a / b`.
    Div "div" (a, b) {} Pointwise float PerResult(4), Stream;
    /// `a` modulo `b`, with the sign of `b`; 0 where `b` is 0.
    Rem "rem" (a, b) {} Pointwise integer PerResult(1), Stream;
    /// `a` where `a > b`, else `b`: also where either is NaN.
    Max "max" (a, b) {} Pointwise arithmetic PerResult(1), Stream;
    /// `a` where `a < b`, else `b`: also where either is NaN.
    Min "min" (a, b) {} Pointwise arithmetic PerResult(1), Stream;
    /// Whether `a < b`.
    Lt "lt" (a, b) {} Pointwise compare PerResult(1), Stream;
    /// Whether `a <= b`.
    Le "le" (a, b) {} Pointwise compare PerResult(1), Stream;
    /// Whether `a == b`.
    Eq "eq" (a, b) {} Pointwise compare PerResult(1), Stream;
    /// Whether both hold.
    And "and" (a, b) {} Pointwise logic PerResult(0), Stream;
    /// Whether either holds.
    Or "or" (a, b) {} Pointwise logic PerResult(0), Stream;
    /// Whether it does not hold.
    Not "not" (a) {} Pointwise logic PerResult(0), Stream;
    /// `a` where `c` holds, else `b`.
    Select "select" (c, a, b) {} Pointwise select PerResult(0), Stream;
    /// The same number in another dtype: bf16 or f16 to f32 and i32 to f32, f32 to bf16 or f16; rounded
    /// to nearest, ties to even.
    Cast "cast" (x) {to: To} Pointwise cast PerResult(0), Stream;
    /// Block format to f32: scale times quant, which is exact.
    Dequant "dequant" (x) {} Pointwise dequant PerResult(1), Stream;
    /// f32 to a block format, as GGUF's reference quantizer rounds.
    Quantize "quantize" (x) {to: To} Pointwise quantize PerResult(4), Stream;
    /// The values written, row-major, rounded once to the dtype; a single value fills the shape.
    Const "const" () {to: To, shape: Ds, values: Literals} Pointwise constant PerResult(0), Stream;
    /// 0, 1, 2, … as i32.
    Iota "iota" () {length: D} Pointwise iota PerResult(0), Stream;
    /// The same elements, row-major, in another shape.
    Reshape "reshape" (x) {shape: Ds} View reshape PerResult(0), None;
    /// Axis `i` of the result is axis `axes[i]` of `x`.
    Transpose "transpose" (x) {axes: Axes} View transpose PerResult(0), None;
    /// Axis `i` of `x` becomes axis `axes[i]` of the shape; the other axes repeat.
    Broadcast "broadcast" (x) {shape: Ds, axes: Axes} View broadcast PerResult(0), None;
    /// Elements `start..stop` of an axis.
    Slice "slice" (x) {axis: Axis, start: D, stop: D} View slice PerResult(0), None;
    /// Operands after one another along an axis.
    Concat "concat" (;x) {axis: Axis} View concat PerResult(0), Stream;
    /// Sums over axes, which vanish.
    ReduceSum "reduce_sum" (x) {axes: Axes} Reduce reduce PerOperand(1), Stream;
    /// The largest element over axes, which vanish; -inf over none.
    ReduceMax "reduce_max" (x) {axes: Axes} Reduce reduce PerOperand(1), Stream;
    /// Sums of products over pairs of contracted axes, per pair of batch axes; the result has the batch
    /// axes, then the other axes of `a`, then those of `b`.
    Dot "dot" (a, b) {a_batch: Axes, b_batch: Axes, a_contract: Axes, b_contract: Axes} Dot dot Products, Stream;
    /// Element `i` of the axis is element `index[i]` of that axis of `x`.
    Take "take" (x, index) {axis: Axis} Gather take PerResult(0), Gather;
    /// The state with `rows[r]` at `[slot[r], index[r]]`, later rows over earlier ones.
    Put "put" (state, slot, index, rows) {} State put PerResult(0), Update;
}

impl Op {
    /// Every op, in the table's order.
    pub fn all() -> impl Iterator<Item = Op> {
        TABLE.iter().map(|d| d.op)
    }

    /// The op of that name in the text form, if there is one.
    pub fn from_name(name: &str) -> Option<Op> {
        TABLE.iter().find(|d| d.name == name).map(|d| d.op)
    }

    /// The op's row.
    pub fn def(self) -> &'static OpDef {
        &TABLE[self as usize]
    }
}

impl Site<'_> {
    /// Floating-point operations to make `result`.
    pub fn flops(&self, result: &Type) -> Dim {
        let each = |n: i64, ty: &Type| &ty.elements() * &Dim::from(n);
        match (self.def.flops, self.operands) {
            (PerOperand(n), [x, ..]) => each(n, x),
            (Products, [a, _]) => {
                let contracted = self.axes(2).iter().filter_map(|i| a.dims.get(*i));
                &each(2, result) * &Dim::product(contracted)
            }
            (PerResult(n), _) => each(n, result),
            (PerOperand(_) | Products, _) => {
                panic!("{} is counted without its operands", self.def.name)
            }
        }
    }

    /// Bytes read and written when the op is a kernel of its own.
    pub fn bytes(&self, result: &Type) -> Dim {
        let sum = |types: &[&Type]| {
            types
                .iter()
                .fold(Dim::default(), |sum, t| &sum + &t.bytes())
        };
        let twice = |ty: &Type| &ty.bytes() * &Dim::from(2i64);
        match (self.def.traffic, self.operands) {
            (Traffic::None, _) => Dim::default(),
            (Traffic::Stream, all) => &sum(all) + &result.bytes(),
            (Traffic::Gather, [_, index @ ..]) => &sum(index) + &twice(result),
            (Traffic::Update, [_, at @ .., rows]) => &sum(at) + &twice(rows),
            (Traffic::Gather | Traffic::Update, _) => {
                panic!("{} is counted without its operands", self.def.name)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attr::Attr;
    use crate::dim::{Dims, Sym};
    use crate::dtype::DType;

    #[test]
    fn a_row_of_the_table_sits_at_its_ops_index() {
        for (i, d) in TABLE.iter().enumerate() {
            assert_eq!(d.op as usize, i, "{}", d.name);
            assert_eq!(Op::from_name(d.name), Some(d.op));
        }
    }

    #[test]
    fn a_dot_costs_two_flops_a_product_and_streams_its_operands() {
        let r = Dim::sym("R");
        let a = Type::new(DType::F32, [&r, &Dim::from(96i64)]);
        let w = Type::new(DType::F32, [&Dim::from(200i64), &Dim::from(96i64)]);
        let out = Type::new(DType::F32, [&r, &Dim::from(200i64)]);
        let dims = Dims {
            ranges: vec![(Sym::new("R"), 1, 8)],
            known: vec![],
        };
        let axes = [vec![], vec![], vec![1], vec![1]].map(Attr::Axes);
        let site = Site {
            def: Op::Dot.def(),
            attrs: &axes,
            operands: &[&a, &w],
            dims: &dims,
        };
        assert_eq!(type_rules::infer(&site), Ok(out.clone()));
        assert_eq!(site.flops(&out).to_string(), "38400*R");
        assert_eq!(site.bytes(&out).to_string(), "1184*R + 76800");
    }
}
