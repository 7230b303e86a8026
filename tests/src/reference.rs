//! Gemma 2 in float64, written straight from its definition: a second opinion on the graph.
//!
//! One whole prompt at a time, no cache, nothing shared with the builder of the graph, nor with the IR
//! but for the names of dtypes. It is held against the recorded truth, and is then the truth for
//! configurations that have none.

use half::{bf16, f16};
use ir::DType;
use models::{Checkpoint, Config, LayerKind, Weight};

/// What the model makes of a prompt of T tokens; tensors are row-major.
pub struct Reference {
    /// `[T, vocab]`.
    pub logits: Vec<f64>,
    /// The residual stream before each layer, and the final norm's output, `[layers + 1, T, hidden]`.
    pub hidden: Vec<f64>,
    /// The largest magnitude of an attention score before the softcap, among the keys that are seen,
    /// in each layer.
    pub largest_score: Vec<f64>,
}

/// Rows of one tensor, `[T, width]`.
type Rows = Vec<Vec<f64>>;

impl Reference {
    /// The model of a checkpoint, from its first position on.
    pub fn of(checkpoint: &Checkpoint, tokens: &[u32]) -> Reference {
        let weight = |name: &str| {
            let weight = checkpoint.tensor(&format!("{name}.weight"));
            widened(weight.expect("a checkpoint has every tensor of its model"))
        };
        Reference::new(checkpoint.config(), weight, tokens)
    }

    /// The model whose weights have these values, row-major; `.weight` is left out of their names.
    pub fn new(c: &Config, weight: impl Fn(&str) -> Vec<f64>, tokens: &[u32]) -> Reference {
        let table = weight("model.embed_tokens");
        let table: Vec<&[f64]> = table.chunks(c.hidden).collect();
        let scaled = |token: &u32| {
            let row = table[*token as usize].iter();
            row.map(|e| e * (c.hidden as f64).sqrt()).collect()
        };
        let mut x: Rows = tokens.iter().map(scaled).collect();
        let mut hidden = Vec::new();
        let mut largest_score = Vec::new();
        for (layer, kind) in c.layers.iter().enumerate() {
            hidden.extend(x.concat());
            let w = |name: &str| weight(&format!("model.layers.{layer}.{name}"));

            let h = norm(c, &x, &w("input_layernorm"));
            let mut q = linear(&h, &w("self_attn.q_proj"));
            let mut k = linear(&h, &w("self_attn.k_proj"));
            let v = linear(&h, &w("self_attn.v_proj"));
            rotate(c, &mut q);
            rotate(c, &mut k);
            let (attended, largest) = attention(c, *kind, &q, &k, &v);
            largest_score.push(largest);
            let branch = linear(&attended, &w("self_attn.o_proj"));
            add(&mut x, &norm(c, &branch, &w("post_attention_layernorm")));

            let h = norm(c, &x, &w("pre_feedforward_layernorm"));
            let mut gate = linear(&h, &w("mlp.gate_proj"));
            let up = linear(&h, &w("mlp.up_proj"));
            for (gate, up) in gate.iter_mut().flatten().zip(up.iter().flatten()) {
                *gate = gelu_tanh(*gate) * up;
            }
            let branch = linear(&gate, &w("mlp.down_proj"));
            add(&mut x, &norm(c, &branch, &w("post_feedforward_layernorm")));
        }
        let x = norm(c, &x, &weight("model.norm"));
        hidden.extend(x.concat());
        let mut logits = linear(&x, &table.concat()).concat();
        for z in &mut logits {
            *z = softcap(*z, c.final_softcap);
        }
        Reference {
            logits,
            hidden,
            largest_score,
        }
    }
}

