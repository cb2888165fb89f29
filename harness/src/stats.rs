//! What samples tell: middles, spreads, intervals, and whether a difference is one.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use std::fmt;

/// A middle, how far samples stray from it, and between which values it lies with 95 % confidence.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    /// The median.
    pub median: f64,
    /// The median absolute deviation from the median.
    pub mad: f64,
    /// Lower end of the 95 % bootstrap interval of the median.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

/// How often samples are drawn anew for an interval.
const RESAMPLES: usize = 500;

impl Estimate {
    /// Median, deviation and interval of these samples, which stand in the order in which they were taken; NaN when
    /// there are none.
    pub fn of(samples: &[f64]) -> Self {
        let median = median(&mut samples.to_vec());
        let mad = self::median(&mut samples.iter().map(|x| (x - median).abs()).collect::<Vec<_>>());
        let (low, high) = interval(samples);
        Self { median, mad, low, high }
    }

    /// The same in another unit: each value times `factor`, which is above 0.
    #[must_use]
    pub fn scaled(self, factor: f64) -> Self {
        let Self { median, mad, low, high } = self;
        Self { median: median * factor, mad: mad * factor, low: low * factor, high: high * factor }
    }

    /// The median deviation as a share of the median.
    pub fn spread(&self) -> f64 {
        self.mad / self.median
    }
}

fn median(x: &mut [f64]) -> f64 {
    let n = x.len();
    if n == 0 {
        return f64::NAN;
    }
    let (below, &mut upper, _) = x.select_nth_unstable_by(n / 2, f64::total_cmp);
    if n % 2 == 1 {
        return upper;
    }
    let lower = below.iter().copied().max_by(f64::total_cmp).unwrap_or(upper);
    (lower + upper) / 2.0
}

/// The 95 % interval of the median by the circular block bootstrap (Politis and Romano, 1992): noise comes in bursts,
/// so samples are drawn in runs of neighbours, the cube root of their number long. Single draws would take a burst for
/// many independent witnesses, and the interval would be too narrow. Few runs say less of their own spread, so their
/// interval is expanded as Student's is against the normal one (Hesterberg, 2015).
fn interval(samples: &[f64]) -> (f64, f64) {
    let n = samples.len();
    if n < 2 {
        return samples.first().map_or((f64::NAN, f64::NAN), |&x| (x, x));
    }
    let block = (n as f64).cbrt().round() as usize;
    let mut rng = ChaCha8Rng::seed_from_u64(0);
    let mut drawn = Vec::with_capacity(n + block);
    let mut medians: Vec<f64> = (0..RESAMPLES)
        .map(|_| {
            drawn.clear();
            while drawn.len() < n {
                let start = rng.random_range(0..n);
                drawn.extend((start..start + block).map(|i| samples[i % n]));
            }
            median(&mut drawn[..n])
        })
        .collect();
    medians.sort_by(f64::total_cmp);
    let runs = (n as f64 / block as f64).max(2.0);
    // Student's quantile for 97.5 %, to the first order in the degrees of freedom.
    let quantile = 1.96 + 2.37 / (runs - 1.0);
    let share = 0.5 * libm::erfc(quantile * (runs / (runs - 1.0)).sqrt() * std::f64::consts::FRAC_1_SQRT_2);
    let tail = (share * RESAMPLES as f64) as usize;
    (medians[tail], medians[RESAMPLES - 1 - tail])
}

/// What a ratio of speeds says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// The first of the two is faster.
    Faster,
    /// The first of the two is slower.
    Slower,
    /// Identical code could differ as much.
    NoDifference,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Faster => "faster",
            Self::Slower => "slower",
            Self::NoDifference => "no difference",
        })
    }
}

/// Smaller differences are never called one: where the linker puts a function moves its time by as much.
const LEAST: f64 = 0.005;

/// How far, as a factor's logarithm, two runs of the same code came apart: the further end of the interval of the ratio
/// of a contender to its twin; half a percent at least.
pub fn noise_floor(twins: &Estimate) -> f64 {
    twins.low.ln().abs().max(twins.high.ln().abs()).max(LEAST)
}

/// Judges a ratio: it differs from 1 only where its interval leaves 1 out, and its median is beyond the noise floor.
pub fn verdict(ratio: &Estimate, noise_floor: f64) -> Verdict {
    let beyond = ratio.median.ln().abs() > noise_floor;
    if beyond && ratio.low > 1.0 {
        Verdict::Faster
    } else if beyond && ratio.high < 1.0 {
        Verdict::Slower
    } else {
        Verdict::NoDifference
    }
}

/// The n-th root of the product; `None` of nothing.
pub fn geometric_mean(ratios: impl IntoIterator<Item = f64>) -> Option<f64> {
    let (count, logs) = ratios.into_iter().fold((0u32, 0.0), |(n, sum), ratio| (n + 1, sum + ratio.ln()));
    (count > 0).then(|| (logs / f64::from(count)).exp())
}

