//! What `exp`, `log`, `tanh`, `sin` and `cos` promise: their error against f64, their special
//! values, their symmetries, and that their bits stay what they are.

use lapidary_ir::math::{cos, exp, log, sin, tanh};
use std::thread;

/// One of the functions and the error it is documented to have.
struct Function {
    name: &'static str,
    ours: fn(f32) -> f32,
    truth: fn(f64) -> f64,
    /// Pairs (a, ulp): up to |x| = a the error is at most this many ulp. Beyond the last a, nothing
    /// is promised of the error.
    promises: &'static [(f32, f64)],
}

const EXP: Function = Function {
    name: "exp",
    ours: exp,
    truth: f64::exp,
    promises: &[(f32::INFINITY, 0.90)],
};
const LOG: Function = Function {
    name: "log",
    ours: log,
    truth: f64::ln,
    promises: &[(f32::INFINITY, 0.84)],
};
const TANH: Function = Function {
    name: "tanh",
    ours: tanh,
    truth: f64::tanh,
    promises: &[(f32::INFINITY, 1.37)],
};
const SIN: Function = Function {
    name: "sin",
    ours: sin,
    truth: f64::sin,
    promises: &[(TWO_POW_17, 0.80), (TWO_POW_20, 1.07)],
};
const COS: Function = Function {
    name: "cos",
    ours: cos,
    truth: f64::cos,
    promises: &[(TWO_POW_17, 0.80), (TWO_POW_20, 1.05)],
};

const TWO_POW_17: f32 = 131_072.0;
const TWO_POW_20: f32 = 1_048_576.0;
const LEAST_SUBNORMAL: f32 = f32::from_bits(1);

/// |got - truth| in ulp of the truth rounded to f32. An infinity or a NaN where the truth has none,
/// or the reverse, is infinitely wrong.
fn error_in_ulp(got: f32, truth: f64) -> f64 {
    let rounded = truth as f32;
    if rounded.is_finite() && got.is_finite() {
        let exponent = (rounded.to_bits() >> 23 & 0xff).max(1) as i32;
        (f64::from(got) - truth).abs() / 2f64.powi(exponent - 150)
    } else if rounded == got || (rounded.is_nan() && got.is_nan()) {
        0.0
    } else {
        f64::INFINITY
    }
}

impl Function {
    fn assert_accurate_at(&self, x: f32) {
        let promise = self
            .promises
            .iter()
            .find(|(limit, _)| !x.is_finite() || x.abs() <= *limit);
        if let Some((_, bound)) = promise {
            let (got, truth) = ((self.ours)(x), (self.truth)(f64::from(x)));
            let error = error_in_ulp(got, truth);
            assert!(
                error <= *bound,
                "{}({x:e}) is {got:e}, the truth {truth:e}: {error:.3} ulp, more than {bound}",
                self.name
            );
        }
    }

    fn assert_accurate_everywhere(&self) {
        let threads = thread::available_parallelism().map_or(1, usize::from);
        thread::scope(|scope| {
            for first in 0..threads {
                scope.spawn(move || {
                    for bits in (first as u64..1 << 32).step_by(threads) {
                        self.assert_accurate_at(f32::from_bits(bits as u32));
                    }
                });
            }
        });
    }
}

/// Every 997th bit pattern: both signs, subnormals and NaN included.
fn sample() -> impl Iterator<Item = f32> {
    (0..=u32::MAX).step_by(997).map(f32::from_bits)
}

/// `x` and the 2·`radius` f32 nearest to it in bit pattern, with both signs.
fn around(x: f32, radius: u32) -> impl Iterator<Item = f32> {
    let first = x.to_bits().saturating_sub(radius);
    (first..=x.to_bits() + radius)
        .map(f32::from_bits)
        .flat_map(|x| [x, -x])
}

/// The f32 around every multiple of π/2 up to 2²⁰, where the sine or the cosine is near 0.
fn around_quarter_turns() -> impl Iterator<Item = f32> {
    let quarter_turn = std::f64::consts::FRAC_PI_2;
    let count = (f64::from(TWO_POW_20) / quarter_turn) as u32;
    (0..=count).flat_map(move |n| around((f64::from(n) * quarter_turn) as f32, 1))
}

fn same_bits(a: f32, b: f32) -> bool {
    a.to_bits() == b.to_bits()
}

