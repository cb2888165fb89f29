//! Functions of a row: reductions, softmax and its logarithm, and softmax with cross-entropy.
//!
//! A sum is taken in [`GROUP`] lanes, element i going to lane i mod `GROUP` in increasing i, and the lanes are then
//! halved (lane l takes lane l + 8, l + 4, l + 2, l + 1): the same order on every row of the table.

use super::exp::Exp;
use super::ln::{Ln, Log1p};
use super::parts::reciprocal;
use super::slices::{self, Unary};
use crate::gemm::workspace;
use crate::simd::{GROUP, SimdF32};
use crate::view::{MatMut, MatRef, times};
use std::array::from_fn;

/// A matrix whose rows are worked on: as [`MatMut`], with the obligations passed on to the caller.
#[derive(Clone, Copy)]
pub(crate) struct Rows {
    ptr: *mut f32,
    rows: usize,
    cols: usize,
    row: isize,
    col: isize,
}

impl Rows {
    pub(super) fn new(mut x: MatMut<'_, f32>) -> Self {
        Self { rows: x.rows(), cols: x.cols(), row: x.row_stride(), col: x.col_stride(), ptr: x.as_mut_ptr() }
    }

    /// Where row `i` begins.
    pub(super) fn at(self, i: usize) -> *mut f32 {
        self.ptr.wrapping_offset(times(i, self.row))
    }

    pub(super) const fn rows(self) -> usize {
        self.rows
    }

    /// `B` rows of up to [`GROUP`] elements from row `i` on; what is not there counts as -Inf.
    ///
    /// # Safety
    /// The rows are there, dense, and reached through `self` alone.
    #[inline(always)]
    unsafe fn read<S: SimdF32, const B: usize>(self, s: S, i: usize) -> [Group<S>; B] {
        let mut groups = [Group::splat(s, Max::START); B];
        for (b, group) in groups.iter_mut().enumerate() {
            // SAFETY: the caller's promise.
            *group = unsafe { Group::load(s, self.at(i + b), self.cols, Max::START) };
        }
        groups
    }

    /// Calls `f` with rows whose elements are adjacent: with all of them where they are, or with a copy of one at a
    /// time. `f` is told the number of the first.
    ///
    /// # Safety
    /// The elements are reached through `self` alone.
    #[inline(always)]
    pub(super) unsafe fn dense(self, mut f: impl FnMut(usize, Self)) {
        if self.rows == 0 || self.cols == 0 {
            return;
        }
        let adjacent = self.col == 1 || self.cols == 1;
        workspace::with(None, if adjacent { 0 } else { self.cols }, |copy: *mut f32| {
            for i in 0..if adjacent { 1 } else { self.rows } {
                let mut rows = self;
                if !adjacent {
                    // SAFETY: the elements of row i, and room for them.
                    unsafe { copied(self.at(i), self.col, copy, 1, self.cols) };
                    rows = Self { ptr: copy, rows: 1, col: 1, ..self };
                }
                f(i, rows);
                if !adjacent {
                    // SAFETY: as above.
                    unsafe { copied(copy, 1, self.at(i), self.col, self.cols) };
                }
            }
        });
    }
}

/// Copies `len` elements that are a stride apart to places that are another one apart.
///
/// # Safety
/// They are readable, their places writable.
#[inline(never)]
unsafe fn copied(from: *const f32, apart: isize, to: *mut f32, places: isize, len: usize) {
    for j in 0..len as isize {
        // SAFETY: the caller's promise.
        unsafe { *to.wrapping_offset(j * places) = *from.wrapping_offset(j * apart) };
    }
}

/// A function that folds a row.
pub(super) trait Fold {
    /// What elements that are not there count as.
    const START: f32;
    fn apply<S: SimdF32>(s: S, a: S::V, b: S::V) -> S::V;
}

pub(super) struct Sum;
impl Fold for Sum {
    const START: f32 = 0.0;
    #[inline(always)]
    fn apply<S: SimdF32>(s: S, a: S::V, b: S::V) -> S::V {
        s.add(a, b)
    }
}

struct Max;
impl Fold for Max {
    const START: f32 = -f32::INFINITY;
    #[inline(always)]
    fn apply<S: SimdF32>(s: S, a: S::V, b: S::V) -> S::V {
        s.max(a, b)
    }
}

/// The vectors of up to [`GROUP`] elements of a row.
#[derive(Clone, Copy)]
pub(super) struct Group<S: SimdF32> {
    lanes: [S::V; 4],
}

impl<S: SimdF32> Group<S> {
    /// Vectors of a group.
    const USED: usize = GROUP / S::LANES;

    /// `x` in every lane.
    #[inline(always)]
    pub(super) fn splat(s: S, x: f32) -> Self {
        const { assert!(Self::USED <= 4) };
        Self { lanes: [s.splat(x); 4] }
    }

