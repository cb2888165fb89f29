//! A vector times a matrix whose columns are contiguous: c = a B with B's elements adjacent along k.
//!
//! The sum over k is one chain (see [`definition`](crate::reference::definition)), so lanes must be columns, which lie
//! apart: squares of B are transposed in registers and used at once. A chain takes four cycles a step, far more than a
//! step of it is fed in, so [`CHAINS`] of them run side by side: the sums of different chunks or groups of columns.

use super::pack::{load_half, load_part};
use super::tile::{Float, opaque, opaque_stride};
use crate::CHUNK;
use crate::simd::{GROUP, LINE, Simd, prefetch};
use std::mem::MaybeUninit;

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

/// Chains that run side by side: enough to hide the latency of an FMA.
const CHAINS: usize = 4;

/// Bytes of B from which it comes from memory, which is read fastest in the streams of a single chain.
const FAR: usize = 24 << 20;

/// The routine of an instruction set.
///
/// # Safety
/// See [`GemvFn`].
pub(crate) unsafe fn gemv<S: Simd<T>, T: Float>(x: &Gemv<T>) {
    // SAFETY: the row is supported, by the caller's promise.
    let s = unsafe { S::assume() };
    s.run(
        #[inline(always)]
        // SAFETY: the caller's promise.
        || unsafe {
            if x.n < S::LANES || x.k.saturating_mul(x.n) > FAR / size_of::<T>() {
                for j in (0..x.n).step_by(S::LANES) {
                    single(s, x, j, (x.n - j).min(S::LANES));
                }
                return;
            }
            // Whole chunks first, then what is left of k in all columns.
            let whole = x.k / CHUNK;
            for (first, chunks, steps) in [(0, whole, CHUNK), (whole, 1, x.k % CHUNK)] {
                if chunks * steps > 0 {
                    side_by_side(s, x, first, chunks, steps);
                }
            }
        },
    );
}

/// Adds to C the sums of `chunks` chunks from the `first` on, all of `steps` steps.
///
/// # Safety
/// See [`GemvFn`]; there are so many, and `LANES` columns or more.
#[inline(always)]
unsafe fn side_by_side<S: Simd<T>, T: Float>(s: S, x: &Gemv<T>, first: usize, chunks: usize, steps: usize) {
    let mut copy = [[MaybeUninit::<T>::uninit(); CHUNK]; CHAINS];
    // Chunks of the same columns before those of others: columns that are a power of two apart share a few sets of the
    // first cache, which does not hold the lines of more than a group.
    let (mut j, mut chunk) = (0, first);
    while j < x.n {
        let (mut a, mut b, mut places) = ([x.a; CHAINS], [x.b; CHAINS], [(j, chunk); CHAINS]);
        let mut len = 0;
        for i in 0..CHAINS {
            // Where there are not enough, the first is computed again and dropped.
            if j < x.n {
                places[i] = (j, chunk);
                len = i + 1;
                chunk += 1;
                if chunk == first + chunks {
                    (j, chunk) = (j + S::LANES, first);
                }
            }
            let p = places[i].1 * CHUNK;
            // The last group begins earlier, so that it has all its columns.
            let from = places[i].0.min(x.n - S::LANES);
            b[i] = x.b.wrapping_offset(from as isize * x.b_col).wrapping_add(p);
            a[i] = x.a.wrapping_offset(p as isize * x.a_col);
            if x.a_col != 1 {
                for (p, to) in copy[i][..steps].iter_mut().enumerate() {
                    // SAFETY: an element of A.
                    to.write(unsafe { *a[i].wrapping_offset(p as isize * x.a_col) });
                }
                a[i] = copy[i].as_ptr().cast();
            }
        }
        // SAFETY: `steps` elements of A, and of `LANES` columns of B.
        let sums = unsafe { chains(s, a, b, x.b_col, steps) };
        for (sum, (j, chunk)) in sums.into_iter().zip(places).take(len) {
            let columns = (x.n - j).min(S::LANES);
            let mut lanes = [T::ZERO; 2 * GROUP];
            // SAFETY: a vector has at most `GROUP` lanes; the columns of C from j on.
            unsafe {
                s.store(lanes.as_mut_ptr(), sum);
                add(s, x, chunk, j, columns, s.load(lanes.as_ptr().add(S::LANES - columns)));
            }
        }
    }
}

