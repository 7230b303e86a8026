//! What a program is.
//!
//! A [`Module`] is a model: weights, states, functions, and a [`Step`], the list of calls that one step
//! runs. A [`Function`] is a list of values, each made by an [`Op`] from earlier ones; every value has a
//! [`Type`], whose dims are polynomials over bounded symbols ([`Dim`]). Functions are few, one for each
//! kind of layer, and calls give each layer its weights and states, so that later stages work once for
//! each kind, however many layers there are.
//!
//! ```text
//!             text::parse                 verify                interp::Interpreter
//!   text  ──────────────────▶  Module  ───────────▶  Module  ───────────────────────▶  tensors
//!         ◀──────────────────    ▲
//!             text::print        └── FunctionBuilder: formulas, in Rust
//! ```
//!
//! Where things live:
//!
//! - `ops`: the op table, one row for each primitive; `type_rules`: the shape and dtype rule of each row.
//! - `dtype`: the dtype table. `dim`: polynomials, what is known of their symbols, and bindings. `attr`: the
//!   attributes of ops. `ty`: a dtype and dims.
//! - `graph`: modules, functions, calls. `build`: making them. [`text`]: reading and writing them.
//! - `constraint`: the numbered constraints; `verify`: holding a module to them.
//! - [`interp`]: the interpreter, which is the specification of every number, in f32 and in f64.
//!   [`math`]: exp, log, tanh, sin and cos, down to the operation.
//!
//! State is a value in and a value out: a call reads a state's present value and gives its next, and
//! whether both share memory is decided by later stages. Weights that are made from weights (`1 + w`,
//! packing, quantizing) are ordinary calls in a module's `prepare`, run once.
//!
//! To add an op: a row in `ops`, its rule in `type_rules` if no row has that rule yet, and an arm in
//! `interp::eval`. Parser, printer and verifier follow the table.

mod attr;
mod build;
mod constraint;
mod dim;
mod dtype;
mod graph;
pub mod interp;
pub mod math;
mod ops;
pub mod text;
mod ty;
mod type_rules;
mod verify;

pub use attr::{Attr, AttrKind, Literal};
pub use build::{Expr, FunctionBuilder};
pub use constraint::Constraint;
pub use dim::{Bindings, Dim, Dims, Sym};
pub use dtype::DType;
pub use graph::{
    Call, Def, Function, FunctionId, Local, LocalId, Module, Place, State, StateId, Step, Value,
    ValueId, Weight, WeightId, WeightSource,
};
pub use ops::{Class, Flops, Op, OpDef, Traffic};
pub use ty::Type;
pub use type_rules::{Breach, MAX_DIM, MAX_ELEMENTS, Rule, Site, check_type, infer};
pub use verify::{Violation, verify, verify_function};
