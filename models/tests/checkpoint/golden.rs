//! Goldens, read and refused.

use lapidary_models::{Config, Golden};
use safetensors::tensor::Dtype;
use serde_json::json;

use crate::folder::{Folder, Tensor};

const FILE: &str = "golden.safetensors";

/// The folder's configuration with a vocabulary of 3 and hidden size 2.
fn config(folder: &Folder) -> Config {
    folder.set("config.json", "vocab_size", json!(3));
    folder.set("config.json", "hidden_size", json!(2));
    Config::open(&folder.path("config.json")).unwrap()
}

fn ids(name: &str, ids: &[i64]) -> Tensor {
    let bytes = ids.iter().flat_map(|id| id.to_le_bytes()).collect();
    (name.to_string(), Dtype::I64, vec![ids.len()], bytes)
}

fn f64s(name: &str, shape: &[usize], first: f64) -> Tensor {
    let bytes = (0..shape.iter().product()).flat_map(|i: usize| (first + i as f64).to_le_bytes());
    (
        name.to_string(),
        Dtype::F64,
        shape.to_vec(),
        bytes.collect(),
    )
}

fn f32s(name: &str, shape: &[usize], first: f32) -> Tensor {
    let bytes = (0..shape.iter().product()).flat_map(|i: usize| (first + i as f32).to_le_bytes());
    (
        name.to_string(),
        Dtype::F32,
        shape.to_vec(),
        bytes.collect(),
    )
}

/// Two tokens, and everything that a golden may have.
fn whole() -> Vec<Tensor> {
    vec![
        ids("tokens", &[2, 1]),
        f64s("logits.f64", &[2, 3], 0.5),
        f32s("logits.f32", &[2, 3], 1.5),
        f32s("logits.bf16", &[2, 3], 2.5),
        f64s("hidden.f64", &[3, 2, 2], 10.0),
        ids("greedy", &[0, 0, 2]),
    ]
}

#[test]
fn a_golden_is_read_whole() {
    let folder = Folder::single();
    folder.write_tensors(FILE, &whole());
    let golden = Golden::open(&folder.path(FILE), &config(&folder)).unwrap();
    assert_eq!(golden.tokens, [2, 1]);
    assert_eq!(golden.logits_f64, [0.5, 1.5, 2.5, 3.5, 4.5, 5.5]);
    assert_eq!(golden.logits_f32.unwrap(), [1.5, 2.5, 3.5, 4.5, 5.5, 6.5]);
    assert_eq!(golden.logits_bf16.unwrap(), [2.5, 3.5, 4.5, 5.5, 6.5, 7.5]);
    assert_eq!(golden.hidden_f64.unwrap().len(), 12);
    assert_eq!(golden.greedy.unwrap(), [0, 0, 2]);
}

#[test]
fn only_the_prompt_and_the_true_logits_are_required() {
    let folder = Folder::single();
    folder.write_tensors(FILE, &whole()[..2]);
    let golden = Golden::open(&folder.path(FILE), &config(&folder)).unwrap();
    assert!(golden.logits_f32.is_none() && golden.logits_bf16.is_none());
    assert!(golden.hidden_f64.is_none() && golden.greedy.is_none());
}

#[test]
fn a_golden_of_another_model_or_form_is_refused() {
    let cases = [
        (
            ids("tokens", &[]),
            r#"tensor "tokens": found 0 tokens, expected from 1 to 64, the model's context"#,
        ),
        (
            ids("tokens", &[1; 65]),
            r#"tensor "tokens": found 65 tokens, expected from 1 to 64, the model's context"#,
        ),
        (
            ids("tokens", &[2, 3]),
            r#"tensor "tokens": found token 3, expected tokens from 0 to 2"#,
        ),
        (
            ids("tokens", &[2, -1]),
            r#"tensor "tokens": found token -1, expected tokens from 0 to 2"#,
        ),
        (
            f64s("tokens", &[2], 0.0),
            r#"tensor "tokens": found F64 [2], expected I64 with one dim"#,
        ),
        (
            f64s("logits.f64", &[2, 4], 0.0),
            r#"tensor "logits.f64": found F64 [2, 4], expected F64 [2, 3]"#,
        ),
        (
            f64s("logits.f64", &[2, 3], f64::INFINITY),
            r#"tensor "logits.f64": found inf at element 0, expected finite numbers"#,
        ),
        (
            f32s("logits.f64", &[2, 3], 0.0),
            r#"tensor "logits.f64": found F32 [2, 3], expected F64 [2, 3]"#,
        ),
        (
            f32s("logits.f32", &[3, 2], 0.0),
            r#"tensor "logits.f32": found F32 [3, 2], expected F32 [2, 3]"#,
        ),
        (
            f64s("logits.bf16", &[2, 3], 0.0),
            r#"tensor "logits.bf16": found F64 [2, 3], expected F32 [2, 3]"#,
        ),
        (
            f32s("logits.bf16", &[2, 3], f32::NAN),
            r#"tensor "logits.bf16": found NaN at element 0, expected finite numbers"#,
        ),
        (
            f64s("hidden.f64", &[2, 2, 2], 0.0),
            r#"tensor "hidden.f64": found F64 [2, 2, 2], expected F64 [3, 2, 2]"#,
        ),
        (
            ids("greedy", &[1 << 40]),
            r#"tensor "greedy": found token 1099511627776, expected tokens from 0 to 2"#,
        ),
        (
            (String::from("greedy"), Dtype::I64, vec![1, 1], vec![0; 8]),
            r#"tensor "greedy": found I64 [1, 1], expected I64 with one dim"#,
        ),
    ];
    let folder = Folder::single();
    let config = config(&folder);
    let path = folder.path(FILE);
    let check = |tensors: &[Tensor], expected: &str| {
        folder.write_tensors(FILE, tensors);
        let error = Golden::open(&path, &config).unwrap_err().to_string();
        assert_eq!(error, format!("{}: {expected}", path.display()));
    };
    for (tensor, expected) in cases {
        let others = whole().into_iter().filter(|(name, ..)| *name != tensor.0);
        let tensors: Vec<Tensor> = others.chain([tensor.clone()]).collect();
        check(&tensors, expected);
    }
    check(
        &whole()[1..],
        r#"tensor "tokens": found none, expected one in every golden"#,
    );
    check(
        &whole()[..1],
        r#"tensor "logits.f64": found none, expected one in every golden"#,
    );
}
