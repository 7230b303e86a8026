//! `config.json` of Gemma 2.

use std::path::Path;

use serde_json::Value;

use crate::Error;
use crate::error::shown;
use crate::file;
use crate::json::Object;

/// Largest width of a tensor. With [`MAX_LAYERS`] it keeps the bytes of a whole model below 2^56.
const MAX_DIM: usize = 1 << 20;
/// Largest number of layers.
const MAX_LAYERS: usize = 1 << 10;
/// Largest context and window: f32 holds every position up to here exactly.
const MAX_POSITIONS: usize = 1 << 24;

/// Which keys a layer's queries see.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LayerKind {
    /// Key j is seen by query i when `0 <= i - j < window`.
    Sliding,
    /// Key j is seen by query i when `j <= i`.
    Full,
}

/// The sizes and constants that make one Gemma 2 differ from another.
///
/// A configuration that was parsed holds what the fields say; sizes are small enough that no product
/// that describes the model overflows.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Width of the residual stream (`hidden_size`).
    pub hidden: usize,
    /// Width of the feed-forward branch (`intermediate_size`).
    pub intermediate: usize,
    /// Query heads (`num_attention_heads`), a multiple of `kv_heads`.
    pub heads: usize,
    /// Key and value heads (`num_key_value_heads`).
    pub kv_heads: usize,
    /// Width of a head, even (`head_dim`). `heads * head_dim` need not be `hidden`.
    pub head_dim: usize,
    /// Pieces in the vocabulary (`vocab_size`).
    pub vocab: usize,
    /// One entry a layer, at least one (`layer_types`; without that key, even layers slide).
    pub layers: Vec<LayerKind>,
    /// Keys that a sliding layer's query sees, its own included (`sliding_window`); without effect
    /// where no layer slides.
    pub window: usize,
    /// Positions that a sequence may have (`max_position_embeddings`).
    pub context: usize,
    /// Attention scores are multiplied by this to the power -1/2.
    pub query_pre_attn_scalar: f64,
    /// Attention scores s become `tanh(s / cap) * cap` (`attn_logit_softcapping`).
    pub attn_softcap: Option<f64>,
    /// Logits z become `tanh(z / cap) * cap` (`final_logit_softcapping`).
    pub final_softcap: Option<f64>,
    /// Added to the mean square in RMSNorm (`rms_norm_eps`).
    pub rms_eps: f64,
    /// RoPE's base (`rope_theta`, or `rope_parameters.rope_theta`).
    pub rope_theta: f64,
    /// Begins every sequence (`bos_token_id`).
    pub bos: u32,
    /// End a sequence, at least one (`eos_token_id`, an id or a list).
    pub eos: Vec<u32>,
    /// Fills a batch (`pad_token_id`).
    pub pad: u32,
}

impl Config {
    /// Reads and checks a `config.json`.
    ///
    /// # Errors
    /// Where the file cannot be read or [`Config::parse`] refuses its text.
    pub fn open(path: &Path) -> Result<Config, Error> {
        Config::parse(path, &file::read(path, "a checkpoint's configuration")?)
    }