#[test]
fn exp_log_and_tanh_keep_their_documented_error_over_the_whole_range() {
    let where_methods_change = [
        0.0,
        f32::MIN_POSITIVE,
        std::f32::consts::FRAC_1_SQRT_2,
        0.625,
        1.0,
        std::f32::consts::SQRT_2,
        9.01,
        87.33,
        88.72,
        89.0,
        103.97,
        104.0,
        f32::MAX,
    ];
    let close = || {
        where_methods_change
            .into_iter()
            .flat_map(|x| around(x, 5000))
    };
    for function in [EXP, LOG, TANH] {
        sample()
            .chain(close())
            .for_each(|x| function.assert_accurate_at(x));
    }
}

#[test]
fn exp_keeps_its_error_where_the_power_of_two_changes() {
    for n in 0..150 {
        let halfway = (f64::from(n) + 0.5) * std::f64::consts::LN_2;
        around(halfway as f32, 500).for_each(|x| EXP.assert_accurate_at(x));
    }
}

#[test]
fn log_keeps_its_error_at_every_power_of_two() {
    for exponent in 0..255 {
        let power = f32::from_bits(exponent << 23);
        around(power, 500).for_each(|x| LOG.assert_accurate_at(x));
    }
}

#[test]
fn sin_and_cos_keep_their_documented_error_even_next_to_multiples_of_half_pi() {
    for function in [SIN, COS] {
        sample()
            .chain(around_quarter_turns())
            .for_each(|x| function.assert_accurate_at(x));
    }
}

#[test]
#[ignore = "exhaustive: minutes"]
fn exp_keeps_its_error_at_every_f32() {
    EXP.assert_accurate_everywhere();
}

#[test]
#[ignore = "exhaustive: minutes"]
fn log_keeps_its_error_at_every_f32() {
    LOG.assert_accurate_everywhere();
}

#[test]
#[ignore = "exhaustive: minutes"]
fn tanh_keeps_its_error_at_every_f32() {
    TANH.assert_accurate_everywhere();
}

#[test]
#[ignore = "exhaustive: minutes"]
fn sin_keeps_its_error_at_every_f32() {
    SIN.assert_accurate_everywhere();
}

#[test]
#[ignore = "exhaustive: minutes"]
fn cos_keeps_its_error_at_every_f32() {
    COS.assert_accurate_everywhere();
}

#[test]
fn exp_has_the_special_values_of_the_exponential() {
    assert!(same_bits(exp(0.0), 1.0));
    assert!(same_bits(exp(-0.0), 1.0));
    assert!(same_bits(exp(LEAST_SUBNORMAL), 1.0));
    assert!(same_bits(exp(f32::INFINITY), f32::INFINITY));
    assert!(same_bits(exp(f32::MAX), f32::INFINITY));
    assert!(same_bits(exp(f32::NEG_INFINITY), 0.0));
    assert!(same_bits(exp(f32::MIN), 0.0));
}

#[test]
fn exp_overflows_and_vanishes_exactly_where_the_exponential_does() {
    // The largest f32 whose exponential is below the rounding boundary of +inf.
    let last_finite = f32::from_bits(0x42b1_7217);
    assert!(exp(last_finite).is_finite());
    assert!(same_bits(exp(last_finite.next_up()), f32::INFINITY));

    // The least f32 whose exponential is above half the least subnormal.
    let last_positive = f32::from_bits(0xc2cf_f1b4);
    assert!(same_bits(exp(last_positive), LEAST_SUBNORMAL));
    assert!(same_bits(exp(last_positive.next_down()), 0.0));
}

#[test]
fn log_has_the_special_values_of_the_logarithm() {
    assert!(same_bits(log(1.0), 0.0));
    assert!(same_bits(log(0.0), f32::NEG_INFINITY));
    assert!(same_bits(log(-0.0), f32::NEG_INFINITY));
    assert!(same_bits(log(f32::INFINITY), f32::INFINITY));
    assert!(same_bits(log(LEAST_SUBNORMAL), -103.278_93));
    assert!(same_bits(log(f32::MAX), 88.722_84));
}

#[test]
fn log_of_every_negative_number_is_nan() {
    assert!(log(-LEAST_SUBNORMAL).is_nan());
    assert!(log(f32::NEG_INFINITY).is_nan());
    assert!(sample().filter(|x| *x < 0.0).all(|x| log(x).is_nan()));
}

#[test]
fn tanh_has_the_special_values_of_the_hyperbolic_tangent() {
    assert!(same_bits(tanh(0.0), 0.0));
    assert!(same_bits(tanh(-0.0), -0.0));
    for large in [9.02, 44.5, 200.0, f32::MAX, f32::INFINITY] {
        assert!(same_bits(tanh(large), 1.0));
        assert!(same_bits(tanh(-large), -1.0));
    }
}

