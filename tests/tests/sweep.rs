//! A softmax over long axes in the fast fidelity: one sweep over blocks of the axis, as near to the truth as f32
//! lets it be, whatever is masked and wherever the maximum lies.

use backends::{Emit, Fidelity, Options, emit};
use ir::interp::{Interpreter, Tensor};
use ir::{Bindings, Module};
use lapidary_tests::compiled::{Built, levels};
use passes::pipeline::{self, PlanOptions};
use passes::rules::RuleSet;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// Query heads in pairs on a key head of their sequence, a window behind each row's position, a softcap: each row
/// reads keys of its own.
const GROUPED: &str = "
module grouped

dim R in 1..8
dim K in 1..2400

fn attend(%q: f32[R, 2, 32], %keys: f32[2, 2400, 32], %values: f32[2, 2400, 32], %slot: i32[R], %pos: i32[R]) {
  %key: i32[K] = iota() {length = K}
  %k: f32[2, K, 32] = take(%keys, %key) {axis = 1}
  %ks: f32[R, K, 32] = take(%k, %slot) {axis = 0}
  %v: f32[2, K, 32] = take(%values, %key) {axis = 1}
  %vs: f32[R, K, 32] = take(%v, %slot) {axis = 0}
  %dots: f32[R, 2, K] = dot(%q, %ks) {a_batch = [0], b_batch = [0], a_contract = [2], b_contract = [2]}
  %fifty: f32[R, 2, K] = const() {to = f32, shape = [R, 2, K], values = [50.0]}
  %part: f32[R, 2, K] = div(%dots, %fifty)
  %soft: f32[R, 2, K] = tanh(%part)
  %capped: f32[R, 2, K] = mul(%soft, %fifty)
  %at: i32[R, K] = broadcast(%key) {shape = [R, K], axes = [1]}
  %rows: i32[R, K] = broadcast(%pos) {shape = [R, K], axes = [0]}
  %behind: i32[R, K] = sub(%rows, %at)
  %window: i32[R, K] = const() {to = i32, shape = [R, K], values = [900.0]}
  %near: bool[R, K] = lt(%behind, %window)
  %past: bool[R, K] = le(%at, %rows)
  %both: bool[R, K] = and(%past, %near)
  %seen: bool[R, 2, K] = broadcast(%both) {shape = [R, 2, K], axes = [0, 2]}
  %never: f32[R, 2, K] = const() {to = f32, shape = [R, 2, K], values = [-inf]}
  %x: f32[R, 2, K] = select(%seen, %capped, %never)
  %max: f32[R, 2] = reduce_max(%x) {axes = [2]}
  %peak: f32[R, 2, K] = broadcast(%max) {shape = [R, 2, K], axes = [0, 1]}
  %low: f32[R, 2, K] = sub(%x, %peak)
  %e: f32[R, 2, K] = exp(%low)
  %sum: f32[R, 2] = reduce_sum(%e) {axes = [2]}
  %mixed: f32[R, 2, 32] = dot(%e, %vs) {a_batch = [0], b_batch = [0], a_contract = [2], b_contract = [1]}
  %sums: f32[R, 2, 32] = broadcast(%sum) {shape = [R, 2, 32], axes = [0, 1]}
  %y: f32[R, 2, 32] = div(%mixed, %sums)
  return %y
}

step(%q: f32[R, 2, 32], %keys: f32[2, 2400, 32], %values: f32[2, 2400, 32], %slot: i32[R], %pos: i32[R]) {
  %y: f32[R, 2, 32] = attend(%q, %keys, %values, %slot, %pos)
  return %y
}
";

/// Scores that are given, masked by holes rather than by a stretch; heads whose width is no whole vector; the values as
/// the first operand, in another order of axes; and the logarithm of the sum.
const GIVEN: &str = "
module given

dim R in 1..8
dim K in 1..1000

fn attend(%scores: f32[R, K], %hole: i32[K], %values: f32[5, K]) {
  %zero: i32[K] = const() {to = i32, shape = [K], values = [0.0]}
  %free: bool[K] = eq(%hole, %zero)
  %seen: bool[R, K] = broadcast(%free) {shape = [R, K], axes = [1]}
  %never: f32[R, K] = const() {to = f32, shape = [R, K], values = [-inf]}
  %x: f32[R, K] = select(%seen, %scores, %never)
  %max: f32[R] = reduce_max(%x) {axes = [1]}
  %peak: f32[R, K] = broadcast(%max) {shape = [R, K], axes = [0]}
  %low: f32[R, K] = sub(%x, %peak)
  %e: f32[R, K] = exp(%low)
  %sum: f32[R] = reduce_sum(%e) {axes = [1]}
  %mixed: f32[5, R] = dot(%values, %e) {a_batch = [], b_batch = [], a_contract = [1], b_contract = [1]}
  %sums: f32[5, R] = broadcast(%sum) {shape = [5, R], axes = [1]}
  %y: f32[5, R] = div(%mixed, %sums)
  %log: f32[R] = log(%sum)
  %total: f32[R] = add(%log, %max)
  return %y, %total
}

step(%scores: f32[R, K], %hole: i32[K], %values: f32[5, K]) {
  %y: f32[5, R], %total: f32[R] = attend(%scores, %hole, %values)
  return %y, %total
}
";

/// An input: its shape, and its elements, all of which f32 and i32 hold.
enum Input {
    Real(Vec<usize>, Vec<f32>),
    Int(Vec<usize>, Vec<i32>),
}

