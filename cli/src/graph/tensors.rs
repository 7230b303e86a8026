//! Tensors in files.

use std::path::{Path, PathBuf};

use ir::DType;
use ir::interp::Tensor;
use models::{SafeTensors, StoredDType, TensorView};
use runtime::OutputFile;
use serde_json::{Map, Value, json};

use crate::error::Error;

/// Files of tensors, open together.
pub struct Files(Vec<SafeTensors>);

/// A tensor of a file.
#[derive(Clone, Copy)]
pub struct Found<'f> {
    /// The file.
    pub path: &'f Path,
    /// The tensor.
    pub view: TensorView<'f>,
}

impl Found<'_> {
    /// Its dtype and shape.
    pub fn text(&self) -> String {
        format!("{} {:?}", self.view.dtype, self.view.shape)
    }

    /// Why a command refuses the tensor of this name.
    pub fn refusal(&self, name: &str, found: &str, expected: &str) -> String {
        let path = self.path.display();
        format!("{path}: tensor \"{name}\": found {found}, expected {expected}")
    }
}

/// A tensor by its name.
pub struct Named {
    /// The name in a file.
    pub name: String,
    /// The tensor.
    pub tensor: Tensor<'static, f32>,
}

impl Files {
    /// Opens the files.
    ///
    /// # Errors
    /// One that cannot be read or is no safetensors file; a tensor that two of them have.
    pub fn open(paths: &[PathBuf]) -> Result<Files, Error> {
        let mut files: Vec<SafeTensors> = Vec::new();
        for path in paths {
            let file = SafeTensors::open(path)?;
            for before in &files {
                if let Some(name) = file.names().find(|name| before.tensor(name).is_some()) {
                    let (path, before) = (path.display(), before.path().display());
                    let line =
                        format!("{path}: tensor \"{name}\" is in {before} too, expected one");
                    return Err(Error::Option(line));
                }
            }
            files.push(file);
        }
        Ok(Files(files))
    }

    /// The tensor of that name, if a file has it.
    pub fn find(&self, name: &str) -> Option<Found<'_>> {
        self.0.iter().find_map(|file| {
            let view = file.tensor(name)?;
            let path = file.path();
            Some(Found { path, view })
        })
    }

    /// Files and names of all tensors.
    pub fn names(&self) -> impl Iterator<Item = (&Path, &str)> {
        self.0.iter().flat_map(|file| {
            let path = file.path();
            file.names().map(move |name| (path, name))
        })
    }

    /// The files' paths, for a message.
    pub fn text(&self) -> String {
        let paths = self.0.iter().map(|file| file.path().display().to_string());
        paths.collect::<Vec<_>>().join(" or ")
    }
}

/// How a file holds a tensor: a block format as the bytes of its rows.
pub fn stored(dtype: DType, shape: &[usize]) -> (StoredDType, Vec<usize>) {
    let stored = match dtype {
        DType::F32 => StoredDType::F32,
        DType::BF16 => StoredDType::BF16,
        DType::F16 => StoredDType::F16,
        DType::I32 => StoredDType::I32,
        DType::Bool => StoredDType::Bool,
        DType::Q8_0 | DType::Q4_0 => StoredDType::U8,
    };
    let mut shape = shape.to_vec();
    if let (true, Some(last)) = (dtype.is_block(), shape.last_mut()) {
        *last = dtype.row_bytes(*last);
    }
    (stored, shape)
}

/// Writes a safetensors file, which appears whole or not at all.
///
/// # Errors
/// The file cannot be written.
pub fn write(path: &Path, tensors: &[Named]) -> Result<(), Error> {
    let held = |named: &Named| stored(named.tensor.dtype, &named.tensor.shape);
    // Larger elements first, so that all are aligned.
    let mut tensors: Vec<&Named> = tensors.iter().collect();
    tensors.sort_by_key(|named| std::cmp::Reverse(held(named).0.bytes()));
    let data: Vec<_> = tensors.iter().map(|t| t.tensor.to_bytes()).collect();
    let mut header = Map::new();
    let mut at = 0;
    for (named, bytes) in tensors.iter().zip(&data) {
        let (dtype, shape) = held(named);
        let end = at + bytes.len();
        let entry = json!({ "dtype": dtype.name(), "shape": shape, "data_offsets": [at, end] });
        header.insert(named.name.clone(), entry);
        at = end;
    }
    let header = Value::Object(header).to_string();
    let length = header.len().next_multiple_of(8);
    let padding = " ".repeat(length - header.len());
    let mut file = OutputFile::create(path)?;
    file.write(|out| {
        out.write_all(&(length as u64).to_le_bytes())?;
        write!(out, "{header}{padding}")?;
        data.iter().try_for_each(|bytes| out.write_all(bytes))
    })?;
    Ok(file.finish()?)
}
