//! One arm for each op.

use std::borrow::Cow;
use std::sync::Arc;

use super::{Data, Real, Tensor, lanes};
use crate::dim::Bindings;
use crate::dtype::DType;
use crate::ops::Op;
use crate::type_rules::Site;

/// An index outside the axis it indexes.
pub(super) struct OutOfRange {
    pub index: i32,
    pub length: usize,
}

/// Products below which a dot is not worth another thread.
const PRODUCTS_A_THREAD: usize = 1 << 20;

/// Evaluates an op to a result of this shape.
pub(super) fn eval<'w, F: Real>(
    op: Op,
    site: &Site,
    x: Vec<Arc<Tensor<'w, F>>>,
    shape: Vec<usize>,
    bindings: &Bindings,
    threads: usize,
) -> Result<Tensor<'w, F>, OutOfRange> {
    let one = F::from_f64(1.0);
    Ok(match op {
        Op::Neg => unary(&x, shape, |x| -x),
        Op::Exp => unary(&x, shape, F::exp),
        Op::Log => unary(&x, shape, F::log),
        Op::Tanh => unary(&x, shape, F::tanh),
        Op::Sin => unary(&x, shape, F::sin),
        Op::Cos => unary(&x, shape, F::cos),
        Op::Sqrt => unary(&x, shape, F::sqrt),
        Op::Rsqrt => unary(&x, shape, |x| one / x.sqrt()),
        Op::Add => arithmetic(&x, shape, |a, b| a + b, i32::wrapping_add),
        Op::Sub => arithmetic(&x, shape, |a, b| a - b, i32::wrapping_sub),
        Op::Mul => arithmetic(&x, shape, |a, b| a * b, i32::wrapping_mul),
        Op::Max => arithmetic(&x, shape, max, i32::max),
        Op::Min => arithmetic(&x, shape, |a, b| if a < b { a } else { b }, i32::min),
        Op::Div => Tensor::real(shape, zip(&real(&x[0]), &real(&x[1]), |a, b| a / b)),
        Op::Rem => Tensor::int(shape, zip(&int(&x[0]), &int(&x[1]), modulo)),
        Op::Lt => compare(&x, shape, |a, b| a < b, |a, b| a < b),
        Op::Le => compare(&x, shape, |a, b| a <= b, |a, b| a <= b),
        Op::Eq => compare(&x, shape, |a, b| a == b, |a, b| a == b),
        Op::And => Tensor::bool(shape, zip(&bool(&x[0]), &bool(&x[1]), |a, b| a && b)),
        Op::Or => Tensor::bool(shape, zip(&bool(&x[0]), &bool(&x[1]), |a, b| a || b)),
        Op::Not => Tensor::bool(shape, bool(&x[0]).iter().map(|a| !a).collect()),
        Op::Select => select(&bool(&x[0]), &x[1], &x[2]),
        Op::Cast => match x[0].to_real() {
            Some(reals) => Tensor::narrowed(*site.to(0), shape, reals),
            None => {
                let ints = int(&x[0]);
                Tensor::real(
                    shape,
                    ints.iter().map(|i| F::from_f64((*i).into())).collect(),
                )
            }
        },
        Op::Dequant => Tensor::real(shape, real(&x[0]).into_owned()),
        Op::Quantize => Tensor::narrowed(*site.to(0), shape, real(&x[0])),
        Op::Const => constant(site, shape),
        Op::Iota => Tensor::int(shape.clone(), (0..=i32::MAX).take(shape[0]).collect()),
        Op::Reshape => {
            let mut y =
                Arc::unwrap_or_clone(x.into_iter().next().expect("a reshape has an operand"));
            y.shape = shape;
            y
        }
        Op::Transpose => {
            let strides = strides(x[0].units());
            let axes = site.axes(0).iter().filter(|a| **a < strides.len());
            let moved: Vec<usize> = axes.map(|a| strides[*a]).collect();
            view(&x[0], shape, &moved, 0)
        }
        Op::Broadcast => {
            let mut repeated = vec![0; shape.len() - usize::from(x[0].dtype.is_block())];
            for (axis, stride) in site.axes(1).iter().zip(strides(x[0].units())) {
                repeated[*axis] = stride;
            }
            view(&x[0], shape, &repeated, 0)
        }
        Op::Slice => {
            let strides = strides(x[0].units());
            let start = site.dim(1).eval(bindings);
            let start = start.expect("a step binds every symbol of a verified module") as usize;
            let from = start * strides[*site.axis(0)];
            view(&x[0], shape, &strides, from)
        }
        Op::Concat => concat(&x, *site.axis(0), shape),
        Op::ReduceSum => reduce(&x[0], site.axes(0), shape, 0.0, |a, b| a + b),
        Op::ReduceMax => reduce(&x[0], site.axes(0), shape, f64::NEG_INFINITY, max),
        Op::Dot => dot(&x[0], &x[1], site, shape, threads),
        Op::Take => take(&x[0], &int(&x[1]), *site.axis(0), shape)?,
        Op::Put => put(x)?,
    })
}

