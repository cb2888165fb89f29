//! What the kernels are measured against: naive loops, an f64 product, and the definition of the result to the bit.

use crate::Precision;
use crate::math::{Activation, Function};
use crate::view::MatRef;
use crate::{CHUNK, Element};

pub use crate::gemm::amx::model::{tdpbf16ps, tile_sum};

/// C = A B for dense row-major B (k x n) and C (m x n), as a textbook has it: a dot product an element. A (m x k) has a
/// row and a column stride: `(k, 1)` when it is row-major too, `(1, m)` when it lies transposed.
///
/// # Panics
/// When a slice is shorter than its matrix.
pub fn gemm_ijk(m: usize, k: usize, n: usize, a: &[f32], (row, col): (usize, usize), b: &[f32], c: &mut [f32]) {
    for i in 0..m {
        for j in 0..n {
            let mut sum = 0.0;
            for p in 0..k {
                sum += a[i * row + p * col] * b[p * n + j];
            }
            c[i * n + j] = sum;
        }
    }
}

/// As [`gemm_ijk`], with the loops in the order that lets a compiler use vectors: rows of B are added up.
///
/// # Panics
/// When a slice is shorter than its matrix.
pub fn gemm_ikj(m: usize, k: usize, n: usize, a: &[f32], (row, col): (usize, usize), b: &[f32], c: &mut [f32]) {
    c[..m * n].fill(0.0);
    for i in 0..m {
        let c = &mut c[i * n..][..n];
        for p in 0..k {
            let x = a[i * row + p * col];
            for (c, b) in c.iter_mut().zip(&b[p * n..][..n]) {
                *c += x * b;
            }
        }
    }
}

/// A B and |A| |B| in f64, row-major: the oracle of an f32 product, and the scale of its errors.
#[must_use]
pub fn gemm_f64<T: Element + Into<f64>>(a: MatRef<'_, T>, b: MatRef<'_, T>) -> (Vec<f64>, Vec<f64>) {
    let (m, k) = a.shape();
    let n = b.cols();
    let (mut c, mut scale) = (vec![0.0; m * n], vec![0.0; m * n]);
    for i in 0..m {
        for p in 0..k {
            let x: f64 = a.get(i, p).into();
            for j in 0..n {
                let product = x * b.get(p, j).into();
                c[i * n + j] += product;
                scale[i * n + j] += product.abs();
            }
        }
    }
    (c, scale)
}

/// What [`Gemm`](crate::Gemm) computes for one element of C, to the bit, on every row of the table with FMA.
///
/// `a` is the element's row of A and `b` its column of B. With chunks of [`CHUNK`] along k:
///
/// 1. a chunk's sum starts at +0 and takes `fma(a[p], b[p], sum)` in increasing p;
/// 2. the first sum enters as `alpha * sum` where `beta` is 0 (the old `c` is not read), else as
///    `fma(alpha, sum, beta * c)`; each further one as `fma(alpha, sum, c)`;
/// 3. without products (k = 0 or alpha = 0, then A and B are not read) it is 0 where `beta` is 0, else `beta * c`;
/// 4. then the bias of its column or row is added, if there is one, and the activation is applied.
pub fn definition<T: Element>(x: &Entry<'_, T>) -> T {
    with_sums(x, |a, b| {
        let terms = a.iter().zip(b);
        terms.fold(T::ZERO, |sum, (&a, &b)| a.fma(b, sum))
    })
}

/// What [`Gemm`](crate::Gemm) computes for one element of C in this precision, to the bit, on backends with a tile
/// unit: as [`definition`], with [`tile_sum`] for the sum of a chunk. Where k is below 64, it is what others compute:
/// [`definition`] of operands rounded by [`Precision::round`].
#[must_use]
pub fn definition_on_tiles(precision: Precision, x: &Entry<'_, f32>) -> f32 {
    if x.a.len() >= crate::gemm::amx::LEAST_K {
        return with_sums(x, |a, b| tile_sum(precision, a, b));
    }
    let round = |x: &[f32]| x.iter().map(|&x| precision.round(x)).collect::<Vec<_>>();
    definition(&Entry { a: &round(x.a), b: &round(x.b), ..*x })
}

/// An element of C from the sums of its chunks.
fn with_sums<T: Element>(x: &Entry<'_, T>, sum: impl Fn(&[T], &[T]) -> T) -> T {
    let Entry { a, b, c, alpha, beta, bias, activation } = *x;
    let mut sums = a.chunks(CHUNK).zip(b.chunks(CHUNK)).map(|(a, b)| sum(a, b));
    let old = if beta == T::ZERO { None } else { Some(beta * c) };
    let first = if alpha == T::ZERO { None } else { sums.next() };
    let mut c = match (first, old) {
        (None, old) => old.unwrap_or(T::ZERO),
        (Some(sum), None) => alpha * sum,
        (Some(sum), Some(old)) => alpha.fma(sum, old),
    };
    if first.is_some() {
        for sum in sums {
            c = alpha.fma(sum, c);
        }
    }
    if let Some(bias) = bias {
        c = c + bias;
    }
    c.activate(activation)
}

