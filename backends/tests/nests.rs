//! Kernels in, loop nests out.

use lapidary_backends::loops::{Form, Shown, schedule};

/// The nests of a module's functions, each taken as one kernel.
fn nests(text: &str, form: Form) -> String {
    let module = ir::text::parse(text).unwrap_or_else(|error| panic!("{error}"));
    ir::verify(&module).unwrap_or_else(|error| panic!("{error}"));
    let functions = module.functions.iter();
    let nests = functions.map(|f| Shown(&schedule(f, &module.dims, form), f).to_string());
    nests.collect()
}

/// A norm before a projection, whose result is cut into heads: rows stay whole, columns are tiled by heads.
const PROJECTION: &str = "
module projection

dim R in 1..512

weight @w: bf16[1024, 96]

fn project(%x: f32[R, 96], %w: bf16[1024, 96]) {
  %squares: f32[R, 96] = mul(%x, %x)
  %sum: f32[R] = reduce_sum(%squares) {axes = [1]}
  %scale: f32[R] = rsqrt(%sum)
  %scales: f32[R, 96] = broadcast(%scale) {shape = [R, 96], axes = [0]}
  %normed: f32[R, 96] = mul(%x, %scales)
  %wide: f32[1024, 96] = cast(%w) {to = f32}
  %flat: f32[R, 1024] = dot(%normed, %wide) {a_batch = [], b_batch = [], a_contract = [1], b_contract = [1]}
  %heads: f32[R, 8, 128] = reshape(%flat) {shape = [R, 8, 128]}
  %left: f32[R, 8, 64] = slice(%heads) {axis = 2, start = 0, stop = 64}
  %right: f32[R, 8, 64] = slice(%heads) {axis = 2, start = 64, stop = 128}
  %turned: f32[R, 8, 128] = concat(%right, %left) {axis = 2}
  return %normed, %turned
}

step(%x: f32[R, 96]) {
  %normed: f32[R, 96], %turned: f32[R, 8, 128] = project(%x, @w)
  return %normed, %turned
}
";

#[test]
fn a_projections_columns_are_tiled_by_what_its_result_keeps_together() {
    let exact = nests(PROJECTION, Form::default());
    assert_eq!(
        exact,
        "\
nest project scratch 230400 {
  tile 0 of R by 256
  tile 1 of 1024 by 128
  reduce %sum[tile 0] to 0 by [1]
  map %normed[tile 0, 96] to 1024 by [96, 1]
  once copy %normed[tile 0, 96] to result 0
  dot %flat[tile 0, tile 1] to 99328 by [128, 1]
  map %turned[tile 0, tile 1 * 1/128, 128] to result 1
}
"
    );
}

#[test]
fn a_dot_over_bf16_weights_takes_rounded_rows_where_that_is_allowed() {
    let form = Form {
        narrow_dots: true,
        ..Form::default()
    };
    let fast = nests(PROJECTION, form);
    assert!(fast.contains("narrow %normed[tile 0, 96]"), "{fast}");
    assert!(fast.contains("dot.bf16 %flat[tile 0, tile 1]"), "{fast}");
}

/// Three projections of the same rows, one of them wider, whose columns come in heads of 16.
const SIDE_BY_SIDE: &str = "
module side_by_side

dim R in 1..512

weight @wq: bf16[256, 96]
weight @wk: bf16[128, 96]
weight @wv: bf16[128, 96]

fn project(%x: f32[R, 96], %wq: bf16[256, 96], %wk: bf16[128, 96], %wv: bf16[128, 96]) {
  %q_wide: f32[256, 96] = cast(%wq) {to = f32}
  %q: f32[R, 256] = dot(%x, %q_wide) {a_batch = [], b_batch = [], a_contract = [1], b_contract = [1]}
  %heads: f32[R, 8, 32] = reshape(%q) {shape = [R, 8, 32]}
  %k_wide: f32[128, 96] = cast(%wk) {to = f32}
  %k: f32[R, 128] = dot(%x, %k_wide) {a_batch = [], b_batch = [], a_contract = [1], b_contract = [1]}
  %v_wide: f32[128, 96] = cast(%wv) {to = f32}
  %v: f32[R, 128] = dot(%x, %v_wide) {a_batch = [], b_batch = [], a_contract = [1], b_contract = [1]}
  %kv: f32[R, 128] = mul(%k, %v)
  return %heads, %kv
}