    /// The first `n` of `GROUP` elements; those that are not there become `pad`.
    ///
    /// # Safety
    /// They are readable.
    #[inline(always)]
    pub(super) unsafe fn load(s: S, p: *const f32, n: usize, pad: f32) -> Self {
        let mut group = Self::splat(s, pad);
        for (v, lane) in group.lanes[..Self::USED].iter_mut().enumerate() {
            let (p, n) = (p.wrapping_add(v * S::LANES), n.saturating_sub(v * S::LANES));
            // SAFETY: the caller's promise.
            unsafe {
                if n >= S::LANES {
                    *lane = s.load(p);
                } else if n > 0 {
                    let mask = s.first(n);
                    *lane = s.select(mask, s.load_masked(p, mask), *lane);
                }
            }
        }
        group
    }

    /// Writes the first `n` of `GROUP` elements.
    ///
    /// # Safety
    /// They are writable.
    #[inline(always)]
    pub(super) unsafe fn store(&self, s: S, p: *mut f32, n: usize) {
        for (v, &lane) in self.lanes[..Self::USED].iter().enumerate() {
            let (p, n) = (p.wrapping_add(v * S::LANES), n.saturating_sub(v * S::LANES));
            // SAFETY: the caller's promise.
            unsafe {
                if n >= S::LANES {
                    s.store(p, lane);
                } else if n > 0 {
                    s.store_masked(p, s.first(n), lane);
                }
            }
        }
    }

    /// Lane by lane with another group.
    #[inline(always)]
    fn merge<F: Fold>(&mut self, s: S, other: &Self) {
        for (a, &b) in self.lanes[..Self::USED].iter_mut().zip(&other.lanes) {
            *a = F::apply(s, *a, b);
        }
    }

    /// All lanes folded into one value, which is in every lane of the result.
    #[inline(always)]
    fn fold<F: Fold>(&self, s: S) -> S::V {
        let [a, b, c, d] = self.lanes;
        let all = match Self::USED {
            1 => a,
            2 => F::apply(s, a, b),
            _ => F::apply(s, F::apply(s, a, c), F::apply(s, b, d)),
        };
        let all = halve::<S, F, 8>(s, all);
        let all = halve::<S, F, 4>(s, all);
        let all = halve::<S, F, 2>(s, all);
        halve::<S, F, 1>(s, all)
    }

    /// `f` of each vector.
    #[inline(always)]
    pub(super) fn map(mut self, f: impl Fn(S::V) -> S::V) -> Self {
        for x in &mut self.lanes[..Self::USED] {
            *x = f(*x);
        }
        self
    }

    /// The sums with the elements of another group.
    #[inline(always)]
    pub(super) fn add(mut self, s: S, other: Self) -> Self {
        for (x, &y) in self.lanes[..Self::USED].iter_mut().zip(&other.lanes) {
            *x = s.add(*x, y);
        }
        self
    }

    /// The products with the elements of another group.
    #[inline(always)]
    pub(super) fn mul(mut self, s: S, other: Self) -> Self {
        for (x, &y) in self.lanes[..Self::USED].iter_mut().zip(&other.lanes) {
            *x = s.mul(*x, y);
        }
        self
    }

    /// The elements become e^(x - top).
    #[inline(always)]
    fn exp(&mut self, s: S, top: S::V) {
        for x in &mut self.lanes[..Self::USED] {
            *x = Exp::below(s, *x, top);
        }
    }

    /// The elements become `finish(e / sum)`; `finish` is told the index of a vector's first. 1 / sum is given in two
    /// parts, whose use costs less than a division and is as exact but for 2^-24 of a rounding.
    #[inline(always)]
    fn divide(&mut self, s: S, (inverse, low): (S::V, S::V), at: usize, finish: impl Fn(S::V, usize) -> S::V) {
        for (v, x) in self.lanes[..Self::USED].iter_mut().enumerate() {
            *x = finish(s.fma(*x, inverse, s.mul(*x, low)), at + v * S::LANES);
        }
    }
}

/// Lane l takes lane l + D, and the other way round.
#[inline(always)]
fn halve<S: SimdF32, F: Fold, const D: usize>(s: S, v: S::V) -> S::V {
    if D < S::LANES {
        let (low, high) = s.trn::<D>(v, v);
        F::apply(s, low, high)
    } else {
        v
    }
}

/// Calls `f` with the index of the first element of each group of a row, and how many it has: a constant but for the
/// last one, so that whole groups are worked on without branches.
#[inline(always)]
fn groups(cols: usize, mut f: impl FnMut(usize, usize)) {
    let whole = cols / GROUP * GROUP;
    for at in (0..whole).step_by(GROUP) {
        f(at, GROUP);
    }
    if whole < cols {
        f(whole, cols - whole);
    }
}

