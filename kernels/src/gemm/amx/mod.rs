//! Products on a tile unit (Intel's AMX), which multiplies bf16 numbers and sums in f32: an f32 number is the sum of
//! three bf16 numbers, and six of the nine products of parts carry all that an f32 result shows.
//!
//! Blocks of 32 by 32 elements of C; the sum of a chunk of k is made in tile registers, and enters C as any other
//! chunk's does. What the unit can't do (see [`model::Range`]) is computed by the FMA kernels, element by element, so
//! that the bits of an element depend on its row of A and its column of B alone.
//!
//! | file | content |
//! | --- | --- |
//! | `model` | what the unit computes, as plain code |
//! | `split` | the packer |
//! | `tile` | the instructions |
//! | `mod` | the loops |

#[cfg(all(test, target_arch = "x86_64", target_os = "linux", not(miri)))]
mod emulator;
pub(crate) mod model;
#[cfg(target_arch = "x86_64")]
pub(crate) mod split;
#[cfg(all(test, target_arch = "x86_64", target_os = "linux", not(miri)))]
mod tests;
#[cfg(target_arch = "x86_64")]
mod tile;

use super::Precision;
use super::driver::Problem;
use super::pack::Pack;
use super::packed::Side;
use super::tuning::{Blocking, Tuning};
use super::workspace::Workspace;
use crate::CHUNK;
use crate::backend::Kernel;
use std::sync::atomic::AtomicU64;

/// Elements of C along either side of what is computed at once.
pub(crate) const BLOCK: usize = 32;

/// The least k that the unit is used for, two steps: below it, splitting operands and adding sums to C takes longer than
/// the FMA kernels need (`docs/design.md`). It is a part of the definition of a result, as [`CHUNK`] is.
pub(crate) const LEAST_K: usize = 2 * model::STEP;

const _: () = assert!(CHUNK.is_multiple_of(model::STEP) && BLOCK == 32);

/// A way to compute on the unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tiled {
    pub precision: Precision,
    /// A and B have changed places.
    pub mirrored: bool,
    /// Columns of a block of B.
    pub nc: usize,
}

/// What a row of the table has for a tile unit.
#[derive(Clone, Copy)]
pub(crate) struct Unit<T: 'static> {
    /// Computes a problem on this thread; packed operands are panels of this unit.
    pub run: RunFn<T>,
    /// Packs up to [`LINES`] lines.
    pub pack: PanelFn<T>,
    /// The room of a panel of this depth, in elements.
    pub panel: fn(Precision, usize) -> Option<usize>,
}

/// # Safety
/// As `driver::run`, on a row whose unit is usable, for a problem that has products.
pub(crate) type RunFn<T> = unsafe fn(&Kernel<T>, &Problem<T>, Tiled, Option<&Workspace>);

/// # Safety
/// The row is supported by this CPU; the lines are readable; there is room for a panel at a cache line.
pub(crate) type PanelFn<T> = unsafe fn(&Kernel<T>, Side, &Pack<T>);

/// Lines of a panel.
pub(crate) const LINES: usize = BLOCK / 2;

/// Sums of chunks, of up to 16 by 16 elements of C, that the FMA kernels computed since the process began.
pub(super) static BY_FMA: AtomicU64 = AtomicU64::new(0);

/// Blocks that fill as much of the second cache as those of the FMA kernels do.
pub(super) fn blocking(tuning: &Tuning, precision: Precision) -> Blocking {
    let nc = tuning.block.saturating_mul(size_of::<f32>()) / (CHUNK * precision.parts() * size_of::<u16>());
    Blocking { kc: CHUNK, nc: nc.max(BLOCK) / BLOCK * BLOCK }
}

#[cfg(target_arch = "x86_64")]
pub(crate) use blocks::unit;

#[cfg(target_arch = "x86_64")]
mod blocks {
    use super::split::{self, Form, Pairs, ROOM, head, tiles};
    use super::tile::Panels;
    use super::*;
    use crate::gemm::block;
    use crate::gemm::driver::Matrix;
    use crate::gemm::finish::Finish;
    use crate::gemm::workspace;
    use crate::simd::{LINE, prefetch};
    use std::mem::swap;
    use std::sync::atomic::Ordering;

