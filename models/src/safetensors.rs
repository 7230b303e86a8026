//! The safetensors format: eight bytes of header length, a JSON header, the tensors' bytes.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

use ir::DType;
use memmap2::{Mmap, UncheckedAdvice};
use serde_json::Value;

use crate::Error;
use crate::error::{quoted, shown};
use crate::file::{self, MAX_TEXT};
use crate::json::Object;

/// What stands in place of a file that Git LFS has not fetched.
const LFS_POINTER: &[u8] = b"version https://git-lfs";

/// An element type that a file may have: those of weights, goldens, and the values of graphs, little-endian.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StoredDType {
    /// The upper half of a binary32.
    BF16,
    /// IEEE binary16.
    F16,
    /// IEEE binary32.
    F32,
    /// IEEE binary64.
    F64,
    /// Two's complement, 32 bits.
    I32,
    /// Two's complement, 64 bits.
    I64,
    /// Plain bytes.
    U8,
    /// A byte, 0 or 1.
    Bool,
}

impl StoredDType {
    const ALL: [StoredDType; 8] = [
        StoredDType::BF16,
        StoredDType::F16,
        StoredDType::F32,
        StoredDType::F64,
        StoredDType::I32,
        StoredDType::I64,
        StoredDType::U8,
        StoredDType::Bool,
    ];

    /// The name in a header.
    pub fn name(self) -> &'static str {
        match self {
            StoredDType::BF16 => "BF16",
            StoredDType::F16 => "F16",
            StoredDType::F32 => "F32",
            StoredDType::F64 => "F64",
            StoredDType::I32 => "I32",
            StoredDType::I64 => "I64",
            StoredDType::U8 => "U8",
            StoredDType::Bool => "BOOL",
        }
    }

    /// Bytes of an element.
    pub fn bytes(self) -> usize {
        match self {
            StoredDType::U8 | StoredDType::Bool => 1,
            StoredDType::BF16 | StoredDType::F16 => 2,
            StoredDType::F32 | StoredDType::I32 => 4,
            StoredDType::F64 | StoredDType::I64 => 8,
        }
    }

    /// The same type in a graph, for the three that weights may have.
    pub fn weight(self) -> Option<DType> {
        match self {
            StoredDType::BF16 => Some(DType::BF16),
            StoredDType::F16 => Some(DType::F16),
            StoredDType::F32 => Some(DType::F32),
            StoredDType::F64
            | StoredDType::I32
            | StoredDType::I64
            | StoredDType::U8
            | StoredDType::Bool => None,
        }
    }
}

impl fmt::Display for StoredDType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A safetensors file, memory-mapped and checked.
///
/// Every tensor's bytes lie in the file and are as many as its shape and dtype ask for, and the
/// tensors cover the data without gap or overlap. The file must not be cut short while it is open:
/// reading what is gone ends the process.
#[derive(Debug)]
pub struct SafeTensors {
    path: PathBuf,
    map: Mmap,
    tensors: BTreeMap<String, Entry>,
}

#[derive(Debug)]
struct Entry {
    dtype: StoredDType,
    shape: Vec<usize>,
    /// Place of the bytes in the file.
    bytes: Range<usize>,
}

/// A tensor of a file.
#[derive(Clone, Copy, Debug)]
pub struct TensorView<'a> {
    /// Type of an element.
    pub dtype: StoredDType,
    /// Dims, row-major; none for a scalar.
    pub shape: &'a [usize],
    /// The elements, little-endian; not aligned in memory.
    pub bytes: &'a [u8],
}

impl SafeTensors {
    /// Maps a file and checks its header.
    ///
    /// # Errors
    /// Where it cannot be read, is no regular file, or breaks the format.
    pub fn open(path: &Path) -> Result<SafeTensors, Error> {
        let (file, _) = file::open(path, "a safetensors file")?;
        // SAFETY: the mapping is read-only, and a checkpoint's files are not written to while they
        // are in use, as the type's documentation asks.
        let map = unsafe { Mmap::map(&file) }.map_err(|source| Error::io(path, source))?;
        let tensors = parse(path, &map)?;
        let path = path.to_path_buf();
        Ok(SafeTensors { path, map, tensors })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Names of the tensors, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    /// The tensor of that name, if there is one.
    pub fn tensor(&self, name: &str) -> Option<TensorView<'_>> {
        let entry = self.tensors.get(name)?;
        Some(TensorView {
            dtype: entry.dtype,
            shape: &entry.shape,
            bytes: self.map.get(entry.bytes.clone())?,
        })
    }

    /// Lets the system take back the memory of these bytes if they are a part of a tensor of this file; who reads them
    /// later waits for the file again. Only a hint.
    pub fn release(&self, bytes: &[u8]) {
        let offset = bytes.as_ptr().addr().checked_sub(self.map.as_ptr().addr());
        let within = |offset: &usize| offset + bytes.len() <= self.map.len();
        if let Some(offset) = offset.filter(within) {
            let advice = UncheckedAdvice::DontNeed;
            // SAFETY: a read-only mapping of a file: pages dropped come back from the file as they were. Failure
            // leaves them where they are.
            let _ = unsafe { self.map.unchecked_advise_range(advice, offset, bytes.len()) };
        }
    }
}

