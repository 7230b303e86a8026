//! Files whose bytes are changed at random: refused in one line, or read in full.

use std::fs;

use lapidary_models::{Checkpoint, SafeTensors};
use proptest::prelude::*;

use crate::folder::{Folder, INDEX, SHARDS, header_length};

/// A change of a file; places count from its begin, modulo the length of the part that is spoilt.
#[derive(Clone, Debug)]
enum Change {
    Flip {
        place: usize,
        bits: u8,
    },
    Put {
        place: usize,
        byte: u8,
    },
    /// Another digit for one that is there, so that the text still parses.
    Digit {
        place: usize,
        digit: u8,
    },
    Cut {
        place: usize,
        length: usize,
    },
    Truncate {
        place: usize,
    },
}

fn change() -> impl Strategy<Value = Change> {
    let place = 0..1usize << 16;
    // What a header is made of, so that much of what is put there still parses.
    let json = prop::sample::select(b"0123456789-,:{}[]\"BF6e. ".to_vec());
    prop_oneof![
        4 => (place.clone(), 1..=u8::MAX).prop_map(|(place, bits)| Change::Flip { place, bits }),
        4 => (place.clone(), json).prop_map(|(place, byte)| Change::Put { place, byte }),
        6 => (place.clone(), b'0'..=b'9').prop_map(|(place, digit)| Change::Digit { place, digit }),
        2 => (place.clone(), 1..40usize).prop_map(|(place, length)| Change::Cut { place, length }),
        1 => place.prop_map(|place| Change::Truncate { place }),
    ]
}

/// Spoils the first `part` bytes; truncation may be anywhere.
fn spoil(bytes: &mut Vec<u8>, mut part: usize, changes: &[Change]) {
    for change in changes {
        if part == 0 {
            return;
        }
        match *change {
            Change::Flip { place, bits } => bytes[place % part] ^= bits,
            Change::Put { place, byte } => bytes[place % part] = byte,
            Change::Digit { place, digit } => {
                let digits = (0..part).filter(|at| bytes[*at].is_ascii_digit());
                let digits: Vec<usize> = digits.collect();
                if !digits.is_empty() {
                    bytes[digits[place % digits.len()]] = digit;
                }
            }
            Change::Cut { place, length } => {
                let start = place % part;
                let end = part.min(start + length);
                bytes.drain(start..end);
                part -= end - start;
            }
            Change::Truncate { place } => {
                bytes.truncate(place % (bytes.len() + 1));
                part = part.min(bytes.len());
            }
        }
    }
}

/// Opens the checkpoint; reads all of it, or checks that the refusal is one line that names a file.
fn open_and_read(folder: &Folder) -> Result<(), TestCaseError> {
    match Checkpoint::open(folder.dir()) {
        Ok(checkpoint) => {
            for ((name, weight), (expected, shape)) in
                checkpoint.tensors().zip(checkpoint.config().tensors())
            {
                prop_assert_eq!(&name, &expected);
                prop_assert_eq!(weight.shape, shape);
                prop_assert_eq!(Some(weight.bytes.len()), weight.dtype.bytes(weight.shape));
                let sum: u64 = weight.bytes.iter().map(|byte| u64::from(*byte)).sum();
                prop_assert!(sum > 0);
            }
        }
        Err(error) => {
            let message = error.to_string();
            prop_assert_eq!(message.lines().count(), 1);
            prop_assert!(message.starts_with(&folder.dir().display().to_string()));
        }
    }
    Ok(())
}

proptest! {
    #[test]
    fn a_header_spoilt_at_random_is_refused_or_read(
        changes in prop::collection::vec(change(), 1..4),
    ) {
        let folder = Folder::single();
        folder.bytes("model.safetensors", |bytes| {
            let header = 8 + header_length(bytes);
            spoil(bytes, header, &changes);
        });
        open_and_read(&folder)?;
    }

    #[test]
    fn a_shards_header_spoilt_at_random_is_refused_or_read(
        changes in prop::collection::vec(change(), 1..4),
        shard in prop::sample::select(SHARDS.to_vec()),
    ) {
        let folder = Folder::sharded();
        folder.bytes(shard, |bytes| {
            let header = 8 + header_length(bytes);
            spoil(bytes, header, &changes);
        });
        open_and_read(&folder)?;
    }

    #[test]
    fn json_spoilt_at_random_is_refused_or_read(
        changes in prop::collection::vec(change(), 1..4),
        file in prop::sample::select(vec![INDEX, "config.json", "generation_config.json"]),
    ) {
        let folder = Folder::sharded();
        folder.bytes(file, |bytes| {
            let length = bytes.len();
            spoil(bytes, length, &changes);
        });
        open_and_read(&folder)?;
    }

    #[test]
    fn what_is_read_is_what_the_safetensors_crate_reads(
        changes in prop::collection::vec(change(), 1..3),
    ) {
        let folder = Folder::single();
        let path = folder.path("model.safetensors");
        folder.bytes("model.safetensors", |bytes| {
            let header = 8 + header_length(bytes);
            spoil(bytes, header, &changes);
        });
        if let Ok(file) = SafeTensors::open(&path) {
            let bytes = fs::read(&path).unwrap();
            let reference = safetensors::SafeTensors::deserialize(&bytes).unwrap();
            prop_assert_eq!(file.names().count(), reference.len());
            for name in file.names() {
                let (ours, theirs) = (file.tensor(name).unwrap(), reference.tensor(name).unwrap());
                prop_assert_eq!(ours.dtype.name(), format!("{:?}", theirs.dtype()));
                prop_assert_eq!(ours.shape, theirs.shape());
                prop_assert_eq!(ours.bytes, theirs.data());
            }
        }
    }
}