    /// Checks the text of a `config.json`; `path` is for messages only.
    ///
    /// Keys that are absent, or null, get the value that Hugging Face's `Gemma2Config` gives them,
    /// save for the sizes of tensors, which must be there, and the softcaps, where null means none.
    /// Unknown keys are ignored.
    ///
    /// # Errors
    /// Text that is not JSON, another architecture, values out of range, and every known key that
    /// asks for a computation other than Gemma 2's.
    pub fn parse(path: &Path, text: &[u8]) -> Result<Config, Error> {
        let json = Object::parse(path, "text", text)?;
        check_architecture(&json)?;
        check_variations(&json)?;

        let size = |key| {
            let size = json.size(key, MAX_DIM)?;
            size.ok_or_else(|| json.refuse(key, format!("an integer from 1 to {MAX_DIM}")))
        };
        let heads = size("num_attention_heads")?;
        let kv_heads = size("num_key_value_heads")?;
        if heads % kv_heads != 0 {
            let expected = format!("a divisor of num_attention_heads, which is {heads}");
            return Err(json.refuse("num_key_value_heads", expected));
        }
        let head_dim = json.size("head_dim", MAX_DIM)?.unwrap_or(256);
        if head_dim % 2 != 0 {
            return Err(json.refuse("head_dim", "an even number: RoPE turns pairs"));
        }
        if heads * head_dim > MAX_DIM {
            let expected = format!("at most {MAX_DIM} over num_attention_heads, which is {heads}");
            return Err(json.refuse("head_dim", expected));
        }

        let layers = layers(&json)?;
        if json.is_null("sliding_window") && layers.contains(&LayerKind::Sliding) {
            let expected = format!("an integer from 1 to {MAX_POSITIONS}: some layers slide");
            return Err(json.refuse("sliding_window", expected));
        }
        let vocab = size("vocab_size")?;
        Ok(Config {
            hidden: size("hidden_size")?,
            intermediate: size("intermediate_size")?,
            heads,
            kv_heads,
            head_dim,
            vocab,
            layers,
            window: json.size("sliding_window", MAX_POSITIONS)?.unwrap_or(4096),
            context: json
                .size("max_position_embeddings", MAX_POSITIONS)?
                .unwrap_or(8192),
            query_pre_attn_scalar: json.positive("query_pre_attn_scalar")?.unwrap_or(256.0),
            attn_softcap: softcap(&json, "attn_logit_softcapping", 50.0)?,
            final_softcap: softcap(&json, "final_logit_softcapping", 30.0)?,
            rms_eps: json.positive("rms_norm_eps")?.unwrap_or(1e-6),
            rope_theta: rope_theta(&json)?,
            bos: json.id("bos_token_id", vocab, 2)?,
            eos: json.ids("eos_token_id", vocab, &[1])?,
            pad: json.id("pad_token_id", vocab, 0)?,
        })
    }

    /// Name and shape (`[out, in]` or `[width]`) of every tensor that a checkpoint of this
    /// configuration has, in the order of use: the embedding, which is also the head; each layer's
    /// [`layer_tensors`](Config::layer_tensors) after `model.layers.{l}.`; the final norm.
    pub fn tensors(&self) -> Vec<(String, Vec<usize>)> {
        let mut all = vec![(
            "model.embed_tokens.weight".to_string(),
            vec![self.vocab, self.hidden],
        )];
        for layer in 0..self.layers.len() {
            for (name, shape) in self.layer_tensors() {
                all.push((format!("model.layers.{layer}.{name}"), shape));
            }
        }
        all.push(("model.norm.weight".to_string(), vec![self.hidden]));
        all
    }