step(%x: f32[R, 96]) {
  %heads: f32[R, 8, 32], %kv: f32[R, 128] = project(%x, @wq, @wk, @wv)
  return %heads, %kv
}
";

#[test]
fn a_tile_has_the_same_share_of_the_columns_of_all_dots_side_by_side() {
    assert_eq!(
        nests(SIDE_BY_SIDE, Form::default()),
        "\
nest project scratch 98304 {
  tile 0 of R by 256
  tile 1 of 128 by 16
  dot %q[tile 0, tile 1 * 2/1] to 0 by [32, 1]
  map %heads[tile 0, tile 1 * 1/16, 32] to result 0
  dot %k[tile 0, tile 1] to 32768 by [32, 1]
  dot %v[tile 0, tile 1] to 65536 by [32, 1]
  map %kv[tile 0, tile 1] to result 1
}
"
    );
}

/// Keys that are read where they lie, scores, their softmax, values: cut by rows and heads, so that a
/// tile's scores are one row of one head.
const ATTENTION: &str = "
module attention

dim R in 1..64
dim K in 1..4096

fn attend(%q: f32[R, 4, 64], %k: f32[K, 4, 64], %v: f32[K, 4, 64]) {
  %scores: f32[4, R, K] = dot(%q, %k) {a_batch = [1], b_batch = [1], a_contract = [2], b_contract = [2]}
  %most: f32[4, R] = reduce_max(%scores) {axes = [2]}
  %mosts: f32[4, R, K] = broadcast(%most) {shape = [4, R, K], axes = [0, 1]}
  %less: f32[4, R, K] = sub(%scores, %mosts)
  %weights: f32[4, R, K] = exp(%less)
  %sum: f32[4, R] = reduce_sum(%weights) {axes = [2]}
  %mixed: f32[4, R, 64] = dot(%weights, %v) {a_batch = [0], b_batch = [1], a_contract = [2], b_contract = [0]}
  %sums: f32[4, R, 64] = broadcast(%sum) {shape = [4, R, 64], axes = [0, 1]}
  %out: f32[4, R, 64] = div(%mixed, %sums)
  return %out
}

step(%q: f32[R, 4, 64], %k: f32[K, 4, 64], %v: f32[K, 4, 64]) {
  %out: f32[4, R, 64] = attend(%q, %k, %v)
  return %out
}
";

#[test]
fn attention_is_tiled_by_its_batch_axes_with_the_scores_of_a_tile_in_scratch() {
    assert_eq!(
        nests(ATTENTION, Form::default()),
        "\
nest attend scratch 2114048 {
  tile 0 of 4 by 1
  dot %scores[tile 0, R, K] to 0 by [262144, 4096, 1]
  reduce %most[tile 0, R] to 1048576 by [64, 1]
  map %weights[tile 0, R, K] to 1048832 by [262144, 4096, 1]
  reduce %sum[tile 0, R] to 2097408 by [64, 1]
  dot %mixed[tile 0, R, 64] to 2097664 by [4096, 64, 1]
  map %out[tile 0, R, 64] to result 0
}
"
    );
}

/// As above, over keys up to each row's position and less than 64 behind it.
fn masked() -> String {
    let (before, after) = ATTENTION
        .split_once("  %most:")
        .expect("there is a maximum");
    let mask = "
  %key: i32[K] = iota() {length = K}
  %keys: i32[R, K] = broadcast(%key) {shape = [R, K], axes = [1]}
  %rows: i32[R, K] = broadcast(%at) {shape = [R, K], axes = [0]}
  %behind: i32[R, K] = sub(%rows, %keys)
  %window: i32[R, K] = const() {to = i32, shape = [R, K], values = [64.0]}
  %past: bool[R, K] = le(%keys, %rows)
  %near: bool[R, K] = lt(%behind, %window)
  %both: bool[R, K] = and(%past, %near)
  %seen: bool[4, R, K] = broadcast(%both) {shape = [4, R, K], axes = [1, 2]}
  %never: f32[4, R, K] = const() {to = f32, shape = [4, R, K], values = [-inf]}
  %kept: f32[4, R, K] = select(%seen, %scores, %never)
";
    let after = after
        .replace("(%scores)", "(%kept)")
        .replace("sub(%scores", "sub(%kept");
    let text = format!("{before}{mask}  %most:{after}");
    text.replace("%v: f32[K, 4, 64])", "%v: f32[K, 4, 64], %at: i32[R])")
        .replace("attend(%q, %k, %v)", "attend(%q, %k, %v, %at)")
}

