//! Shards that do not fit their index.

use std::os::unix::fs::symlink;

use serde_json::{Value, json};

use super::{Case, check};
use crate::folder::{Folder, INDEX, SHARDS};

const NORM: &str = "model.norm.weight";

#[test]
fn shards_are_refused_when() {
    check(CASES);
}

/// Sets the final norm's shard, which is the second.
fn set(folder: &Folder, shard: Value) {
    folder.json(INDEX, |index| index["weight_map"][NORM] = shard);
}

/// Adds an empty tensor to a shard.
fn add(folder: &Folder, shard: &str, name: &str) {
    folder.tensors(shard, |header, _| {
        header[name] = json!({"dtype": "BF16", "shape": [0], "data_offsets": [0, 0]});
    });
}

pub const CASES: &[Case] = &[
    (
        "there is neither a single file nor an index",
        Folder::sharded,
        |f| f.remove(INDEX),
        ": found no weights, expected model.safetensors or model.safetensors.index.json",
    ),
    (
        "the index is a folder",
        Folder::sharded,
        |f| f.replace(INDEX, |path| std::fs::create_dir(path).unwrap()),
        "/model.safetensors.index.json: found a folder, expected an index of shards",
    ),
    (
        "the index is empty",
        Folder::sharded,
        |f| f.write(INDEX, ""),
        "/model.safetensors.index.json: found text that is not JSON (EOF while parsing a value at line 1 column 0), expected a JSON object",
    ),
    (
        "the index is cut short",
        Folder::sharded,
        |f| f.bytes(INDEX, |bytes| bytes.truncate(50)),
        "/model.safetensors.index.json: found text that is not JSON (EOF while parsing a string at line 1 column 50), expected a JSON object",
    ),
    (
        "the index is not UTF-8",
        Folder::sharded,
        |f| f.write(INDEX, b"{\"\xc3\x28\": 1}"),
        "/model.safetensors.index.json: found text with a byte that is not UTF-8 at offset 2, expected a JSON object",
    ),
    (
        "the index is a string",
        Folder::sharded,
        |f| f.write(INDEX, "\"model\""),
        r#"/model.safetensors.index.json: found text that is "model", expected a JSON object"#,
    ),
    (
        "the index has no weight_map",
        Folder::sharded,
        |f| f.write(INDEX, "{}"),
        r#"/model.safetensors.index.json: key "weight_map": found nothing, expected an object from tensor names to shards"#,
    ),
    (
        "the weight_map is a list",
        Folder::sharded,
        |f| f.set(INDEX, "weight_map", json!(["model.norm.weight"])),
        r#"/model.safetensors.index.json: key "weight_map": found ["model.norm.weight"], expected an object"#,
    ),
    (
        "the weight_map is empty",
        Folder::sharded,
        |f| f.set(INDEX, "weight_map", json!({})),
        r#"/model.safetensors.index.json: tensor "model.embed_tokens.weight": found none, expected one of shape [40, 16]"#,
    ),
    (
        "the weight_map has a tensor twice",
        Folder::sharded,
        |f| f.write(INDEX, r#"{"weight_map": {"a": "one", "a": "two"}}"#),
        r#"/model.safetensors.index.json: found text with key "a" twice at line 1 column 39, expected a JSON object with each key once"#,
    ),
    (
        "a shard's name is a number",
        Folder::sharded,
        |f| set(f, json!(2)),
        r#"/model.safetensors.index.json: tensor "model.norm.weight": found shard 2, expected the name of a file in the same folder"#,
    ),
    (
        "a shard's name is empty",
        Folder::sharded,
        |f| set(f, json!("")),
        r#"/model.safetensors.index.json: tensor "model.norm.weight": found shard "", expected the name of a file in the same folder"#,
    ),
    (
        "a shard's name is an absolute path",
        Folder::sharded,
        |f| set(f, json!("/etc/passwd")),
        r#"/model.safetensors.index.json: tensor "model.norm.weight": found shard "/etc/passwd", expected the name of a file in the same folder"#,
    ),
    (
        "a shard's name leads out of the folder",
        Folder::sharded,
        |f| set(f, json!("../model.safetensors")),
        r#"/model.safetensors.index.json: tensor "model.norm.weight": found shard "../model.safetensors", expected the name of a file in the same folder"#,
    ),
    (
        "a shard's name is the parent folder",
        Folder::sharded,
        |f| set(f, json!("..")),
        r#"/model.safetensors.index.json: tensor "model.norm.weight": found shard "..", expected the name of a file in the same folder"#,
    ),
    (
        "a shard's name leads into a folder",
        Folder::sharded,
        |f| set(f, json!("weights/model.safetensors")),
        r#"/model.safetensors.index.json: tensor "model.norm.weight": found shard "weights/model.safetensors", expected the name of a file in the same folder"#,
    ),
    (
        "a shard's name ends in a slash",
        Folder::sharded,
        |f| set(f, json!("weights/")),
        r#"/model.safetensors.index.json: tensor "model.norm.weight": found shard "weights/", expected the name of a file in the same folder"#,
    ),
    (
        "a shard's name holds a zero",
        Folder::sharded,
        |f| set(f, json!("a\0b")),
        "/a\\u{0}b: found no such file, expected the shard that model.safetensors.index.json names",
    ),
    (
        "a shard is missing",
        Folder::sharded,
        |f| f.remove(SHARDS[1]),
        "/model-00002-of-00002.safetensors: found no such file, expected the shard that model.safetensors.index.json names",
    ),
    (
        "a shard is a link to nothing",
        Folder::sharded,
        |f| f.replace(SHARDS[1], |path| symlink("absent", path).unwrap()),
        "/model-00002-of-00002.safetensors: found a symbolic link to nothing, expected a safetensors file",
    ),
    (
        "a shard is cut short",
        Folder::sharded,
        |f| f.bytes(SHARDS[1], |bytes| bytes.truncate(bytes.len() - 10)),
        r#"/model-00002-of-00002.safetensors: tensor "model.norm.weight": found data_offsets [4736,4768], expected an end within the 4758 bytes of data; is the file cut short?"#,
    ),
    (
        "a shard is no safetensors file",
        Folder::sharded,
        |f| set(f, json!("config.json")),
        "/config.json: found a header length of 8388350557284278907, expected at most 100000000; is this a safetensors file?",
    ),
    (
        "a tensor is not where the index says",
        Folder::sharded,
        |f| set(f, json!(SHARDS[0])),
        r#"/model-00001-of-00002.safetensors: tensor "model.norm.weight": found none, expected it here, where model.safetensors.index.json says it is"#,
    ),
    (
        "a tensor is in two shards",
        Folder::sharded,
        |f| add(f, SHARDS[0], NORM),
        r#"/model-00001-of-00002.safetensors: tensor "model.norm.weight": found a second one, expected it in model-00002-of-00002.safetensors only, where model.safetensors.index.json says it is"#,
    ),
    (
        "a shard has a tensor that the index lacks",
        Folder::sharded,
        |f| add(f, SHARDS[0], "model.norm.bias"),
        r#"/model-00001-of-00002.safetensors: tensor "model.norm.bias": found one, expected only tensors that model.safetensors.index.json names"#,
    ),
    (
        "the index lacks a tensor of the model",
        Folder::sharded,
        |f| {
            f.json(INDEX, |index| {
                index["weight_map"].as_object_mut().unwrap().remove(NORM);
            });
        },
        r#"/model.safetensors.index.json: tensor "model.norm.weight": found none, expected one of shape [16]"#,
    ),
    (
        "the index names a tensor that is none of the model",
        Folder::sharded,
        |f| {
            f.json(INDEX, |index| {
                index["weight_map"]["lm_head.weight"] = json!(SHARDS[0])
            })
        },
        r#"/model.safetensors.index.json: tensor "lm_head.weight": found one, expected none: Gemma 2's head is model.embed_tokens.weight"#,
    ),
];
