//! The packer of the tile unit: 16 lines (rows of A or columns of B) of one chunk of k become a record of bf16 tiles.
//!
//! ```text
//!   record   ranges of the lines | tiles of step 0: part 1, part 2, .. | of step 1 | ..  | the f32 numbers, if kept
//!
//!   a tile of A: row i   is line i,    k = 0, 1, 2, .. 31 of the step
//!   a tile of B: row q   is k = 2q and 2q + 1 of line 0, of line 1, .. of line 15
//! ```
//!
//! A panel is the records of all chunks, and lines that are not there are zeros, as is k beyond the last.

use super::model::{Range, STEP};
use super::tile::{TILE, TILE_LEN};
use crate::CHUNK;
use crate::backend::Kernel;
use crate::gemm::Precision;
use crate::gemm::pack::Pack;
use crate::gemm::packed::Side;
use crate::gemm::precision::nearest_normal;
use crate::simd::SimdF32;

/// What the packer needs of an instruction set beside.
pub(crate) trait Pairs: SimdF32 {
    /// The upper halves of the lanes of `low` and `high`, in order.
    fn halves(self, low: Self::V, high: Self::V) -> Self::V;
}

/// How records lie, for a precision, and whether they keep the f32 numbers, as packed operands do.
#[derive(Clone, Copy)]
pub(crate) struct Form {
    pub precision: Precision,
    pub keep: bool,
}

/// f32 numbers in the room of the ranges, whole cache lines.
const HEAD: usize = 32;

impl Form {
    /// f32 numbers in the room of a record of depth `k`, at most [`CHUNK`].
    pub(crate) const fn record(self, k: usize) -> usize {
        let kept = if self.keep { TILE * STEP } else { 0 };
        HEAD + k.div_ceil(STEP) * (self.precision.parts() * TILE_LEN + kept)
    }

    /// f32 numbers in the room of a panel of depth `k`; `None` where there are too many. A multiple of [`TILE`].
    pub(crate) fn panel(self, k: usize) -> Option<usize> {
        let rest = if k.is_multiple_of(CHUNK) { 0 } else { self.record(k % CHUNK) };
        (k / CHUNK).checked_mul(self.record(CHUNK))?.checked_add(rest)
    }

    /// The record that begins at `k = p`, of a panel.
    pub(super) fn chunk(self, panel: *const f32, p: usize) -> *const f32 {
        panel.wrapping_add(p / CHUNK * self.record(CHUNK))
    }

    /// The f32 numbers of a record of depth `k`, which keeps them: lines after one another, or steps of [`TILE`] lines.
    pub(super) fn kept(self, record: *const f32, k: usize) -> *const f32 {
        record.wrapping_add(HEAD + k.div_ceil(STEP) * self.precision.parts() * TILE_LEN)
    }
}

/// The tiles of a record.
pub(super) fn tiles(record: *const f32) -> *const f32 {
    record.wrapping_add(HEAD)
}

/// The ranges of the lines of a record.
///
/// # Safety
/// It is one, and outlives them.
pub(super) unsafe fn ranges<'a>(record: *const f32) -> &'a [Range; TILE] {
    // SAFETY: the caller's promise; a record begins with them, at a cache line.
    unsafe { &*record.cast() }
}

/// f32 numbers in the room for lines of one chunk as they are: of A, and of B.
pub(crate) const ROOM: usize = 2 * TILE * CHUNK;

/// Packs one record: at most [`TILE`] lines of one chunk.
///
/// # Safety
/// The kernel's row, which is that of `S`, is supported by this CPU; the lines are readable; there is room for the
/// record, and [`ROOM`] at `room`, both at a cache line.
pub(crate) unsafe fn record<S: Pairs>(kernel: &Kernel<f32>, side: Side, form: Form, x: &Pack<f32>, room: *mut f32) {
    let depth = x.k.next_multiple_of(STEP);
    let whole = x.lines == TILE && x.k == depth;
    // Rows of what is split: lines of A, steps of B.
    let from = if side == Side::A { x.from } else { x.from.t() };
    let adjacent = from.col == 1 && !from.bf16;
    let (rows, cols) = if side == Side::A { (TILE, depth) } else { (depth, TILE) };
    let dense = if whole && adjacent && !form.keep {
        (from.ptr.cast_const(), from.row)
    } else {
        let copy = if form.keep { form.kept(x.to, x.k).cast_mut() } else { room };
        // The packer's panels hold the steps of its lines, so that these are the columns.
        let (lines, k) = if side == Side::A { (x.k, x.lines) } else { (x.lines, x.k) };
        // SAFETY: there is room for 16 lines; the lines of the source are readable.
        unsafe {
            if !whole {
                copy.write_bytes(0, rows * cols);
            }
            let exact = Precision::F32;
            (kernel.pack)(&Pack { from: from.t(), lines, k, to: copy, width: cols, precision: exact });
        }
        (copy.cast_const(), cols as isize)
    };
    // SAFETY: the row is supported, by the caller's promise.
    let s = unsafe { S::assume() };
    // SAFETY: rows of all lines and steps, room for the record.
    s.run(
        #[inline(always)]
        || unsafe {
            let (to, ranges) = (x.to.wrapping_add(HEAD), x.to.cast::<Range>());
            match (side, form.precision.parts()) {
                (Side::A, 1) => split_a::<S, 1>(s, dense, depth, to, ranges),
                (Side::A, 2) => split_a::<S, 2>(s, dense, depth, to, ranges),
                (Side::A, _) => split_a::<S, 3>(s, dense, depth, to, ranges),
                (Side::B, 1) => split_b::<S, 1>(s, dense, depth, to, ranges),
                (Side::B, 2) => split_b::<S, 2>(s, dense, depth, to, ranges),
                (Side::B, _) => split_b::<S, 3>(s, dense, depth, to, ranges),
            }
        },
    );
}

