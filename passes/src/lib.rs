//! From what to how: rules, and the e-graphs that apply them.
//!
//! ```text
//!   ir::Module ──algebra──▶ ir::Module ──fusion──▶ Plan ──lower──▶ ir::Module, for the interpreter
//!                  ▲
//!       .rules files: one rule a line, each checked by the test made from its own patterns
//! ```
//!
//! - [`pipeline`]: the stages in order; each arrow is one function there.
//! - [`rules`]: rules files, read and kind-checked; [`rules::check`]: the property test of a rule.
//! - [`algebra`]: the e-graph over the op table, the search, and the choice of the cheapest graph.
//! - [`fusion`]: each operand read or computed in place, kernels from these choices, and their cost.
//! - [`explain`]: by which rules each value of the algebra stage came about, replayed and checked.
//! - [`plan`]: kernels and buffers: verified, written as text, and run by interpretation.
//!
//! ```
//! use ir::text;
//! use lapidary_passes::pipeline::{self, Options};
//! use lapidary_passes::rules::RuleSet;
//!
//! let module = text::parse(
//!     "module m
//!      fn f(%x: f32[4]) {
//!        %0: f32[4] = neg(%x)
//!        %y: f32[4] = neg(%0)
//!        return %y
//!      }
//!      step(%x: f32[4]) {
//!        %y: f32[4] = f(%x)
//!        return %y
//!      }",
//! )?;
//! let options = Options::new(RuleSet::shipped().exact());
//! let (better, reports) = pipeline::algebra(&module, &options);
//! assert_eq!(better.functions[0].values.len(), 1);
//! assert_eq!(reports[0].fired, [("neg-of-neg".to_string(), 1)]);
//! # Ok::<(), ir::text::TextError>(())
//! ```

pub mod algebra;
mod error;
pub mod explain;
pub mod fusion;
pub mod pipeline;
pub mod plan;
pub mod random;
pub mod rules;

pub use error::RulesError;
