//! Choosing the next token from its logits.

use std::cmp::Ordering;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};

use crate::Error;

/// How many candidates are put in order first; most distributions need no more to reach their top-p.
const FIRST_SORTED: usize = 64;

/// How tokens are chosen. The steps and their order are those of Hugging Face transformers: repetition penalty,
/// temperature, top-k, top-p.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sampling {
    /// Divides the logits; 0 takes the largest logit (the lowest id among equals).
    pub temperature: f64,
    /// Keeps the fewest likeliest tokens whose probabilities sum to this or more, in (0, 1].
    pub top_p: f64,
    /// Keeps this many of the likeliest tokens, the lower id first among equals; 0 keeps all.
    pub top_k: usize,
    /// For every token already in the sequence, divides a logit over 0 and multiplies one below; 1 changes nothing.
    pub repetition_penalty: f32,
}

/// Chooses tokens, remembering which were seen. Its buffers are reused: a choice allocates nothing.
pub struct Sampler {
    sampling: Sampling,
    random: SplitMix64,
    /// The distinct tokens seen, and whether each token is among them.
    seen: Vec<u32>,
    is_seen: Vec<bool>,
    candidates: Vec<u32>,
    weights: Vec<f64>,
}

impl Sampler {
    /// A sampler for `vocab` tokens; without a seed, the operating system provides one.
    pub fn new(sampling: Sampling, seed: Option<u64>, vocab: usize) -> Self {
        let seed = seed.unwrap_or_else(|| RandomState::new().build_hasher().finish());
        Sampler {
            sampling,
            random: SplitMix64(seed),
            seen: Vec::new(),
            is_seen: vec![false; vocab],
            candidates: Vec::with_capacity(vocab),
            weights: Vec::with_capacity(vocab),
        }
    }

    /// Notes a token of the sequence, for the repetition penalty.
    pub fn observe(&mut self, token: u32) {
        if let Some(is_seen @ false) = self.is_seen.get_mut(token as usize) {
            *is_seen = true;
            self.seen.push(token);
        }
    }

    /// Forgets the tokens noted: a new sequence begins. The random numbers go on.
    pub fn forget(&mut self) {
        self.seen.clear();
        self.is_seen.fill(false);
    }

    /// Chooses a token from `logits` `[vocab]`, those of the row at `position`. The penalty is applied in place.
    ///
    /// # Errors
    ///
    /// [`Error::NotFinite`] when a logit is NaN or infinite.
    pub fn sample(&mut self, logits: &mut [f32], position: usize) -> Result<u32, Error> {
        if let Some((token, &value)) = logits
            .iter()
            .enumerate()
            .find(|(_, logit)| !logit.is_finite())
        {
            return Err(Error::NotFinite {
                position,
                token,
                value,
            });
        }
        let penalty = self.sampling.repetition_penalty;
        if penalty != 1.0 {
            for &token in &self.seen {
                let logit = &mut logits[token as usize];
                let penalised = if *logit > 0.0 {
                    *logit / penalty
                } else {
                    *logit * penalty
                };
                *logit = penalised.clamp(f32::MIN, f32::MAX);
            }
        }
        if self.sampling.temperature == 0.0 {
            let best = (0..logits.len() as u32).min_by(|&a, &b| likelier(logits, a, b));
            return Ok(best.expect("a vocabulary has tokens"));
        }
        self.keep(logits);
        let total: f64 = self.weights.iter().sum();
        let mut left = self.random.unit() * total;
        for (&token, &weight) in self.candidates.iter().zip(&self.weights) {
            left -= weight;
            if left < 0.0 {
                return Ok(token);
            }
        }
        Ok(*self
            .candidates
            .last()
            .expect("at least one candidate is kept"))
    }

    /// Leaves in `candidates` the tokens that top-k and top-p keep, and in `weights` their probabilities, unnormalised.
    fn keep(&mut self, logits: &[f32]) {
        let Sampling {
            temperature,
            top_p,
            top_k,
            ..
        } = self.sampling;
        let order = |a: &u32, b: &u32| likelier(logits, *a, *b);
        let candidates = &mut self.candidates;
        candidates.clear();
        candidates.extend(0..logits.len() as u32);
        if top_k != 0 && top_k < candidates.len() {
            candidates.select_nth_unstable_by(top_k - 1, order);
            candidates.truncate(top_k);
            candidates.sort_unstable_by(order);
        }
        let largest = logits.iter().copied().fold(f32::MIN, f32::max);
        let weight = |token: u32| {
            ((f64::from(logits[token as usize]) - f64::from(largest)) / temperature).exp()
        };
        self.weights.clear();
        if top_p == 1.0 {
            self.weights
                .extend(candidates.iter().map(|&token| weight(token)));
            return;
        }
        let enough = top_p * candidates.iter().map(|&token| weight(token)).sum::<f64>();
        let mut reached = 0.0;
        while self.weights.len() < candidates.len() && reached < enough {
            let kept = self.weights.len();
            sort_some(&mut candidates[kept..], kept.max(FIRST_SORTED), order);
            for &token in candidates[kept..].iter().take(kept.max(FIRST_SORTED)) {
                self.weights.push(weight(token));
                reached += weight(token);
                if reached >= enough {
                    break;
                }
            }
        }
        candidates.truncate(self.weights.len());
    }
}

