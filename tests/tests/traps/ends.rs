//! The embedding and the head.

use ir::{DType, Op};
use lapidary_tests::golden::shipped;

use crate::trial::{Trial, rounded};

#[test]
fn an_embedding_that_is_not_scaled() {
    let golden = shipped("2b-shape");
    Trial::of(&golden).assert_trap_noticed(|spot| {
        let is_scaled = spot.function.name == "embed" && spot.is_named("x");
        is_scaled.then(|| spot.x(0))
    });
}

#[test]
fn an_embedding_scale_rounded_to_bf16() {
    for name in ["2b-shape", "27b-shape"] {
        let golden = shipped(name);
        Trial::of(&golden).assert_trap_noticed(|spot| {
            let is_scaled = spot.function.name == "embed" && spot.is_named("x");
            is_scaled.then(|| spot.x(0) * rounded(spot.x(1), DType::BF16))
        });
    }
}

#[test]
fn a_head_that_is_scaled_as_the_embedding_is() {
    let golden = shipped("2b-shape");
    let scale = (golden.checkpoint.config().hidden as f64).sqrt();
    Trial::of(&golden).assert_trap_noticed(|spot| {
        let is_head = spot.function.name == "head" && spot.is(Op::Dot);
        is_head.then(|| spot.made * scale)
    });
}

#[test]
fn logits_without_their_softcap() {
    let golden = shipped("2b-shape");
    Trial::of(&golden).assert_trap_noticed(|spot| {
        let is_capped = spot.function.name == "head" && spot.is(Op::Tanh);
        is_capped.then(|| spot.x(0))
    });
}
