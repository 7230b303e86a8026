//! `exp`, `log`, `tanh`, `sin` and `cos` of an f32, each defined once, down to the operation.
//!
//! A math library's `exp` differs from machine to machine, so nothing here calls one. The code of
//! this module *is* the definition of these functions, over any [`Lane`]: the interpreter runs it
//! on f32; a compiler runs it on values of the code that it writes, which then performs the same
//! operations on the same constants in the same order, and so gets the same bits, in a vector lane
//! as in a scalar, on a CPU as on a GPU.
//!
//! To make that possible, each function is a straight line (no tables, no jumps) of operations
//! that every target has and rounds alike:
//!
//! - f32 add, subtract, multiply, divide and fused multiply-add (`a.mul_add(b, c)`, one rounding
//!   of a·b + c), to nearest even, with subnormals kept. A product and a sum written apart are
//!   rounded apart: they must not be contracted;
//! - negation, which flips the sign bit, of zero too;
//! - comparisons, false when an operand is NaN, and selection between two computed values (the
//!   value not selected may be anything);
//! - 32-bit integer add, subtract, shift and bitwise operations, which wrap; equality of integers;
//!   reinterpretation of an f32's bits; conversion to f32 of an integer of magnitude below 2⁹.
//!   There is no conversion from f32 to integer: a sum with 1.5·2²³ rounds to the nearest integer,
//!   ties to even, and leaves it in the low bits.
//!
//! One thing is left open: where the result is NaN, its sign and payload are unspecified.
//!
//! Errors are in units in the last place (ulp) of the result rounded to f32, against the f64
//! function, the largest over every f32 of the stated range; for a subnormal result the ulp is
//! 2⁻¹⁴⁹. The polynomials are minimax fits to the relative error of the function, their
//! coefficients rounded to f32; every constant is printed with the digits that identify its f32.

use std::num::Wrapping;
use std::ops::{Add, BitAnd, BitXor, Div, Mul, Neg, Shl, Shr, Sub};

/// An f32 that the operations of this module are done on: a number, or in a compiler the name of
/// one, or of a vector of them.
///
/// The operators are those of IEEE binary32, as the module says.
pub trait Lane:
    Copy
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Div<Output = Self>
    + Neg<Output = Self>
{
    /// A 32-bit integer in two's complement, whose operators wrap; `>>` keeps the sign.
    type Int: Copy
        + Add<Output = Self::Int>
        + Sub<Output = Self::Int>
        + BitAnd<Output = Self::Int>
        + BitXor<Output = Self::Int>
        + Shl<usize, Output = Self::Int>
        + Shr<usize, Output = Self::Int>;
    /// What a comparison gives.
    type Mask: Copy;

    /// This number, in as many lanes as `self` has.
    fn constant(self, number: f32) -> Self;
    /// This integer, in as many lanes as `self` has.
    fn int_constant(self, number: i32) -> Self::Int;

    /// `self * a + b`, rounded once.
    fn mul_add(self, a: Self, b: Self) -> Self;

    /// Whether `self < other`; false where either is NaN.
    fn less(self, other: Self) -> Self::Mask;
    /// Whether `self == other`; false where either is NaN.
    fn equal(self, other: Self) -> Self::Mask;
    /// Whether `a == b`.
    fn int_equal(a: Self::Int, b: Self::Int) -> Self::Mask;
    /// `a` where the mask is true, `b` elsewhere.
    fn select(mask: Self::Mask, a: Self, b: Self) -> Self;
    /// `a` where the mask is true, `b` elsewhere.
    fn int_select(mask: Self::Mask, a: Self::Int, b: Self::Int) -> Self::Int;

    /// The bits as an integer.
    fn to_bits(self) -> Self::Int;
    /// The number with these bits.
    fn from_bits(bits: Self::Int) -> Self;
    /// The number equal to an integer of magnitude below 2⁹.
    fn from_int(number: Self::Int) -> Self;
}

impl Lane for f32 {
    type Int = Wrapping<i32>;
    type Mask = bool;

