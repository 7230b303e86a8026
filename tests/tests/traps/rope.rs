//! RoPE and positions.

use ir::{Attr, DType, Def, Dim, Op};
use lapidary_tests::golden::shipped;
use lapidary_tests::rewrite::Spot;
use models::LayerKind;

use crate::trial::{Trial, rounded};

#[test]
fn rope_on_neighbours_instead_of_halves() {
    let golden = shipped("2b-shape");
    Trial::of(&golden).assert_trap_noticed(|spot| {
        let Def::Op {
            op: Op::Slice,
            attrs,
            ..
        } = &spot.value.def
        else {
            return None;
        };
        let [Attr::Axis(2), Attr::Dim(start), _] = &attrs[..] else {
            return None;
        };
        let [rows, heads, half] = &spot.value.ty.dims[..] else {
            return None;
        };
        // The first half becomes the even elements, the second the odd ones.
        let odd = i64::from(*start != Dim::from(0i64));
        let pairs = spot.x(0).reshape(&[rows, heads, half, &Dim::from(2i64)]);
        let picked = pairs.slice(3, &Dim::from(odd), &Dim::from(odd + 1));
        Some(picked.reshape(&[rows, heads, half]))
    });
}

#[test]
fn rope_tables_in_bf16() {
    let golden = shipped("2b-shape");
    Trial::of(&golden).assert_trap_noticed(|spot| {
        let is_table = spot.is(Op::Cos) || spot.is(Op::Sin);
        is_table.then(|| rounded(spot.made, DType::BF16))
    });
    Trial::of(&golden).assert_trap_noticed(|spot| {
        let is_table = spot.is(Op::Cos) || spot.is(Op::Sin);
        let angle = || rounded(spot.x(0), DType::BF16);
        is_table.then(|| spot.builder.op(spot.op, &[angle()], vec![]))
    });
}

#[test]
fn keys_that_are_cached_before_they_are_rotated() {
    let golden = shipped("2b-shape");
    Trial::of(&golden).assert_trap_noticed(|spot| {
        if !spot.is_named("k") {
            return None;
        }
        // Back from the two halves to what they were cut from: concat, sub, mul, slice.
        let mut value = spot.value;
        for _ in 0..3 {
            let Def::Op { operands, .. } = &value.def else {
                return None;
            };
            value = &spot.function.values[operands[0].0];
        }
        let Def::Op {
            op: Op::Slice,
            operands,
            ..
        } = &value.def
        else {
            return None;
        };
        Some(spot.earlier[operands[0].0])
    });
}

#[test]
fn positions_counted_by_what_a_sliding_cache_holds() {
    let golden = shipped("2b-shape");
    let decode = Trial {
        chunk: 1,
        ..Trial::of(&golden)
    };
    let config = golden.checkpoint.config();
    let ring = decode.shape().capacity(config, LayerKind::Sliding) as f64;
    let window = config.window as f64;
    let is_position = |spot: &Spot| spot.is(Op::Cast) && spot.operand(0).name == "positions";
    // Beginning again at 0 where the ring does.
    decode.assert_trap_noticed(|spot| {
        let again = || spot.x(0) % spot.x(0).filled(ring);
        is_position(spot).then(|| again().cast(DType::F32))
    });
    // Standing still once the window is full.
    decode.assert_trap_noticed(|spot| {
        let stopped = || {
            let window = spot.x(0).filled(window);
            spot.builder.op(Op::Min, &[spot.x(0), window], vec![])
        };
        is_position(spot).then(|| stopped().cast(DType::F32))
    });
}
