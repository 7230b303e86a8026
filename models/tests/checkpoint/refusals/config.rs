//! Configurations that are not Gemma 2's, or not what this project computes.

use std::os::unix::fs::symlink;

use serde_json::{Value, json};

use super::{Case, check};
use crate::folder::Folder;

const FILE: &str = "config.json";

#[test]
fn a_configuration_is_refused_when() {
    check(CASES);
}

fn set(folder: &Folder, key: &str, value: Value) {
    folder.set(FILE, key, value);
}

fn remove(folder: &Folder, key: &str) {
    folder.json(FILE, |json| {
        json.as_object_mut().unwrap().remove(key);
    });
}

pub const CASES: &[Case] = &[
    (
        "it is missing",
        Folder::single,
        |f| f.remove(FILE),
        "/config.json: found no such file, expected a checkpoint's configuration",
    ),
    (
        "it is a folder",
        Folder::single,
        |f| f.replace(FILE, |path| std::fs::create_dir(path).unwrap()),
        "/config.json: found a folder, expected a checkpoint's configuration",
    ),
    (
        "it is a link to nothing",
        Folder::single,
        |f| f.replace(FILE, |path| symlink("absent", path).unwrap()),
        "/config.json: found a symbolic link to nothing, expected a checkpoint's configuration",
    ),
    (
        "it is empty",
        Folder::single,
        |f| f.write(FILE, ""),
        "/config.json: found text that is not JSON (EOF while parsing a value at line 1 column 0), expected a JSON object",
    ),
    (
        "it is not UTF-8",
        Folder::single,
        |f| f.write(FILE, b"{\xff}"),
        "/config.json: found text with a byte that is not UTF-8 at offset 1, expected a JSON object",
    ),
    (
        "it is not JSON",
        Folder::single,
        |f| f.write(FILE, "{\"hidden_size\": 16,}"),
        "/config.json: found text that is not JSON (trailing comma at line 1 column 20), expected a JSON object",
    ),
    (
        "it is a list",
        Folder::single,
        |f| f.write(FILE, "[]"),
        "/config.json: found text that is [], expected a JSON object",
    ),
    (
        "it has a key twice",
        Folder::single,
        |f| f.write(FILE, "{\"hidden_size\": 16,\n \"hidden_size\": 17}"),
        r#"/config.json: found text with key "hidden_size" twice at line 2 column 19, expected a JSON object with each key once"#,
    ),
    (
        "it is far too large",
        Folder::single,
        |f| {
            let file = std::fs::File::create(f.path(FILE)).unwrap();
            file.set_len(100_000_001).unwrap();
        },
        "/config.json: found a file of 100000001 bytes, expected at most 100000000",
    ),
    (
        "it is of another type",
        Folder::single,
        |f| set(f, "model_type", json!("llama")),
        r#"/config.json: key "model_type": found "llama", expected "gemma2": this is not Gemma 2"#,
    ),
    (
        "its type is a number",
        Folder::single,
        |f| set(f, "model_type", json!(2)),
        r#"/config.json: key "model_type": found 2, expected a string"#,
    ),
    (
        "it is of another class",
        Folder::single,
        |f| set(f, "architectures", json!(["Gemma3ForCausalLM"])),
        r#"/config.json: key "architectures": found ["Gemma3ForCausalLM"], expected a list with "Gemma2ForCausalLM": this is not Gemma 2"#,
    ),
    (
        "its class is not in a list",
        Folder::single,
        |f| set(f, "architectures", json!("Gemma2ForCausalLM")),
        r#"/config.json: key "architectures": found "Gemma2ForCausalLM", expected a list of strings"#,
    ),
    (
        "it does not say what it is",
        Folder::single,
        |f| {
            remove(f, "model_type");
            remove(f, "architectures");
        },
        r#"/config.json: key "model_type": found nothing, expected "gemma2": nothing says that this is Gemma 2"#,
    ),
    (
        "a size is missing",
        Folder::single,
        |f| remove(f, "hidden_size"),
        r#"/config.json: key "hidden_size": found nothing, expected an integer from 1 to 1048576"#,
    ),
    (
        "a size is null",
        Folder::single,
        |f| set(f, "vocab_size", Value::Null),
        r#"/config.json: key "vocab_size": found null, expected an integer from 1 to 1048576"#,
    ),
    (
        "a size is a string",
        Folder::single,
        |f| set(f, "intermediate_size", json!("24")),
        r#"/config.json: key "intermediate_size": found "24", expected an integer from 1 to 1048576"#,
    ),
    (
        "a size is zero",
        Folder::single,
        |f| set(f, "hidden_size", json!(0)),
        r#"/config.json: key "hidden_size": found 0, expected an integer from 1 to 1048576"#,
    ),
    (
        "a size is negative",
        Folder::single,
        |f| set(f, "num_attention_heads", json!(-4)),
        r#"/config.json: key "num_attention_heads": found -4, expected an integer from 1 to 1048576"#,
    ),
    (
        "a size is fractional",
        Folder::single,
        |f| set(f, "hidden_size", json!(16.0)),
        r#"/config.json: key "hidden_size": found 16.0, expected an integer from 1 to 1048576"#,
    ),
    (
        "a size is absurd",
        Folder::single,
        |f| set(f, "vocab_size", json!(u64::MAX)),
        r#"/config.json: key "vocab_size": found 18446744073709551615, expected an integer from 1 to 1048576"#,
    ),
    (
        "no layers are given",
        Folder::single,
        |f| remove(f, "num_hidden_layers"),
        r#"/config.json: key "num_hidden_layers": found nothing, expected an integer from 1 to 1024"#,
    ),
    (
        "there are absurdly many layers",
        Folder::single,
        |f| set(f, "num_hidden_layers", json!(1_000_000_000)),
        r#"/config.json: key "num_hidden_layers": found 1000000000, expected an integer from 1 to 1024"#,
    ),
    (
        "query heads do not divide among kv heads",
        Folder::single,
        |f| set(f, "num_key_value_heads", json!(3)),
        r#"/config.json: key "num_key_value_heads": found 3, expected a divisor of num_attention_heads, which is 4"#,
    ),
    (
        "there are more kv heads than query heads",
        Folder::single,
        |f| set(f, "num_key_value_heads", json!(8)),
        r#"/config.json: key "num_key_value_heads": found 8, expected a divisor of num_attention_heads, which is 4"#,
    ),
    (
        "heads are of odd width",
        Folder::single,
        |f| set(f, "head_dim", json!(7)),
        r#"/config.json: key "head_dim": found 7, expected an even number: RoPE turns pairs"#,
    ),
    (
        "heads are too wide together",
        Folder::single,
        |f| set(f, "head_dim", json!(1_000_000)),
        r#"/config.json: key "head_dim": found 1000000, expected at most 1048576 over num_attention_heads, which is 4"#,
    ),
    (
        "layer types are too few",
        Folder::single,
        |f| set(f, "layer_types", json!(["full_attention"])),
        r#"/config.json: key "layer_types": found a list of 1, expected one entry a layer, and num_hidden_layers is 2"#,
    ),
    (
        "a layer type is unknown",
        Folder::single,
        |f| {
            set(
                f,
                "layer_types",
                json!(["sliding_attention", "chunked_attention"]),
            )
        },
        r#"/config.json: key "layer_types[1]": found "chunked_attention", expected "sliding_attention" or "full_attention""#,
    ),
    (
        "layer types are not a list",
        Folder::single,
        |f| set(f, "layer_types", json!("sliding_attention")),
        r#"/config.json: key "layer_types": found "sliding_attention", expected a list of strings"#,
    ),
    (
        "a layer slides without a window",
        Folder::single,
        |f| set(f, "sliding_window", Value::Null),
        r#"/config.json: key "sliding_window": found null, expected an integer from 1 to 16777216: some layers slide"#,
    ),
    (
        "the window is zero",
        Folder::single,
        |f| set(f, "sliding_window", json!(0)),
        r#"/config.json: key "sliding_window": found 0, expected an integer from 1 to 16777216"#,
    ),
    (
        "the context is longer than f32 can count",
        Folder::single,
        |f| set(f, "max_position_embeddings", json!(16_777_217)),
        r#"/config.json: key "max_position_embeddings": found 16777217, expected an integer from 1 to 16777216"#,
    ),
    (
        "the attention softcap is zero",
        Folder::single,
        |f| set(f, "attn_logit_softcapping", json!(0)),
        r#"/config.json: key "attn_logit_softcapping": found 0, expected a number above 0 and within f32's range"#,
    ),
    (
        "the final softcap is a bool",
        Folder::single,
        |f| set(f, "final_logit_softcapping", json!(false)),
        r#"/config.json: key "final_logit_softcapping": found false, expected a number above 0 and within f32's range"#,
    ),
    (
        "the scalar of the scores is negative",
        Folder::single,
        |f| set(f, "query_pre_attn_scalar", json!(-256)),
        r#"/config.json: key "query_pre_attn_scalar": found -256, expected a number above 0 and within f32's range"#,
    ),
    (
        "epsilon vanishes in f32",
        Folder::single,
        |f| set(f, "rms_norm_eps", json!(1e-60)),
        r#"/config.json: key "rms_norm_eps": found 1e-60, expected a number above 0 and within f32's range"#,
    ),
    (
        "epsilon is a string",
        Folder::single,
        |f| set(f, "rms_norm_eps", json!("1e-6")),
        r#"/config.json: key "rms_norm_eps": found "1e-6", expected a number above 0 and within f32's range"#,
    ),
    (
        "a number is not finite",
        Folder::single,
        |f| f.write(FILE, r#"{"model_type": "gemma2", "rms_norm_eps": NaN}"#),
        "/config.json: found text that is not JSON (expected value at line 1 column 42), expected a JSON object",
    ),
    (
        "RoPE's base is infinite in f32",
        Folder::single,
        |f| set(f, "rope_parameters", json!({"rope_theta": 1e39})),
        r#"/config.json: key "rope_parameters.rope_theta": found 1e+39, expected a number above 0 and within f32's range"#,
    ),
    (
        "RoPE's two bases differ",
        Folder::single,
        |f| set(f, "rope_theta", json!(20000.0)),
        r#"/config.json: key "rope_parameters.rope_theta": found 10000.0, expected 20000, which the file gives elsewhere"#,
    ),
    (
        "RoPE is of another type",
        Folder::single,
        |f| {
            set(
                f,
                "rope_parameters",
                json!({"rope_theta": 1e4, "rope_type": "yarn"}),
            )
        },
        r#"/config.json: key "rope_parameters.rope_type": found "yarn", expected "default""#,
    ),
    (
        "RoPE is scaled",
        Folder::single,
        |f| set(f, "rope_scaling", json!({"type": "linear", "factor": 2.0})),
        r#"/config.json: key "rope_scaling.type": found "linear", expected "default""#,
    ),
    (
        "RoPE has parameters for each kind of layer",
        Folder::single,
        |f| {
            set(
                f,
                "rope_parameters",
                json!({"full_attention": {"rope_theta": 1e4}}),
            )
        },
        r#"/config.json: key "rope_parameters.full_attention": found {"rope_theta":10000.0}, expected only rope_theta and rope_type here"#,
    ),
    (
        "RoPE's parameters are a number",
        Folder::single,
        |f| set(f, "rope_parameters", json!(10000)),
        r#"/config.json: key "rope_parameters": found 10000, expected an object"#,
    ),
    (
        "the activation is another",
        Folder::single,
        |f| set(f, "hidden_activation", json!("silu")),
        r#"/config.json: key "hidden_activation": found "silu", expected "gelu_pytorch_tanh""#,
    ),
    (
        "the activation under its older name is another",
        Folder::single,
        |f| {
            remove(f, "hidden_activation");
            set(f, "hidden_act", json!("gelu"));
        },
        r#"/config.json: key "hidden_act": found "gelu", expected "gelu_pytorch_tanh""#,
    ),
    (
        "attention has biases",
        Folder::single,
        |f| set(f, "attention_bias", json!(true)),
        r#"/config.json: key "attention_bias": found true, expected false: Gemma 2's projections have no bias"#,
    ),
    (
        "the head is not tied",
        Folder::single,
        |f| set(f, "tie_word_embeddings", json!(false)),
        r#"/config.json: key "tie_word_embeddings": found false, expected true: Gemma 2's head is its embedding"#,
    ),
    (
        "attention looks forward",
        Folder::single,
        |f| set(f, "use_bidirectional_attention", json!(true)),
        r#"/config.json: key "use_bidirectional_attention": found true, expected false: Gemma 2 attends backwards only"#,
    ),
    (
        "weights are quantized",
        Folder::single,
        |f| set(f, "quantization_config", json!({"quant_method": "gptq"})),
        r#"/config.json: key "quantization_config": found {"quant_method":"gptq"}, expected nothing: weights are read as bf16, f16 or f32"#,
    ),
    (
        "the first token is a list",
        Folder::single,
        |f| set(f, "bos_token_id", json!([2])),
        r#"/config.json: key "bos_token_id": found [2], expected a token id from 0 to 39"#,
    ),
    (
        "an end token is outside the vocabulary",
        Folder::single,
        |f| set(f, "eos_token_id", json!([1, 40])),
        r#"/config.json: key "eos_token_id": found [1,40], expected one token id or more, from 0 to 39"#,
    ),
    (
        "the pad token is negative",
        Folder::single,
        |f| set(f, "pad_token_id", json!(-1)),
        r#"/config.json: key "pad_token_id": found -1, expected a token id from 0 to 39"#,
    ),
    (
        "the vocabulary ends before Gemma's own first token",
        Folder::single,
        |f| {
            remove(f, "bos_token_id");
            set(f, "vocab_size", json!(2));
        },
        r#"/config.json: key "bos_token_id": found nothing, expected a token id from 0 to 1"#,
    ),
    (
        "RoPE turns a part of each head",
        Folder::single,
        |f| set(f, "partial_rotary_factor", json!(0.5)),
        r#"/config.json: key "partial_rotary_factor": found 0.5, expected 1.0: RoPE turns whole heads"#,
    ),
];