    #[inline]
    fn constant(self, number: f32) -> f32 {
        number
    }
    #[inline]
    fn int_constant(self, number: i32) -> Wrapping<i32> {
        Wrapping(number)
    }
    #[inline]
    fn mul_add(self, a: f32, b: f32) -> f32 {
        f32::mul_add(self, a, b)
    }
    #[inline]
    fn less(self, other: f32) -> bool {
        self < other
    }
    #[inline]
    fn equal(self, other: f32) -> bool {
        self == other
    }
    #[inline]
    fn int_equal(a: Wrapping<i32>, b: Wrapping<i32>) -> bool {
        a == b
    }
    #[inline]
    fn select(mask: bool, a: f32, b: f32) -> f32 {
        if mask { a } else { b }
    }
    #[inline]
    fn int_select(mask: bool, a: Wrapping<i32>, b: Wrapping<i32>) -> Wrapping<i32> {
        if mask { a } else { b }
    }
    #[inline]
    fn to_bits(self) -> Wrapping<i32> {
        Wrapping(f32::to_bits(self) as i32)
    }
    #[inline]
    fn from_bits(bits: Wrapping<i32>) -> f32 {
        f32::from_bits(bits.0 as u32)
    }
    #[inline]
    fn from_int(number: Wrapping<i32>) -> f32 {
        number.0 as f32
    }
}

/// 1.5·2²³: a sum with it has an ulp of 1, so it is rounded to an integer.
const ROUNDER: f32 = 12_582_912.0;

const SIGN_BIT: i32 = i32::MIN;

/// 2²³, which lifts any subnormal into the normal range.
const TWO_POW_23: f32 = 8_388_608.0;

/// log2(e).
const LOG2_E: f32 = f32::from_bits(0x3fb8_aa3b);
/// ln 2 rounded to f32, and the remainder.
const LN_2: [f32; 2] = [f32::from_bits(0x3f31_7218), f32::from_bits(0xb102_e308)];

/// 2/π.
const FRAC_2_PI: f32 = f32::from_bits(0x3f22_f983);
/// π/2 rounded to f32, the remainder rounded to f32, and the remainder of both.
const FRAC_PI_2: [f32; 3] = [
    f32::from_bits(0x3fc9_0fdb),
    f32::from_bits(0xb33b_bd2e),
    f32::from_bits(0xa6f7_2ced),
];

/// The bits of sqrt(1/2): where `log` changes exponent.
const SQRT_HALF_BITS: i32 = 0x3f35_04f3;

/// Where `sin` and `cos` stop following their argument.
const MAX_ANGLE: f32 = 1_048_576.0;

/// The polynomial with these coefficients, from the highest power down, by Horner's rule: one
/// fused multiply-add for each coefficient after the first.
fn polynomial<L: Lane, const N: usize>(x: L, leading: f32, lower: [f32; N]) -> L {
    lower
        .into_iter()
        .fold(x.constant(leading), |sum, coefficient| {
            sum.mul_add(x, x.constant(coefficient))
        })
}

/// `x`, or the bound where x is greater.
fn at_most<L: Lane>(x: L, bound: f32) -> L {
    let bound = x.constant(bound);
    L::select(bound.less(x), bound, x)
}

/// `x`, or the bound where x is less.
fn at_least<L: Lane>(x: L, bound: f32) -> L {
    let bound = x.constant(bound);
    L::select(x.less(bound), bound, x)
}

/// |x|, and the sign of x as the bit it is.
fn split_sign<L: Lane>(x: L) -> (L, L::Int) {
    let sign = x.to_bits() & x.int_constant(SIGN_BIT);
    (flip(x, sign), sign)
}

/// `x` with these of its bits flipped.
fn flip<L: Lane>(x: L, bits: L::Int) -> L {
    L::from_bits(x.to_bits() ^ bits)
}

/// The integer nearest to x·scale, as an f32 and as an integer, for |x·scale| below 2²². The
/// product is not rounded before it is added to [`ROUNDER`], whose low mantissa bits then hold the
/// integer.
fn nearest_multiple<L: Lane>(x: L, scale: f32) -> (L, L::Int) {
    let rounder = x.constant(ROUNDER);
    let shifted = x.mul_add(x.constant(scale), rounder);
    (shifted - rounder, shifted.to_bits() - rounder.to_bits())
}

/// v·2ⁿ for v from 0.7 to 1.5 and n from -150 to 128, rounded once: of the two powers of two only
/// the second can make the product subnormal or infinite.
fn scale_by_power_of_two<L: Lane>(v: L, n: L::Int) -> L {
    let power_of_two = |n| L::from_bits((n + v.int_constant(127)) << 23);
    let half = n >> 1;
    v * power_of_two(half) * power_of_two(n - half)
}

