//! Numbers that know what they were made of, whatever the order: the check of `reassoc`.
//!
//! A number is a sum of products; its form is the same for every order in which its terms were added and
//! its factors multiplied, constants among them taken together. What any other op makes is a factor of
//! its own. Forms are hashes, so two different ones are taken for the same with chance 2^-64.

use std::cmp::Ordering;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::{Add, Div, Mul, Neg, Sub};

use ir::interp::Real;

/// A number and what it was made of.
#[derive(Clone, Copy, Debug)]
pub(super) struct Traced {
    value: f64,
    made: Made,
}

#[derive(Clone, Copy, Debug)]
enum Made {
    Constant(f64),
    /// A constant times a set of factors.
    Product {
        by: f64,
        factors: u64,
    },
    /// A constant, and sets of terms that are added and taken away.
    Sum {
        constant: f64,
        added: u64,
        taken: u64,
    },
}

fn hash(of: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    of.hash(&mut hasher);
    hasher.finish()
}

/// A constant that was rounded along the way is the same within an f32's precision.
fn rounded(x: f64) -> u32 {
    (x as f32 + 0.0).to_bits()
}

impl Made {
    /// The constant, and the sets of terms that are added and taken away.
    fn sum(self) -> (f64, u64, u64) {
        match self {
            Made::Constant(c) => (c, 0, 0),
            Made::Product { by, factors } => {
                let term = hash((rounded(by.abs()), factors));
                match by < 0.0 {
                    true => (0.0, 0, term),
                    false => (0.0, term, 0),
                }
            }
            Made::Sum {
                constant,
                added,
                taken,
            } => (constant, added, taken),
        }
    }

    /// A constant and a set of factors. A sum's sign leaves it: rounding is symmetric.
    fn product(self) -> (f64, u64) {
        match self {
            Made::Constant(c) => (c, 0),
            Made::Product { by, factors } => (by, factors),
            Made::Sum {
                constant,
                added,
                taken,
            } => match added < taken {
                true => (-1.0, hash((rounded(-constant), taken, added))),
                false => (1.0, hash((rounded(constant), added, taken))),
            },
        }
    }

    fn negated(self) -> Made {
        match self {
            Made::Constant(c) => Made::Constant(-c),
            Made::Product { by, factors } => Made::Product { by: -by, factors },
            Made::Sum {
                constant,
                added,
                taken,
            } => Made::Sum {
                constant: -constant,
                added: taken,
                taken: added,
            },
        }
    }
}

impl Traced {
    /// A number of its own.
    pub fn atom(name: impl Hash, value: f64) -> Traced {
        let made = Made::Product {
            by: 1.0,
            factors: hash(name),
        };
        Traced { value, made }
    }

    /// The same for numbers that differ in an order of sums or products alone.
    pub fn form(self) -> (u32, u64, u64) {
        let (constant, added, taken) = self.made.sum();
        (rounded(constant), added, taken)
    }

    /// What an op other than a sum or product makes of it.
    fn opaque(self, op: &str, value: f64) -> Traced {
        match self.made {
            Made::Constant(_) => Traced::from_f64(value),
            _ => Traced::atom((op, self.form()), value),
        }
    }
}

impl PartialEq for Traced {
    fn eq(&self, other: &Traced) -> bool {
        self.value == other.value
    }
}

impl PartialOrd for Traced {
    fn partial_cmp(&self, other: &Traced) -> Option<Ordering> {
        self.value.partial_cmp(&other.value)
    }
}

impl Neg for Traced {
    type Output = Traced;
    fn neg(self) -> Traced {
        Traced {
            value: -self.value,
            made: self.made.negated(),
        }
    }
}

impl Add for Traced {
    type Output = Traced;
    fn add(self, other: Traced) -> Traced {
        let made = match (self.made, other.made) {
            (Made::Constant(a), Made::Constant(b)) => Made::Constant(a + b),
            (Made::Constant(0.0), made) | (made, Made::Constant(0.0)) => made,
            (a, b) => {
                let (a, b) = (a.sum(), b.sum());
                Made::Sum {
                    constant: a.0 + b.0,
                    added: a.1.wrapping_add(b.1),
                    taken: a.2.wrapping_add(b.2),
                }
            }
        };
        Traced {
            value: self.value + other.value,
            made,
        }
    }
}

