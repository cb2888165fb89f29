//! The packer: copies a block of an operand into panels that the micro-kernel reads front to back.
//!
//! A line is a row of A or a column of B. A panel holds `width` lines, element by element along k:
//!
//! ```text
//!   lines  0 1 2 .. width-1        panel 0             panel 1
//!   k = 0  a b c ..            ->  a b c ..  (k = 0)   ...
//!   k = 1  d e f ..                d e f ..  (k = 1)
//! ```
//!
//! One packer serves both operands: B is A with its strides swapped. Bf16 numbers are widened to f32 on the way.

use super::driver::{Matrix, crowded};
use super::precision::{Convert, Precision};
use super::tile::Float;
use crate::bf16::Bf16;
use crate::simd::{GROUP, Simd, SimdF32};

/// A block to be packed.
pub(crate) struct Pack<T> {
    /// The lines, as its rows; its columns are the steps along k.
    pub from: Matrix<T>,
    /// Lines there are.
    pub lines: usize,
    /// Elements of a line.
    pub k: usize,
    /// Room for the panels: that of lines `j..` begins at `j * k`.
    pub to: *mut T,
    /// Lines of a panel. The last one may have fewer; the places of those that are not there stay as they are, or
    /// become 0.
    pub width: usize,
    /// What its elements are rounded to; a tile unit's packer splits them for it.
    pub precision: Precision,
}

/// A packer.
///
/// # Safety
/// The row that it belongs to is supported by this CPU; the source is readable and the panels writable.
pub(crate) type PackFn<T> = unsafe fn(&Pack<T>);

/// The packer of an instruction set.
///
/// # Safety
/// See [`PackFn`].
pub(crate) unsafe fn pack<S: Convert<T>, T: Float>(x: &Pack<T>) {
    if x.from.bf16 {
        // Nothing is left to be rounded, in any precision.
        // SAFETY: the caller's promise.
        return unsafe { S::widen(x) };
    }
    // SAFETY: the row is supported, by the caller's promise.
    let s = unsafe { S::assume() };
    s.run(
        #[inline(always)]
        || {
            // SAFETY: the caller's promise.
            unsafe {
                match (x.from.row, x.from.col) {
                    (1, _) if x.width == 2 * S::LANES => copy::<S, T, 2>(s, x),
                    (1, _) if x.width == 4 * S::LANES => copy::<S, T, 4>(s, x),
                    (1, _) if x.width == 8 * S::LANES => copy::<S, T, 8>(s, x),
                    (1, _) => copy::<S, T, 0>(s, x),
                    (_, 1) => panels(
                        x,
                        #[inline(always)]
                        |panel| transpose(s, x, panel),
                    ),
                    _ => panels(
                        x,
                        #[inline(always)]
                        |panel| gather(x, panel),
                    ),
                }
            }
        },
    );
    if x.precision != Precision::F32 {
        for first in (0..x.lines).step_by(x.width) {
            // SAFETY: a panel that was just written.
            unsafe { S::round(x, first) };
        }
    }
}

/// One panel of a block.
struct Panel<T> {
    /// Its first line.
    first: usize,
    /// Lines there are.
    lines: usize,
    /// Where it begins.
    to: *mut T,
}

/// Calls `f` for each panel.
#[inline(always)]
fn panels<T>(x: &Pack<T>, mut f: impl FnMut(&Panel<T>)) {
    // `step_by` would divide, which takes as long as a small panel.
    let mut first = 0;
    while first < x.lines {
        let lines = x.width.min(x.lines - first);
        f(&Panel { first, lines, to: x.to.wrapping_add(first * x.k) });
        first += lines;
    }
}

/// Lines are adjacent: each step along k is copied to one panel after the other, so that the source is read in order.
/// Panels are `NV` vectors wide; 0 stands for any other width, and a single panel.
///
/// # Safety
/// See [`PackFn`].
#[inline(always)]
unsafe fn copy<S: Simd<T>, T: Float, const NV: usize>(s: S, x: &Pack<T>) {
    let whole = if NV > 0 { x.lines / (NV * S::LANES) } else { 0 };
    let first = whole * NV * S::LANES;
    let rest = x.lines - first;
    // Steps whose last vector may be written whole: what is too much has its place in the steps that follow.
    let last = rest.next_multiple_of(S::LANES);
    let over = if NV == 0 { (x.k + 1).saturating_sub(last.div_ceil(x.width)) } else { 0 };
    for p in 0..x.k {
        let mut from = x.from.at(0, p).ptr.cast_const();
        let mut to = x.to.wrapping_add(p * NV * S::LANES);
        for _ in 0..whole {
            for v in 0..NV {
                // SAFETY: a vector of step p, and its place in the panel.
                unsafe { s.store(to.add(v * S::LANES), s.load(from.add(v * S::LANES))) };
            }
            from = from.wrapping_add(NV * S::LANES);
            to = to.wrapping_add(NV * S::LANES * x.k);
        }
        let to = x.to.wrapping_add(first * x.k + p * x.width);
        for v in (0..rest).step_by(S::LANES) {
            let mask = s.first((rest - v).min(S::LANES));
            // SAFETY: the lines that are left, and their places in the last panel, or those and what follows in it.
            unsafe {
                let vector = s.load_masked(from.add(v), mask);
                if p < over { s.store(to.add(v), vector) } else { s.store_masked(to.add(v), mask, vector) }
            };
        }
    }
}

