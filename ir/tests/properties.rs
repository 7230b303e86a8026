//! What holds of every run: the order of sums, nearness to the f64 run, independence of threads, and
//! that a verified module can be run.

mod harness;
mod random;

use harness::{flatten, indices, run, run_op, unflatten};
use lapidary_ir::interp::{Interpreter, Real, RunError, Tensor};
use lapidary_ir::{Attr, Bindings, DType, Module, Op, WeightSource};
use proptest::prelude::*;

/// Numbers that follow one another without pattern.
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 32).wrapping_mul(0xd6e8_feb8_6659_fd93);
        mixed ^ mixed >> 32
    }

    /// Mostly of magnitudes near 1, where sums round; now and then a zero of either sign, a subnormal,
    /// something huge or no number.
    fn wild(&mut self) -> f32 {
        let bits = self.next();
        let rare = [
            0.0,
            -0.0,
            1e-45,
            -3e-39,
            3e38,
            -3e38,
            f32::INFINITY,
            f32::NAN,
        ];
        match bits >> 40 & 0xff {
            i @ 0..6 => rare[i as usize],
            i @ 6..8 if bits & 7 == 0 => rare[i as usize],
            _ => self.tame() * 2f32.powi((bits & 15) as i32 - 8),
        }
    }

    /// Between -1 and 1.
    fn tame(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    }
}

/// Bits, every NaN the same.
fn bits(x: f32) -> u32 {
    if x.is_nan() {
        f32::NAN.to_bits()
    } else {
        x.to_bits()
    }
}

/// The 16 lanes of terms, combined: `width` lanes are left, lane i is what lanes i and i + width were.
fn combined(lane: &dyn Fn(usize) -> f32, f: fn(f32, f32) -> f32, i: usize, width: usize) -> f32 {
    if width == 16 {
        return lane(i);
    }
    f(
        combined(lane, f, i, 2 * width),
        combined(lane, f, i + width, 2 * width),
    )
}

/// Terms 0 to n, each taken in by its lane, in the order of the contract.
fn in_lanes(
    n: usize,
    start: f32,
    take_in: impl Fn(f32, usize) -> f32,
    f: fn(f32, f32) -> f32,
) -> f32 {
    let lane = |i: usize| (i..n).step_by(16).fold(start, &take_in);
    combined(&lane, f, 0, 1)
}

fn greater(a: f32, b: f32) -> f32 {
    if a > b { a } else { b }
}

/// Shapes whose axes have lengths on both sides of the lanes' number.
fn shape(ranks: std::ops::Range<usize>) -> impl Strategy<Value = Vec<usize>> {
    let length = prop::sample::select(vec![0usize, 1, 2, 3, 5, 15, 16, 17, 31, 33, 40]);
    prop::collection::vec(length, ranks).prop_map(|mut shape| {
        while shape.iter().product::<usize>() > 20_000 {
            shape.pop();
        }
        shape
    })
}

/// A shape, and some of its axes in any order.
fn shape_and_axes() -> impl Strategy<Value = (Vec<usize>, Vec<usize>)> {
    shape(0..5).prop_flat_map(|shape| {
        let axes: Vec<usize> = (0..shape.len()).collect();
        let some = Just(axes.clone()).prop_shuffle();
        (Just(shape), some, 0..=axes.len()).prop_map(|(shape, mut axes, n)| {
            axes.truncate(n);
            (shape, axes)
        })
    })
}

/// Shapes of two operands, `[batch, free, contracted]` axes each, shuffled; and the axes' places.
#[derive(Clone, Debug)]
struct DotCase {
    shapes: [Vec<usize>; 2],
    batch: [Vec<usize>; 2],
    free: [Vec<usize>; 2],
    contract: [Vec<usize>; 2],
}

