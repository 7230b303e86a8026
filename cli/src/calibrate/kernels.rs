//! The loops that reach a machine's limits, in the widest registers that the CPU has.

use std::arch::is_x86_feature_detected;
use std::arch::x86_64::*;
use std::hint::black_box;

/// A cache line of memory to read.
#[derive(Clone, Copy)]
#[repr(align(64))]
pub struct Line(pub [u64; 8]);

/// How far ahead of a load its line is asked for, in bytes.
const AHEAD: usize = 1024;

/// Sums in registers that do not wait for one another: enough to hide the latency of two units.
const SUMS: usize = 12;

/// What this CPU can be measured with.
pub struct Kernels {
    read: unsafe fn(&[Line]) -> u64,
    /// f32 fused multiply-adds.
    pub f32: Peak,
    /// bf16 dot products into f32.
    pub bf16: Option<Peak>,
    /// int8 dot products into i32.
    pub int8: Option<Peak>,
}

/// Arithmetic that never leaves the registers.
#[derive(Clone, Copy)]
pub struct Peak {
    run: unsafe fn(usize),
    /// Operations of one instruction.
    operations: usize,
}

impl Kernels {
    /// The widest that this CPU has.
    ///
    /// # Errors
    ///
    /// The feature that it lacks for any of them.
    pub fn of_this_cpu() -> Result<Kernels, &'static str> {
        let avx512 = is_x86_feature_detected!("avx512f");
        let peak = |run, operations| Peak { run, operations };
        if !is_x86_feature_detected!("avx2") {
            return Err("avx2");
        }
        if !is_x86_feature_detected!("fma") {
            return Err("fma");
        }
        Ok(Kernels {
            read: if avx512 { read_avx512 } else { read_avx2 },
            f32: match avx512 {
                true => peak(f32_avx512, 32),
                false => peak(f32_fma, 16),
            },
            bf16: (avx512 && is_x86_feature_detected!("avx512bf16")).then(|| peak(bf16_avx512, 64)),
            int8: match avx512 && is_x86_feature_detected!("avx512vnni") {
                true => Some(peak(int8_avx512, 128)),
                false => is_x86_feature_detected!("avxvnni").then(|| peak(int8_avxvnni, 64)),
            },
        })
    }

    /// Reads every line, as two streams: the first half and the second. What comes back depends on all of them.
    pub fn read(&self, lines: &[Line]) -> u64 {
        // SAFETY: `of_this_cpu` has found the features of the function.
        unsafe { (self.read)(lines) }
    }
}

impl Peak {
    /// Goes round so many times.
    pub fn run(self, loops: usize) {
        // SAFETY: `Kernels::of_this_cpu` has found the features of the function.
        unsafe { (self.run)(loops) }
    }

    /// Operations of so many times round.
    pub fn operations(self, loops: usize) -> f64 {
        (loops * SUMS * self.operations) as f64
    }
}

#[target_feature(enable = "avx512f")]
fn read_avx512(lines: &[Line]) -> u64 {
    let (first, second) = lines.split_at(lines.len() / 2);
    let mut sums = [_mm512_setzero_si512(); 4];
    for ([a, b], [c, d]) in pairs(first).zip(pairs(second)) {
        for (line, sum) in [a, b, c, d].into_iter().zip(&mut sums) {
            let line = line.0.as_ptr();
            // SAFETY: a line is 64 aligned bytes; a prefetch may name any address.
            unsafe {
                _mm_prefetch::<_MM_HINT_T0>(line.cast::<i8>().wrapping_add(AHEAD));
                *sum = _mm512_add_epi64(*sum, _mm512_load_si512(line.cast()));
            }
        }
    }
    let [a, b, c, d] = sums;
    let sum = _mm512_add_epi64(_mm512_add_epi64(a, b), _mm512_add_epi64(c, d));
    _mm512_reduce_add_epi64(sum).cast_unsigned()
}

