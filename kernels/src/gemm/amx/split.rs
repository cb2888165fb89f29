//! The packer of the tile unit: 16 lines (rows of A or columns of B) of one chunk of k become a record of bf16 tiles.
//!
//! ```text
//!   record   head: ranges of lines | tiles of step 0: part 1, part 2, .. | of step 1 | ..  | the f32 numbers, if kept
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
use crate::bf16::Bf16;
use crate::gemm::Precision;
use crate::gemm::driver::Matrix;
use crate::gemm::gemv::Stored;
use crate::gemm::pack::Pack;
use crate::gemm::packed::Side;
use crate::simd::{SimdF32, prefetch};

/// What the packer needs of an instruction set beside: pairs of bf16 numbers in the lanes of a vector. Two vectors `x`
/// and `y` are joined so that their numbers alternate where they are `ZIPPED`; elsewhere those of `x` come first.
pub(crate) trait Pairs: SimdF32 {
    /// As [`Isa::run`](crate::simd::Isa::run), compiled for the conversions, too.
    fn run_pairs<R>(self, f: impl FnOnce() -> R) -> R;
    /// The bf16 numbers nearest to those of both; anything for subnormal ones, and where it would be no number.
    fn join<const ZIPPED: bool>(self, x: Self::V, y: Self::V) -> Self::V;
    /// What was joined, exactly.
    #[inline(always)]
    fn part<const ZIPPED: bool>(self, pairs: Self::V) -> (Self::V, Self::V) {
        if ZIPPED {
            let pairs = self.to_bits(pairs);
            let odd = self.and_i32(pairs, self.splat_i32(-1 << 16));
            (self.with_bits(self.shl::<16>(pairs)), self.with_bits(odd))
        } else {
            self.halves(pairs)
        }
    }
    /// The same, of numbers that do not alternate.
    fn halves(self, pairs: Self::V) -> (Self::V, Self::V);
    /// The lesser of the bits of each lane, without a sign.
    fn min_bits(self, a: Self::I, b: Self::I) -> Self::I;
    /// The greater of them.
    fn max_bits(self, a: Self::I, b: Self::I) -> Self::I;
}

/// How records lie, for a precision, and whether they keep the f32 numbers, as packed operands do.
#[derive(Clone, Copy)]
pub(crate) struct Form {
    pub precision: Precision,
    pub keep: bool,
}

/// What a record begins with: the exponents of its lines.
#[repr(C, align(64))]
pub(super) struct Head {
    /// The bits of the least size in each line, less one, so that zeros are the greatest.
    least: [u32; TILE],
    /// The bits of the greatest.
    most: [u32; TILE],
    /// Of all lines together.
    pub all: Range,
}

/// f32 numbers in the room of it.
const HEAD: usize = size_of::<Head>() / size_of::<f32>();

impl Head {
    /// The range of one line.
    pub(super) fn line(&self, i: usize) -> Range {
        Range::new(self.least[i], self.most[i])
    }
}

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

/// The head of a record.
///
/// # Safety
/// It is one, and outlives it.
pub(super) unsafe fn head<'a>(record: *const f32) -> &'a Head {
    // SAFETY: the caller's promise; a record begins with it, at a cache line.
    unsafe { &*record.cast() }
}

/// f32 numbers in the room for lines of one chunk as they are: of A, and of B.
pub(crate) const ROOM: usize = 2 * TILE * CHUNK;