/// Folds the elements of a row; the result is in every lane.
///
/// # Safety
/// They are readable.
#[inline(always)]
unsafe fn fold_row<S: SimdF32, F: Fold>(s: S, row: *const f32, cols: usize) -> S::V {
    let mut all = Group::splat(s, F::START);
    groups(
        cols,
        #[inline(always)]
        |at, n| {
            // SAFETY: `n` elements from `at` on are below `cols`.
            all.merge::<F>(s, &unsafe { Group::load(s, row.wrapping_add(at), n, F::START) });
        },
    );
    all.fold::<F>(s)
}

/// Folds the groups that `f` gives for the elements of a row from each index on; the result is in every lane.
#[inline(always)]
pub(super) fn fold<S: SimdF32, F: Fold>(s: S, cols: usize, f: impl Fn(usize) -> Group<S>) -> S::V {
    let mut all = Group::splat(s, F::START);
    for at in (0..cols).step_by(GROUP) {
        all.merge::<F>(s, &f(at));
    }
    all.fold::<F>(s)
}

/// 1 / x in two parts.
#[inline(always)]
fn inverse<S: SimdF32>(s: S, x: S::V) -> (S::V, S::V) {
    let (y, delta) = reciprocal(s, x, s.splat(0.0));
    (y, s.mul(y, delta))
}

/// The first lane.
#[inline(always)]
pub(super) fn first<S: SimdF32>(s: S, v: S::V) -> f32 {
    let mut x = 0.0;
    // SAFETY: one lane.
    unsafe { s.store_masked(&mut x, s.first(1), v) };
    x
}

/// e^(x - top), for x <= top.
#[derive(Clone, Copy)]
struct Below(f32);

impl Unary for Below {
    #[inline(always)]
    fn eval<S: SimdF32>(&self, s: S, x: S::V) -> S::V {
        Exp::below(s, x, s.splat(self.0))
    }
}

/// What becomes of a row of softmax.
trait Finish<S: SimdF32> {
    /// What [`Self::row`] wants to know of row `i`, which is at `row` and still as it was.
    ///
    /// # Safety
    /// The row is readable.
    unsafe fn before(&self, s: S, i: usize, row: *const f32) -> S::V;
    /// From that, the row's maximum and its sum of e^(x - max), each in every lane.
    fn row(&mut self, s: S, i: usize, before: S::V, top: S::V, sum: S::V);
    /// From the results p of row `i` at the index `at` and the next ones.
    fn element(&self, s: S, i: usize, at: usize, p: S::V) -> S::V;
}

/// As [`normalise`], for `B` rows from row `i` on of up to [`GROUP`] elements, which have been read.
///
/// # Safety
/// See [`normalise`].
#[inline(always)]
unsafe fn normalise_short<S: SimdF32, const B: usize>(
    s: S,
    rows: Rows,
    first: usize,
    i: usize,
    mut groups: [Group<S>; B],
    finish: &mut impl Finish<S>,
) {
    for (b, x) in groups.iter_mut().enumerate() {
        // SAFETY: the caller's promise.
        let before = unsafe { finish.before(s, first + i + b, rows.at(i + b)) };
        let top = x.fold::<Max>(s);
        x.exp(s, top);
        let sum = x.fold::<Sum>(s);
        finish.row(s, first + i + b, before, top, sum);
        x.divide(
            s,
            inverse(s, sum),
            0,
            #[inline(always)]
            |p, at| finish.element(s, first + i + b, at, p),
        );
    }
    for (b, x) in groups.iter().enumerate() {
        // SAFETY: the caller's promise.
        unsafe { x.store(s, rows.at(i + b), rows.cols) };
    }
}