/// e to the power `x`.
///
/// With n the integer nearest to x/ln 2 and r = x - n·ln 2, so |r| is at most about ln(2)/2,
/// eˣ = 2ⁿ·eʳ. The first product with ln 2 leaves no rounding error in r, the second corrects it
/// for the rest of ln 2. eʳ is a polynomial of degree 6 whose two lowest coefficients are 1.
///
/// Max error: 0.90 ulp over every f32. exp(±0) = 1, exp(+∞) = +∞, exp(-∞) = +0,
/// exp(NaN) = NaN. The result is +∞ exactly where eˣ rounded to f32 is, and +0 likewise.
pub fn exp<L: Lane>(x: L) -> L {
    // Beyond these bounds the result is +∞ or 0 already; within them n has no more than 8 bits.
    let x = at_least(at_most(x, 89.0), -104.0);
    let (n, n_int) = nearest_multiple(x, LOG2_E);
    let r = (-n).mul_add(x.constant(LN_2[0]), x);
    let r = (-n).mul_add(x.constant(LN_2[1]), r);
    let exp_r = polynomial(
        r,
        0.0013814599,
        [0.008368717, 0.04166839, 0.16666521, 0.49999994, 1.0, 1.0],
    );
    scale_by_power_of_two(exp_r, n_int)
}

/// The natural logarithm of `x`.
///
/// x = 2ᵉ·(1 + f) with 1 + f from sqrt(1/2) to sqrt(2), taken from the bits of x (of x·2²³ where x
/// is subnormal), and log x = e·ln 2 + log(1 + f), where log(1 + f) = f - f²/2 + f³·P(f) with P of
/// degree 8.
///
/// Max error: 0.84 ulp over every f32. log(±0) = -∞, log(1) = +0, log(+∞) = +∞; log of a negative
/// number, of -∞ and of NaN is NaN.
pub fn log<L: Lane>(x: L) -> L {
    let is_small = x.less(x.constant(f32::MIN_POSITIVE));
    let normal = L::select(is_small, x * x.constant(TWO_POW_23), x);
    let lifted_by = L::int_select(is_small, x.int_constant(23), x.int_constant(0));

    let bits = normal.to_bits();
    let exponent = (bits - x.int_constant(SQRT_HALF_BITS)) >> 23;
    let mantissa = L::from_bits(bits - (exponent << 23));
    let e = L::from_int(exponent - lifted_by);
    let f = mantissa - x.constant(1.0);

    let f2 = f * f;
    let p = polynomial(
        f,
        0.067466445,
        [
            -0.11675655,
            0.11888162,
            -0.124055885,
            0.14219552,
            -0.16667996,
            0.20002119,
            -0.2500001,
            0.33333313,
        ],
    );
    let tail = (f2 * f).mul_add(p, e * x.constant(LN_2[1]));
    let tail = f2.mul_add(x.constant(-0.5), tail);
    let finite = e.mul_add(x.constant(LN_2[0]), f + tail);

    let zero = x.constant(0.0);
    let result = L::select(x.less(x.constant(f32::INFINITY)), finite, x);
    let result = L::select(x.equal(zero), x.constant(f32::NEG_INFINITY), result);
    L::select(x.less(zero), x.constant(f32::NAN), result)
}

/// The hyperbolic tangent of `x`.
///
/// With a = |x|: below 0.625 it is a + a³·P(a²) with P of degree 4, elsewhere 1 - 2/(exp(2a) + 1)
/// by [`exp`], whose overflow to +∞ gives the 1 of large arguments. Both are computed and one is
/// selected; then the sign of x is put back.
///
/// Max error: 1.37 ulp over every f32. tanh(±0) = ±0, tanh of a subnormal is that subnormal,
/// tanh(±∞) = ±1, tanh(NaN) = NaN; tanh(-x) is -tanh(x) and |tanh(x)| is at most 1.
pub fn tanh<L: Lane>(x: L) -> L {
    let (a, sign) = split_sign(x);
    let a2 = a * a;
    let p = polynomial(
        a2,
        -0.0057049864,
        [0.020639086, -0.053739715, 0.13331442, -0.3333328],
    );
    let near_zero = (a2 * a).mul_add(p, a);
    let one = x.constant(1.0);
    let elsewhere = one - x.constant(2.0) / (exp(a + a) + one);
    let magnitude = L::select(a.less(x.constant(0.625)), near_zero, elsewhere);
    flip(magnitude, sign)
}

