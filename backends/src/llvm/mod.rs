//! Kernels by way of LLVM.

pub mod convert;
pub mod image;
pub mod kernel;
pub mod lanes;
pub mod target;