/// Packs lines of one chunk, [`TILE`] a record, into records that follow each other.
///
/// # Safety
/// The kernel's row, which is that of `S`, is supported by this CPU; the lines are readable; there is room for the
/// records, and [`ROOM`] at `room`, both at a cache line.
pub(crate) unsafe fn records<S: Pairs>(kernel: &Kernel<f32>, side: Side, form: Form, x: &Pack<f32>, room: *mut f32) {
    let depth = x.k.next_multiple_of(STEP);
    // SAFETY: the row is supported, by the caller's promise.
    let s = unsafe { S::assume() };
    // What is split, as its rows: lines of A, steps of B.
    let turn = |x: Matrix<f32>| if side == Side::A { x } else { x.t() };
    let split = |from: Matrix<f32>, first: usize, count: usize| {
        let to = (x.to.wrapping_add(first / TILE * form.record(x.k)), count, form.record(x.k));
        // SAFETY: rows of all lines and steps, room for the records.
        s.run_pairs(
            #[inline(always)]
            || unsafe {
                let (halves, from) = (from.bf16, (from.ptr.cast_const(), from.row));
                let half = (from.0.cast::<Bf16>(), from.1);
                match (side, form.precision.parts(), halves) {
                    (Side::A, 1, true) => split_a::<S, Bf16, 1>(s, half, depth, to),
                    (Side::A, 1, _) => split_a::<S, f32, 1>(s, from, depth, to),
                    (Side::A, 2, _) => split_a::<S, f32, 2>(s, from, depth, to),
                    (Side::A, ..) => split_a::<S, f32, 3>(s, from, depth, to),
                    (Side::B, 1, true) => split_b::<S, Bf16, 1>(s, half, depth, to),
                    (Side::B, 1, _) => split_b::<S, f32, 1>(s, from, depth, to),
                    (Side::B, 2, _) => split_b::<S, f32, 2>(s, from, depth, to),
                    (Side::B, ..) => split_b::<S, f32, 3>(s, from, depth, to),
                }
            },
        );
    };
    // Whole ones are split where they lie; bf16 numbers are their only part.
    let there = turn(x.from).col == 1 && (!x.from.bf16 || form.precision.parts() == 1);
    let dense = if there && x.k == depth && !form.keep { x.lines / TILE } else { 0 };
    if dense > 0 {
        split(turn(x.from), 0, dense);
    }
    for first in (dense * TILE..x.lines).step_by(TILE) {
        let from = x.from.at(first, 0);
        let here = TILE.min(x.lines - first);
        let to = x.to.wrapping_add(first / TILE * form.record(x.k));
        let copy = if form.keep { form.kept(to, x.k).cast_mut() } else { room };
        // The packer's panels hold the steps of its lines, so that these are the columns of A.
        let (lines, k, width) = if side == Side::A { (x.k, here, depth) } else { (here, x.k, TILE) };
        // SAFETY: there is room for 16 lines; the lines of the source are readable.
        unsafe {
            if here < TILE || x.k < depth {
                copy.write_bytes(0, TILE * depth);
            }
            let from = turn(from).t();
            (kernel.pack)(&Pack { from, lines, k, to: copy, width, precision: Precision::F32 });
        }
        split(Matrix::view(copy, width as isize, 1), first, 1);
    }
}

/// The bits of the sizes that lanes have seen: the least, less one, so that zeros are the greatest; the greatest.
#[derive(Clone, Copy)]
struct Extremes<S: SimdF32> {
    least: S::I,
    most: S::I,
}

impl<S: Pairs> Extremes<S> {
    #[inline(always)]
    fn new(s: S) -> Self {
        Self { least: s.splat_i32(-1), most: s.splat_i32(0) }
    }

    #[inline(always)]
    fn see(&mut self, s: S, x: S::V) {
        let size = s.to_bits(s.abs(x));
        self.least = s.min_bits(self.least, s.sub_i32(size, s.splat_i32(1)));
        self.most = s.max_bits(self.most, size);
    }

    /// Of `LANES` vectors, each in a lane of its own.
    #[inline(always)]
    fn across(s: S, seen: &[Self; TILE]) -> Self {
        let fold = |side: fn(&Self) -> S::I, op: fn(S, S::I, S::I) -> S::I| {
            let mut rows = [s.splat(0.0); TILE];
            for (row, seen) in rows.iter_mut().zip(seen) {
                *row = s.with_bits(side(seen));
            }
            fold::<S, 1>(s, &mut rows, op);
            fold::<S, 2>(s, &mut rows, op);
            fold::<S, 4>(s, &mut rows, op);
            fold::<S, 8>(s, &mut rows, op);
            s.to_bits(rows[0])
        };
        Self { least: fold(|seen| seen.least, S::min_bits), most: fold(|seen| seen.most, S::max_bits) }
    }

    /// Reads what was seen of lines, a lane each, of which the first one's is at `line`.
    ///
    /// # Safety
    /// It is in the head of a record.
    #[inline(always)]
    unsafe fn read(s: S, line: *const f32) -> Self {
        // SAFETY: the caller's promise.
        unsafe { Self { least: s.to_bits(s.load(line)), most: s.to_bits(s.load(line.add(TILE))) } }
    }

    /// Writes it there.
    ///
    /// # Safety
    /// As [`Self::read`].
    #[inline(always)]
    unsafe fn write(&self, s: S, line: *mut f32) {
        // SAFETY: the caller's promise.
        unsafe {
            s.store(line, s.with_bits(self.least));
            s.store(line.add(TILE), s.with_bits(self.most));
        }
    }
}

/// One stage of a reduction of `LANES` vectors to a lane each: of two vectors, every other group of `D` lanes.
#[inline(always)]
fn fold<S: SimdF32, const D: usize>(s: S, rows: &mut [S::V; TILE], op: fn(S, S::I, S::I) -> S::I) {
    if D < S::LANES {
        for i in (0..S::LANES).step_by(2 * D) {
            let (x, y) = s.trn::<D>(rows[i], rows[i + D]);
            rows[i] = s.with_bits(op(s, s.to_bits(x), s.to_bits(y)));
        }
    }
}

