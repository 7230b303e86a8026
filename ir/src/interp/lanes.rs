//! The order of every sum: 16 lanes, combined pairwise.

use super::Real;

/// How many lanes a reduction has.
pub const LANES: usize = 16;

/// Combines lanes: i with i+8, then i+4, i+2, i+1.
pub fn combine<F: Copy>(mut lanes: [F; LANES], f: impl Fn(F, F) -> F) -> F {
    for half in [8, 4, 2, 1] {
        for i in 0..half {
            lanes[i] = f(lanes[i], lanes[i + half]);
        }
    }
    lanes[0]
}

/// Folds element k into lane k mod 16, in increasing k, and combines the lanes.
pub fn reduce<F: Real>(x: &[F], start: F, f: impl Fn(F, F) -> F) -> F {
    let mut lanes = [start; LANES];
    for chunk in x.chunks(LANES) {
        for (lane, x) in lanes.iter_mut().zip(chunk) {
            *lane = f(*lane, *x);
        }
    }
    combine(lanes, f)
}

/// The sum of `a[k] * b[k]`, each product taken in by fused multiply-add.
pub fn dot<F: Real>(a: &[F], b: &[F]) -> F {
    let mut lanes = [F::from_f64(0.0); LANES];
    let (a, a_tail) = a.as_chunks::<LANES>();
    let (b, b_tail) = b.as_chunks::<LANES>();
    for (a, b) in a.iter().zip(b) {
        for i in 0..LANES {
            lanes[i] = a[i].mul_add(b[i], lanes[i]);
        }
    }
    for ((lane, a), b) in lanes.iter_mut().zip(a_tail).zip(b_tail) {
        *lane = a.mul_add(*b, *lane);
    }
    combine(lanes, |x, y| x + y)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lanes_add_up_in_the_one_order() {
        // 2^24 + 1 rounds to 2^24: lane 0 takes 2^24, then 1, which is lost; the two ones of lanes 1
        // and 9 meet first and survive.
        let mut x = [0f32; 18];
        x[0] = 16777216.0;
        x[16] = 1.0;
        x[1] = 1.0;
        x[9] = 1.0;
        assert_eq!(reduce(&x, 0.0, |a, b| a + b), 16777218.0);
        x[8] = 1.0;
        assert_eq!(reduce(&x, 0.0, |a, b| a + b), 16777218.0);
    }

    #[test]
    fn a_dot_rounds_once_a_product() {
        // (1 + 2^-12)^2 = 1 + 2^-11 + 2^-24: the last bit survives only without a rounding between.
        let a = [1.0 + f32::powi(2.0, -12), -1.0];
        let b = [1.0 + f32::powi(2.0, -12), 0.0];
        let x = [[a[0], 0.0]; 9].concat();
        assert_eq!(dot(&a[..1], &b[..1]), 1.0 + f32::powi(2.0, -11));
        let mut p = vec![0.0; 17];
        let mut q = vec![0.0; 17];
        (p[0], q[0]) = (-1.0 - f32::powi(2.0, -11), 1.0);
        (p[16], q[16]) = (a[0], a[0]);
        assert_eq!(dot(&p, &q), f32::powi(2.0, -24));
        assert_eq!(x.len(), 18);
    }

    #[test]
    fn terms_of_zero_leave_a_sum_as_it_is() {
        let x: Vec<f32> = (0..40).map(|i| (i as f32 * 0.37).sin()).collect();
        let padded = [&x[..], &[0.0; 29]].concat();
        let sum = |x: &[f32]| reduce(x, 0.0, |a, b| a + b);
        assert_eq!(sum(&x).to_bits(), sum(&padded).to_bits());
        assert_eq!(dot(&x, &x).to_bits(), dot(&padded, &padded).to_bits());
    }
}
