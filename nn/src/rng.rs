//! Every random number of the crate: ChaCha8, whose output is fixed by its specification, and formulas of our own, so
//! that neither a new crate version nor another platform moves a bit.
//!
//! The 256-bit key is the seed (little-endian) followed by zeros. The 64-bit stream says what the numbers are for, so
//! that any part of a run can be repeated without what came before it.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng};

/// Stream of the initial weights.
pub(crate) const INIT: u64 = 0;
/// First stream of the shuffles; epoch `e` draws from `SHUFFLE + e`.
pub(crate) const SHUFFLE: u64 = 1 << 32;
/// Stream of the order in which samples are cut into parts.
pub(crate) const SPLIT: u64 = 1 << 33;

/// First stream of dropout; see [`Noise`].
const DROPOUT: u64 = 1 << 34;

/// What dropout depends on, beside the layer: a stream of its own for each layer and batch, in which elements have
/// their places. So neither threads nor interruptions change it, and the backward pass draws it again instead of
/// keeping it.
#[derive(Clone, Copy)]
pub(crate) struct Noise {
    pub(crate) seed: u64,
    /// Number of the batch in the run.
    pub(crate) batch: u64,
}

impl Noise {
    /// The generator for layer `l` of `layers`.
    pub(crate) fn of(self, l: usize, layers: usize) -> Rng {
        let stream = self.batch.wrapping_mul(layers as u64).wrapping_add(l as u64);
        Rng::new(self.seed, DROPOUT.wrapping_add(stream))
    }
}

pub(crate) struct Rng(ChaCha8Rng);

impl Rng {
    pub(crate) fn new(seed: u64, stream: u64) -> Self {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&seed.to_le_bytes());
        let mut rng = ChaCha8Rng::from_seed(key);
        rng.set_stream(stream);
        Self(rng)
    }

    /// One of the 2^24 multiples of 2^-24 in [0, 1): the upper 24 bits of one output word, exact in `f32`.
    pub(crate) fn uniform(&mut self) -> f32 {
        const UNIT: f32 = 1.0 / (1 << 24) as f32;
        (self.0.next_u32() >> 8) as f32 * UNIT
    }

    /// Normal, by Box and Muller 1958: `√(-2 ln u) cos(2π v)`, with `u` in (0, 1] and `v` in [0, 1), and `ln` and `cos`
    /// of the crate `libm`, which are the same on every platform.
    pub(crate) fn normal(&mut self) -> f64 {
        let (u, v) = (1.0 - f64::from(self.uniform()), f64::from(self.uniform()));
        (-2.0 * libm::log(u)).sqrt() * libm::cos(2.0 * std::f64::consts::PI * v)
    }

    /// Inverted dropout: each element becomes 0 with probability `rate`, and is divided by `1 - rate` otherwise. The
    /// same generator does the same to the gradient.
    pub(crate) fn drop(&mut self, rate: f32, x: &mut [f32]) {
        let factor = 1.0 / (1.0 - rate);
        for x in x {
            *x = if self.uniform() < rate { 0.0 } else { *x * factor };
        }
    }

    /// One of `0..n`: the upper half of `n` times a 64-bit word (low output word first). The bias is below n / 2^64.
    fn below(&mut self, n: usize) -> usize {
        let (low, high) = (u64::from(self.0.next_u32()), u64::from(self.0.next_u32()));
        ((u128::from(high << 32 | low) * n as u128) >> 64) as usize
    }

    /// Fisher-Yates, from the last element down.
    pub(crate) fn shuffle(&mut self, items: &mut [usize]) {
        for i in (1..items.len()).rev() {
            items.swap(i, self.below(i + 1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The published key stream of ChaCha8 for key 0, nonce 0 begins 3e 00 ef 2f 89 5f 40 d6 7f 5b b8 e8 1f 09 a5 a1.
    #[test]
    fn formulas_are_those_documented() {
        let unit = 2.0_f32.powi(-24);
        let mut rng = Rng::new(0, 0);
        assert_eq!(rng.uniform(), 0x2f_ef00 as f32 * unit);
        assert_eq!(rng.uniform(), 0xd6_405f as f32 * unit);

        // 0xd6405f892fef003e * 1000 / 2^64 = 836.92
        assert_eq!(Rng::new(0, 0).below(1000), 836);
        assert_eq!(Rng::new(0, 0).below(1), 0);
    }

    /// Against a ChaCha8 and a shuffle written separately, in Python.
    #[test]
    fn shuffles_are_those_of_another_program() {
        for (seed, epoch, expected) in
            [(0, 0, [10, 9, 3, 5, 2, 0, 7, 8, 4, 6, 1, 11]), (5, 3, [6, 7, 9, 5, 1, 4, 0, 2, 10, 11, 3, 8])]
        {
            let mut order: Vec<_> = (0..12).collect();
            Rng::new(seed, SHUFFLE + epoch).shuffle(&mut order);
            assert_eq!(order, expected);
        }
    }

    #[test]
    fn seeds_and_streams_differ() {
        let draw = |seed, stream| {
            let mut rng = Rng::new(seed, stream);
            [(); 4].map(|()| rng.uniform())
        };
        assert_eq!(draw(7, SHUFFLE), draw(7, SHUFFLE));
        assert_ne!(draw(7, SHUFFLE), draw(7, SHUFFLE + 1));
        assert_ne!(draw(7, INIT), draw(7, SHUFFLE));
        assert_ne!(draw(7, INIT), draw(8, INIT));
    }

    #[test]
    fn dropout_keeps_the_mean() {
        let noise = Noise { seed: 3, batch: 7 };
        for rate in [0.1, 0.5, 0.75] {
            let (mut x, mut again, mut other) = ([2.0; 20_000], [2.0; 20_000], [2.0; 20_000]);
            noise.of(1, 3).drop(rate, &mut x);
            noise.of(1, 3).drop(rate, &mut again);
            noise.of(2, 3).drop(rate, &mut other);
            assert!(x == again && x != other);
            assert!(x.iter().all(|&x| x == 0.0 || x == 2.0 * (1.0 / (1.0 - rate))));
            let dropped = x.iter().filter(|&&x| x == 0.0).count() as f32 / 20_000.0;
            // Five standard deviations are at most .018.
            assert!((dropped - rate).abs() < 0.018, "{dropped} of {rate}");
        }
    }

    /// Each of the 24 orders of four elements comes up about as often as the others.
    #[test]
    fn shuffle_is_fair() {
        let mut counts = std::collections::BTreeMap::new();
        let mut rng = Rng::new(1, 0);
        for _ in 0..24_000 {
            let mut order = [0, 1, 2, 3];
            rng.shuffle(&mut order);
            *counts.entry(order).or_insert(0) += 1;
        }
        assert_eq!(counts.len(), 24);
        // Five standard deviations of a binomial with n = 24,000, p = 1/24.
        assert!(counts.values().all(|&count: &i32| (count - 1000).abs() < 155), "{counts:?}");
    }
}
