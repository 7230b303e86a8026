//! A small valid checkpoint in a temporary folder, and tools to spoil it.

use std::fs;
use std::path::{Path, PathBuf};

use safetensors::tensor::{Dtype, TensorView, serialize_to_file};
use serde_json::{Map, Value, json};
use tempfile::TempDir;

pub const SHARDS: [&str; 2] = [
    "model-00001-of-00002.safetensors",
    "model-00002-of-00002.safetensors",
];
pub const INDEX: &str = "model.safetensors.index.json";

/// A checkpoint of two layers: hidden 16, 4 heads over 2 of 6, intermediate 24, vocabulary 40.
pub struct Folder {
    dir: TempDir,
}

impl Folder {
    /// Configuration, weights in one bf16 file, and text files.
    pub fn single() -> Folder {
        Folder::of_dtype(Dtype::BF16)
    }

    /// The same with weights of that dtype.
    pub fn of_dtype(dtype: Dtype) -> Folder {
        let folder = Folder::without_weights();
        folder.write_tensors("model.safetensors", &weights(dtype));
        folder
    }

    /// The same with the weights in two shards, layer 1 and the final norm in the second.
    pub fn sharded() -> Folder {
        let folder = Folder::without_weights();
        let (second, first): (Vec<_>, Vec<_>) = weights(Dtype::BF16)
            .into_iter()
            .partition(|(name, ..)| name.contains("layers.1.") || name.contains("model.norm"));
        let mut weight_map = Map::new();
        for (shard, tensors) in SHARDS.into_iter().zip([first, second]) {
            folder.write_tensors(shard, &tensors);
            weight_map.extend(tensors.into_iter().map(|(name, ..)| (name, shard.into())));
        }
        let index = json!({"metadata": {"total_size": 10784}, "weight_map": weight_map});
        folder.write(INDEX, index.to_string());
        folder
    }

    fn without_weights() -> Folder {
        let folder = Folder {
            dir: tempfile::tempdir().unwrap(),
        };
        folder.write("config.json", config().to_string());
        folder.write(
            "generation_config.json",
            json!({"eos_token_id": [1, 7]}).to_string(),
        );
        folder.write("tokenizer.json", "{}");
        let tokenizer = json!({
            "bos_token": "<bos>",
            "eos_token": {"content": "<eos>", "special": true},
            "unk_token": null,
            "chat_template": "{{ bos_token }}",
        });
        folder.write("tokenizer_config.json", tokenizer.to_string());
        folder
    }

    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    pub fn path(&self, file: &str) -> PathBuf {
        self.dir().join(file)
    }

    pub fn write(&self, file: &str, bytes: impl AsRef<[u8]>) {
        fs::write(self.path(file), bytes).unwrap();
    }

    pub fn remove(&self, file: &str) {
        fs::remove_file(self.path(file)).unwrap();
    }

    /// Puts something in the place of a file.
    pub fn replace(&self, file: &str, make: impl FnOnce(&Path)) {
        self.remove(file);
        make(&self.path(file));
    }

    /// Edits a file's bytes.
    pub fn bytes(&self, file: &str, edit: impl FnOnce(&mut Vec<u8>)) {
        let mut bytes = fs::read(self.path(file)).unwrap();
        edit(&mut bytes);
        self.write(file, bytes);
    }

    /// Edits a JSON file.
    pub fn json(&self, file: &str, edit: impl FnOnce(&mut Value)) {
        self.bytes(file, |bytes| {
            let mut value = serde_json::from_slice(bytes).unwrap();
            edit(&mut value);
            *bytes = value.to_string().into_bytes();
        });
    }

    /// Sets a key of a JSON file.
    pub fn set(&self, file: &str, key: &str, value: Value) {
        self.json(file, |json| json[key] = value);
    }

