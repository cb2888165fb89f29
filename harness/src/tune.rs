//! Searches the values of a [`Tuning`] that make products fastest on this CPU.
//!
//! Coordinate descent: the values of one coordinate race against each other by successive halving, the best of them
//! against the incumbent. It replaces the incumbent only where the gain over a spread of shapes is beyond its interval
//! and beyond what a twin of the incumbent does, and no shape loses. When no coordinate gains any more, the descent
//! begins anew from a random point near the incumbent, until the time is up.

use crate::case::layout;
use crate::measure::{self, Samples};
use crate::number::Number;
use crate::stats::{self, Estimate, Verdict, geometric_mean_of, noise_floor, verdict};
use crate::verify::{Wrong, same_bits};
use kernels::{Backend, Gemm, Layout, MatMut, MatRef, Par, Tuning};
use rand::seq::{IndexedRandom, SliceRandom};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::Serialize;
use std::convert::Infallible;
use std::fmt;
use std::hint::black_box;
use std::time::{Duration, Instant};

/// Sizes m, k and n of a product, and whether A is stored transposed.
pub type Shape = ([usize; 3], bool);

/// What the search measures: squares, layers and their gradients, deep, flat and narrow products.
pub const SEARCHED: [Shape; 13] = [
    ([64, 64, 64], false),
    ([160, 160, 160], false),
    ([256, 256, 256], false),
    ([384, 384, 384], false),
    ([640, 640, 640], false),
    ([32, 784, 128], false),
    ([784, 32, 128], true),
    ([128, 784, 512], false),
    ([100, 1000, 300], false),
    ([512, 64, 1024], false),
    ([48, 2048, 96], false),
    ([300, 300, 1500], false),
    ([1024, 1024, 1024], false),
];

/// What the search does not see, to verify with.
pub const UNSEEN: [Shape; 13] = [
    ([96, 96, 96], false),
    ([200, 200, 200], false),
    ([320, 320, 320], false),
    ([512, 512, 512], false),
    ([720, 720, 720], false),
    ([64, 784, 256], false),
    ([784, 64, 256], true),
    ([256, 512, 784], false),
    ([150, 700, 450], false),
    ([1000, 96, 700], false),
    ([40, 1500, 130], false),
    ([250, 400, 1200], false),
    ([900, 1500, 1100], false),
];

/// The most that a shape may lose.
const LOSS: f64 = 0.97;

/// Times tunings against each other.
pub trait Judge {
    /// Times of each tuning for each shape, round by round, and after them those of a twin of the first; `None` for a
    /// shape that all compute in the same way.
    fn race(&mut self, tunings: &[Tuning], rounds: usize) -> Vec<Option<Vec<Samples>>>;
    /// Whether the time is up.
    fn is_over(&self) -> bool;
}

/// How a tuning did against another.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// How many times as fast it is over all shapes: the geometric mean.
    pub gain: Estimate,
    /// What it says, given what the twin did.
    pub verdict: Verdict,
    /// The same for each shape, in their order; `None` where both compute in the same way.
    pub shapes: Vec<Option<Estimate>>,
}

impl Outcome {
    /// Whether a shape loses more than it may.
    pub fn loses_somewhere(&self) -> bool {
        self.shapes.iter().flatten().any(|ratio| ratio.median < LOSS)
    }
}

/// Judges `tuning` against `other`.
pub fn compare(judge: &mut dyn Judge, tuning: Tuning, other: Tuning, rounds: usize) -> Outcome {
    let times = judge.race(&[other, tuning], rounds);
    let ratios = |at: usize| -> Vec<Vec<f64>> {
        let of = |times: &Option<Vec<Samples>>| times.as_ref().map_or(vec![1.0], |t| t[at].ratios_over(&t[0]));
        times.iter().map(of).collect()
    };
    let gain = geometric_mean_of(&ratios(1));
    let floor = noise_floor(&geometric_mean_of(&ratios(2)));
    let shapes = times.iter().map(|times| times.as_ref().map(|t| t[1].speed_up_over(&t[0]))).collect();
    Outcome { gain, verdict: verdict(&gain, floor), shapes }
}