fn dot_case() -> impl Strategy<Value = DotCase> {
    let order = || Just((0..9).collect::<Vec<usize>>()).prop_shuffle();
    (
        shape(0..3),
        shape(0..2),
        shape(0..2),
        shape(1..4),
        order(),
        order(),
    )
        .prop_map(|(batch, a, b, contract, a_order, b_order)| {
            // Lengths of the axes as the dot names them, then each operand's own order of them.
            let side = |free: &[usize], order: &[usize]| {
                let all = [&batch, free, &contract].concat();
                let places: Vec<usize> = order.iter().copied().filter(|i| *i < all.len()).collect();
                let shape: Vec<usize> = places.iter().map(|i| all[*i]).collect();
                let place = |i| {
                    places
                        .iter()
                        .position(|p| *p == i)
                        .expect("every axis has one")
                };
                let named: Vec<usize> = (0..all.len()).map(place).collect();
                let (batches, rest) = named.split_at(batch.len());
                let (frees, contracts) = rest.split_at(free.len());
                let mut frees = frees.to_vec();
                frees.sort_unstable();
                (shape, batches.to_vec(), frees, contracts.to_vec())
            };
            let (a, b) = (side(&a, &a_order), side(&b, &b_order));
            DotCase {
                shapes: [a.0, b.0],
                batch: [a.1, b.1],
                free: [a.2, b.2],
                contract: [a.3, b.3],
            }
        })
        .prop_filter("small", |case| {
            let size = |s: &Vec<usize>| s.iter().product::<usize>();
            let k: usize = case.contract[0]
                .iter()
                .map(|i| case.shapes[0][*i])
                .product();
            size(&case.shapes[0]) * size(&case.shapes[1]) / k.max(1) < 200_000
        })
}

impl DotCase {
    fn attrs(&self) -> [Attr; 4] {
        let [a_batch, b_batch] = self.batch.clone().map(Attr::Axes);
        let [a_contract, b_contract] = self.contract.clone().map(Attr::Axes);
        [a_batch, b_batch, a_contract, b_contract]
    }

    fn lengths(&self, side: usize, axes: &[usize]) -> Vec<usize> {
        axes.iter().map(|i| self.shapes[side][*i]).collect()
    }

    fn result_shape(&self) -> Vec<usize> {
        let batch = self.lengths(0, &self.batch[0]);
        [
            batch,
            self.lengths(0, &self.free[0]),
            self.lengths(1, &self.free[1]),
        ]
        .concat()
    }

    /// Place of an operand's element for an index of the result and the k-th term.
    fn place(&self, side: usize, result: &[usize], k: usize) -> usize {
        let terms = unflatten(k, &self.lengths(0, &self.contract[0]));
        let batch = self.batch[0].len();
        let from = batch + if side == 0 { 0 } else { self.free[0].len() };
        let mut index = vec![0; self.shapes[side].len()];
        let named = self.batch[side].iter().zip(result);
        let free = self.free[side].iter().zip(&result[from..]);
        let contracted = self.contract[side].iter().zip(&terms);
        for (axis, i) in named.chain(free).chain(contracted) {
            index[*axis] = *i;
        }
        flatten(&index, &self.shapes[side])
    }
}

fn elements(x: &Tensor<f32>) -> Vec<u32> {
    x.to_real()
        .expect("it is f32")
        .iter()
        .copied()
        .map(bits)
        .collect()
}

fn wild_tensor(shape: &[usize], seed: u64) -> Tensor<'static, f32> {
    let mut noise = Noise(seed);
    let count = shape.iter().product();
    Tensor::real(shape.to_vec(), (0..count).map(|_| noise.wild()).collect())
}

/// The same numbers between -1 and 1 in both precisions.
fn tame_tensors(shape: &[usize], seed: u64) -> (Tensor<'static, f32>, Tensor<'static, f64>) {
    let mut noise = Noise(seed);
    let x: Vec<f32> = (0..shape.iter().product()).map(|_| noise.tame()).collect();
    let wide = x.iter().map(|x| f64::from(*x)).collect();
    (
        Tensor::real(shape.to_vec(), x),
        Tensor::real(shape.to_vec(), wide),
    )
}

