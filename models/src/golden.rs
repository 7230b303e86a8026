//! The recorded truth beside a checkpoint: its logits in float64 and what the reference framework
//! makes of the same prompt.

use std::path::Path;

use crate::safetensors::{SafeTensors, StoredDType};
use crate::{Config, Error};

/// What a golden file holds for a prompt of T tokens; tensors are row-major.
#[derive(Clone, Debug, PartialEq)]
pub struct Golden {
    /// `tokens`: the prompt, at least one token and at most the context.
    pub tokens: Vec<u32>,
    /// `logits.f64`, `[T, vocab]`: the model in float64, the truth.
    pub logits_f64: Vec<f64>,
    /// `logits.f32`, `[T, vocab]`: the reference framework in float32.
    pub logits_f32: Option<Vec<f32>>,
    /// `logits.bf16`, `[T, vocab]`: the reference framework in bfloat16, stored widened.
    pub logits_bf16: Option<Vec<f32>>,
    /// `hidden.f64`, `[layers + 1, T, hidden]`: the residual stream in float64 before each layer;
    /// last, the final norm's output.
    pub hidden_f64: Option<Vec<f64>>,
    /// `greedy`: the greedy continuation of the prompt in float64.
    pub greedy: Option<Vec<u32>>,
}

impl Golden {
    /// Reads a golden of the model that `config` describes. Tensors of other names are ignored.
    ///
    /// # Errors
    /// A file that is not safetensors; `tokens` or `logits.f64` absent; tensors of another shape or
    /// dtype, tokens outside the vocabulary, and numbers that are not finite.
    pub fn open(path: &Path, config: &Config) -> Result<Golden, Error> {
        let reader = Reader {
            file: &SafeTensors::open(path)?,
            vocab: config.vocab,
        };
        let tokens = reader.required("tokens", reader.ids("tokens")?)?;
        if tokens.is_empty() || tokens.len() > config.context {
            let found = format!("{} tokens", tokens.len());
            let expected = format!("from 1 to {}, the model's context", config.context);
            return Err(Error::tensor(path, "tokens", found, expected));
        }
        let logits = [tokens.len(), config.vocab];
        let hidden = [config.layers.len() + 1, tokens.len(), config.hidden];
        let truth = reader.floats("logits.f64", &logits, StoredDType::F64, f64::from_le_bytes)?;
        Ok(Golden {
            logits_f64: reader.required("logits.f64", truth)?,
            logits_f32: reader.floats(
                "logits.f32",
                &logits,
                StoredDType::F32,
                f32::from_le_bytes,
            )?,
            logits_bf16: reader.floats(
                "logits.bf16",
                &logits,
                StoredDType::F32,
                f32::from_le_bytes,
            )?,
            hidden_f64: reader.floats(
                "hidden.f64",
                &hidden,
                StoredDType::F64,
                f64::from_le_bytes,
            )?,
            greedy: reader.ids("greedy")?,
            tokens,
        })
    }
}

struct Reader<'a> {
    file: &'a SafeTensors,
    vocab: usize,
}

impl Reader<'_> {
    fn refuse(&self, name: &str, found: String, expected: String) -> Error {
        Error::tensor(self.file.path(), name, found, expected)
    }

    fn required<T>(&self, name: &str, tensor: Option<T>) -> Result<T, Error> {
        tensor
            .ok_or_else(|| self.refuse(name, "none".to_string(), "one in every golden".to_string()))
    }

    /// A list of tokens.
    fn ids(&self, name: &str) -> Result<Option<Vec<u32>>, Error> {
        let Some(tensor) = self.file.tensor(name) else {
            return Ok(None);
        };
        if tensor.dtype != StoredDType::I64 || tensor.shape.len() != 1 {
            let found = format!("{} {:?}", tensor.dtype, tensor.shape);
            return Err(self.refuse(name, found, "I64 with one dim".to_string()));
        }
        let token = |id: i64| {
            let token = u32::try_from(id)
                .ok()
                .filter(|token| (*token as usize) < self.vocab);
            let expected = || format!("tokens from 0 to {}", self.vocab - 1);
            token.ok_or_else(|| self.refuse(name, format!("token {id}"), expected()))
        };
        elements(tensor.bytes, i64::from_le_bytes)
            .map(token)
            .collect::<Result<_, _>>()
            .map(Some)
    }

    /// A tensor of finite numbers.
    fn floats<T: Copy + Into<f64>, const N: usize>(
        &self,
        name: &str,
        shape: &[usize],
        dtype: StoredDType,
        decode: fn([u8; N]) -> T,
    ) -> Result<Option<Vec<T>>, Error> {
        let Some(tensor) = self.file.tensor(name) else {
            return Ok(None);
        };
        if tensor.dtype != dtype || tensor.shape != shape {
            let found = format!("{} {:?}", tensor.dtype, tensor.shape);
            return Err(self.refuse(name, found, format!("{dtype} {shape:?}")));
        }
        let numbers: Vec<T> = elements(tensor.bytes, decode).collect();
        match numbers.iter().position(|x| !(*x).into().is_finite()) {
            None => Ok(Some(numbers)),
            Some(at) => {
                let found = format!("{} at element {at}", numbers[at].into());
                Err(self.refuse(name, found, "finite numbers".to_string()))
            }
        }
    }
}

/// The elements of a tensor's bytes, which are a whole number of N.
fn elements<T, const N: usize>(bytes: &[u8], decode: fn([u8; N]) -> T) -> impl Iterator<Item = T> {
    let (whole, _) = bytes.as_chunks::<N>();
    whole.iter().map(move |element| decode(*element))
}
