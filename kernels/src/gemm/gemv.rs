//! A vector times a matrix, c = a B, read once in the order in which it lies; or a few of them.
//!
//! Where B's rows are contiguous, a few of them at a time are added to all sums, so that they are read as they lie, and
//! not as the columns of one tile after those of another.
//!
//! Where its columns are, the sum over k being one chain (see [`definition`](crate::reference::definition)), lanes must
//! be columns, which lie apart: squares of B are transposed in registers and used at once. A chain takes four cycles a
//! step, more than a step of it is fed in, so a few of them run side by side: the sums of groups of columns, which
//! share what is read of A, or where those columns do not fit the first cache together, of different chunks. Or the
//! sums of a few rows: a square that was turned serves them all.

use super::pack::{load_half, load_part};
use super::precision::Convert;
use super::tile::{Float, opaque, opaque_stride};
use crate::CHUNK;
use crate::bf16::Bf16;
use crate::simd::{Aligned, GROUP, LINE, Simd, SimdF32, prefetch};
use crate::view::times;
use std::array::from_fn;
use std::mem::MaybeUninit;

/// One call: a row of C, or up to [`FEW`] where A's rows and B's columns are contiguous.
#[derive(Clone, Copy)]
pub(crate) struct Gemv<T> {
    pub m: usize,
    pub k: usize,
    pub n: usize,
    /// Element (0, 0) of A.
    pub a: *const T,
    /// From a row of it to the next.
    pub a_row: isize,
    /// From an element of it to the next.
    pub a_col: isize,
    /// Element (0, 0) of B; the elements of a row or those of a column are adjacent.
    pub b: *const T,
    /// From a row of B to the next.
    pub b_row: isize,
    /// From a column of B to the next.
    pub b_col: isize,
    /// Whether B holds [`Bf16`] numbers, which its strides count then; those of a row are adjacent.
    pub bf16: bool,
    /// The first row of C, dense.
    pub c: *mut T,
    /// From it to the next.
    pub c_row: isize,
    pub alpha: T,
    pub beta: T,
}

/// # Safety
/// The row that it belongs to is supported by this CPU; A and B are readable, C is writable (and, unless `beta` is 0,
/// readable); `k` is at least 1.
pub(crate) type GemvFn<T> = unsafe fn(&Gemv<T>);

/// Rows of C that are computed together, at most.
pub(crate) const FEW: usize = 4;

/// Groups of columns side by side with several rows.
const PAIR: usize = 2;

/// Whether a few rows of C are computed together, sooner than by tiles of a B that is packed for them: where it was
/// measured to pay, which is with vectors of 32 bytes and more, and enough whole squares for each row. Columns of B 4
/// KiB apart would take each other's place in the first cache.
pub(crate) fn few<T>(lanes: usize, (m, k, n): (usize, usize, usize), b_col: isize) -> bool {
    let (pairs, steps) = if lanes > GROUP / 2 { (2, 64) } else { (1, 24) };
    m <= FEW
        && lanes * size_of::<T>() >= 32
        && n >= pairs * PAIR * lanes
        && k >= steps * (m - 1)
        && !share_sets::<T>(b_col, SPAN / 8)
}

/// Whether columns so far apart begin nearly a multiple of `period` bytes from each other, and so in few sets of a
/// cache.
fn share_sets<T>(b_col: isize, period: usize) -> bool {
    let apart = b_col.unsigned_abs().wrapping_mul(size_of::<T>()) % period;
    apart.min(period - apart) < LINE / 4
}

/// Groups of columns side by side: enough to hide the latency of an FMA.
const GROUPS: usize = 4;

/// The same where so many would fill the sets of the first cache that they share.
const FEWER: usize = 3;

/// The same with vectors of a whole cache line: the squares take longer to turn, and hide more.
const WIDER: usize = 2;

/// Chunks side by side where these would, too.
const CHUNKS: usize = 2;

/// Columns that lie a power of two apart share few sets of the first cache. Those that span so many bytes fill them: 8
/// lines in each of 64 sets.
const SPAN: usize = 8 * 64 * LINE;

/// Bytes of B from which it comes from memory, which is read fastest in few streams.
const FAR: usize = 24 << 20;

/// As many as that.
const STREAMS: usize = 16;

