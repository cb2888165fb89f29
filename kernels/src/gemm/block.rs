//! Loops 2 and 1: tiles over one block of C, whose operands are packed or read where they lie.

use super::finish::{Epilogue, Finish};
use super::tile::{Float, Tile};
use crate::backend::Kernel;

/// One operand of a block, seen as lines (rows of A, columns of B) of `k` elements.
#[derive(Clone, Copy)]
pub(crate) enum Operand<T> {
    /// Where the caller's matrix lies: distance from line to line, and along k.
    Strided { ptr: *const T, line: isize, depth: isize },
    /// Panels made by [`super::pack`], of `k` elements for each line.
    Packed { ptr: *const T, k: usize },
}

impl<T> Operand<T> {
    /// The panel of `width` lines from `first` on: its base, its line stride and its depth stride.
    #[inline(always)]
    fn panel(self, first: usize, width: usize) -> (*const T, isize, isize) {
        match self {
            Self::Strided { ptr, line, depth } => (ptr.wrapping_offset(first as isize * line), line, depth),
            Self::Packed { ptr, k } => (ptr.wrapping_add(first * k), 1, width as isize),
        }
    }
}

/// A block of C and what it takes to compute it.
#[derive(Clone, Copy)]
pub(crate) struct Block<T> {
    pub m: usize,
    pub n: usize,
    pub k: usize,
    /// Columns of a panel of B, as wide as the tiles of this height are at most.
    pub nr: usize,
    pub a: Operand<T>,
    /// Its columns are adjacent, packed or not.
    pub b: Operand<T>,
    pub c: *mut T,
    pub c_row: isize,
    pub c_col: isize,
    pub alpha: T,
    pub beta: T,
    /// What is done to the block once its last product is in; none before.
    pub epilogue: Option<Epilogue<T>>,
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

/// Computes a block of C.
///
/// # Safety
/// - The kernel's row is supported by this CPU.
/// - The operands are readable, C is writable (and, unless `beta` is 0, readable) at all the places that the block
///   names; the epilogue's vectors reach as far as the block.
pub(crate) unsafe fn run<T: Float>(kernel: &Kernel<T>, x: &Block<T>) {
    let log = kernel.lanes.trailing_zeros();
    for j in (0..x.n).step_by(x.nr) {
        let cols = (x.n - j).min(x.nr);
        let vectors = (cols + kernel.lanes - 1) >> log;
        let (b, _, b_row) = x.b.panel(j, vectors << log);
        for (i, rows) in split(x.m, kernel.mr) {
            let (a, a_row, a_col) = x.a.panel(i, rows);
            let tiles = &kernel.tiles[rows - 1];
            let tile_fn = if cols == tiles.masked.len() << log { tiles.full } else { tiles.masked[vectors - 1] };
            let c = x.c.wrapping_offset(i as isize * x.c_row + j as isize * x.c_col);
            let mut tile = Tile {
                a,
                a_row,
                a_col,
                b,
                b_row,
                c,
                c_row: x.c_row,
                k: x.k,
                last: cols - ((vectors - 1) << log),
                alpha: x.alpha,
                beta: x.beta,
            };
            let finish = |c: *mut T, c_row: isize| {
                if let Some(epilogue) = x.epilogue {
                    let epilogue = epilogue.at(i, j);
                    // SAFETY: the tile just written; the epilogue reaches as far as the block.
                    unsafe { (kernel.finish)(&Finish { c, c_row, rows, cols, epilogue }) }
                }
            };
            if x.c_col == 1 {
                // SAFETY: the tile lies in the block.
                unsafe { tile_fn(&tile) };
                finish(c, x.c_row);
            } else {
                // Columns apart: the tile works on a dense copy.
                let mut scratch = [T::ZERO; TILE_MAX];
                let place = |r: usize, s: usize| c.wrapping_offset(r as isize * x.c_row + s as isize * x.c_col);
                if x.beta != T::ZERO {
                    for (r, row) in scratch.chunks_exact_mut(cols).take(rows).enumerate() {
                        for (s, to) in row.iter_mut().enumerate() {
                            // SAFETY: an element of the tile; beta asks for it.
                            *to = unsafe { *place(r, s) };
                        }
                    }
                }
                tile.c = scratch.as_mut_ptr();
                tile.c_row = cols as isize;
                // SAFETY: as above, C being the scratch, which holds the largest tile.
                unsafe { tile_fn(&tile) };
                finish(tile.c, tile.c_row);
                for (r, row) in scratch.chunks_exact(cols).take(rows).enumerate() {
                    for (s, from) in row.iter().enumerate() {
                        // SAFETY: an element of the tile.
                        unsafe { *place(r, s) = *from };
                    }
                }
            }
        }
    }
}
