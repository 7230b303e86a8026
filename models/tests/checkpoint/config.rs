//! Configurations as they are found in the wild.

use std::path::Path;

use lapidary_models::{Config, LayerKind};
use serde_json::{Map, Value, json};

use crate::folder::config;

fn parse(json: &Value) -> Config {
    Config::parse(Path::new("config.json"), json.to_string().as_bytes()).unwrap()
}

/// The folder's configuration with some keys set.
fn with(keys: Value) -> Config {
    let mut json = config();
    for (key, value) in keys.as_object().unwrap() {
        json[key] = value.clone();
    }
    parse(&json)
}

/// The folder's configuration with some keys left out.
fn without(keys: &[&str]) -> Config {
    let json: Map<String, Value> = config().as_object().unwrap().clone();
    let kept = json
        .into_iter()
        .filter(|(key, _)| !keys.contains(&key.as_str()));
    parse(&Value::Object(kept.collect()))
}

#[test]
fn every_field_comes_from_its_key() {
    let json = json!({
        "model_type": "gemma2", "hidden_size": 3, "intermediate_size": 5, "num_attention_heads": 6,
        "num_key_value_heads": 2, "head_dim": 8, "vocab_size": 77, "num_hidden_layers": 3,
        "layer_types": ["full_attention", "full_attention", "sliding_attention"],
        "sliding_window": 1, "max_position_embeddings": 99, "query_pre_attn_scalar": 224.5,
        "attn_logit_softcapping": 20, "final_logit_softcapping": 0.5, "rms_norm_eps": 1e-5,
        "rope_theta": 500, "bos_token_id": 12, "eos_token_id": [13, 14], "pad_token_id": 15,
    });
    assert_eq!(
        parse(&json),
        Config {
            hidden: 3,
            intermediate: 5,
            heads: 6,
            kv_heads: 2,
            head_dim: 8,
            vocab: 77,
            layers: vec![LayerKind::Full, LayerKind::Full, LayerKind::Sliding],
            window: 1,
            context: 99,
            query_pre_attn_scalar: 224.5,
            attn_softcap: Some(20.0),
            final_softcap: Some(0.5),
            rms_eps: 1e-5,
            rope_theta: 500.0,
            bos: 12,
            eos: vec![13, 14],
            pad: 15,
        }
    );
}

#[test]
fn absent_keys_have_gemma_2s_values() {
    let json = json!({
        "architectures": ["Gemma2ForCausalLM"], "hidden_size": 4, "intermediate_size": 4,
        "num_attention_heads": 1, "num_key_value_heads": 1, "vocab_size": 4, "num_hidden_layers": 3,
    });
    let config = parse(&json);
    assert_eq!(config.head_dim, 256);
    assert_eq!(
        config.layers,
        [LayerKind::Sliding, LayerKind::Full, LayerKind::Sliding]
    );
    assert_eq!((config.window, config.context), (4096, 8192));
    assert_eq!(config.query_pre_attn_scalar, 256.0);
    assert_eq!(
        (config.attn_softcap, config.final_softcap),
        (Some(50.0), Some(30.0))
    );
    assert_eq!((config.rms_eps, config.rope_theta), (1e-6, 10000.0));
    assert_eq!((config.bos, config.eos, config.pad), (2, vec![1], 0));
}

#[test]
fn a_softcap_of_null_is_none() {
    let config = with(json!({"attn_logit_softcapping": null, "final_logit_softcapping": null}));
    assert_eq!((config.attn_softcap, config.final_softcap), (None, None));
}

#[test]
fn ropes_base_stands_in_either_place_or_both() {
    let base = |keys| with(keys).rope_theta;
    assert_eq!(
        base(json!({"rope_parameters": null, "rope_theta": 7.0})),
        7.0
    );
    assert_eq!(base(json!({"rope_parameters": {"rope_theta": 8}})), 8.0);
    assert_eq!(
        base(json!({"rope_parameters": {"rope_theta": 9.0}, "rope_theta": 9})),
        9.0
    );
    assert_eq!(
        base(json!({"rope_parameters": {"rope_type": "default", "factor": null}})),
        10000.0
    );
    assert_eq!(base(json!({"rope_scaling": null})), 10000.0);
    assert_eq!(
        base(json!({"rope_scaling": {"type": "default"}, "rope_theta": 10000})),
        10000.0
    );
}

