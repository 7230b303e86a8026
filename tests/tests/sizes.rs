//! Any sizes that a configuration may have, small ones run and the released ones built.

use std::path::Path;

use ir::interp::Real;
use ir::{DType, Def, Function, Module, Op, Type, Value};
use lapidary_tests::feed::feed_prompt;
use lapidary_tests::golden::max_error;
use lapidary_tests::reference::Reference;
use lapidary_tests::synthesize::Recipe;
use models::{Checkpoint, Config, Interpreted, LayerKind, StepShape, gemma2};
use proptest::prelude::*;
use serde_json::json;

/// How a random checkpoint is fed.
#[derive(Clone, Debug)]
struct Feeding {
    tokens: usize,
    chunk: usize,
}

fn config() -> impl Strategy<Value = Config> {
    let kind = prop_oneof![Just(LayerKind::Sliding), Just(LayerKind::Full)];
    let heads = (1..=4usize, 1..=4usize, 1..=12usize);
    let widths = (1..=70usize, 1..=90usize, 3..=100usize);
    let cap = prop_oneof![Just(None), (2.0..60.0).prop_map(Some)];
    let attention = (1..=40usize, 1.0..300.0, cap.clone());
    let constants = (cap, (-9.0..-3.0).prop_map(|e| 10f64.powf(e)), 10.0..1e6);
    let layers = prop::collection::vec(kind, 1..=5);
    let parts = (heads, widths, attention, constants, layers);
    parts.prop_map(|(heads, widths, attention, constants, layers)| {
        let (kv_heads, group, half) = heads;
        let (hidden, intermediate, vocab) = widths;
        let (window, query_pre_attn_scalar, attn_softcap) = attention;
        let (final_softcap, rms_eps, rope_theta) = constants;
        Config {
            hidden,
            intermediate,
            heads: kv_heads * group,
            kv_heads,
            head_dim: 2 * half,
            vocab,
            layers,
            window,
            context: 64,
            query_pre_attn_scalar,
            attn_softcap,
            final_softcap,
            rms_eps,
            rope_theta,
            bos: 2,
            eos: vec![1],
            pad: 0,
        }
    })
}

fn recipe() -> impl Strategy<Value = Recipe> {
    let dtype = prop::sample::select(vec![DType::BF16, DType::F16, DType::F32]);
    let dtypes = prop::collection::vec(dtype, 1..=3);
    (config(), any::<u64>(), dtypes).prop_map(|(config, seed, dtypes)| Recipe {
        dtypes,
        ..Recipe::new(config, seed)
    })
}

fn feeding() -> impl Strategy<Value = Feeding> {
    (1..=64usize, 1..=20usize).prop_map(|(tokens, chunk)| Feeding { tokens, chunk })
}

fn shape(config: &Config, rows: usize) -> StepShape {
    StepShape {
        rows: (1, rows),
        slots: 1,
        context: config.context,
        kv_format: DType::F32,
        hidden: false,
    }
}

fn run<F: Real>(checkpoint: &Checkpoint, tokens: &[u32], chunk: usize) -> Vec<F> {
    let shape = shape(checkpoint.config(), chunk);
    let mut model = Interpreted::new(checkpoint, &shape, 1).unwrap();
    feed_prompt(&mut model, tokens, chunk)
}

fn assert_well_formed(module: &Module) {
    assert_eq!(ir::verify(module), Ok(()));
    let text = ir::text::print(module);
    let parsed = ir::text::parse(&text).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(&parsed, module);
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 24,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn a_model_of_any_sizes_computes_what_the_reference_does(
        recipe in recipe(),
        feeding in feeding(),
    ) {
        let synthetic = recipe.make();
        let checkpoint = synthetic.checkpoint();
        let dtype_of = |name: &str| checkpoint.tensor(name).map_or(DType::F32, |w| w.dtype);
        let module = gemma2(&recipe.config, dtype_of, &shape(&recipe.config, feeding.chunk));
        assert_well_formed(&module.unwrap());

        let tokens = recipe.prompt(feeding.tokens);
        let truth = Reference::of(checkpoint, &tokens).logits;
        let largest = truth.iter().fold(1f64, |m, z| z.abs().max(m));
        let error = max_error(&run::<f64>(checkpoint, &tokens, feeding.chunk), &truth);
        prop_assert!(error <= 1e-9 * largest, "f64: {error:e} of {largest}");
        // A norm over a handful of numbers makes large errors of small ones.
        if recipe.config.hidden >= 8 {
            let error = max_error(&run::<f32>(checkpoint, &tokens, feeding.chunk), &truth);
            prop_assert!(error <= 1e-3 * largest, "f32: {error:e} of {largest}");
        }
    }
}

/// A released size: its configuration, and what is published of its tensors.
struct Released {
    config: Config,
    parameters: usize,
    tensors: usize,
}

