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
//! One packer serves both operands: B is A with its strides swapped.

use super::precision::{Precision, Rounding};
use super::tile::Float;
use crate::simd::{GROUP, Simd};

/// A block to be packed.
pub(crate) struct Pack<T> {
    /// Element (line 0, k = 0).
    pub from: *const T,
    /// From a line to the next.
    pub line: isize,
    /// From an element of a line to the next, along k.
    pub depth: isize,
    /// Lines there are.
    pub lines: usize,
    /// Elements of a line.
    pub k: usize,
    /// Room for the panels: that of lines `j..` begins at `j * k`.
    pub to: *mut T,
    /// Lines of a panel. The last one may have fewer; the places of those that are not there stay as they are.
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
pub(crate) unsafe fn pack<S: Rounding<T>, T: Float>(x: &Pack<T>) {
    // SAFETY: the row is supported, by the caller's promise.
    let s = unsafe { S::assume() };
    s.run(
        #[inline(always)]
        || {
            // SAFETY: the caller's promise.
            unsafe {
                match (x.line, x.depth) {
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
    for first in (0..x.lines).step_by(x.width) {
        // SAFETY: a panel that was just written.
        unsafe { S::round(x, first) };
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
fn panels<T>(x: &Pack<T>, f: impl Fn(&Panel<T>)) {
    for first in (0..x.lines).step_by(x.width) {
        let lines = x.width.min(x.lines - first);
        f(&Panel { first, lines, to: x.to.wrapping_add(first * x.k) });
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
    for p in 0..x.k {
        let mut from = x.from.wrapping_offset(p as isize * x.depth);
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
            // SAFETY: the lines that are left, and their places in the last panel.
            unsafe { s.store_masked(to.add(v), mask, s.load_masked(from.add(v), mask)) };
        }
    }
}

/// Lines are apart, their elements adjacent: squares of `LANES` by `LANES` are transposed in registers.
///
/// # Safety
/// See [`PackFn`].
#[inline(always)]
unsafe fn transpose<S: Simd<T>, T: Float>(s: S, x: &Pack<T>, panel: &Panel<T>) {
    for i in (0..panel.lines).step_by(S::LANES) {
        let lines = (panel.lines - i).min(S::LANES);
        for p in (0..x.k).step_by(S::LANES) {
            let steps = (x.k - p).min(S::LANES);
            let from = x.from.wrapping_offset((panel.first + i) as isize * x.line).wrapping_add(p);
            let to = panel.to.wrapping_add(p * x.width + i);
            // SAFETY: `lines` by `steps` elements there, and their places in the panel.
            unsafe {
                if lines == S::LANES && steps == S::LANES {
                    square::<S, T, true>(s, from, x.line, to, x.width, lines, steps);
                } else {
                    square::<S, T, false>(s, from, x.line, to, x.width, lines, steps);
                }
            }
        }
    }
}

/// Transposes one square, of which `FULL` says that all `LANES` by `LANES` elements are in use.
///
/// # Safety
/// `lines` by `steps` elements are readable at `from`, `line` apart, and `steps` by `lines` writable at `to`, `step` apart.
#[inline(always)]
unsafe fn square<S: Simd<T>, T: Float, const FULL: bool>(
    s: S,
    from: *const T,
    line: isize,
    to: *mut T,
    step: usize,
    lines: usize,
    steps: usize,
) {
    // SAFETY: the caller's promise; a square has the places of `lines` elements in each step.
    unsafe {
        if FULL {
            let half = S::LANES / 2;
            for (r, row) in load_half::<S, T, false>(s, from, line)[..half].iter().enumerate() {
                s.store(to.add(r * step), *row);
            }
            for (r, row) in load_half::<S, T, true>(s, from, line)[..half].iter().enumerate() {
                s.store(to.add((half + r) * step), *row);
            }
        } else {
            let across = s.first(lines);
            for (r, row) in load_part(s, from, line, lines, steps)[..S::LANES].iter().enumerate() {
                if r < steps {
                    s.store_masked(to.wrapping_add(r * step), across, *row);
                }
            }
        }
    }
}

/// Reads half of a square, the `UPPER` one or the lower, of lines that are `line` apart, and transposes it: vector r holds
/// step r of the half for each line.
///
/// # Safety
/// The elements of the square are readable.
#[inline(always)]
pub(super) unsafe fn load_half<S: Simd<T>, T: Float, const UPPER: bool>(
    s: S,
    from: *const T,
    line: isize,
) -> [S::V; GROUP] {
    let half = S::LANES / 2;
    let mut rows = [s.splat(T::ZERO); GROUP];
    for (r, row) in rows[..half].iter_mut().enumerate() {
        let from = from.wrapping_offset(r as isize * line);
        // SAFETY: lines r and r + half.
        *row = unsafe { s.load_halves::<UPPER>(from, from.wrapping_offset(half as isize * line)) };
    }
    turn::<S, T, 1>(s, &mut rows, half);
    turn::<S, T, 2>(s, &mut rows, half);
    turn::<S, T, 4>(s, &mut rows, half);
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
    turn::<S, T, 1>(s, &mut rows, S::LANES);
    turn::<S, T, 2>(s, &mut rows, S::LANES);
    turn::<S, T, 4>(s, &mut rows, S::LANES);
    turn::<S, T, 8>(s, &mut rows, S::LANES);
    rows
}

/// One stage of a transposition of `n` vectors: swaps the off-diagonal blocks of each square of 2 D x 2 D.
#[inline(always)]
fn turn<S: Simd<T>, T: Float, const D: usize>(s: S, rows: &mut [S::V; GROUP], n: usize) {
    if D < n {
        for i in 0..n {
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
        let from = x.from.wrapping_offset((panel.first + i) as isize * x.line);
        for p in 0..x.k {
            // SAFETY: an element of a line, and its place in the panel.
            unsafe { *panel.to.add(p * x.width + i) = *from.wrapping_offset(p as isize * x.depth) }
        }
    }
}