/// A change that was worth it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Step {
    /// The values that changed, with the old and the new.
    pub changes: Vec<Change>,
    /// How many times as fast the change made the shapes that were searched.
    pub gain: Estimate,
}

/// A value that changed.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Change {
    /// Its name.
    pub name: &'static str,
    /// Before.
    pub from: usize,
    /// After.
    pub to: usize,
}

/// What changed between two tunings.
pub fn changes(from: &Tuning, to: &Tuning) -> Vec<Change> {
    let pairs = Tuning::NAMES.into_iter().zip(from.values().into_iter().zip(to.values()));
    pairs.filter(|(_, (from, to))| from != to).map(|(name, (from, to))| Change { name, from, to }).collect()
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let changes: Vec<String> = self.changes.iter().map(|c| format!("{} {} -> {}", c.name, c.from, c.to)).collect();
        write!(f, "{}: {}", changes.join(", "), percent_gain(&self.gain))
    }
}

/// A gain with its interval: `+1.8% [+0.9, +2.6]`.
pub fn percent_gain(gain: &Estimate) -> String {
    let percent = |x: f64| 100.0 * (x - 1.0);
    format!("{:+.1}% [{:+.1}, {:+.1}]", percent(gain.median), percent(gain.low), percent(gain.high))
}

/// The result of a search.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    /// The best values.
    pub tuning: Tuning,
    /// How they came about.
    pub steps: Vec<Step>,
    /// Tunings that were timed.
    pub tried: usize,
}

/// Rounds of the first heat; each further one has twice as many.
const HEAT: usize = 3;
/// Rounds that decide whether the incumbent is replaced.
const FINAL: usize = 15;

/// Searches from `start`, until the judge's time is up. `tell` hears what is going on.
pub fn search(
    judge: &mut dyn Judge,
    start: Tuning,
    with_threads: bool,
    seed: u64,
    tell: &mut dyn FnMut(&str),
) -> Found {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut found = Found { tuning: start, steps: Vec::new(), tried: 0 };
    let mut from = start;
    while !judge.is_over() {
        let (reached, steps) = descend(judge, from, with_threads, &mut rng, &mut found.tried, tell);
        if from == found.tuning {
            found.tuning = reached;
            found.steps.extend(steps);
        } else if reached != found.tuning && !judge.is_over() {
            tell("the end of another descent against the best");
            let outcome = compare(judge, reached, found.tuning, FINAL);
            if outcome.verdict == Verdict::Faster && !outcome.loses_somewhere() {
                found.steps.push(Step { changes: changes(&found.tuning, &reached), gain: outcome.gain });
                found.tuning = reached;
            }
        }
        // A restart: each value moves within its neighbourhood.
        let mut values = found.tuning.values();
        for coordinate in 0..values.len() - usize::from(!with_threads) {
            let near = neighbours(&found.tuning, coordinate);
            values[coordinate] = near.choose(&mut rng).map_or(values[coordinate], |near| near.values()[coordinate]);
        }
        from = Tuning::from_values(values);
    }
    found
}

/// Goes from coordinate to coordinate until none gains.
fn descend(
    judge: &mut dyn Judge,
    start: Tuning,
    with_threads: bool,
    rng: &mut ChaCha8Rng,
    tried: &mut usize,
    tell: &mut dyn FnMut(&str),
) -> (Tuning, Vec<Step>) {
    let (mut tuning, mut steps) = (start, Vec::new());
    // One more for block and depth together.
    let joint = Tuning::NAMES.len();
    let mut order: Vec<usize> = (0..=joint).filter(|&c| with_threads || c != joint - 1).collect();
    let mut without_gain = 0;
    order.shuffle(rng);
    for coordinate in order.iter().copied().cycle() {
        if without_gain == order.len() || judge.is_over() {
            break;
        }
        without_gain += 1;
        let name = Tuning::NAMES.get(coordinate).copied().unwrap_or("block and kc");
        tell(name);
        let candidates = if coordinate == joint { diagonals(&tuning) } else { neighbours(&tuning, coordinate) };
        *tried += candidates.len();
        let Some(best) = heats(judge, tuning, candidates) else { continue };
        if judge.is_over() {
            break;
        }
        let outcome = compare(judge, best, tuning, FINAL);
        if outcome.verdict == Verdict::Faster && !outcome.loses_somewhere() {
            let step = Step { changes: changes(&tuning, &best), gain: outcome.gain };
            tell(&step.to_string());
            steps.push(step);
            tuning = best;
            without_gain = 0;
        }
    }
    (tuning, steps)
}

