//! The feed-forward branch.

use std::f64::consts::FRAC_1_SQRT_2;

use ir::{Expr, Op};
use lapidary_tests::golden::shipped;
use lapidary_tests::rewrite::Spot;

use crate::trial::Trial;

/// Whether this is the tanh of GELU.
fn is_gelu(spot: &Spot) -> bool {
    spot.is(Op::Tanh) && spot.function.value("gate").is_some() && !spot.is_over_keys()
}

#[test]
fn an_activation_other_than_the_tanh_form_of_gelu() {
    let golden = shipped("2b-shape");
    let trial = Trial::of(&golden);
    // With 2 sigmoid(2y) - 1 = tanh(y): x sigmoid(x), and x sigmoid(1.702 x).
    for slope in [0.5, 0.851] {
        trial
            .assert_trap_noticed(|spot| is_gelu(spot).then(|| (spot.named("gate") * slope).tanh()));
    }
    // The exact form, 0.5 x (1 + erf(x / sqrt(2))).
    trial
        .assert_trap_noticed(|spot| is_gelu(spot).then(|| erf(spot.named("gate") * FRAC_1_SQRT_2)));
}

/// The error function within 1.5e-7: Abramowitz and Stegun, 7.1.26.
fn erf(x: Expr) -> Expr {
    let zero = x.filled(0.0);
    let z = x.lt(zero).select(-x, x);
    let t = x.filled(1.0) / (z * 0.3275911 + 1.0);
    let factors = [
        1.061405429,
        -1.453152027,
        1.421413741,
        -0.284496736,
        0.254829592,
    ];
    let sum = factors.iter().fold(zero, |sum, a| (sum + *a) * t);
    let positive = x.filled(1.0) - sum * (-(z * z)).exp();
    x.lt(zero).select(-positive, positive)
}
