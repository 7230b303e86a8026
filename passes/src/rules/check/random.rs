//! Random numbers and tensors for the tests of rules.

use ir::interp::{Data, Real, Tensor};
use ir::{DType, Literal};

use crate::random::Rng;

/// How wild a tensor's elements are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mood {
    /// Of moderate size, and now and then a zero of either sign.
    Tame,
    /// Small whole numbers and zeros of either sign.
    Plain,
    /// Also subnormals, infinities, NaN, and the largest.
    Wild,
}

const WILD: [f32; 14] = [
    0.0,
    -0.0,
    1.0,
    -1.0,
    f32::MIN_POSITIVE,
    -f32::MIN_POSITIVE,
    1e-45,
    -3e-42,
    f32::MAX,
    f32::MIN,
    f32::INFINITY,
    f32::NEG_INFINITY,
    f32::NAN,
    16_777_216.0,
];

fn float(rng: &mut Rng, mood: Mood) -> f32 {
    match mood {
        Mood::Tame if rng.once_in(16) => rng.pick(&[0.0, -0.0]),
        Mood::Tame => {
            let exponent = rng.below(9) as i32 - 4;
            rng.unit() * 2f32.powi(exponent)
        }
        Mood::Plain => rng.pick(&[0.0, -0.0, 1.0, -1.0, 2.0, -3.0, 0.5]),
        Mood::Wild if rng.once_in(3) => rng.pick(&WILD),
        Mood::Wild if rng.once_in(2) => f32::from_bits(rng.bits() as u32),
        Mood::Wild => rng.unit() * 4.0,
    }
}

fn int(rng: &mut Rng, mood: Mood) -> i32 {
    match mood {
        Mood::Wild if rng.once_in(2) => {
            rng.pick(&[i32::MIN, i32::MAX, -1, 0, rng.clone().bits() as i32])
        }
        _ => rng.below(13) as i32 - 4,
    }
}

/// A tensor; an index lies below `bound`.
pub(super) fn tensor<'w, F: Real>(
    rng: &mut Rng,
    dtype: DType,
    shape: &[usize],
    mood: Mood,
    bound: Option<usize>,
) -> Tensor<'w, F> {
    let n: usize = shape.iter().product();
    let data = match dtype {
        DType::F32 => Data::Real(
            (0..n)
                .map(|_| F::from_f64(float(rng, mood).into()))
                .collect(),
        ),
        DType::I32 => Data::Int(
            (0..n)
                .map(|_| match bound {
                    Some(bound) => rng.below(bound) as i32,
                    None => int(rng, mood),
                })
                .collect(),
        ),
        DType::Bool => Data::Bool((0..n).map(|_| rng.once_in(2)).collect()),
        DType::BF16 | DType::F16 => {
            let reals: Vec<F> = (0..n)
                .map(|_| F::from_f64(float(rng, mood).into()))
                .collect();
            return Tensor::narrowed(dtype, shape.to_vec(), reals.into());
        }
        DType::Q8_0 | DType::Q4_0 => {
            let reals: Vec<F> = (0..n)
                .map(|_| F::from_f64(float(rng, Mood::Tame).into()))
                .collect();
            return Tensor::narrowed(dtype, shape.to_vec(), reals.into());
        }
    };
    Tensor {
        dtype,
        shape: shape.to_vec(),
        data,
    }
}

const CONSTANTS: [f64; 22] = [
    1.0,
    -1.0,
    2.0,
    0.5,
    0.25,
    -4.0,
    1024.0,
    0.0,
    -0.0,
    3.0,
    0.1,
    30.0,
    50.0,
    1e-6,
    1e30,
    1.701_411_834_604_692_3e38,
    1.175_494_350_822_287_5e-38,
    5.877_471_754_111_438e-39,
    1e-40,
    f64::INFINITY,
    f64::NEG_INFINITY,
    f64::NAN,
];

/// Values of a constant: one, or as many as its elements.
pub(super) fn literals(rng: &mut Rng, dtype: DType, count: usize) -> Vec<Literal> {
    let n = if rng.once_in(3) { count } else { 1 };
    let value = |rng: &mut Rng| match dtype {
        DType::Bool => f64::from(u8::from(rng.once_in(2))),
        DType::I32 => f64::from(int(rng, Mood::Plain)),
        _ => rng.pick(&CONSTANTS),
    };
    (0..n).map(|_| Literal(value(rng))).collect()
}