    /// The tile unit, packed for by the vectors of `S`.
    pub(crate) const fn unit<S: Pairs>() -> Unit<f32> {
        Unit { run: run::<S>, pack: pack::<S>, panel: |precision, k| Form { precision, keep: true }.panel(k) }
    }

    /// # Safety
    /// See [`PanelFn`].
    unsafe fn pack<S: Pairs>(kernel: &Kernel<f32>, side: Side, x: &Pack<f32>) {
        let form = Form { precision: x.precision, keep: true };
        for p in (0..x.k).step_by(CHUNK) {
            let from = x.from.at(0, p);
            let chunk = Pack { from, k: CHUNK.min(x.k - p), to: form.chunk(x.to, p).cast_mut(), ..*x };
            // SAFETY: the caller's promise; the copy that is kept needs no other room.
            unsafe { split::records::<S>(kernel, side, form, &chunk, std::ptr::null_mut()) };
        }
    }

    /// Chunks of B that are packed together, at most.
    const CHUNKS: usize = 8;

    /// Lines of one operand in one chunk: records that are `apart`, [`LINES`] each.
    #[derive(Clone, Copy)]
    struct Records {
        first: *const f32,
        apart: usize,
        lines: usize,
    }

    impl Records {
        const NONE: Self = Self { first: std::ptr::null(), apart: 0, lines: 0 };
        /// Record `i`, and how many lines it has.
        #[inline(always)]
        fn at(self, i: usize) -> (*const f32, usize) {
            (self.first.wrapping_add(i * self.apart), LINES.min(self.lines - i * LINES))
        }
        /// Those of block `i`, which are one or two.
        #[inline(always)]
        fn block(self, i: usize) -> Self {
            let first = self.first.wrapping_add(2 * i * self.apart);
            Self { first, lines: BLOCK.min(self.lines - i * BLOCK), ..self }
        }
        /// Where the tiles of a block begin.
        #[inline(always)]
        fn tiles(self) -> Panels {
            Panels { tiles: tiles(self.first), apart: self.apart, both: self.lines > LINES }
        }
        /// The range of all lines.
        fn range(self) -> model::Range {
            (0..self.lines.div_ceil(LINES)).fold(model::Range::ZEROS, |all, i| {
                // SAFETY: it is a record.
                all.with(unsafe { head(self.at(i).0) }.all)
            })
        }
    }

    /// A row of blocks in one chunk of k.
    #[derive(Clone, Copy)]
    struct Chunk {
        /// All rows and columns, and the elements of this chunk.
        part: Problem<f32>,
        a: Records,
        b: Records,
        /// Whether all lines of both fit.
        fits: bool,
    }

    impl Chunk {
        /// Steps of the unit.
        fn steps(&self) -> usize {
            self.part.k.div_ceil(model::STEP)
        }
    }

    /// Chunks whose sums enter C together, at most.
    const DEEP: usize = 2;