#[test]
fn the_activation_has_two_names_and_the_newer_one_counts() {
    with(json!({"hidden_act": "gelu_pytorch_tanh"}));
    with(json!({"hidden_act": "gelu_pytorch_tanh", "hidden_activation": null}));
    with(json!({"hidden_act": "gelu", "hidden_activation": "gelu_pytorch_tanh"}));
    without(&["hidden_activation"]);
}

#[test]
fn either_name_of_the_architecture_is_enough() {
    without(&["architectures"]);
    without(&["model_type"]);
}

#[test]
fn an_absent_window_is_no_matter_where_no_layer_slides() {
    let full = ["full_attention", "full_attention"];
    let config = with(json!({"layer_types": full, "sliding_window": null}));
    assert_eq!(config.layers, [LayerKind::Full, LayerKind::Full]);
}

#[test]
fn eos_is_an_id_or_a_list() {
    assert_eq!(with(json!({"eos_token_id": 1})).eos, [1]);
    assert_eq!(with(json!({"eos_token_id": [1, 39]})).eos, [1, 39]);
    assert_eq!(with(json!({"eos_token_id": null})).eos, [1]);
}

#[test]
fn unknown_keys_are_ignored() {
    let keys =
        json!({"cache_implementation": "hybrid", "torch_dtype": "bfloat16", "x": {"y": [1]}});
    assert_eq!(with(keys), parse(&config()));
}

#[test]
fn multi_query_and_full_attention_heads_are_both_allowed() {
    assert_eq!(with(json!({"num_key_value_heads": 1})).kv_heads, 1);
    assert_eq!(with(json!({"num_key_value_heads": 4})).kv_heads, 4);
}

#[test]
fn the_published_sizes_have_the_published_numbers_of_parameters_and_tensors() {
    let published = |hidden, layers, (heads, kv_heads), head_dim, scalar, intermediate| {
        parse(&json!({
            "architectures": ["Gemma2ForCausalLM"], "model_type": "gemma2",
            "attention_bias": false, "attention_dropout": 0.0, "attn_logit_softcapping": 50.0,
            "bos_token_id": 2, "cache_implementation": "hybrid", "eos_token_id": 1,
            "final_logit_softcapping": 30.0, "head_dim": head_dim,
            "hidden_act": "gelu_pytorch_tanh", "hidden_activation": "gelu_pytorch_tanh",
            "hidden_size": hidden, "initializer_range": 0.02, "intermediate_size": intermediate,
            "max_position_embeddings": 8192, "num_attention_heads": heads,
            "num_hidden_layers": layers, "num_key_value_heads": kv_heads, "pad_token_id": 0,
            "query_pre_attn_scalar": scalar, "rms_norm_eps": 1e-06, "rope_theta": 10000.0,
            "sliding_window": 4096, "torch_dtype": "bfloat16", "use_cache": true,
            "vocab_size": 256000,
        }))
    };
    let sizes = [
        (
            published(2304, 26, (8, 4), 256, 256, 9216),
            2_614_341_888,
            288,
        ),
        (
            published(3584, 42, (16, 8), 256, 256, 14336),
            9_241_705_984,
            464,
        ),
        (
            published(4608, 46, (32, 16), 128, 144, 36864),
            27_227_128_320,
            508,
        ),
    ];
    for (config, parameters, tensors) in sizes {
        assert_eq!(config.parameters(), parameters);
        assert_eq!(config.tensors().len(), tensors);
    }
}

#[test]
fn the_largest_sizes_allowed_describe_a_model_without_overflow() {
    let most = 1 << 20;
    let config = with(json!({
        "hidden_size": most, "intermediate_size": most, "num_attention_heads": 2,
        "num_key_value_heads": 2, "head_dim": most / 2, "vocab_size": most,
        "num_hidden_layers": 1024, "layer_types": null,
    }));
    assert_eq!(
        config.parameters(),
        1024 * (7 * (1 << 40) + 4 * most) + (1 << 40) + most
    );
}
