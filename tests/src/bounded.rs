//! Numbers that know how far another order of sums may lead: what `fast` code is held against.
//!
//! The interpreter runs over [`Bounded`] as over f32 and f64. A value carries the f64 truth, a bound on the
//! error of f32 arithmetic whatever the order of its sums, and the mass of its summands, of which any partial
//! sum is at most as large: a sum of terms `x` errs by at most `u * sum |x|` an addition, `u` = 2^-24 (Higham,
//! Accuracy and Stability of Numerical Algorithms, section 4.2). Whole numbers below 2^24 are summed without
//! error in any order.
//!
//! Where a comparison depends on less than the errors of what it compares, or a narrow dtype takes what is not
//! exact, nothing can be said of the results: [`decided`] tells.

use std::cell::Cell;
use std::cmp::Ordering;
use std::ops::{Add, Div, Mul, Neg, Sub};

use ir::interp::Real;

/// The unit roundoff of f32.
const U: f64 = 1.0 / 16_777_216.0;
/// What a dot over bf16 weights may round its rows by, relative, and as much again.
const U_BF16: f64 = 1.0 / 256.0;
/// Errors where f32 underflows.
const TINY: f64 = 1e-37;
/// Magnitudes near which f32 overflows.
const HUGE: f64 = 1e37;
/// Arguments from which the definitions of sin and cos leave the function.
const FAR: f64 = 1e4;

thread_local! {
    static DECIDED: Cell<bool> = const { Cell::new(true) };
}

/// What a run on this thread gives, and whether every comparison in it was clear.
pub fn decided<T>(run: impl FnOnce() -> T) -> (T, bool) {
    DECIDED.set(true);
    let made = run();
    (made, DECIDED.get())
}

/// A number, how far f32 arithmetic may be from it, and the mass of its summands.
#[derive(Clone, Copy, Debug)]
pub struct Bounded {
    value: f64,
    error: f64,
    mass: f64,
}

impl Bounded {
    fn exact(value: f64) -> Bounded {
        Bounded {
            value,
            error: 0.0,
            mass: value.abs(),
        }
    }

    /// A value made with this error and the rounding of what has this mass.
    fn rounded(value: f64, error: f64, mass: f64) -> Bounded {
        let whole = error == 0.0 && value.fract() == 0.0 && mass <= 1.0 / U;
        let error = match () {
            () if whole => 0.0,
            () if mass < HUGE => error + U * mass + TINY,
            // What was infinite stays so, exactly.
            () if value.is_infinite() && error.is_finite() => 0.0,
            () => f64::INFINITY,
        };
        Bounded { value, error, mass }
    }

    /// A function whose result, computed from the exact argument, errs by a few units.
    fn function(value: f64, error: f64) -> Bounded {
        match value.is_finite() {
            true => Bounded::rounded(value, error + 4.0 * U * value.abs(), value.abs()),
            false => Bounded::rounded(value, error, value.abs()),
        }
    }

    /// How far a result of f32 may be from the truth; infinite or NaN where nothing is known.
    pub fn error(self) -> f64 {
        self.error
    }

    /// Whether the errors of two numbers may change how they compare; if so, nothing is decided.
    fn weigh(self, other: Bounded) {
        let errors = self.error + other.error;
        if errors > 0.0 && (self.value - other.value).abs() <= errors || errors.is_nan() {
            DECIDED.set(false);
        }
    }
}

impl PartialEq for Bounded {
    fn eq(&self, other: &Bounded) -> bool {
        self.weigh(*other);
        self.value == other.value
    }
}

impl PartialOrd for Bounded {
    fn partial_cmp(&self, other: &Bounded) -> Option<Ordering> {
        self.weigh(*other);
        self.value.partial_cmp(&other.value)
    }

    /// As a maximum asks: of two that are too near to tell, either is right, if they err alike.
    fn gt(&self, other: &Bounded) -> bool {
        let (more, less) = (self.error.max(other.error), self.error.min(other.error));
        if more > 2.0 * less {
            self.weigh(*other);
        }
        self.value > other.value
    }
}

impl Neg for Bounded {
    type Output = Bounded;

    fn neg(self) -> Bounded {
        Bounded {
            value: -self.value,
            ..self
        }
    }
}

impl Add for Bounded {
    type Output = Bounded;

    fn add(self, other: Bounded) -> Bounded {
        let (error, mass) = (self.error + other.error, self.mass + other.mass);
        Bounded::rounded(self.value + other.value, error, mass)
    }
}

impl Sub for Bounded {
    type Output = Bounded;

    fn sub(self, other: Bounded) -> Bounded {
        self + -other
    }
}

impl Mul for Bounded {
    type Output = Bounded;

    fn mul(self, other: Bounded) -> Bounded {
        let (a, b) = (self.value.abs(), other.value.abs());
        let zero = a == 0.0 && self.error == 0.0 || b == 0.0 && other.error == 0.0;
        let value = self.value * other.value;
        let known = !value.is_nan() && (self.error + other.error).is_finite();
        match zero && known {
            true => Bounded::exact(value),
            false => {
                let error = a * other.error + b * self.error + self.error * other.error;
                // A factor of a sum may be one of each summand.
                Bounded::rounded(value, error, (self.mass * b).max(other.mass * a))
            }
        }
    }
}