/// Reads and checks the header of a file's bytes.
fn parse(path: &Path, file: &[u8]) -> Result<BTreeMap<String, Entry>, Error> {
    if file.starts_with(LFS_POINTER) {
        let expected = "the safetensors file that it stands for";
        return Err(Error::file(path, "a Git LFS pointer", expected));
    }
    let Some((prefix, rest)) = file.split_first_chunk::<8>() else {
        let found = format!("{} bytes", file.len());
        return Err(Error::file(path, found, "at least 8, the header's length"));
    };
    let stated = u64::from_le_bytes(*prefix);
    if stated > MAX_TEXT {
        let found = format!("a header length of {stated}");
        let expected = format!("at most {MAX_TEXT}; is this a safetensors file?");
        return Err(Error::file(path, found, expected));
    }
    let split = usize::try_from(stated)
        .ok()
        .and_then(|length| rest.split_at_checked(length));
    let Some((header, data)) = split else {
        let there = rest.len();
        let found = format!("a header length of {stated} but {there} bytes after it");
        let expected = "the whole header; is the file cut short?";
        return Err(Error::file(path, found, expected));
    };
    let start = file.len() - data.len();

    let mut tensors = BTreeMap::new();
    for (name, entry) in Object::parse(path, "a header", header)?.entries() {
        if name != "__metadata__" {
            let entry = parse_entry(path, name, entry, data.len(), start)?;
            tensors.insert(name.to_string(), entry);
        }
    }
    check_cover(path, &tensors, start..file.len())?;
    Ok(tensors)
}

/// Reads and checks one tensor's entry in the header of a file whose data are `length` bytes from
/// `start`.
fn parse_entry(
    path: &Path,
    name: &str,
    entry: &Value,
    length: usize,
    start: usize,
) -> Result<Entry, Error> {
    let refuse = |found: String, expected: &str| Error::tensor(path, name, found, expected);
    let field = |key: &str| {
        let incomplete = || refuse(shown(entry), "an object with dtype, shape and data_offsets");
        entry.get(key).ok_or_else(incomplete)
    };

    let dtype = field("dtype")?;
    let unknown = || {
        let known = StoredDType::ALL.map(StoredDType::name).join(", ");
        refuse(
            format!("dtype {}", shown(dtype)),
            &format!("one of {known}"),
        )
    };
    let named = |known: &StoredDType| dtype == known.name();
    let dtype = StoredDType::ALL
        .into_iter()
        .find(named)
        .ok_or_else(unknown)?;

    let shape = field("shape")?;
    let no_shape = || refuse(format!("shape {}", shown(shape)), "a list of sizes");
    let shape = sizes(shape).ok_or_else(no_shape)?;

    let offsets = field("data_offsets")?;
    let found = || format!("data_offsets {}", shown(offsets));
    let [begin, end] = sizes(offsets)
        .and_then(|pair| <[usize; 2]>::try_from(pair).ok())
        .ok_or_else(|| refuse(found(), "two byte offsets, begin and end"))?;
    if begin > end {
        return Err(refuse(found(), "a begin that is not after the end"));
    }
    if end > length {
        let expected = format!("an end within the {length} bytes of data; is the file cut short?");
        return Err(refuse(found(), &expected));
    }

    let product = shape
        .iter()
        .try_fold(dtype.bytes(), |n, dim| n.checked_mul(*dim));
    if product != Some(end - begin) {
        let expected = match product {
            Some(bytes) => format!("{bytes} bytes for {dtype} {shape:?}"),
            None => format!("a shape that can be stored, not {dtype} {shape:?}"),
        };
        let found = format!("{} bytes", end - begin);
        return Err(refuse(found, &expected));
    }
    let bytes = start + begin..start + end;
    Ok(Entry {
        dtype,
        shape,
        bytes,
    })
}

/// A list of integers that are not negative.
fn sizes(value: &Value) -> Option<Vec<usize>> {
    let size = |value: &Value| usize::try_from(value.as_u64()?).ok();
    value.as_array()?.iter().map(size).collect()
}

/// Checks that the tensors lie end to end over the whole of `data`.
fn check_cover(
    path: &Path,
    tensors: &BTreeMap<String, Entry>,
    data: Range<usize>,
) -> Result<(), Error> {
    let mut sorted: Vec<(&String, &Entry)> = tensors.iter().collect();
    sorted.sort_by_key(|(_, entry)| (entry.bytes.start, entry.bytes.end));
    let mut covered = data.start;
    let mut before = "the header".to_string();
    for (name, entry) in sorted {
        let begin = entry.bytes.start - data.start;
        let expected = format!("{}, where {before} ends", covered - data.start);
        if entry.bytes.start < covered {
            let found = format!("an overlap: a begin at data offset {begin}");
            return Err(Error::tensor(path, name, found, expected));
        }
        if entry.bytes.start > covered {
            let found = format!("a gap: a begin at data offset {begin}");
            return Err(Error::tensor(path, name, found, expected));
        }
        covered = entry.bytes.end;
        before = format!("tensor {}", quoted(name));
    }
    if covered < data.end {
        let found = format!("{} bytes after {before}", data.end - covered);
        return Err(Error::file(path, found, "the file to end there"));
    }
    Ok(())
}