/// Puts the first `count` of `items` in order and in front.
fn sort_some(items: &mut [u32], count: usize, order: impl Fn(&u32, &u32) -> Ordering) {
    if count < items.len() {
        items.select_nth_unstable_by(count, &order);
    }
    let count = count.min(items.len());
    items[..count].sort_unstable_by(&order);
}

/// The likelier token first, the lower id among equals.
fn likelier(logits: &[f32], a: u32, b: u32) -> Ordering {
    let (x, y) = (logits[a as usize], logits[b as usize]);
    y.partial_cmp(&x).unwrap_or(Ordering::Equal).then(a.cmp(&b))
}

/// SplitMix64 (Steele, Lea and Flood, 2014): the same numbers from the same seed everywhere.
struct SplitMix64(u64);

impl SplitMix64 {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number in [0, 1), one of 2^53 equally spaced ones.
    fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const GREEDY: Sampling = Sampling {
        temperature: 0.0,
        top_p: 1.0,
        top_k: 0,
        repetition_penalty: 1.0,
    };

    fn greedy(logits: &[f32]) -> u32 {
        Sampler::new(GREEDY, Some(0), logits.len())
            .sample(&mut logits.to_vec(), 0)
            .unwrap()
    }

    /// What top-k and top-p keep, by sorting everything: (token, probability), likeliest first.
    fn oracle(logits: &[f32], sampling: Sampling) -> Vec<(u32, f64)> {
        let mut all: Vec<(u32, f32)> = (0..).zip(logits.iter().copied()).collect();
        all.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        if sampling.top_k > 0 {
            all.truncate(sampling.top_k);
        }
        let softmax = |all: &[(u32, f32)]| -> Vec<(u32, f64)> {
            let largest = f64::from(all[0].1);
            let exp = |x: f32| ((f64::from(x) - largest) / sampling.temperature).exp();
            let total: f64 = all.iter().map(|&(_, x)| exp(x)).sum();
            all.iter()
                .map(|&(token, x)| (token, exp(x) / total))
                .collect()
        };
        let probabilities = softmax(&all);
        let mut before = 0.0;
        let mut count = 0;
        for (_, probability) in &probabilities {
            if count > 0 && before >= sampling.top_p {
                break;
            }
            before += probability;
            count += 1;
        }
        softmax(&all[..count])
    }

    /// Whole numbers, so that many are equal.
    fn some_logits() -> impl Strategy<Value = Vec<f32>> {
        prop::collection::vec((-12i32..=12).prop_map(|x| x as f32), 1..400)
    }

    proptest! {
        #[test]
        fn top_k_and_top_p_keep_what_sorting_everything_keeps(
            logits in some_logits(), top_k in 0usize..450, top_p in 0.001f64..=1.0, temperature in 0.05f64..4.0,
        ) {
            let sampling = Sampling { temperature, top_p, top_k, repetition_penalty: 1.0 };
            let expected = oracle(&logits, sampling);
            // Where a cumulative sum falls on top_p itself to rounding, either side of the edge is right.
            prop_assume!({
                let all = oracle(&logits, Sampling { top_p: 1.0, ..sampling });
                let mut sum = 0.0;
                all.iter().all(|(_, p)| { sum += p; (sum - top_p).abs() > 1e-12 || top_p == 1.0 })
            });
            let mut sampler = Sampler::new(sampling, Some(1), logits.len());
            sampler.keep(&logits);
            let total: f64 = sampler.weights.iter().sum();
            let mut kept: Vec<(u32, f64)> =
                sampler.candidates.iter().zip(&sampler.weights).map(|(&token, weight)| (token, weight / total)).collect();
            kept.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
            prop_assert_eq!(kept.len(), expected.len());
            for (kept, expected) in kept.iter().zip(&expected) {
                prop_assert_eq!(kept.0, expected.0);
                prop_assert!((kept.1 - expected.1).abs() < 1e-12);
            }
        }

        #[test]
        fn a_choice_is_always_among_the_kept(logits in some_logits(), top_k in 1usize..50, seed: u64) {
            let sampling = Sampling { temperature: 1.0, top_p: 0.9, top_k, repetition_penalty: 1.0 };
            let expected = oracle(&logits, sampling);
            let token = Sampler::new(sampling, Some(seed), logits.len()).sample(&mut logits.clone(), 0).unwrap();
            prop_assert!(expected.iter().any(|&(kept, _)| kept == token));
        }

        #[test]
        fn top_k_of_1_and_a_tiny_top_p_are_greedy(logits in some_logits(), seed: u64) {
            let best = greedy(&logits);
            for (top_k, top_p) in [(1, 1.0), (0, 1e-9)] {
                let sampling = Sampling { temperature: 0.7, top_p, top_k, repetition_penalty: 1.0 };
                let token = Sampler::new(sampling, Some(seed), logits.len()).sample(&mut logits.clone(), 0).unwrap();
                prop_assert_eq!(token, best);
            }
        }
    }

