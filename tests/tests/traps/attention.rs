//! Attention: scores, mask, softmax, heads.

use ir::{Attr, Bindings, DType, Dim, Expr, Module, Op};
use lapidary_tests::golden::shipped;
use lapidary_tests::reference::Reference;
use lapidary_tests::rewrite::{Spot, rewritten};
use lapidary_tests::synthesize::{Recipe, small};
use models::LayerKind;

use crate::trial::{Trial, rounded};

const HALF: [DType; 2] = [DType::BF16, DType::F16];

#[test]
fn scores_without_their_softcap() {
    let recipe = Recipe {
        query_key_scale: 6.0,
        ..Recipe::new(small(), 3)
    };
    let synthetic = recipe.make();
    let tokens = recipe.prompt(30);
    let reference = Reference::of(synthetic.checkpoint(), &tokens);
    assert!(reference.largest_score.iter().all(|score| *score > 100.0));
    let trial = Trial::against(reference, synthetic.checkpoint(), tokens);
    trial.assert_trap_noticed(|spot| {
        let is_capped = spot.is(Op::Tanh) && spot.is_over_keys();
        is_capped.then(|| spot.x(0))
    });
    // The mask before the softcap: a masked score becomes -50, and is seen.
    trial.assert_trap_noticed(|spot| {
        let is_masked = spot.is(Op::Select) && spot.is_over_keys();
        is_masked.then(|| spot.x(0).select(spot.x(1), spot.x(1).filled(-50.0)))
    });
}

#[test]
fn scores_scaled_by_the_width_of_a_head() {
    let golden = shipped("27b-shape");
    let config = golden.checkpoint.config();
    let width = config.head_dim as f64;
    assert_ne!(config.query_pre_attn_scalar, width);
    Trial::of(&golden).assert_trap_noticed(|spot| {
        let is_scaled = spot.is(Op::Mul) && spot.takes(0, Op::Dot) && spot.is_over_keys();
        is_scaled.then(|| spot.x(0) * width.sqrt().recip())
    });
}

#[test]
fn a_softmax_in_half_precision() {
    let golden = shipped("2b-shape");
    for dtype in HALF {
        Trial::of(&golden)
            .assert_trap_noticed(|spot| spot.is(Op::Select).then(|| rounded(spot.made, dtype)));
        Trial::of(&golden)
            .assert_trap_noticed(|spot| spot.is(Op::Exp).then(|| rounded(spot.made, dtype)));
    }
}

#[test]
fn a_query_that_sees_later_keys() {
    let golden = shipped("2b-shape");
    Trial::of(&golden).assert_trap_noticed(|spot| spot.is(Op::Le).then(|| spot.x(0).le(spot.x(0))));
}

#[test]
fn a_window_off_by_one() {
    let golden = shipped("2b-shape");
    let window = golden.checkpoint.config().window as f64;
    for wrong in [window - 1.0, window + 1.0] {
        for chunk in [1, golden.golden.tokens.len()] {
            let trial = Trial {
                chunk,
                ..Trial::of(&golden)
            };
            trial.assert_trap_noticed(|spot| {
                let is_window = spot.is(Op::Lt);
                is_window.then(|| spot.x(0).lt(spot.x(1).filled(wrong)))
            });
        }
    }
}

#[test]
fn a_window_that_is_absent() {
    let golden = shipped("2b-shape");
    for chunk in [1, 7, golden.golden.tokens.len()] {
        let trial = Trial {
            chunk,
            ..Trial::of(&golden)
        };
        trial.assert_trap_noticed(|spot| spot.is(Op::And).then(|| spot.x(0)));
    }
}

#[test]
fn windows_on_the_wrong_layers() {
    let golden = shipped("2b-shape");
    let mut config = golden.checkpoint.config().clone();
    for kind in &mut config.layers {
        *kind = match kind {
            LayerKind::Sliding => LayerKind::Full,
            LayerKind::Full => LayerKind::Sliding,
        };
    }
    let trial = Trial::of(&golden);
    trial.assert_noticed(&trial.module(&config));
}

#[test]
fn query_heads_that_take_turns_with_the_kv_heads() {
    let golden = shipped("2b-shape");
    // Head h reads kv head h % kv_heads where the heads are split as [group, kv_heads].
    fn swapped<'b>(spot: &Spot<'b>, x: Expr<'b>) -> Expr<'b> {
        let axes = vec![Attr::Axes(vec![0, 2, 1, 3])];
        spot.builder.op(Op::Transpose, &[x], axes)
    }
    Trial::of(&golden).assert_trap_noticed(|spot| {
        let dims = &spot.value.ty.dims;
        if spot.is(Op::Reshape) && spot.operand(0).name == "q" {
            let x = spot.x(0).reshape(&[&dims[0], &dims[2], &dims[1], &dims[3]]);
            return Some(swapped(spot, x));
        }
        let shape: Vec<&Dim> = dims.iter().collect();
        let is_attended = spot.is_named("attended");
        is_attended.then(|| swapped(spot, spot.x(0)).reshape(&shape))
    });
}

#[test]
fn kv_heads_copied_for_every_query_head() {
    let golden = shipped("2b-shape");
    let trial = Trial::of(&golden);
    let config = golden.checkpoint.config();
    let module = trial.module(config);
    let copying = rewritten(&module, |spot| {
        if !spot.is(Op::Dot) || spot.operand(1).ty.dims.len() != 4 {
            return None;
        }
        let [rows, keys, kv_heads, width] = &spot.operand(1).ty.dims[..] else {
            return None;
        };
        let group = Dim::from(config.heads / config.kv_heads);
        let shape = [rows, keys, kv_heads, &group, width].map(Dim::clone);
        let copied = spot.x(1).broadcast(&shape, &[0, 1, 2, 4]);
        let contract = if spot.takes(0, Op::Exp) {
            (3, 1)
        } else {
            (3, 4)
        };
        Some(
            spot.x(0)
                .dot(copied, &[(0, 0), (1, 2), (2, 3)], &[contract]),
        )
    });
    // No bit of a logit tells, but the sizes do.
    assert_eq!(trial.logits(&copying), trial.logits(&module));
    let allowed = (config.kv_heads * config.head_dim).max(config.heads) as i64;
    assert!(elements_a_key(&module) <= allowed);
    assert!(elements_a_key(&copying) > allowed);
}

/// The most elements that a value has for a row and a key.
fn elements_a_key(module: &Module) -> i64 {
    let values = module.functions.iter().flat_map(|f| &f.values);
    let elements = values.map(|value| {
        let elements = value.ty.elements();
        let at = |keys| {
            let bindings = Bindings::new([("R", 1), ("N", 1), ("K", keys)]);
            elements.eval(&bindings).unwrap()
        };
        at(2) - at(1)
    });
    elements.max().unwrap()
}
