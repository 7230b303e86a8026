//! Files that break the safetensors format.

use std::os::unix::fs::symlink;
use std::process::Command;

use serde_json::json;

use super::{Case, check};
use crate::folder::Folder;

const FILE: &str = "model.safetensors";
const NORM: &str = "model.norm.weight";

#[test]
fn a_weight_file_is_refused_when() {
    check(CASES);
}

/// Sets a field of the final norm, the last tensor of the file: bytes 10752 to 10784 of the data.
fn set(folder: &Folder, field: &str, value: serde_json::Value) {
    folder.tensors(FILE, |header, _| header[NORM][field] = value);
}

fn remove(folder: &Folder, field: &str) {
    folder.tensors(FILE, |header, _| {
        header[NORM].as_object_mut().unwrap().remove(field);
    });
}

pub const CASES: &[Case] = &[
    (
        "it is a folder",
        Folder::single,
        |f| f.replace(FILE, |path| std::fs::create_dir(path).unwrap()),
        "/model.safetensors: found a folder, expected a safetensors file",
    ),
    (
        "it is a pipe",
        Folder::single,
        |f| {
            f.replace(FILE, |path| {
                assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
            });
        },
        "/model.safetensors: found a pipe, socket or device, expected a safetensors file",
    ),
    (
        "it is a link to nothing",
        Folder::single,
        |f| f.replace(FILE, |path| symlink("../../blobs/absent", path).unwrap()),
        "/model.safetensors: found a symbolic link to nothing, expected a safetensors file",
    ),
    (
        "it is a link to itself",
        Folder::single,
        |f| f.replace(FILE, |path| symlink(FILE, path).unwrap()),
        "/model.safetensors: cannot be read: Too many levels of symbolic links (os error 40)",
    ),
    (
        "Git LFS has not fetched it",
        Folder::single,
        |f| {
            f.write(
                FILE,
                "version https://git-lfs.github.com/spec/v1\noid sha256:00\n",
            )
        },
        "/model.safetensors: found a Git LFS pointer, expected the safetensors file that it stands for",
    ),
    (
        "it is empty",
        Folder::single,
        |f| f.write(FILE, ""),
        "/model.safetensors: found 0 bytes, expected at least 8, the header's length",
    ),
    (
        "it ends within the header's length",
        Folder::single,
        |f| f.write(FILE, "12345"),
        "/model.safetensors: found 5 bytes, expected at least 8, the header's length",
    ),
    (
        "it ends within the header",
        Folder::single,
        |f| f.bytes(FILE, |bytes| bytes.truncate(100)),
        "/model.safetensors: found a header length of 2400 but 92 bytes after it, expected the whole header; is the file cut short?",
    ),
    (
        "it ends within the data",
        Folder::single,
        |f| f.bytes(FILE, |bytes| bytes.truncate(bytes.len() - 1)),
        r#"/model.safetensors: tensor "model.norm.weight": found data_offsets [10752,10784], expected an end within the 10783 bytes of data; is the file cut short?"#,
    ),
    (
        "it ends after the header",
        Folder::single,
        |f| f.tensors(FILE, |_, data| data.clear()),
        r#"/model.safetensors: tensor "model.embed_tokens.weight": found data_offsets [0,1280], expected an end within the 0 bytes of data; is the file cut short?"#,
    ),
    (
        "it goes on after the last tensor",
        Folder::single,
        |f| f.bytes(FILE, |bytes| bytes.extend([0; 3])),
        r#"/model.safetensors: found 3 bytes after tensor "model.norm.weight", expected the file to end there"#,
    ),
    (
        "its header is longer than any header",
        Folder::single,
        |f| {
            f.bytes(FILE, |bytes| {
                bytes[..8].copy_from_slice(&100_000_001u64.to_le_bytes())
            })
        },
        "/model.safetensors: found a header length of 100000001, expected at most 100000000; is this a safetensors file?",
    ),
    (
        "its header's length is no length at all",
        Folder::single,
        |f| f.bytes(FILE, |bytes| bytes[..8].fill(0xff)),
        "/model.safetensors: found a header length of 18446744073709551615, expected at most 100000000; is this a safetensors file?",
    ),
    (
        "its header is empty",
        Folder::single,
        |f| f.header(FILE, b""),
        "/model.safetensors: found a header that is not JSON (EOF while parsing a value at line 1 column 0), expected a JSON object",
    ),
    (
        "its header is not UTF-8",
        Folder::single,
        |f| f.header(FILE, b"{\"a\xff\": 1}"),
        "/model.safetensors: found a header with a byte that is not UTF-8 at offset 3, expected a JSON object",
    ),
    (
        "its header is not JSON",
        Folder::single,
        |f| f.header(FILE, b"{\"a\": {]"),
        "/model.safetensors: found a header that is not JSON (key must be a string at line 1 column 8), expected a JSON object",
    ),
    (
        "its header is a list",
        Folder::single,
        |f| f.header(FILE, b"[1]"),
        "/model.safetensors: found a header that is [1], expected a JSON object",
    ),
    (
        "its header nests without end",
        Folder::single,
        |f| f.header(FILE, "[".repeat(10_000).as_bytes()),
        "/model.safetensors: found a header that is not JSON (recursion limit exceeded at line 1 column 128), expected a JSON object",
    ),
    (
        "its header has a tensor twice",
        Folder::single,
        |f| {
            let entry = r#"{"dtype":"BF16","shape":[0],"data_offsets":[0,0]}"#;
            f.header(FILE, format!(r#"{{"a":{entry},"a":{entry}}}"#).as_bytes());
        },
        r#"/model.safetensors: found a header with key "a" twice at line 1 column 109, expected a JSON object with each key once"#,
    ),
    (
        "a tensor is no object",
        Folder::single,
        |f| f.tensors(FILE, |header, _| header[NORM] = json!("BF16")),
        r#"/model.safetensors: tensor "model.norm.weight": found "BF16", expected an object with dtype, shape and data_offsets"#,
    ),
    (
        "a tensor has no dtype",
        Folder::single,
        |f| remove(f, "dtype"),
        r#"/model.safetensors: tensor "model.norm.weight": found {"data_offsets":[10752,10784],"shape":[16]}, expected an object with dtype, shape and data_offsets"#,
    ),
    (
        "a tensor has no shape",
        Folder::single,
        |f| remove(f, "shape"),
        r#"/model.safetensors: tensor "model.norm.weight": found {"dtype":"BF16","data_offsets":[10752,10784]}, expected an object with dtype, shape and data_offsets"#,
    ),
    (
        "a tensor has no offsets",
        Folder::single,
        |f| remove(f, "data_offsets"),
        r#"/model.safetensors: tensor "model.norm.weight": found {"dtype":"BF16","shape":[16]}, expected an object with dtype, shape and data_offsets"#,
    ),
    (
        "a dtype is a number",
        Folder::single,
        |f| set(f, "dtype", json!(16)),
        r#"/model.safetensors: tensor "model.norm.weight": found dtype 16, expected one of BF16, F16, F32, F64, I32, I64, U8, BOOL"#,
    ),
    (
        "a dtype is unknown",
        Folder::single,
        |f| set(f, "dtype", json!("F8_E4M3")),
        r#"/model.safetensors: tensor "model.norm.weight": found dtype "F8_E4M3", expected one of BF16, F16, F32, F64, I32, I64, U8, BOOL"#,
    ),
    (
        "a shape is a number",
        Folder::single,
        |f| set(f, "shape", json!(16)),
        r#"/model.safetensors: tensor "model.norm.weight": found shape 16, expected a list of sizes"#,
    ),
    (
        "a shape is negative",
        Folder::single,
        |f| set(f, "shape", json!([-16])),
        r#"/model.safetensors: tensor "model.norm.weight": found shape [-16], expected a list of sizes"#,
    ),
    (
        "a shape is fractional",
        Folder::single,
        |f| set(f, "shape", json!([16.5])),
        r#"/model.safetensors: tensor "model.norm.weight": found shape [16.5], expected a list of sizes"#,
    ),
    (
        "a shape's bytes overflow",
        Folder::single,
        |f| set(f, "shape", json!([1u64 << 32, 1u64 << 32])),
        r#"/model.safetensors: tensor "model.norm.weight": found 32 bytes, expected a shape that can be stored, not BF16 [4294967296, 4294967296]"#,
    ),
    (
        "a shape asks for more bytes than the offsets give",
        Folder::single,
        |f| set(f, "shape", json!([17])),
        r#"/model.safetensors: tensor "model.norm.weight": found 32 bytes, expected 34 bytes for BF16 [17]"#,
    ),
    (
        "a dtype asks for more bytes than the offsets give",
        Folder::single,
        |f| set(f, "dtype", json!("F32")),
        r#"/model.safetensors: tensor "model.norm.weight": found 32 bytes, expected 64 bytes for F32 [16]"#,
    ),
    (
        "there are three offsets",
        Folder::single,
        |f| set(f, "data_offsets", json!([10752, 10768, 10784])),
        r#"/model.safetensors: tensor "model.norm.weight": found data_offsets [10752,10768,10784], expected two byte offsets, begin and end"#,
    ),
    (
        "an offset is negative",
        Folder::single,
        |f| set(f, "data_offsets", json!([-32, 0])),
        r#"/model.safetensors: tensor "model.norm.weight": found data_offsets [-32,0], expected two byte offsets, begin and end"#,
    ),
    (
        "an offset is past any file",
        Folder::single,
        |f| set(f, "data_offsets", json!([10752, u64::MAX])),
        r#"/model.safetensors: tensor "model.norm.weight": found data_offsets [10752,18446744073709551615], expected an end within the 10784 bytes of data; is the file cut short?"#,
    ),
    (
        "an end is before its begin",
        Folder::single,
        |f| set(f, "data_offsets", json!([10784, 10752])),
        r#"/model.safetensors: tensor "model.norm.weight": found data_offsets [10784,10752], expected a begin that is not after the end"#,
    ),
    (
        "an end is past the data",
        Folder::single,
        |f| set(f, "data_offsets", json!([10754, 10786])),
        r#"/model.safetensors: tensor "model.norm.weight": found data_offsets [10754,10786], expected an end within the 10784 bytes of data; is the file cut short?"#,
    ),
    (
        "two tensors overlap",
        Folder::single,
        |f| set(f, "data_offsets", json!([10750, 10782])),
        r#"/model.safetensors: tensor "model.norm.weight": found an overlap: a begin at data offset 10750, expected 10752, where tensor "model.layers.1.self_attn.v_proj.weight" ends"#,
    ),
    (
        "two tensors are the same bytes",
        Folder::single,
        |f| set(f, "data_offsets", json!([1280, 1312])),
        r#"/model.safetensors: tensor "model.norm.weight": found an overlap: a begin at data offset 1280, expected 1312, where tensor "model.layers.0.input_layernorm.weight" ends"#,
    ),
    (
        "bytes between two tensors belong to neither",
        Folder::single,
        |f| {
            f.tensors(FILE, |header, data| {
                header[NORM]["data_offsets"] = json!([10756, 10788]);
                data.extend([0; 4]);
            });
        },
        r#"/model.safetensors: tensor "model.norm.weight": found a gap: a begin at data offset 10756, expected 10752, where tensor "model.layers.1.self_attn.v_proj.weight" ends"#,
    ),
    (
        "bytes before the first tensor belong to none",
        Folder::single,
        |f| {
            f.tensors(FILE, |header, data| {
                for entry in header.as_object_mut().unwrap().values_mut() {
                    for offset in entry["data_offsets"].as_array_mut().unwrap() {
                        *offset = json!(offset.as_u64().unwrap() + 2);
                    }
                }
                data.extend([0; 2]);
            });
        },
        r#"/model.safetensors: tensor "model.embed_tokens.weight": found a gap: a begin at data offset 2, expected 0, where the header ends"#,
    ),
];