#[test]
fn what_a_mask_leaves_out_is_neither_folded_nor_computed() {
    assert_eq!(
        nests(&masked(), Form::default()),
        "\
nest attend scratch 3162624 {
  tile 0 of 4 by 1
  dot %scores[tile 0, R, K] to 0 by [262144, 4096, 1] for k of axis 2 where k <= %at, %at - k <= 63
  map %kept[tile 0, R, K] to 1048576 by [262144, 4096, 1] for k of axis 2 where k <= %at, %at - k <= 63
  reduce %most[tile 0, R] to 2097152 by [64, 1] for k where k <= %at, %at - k <= 63
  map %weights[tile 0, R, K] to 2097408 by [262144, 4096, 1] for k of axis 2 where k <= %at, %at - k <= 63
  reduce %sum[tile 0, R] to 3145984 by [64, 1] for k where k <= %at, %at - k <= 63
  dot %mixed[tile 0, R, 64] to 3146240 by [4096, 64, 1] for k where k <= %at, %at - k <= 63
  map %out[tile 0, R, 64] to result 0
}
"
    );
}

#[test]
fn in_any_order_a_softmax_is_one_sweep_over_blocks_of_its_axis() {
    let form = Form {
        any_order: true,
        ..Form::default()
    };
    assert_eq!(
        nests(&masked(), form),
        "\
nest attend scratch 164864 {
  tile 0 of 4 by 1
  sweep 1 of K by 192 where k <= %at, %at - k <= 63 {
    dot %scores[tile 0, R, tile 1] to 0 by [12288, 192, 1]
    map %kept[tile 0, R, tile 1] to 49152 by [12288, 192, 1]
    reduce %most[tile 0, R] to 98816 by [64, 1]
    map %weights[tile 0, R, tile 1] to 99072 by [12288, 192, 1]
    reduce %sum[tile 0, R] to 148224 by [64, 1]
    dot %mixed[tile 0, R, 64] to 148480 by [4096, 64, 1]
  }
  map %out[tile 0, R, 64] to result 0
}
"
    );
}

/// What a sweep cannot have: weights that are kept, or that are made into something else than sums.
#[test]
fn weights_that_are_needed_as_such_are_not_swept() {
    let form = Form {
        any_order: true,
        ..Form::default()
    };
    let swept = |text: &str| nests(text, form).contains("sweep");
    assert!(swept(ATTENTION));
    let returned = ATTENTION
        .replace(
            "  return %out\n}\n\nstep",
            "  return %out, %weights\n}\n\nstep",
        )
        .replace(
            "  %out: f32[4, R, 64] = attend",
            "  %out: f32[4, R, 64], %w: f32[4, R, K] = attend",
        );
    assert!(!swept(&returned));
    let divided = ATTENTION
        .replace("dot(%weights, %v)", "dot(%shares, %v)")
        .replace(
            "  %mixed:",
            "  %total: f32[4, R, K] = broadcast(%sum) {shape = [4, R, K], axes = [0, 1]}
  %shares: f32[4, R, K] = div(%weights, %total)
  %mixed:",
        );
    assert!(!swept(&divided));
    let short = ATTENTION.replace("dim K in 1..4096", "dim K in 1..192");
    assert!(!swept(&short));
}

/// Rows are put in order, so a kernel that puts is not cut along them.
const PUT: &str = "
module keep

dim R in 1..64

state $s: f32[2, 128, 4, 16]

fn keep(%s: f32[2, 128, 4, 16], %slots: i32[R], %at: i32[R], %rows: f32[R, 4, 16]) {
  %twice: f32[R, 4, 16] = add(%rows, %rows)
  %next: f32[2, 128, 4, 16] = put(%s, %slots, %at, %twice)
  return %next
}

step(%slots: i32[R], %at: i32[R], %rows: f32[R, 4, 16]) {
  $s = keep($s, %slots, %at, %rows)
  return
}
";

#[test]
fn rows_that_are_put_are_not_shared_between_workers() {
    let form = Form {
        in_place: true,
        ..Form::default()
    };
    assert_eq!(
        nests(PUT, form),
        "\
nest keep scratch 0 {
  tile 0 of 4 by 4
  put %next[R, tile 0, 16] to result 0
}
"
    );
    let copied = nests(PUT, Form::default());
    assert!(!copied.contains("tile"), "{copied}");
}