/// The geometric mean, over cases, of the medians of their ratios. Its interval follows from those of the cases, which
/// were measured apart from each other: squares of independent errors add up.
pub fn geometric_mean_of(cases: &[Vec<f64>]) -> Estimate {
    let logs: Vec<Estimate> =
        cases.iter().map(|case| Estimate::of(&case.iter().map(|ratio| ratio.ln()).collect::<Vec<_>>())).collect();
    let n = logs.len() as f64;
    let mean = logs.iter().map(|x| x.median).sum::<f64>() / n;
    let half = |end: fn(&Estimate) -> f64| logs.iter().map(|x| end(x).powi(2)).sum::<f64>().sqrt() / n;
    let (down, up) = (half(|x| x.median - x.low), half(|x| x.high - x.median));
    let mad = half(|x| x.mad);
    Estimate { median: mean.exp(), mad: mean.exp() * mad, low: (mean - down).exp(), high: (mean + up).exp() }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers around 0 as a sum of uniform ones, nearly normal, of deviation 1.
    fn noise(rng: &mut ChaCha8Rng) -> f64 {
        (0..12).map(|_| rng.random_range(0.0..1.0)).sum::<f64>() - 6.0
    }

    #[test]
    fn middles_of_odd_even_one_and_no_samples() {
        let of = |x: &[f64]| (Estimate::of(x).median, Estimate::of(x).mad);
        assert_eq!(of(&[3.0, 1.0, 9.0]), (3.0, 2.0));
        assert_eq!(of(&[4.0, 1.0, 2.0, 3.0]), (2.5, 1.0));
        assert_eq!(Estimate::of(&[5.0]), Estimate { median: 5.0, mad: 0.0, low: 5.0, high: 5.0 });
        assert!(Estimate::of(&[]).median.is_nan());
    }

    #[test]
    fn intervals_hold_the_truth_about_19_times_in_20() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        for n in [20, 60, 300] {
            let holds = |_: &i32| {
                let samples: Vec<f64> = (0..n).map(|_| 10.0 + noise(&mut rng)).collect();
                let Estimate { median, low, high, .. } = Estimate::of(&samples);
                assert!(low <= median && median <= high);
                low <= 10.0 && 10.0 <= high
            };
            let share = f64::from((0..300).filter(holds).count() as u32) / 300.0;
            assert!((0.90..=0.99).contains(&share), "{n} samples: {share}");
        }
    }

    #[test]
    fn intervals_narrow_with_more_samples_and_follow_the_unit() {
        let mut rng = ChaCha8Rng::seed_from_u64(2);
        let samples: Vec<f64> = (0..1000).map(|_| 10.0 + noise(&mut rng)).collect();
        let width = |x: Estimate| x.high - x.low;
        let (few, many) = (Estimate::of(&samples[..50]), Estimate::of(&samples));
        assert!(width(many) < width(few) / 3.0, "{few:?} {many:?}");
        let scaled = Estimate::of(&samples.iter().map(|x| x * 3.0).collect::<Vec<_>>());
        assert!((scaled.low - many.scaled(3.0).low).abs() < 1e-9);
    }

    #[test]
    fn bursts_of_noise_widen_the_interval() {
        // The same numbers, scattered or in two runs.
        let samples: Vec<f64> = (0..100).map(|i| if i < 50 { 1.0 + f64::from(i) / 1e3 } else { 2.0 }).collect();
        let scattered: Vec<f64> = (0..100).map(|i| samples[i * 37 % 100]).collect();
        let width = |x: &[f64]| Estimate::of(x).high - Estimate::of(x).low;
        assert!(width(&samples) >= width(&scattered));
    }

    #[test]
    fn a_difference_is_one_beyond_noise_and_interval() {
        let ratio = |low, median, high| Estimate { median, mad: 0.0, low, high };
        assert_eq!(verdict(&ratio(1.05, 1.1, 1.2), 0.02), Verdict::Faster);
        assert_eq!(verdict(&ratio(0.8, 0.9, 0.95), 0.02), Verdict::Slower);
        // Within the noise floor; the interval holds 1.
        assert_eq!(verdict(&ratio(1.005, 1.01, 1.02), 0.02), Verdict::NoDifference);
        assert_eq!(verdict(&ratio(0.99, 1.1, 1.2), 0.02), Verdict::NoDifference);
        assert_eq!(verdict(&ratio(f64::NAN, f64::NAN, f64::NAN), 0.02), Verdict::NoDifference);
        assert!((noise_floor(&ratio(0.98, 1.0, 1.01)) + 0.98f64.ln()).abs() < 1e-12);
    }

    #[test]
    fn twins_are_called_different_at_most_once_in_20_times() {
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        // Rounds share a slow drift; each of three equal contenders has noise of its own, and now and then a hiccup.
        let mut different = 0;
        for _ in 0..400 {
            let mut samples = [const { Vec::new() }; 3];
            let mut drift = 1.0;
            for _ in 0..40 {
                drift *= 1.0 + 0.05 * noise(&mut rng);
                for x in &mut samples {
                    let hiccup = if rng.random_range(0..10) == 0 { 1.5 } else { 1.0 };
                    x.push(drift * hiccup * (1.0 + 0.01 * noise(&mut rng)));
                }
            }
            let ratio = |a: usize, b: usize| {
                Estimate::of(&samples[a].iter().zip(&samples[b]).map(|(a, b)| b / a).collect::<Vec<_>>())
            };
            different += u32::from(verdict(&ratio(0, 2), noise_floor(&ratio(0, 1))) != Verdict::NoDifference);
        }
        assert!(different <= 20, "{different} of 400");
    }

    #[test]
    fn means_of_ratios_are_geometric() {
        assert_eq!(geometric_mean([]), None);
        assert!((geometric_mean([0.5, 2.0, 8.0]).unwrap() - 2.0).abs() < 1e-12);
        let mut rng = ChaCha8Rng::seed_from_u64(4);
        let mut case = |middle: f64| (0..200).map(|_| middle * (1.0 + 0.02 * noise(&mut rng))).collect::<Vec<f64>>();
        let cases = [case(1.1), case(0.95), case(1.2)];
        let mean = geometric_mean_of(&cases);
        let truth = (1.1f64 * 0.95 * 1.2).cbrt();
        assert!(mean.low < truth && truth < mean.high, "{mean:?} {truth}");
        let one = Estimate::of(&cases[0]);
        assert!(mean.high / mean.low < one.high / one.low);
    }
}