/// Splits two vectors into `N` parts, of which the first is written to `to`, the next ones a tile further.
///
/// # Safety
/// There is room.
#[inline(always)]
unsafe fn split<S: Pairs, const N: usize, const ZIPPED: bool>(
    s: S,
    (mut x, mut y): (S::V, S::V),
    seen: &mut Extremes<S>,
    to: *mut f32,
) {
    seen.see(s, x);
    seen.see(s, y);
    for part in 0..N {
        let pairs = s.join::<ZIPPED>(x, y);
        // SAFETY: the caller's promise.
        unsafe { s.store(to.add(part * TILE_LEN), pairs) };
        let joined = s.part::<ZIPPED>(pairs);
        (x, y) = (s.sub(x, joined.0), s.sub(y, joined.1));
    }
}

/// Splits lines of A, for so many records, which are `apart`.
///
/// # Safety
/// There are [`TILE`] rows of `depth` numbers for each, and room.
#[inline(always)]
unsafe fn split_a<S: Pairs, E: Stored<S, f32>, const N: usize>(
    s: S,
    (from, row): (*const E, isize),
    depth: usize,
    (to, count, apart): (*mut f32, usize, usize),
) {
    for first in (0..count * TILE).step_by(S::LANES) {
        let record = to.wrapping_add(first / TILE * apart);
        let mut lines = [Extremes::new(s); TILE];
        for (i, seen) in lines[..S::LANES].iter_mut().enumerate() {
            let from = from.wrapping_offset((first + i) as isize * row);
            let to = record.wrapping_add(HEAD + (first % TILE + i) * TILE);
            // Two vectors of numbers become one of pairs.
            for p in (0..depth).step_by(2 * S::LANES) {
                let next = from.wrapping_offset(TILE as isize * row).wrapping_add(p);
                prefetch::<true>(next);
                prefetch::<true>(next.wrapping_add(S::LANES));
                let to = to.wrapping_add(p / STEP * N * TILE_LEN + p % STEP / 2);
                // SAFETY: numbers of a row, and their place in the tiles.
                unsafe {
                    split::<S, N, false>(s, (E::load(s, from.add(p)), E::load(s, from.add(p + S::LANES))), seen, to)
                };
            }
        }
        // SAFETY: so many lines of the record.
        unsafe { write_lines(s, &lines, record.wrapping_add(first % TILE)) };
    }
    // SAFETY: all lines were written.
    unsafe { write_all(s, to, count, apart) };
}

/// Writes what was seen of `LANES` lines. Not inlined: it would be there for each precision.
///
/// # Safety
/// The first line's place is in the head of a record.
#[inline(never)]
unsafe fn write_lines<S: Pairs>(s: S, seen: &[Extremes<S>; TILE], line: *mut f32) {
    s.run(
        #[inline(always)]
        // SAFETY: the caller's promise.
        || unsafe { Extremes::across(s, seen).write(s, line) },
    );
}

/// Splits columns of B, for so many records, which are `apart`: step by step, as each row may begin in another page.
///
/// # Safety
/// There are `depth` rows of [`TILE`] numbers for each, and room.
#[inline(always)]
unsafe fn split_b<S: Pairs, E: Stored<S, f32>, const N: usize>(
    s: S,
    (from, row): (*const E, isize),
    depth: usize,
    (to, count, apart): (*mut f32, usize, usize),
) {
    for first in (0..depth).step_by(STEP) {
        for j in (0..count * TILE).step_by(S::LANES) {
            let record = to.wrapping_add(j / TILE * apart + j % TILE);
            // SAFETY: so many lines of the record, written in the step before.
            let mut seen = if first == 0 { Extremes::new(s) } else { unsafe { Extremes::read(s, record) } };
            for p in (0..STEP).step_by(2) {
                let from = from.wrapping_offset((first + p) as isize * row).wrapping_add(j);
                prefetch::<false>(from.wrapping_add(AHEAD));
                prefetch::<false>(from.wrapping_offset(row).wrapping_add(AHEAD));
                let to = record.wrapping_add(HEAD + first / STEP * N * TILE_LEN + p / 2 * TILE);
                // SAFETY: numbers of two rows, and their place in the tiles.
                unsafe {
                    split::<S, N, true>(s, (E::load(s, from), E::load(s, from.wrapping_offset(row))), &mut seen, to)
                };
            }
            // SAFETY: so many lines of the record.
            unsafe { seen.write(s, record) };
        }
    }
    // SAFETY: all lines were written.
    unsafe { write_all(s, to, count, apart) };
}

/// Columns of B that are fetched ahead.
const AHEAD: usize = 2 * TILE;

/// Writes the ranges of all lines of so many records, which are `apart`. Not inlined, either.
///
/// # Safety
/// Those of the lines were written.
#[inline(never)]
unsafe fn write_all<S: Pairs>(s: S, to: *mut f32, count: usize, apart: usize) {
    s.run(
        #[inline(always)]
        || {
            for i in 0..count {
                // SAFETY: the caller's promise.
                let head = unsafe { &mut *to.wrapping_add(i * apart).cast::<Head>() };
                let least = head.least.iter().fold(u32::MAX, |least, &x| least.min(x));
                head.all = Range::new(least, head.most.iter().fold(0, |most, &x| most.max(x)));
            }
        },
    );
}