    /// # Safety
    /// See [`RunFn`].
    unsafe fn run<S: Pairs>(kernel: &Kernel<f32>, x: &Problem<f32>, how: Tiled, space: Option<&Workspace>) {
        // SAFETY: the caller's promise.
        let unit = unsafe { super::tile::Unit::new() };
        let fresh = Form { precision: how.precision, keep: false };
        let row: RowFn = match (how.precision.parts(), how.mirrored) {
            (1, _) => row::<S, 1, false>,
            (2, false) => row::<S, 2, false>,
            (2, true) => row::<S, 2, true>,
            (_, false) => row::<S, 3, false>,
            (_, true) => row::<S, 3, true>,
        };
        // As few blocks of B as may be, of one size; of narrow ones several chunks, so that a row of A is read in longer
        // pieces. Two chunks of A are in the first cache together where they have one part: C comes and goes half as often.
        let nc = x.n.div_ceil(x.n.div_ceil(how.nc)).next_multiple_of(BLOCK);
        let group = (how.nc.saturating_add(how.nc / 16) / nc).clamp(1, CHUNKS).min(x.k.div_ceil(CHUNK));
        let deep = if how.precision.parts() == 1 { DEEP.min(group) } else { 1 };
        // Whether columns that were packed before are too many for a near cache.
        let far = x.b.packed && x.n.saturating_mul(x.k) > how.nc.saturating_mul(CHUNK);
        let depth = |p: usize| CHUNK.min(x.k - p);
        let most = fresh.record(depth(0));
        let room_a = if x.a.packed { 0 } else { 2 * most };
        let room_b = if x.b.packed { 0 } else { nc.div_ceil(LINES).saturating_mul(most) };
        let mut by_fma = 0;
        let mut sums = [const { Sums([[0.0; BLOCK * BLOCK]; DEEP]) }; 2];
        let all = ROOM.saturating_add(deep * room_a).saturating_add(room_b.saturating_mul(group));
        workspace::with(space, all, |room: *mut f32| {
            let (rooms_a, rooms_b) = (room.wrapping_add(ROOM), room.wrapping_add(ROOM + deep * room_a));
            // The records of lines from `first` on, of the chunk at `p`: rows of A, or columns of B, which are the rows of
            // its transpose. Packed to `to`, unless they came packed.
            let records = |side, first: usize, lines, p: usize, to: *mut f32| {
                let x = if side == Side::A { x.a } else { x.b.t() };
                if x.packed {
                    let kept = Form { keep: true, ..fresh };
                    let first = kept.chunk(x.at(first, 0).ptr, p);
                    return Records { first, apart: LINES * x.row.unsigned_abs(), lines };
                }
                let pack =
                    Pack { from: x.at(first, p), lines, k: depth(p), to, width: LINES, precision: how.precision };
                // SAFETY: lines of the caller's problem, and room for their records.
                unsafe { split::records::<S>(kernel, side, fresh, &pack, room) };
                Records { first: to, apart: fresh.record(depth(p)), lines }
            };
            let part = |p: usize| Problem {
                k: depth(p),
                a: if x.a.packed { x.a } else { x.a.at(0, p) },
                b: if x.b.packed { x.b } else { x.b.at(p, 0) },
                beta: if p == 0 { x.beta } else { 1.0 },
                epilogue: if p + depth(p) == x.k { x.epilogue } else { None },
                ..*x
            };
            for j in (0..x.n).step_by(nc) {
                let n = nc.min(x.n - j);
                for start in (0..x.k).step_by(group * CHUNK) {
                    let span = start..x.k.min(start + group * CHUNK);
                    let mut columns = [(Records::NONE, model::Range::ZEROS); CHUNKS];
                    for (c, p) in span.clone().step_by(CHUNK).enumerate() {
                        let b = records(Side::B, j, n, p, rooms_b.wrapping_add(c * room_b));
                        columns[c] = (b, b.range());
                    }
                    for i in (0..x.m).step_by(BLOCK) {
                        let rows = BLOCK.min(x.m - i);
                        for p in span.clone().step_by(deep * CHUNK) {
                            let chunk = |d: usize| {
                                let (p, (b, range)) = (p + d * CHUNK, columns[(p - start) / CHUNK + d]);
                                let a = records(Side::A, i, rows, p, rooms_a.wrapping_add(d * room_a));
                                Chunk { part: part(p), a, b, fits: a.range().fits(range) }
                            };
                            let mut chunks = [chunk(0); DEEP];
                            let count = deep.min((span.end - p).div_ceil(CHUNK));
                            for (d, next) in chunks[..count].iter_mut().enumerate().skip(1) {
                                *next = chunk(d);
                            }
                            let chunks = &chunks[..count];
                            // SAFETY: rows and columns of the caller's problem, and their records.
                            by_fma +=
                                unsafe { row(kernel, chunks, (&unit, how), (i, j), far && i == 0, &mut sums, room) };
                            if let (1, Some(epilogue)) = (x.c.col, chunks[chunks.len() - 1].part.epilogue) {
                                let (c, epilogue) = (x.c.at(i, j).ptr, epilogue.at(i, j));
                                // SAFETY: a row of blocks that was just written; the epilogue reaches as far as C.
                                unsafe { (kernel.finish)(&Finish { c, c_row: x.c.row, rows, cols: n, epilogue }) };
                            }
                        }
                    }
                }
            }
        });
        if by_fma > 0 {
            BY_FMA.fetch_add(by_fma, Ordering::Relaxed);
        }
    }

    /// Sums of chunks, rows [`BLOCK`] apart.
    #[repr(align(64))]
    struct Sums([[f32; BLOCK * BLOCK]; DEEP]);

    /// [`row`], for a precision.
    ///
    /// # Safety
    /// See there.
    type RowFn = unsafe fn(
        &Kernel<f32>,
        &[Chunk],
        (&super::tile::Unit, Tiled),
        (usize, usize),
        bool,
        &mut [Sums; 2],
        *mut f32,
    ) -> u64;