fn tensors<F: ir::interp::Real>(inputs: &[Input]) -> Vec<Tensor<'static, F>> {
    let tensor = |input: &Input| match input {
        Input::Real(shape, x) => {
            let x = x.iter().map(|x| F::from_f64(f64::from(*x)));
            Tensor::real(shape.clone(), x.collect())
        }
        Input::Int(shape, x) => Tensor::int(shape.clone(), x.clone()),
    };
    inputs.iter().map(tensor).collect()
}

/// What an output holds for rows in which no element counts: 0 / 0, and the logarithm of 0. In the order of the
/// source graph, which takes -inf from -inf, both are NaN.
const EMPTY: [f64; 2] = [f64::NAN, f64::NEG_INFINITY];

/// Holds fast code on every level to the interpreter's run in f64.
#[track_caller]
fn assert_near(text: &str, dims: &[(&str, i64)], inputs: &[Input], tolerance: f64) {
    let module: Module = ir::text::parse(text).unwrap();
    let bindings = Bindings::new(dims.iter().copied());
    let mut truth = Interpreter::<f64>::new(module.clone(), |_| None, 1).unwrap();
    let truth = truth.step(&bindings, tensors(inputs)).unwrap();
    let (module, _) = pipeline::algebra(&module, &pipeline::Options::new(RuleSet::shipped()));
    let (plan, _) = pipeline::plan(&module, &PlanOptions::default());
    for level in levels() {
        let options = Options {
            levels: vec![level],
            fidelity: Fidelity::Fast,
            tune_for_host: false,
        };
        let nests = emit(&plan, level, &options, Emit::Loops).unwrap();
        let nests = String::from_utf8(nests).unwrap();
        assert!(nests.contains("sweep"), "{nests}");
        let built = Built::new(&plan, level, Fidelity::Fast, |_| None).unwrap();
        for threads in [1, 3] {
            let mut model = built.load(threads).unwrap();
            let found = model.step(&bindings, &tensors(inputs)).unwrap();
            for (i, (found, truth)) in found.iter().zip(&truth).enumerate() {
                let (found, truth) = (found.to_real().unwrap(), truth.to_real().unwrap());
                assert_eq!(found.len(), truth.len());
                for (j, (a, b)) in found.iter().zip(truth.iter()).enumerate() {
                    let (a, b) = (f64::from(*a), if b.is_nan() { EMPTY[i] } else { *b });
                    let near = (a - b).abs() <= tolerance * b.abs().max(1.0);
                    let same = near || a == b || (a.is_nan() && b.is_nan());
                    assert!(
                        same,
                        "{level}, {dims:?}: output {i}, [{j}] is {a}, not {b}\n{nests}"
                    );
                }
            }
        }
    }
}

fn drawn(random: &mut StdRng, shape: &[usize], scale: f32) -> Input {
    let count = shape.iter().product();
    let x = (0..count).map(|_| random.random_range(-scale..scale));
    Input::Real(shape.to_vec(), x.collect())
}

#[test]
fn rows_at_any_position_of_any_sequence_see_their_window_of_keys() {
    let random = &mut StdRng::seed_from_u64(1);
    // Inside a block, over several, at the keys' ends, behind them as far as the window and further, before them.
    let steps: [(i64, &[i32]); 6] = [
        (2400, &[2399, 0, 767, 768, 769, 1500, 899, 900]),
        (1777, &[1776, 1775, 1800, 2675, 4000, -1, -100, 3]),
        (2000, &[i32::MAX, i32::MIN, 1700]),
        (769, &[768]),
        (1, &[0, 5]),
        (1536, &[1535, 100]),
    ];
    for (keys, positions) in steps {
        for scale in [0.3, 8.0] {
            let rows = positions.len();
            let slots = (0..rows as i32).map(|i| i % 2).collect();
            let inputs = [
                drawn(random, &[rows, 2, 32], scale),
                drawn(random, &[2, 2400, 32], 1.0),
                drawn(random, &[2, 2400, 32], 1.0),
                Input::Int(vec![rows], slots),
                Input::Int(vec![rows], positions.to_vec()),
            ];
            let dims = [("R", rows as i64), ("K", keys)];
            assert_near(GROUPED, &dims, &inputs, 1e-5);
        }
    }
}

#[test]
fn the_maximum_may_lie_anywhere_and_any_blocks_may_be_masked() {
    let random = &mut StdRng::seed_from_u64(2);
    let scores: [fn(usize) -> f32; 5] = [
        |k| k as f32 * 0.5,
        |k| k as f32 * -0.5,
        |k| if k == 700 { 80.0 } else { (k as f32).sin() },
        |_| f32::NEG_INFINITY,
        |k| if k < 400 { f32::NEG_INFINITY } else { -3e38 },
    ];
    let holes: [fn(usize) -> bool; 4] = [
        |_| false,
        |k| k % 3 == 1,
        |k| k < 500,
        |k| !(384..576).contains(&k),
    ];
    for keys in [1000, 700, 192, 20] {
        for hole in holes {
            let rows = scores.iter().flat_map(|score| (0..keys).map(score));
            let hole = (0..keys).map(|k| i32::from(hole(k)));
            let inputs = [
                Input::Real(vec![scores.len(), keys], rows.collect()),
                Input::Int(vec![keys], hole.collect()),
                drawn(random, &[5, keys], 2.0),
            ];
            let dims = [("R", scores.len() as i64), ("K", keys as i64)];
            assert_near(GIVEN, &dims, &inputs, 1e-5);
        }
    }
}