/// The extremes of what lanes have seen.
struct Extremes<S: SimdF32> {
    least: S::V,
    most: S::V,
    /// NaN where there was a NaN or an infinity.
    zero: S::V,
}

impl<S: SimdF32> Extremes<S> {
    #[inline(always)]
    fn new(s: S) -> Self {
        Self { least: s.splat(f32::INFINITY), most: s.splat(0.0), zero: s.splat(0.0) }
    }

    #[inline(always)]
    fn see(&mut self, s: S, x: S::V) {
        let (size, zero) = (s.abs(x), s.splat(0.0));
        self.most = s.max(size, self.most);
        self.least = s.min(s.select(s.lt(zero, size), size, self.least), self.least);
        self.zero = s.fma(x, zero, self.zero);
    }

    /// The least, the largest, and whether there was a NaN, of each lane.
    #[inline(always)]
    fn lanes(&self, s: S) -> [[f32; TILE]; 3] {
        let mut lanes = [[0.0; TILE]; 3];
        for (lanes, v) in lanes.iter_mut().zip([self.least, self.most, self.zero]) {
            // SAFETY: a vector has at most as many lanes.
            unsafe { s.store(lanes.as_mut_ptr(), v) };
        }
        lanes
    }
}

/// The first `N` parts of the elements, in the upper halves of the lanes.
#[inline(always)]
fn parts<S: SimdF32, const N: usize>(s: S, x: S::V) -> [S::V; N] {
    let (mut rest, mut parts) = (x, [x; N]);
    for (i, part) in parts.iter_mut().enumerate() {
        // The third part has no more than 8 bits by itself.
        *part = if i == 2 { rest } else { nearest_normal::<S, 16>(s, rest) };
        rest = s.sub(rest, *part);
    }
    parts
}

/// # Safety
/// There are [`TILE`] rows of `depth` numbers, and room for their tiles and ranges.
#[inline(always)]
unsafe fn split_a<S: Pairs, const N: usize>(
    s: S,
    (from, row): (*const f32, isize),
    depth: usize,
    to: *mut f32,
    ranges: *mut Range,
) {
    for i in 0..TILE {
        let from = from.wrapping_offset(i as isize * row);
        let mut seen = Extremes::new(s);
        // Two vectors of numbers become one of pairs.
        for p in (0..depth).step_by(2 * S::LANES) {
            // SAFETY: numbers of row i.
            let (low, high) = unsafe { (s.load(from.add(p)), s.load(from.add(p + S::LANES))) };
            seen.see(s, low);
            seen.see(s, high);
            let (low, high) = (parts::<S, N>(s, low), parts::<S, N>(s, high));
            for part in 0..N {
                let tile = to.wrapping_add((p / STEP * N + part) * TILE_LEN + i * TILE + p % STEP / 2);
                // SAFETY: their place in the tile.
                unsafe { s.store(tile, s.halves(low[part], high[part])) };
            }
        }
        let [least, most, zero] = seen.lanes(s);
        let lanes = 0..S::LANES;
        let range = lanes.fold(Range::of(&[]), |range, l| range.with(Range::new(least[l], most[l], zero[l] != 0.0)));
        // SAFETY: there is room for the ranges of all rows.
        unsafe { ranges.add(i).write(range) };
    }
}

/// # Safety
/// There are `depth` rows of [`TILE`] numbers, and room for their tiles and ranges.
#[inline(always)]
unsafe fn split_b<S: SimdF32, const N: usize>(
    s: S,
    (from, row): (*const f32, isize),
    depth: usize,
    to: *mut f32,
    ranges: *mut Range,
) {
    for j in (0..TILE).step_by(S::LANES) {
        let mut seen = Extremes::new(s);
        for p in (0..depth).step_by(2) {
            let from = from.wrapping_offset(p as isize * row).wrapping_add(j);
            // SAFETY: numbers of rows p and p + 1.
            let (even, odd) = unsafe { (s.load(from), s.load(from.wrapping_offset(row))) };
            seen.see(s, even);
            seen.see(s, odd);
            let (even, odd) = (parts::<S, N>(s, even), parts::<S, N>(s, odd));
            for part in 0..N {
                let low = s.and_i32(s.sar::<16>(s.to_bits(even[part])), s.splat_i32(0xffff));
                let pair = s.or_i32(low, s.and_i32(s.to_bits(odd[part]), s.splat_i32(-1 << 16)));
                let tile = to.wrapping_add((p / STEP * N + part) * TILE_LEN + p % STEP / 2 * TILE + j);
                // SAFETY: their place in the tile.
                unsafe { s.store(tile, s.with_bits(pair)) };
            }
        }
        let [least, most, zero] = seen.lanes(s);
        for l in 0..S::LANES {
            // SAFETY: there is room for the ranges of all columns.
            unsafe { ranges.add(j + l).write(Range::new(least[l], most[l], zero[l] != 0.0)) };
        }
    }
}
