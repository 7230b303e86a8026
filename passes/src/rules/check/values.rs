//! The values that the tensors and the constants of an instance have.

use ir::interp::{Data, Tensor};
use ir::{DType, Literal};

use super::choices::Choices;
use crate::random::Rng;

/// What a tensor's elements are like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mood {
    /// Of moderate size, and now and then a zero of either sign.
    Tame,
    /// Small whole numbers and zeros of either sign.
    Plain,
    /// Of moderate size, and -inf here and there, as a mask makes it.
    Masked,
    /// From 1e-4 to 1e4, integers of any size, zeros of either sign, values that occur repeatedly, and at times
    /// masks.
    Wide,
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

/// Makes the tensors of an instance.
pub(super) struct Values<'r> {
    rng: &'r mut Rng,
    mood: Mood,
    /// Whether there is -inf here and there.
    masks: bool,
    /// What wide values are drawn from as well, so that elements and operands tie.
    ties: Vec<f32>,
}

impl Values<'_> {
    /// Those of one mood.
    pub fn new(rng: &mut Rng, mood: Mood) -> Values<'_> {
        // Now and then all are of one size.
        let narrow = rng.once_in(3);
        let mut ties = vec![wide(rng)];
        for _ in 0..3 {
            let sign = rng.pick(&[1.0, -1.0]);
            ties.push(match narrow {
                true => ties[0] * rng.unit(),
                false => sign * wide(rng),
            });
        }
        let masks = match mood {
            Mood::Masked => true,
            Mood::Wide => rng.once_in(3),
            Mood::Tame | Mood::Plain | Mood::Wild => false,
        };
        Values {
            rng,
            mood,
            masks,
            ties,
        }
    }

    fn float(&mut self) -> f32 {
        let rng = &mut *self.rng;
        if self.masks && rng.once_in(4) {
            return f32::NEG_INFINITY;
        }
        match self.mood {
            Mood::Tame | Mood::Masked if rng.once_in(16) => rng.pick(&[0.0, -0.0]),
            Mood::Tame | Mood::Masked => {
                let exponent = rng.below(9) as i32 - 4;
                rng.unit() * 2f32.powi(exponent)
            }
            Mood::Plain => rng.pick(&[0.0, -0.0, 1.0, -1.0, 2.0, -3.0, 0.5]),
            Mood::Wild if rng.once_in(3) => rng.pick(&WILD),
            Mood::Wild if rng.once_in(2) => f32::from_bits(rng.bits() as u32),
            Mood::Wild => rng.unit() * 4.0,
            Mood::Wide if rng.once_in(16) => rng.pick(&[0.0, -0.0]),
            Mood::Wide if rng.once_in(2) => rng.pick(&self.ties),
            Mood::Wide => wide(rng),
        }
    }

    fn int(&mut self) -> i32 {
        let rng = &mut *self.rng;
        match self.mood {
            Mood::Tame | Mood::Plain | Mood::Masked => small(rng.below(13)),
            Mood::Wide | Mood::Wild => match rng.below(4) {
                0 => rng.pick(&[i32::MIN, i32::MAX, i32::MAX - 1, -1, 0, 1 << 16, 1 << 24]),
                1 => rng.bits() as i32,
                2 => self.ties[rng.below(self.ties.len())] as i32,
                _ => small(rng.below(13)),
            },
        }
    }

    /// A tensor; an index lies below `bound`.
    pub fn tensor(
        &mut self,
        dtype: DType,
        shape: &[usize],
        bound: Option<usize>,
    ) -> Tensor<'static, f32> {
        let n: usize = shape.iter().product();
        let shape = shape.to_vec();
        match dtype {
            DType::F32 => Tensor::real(shape, (0..n).map(|_| self.float()).collect()),
            DType::I32 => {
                let int = |values: &mut Self| match bound {
                    Some(bound) => values.rng.below(bound) as i32,
                    None => values.int(),
                };
                Tensor::int(shape, (0..n).map(|_| int(self)).collect())
            }
            DType::Bool => Tensor::bool(shape, (0..n).map(|_| self.rng.once_in(2)).collect()),
            DType::BF16 | DType::F16 => {
                let reals: Vec<f32> = (0..n).map(|_| self.float()).collect();
                Tensor::narrowed(dtype, shape, reals.into())
            }
            DType::Q8_0 | DType::Q4_0 => {
                let reals: Vec<f32> = (0..n).map(|_| self.rng.unit() * 16.0).collect();
                Tensor::narrowed(dtype, shape, reals.into())
            }
        }
    }
}

/// From 1e-4 to 1e4 in size, of either sign.
fn wide(rng: &mut Rng) -> f32 {
    let sign = rng.pick(&[1.0, -1.0]);
    sign * 10f32.powf(rng.unit() * 4.0)
}

/// From -4 to 8, as a draw below 13 says.
fn small(drawn: usize) -> i32 {
    drawn as i32 - 4
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

const INTEGERS: [i32; 14] = [
    1,
    0,
    -1,
    2,
    3,
    -4,
    7,
    8,
    1 << 16,
    1 << 24,
    (1 << 24) + 1,
    1 << 30,
    i32::MAX,
    i32::MIN,
];

/// Values of a constant: one, or as many as its elements.
pub(super) fn literals(choices: &mut Choices, dtype: DType, count: usize) -> Vec<Literal> {
    let n = if choices.once_in(3) { count } else { 1 };
    let value = |choices: &mut Choices| match dtype {
        DType::Bool => f64::from(u8::from(choices.once_in(2))),
        DType::I32 => f64::from(choices.pick(&INTEGERS)),
        _ => choices.pick(&CONSTANTS),
    };
    (0..n).map(|_| Literal(value(choices))).collect()
}

/// The index of an element of this shape.
pub(super) fn index(shape: &[usize], element: usize) -> Vec<usize> {
    let mut index = vec![0; shape.len()];
    let mut rest = element;
    for (place, length) in index.iter_mut().zip(shape).rev() {
        *place = rest % length.max(&1);
        rest /= length.max(&1);
    }
    index
}

/// The tensor with another value of an element, which its dtype has.
pub(super) fn with_element(
    x: &Tensor<'static, f32>,
    element: usize,
    value: f64,
) -> Tensor<'static, f32> {
    let mut changed = x.clone();
    match &mut changed.data {
        Data::Real(reals) => reals[element] = value as f32,
        Data::Int(ints) => ints[element] = value as i32,
        Data::Bool(bools) => bools[element] = value != 0.0,
        Data::Stored(_) => {}
    }
    changed
}

/// The same tensor with its f32 elements as another run's numbers, and its integers as these.
pub(super) fn converted<F>(
    x: &Tensor<'static, f32>,
    real: impl FnMut(&f32) -> F,
    int: impl FnMut(&i32) -> i32,
) -> Tensor<'static, F> {
    let data = match &x.data {
        Data::Real(x) => Data::Real(x.iter().map(real).collect()),
        Data::Int(x) => Data::Int(x.iter().map(int).collect()),
        Data::Bool(x) => Data::Bool(x.clone()),
        Data::Stored(x) => Data::Stored(x.clone()),
    };
    Tensor {
        dtype: x.dtype,
        shape: x.shape.clone(),
        data,
    }
}
