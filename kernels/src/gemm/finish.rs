//! The epilogue: bias and activation, applied to a row of tiles while it is still in the first caches.
//!
//! A pass of its own, rather than a part of the store, keeps the micro-kernels few: their number would be multiplied by
//! the activations. It costs a load and a store an element, or two, against `2 k` operations. Activations beside ReLU
//! are those of the slice functions, called a row of C at a time.

use super::tile::Float;
use crate::math::{Activation, map};
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

/// The functions of an element type beside ReLU, on an instruction set.
pub(crate) trait Activations<T>: Simd<T> {
    /// Applies `f` to `len` elements at `x`.
    ///
    /// # Safety
    /// The instruction set is supported; the elements are readable and writable.
    unsafe fn activate(f: Activation, x: *mut T, len: usize);
}

impl<S: SimdF32> Activations<f32> for S {
    unsafe fn activate(f: Activation, x: *mut f32, len: usize) {
        // SAFETY: the caller's promise.
        unsafe { map::<S>(f.into(), x, x, len) }
    }
}

impl<S: Simd<f64>> Activations<f64> for S {
    unsafe fn activate(f: Activation, _: *mut f64, _: usize) {
        debug_assert!(f64::has(f), "refused by the public call");
    }
}

/// The finisher of an instruction set.
///
/// # Safety
/// See [`FinishFn`].
pub(crate) unsafe fn finish<S: Activations<T>, T: Float>(x: &Finish<T>) {
    let Epilogue { bias, activation } = x.epilogue;
    // SAFETY: the caller's promise.
    unsafe {
        match activation {
            Activation::Relu => each::<S, T>(
                x,
                #[inline(always)]
                |s, v| s.max(s.splat(T::ZERO), v),
            ),
            _ if matches!(bias, Bias::None) => {}
            _ => each::<S, T>(
                x,
                #[inline(always)]
                |_, v| v,
            ),
        }
        if matches!(activation, Activation::Identity | Activation::Relu) {
            return;
        }
        // Rows that follow each other are one slice.
        let dense = x.c_row == x.cols as isize;
        let (rows, len) = if dense { (1, x.rows * x.cols) } else { (x.rows, x.cols) };
        for i in 0..rows {
            S::activate(activation, x.c.wrapping_offset(i as isize * x.c_row), len);
        }
    }
}

/// Adds the bias and applies `f` to every vector.
///
/// # Safety
/// See [`FinishFn`].
unsafe fn each<S: Simd<T>, T: Float>(x: &Finish<T>, f: impl Fn(S, S::V) -> S::V) {
    // SAFETY: the caller's promise.
    let s = unsafe { S::assume() };
    s.run(
        #[inline(always)]
        || {
            for i in 0..x.rows {
                let row = x.c.wrapping_offset(i as isize * x.c_row);
                for j in (0..x.cols).step_by(S::LANES) {
                    let mask = s.first((x.cols - j).min(S::LANES));
                    // SAFETY: the masked lanes are columns of C, and of a bias per column; row i has its element of the
                    // other.
                    unsafe {
                        let p = row.add(j);
                        let v = s.load_masked(p, mask);
                        let v = match x.epilogue.bias {
                            Bias::None => v,
                            Bias::Columns(bias) => s.add(v, s.load_masked(bias.add(j), mask)),
                            Bias::Rows(bias) => s.add(v, s.splat(*bias.add(i))),
                        };
                        s.store_masked(p, mask, f(s, v));
                    }
                }
            }
        },
    );
}
