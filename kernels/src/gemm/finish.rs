//! The epilogue: bias and activation, applied to a tile while it is still in the first cache.
//!
//! A pass of its own, rather than a part of the store, keeps the micro-kernels few: their number would be multiplied by
//! the activations. It costs one load and one store an element against `2 k` operations.

use super::tile::Float;
use crate::math::Activation;
use crate::simd::Simd;

/// What is done to C after the last product.
#[derive(Clone, Copy)]
pub(crate) struct Epilogue<T> {
    pub bias: Bias<T>,
    /// Applied last.
    pub activation: Activation,
}

/// A vector that is added first.
#[derive(Clone, Copy)]
pub(crate) enum Bias<T> {
    None,
    /// One element for each column.
    Columns(*const T),
    /// One element for each row.
    Rows(*const T),
}

impl<T> Epilogue<T> {
    /// The epilogue of the part of C that begins at row `i` and column `j`.
    pub(crate) fn at(self, i: usize, j: usize) -> Self {
        let bias = match self.bias {
            Bias::None => Bias::None,
            Bias::Columns(p) => Bias::Columns(p.wrapping_add(j)),
            Bias::Rows(p) => Bias::Rows(p.wrapping_add(i)),
        };
        Self { bias, ..self }
    }
    /// The epilogue of the transposed C.
    pub(crate) fn t(self) -> Self {
        let bias = match self.bias {
            Bias::None => Bias::None,
            Bias::Columns(p) => Bias::Rows(p),
            Bias::Rows(p) => Bias::Columns(p),
        };
        Self { bias, ..self }
    }
}

/// One call of a finisher: `rows x cols` elements of C, columns adjacent.
pub(crate) struct Finish<T> {
    pub c: *mut T,
    pub c_row: isize,
    pub rows: usize,
    pub cols: usize,
    pub epilogue: Epilogue<T>,
}

/// A finisher.
///
/// # Safety
/// The row that it belongs to is supported by this CPU; C is readable and writable, the bias
/// readable, at `rows x cols`.
pub(crate) type FinishFn<T> = unsafe fn(&Finish<T>);

/// The finisher of an instruction set.
///
/// # Safety
/// See [`FinishFn`].
pub(crate) unsafe fn finish<S: Simd<T>, T: Float>(x: &Finish<T>) {
    // SAFETY: the row is supported, by the caller's promise.
    let s = unsafe { S::assume() };
    s.run(
        #[inline(always)]
        || {
            let zero = s.splat(T::ZERO);
            // SAFETY: the caller's promise.
            unsafe {
                match x.epilogue.activation {
                    Activation::Identity => each(
                        s,
                        x,
                        #[inline(always)]
                        |v| v,
                    ),
                    Activation::Relu => each(
                        s,
                        x,
                        #[inline(always)]
                        |v| s.max(zero, v),
                    ),
                }
            }
        },
    );
}

/// Adds the bias and applies `f` to every vector.
///
/// # Safety
/// See [`FinishFn`].
#[inline(always)]
unsafe fn each<S: Simd<T>, T: Float>(s: S, x: &Finish<T>, f: impl Fn(S::V) -> S::V) {
    for i in 0..x.rows {
        let row = x.c.wrapping_offset(i as isize * x.c_row);
        for j in (0..x.cols).step_by(S::LANES) {
            let mask = s.first((x.cols - j).min(S::LANES));
            // SAFETY: the masked lanes are columns of C, and of a bias per column; row i has its element of the other.
            unsafe {
                let p = row.add(j);
                let v = s.load_masked(p, mask);
                let v = match x.epilogue.bias {
                    Bias::None => v,
                    Bias::Columns(bias) => s.add(v, s.load_masked(bias.add(j), mask)),
                    Bias::Rows(bias) => s.add(v, s.splat(*bias.add(i))),
                };
                s.store_masked(p, mask, f(v));
            }
        }
    }
}
