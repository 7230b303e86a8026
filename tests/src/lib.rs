//! The suites that every executor is held to.

pub mod executors;
pub mod feed;
pub mod golden;
pub mod reference;
pub mod rewrite;
pub mod suite;
pub mod synthesize;
