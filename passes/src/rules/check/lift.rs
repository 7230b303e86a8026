//! Instances over a symbol: the rewriter sees polynomials where a constant instance has numbers.

use std::collections::BTreeMap;

use ir::{AttrKind, Dim, Dims};

use super::choices::Choices;
use crate::rules::{Expr, Scope, Term, Thing};

/// A scope over a symbol, what is known of it, and the bounds of the indices.
pub(super) type Lifted = (Scope, Dims, BTreeMap<usize, Dim>);

/// The instance with one length, and what may be counted by it, made a symbol; `None` if there is no
/// length.
pub(super) fn lifted(
    choices: &mut Choices,
    left: &Term,
    scope: &Scope,
    bounds: &BTreeMap<usize, Dim>,
) -> Option<Lifted> {
    let mut axes = Vec::new();
    find_axes(left, &mut axes);
    let is_axis = |var: usize| axes.contains(&var);
    let mut lengths: Vec<i64> = Vec::new();
    for (var, thing) in scope.iter().enumerate() {
        match thing {
            Some(Thing::Value(ty)) => lengths.extend(ty.dims.iter().filter_map(Dim::as_const)),
            Some(Thing::Numbers(dims)) if !is_axis(var) => {
                lengths.extend(dims.iter().filter_map(Dim::as_const));
            }
            _ => {}
        }
    }
    lengths.sort_unstable();
    lengths.dedup();
    if lengths.is_empty() {
        return None;
    }
    let length = choices.pick(&lengths);
    let low = choices.pick(&[0, 1, length]);
    let high = low.max(length) + choices.pick(&[3, 0, 1]);
    let mut dims = Dims::default();
    let symbol = dims.declare("S", low, high);
    let mut made: BTreeMap<i64, Dim> = BTreeMap::from([(length, symbol.clone())]);
    let mut lift = |d: &Dim| {
        let Some(n) = d.as_const() else {
            return d.clone();
        };
        let more = &symbol + &Dim::from(n - length);
        let times = (length > 0 && n % length == 0).then(|| &symbol * &Dim::from(n / length));
        let forms = [Some(d.clone()), (n > length).then_some(more), times];
        let forms: Vec<Dim> = forms.into_iter().flatten().collect();
        let form = made.entry(n);
        let form = form.or_insert_with(|| forms[choices.below(forms.len())].clone());
        form.clone()
    };
    let mut scope = scope.clone();
    for (var, thing) in scope.iter_mut().enumerate() {
        match thing {
            Some(Thing::Value(ty)) => ty.dims.iter_mut().for_each(|d| *d = lift(d)),
            Some(Thing::Numbers(dims)) if !is_axis(var) => {
                dims.iter_mut().for_each(|d| *d = lift(d));
            }
            Some(Thing::Number(d)) if !is_axis(var) => *d = lift(d),
            _ => {}
        }
    }
    let bounds = bounds.iter().map(|(var, bound)| (*var, lift(bound)));
    let bounds = bounds.collect();
    Some((scope, dims, bounds))
}

/// Variables that stand for axes.
fn find_axes(term: &Term, axes: &mut Vec<usize>) {
    let Term::Op {
        op,
        operands,
        attrs,
    } = term
    else {
        return;
    };
    for (expr, (_, kind)) in attrs.iter().zip(op.def().attrs) {
        if let (Expr::Var(var), AttrKind::Axis | AttrKind::Axes) = (expr, kind) {
            axes.push(*var);
        }
    }
    operands.iter().for_each(|operand| find_axes(operand, axes));
}

#[cfg(test)]
mod tests {
    use ir::{DType, Type};

    use super::*;
    use crate::rules::RuleSet;

    #[test]
    fn a_length_becomes_a_symbol_everywhere_and_an_axis_stays_a_number() {
        let text = "s exact: slice(?x) {axis = ?n, start = ?b, stop = ?e} => ?x";
        let rules = RuleSet::parse(text, "my.rules").unwrap_or_else(|e| panic!("{e}"));
        let left = &rules.rules()[0].left;
        let number = |n: i64| Some(Thing::Number(Dim::from(n)));
        let scope = vec![
            Some(Thing::Value(Type::new(DType::F32, [3usize, 3]))),
            number(1),
            number(0),
            number(3),
        ];
        let lifted = lifted(&mut Choices::given(vec![]), left, &scope, &BTreeMap::new());
        let (scope, dims, _) = lifted.expect("there is a length");
        let s = Dim::sym("S");
        assert_eq!(
            scope,
            [
                Some(Thing::Value(Type::new(DType::F32, [&s, &s]))),
                number(1),
                number(0),
                Some(Thing::Number(s)),
            ]
        );
        assert_eq!(dims.ranges.len(), 1);
        assert_eq!((dims.ranges[0].1, dims.ranges[0].2), (0, 6));
    }
}
