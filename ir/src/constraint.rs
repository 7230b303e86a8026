//! The numbered constraints that a well-formed module keeps.

use std::fmt;

/// Declares [`Constraint`] and its texts from the same rows.
macro_rules! constraints {
    ($($number:literal $name:ident $text:literal;)*) => {
        /// A rule that the verifier holds a module to; its number is stable.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Constraint { $(#[doc = $text] $name = $number,)* }

        impl Constraint {
            /// Every constraint, by number.
            pub const ALL: &[Constraint] = &[$(Constraint::$name),*];

            /// What must hold.
            pub fn text(self) -> &'static str {
                match self { $(Constraint::$name => $text,)* }
            }
        }
    };
}

constraints! {
    1 Operands "an op has as many operands as its row in the op table";
    2 Attributes "an op has the attributes of its row, each of its kind";
    3 Dtype "operands have dtypes that the op takes";
    4 SameShape "operands of a pointwise op have one shape";
    5 Axes "axes exist and are named once";
    6 Elements "a reshape keeps the number of elements";
    7 Broadcast "a broadcast maps each operand axis, in order, to a result axis of the same length";
    8 Permutation "a transpose names every axis once";
    9 Slice "a slice lies inside its axis for every value of the dims: 0 <= start <= stop <= length";
    10 Concat "concatenated operands agree in dtype and in every other axis";
    11 Dot "a dot's batch and contracted axes come in pairs of equal length, none named twice";
    12 Index "an index is i32 with one axis";
    13 Put "put takes a state of S x C x ..., R slots, R indices, and rows of R x ... of the state's dtype";
    14 Block "a block format has a last axis of constant length, which views leave as it is";
    15 Conversion "the dtypes can be converted into each other by this op";
    16 Literals "a constant has one value or as many as its shape, all of its dtype";
    17 Size "a dim is between 0 and 2^40 and a tensor has at most 2^60 elements";
    18 Symbol "a symbol is declared once, as low..high with 0 <= low <= high, before it is used";
    19 Order "a value is made before it is used";
    20 Name "names are unique among their kind, and made of letters, digits, '_' and '.'";
    21 DeclaredType "the type written is the type that the op's rule gives";
    22 Call "a call's arguments have the types of the function's parameters";
    23 Result "a call gives each of the function's results a place of that type";
    24 Storage "weights and states have constant shapes";
    25 Prepare "prepare reads weights alone, makes each prepared weight once, and uses no symbols";
    26 Step "a step makes values and new states, not weights";
}

impl fmt::Display for Constraint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "C{:02}", *self as u8)
    }
}