    #[test]
    fn greedy_takes_the_largest_logit_and_the_lowest_id_among_equals() {
        assert_eq!(greedy(&[-3.0, 2.0, 5.0, 5.0, -0.0]), 2);
        assert_eq!(greedy(&[0.0, -0.0]), 0);
        assert_eq!(greedy(&[-0.0, 0.0]), 0);
    }

    #[test]
    fn tokens_come_as_often_as_their_probabilities_say() {
        let sampling = Sampling {
            temperature: 0.5,
            top_p: 1.0,
            top_k: 3,
            repetition_penalty: 1.0,
        };
        let logits = [1.0, 0.0, 1.5, -4.0, 0.7];
        let mut sampler = Sampler::new(sampling, Some(42), logits.len());
        let draws = 100_000;
        let mut counts = [0u32; 5];
        for _ in 0..draws {
            counts[sampler.sample(&mut logits.clone(), 0).unwrap() as usize] += 1;
        }
        for (token, probability) in oracle(&logits, sampling) {
            let deviation = (probability * (1.0 - probability) / f64::from(draws)).sqrt();
            let frequency = f64::from(counts[token as usize]) / f64::from(draws);
            assert!(
                (frequency - probability).abs() < 4.0 * deviation,
                "{token}: {frequency} for {probability}"
            );
        }
        assert_eq!((counts[1], counts[3]), (0, 0), "outside the top 3");
    }

    #[test]
    fn the_same_seed_gives_the_same_tokens_and_another_seed_others() {
        let sampling = Sampling {
            temperature: 1.0,
            top_p: 1.0,
            top_k: 0,
            repetition_penalty: 1.0,
        };
        let draw = |seed| -> Vec<u32> {
            let mut sampler = Sampler::new(sampling, seed, 1000);
            (0..20)
                .map(|_| sampler.sample(&mut [0.0; 1000], 0).unwrap())
                .collect()
        };
        assert_eq!(draw(Some(7)), draw(Some(7)));
        assert_ne!(draw(Some(7)), draw(Some(8)));
        assert_ne!(draw(None), draw(None));
    }

    #[test]
    fn random_numbers_are_those_of_splitmix64() {
        let mut random = SplitMix64(1234567);
        let expected = [
            6457827717110365317,
            3203168211198807973,
            9817491932198370423,
            4593380528125082431,
        ];
        assert_eq!([(); 4].map(|()| random.next()), expected);
    }

    #[test]
    fn the_penalty_divides_positive_and_multiplies_negative_logits_of_seen_tokens_once() {
        let sampling = Sampling {
            repetition_penalty: 2.0,
            ..GREEDY
        };
        let mut sampler = Sampler::new(sampling, Some(0), 4);
        for token in [0, 1, 0] {
            sampler.observe(token);
        }
        let mut logits = [3.0, -1.0, 2.0, -0.5];
        assert_eq!(
            sampler.sample(&mut logits, 0).unwrap(),
            2,
            "greedy is penalised too"
        );
        assert_eq!(logits, [1.5, -2.0, 2.0, -0.5]);
        sampler.forget();
        let mut logits = [3.0, -1.0, 2.0, -0.5];
        assert_eq!(sampler.sample(&mut logits, 0).unwrap(), 0);
    }

    #[test]
    fn extreme_settings_still_choose_a_token() {
        let mut sampler = Sampler::new(
            Sampling {
                temperature: 1e-300,
                top_p: 0.9,
                top_k: 1,
                repetition_penalty: 1e-30,
            },
            Some(0),
            3,
        );
        sampler.observe(1);
        assert_eq!(
            sampler.sample(&mut [1.0, 1e30, f32::MAX], 0).unwrap(),
            1,
            "both are the largest float: the lower id"
        );
        let mut sampler = Sampler::new(
            Sampling {
                temperature: 1e300,
                top_p: 1.0,
                top_k: 0,
                repetition_penalty: 1.0,
            },
            Some(0),
            2,
        );
        assert!(sampler.sample(&mut [f32::MIN, f32::MAX], 0).unwrap() < 2);
    }

    #[test]
    fn logits_that_are_not_finite_are_refused_with_their_position() {
        for (value, shown) in [
            (f32::NAN, "NaN"),
            (f32::INFINITY, "inf"),
            (f32::NEG_INFINITY, "-inf"),
        ] {
            let error = Sampler::new(GREEDY, Some(0), 3)
                .sample(&mut [0.0, value, 1.0], 17)
                .unwrap_err();
            assert_eq!(
                error.to_string(),
                format!("the logits at position 17 are not finite: token 1 has {shown}")
            );
            assert_eq!(error.exit_code(), 1);
        }
    }
}
