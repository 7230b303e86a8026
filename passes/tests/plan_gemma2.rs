//! Plans of Gemma 2's functions (`gemma2.lir`): whatever is chosen, the bits are the source's.

use std::collections::BTreeMap;

use ir::interp::{Interpreter, Tensor};
use ir::{Bindings, Module};
use lapidary_passes::fusion::{Extract, Fused};
use lapidary_passes::pipeline::{self, Options, PlanOptions};
use lapidary_passes::plan::{self, Plan, text};
use lapidary_passes::rules::RuleSet;

fn gemma2() -> Module {
    let module = ir::text::parse(include_str!("gemma2.lir")).unwrap_or_else(|e| panic!("{e}"));
    pipeline::algebra(&module, &Options::new(RuleSet::shipped().exact())).0
}

fn planned(module: &Module, extract: Extract) -> (Plan, Vec<Fused>) {
    let options = PlanOptions {
        extract,
        ..PlanOptions::default()
    };
    let (plan, reports) = pipeline::plan(module, &options);
    plan::verify(&plan).unwrap_or_else(|e| panic!("{extract:?}: {e}"));
    (plan, reports)
}

/// The bits of the logits over prefill and decode, of two sequences, past the window and around the ring.
fn bits(module: &Module) -> Vec<u32> {
    let mut state = 1u32;
    let mut weight = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let x = (state >> 8) as f32 / (1 << 23) as f32 - 1.0;
        [(x.to_bits() >> 16) as u8, (x.to_bits() >> 24) as u8]
    };
    let mut weights: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    for w in &module.weights {
        let elements = w.ty.elements().as_const().expect("weights are constant");
        let bytes = (0..elements).flat_map(|_| weight()).collect();
        weights.insert(w.name.clone(), bytes);
    }
    let stored = |name: &str| weights.get(name).map(Vec::as_slice);
    let interpreter = Interpreter::<f32>::new(module.clone(), stored, 1);
    let mut interpreter = interpreter.unwrap_or_else(|e| panic!("{e}"));
    let prefill = (0..5).map(|i| (0..4).map(|j| (0, 4 * i + j)).collect());
    let decode = (0..3).map(|i| vec![(0, 20 + i), (1, i)]);
    let mut bits = Vec::new();
    for rows in prefill.chain(decode).collect::<Vec<Vec<(i32, i32)>>>() {
        let (slots, positions): (Vec<i32>, Vec<i32>) = rows.into_iter().unzip();
        let tokens: Vec<i32> = positions.iter().map(|p| (7 * p + 3) % 40).collect();
        let keys = positions.iter().max().map_or(1, |p| p + 1);
        let wanted: Vec<i32> = (0..slots.len() as i32).rev().step_by(2).collect();
        let count = |n: usize| n as i64;
        let bindings = [
            ("R", count(slots.len())),
            ("K", keys.into()),
            ("N", count(wanted.len())),
        ];
        let inputs = [tokens, positions, slots, wanted].map(|x| Tensor::int(vec![x.len()], x));
        let outputs = interpreter.step(&Bindings::new(bindings), inputs.into());
        for output in outputs.unwrap_or_else(|e| panic!("{e}")) {
            let reals = output.to_real().expect("logits are f32").into_owned();
            bits.extend(reals.iter().map(|x: &f32| x.to_bits()));
        }
    }
    bits
}

#[test]
fn every_extraction_gives_the_bits_of_the_source() {
    let module = gemma2();
    let expected = bits(&module);
    let named = [
        Extract::Search,
        Extract::Greedy,
        Extract::None,
        Extract::Worst,
    ];
    for extract in named.into_iter().chain((0..20).map(Extract::Random)) {
        let (plan, _) = planned(&module, extract);
        assert_eq!(bits(&plan::lower(&plan).module), expected, "{extract:?}");
        let printed = text::print(&plan);
        assert_eq!(text::parse(&printed).as_ref(), Ok(&plan), "{extract:?}");
    }
}

#[test]
fn the_search_is_never_dearer_than_greedy_nor_greedy_than_nothing_fused() {
    let module = gemma2();
    let [search, greedy, none] = [Extract::Search, Extract::Greedy, Extract::None]
        .map(|extract| planned(&module, extract).1);
    for ((search, greedy), none) in search.iter().zip(&greedy).zip(&none) {
        println!("search: {search}\n  greedy: {greedy}\n  none: {none}");
        assert!(search.cost <= greedy.cost, "{search}");
        assert!(greedy.cost <= none.cost, "{greedy}");
    }
}

#[test]
fn a_layer_is_five_kernels_and_no_score_mask_repeated_head_nor_gate_or_up_product_reaches_memory() {
    let (plan, _) = planned(&gemma2(), Extract::Search);
    let all = plan.functions.iter().zip(&plan.module.functions);
    let layers: Vec<_> = all.filter(|(_, f)| f.value("scores").is_some()).collect();
    assert_eq!(layers.len(), 3);
    for (planned, function) in layers {
        assert_eq!(planned.kernels.len(), 5, "{}", function.name);
        for kernel in &planned.kernels {
            for output in &kernel.outputs {
                let value = &function.values[output.0];
                let ty = value.ty.to_string();
                assert!(!ty.contains('K'), "{}: {ty}", kernel.name);
                assert!(!["gate", "up"].contains(&value.name.as_str()));
            }
        }
    }
}

#[test]
fn every_cache_is_written_in_place() {
    let (plan, _) = planned(&gemma2(), Extract::Search);
    let puts = plan
        .functions
        .iter()
        .flat_map(|f| f.buffers.in_place.values());
    let puts: Vec<bool> = puts.copied().collect();
    assert_eq!(puts, [true; 6]);
}