/// Rows become `finish(e^(x - max) / sum)`. Elements that are not there count as -Inf, so as 0 in sums.
///
/// # Safety
/// The elements are reached through `rows` alone, which are dense.
#[inline(always)]
unsafe fn normalise<S: SimdF32>(s: S, rows: Rows, first: usize, finish: &mut impl Finish<S>) {
    let cols = rows.cols;
    // SAFETY: rows below `rows.rows` and columns below `cols`, as promised.
    unsafe {
        if cols <= GROUP {
            const BLOCK: usize = 4;
            // Not with short vectors: a block would be much code and slow.
            let blocked = if Group::<S>::USED <= 2 { rows.rows - rows.rows % BLOCK } else { 0 };
            if blocked > 0 {
                // A block is read before the last one is written: a load that overlaps a recent masked store, if only
                // outside of the mask, waits until that is in the cache.
                let mut next = rows.read::<S, BLOCK>(s, 0);
                for i in (0..blocked).step_by(BLOCK) {
                    let block = next;
                    next = rows.read(s, (i + BLOCK).min(blocked - BLOCK));
                    normalise_short(s, rows, first, i, block, finish);
                }
            }
            for i in blocked..rows.rows {
                normalise_short(s, rows, first, i, rows.read::<S, 1>(s, i), finish);
            }
            return;
        }
        for i in 0..rows.rows {
            let row = rows.at(i);
            let top = fold_row::<S, Max>(s, row, cols);
            let before = finish.before(s, first + i, row);
            // Long chains, so several vectors at once; the sum is a pass of its own.
            slices::each::<S::Wide, _, 1, 1>(&Below(self::first(s, top)), [row], [row], cols);
            let sum = fold_row::<S, Sum>(s, row, cols);
            finish.row(s, first + i, before, top, sum);
            let inverse = inverse(s, sum);
            groups(
                cols,
                #[inline(always)]
                |at, n| {
                    let mut e = Group::load(s, row.add(at), n, 0.0);
                    e.divide(
                        s,
                        inverse,
                        at,
                        #[inline(always)]
                        |p, at| finish.element(s, first + i, at, p),
                    );
                    e.store(s, row.add(at), n);
                },
            );
        }
    }
}

/// Softmax alone.
struct Probabilities;

impl<S: SimdF32> Finish<S> for Probabilities {
    #[inline(always)]
    unsafe fn before(&self, s: S, _: usize, _: *const f32) -> S::V {
        s.splat(0.0)
    }
    #[inline(always)]
    fn row(&mut self, _: S, _: usize, _: S::V, _: S::V, _: S::V) {}
    #[inline(always)]
    fn element(&self, _: S, _: usize, _: usize, p: S::V) -> S::V {
        p
    }
}

/// See [`Backend::softmax`](crate::Backend::softmax).
///
/// # Safety
/// The row that `S` belongs to is supported by this CPU; the elements are reached through `rows` alone.
pub(super) unsafe fn softmax<S: SimdF32>(rows: Rows) {
    // SAFETY: the caller's promise.
    let s = unsafe { S::assume() };
    // SAFETY: the caller's promise.
    unsafe {
        rows.dense(|first, rows| {
            s.run(
                #[inline(always)]
                || normalise(s, rows, first, &mut Probabilities),
            );
        });
    }
}

/// Softmax with its cross-entropy and gradient.
struct CrossEntropy<'a> {
    labels: &'a [u32],
    scale: f32,
    losses: &'a mut [f32],
}

impl<S: SimdF32> Finish<S> for CrossEntropy<'_> {
    #[inline(always)]
    unsafe fn before(&self, s: S, i: usize, row: *const f32) -> S::V {
        // SAFETY: labels are below the number of columns.
        s.splat(unsafe { *row.add(self.labels[i] as usize) })
    }
    #[inline(always)]
    fn row(&mut self, s: S, i: usize, chosen: S::V, top: S::V, sum: S::V) {
        self.losses[i] = first(s, s.sub(Ln.eval(s, sum), s.sub(chosen, top)));
    }
    #[inline(always)]
    fn element(&self, s: S, i: usize, at: usize, p: S::V) -> S::V {
        s.mul(s.sub(p, one_hot(s, self.labels[i] as usize, at)), s.splat(self.scale))
    }
}

/// See [`Backend::softmax_cross_entropy`](crate::Backend::softmax_cross_entropy).
///
/// # Safety
/// The row that `S` belongs to is supported by this CPU; the elements are reached through `rows` alone; there is a
/// loss and a label, below the number of columns, for each row.
pub(super) unsafe fn softmax_cross_entropy<S: SimdF32>(rows: Rows, labels: &[u32], scale: f32, losses: &mut [f32]) {
    // SAFETY: the caller's promise.
    let s = unsafe { S::assume() };
    let mut finish = CrossEntropy { labels, scale, losses };
    // SAFETY: the caller's promise.
    unsafe {
        rows.dense(|first, rows| {
            s.run(
                #[inline(always)]
                || normalise(s, rows, first, &mut finish),
            );
        });
    }
}

/// 1 in the lane of element `label` of a vector that starts at element `at`, else 0.
#[inline(always)]
fn one_hot<S: SimdF32>(s: S, label: usize, at: usize) -> S::V {
    let (zero, one) = (s.splat(0.0), s.splat(1.0));
    let through = s.first((label + 1).saturating_sub(at).min(S::LANES));
    let before = s.first(label.saturating_sub(at).min(S::LANES));
    s.select(before, zero, s.select(through, one, zero))
}

