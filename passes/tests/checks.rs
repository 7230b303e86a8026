//! The check of rules finds wrong ones, and shows where.

use ir::{DType, Dims, Type};
use lapidary_passes::rules::check::{Effort, Flaw, check};
use lapidary_passes::rules::{Rule, RuleSet, Thing};

fn rule(text: &str) -> Rule {
    let set = RuleSet::parse(text, "test.rules").unwrap_or_else(|e| panic!("{e}"));
    set.rules()[0].clone()
}

/// What the check says against a rule.
fn flaw(text: &str) -> String {
    match check(&rule(text), &Effort::default()) {
        Err(flaw @ Flaw::Counterexample(_)) => flaw.to_string(),
        other => panic!("{text}: expected a counterexample, found {other:?}"),
    }
}

#[test]
fn a_softcap_without_its_tanh_is_caught() {
    let text = "uncapped rounds: mul(tanh(div(?x, 30.0)), 30.0) => ?x";
    let found = flaw(text);
    assert!(found.starts_with("rule uncapped is not rounds:"), "{found}");
    assert!(found.contains("in f64 it is"), "{found}");
}

#[test]
fn a_softcap_of_another_size_is_caught_and_one_written_otherwise_passes() {
    flaw(
        "other-cap rounds: mul(tanh(div(?x, 30.0)), 30.0) => mul(tanh(div(?x, const() {to = dtype(?x), shape = shape(?x), values = [31.0]})), const() {to = dtype(?x), shape = shape(?x), values = [31.0]})",
    );
    let honest = "same-cap rounds: div(tanh(div(?x, 4.0)), 0.25) => mul(tanh(div(?x, const() {to = dtype(?x), shape = shape(?x), values = [4.0]})), const() {to = dtype(?x), shape = shape(?x), values = [4.0]})";
    assert!(check(&rule(honest), &Effort::default()).is_ok());
}

#[test]
fn swapped_operands_are_caught_under_the_name_of_every_class() {
    for class in ["exact", "reassoc", "rounds"] {
        for op in ["sub", "div", "lt"] {
            flaw(&format!("swapped {class}: {op}(?x, ?y) => {op}(?y, ?x)"));
        }
        let (branch, other) = ("select(?c, ?x, ?y)", "select(?c, ?y, ?x)");
        flaw(&format!("swapped {class}: {branch} => {other}"));
    }
}

#[test]
fn what_is_no_reassociation_is_caught_under_its_name() {
    flaw("difference reassoc: sub(sub(?x, ?y), ?z) => sub(?x, sub(?y, ?z))");
    flaw("lost-term reassoc: add(add(?x, ?y), ?z) => add(?x, ?y)");
}

#[test]
fn a_check_says_how_often_every_bit_was_kept_and_how_near_the_bound_the_errors_came() {
    let checked = |text| check(&rule(text), &Effort::default()).unwrap_or_else(|e| panic!("{e}"));
    let exact = checked("commute exact: add(?x, ?y) => add(?y, ?x)");
    assert_eq!((exact.same, exact.worst), (exact.instances, 0.0));
    let in_fact_exact = checked("commute rounds: add(?x, ?y) => add(?y, ?x)");
    assert_eq!(in_fact_exact.same, in_fact_exact.instances);
    let rounds = checked("associate reassoc: add(add(?x, ?y), ?z) => add(?x, add(?y, ?z))");
    assert!(rounds.same < rounds.instances, "{rounds:?}");
    assert!(rounds.worst > 0.0 && rounds.worst <= 1.0, "{rounds:?}");
}

#[test]
fn a_divisor_that_leaves_an_empty_sum_is_caught() {
    let found = flaw(
        "out-of-sum rounds: reduce_sum(div(?x, broadcast(?r) {shape = ?s, axes = ?p})) {axes = ?n} => div(reduce_sum(?x) {axes = ?n}, broadcast(?r) {shape = pick(?s, ?kept), axes = places(?kept, ?p)}) where ?kept = others(len(?s), ?n)",
    );
    assert!(found.contains("%x = []"), "{found}");
}