impl Sub for Traced {
    type Output = Traced;
    fn sub(self, other: Traced) -> Traced {
        self + -other
    }
}

impl Mul for Traced {
    type Output = Traced;
    fn mul(self, other: Traced) -> Traced {
        let made = match (self.made, other.made) {
            (Made::Constant(a), Made::Constant(b)) => Made::Constant(a * b),
            (Made::Constant(1.0), made) | (made, Made::Constant(1.0)) => made,
            (Made::Constant(-1.0), made) | (made, Made::Constant(-1.0)) => made.negated(),
            (a, b) => {
                let (a, b) = (a.product(), b.product());
                Made::Product {
                    by: a.0 * b.0,
                    factors: a.1.wrapping_add(b.1),
                }
            }
        };
        Traced {
            value: self.value * other.value,
            made,
        }
    }
}

impl Div for Traced {
    type Output = Traced;
    fn div(self, other: Traced) -> Traced {
        let value = self.value / other.value;
        match (self.made, other.made) {
            (Made::Constant(_), Made::Constant(_)) => Traced::from_f64(value),
            (_, Made::Constant(1.0)) => self,
            (a, b) => {
                let unsigned = |made: Made| match made.product() {
                    (by, _) if by < 0.0 => (-1.0, made.negated()),
                    _ => (1.0, made),
                };
                let ((s, a), (t, b)) = (unsigned(a), unsigned(b));
                let form = |made| Traced { value, made }.form();
                let made = Made::Product {
                    by: s * t,
                    factors: hash(("div", form(a), form(b))),
                };
                Traced { value, made }
            }
        }
    }
}

impl Real for Traced {
    fn from_f64(x: f64) -> Traced {
        Traced {
            value: x,
            made: Made::Constant(x),
        }
    }
    fn to_f64(self) -> f64 {
        self.value
    }
    fn to_f32(self) -> f32 {
        self.value as f32
    }
    fn mul_add(self, a: Traced, b: Traced) -> Traced {
        self * a + b
    }
    fn sqrt(self) -> Traced {
        self.opaque("sqrt", self.value.sqrt())
    }
    fn exp(self) -> Traced {
        self.opaque("exp", self.value.exp())
    }
    fn log(self) -> Traced {
        self.opaque("log", self.value.ln())
    }
    fn tanh(self) -> Traced {
        self.opaque("tanh", self.value.tanh())
    }
    fn sin(self) -> Traced {
        self.opaque("sin", self.value.sin())
    }
    fn cos(self) -> Traced {
        self.opaque("cos", self.value.cos())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn atoms() -> [Traced; 4] {
        let two = Traced::from_f64(2.0);
        [
            Traced::atom("x", 1.5),
            Traced::atom("y", -0.75),
            Traced::atom("z", 3.25),
            two,
        ]
    }

    #[test]
    fn an_order_of_sums_and_products_leaves_the_form() {
        let [x, y, z, two] = atoms();
        let zero = Traced::from_f64(0.0);
        let same = [
            ((x + y) + z, x + (z + y)),
            ((x - y) + z, z - (y - x)),
            ((x * y) * z, y * (z * x)),
            ((x * two) * (y * two), (x * y) * Traced::from_f64(4.0)),
            (-(x - y), y - x),
            ((x - y) * z, -((y - x) * z)),
            ((x + two) + two, x + Traced::from_f64(4.0)),
            (zero + x * y, x.mul_add(y, zero)),
            ((x + y).exp() * z, z * (y + x).exp()),
            ((-x) / y, -(x / y)),
        ];
        for (i, (a, b)) in same.into_iter().enumerate() {
            assert_eq!(a.form(), b.form(), "pair {i}");
        }
    }

    #[test]
    fn more_than_an_order_changes_it() {
        let [x, y, z, two] = atoms();
        let half = Traced::from_f64(0.5);
        let different = [
            ((x + y) * z, x * z + y * z),
            (x / two, x * half),
            ((x + y).exp(), x.exp() * y.exp()),
            (x + y - y, x),
            (x + x, x * two),
            ((x - y) - z, x - (y - z)),
            ((x / y) / z, x / (y * z)),
            (x * x.sqrt().sqrt(), x.sqrt() * x.sqrt()),
            (x - x, Traced::from_f64(0.0)),
        ];
        for (i, (a, b)) in different.into_iter().enumerate() {
            assert_ne!(a.form(), b.form(), "pair {i}");
        }
    }
}