    /// Edits the header and data of a safetensors file.
    pub fn tensors(&self, file: &str, edit: impl FnOnce(&mut Value, &mut Vec<u8>)) {
        self.bytes(file, |bytes| {
            let length = header_length(bytes);
            let mut data = bytes.split_off(8 + length);
            let mut header = serde_json::from_slice(&bytes[8..]).unwrap();
            edit(&mut header, &mut data);
            *bytes = file_of(header.to_string().as_bytes(), &data);
        });
    }

    /// Puts another header before the data of a safetensors file.
    pub fn header(&self, file: &str, header: &[u8]) {
        self.bytes(file, |bytes| {
            let data = bytes.split_off(8 + header_length(bytes));
            *bytes = file_of(header, &data);
        });
    }

    /// Writes a safetensors file.
    pub fn write_tensors(&self, file: &str, tensors: &[Tensor]) {
        let views = tensors.iter().map(|(name, dtype, shape, bytes)| {
            (name, TensorView::new(*dtype, shape.clone(), bytes).unwrap())
        });
        serialize_to_file(views, None, &self.path(file)).unwrap();
    }
}

/// Name, dtype, shape and bytes.
pub type Tensor = (String, Dtype, Vec<usize>, Vec<u8>);

/// The length of a safetensors file's header.
pub fn header_length(file: &[u8]) -> usize {
    u64::from_le_bytes(file[..8].try_into().unwrap()) as usize
}

fn file_of(header: &[u8], data: &[u8]) -> Vec<u8> {
    [&(header.len() as u64).to_le_bytes(), header, data].concat()
}

/// The configuration as transformers 5 writes it.
pub fn config() -> Value {
    json!({
        "architectures": ["Gemma2ForCausalLM"],
        "attention_bias": false,
        "attn_logit_softcapping": 50.0,
        "bos_token_id": 2,
        "eos_token_id": 1,
        "final_logit_softcapping": 30.0,
        "head_dim": 6,
        "hidden_activation": "gelu_pytorch_tanh",
        "hidden_size": 16,
        "intermediate_size": 24,
        "layer_types": ["sliding_attention", "full_attention"],
        "max_position_embeddings": 64,
        "model_type": "gemma2",
        "num_attention_heads": 4,
        "num_hidden_layers": 2,
        "num_key_value_heads": 2,
        "pad_token_id": 0,
        "query_pre_attn_scalar": 9,
        "rms_norm_eps": 1e-6,
        "rope_parameters": {"rope_theta": 10000.0, "rope_type": "default"},
        "sliding_window": 8,
        "tie_word_embeddings": true,
        "use_bidirectional_attention": null,
        "vocab_size": 40,
    })
}

/// The weights of that configuration; no two tensors have the same bytes.
fn weights(dtype: Dtype) -> Vec<Tensor> {
    let mut shapes = vec![
        ("model.embed_tokens.weight".to_string(), vec![40, 16]),
        ("model.norm.weight".to_string(), vec![16]),
    ];
    for layer in 0..2 {
        for (name, shape) in [
            ("input_layernorm", vec![16]),
            ("mlp.down_proj", vec![16, 24]),
            ("mlp.gate_proj", vec![24, 16]),
            ("mlp.up_proj", vec![24, 16]),
            ("post_attention_layernorm", vec![16]),
            ("post_feedforward_layernorm", vec![16]),
            ("pre_feedforward_layernorm", vec![16]),
            ("self_attn.k_proj", vec![12, 16]),
            ("self_attn.o_proj", vec![16, 24]),
            ("self_attn.q_proj", vec![24, 16]),
            ("self_attn.v_proj", vec![12, 16]),
        ] {
            shapes.push((format!("model.layers.{layer}.{name}.weight"), shape));
        }
    }
    let tensor = |(seed, (name, shape)): (usize, (String, Vec<usize>))| {
        let length = shape.iter().product::<usize>() * dtype.bitsize() / 8;
        let bytes = (0..length).map(|i| (i * 7 + seed) as u8).collect();
        (name, dtype, shape, bytes)
    };
    shapes.into_iter().enumerate().map(tensor).collect()
}
