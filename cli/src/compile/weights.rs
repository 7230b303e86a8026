//! A checkpoint's weights, streamed into a compiled program's weight data.

use std::path::Path;

use half::{bf16, f16};
use ir::DType;
use models::Checkpoint;
use runtime::bundle::{Hash, WeightWriter};
use xxhash_rust::xxh3::Xxh3;

use crate::error::Error;
use crate::progress::Progress;

/// Bytes of the checkpoint that are read at once: a whole number of elements of every dtype.
const PIECE: usize = 4 << 20;

/// A checkpoint's weights, as a program has them.
#[derive(Clone, Copy)]
pub struct PlacedWeights<'s> {
    /// The checkpoint.
    pub checkpoint: &'s Checkpoint,
    /// What they are stored as, if not as in the checkpoint.
    pub format: Option<DType>,
    /// Where each of them lies in the weight data.
    pub places: &'s [runtime::Weight],
}

impl PlacedWeights<'_> {
    /// What a weight is stored as.
    pub fn dtype_of(&self, name: &str) -> DType {
        let stored = || self.checkpoint.tensor(name).map_or(DType::F32, |w| w.dtype);
        self.format.unwrap_or_else(stored)
    }
}

/// Writes every weight where the program has it, in its format, and gives the checkpoint's hash.
///
/// The checkpoint's pages are given back as they have been read.
///
/// # Errors
/// A file that cannot be written, or the checkpoint's `config.json` not read.
pub fn stream(
    weights: &PlacedWeights<'_>,
    out: &mut WeightWriter<'_>,
    progress: &Progress,
) -> Result<Hash, Error> {
    let checkpoint = weights.checkpoint;
    let phase = progress.bytes("weights", checkpoint.weight_bytes() as u64);
    let mut hashes: Vec<(String, u64)> = Vec::new();
    let mut converted = Vec::new();
    let mut places: Vec<&runtime::Weight> = weights.places.iter().collect();
    places.sort_by_key(|place| place.offset);
    for place in places {
        let name = &place.name;
        let weight = checkpoint.tensor(name);
        let weight = weight.expect("a program's weights are those of its checkpoint");
        let to = weights.dtype_of(name);
        let mut hash = Xxh3::new();
        out.go_to(place.offset)?;
        for piece in weight.bytes.chunks(PIECE) {
            hash.update(piece);
            if to == weight.dtype {
                out.write(piece)?;
            } else {
                converted.clear();
                convert(piece, weight.dtype, to, &mut converted);
                out.write(&converted)?;
            }
            checkpoint.release(piece);
            phase.more(piece.len() as u64);
        }
        hashes.push((name.clone(), hash.digest()));
    }
    checkpoint_hash(checkpoint, hashes)
}

/// The hash of a checkpoint: of its `config.json`, and of each weight's name, dtype, shape and bytes, in the order of
/// the configuration.
fn checkpoint_hash(checkpoint: &Checkpoint, hashes: Vec<(String, u64)>) -> Result<Hash, Error> {
    let mut all = Xxh3::new();
    all.update(&read(&checkpoint.dir().join("config.json"))?);
    for (name, weight) in checkpoint.tensors() {
        let known = hashes.iter().find(|(known, _)| *known == name);
        let hash = known.map_or_else(|| Hash::of(weight.bytes).0, |(_, hash)| *hash);
        let line = format!("{name} {} {:?} {hash}\n", weight.dtype, weight.shape);
        all.update(line.as_bytes());
    }
    Ok(Hash(all.digest()))
}

/// A file's bytes.
pub fn read(path: &Path) -> Result<Vec<u8>, Error> {
    std::fs::read(path).map_err(|source| Error::File {
        path: path.into(),
        source,
    })
}

/// Appends elements in another format: exactly where it is wider, else rounded to the nearest, ties to even.
fn convert(bytes: &[u8], from: DType, to: DType, out: &mut Vec<u8>) {
    let pairs = || bytes.as_chunks::<2>().0.iter().copied();
    let fours = || bytes.as_chunks::<4>().0.iter().copied();
    match (from, to) {
        (DType::BF16, DType::F32) => {
            out.extend(pairs().flat_map(|x| bf16::from_le_bytes(x).to_f32().to_le_bytes()));
        }
        (DType::F16, DType::F32) => {
            out.extend(pairs().flat_map(|x| f16::from_le_bytes(x).to_f32().to_le_bytes()));
        }
        (DType::F32, DType::BF16) => {
            let narrow = |x| bf16::from_f32(f32::from_le_bytes(x));
            out.extend(fours().flat_map(|x| narrow(x).to_le_bytes()));
        }
        (DType::F16, DType::BF16) => {
            let narrow = |x| bf16::from_f32(f16::from_le_bytes(x).to_f32());
            out.extend(pairs().flat_map(|x| narrow(x).to_le_bytes()));
        }
        _ => panic!("weights are bf16, f16 or f32, and stored as f32 or bf16, not {from} as {to}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn converted(bytes: &[u8], from: DType, to: DType) -> Vec<u8> {
        let mut out = Vec::new();
        convert(bytes, from, to, &mut out);
        out
    }

    #[test]
    fn widening_is_exact_and_narrowing_rounds_to_nearest_even() {
        let f32s = |x: &[f32]| x.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<u8>>();
        let bf16s = |x: &[u16]| x.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<u8>>();
        let exact = [1.0, -0.0, 3.5, f32::from_bits(0x0001_0000), f32::INFINITY];
        let upper = [0x3F80, 0x8000, 0x4060, 0x0001, 0x7F80];
        assert_eq!(
            converted(&bf16s(&upper), DType::BF16, DType::F32),
            f32s(&exact)
        );
        assert_eq!(
            converted(&f32s(&exact), DType::F32, DType::BF16),
            bf16s(&upper)
        );
        // Halfway between two: to the even one; a little more or less: to the nearer.
        let between = [0x3F80_8000, 0x3F81_8000, 0x3F80_8001, 0x3F80_7FFF].map(f32::from_bits);
        let rounded = [0x3F80, 0x3F82, 0x3F81, 0x3F80];
        assert_eq!(
            converted(&f32s(&between), DType::F32, DType::BF16),
            bf16s(&rounded)
        );
        let halves = [f16::from_f32(1.0), f16::from_f32(65504.0)];
        let halves: Vec<u8> = halves.iter().flat_map(|x| x.to_le_bytes()).collect();
        assert_eq!(
            converted(&halves, DType::F16, DType::F32),
            f32s(&[1.0, 65504.0])
        );
        assert_eq!(
            converted(&halves, DType::F16, DType::BF16),
            bf16s(&[0x3F80, 0x4780])
        );
    }
}
