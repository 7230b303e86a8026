//! Dims: polynomials over bounded symbols, always in normal form.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::{Add, Mul, Sub};
use std::sync::Arc;

/// A symbol that stands for a number known only when a step runs, such as the rows `R` of a step.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Sym(Arc<str>);

impl Sym {
    /// The symbol of that name.
    pub fn new(name: &str) -> Sym {
        Sym(name.into())
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Sym {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The length of an axis: a polynomial with integer coefficients over [`Sym`]s.
///
/// Two dims are equal exactly when their normal forms are. Coefficients saturate at ±(2^63 - 1); the
/// verifier refuses types long before that matters ([`crate::Constraint::Size`]).
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Dim {
    /// Sorted symbols of a product, to its coefficient, which is never 0.
    terms: BTreeMap<Vec<Sym>, i64>,
}

impl Dim {
    /// The dim that is this one symbol.
    pub fn sym(name: &str) -> Dim {
        Dim {
            terms: BTreeMap::from([(vec![Sym::new(name)], 1)]),
        }
    }

    /// The number this is, if no symbol is in it.
    pub fn as_const(&self) -> Option<i64> {
        match self.terms.len() {
            0 => Some(0),
            1 => self.terms.get(&[][..]).copied(),
            _ => None,
        }
    }

    /// The product of dims: a tensor's element count.
    pub fn product<'a>(dims: impl IntoIterator<Item = &'a Dim>) -> Dim {
        dims.into_iter().fold(Dim::from(1i64), |p, d| &p * d)
    }

    /// Every symbol that occurs.
    pub fn syms(&self) -> impl Iterator<Item = &Sym> {
        self.terms.keys().flatten()
    }

    /// Its products: sorted symbols, and how often each product is taken.
    pub fn terms(&self) -> impl Iterator<Item = (&[Sym], i64)> {
        self.terms.iter().map(|(syms, n)| (&syms[..], *n))
    }

    /// The value under these bindings, or the symbol that has none.
    pub fn eval(&self, bindings: &Bindings) -> Result<i64, Sym> {
        let mut sum = 0i64;
        for (syms, coefficient) in &self.terms {
            let mut term = *coefficient;
            for s in syms {
                term = term.saturating_mul(bindings.get(s).ok_or_else(|| s.clone())?);
            }
            sum = sum.saturating_add(term);
        }
        Ok(sum)
    }

    /// Adds a product of symbols, so many times.
    pub(crate) fn add_term(&mut self, mut syms: Vec<Sym>, coefficient: i64) {
        syms.sort();
        let before = self.terms.get(&syms).copied().unwrap_or(0);
        match before.saturating_add(coefficient).max(-i64::MAX) {
            0 => self.terms.remove(&syms),
            c => self.terms.insert(syms, c),
        };
    }
}

impl From<i64> for Dim {
    fn from(n: i64) -> Dim {
        let mut d = Dim::default();
        d.add_term(vec![], n);
        d
    }
}

impl From<usize> for Dim {
    fn from(n: usize) -> Dim {
        Dim::from(i64::try_from(n).unwrap_or(i64::MAX))
    }
}

impl From<&Dim> for Dim {
    fn from(d: &Dim) -> Dim {
        d.clone()
    }
}

impl Add for &Dim {
    type Output = Dim;
    fn add(self, other: &Dim) -> Dim {
        let mut sum = self.clone();
        for (syms, c) in &other.terms {
            sum.add_term(syms.clone(), *c);
        }
        sum
    }
}

impl Sub for &Dim {
    type Output = Dim;
    fn sub(self, other: &Dim) -> Dim {
        self + &(other * &Dim::from(-1i64))
    }
}

impl Mul for &Dim {
    type Output = Dim;
    fn mul(self, other: &Dim) -> Dim {
        let mut product = Dim::default();
        for (a, c) in &self.terms {
            for (b, d) in &other.terms {
                product.add_term([&a[..], &b[..]].concat(), c.saturating_mul(*d));
            }
        }
        product
    }
}

impl fmt::Display for Dim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.terms.is_empty() {
            return f.write_str("0");
        }
        for (i, (syms, c)) in self.terms.iter().rev().enumerate() {
            let sign = match (i, *c < 0) {
                (0, false) => "",
                (0, true) => "-",
                (_, false) => " + ",
                (_, true) => " - ",
            };
            f.write_str(sign)?;
            let names: Vec<&str> = syms.iter().map(Sym::name).collect();
            match (c.unsigned_abs(), names.is_empty()) {
                (n, true) => write!(f, "{n}")?,
                (1, false) => f.write_str(&names.join("*"))?,
                (n, false) => write!(f, "{n}*{}", names.join("*"))?,
            }
        }
        Ok(())
    }
}

/// What is known of the symbols: a range each, and inequalities between dims.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Dims {
    /// A symbol and its lowest and highest value, both included.
    pub ranges: Vec<(Sym, i64, i64)>,
    /// Pairs whose first is at most the second.
    pub known: Vec<(Dim, Dim)>,
}

impl Dims {
    /// Declares `name in low..high`, both included, and gives it as a dim.
    pub fn declare(&mut self, name: &str, low: i64, high: i64) -> Dim {
        self.ranges.push((Sym::new(name), low, high));
        Dim::sym(name)
    }

    /// The range of a symbol.
    pub fn range_of(&self, sym: &Sym) -> Option<(i64, i64)> {
        let (_, low, high) = self.ranges.iter().find(|(s, ..)| s == sym)?;
        Some((*low, *high))
    }

