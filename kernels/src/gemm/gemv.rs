//! A vector times a matrix whose columns are contiguous: c = a B with B's elements adjacent along k.
//!
//! The sum over k is one chain (see [`definition`](crate::reference::definition)), so lanes must be columns, which lie
//! apart. Squares of B are transposed in registers and used at once: each element is read once, and memory is the limit.

use super::pack::load_square;
use super::tile::Float;
use crate::CHUNK;
use crate::simd::Simd;

/// One call: a row of C.
pub(crate) struct Gemv<T> {
    pub k: usize,
    pub n: usize,
    /// Element 0 of the row of A.
    pub a: *const T,
    /// From an element of it to the next.
    pub a_col: isize,
    /// Element (0, 0) of B; the elements of a column are adjacent.
    pub b: *const T,
    /// From a column of B to the next.
    pub b_col: isize,
    /// The row of C, dense.
    pub c: *mut T,
    pub alpha: T,
    pub beta: T,
}

/// # Safety
/// The row that it belongs to is supported by this CPU; A and B are readable, C is writable (and, unless `beta` is 0,
/// readable); `k` is at least 1.
pub(crate) type GemvFn<T> = unsafe fn(&Gemv<T>);

/// The routine of an instruction set.
///
/// # Safety
/// See [`GemvFn`].
pub(crate) unsafe fn gemv<S: Simd<T>, T: Float>(x: &Gemv<T>) {
    // SAFETY: the row is supported, by the caller's promise.
    let s = unsafe { S::assume() };
    s.run(
        #[inline(always)]
        || {
            for j in (0..x.n).step_by(S::LANES) {
                let lines = (x.n - j).min(S::LANES);
                // SAFETY: the caller's promise, for `lines` columns from j on.
                unsafe {
                    if lines == S::LANES {
                        columns::<S, T, true>(s, x, j, lines);
                    } else {
                        columns::<S, T, false>(s, x, j, lines);
                    }
                }
            }
        },
    );
}

/// Up to `LANES` columns of C; `FULL` says that there are so many.
///
/// # Safety
/// See [`GemvFn`]; columns `j..j + lines` exist.
#[inline(always)]
unsafe fn columns<S: Simd<T>, T: Float, const FULL: bool>(s: S, x: &Gemv<T>, j: usize, lines: usize) {
    let (alpha, mask) = (s.splat(x.alpha), s.first(lines));
    let to = x.c.wrapping_add(j);
    // SAFETY: `lines` elements of C; beta asks for the old ones.
    let mut c = if x.beta == T::ZERO { None } else { Some(unsafe { s.mul(s.splat(x.beta), s.load_masked(to, mask)) }) };
    for chunk in (0..x.k).step_by(CHUNK) {
        let end = x.k.min(chunk + CHUNK);
        let mut sum = s.splat(T::ZERO);
        for p in (chunk..end).step_by(S::LANES) {
            let steps = (end - p).min(S::LANES);
            let from = x.b.wrapping_offset(j as isize * x.b_col).wrapping_add(p);
            let a = x.a.wrapping_offset(p as isize * x.a_col);
            // SAFETY: `steps` elements of `lines` columns of B, and of A.
            unsafe {
                if FULL && steps == S::LANES {
                    let square = load_square::<S, T, true>(s, from, x.b_col, lines, steps);
                    for (r, b) in square[..S::LANES].iter().enumerate() {
                        sum = s.fma(s.splat(*a.wrapping_offset(r as isize * x.a_col)), *b, sum);
                    }
                } else {
                    let square = load_square::<S, T, false>(s, from, x.b_col, lines, steps);
                    for (r, b) in square[..steps].iter().enumerate() {
                        sum = s.fma(s.splat(*a.wrapping_offset(r as isize * x.a_col)), *b, sum);
                    }
                }
            }
        }
        c = Some(match c {
            None => s.mul(alpha, sum),
            Some(c) => s.fma(alpha, sum, c),
        });
    }
    if let Some(c) = c {
        // SAFETY: `lines` elements of C.
        unsafe { s.store_masked(to, mask, c) };
    }
}
