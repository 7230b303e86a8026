//! Norms and the residual stream.

use ir::{DType, Def, Op, Value};
use lapidary_tests::golden::shipped;
use lapidary_tests::reference::Reference;
use lapidary_tests::rewrite::{Spot, op_of};
use lapidary_tests::synthesize::{Recipe, small};
use models::Config;

use crate::trial::{Trial, rounded};

/// Whether this is the normalised row that RMSNorm multiplies by `1 + w`.
fn is_normalised(spot: &Spot) -> bool {
    let is_scale = |value: &Value| match &value.def {
        Def::Op {
            op: Op::Broadcast,
            operands,
            ..
        } => op_of(&spot.function.values[operands[0].0]) == Some(Op::Rsqrt),
        _ => false,
    };
    spot.is(Op::Mul) && is_scale(spot.operand(1))
}

#[test]
fn a_norm_cast_to_bf16_before_its_weight() {
    let golden = shipped("2b-shape");
    Trial::of(&golden).assert_trap_noticed(|spot| {
        let normalised = is_normalised(spot);
        normalised.then(|| rounded(spot.made, DType::BF16))
    });
}

#[test]
fn a_norms_weight_without_the_one() {
    let golden = shipped("2b-shape");
    Trial::of(&golden).assert_trap_noticed(|spot| {
        let is_weight = spot.is(Op::Add) && spot.takes(0, Op::Cast) && spot.takes(1, Op::Const);
        is_weight.then(|| spot.x(0))
    });
}

#[test]
fn a_norm_without_its_epsilon() {
    // 1e-6 is too small to be missed; this is not.
    let config = Config {
        rms_eps: 0.1,
        ..small()
    };
    let recipe = Recipe::new(config, 4);
    let synthetic = recipe.make();
    let tokens = recipe.prompt(30);
    let reference = Reference::of(synthetic.checkpoint(), &tokens);
    let trial = Trial::against(reference, synthetic.checkpoint(), tokens);
    trial.assert_trap_noticed(|spot| {
        let is_sum = spot.is(Op::Add) && spot.takes(0, Op::Div) && spot.takes(1, Op::Const);
        is_sum.then(|| spot.x(0))
    });
}

#[test]
fn a_post_attention_norm_after_the_add() {
    let golden = shipped("2b-shape");
    Trial::of(&golden).assert_trap_noticed(|spot| match &spot.value.name[..] {
        "o" => Some(spot.named("x") + spot.made),
        "residual_out" => Some(spot.x(1)),
        _ => None,
    });
}

#[test]
fn a_post_feedforward_norm_after_the_add() {
    let golden = shipped("2b-shape");
    Trial::of(&golden).assert_trap_noticed(|spot| {
        if spot.function.value("residual").is_none() || spot.function.name == "head" {
            return None;
        }
        let added = || spot.named("branch") + spot.named("residual");
        match spot.op {
            Op::Mul if is_normalised(spot) && spot.operand(0).name == "branch" => {
                Some(added() * spot.x(1))
            }
            Op::Mul if spot.operand(0).name == "branch" => Some(added() * added()),
            Op::Add if spot.is_named("x") => Some(spot.x(1)),
            _ => None,
        }
    });
}

#[test]
fn a_residual_stream_in_f16() {
    let golden = shipped("large-residual");
    let stream = golden.golden.hidden_f64.as_ref().unwrap();
    assert!(stream.iter().any(|x| x.abs() > 65504.0));
    Trial::of(&golden).assert_trap_noticed(|spot| {
        let is_stream = spot.is_named("x") || spot.is_named("residual_out");
        is_stream.then(|| rounded(spot.made, DType::F16))
    });
}
