//! Checkpoints that open, and what is read from them.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use ir::DType;
use lapidary_models::{Checkpoint, Golden, SafeTensors, StoredDType};
use safetensors::tensor::Dtype;
use serde_json::json;

use crate::folder::{Folder, INDEX, SHARDS};

/// Compares every weight with what the safetensors crate reads from the same folder.
fn assert_same_weights(checkpoint: &Checkpoint, dtype: DType, files: &[&Path]) {
    let mut seen = 0;
    for file in files {
        let bytes = fs::read(file).unwrap();
        let reference = safetensors::SafeTensors::deserialize(&bytes).unwrap();
        for (name, tensor) in reference.iter() {
            let weight = checkpoint.tensor(name).unwrap();
            assert_eq!(weight.dtype, dtype, "{name}");
            assert_eq!(weight.shape, tensor.shape(), "{name}");
            assert_eq!(weight.bytes, tensor.data(), "{name}");
            seen += 1;
        }
    }
    assert_eq!(seen, checkpoint.tensors().count());
}

#[test]
fn weights_come_in_bf16_f16_or_f32() {
    for (stored, dtype) in [
        (Dtype::BF16, DType::BF16),
        (Dtype::F16, DType::F16),
        (Dtype::F32, DType::F32),
    ] {
        let folder = Folder::of_dtype(stored);
        let checkpoint = Checkpoint::open(folder.dir()).unwrap();
        assert_same_weights(&checkpoint, dtype, &[&folder.path("model.safetensors")]);
        assert_eq!(checkpoint.weight_bytes(), dtype.bytes(&[5392]).unwrap());
        assert_eq!(checkpoint.config().parameters(), 5392);
        assert_eq!(checkpoint.dir(), folder.dir());
    }
}

#[test]
fn each_tensor_may_have_its_own_dtype() {
    let folder = Folder::single();
    folder.tensors("model.safetensors", |header, data| {
        let norm = &mut header["model.norm.weight"];
        norm["dtype"] = json!("F32");
        norm["data_offsets"] = json!([10752, 10816]);
        data.extend([0; 32]);
    });
    let checkpoint = Checkpoint::open(folder.dir()).unwrap();
    assert_eq!(
        checkpoint.tensor("model.norm.weight").unwrap().dtype,
        DType::F32
    );
    assert_eq!(
        checkpoint
            .tensor("model.embed_tokens.weight")
            .unwrap()
            .dtype,
        DType::BF16
    );
}

#[test]
fn weights_come_in_shards() {
    let folder = Folder::sharded();
    let checkpoint = Checkpoint::open(folder.dir()).unwrap();
    let shards = SHARDS.map(|shard| folder.path(shard));
    assert_same_weights(&checkpoint, DType::BF16, &[&shards[0], &shards[1]]);
}

#[test]
fn one_file_is_preferred_to_shards() {
    let folder = Folder::single();
    folder.write(INDEX, "not looked at");
    Checkpoint::open(folder.dir()).unwrap();
}

#[test]
fn files_may_be_links_as_in_the_hugging_face_cache() {
    let plain = Folder::sharded();
    let cache = tempfile::tempdir().unwrap();
    let (blobs, snapshot) = (
        cache.path().join("blobs"),
        cache.path().join("snapshots/0a1b"),
    );
    fs::create_dir_all(&blobs).unwrap();
    fs::create_dir_all(&snapshot).unwrap();
    for (hash, entry) in fs::read_dir(plain.dir()).unwrap().enumerate() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), blobs.join(hash.to_string())).unwrap();
        symlink(
            format!("../../blobs/{hash}"),
            snapshot.join(entry.file_name()),
        )
        .unwrap();
    }
    let checkpoint = Checkpoint::open(&snapshot).unwrap();
    let shards = SHARDS.map(|shard| plain.path(shard));
    assert_same_weights(&checkpoint, DType::BF16, &[&shards[0], &shards[1]]);
    assert!(checkpoint.text().unwrap().is_some());
}

#[test]
fn tensors_come_in_the_order_of_use() {
    let folder = Folder::sharded();
    let checkpoint = Checkpoint::open(folder.dir()).unwrap();
    let names: Vec<String> = checkpoint.tensors().map(|(name, _)| name).collect();
    assert_eq!(names.len(), 24);
    assert_eq!(names[0], "model.embed_tokens.weight");
    assert_eq!(names[1], "model.layers.0.input_layernorm.weight");
    assert_eq!(names[12], "model.layers.1.input_layernorm.weight");
    assert_eq!(names[23], "model.norm.weight");
    assert!(checkpoint.tensor("lm_head.weight").is_none());
}

#[test]
fn stop_ids_come_from_generation_config_and_else_from_config() {
    let folder = Folder::single();
    let stop_ids = || Checkpoint::open(folder.dir()).unwrap().stop_ids().to_vec();
    assert_eq!(stop_ids(), [1, 7]);
    folder.set("generation_config.json", "eos_token_id", json!(5));
    assert_eq!(stop_ids(), [5]);
    folder.write("generation_config.json", "{}");
    assert_eq!(stop_ids(), [1]);
    folder.remove("generation_config.json");
    folder.set("config.json", "eos_token_id", json!([1, 3]));
    assert_eq!(stop_ids(), [1, 3]);
}

