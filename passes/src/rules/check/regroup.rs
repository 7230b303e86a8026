//! Shapes with the elements of another: what a reshape may come from.

use super::choices::Choices;

/// Most axes that a regrouped shape has.
const MAX_RANK: usize = 5;

/// Lengths with the same product: the same, moved, or grouped in another way.
pub(super) fn regrouped(choices: &mut Choices, dims: &[usize]) -> Vec<usize> {
    let rank = dims.len();
    match choices.below(5) {
        0 => stepped(choices, dims.to_vec(), 2),
        1 => stepped(choices, dims.to_vec(), 5),
        2 => moved(choices, dims.to_vec()),
        3 => factored(choices, dims, rank),
        _ => {
            let rank = choices.below(MAX_RANK);
            factored(choices, dims, rank)
        }
    }
}

/// After up to so many steps: an axis of 1 put in or taken out, two axes joined, or one split.
fn stepped(choices: &mut Choices, mut dims: Vec<usize>, most: usize) -> Vec<usize> {
    for _ in 0..choices.below(most + 1) {
        let at = choices.below(dims.len() + 1);
        match choices.below(4) {
            0 if dims.len() < MAX_RANK => dims.insert(at, 1),
            1 if at + 1 < dims.len() => {
                let joined = dims[at] * dims[at + 1];
                dims.splice(at..at + 2, [joined]);
            }
            2 if dims.get(at) == Some(&1) => {
                dims.remove(at);
            }
            _ if at < dims.len() && dims.len() < MAX_RANK => {
                let length = dims[at];
                let factors = (1..=length).filter(|f| length.is_multiple_of(*f));
                let factors: Vec<usize> = factors.collect();
                if !factors.is_empty() {
                    let factor = choices.pick(&factors);
                    dims.splice(at..=at, [factor, length / factor]);
                }
            }
            _ => {}
        }
    }
    dims
}

/// With axes at other places.
fn moved(choices: &mut Choices, mut dims: Vec<usize>) -> Vec<usize> {
    for i in (1..dims.len()).rev() {
        dims.swap(i, i - choices.below(i + 1));
    }
    dims
}

/// With the prime factors of the product dealt out anew over so many axes.
fn factored(choices: &mut Choices, dims: &[usize], rank: usize) -> Vec<usize> {
    let mut product: usize = dims.iter().product();
    if rank == 0 {
        return if product == 1 { vec![] } else { vec![product] };
    }
    let mut dealt = vec![1; rank];
    if product == 0 {
        for length in &mut dealt {
            *length += choices.below(3);
        }
        dealt[choices.below(rank)] = 0;
        return dealt;
    }
    let mut factor = 2;
    while product > 1 {
        if product.is_multiple_of(factor) {
            dealt[choices.below(rank)] *= factor;
            product /= factor;
        } else {
            factor += 1;
        }
    }
    dealt
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_elements_stay_as_many_and_the_simplest_choice_is_the_shape_itself() {
        let shapes: [&[usize]; 5] = [&[], &[6], &[1, 2, 2, 2], &[3, 0, 2], &[4, 17, 3]];
        for dims in shapes {
            let count: usize = dims.iter().product();
            for seed in 0..200 {
                let other = regrouped(&mut Choices::random(seed), dims);
                assert_eq!(other.iter().product::<usize>(), count, "{dims:?} {other:?}");
            }
            assert_eq!(regrouped(&mut Choices::given(vec![]), dims), dims);
        }
    }

    #[test]
    fn equal_ranks_with_other_lengths_are_common() {
        let differ = |seed: &u64| {
            let other = regrouped(&mut Choices::random(*seed), &[2, 3, 1]);
            other.len() == 3 && other != [2, 3, 1]
        };
        assert!((0..1000).filter(differ).count() > 200);
    }
}
