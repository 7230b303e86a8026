//! Well-formed files whose tensors are not those of the configuration.

use serde_json::{Value, json};

use super::{Case, check};
use crate::folder::{Folder, SHARDS};

const FILE: &str = "model.safetensors";
const Q: &str = "model.layers.1.self_attn.q_proj.weight";

#[test]
fn weights_are_refused_when() {
    check(CASES);
}

/// Edits the entry of the second layer's q_proj, `[24, 16]`.
fn edit_q(folder: &Folder, file: &str, edit: fn(&mut Value)) {
    folder.tensors(file, |header, _| edit(&mut header[Q]));
}

/// Gives a tensor another name.
fn rename(folder: &Folder, old: &str, new: &str) {
    folder.tensors(FILE, |header, _| {
        let entry = header.as_object_mut().unwrap().remove(old).unwrap();
        header[new] = entry;
    });
}

/// Adds an empty tensor.
fn add(folder: &Folder, name: &str) {
    folder.tensors(FILE, |header, _| {
        header[name] = json!({"dtype": "BF16", "shape": [0], "data_offsets": [0, 0]});
    });
}

pub const CASES: &[Case] = &[
    (
        "the embedding is missing",
        Folder::single,
        |f| rename(f, "model.embed_tokens.weight", "model.embeddings.weight"),
        r#"/model.safetensors: tensor "model.embed_tokens.weight": found none, expected one of shape [40, 16]"#,
    ),
    (
        "the final norm is missing",
        Folder::single,
        |f| rename(f, "model.norm.weight", "norm.weight"),
        r#"/model.safetensors: tensor "model.norm.weight": found none, expected one of shape [16]"#,
    ),
    (
        "a layer lacks a tensor",
        Folder::single,
        |f| rename(f, Q, "model.layers.1.self_attn.qkv_proj.weight"),
        r#"/model.safetensors: tensor "model.layers.1.self_attn.q_proj.weight": found none, expected one of shape [24, 16]"#,
    ),
    (
        "there are fewer layers than configured",
        Folder::single,
        |f| {
            f.set("config.json", "num_hidden_layers", json!(3));
            f.set("config.json", "layer_types", Value::Null);
        },
        r#"/model.safetensors: tensor "model.layers.2.input_layernorm.weight": found none, expected one of shape [16]"#,
    ),
    (
        "there are more layers than configured",
        Folder::single,
        |f| {
            f.set("config.json", "num_hidden_layers", json!(1));
            f.set("config.json", "layer_types", Value::Null);
        },
        r#"/model.safetensors: tensor "model.layers.1.input_layernorm.weight": found one, expected none of that name where num_hidden_layers is 1"#,
    ),
    (
        "a head comes with them",
        Folder::single,
        |f| add(f, "lm_head.weight"),
        r#"/model.safetensors: tensor "lm_head.weight": found one, expected none: Gemma 2's head is model.embed_tokens.weight"#,
    ),
    (
        "a bias comes with them",
        Folder::single,
        |f| add(f, "model.layers.0.self_attn.q_proj.bias"),
        r#"/model.safetensors: tensor "model.layers.0.self_attn.q_proj.bias": found one, expected none of that name where num_hidden_layers is 2"#,
    ),
    (
        "a name holds a line break",
        Folder::single,
        |f| add(f, "model.norm.weight\nmodel.norm.weight"),
        "/model.safetensors: tensor \"model.norm.weight\\nmodel.norm.weight\": found one, expected none of that name where num_hidden_layers is 2",
    ),
    (
        "a matrix is transposed",
        Folder::single,
        |f| edit_q(f, FILE, |entry| entry["shape"] = json!([16, 24])),
        r#"/model.safetensors: tensor "model.layers.1.self_attn.q_proj.weight": found shape [16, 24], expected [24, 16]"#,
    ),
    (
        "a matrix is flat",
        Folder::single,
        |f| edit_q(f, FILE, |entry| entry["shape"] = json!([384])),
        r#"/model.safetensors: tensor "model.layers.1.self_attn.q_proj.weight": found shape [384], expected [24, 16]"#,
    ),
    (
        "a matrix has a third dim",
        Folder::single,
        |f| edit_q(f, FILE, |entry| entry["shape"] = json!([24, 16, 1])),
        r#"/model.safetensors: tensor "model.layers.1.self_attn.q_proj.weight": found shape [24, 16, 1], expected [24, 16]"#,
    ),
    (
        "the vocabulary is not the configured one",
        Folder::single,
        |f| f.set("config.json", "vocab_size", json!(41)),
        r#"/model.safetensors: tensor "model.embed_tokens.weight": found shape [40, 16], expected [41, 16]"#,
    ),
    (
        "the heads' width is not the configured one",
        Folder::single,
        |f| f.set("config.json", "head_dim", json!(8)),
        r#"/model.safetensors: tensor "model.layers.0.self_attn.q_proj.weight": found shape [24, 16], expected [32, 16]"#,
    ),
    (
        "a dtype is not one of weights",
        Folder::single,
        |f| {
            f.tensors(FILE, |header, data| {
                header["model.norm.weight"]["dtype"] = json!("F64");
                header["model.norm.weight"]["data_offsets"] = json!([10752, 10880]);
                data.extend([0; 96]);
            });
        },
        r#"/model.safetensors: tensor "model.norm.weight": found dtype F64, expected BF16, F16 or F32"#,
    ),
    (
        "a matrix in a shard is transposed",
        Folder::sharded,
        |f| edit_q(f, SHARDS[1], |entry| entry["shape"] = json!([16, 24])),
        r#"/model-00002-of-00002.safetensors: tensor "model.layers.1.self_attn.q_proj.weight": found shape [16, 24], expected [24, 16]"#,
    ),
];