/// 2B, 9B and 27B.
fn released() -> [Released; 3] {
    let sizes = [
        (2304, 26, 8, 4, 256, 256, 9216, 2_614_341_888, 288),
        (3584, 42, 16, 8, 256, 256, 14336, 9_241_705_984, 464),
        (4608, 46, 32, 16, 128, 144, 36864, 27_227_128_320, 508),
    ];
    sizes.map(
        |(hidden, layers, heads, kv, width, scalar, ffn, parameters, tensors)| {
            let config = json!({
                "model_type": "gemma2",
                "hidden_size": hidden,
                "num_hidden_layers": layers,
                "num_attention_heads": heads,
                "num_key_value_heads": kv,
                "head_dim": width,
                "query_pre_attn_scalar": scalar,
                "intermediate_size": ffn,
                "vocab_size": 256000,
                "max_position_embeddings": 8192,
                "sliding_window": 4096,
                "hidden_activation": "gelu_pytorch_tanh",
            });
            let config = Config::parse(Path::new("config.json"), config.to_string().as_bytes());
            Released {
                config: config.unwrap(),
                parameters,
                tensors,
            }
        },
    )
}

/// bf16 weights and cache, one sequence, the model's whole context.
fn full_size(config: &Config, rows: (usize, usize)) -> Module {
    gemma2(config, |_| DType::BF16, &full_shape(config, rows)).unwrap()
}

fn full_shape(config: &Config, rows: (usize, usize)) -> StepShape {
    StepShape {
        rows,
        slots: 1,
        context: config.context,
        kv_format: DType::BF16,
        hidden: false,
    }
}

#[test]
fn the_released_sizes_are_built_and_keep_their_text() {
    for released in released() {
        assert_eq!(released.config.parameters(), released.parameters);
        for rows in [(1, 1), (2, 16), (1, 512)] {
            let module = full_size(&released.config, rows);
            assert_eq!(module.weights.len(), released.tensors);
            assert_well_formed(&module);
        }
    }
}

#[test]
fn the_functions_are_the_same_however_many_layers_there_are() {
    for released in released() {
        let module = full_size(&released.config, (1, 64));
        let names: Vec<&str> = module.functions.iter().map(|f| f.name.as_str()).collect();
        let kinds = ["layer.first.sliding", "layer.full", "layer.sliding"];
        assert_eq!(names, [&["embed"], &kinds[..], &["head"]].concat());
        let fewer = Config {
            layers: released.config.layers[..3].to_vec(),
            ..released.config
        };
        assert_eq!(full_size(&fewer, (1, 64)).functions, module.functions);
    }
}

#[test]
fn the_cache_holds_the_windows_and_no_more() {
    let [released, ..] = released();
    let config = &released.config;
    // 13 layers keep 8192 positions and 13 their window of 4096; a position is a key and a value of
    // 4 heads of 256 in bf16.
    let position = 2 * 4 * 256 * 2;
    let decode = full_shape(config, (1, 1)).cache_bytes(config);
    assert_eq!(decode, 13 * (8192 + 4096) * position);
    assert_eq!(decode, 654_311_424);
    // A step of 64 rows puts all of them before the first reads its window: 63 more, rounded up.
    let prefill = full_shape(config, (1, 64)).cache_bytes(config);
    assert_eq!(prefill, 13 * (8192 + 4096 + 64) * position);

    for rows in [(1, 1), (1, 64)] {
        let bytes = |ty: &Type| ty.bytes().as_const().unwrap() as usize;
        let states = full_size(config, rows).states;
        let states: usize = states.iter().map(|state| bytes(&state.ty)).sum();
        assert_eq!(states, full_shape(config, rows).cache_bytes(config));
    }
}

#[test]
fn weights_are_read_where_they_lie() {
    for released in released() {
        let module = full_size(&released.config, (1, 512));
        for function in &module.functions {
            for value in &function.values {
                assert!(
                    is_small(value, &released.config) || is_in_place(function, value),
                    "fn {}, %{}: {}",
                    function.name,
                    value.name,
                    value.ty
                );
            }
        }
    }
}

/// Whether a value grows with the step, or is no larger than a row of the residual stream.
fn is_small(value: &Value, config: &Config) -> bool {
    let elements = value.ty.elements().as_const();
    elements.is_none_or(|n| n <= config.hidden as i64)
}

/// Whether a value is a weight or state, a weight widened (which is done where it is read), or a
/// state's next value (which takes its place).
fn is_in_place(function: &Function, value: &Value) -> bool {
    match &value.def {
        Def::Param => true,
        Def::Op { op: Op::Put, .. } => true,
        Def::Op {
            op: Op::Cast,
            operands,
            ..
        } => operands
            .iter()
            .all(|id| function.values[id.0].def == Def::Param),
        Def::Op { .. } => false,
    }
}
