//! What is compared: pieces of work that every contender does on the same input, with a known true result.

use crate::contender::Contender;
use crate::measure::{self, Plan, Samples, Timed};
use crate::verify::{Accuracy, Oracle, Wrong, same_bits};
use kernels::{MatMut, MatRef, reference};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::fmt;
use std::hint::black_box;
use std::time::{Duration, Instant};

/// One computation of a contender, from the case's input to the slice.
pub type Call<'a> = Box<dyn FnMut(&mut [f32]) -> kernels::Result<()> + 'a>;

/// A piece of work.
pub trait Case: fmt::Display {
    /// Operations of one call, the numerator of a speed.
    fn operations(&self) -> f64;
    /// The true result.
    fn oracle(&self) -> &Oracle;
    /// What the output holds before a call.
    fn start(&self) -> Start<'_>;
    /// How this contender does the work.
    fn call(&self, who: Contender) -> Call<'_>;
}

/// What the output of a call holds before it.
#[derive(Clone, Copy)]
pub enum Start<'a> {
    /// So many numbers that the call must not read (they are NaN).
    Unread(usize),
    /// The input, that the call overwrites.
    Input(&'a [f32]),
}

/// What came out of a comparison.
#[derive(Default)]
pub struct Comparison {
    /// Those whose result was right, in the order they were named.
    pub measured: Vec<Measured>,
    /// Those whose result was wrong; they were not timed.
    pub wrong: Vec<(Contender, Wrong)>,
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

/// Verifies the result of every contender, then times those whose result is right.
pub fn compete(case: &dyn Case, contenders: &[Contender], plan: &Plan) -> Comparison {
    let mut comparison = Comparison::default();
    let mut timed: Vec<Timed<'_>> = Vec::new();
    let mut bits = None;
    for &who in contenders {
        let mut entrant = Entrant::new(case, who);
        match entrant.verify(case.oracle(), &mut bits) {
            Ok(accuracy) => {
                comparison.measured.push(Measured { who, accuracy, samples: Samples(Vec::new()) });
                timed.push(Box::new(move |calls| entrant.time(calls)));
            }
            Err(wrong) => comparison.wrong.push((who, wrong)),
        }
    }
    for (measured, samples) in comparison.measured.iter_mut().zip(measure::interleaved(plan, &mut timed)) {
        measured.samples = samples;
    }
    comparison
}

/// A contender at work on a case.
struct Entrant<'a> {
    who: Contender,
    start: Start<'a>,
    call: Call<'a>,
    output: Vec<f32>,
}

impl<'a> Entrant<'a> {
    fn new(case: &'a dyn Case, who: Contender) -> Self {
        let start = case.start();
        let output = match start {
            Start::Unread(len) => vec![f32::NAN; len],
            Start::Input(input) => input.to_vec(),
        };
        Self { who, start, call: case.call(who), output }
    }

    /// The error of the first call; `bits` is the result of the first contender whose bits others must match.
    fn verify(&mut self, oracle: &Oracle, bits: &mut Option<Vec<f32>>) -> Result<Accuracy, Wrong> {
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
fn uniform(len: usize, range: std::ops::Range<f32>, seed: u64) -> Vec<f32> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    (0..len).map(|_| rng.random_range(range.clone())).collect()
}

/// C = A B, with dense row-major matrices.
pub struct Product {
    m: usize,
    k: usize,
    n: usize,
    /// A is stored as its k x m transpose, as the weight gradient of a layer finds it.
    transposed: bool,
    a: Vec<f32>,
    b: Vec<f32>,
    oracle: Oracle,
}

impl Product {
    /// A product of an `m` x `k` and a `k` x `n` matrix of numbers in [-1, 1).
    pub fn new(m: usize, k: usize, n: usize) -> Self {
        Self::with_layout(m, k, n, false)
    }

    /// As [`Product::new`], but A is stored transposed.
    pub fn with_a_transposed(m: usize, k: usize, n: usize) -> Self {
        Self::with_layout(m, k, n, true)
    }

    fn with_layout(m: usize, k: usize, n: usize, transposed: bool) -> Self {
        let (a, b) = (uniform(m * k, -1.0..1.0, 1), uniform(k * n, -1.0..1.0, 2));
        let (exact, magnitude) = reference::gemm_f64(view_a(&a, m, k, transposed), view(&b, k, n));
        let oracle = Oracle::product(exact, magnitude, k);
        Self { m, k, n, transposed, a, b, oracle }
    }
}

fn view(x: &[f32], rows: usize, cols: usize) -> MatRef<'_, f32> {
    MatRef::new(x, rows, cols).expect("the case made it of this size")
}

