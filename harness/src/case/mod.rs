//! What is compared: pieces of work that every contender does on the same input, with a known true result.

mod function;
mod product;

pub use function::{Function, Functions, by_name};
pub use product::{Product, layout};

use crate::contender::Contender;
use crate::measure::{self, Plan, Samples, Timed};
use crate::number::Number;
use crate::peak;
use crate::stats::{self, Estimate};
use crate::verify::{Accuracy, Oracle, Wrong, same_bits};
use kernels::Backend;
use rand::distr::uniform::SampleUniform;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::Serialize;
use std::cell::RefCell;
use std::fmt;
use std::hint::black_box;
use std::iter::zip;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// One computation of a contender, from the case's input to the slice.
pub type Call<'a, T = f32> = Box<dyn FnMut(&mut [T]) -> kernels::Result<()> + 'a>;

/// A piece of work.
pub trait Case<T = f32>: fmt::Display {
    /// Operations of one call, the numerator of a speed.
    fn operations(&self) -> f64;
    /// Bytes that a call reads and writes at least, each once.
    fn bytes(&self) -> f64;
    /// What an operation is.
    fn operation(&self) -> Operation;
    /// The true result.
    fn oracle(&self) -> &Oracle;
    /// The most units of the oracle that this contender's result may be off.
    fn bound(&self, who: Contender) -> f64;
    /// What the output holds before a call.
    fn start(&self) -> Start<'_, T>;
    /// How this contender does the work; `None` where it has nothing for it, then it does not take part.
    fn call(&self, who: Contender) -> Option<Call<'_, T>>;
}

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Operation {
    /// A floating-point addition or multiplication.
    #[serde(rename = "FLOP")]
    Flop,
    /// A number to which a function is applied.
    #[serde(rename = "element")]
    Element,
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Flop => "FLOP",
            Self::Element => "element",
        })
    }
}

/// What the output of a call holds before it.
#[derive(Clone, Copy)]
pub enum Start<'a, T = f32> {
    /// So many numbers that the call must not read (they are NaN).
    Unread(usize),
    /// The input, that the call overwrites.
    Input(&'a [T]),
}

impl<T> Start<'_, T> {
    /// Numbers of the output.
    fn len(&self) -> usize {
        match self {
            Self::Unread(len) => *len,
            Self::Input(input) => input.len(),
        }
    }
}

