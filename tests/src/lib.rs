//! The suites that every executor is held to.
