//! The numbers that the interpreter is generic over.

use std::ops::{Add, Div, Mul, Neg, Sub};

use crate::math;

/// f32 by the contract, or f64 as the truth.
pub trait Real:
    Copy
    + PartialOrd
    + Send
    + Sync
    + std::fmt::Debug
    + Neg<Output = Self>
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Div<Output = Self>
{
    /// The nearest number of this kind.
    fn from_f64(x: f64) -> Self;
    /// The same number as f64.
    fn to_f64(self) -> f64;
    /// The nearest f32.
    fn to_f32(self) -> f32;
    /// `self * a + b`, rounded once.
    fn mul_add(self, a: Self, b: Self) -> Self;
    /// The correctly rounded root.
    fn sqrt(self) -> Self;
    /// See [`math::exp`].
    fn exp(self) -> Self;
    /// See [`math::log`].
    fn log(self) -> Self;
    /// See [`math::tanh`].
    fn tanh(self) -> Self;
    /// See [`math::sin`].
    fn sin(self) -> Self;
    /// See [`math::cos`].
    fn cos(self) -> Self;
}

impl Real for f32 {
    fn from_f64(x: f64) -> f32 {
        x as f32
    }
    fn to_f64(self) -> f64 {
        self.into()
    }
    fn to_f32(self) -> f32 {
        self
    }
    fn mul_add(self, a: f32, b: f32) -> f32 {
        f32::mul_add(self, a, b)
    }
    fn sqrt(self) -> f32 {
        f32::sqrt(self)
    }
    fn exp(self) -> f32 {
        math::exp(self)
    }
    fn log(self) -> f32 {
        math::log(self)
    }
    fn tanh(self) -> f32 {
        math::tanh(self)
    }
    fn sin(self) -> f32 {
        math::sin(self)
    }
    fn cos(self) -> f32 {
        math::cos(self)
    }
}

impl Real for f64 {
    fn from_f64(x: f64) -> f64 {
        x
    }
    fn to_f64(self) -> f64 {
        self
    }
    fn to_f32(self) -> f32 {
        self as f32
    }
    fn mul_add(self, a: f64, b: f64) -> f64 {
        f64::mul_add(self, a, b)
    }
    fn sqrt(self) -> f64 {
        f64::sqrt(self)
    }
    fn exp(self) -> f64 {
        f64::exp(self)
    }
    fn log(self) -> f64 {
        f64::ln(self)
    }
    fn tanh(self) -> f64 {
        f64::tanh(self)
    }
    fn sin(self) -> f64 {
        f64::sin(self)
    }
    fn cos(self) -> f64 {
        f64::cos(self)
    }
}
