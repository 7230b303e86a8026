//! The algebra stage on Gemma 2's own functions: `gemma2.lir` is the module of a small configuration
//! (two kinds of layer, window 8 in a ring of 16, context 64, bf16 weights), as `ir` prints it.

use std::collections::BTreeMap;

use ir::interp::{Interpreter, Tensor};
use ir::{Bindings, Module, text};
use lapidary_passes::algebra::{Report, Stop};
use lapidary_passes::pipeline::{self, Options};
use lapidary_passes::rules::RuleSet;
use proptest::prelude::*;

fn gemma2() -> Module {
    let module = text::parse(include_str!("gemma2.lir")).unwrap_or_else(|e| panic!("{e}"));
    ir::verify(&module).unwrap_or_else(|e| panic!("{e}"));
    module
}

fn exact(module: &Module) -> (Module, Vec<Report>) {
    pipeline::algebra(module, &Options::new(RuleSet::shipped().exact()))
}

/// Bytes of bf16 weights between -1 and 1, by name.
fn weights(module: &Module) -> BTreeMap<String, Vec<u8>> {
    let mut state = 1u32;
    let mut bf16 = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let x = (state >> 8) as f32 / (1 << 23) as f32 - 1.0;
        [(x.to_bits() >> 16) as u8, (x.to_bits() >> 24) as u8]
    };
    let mut all = BTreeMap::new();
    for w in &module.weights {
        let elements = w.ty.elements().as_const().expect("weights are constant");
        let bytes = (0..elements).flat_map(|_| bf16()).collect();
        all.insert(w.name.clone(), bytes);
    }
    all
}

/// Steps as lists of rows (slot, token), with positions counted on in each slot.
fn run(module: &Module, steps: &[Vec<(i32, i32)>]) -> Vec<u32> {
    let weights = weights(module);
    let stored = |name: &str| weights.get(name).map(Vec::as_slice);
    let interpreter = Interpreter::<f32>::new(module.clone(), stored, 1);
    let mut interpreter = interpreter.unwrap_or_else(|e| panic!("{e}"));
    let mut next = [0i32; 2];
    let mut bits = Vec::new();
    for rows in steps {
        let (slots, tokens): (Vec<i32>, Vec<i32>) = rows.iter().copied().unzip();
        let mut positions = Vec::new();
        for slot in &slots {
            positions.push(next[*slot as usize]);
            next[*slot as usize] += 1;
        }
        let wanted: Vec<i32> = (0..rows.len() as i32).rev().step_by(2).collect();
        let keys = positions.iter().max().map_or(1, |p| p + 1);
        let count = |n: usize| n as i64;
        let bindings = Bindings::new([
            ("R", count(rows.len())),
            ("K", keys.into()),
            ("N", count(wanted.len())),
        ]);
        let inputs = [tokens, positions, slots, wanted];
        let inputs = inputs.map(|x| Tensor::int(vec![x.len()], x));
        let outputs = interpreter.step(&bindings, inputs.into());
        let outputs = outputs.unwrap_or_else(|e| panic!("{e}"));
        for output in outputs {
            let reals = output.to_real().expect("logits are f32").into_owned();
            assert!(reals.iter().all(|x| x.is_finite()));
            bits.extend(reals.iter().map(|x: &f32| x.to_bits()));
        }
    }
    bits
}

#[test]
fn the_exact_algebra_keeps_every_bit_past_the_window_and_around_the_ring() {
    let module = gemma2();
    let (better, _) = exact(&module);
    ir::verify(&better).unwrap_or_else(|e| panic!("{e}"));
    assert_ne!(module, better);
    let prefill = (0..6).map(|i| (0..4).map(|j| (0, (7 * i + 3 * j) % 40)).collect());
    let decode = (0..6).map(|i| vec![(0, i), (1, 39 - i)]);
    let steps: Vec<Vec<(i32, i32)>> = prefill.chain(decode).collect();
    assert_eq!(run(&module, &steps), run(&better, &steps));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn the_exact_algebra_keeps_every_bit_of_random_steps(
        steps in prop::collection::vec(prop::collection::vec((0..2i32, 0..40i32), 1..5), 1..8)
    ) {
        let module = gemma2();
        let (better, _) = exact(&module);
        prop_assert_eq!(run(&module, &steps), run(&better, &steps));
    }
}

#[test]
fn every_function_saturates_and_none_gets_dearer() {
    let (_, reports) = exact(&gemma2());
    for report in &reports {
        println!(
            "{report}; {:e} s, was {:e} s",
            report.cost_after, report.cost_before
        );
        println!("  fired {:?}", report.fired);
        assert_eq!(report.stop, Stop::Saturated, "{report}");
        assert!(report.cost_after <= report.cost_before, "{report}");
    }
}

#[test]
fn the_division_by_the_width_of_a_norm_becomes_a_product() {
    let (better, reports) = exact(&gemma2());
    let text = text::print(&better);
    assert!(text.contains("const() {to = f32, shape = [R], values = [0.0625]}"));
    assert!(!text.contains("const() {to = f32, shape = [R], values = [16.0]}"));
    for report in reports.iter().filter(|r| r.function != "embed") {
        let fired = report
            .fired
            .iter()
            .any(|(rule, _)| rule == "div-by-power-of-two");
        assert!(fired, "{report}");
    }
}

#[test]
fn the_same_module_gives_the_same_text() {
    let module = gemma2();
    let first = text::print(&exact(&module).0);
    for _ in 0..3 {
        assert_eq!(text::print(&exact(&module).0), first);
    }
}

#[test]
fn what_the_algebra_gives_it_leaves_as_it_is() {
    let (once, _) = exact(&gemma2());
    let (twice, _) = exact(&once);
    assert_eq!(text::print(&once), text::print(&twice));
}