impl Div for Bounded {
    type Output = Bounded;

    fn div(self, other: Bounded) -> Bounded {
        let (value, least) = (self.value / other.value, other.value.abs() - other.error);
        if other.error > 0.0 && least <= 0.0 || least.is_nan() {
            return Bounded::rounded(value, f64::INFINITY, f64::INFINITY);
        }
        let error = match other.error {
            0.0 if self.error == 0.0 => 0.0,
            error => (self.error + value.abs() * error) / least,
        };
        // By a reciprocal it is two roundings.
        Bounded::rounded(
            value,
            error + U * value.abs(),
            self.mass / other.value.abs(),
        )
    }
}

impl Real for Bounded {
    fn from_f64(x: f64) -> Bounded {
        match x.is_nan() || x == f64::from(x as f32) {
            true => Bounded::exact(x),
            false => Bounded {
                value: x,
                error: U * x.abs(),
                mass: x.abs(),
            },
        }
    }

    fn to_f64(self) -> f64 {
        self.value
    }

    fn to_f32(self) -> f32 {
        if self.error != 0.0 {
            DECIDED.set(false);
        }
        self.value as f32
    }

    fn mul_add(self, a: Bounded, b: Bounded) -> Bounded {
        let bits = |x: f64| x == f64::from(x as f32) && (x as f32).to_bits() & 0xffff == 0;
        let product = self * a;
        let tiny = |x: f64| x != 0.0 && x.abs() < f64::from(f32::MIN_POSITIVE);
        let narrowed = match bits(a.value) {
            // Products of bf16 pairs take subnormal numbers as 0.
            true if tiny(a.value) || tiny(self.value) => product.value.abs(),
            true if !bits(self.value) => U_BF16 * product.value.abs(),
            _ => 0.0,
        };
        let product = Bounded {
            error: product.error + narrowed,
            ..product
        };
        product + b
    }

    fn sqrt(self) -> Bounded {
        let value = self.value.sqrt();
        match self.value - self.error {
            least if least > 0.0 => Bounded::function(value, self.error / least.sqrt()),
            _ if self.error == 0.0 => Bounded::exact(value),
            _ => Bounded::rounded(value, f64::INFINITY, f64::INFINITY),
        }
    }

    fn exp(self) -> Bounded {
        let value = self.value.exp();
        match self.error {
            0.0 => Bounded::function(value, 0.0),
            error => Bounded::function(value, value * error.exp_m1()),
        }
    }

    fn log(self) -> Bounded {
        let value = self.value.ln();
        match self.value - self.error {
            least if least > 0.0 => Bounded::function(value, self.error / least),
            _ if self.error == 0.0 => Bounded::exact(value),
            _ => Bounded::rounded(value, f64::INFINITY, f64::INFINITY),
        }
    }

    fn tanh(self) -> Bounded {
        Bounded::function(self.value.tanh(), self.error)
    }

    fn sin(self) -> Bounded {
        Bounded::wave(self, f64::sin)
    }

    fn cos(self) -> Bounded {
        Bounded::wave(self, f64::cos)
    }
}

impl Bounded {
    fn wave(self, function: fn(f64) -> f64) -> Bounded {
        match self.value.abs() < FAR {
            true => Bounded::rounded(function(self.value), self.error + 4.0 * U, 1.0),
            false => Bounded::rounded(function(self.value), f64::INFINITY, f64::INFINITY),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(terms: &[f64]) -> Bounded {
        let terms = terms.iter().map(|x| Bounded::from_f64(*x));
        terms.fold(Bounded::from_f64(0.0), |sum, x| sum + x)
    }

    #[test]
    fn a_sum_errs_by_its_mass_and_not_by_its_size() {
        let cancelled = sum(&[1e4 + 0.5, 0.1, -1e4 - 0.5]);
        assert!(cancelled.error() > 2e4 * U && cancelled.error() < 1e5 * U);
        assert_eq!(sum(&[3.0, 5.0, -8.0]).error(), 0.0);
    }

    #[test]
    fn what_cannot_be_told_apart_is_not_decided() {
        let third = Bounded::from_f64(1.0) / Bounded::from_f64(3.0);
        let near = Bounded::from_f64(1.0 / 3.0);
        assert!(!decided(|| third < near).1);
        assert!(decided(|| third < Bounded::from_f64(0.5)).1);
        assert!(!decided(|| third.to_f32()).1);
    }

    #[test]
    fn of_what_overflows_nothing_is_known_not_even_its_product_with_0() {
        let most = sum(&[-3e38, -3e38]);
        assert!(most.error().is_infinite());
        assert!(!(most * Bounded::from_f64(0.0)).error().is_finite());
    }

    #[test]
    fn what_is_masked_out_is_exact() {
        let masked = (Bounded::from_f64(f64::NEG_INFINITY) - sum(&[0.1, 0.2])).exp();
        assert_eq!((masked.to_f64(), masked.error()), (0.0, 0.0));
    }
}