    /// Name within the layer and shape (`[out, in]` or `[width]`) of a layer's tensors, in the order
    /// of use.
    pub fn layer_tensors(&self) -> [(&'static str, Vec<usize>); 11] {
        let (h, ffn) = (self.hidden, self.intermediate);
        let q = self.heads * self.head_dim;
        let kv = self.kv_heads * self.head_dim;
        [
            ("input_layernorm.weight", vec![h]),
            ("self_attn.q_proj.weight", vec![q, h]),
            ("self_attn.k_proj.weight", vec![kv, h]),
            ("self_attn.v_proj.weight", vec![kv, h]),
            ("self_attn.o_proj.weight", vec![h, q]),
            ("post_attention_layernorm.weight", vec![h]),
            ("pre_feedforward_layernorm.weight", vec![h]),
            ("mlp.gate_proj.weight", vec![ffn, h]),
            ("mlp.up_proj.weight", vec![ffn, h]),
            ("mlp.down_proj.weight", vec![h, ffn]),
            ("post_feedforward_layernorm.weight", vec![h]),
        ]
    }

    /// Parameters of the model: the elements of all [`tensors`](Config::tensors).
    pub fn parameters(&self) -> usize {
        let elements = |(_, shape): &(String, Vec<usize>)| shape.iter().product::<usize>();
        self.tensors().iter().map(elements).sum()
    }
}

/// Either of the two keys that name the architecture may be absent; neither may name another.
fn check_architecture(json: &Object) -> Result<(), Error> {
    const TYPE: &str = "gemma2";
    const CLASS: &str = "Gemma2ForCausalLM";
    let model_type = json.string("model_type")?;
    if model_type.is_some_and(|name| name != TYPE) {
        return Err(json.refuse("model_type", format!("{TYPE:?}: this is not Gemma 2")));
    }
    match json.get("architectures") {
        None if model_type.is_none() => Err(json.refuse(
            "model_type",
            format!("{TYPE:?}: nothing says that this is Gemma 2"),
        )),
        None => Ok(()),
        Some(Value::Array(list)) if list.iter().any(|name| name == CLASS) => Ok(()),
        Some(Value::Array(_)) => {
            let expected = format!("a list with {CLASS:?}: this is not Gemma 2");
            Err(json.refuse("architectures", expected))
        }
        Some(_) => Err(json.refuse("architectures", "a list of strings")),
    }
}

/// Refuses what would change the computation to another than Gemma 2's.
fn check_variations(json: &Object) -> Result<(), Error> {
    let only = |key: &str, value: Value, expected: &str| match json.get(key) {
        Some(found) if *found != value => Err(json.refuse(key, expected)),
        _ => Ok(()),
    };
    only(
        "attention_bias",
        false.into(),
        "false: Gemma 2's projections have no bias",
    )?;
    only(
        "tie_word_embeddings",
        true.into(),
        "true: Gemma 2's head is its embedding",
    )?;
    only(
        "use_bidirectional_attention",
        false.into(),
        "false: Gemma 2 attends backwards only",
    )?;
    only(
        "quantization_config",
        Value::Null,
        "nothing: weights are read as bf16, f16 or f32",
    )?;
    only(
        "partial_rotary_factor",
        1.0.into(),
        "1.0: RoPE turns whole heads",
    )?;
    // Hugging Face reads hidden_activation; files that lack it have the older name.
    let activation = match json.get("hidden_activation") {
        Some(_) => "hidden_activation",
        None => "hidden_act",
    };
    only(
        activation,
        "gelu_pytorch_tanh".into(),
        "\"gelu_pytorch_tanh\"",
    )
}

/// A softcap: null means none, absent means the default.
fn softcap(json: &Object, key: &str, default: f64) -> Result<Option<f64>, Error> {
    if json.is_null(key) {
        return Ok(None);
    }
    Ok(Some(json.positive(key)?.unwrap_or(default)))
}

/// The kinds of the `num_hidden_layers` layers.
fn layers(json: &Object) -> Result<Vec<LayerKind>, Error> {
    let key = "num_hidden_layers";
    let count = json.size(key, MAX_LAYERS)?;
    let count =
        count.ok_or_else(|| json.refuse(key, format!("an integer from 1 to {MAX_LAYERS}")))?;
    let alternating = |layer| match layer % 2 {
        0 => LayerKind::Sliding,
        _ => LayerKind::Full,
    };
    let names = match json.get("layer_types") {
        None => return Ok((0..count).map(alternating).collect()),
        Some(Value::Array(names)) if names.len() == count => names,
        Some(Value::Array(names)) => {
            let found = format!("a list of {}", names.len());
            let expected = format!("one entry a layer, and num_hidden_layers is {count}");
            return Err(Error::key(json.path(), "layer_types", found, expected));
        }
        Some(_) => return Err(json.refuse("layer_types", "a list of strings")),
    };
    let kind = |(layer, name): (usize, &Value)| match name.as_str() {
        Some("sliding_attention") => Ok(LayerKind::Sliding),
        Some("full_attention") => Ok(LayerKind::Full),
        _ => {
            let key = format!("layer_types[{layer}]");
            let expected = "\"sliding_attention\" or \"full_attention\"";
            Err(Error::key(json.path(), &key, shown(name), expected))
        }
    };
    names.iter().enumerate().map(kind).collect()
}

/// RoPE's base, from the key itself or from the object that newer files have; any other kind of RoPE
/// is refused.
fn rope_theta(json: &Object) -> Result<f64, Error> {
    let mut theta = json.positive("rope_theta")?;
    for parent in ["rope_parameters", "rope_scaling"] {
        let Some(rope) = json.object(parent)? else {
            continue;
        };
        for (key, value) in rope.entries().filter(|(_, value)| !value.is_null()) {
            match key {
                "rope_theta" => {
                    let inner = rope.positive(key)?;
                    if let Some(outer) = theta.filter(|outer| inner != Some(*outer)) {
                        let expected = format!("{outer}, which the file gives elsewhere");
                        return Err(rope.refuse(key, expected));
                    }
                    theta = inner;
                }
                "rope_type" | "type" if value == "default" => {}
                "rope_type" | "type" => return Err(rope.refuse(key, "\"default\"")),
                _ => return Err(rope.refuse(key, "only rope_theta and rope_type here")),
            }
        }
    }
    Ok(theta.unwrap_or(10000.0))
}
