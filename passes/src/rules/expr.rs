//! The small language of bindings and guards: numbers, lists, dtypes and literals, never tensors.

use std::fmt;

use ir::{Attr, AttrKind, DType, Dim, Dims, Literal, Type};

/// What a variable or an expression stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A tensor.
    Value,
    /// A length, a bound or an axis.
    Number,
    /// A shape or a list of axes.
    Numbers,
    /// A dtype.
    DType,
    /// The values of a constant.
    Literals,
    /// Whether something holds.
    Truth,
}

impl Kind {
    /// The kind of an attribute of this kind.
    pub fn of(kind: AttrKind) -> Kind {
        match kind {
            AttrKind::Axis | AttrKind::Dim => Kind::Number,
            AttrKind::Axes | AttrKind::Dims => Kind::Numbers,
            AttrKind::To => Kind::DType,
            AttrKind::Literals => Kind::Literals,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kind::Value => "a value",
            Kind::Number => "a number",
            Kind::Numbers => "a list of numbers",
            Kind::DType => "a dtype",
            Kind::Literals => "a constant's values",
            Kind::Truth => "a condition",
        })
    }
}

/// What a variable is bound to.
#[derive(Clone, Debug, PartialEq)]
pub enum Thing {
    /// A tensor's type.
    Value(Type),
    /// A length, a bound or an axis.
    Number(Dim),
    /// A shape or a list of axes.
    Numbers(Vec<Dim>),
    /// A dtype.
    DType(DType),
    /// The values of a constant.
    Literals(Vec<Literal>),
    /// Whether something holds.
    Truth(bool),
}

impl Thing {
    /// What an attribute is bound as.
    pub fn from_attr(attr: &Attr) -> Thing {
        match attr {
            Attr::Axis(a) => Thing::Number(Dim::from(*a)),
            Attr::Axes(a) => Thing::Numbers(a.iter().map(|a| Dim::from(*a)).collect()),
            Attr::Dim(d) => Thing::Number(d.clone()),
            Attr::Dims(d) => Thing::Numbers(d.clone()),
            Attr::To(t) => Thing::DType(*t),
            Attr::Literals(x) => Thing::Literals(x.clone()),
        }
    }

    /// Whether this is the other, if that is so for every value of the symbols or for none.
    fn equals(&self, other: &Thing, dims: &Dims) -> Option<bool> {
        match (self, other) {
            (Thing::Number(a), Thing::Number(b)) => same(a, b, dims),
            (Thing::Numbers(a), Thing::Numbers(b)) => all_same(a, b, dims),
            (Thing::Value(a), Thing::Value(b)) if a.dtype == b.dtype => {
                all_same(&a.dims, &b.dims, dims)
            }
            _ => Some(self == other),
        }
    }

    /// The attribute of this kind, unless an axis is not a small constant.
    pub fn to_attr(&self, kind: AttrKind) -> Option<Attr> {
        Some(match (kind, self) {
            (AttrKind::Axis, Thing::Number(d)) => Attr::Axis(index(d)?),
            (AttrKind::Axes, Thing::Numbers(d)) => {
                Attr::Axes(d.iter().map(index).collect::<Option<_>>()?)
            }
            (AttrKind::Dim, Thing::Number(d)) => Attr::Dim(d.clone()),
            (AttrKind::Dims, Thing::Numbers(d)) => Attr::Dims(d.clone()),
            (AttrKind::To, Thing::DType(t)) => Attr::To(*t),
            (AttrKind::Literals, Thing::Literals(x)) => Attr::Literals(x.clone()),
            _ => return None,
        })
    }
}

fn after(d: &Dim) -> Dim {
    d + &Dim::from(1i64)
}

/// Whether `a <= b`, if that is so for every value of the symbols or for none.
fn at_most(a: &Dim, b: &Dim, dims: &Dims) -> Option<bool> {
    if dims.proves_le(a, b) {
        return Some(true);
    }
    dims.proves_le(&after(b), a).then_some(false)
}

/// Whether `a` is `b`, if that is so for every value of the symbols or for none.
fn same(a: &Dim, b: &Dim, dims: &Dims) -> Option<bool> {
    if a == b {
        return Some(true);
    }
    let apart = dims.proves_le(&after(a), b) || dims.proves_le(&after(b), a);
    apart.then_some(false)
}

/// Whether lists are the same, if that is so for every value of the symbols or for none.
fn all_same(a: &[Dim], b: &[Dim], dims: &Dims) -> Option<bool> {
    if a.len() != b.len() {
        return Some(false);
    }
    let each: Vec<_> = a.iter().zip(b).map(|(a, b)| same(a, b, dims)).collect();
    match each.contains(&Some(false)) {
        true => Some(false),
        false => each.iter().all(Option::is_some).then_some(true),
    }
}

