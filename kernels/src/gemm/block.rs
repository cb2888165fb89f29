//! Loops 2 and 1: tiles over one block of C, row of tiles by row of tiles.
//!
//! A row of tiles reads one panel of A (mr rows, which stay in the first cache, wherever A lies) and the whole block of
//! B, panel after panel (which stays in the second).

use super::driver::{Matrix, Problem};
use super::finish::{Epilogue, Finish};
use super::gemv::Gemv;
use super::pack::Pack;
use super::precision::Precision;
use super::tile::{Float, Shape, Tile, TileFn, opaque_stride, panels};
use super::workspace::{self, Workspace};
use crate::CHUNK;
use crate::backend::Kernel;
use crate::par::nth;
use crate::simd::{Aligned, LINE, prefetch};
use crate::view::times;
use std::hint::assert_unchecked;
use std::mem::MaybeUninit;
use std::ops::Range;

/// Cuts `total` into the fewest parts of at most `most`, as equal as they can be: their starts and lengths.
#[inline(always)]
pub(crate) fn split(total: usize, most: usize) -> impl Iterator<Item = (usize, usize)> {
    // Divisions take as long as a small tile: none where there is one part.
    let parts = if total <= most { usize::from(total > 0) } else { total.div_ceil(most) };
    let (len, longer) = if parts <= 1 { (total, 0) } else { (total / parts, total % parts) };
    (0..parts).map(move |i| nth(len, longer, i))
}

/// Elements in the largest tile of any kernel.
pub(crate) const TILE_MAX: usize = 512;

/// Computes a block of C: all of a problem that has products. Where there is `room`, A is packed there, a panel at a
/// time, and rounded to the precision.
///
/// # Safety
/// - The obligations of [`super::driver::run`].
/// - B is packed, or its columns are adjacent, and it holds no bf16 numbers, as A does only where there is room. The
///   room, if any, is for `mr * k` elements.
pub(crate) unsafe fn run<T: Float>(kernel: &Kernel<T>, x: &Problem<T>, room: Option<(*mut T, Precision)>) {
    // Packed panels are of mr rows; others are as equal as can be.
    let (most, width) =
        if x.a.packed { (kernel.mr, kernel.width(x.m)) } else { kernel.cut((x.m, x.k, x.n), !x.b.packed) };
    for (part, (i, rows)) in split(x.m, most).enumerate() {
        let (i, rows) = if x.a.packed { (part * most, most.min(x.m - part * most)) } else { (i, rows) };
        let mut a = x.a.at(i, 0);
        if x.a.packed {
            a.row = 1;
        }
        if let Some((room, precision)) = room {
            let panel = Pack { from: a, lines: rows, k: x.k, to: room, width: rows, precision };
            // SAFETY: `rows` rows of A, and room for them.
            unsafe { (kernel.pack)(&panel) };
            a = Matrix { packed: true, ..Matrix::view(room, 1, rows as isize) };
        }
        if x.a.col == 1 && x.k >= NEAR {
            ahead(x, i + rows..(i + 2 * rows).min(x.m));
        }
        // SAFETY: a row of tiles of the caller's problem.
        unsafe { row(kernel, x, (i, rows), a, width) };
    }
}

/// Elements of an operand that is copied onto the stack.
const ROOM: usize = 1024;

/// Whether one of these sizes can be.
#[inline(always)]
pub(crate) fn has_room_for(rows: usize, cols: usize) -> bool {
    rows.max(cols) <= ROOM && rows * cols <= ROOM
}

/// The room, on the stack.
type Room<T> = Aligned<[MaybeUninit<T>; ROOM]>;

/// A copy of a matrix of so many rows and columns, for which there is `room`: dense rows, `width` apart.
///
/// # Safety
/// The kernel's row is supported by this CPU; the elements are readable, and no bf16 numbers.
#[inline(always)]
unsafe fn dense<T: Float>(
    kernel: &Kernel<T>,
    x: Matrix<T>,
    (rows, cols): (usize, usize),
    width: usize,
    room: &mut Room<T>,
) -> Matrix<T> {
    debug_assert!(cols <= width && has_room_for(rows, width));
    let to = room.0.as_mut_ptr().cast();
    // Hidden, or both strides are swapped as one vector, which waits for the halves that were just written.
    let from = Matrix { col: opaque_stride(x.row), row: x.col, ..x };
    // SAFETY: the caller's elements, for which there is room.
    unsafe { (kernel.pack)(&Pack { from, lines: cols, k: rows, to, width, precision: Precision::F32 }) };
    Matrix::view(to, width as isize, 1)
}

