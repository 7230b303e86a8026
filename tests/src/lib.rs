//! The suites that every executor is held to, and what they are made of.
//!
//! Two questions are asked of anything that runs a module. Does it do each op as the specification says?
//! The op suite asks: [`suite`] reads the small modules in `ops/`, each with the exact bits that it must
//! give, and [`executors`] is the one list of what they are run on ([`compiled`] runs machine code in the
//! test's own process); [`random`] makes more cases than one would write, which are run in many [`ways`], in fast
//! within the bounds of [`bounded`], and made small by [`shrink`] where they show a mistake. And does the whole compute Gemma 2?
//! [`golden`] holds checkpoints with recorded truth and the bound on a run's error, and [`mod@reference`] is
//! the model in float64, a second opinion for the checkpoints that [`synthesize`] makes of any
//! configuration. [`feed`] brings sequences to a model in steps of any shape; [`rewrite`] puts a known
//! mistake into a module, so that a test can show that it would be noticed.

pub mod bounded;
pub mod compiled;
pub mod executors;
pub mod feed;
pub mod golden;
pub mod random;
pub mod reference;
pub mod rewrite;
pub mod shrink;
pub mod suite;
pub mod synthesize;
pub mod ways;