/// See [`Backend::column_sums`](crate::Backend::column_sums).
///
/// # Safety
/// The row that `S` belongs to is supported by this CPU; `out` has an element for each column.
pub(super) unsafe fn column_sums<S: SimdF32>(x: MatRef<'_, f32>, out: &mut [f32]) {
    // SAFETY: the caller's promise.
    let s = unsafe { S::assume() };
    let (rows, cols) = x.shape();
    if x.col_stride() != 1 {
        // Each sum is a chain of additions: a few side by side. Columns that are not there are the last once more.
        const CHAINS: usize = 8;
        for j in (0..cols).step_by(CHAINS) {
            let column = |v: usize| x.as_ptr().wrapping_offset(times((j + v).min(cols - 1), x.col_stride()));
            let (columns, mut sums): ([_; CHAINS], _) = (from_fn(column), [0.0; CHAINS]);
            for i in 0..rows {
                for (sum, column) in sums.iter_mut().zip(columns) {
                    // SAFETY: an element of row i.
                    *sum += unsafe { *column.wrapping_offset(times(i, x.row_stride())) };
                }
            }
            let there = CHAINS.min(cols - j);
            out[j..j + there].copy_from_slice(&sums[..there]);
        }
        return;
    }
    s.run(
        #[inline(always)]
        || {
            let row = |i: usize| x.as_ptr().wrapping_offset(times(i, x.row_stride()));
            // Each sum is a chain of additions: as many side by side as hide their latency.
            const WIDE: usize = 8;
            let wide = cols / (WIDE * S::LANES) * (WIDE * S::LANES);
            for j in (0..wide).step_by(WIDE * S::LANES) {
                let mut sums = [s.splat(0.0); WIDE];
                for i in 0..rows {
                    for (v, sum) in sums.iter_mut().enumerate() {
                        // SAFETY: columns of row i.
                        *sum = s.add(*sum, unsafe { s.load(row(i).add(j + v * S::LANES)) });
                    }
                }
                for (v, sum) in sums.into_iter().enumerate() {
                    // SAFETY: `out` has an element for each column.
                    unsafe { s.store(out.as_mut_ptr().add(j + v * S::LANES), sum) };
                }
            }
            for j in (wide..cols).step_by(S::LANES) {
                let mask = s.first((cols - j).min(S::LANES));
                let mut sum = s.splat(0.0);
                for i in 0..rows {
                    // SAFETY: the masked lanes are columns of row i.
                    sum = s.add(sum, unsafe { s.load_masked(row(i).add(j), mask) });
                }
                // SAFETY: the masked lanes are in `out`.
                unsafe { s.store_masked(out.as_mut_ptr().add(j), mask, sum) };
            }
        },
    );
}

/// What a row is reduced to.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Reduction {
    Sum,
    Max,
    LogSumExp,
}

/// Calls `f` with the number of each row and where its elements are, adjacent: in place or as a copy.
#[inline(always)]
fn each_row(x: MatRef<'_, f32>, mut f: impl FnMut(usize, *const f32)) {
    let dense = x.col_stride() == 1 || x.cols() <= 1;
    workspace::with(None, if dense || x.rows() == 0 { 0 } else { x.cols() }, |copy: *mut f32| {
        for i in 0..x.rows() {
            let mut row = x.as_ptr().wrapping_offset(times(i, x.row_stride()));
            if !dense {
                // SAFETY: the elements of row i, and room for them.
                unsafe { copied(row, x.col_stride(), copy, 1, x.cols()) };
                row = copy;
            }
            f(i, row);
        }
    });
}

/// Each row reduced to a number.
///
/// # Safety
/// The row that `S` belongs to is supported by this CPU; `out` has an element for each row.
pub(super) unsafe fn reduce<S: SimdF32>(what: Reduction, x: MatRef<'_, f32>, out: &mut [f32]) {
    // SAFETY: the caller's promise.
    let s = unsafe { S::assume() };
    let cols = x.cols();
    each_row(x, |i, row| {
        s.run(
            #[inline(always)]
            || {
                let result = match what {
                    // SAFETY: the elements of a row of the matrix.
                    Reduction::Sum => unsafe { fold_row::<S, Sum>(s, row, cols) },
                    // SAFETY: as above.
                    Reduction::Max => unsafe { max(s, row, cols) },
                    Reduction::LogSumExp => {
                        // SAFETY: as above.
                        let (top, log) = unsafe { log_sum(s, row, cols) };
                        // Where all are -Inf the sum is 0.
                        s.select(s.lt(s.splat(-f32::INFINITY), top), s.add(top, log), top)
                    }
                };
                out[i] = first(s, result);
            },
        );
    });
}

/// The elements of a row from `at` on, for a fold.
///
/// # Safety
/// The row has `cols` elements, readable; `at` is below.
#[inline(always)]
unsafe fn elements<S: SimdF32, F: Fold>(s: S, row: *const f32, cols: usize, at: usize) -> Group<S> {
    // SAFETY: the caller's promise.
    unsafe { Group::load(s, row.wrapping_add(at), cols - at, F::START) }
}

