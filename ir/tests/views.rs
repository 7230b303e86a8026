//! Views, `take` and `put` move elements as their index maps say, whatever the dtype.

mod harness;

use std::ops::Range;

use harness::{flatten, indices, run_op, unflatten};
use lapidary_ir::interp::{Data, Tensor};
use lapidary_ir::{Attr, DType, Dim, Op};
use proptest::prelude::*;

type T = Tensor<'static, f32>;

/// Elements as they are stored, one number each.
fn raw(x: &T) -> Vec<u32> {
    match (x.dtype, &x.data) {
        (DType::F32, _) => {
            let elements = x.to_real().expect("it is f32");
            elements.iter().map(|x| x.to_bits()).collect()
        }
        (DType::I32, _) => {
            let elements = x.to_int().expect("it is i32");
            elements.iter().map(|x| *x as u32).collect()
        }
        (DType::Bool, _) => {
            let elements = x.to_bool().expect("it is bool");
            elements.iter().map(|x| u32::from(*x)).collect()
        }
        (_, Data::Stored(bytes)) => {
            let (pairs, rest) = bytes.as_chunks::<2>();
            assert!(rest.is_empty());
            pairs
                .iter()
                .map(|b| u32::from(u16::from_le_bytes(*b)))
                .collect()
        }
        (dtype, data) => panic!("{dtype} is held as {data:?}"),
    }
}

/// A tensor whose elements differ, as far as the dtype has enough of them; f32, i32 and bool are held
/// as numbers or, as a weight is, as bytes.
fn numbered(dtype: DType, shape: &[usize], first: u32, as_bytes: bool) -> T {
    let count: usize = shape.iter().product();
    let numbers = (first..).take(count);
    let shape = shape.to_vec();
    let bytes: Vec<u8> = match dtype {
        DType::F32 | DType::I32 => numbers.clone().flat_map(u32::to_le_bytes).collect(),
        DType::BF16 | DType::F16 => numbers
            .clone()
            .flat_map(|i| (i as u16).to_le_bytes())
            .collect(),
        DType::Bool => numbers.clone().map(|i| (i * i / 3 % 2) as u8).collect(),
        DType::Q8_0 | DType::Q4_0 => panic!("blocks have a test of their own"),
    };
    match (dtype, as_bytes) {
        (DType::F32, false) => Tensor::real(shape, numbers.map(f32::from_bits).collect()),
        (DType::I32, false) => Tensor::int(shape, numbers.map(|i| i as i32).collect()),
        (DType::Bool, false) => Tensor::bool(shape, bytes.iter().map(|b| *b != 0).collect()),
        _ => Tensor::stored(dtype, shape, bytes),
    }
}

/// Checks a result against the map from its indices to places of `source`.
fn check(
    result: &T,
    shape: &[usize],
    source: &[u32],
    place: impl Fn(&[usize]) -> usize,
) -> Result<(), TestCaseError> {
    let expected: Vec<u32> = indices(shape).map(|index| source[place(&index)]).collect();
    prop_assert_eq!(&result.shape[..], shape);
    prop_assert_eq!(raw(result), expected);
    Ok(())
}

fn shapes(ranks: Range<usize>) -> impl Strategy<Value = Vec<usize>> {
    prop::collection::vec(prop::sample::select(vec![0usize, 1, 2, 3, 5, 7]), ranks)
}

/// A dtype and whether elements are held as bytes.
fn held() -> impl Strategy<Value = (DType, bool)> {
    let dtypes = DType::all().filter(|t| !t.is_block()).collect::<Vec<_>>();
    (prop::sample::select(dtypes), any::<bool>())
}

/// A shape and an order of its axes.
fn permuted() -> impl Strategy<Value = (Vec<usize>, Vec<usize>)> {
    shapes(0..5).prop_flat_map(|shape| {
        let axes: Vec<usize> = (0..shape.len()).collect();
        (Just(shape), Just(axes).prop_shuffle())
    })
}

/// A shape with an axis that is not empty.
fn with_axis() -> impl Strategy<Value = (Vec<usize>, usize)> {
    shapes(1..5).prop_flat_map(|shape| {
        let axes = 0..shape.len();
        (Just(shape), axes)
    })
}

fn dims(shape: &[usize]) -> Attr {
    Attr::Dims(shape.iter().copied().map(Dim::from).collect())
}