    /// Computes a row of blocks of C, from row `i` and column `j` on, in chunks that follow each other; where C's
    /// columns are adjacent, the epilogue is left to the caller. The number of sums of 16 by 16 that the FMA kernels
    /// computed.
    ///
    /// # Safety
    /// The chunks are those of one problem, whose rows and columns the records hold; [`ROOM`] at `room`.
    unsafe fn row<S: Pairs, const N: usize, const MIRRORED: bool>(
        kernel: &Kernel<f32>,
        chunks: &[Chunk],
        (unit, how): (&super::tile::Unit, Tiled),
        (i, j): (usize, usize),
        far: bool,
        sums: &mut [Sums; 2],
        room: *mut f32,
    ) -> u64 {
        let (first, last) = (&chunks[0], &chunks[chunks.len() - 1]);
        let x = &Problem { epilogue: last.part.epilogue, ..first.part };
        let (rows, cols) = (first.a.lines, first.b.lines);
        let products = |chunk: &Chunk| chunk.steps() * model::products(N).len();
        let share = rows.div_ceil(chunks.iter().map(products).sum());
        let adjacent = x.c.col == 1;
        let mut by_fma = 0;
        // SAFETY: the row is supported, by the caller's promise.
        let s = unsafe { S::assume() };
        s.run_pairs(
            #[inline(always)]
            || {
                // The block before, whose sums go into C while the unit computes the next ones.
                let mut before = Add::new(s, x, BLOCK, chunks.len());
                let [mut next, mut done] = sums.each_mut();
                for q in 0..cols.div_ceil(BLOCK) {
                    for (chunk, sums) in chunks.iter().zip(&mut next.0) {
                        let (a, b, steps) = (chunk.a, chunk.b.block(q), chunk.steps());
                        // Lines of cache in a panel.
                        let lines = steps * N * LINES;
                        let mut fetch = Fetch::new(chunk.b, q + 1, if far { lines } else { 0 });
                        let share_b = lines.div_ceil(products(chunk));
                        // SAFETY: the records' tiles, and room for their sums; some rows of the block before.
                        unsafe {
                            unit.sum::<N, MIRRORED>(
                                steps,
                                a.tiles(),
                                b.tiles(),
                                sums.as_mut_ptr(),
                                #[inline(always)]
                                || {
                                    before.some::<N>(s, share);
                                    if fetch.lines > 0 {
                                        fetch.some(share_b);
                                    }
                                },
                            );
                        }
                        if !chunk.fits && !a.range().fits(b.range()) {
                            let j = j + q * BLOCK;
                            // SAFETY: a block of the caller's problem, and its records.
                            by_fma += unsafe { mend(kernel, &chunk.part, how, (i, a), (j, b), room, sums) };
                        }
                    }
                    let (j, cols) = (j + q * BLOCK, BLOCK.min(cols - q * BLOCK));
                    if !adjacent {
                        // SAFETY: a block of the caller's problem, and its sums.
                        unsafe { scatter(s, kernel, x, (next, chunks.len()), (i, rows), (j, cols)) };
                        continue;
                    }
                    if cols < BLOCK {
                        before = Add::new(s, x, cols, chunks.len());
                    }
                    before.begin(rows, next, (x.c.at(i, j).ptr, x.c.row));
                    swap(&mut next, &mut done);
                }
                // SAFETY: the last block of the caller's problem, and its sums.
                unsafe { before.some::<N>(s, BLOCK) };
            },
        );
        by_fma
    }