/// Successive halving: the slower half leaves after each heat, as does who is behind the incumbent. `None` when nobody
/// is left.
fn heats(judge: &mut dyn Judge, incumbent: Tuning, mut candidates: Vec<Tuning>) -> Option<Tuning> {
    let mut rounds = HEAT;
    loop {
        if judge.is_over() {
            return None;
        }
        let all: Vec<Tuning> = [incumbent].into_iter().chain(candidates.iter().copied()).collect();
        let times = judge.race(&all, rounds);
        let gain = |i: usize| {
            let median = |times: &Vec<Samples>| times[i + 1].speed_up_over(&times[0]).median;
            stats::geometric_mean(times.iter().map(|times| times.as_ref().map_or(1.0, median))).unwrap_or(1.0)
        };
        let mut ranked: Vec<(f64, Tuning)> = candidates.iter().enumerate().map(|(i, &t)| (gain(i), t)).collect();
        ranked.retain(|(gain, _)| *gain > 1.0);
        ranked.sort_by(|a, b| b.0.total_cmp(&a.0));
        ranked.truncate(candidates.len().div_ceil(2));
        candidates = ranked.into_iter().map(|(_, tuning)| tuning).collect();
        rounds *= 2;
        match candidates.as_slice() {
            [] => return None,
            [one] => return Some(*one),
            _ => {}
        }
    }
}

/// Other values of one coordinate: from a quarter to four times as much.
fn neighbours(tuning: &Tuning, coordinate: usize) -> Vec<Tuning> {
    const FACTORS: [f64; 8] = [0.25, 0.5, 0.71, 0.84, 1.19, 1.41, 2.0, 4.0];
    let mut values: Vec<usize> = FACTORS
        .iter()
        .map(|factor| {
            let value = (tuning.values()[coordinate] as f64 * factor).round().max(1.0) as usize;
            // Depths are whole chunks.
            if Tuning::NAMES[coordinate] == "kc" { value.next_multiple_of(kernels::CHUNK) } else { value }
        })
        .filter(|&value| value != tuning.values()[coordinate])
        .collect();
    values.dedup();
    let with = |value| {
        let mut values = tuning.values();
        values[coordinate] = value;
        Tuning::from_values(values)
    };
    values.into_iter().map(with).collect()
}

/// Blocks and depths that grow and shrink together.
fn diagonals(tuning: &Tuning) -> Vec<Tuning> {
    let scaled = |factor: f64| {
        let scale = |x: usize| (x as f64 * factor).round().max(1.0) as usize;
        Tuning { block: scale(tuning.block), kc: scale(tuning.kc).next_multiple_of(kernels::CHUNK), ..*tuning }
    };
    [0.25, 0.5, 2.0, 4.0].map(scaled).into_iter().filter(|other| other != tuning).collect()
}

/// Times products on this machine.
pub struct Clock<'a, T> {
    row: &'static Backend,
    par: &'a dyn Par,
    works: Vec<Work<T>>,
    end: Instant,
    seed: u64,
    /// Results whose bits depended on the tuning, in words: there must be none.
    pub wrong: Vec<String>,
}

/// A product and its operands.
struct Work<T> {
    shape: Shape,
    a: Vec<T>,
    b: Vec<T>,
    c: Vec<T>,
    /// The bits that every tuning must give.
    bits: Option<Vec<T>>,
    /// Calls in a sample.
    calls: u32,
}

impl<'a, T: Number> Clock<'a, T> {
    /// Products of these shapes, for so long.
    pub fn new(row: &'static Backend, par: &'a dyn Par, shapes: &[Shape], time: Duration) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(0);
        let mut numbers = |len: usize| (0..len).map(|_| rng.random_range(T::RANGE)).collect::<Vec<T>>();
        let work = |&shape: &Shape| {
            let ([m, k, n], _) = shape;
            Work { shape, a: numbers(m * k), b: numbers(k * n), c: vec![T::NAN; m * n], bits: None, calls: 1 }
        };
        let works = shapes.iter().map(work).collect();
        Self { row, par, works, end: Instant::now() + time, seed: 0, wrong: Vec::new() }
    }
}