/// The largest element, in every lane: +Inf if one is a NaN.
///
/// # Safety
/// The elements are readable.
#[inline(always)]
unsafe fn max<S: SimdF32>(s: S, row: *const f32, cols: usize) -> S::V {
    let infinity = s.splat(f32::INFINITY);
    fold::<S, Max>(
        s,
        cols,
        #[inline(always)]
        |at| {
            // SAFETY: `at` is below `cols`.
            let x = unsafe { elements::<S, Max>(s, row, cols, at) };
            x.map(
                #[inline(always)]
                |x| s.select(s.lt(x, infinity), x, infinity),
            )
        },
    )
}

/// The largest element of a row, and ln(sum of e^(x - top)), which is 0 or more: of 1 + the sum of the others, so that
/// it is exact to some ULPs where they are small. NaN where the row has a NaN or +Inf.
///
/// # Safety
/// The elements are readable.
#[inline(always)]
unsafe fn log_sum<S: SimdF32>(s: S, row: *const f32, cols: usize) -> (S::V, S::V) {
    // SAFETY: the caller's promise.
    let top = unsafe { max(s, row, cols) };
    let (zero, one) = (s.splat(0.0), s.splat(1.0));
    let others = fold::<S, Sum>(
        s,
        cols,
        #[inline(always)]
        |at| {
            // SAFETY: `at` is below `cols`.
            let x = unsafe { elements::<S, Max>(s, row, cols, at) };
            x.map(
                #[inline(always)]
                |x| {
                    let e = Exp::below(s, x, top);
                    s.select(s.lt(x, top), e, s.sub(e, one))
                },
            )
        },
    );
    let tops = fold::<S, Sum>(
        s,
        cols,
        #[inline(always)]
        |at| {
            // SAFETY: `at` is below `cols`.
            let x = unsafe { elements::<S, Max>(s, row, cols, at) };
            x.map(
                #[inline(always)]
                |x| s.select(s.lt(x, top), zero, one),
            )
        },
    );
    (top, Log1p.eval(s, s.add(others, s.sub(tops, one))))
}