/// The routine of an instruction set.
///
/// # Safety
/// See [`GemvFn`].
pub(crate) unsafe fn gemv<S: Convert<T>, T: Float>(x: &Gemv<T>) {
    if x.bf16 {
        // SAFETY: the caller's promise.
        return unsafe { S::rows_of_bf16(x) };
    }
    // SAFETY: the row is supported, by the caller's promise.
    let s = unsafe { S::assume() };
    s.run(
        #[inline(always)]
        // SAFETY: the caller's promise.
        || unsafe {
            if x.b_col == 1 {
                return rows::<S, T, T>(s, x);
            }
            if x.m > 1 && few::<T>(S::LANES, (x.m, x.k, x.n), x.b_col) {
                return match x.m {
                    2 => together::<S, T, 2>(s, x),
                    _ => together::<S, T, FEW>(s, x),
                };
            }
            for i in 0..x.m {
                columns(s, &x.row(i));
            }
        },
    );
}

impl<T: Float> Gemv<T> {
    /// Row `i` of C alone.
    fn row(&self, i: usize) -> Self {
        let (a, c) = (times(i, self.a_row), times(i, self.c_row));
        Self { m: 1, a: self.a.wrapping_offset(a), c: self.c.wrapping_offset(c), ..*self }
    }
}

/// A row of C, where B's columns are contiguous.
///
/// # Safety
/// See [`GemvFn`].
#[inline(always)]
unsafe fn columns<S: Simd<T>, T: Float>(s: S, x: &Gemv<T>) {
    let far = x.k.saturating_mul(x.n) > FAR / size_of::<T>();
    // Whether so many groups of columns fill the sets that they share.
    let crowded = |groups: usize| share_sets::<T>(x.b_col, SPAN / (groups * S::LANES));
    let wide = S::LANES * size_of::<T>() == LINE;
    // SAFETY: the caller's promise.
    unsafe {
        if x.n < S::LANES || (far && !wide && (crowded(GROUPS / 2) || GROUPS * S::LANES > STREAMS)) {
            for j in (0..x.n).step_by(S::LANES) {
                single(s, x, j, (x.n - j).min(S::LANES));
            }
        } else if wide && (far || crowded(if S::LANES == GROUP { WIDER } else { 1 })) {
            // One group alone; a chain of fewer lanes waits for its own sums, and is the last resort.
            remaining::<S, T, 1>(s, x, 0);
        } else {
            let j = match (crowded(GROUPS), crowded(GROUPS / 2)) {
                _ if wide => groups::<S, T, WIDER>(s, x),
                (false, _) => groups::<S, T, GROUPS>(s, x),
                (true, false) => groups::<S, T, FEWER>(s, x),
                (true, true) => 0,
            };
            remaining::<S, T, CHUNKS>(s, x, j);
        }
    }
}

/// The routine of an instruction set for a B of bf16 numbers.
///
/// # Safety
/// See [`GemvFn`].
pub(super) unsafe fn rows_of_bf16<S: SimdF32>(x: &Gemv<f32>) {
    // SAFETY: the row is supported, by the caller's promise.
    let s = unsafe { S::assume() };
    s.run(
        #[inline(always)]
        // SAFETY: the caller's promise.
        || unsafe { rows::<S, f32, Bf16>(s, x) },
    );
}

/// A number as it is stored, from which vectors of `T` are made.
pub(super) trait Stored<S: Simd<T>, T>: Copy {
    /// The vector of `LANES` of them.
    ///
    /// # Safety
    /// They are readable.
    unsafe fn load(s: S, p: *const Self) -> S::V;
    /// The vector of the first `lanes`.
    ///
    /// # Safety
    /// They are readable.
    unsafe fn load_first(s: S, p: *const Self, lanes: usize) -> S::V;
}

impl<S: Simd<T>, T: Float> Stored<S, T> for T {
    #[inline(always)]
    unsafe fn load(s: S, p: *const T) -> S::V {
        // SAFETY: the caller's promise.
        unsafe { s.load(p) }
    }
    #[inline(always)]
    unsafe fn load_first(s: S, p: *const T, lanes: usize) -> S::V {
        // SAFETY: the caller's promise.
        unsafe { s.load_masked(p, s.first(lanes)) }
    }
}

