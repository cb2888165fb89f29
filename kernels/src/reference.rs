//! What the kernels are measured against: naive loops, an f64 product, and the definition of the result to the bit.

use crate::math::Activation;
use crate::view::MatRef;
use crate::{CHUNK, Element};

/// C = A B for dense row-major A (m x k), B (k x n), C (m x n), as a textbook has it: a dot product an element.
///
/// # Panics
/// When a slice is shorter than its matrix.
pub fn gemm_ijk(m: usize, k: usize, n: usize, a: &[f32], b: &[f32], c: &mut [f32]) {
    for i in 0..m {
        for j in 0..n {
            let mut sum = 0.0;
            for p in 0..k {
                sum += a[i * k + p] * b[p * n + j];
            }
            c[i * n + j] = sum;
        }
    }
}

/// As [`gemm_ijk`], with the loops in the order that lets a compiler use vectors: rows of B are added up.
///
/// # Panics
/// When a slice is shorter than its matrix.
pub fn gemm_ikj(m: usize, k: usize, n: usize, a: &[f32], b: &[f32], c: &mut [f32]) {
    c[..m * n].fill(0.0);
    for i in 0..m {
        let row = &mut c[i * n..][..n];
        for p in 0..k {
            let x = a[i * k + p];
            for (c, b) in row.iter_mut().zip(&b[p * n..][..n]) {
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
    let Entry { a, b, c, alpha, beta, bias, activation } = *x;
    let mut sums = a.chunks(CHUNK).zip(b.chunks(CHUNK)).map(|(a, b)| {
        let terms = a.iter().zip(b);
        terms.fold(T::ZERO, |sum, (&a, &b)| a.fma(b, sum))
    });
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
    match activation {
        Activation::Identity => c,
        Activation::Relu if T::ZERO > c => T::ZERO,
        Activation::Relu => c,
    }
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