/// Where a number first stands in a list, or that it does not; `None` where the symbols leave that open.
fn place(l: &[Dim], n: &Dim, dims: &Dims) -> Option<Option<usize>> {
    for (i, x) in l.iter().enumerate() {
        if same(x, n, dims)? {
            return Some(Some(i));
        }
    }
    Some(None)
}

/// Whether a number stands in a list, if that is so for every value of the symbols or for none.
fn has(l: &[Dim], n: &Dim, dims: &Dims) -> Option<bool> {
    if l.contains(n) {
        return Some(true);
    }
    Some(place(l, n, dims)?.is_some())
}

fn index(d: &Dim) -> Option<usize> {
    usize::try_from(d.as_const()?).ok()
}

/// A number of axes, of which no tensor has very many.
fn axes(d: &Dim) -> Option<usize> {
    index(d).filter(|n| *n <= 64)
}

/// How two things are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Relation {
    /// The same, for every value of the symbols.
    Equal,
    /// At most, for every value of the symbols.
    AtMost,
    /// Less, for every value of the symbols.
    Less,
}

/// An expression over a rule's variables.
#[derive(Clone, Debug, PartialEq)]
pub enum Expr {
    /// A variable, by its place in the rule.
    Var(usize),
    /// What is written there.
    Written(Thing),
    /// `[a, b]`
    List(Vec<Expr>),
    /// `a + b`
    Add(Box<Expr>, Box<Expr>),
    /// `a - b`
    Sub(Box<Expr>, Box<Expr>),
    /// `a * b`
    Mul(Box<Expr>, Box<Expr>),
    /// `a == b` and the like.
    Compare(Relation, Box<Expr>, Box<Expr>),
    /// `not a`
    Not(Box<Expr>),
    /// A function of the table.
    Call(&'static Function, Vec<Expr>),
}

impl Expr {
    /// What it stands for; `None` where it has no value, as the tenth axis of a matrix, or where the
    /// symbols leave open whether it holds.
    pub fn eval(&self, scope: &[Option<Thing>], dims: &Dims) -> Option<Thing> {
        let number = |e: &Expr| match e.eval(scope, dims)? {
            Thing::Number(d) => Some(d),
            _ => None,
        };
        Some(match self {
            Expr::Var(i) => scope.get(*i)?.clone()?,
            Expr::Written(thing) => thing.clone(),
            Expr::List(items) => Thing::Numbers(items.iter().map(number).collect::<Option<_>>()?),
            Expr::Add(a, b) => Thing::Number(&number(a)? + &number(b)?),
            Expr::Sub(a, b) => Thing::Number(&number(a)? - &number(b)?),
            Expr::Mul(a, b) => Thing::Number(&number(a)? * &number(b)?),
            Expr::Compare(Relation::Equal, a, b) => {
                let (a, b) = (a.eval(scope, dims)?, b.eval(scope, dims)?);
                Thing::Truth(a.equals(&b, dims)?)
            }
            Expr::Compare(Relation::AtMost, a, b) => {
                Thing::Truth(at_most(&number(a)?, &number(b)?, dims)?)
            }
            Expr::Compare(Relation::Less, a, b) => {
                Thing::Truth(at_most(&after(&number(a)?), &number(b)?, dims)?)
            }
            Expr::Not(a) => match a.eval(scope, dims)? {
                Thing::Truth(holds) => Thing::Truth(!holds),
                _ => return None,
            },
            Expr::Call(function, args) => {
                let args: Option<Vec<Thing>> = args.iter().map(|a| a.eval(scope, dims)).collect();
                (function.eval)(&args?, dims)?
            }
        })
    }