impl<S: SimdF32> Stored<S, f32> for Bf16 {
    #[inline(always)]
    unsafe fn load(s: S, p: *const Self) -> S::V {
        // SAFETY: the caller's promise.
        unsafe { s.load_bf16(p) }
    }
    #[inline(always)]
    unsafe fn load_first(s: S, p: *const Self, lanes: usize) -> S::V {
        let mut first = [Self::from_f32(0.0); GROUP];
        // SAFETY: `lanes` numbers, and a vector has at most `GROUP` lanes.
        unsafe {
            p.copy_to_nonoverlapping(first.as_mut_ptr(), lanes);
            s.load_bf16(first.as_ptr())
        }
    }
}

/// Columns whose sums are kept in the first cache.
const SUMS: usize = 1024;

/// Rows of B that are added to them at a time.
const ROWS: usize = 16;

/// Vectors of sums that are in registers meanwhile.
const WIDE: usize = 8;

/// All of C, where B's rows are contiguous.
///
/// # Safety
/// See [`GemvFn`].
#[inline(always)]
unsafe fn rows<S: Simd<T>, T: Float, E: Stored<S, T>>(s: S, x: &Gemv<T>) {
    let Aligned(sums) = &mut Aligned([MaybeUninit::<T>::uninit(); SUMS]);
    for chunk in 0..x.k.div_ceil(CHUNK) {
        let end = x.k.min((chunk + 1) * CHUNK);
        for j in (0..x.n).step_by(SUMS) {
            let columns = SUMS.min(x.n - j);
            for p in (chunk * CHUNK..end).step_by(ROWS) {
                let (steps, first) = (ROWS.min(end - p), p == chunk * CHUNK);
                let mut i = 0;
                // SAFETY: these rows and columns of B, and the sums of these columns.
                unsafe {
                    while i + WIDE * S::LANES <= columns {
                        strip::<S, T, E, WIDE, false>(s, x, (p, steps), (j + i, S::LANES), first, &mut sums[i..]);
                        i += WIDE * S::LANES;
                    }
                    while i + WIDE / 2 * S::LANES <= columns {
                        strip::<S, T, E, { WIDE / 2 }, false>(
                            s,
                            x,
                            (p, steps),
                            (j + i, S::LANES),
                            first,
                            &mut sums[i..],
                        );
                        i += WIDE / 2 * S::LANES;
                    }
                    while i < columns {
                        let lanes = S::LANES.min(columns - i);
                        strip::<S, T, E, 1, true>(s, x, (p, steps), (j + i, lanes), first, &mut sums[i..]);
                        i += S::LANES;
                    }
                }
            }
            for i in (0..columns).step_by(S::LANES) {
                // SAFETY: the sums of these columns, all written above.
                unsafe { add(s, x, chunk, j + i, S::LANES.min(columns - i), s.load(sums[i..].as_ptr().cast())) };
            }
        }
    }
}

/// Adds the products of `steps` rows of B from `p` on to the sums of `N` vectors of columns from `j` on, which are 0 at
/// `first`. If it is `MASKED`, the vector has so many `lanes`.
///
/// # Safety
/// There are such rows and columns; unless it is the first time, the sums were written.
#[inline(always)]
unsafe fn strip<S: Simd<T>, T: Float, E: Stored<S, T>, const N: usize, const MASKED: bool>(
    s: S,
    x: &Gemv<T>,
    (p, steps): (usize, usize),
    (j, lanes): (usize, usize),
    first: bool,
    sums: &mut [MaybeUninit<T>],
) {
    let sums = sums[..N * S::LANES].as_mut_ptr().cast::<T>();
    let mut a = x.a.wrapping_offset(p as isize * x.a_col);
    let mut b = x.b.cast::<E>().wrapping_offset(p as isize * x.b_row).wrapping_add(j);
    // SAFETY: the caller's promise.
    unsafe {
        let mut acc = [s.splat(T::ZERO); N];
        if !first {
            for (v, acc) in acc.iter_mut().enumerate() {
                *acc = s.load(sums.add(v * S::LANES));
            }
        }
        for _ in 0..steps {
            let av = s.splat(*a);
            for (v, acc) in acc.iter_mut().enumerate() {
                let b = b.wrapping_add(v * S::LANES);
                *acc = s.fma(av, if MASKED { E::load_first(s, b, lanes) } else { E::load(s, b) }, *acc);
            }
            a = a.wrapping_offset(x.a_col);
            b = b.wrapping_offset(x.b_row);
        }
        for (v, acc) in acc.into_iter().enumerate() {
            s.store(sums.add(v * S::LANES), acc);
        }
    }
}