#[test]
fn swapped_operands_of_a_difference_are_caught_on_one_element() {
    assert_eq!(
        flaw("swapped exact: sub(?x, ?y) => sub(?y, ?x)"),
        "rule swapped is not exact:
fn left(%x: f32[], %y: f32[]) {
  %2: f32[] = sub(%x, %y)
  return %2
}
fn right(%x: f32[], %y: f32[]) {
  %2: f32[] = sub(%y, %x)
  return %2
}
%x = [1.0]
%y = [0.0]
element []: the left side gives 1.0, the right side -1.0"
    );
}

#[test]
fn adding_zero_is_no_identity_where_x_is_minus_zero() {
    let found = flaw("add-zero exact: add(?x, 0.0) => ?x");
    assert!(found.contains("%x = [-0.0]"), "{found}");
    assert!(
        found.contains("the left side gives 0.0, the right side -0.0"),
        "{found}"
    );
}

#[test]
fn subtracting_minus_zero_is_no_identity_either() {
    let found = flaw("sub-minus-zero exact: sub(?x, -0.0) => ?x");
    assert!(found.contains("%x = [-0.0]"), "{found}");
}

#[test]
fn a_product_with_zero_is_not_zero() {
    flaw(
        "mul-zero exact: mul(?x, const() {to = ?t, shape = ?s, values = [0.0]}) => const() {to = ?t, shape = ?s, values = [0.0]}",
    );
}

#[test]
fn reassociation_under_the_name_exact_is_caught_and_under_its_own_passes() {
    flaw("add-of-add exact: add(add(?x, ?y), ?z) => add(?x, add(?y, ?z))");
    let honest = rule("add-of-add reassoc: add(add(?x, ?y), ?z) => add(?x, add(?y, ?z))");
    assert!(check(&honest, &Effort::default()).is_ok());
}

#[test]
fn a_window_that_is_off_by_one_is_caught() {
    flaw(
        "window exact: lt(?x, 4.0) => le(?x, const() {to = dtype(?x), shape = shape(?x), values = [4.0]})",
    );
}

#[test]
fn a_window_of_keys_that_is_off_by_one_is_caught() {
    // A query sees the keys behind it that are less than four away, itself included.
    let left = "and(le(?k, ?q), lt(sub(?q, ?k), 4.0))";
    let four = "const() {to = i32, shape = shape(?q), values = [4.0]}";
    let three = four.replace("4.0", "3.0");
    flaw(&format!(
        "wide exact: {left} => and(le(?k, ?q), le(sub(?q, ?k), {four}))"
    ));
    flaw(&format!(
        "shifted exact: {left} => and(lt(?k, ?q), lt(sub(?q, ?k), {four}))"
    ));
    let honest = format!(
        "closed exact: {left} => and(le(?k, ?q), le(sub(?q, ?k), {three})) if dtype(?q) == i32"
    );
    assert!(check(&rule(&honest), &Effort::default()).is_ok());
}

#[test]
fn a_division_by_three_is_no_exact_product() {
    flaw(
        "thirds exact: div(?x, const() {to = ?t, shape = ?s, values = ?v}) => mul(?x, const() {to = ?t, shape = ?s, values = recip(?v)}) if uniform(?v)",
    );
}

#[test]
fn narrowing_and_widening_is_a_rounding() {
    flaw("through-bf16 exact: cast(cast(?x) {to = bf16}) {to = f32} => ?x");
}

#[test]
fn a_transposition_composed_backwards_is_caught() {
    flaw(
        "backwards exact: transpose(transpose(?x) {axes = ?p}) {axes = ?q} => transpose(?x) {axes = pick(?q, ?p)}",
    );
}

#[test]
fn a_sum_split_at_another_order_is_caught_by_sums_longer_than_the_lanes() {
    // Sixteen lanes by k: the order of the elements matters.
    flaw(
        "two-sums exact: reduce_sum(?x) {axes = [0, 1]} => reduce_sum(reduce_sum(?x) {axes = [1]}) {axes = [0]}",
    );
    let honest = "two-sums reassoc: reduce_sum(?x) {axes = [0, 1]} => reduce_sum(reduce_sum(?x) {axes = [1]}) {axes = [0]}";
    assert!(check(&rule(honest), &Effort::default()).is_ok());
}