    /// Bounds of a dim by interval arithmetic over its terms; an undeclared symbol has none.
    pub fn range(&self, dim: &Dim) -> Option<(i64, i64)> {
        let mut sum = (0i64, 0i64);
        for (syms, c) in &dim.terms {
            let mut term = (*c, *c);
            for s in syms {
                let r = self.range_of(s)?;
                let ends = [term.0, term.1]
                    .map(|t| [t.saturating_mul(r.0), t.saturating_mul(r.1)])
                    .concat();
                term = (
                    ends.iter().copied().fold(i64::MAX, i64::min),
                    ends.iter().copied().fold(i64::MIN, i64::max),
                );
            }
            sum = (sum.0.saturating_add(term.0), sum.1.saturating_add(term.1));
        }
        Some(sum)
    }

    /// These bindings, completed: a symbol that has no value takes the upper end of its range.
    pub fn upper_bounds(&self, given: &Bindings) -> Bindings {
        let mut all = given.clone();
        for (sym, _, high) in &self.ranges {
            all.0.entry(sym.clone()).or_insert(*high);
        }
        all
    }

    /// Whether `a <= b` follows from the ranges, or from them and one known inequality.
    pub fn proves_le(&self, a: &Dim, b: &Dim) -> bool {
        if let (Some(a), Some(b)) = (a.as_const(), b.as_const()) {
            return a <= b;
        }
        let slack = b - a;
        let nonnegative = |d: &Dim| self.range(d).is_some_and(|(low, _)| low >= 0);
        nonnegative(&slack)
            || self
                .known
                .iter()
                .any(|(x, y)| nonnegative(&(&slack - &(y - x))))
    }
}

/// The value of each symbol in one step.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Bindings(BTreeMap<Sym, i64>);

impl Bindings {
    /// Bindings of these names to these values.
    pub fn new<'a>(pairs: impl IntoIterator<Item = (&'a str, i64)>) -> Bindings {
        Bindings(pairs.into_iter().map(|(n, v)| (Sym::new(n), v)).collect())
    }

    /// The value of a symbol, if bound.
    pub fn get(&self, sym: &Sym) -> Option<i64> {
        self.0.get(sym).copied()
    }

    /// Binds a symbol; gives the value it had.
    pub fn bind(&mut self, sym: &Sym, value: i64) -> Option<i64> {
        self.0.insert(sym.clone(), value)
    }

    /// Checks that every declared symbol is bound within its range and that what is known holds;
    /// otherwise says what does not.
    pub fn check(&self, dims: &Dims) -> Result<(), String> {
        for (sym, low, high) in &dims.ranges {
            match self.get(sym) {
                None => return Err(format!("dim {sym} has no value")),
                Some(v) if v < *low || v > *high => {
                    return Err(format!("dim {sym} is {v}, outside {low}..{high}"));
                }
                Some(_) => {}
            }
        }
        for (a, b) in &dims.known {
            match (a.eval(self), b.eval(self)) {
                (Ok(x), Ok(y)) if x <= y => {}
                (Ok(x), Ok(y)) => return Err(format!("{a} <= {b} does not hold: {x} > {y}")),
                (Err(s), _) | (_, Err(s)) => return Err(format!("dim {s} has no value")),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dims() -> Dims {
        let mut d = Dims::default();
        let t = d.declare("T", 1, 512);
        let p = d.declare("P", 0, 8191);
        d.known.push((&p + &t, Dim::from(8192i64)));
        d
    }

    #[test]
    fn equal_polynomials_have_one_normal_form() {
        let (t, p) = (Dim::sym("T"), Dim::sym("P"));
        let left = &(&t + &p) * &(&t - &p);
        let right = &(&t * &t) - &(&p * &p);
        assert_eq!(left, right);
        assert_eq!(left.to_string(), "T*T - P*P");
        assert_eq!(&t - &t, Dim::from(0i64));
        assert_eq!((&t - &t).to_string(), "0");
    }

    #[test]
    fn a_range_comes_from_interval_arithmetic() {
        let d = dims();
        let e = &(&Dim::sym("T") * &Dim::from(-2i64)) + &Dim::from(3i64);
        assert_eq!(d.range(&e), Some((-1021, 1)));
        assert_eq!(d.range(&Dim::sym("X")), None);
    }

    #[test]
    fn an_inequality_is_proved_from_ranges_and_one_known_fact() {
        let d = dims();
        let end = &Dim::sym("P") + &Dim::sym("T");
        assert!(d.proves_le(&end, &Dim::from(8192i64)));
        assert!(!d.proves_le(&end, &Dim::from(8191i64)));
        assert!(d.proves_le(&Dim::sym("P"), &end));
    }

    #[test]
    fn symbols_without_a_value_take_their_upper_bound() {
        let all = dims().upper_bounds(&Bindings::new([("T", 3)]));
        assert_eq!(all, Bindings::new([("T", 3), ("P", 8191)]));
    }

    #[test]
    fn bindings_outside_what_is_known_are_named() {
        let d = dims();
        let b = |t, p| Bindings::new([("T", t), ("P", p)]).check(&d);
        assert_eq!(b(512, 7680), Ok(()));
        assert_eq!(b(0, 0), Err("dim T is 0, outside 1..512".into()));
        assert_eq!(
            b(2, 8191),
            Err("T + P <= 8192 does not hold: 8193 > 8192".into())
        );
        assert_eq!(
            Bindings::new([("T", 1)]).check(&d),
            Err("dim P has no value".into())
        );
    }
}
