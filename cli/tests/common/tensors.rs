//! Graphs, and tensors in files, as a test makes and reads them.

use std::fs;
use std::path::Path;

use ir::interp::Tensor;
use ir::{Bindings, DType, Module, Type};
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};

/// A tensor of a file: its name, dtype, shape and bytes.
pub type Stored = (String, Dtype, Vec<usize>, Vec<u8>);

/// The text of a graph of the op suite.
pub fn graph(name: &str) -> String {
    format!("{}/../tests/ops/{name}.lir", env!("CARGO_MANIFEST_DIR"))
}

/// The module that a file holds.
pub fn module(path: &str) -> Module {
    let text = fs::read_to_string(path).expect("a graph");
    ir::text::parse(&text).expect("a module")
}

/// f32 elements.
pub fn reals(name: &str, shape: &[usize], elements: &[f32]) -> Stored {
    let bytes = elements.iter().flat_map(|x| x.to_le_bytes()).collect();
    (name.into(), Dtype::F32, shape.to_vec(), bytes)
}

/// i32 elements.
pub fn ints(name: &str, elements: &[i32]) -> Stored {
    let bytes = elements.iter().flat_map(|x| x.to_le_bytes()).collect();
    (name.into(), Dtype::I32, vec![elements.len()], bytes)
}

/// Inputs, stored weights and states for a module: waves of numbers, and integers from 0 on.
pub fn waves(module: &Module, bindings: &Bindings) -> Vec<Stored> {
    let mut all = vec![];
    let mut add = |name: String, ty: &Type| {
        let shape = ty.shape(bindings).expect("every symbol is bound");
        let n: usize = shape.iter().product();
        let wave = |i: usize| (1.7 * (i + 5 * all.len()) as f32).sin();
        let (dtype, bytes) = match ty.dtype {
            DType::I32 => (
                Dtype::I32,
                (0..n as i32).flat_map(i32::to_le_bytes).collect(),
            ),
            DType::Bool => (Dtype::BOOL, (0..n).map(|i| (i % 3 == 1) as u8).collect()),
            dtype => {
                let stored = match dtype {
                    DType::F32 => Dtype::F32,
                    DType::BF16 => Dtype::BF16,
                    _ => Dtype::F16,
                };
                let elements: Vec<f32> = (0..n).map(wave).collect();
                let tensor = Tensor::narrowed(dtype, shape.clone(), elements.into());
                (stored, tensor.to_bytes().into_owned())
            }
        };
        all.push((name, dtype, shape, bytes));
    };
    for input in module.step.input_locals() {
        add(input.name.clone(), &input.ty);
    }
    for weight in &module.weights {
        add(weight.name.clone(), &weight.ty);
    }
    for state in &module.states {
        add(format!("state.{}", state.name), &state.ty);
    }
    all
}

/// Writes a file of tensors, and gives its path.
pub fn write(folder: &Path, name: &str, tensors: &[Stored]) -> String {
    let views = tensors.iter().map(|(name, dtype, shape, bytes)| {
        let view = TensorView::new(*dtype, shape.clone(), bytes);
        (name, view.expect("bytes for the shape"))
    });
    let bytes = safetensors::serialize(views, None).expect("tensors");
    let path = folder.join(name);
    fs::write(&path, bytes).expect("written");
    super::text(&path).to_string()
}

/// The tensors of a file, by name.
pub fn read(path: &str) -> Vec<Stored> {
    let bytes = fs::read(path).expect("a file");
    let file = SafeTensors::deserialize(&bytes).expect("the file is safetensors");
    let tensors = file.tensors().into_iter();
    let mut all: Vec<Stored> = tensors
        .map(|(name, view)| {
            let (shape, bytes) = (view.shape().to_vec(), view.data().to_vec());
            (name, view.dtype(), shape, bytes)
        })
        .collect();
    all.sort_by(|a, b| a.0.cmp(&b.0));
    all
}