#[test]
fn a_reciprocal_that_overflows_is_caught() {
    flaw(
        "scales rounds: div(?x, const() {to = ?t, shape = ?s, values = ?v}) => mul(?x, const() {to = ?t, shape = ?s, values = recip(?v)})",
    );
}

#[test]
fn a_product_of_scales_that_overflows_is_caught() {
    flaw(
        "scales rounds: mul(mul(?x, const() {to = ?t, shape = ?s, values = ?v}), const() {values = ?w}) => mul(?x, const() {to = ?t, shape = ?s, values = times(?v, ?w)}) if ?t == f32",
    );
}

#[test]
fn a_wrong_factor_is_no_matter_of_rounding() {
    flaw("twice rounds: mul(?x, 3.0) => add(?x, ?x)");
}

#[test]
fn what_looks_like_an_identity_and_is_none_in_ieee_arithmetic_is_caught() {
    let traps = [
        // The second operand is given where either is NaN.
        "commute exact: max(?x, ?y) => max(?y, ?x)",
        // -(x - x) is -0, and x - x is 0.
        "neg-of-sub exact: neg(sub(?x, ?y)) => sub(?y, ?x)",
        // inf - inf is NaN.
        "sub-of-same exact: sub(?x, ?x) => const() {to = dtype(?x), shape = shape(?x), values = [0.0]}",
        // NaN is not equal to itself.
        "eq-of-same exact: eq(?x, ?x) => const() {to = bool, shape = shape(?x), values = [1.0]}",
        // not (a < b) holds where either is NaN.
        "not-of-lt exact: not(lt(?x, ?y)) => le(?y, ?x)",
        // The square rounds, overflows and underflows.
        "sqrt-of-square exact: sqrt(mul(?x, ?x)) => max(?x, neg(?x))",
        // Two products round where one did.
        "distribute exact: mul(add(?x, ?y), ?z) => add(mul(?x, ?z), mul(?y, ?z))",
        // 2^k * 2^j may overflow on the way.
        "two-powers exact: mul(mul(?x, const() {to = ?t, shape = ?s, values = ?v}), const() {values = ?w}) => mul(?x, const() {to = ?t, shape = ?s, values = times(?v, ?w)}) if powers_of_two(?v), powers_of_two(?w), powers_of_two(times(?v, ?w))",
    ];
    for trap in traps {
        flaw(trap);
    }
    let honest = "commute exact: add(?x, ?y) => add(?y, ?x)";
    assert!(check(&rule(honest), &Effort::default()).is_ok());
}

#[test]
fn views_that_are_moved_wrongly_are_caught_though_types_agree() {
    let wrong = [
        "slice-of-slice exact: slice(slice(?x) {axis = ?n, start = ?s}) {axis = ?n, start = ?t, stop = ?e} => slice(?x) {axis = ?n, start = ?t, stop = ?e}",
        "second-of-concat exact: slice(concat(?a, ?b) {axis = ?n}) {axis = ?n, start = ?s, stop = ?e} => ?a if ?s == dim(?a, ?n)",
        "select-of-not exact: select(not(?c), ?x, ?y) => select(?c, ?x, ?y)",
        "slice-of-transpose exact: slice(transpose(?x) {axes = ?p}) {axis = ?n, start = ?b, stop = ?e} => transpose(slice(?x) {axis = at(?p, ?n), start = 0, stop = ?e - ?b}) {axes = ?p}",
        "take-of-reshape exact: take(reshape(?x) {shape = ?s}, ?i) {axis = ?n} => reshape(take(?x, ?i) {axis = ?n}) {shape = set(?s, ?n, dim(?i, 0))}",
        "take-of-sum exact: take(reduce_sum(?x) {axes = ?r}, ?i) {axis = ?n} => reduce_sum(take(?x, ?i) {axis = ?n}) {axes = ?r} if not has(?r, ?n)",
        "take-of-dot exact: take(dot(?a, ?b) {a_batch = ?p, b_batch = ?q, a_contract = ?c, b_contract = ?d}, ?i) {axis = ?n} => dot(take(?a, ?i) {axis = at(others(rank(?a), join(?p, ?c)), ?n)}, ?b) {a_batch = ?p, b_batch = ?q, a_contract = ?c, b_contract = ?d}",
        "swapped-dot exact: dot(?a, ?b) {a_batch = ?p, b_batch = ?q, a_contract = ?c, b_contract = ?d} => dot(?b, ?a) {a_batch = ?q, b_batch = ?p, a_contract = ?d, b_contract = ?c}",
        "put-twice exact: put(put(?s, ?i, ?j, ?x), ?i, ?j, ?y) => put(put(?s, ?i, ?j, ?y), ?i, ?j, ?x)",
    ];
    for rule in wrong {
        flaw(rule);
    }
}