/// An element of C and all that it depends on.
#[derive(Debug, Clone, Copy)]
pub struct Entry<'a, T> {
    /// Its row of A.
    pub a: &'a [T],
    /// Its column of B.
    pub b: &'a [T],
    /// Its old value.
    pub c: T,
    /// Factor of the product.
    pub alpha: T,
    /// Factor of the old value.
    pub beta: T,
    /// The bias of its column, or of its row.
    pub bias: Option<T>,
    /// Applied last.
    pub activation: Activation,
}

/// A function in f64, far more exact than an f32 can show: the oracle of the f32 functions. At -Inf, where the formulas
/// of the activations are 0 x Inf, it is the limit.
#[must_use]
pub fn function(f: Function, x: f64) -> f64 {
    let logistic = |x: f64| 1.0 / (1.0 + (-x).exp());
    let f = match f {
        Function::Exp => return x.exp(),
        Function::Exp2 => return x.exp2(),
        Function::Expm1 => return x.exp_m1(),
        Function::Ln => return x.ln(),
        Function::Log1p => return x.ln_1p(),
        Function::Erf => return erf(x),
        Function::Activation(f) => f,
    };
    match f {
        Activation::Identity => x,
        Activation::Relu if x < 0.0 => 0.0,
        Activation::LeakyRelu { alpha } if x < 0.0 => f64::from(alpha) * x,
        Activation::Elu { alpha } if x <= 0.0 => f64::from(alpha) * x.exp_m1(),
        Activation::Relu | Activation::LeakyRelu { .. } | Activation::Elu { .. } => x,
        Activation::Tanh => x.tanh(),
        Activation::Sigmoid => logistic(x),
        Activation::Softplus => x.max(0.0) + (-x.abs()).exp().ln_1p(),
        Activation::HardSwish if x <= -3.0 => 0.0,
        Activation::HardSwish => x * ((x + 3.0).min(6.0) / 6.0),
        _ if x == f64::NEG_INFINITY => -0.0,
        Activation::Gelu => x * 0.5 * erfc(-x * std::f64::consts::FRAC_1_SQRT_2),
        Activation::GeluTanh => {
            let g = (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044_715 * x * x * x);
            x * logistic(2.0 * g)
        }
        Activation::Silu => x * logistic(x),
        Activation::Mish => x * (x.min(40.0).exp().ln_1p()).tanh(),
    }
}

/// The error function: the series e^(-x^2) 2x / sqrt(pi) (1 + 2 x^2 / 3 + (2 x^2)^2 / (3 * 5) + ...), which has no
/// signs to cancel.
fn erf(x: f64) -> f64 {
    if x.abs() > 2.0 {
        return (1.0 - erfc(x.abs())).copysign(x);
    }
    let (mut term, mut sum, mut odd) = (1.0, 1.0, 1.0);
    while term > 1e-18 * sum {
        odd += 2.0;
        term *= 2.0 * x * x / odd;
        sum += term;
    }
    // A NaN has come past the loop, and passes here.
    x * std::f64::consts::FRAC_2_SQRT_PI * (-x * x).exp() * sum
}

/// 1 - erf(x), from 2 on by its continued fraction
/// e^(-x^2) / sqrt(pi) / (x + (1/2) / (x + 1 / (x + (3/2) / (x + 2 / ...)))).
fn erfc(x: f64) -> f64 {
    if x < -2.0 {
        return 2.0 - erfc(-x);
    }
    if x.is_nan() || x <= 2.0 {
        return 1.0 - erf(x);
    }
    let below = (1..=80).rev().fold(x, |below, k| x + 0.5 * f64::from(k) / below);
    (-x * x).exp() * 0.5 * std::f64::consts::FRAC_2_SQRT_PI / below
}

/// Distance between `found` and the true value `want`, in ULPs of an f32 of that size (2^-149 below the normal range).
///
/// Infinitely far are a result where a NaN is due or the other way round, anything but a true 0, and a 0 of the wrong
/// sign. Inf counts as 2^128, so an overflow that is due or nearly so is not an error.
#[must_use]
pub fn ulps(found: f32, want: f64) -> f64 {
    const END: f64 = 2.0 * (1u128 << 127) as f64;
    if found.is_nan() || want.is_nan() {
        return if found.is_nan() && want.is_nan() { 0.0 } else { f64::INFINITY };
    }
    if want == 0.0 || found == 0.0 && found.is_sign_negative() != want.is_sign_negative() {
        return if f64::from(found).to_bits() == want.to_bits() { 0.0 } else { f64::INFINITY };
    }
    let exponent = ((want.to_bits() >> 52 & 0x7ff) as i64 - 1023).clamp(-126, 127);
    let per_unit = f64::from_bits(((1023 + 23 - exponent) as u64) << 52);
    (f64::from(found).clamp(-END, END) - want.clamp(-END, END)).abs() * per_unit
}
