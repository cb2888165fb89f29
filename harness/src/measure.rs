//! Times several ways to do the same work, fairly.
//!
//! All of them run in one process, interleaved round by round, in an order shuffled anew for each round: a clock that
//! moves or a neighbour that wakes up meets all of them alike, so ratios within a round mean more than absolute times.

use crate::machine;
use crate::stats::Estimate;
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use serde::Serialize;
use std::convert::Infallible;
use std::hint::black_box;
use std::thread;
use std::time::{Duration, Instant};

/// Does the work as many times as it is told and says how long that took.
pub type Timed<'a> = Box<dyn FnMut(u32) -> Duration + 'a>;

/// Where the data of a call lie before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cache {
    /// Where the call before left them.
    Warm,
    /// In memory: other data, twice the size of the last cache, are touched before each call.
    Cold,
}

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
    /// With cold caches a sample is a single call.
    pub cache: Cache,
    /// Seed of the shuffled order.
    pub seed: u64,
}

impl Plan {
    /// A plan that spends about `budget` on one comparison, with warm caches.
    pub fn lasting(budget: Duration) -> Self {
        let min_sample = Duration::from_micros(200);
        Self { budget, min_rounds: 5, min_sample, rest: Duration::ZERO, cache: Cache::Warm, seed: 0 }
    }
}

/// Seconds per call of one contender, one sample per round.
#[derive(Debug, Clone)]
pub struct Samples(pub Vec<f64>);

impl Samples {
    /// Seconds per call.
    pub fn estimate(&self) -> Estimate {
        Estimate::of(&self.0)
    }

    /// For each round, whether a time is within this share of the best tenth.
    pub fn near_best(&self, share: f64) -> Vec<bool> {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        let best = sorted.get(sorted.len() / 10).copied().unwrap_or(0.0);
        self.0.iter().map(|&seconds| seconds <= best * (1.0 + share)).collect()
    }

    /// Forgets the other rounds.
    pub fn keep(&mut self, rounds: &[bool]) {
        let mut rounds = rounds.iter();
        self.0.retain(|_| rounds.next().is_none_or(|&keep| keep));
    }

    /// How many times as fast as `other` this one was, in each round.
    pub fn ratios_over(&self, other: &Self) -> Vec<f64> {
        self.0.iter().zip(&other.0).map(|(mine, theirs)| theirs / mine).collect()
    }

    /// How many times as fast as `other` this one is, judged within each round.
    pub fn speed_up_over(&self, other: &Self) -> Estimate {
        Estimate::of(&self.ratios_over(other))
    }
}

/// Runs all contenders round by round until the plan is fulfilled; the answer is in their order.
pub fn interleaved(plan: &Plan, contenders: &mut [Timed<'_>]) -> Vec<Samples> {
    // Finding the batch size is the warm-up: it runs the work for at least the time of a sample.
    let batches: Vec<u32> = contenders.iter_mut().map(|run| batch_size(run, plan.min_sample)).collect();
    let mut eviction = (plan.cache == Cache::Cold).then(Eviction::new);
    let start = Instant::now();
    let Ok(samples) = rounds::<Infallible>(
        plan.seed,
        contenders.len(),
        |done| done < plan.min_rounds || start.elapsed() < plan.budget,
        |_, who| {
            let run = &mut contenders[who];
            if let Some(eviction) = &mut eviction {
                eviction.run();
                return Ok(run(1).as_secs_f64());
            }
            let calls = batches[who];
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

/// What throws everything else out of the caches.
struct Eviction(Vec<u64>);

impl Eviction {
    fn new() -> Self {
        /// Where the system does not tell of caches.
        const USUAL: u64 = 64 << 20;
        const MOST: u64 = 256 << 20;
        let largest = machine::caches().iter().filter_map(machine::Cache::bytes).max();
        Self(vec![0; (largest.map_or(USUAL, |bytes| 2 * bytes).min(MOST) / 8) as usize])
    }

    fn run(&mut self) {
        const LINE: usize = 64 / size_of::<u64>();
        self.0.iter_mut().step_by(LINE).for_each(|x| *x += 1);
        black_box(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_are_taken_within_rounds() {
        // The machine halves its clock in the second round: both slow down, the ratio stays.
        let fast = Samples(vec![1.0, 2.0]);
        let slow = Samples(vec![3.0, 6.0]);
        assert_eq!(fast.ratios_over(&slow), [3.0, 3.0]);
        assert_eq!(fast.speed_up_over(&slow), Estimate { median: 3.0, mad: 0.0, low: 3.0, high: 3.0 });
    }

    #[test]
    fn rounds_are_kept_by_the_best_tenth_of_a_time() {
        let mut samples = Samples((0..20).map(|i| if i % 2 == 0 { 1.0 } else { 1.2 + 0.01 * f64::from(i) }).collect());
        samples.0[3] = 0.5;
        samples.0[6] = 1.04;
        let kept = samples.near_best(0.03);
        assert_eq!(kept.iter().filter(|keep| **keep).count(), 10, "one that was faster by chance sets no limit");
        assert!(kept[3] && !kept[6]);
        samples.keep(&kept);
        assert_eq!(samples.0, [1.0, 1.0, 0.5, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0]);
        assert!(Samples(Vec::new()).near_best(0.03).is_empty());
    }

    /// A contender that only says how long it took.
    fn fake<'a>(per_call: u64, most: &'a mut u32) -> Timed<'a> {
        Box::new(move |calls| {
            *most = calls.max(*most);
            Duration::from_micros(per_call) * calls
        })
    }

    #[test]
    fn every_contender_gets_every_round_and_calls_are_batched() {
        let plan = Plan { min_rounds: 7, ..Plan::lasting(Duration::ZERO) };
        let mut most = [0; 2];
        let [short, long] = &mut most;
        let samples = interleaved(&plan, &mut [fake(3, short), fake(1000, long)]);
        assert_eq!(samples[0].0.len(), 7);
        assert_eq!(samples[1].0.len(), 7);
        assert!((samples[0].estimate().median - 3e-6).abs() < 1e-12);
        assert!((samples[0].speed_up_over(&samples[1]).median - 1000.0 / 3.0).abs() < 1e-6);
        assert_eq!(most, [128, 1]);
    }

    #[test]
    fn a_cold_sample_is_one_call() {
        let mut calls = Vec::new();
        let plan = Plan { min_rounds: 3, cache: Cache::Cold, ..Plan::lasting(Duration::ZERO) };
        interleaved(
            &plan,
            &mut [Box::new(|n| {
                calls.push(n);
                Duration::from_micros(150) * n
            })],
        );
        assert_eq!(calls, [1, 2, 1, 1, 1], "two for the batch size, then one a round");
    }
}
