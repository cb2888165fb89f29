//! Loops 2 and 1: tiles over one block of C, row of tiles by row of tiles.
//!
//! A row of tiles reads one panel of A (mr rows, which stay in the first cache, wherever A lies) and the whole block of
//! B, panel after panel (which stays in the second).

use super::driver::Problem;
use super::finish::Finish;
use super::pack::Panel;
use super::tile::{Float, Tile};
use crate::backend::Kernel;

/// Where packed operands are; null for an operand that is read where it lies.
#[derive(Clone, Copy)]
pub(crate) struct Packed<T> {
    /// Room for a panel of A, into which each is packed just before it is used.
    pub a: *mut T,
    /// The block of B, in panels of [`Kernel::width`] columns, the last one rounded up to whole vectors.
    pub b: *const T,
}

impl<T> Packed<T> {
    pub(crate) const NONE: Self = Self { a: std::ptr::null_mut(), b: std::ptr::null() };
}

/// Cuts `total` into the fewest parts of at most `most`, as equal as they can be: their starts and lengths.
#[inline(always)]
pub(crate) fn split(total: usize, most: usize) -> impl Iterator<Item = (usize, usize)> {
    // Divisions take as long as a small tile: none where there is one part.
    let parts = if total <= most { usize::from(total > 0) } else { total.div_ceil(most) };
    let (len, longer) = if parts <= 1 { (total, 0) } else { (total / parts, total % parts) };
    (0..parts).map(move |i| (i * len + i.min(longer), len + usize::from(i < longer)))
}

/// Elements in the largest tile of any kernel.
pub(crate) const TILE_MAX: usize = 512;

/// Computes a block of C: all of a problem that has products.
///
/// # Safety
/// - The obligations of [`super::driver::run`].
/// - Without a packed B, B's columns are adjacent. Room for A is for `mr * k` elements.
pub(crate) unsafe fn run<T: Float>(kernel: &Kernel<T>, x: &Problem<T>, packed: Packed<T>) {
    let nr = kernel.width(x.m);
    let log = kernel.lanes.trailing_zeros();
    for (i, rows) in split(x.m, kernel.mr) {
        let tiles = &kernel.tiles[rows - 1];
        let mut a = x.a.at(i, 0);
        if !packed.a.is_null() {
            let from = a.ptr.cast_const();
            let to = packed.a;
            // SAFETY: `rows` rows of A, and room for them.
            unsafe { (kernel.pack)(&Panel { from, line: a.row, depth: a.col, lines: rows, k: x.k, to, width: rows }) };
            (a.ptr, a.row, a.col) = (to, 1, rows as isize);
        }
        for j in (0..x.n).step_by(nr) {
            let cols = (x.n - j).min(nr);
            let vectors = (cols + kernel.lanes - 1) >> log;
            let (b, b_row) = if packed.b.is_null() {
                (x.b.at(0, j).ptr.cast_const(), x.b.row)
            } else {
                (packed.b.wrapping_add(j * x.k), (vectors << log) as isize)
            };
            let tile_fn = if cols == tiles.masked.len() << log { tiles.full } else { tiles.masked[vectors - 1] };
            let c = x.c.at(i, j);
            let tile = Tile {
                a: a.ptr.cast_const(),
                a_row: a.row,
                a_col: a.col,
                b,
                b_row,
                c: c.ptr,
                c_row: c.row,
                k: x.k,
                last: cols - ((vectors - 1) << log),
                alpha: x.alpha,
                beta: x.beta,
            };
            if c.col == 1 {
                // SAFETY: a tile of the caller's block.
                unsafe { tile_fn(&tile) };
                finish(kernel, x, (i, rows), (j, cols), c.ptr, c.row);
            } else {
                // SAFETY: as above.
                unsafe { scattered(kernel, x, (i, rows), (j, cols), |c, c_row| tile_fn(&Tile { c, c_row, ..tile })) };
            }
        }
    }
}

/// Applies the epilogue, if there is one, to a tile of C that lies at `c`, its columns adjacent.
#[inline(always)]
fn finish<T: Float>(
    kernel: &Kernel<T>,
    x: &Problem<T>,
    (i, rows): (usize, usize),
    (j, cols): (usize, usize),
    c: *mut T,
    c_row: isize,
) {
    if let Some(epilogue) = x.epilogue {
        let epilogue = epilogue.at(i, j);
        // SAFETY: the tile was just written; the epilogue reaches as far as C.
        unsafe { (kernel.finish)(&Finish { c, c_row, rows, cols, epilogue }) }
    }
}

/// Computes a tile of C whose columns are apart, on a dense copy.
///
/// # Safety
/// As [`run`]; `tile` computes the tile at the place it is given.
unsafe fn scattered<T: Float>(
    kernel: &Kernel<T>,
    x: &Problem<T>,
    (i, rows): (usize, usize),
    (j, cols): (usize, usize),
    tile: impl FnOnce(*mut T, isize),
) {
    let mut copy = [T::ZERO; TILE_MAX];
    let place = |r: usize, s: usize| x.c.at(i + r, j + s).ptr;
    if x.beta != T::ZERO {
        for (r, row) in copy.chunks_exact_mut(cols).take(rows).enumerate() {
            for (s, to) in row.iter_mut().enumerate() {
                // SAFETY: an element of the tile; beta asks for it.
                *to = unsafe { *place(r, s) };
            }
        }
    }
    let c = copy.as_mut_ptr();
    tile(c, cols as isize);
    finish(kernel, x, (i, rows), (j, cols), c, cols as isize);
    for (r, row) in copy.chunks_exact(cols).take(rows).enumerate() {
        for (s, from) in row.iter().enumerate() {
            // SAFETY: an element of the tile.
            unsafe { *place(r, s) = *from };
        }
    }
}