/// The values of a weight.
fn widened(weight: Weight) -> Vec<f64> {
    let (halves, _) = weight.bytes.as_chunks::<2>();
    let (words, _) = weight.bytes.as_chunks::<4>();
    match weight.dtype {
        DType::BF16 => halves
            .iter()
            .map(|b| bf16::from_le_bytes(*b).into())
            .collect(),
        DType::F16 => halves
            .iter()
            .map(|b| f16::from_le_bytes(*b).into())
            .collect(),
        DType::F32 => words
            .iter()
            .map(|b| f32::from_le_bytes(*b).into())
            .collect(),
        dtype => panic!("a checkpoint's weight is not {dtype}"),
    }
}

/// `x / sqrt(mean(x²) + eps) * (1 + w)`.
fn norm(c: &Config, x: &Rows, w: &[f64]) -> Rows {
    let row = |x: &Vec<f64>| {
        let mean = x.iter().map(|x| x * x).sum::<f64>() / x.len() as f64;
        let root = (mean + c.rms_eps).sqrt();
        x.iter().zip(w).map(|(x, w)| x / root * (1.0 + w)).collect()
    };
    x.iter().map(row).collect()
}

/// `x · wᵀ` for w `[out, in]`.
fn linear(x: &Rows, w: &[f64]) -> Rows {
    let row = |x: &Vec<f64>| w.chunks(x.len()).map(|w| dot(x, w)).collect();
    x.iter().map(row).collect()
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn add(x: &mut Rows, branch: &Rows) {
    for (x, b) in x.iter_mut().flatten().zip(branch.iter().flatten()) {
        *x += b;
    }
}

/// RoPE: in the row of position p, elements i and i + head_dim / 2 of every head turn by
/// `p / theta^(2i / head_dim)`.
fn rotate(c: &Config, x: &mut Rows) {
    for (position, row) in x.iter_mut().enumerate() {
        for head in row.chunks_mut(c.head_dim) {
            let (first, second) = head.split_at_mut(c.head_dim / 2);
            for (i, (a, b)) in first.iter_mut().zip(second).enumerate() {
                let exponent = 2.0 * i as f64 / c.head_dim as f64;
                let (sin, cos) = (position as f64 / c.rope_theta.powf(exponent)).sin_cos();
                (*a, *b) = (*a * cos - *b * sin, *b * cos + *a * sin);
            }
        }
    }
}

/// Every query over the keys that it sees, and the largest magnitude of a score.
fn attention(c: &Config, kind: LayerKind, q: &Rows, k: &Rows, v: &Rows) -> (Rows, f64) {
    let mut largest = 0f64;
    let mut attended = Rows::new();
    for (i, q) in q.iter().enumerate() {
        let first = match kind {
            LayerKind::Full => 0,
            LayerKind::Sliding => (i + 1).saturating_sub(c.window),
        };
        let mut row = Vec::new();
        for (h, q) in q.chunks(c.head_dim).enumerate() {
            let kv = h / (c.heads / c.kv_heads) * c.head_dim;
            let score =
                |k: &Vec<f64>| dot(q, &k[kv..][..c.head_dim]) / c.query_pre_attn_scalar.sqrt();
            let scores: Vec<f64> = k[first..=i].iter().map(score).collect();
            largest = scores.iter().fold(largest, |m, s| m.max(s.abs()));
            let scores: Vec<f64> = scores.iter().map(|s| softcap(*s, c.attn_softcap)).collect();
            let max = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let weights: Vec<f64> = scores.iter().map(|s| (s - max).exp()).collect();
            let total: f64 = weights.iter().sum();
            row.extend((0..c.head_dim).map(|d| {
                let seen = weights.iter().zip(&v[first..=i]);
                seen.map(|(w, v)| w * v[kv + d]).sum::<f64>() / total
            }));
        }
        attended.push(row);
    }
    (attended, largest)
}

/// `tanh(x / cap) * cap`, where there is a cap.
fn softcap(x: f64, cap: Option<f64>) -> f64 {
    cap.map_or(x, |cap| (x / cap).tanh() * cap)
}

/// `0.5 x (1 + tanh(sqrt(2/π) (x + 0.044715 x³)))`.
fn gelu_tanh(x: f64) -> f64 {
    let inner = (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x.powi(3));
    0.5 * x * (1.0 + inner.tanh())
}
