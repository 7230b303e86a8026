//! The block formats q8_0 and q4_0, in GGUF's layouts and with its reference quantizer's rounding.

use half::f16;

use crate::dtype::DType;

/// Weights in a block.
const BLOCK: usize = 32;

/// The `n` elements of a row: scale times quant, exact in f32.
pub(super) fn dequantize(dtype: DType, row: &[u8], n: usize) -> Vec<f32> {
    let mut elements = Vec::with_capacity(n.next_multiple_of(BLOCK));
    for block in row.chunks_exact(dtype.block_bytes()) {
        let scale = f16::from_le_bytes([block[0], block[1]]).to_f32();
        let quants = &block[2..];
        let mut push = |q: i8| elements.push(scale * f32::from(q));
        match dtype {
            DType::Q8_0 => quants.iter().for_each(|q| push(*q as i8)),
            DType::Q4_0 => {
                quants.iter().for_each(|q| push((q & 15) as i8 - 8));
                quants.iter().for_each(|q| push((q >> 4) as i8 - 8));
            }
            other => panic!("{other} is not a block format"),
        }
    }
    elements.truncate(n);
    elements
}

/// A row's blocks, the last one padded with zeros.
///
/// q8_0: d = max|x| / 127, q = round(x / d), half away from zero. q4_0: d = m / -8 for the m of largest
/// magnitude (the first of several), q = min(15, trunc(x / d + 8.5)). The scale is stored as f16, the
/// quants are found with the f32 one; both divide by multiplying with 1 / d.
pub(super) fn quantize<F: super::Real>(dtype: DType, row: &[F]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(dtype.row_bytes(row.len()));
    for chunk in row.chunks(BLOCK) {
        let mut x = [0f32; BLOCK];
        for (x, real) in x.iter_mut().zip(chunk) {
            *x = real.to_f32();
        }
        let extreme = x
            .iter()
            .fold(0f32, |m, x| if x.abs() > m.abs() { *x } else { m });
        let d = match dtype {
            DType::Q8_0 => extreme.abs() / 127.0,
            DType::Q4_0 => extreme / -8.0,
            other => panic!("{other} is not a block format"),
        };
        let inverse = if d == 0.0 { 0.0 } else { 1.0 / d };
        bytes.extend(f16::from_f32(d).to_le_bytes());
        if dtype == DType::Q8_0 {
            bytes.extend(x.map(|x| (x * inverse).round() as i8 as u8));
        } else {
            let quant = |x: f32| ((x * inverse + 8.5) as u8).min(15);
            bytes.extend((0..BLOCK / 2).map(|i| quant(x[i]) | quant(x[i + BLOCK / 2]) << 4));
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn q8_0_keeps_the_extreme_and_rounds_the_rest_to_127ths_of_it() {
        let row: Vec<f32> = (0..33).map(|i| i as f32 - 16.0).collect();
        let bytes = quantize(DType::Q8_0, &row);
        assert_eq!(bytes.len(), 68);
        let back = dequantize(DType::Q8_0, &bytes, 33);
        assert_eq!(back.len(), 33);
        for (x, y) in row.iter().zip(&back) {
            assert!((x - y).abs() <= 16.0 / 127.0 / 2.0 + 0.01, "{x} {y}");
        }
        assert_eq!(bytes[37..], [0; 31], "padding is 0");
    }

    #[test]
    fn q4_0_puts_low_nibbles_before_high_ones() {
        let mut row = [0f32; 32];
        row[0] = -8.0;
        row[16] = 7.0;
        let bytes = quantize(DType::Q4_0, &row);
        assert_eq!(bytes[..3], [0x00, 0x3c, 0xf0]);
        assert_eq!(bytes[3..], [0x88; 15]);
        assert_eq!(dequantize(DType::Q4_0, &bytes, 32), row);
    }

    #[test]
    fn a_block_of_zeros_stays_zero() {
        for dtype in [DType::Q8_0, DType::Q4_0] {
            let bytes = quantize(dtype, &[0f32; 5]);
            assert_eq!(dequantize(dtype, &bytes, 5), [0.0; 5]);
        }
    }
}