fn view_a(a: &[f32], m: usize, k: usize, transposed: bool) -> MatRef<'_, f32> {
    if transposed { view(a, k, m).t() } else { view(a, m, k) }
}

impl fmt::Display for Product {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mark = if self.transposed { "A'" } else { "" };
        write!(f, "{}x{}x{}{mark}", self.m, self.k, self.n)
    }
}

type NaiveProduct = fn(usize, usize, usize, &[f32], &[f32], &mut [f32]);

impl Case for Product {
    fn operations(&self) -> f64 {
        2.0 * self.m as f64 * self.k as f64 * self.n as f64
    }

    fn oracle(&self) -> &Oracle {
        &self.oracle
    }

    fn start(&self) -> Start<'_> {
        Start::Unread(self.m * self.n)
    }

    fn call(&self, who: Contender) -> Call<'_> {
        match who {
            Contender::NaiveLoop | Contender::NaiveIjk => self.naive(reference::gemm_ijk),
            Contender::NaiveIkj => self.naive(reference::gemm_ikj),
            Contender::Row(backend) => Box::new(move |c| {
                let a = view_a(&self.a, self.m, self.k, self.transposed);
                let b = view(&self.b, self.k, self.n);
                kernels::Gemm::new().backend(backend).run(a, b, MatMut::new(c, self.m, self.n)?)
            }),
        }
    }
}

impl Product {
    /// Naive loops want row-major operands; transposing one is part of their work.
    fn naive(&self, product: NaiveProduct) -> Call<'_> {
        let Self { m, k, n, .. } = *self;
        let mut straight = vec![0.0; if self.transposed { m * k } else { 0 }];
        Box::new(move |c| {
            for (i, row) in straight.chunks_exact_mut(k.max(1)).enumerate() {
                for (p, x) in row.iter_mut().enumerate() {
                    *x = self.a[p * m + i];
                }
            }
            product(m, k, n, if self.transposed { &straight } else { &self.a }, &self.b, c);
            Ok(())
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
            Function::Exp => Oracle::function(x.iter().map(|x| x.exp()).collect(), 1.0),
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

    fn call(&self, who: Contender) -> Call<'_> {
        let Self { function, rows, cols, .. } = *self;
        match who {
            Contender::NaiveLoop | Contender::NaiveIjk | Contender::NaiveIkj => Box::new(move |x| {
                match function {
                    Function::Relu => x.iter_mut().for_each(|x| *x = x.max(0.0)),
                    Function::Exp => x.iter_mut().for_each(|x| *x = x.exp()),
                    Function::Softmax => x.chunks_exact_mut(cols).for_each(naive_softmax),
                }
                Ok(())
            }),
            Contender::Row(backend) => Box::new(move |x| {
                match function {
                    Function::Relu => backend.relu(x),
                    Function::Exp => backend.exp(x),
                    Function::Softmax => backend.softmax(MatMut::new(x, rows, cols)?),
                }
                Ok(())
            }),
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
    use kernels::Backend;

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
        fn call(&self, who: Contender) -> Call<'_> {
            let at = matching_rows().iter().position(|row| *row == who);
            let value = at.map_or(self.naive, |at| self.rows[at % self.rows.len()]);
            Box::new(move |x| {
                x[0] = value;
                if value != 0.0 {
                    x[1] = 1.0;
                }
                Ok(())
            })
        }
    }

    fn matching_rows() -> Vec<Contender> {
        Backend::supported().map(Contender::Row).filter(Contender::bits_match).collect()
    }

    fn ones(naive: f32, rows: &[f32]) -> Comparison {
        let case = Ones { oracle: Oracle::function(vec![1.0; 2], 2.0), naive, rows: rows.to_vec() };
        let all: Vec<Contender> = [Contender::NaiveLoop].into_iter().chain(matching_rows()).collect();
        compete(&case, &all, &Plan { min_rounds: 1, ..Plan::lasting(Duration::ZERO) })
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
        let products = [Product::new(5, 7, 3), Product::with_a_transposed(9, 300, 4), Product::new(2, 1, 1)];
        for case in &products {
            let wrong = compete(case, &Contender::for_gemm(), &plan).wrong;
            assert!(wrong.is_empty(), "{case}: {} {}", wrong[0].0, wrong[0].1);
        }
        for function in [Function::Relu, Function::Exp, Function::Softmax] {
            let case = Activation::new(function, 7, 13);
            let wrong = compete(&case, &Contender::for_activation(), &plan).wrong;
            assert!(wrong.is_empty(), "{case}: {} {}", wrong[0].0, wrong[0].1);
        }
    }
}