/// Computes the columns of C that make sets of `N` groups; tells how many they are.
///
/// # Safety
/// See [`GemvFn`].
#[inline(always)]
unsafe fn groups<S: Simd<T>, T: Float, const N: usize>(s: S, x: &Gemv<T>) -> usize {
    let mut copy = [MaybeUninit::<T>::uninit(); CHUNK];
    let mut j = 0;
    while j + N * S::LANES <= x.n {
        for chunk in 0..x.k.div_ceil(CHUNK) {
            let p = chunk * CHUNK;
            let steps = CHUNK.min(x.k - p);
            let b = from_fn(|i| x.b.wrapping_offset((j + i * S::LANES) as isize * x.b_col).wrapping_add(p));
            // SAFETY: `steps` elements of A, and of these columns of B and C.
            unsafe {
                let a = dense(x, p, &mut copy[..steps]);
                let [sums] = chains::<S, T, N, 1, true>(s, [[a; N]], b, x.b_col, steps, 0);
                for (i, sum) in sums.into_iter().enumerate() {
                    add(s, x, chunk, j + i * S::LANES, S::LANES, sum);
                }
            }
        }
        j += N * S::LANES;
    }
    j
}

/// Up to `M` rows of C.
///
/// # Safety
/// See [`GemvFn`]; A's rows and B's columns are contiguous, and there are as many columns as a pair of groups has.
#[inline(always)]
unsafe fn together<S: Simd<T>, T: Float, const M: usize>(s: S, x: &Gemv<T>) {
    let pair = PAIR * S::LANES;
    // Rows that are not there are the last once more, and dropped.
    let mut rows = [*x; M];
    for (i, row) in rows.iter_mut().enumerate() {
        *row = x.row(i.min(x.m - 1));
    }
    for j in (0..x.n).step_by(pair) {
        // The last pair begins earlier, so that it has all its columns.
        let from = j.min(x.n - pair);
        for chunk in 0..x.k.div_ceil(CHUNK) {
            let p = chunk * CHUNK;
            let steps = CHUNK.min(x.k - p);
            let a = rows.map(|row| [row.a.wrapping_add(p); PAIR]);
            let b = from_fn(|i| x.b.wrapping_offset((from + i * S::LANES) as isize * x.b_col).wrapping_add(p));
            // SAFETY: `steps` elements of A, and of these columns of B.
            let sums = unsafe { chains::<S, T, PAIR, M, true>(s, a, b, x.b_col, steps, 0) };
            for (row, sums) in rows.iter().zip(sums).take(x.m) {
                for (i, sum) in sums.into_iter().enumerate() {
                    let (first, end) = (from + i * S::LANES, from + (i + 1) * S::LANES);
                    if end > j {
                        // SAFETY: the columns of C from j on.
                        unsafe { add_last(s, row, chunk, (first.max(j), end), sum) };
                    }
                }
            }
        }
    }
}

/// [`add`], for the columns from `j` to `end`, whose sums are the last lanes.
///
/// # Safety
/// As there; they are one at least, and no more than lanes.
#[inline(always)]
unsafe fn add_last<S: Simd<T>, T: Float>(s: S, x: &Gemv<T>, chunk: usize, (j, end): (usize, usize), sum: S::V) {
    let mut lanes = [T::ZERO; 2 * GROUP];
    // SAFETY: a vector has at most `GROUP` lanes; the columns of C from j on.
    unsafe {
        s.store(lanes.as_mut_ptr(), sum);
        add(s, x, chunk, j, end - j, s.load(lanes.as_ptr().add(S::LANES - (end - j))));
    }
}

/// Elements of A from `p` on, adjacent: those of `copy`, as many as it has room for, where they are not so by
/// themselves.
///
/// # Safety
/// There are so many.
#[inline(always)]
unsafe fn dense<T: Float>(x: &Gemv<T>, p: usize, copy: &mut [MaybeUninit<T>]) -> *const T {
    let a = x.a.wrapping_offset(p as isize * x.a_col);
    if x.a_col == 1 {
        return a;
    }
    for (p, to) in copy.iter_mut().enumerate() {
        // SAFETY: an element of A.
        to.write(unsafe { *a.wrapping_offset(p as isize * x.a_col) });
    }
    copy.as_ptr().cast()
}

