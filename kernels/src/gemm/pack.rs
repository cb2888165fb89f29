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

use super::tile::Float;
use crate::simd::{GROUP, Simd};

/// One panel to be packed.
pub(crate) struct Panel<T> {
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
    /// Room for `width * k` elements.
    pub to: *mut T,
    /// Elements that each step along k takes in the panel, at least `lines`; those beyond `lines` stay as they are.
    pub width: usize,
}

/// A packer.
///
/// # Safety
/// The row that it belongs to is supported by this CPU; the source is readable and the panel writable.
pub(crate) type PackFn<T> = unsafe fn(&Panel<T>);

/// The packer of an instruction set.
///
/// # Safety
/// See [`PackFn`].
pub(crate) unsafe fn pack<S: Simd<T>, T: Float>(x: &Panel<T>) {
    // SAFETY: the row is supported, by the caller's promise.
    let s = unsafe { S::assume() };
    s.run(
        #[inline(always)]
        || {
            // SAFETY (each arm): the caller's promise.
            match (x.line, x.depth) {
                // SAFETY: as above.
                (1, _) => unsafe { copy(s, x) },
                // SAFETY: as above.
                (_, 1) => unsafe { transpose(s, x) },
                // SAFETY: as above.
                _ => unsafe { gather(x) },
            }
        },
    );
}

/// Lines are adjacent: a step along k is a copy.
///
/// # Safety
/// See [`PackFn`].
#[inline(always)]
unsafe fn copy<S: Simd<T>, T: Float>(s: S, x: &Panel<T>) {
    for i in (0..x.lines).step_by(S::LANES) {
        let lines = (x.lines - i).min(S::LANES);
        let (mut from, mut to) = (x.from.wrapping_add(i), x.to.wrapping_add(i));
        if lines == S::LANES {
            for _ in 0..x.k {
                // SAFETY: a vector of a step along k, and its place in the panel.
                unsafe { s.store(to, s.load(from)) };
                (from, to) = (from.wrapping_offset(x.depth), to.wrapping_add(x.width));
            }
        } else {
            let mask = s.first(lines);
            for _ in 0..x.k {
                // SAFETY: the lines that there are, and their places in the panel.
                unsafe { s.store_masked(to, mask, s.load_masked(from, mask)) };
                (from, to) = (from.wrapping_offset(x.depth), to.wrapping_add(x.width));
            }
        }
    }
}

/// Lines are apart, their elements adjacent: squares of `LANES` by `LANES` are transposed in registers.
///
/// # Safety
/// See [`PackFn`].
#[inline(always)]
unsafe fn transpose<S: Simd<T>, T: Float>(s: S, x: &Panel<T>) {
    for i in (0..x.lines).step_by(S::LANES) {
        let lines = (x.lines - i).min(S::LANES);
        let across = s.first(lines);
        for p in (0..x.k).step_by(S::LANES) {
            let steps = (x.k - p).min(S::LANES);
            let along = s.first(steps);
            let mut square = [s.splat(T::ZERO); GROUP];
            for (r, row) in square[..S::LANES].iter_mut().enumerate() {
                if r < lines {
                    let from = x.from.wrapping_offset((i + r) as isize * x.line).wrapping_add(p);
                    // SAFETY: `steps` elements of line i + r.
                    *row = unsafe { s.load_masked(from, along) };
                }
            }
            turn::<S, T, 1>(s, &mut square);
            turn::<S, T, 2>(s, &mut square);
            turn::<S, T, 4>(s, &mut square);
            turn::<S, T, 8>(s, &mut square);
            for (r, row) in square[..S::LANES].iter().enumerate() {
                if r < steps {
                    // SAFETY: the places of `lines` lines in step p + r.
                    unsafe { s.store_masked(x.to.add((p + r) * x.width + i), across, *row) };
                }
            }
        }
    }
}

/// One stage of a transposition: swaps the off-diagonal blocks of each square of 2 D x 2 D.
#[inline(always)]
fn turn<S: Simd<T>, T: Float, const D: usize>(s: S, square: &mut [S::V; GROUP]) {
    if D < S::LANES {
        for i in 0..S::LANES {
            if i & D == 0 {
                (square[i], square[i | D]) = s.trn::<D>(square[i], square[i | D]);
            }
        }
    }
}

/// Nothing is adjacent: element by element.
///
/// # Safety
/// See [`PackFn`].
#[inline(always)]
unsafe fn gather<T: Float>(x: &Panel<T>) {
    for i in 0..x.lines {
        let from = x.from.wrapping_offset(i as isize * x.line);
        for p in 0..x.k {
            // SAFETY: element (i, p), and its place in the panel.
            unsafe { *x.to.add(p * x.width + i) = *from.wrapping_offset(p as isize * x.depth) }
        }
    }
}