#[test]
fn a_replacement_too_large_to_run_is_no_instance() {
    let huge = rule(
        "huge exact: neg(?x) => reshape(slice(broadcast(neg(?x)) {shape = [1000000000, dim(?x, 0)], axes = [1]}) {axis = 0, start = 0, stop = 1}) {shape = shape(?x)} if rank(?x) == 1",
    );
    let effort = Effort {
        draws: 2000,
        ..Effort::default()
    };
    assert!(matches!(check(&huge, &effort), Err(Flaw::Untested { .. })));
}

#[test]
fn a_rule_that_matches_nothing_is_a_failure() {
    let never = rule("never exact: neg(?x) => ?x if dtype(?x) == i32");
    let effort = Effort {
        draws: 2000,
        ..Effort::default()
    };
    let flaw = check(&never, &effort).expect_err("no instance can be made");
    assert_eq!(
        flaw.to_string(),
        "rule never: only 0 instances could be made in 2000 draws; it is untested"
    );
}

#[test]
fn not_equal_to_0_does_not_hold_of_a_length_that_may_be_0() {
    let rule = rule("never-empty exact: neg(neg(?x)) => ?x if not dim(?x, 0) == 0");
    let applies = |low| {
        let mut dims = Dims::default();
        let ty = Type::new(DType::F32, [&dims.declare("R", low, 8)]);
        let mut scope = vec![Some(Thing::Value(ty.clone()))];
        rule.replacement(&mut scope, &ty, &dims).is_some()
    };
    assert!(applies(1));
    assert!(!applies(0));
}

#[test]
fn a_quotient_of_exponentials_is_refused_for_what_is_no_longer_finite() {
    let found = flaw("apart rounds: exp(sub(?x, ?m)) => div(exp(?x), exp(?m))");
    assert!(found.contains("which must stay finite"), "{found}");
}

#[test]
fn a_mask_as_an_addend_is_refused_for_what_is_no_longer_infinite() {
    let found = flaw(
        "addend rounds: select(?c, ?x, const() {to = f32, shape = ?s, values = [-inf]}) => add(?x, select(?c, const() {to = f32, shape = ?s, values = [0.0]}, const() {to = f32, shape = ?s, values = [-1e9]}))",
    );
    assert!(found.contains("which must stay infinite"), "{found}");
}

#[test]
fn what_rounds_alike_but_is_no_order_of_sums_is_refused_under_the_name_reassoc() {
    let found = flaw(
        "twice reassoc: add(?x, ?x) => mul(?x, const() {to = dtype(?x), shape = shape(?x), values = [2.0]}) if dtype(?x) == f32",
    );
    assert!(found.contains("the class for that is rounds"), "{found}");
}

#[test]
fn a_counterexample_is_small_and_names_the_elements_that_are_read() {
    let text = "slid exact: reshape(broadcast(?x) {shape = ?s, axes = ?p}) {shape = ?t} => broadcast(?x) {shape = ?t, axes = ?p} if len(?s) == len(?t)";
    for seed in 1..6 {
        let effort = Effort {
            seed,
            ..Effort::default()
        };
        let Err(Flaw::Counterexample(found)) = check(&rule(text), &effort) else {
            panic!("seed {seed} finds nothing");
        };
        assert!(found.operands[0].shape.iter().product::<usize>() <= 4);
        let message = found.to_string();
        assert!(message.contains("it reads %x["), "{message}");
    }
}