    /// Its kind, where the variables have these.
    pub fn kind(&self, vars: impl Fn(usize) -> Option<Kind>) -> Option<Kind> {
        Some(match self {
            Expr::Var(i) => return vars(*i),
            Expr::Written(Thing::Value(_)) => Kind::Value,
            Expr::Written(Thing::Number(_)) => Kind::Number,
            Expr::Written(Thing::Numbers(_)) | Expr::List(_) => Kind::Numbers,
            Expr::Written(Thing::DType(_)) => Kind::DType,
            Expr::Written(Thing::Literals(_)) => Kind::Literals,
            Expr::Written(Thing::Truth(_)) | Expr::Compare(..) | Expr::Not(_) => Kind::Truth,
            Expr::Add(..) | Expr::Sub(..) | Expr::Mul(..) => Kind::Number,
            Expr::Call(function, _) => function.result,
        })
    }
}

/// A function that bindings and guards may call.
pub struct Function {
    /// Its name.
    pub name: &'static str,
    /// The kinds of its arguments.
    pub params: &'static [Kind],
    /// The kind of its result.
    pub result: Kind,
    /// What it gives.
    pub doc: &'static str,
    eval: fn(&[Thing], &Dims) -> Option<Thing>,
}

impl fmt::Debug for Function {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

impl PartialEq for Function {
    fn eq(&self, other: &Function) -> bool {
        self.name == other.name
    }
}

/// Declares the table of functions, one row each; a body sees the symbols under the name in front.
macro_rules! functions {
    ($dims:ident: $($name:ident ($($param:ident $kind:ident),*) -> $result:ident $doc:literal $body:expr;)*) => {
        /// Every function that bindings and guards may call.
        pub static FUNCTIONS: &[Function] = &[$(Function {
            name: stringify!($name),
            params: &[$(Kind::$kind),*],
            result: Kind::$result,
            doc: $doc,
            eval: |args, $dims| match args {
                [$(Thing::$kind($param)),*] => {
                    let _ = $dims;
                    Some(Thing::$result($body))
                }
                _ => None,
            },
        }),*];
    };
}

functions! {
    dims:
    dtype(x Value) -> DType "the dtype of a value" x.dtype;
    rank(x Value) -> Number "how many axes a value has" Dim::from(x.rank());
    shape(x Value) -> Numbers "the dims of a value" x.dims.clone();
    dim(x Value, i Number) -> Number "the length of axis i" x.dims.get(index(i)?)?.clone();
    len(l Numbers) -> Number "how long a list is" Dim::from(l.len());
    at(l Numbers, i Number) -> Number "element i of a list" l.get(index(i)?)?.clone();
    set(l Numbers, i Number, n Number) -> Numbers "the list with n as element i" {
        let mut l = l.clone();
        *l.get_mut(index(i)?)? = n.clone();
        l
    };
    drop(l Numbers, i Number) -> Numbers "the list without element i" {
        let (mut l, i) = (l.clone(), index(i)?);
        (i < l.len()).then(|| l.remove(i))?;
        l
    };
    find(l Numbers, n Number) -> Number "where n stands in a list" {
        Dim::from(place(l, n, dims)??)
    };
    places(l Numbers, of Numbers) -> Numbers "where each of these stands in a list" {
        of.iter().map(|n| Some(Dim::from(place(l, n, dims)??))).collect::<Option<_>>()?
    };
    has(l Numbers, n Number) -> Truth "whether n stands in a list" has(l, n, dims)?;
    join(a Numbers, b Numbers) -> Numbers "one list behind the other" [&a[..], b].concat();
    pick(l Numbers, at Numbers) -> Numbers "the elements of a list at these places" {
        at.iter().map(|i| l.get(index(i)?).cloned()).collect::<Option<_>>()?
    };
    upto(n Number) -> Numbers "0, 1, … below n" (0..axes(n)?).map(Dim::from).collect();
    others(n Number, l Numbers) -> Numbers "what of 0, 1, … below n is not in a list" {
        let mut left = Vec::new();
        for i in (0..axes(n)?).map(Dim::from) {
            if !has(l, &i, dims)? {
                left.push(i);
            }
        }
        left
    };
    uniform(v Literals) -> Truth "whether one value fills the constant" v.len() == 1;
    powers_of_two(v Literals) -> Truth "whether every value is ±2^k with both it and 1/it an f32" {
        let exact = |x: f64| f64::from(x as f32) == x && is_power_of_two(x as f32);
        v.iter().all(|x| exact(x.0) && exact(1.0 / x.0))
    };
    normal(v Literals) -> Truth "whether every value, as an f32, is neither tiny, zero, huge nor NaN" {
        v.iter().all(|x| (x.0 as f32).is_normal())
    };
    moderate(v Literals) -> Truth "whether every value lies between 2^-32 and 2^32 in size" {
        let bound = f64::from(1u32 << 31) * 2.0;
        v.iter().all(|x| (1.0 / bound..=bound).contains(&x.0.abs()))
    };
    recip(v Literals) -> Literals "1 over each value" {
        v.iter().map(|x| Literal(1.0 / x.0)).collect()
    };
    times(v Literals, w Literals) -> Literals "products of two constants' values, of which either may be one" {
        if v.len() != w.len() && v.len() != 1 && w.len() != 1 {
            return None;
        }
        let n = if v.len() == 1 { w.len() } else { v.len() };
        let factors = v.iter().cycle().zip(w.iter().cycle()).take(n);
        factors.map(|(x, y)| Literal(x.0 * y.0)).collect()
    };
}

/// Whether this is ±2^k, subnormals included.
fn is_power_of_two(x: f32) -> bool {
    let (fraction, exponent) = (x.to_bits() & 0x7f_ffff, x.to_bits() >> 23 & 0xff);
    match exponent {
        0 => fraction.is_power_of_two(),
        255 => false,
        _ => fraction == 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_power_of_two_is_one_whose_reciprocal_is_one() {
        let f = FUNCTIONS.iter().find(|f| f.name == "powers_of_two");
        let holds = |x: f64| {
            f.and_then(|f| (f.eval)(&[Thing::Literals(vec![Literal(x)])], &Dims::default()))
        };
        for x in [1.0, -4.0, 2f64.powi(127), 2f64.powi(-127), 2f64.powi(-126)] {
            assert_eq!(holds(x), Some(Thing::Truth(true)), "{x:e}");
        }
        // 2^128 is no f32; nor is the reciprocal of 2^-128.
        let refused = [0.0, -0.0, 3.0, 1.0 + 1e-8, f64::INFINITY, f64::NAN];
        for x in refused.into_iter().chain([2f64.powi(128), 2f64.powi(-128)]) {
            assert_eq!(holds(x), Some(Thing::Truth(false)), "{x:e}");
        }
    }

    #[test]
    fn a_guard_that_the_symbols_leave_open_does_not_hold_and_neither_does_its_opposite() {
        let mut dims = Dims::default();
        dims.declare("R", 0, 8);
        dims.declare("T", 1, 8);
        let number = |n: &str| match n.parse::<i64>() {
            Ok(n) => Expr::Written(Thing::Number(Dim::from(n))),
            Err(_) => Expr::Written(Thing::Number(Dim::sym(n))),
        };
        let compare = |relation, a: &str, b: &str| {
            Expr::Compare(relation, Box::new(number(a)), Box::new(number(b)))
        };
        let has = FUNCTIONS.iter().find(|f| f.name == "has").expect("a row");
        let has = |list: &[&str], n: &str| {
            let list = list.iter().map(|n| number(n)).collect();
            Expr::Call(has, vec![Expr::List(list), number(n)])
        };
        use Relation::{AtMost, Equal, Less};
        let cases = [
            (compare(Equal, "R", "R"), Some(true)),
            (compare(Equal, "R", "0"), None),
            (compare(Equal, "T", "0"), Some(false)),
            (compare(Equal, "R", "T"), None),
            (compare(Equal, "R", "9"), Some(false)),
            (compare(AtMost, "R", "8"), Some(true)),
            (compare(AtMost, "R", "7"), None),
            (compare(AtMost, "9", "R"), Some(false)),
            (compare(Less, "0", "T"), Some(true)),
            (compare(Less, "0", "R"), None),
            (compare(Less, "T", "1"), Some(false)),
            (compare(Less, "T", "0"), Some(false)),
            (has(&["R", "3"], "3"), Some(true)),
            (has(&["R"], "3"), None),
            (has(&["R"], "9"), Some(false)),
        ];
        for (guard, expected) in cases {
            let holds = |e: &Expr| match e.eval(&[], &dims) {
                Some(Thing::Truth(holds)) => Some(holds),
                _ => None,
            };
            assert_eq!(holds(&guard), expected, "{guard:?}");
            let not = Expr::Not(Box::new(guard));
            assert_eq!(holds(&not), expected.map(|holds| !holds), "{not:?}");
        }
        let shapes = |a: &[&str], b: &[&str]| {
            let list = |l: &[&str]| Expr::List(l.iter().map(|n| number(n)).collect());
            let equal = Expr::Compare(Equal, Box::new(list(a)), Box::new(list(b)));
            equal.eval(&[], &dims)
        };
        assert_eq!(shapes(&["R", "2"], &["R", "2"]), Some(Thing::Truth(true)));
        assert_eq!(shapes(&["R", "2"], &["0", "3"]), Some(Thing::Truth(false)));
        assert_eq!(shapes(&["R", "2"], &["0", "2"]), None);
    }

    #[test]
    fn names_are_unique_and_each_function_says_what_it_gives() {
        for (i, f) in FUNCTIONS.iter().enumerate() {
            assert!(
                FUNCTIONS[..i].iter().all(|g| g.name != f.name),
                "{}",
                f.name
            );
            assert!(!f.doc.is_empty());
        }
    }
}
