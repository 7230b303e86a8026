//! Tensors of known shape.

use std::borrow::Cow;

use half::{bf16, f16};

use super::{Real, block};
use crate::dtype::DType;

/// A tensor, row-major.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor<'w, F> {
    /// What elements are stored as.
    pub dtype: DType,
    /// The length of each axis.
    pub shape: Vec<usize>,
    /// The elements.
    pub data: Data<'w, F>,
}

/// A tensor's elements.
#[derive(Clone, Debug, PartialEq)]
pub enum Data<'w, F> {
    /// f32, at the precision of the run.
    Real(Vec<F>),
    /// i32.
    Int(Vec<i32>),
    /// bool.
    Bool(Vec<bool>),
    /// Any dtype as it is stored, little-endian: a weight, or a narrow float or block format.
    Stored(Cow<'w, [u8]>),
}

impl<'w, F: Real> Tensor<'w, F> {
    /// f32 elements.
    pub fn real(shape: Vec<usize>, elements: Vec<F>) -> Tensor<'w, F> {
        Tensor {
            dtype: DType::F32,
            shape,
            data: Data::Real(elements),
        }
    }

    /// i32 elements.
    pub fn int(shape: Vec<usize>, elements: Vec<i32>) -> Tensor<'w, F> {
        Tensor {
            dtype: DType::I32,
            shape,
            data: Data::Int(elements),
        }
    }

    /// bool elements.
    pub fn bool(shape: Vec<usize>, elements: Vec<bool>) -> Tensor<'w, F> {
        Tensor {
            dtype: DType::Bool,
            shape,
            data: Data::Bool(elements),
        }
    }

    /// Elements as they are stored.
    pub fn stored(
        dtype: DType,
        shape: Vec<usize>,
        bytes: impl Into<Cow<'w, [u8]>>,
    ) -> Tensor<'w, F> {
        Tensor {
            dtype,
            shape,
            data: Data::Stored(bytes.into()),
        }
    }

    /// All zeros.
    pub fn zeros(dtype: DType, shape: &[usize]) -> Tensor<'w, F> {
        let n: usize = shape.iter().product();
        let data = match dtype {
            DType::F32 => Data::Real(vec![F::from_f64(0.0); n]),
            DType::I32 => Data::Int(vec![0; n]),
            DType::Bool => Data::Bool(vec![false; n]),
            DType::BF16 | DType::F16 | DType::Q8_0 | DType::Q4_0 => {
                let bytes = dtype.bytes(shape);
                Data::Stored(
                    vec![0; bytes.expect("a verified tensor's bytes can be counted")].into(),
                )
            }
        };
        Tensor {
            dtype,
            shape: shape.to_vec(),
            data,
        }
    }

    /// The type as a message shows it.
    pub fn type_text(&self) -> String {
        let flaw = if self.is_whole() {
            ""
        } else {
            " with other elements"
        };
        format!("{}{:?}{flaw}", self.dtype, self.shape)
    }

    /// Whether there are as many elements as the shape says, of a kind that holds the dtype.
    pub(super) fn is_whole(&self) -> bool {
        let sizes = self.shape.iter();
        let n = sizes.copied().try_fold(1, usize::checked_mul);
        match (&self.data, self.dtype) {
            (Data::Real(x), DType::F32) => Some(x.len()) == n,
            (Data::Int(x), DType::I32) => Some(x.len()) == n,
            (Data::Bool(x), DType::Bool) => Some(x.len()) == n,
            (Data::Stored(x), dtype) => dtype.bytes(&self.shape) == Some(x.len()),
            _ => false,
        }
    }

    /// Elements of a float or block format, widened exactly; `None` for i32 and bool.
    pub fn to_real(&self) -> Option<Cow<'_, [F]>> {
        let bytes = match &self.data {
            Data::Real(x) => return Some(Cow::Borrowed(x)),
            Data::Stored(bytes) => bytes,
            Data::Int(_) | Data::Bool(_) => return None,
        };
        let (halves, _) = bytes.as_chunks::<2>();
        let (words, _) = bytes.as_chunks::<4>();
        let real = |x: f32| F::from_f64(x.into());
        Some(match self.dtype {
            DType::F32 => words.iter().map(|b| real(f32::from_le_bytes(*b))).collect(),
            DType::BF16 => halves
                .iter()
                .map(|b| real(bf16::from_le_bytes(*b).to_f32()))
                .collect(),
            DType::F16 => halves
                .iter()
                .map(|b| real(f16::from_le_bytes(*b).to_f32()))
                .collect(),
            DType::Q8_0 | DType::Q4_0 => {
                let row = self.shape.last().copied().unwrap_or(1);
                let rows = bytes.chunks_exact(self.dtype.row_bytes(row).max(1));
                rows.flat_map(|r| block::dequantize(self.dtype, r, row))
                    .map(real)
                    .collect()
            }
            DType::I32 | DType::Bool => return None,
        })
    }

    /// i32 elements; `None` for other dtypes.
    pub fn to_int(&self) -> Option<Cow<'_, [i32]>> {
        match (&self.data, self.dtype) {
            (Data::Int(x), _) => Some(Cow::Borrowed(x)),
            (Data::Stored(bytes), DType::I32) => {
                let (words, _) = bytes.as_chunks::<4>();
                Some(words.iter().map(|b| i32::from_le_bytes(*b)).collect())
            }
            _ => None,
        }
    }

    /// bool elements; `None` for other dtypes.
    pub fn to_bool(&self) -> Option<Cow<'_, [bool]>> {
        match (&self.data, self.dtype) {
            (Data::Bool(x), _) => Some(Cow::Borrowed(x)),
            (Data::Stored(bytes), DType::Bool) => Some(bytes.iter().map(|b| *b != 0).collect()),
            _ => None,
        }
    }

    /// The elements as they are stored, little-endian.
    pub fn to_bytes(&self) -> Cow<'_, [u8]> {
        match &self.data {
            Data::Real(x) => x.iter().flat_map(|x| x.to_f32().to_le_bytes()).collect(),
            Data::Int(x) => x.iter().flat_map(|x| x.to_le_bytes()).collect(),
            Data::Bool(x) => x.iter().map(|x| u8::from(*x)).collect(),
            Data::Stored(x) => Cow::Borrowed(x),
        }
    }

    /// f32 elements in a storage dtype, rounded to nearest even.
    pub fn narrowed(dtype: DType, shape: Vec<usize>, x: Cow<[F]>) -> Tensor<'w, F> {
        let bytes: Vec<u8> = match dtype {
            DType::F32 => return Tensor::real(shape, x.into_owned()),
            DType::BF16 => x
                .iter()
                .flat_map(|x| bf16::from_f32(x.to_f32()).to_le_bytes())
                .collect(),
            DType::F16 => x
                .iter()
                .flat_map(|x| f16::from_f32(x.to_f32()).to_le_bytes())
                .collect(),
            DType::Q8_0 | DType::Q4_0 => {
                let row = shape.last().copied().unwrap_or(1).max(1);
                x.chunks(row)
                    .flat_map(|r| block::quantize(dtype, r))
                    .collect()
            }
            DType::I32 | DType::Bool => panic!("no rule narrows f32 to {dtype}"),
        };
        Tensor::stored(dtype, shape, bytes)
    }

    /// The shape in units that views move: elements, or a block format's whole rows.
    pub(super) fn units(&self) -> &[usize] {
        match self.shape.split_last() {
            Some((_, outer)) if self.dtype.is_block() => outer,
            _ => &self.shape,
        }
    }

    /// Bytes of a unit.
    fn unit_bytes(&self) -> usize {
        match self.shape.last() {
            Some(row) if self.dtype.is_block() => self.dtype.row_bytes(*row),
            _ => self.dtype.block_bytes(),
        }
    }

    /// The tensor of this shape whose units are those at the offsets.
    pub(super) fn pick(
        &self,
        shape: Vec<usize>,
        offsets: impl Iterator<Item = usize>,
    ) -> Tensor<'w, F> {
        let unit = self.unit_bytes();
        let data = match &self.data {
            Data::Real(x) => Data::Real(offsets.map(|i| x[i]).collect()),
            Data::Int(x) => Data::Int(offsets.map(|i| x[i]).collect()),
            Data::Bool(x) => Data::Bool(offsets.map(|i| x[i]).collect()),
            Data::Stored(x) => {
                let units = offsets.flat_map(|i| &x[i * unit..][..unit]);
                Data::Stored(units.copied().collect())
            }
        };
        Tensor {
            dtype: self.dtype,
            shape,
            data,
        }
    }

    /// Overwrites `count` units from `at` on with those of `source` from `from` on.
    pub(super) fn overwrite(&mut self, at: usize, source: &Tensor<F>, from: usize, count: usize) {
        let unit = self.unit_bytes();
        match (&mut self.data, &source.data) {
            (Data::Real(x), Data::Real(y)) => {
                x[at..][..count].copy_from_slice(&y[from..][..count]);
            }
            (Data::Int(x), Data::Int(y)) => x[at..][..count].copy_from_slice(&y[from..][..count]),
            (Data::Bool(x), Data::Bool(y)) => {
                x[at..][..count].copy_from_slice(&y[from..][..count]);
            }
            (Data::Stored(x), Data::Stored(y)) => {
                let bytes = &y[from * unit..][..count * unit];
                x.to_mut()[at * unit..][..count * unit].copy_from_slice(bytes);
            }
            _ => panic!("a state and its rows are held alike, both {}", self.dtype),
        }
    }
}