impl<T: Number> Work<T> {
    /// How a tuning computes it, in words that are equal where the ways are.
    fn way(&self, gemm: &Gemm<'_, T>) -> String {
        let ([m, k, n], a_transposed) = self.shape;
        let way = gemm.explain_layouts(layout(m, k, a_transposed), Layout::row_major(k, n), Layout::row_major(m, n));
        way.map_or_else(|error| error.to_string(), |way| way.to_string())
    }

    fn run(&mut self, gemm: &Gemm<'_, T>) -> kernels::Result<()> {
        let ([m, k, n], a_transposed) = self.shape;
        let a = if a_transposed { MatRef::new(&self.a, k, m)?.t() } else { MatRef::new(&self.a, m, k)? };
        gemm.run(a, MatRef::new(&self.b, k, n)?, MatMut::new(black_box(&mut self.c), m, n)?)
    }

    fn time(&mut self, gemm: &Gemm<'_, T>) -> Duration {
        let begin = Instant::now();
        for _ in 0..self.calls {
            self.run(gemm).expect("this call succeeded when it was verified");
        }
        begin.elapsed()
    }

    /// Runs it once, and compares the bits with those of the first tuning.
    fn verify(&mut self, gemm: &Gemm<'_, T>) -> Result<(), Wrong> {
        self.c.fill(T::NAN);
        self.run(gemm)?;
        let Self { c, bits, .. } = self;
        same_bits(c, bits.get_or_insert_with(|| c.clone()))
    }

    /// Samples are long enough for the clock.
    fn batch(&mut self, gemm: &Gemm<'_, T>) {
        const SAMPLE: Duration = Duration::from_millis(1);
        while self.time(gemm) < SAMPLE && self.calls < 1 << 20 {
            self.calls *= 2;
        }
    }
}

