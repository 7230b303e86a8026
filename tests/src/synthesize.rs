//! Small random checkpoints of any configuration, written as files and read back.

use std::fs;

use half::{bf16, f16};
use ir::DType;
use models::{Checkpoint, Config, LayerKind};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use safetensors::tensor::{Dtype, TensorView, serialize_to_file};
use serde_json::{Value, json};
use tempfile::TempDir;

/// What a random checkpoint is made from; the same recipe gives the same bytes.
#[derive(Clone, Debug)]
pub struct Recipe {
    /// The sizes and constants.
    pub config: Config,
    /// What the weights are drawn from.
    pub seed: u64,
    /// Dtypes of the weights, taken in turn by the tensors in the order of [`Config::tensors`].
    pub dtypes: Vec<DType>,
    /// Attention scores grow with the square of this: 1 gives scores of a few units where
    /// `query_pre_attn_scalar` is the width of a head.
    pub query_key_scale: f64,
}

/// A checkpoint in a temporary folder, which lasts as long as this.
pub struct Synthetic {
    checkpoint: Checkpoint,
    _dir: TempDir,
}

/// A configuration with everything in it: grouped queries, layers of both kinds, a head_dim other
/// than hidden / heads, sizes that fill no lane, both caps, a window of 5 in a context of 128.
pub fn small() -> Config {
    Config {
        hidden: 42,
        intermediate: 70,
        heads: 4,
        kv_heads: 2,
        head_dim: 14,
        vocab: 61,
        layers: vec![LayerKind::Sliding, LayerKind::Full, LayerKind::Sliding],
        window: 5,
        context: 128,
        query_pre_attn_scalar: 17.0,
        attn_softcap: Some(50.0),
        final_softcap: Some(30.0),
        rms_eps: 1e-6,
        rope_theta: 10000.0,
        bos: 2,
        eos: vec![1],
        pad: 0,
    }
}

impl Recipe {
    /// bf16 weights and moderate scores.
    pub fn new(config: Config, seed: u64) -> Recipe {
        Recipe {
            config,
            seed,
            dtypes: vec![DType::BF16],
            query_key_scale: 1.0,
        }
    }

    /// Writes the checkpoint and opens it.
    pub fn make(&self) -> Synthetic {
        let dir = tempfile::tempdir().expect("there is room for a temporary folder");
        let config = json_of(&self.config).to_string();
        fs::write(dir.path().join("config.json"), config).expect("the folder takes a file");
        let tensors = self.tensors();
        let views = tensors.iter().map(|(name, dtype, shape, bytes)| {
            let view = TensorView::new(*dtype, shape.clone(), bytes);
            (name, view.expect("a tensor has the bytes of its shape"))
        });
        serialize_to_file(views, None, &dir.path().join("model.safetensors"))
            .expect("the folder takes a file");
        let checkpoint = Checkpoint::open(dir.path()).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(
            checkpoint.config(),
            &self.config,
            "a configuration is read as it was written"
        );
        Synthetic {
            checkpoint,
            _dir: dir,
        }
    }

    /// Name, dtype, shape and bytes of every tensor.
    fn tensors(&self) -> Vec<(String, Dtype, Vec<usize>, Vec<u8>)> {
        let mut random = StdRng::seed_from_u64(self.seed);
        let dtypes = self.dtypes.iter().cycle();
        let shapes = self.config.tensors().into_iter();
        let tensor = |((name, shape), dtype): ((String, Vec<usize>), &DType)| {
            let (centre, deviation) = self.distribution(&name, &shape);
            let length = shape.iter().product();
            // Uniform, of that deviation.
            let draw = |_| centre + deviation * 3f64.sqrt() * random.random_range(-1.0..1.0);
            let values: Vec<f64> = (0..length).map(draw).collect();
            let (dtype, bytes) = stored(*dtype, &values);
            (name, dtype, shape, bytes)
        };
        shapes.zip(dtypes).map(tensor).collect()
    }

    /// Mean and deviation of a tensor's values, so that activations keep to a few units.
    fn distribution(&self, name: &str, shape: &[usize]) -> (f64, f64) {
        let width = *shape.last().unwrap_or(&1) as f64;
        match name {
            "model.norm.weight" => (9.0, 0.3),
            _ if shape.len() == 1 => (0.0, 0.3),
            "model.embed_tokens.weight" => (0.0, 0.5 / width.sqrt()),
            _ if name.contains("q_proj") || name.contains("k_proj") => {
                (0.0, self.query_key_scale / width.sqrt())
            }
            _ => (0.0, 1.0 / width.sqrt()),
        }
    }

    /// A prompt of this many random tokens.
    pub fn prompt(&self, length: usize) -> Vec<u32> {
        let mut random = StdRng::seed_from_u64(self.seed ^ length as u64);
        let vocab = self.config.vocab as u32;
        (0..length).map(|_| random.random_range(0..vocab)).collect()
    }
}

impl Synthetic {
    /// The checkpoint.
    pub fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }
}

fn stored(dtype: DType, values: &[f64]) -> (Dtype, Vec<u8>) {
    let values = values.iter().copied();
    match dtype {
        DType::BF16 => {
            let bytes = values.flat_map(|x| bf16::from_f64(x).to_le_bytes());
            (Dtype::BF16, bytes.collect())
        }
        DType::F16 => {
            let bytes = values.flat_map(|x| f16::from_f64(x).to_le_bytes());
            (Dtype::F16, bytes.collect())
        }
        DType::F32 => {
            let bytes = values.flat_map(|x| (x as f32).to_le_bytes());
            (Dtype::F32, bytes.collect())
        }
        dtype => panic!("a checkpoint's weight is not {dtype}"),
    }
}

/// The `config.json` of a configuration.
fn json_of(c: &Config) -> Value {
    let name = |kind: &LayerKind| match kind {
        LayerKind::Sliding => "sliding_attention",
        LayerKind::Full => "full_attention",
    };
    json!({
        "architectures": ["Gemma2ForCausalLM"],
        "model_type": "gemma2",
        "hidden_activation": "gelu_pytorch_tanh",
        "hidden_size": c.hidden,
        "intermediate_size": c.intermediate,
        "num_attention_heads": c.heads,
        "num_key_value_heads": c.kv_heads,
        "head_dim": c.head_dim,
        "vocab_size": c.vocab,
        "num_hidden_layers": c.layers.len(),
        "layer_types": c.layers.iter().map(name).collect::<Vec<_>>(),
        "sliding_window": c.window,
        "max_position_embeddings": c.context,
        "query_pre_attn_scalar": c.query_pre_attn_scalar,
        "attn_logit_softcapping": c.attn_softcap,
        "final_logit_softcapping": c.final_softcap,
        "rms_norm_eps": c.rms_eps,
        "rope_theta": c.rope_theta,
        "bos_token_id": c.bos,
        "eos_token_id": c.eos,
        "pad_token_id": c.pad,
    })
}