/// Lines are apart, their elements adjacent: squares of `LANES` by `LANES` are transposed in registers.
///
/// All squares of a few steps come before the next, so that the panel is written in order, but where lines are a
/// multiple of 4 KiB apart: they share one set of the first cache, which holds the lines of one square at a time.
///
/// # Safety
/// See [`PackFn`].
#[inline(always)]
unsafe fn transpose<S: Simd<T>, T: Float>(s: S, x: &Pack<T>, panel: &Panel<T>) {
    let (line, width) = (x.from.row, x.width);
    let most = if crowded::<T>(line, 4096) { S::LANES } else { panel.lines };
    let mut next = 0;
    while next < panel.lines {
        let first = next;
        let lines = most.min(panel.lines - first);
        next += lines;
        let mut next_from = x.from.at(panel.first + first, 0).ptr.cast_const();
        let mut next_to = panel.to.wrapping_add(first);
        for p in (0..x.k).step_by(S::LANES) {
            let steps = (x.k - p).min(S::LANES);
            let (mut from, mut to) = (next_from, next_to);
            (next_from, next_to) = (from.wrapping_add(S::LANES), to.wrapping_add(S::LANES * width));
            // Nothing but whole squares in this loop: one that also minds the rest takes 1.3 times as long.
            let whole = if steps == S::LANES { lines / S::LANES } else { 0 };
            for _ in 0..whole {
                // SAFETY: `LANES` steps of as many lines, and their places in the panel.
                unsafe { square(s, from, line, to, width) };
                (from, to) = (from.wrapping_offset(S::LANES as isize * line), to.wrapping_add(S::LANES));
            }
            let mut at = whole * S::LANES;
            while at < lines {
                // SAFETY: the lines or steps that are left.
                unsafe { part(s, from, line, to, width, ((lines - at).min(S::LANES), steps), width - first - at) };
                from = from.wrapping_offset((S::LANES as isize).wrapping_mul(line));
                to = to.wrapping_add(S::LANES);
                at += S::LANES;
            }
        }
    }
}

/// Transposes a square of `LANES` by `LANES` elements.
///
/// # Safety
/// They are readable at `from`, `line` apart, and writable at `to`, `step` apart.
#[inline(always)]
unsafe fn square<S: Simd<T>, T: Float>(s: S, from: *const T, line: isize, to: *mut T, step: usize) {
    let half = S::LANES / 2;
    // SAFETY: the caller's promise.
    unsafe {
        for (r, row) in load_half::<S, T, false>(s, from, line)[..half].iter().enumerate() {
            s.store(to.add(r * step), *row);
        }
        for (r, row) in load_half::<S, T, true>(s, from, line)[..half].iter().enumerate() {
            s.store(to.add((half + r) * step), *row);
        }
    }
}

/// Transposes part of a square. Whole vectors are written where a step has so many `places` from here on: what a tile
/// reads at once should not have come in pieces, which it would wait for.
///
/// # Safety
/// `lines` by `steps` elements are readable at `from`, `line` apart, and `steps` by `places` writable at `to`, `step`
/// apart; there are no more lines than places.
#[inline(always)]
unsafe fn part<S: Simd<T>, T: Float>(
    s: S,
    from: *const T,
    line: isize,
    to: *mut T,
    step: usize,
    (lines, steps): (usize, usize),
    places: usize,
) {
    let across = s.first(lines);
    // SAFETY: the caller's promise.
    unsafe {
        for (r, row) in load_part(s, from, line, lines, steps)[..S::LANES].iter().enumerate() {
            if r < steps {
                let to = to.wrapping_add(r * step);
                if places >= S::LANES { s.store(to, *row) } else { s.store_masked(to, across, *row) }
            }
        }
    }
}

/// Reads half of a square, the `UPPER` one or the lower, of lines that are `line` apart, and transposes it: vector r
/// holds step r of the half for each line.
///
/// # Safety
/// The elements of the square are readable.
#[inline(always)]
pub(super) unsafe fn load_half<S: Simd<T>, T: Float, const UPPER: bool>(
    s: S,
    from: *const T,
    line: isize,
) -> [S::V; GROUP] {
    let (half, apart) = (S::LANES / 2, S::APART);
    let mut rows = [s.splat(T::ZERO); GROUP];
    for (r, row) in rows[..half].iter_mut().enumerate() {
        let from = from.wrapping_offset((r + (r & apart)) as isize * line);
        // SAFETY: two lines of the square.
        *row = unsafe { s.load_halves::<UPPER>(from, from.wrapping_offset(apart as isize * line)) };
    }
    turn::<S, T, 1>(s, &mut rows[..half], apart);
    turn::<S, T, 2>(s, &mut rows[..half], apart);
    turn::<S, T, 4>(s, &mut rows[..half], apart);
    if apart < half {
        for r in 0..apart {
            (rows[r], rows[r + apart]) = s.even_odd(rows[r], rows[r + apart]);
        }
    }
    rows
}