#[test]
fn sin_and_cos_have_the_special_values_of_the_circle() {
    assert!(same_bits(sin(0.0), 0.0));
    assert!(same_bits(sin(-0.0), -0.0));
    assert!(same_bits(cos(0.0), 1.0));
    assert!(same_bits(cos(-0.0), 1.0));
    assert!(same_bits(cos(LEAST_SUBNORMAL), 1.0));
    for infinity in [f32::INFINITY, f32::NEG_INFINITY] {
        assert!(sin(infinity).is_nan());
        assert!(cos(infinity).is_nan());
    }
}

#[test]
fn nan_gives_nan_whatever_its_sign_and_payload() {
    let nans = [
        0x7fc0_0000,
        0xffc0_0000,
        0x7f80_0001,
        0xff80_0001,
        0x7fff_ffff,
        u32::MAX,
    ];
    for nan in nans.map(f32::from_bits) {
        for function in [EXP, LOG, TANH, SIN, COS] {
            assert!((function.ours)(nan).is_nan(), "{}", function.name);
        }
    }
}

#[test]
fn tanh_and_sin_of_a_subnormal_are_that_subnormal() {
    let least_normal = f32::MIN_POSITIVE.to_bits();
    for bits in (0..=least_normal).step_by(101).chain([1, least_normal - 1]) {
        let x = f32::from_bits(bits);
        assert!(same_bits(tanh(x), x));
        assert!(same_bits(tanh(-x), -x));
        assert!(same_bits(sin(x), x));
        assert!(same_bits(sin(-x), -x));
    }
}

#[test]
fn tanh_and_sin_are_odd_and_cos_is_even_to_the_bit() {
    for x in sample().filter(|x| !(tanh(*x).is_nan() || sin(*x).is_nan())) {
        assert!(same_bits(tanh(-x), -tanh(x)), "tanh({x:e})");
        assert!(same_bits(sin(-x), -sin(x)), "sin({x:e})");
        assert!(same_bits(cos(-x), cos(x)), "cos({x:e})");
    }
}

#[test]
fn results_stay_in_the_range_of_their_function() {
    let angles = sample().chain(around_quarter_turns());
    for x in angles.filter(|x| x.is_finite()) {
        assert!(exp(x) >= 0.0, "exp({x:e})");
        assert!(tanh(x).abs() <= 1.0, "tanh({x:e})");
        assert!(sin(x).abs() <= 1.0, "sin({x:e})");
        assert!(cos(x).abs() <= 1.0, "cos({x:e})");
    }
}

#[test]
fn sin_and_cos_saturate_their_argument_beyond_two_to_the_20() {
    for x in sample().filter(|x| x.is_finite() && x.abs() > TWO_POW_20) {
        assert!(same_bits(sin(x), sin(TWO_POW_20.copysign(x))), "sin({x:e})");
        assert!(same_bits(cos(x), cos(TWO_POW_20)), "cos({x:e})");
    }
}

#[test]
fn exp_log_and_tanh_never_decrease_over_the_sample() {
    for function in [EXP, LOG, TANH] {
        let rising = (0..f32::INFINITY.to_bits())
            .step_by(997)
            .map(f32::from_bits);
        let mut previous = f32::NEG_INFINITY;
        for x in rising {
            let value = (function.ours)(x);
            assert!(value >= previous, "{}({x:e})", function.name);
            previous = value;
        }
    }
}

/// Every executor reproduces these functions bit for bit, so a change of one bit is a change of the
/// definition and never an accident. The hash is FNV-1a by 32-bit words, every NaN as 0x7fc00000.
#[test]
fn the_bits_of_the_definitions_are_pinned() {
    let pinned = [
        (EXP, 0xff04_80d0_ca8b_0b80_u64),
        (LOG, 0x7f91_bb81_8157_1076),
        (TANH, 0xd510_caca_6748_254a),
        (SIN, 0x5974_dab0_c15b_5c5f),
        (COS, 0x673f_4489_8cd8_911a),
    ];
    for (function, expected) in pinned {
        let hash = sample().fold(0xcbf2_9ce4_8422_2325_u64, |hash, x| {
            let value = (function.ours)(x);
            let bits = if value.is_nan() {
                0x7fc0_0000
            } else {
                value.to_bits()
            };
            (hash ^ u64::from(bits)).wrapping_mul(0x100_0000_01b3)
        });
        assert_eq!(hash, expected, "the bits of {} changed", function.name);
    }
}