#[target_feature(enable = "avx2")]
fn read_avx2(lines: &[Line]) -> u64 {
    let (first, second) = lines.split_at(lines.len() / 2);
    let mut sums = [[_mm256_setzero_si256(); 2]; 4];
    for ([a, b], [c, d]) in pairs(first).zip(pairs(second)) {
        for (line, [low, high]) in [a, b, c, d].into_iter().zip(&mut sums) {
            let line: *const __m256i = line.0.as_ptr().cast();
            // SAFETY: a line is 64 aligned bytes; a prefetch may name any address.
            unsafe {
                _mm_prefetch::<_MM_HINT_T0>(line.cast::<i8>().wrapping_add(AHEAD));
                *low = _mm256_add_epi64(*low, _mm256_load_si256(line));
                *high = _mm256_add_epi64(*high, _mm256_load_si256(line.add(1)));
            }
        }
    }
    let mut sum = _mm256_setzero_si256();
    for part in sums.as_flattened() {
        sum = _mm256_add_epi64(sum, *part);
    }
    let mut lanes = [0u64; 4];
    // SAFETY: the lanes are 32 bytes, of any alignment.
    unsafe { _mm256_storeu_si256((&raw mut lanes).cast(), sum) };
    lanes.into_iter().fold(0, u64::wrapping_add)
}

/// Lines by two.
fn pairs(lines: &[Line]) -> impl Iterator<Item = &[Line; 2]> {
    lines.as_chunks().0.iter()
}

/// A function that goes round so many times, adding a product to each of its sums. It cannot know the values, so it
/// has to compute each.
macro_rules! peak {
    ($name:ident, $features:literal, $sum:expr, $factor:expr, $add:expr) => {
        #[target_feature(enable = $features)]
        fn $name(loops: usize) {
            let (x, y) = black_box(($factor, $factor));
            let mut sums = black_box([$sum; SUMS]);
            for _ in 0..loops {
                for sum in &mut sums {
                    *sum = $add(*sum, x, y);
                }
            }
            black_box(sums);
        }
    };
}

peak!(
    f32_avx512,
    "avx512f",
    _mm512_set1_ps(1.0),
    _mm512_set1_ps(1e-4),
    |sum, x, y| _mm512_fmadd_ps(x, y, sum)
);
peak!(
    f32_fma,
    "avx,fma",
    _mm256_set1_ps(1.0),
    _mm256_set1_ps(1e-4),
    |sum, x, y| _mm256_fmadd_ps(x, y, sum)
);
peak!(
    bf16_avx512,
    "avx512f,avx512bf16",
    _mm512_set1_ps(1.0),
    _mm512_cvtne2ps_pbh(_mm512_set1_ps(1e-4), _mm512_set1_ps(1e-4)),
    |sum, x, y| _mm512_dpbf16_ps(sum, x, y)
);
peak!(
    int8_avx512,
    "avx512f,avx512vnni",
    _mm512_set1_epi32(1),
    _mm512_set1_epi8(3),
    |sum, x, y| _mm512_dpbusd_epi32(sum, x, y)
);
peak!(
    int8_avxvnni,
    "avx2,avxvnni",
    _mm256_set1_epi32(1),
    _mm256_set1_epi8(3),
    |sum, x, y| _mm256_dpbusd_avx_epi32(sum, x, y)
);

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(count: u64) -> Vec<Line> {
        let word = |i: u64| i.wrapping_mul(u64::MAX / 3);
        let line = |i| Line(std::array::from_fn(|j| word(8 * i + j as u64 + 1)));
        (0..count).map(line).collect()
    }

    #[test]
    fn every_line_is_read_once() {
        let lines = lines(12);
        let all = lines.iter().flat_map(|line| line.0);
        let sum = all.fold(0, u64::wrapping_add);
        let kernels = Kernels::of_this_cpu().expect("a CPU with AVX2 and FMA");
        assert_eq!(kernels.read(&lines), sum);
        // SAFETY: the CPU has the feature, as it has kernels.
        assert_eq!(unsafe { read_avx2(&lines) }, sum);
    }

    #[test]
    fn a_peak_counts_its_operations() {
        let kernels = Kernels::of_this_cpu().expect("a CPU with AVX2 and FMA");
        let per_loop = match is_x86_feature_detected!("avx512f") {
            true => 12.0 * 16.0 * 2.0,
            false => 12.0 * 8.0 * 2.0,
        };
        assert_eq!(kernels.f32.operations(10), 10.0 * per_loop);
        for wider in [kernels.bf16, kernels.int8].into_iter().flatten() {
            assert!(wider.operations(10) > kernels.f32.operations(10));
        }
    }
}