/// Reads `steps` elements of `lines` lines, at most `LANES` of both, and transposes them: vector r holds step r of each
/// line, and 0 where there is no line.
///
/// # Safety
/// These elements are readable.
#[inline(always)]
pub(super) unsafe fn load_part<S: Simd<T>, T: Float>(
    s: S,
    from: *const T,
    line: isize,
    lines: usize,
    steps: usize,
) -> [S::V; GROUP] {
    let along = s.first(steps);
    let mut rows = [s.splat(T::ZERO); GROUP];
    for (r, row) in rows[..S::LANES].iter_mut().enumerate() {
        if r < lines {
            // SAFETY: `steps` elements of line r.
            *row = unsafe { s.load_masked(from.wrapping_offset(r as isize * line), along) };
        }
    }
    turn::<S, T, 1>(s, &mut rows[..S::LANES], S::LANES);
    turn::<S, T, 2>(s, &mut rows[..S::LANES], S::LANES);
    turn::<S, T, 4>(s, &mut rows[..S::LANES], S::LANES);
    turn::<S, T, 8>(s, &mut rows[..S::LANES], S::LANES);
    rows
}

/// One stage of the transposition of squares of `side` lanes: swaps the off-diagonal blocks of each part of 2 D x 2 D.
#[inline(always)]
fn turn<S: Simd<T>, T: Float, const D: usize>(s: S, rows: &mut [S::V], side: usize) {
    if D < side {
        for i in 0..rows.len() {
            if i & D == 0 {
                (rows[i], rows[i | D]) = s.trn::<D>(rows[i], rows[i | D]);
            }
        }
    }
}

/// Nothing is adjacent: element by element.
///
/// # Safety
/// See [`PackFn`].
#[inline(always)]
unsafe fn gather<T: Float>(x: &Pack<T>, panel: &Panel<T>) {
    for i in 0..panel.lines {
        let line = x.from.at(panel.first + i, 0);
        for p in 0..x.k {
            // SAFETY: an element of a line, and its place in the panel.
            unsafe { *panel.to.add(p * x.width + i) = *line.at(0, p).ptr }
        }
    }
}

/// Packs lines of bf16 numbers. Where lines are adjacent, they are widened into the panels; elsewhere, piece by piece,
/// into the first cache, from where the pieces are packed as any lines are.
///
/// # Safety
/// See [`PackFn`].
pub(super) unsafe fn widen<S: SimdF32>(x: &Pack<f32>) {
    const PIECE: usize = 32;
    // SAFETY: the row is supported, by the caller's promise.
    let s = unsafe { S::assume() };
    let mut piece = [0.0; PIECE * PIECE];
    panels(x, |panel| {
        if x.from.row == 1 {
            let steps = x.from.at(panel.first, 0).t();
            return s.run(
                #[inline(always)]
                // SAFETY: `k` steps of the panel's lines, and their places in it.
                || unsafe { wide(s, steps, (x.k, panel.lines), panel.to, x.width) },
            );
        }
        // The last vector of a piece may reach beyond its lines, but not into the next step.
        debug_assert!(panel.lines.next_multiple_of(GROUP) <= x.width || panel.lines <= PIECE);
        for i in (0..panel.lines).step_by(PIECE) {
            for p in (0..x.k).step_by(PIECE) {
                let (from, to) = (x.from.at(panel.first + i, p), panel.to.wrapping_add(p * x.width + i));
                let (lines, k) = (PIECE.min(panel.lines - i), PIECE.min(x.k - p));
                let copy = piece.as_mut_ptr();
                // SAFETY: `lines` lines of `k` elements, and room for a piece.
                s.run(
                    #[inline(always)]
                    || unsafe { wide(s, from, (lines, k), copy, PIECE) },
                );
                let from = Matrix::view(copy, PIECE as isize, 1);
                // SAFETY: the piece that was just written, and its place in the panel.
                unsafe { pack::<S, f32>(&Pack { from, lines, k, to, precision: Precision::F32, ..*x }) };
            }
        }
    });
}

/// Widens a matrix of bf16 numbers to f32; rows of these are `row` apart.
///
/// # Safety
/// The elements are readable; there is room for as many.
#[inline(always)]
unsafe fn wide<S: SimdF32>(s: S, from: Matrix<f32>, (rows, cols): (usize, usize), to: *mut f32, row: usize) {
    let whole = if from.col == 1 { cols / S::LANES * S::LANES } else { 0 };
    for r in 0..rows {
        let (line, to) = (from.at(r, 0).ptr.cast::<Bf16>(), to.wrapping_add(r * row));
        for c in (0..whole).step_by(S::LANES) {
            // SAFETY: the caller's promise.
            unsafe { s.store(to.add(c), s.load_bf16(line.add(c))) };
        }
        for c in whole..cols {
            // SAFETY: the caller's promise.
            unsafe { *to.add(c) = (*line.wrapping_offset(c as isize * from.col)).to_f32() }
        }
    }
}