fn real<'x, F: Real>(x: &'x Tensor<F>) -> Cow<'x, [F]> {
    x.to_real().expect("the op's rule asked for a float")
}

fn int<'x, F: Real>(x: &'x Tensor<F>) -> Cow<'x, [i32]> {
    x.to_int().expect("the op's rule asked for i32")
}

fn bool<'x, F: Real>(x: &'x Tensor<F>) -> Cow<'x, [bool]> {
    x.to_bool().expect("the op's rule asked for bool")
}

fn zip<T: Copy, U>(a: &[T], b: &[T], f: impl Fn(T, T) -> U) -> Vec<U> {
    a.iter().zip(b).map(|(a, b)| f(*a, *b)).collect()
}

fn max<F: Real>(a: F, b: F) -> F {
    if a > b { a } else { b }
}

/// `a` modulo `b`, with the sign of `b`; 0 where `b` is 0.
fn modulo(a: i32, b: i32) -> i32 {
    let r = a.checked_rem(b).unwrap_or(0);
    if r != 0 && (r < 0) != (b < 0) {
        r + b
    } else {
        r
    }
}

fn unary<'w, F: Real>(
    x: &[Arc<Tensor<F>>],
    shape: Vec<usize>,
    f: impl Fn(F) -> F,
) -> Tensor<'w, F> {
    Tensor::real(shape, real(&x[0]).iter().map(|x| f(*x)).collect())
}

fn arithmetic<'w, F: Real>(
    x: &[Arc<Tensor<F>>],
    shape: Vec<usize>,
    reals: impl Fn(F, F) -> F,
    ints: impl Fn(i32, i32) -> i32,
) -> Tensor<'w, F> {
    match x[0].dtype {
        DType::I32 => Tensor::int(shape, zip(&int(&x[0]), &int(&x[1]), ints)),
        _ => Tensor::real(shape, zip(&real(&x[0]), &real(&x[1]), reals)),
    }
}

fn compare<'w, F: Real>(
    x: &[Arc<Tensor<F>>],
    shape: Vec<usize>,
    reals: impl Fn(F, F) -> bool,
    ints: impl Fn(i32, i32) -> bool,
) -> Tensor<'w, F> {
    match x[0].dtype {
        DType::I32 => Tensor::bool(shape, zip(&int(&x[0]), &int(&x[1]), ints)),
        _ => Tensor::bool(shape, zip(&real(&x[0]), &real(&x[1]), reals)),
    }
}

fn select<'w, F: Real>(c: &[bool], a: &Tensor<'w, F>, b: &Tensor<'w, F>) -> Tensor<'w, F> {
    let mut picked = dense(a).into_owned();
    let b = dense(b);
    for (i, _) in c.iter().enumerate().filter(|(_, c)| !**c) {
        picked.overwrite(i, &b, i, 1);
    }
    picked
}

fn constant<'w, F: Real>(site: &Site, shape: Vec<usize>) -> Tensor<'w, F> {
    let n = shape.iter().product();
    let values = site.literals(2).iter().map(|v| v.0).cycle().take(n);
    match site.to(0) {
        DType::I32 => Tensor::int(shape, values.map(|v| v as i32).collect()),
        DType::Bool => Tensor::bool(shape, values.map(|v| v != 0.0).collect()),
        _ => Tensor::real(shape, values.map(F::from_f64).collect()),
    }
}