/// As [`run`], for any B that there is room for: it is copied.
///
/// # Safety
/// As there, but for B's columns, which may be apart.
#[inline(never)]
pub(crate) unsafe fn copied<T: Float>(kernel: &Kernel<T>, x: &Problem<T>) {
    let mut room = Aligned([MaybeUninit::uninit(); ROOM]);
    // SAFETY: the caller's B, for which there is room; then its problem, with adjacent columns.
    unsafe {
        let b = dense(kernel, x.b, (x.k, x.n), kernel.whole(x.n), &mut room);
        let x = Problem { b, ..*x };
        if x.c.col == 1 && !x.a.packed && kernel.is_tile(x.m, x.n) {
            let tile = Single::new(kernel, &x, false);
            return tile.run(kernel, (x.a.ptr, x.b.ptr, x.c.ptr), (x.alpha, x.beta), x.epilogue);
        }
        run(kernel, &x, None);
    }
}

/// Rows of A that are shorter are near by themselves.
const NEAR: usize = 64;

/// Fetches the beginnings of the rows of A that are next: the CPU goes on along each by itself, but starts late.
#[inline(always)]
fn ahead<T: Float>(x: &Problem<T>, rows: Range<usize>) {
    const LINES: usize = 8;
    let line = LINE / size_of::<T>();
    for i in rows {
        for p in (0..x.k.min(LINES * line)).step_by(line) {
            prefetch::<false>(x.a.at(i, p).ptr);
        }
    }
}

/// Computes a row of tiles.
///
/// # Safety
/// As [`run`]; `a` is row `i` of A, or its panel.
#[inline(always)]
unsafe fn row<T: Float>(kernel: &Kernel<T>, x: &Problem<T>, (i, rows): (usize, usize), a: Matrix<T>, width: usize) {
    // `step_by` would divide, which takes as long as a small tile.
    let mut j = 0;
    while j < x.n {
        // SAFETY: a tile of the caller's block.
        unsafe { one(kernel, x, (i, rows), (j, width.min(x.n - j)), a) };
        j += width;
    }
    if x.c.col == 1 {
        finish(kernel, x, (i, rows), (0, x.n), x.c.at(i, 0).ptr, x.c.row);
    }
}

/// A problem of one tile, for which the loops would take as long as the tile: what of it places and factors do not
/// decide.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Single<T> {
    tile_fn: TileFn<T>,
    shape: Shape,
    rows: usize,
    cols: usize,
    /// Whether A and B, as the caller sees them, change places.
    transposed: bool,
}

impl<T: Float> Single<T> {
    /// Of a problem that was `transposed`, or not, to at most `mr` rows and as many columns as the tiles of that height
    /// have, C's adjacent.
    #[inline(always)]
    pub(crate) fn new(kernel: &Kernel<T>, x: &Problem<T>, transposed: bool) -> Self {
        let a = if x.a.packed { Matrix { row: 1, ..x.a } } else { x.a };
        let (tile_fn, shape) = choose(kernel, x, x.m, x.n, a);
        Self { tile_fn, shape, rows: x.m, cols: x.n, transposed }
    }

    /// Computes the problem, of these places and factors.
    ///
    /// # Safety
    /// As [`run`], for the problem that it was made of.
    #[inline(always)]
    pub(crate) unsafe fn run(
        &self,
        kernel: &Kernel<T>,
        (a, b, c): (*const T, *const T, *mut T),
        (alpha, beta): (T, T),
        epilogue: Option<Epilogue<T>>,
    ) {
        let Self { tile_fn, shape, rows, cols, transposed } = *self;
        let (a, b) = if transposed { (b, a) } else { (a, b) };
        // SAFETY: the caller's promise.
        unsafe { tile_fn(&Tile { shape, a, b, c, alpha, beta }) };
        if let Some(epilogue) = epilogue {
            let epilogue = if transposed { epilogue.t() } else { epilogue };
            // SAFETY: the tile was just written; the epilogue reaches as far as C.
            unsafe { (kernel.finish)(&Finish { c, c_row: shape.c_row, rows, cols, epilogue }) }
        }
    }
}

