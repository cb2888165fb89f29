//! What is compared: pieces of work that every contender does on the same input, with a known true result.

use crate::contender::Contender;
use crate::measure::{self, Plan, Samples, Timed};
use crate::number::{NaiveProduct, Number};
use crate::peak;
use crate::verify::{self, Accuracy, Oracle, Wrong, same_bits};
use kernels::{Backend, MatMut, MatRef, Par, Serial, Team};
use peers::Factor;
use rand::distr::uniform::SampleUniform;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::fmt;
use std::hint::black_box;
use std::time::{Duration, Instant};

/// One computation of a contender, from the case's input to the slice.
pub type Call<'a, T = f32> = Box<dyn FnMut(&mut [T]) -> kernels::Result<()> + 'a>;

/// A piece of work.
pub trait Case<T = f32>: fmt::Display {
    /// Operations of one call, the numerator of a speed.
    fn operations(&self) -> f64;
    /// The true result.
    fn oracle(&self) -> &Oracle;
    /// What the output holds before a call.
    fn start(&self) -> Start<'_, T>;
    /// How this contender does the work; `None` where it has nothing for it, then it does not take part.
    fn call(&self, who: Contender) -> Option<Call<'_, T>>;
}

/// What the output of a call holds before it.
#[derive(Clone, Copy)]
pub enum Start<'a, T = f32> {
    /// So many numbers that the call must not read (they are NaN).
    Unread(usize),
    /// The input, that the call overwrites.
    Input(&'a [T]),
}

/// What came out of a comparison.
#[derive(Default)]
pub struct Comparison {
    /// Those whose result was right, in the order they were named.
    pub measured: Vec<Measured>,
    /// Those whose result was wrong; they were not timed.
    pub wrong: Vec<(Contender, Wrong)>,
    /// For each row whose speed limit was sampled: seconds that a call would take at this limit.
    pub limits: Vec<(&'static Backend, Samples)>,
}

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
/// these rows.
pub fn compete<T: Number>(
    case: &dyn Case<T>,
    contenders: &[Contender],
    limits: &[&'static Backend],
    plan: &Plan,
) -> Comparison {
    let mut comparison = Comparison::default();
    let mut timed: Vec<Timed<'_>> = Vec::new();
    let mut bits = None;
    for &who in contenders {
        let Some(mut entrant) = Entrant::new(case, who) else { continue };
        match entrant.verify(case.oracle(), &mut bits) {
            Ok(accuracy) => {
                comparison.measured.push(Measured { who, accuracy, samples: Samples(Vec::new()) });
                timed.push(Box::new(move |calls| entrant.time(calls)));
            }
            Err(wrong) => comparison.wrong.push((who, wrong)),
        }
    }
    let mut calls_per_run = Vec::new();
    for row in limits {
        let (run, operations) = peak::timed(row);
        timed.push(run);
        // A vector holds fewer numbers that are larger.
        calls_per_run.push(operations * (size_of::<f32>() as f64 / size_of::<T>() as f64) / case.operations());
    }
    let mut samples = measure::interleaved(plan, &mut timed).into_iter();
    for (measured, samples) in comparison.measured.iter_mut().zip(&mut samples) {
        measured.samples = samples;
    }
    for ((row, calls), Samples(seconds)) in limits.iter().zip(calls_per_run).zip(samples) {
        comparison.limits.push((row, Samples(seconds.into_iter().map(|seconds| seconds / calls).collect())));
    }
    comparison
}

/// A contender at work on a case.
struct Entrant<'a, T> {
    who: Contender,
    start: Start<'a, T>,
    call: Call<'a, T>,
    output: Vec<T>,
}

impl<'a, T: Number> Entrant<'a, T> {
    fn new(case: &'a dyn Case<T>, who: Contender) -> Option<Self> {
        let call = case.call(who)?;
        let start = case.start();
        let output = match start {
            Start::Unread(len) => vec![T::NAN; len],
            Start::Input(input) => input.to_vec(),
        };
        Some(Self { who, start, call, output })
    }

    /// The error of the first call; `bits` is the result of the first contender whose bits others must match.
    fn verify(&mut self, oracle: &Oracle, bits: &mut Option<Vec<T>>) -> Result<Accuracy, Wrong> {
        (self.call)(&mut self.output)?;
        let accuracy = oracle.judge(&self.output)?;
        if self.who.bits_match() {
            same_bits(&self.output, bits.get_or_insert_with(|| self.output.clone()))?;
        }
        Ok(accuracy)
    }

    /// Putting the input back between calls is not part of the work.
    fn time(&mut self, calls: u32) -> Duration {
        match self.start {
            Start::Unread(_) => self.time_without_pause(calls),
            Start::Input(input) => (0..calls)
                .map(|_| {
                    self.output.copy_from_slice(input);
                    self.time_without_pause(1)
                })
                .sum(),
        }
    }