proptest! {
    #[test]
    fn transpose_reads_axis_i_of_its_result_from_axis_axes_i((shape, axes) in permuted(), (dtype, bytes) in held()) {
        let x = numbered(dtype, &shape, 1, bytes);
        let turned: Vec<usize> = axes.iter().map(|a| shape[*a]).collect();
        let y = run_op(Op::Transpose, &[Attr::Axes(axes.clone())], std::slice::from_ref(&x));
        check(&y, &turned, &raw(&x), |index| {
            let mut at = vec![0; shape.len()];
            for (i, axis) in axes.iter().enumerate() {
                at[*axis] = index[i];
            }
            flatten(&at, &shape)
        })?;
    }

    #[test]
    fn broadcast_repeats_along_the_axes_it_does_not_name(shape in shapes(0..5), kept in prop::collection::vec(any::<bool>(), 4), (dtype, bytes) in held()) {
        let axes: Vec<usize> = (0..shape.len()).filter(|a| kept[*a]).collect();
        let narrow: Vec<usize> = axes.iter().map(|a| shape[*a]).collect();
        let x = numbered(dtype, &narrow, 1, bytes);
        let y = run_op(Op::Broadcast, &[dims(&shape), Attr::Axes(axes.clone())], std::slice::from_ref(&x));
        check(&y, &shape, &raw(&x), |index| {
            let at: Vec<usize> = axes.iter().map(|a| index[*a]).collect();
            flatten(&at, &narrow)
        })?;
    }

    #[test]
    fn reshape_keeps_the_row_major_order((shape, axes) in permuted(), (dtype, bytes) in held()) {
        let x = numbered(dtype, &shape, 1, bytes);
        let turned: Vec<usize> = axes.iter().map(|a| shape[*a]).collect();
        let y = run_op(Op::Reshape, &[dims(&turned)], std::slice::from_ref(&x));
        check(&y, &turned, &raw(&x), |index| flatten(index, &turned))?;
    }

    #[test]
    fn slice_reads_from_start_on((shape, axis) in with_axis(), a in 0usize..8, b in 0usize..8, (dtype, bytes) in held()) {
        let (a, b) = (a.min(shape[axis]), b.min(shape[axis]));
        let (start, stop) = (a.min(b), a.max(b));
        let x = numbered(dtype, &shape, 1, bytes);
        let attrs = [Attr::Axis(axis), Attr::Dim(Dim::from(start)), Attr::Dim(Dim::from(stop))];
        let y = run_op(Op::Slice, &attrs, std::slice::from_ref(&x));
        let mut part = shape.clone();
        part[axis] = stop - start;
        check(&y, &part, &raw(&x), |index| {
            let mut at = index.to_vec();
            at[axis] += start;
            flatten(&at, &shape)
        })?;
    }

    #[test]
    fn concat_reads_from_the_part_in_which_the_index_lies((shape, axis) in with_axis(), lengths in prop::collection::vec(0usize..5, 1..4), (dtype, bytes) in held()) {
        let mut parts: Vec<T> = Vec::new();
        let mut first = 1;
        for (i, length) in lengths.iter().enumerate() {
            let mut part = shape.clone();
            part[axis] = *length;
            parts.push(numbered(dtype, &part, first, bytes && i % 2 == 0));
            first += part.iter().product::<usize>() as u32;
        }
        let mut whole = shape.clone();
        whole[axis] = lengths.iter().sum();
        let y = run_op(Op::Concat, &[Attr::Axis(axis)], &parts);
        let source: Vec<u32> = parts.iter().flat_map(raw).collect();
        check(&y, &whole, &source, |index| {
            let mut at = index.to_vec();
            let mut before = 0;
            for part in &parts {
                if at[axis] < part.shape[axis] {
                    return before + flatten(&at, &part.shape);
                }
                at[axis] -= part.shape[axis];
                before += part.shape.iter().product::<usize>();
            }
            panic!("{index:?} lies in no part")
        })?;
    }

    #[test]
    fn take_reads_where_the_index_says((shape, axis) in with_axis(), at in prop::collection::vec(any::<prop::sample::Index>(), 0..6), (dtype, bytes) in held()) {
        prop_assume!(shape[axis] > 0);
        let x = numbered(dtype, &shape, 1, bytes);
        let at: Vec<usize> = at.iter().map(|i| i.index(shape[axis])).collect();
        let index = Tensor::int(vec![at.len()], at.iter().map(|i| *i as i32).collect());
        let y = run_op(Op::Take, &[Attr::Axis(axis)], &[x.clone(), index]);
        let mut taken = shape.clone();
        taken[axis] = at.len();
        check(&y, &taken, &raw(&x), |index| {
            let mut place = index.to_vec();
            place[axis] = at[index[axis]];
            flatten(&place, &shape)
        })?;
    }

    #[test]
    fn put_leaves_the_last_row_that_goes_to_a_place(slots in 1usize..4, capacity in 1usize..5, row in shapes(0..3), places in prop::collection::vec(any::<[prop::sample::Index; 2]>(), 0..9), (dtype, bytes) in held(), rows_as_bytes in any::<bool>()) {
        let shape = [&[slots, capacity], &row[..]].concat();
        let places: Vec<(usize, usize)> = places
            .iter()
            .map(|[slot, index]| (slot.index(slots), index.index(capacity)))
            .collect();
        let count = places.len();
        let state = numbered(dtype, &shape, 1000, bytes);
        let rows = numbered(dtype, &[&[count], &row[..]].concat(), 1, rows_as_bytes);
        let int = |x: Vec<usize>| Tensor::int(vec![count], x.iter().map(|i| *i as i32).collect());
        let (slot, index) = places.iter().copied().unzip();
        let y = run_op(Op::Put, &[], &[state.clone(), int(slot), int(index), rows.clone()]);
        let source = [raw(&state), raw(&rows)].concat();
        let states = raw(&state).len();
        check(&y, &shape, &source, |index| {
            let last = places.iter().rposition(|place| *place == (index[0], index[1]));
            match last {
                Some(r) => states + r * row.iter().product::<usize>() + flatten(&index[2..], &row),
                None => flatten(index, &shape),
            }
        })?;
    }

    #[test]
    fn a_view_of_blocks_is_the_same_view_of_their_elements(
        shape in shapes(3..4), last in prop::sample::select(vec![1usize, 31, 32, 33, 40]),
        q in prop::sample::select(vec![DType::Q8_0, DType::Q4_0]), at in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
    ) {
        let rows = |shape: &[usize]| shape.iter().product::<usize>();
        let whole = [&shape[..], &[last]].concat();
        let numbers = (0..rows(&whole)).map(|i| (i * 37 % 101) as f32 - 50.0).collect();
        let quantize = |x: &T| run_op(Op::Quantize, &[Attr::To(q)], std::slice::from_ref(x));
        let x = quantize(&Tensor::real(whole.clone(), numbers));
        let wide = |x: &T| run_op(Op::Dequant, &[], std::slice::from_ref(x));
        let at: Vec<i32> = match shape[1] {
            0 => vec![],
            n => at.iter().map(|i| i.index(n) as i32).collect(),
        };
        let index = Tensor::int(vec![at.len()], at);
        let flat = [shape[0] * shape[1], shape[2], last];
        let spread = [shape[0], 2, shape[1], shape[2], last];
        let end = Dim::from(shape[0]);
        let cases: [(Op, Vec<Attr>, Vec<T>); 6] = [
            (Op::Transpose, vec![Attr::Axes(vec![1, 2, 0, 3])], vec![]),
            (Op::Broadcast, vec![dims(&spread), Attr::Axes(vec![0, 2, 3, 4])], vec![]),
            (Op::Reshape, vec![dims(&flat)], vec![]),
            (Op::Slice, vec![Attr::Axis(0), Attr::Dim(Dim::from(shape[0] / 2)), Attr::Dim(end)], vec![]),
            (Op::Concat, vec![Attr::Axis(1)], vec![x.clone()]),
            (Op::Take, vec![Attr::Axis(1)], vec![index]),
        ];
        for (op, attrs, more) in cases {
            let narrow = run_op(op, &attrs, &[std::slice::from_ref(&x), &more[..]].concat());
            let more: Vec<T> = more.iter().map(|y| if y.dtype == q { wide(y) } else { y.clone() }).collect();
            let expected = run_op(op, &attrs, &[&[wide(&x)], &more[..]].concat());
            prop_assert_eq!(wide(&narrow), expected, "{}", op.def().name);
        }
    }
}

#[test]
fn flattening_an_index_is_the_inverse_of_unflattening() {
    let shape = [3, 1, 5];
    for flat in 0..15 {
        assert_eq!(flatten(&unflatten(flat, &shape), &shape), flat);
    }
    assert_eq!(unflatten(7, &shape), [1, 0, 2]);
}