/// The columns of C from `j` on, `N` chunks side by side: whole chunks first, then what is left of k in all columns.
///
/// # Safety
/// See [`GemvFn`]; there are `LANES` columns or more in all.
#[inline(always)]
unsafe fn remaining<S: Simd<T>, T: Float, const N: usize>(s: S, x: &Gemv<T>, j: usize) {
    let whole = x.k / CHUNK;
    for (first, chunks, steps) in [(0, whole, CHUNK), (whole, 1, x.k % CHUNK)] {
        if chunks * steps > 0 {
            // SAFETY: the caller's promise.
            unsafe { side_by_side::<S, T, N>(s, x, j, (first, chunks), steps) };
        }
    }
}

/// Adds to the columns of C from `j` on the sums of `chunks` chunks from the `first` on, all of `steps` steps.
///
/// # Safety
/// See [`GemvFn`]; there are so many, and `LANES` columns or more in all.
#[inline(always)]
unsafe fn side_by_side<S: Simd<T>, T: Float, const N: usize>(
    s: S,
    x: &Gemv<T>,
    j: usize,
    (first, chunks): (usize, usize),
    steps: usize,
) {
    let mut copy = [[MaybeUninit::<T>::uninit(); CHUNK]; N];
    // Chunks of the same columns before those of others: columns that are a power of two apart share a few sets of the
    // first cache, which does not hold the lines of more than a group.
    let (mut j, mut chunk) = (j, first);
    while j < x.n {
        let (mut a, mut b, mut places) = ([x.a; N], [x.b; N], [(j, chunk); N]);
        let mut len = 0;
        for i in 0..N {
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
            // SAFETY: `steps` elements of A.
            a[i] = unsafe { dense(x, p, &mut copy[i][..steps]) };
        }
        // One chunk alone is a few streams, which the CPU fetches by itself.
        let next = if N > 1 && steps == CHUNK && j < x.n { N.div_ceil(chunks) * S::LANES } else { 0 };
        // SAFETY: `steps` elements of A, and of `LANES` columns of B.
        let [sums] = unsafe { chains::<S, T, N, 1, false>(s, [a], b, x.b_col, steps, next) };
        for (sum, (j, chunk)) in sums.into_iter().zip(places).take(len) {
            // SAFETY: the columns of C from j on.
            unsafe { add_last(s, x, chunk, (j, x.n.min(j + S::LANES)), sum) };
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
                    sum = link(s, sum, a, x.a_col, &load_half::<S, T, false>(s, b, x.b_col)[..half]);
                    let a = a.wrapping_offset(half as isize * x.a_col);
                    sum = link(s, sum, a, x.a_col, &load_half::<S, T, true>(s, b, x.b_col)[..half]);
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

/// The sums of `N` chunks for `M` rows of A, each `steps` long; where they are `SHARED`, the elements of A are the same
/// for all. Where they are not, the columns that come after these are `next` columns away, or 0 if none do.
///
/// # Safety
/// `steps` elements are readable at each of `a`, and of `LANES` columns at each of `b`.
#[inline(always)]
unsafe fn chains<S: Simd<T>, T: Float, const N: usize, const M: usize, const SHARED: bool>(
    s: S,
    a: [[*const T; N]; M],
    b: [*const T; N],
    b_col: isize,
    steps: usize,
    next: usize,
) -> [[S::V; N]; M] {
    let line = LINE / size_of::<T>();
    let mut sums = [[s.splat(T::ZERO); N]; M];
    let mut from = b;
    let whole = steps / S::LANES * S::LANES;
    for p in (0..whole).step_by(S::LANES) {
        if p.is_multiple_of(line) && SHARED {
            for b in from {
                // Addresses of their own: shared with the loads they would take all registers.
                let (mut ahead, apart) = (opaque(b), opaque_stride(b_col));
                for _ in 0..S::LANES {
                    prefetch::<false>(ahead.wrapping_add(2 * line));
                    ahead = ahead.wrapping_offset(apart);
                }
            }
        } else if p.is_multiple_of(line) && next > 0 {
            // As many lines of the next columns, in the order in which they lie.
            let lines = p / line * S::LANES;
            let (column, row) = (next + lines / (CHUNK / line), lines % (CHUNK / line) * line);
            for b in b {
                let ahead = opaque(b.wrapping_offset(column as isize * b_col).wrapping_add(row));
                for l in 0..S::LANES {
                    prefetch::<true>(ahead.wrapping_add(l * line));
                }
            }
        }
        // SAFETY: a square of each chain, and as many elements of A.
        unsafe {
            halves::<S, T, N, M, SHARED, false>(s, &mut sums, (&a, p), &mut from, b_col);
            halves::<S, T, N, M, SHARED, true>(s, &mut sums, (&a, p + S::LANES / 2), &mut from, b_col);
        }
        from = from.map(|b| b.wrapping_add(S::LANES));
    }
    if whole < steps {
        // Copies: what is lent would be kept in memory all the time.
        let (mut all, a, b) = (sums, a, b);
        // SAFETY: the steps that are left.
        unsafe { rest(s, all.as_flattened_mut(), a.as_flattened(), &b, b_col, (whole, steps)) };
        return all;
    }
    sums
}

/// Goes on with the sums, those of all groups for one row after the other, for the last steps, which make no square.
/// Not inlined: it is long, needed at most once a chunk, and would be in each function that has chains.
///
/// # Safety
/// The row that `S` belongs to is supported by this CPU; the elements of A, and of `LANES` columns at each of `b`, are
/// readable at these steps.
#[inline(never)]
unsafe fn rest<S: Simd<T>, T: Float>(
    s: S,
    sums: &mut [S::V],
    a: &[*const T],
    b: &[*const T],
    b_col: isize,
    (first, end): (usize, usize),
) {
    s.run(
        #[inline(always)]
        || {
            let (steps, groups) = (end - first, b.len());
            for (i, b) in b.iter().enumerate() {
                // SAFETY: the caller's promise.
                let square = unsafe { load_part(s, b.add(first), b_col, S::LANES, steps) };
                for i in (i..sums.len()).step_by(groups) {
                    // SAFETY: as above.
                    sums[i] = unsafe { link(s, sums[i], a[i].add(first), 1, &square[..steps]) };
                }
            }
        },
    );
}

/// Goes on with the sums for half a square each: the `UPPER` one of that at `b`, or the lower.
///
/// # Safety
/// The elements of the squares, and half as many of A from `p` on as they have steps, are readable.
#[inline(always)]
unsafe fn halves<S: Simd<T>, T: Float, const N: usize, const M: usize, const SHARED: bool, const UPPER: bool>(
    s: S,
    sums: &mut [[S::V; N]; M],
    (a, p): (&[[*const T; N]; M], usize),
    b: &mut [*const T; N],
    b_col: isize,
) {
    let half = S::LANES / 2;
    // Left alone the compiler mixes the chains, and spills. Several rows with many registers are slower for it.
    let ordered = M == 1 || S::REGISTERS < 32;
    // SAFETY: an element of A.
    let splat = |m: usize, i: usize, r: usize| s.splat(unsafe { *a[m][i].add(p + r) });
    // Some operands stay in registers: the squares of all groups where there are two rows.
    if M == 2 {
        let mut squares = [[sums[0][0]; GROUP]; N];
        for (square, &b) in squares.iter_mut().zip(&*b) {
            // SAFETY: the caller's promise.
            *square = unsafe { load_half::<S, T, UPPER>(s, b, b_col) };
        }
        for r in 0..half {
            for (m, sums) in sums.iter_mut().enumerate() {
                let av = splat(m, 0, r);
                for (sum, square) in sums.iter_mut().zip(&squares) {
                    *sum = s.fma(av, square[r], *sum);
                }
            }
        }
        for i in 0..N {
            if ordered {
                let next = &mut b[(i + 1) % N];
                (sums[M - 1][i], *next) = s.in_order(sums[M - 1][i], *next);
            }
        }
        return;
    }
    // The elements of A where there is one.
    let mut av = [sums[0][0]; GROUP / 2];
    for i in 0..N {
        if M == 1 && (i == 0 || !SHARED) {
            for (r, av) in av[..half].iter_mut().enumerate() {
                *av = splat(0, i, r);
            }
        }
        // SAFETY: the caller's promise.
        let square = unsafe { load_half::<S, T, UPPER>(s, b[i], b_col) };
        for (r, &step) in square[..half].iter().enumerate() {
            for (m, sums) in sums.iter_mut().enumerate() {
                let av = if M == 1 { av[r] } else { splat(m, i, r) };
                sums[i] = s.fma(av, step, sums[i]);
            }
        }
        if ordered {
            let next = &mut b[(i + 1) % N];
            for sums in sums.iter_mut() {
                (sums[i], *next) = s.in_order(sums[i], *next);
            }
        }
    }
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
