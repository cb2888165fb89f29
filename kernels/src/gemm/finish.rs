//! The epilogue: bias and activation, applied to a tile while it is still in the first cache.
//!
//! A pass of its own, rather than a part of the store, keeps the micro-kernels few: their number would be multiplied by
//! the activations. It costs one load and one store an element against `2 k` operations.

use super::tile::Float;
use crate::math::{Activation, Unary, Visitor};
use crate::simd::{Simd, SimdF32};

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

/// The activations of an element type on an instruction set.
pub(crate) trait Activations<T>: Simd<T> {
    /// [`finish`], where the row's features are still to be turned on.
    ///
    /// # Safety
    /// See [`FinishFn`].
    unsafe fn finish(self, x: &Finish<T>);
}

impl<S: SimdF32> Activations<f32> for S {
    unsafe fn finish(self, x: &Finish<f32>) {
        /// Runs the loop for the activation that it visits.
        struct Loop<'a, S>(S, &'a Finish<f32>);
        impl<S: SimdF32> Visitor for Loop<'_, S> {
            fn visit<F: Unary>(self, f: F) {
                let Loop(s, x) = self;
                s.run(
                    #[inline(always)]
                    || {
                        // SAFETY: the promise of the caller of `finish`, which alone makes such loops.
                        unsafe {
                            each(
                                s,
                                x,
                                #[inline(always)]
                                |v| f.eval(s, v),
                            );
                        }
                    },
                );
            }
        }
        x.epilogue.activation.visit(Loop(self, x));
    }
}

impl<S: Simd<f64>> Activations<f64> for S {
    unsafe fn finish(self, x: &Finish<f64>) {
        let relu = x.epilogue.activation == Activation::Relu;
        self.run(
            #[inline(always)]
            || {
                let zero = self.splat(0.0);
                // SAFETY: the caller's promise.
                unsafe {
                    if relu {
                        each(
                            self,
                            x,
                            #[inline(always)]
                            |v| self.max(zero, v),
                        );
                    } else {
                        each(
                            self,
                            x,
                            #[inline(always)]
                            |v| v,
                        );
                    }
                }
            },
        );
    }
}

/// The finisher of an instruction set.
///
/// # Safety
/// See [`FinishFn`].
pub(crate) unsafe fn finish<S: Activations<T>, T: Float>(x: &Finish<T>) {
    // SAFETY: the caller's promise.
    unsafe { S::assume().finish(x) }
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
