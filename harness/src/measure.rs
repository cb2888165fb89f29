//! Times several ways to do the same work, fairly.
//!
//! All of them run in one process, interleaved round by round, in an order shuffled anew for each round: a clock that
//! moves or a neighbour that wakes up meets all of them alike, so ratios within a round mean more than absolute times.

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use std::convert::Infallible;
use std::thread;
use std::time::{Duration, Instant};

/// Does the work as many times as it is told and says how long that took.
pub type Timed<'a> = Box<dyn FnMut(u32) -> Duration + 'a>;

/// How long and how often to measure.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// Time for all rounds of all contenders together; warm-up comes on top.
    pub budget: Duration,
    /// Rounds that are run even when they take longer than the budget.
    pub min_rounds: usize,
    /// Calls are batched until a sample takes at least this long, so that reading the clock costs nothing.
    pub min_sample: Duration,
    /// A pause before each sample, in which threads of the last contender that still spin for work go to sleep. An
    /// untimed sample follows it, so that nobody is timed while waking up.
    pub rest: Duration,
    /// Seed of the shuffled order.
    pub seed: u64,
}

impl Plan {
    /// A plan that spends about `budget` on one comparison.
    pub fn lasting(budget: Duration) -> Self {
        Self { budget, min_rounds: 5, min_sample: Duration::from_micros(200), rest: Duration::ZERO, seed: 0 }
    }
}

/// A middle and how far samples stray from it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spread {
    /// The median.
    pub median: f64,
    /// The median absolute deviation from the median.
    pub mad: f64,
}

impl Spread {
    /// Median and deviation of these samples; NaN when there are none.
    pub fn of(samples: &[f64]) -> Self {
        let median = median(samples.to_vec());
        let mad = self::median(samples.iter().map(|x| (x - median).abs()).collect());
        Self { median, mad }
    }
}

fn median(mut x: Vec<f64>) -> f64 {
    x.sort_by(f64::total_cmp);
    match x.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => x[n / 2],
        n => (x[n / 2 - 1] + x[n / 2]) / 2.0,
    }
}

/// Seconds per call of one contender, one sample per round.
#[derive(Debug, Clone)]
pub struct Samples(pub Vec<f64>);

impl Samples {
    /// Seconds per call.
    pub fn spread(&self) -> Spread {
        Spread::of(&self.0)
    }

    /// How many times as fast as `other` this one is, judged within each round.
    pub fn speed_up_over(&self, other: &Self) -> Spread {
        let ratios: Vec<f64> = self.0.iter().zip(&other.0).map(|(mine, theirs)| theirs / mine).collect();
        Spread::of(&ratios)
    }
}

/// Runs all contenders round by round until the plan is fulfilled; the answer is in their order.
pub fn interleaved(plan: &Plan, contenders: &mut [Timed<'_>]) -> Vec<Samples> {
    // Finding the batch size is the warm-up: it runs the work for at least the time of a sample.
    let batches: Vec<u32> = contenders.iter_mut().map(|run| batch_size(run, plan.min_sample)).collect();
    let start = Instant::now();
    let Ok(samples) = rounds::<Infallible>(
        plan.seed,
        contenders.len(),
        |done| done < plan.min_rounds || start.elapsed() < plan.budget,
        |_, who| {
            let (run, calls) = (&mut contenders[who], batches[who]);
            if !plan.rest.is_zero() {
                thread::sleep(plan.rest);
                run(calls);
            }
            Ok(run(calls).as_secs_f64() / f64::from(calls))
        },
    );
    samples
}

/// The order of play: as long as `more(rounds done)` says so, asks `sample(round, who)` for one time of each of the
/// contenders, who come in an order shuffled anew.
///
/// # Errors
/// The first that `sample` gives.
pub fn rounds<E>(
    seed: u64,
    contenders: usize,
    mut more: impl FnMut(usize) -> bool,
    mut sample: impl FnMut(usize, usize) -> Result<f64, E>,
) -> Result<Vec<Samples>, E> {
    let mut samples = vec![Samples(Vec::new()); contenders];
    let mut order: Vec<usize> = (0..contenders).collect();
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut round = 0;
    while more(round) {
        order.shuffle(&mut rng);
        for &who in &order {
            samples[who].0.push(sample(round, who)?);
        }
        round += 1;
    }
    Ok(samples)
}

/// The smallest power of two of calls that lasts long enough.
fn batch_size(run: &mut Timed<'_>, min_sample: Duration) -> u32 {
    let mut calls = 1;
    while run(calls) < min_sample && calls < 1 << 30 {
        calls *= 2;
    }
    calls
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spread_of_odd_even_and_no_samples() {
        assert_eq!(Spread::of(&[3.0, 1.0, 9.0]), Spread { median: 3.0, mad: 2.0 });
        assert_eq!(Spread::of(&[4.0, 1.0, 2.0, 3.0]), Spread { median: 2.5, mad: 1.0 });
        assert!(Spread::of(&[]).median.is_nan());
    }

    #[test]
    fn ratios_are_taken_within_rounds() {
        // The machine halves its clock in the second round: both slow down, the ratio stays.
        let fast = Samples(vec![1.0, 2.0]);
        let slow = Samples(vec![3.0, 6.0]);
        assert_eq!(fast.speed_up_over(&slow), Spread { median: 3.0, mad: 0.0 });
    }

    #[test]
    fn every_contender_gets_every_round_and_calls_are_batched() {
        let plan = Plan { budget: Duration::ZERO, min_rounds: 7, ..Plan::lasting(Duration::ZERO) };
        let fake = |per_call: u64| -> Timed<'_> { Box::new(move |calls| Duration::from_micros(per_call) * calls) };
        let samples = interleaved(&plan, &mut [fake(3), fake(1000)]);
        assert_eq!(samples[0].0.len(), 7);
        assert_eq!(samples[1].0.len(), 7);
        assert!((samples[0].spread().median - 3e-6).abs() < 1e-12);
        assert!((samples[0].speed_up_over(&samples[1]).median - 1000.0 / 3.0).abs() < 1e-6);
    }
}