    /// Replaces the sums of a block that do not fit the unit by those of the FMA kernels, 16 by 16 of them at once: how
    /// often.
    ///
    /// # Safety
    /// As [`row`], for a block.
    #[cold]
    unsafe fn mend(
        kernel: &Kernel<f32>,
        x: &Problem<f32>,
        how: Tiled,
        (i, a): (usize, Records),
        (j, b): (usize, Records),
        room: *mut f32,
        sums: &mut [f32; BLOCK * BLOCK],
    ) -> u64 {
        let mut by_fma = 0;
        for qi in 0..a.lines.div_ceil(LINES) {
            for qj in 0..b.lines.div_ceil(LINES) {
                let ((ra, rows), (rb, cols)) = (a.at(qi), b.at(qj));
                // SAFETY: both are records.
                let (ha, hb) = unsafe { (head(ra), head(rb)) };
                let unfit = |r: usize, s: usize| !ha.line(r).fits(hb.line(s));
                if !(0..rows).any(|r| (0..cols).any(|s| unfit(r, s))) {
                    continue;
                }
                by_fma += 1;
                // SAFETY: a part of the caller's problem, and its records.
                let exact = unsafe {
                    by_fma_units(kernel, x, how, (i + qi * LINES, rows, ra), (j + qj * LINES, cols, rb), room)
                };
                for r in 0..rows {
                    for s in 0..cols {
                        if unfit(r, s) {
                            sums[(qi * LINES + r) * BLOCK + qj * LINES + s] = exact[r * LINES + s];
                        }
                    }
                }
            }
        }
        by_fma
    }

    /// The sums of a chunk by the FMA kernels, rows [`LINES`] apart.
    ///
    /// # Safety
    /// As [`mend`], for rows and columns (first, number and record) of one record each.
    #[cold]
    unsafe fn by_fma_units(
        kernel: &Kernel<f32>,
        x: &Problem<f32>,
        how: Tiled,
        (i, m, record_a): (usize, usize, *const f32),
        (j, n, record_b): (usize, usize, *const f32),
        room: *mut f32,
    ) -> [f32; LINES * LINES] {
        let kept = |record| Form { precision: how.precision, keep: true }.kept(record, x.k).cast_mut();
        let panel = |from, lines, to| {
            let lines = Pack { from, lines, k: x.k, to, width: LINES, precision: Precision::F32 };
            // SAFETY: lines of the caller's problem, and room for them.
            unsafe { (kernel.pack)(&lines) };
            Matrix::view(to, 1, LINES as isize)
        };
        let (room_a, room_b) = (room, room.wrapping_add(ROOM / 2));
        let a = match x.a {
            a if a.packed => Matrix::view(kept(record_a), x.k.next_multiple_of(model::STEP) as isize, 1),
            a if a.bf16 => panel(a.at(i, 0), m, room_a),
            a => a.at(i, 0),
        };
        let b = match x.b {
            b if b.packed => Matrix::view(kept(record_b), LINES as isize, 1),
            b if b.bf16 || b.col != 1 => panel(b.at(0, j).t(), n, room_b).t(),
            b => b.at(0, j),
        };
        let mut sums = [0.0; LINES * LINES];
        let c = Matrix::view(sums.as_mut_ptr(), LINES as isize, 1);
        let part = Problem { m, n, a, b, c, alpha: 1.0, beta: 0.0, epilogue: None, ..*x };
        // SAFETY: a part of the caller's problem; B's columns are adjacent.
        unsafe { block::run(kernel, &part, None) };
        sums
    }

    /// Adds the sums of a block to a C whose columns are apart, on a dense copy.
    ///
    /// # Safety
    /// The rows and columns (first and number) are those of a block of the problem's C.
    unsafe fn scatter<S: Pairs>(
        s: S,
        kernel: &Kernel<f32>,
        x: &Problem<f32>,
        (sums, chunks): (&Sums, usize),
        (i, rows): (usize, usize),
        (j, cols): (usize, usize),
    ) {
        let place = |r: usize, s: usize| x.c.at(i + r, j + s).ptr;
        let mut copy = [0.0; BLOCK * BLOCK];
        if x.beta != 0.0 {
            for (r, row) in copy.chunks_exact_mut(BLOCK).take(rows).enumerate() {
                for (s, to) in row.iter_mut().take(cols).enumerate() {
                    // SAFETY: an element of the block; beta asks for it.
                    *to = unsafe { *place(r, s) };
                }
            }
        }
        let (c, c_row) = (copy.as_mut_ptr(), BLOCK as isize);
        s.run(
            #[inline(always)]
            || {
                let mut add = Add::new(s, x, cols, chunks);
                add.begin(rows, sums, (c, c_row));
                // SAFETY: sums of the block, and its copy.
                unsafe { add.some::<1>(s, rows) };
            },
        );
        if let Some(epilogue) = x.epilogue {
            // SAFETY: the copy was just written; the epilogue reaches as far as C.
            unsafe { (kernel.finish)(&Finish { c, c_row, rows, cols, epilogue: epilogue.at(i, j) }) };
        }
        for (r, row) in copy.chunks_exact(BLOCK).take(rows).enumerate() {
            for (s, from) in row.iter().take(cols).enumerate() {
                // SAFETY: an element of the block.
                unsafe { *place(r, s) = *from };
            }
        }
    }