/// What came out of a comparison.
pub struct Comparison {
    /// Those whose result was right, in the order they were named.
    pub measured: Vec<Measured>,
    /// Those whose result was wrong; they were not timed.
    pub wrong: Vec<(Contender, Wrong)>,
    /// For each row whose speed limit was sampled: seconds that a call would take at this limit.
    pub limits: Vec<(&'static Backend, Samples)>,
    /// Rounds that were left away because something else was at work on the core.
    pub disturbed: usize,
    /// Times of the twin of [`compete`], and whose twin it is.
    twin: Option<(usize, Samples)>,
    /// Times of a loop in registers, which waits for nothing but the core.
    beat: Samples,
}

/// How far the beat may be from its best tenth. Alone on a core it moves by half a percent; what runs on the second
/// thread of a core slows it by a tenth and more, and some contenders more than others.
const QUIET: f64 = 0.03;

/// A contender that passed the check, and its times.
pub struct Measured {
    /// Who it is.
    pub who: Contender,
    /// The error of its result.
    pub accuracy: Accuracy,
    /// Seconds per call.
    pub samples: Samples,
}

/// Verifies the result of every contender, then times those whose result is right, and with them the speed limits of
/// these rows, and a twin of one contender, the first row if there is one: the same code, to see how much chance does.
/// Rounds in which the core was not this program's own are left away.
pub fn compete<T: Number>(
    case: &dyn Case<T>,
    contenders: &[Contender],
    limits: &[&'static Backend],
    plan: &Plan,
) -> Comparison {
    let (mut measured, mut wrong): (Vec<Measured>, Vec<_>) = (Vec::new(), Vec::new());
    let mut timed: Vec<Timed<'_>> = Vec::new();
    let mut bits = None;
    let output = Rc::new(RefCell::new(vec![T::NAN; case.start().len()]));
    for &who in contenders {
        let Some(mut entrant) = Entrant::new(case, who, &output) else { continue };
        match entrant.verify(case, &mut bits) {
            Ok(accuracy) => {
                measured.push(Measured { who, accuracy, samples: Samples(Vec::new()) });
                timed.push(Box::new(move |calls| entrant.time(calls)));
            }
            Err(error) => wrong.push((who, error)),
        }
    }
    let twin = measured.iter().position(|entry| entry.who.is_row()).unwrap_or(0);
    if let Some(mut entrant) = measured.get(twin).and_then(|entry| Entrant::new(case, entry.who, &output)) {
        timed.push(Box::new(move |calls| entrant.time(calls)));
    }
    let mut calls_per_run = Vec::new();
    for row in limits {
        let (run, operations) = peak::timed(row);
        timed.push(run);
        // A vector holds fewer numbers that are larger.
        calls_per_run.push(operations * (size_of::<f32>() as f64 / size_of::<T>() as f64) / case.operations());
    }
    // The loop of the plainest row: wide vectors would lower the clock for those who come next.
    if let Some(row) = Backend::supported().last() {
        timed.push(peak::timed(row).0);
    }
    let mut samples = measure::interleaved(plan, &mut timed).into_iter();
    drop(timed);
    for (measured, samples) in measured.iter_mut().zip(&mut samples) {
        measured.samples = samples;
    }
    let twin = if measured.is_empty() { None } else { samples.next().map(|samples| (twin, samples)) };
    let at_limit =
        |(Samples(seconds), calls): (Samples, f64)| Samples(seconds.into_iter().map(|s| s / calls).collect());
    let limits = limits.iter().copied().zip(samples.by_ref().zip(calls_per_run).map(at_limit)).collect();
    let beat = samples.next().unwrap_or(Samples(Vec::new()));
    let mut comparison = Comparison { measured, wrong, limits, disturbed: 0, twin, beat };
    comparison.leave_disturbed();
    comparison
}

/// Times one contender, whose results were right before, on several cases, which take turns; nothing where it has
/// nothing for one of them.
pub fn alternate<T: Number, C: Case<T>>(cases: &[C], who: Contender, plan: &Plan) -> Vec<Samples> {
    let timed: Option<Vec<Timed<'_>>> = cases
        .iter()
        .map(|case| {
            let output = Rc::new(RefCell::new(vec![T::NAN; case.start().len()]));
            let mut entrant = Entrant::new(case, who, &output)?;
            Some(Box::new(move |calls| entrant.time(calls)) as Timed<'_>)
        })
        .collect();
    timed.map_or(Vec::new(), |mut timed| measure::interleaved(plan, &mut timed))
}

impl Comparison {
    /// How far, as a factor's logarithm, two runs of the same code came apart: see [`stats::noise_floor`].
    pub fn noise_floor(&self) -> f64 {
        let floor = |(of, twin): &(usize, Samples)| stats::noise_floor(&self.measured[*of].samples.speed_up_over(twin));
        self.twin.as_ref().map_or(0.0, floor)
    }

    /// Takes in more rounds of the same case with the same contenders and limits.
    ///
    /// # Panics
    /// When others were right this time: a result that comes and goes is a fault of the program.
    pub fn join(&mut self, more: Self) {
        let who = |measured: &[Measured]| measured.iter().map(|entry| entry.who.to_string()).collect::<Vec<_>>();
        assert_eq!(who(&self.measured), who(&more.measured), "the contenders whose results are right");
        self.disturbed += more.disturbed;
        let (limits, beat) = (more.limits.into_iter().map(|limit| limit.1), more.beat);
        let more = more.measured.into_iter().map(|entry| entry.samples).chain(more.twin.map(|twin| twin.1));
        zip(self.samples(), more.chain(limits).chain([beat])).for_each(|(mine, more)| mine.0.extend(more.0));
        self.leave_disturbed();
    }

    /// All that was sampled in each round.
    fn samples(&mut self) -> impl Iterator<Item = &mut Samples> {
        let measured = self.measured.iter_mut().map(|entry| &mut entry.samples);
        let others =
            self.twin.iter_mut().map(|twin| &mut twin.1).chain(self.limits.iter_mut().map(|limit| &mut limit.1));
        measured.chain(others).chain([&mut self.beat])
    }

    /// Keeps the rounds in which the core was this program's own, as far as the beat tells.
    fn leave_disturbed(&mut self) {
        let quiet = self.beat.near_best(QUIET);
        self.disturbed += quiet.iter().filter(|quiet| !**quiet).count();
        self.samples().for_each(|samples| samples.keep(&quiet));
    }

    /// Share of the speed limit that a row reaches, if its limit was sampled; a team's limit is that of so many cores.
    pub fn share_of_limit(&self, entry: &Measured) -> Option<Estimate> {
        let row = entry.who.backend()?;
        let (_, limit) = self.limits.iter().find(|(limited, _)| limited.name() == row.name())?;
        Some(entry.samples.speed_up_over(limit).scaled(1.0 / entry.who.threads() as f64))
    }
}

/// Where all contenders of a case write, in turn: places of their own would make some of them faster, as chance has it
/// with the pages of memory.
type Output<T> = Rc<RefCell<Vec<T>>>;

/// A contender at work on a case.
struct Entrant<'a, T> {
    who: Contender,
    start: Start<'a, T>,
    call: Call<'a, T>,
    output: Output<T>,
}

impl<'a, T: Number> Entrant<'a, T> {
    fn new(case: &'a dyn Case<T>, who: Contender, output: &Output<T>) -> Option<Self> {
        Some(Self { who, start: case.start(), call: case.call(who)?, output: Rc::clone(output) })
    }

    /// The error of the first call; `bits` is the result of the first contender whose bits others must match.
    fn verify(&mut self, case: &dyn Case<T>, bits: &mut Option<Vec<T>>) -> Result<Accuracy, Wrong> {
        let output = &mut *self.output.borrow_mut();
        match self.start {
            Start::Unread(_) => output.fill(T::NAN),
            Start::Input(input) => output.copy_from_slice(input),
        }
        (self.call)(output)?;
        let accuracy = case.oracle().judge(output, case.bound(self.who))?;
        if self.who.bits_match() {
            same_bits(output, bits.get_or_insert_with(|| output.clone()))?;
        }
        Ok(accuracy)
    }

    /// Putting the input back between calls is not part of the work.
    fn time(&mut self, calls: u32) -> Duration {
        match self.start {
            Start::Unread(_) => self.time_without_pause(calls),
            Start::Input(input) => (0..calls)
                .map(|_| {
                    self.output.borrow_mut().copy_from_slice(input);
                    self.time_without_pause(1)
                })
                .sum(),
        }
    }

    fn time_without_pause(&mut self, calls: u32) -> Duration {
        let output = &mut *self.output.borrow_mut();
        let begin = Instant::now();
        for _ in 0..calls {
            (self.call)(black_box(&mut *output)).expect("this call succeeded when it was verified");
        }
        begin.elapsed()
    }
}

/// Numbers uniform in the range, the same on every machine.
fn uniform<T: SampleUniform + PartialOrd + Clone>(len: usize, range: std::ops::Range<T>, seed: u64) -> Vec<T> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    (0..len).map(|_| rng.random_range(range.clone())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two numbers that must be 1; what each contender writes is given.
    struct Ones {
        oracle: Oracle,
        naive: f32,
        rows: Vec<f32>,
    }

    impl fmt::Display for Ones {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("ones")
        }
    }

    impl Case for Ones {
        fn operations(&self) -> f64 {
            1.0
        }
        fn bytes(&self) -> f64 {
            8.0
        }
        fn operation(&self) -> Operation {
            Operation::Element
        }
        fn bound(&self, _: Contender) -> f64 {
            2.0
        }
        fn oracle(&self) -> &Oracle {
            &self.oracle
        }
        fn start(&self) -> Start<'_> {
            Start::Unread(2)
        }
        fn call(&self, who: Contender) -> Option<Call<'_>> {
            let at = matching_rows().iter().position(|row| *row == who);
            let value = at.map_or(self.naive, |at| self.rows[at % self.rows.len()]);
            Some(Box::new(move |x| {
                x[0] = value;
                if value != 0.0 {
                    x[1] = 1.0;
                }
                Ok(())
            }))
        }
    }

    fn matching_rows() -> Vec<Contender> {
        Backend::supported().map(Contender::Row).filter(Contender::bits_match).collect()
    }

    fn ones(naive: f32, rows: &[f32]) -> Comparison {
        let case = Ones { oracle: Oracle::function(vec![1.0; 2]), naive, rows: rows.to_vec() };
        let all: Vec<Contender> = [Contender::NaiveLoop].into_iter().chain(matching_rows()).collect();
        compete(&case, &all, &[], &Plan { min_rounds: 1, ..Plan::lasting(Duration::ZERO) })
    }

    #[test]
    fn all_that_are_right_are_timed() {
        let comparison = ones(1.0 + f32::EPSILON, &[1.0]);
        assert_eq!(comparison.measured.len(), 1 + matching_rows().len());
        assert!(comparison.wrong.is_empty());
        assert!(comparison.measured.iter().all(|entry| entry.samples.0.len() == 1));
    }

    #[test]
    fn rounds_are_joined_and_disturbed_ones_left_away() {
        let [mut comparison, more, slow] = [1.0, 1.01, 1.2].map(|beat| {
            let mut comparison = ones(1.0, &[1.0]);
            comparison.beat = Samples(vec![beat]);
            comparison
        });
        let of = |comparison: &Comparison| comparison.measured[0].samples.0.clone();
        let all = [of(&comparison), of(&more)].concat();
        comparison.join(slow);
        comparison.join(more);
        assert_eq!(of(&comparison), all);
        assert_eq!(comparison.disturbed, 1);
        assert_eq!(comparison.beat.0, [1.0, 1.01]);
        assert!(comparison.measured.iter().all(|entry| entry.samples.0.len() == 2));
        assert_eq!(comparison.twin.map(|(_, samples)| samples.0.len()), Some(2));
    }

    #[test]
    fn who_is_too_far_off_or_writes_too_little_is_not_timed() {
        for wrong in [1.001, f32::NAN, 0.0] {
            let comparison = ones(wrong, &[1.0]);
            assert_eq!(comparison.measured.len(), matching_rows().len());
            assert!(matches!(comparison.wrong[..], [(Contender::NaiveLoop, Wrong::Value { .. })]));
        }
    }

    #[test]
    fn rows_with_other_bits_are_wrong_even_within_the_bound() {
        let comparison = ones(1.0, &[1.0, 1.0 + f32::EPSILON]);
        assert_eq!(comparison.wrong.len(), matching_rows().len() / 2);
        assert!(comparison.wrong.iter().all(|(_, wrong)| matches!(wrong, Wrong::Bits { index: 0, .. })));
    }

    #[test]
    fn the_cases_accept_what_they_compare() {
        let plan = Plan { min_rounds: 1, min_sample: Duration::ZERO, ..Plan::lasting(Duration::ZERO) };
        fn products<T: Number>(plan: &Plan) {
            let team = Contender::Team(Backend::active().unwrap(), 2);
            let all: Vec<Contender> = Contender::for_gemm().into_iter().chain([team]).collect();
            for (m, k, n) in [(5, 7, 3), (9, 300, 4), (2, 1, 1)] {
                for transposed in [[false, false], [true, false], [false, true], [true, true]] {
                    let case = Product::<T>::stored(m, k, n, transposed);
                    let comparison = compete(&case, &all, &[], plan);
                    assert!(comparison.wrong.is_empty(), "{case}: {} {}", comparison.wrong[0].0, comparison.wrong[0].1);
                    let absent = if T::NAIVE.is_none() { 3 } else { 0 };
                    assert_eq!(comparison.measured.len(), all.len() - absent);
                }
            }
        }
        products::<f32>(&plan);
        products::<f64>(&plan);
        let functions = kernels::Function::ALL.map(Functions::Each).into_iter().chain([Functions::Softmax]);
        for functions in functions {
            let case = Function::new(functions, 7, 13);
            let comparison = compete(&case, &Contender::for_function(), &[], &plan);
            let wrong = &comparison.wrong;
            assert!(wrong.is_empty(), "{case}: {} {}", wrong[0].0, wrong[0].1);
            assert_eq!(comparison.measured.len(), Contender::for_function().len());
            let naive = &comparison.measured[0];
            let Accuracy { absolute, scaled, .. } = naive.accuracy;
            assert!(absolute < 1e-5 || scaled < 100.0, "{case}: the naive loop is another function");
        }
    }
}