#[test]
fn the_text_side_has_template_and_special_tokens() {
    let folder = Folder::single();
    let checkpoint = Checkpoint::open(folder.dir()).unwrap();
    let text = || checkpoint.text().unwrap().unwrap();
    assert_eq!(text().tokenizer_json, folder.path("tokenizer.json"));
    assert_eq!(text().chat_template.as_deref(), Some("{{ bos_token }}"));
    let special = [("bos_token", "<bos>"), ("eos_token", "<eos>")];
    assert!(
        text()
            .special
            .iter()
            .map(|(k, v)| (k.as_str(), v.as_str()))
            .eq(special)
    );

    let several = json!([
        {"name": "tool_use", "template": "tools"},
        {"name": "default", "template": "the default"},
    ]);
    folder.set("tokenizer_config.json", "chat_template", several);
    assert_eq!(text().chat_template.as_deref(), Some("the default"));

    folder.write("chat_template.jinja", "from its own file");
    assert_eq!(text().chat_template.as_deref(), Some("from its own file"));

    folder.remove("chat_template.jinja");
    folder.remove("tokenizer_config.json");
    assert_eq!(text().chat_template, None);
    assert!(text().special.is_empty());
}

#[test]
fn a_checkpoint_without_a_tokenizer_has_no_text_side() {
    let folder = Folder::single();
    folder.remove("tokenizer.json");
    let checkpoint = Checkpoint::open(folder.dir()).unwrap();
    assert_eq!(checkpoint.text().unwrap(), None);
}

#[test]
fn a_safetensors_file_may_hold_scalars_empty_tensors_and_every_stored_dtype() {
    let folder = Folder::single();
    let tensors = [
        ("scalar", Dtype::F64, vec![], 8),
        ("empty", Dtype::F32, vec![3, 0], 0),
        ("half", Dtype::F16, vec![2], 4),
        ("brain", Dtype::BF16, vec![1, 3], 6),
        ("ids", Dtype::I64, vec![2], 16),
    ];
    let tensors = tensors.map(|(name, dtype, shape, length)| {
        (
            name.to_string(),
            dtype,
            shape,
            (0..length).collect::<Vec<u8>>(),
        )
    });
    folder.write_tensors("several", &tensors);
    let file = SafeTensors::open(&folder.path("several")).unwrap();
    assert!(file.names().eq(["brain", "empty", "half", "ids", "scalar"]));
    for (name, dtype, shape, bytes) in &tensors {
        let tensor = file.tensor(name).unwrap();
        assert_eq!(tensor.dtype.name(), format!("{dtype:?}"));
        assert_eq!(tensor.shape, shape);
        assert_eq!(tensor.bytes, bytes);
    }
    assert_eq!(file.tensor("scalar").unwrap().dtype, StoredDType::F64);
    assert!(file.tensor("absent").is_none());
}

#[test]
fn the_tiny_checkpoint_opens() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tiny");
    let checkpoint = Checkpoint::open(&dir).unwrap();
    assert_eq!(checkpoint.config().parameters(), 2_002_048);
    assert_eq!(checkpoint.stop_ids(), [1, 107]);
    let text = checkpoint.text().unwrap().unwrap();
    assert!(text.chat_template.unwrap().contains("<start_of_turn>"));
    assert_eq!(text.special.len(), 4);
    let golden = Golden::open(&dir.join("golden.safetensors"), checkpoint.config()).unwrap();
    assert_eq!(golden.tokens.len(), 93);
}

/// `LAPIDARY_CHECKPOINTS` names folders of checkpoints, separated as in `PATH`.
#[test]
fn checkpoints_given_by_the_environment_open() {
    let Some(folders) = std::env::var_os("LAPIDARY_CHECKPOINTS") else {
        println!("skipped: LAPIDARY_CHECKPOINTS is not set");
        return;
    };
    let mut opened = 0;
    for folder in std::env::split_paths(&folders) {
        for entry in fs::read_dir(folder).unwrap() {
            let dir = entry.unwrap().path();
            if !dir.join("config.json").exists() {
                continue;
            }
            let checkpoint = Checkpoint::open(&dir).unwrap();
            let text = checkpoint.text().unwrap();
            assert_eq!(text.is_some(), dir.join("tokenizer.json").exists());
            let golden = dir.join("golden.safetensors");
            if golden.exists() {
                let golden = Golden::open(&golden, checkpoint.config()).unwrap();
                assert!(golden.hidden_f64.is_some() && golden.greedy.is_some());
                assert!(golden.logits_f32.is_some() && golden.logits_bf16.is_some());
            }
            opened += 1;
        }
    }
    assert!(
        opened > 0,
        "LAPIDARY_CHECKPOINTS names folders without checkpoints"
    );
}
