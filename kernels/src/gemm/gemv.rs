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
            let mut j = 0;
            while j < x.n {
                let left = x.n - j;
                let lines = left.min(S::LANES);
                // SAFETY: the caller's promise, for these columns from j on.
                unsafe {
                    j += if left >= SIDE * S::LANES {
                        // Spelled out, so that the sums stay in registers.
                        columns(
                            s,
                            x,
                            j,
                            lines,
                            #[inline(always)]
                            |p, end, [a, b, c, d]: [S::V; SIDE]| {
                                let at = |g: usize| j + g * S::LANES;
                                [
                                    line::<S, T, true>(s, x, at(0), lines, p, end, a),
                                    line::<S, T, true>(s, x, at(1), lines, p, end, b),
                                    line::<S, T, true>(s, x, at(2), lines, p, end, c),
                                    line::<S, T, true>(s, x, at(3), lines, p, end, d),
                                ]
                            },
                        )
                    } else {
                        columns(
                            s,
                            x,
                            j,
                            lines,
                            #[inline(always)]
                            |p, end, [a]| [line::<S, T, false>(s, x, j, lines, p, end, a)],
                        )
                    };
                }
            }
        },
    );
}

/// Vectors of C side by side: as many chains of additions, so that one does not wait for the sums of the last.
const SIDE: usize = 4;

/// `G` vectors of C, of `lines` columns each; `add` adds the products of a line from `p` on, as far as `end`, to their
/// sums. Returns the number of columns.
///
/// # Safety
/// See [`GemvFn`]; the columns exist.
#[inline(always)]
unsafe fn columns<S: Simd<T>, T: Float, const G: usize>(
    s: S,
    x: &Gemv<T>,
    j: usize,
    lines: usize,
    add: impl Fn(usize, usize, [S::V; G]) -> [S::V; G],
) -> usize {
    let (alpha, mask) = (s.splat(x.alpha), s.first(lines));
    let place = |g: usize| x.c.wrapping_add(j + g * S::LANES);
    let mut c = [s.splat(T::ZERO); G];
    if x.beta != T::ZERO {
        for (g, c) in c.iter_mut().enumerate() {
            // SAFETY: elements of C; beta asks for the old ones.
            *c = unsafe { s.mul(s.splat(x.beta), s.load_masked(place(g), mask)) };
        }
    }
    for chunk in (0..x.k).step_by(CHUNK) {
        let end = x.k.min(chunk + CHUNK);
        let mut sums = [s.splat(T::ZERO); G];
        for p in (chunk..end).step_by(line_len::<S, T>()) {
            sums = add(p, end, sums);
        }
        let first = chunk == 0 && x.beta == T::ZERO;
        for (c, sum) in c.iter_mut().zip(sums) {
            *c = if first { s.mul(alpha, sum) } else { s.fma(alpha, sum, *c) };
        }
    }
    for (g, c) in c.into_iter().enumerate() {
        // SAFETY: elements of C.
        unsafe { s.store_masked(place(g), mask, c) };
    }
    G * lines
}

/// Elements along k that are worked on before the next columns: a cache line, which columns a power of two apart could
/// throw out again; whole squares.
const fn line_len<S: Simd<T>, T>() -> usize {
    let line = 64 / size_of::<T>();
    if line < S::LANES { S::LANES } else { line }
}

/// Adds the products of a line to the sums of the `lines` columns from `j` on; `FULL` says that they are all lanes.
///
/// # Safety
/// See [`GemvFn`]; the columns exist, and `p < end <= k`.
#[inline(always)]
unsafe fn line<S: Simd<T>, T: Float, const FULL: bool>(
    s: S,
    x: &Gemv<T>,
    j: usize,
    lines: usize,
    p: usize,
    end: usize,
    mut sum: S::V,
) -> S::V {
    let len = line_len::<S, T>();
    for p in (p..p + len).step_by(S::LANES) {
        let from = x.b.wrapping_offset(j as isize * x.b_col).wrapping_add(p);
        let a = x.a.wrapping_offset(p as isize * x.a_col);
        // SAFETY: as many elements of `lines` columns of B, and of A, as there are steps.
        unsafe {
            if FULL && p + S::LANES <= end {
                let square = load_square::<S, T, true>(s, from, x.b_col, lines, S::LANES);
                for (r, b) in square[..S::LANES].iter().enumerate() {
                    sum = s.fma(s.splat(*a.wrapping_offset(r as isize * x.a_col)), *b, sum);
                }
            } else {
                let steps = (end.max(p) - p).min(S::LANES);
                let square = load_square::<S, T, false>(s, from, x.b_col, lines, steps);
                for (r, b) in square[..steps].iter().enumerate() {
                    sum = s.fma(s.splat(*a.wrapping_offset(r as isize * x.a_col)), *b, sum);
                }
            }
        }
    }
    sum
}