/// sin(a + turns·π/2) for a ≥ +0 or NaN; see [`sin`].
fn sin_after_quarter_turns<L: Lane>(a: L, turns: i32) -> L {
    let angle = at_most(a, MAX_ANGLE);
    let (n, n_int) = nearest_multiple(angle, FRAC_2_PI);
    let quadrant = n_int + a.int_constant(turns);

    // angle - n·π/2 as r + low. The first step is exact, and so is `product` + `product_low`;
    // `(first - r) - product` is exactly what rounding r lost.
    let first = (-n).mul_add(a.constant(FRAC_PI_2[0]), angle);
    let product = n * a.constant(FRAC_PI_2[1]);
    let product_low = n.mul_add(a.constant(FRAC_PI_2[1]), -product);
    let r = first - product;
    let low = ((first - r) - product) - product_low;
    let low = (-n).mul_add(a.constant(FRAC_PI_2[2]), low);

    // sin(r + low) = sin r + low·cos r, where 1 - r²/2 stands for cos r.
    let r2 = r * r;
    let half_r2 = r2 * a.constant(0.5);
    let cos_r = a.constant(1.0) - half_r2;
    let p = polynomial(r2, -0.00019514958, [0.008332158, -0.16666655]);
    let sin = r + (r2 * r).mul_add(p, low * cos_r);

    // cos(r + low) = cos r - low·sin r, where r stands for sin r; `(1 - cos_r) - half_r2` is
    // exactly what rounding cos_r lost.
    let q = polynomial(r2, 2.4432786e-5, [-0.0013887313, 0.041666646]);
    let cos_tail = (r2 * r2).mul_add(q, -(r * low));
    let cos = cos_r + (((a.constant(1.0) - cos_r) - half_r2) + cos_tail);

    let is_even = L::int_equal(quadrant & a.int_constant(1), a.int_constant(0));
    let magnitude = L::select(is_even, sin, cos);
    let result = flip(magnitude, (quadrant & a.int_constant(2)) << 30);
    L::select(
        a.less(a.constant(f32::INFINITY)),
        result,
        a.constant(f32::NAN),
    )
}

/// The sine of `x` radians.
///
/// With n the integer nearest to |x|·2/π, |x| = n·π/2 + (r + low): |r| is at most about π/4, and
/// low holds what does not fit in r. π/2 is the sum of three f32, about 2⁻⁷⁶ from the true value;
/// the f32 up to 2¹⁷ that is nearest to a multiple of π/2 is 4·10⁻⁹ away from it. Then
/// sin r = r + r³·P(r²) and cos r = 1 - r²/2 + r⁴·Q(r²), with P and Q of degree 2, are each
/// corrected for low, n mod 4 selects one and its sign, and the sign of x is put back.
///
/// Accuracy is promised for |x| up to 2¹⁷, the largest angle of a rotary embedding. Max error:
/// 0.80 ulp there, and 1.07 ulp up to 2²⁰, where the argument saturates: for a larger finite x
/// the result is that of 2²⁰ with the sign of x. sin(±0) = ±0, sin of a subnormal is that
/// subnormal, sin(±∞) = sin(NaN) = NaN; sin(-x) is -sin(x) and |sin(x)| is at most 1.
pub fn sin<L: Lane>(x: L) -> L {
    let (a, sign) = split_sign(x);
    flip(sin_after_quarter_turns(a, 0), sign)
}

/// The cosine of `x` radians.
///
/// It is computed as the sine of |x| + π/2, by adding 1 to the n of [`sin`].
///
/// Accuracy is promised for |x| up to 2¹⁷. Max error: 0.80 ulp there, and 1.05 ulp up to 2²⁰,
/// where the argument saturates: for a larger finite x the result is cos(2²⁰). cos(±0) = 1,
/// cos(±∞) = cos(NaN) = NaN; cos(-x) is cos(x) and |cos(x)| is at most 1.
pub fn cos<L: Lane>(x: L) -> L {
    let (a, _) = split_sign(x);
    sin_after_quarter_turns(a, 1)
}