/// Up to `LANES` columns of C from `j` on, in one chain.
///
/// # Safety
/// See [`GemvFn`]; there are so many.
#[inline(always)]
unsafe fn single<S: Simd<T>, T: Float>(s: S, x: &Gemv<T>, j: usize, columns: usize) {
    let b = x.b.wrapping_offset(j as isize * x.b_col);
    for chunk in 0..x.k.div_ceil(CHUNK) {
        let mut sum = s.splat(T::ZERO);
        let first = chunk * CHUNK;
        let end = x.k.min(first + CHUNK);
        for p in (first..end).step_by(S::LANES) {
            let (a, b) = (x.a.wrapping_offset(p as isize * x.a_col), b.wrapping_add(p));
            let (steps, half) = ((end - p).min(S::LANES), S::LANES / 2);
            // SAFETY: `steps` elements of A, and of `columns` columns of B.
            unsafe {
                if columns == S::LANES && steps == S::LANES {
                    sum = link(s, sum, a, x.a_col, &load_half(s, b, x.b_col)[..half]);
                    let a = a.wrapping_offset(half as isize * x.a_col);
                    sum = link(s, sum, a, x.a_col, &load_half(s, b.add(half), x.b_col)[..half]);
                } else {
                    sum = link(s, sum, a, x.a_col, &load_part(s, b, x.b_col, columns, steps)[..steps]);
                }
            }
        }
        // SAFETY: these columns of C.
        unsafe { add(s, x, chunk, j, columns, sum) };
    }
}

/// Adds the sum of a chunk to C: to `columns` of them from `j` on, whose sums are the first lanes.
///
/// # Safety
/// See [`GemvFn`]; there are such columns.
#[inline(always)]
unsafe fn add<S: Simd<T>, T: Float>(s: S, x: &Gemv<T>, chunk: usize, j: usize, columns: usize, sum: S::V) {
    let (to, mask) = (x.c.wrapping_add(j), s.first(columns));
    let beta = if chunk == 0 { x.beta } else { T::ONE };
    // SAFETY: `columns` elements of C; beta asks for the old ones.
    unsafe {
        let c = if beta == T::ZERO {
            s.mul(s.splat(x.alpha), sum)
        } else {
            s.fma(s.splat(x.alpha), sum, s.mul(s.splat(beta), s.load_masked(to, mask)))
        };
        s.store_masked(to, mask, c);
    }
}

/// The sums of `CHAINS` chunks, each `steps` long.
///
/// # Safety
/// `steps` elements are readable at each of `a`, and of `LANES` columns at each of `b`.
#[inline(always)]
unsafe fn chains<S: Simd<T>, T: Float>(
    s: S,
    a: [*const T; CHAINS],
    b: [*const T; CHAINS],
    b_col: isize,
    steps: usize,
) -> [S::V; CHAINS] {
    let [mut s0, mut s1, mut s2, mut s3] = [s.splat(T::ZERO); CHAINS];
    let [mut b0, mut b1, mut b2, mut b3] = b;
    let half = S::LANES / 2;
    let whole = steps / half * half;
    for p in (0..whole).step_by(half) {
        if p.is_multiple_of(LINE / size_of::<T>()) {
            for b in [b0, b1, b2, b3] {
                // Addresses of their own: shared with the loads they would take all registers.
                let (mut ahead, apart) = (opaque(b), opaque_stride(b_col));
                for _ in 0..S::LANES {
                    prefetch(ahead.wrapping_add(2 * LINE / size_of::<T>()));
                    ahead = ahead.wrapping_offset(apart);
                }
            }
        }
        // SAFETY: half a square for each chain. A loop of four the compiler would not unroll, or mix and spill.
        unsafe {
            s0 = link(s, s0, a[0].add(p), 1, &load_half(s, b0, b_col)[..half]);
            (s0, b1) = s.in_order(s0, b1);
            s1 = link(s, s1, a[1].add(p), 1, &load_half(s, b1, b_col)[..half]);
            (s1, b2) = s.in_order(s1, b2);
            s2 = link(s, s2, a[2].add(p), 1, &load_half(s, b2, b_col)[..half]);
            (s2, b3) = s.in_order(s2, b3);
            s3 = link(s, s3, a[3].add(p), 1, &load_half(s, b3, b_col)[..half]);
            (s3, b0) = s.in_order(s3, b0);
        }
        [b0, b1, b2, b3] = [b0, b1, b2, b3].map(|b| b.wrapping_add(half));
    }
    let mut sums = [s0, s1, s2, s3];
    if whole < steps {
        let rest = steps - whole;
        for (i, sum) in sums.iter_mut().enumerate() {
            // SAFETY: the steps that are left.
            unsafe {
                let rows = load_part(s, b[i].add(whole), b_col, S::LANES, rest);
                *sum = link(s, *sum, a[i].add(whole), 1, &rows[..rest]);
            }
        }
    }
    sums
}

/// A sum and the products of these steps.
///
/// # Safety
/// As many elements are readable at `a`, `a_col` apart.
#[inline(always)]
unsafe fn link<S: Simd<T>, T: Float>(s: S, mut sum: S::V, a: *const T, a_col: isize, steps: &[S::V]) -> S::V {
    for (r, b) in steps.iter().enumerate() {
        // SAFETY: the caller's promise.
        sum = s.fma(s.splat(unsafe { *a.wrapping_offset(r as isize * a_col) }), *b, sum);
    }
    sum
}