    fn time_without_pause(&mut self, calls: u32) -> Duration {
        let begin = Instant::now();
        for _ in 0..calls {
            (self.call)(black_box(&mut self.output)).expect("this call succeeded when it was verified");
        }
        begin.elapsed()
    }
}

/// Numbers uniform in the range, the same on every machine.
fn uniform<T: SampleUniform + PartialOrd + Clone>(len: usize, range: std::ops::Range<T>, seed: u64) -> Vec<T> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    (0..len).map(|_| rng.random_range(range.clone())).collect()
}

/// C = A B, with dense row-major matrices.
pub struct Product<T = f32> {
    m: usize,
    k: usize,
    n: usize,
    /// Whether A, and B, are stored as their transposes; the weight gradient of a layer finds A so.
    transposed: [bool; 2],
    a: Vec<T>,
    b: Vec<T>,
    oracle: Oracle,
}

impl<T: Number> Product<T> {
    /// A product of an `m` x `k` and a `k` x `n` matrix of numbers in [-1, 1).
    ///
    /// # Panics
    /// When a size is 0.
    pub fn new(m: usize, k: usize, n: usize) -> Self {
        Self::stored(m, k, n, [false, false])
    }

    /// As [`Product::new`], but A is stored transposed.
    pub fn with_a_transposed(m: usize, k: usize, n: usize) -> Self {
        Self::stored(m, k, n, [true, false])
    }

    /// As [`Product::new`]; says of A and of B whether it is stored transposed.
    pub fn stored(m: usize, k: usize, n: usize, transposed: [bool; 2]) -> Self {
        let (a, b) = (uniform(m * k, T::RANGE, 1), uniform(k * n, T::RANGE, 2));
        let (exact, magnitude) = verify::exact_product(view(&a, m, k, transposed[0]), view(&b, k, n, transposed[1]));
        let oracle = Oracle::product::<T>(exact, magnitude, k);
        Self { m, k, n, transposed, a, b, oracle }
    }

    /// Naive loops want row-major operands; transposing one is part of their work.
    fn naive(&self, product: NaiveProduct<T>) -> Call<'_, T> {
        let Self { m, k, n, transposed: [a_transposed, b_transposed], .. } = *self;
        let (mut a, mut b) = (self.a.clone(), self.b.clone());
        Box::new(move |c| {
            if a_transposed {
                transpose(&self.a, m, &mut a);
            }
            if b_transposed {
                transpose(&self.b, k, &mut b);
            }
            product(m, k, n, &a, (k, 1), &b, c);
            Ok(())
        })
    }

    fn kernels<'a>(&'a self, backend: &'static Backend, par: impl Par + 'a) -> Call<'a, T> {
        Box::new(move |c| {
            let a = view(&self.a, self.m, self.k, self.transposed[0]);
            let b = view(&self.b, self.k, self.n, self.transposed[1]);
            kernels::Gemm::new().backend(backend).par(&par).run(a, b, MatMut::new(c, self.m, self.n)?)
        })
    }
}

/// The `rows` x `cols` matrix in a slice that may hold its transpose.
fn view<T>(x: &[T], rows: usize, cols: usize, transposed: bool) -> MatRef<'_, T> {
    let stored = |rows, cols| MatRef::new(x, rows, cols).expect("the case made it of this size");
    if transposed { stored(cols, rows).t() } else { stored(rows, cols) }
}

/// Writes the transpose of a matrix with `cols` columns.
fn transpose<T: Copy>(from: &[T], cols: usize, to: &mut [T]) {
    let rows = from.len() / cols;
    for (i, row) in to.chunks_exact_mut(rows).enumerate() {
        for (p, x) in row.iter_mut().enumerate() {
            *x = from[p * cols + i];
        }
    }
}

impl<T> fmt::Display for Product<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b] = self.transposed;
        let (a, b) = (if a { "A'" } else { "" }, if b { "B'" } else { "" });
        write!(f, "{}x{}x{}{a}{b}", self.m, self.k, self.n)
    }
}

impl<T: Number> Case<T> for Product<T> {
    fn operations(&self) -> f64 {
        2.0 * self.m as f64 * self.k as f64 * self.n as f64
    }

    fn oracle(&self) -> &Oracle {
        &self.oracle
    }

    fn start(&self) -> Start<'_, T> {
        Start::Unread(self.m * self.n)
    }

    fn call(&self, who: Contender) -> Option<Call<'_, T>> {
        Some(match who {
            Contender::NaiveLoop | Contender::NaiveIjk => self.naive(T::NAIVE?[0]),
            Contender::NaiveIkj => self.naive(T::NAIVE?[1]),
            Contender::Row(backend) => self.kernels(backend, Serial),
            Contender::Team(backend, threads) => self.kernels(backend, Team::new(threads)),
            Contender::Peer(peer, threads) => Box::new(move |c| {
                let a = Factor { data: &self.a, transposed: self.transposed[0] };
                let b = Factor { data: &self.b, transposed: self.transposed[1] };
                T::multiply(peer, peers::Product::new([self.m, self.k, self.n], a, b, c, threads));
                Ok(())
            }),
        })
    }
}