/// See [`Backend::log_softmax`](crate::Backend::log_softmax).
///
/// # Safety
/// The row that `S` belongs to is supported by this CPU; the elements are reached through `rows` alone.
pub(super) unsafe fn log_softmax<S: SimdF32>(rows: Rows) {
    // SAFETY: the caller's promise.
    let s = unsafe { S::assume() };
    // SAFETY: the caller's promise.
    unsafe {
        rows.dense(|_, rows| {
            for i in 0..rows.rows {
                let (row, cols) = (rows.at(i), rows.cols);
                s.run(
                    #[inline(always)]
                    || {
                        let (top, log) = log_sum(s, row, cols);
                        for at in (0..cols).step_by(GROUP) {
                            let x = Group::load(s, row.add(at), cols - at, 0.0);
                            let y = x.map(
                                #[inline(always)]
                                |x| s.sub(s.sub(x, top), log),
                            );
                            y.store(s, row.add(at), cols - at);
                        }
                    },
                );
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use crate::reference::ulps;
    use crate::{Backend, MatMut, MatRef};

    fn logits(rows: usize, cols: usize) -> Vec<f32> {
        (0..rows * cols).map(|i| ((i * 2_654_435_761_usize) % 1000) as f32 * 0.02 - 10.0).collect()
    }

    /// Every supported row of the table gives the same bits, which are returned; on a CPU without FMA, those of
    /// `plain`.
    fn on_all(f: impl Fn(&'static Backend) -> Vec<f32>) -> Vec<f32> {
        let bits = |v: &[f32]| v.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
        let want = f(Backend::exact());
        for backend in Backend::supported().filter(|b| b.bits_match()) {
            assert_eq!(bits(&f(backend)), bits(&want), "{backend:?}");
        }
        want
    }

    #[test]
    fn softmax_is_close_and_sums_to_one() {
        for cols in 1..70 {
            let x = logits(3, cols);
            let y = on_all(|backend| {
                let mut y = x.clone();
                backend.softmax(MatMut::new(&mut y, 3, cols).unwrap());
                y
            });
            for (x, y) in x.chunks(cols).zip(y.chunks(cols)) {
                let top = x.iter().fold(f64::MIN, |a, &b| a.max(f64::from(b)));
                let sum: f64 = x.iter().map(|&v| (f64::from(v) - top).exp()).sum();
                for (&x, &y) in x.iter().zip(y) {
                    let error = ulps(y, (f64::from(x) - top).exp() / sum);
                    assert!(error < 3.0, "{error} ULP at {x} with maximum {top}");
                }
            }
        }
    }

    #[test]
    fn softmax_of_a_column_major_matrix_is_the_same() {
        let (rows, cols) = (5, 11);
        let x = logits(rows, cols);
        let backend = Backend::active().unwrap();
        let mut dense = x.clone();
        backend.softmax(MatMut::new(&mut dense, rows, cols).unwrap());
        let mut columns: Vec<f32> = (0..rows * cols).map(|i| x[i % rows * cols + i / rows]).collect();
        backend.softmax(MatMut::col_major(&mut columns, rows, cols).unwrap());
        for i in 0..rows {
            for j in 0..cols {
                assert_eq!(dense[i * cols + j].to_bits(), columns[j * rows + i].to_bits());
            }
        }
    }

    #[test]
    fn special_rows_of_softmax() {
        for backend in Backend::supported() {
            for bad in [[0.0, f32::NAN], [1.0, f32::INFINITY], [-f32::INFINITY; 2]] {
                let mut x = bad;
                backend.softmax(MatMut::new(&mut x, 1, 2).unwrap());
                assert!(x.iter().all(|x| x.is_nan()), "{backend:?}: {bad:?} became {x:?}");
            }
            let mut x = [3.0, -f32::INFINITY, 3.0];
            backend.softmax(MatMut::new(&mut x, 1, 3).unwrap());
            assert_eq!(x, [0.5, 0.0, 0.5]);
            backend.softmax(MatMut::new(&mut [], 2, 0).unwrap());
            let mut x = [f32::MAX];
            backend.softmax(MatMut::new(&mut x, 1, 1).unwrap());
            assert_eq!(x, [1.0]);
        }
    }

    #[test]
    fn cross_entropy_and_its_gradient() {
        for cols in [1, 2, 10, 16, 17, 40] {
            let x = logits(4, cols);
            let labels: Vec<u32> = (0..4).map(|i| (i * 7 % cols) as u32).collect();
            let all = on_all(|backend| {
                let (mut z, mut losses) = (x.clone(), vec![f32::NAN; 4]);
                let view = MatMut::new(&mut z, 4, cols).unwrap();
                backend.softmax_cross_entropy(view, &labels, 0.25, &mut losses).unwrap();
                losses.extend(z);
                losses
            });
            let (losses, grads) = all.split_at(4);
            for i in 0..4 {
                let z: Vec<f64> = x[i * cols..][..cols].iter().map(|&v| f64::from(v)).collect();
                let sum: f64 = z.iter().map(|z| z.exp()).sum();
                let label = labels[i] as usize;
                assert!((f64::from(losses[i]) - (sum.ln() - z[label])).abs() < 1e-5);
                for j in 0..cols {
                    let want = (z[j].exp() / sum - f64::from(u8::from(j == label))) * 0.25;
                    assert!((f64::from(grads[i * cols + j]) - want).abs() < 1e-6);
                }
            }
        }
    }

    #[test]
    fn a_label_out_of_range_is_refused() {
        let backend = Backend::active().unwrap();
        let (mut z, mut losses) = ([1.0; 6], [0.0; 2]);
        let view = MatMut::new(&mut z, 2, 3).unwrap();
        let error = backend.softmax_cross_entropy(view, &[2, 3], 1.0, &mut losses).unwrap_err().to_string();
        assert_eq!(error, "label 3 of row 1 is not below the 3 classes");
        assert_eq!((z, losses), ([1.0; 6], [0.0; 2]));
    }

    #[test]
    fn column_sums_add_in_order() {
        for cols in [1, 7, 16, 33, 64, 150] {
            let x = logits(6, cols);
            let want: Vec<f32> = (0..cols).map(|j| (0..6).fold(0.0, |s, i| s + x[i * cols + j])).collect();
            let got = on_all(|backend| {
                let mut out = vec![f32::NAN; cols];
                backend.column_sums(MatRef::new(&x, 6, cols).unwrap(), &mut out).unwrap();
                out
            });
            assert_eq!(got, want);
            let mut out = vec![0.0; 6];
            Backend::active().unwrap().column_sums(MatRef::new(&x, 6, cols).unwrap().t(), &mut out).unwrap();
            assert_eq!(out[1], x[cols..2 * cols].iter().fold(0.0, |s, x| s + x));
        }
    }

    #[test]
    fn log_softmax_is_close_even_near_zero() {
        for cols in 1..70 {
            for spread in [1.0, 4.0] {
                let x: Vec<f32> = logits(3, cols).iter().map(|x| x * spread).collect();
                let y = on_all(|backend| {
                    let mut y = x.clone();
                    backend.log_softmax(MatMut::new(&mut y, 3, cols).unwrap());
                    let mut sums = vec![0.0; 3];
                    backend.log_sum_exp(MatRef::new(&x, 3, cols).unwrap(), &mut sums).unwrap();
                    y.extend(sums);
                    y
                });
                let (y, sums) = y.split_at(3 * cols);
                for ((x, y), &log_sum) in x.chunks(cols).zip(y.chunks(cols)).zip(sums) {
                    let top = x.iter().copied().fold(f32::MIN, f32::max);
                    let peak = x.iter().position(|&x| x == top).unwrap();
                    let term = |j: usize| if j == peak { 0.0 } else { (f64::from(x[j]) - f64::from(top)).exp() };
                    let log = (0..cols).map(term).sum::<f64>().ln_1p();
                    assert!((f64::from(log_sum) - f64::from(top) - log).abs() < 3e-6);
                    for (&x, &y) in x.iter().zip(y) {
                        let want = f64::from(x) - f64::from(top) - log;
                        let error = if want == 0.0 { f64::from(y).abs() } else { ulps(y, want) };
                        assert!(error < 4.0, "{error} ULP: {y} at {x} with maximum {top}, not {want}");
                    }
                }
            }
        }
    }

    #[test]
    fn reductions_of_rows() {
        for cols in [1, 2, 15, 16, 17, 40, 100] {
            let x = logits(4, cols);
            let view = MatRef::new(&x, 4, cols).unwrap();
            // The same matrix, column after column.
            let columns: Vec<f32> = (0..4 * cols).map(|i| x[i % 4 * cols + i / 4]).collect();
            let all = on_all(|backend| {
                let (mut sums, mut tops, mut again) = ([0.0; 4], [0.0; 4], [0.0; 4]);
                backend.row_sums(view, &mut sums).unwrap();
                backend.row_max(view, &mut tops).unwrap();
                backend.row_sums(MatRef::col_major(&columns, 4, cols).unwrap(), &mut again).unwrap();
                assert_eq!(sums, again);
                let mut at = [0; 4];
                backend.row_argmax(view, &mut at).unwrap();
                for (i, &at) in at.iter().enumerate() {
                    let first = (0..cols).find(|&j| view.get(i, j) == tops[i]);
                    assert_eq!(first, Some(at as usize));
                }
                [sums, tops].concat()
            });
            for (i, row) in x.chunks(cols).enumerate() {
                let sum: f64 = row.iter().map(|&x| f64::from(x)).sum();
                assert!((f64::from(all[i]) - sum).abs() < 1e-4);
                assert_eq!(all[4 + i], row.iter().copied().fold(f32::MIN, f32::max));
            }
        }
    }

    #[test]
    fn special_rows_of_reductions() {
        const INF: f32 = f32::INFINITY;
        for backend in Backend::supported() {
            let reduced = |x: &[f32]| {
                let view = MatRef::new(x, 1, x.len()).unwrap();
                let (mut sum, mut top, mut log) = ([5.0], [5.0], [5.0]);
                backend.row_sums(view, &mut sum).unwrap();
                backend.row_max(view, &mut top).unwrap();
                backend.log_sum_exp(view, &mut log).unwrap();
                [sum[0], top[0], log[0]]
            };
            let argmax = |x: &[f32]| {
                let mut at = [7];
                backend.row_argmax(MatRef::new(x, 1, x.len()).unwrap(), &mut at).map(|()| at[0])
            };
            assert_eq!(reduced(&[]), [0.0, -INF, -INF], "{backend:?}");
            assert!(argmax(&[]).is_err());
            assert!(backend.row_argmax(MatRef::new(&[], 0, 0).unwrap(), &mut []).is_ok(), "no row, no question");
            assert_eq!(reduced(&[-INF; 3]), [-INF; 3], "{backend:?}");
            assert_eq!((argmax(&[-INF; 3]).unwrap(), argmax(&[1.0, INF, INF]).unwrap()), (0, 1));
            assert_eq!(reduced(&[1.0, INF])[..2], [INF; 2], "{backend:?}");
            assert!(reduced(&[1.0, INF])[2].is_nan(), "{backend:?}");
            assert!(reduced(&[INF, f32::NAN, 2.0]).iter().all(|x| x.is_nan()), "{backend:?}");
            assert_eq!(argmax(&[INF, f32::NAN, 2.0, f32::NAN]).unwrap(), 1);
            assert_eq!(reduced(&[88.0, 88.0])[2], 88.0 + std::f32::consts::LN_2);
            for bad in [[0.0, f32::NAN], [1.0, INF], [-INF; 2]] {
                let mut x = bad;
                backend.log_softmax(MatMut::new(&mut x, 1, 2).unwrap());
                assert!(x.iter().all(|x| x.is_nan()), "{backend:?}: {bad:?} became {x:?}");
            }
            let mut x = [3.0, -INF];
            backend.log_softmax(MatMut::new(&mut x, 1, 2).unwrap());
            assert_eq!(x, [0.0, -INF], "{backend:?}");
            backend.log_softmax(MatMut::new(&mut [], 2, 0).unwrap());
        }
    }
}
