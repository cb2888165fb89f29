//! Matrix products.

use super::{Call, Case, Operation, Start, uniform};
use crate::contender::Contender;
use crate::measure::Timed;
use crate::number::{NaiveProduct, Number};
use crate::verify::{self, Oracle};
use kernels::{Backend, Layout, MatMut, MatRef, Par, Precision, Serial, Team};
use peers::Factor;
use std::cell::OnceCell;
use std::fmt;
use std::hint::black_box;
use std::time::Instant;

/// C = A B, with dense row-major matrices.
pub struct Product<T = f32> {
    m: usize,
    k: usize,
    n: usize,
    /// Whether A, and B, are stored as their transposes; the weight gradient of a layer finds A so.
    transposed: [bool; 2],
    a: Vec<T>,
    b: Vec<T>,
    /// Made when it is asked for: it takes longer than most calls.
    oracle: OnceCell<Oracle>,
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
        Self { m, k, n, transposed, a, b, oracle: OnceCell::new() }
    }

    /// Naive loops read A by strides, but want a row-major B; transposing it is part of their work.
    fn naive(&self, product: NaiveProduct<T>) -> Call<'_, T> {
        let Self { m, k, n, transposed: [a_transposed, b_transposed], .. } = *self;
        let strides = if a_transposed { (1, m) } else { (k, 1) };
        let mut b = self.b.clone();
        Box::new(move |c| {
            if b_transposed {
                transpose(&self.b, k, &mut b);
            }
            product(m, k, n, &self.a, strides, &b, c);
            Ok(())
        })
    }

    /// Three pieces of work of a row: the whole product, the product with a B that was packed before, and packing B.
    ///
    /// # Errors
    /// When the row refuses.
    pub fn packing(&self, row: &'static Backend) -> kernels::Result<[Timed<'_>; 3]> {
        fn timed<'a>(mut work: impl FnMut() + 'a) -> Timed<'a> {
            Box::new(move |calls| {
                let begin = Instant::now();
                (0..calls).for_each(|_| work());
                begin.elapsed()
            })
        }
        const DONE: &str = "it was done before";
        let gemm = kernels::Gemm::<T>::new().backend(row);
        let a = view(&self.a, self.m, self.k, self.transposed[0]);
        let b = view(&self.b, self.k, self.n, self.transposed[1]);
        let packed = gemm.pack_b(b)?;
        let mut c = [vec![T::NAN; self.m * self.n], vec![T::NAN; self.m * self.n]];
        for c in &mut c {
            gemm.run(a, b, MatMut::new(c, self.m, self.n)?)?;
        }
        let [mut c, mut c_packed] = c;
        let whole = move || {
            let c = MatMut::new(black_box(&mut c), self.m, self.n).expect(DONE);
            gemm.run(a, b, c).expect(DONE);
        };
        let multiply = move || {
            let c = MatMut::new(black_box(&mut c_packed), self.m, self.n).expect(DONE);
            gemm.run(a, &packed, c).expect(DONE);
        };
        let pack = move || {
            black_box(gemm.pack_b(black_box(b)).expect(DONE));
        };
        Ok([timed(whole), timed(multiply), timed(pack)])
    }

    fn kernels<'a>(
        &'a self,
        backend: &'static Backend,
        precision: Precision,
        par: impl Par + 'a,
    ) -> Option<Call<'a, T>> {
        T::in_precision(kernels::Gemm::new(), precision)?;
        Some(Box::new(move |c| {
            let a = view(&self.a, self.m, self.k, self.transposed[0]);
            let b = view(&self.b, self.k, self.n, self.transposed[1]);
            let gemm = kernels::Gemm::new().backend(backend).par(&par);
            let gemm = T::in_precision(gemm, precision).unwrap_or(gemm);
            gemm.run(a, b, MatMut::new(c, self.m, self.n)?)
        }))
    }
}

/// The layout of a dense matrix, row-major or stored as its transpose.
pub fn layout(rows: usize, cols: usize, transposed: bool) -> Layout {
    if transposed { Layout::col_major(rows, cols) } else { Layout::row_major(rows, cols) }
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

    fn bytes(&self) -> f64 {
        ((self.m * self.k + self.k * self.n + self.m * self.n) * size_of::<T>()) as f64
    }

    fn operation(&self) -> Operation {
        Operation::Flop
    }

    fn oracle(&self) -> &Oracle {
        self.oracle.get_or_init(|| {
            let Self { m, k, n, transposed: [a, b], .. } = *self;
            let (exact, magnitude) = verify::exact_product(view(&self.a, m, k, a), view(&self.b, k, n, b));
            Oracle::product::<T>(exact, magnitude)
        })
    }

    /// k roundings u give k u / (1 - k u), whatever the order of the sums; one unit more, as the oracle is rounded.
    /// Operands of fewer bits are off by a rounding each, and three bf16 products leave out as much as that again.
    fn bound(&self, who: Contender) -> f64 {
        let operands = match who.precision() {
            Precision::F32 | Precision::F32Amx => 0.0,
            Precision::Bf16x3 => f64::from(4 << 7),
            Precision::Bf16 => f64::from(3 << 15),
        };
        self.k as f64 / (1.0 - self.k as f64 * T::ROUNDING) + 1.0 + operands
    }

    fn start(&self) -> Start<'_, T> {
        Start::Unread(self.m * self.n)
    }

    fn call(&self, who: Contender) -> Option<Call<'_, T>> {
        Some(match who {
            Contender::NaiveLoop | Contender::NaiveIjk => self.naive(T::NAIVE?[0]),
            Contender::NaiveIkj => self.naive(T::NAIVE?[1]),
            Contender::NaiveBlocked => self.naive(T::NAIVE?[2]),
            Contender::Row(backend) => self.kernels(backend, Precision::F32, Serial)?,
            Contender::Team(backend, threads) => self.kernels(backend, Precision::F32, Team::new(threads))?,
            Contender::Precise(backend, precision, 1) => self.kernels(backend, precision, Serial)?,
            Contender::Precise(backend, precision, threads) => self.kernels(backend, precision, Team::new(threads))?,
            Contender::Peer(peer, threads) => Box::new(move |c| {
                let a = Factor { data: &self.a, transposed: self.transposed[0] };
                let b = Factor { data: &self.b, transposed: self.transposed[1] };
                T::multiply(peer, peers::Product::new([self.m, self.k, self.n], a, b, c, threads));
                Ok(())
            }),
        })
    }
}