/// Columns of bf16 numbers that are widened together, for a row of A.
const WIDENED: usize = 64;

/// Computes a problem of one row, or a few, without packing B. Columns of bf16 numbers are widened, a chunk of some of
/// them at a time, into a near cache, and read there.
///
/// # Safety
/// As [`run`], but for A, which may hold bf16 numbers, and B, which may, too, or whose rows or columns are contiguous.
pub(crate) unsafe fn vector<T: Float>(kernel: &Kernel<T>, x: &Problem<T>, space: Option<&Workspace>) {
    if x.m > 1 && x.a.col != 1 {
        // Rows are contiguous where there are a few, or so small that they are copied.
        let mut room = Aligned([MaybeUninit::uninit(); ROOM]);
        // SAFETY: the caller's A, for which there is room; then its problem, with a copy of A.
        return unsafe {
            let a = dense(kernel, x.a, (x.m, x.k), x.k, &mut room);
            vector(kernel, &Problem { a, ..*x }, space)
        };
    }
    if x.c.col != 1 {
        for (j, n) in split(x.n, TILE_MAX / x.m) {
            let part = Problem { n, b: x.b.at(0, j), epilogue: None, ..*x };
            let there = |c, c_row| {
                // SAFETY: a part of the caller's problem, at the place that `scattered` gives.
                unsafe { vector(kernel, &Problem { c: Matrix::view(c, c_row, 1), ..part }, space) }
            };
            // SAFETY: as above.
            unsafe { scattered(kernel, x, (0, x.m), (j, n), &there) };
        }
        return;
    }
    // From one column to the next, so far that they do not share sets of a cache.
    const APART: usize = CHUNK + LINE;
    let gemv = |(p, k), (j, n), a: Matrix<T>, b: Matrix<T>| {
        let row = Gemv {
            m: x.m,
            k,
            n,
            a: a.ptr.cast_const(),
            a_row: a.row,
            a_col: a.col,
            b: b.ptr.cast_const(),
            b_row: b.row,
            b_col: b.col,
            bf16: b.bf16,
            c: x.c.at(0, j).ptr,
            c_row: x.c.row,
            alpha: x.alpha,
            beta: if p == 0 { x.beta } else { T::ONE },
        };
        // SAFETY: a part of the caller's problem.
        unsafe { (kernel.gemv)(&row) }
    };
    let widen = |from, lines, k, width, to| {
        let lines = Pack { from, lines, k, to, width, precision: Precision::F32 };
        // SAFETY: lines of the caller's A or B, and room for them.
        unsafe { (kernel.pack)(&lines) };
    };
    let columns = x.b.bf16 && x.b.col != 1;
    if x.a.bf16 || columns {
        let (room, wide) = if columns { (CHUNK + APART * WIDENED, WIDENED) } else { (CHUNK, x.n) };
        workspace::with(space, room, |room: *mut T| {
            for (j, n) in split(x.n, wide) {
                for p in (0..x.k).step_by(CHUNK) {
                    let k = CHUNK.min(x.k - p);
                    let (mut a, mut b) = (x.a.at(0, p), x.b.at(p, j));
                    if a.bf16 {
                        widen(a, 1, k, 1, room);
                        a = Matrix::view(room, 1, 1);
                    }
                    if columns {
                        // As they lie: to the packer, the lines are the rows of B.
                        let room = room.wrapping_add(CHUNK);
                        widen(b, k, n, APART, room);
                        b = Matrix::view(room, 1, APART as isize);
                    }
                    gemv((p, k), (j, n), a, b);
                }
            }
        });
    } else {
        gemv((0, x.k), (0, x.n), x.a, x.b);
    }
    finish(kernel, x, (0, x.m), (0, x.n), x.c.ptr, x.c.row);
}