/// Every element is as near to the f64 run's as this.
fn assert_near(x: &Tensor<f32>, truth: &Tensor<f64>, bound: f64) -> Result<(), TestCaseError> {
    prop_assert_eq!(&x.shape, &truth.shape);
    let (x, truth) = (x.to_real().expect("f32"), truth.to_real().expect("f32"));
    for (x, truth) in x.iter().zip(truth.iter()) {
        let error = (f64::from(*x) - truth).abs();
        prop_assert!(error <= bound, "{x} is {error} off {truth}");
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn a_reduction_is_taken_in_16_lanes_over_its_axes_as_listed((shape, axes) in shape_and_axes(), seed in any::<u64>()) {
        let x = wild_tensor(&shape, seed);
        let source = x.to_real().expect("it is f32");
        let kept: Vec<usize> = (0..shape.len()).filter(|i| !axes.contains(i)).collect();
        let lengths = |axes: &[usize]| axes.iter().map(|i| shape[*i]).collect::<Vec<usize>>();
        let (outer, inner) = (lengths(&kept), lengths(&axes));
        let term = |index: &[usize], k: usize| {
            let mut at = vec![0; shape.len()];
            let along = unflatten(k, &inner);
            for (axis, i) in kept.iter().zip(index).chain(axes.iter().zip(&along)) {
                at[*axis] = *i;
            }
            source[flatten(&at, &shape)]
        };
        let n = inner.iter().product();
        let sum = |index: &[usize]| in_lanes(n, 0.0, |lane, k| lane + term(index, k), |a, b| a + b);
        let max = |index: &[usize]| in_lanes(n, f32::NEG_INFINITY, |lane, k| greater(lane, term(index, k)), greater);
        let attrs = [Attr::Axes(axes.clone())];
        let sums = run_op(Op::ReduceSum, &attrs, std::slice::from_ref(&x));
        let maxima = run_op(Op::ReduceMax, &attrs, std::slice::from_ref(&x));
        prop_assert_eq!(&sums.shape, &outer);
        prop_assert_eq!(elements(&sums), indices(&outer).map(|i| bits(sum(&i))).collect::<Vec<_>>());
        prop_assert_eq!(elements(&maxima), indices(&outer).map(|i| bits(max(&i))).collect::<Vec<_>>());
    }

    #[test]
    fn a_dot_is_taken_in_16_lanes_by_fused_multiply_add(case in dot_case(), seed in any::<u64>()) {
        let [a, b] = [0, 1].map(|side| wild_tensor(&case.shapes[side], seed ^ side as u64));
        let shape = case.result_shape();
        let n = case.lengths(0, &case.contract[0]).iter().product();
        let dot = run_op(Op::Dot, &case.attrs(), &[a.clone(), b.clone()]);
        let (a, b) = (a.to_real().expect("it is f32"), b.to_real().expect("it is f32"));
        let element = |index: Vec<usize>| {
            let product = |lane, k| {
                let (x, y) = (a[case.place(0, &index, k)], b[case.place(1, &index, k)]);
                x.mul_add(y, lane)
            };
            bits(in_lanes(n, 0.0, product, |x, y| x + y))
        };
        prop_assert_eq!(&dot.shape, &shape);
        prop_assert_eq!(elements(&dot), indices(&shape).map(element).collect::<Vec<_>>());
    }

    #[test]
    fn sums_and_dots_are_near_the_f64_run(rows in 1usize..4, n in 0usize..700, seed in any::<u64>()) {
        let (x, wide_x) = tame_tensors(&[rows, n], seed);
        let (y, wide_y) = tame_tensors(&[rows, n], !seed);
        // Terms are below 1; each of the roundings on a term's way is below half an ulp of n.
        let bound = (n / 16 + 6) as f64 * n as f64 * 2f64.powi(-24);
        let sum = [Attr::Axes(vec![1])];
        assert_near(
            &run_op(Op::ReduceSum, &sum, std::slice::from_ref(&x)),
            &run_op(Op::ReduceSum, &sum, std::slice::from_ref(&wide_x)),
            bound,
        )?;
        let dot = [vec![0], vec![0], vec![1], vec![1]].map(Attr::Axes);
        assert_near(
            &run_op(Op::Dot, &dot, &[x, y]),
            &run_op(Op::Dot, &dot, &[wide_x, wide_y]),
            bound,
        )?;
    }

    #[test]
    fn softmax_and_rms_norm_are_near_the_f64_run(rows in 1usize..4, n in 1usize..300, seed in any::<u64>()) {
        let (x, wide) = tame_tensors(&[rows, n], seed);
        fn softmax<F: Real>(x: &Tensor<'static, F>) -> Tensor<'static, F> {
            run(std::slice::from_ref(x), 1, |_, x| {
                let (score, shape) = (x[0] * 20.0, x[0].ty().dims);
                let e = (score - score.max(&[1]).broadcast(&shape, &[0])).exp();
                e / e.sum(&[1]).broadcast(&shape, &[0])
            })
        }
        fn rms_norm<F: Real>(x: &Tensor<'static, F>) -> Tensor<'static, F> {
            run(std::slice::from_ref(x), 1, |_, x| {
                let (x, shape) = (x[0], x[0].ty().dims);
                let n = shape[1].as_const().expect("the shape is constant") as f64;
                let scale = ((x * x).sum(&[1]) * (1.0 / n) + 1e-6).rsqrt();
                x * scale.broadcast(&shape, &[0])
            })
        }
        // Scores reach 40 in magnitude, so their roundings are 4e-6 of a weight, and n / 16 add up.
        assert_near(&softmax(&x), &softmax(&wide), 1e-5)?;
        // A norm is at most sqrt(n) in magnitude.
        assert_near(&rms_norm(&x), &rms_norm(&wide), 1e-5 * (n as f64).sqrt())?;
    }
}

#[test]
fn a_dot_gives_the_same_bits_at_any_number_of_threads() {
    // Enough products that every thread gets a share, and shares that do not end with a row.
    let (a, b) = (
        wild_tensor(&[3, 61, 130], 1),
        wild_tensor(&[3, 331, 130], 2),
    );
    let dot = |threads| {
        let made = run(&[a.clone(), b.clone()], threads, |_, x| {
            x[0].dot(x[1], &[(0, 0)], &[(2, 2)])
        });
        elements(&made)
    };
    let alone = dot(1);
    for threads in [0, 2, 3, 7, 64] {
        assert!(dot(threads) == alone, "{threads} threads give other bits");
    }
}

/// Bytes of the stored weights of a module, without NaNs and infinities.
fn stored(module: &Module, noise: &mut Noise) -> Vec<(String, Vec<u8>)> {
    let weights = module.weights.iter();
    let stored = weights.filter(|w| w.source == WeightSource::Stored);
    let bytes = |w: &lapidary_ir::Weight| {
        let shape =
            w.ty.shape(&Bindings::default())
                .expect("weights have constant shapes");
        let count = w.ty.dtype.bytes(&shape).expect("weights are small");
        let bytes = (0..count).map(|_| (noise.next() & 0x33) as u8).collect();
        (w.name.clone(), bytes)
    };
    stored.map(bytes).collect()
}

/// Inputs of a step of a module; i32 are small, as indices are.
fn inputs<F: Real>(
    module: &Module,
    bindings: &Bindings,
    noise: &mut Noise,
) -> Vec<Tensor<'static, F>> {
    let input = |local: &lapidary_ir::Local| {
        let shape = local.ty.shape(bindings).expect("every symbol is bound");
        let n: usize = shape.iter().product();
        let reals = |noise: &mut Noise| -> Vec<F> {
            (0..n).map(|_| F::from_f64(noise.tame().into())).collect()
        };
        match local.ty.dtype {
            DType::F32 => Tensor::real(shape, reals(noise)),
            DType::I32 => Tensor::int(shape, (0..n).map(|_| (noise.next() & 1) as i32).collect()),
            DType::Bool => Tensor::bool(shape, (0..n).map(|_| noise.next() & 1 == 1).collect()),
            narrow => Tensor::narrowed(narrow, shape, reals(noise).into()),
        }
    };
    module.step.input_locals().iter().map(input).collect()
}

/// Runs two steps of a module; gives the types and elements made, or what index was out of range.
fn two_steps<F: Real>(
    module: &Module,
    r: i64,
    n: i64,
    seed: u64,
    threads: usize,
) -> Result<Vec<String>, String> {
    let bindings = Bindings::new([("R", r), ("N", n)]);
    let mut noise = Noise(seed);
    let weights = stored(module, &mut noise);
    let find = |name: &str| {
        weights
            .iter()
            .find(|(n, _)| n == name)
            .map(|(_, bytes)| &bytes[..])
    };
    let ran = Interpreter::<F>::new(module.clone(), find, threads).and_then(|mut interpreter| {
        let mut made = Vec::new();
        for _ in 0..2 {
            let given = inputs(module, &bindings, &mut noise);
            made.extend(interpreter.step(&bindings, given)?);
        }
        Ok(made)
    });
    let made = match ran {
        Ok(made) => made,
        Err(error @ RunError::Index { .. }) => return Err(error.to_string()),
        Err(error) => panic!("{error}"),
    };
    let types = module
        .step
        .outputs
        .iter()
        .map(|o| &module.step.locals[o.0].ty);
    for (ty, made) in types.cycle().zip(&made) {
        assert_eq!(
            (ty.dtype, ty.shape(&bindings)),
            (made.dtype, Ok(made.shape.clone()))
        );
    }
    Ok(made.iter().map(|made| format!("{made:?}")).collect())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn a_verified_module_runs_unless_an_index_is_out_of_range(module in random::module(), r in 0i64..5, n in 1i64..4, seed in any::<u64>()) {
        let n = n.min(r + 1);
        let alone = two_steps::<f32>(&module, r, n, seed, 1);
        prop_assert_eq!(&alone, &two_steps::<f32>(&module, r, n, seed, 3));
        // A comparison may fall out otherwise in f64, and with it what is indexed; a panic may not.
        two_steps::<f64>(&module, r, n, seed, 1).ok();
    }
}