    /// Tiles that are fetched while the unit is at work: the CPU does not look that far ahead.
    struct Fetch {
        at: [*const f32; 2],
        /// The lines of each that are left.
        lines: usize,
    }

    impl Fetch {
        /// Of the panels of block `i`, if it is there, so many lines.
        fn new(b: Records, i: usize, lines: usize) -> Self {
            let panel = |record: usize| tiles(b.first.wrapping_add(record * b.apart));
            Self { at: [panel(2 * i), panel(2 * i + 1)], lines: if i * BLOCK < b.lines { lines } else { 0 } }
        }

        /// Fetches up to so many lines of both. Not inlined, as it would stand beside each product.
        #[inline(never)]
        fn some(&mut self, most: usize) {
            let lines = most.min(self.lines);
            self.lines -= lines;
            for _ in 0..lines {
                for at in &mut self.at {
                    prefetch::<true>(*at);
                    *at = at.wrapping_add(LINE / size_of::<f32>());
                }
            }
        }
    }

    /// How the sums of a block enter C: `c <- alpha sums + beta c`, the formula of all products, for one chunk after the
    /// other, in which beta is 1 from the second one on.
    #[derive(Clone, Copy)]
    struct Add<S: Pairs> {
        alpha: S::V,
        beta: S::V,
        /// What is read and what is written of a row, vector by vector.
        masks: [(S::Mask, S::Mask); 4],
        chunks: usize,
        /// The rows that are left, and where they are.
        rows: usize,
        sums: *const f32,
        c: *mut f32,
        c_row: isize,
    }

    impl<S: Pairs> Add<S> {
        /// Of no rows, of so many columns and chunks.
        #[inline(always)]
        fn new(s: S, x: &Problem<f32>, cols: usize, chunks: usize) -> Self {
            let mask = |v: usize| s.first(cols.saturating_sub(v * S::LANES).min(S::LANES));
            // Where beta is 0, nothing is read, and -0 is added, which changes no number and no zero's sign.
            let (beta, read) = if x.beta == 0.0 { (-0.0, false) } else { (x.beta, true) };
            let masks = std::array::from_fn(
                #[inline(always)]
                |v| (if read { mask(v) } else { s.first(0) }, mask(v)),
            );
            let (sums, c) = (std::ptr::null(), std::ptr::null_mut());
            Self { alpha: s.splat(x.alpha), beta: s.splat(beta), masks, chunks, rows: 0, sums, c, c_row: 0 }
        }

        /// Goes on with so many rows of a block.
        #[inline(always)]
        fn begin(&mut self, rows: usize, sums: &Sums, (c, c_row): (*mut f32, isize)) {
            (self.rows, self.sums, self.c, self.c_row) = (rows, sums.0.as_ptr().cast(), c, c_row);
        }

        /// Adds up to so many rows, of operands of `N` parts: of one chunk, unless that is 1.
        ///
        /// # Safety
        /// The sums are readable, and C's part is readable, if beta asks for it, and writable, at the rows that are left
        /// and the columns of the masks.
        #[inline(always)]
        unsafe fn some<const N: usize>(&mut self, s: S, most: usize) {
            let rows = most.min(self.rows);
            self.rows -= rows;
            for _ in 0..rows {
                for (v, &(read, write)) in self.masks[..BLOCK / S::LANES].iter().enumerate() {
                    let (sums, c) = (self.sums.wrapping_add(v * S::LANES), self.c.wrapping_add(v * S::LANES));
                    // SAFETY: a vector of a row, as far as it is there.
                    unsafe {
                        let mut new = s.fma(self.alpha, s.load(sums), s.mul(self.beta, s.load_masked(c, read)));
                        if N == 1 && self.chunks > 1 {
                            new = s.fma(self.alpha, s.load(sums.wrapping_add(BLOCK * BLOCK)), new);
                        }
                        s.store_masked(c, write, new);
                    }
                }
                self.sums = self.sums.wrapping_add(BLOCK);
                self.c = self.c.wrapping_offset(self.c_row);
            }
        }
    }
}