/// Row-major strides of a shape.
fn strides(shape: &[usize]) -> Vec<usize> {
    let mut strides = vec![1; shape.len()];
    for i in (1..shape.len()).rev() {
        strides[i - 1] = strides[i] * shape[i];
    }
    strides
}

/// Offsets of a strided view's elements, row-major.
fn offsets<'s>(
    shape: &'s [usize],
    strides: &'s [usize],
    start: usize,
) -> impl Iterator<Item = usize> + 's {
    let count = shape.iter().product::<usize>();
    let mut index = vec![0; shape.len()];
    let mut at = start;
    (0..count).map(move |_| {
        let here = at;
        for axis in (0..shape.len()).rev() {
            index[axis] += 1;
            at += strides[axis];
            if index[axis] < shape[axis] {
                break;
            }
            at -= strides[axis] * shape[axis];
            index[axis] = 0;
        }
        here
    })
}

/// The view of this shape whose unit at an index lies at `start` plus the index along the strides.
fn view<'w, F: Real>(
    x: &Tensor<'w, F>,
    shape: Vec<usize>,
    strides: &[usize],
    start: usize,
) -> Tensor<'w, F> {
    let units = shape[..strides.len()].to_vec();
    x.pick(shape, offsets(&units, strides, start))
}

/// Elements with the axes in this order, row-major.
fn in_order<'x, F: Real>(x: &'x Tensor<F>, axes: &[usize]) -> Cow<'x, [F]> {
    let elements = real(x);
    if axes.iter().copied().eq(0..x.shape.len()) {
        return elements;
    }
    let all = strides(&x.shape);
    let shape: Vec<usize> = axes.iter().map(|a| x.shape[*a]).collect();
    let strides: Vec<usize> = axes.iter().map(|a| all[*a]).collect();
    offsets(&shape, &strides, 0).map(|i| elements[i]).collect()
}

/// Units before, on and behind an axis: a tensor is `outer * axis * inner` units.
fn around(units: &[usize], axis: usize) -> (usize, usize, usize) {
    let outer = units[..axis].iter().product();
    let inner = units[axis + 1..].iter().product();
    (outer, units[axis], inner)
}

fn concat<'w, F: Real>(
    parts: &[Arc<Tensor<'w, F>>],
    axis: usize,
    shape: Vec<usize>,
) -> Tensor<'w, F> {
    let mut whole = Tensor::zeros(parts[0].dtype, &shape);
    let (outer, total, inner) = around(whole.units(), axis);
    let mut at = 0;
    for part in parts {
        let part = dense(part);
        let length = part.units()[axis];
        for o in 0..outer {
            let to = (o * total + at) * inner;
            whole.overwrite(to, &part, o * length * inner, length * inner);
        }
        at += length;
    }
    whole
}

/// The tensor with its elements held as [`Tensor::zeros`] holds them.
fn dense<'x, 'w, F: Real>(x: &'x Tensor<'w, F>) -> Cow<'x, Tensor<'w, F>> {
    match (&x.data, x.dtype) {
        (Data::Stored(_), DType::F32) => {
            Cow::Owned(Tensor::real(x.shape.clone(), real(x).into_owned()))
        }
        (Data::Stored(_), DType::I32) => {
            Cow::Owned(Tensor::int(x.shape.clone(), int(x).into_owned()))
        }
        (Data::Stored(_), DType::Bool) => {
            Cow::Owned(Tensor::bool(x.shape.clone(), bool(x).into_owned()))
        }
        _ => Cow::Borrowed(x),
    }
}

fn reduce<'w, F: Real>(
    x: &Tensor<F>,
    axes: &[usize],
    shape: Vec<usize>,
    start: f64,
    f: impl Fn(F, F) -> F,
) -> Tensor<'w, F> {
    let kept = (0..x.shape.len()).filter(|a| !axes.contains(a));
    let order: Vec<usize> = kept.chain(axes.iter().copied()).collect();
    let elements = in_order(x, &order);
    let n: usize = axes.iter().map(|a| x.shape[*a]).product();
    let count = shape.iter().product::<usize>();
    let row = |i: usize| lanes::reduce(&elements[i * n..][..n], F::from_f64(start), &f);
    Tensor::real(shape, (0..count).map(row).collect())
}