impl<T: Number> Judge for Clock<'_, T> {
    fn race(&mut self, tunings: &[Tuning], rounds: usize) -> Vec<Option<Vec<Samples>>> {
        let gemms: Vec<Gemm<'_, T>> =
            tunings.iter().map(|tuning| Gemm::new().backend(self.row).par(self.par).tuning(tuning)).collect();
        let mut results = Vec::new();
        for work in &mut self.works {
            self.seed += 1;
            let ways: Vec<String> = gemms.iter().map(|gemm| work.way(gemm)).collect();
            if ways.iter().all(|way| *way == ways[0]) {
                results.push(None);
                continue;
            }
            // Who computes in the same way as one before shares its times.
            let first: Vec<usize> =
                ways.iter().map(|way| ways.iter().position(|other| other == way).unwrap_or(0)).collect();
            let mut timed: Vec<usize> = first.clone();
            timed.sort_unstable();
            timed.dedup();
            for &i in &timed {
                if let Err(wrong) = work.verify(&gemms[i]) {
                    let ([m, k, n], _) = work.shape;
                    self.wrong.push(format!("{m}x{k}x{n}, {:?}: {wrong}", tunings[i]));
                }
            }
            if work.calls == 1 {
                work.batch(&gemms[0]);
            }
            // The last is the twin of the first.
            let runs: Vec<usize> = timed.iter().copied().chain([0]).collect();
            let Ok(samples) = measure::rounds::<Infallible>(
                self.seed,
                runs.len(),
                |done| done < rounds,
                |_, who| Ok(work.time(&gemms[runs[who]]).as_secs_f64() / f64::from(work.calls)),
            );
            let of = |i: &usize| samples[timed.iter().position(|t| t == i).unwrap_or(0)].clone();
            results.push(Some(first.iter().map(of).chain(samples.last().cloned()).collect()));
        }
        results
    }

    fn is_over(&self) -> bool {
        Instant::now() >= self.end
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kernels::Serial;

    const MODEL: Tuning =
        Tuning { block: 65_536, kc: 512, pack_rows: 160, near: 65_536, pack_rows_far: 24, thread_work: 2_000_000 };

    /// A machine whose times follow a formula, with noise.
    struct Formula {
        time: fn(&Tuning, usize) -> f64,
        rng: ChaCha8Rng,
        races: usize,
    }

    impl Judge for Formula {
        fn race(&mut self, tunings: &[Tuning], rounds: usize) -> Vec<Option<Vec<Samples>>> {
            self.races = self.races.saturating_sub(1);
            let Self { time, rng, .. } = self;
            let shape = |shape: usize| {
                let mut samples = |tuning: &Tuning| {
                    Samples((0..rounds).map(|_| time(tuning, shape) * rng.random_range(1.0..1.05)).collect())
                };
                Some(tunings.iter().chain([&tunings[0]]).map(&mut samples).collect())
            };
            (0..6).map(shape).collect()
        }
        fn is_over(&self) -> bool {
            self.races == 0
        }
    }

    fn run(time: fn(&Tuning, usize) -> f64, start: Tuning, seed: u64) -> Found {
        let mut judge = Formula { time, rng: ChaCha8Rng::seed_from_u64(seed), races: 80 };
        search(&mut judge, start, false, seed, &mut |_| {})
    }

    /// Distance in powers of two.
    fn off(value: usize, best: usize) -> f64 {
        (value as f64 / best as f64).log2().abs()
    }

    /// Best at the model's point; block and depth interact.
    fn bowl(tuning: &Tuning, _: usize) -> f64 {
        let (block, kc) = (off(tuning.block, MODEL.block), off(tuning.kc, MODEL.kc));
        1.0 + 0.04 * block + 0.03 * kc + 0.02 * (block - kc).abs() + 0.02 * off(tuning.pack_rows, 160)
    }

    #[test]
    fn spoiled_values_find_their_way_back() {
        let spoiled = Tuning { block: MODEL.block / 4, kc: 256, pack_rows: 40, ..MODEL };
        for seed in 0..8 {
            let found = run(bowl, spoiled, seed);
            assert!(bowl(&found.tuning, 0) < 1.03 * bowl(&MODEL, 0), "{found:?}");
            assert!(!found.steps.is_empty() && found.tried > 10);
        }
    }

    #[test]
    fn where_nothing_matters_nothing_changes() {
        let moved = (0..20).filter(|&seed| run(|_, _| 1.0, MODEL, seed).tuning != MODEL).count();
        assert!(moved <= 1, "{moved} of 20");
    }

    #[test]
    fn no_shape_is_given_up_for_the_others() {
        // Larger blocks make five shapes faster and one much slower.
        let time = |tuning: &Tuning, shape: usize| match (tuning.block > MODEL.block, shape) {
            (true, 0) => 1.1,
            (true, _) => 0.9,
            _ => 1.0,
        };
        let found = run(time, MODEL, 0);
        assert!(found.tuning.block <= MODEL.block, "{found:?}");
        let mut judge = Formula { time, rng: ChaCha8Rng::seed_from_u64(1), races: 9 };
        let outcome = compare(&mut judge, Tuning { block: 2 * MODEL.block, ..MODEL }, MODEL, 20);
        assert_eq!(outcome.verdict, Verdict::Faster);
        assert!(outcome.loses_somewhere());
    }

    #[test]
    fn ways_that_are_equal_are_not_timed() {
        let row = Backend::active().unwrap();
        let mut clock = Clock::<f32>::new(row, &Serial, &[([4, 8, 8], false), ([200, 300, 70], true)], Duration::ZERO);
        let model = row.model::<f32>();
        let results = clock.race(&[model, Tuning { near: 1, pack_rows: 1, ..model }, model], 2);
        assert!(results[0].is_none(), "a small product has nothing to tune");
        let times = results[1].as_ref().unwrap();
        assert_eq!(times.len(), 4, "three and a twin");
        assert_eq!(times[0].0, times[2].0, "equal ways share their times");
        assert_ne!(times[0].0, times[3].0, "a twin does not");
        assert!(clock.wrong.is_empty() && clock.is_over());
    }
}