/// Which function an [`Activation`] computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Function {
    /// max(x, 0).
    Relu,
    /// e^x.
    Exp,
    /// e^x over the sum of e^x along the row.
    Softmax,
}

/// A function of each number, or of each row, of a matrix; in place.
pub struct Activation {
    function: Function,
    rows: usize,
    cols: usize,
    input: Vec<f32>,
    oracle: Oracle,
}

impl Activation {
    /// `function` of a `rows` x `cols` matrix.
    pub fn new(function: Function, rows: usize, cols: usize) -> Self {
        let range = match function {
            Function::Relu => -1.0..1.0,
            // All that has a normal, finite result.
            Function::Exp => -87.0..88.0,
            Function::Softmax => -10.0..10.0,
        };
        let input = uniform(rows * cols, range, 3);
        let x: Vec<f64> = input.iter().map(|&x| f64::from(x)).collect();
        let oracle = match function {
            Function::Relu => Oracle::function(x.iter().map(|x| x.max(0.0)).collect(), 0.0),
            Function::Exp => {
                Oracle::function(x.iter().map(|x| x.exp()).collect(), kernels::Function::Exp.plain_bound())
            }
            Function::Softmax => {
                let softmax = |row: &[f64]| {
                    let e: Vec<f64> = row.iter().map(|x| x.exp()).collect();
                    let sum: f64 = e.iter().sum();
                    e.into_iter().map(move |e| e / sum)
                };
                // Plain f32 code errs, in units of 2^-24 (an ULP or half of one), by the rounding of x - max (at most
                // 20) and by 2 in e^x, above and below the fraction, by 1 per addend and by 1 in the division.
                let bound = 2.0 * (20.0 + 2.0) + cols as f64 + 1.0;
                Oracle::function(x.chunks(cols).flat_map(softmax).collect(), bound)
            }
        };
        Self { function, rows, cols, input, oracle }
    }
}

impl fmt::Display for Activation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.function {
            Function::Relu => write!(f, "relu {}", self.rows * self.cols),
            Function::Exp => write!(f, "exp {}", self.rows * self.cols),
            Function::Softmax => write!(f, "softmax {}x{}", self.rows, self.cols),
        }
    }
}

impl Case for Activation {
    fn operations(&self) -> f64 {
        self.input.len() as f64
    }

    fn oracle(&self) -> &Oracle {
        &self.oracle
    }

    fn start(&self) -> Start<'_> {
        Start::Input(&self.input)
    }

    fn call(&self, who: Contender) -> Option<Call<'_>> {
        let Self { function, rows, cols, .. } = *self;
        match who {
            Contender::NaiveLoop | Contender::NaiveIjk | Contender::NaiveIkj => Some(Box::new(move |x| {
                match function {
                    Function::Relu => x.iter_mut().for_each(|x| *x = x.max(0.0)),
                    Function::Exp => x.iter_mut().for_each(|x| *x = x.exp()),
                    Function::Softmax => x.chunks_exact_mut(cols).for_each(naive_softmax),
                }
                Ok(())
            })),
            Contender::Row(backend) => Some(Box::new(move |x| {
                match function {
                    Function::Relu => backend.relu(x),
                    Function::Exp => backend.exp(x),
                    Function::Softmax => backend.softmax(MatMut::new(x, rows, cols)?),
                }
                Ok(())
            })),
            Contender::Team(..) | Contender::Peer(..) => None,
        }
    }
}

/// Softmax of a row as a user would write it.
fn naive_softmax(row: &mut [f32]) {
    let max = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let mut sum = 0.0;
    for x in row.iter_mut() {
        *x = (*x - max).exp();
        sum += *x;
    }
    for x in row {
        *x /= sum;
    }
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
        let case = Ones { oracle: Oracle::function(vec![1.0; 2], 2.0), naive, rows: rows.to_vec() };
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
                    let absent = if T::NAIVE.is_none() { 2 } else { 0 };
                    assert_eq!(comparison.measured.len(), all.len() - absent);
                }
            }
        }
        products::<f32>(&plan);
        products::<f64>(&plan);
        for function in [Function::Relu, Function::Exp, Function::Softmax] {
            let case = Activation::new(function, 7, 13);
            let wrong = compete(&case, &Contender::for_activation(), &[], &plan).wrong;
            assert!(wrong.is_empty(), "{case}: {} {}", wrong[0].0, wrong[0].1);
        }
    }
}