fn dot<'w, F: Real>(
    a: &Tensor<F>,
    b: &Tensor<F>,
    site: &Site,
    shape: Vec<usize>,
    threads: usize,
) -> Tensor<'w, F> {
    let order = |x: &Tensor<F>, batch: &[usize], contract: &[usize]| -> Vec<usize> {
        let free = (0..x.shape.len()).filter(|i| !batch.contains(i) && !contract.contains(i));
        let batch = batch.iter().copied();
        batch.chain(free).chain(contract.iter().copied()).collect()
    };
    let a_rows = in_order(a, &order(a, site.axes(0), site.axes(2)));
    let b_rows = in_order(b, &order(b, site.axes(1), site.axes(3)));
    let k: usize = site.axes(2).iter().map(|i| a.shape[*i]).product();
    let (_, free) = shape.split_at(site.axes(0).len());
    let (a_free, b_free) = free.split_at(a.shape.len() - site.axes(0).len() - site.axes(2).len());
    let (m, n): (usize, usize) = (a_free.iter().product(), b_free.iter().product());

    let element = |i: usize| {
        let (row, j) = (i / n, i % n);
        let b_row = row / m * n + j;
        lanes::dot(&a_rows[row * k..][..k], &b_rows[b_row * k..][..k])
    };
    let element = &element;
    let mut out = vec![F::from_f64(0.0); shape.iter().product()];
    let workers = (out.len() * k / PRODUCTS_A_THREAD).clamp(1, threads.max(1));
    let share = out.len().div_ceil(workers).max(1);
    std::thread::scope(|scope| {
        for (part, chunk) in out.chunks_mut(share).enumerate() {
            let mut work = move || {
                for (i, x) in chunk.iter_mut().enumerate() {
                    *x = element(part * share + i);
                }
            };
            if workers == 1 {
                work();
            } else {
                scope.spawn(work);
            }
        }
    });
    Tensor::real(shape, out)
}

/// An index as an offset below the length of its axis.
fn checked(index: i32, length: usize) -> Result<usize, OutOfRange> {
    let at = usize::try_from(index).ok().filter(|i| *i < length);
    at.ok_or(OutOfRange { index, length })
}

fn take<'w, F: Real>(
    x: &Tensor<'w, F>,
    index: &[i32],
    axis: usize,
    shape: Vec<usize>,
) -> Result<Tensor<'w, F>, OutOfRange> {
    let (outer, length, inner) = around(x.units(), axis);
    let index: Result<Vec<usize>, _> = index.iter().map(|i| checked(*i, length)).collect();
    let index = index?;
    let starts = (0..outer).flat_map(|o| index.iter().map(move |i| (o * length + i) * inner));
    Ok(x.pick(shape, starts.flat_map(|start| start..start + inner)))
}

fn put<F: Real>(x: Vec<Arc<Tensor<F>>>) -> Result<Tensor<F>, OutOfRange> {
    let [state, slot, index, rows] = <[_; 4]>::try_from(x).unwrap_or_else(|x| {
        panic!(
            "put has four operands in a verified module, not {}",
            x.len()
        )
    });
    let copied = match dense(&state) {
        Cow::Owned(copy) => Some(copy),
        Cow::Borrowed(_) => None,
    };
    let mut state = copied.unwrap_or_else(|| Arc::unwrap_or_clone(state));
    let (slots, capacity) = (state.shape[0], state.shape[1]);
    let row: usize = state.units()[2..].iter().product();
    let rows = dense(&rows);
    for (r, (slot, index)) in int(&slot).iter().zip(int(&index).iter()).enumerate() {
        let at = checked(*slot, slots)? * capacity + checked(*index, capacity)?;
        state.overwrite(at * row, &rows, r * row, row);
    }
    Ok(state)
}