/// Depth up to which most of a tile's time is storing it.
const SHALLOW: usize = 16;

/// Bytes from which a C is not in the near caches.
const LARGE: usize = 1 << 20;

/// Computes the tile of C at these rows and columns (first and number), from its rows of A. Where C's columns are
/// adjacent, the epilogue is left to the caller.
///
/// # Safety
/// As [`run`]; `a` is row `i` of A, or its panel.
#[inline(always)]
unsafe fn one<T: Float>(
    kernel: &Kernel<T>,
    x: &Problem<T>,
    (i, rows): (usize, usize),
    (j, cols): (usize, usize),
    a: Matrix<T>,
) {
    let (tile_fn, mut shape) = choose(kernel, x, rows, cols, a);
    shape.fetch_next = x.k <= SHALLOW && j + 2 * cols <= x.n && x.m.saturating_mul(x.n) >= LARGE / size_of::<T>();
    // SAFETY: no kernel reads bf16 numbers.
    unsafe { assert_unchecked(!x.b.bf16 && !x.c.bf16) };
    let (a, b, c) = (a.ptr.cast_const(), x.b.at(0, j).ptr.cast_const(), x.c.at(i, j).ptr);
    let tile = Tile { shape, a, b, c, alpha: x.alpha, beta: x.beta };
    if x.c.col == 1 {
        // SAFETY: the caller's promise.
        unsafe { tile_fn(&tile) };
    } else {
        let there = |c, c_row| {
            // SAFETY: as above, at the place that `scattered` gives.
            unsafe { tile_fn(&Tile { shape: Shape { c_row, ..tile.shape }, c, ..tile }) }
        };
        // SAFETY: as above.
        unsafe { scattered(kernel, x, (i, rows), (j, cols), &there) };
    }
}

/// Depth from which special tiles pay: it takes time to part vectors that rows share, and to store half of one.
const DEEP: usize = 16;

/// The micro-kernel for so many rows and columns, and what it is told of them; `a` is the rows of A, or their panel.
#[inline(always)]
fn choose<T: Float>(kernel: &Kernel<T>, x: &Problem<T>, rows: usize, cols: usize, a: Matrix<T>) -> (TileFn<T>, Shape) {
    let log = kernel.lanes.trailing_zeros();
    let vectors = (cols + kernel.lanes - 1) >> log;
    let last = cols - ((vectors - 1) << log);
    let tiles = &kernel.tiles[rows - 1];
    let masked = tiles.masked[vectors - 1];
    let tile_fn = if vectors == panels(tiles.masked.len()) && last == kernel.lanes {
        tiles.full
    } else if x.k < DEEP {
        masked
    } else if vectors == tiles.masked.len() && [2, 4].contains(&last) && last / 4 < tiles.shared.len() {
        tiles.shared[last / 4]
    } else if vectors == 1 && last <= kernel.lanes / 2 {
        tiles.half.unwrap_or(masked)
    } else {
        masked
    };
    let shape = Shape {
        a_row: a.row,
        a_col: a.col,
        b_row: x.b.row,
        // Panels, or adjacent columns: then `col` is 1.
        b_panel: times(kernel.nr, x.b.col),
        c_row: x.c.row,
        k: x.k,
        last,
        fetch_next: false,
    };
    (tile_fn, shape)
}

/// Applies the epilogue, if there is one, to a part of C that was just written at `c`, its columns adjacent.
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
        // SAFETY: the part was just written; the epilogue reaches as far as C.
        unsafe { (kernel.finish)(&Finish { c, c_row, rows, cols, epilogue }) }
    }
}

/// Computes a tile of C whose columns are apart, on a dense copy.
///
/// # Safety
/// As [`run`]; `tile` computes the tile at the place it is given.
#[inline(never)]
unsafe fn scattered<T: Float>(
    kernel: &Kernel<T>,
    x: &Problem<T>,
    (i, rows): (usize, usize),
    (j, cols): (usize, usize),
    tile: &dyn Fn(*mut T, isize),
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
