//! Element types: one table row each.

use std::fmt;

/// What a tensor's elements are stored as.
///
/// `F32` is the only type that arithmetic happens in; the narrower floats and the block formats are
/// storage, widened exactly by `cast` and `dequant`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum DType {
    /// IEEE binary32.
    F32,
    /// The upper half of a binary32.
    BF16,
    /// IEEE binary16.
    F16,
    /// Two's complement, 32 bits: tokens, positions, indices.
    I32,
    /// One byte, 0 or 1.
    Bool,
    /// GGUF's `q8_0`: blocks of 32 along the last axis, one f16 scale `d`, then 32 signed bytes; x = d * q.
    Q8_0,
    /// GGUF's `q4_0`: blocks of 32 along the last axis, one f16 scale `d`, then 16 bytes, low nibbles
    /// elements 0 to 15 and high nibbles 16 to 31; x = d * (q - 8).
    Q4_0,
}

/// A dtype's row in the table.
struct Row {
    dtype: DType,
    name: &'static str,
    /// Elements in a storage unit; a row's last unit is padded with zeros, and padding is no element.
    block: usize,
    /// Bytes of a storage unit.
    bytes: usize,
}

const TABLE: [Row; 7] = [
    row(DType::F32, "f32", 1, 4),
    row(DType::BF16, "bf16", 1, 2),
    row(DType::F16, "f16", 1, 2),
    row(DType::I32, "i32", 1, 4),
    row(DType::Bool, "bool", 1, 1),
    row(DType::Q8_0, "q8_0", 32, 34),
    row(DType::Q4_0, "q4_0", 32, 18),
];

const fn row(dtype: DType, name: &'static str, block: usize, bytes: usize) -> Row {
    Row {
        dtype,
        name,
        block,
        bytes,
    }
}

impl DType {
    /// Every dtype, in the table's order.
    pub fn all() -> impl Iterator<Item = DType> {
        TABLE.iter().map(|r| r.dtype)
    }

    /// The dtype of that name in the text form, if there is one.
    pub fn from_name(name: &str) -> Option<DType> {
        TABLE.iter().find(|r| r.name == name).map(|r| r.dtype)
    }

    fn row(self) -> &'static Row {
        &TABLE[self as usize]
    }

    /// The name in the text form.
    pub fn name(self) -> &'static str {
        self.row().name
    }

    /// Elements in a storage unit: 1, or 32 for the block formats.
    pub fn block(self) -> usize {
        self.row().block
    }

    /// Bytes of a storage unit.
    pub fn block_bytes(self) -> usize {
        self.row().bytes
    }

    /// Whether elements come in blocks along the last axis.
    pub fn is_block(self) -> bool {
        self.row().block > 1
    }

    /// Whether this is f32, bf16 or f16.
    pub fn is_float(self) -> bool {
        matches!(self, DType::F32 | DType::BF16 | DType::F16)
    }

    /// Bytes that a row of `n` elements takes, its last block padded.
    pub fn row_bytes(self, n: usize) -> usize {
        n.div_ceil(self.block()) * self.block_bytes()
    }

    /// Bytes that a tensor of these dims takes; `None` when that overflows.
    pub fn bytes(self, dims: &[usize]) -> Option<usize> {
        let (last, outer) = dims.split_last().unwrap_or((&1, &[]));
        let row = last
            .div_ceil(self.block())
            .checked_mul(self.block_bytes())?;
        outer.iter().try_fold(row, |n, d| n.checked_mul(*d))
    }
}

impl fmt::Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_of_the_table_sits_at_its_dtypes_index() {
        for (i, r) in TABLE.iter().enumerate() {
            assert_eq!(r.dtype as usize, i);
            assert_eq!(DType::from_name(r.name), Some(r.dtype));
        }
    }

    #[test]
    fn the_last_block_of_a_row_is_padded() {
        assert_eq!(DType::Q8_0.row_bytes(33), 68);
        assert_eq!(DType::Q4_0.bytes(&[3, 40]), Some(3 * 36));
        assert_eq!(DType::BF16.bytes(&[]), Some(2));
        assert_eq!(DType::F32.bytes(&[usize::MAX, 2]), None);
    }
}
