//! The micro-kernel: MR rows by NV vectors of C, accumulated in registers.
//!
//! It is written once, generic over the instruction set and the element type, and instantiated for each height up to
//! the row's `mr` and each width that the registers hold. Neither operand has to be packed: A is read element by
//! element at any strides, B a vector at a time from rows whose columns are adjacent.
//!
//! ```text
//!               b        nv vectors, the last one `last` lanes wide
//!               |  p ->  +--------+--------+
//!               v        |  B row p        |
//!        +---------+     +--------+--------+
//!     mr |  A col p|     | acc             |  c, rows `c_row` apart
//!        +---------+     +--------+--------+
//! ```
//!
//! Where the last vector has few lanes in use, rows share one for their last columns (`SHARE` of them; here 2, of 4
//! lanes): the last two columns of ten take a quarter of an FMA and a blend of each row, instead of an FMA.
//!
//! ```text
//!   bv[last]   b8 b9 b8 b9         += product of these two:  c08 c09 c18 c19
//!   shared_a   a0 a0 a1 a1
//! ```

use crate::CHUNK;
use crate::backend::{Backend, Kernel};
use crate::math::Activation;
use crate::simd::{LINE, Simd, prefetch, prefetch_to_write};
use crate::view::times;
use std::array::from_fn;
use std::marker::PhantomData;
use std::ops::{Add, Mul};

/// One call of a micro-kernel.
pub(crate) struct Tile<T> {
    pub shape: Shape,
    /// Element (0, 0) of the rows of A.
    pub a: *const T,
    /// Element (0, 0) of the columns of B; in a row, the elements of [`PANEL`] vectors are adjacent.
    pub b: *const T,
    /// Element (0, 0) of the tile of C; a row's elements are adjacent.
    pub c: *mut T,
    /// Factor of the product.
    pub alpha: T,
    /// Factor of the old C; at 0 it is not read.
    pub beta: T,
}

/// What of a call is the same for all matrices of the same layouts. The strides are in elements.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shape {
    /// From a row of A to the next.
    pub a_row: isize,
    /// From a column of A to the next (along k).
    pub a_col: isize,
    /// From a row of B to the next (along k).
    pub b_row: isize,
    /// From one panel's columns of B to the next's: as many as there are where B is not packed.
    pub b_panel: isize,
    /// From a row of C to the next.
    pub c_row: isize,
    /// Depth; at least 1.
    pub k: usize,
    /// Lanes in use in the last vector, 1 to `LANES`.
    pub last: usize,
    /// Whether the next tile of C, as wide, is fetched where the old one is not read.
    pub fetch_next: bool,
}

/// A micro-kernel.
///
/// # Safety
/// - The row that it belongs to is supported by this CPU.
/// - A is readable at `mr x k`, B at `k x n`, C writable (and, unless `beta` is 0, readable) at `mr x n` places, where
///   `n` is `nv * LANES` for a full tile, and `(nv - 1) * LANES + last` for a masked one.
pub(crate) type TileFn<T> = unsafe fn(&Tile<T>);

/// Vectors in a row of a packed panel of B.
pub(crate) const PANEL: usize = 2;

/// As many of these vectors as make whole panels, or all where they make none.
#[inline]
pub(crate) const fn panels(vectors: usize) -> usize {
    if vectors < PANEL { vectors } else { vectors / PANEL * PANEL }
}

/// The micro-kernels of one height.
pub(crate) struct Tiles<T: 'static> {
    /// `masked[nv - 1]` is `nv` vectors wide and minds `last`.
    pub masked: &'static [TileFn<T>],
    /// As wide as the widest of `masked` that is as wide as whole panels, every lane in use.
    pub full: TileFn<T>,
    /// As wide as the widest of `masked`, where there are any: `shared[0]` for two lanes in the last vector, which
    /// several rows share, and `shared[1]` for four.
    pub shared: &'static [TileFn<T>],
    /// For half of a vector's columns and fewer, by vectors of that size, which lie in two lines half as often, and of
    /// which more are loaded in a cycle.
    pub half: Option<TileFn<T>>,
}

#[cfg(target_arch = "x86_64")]
impl<T: Float> Tiles<T> {
    /// These, and one of the vectors of `H`.
    pub(crate) const fn with_half<H: Simd<T>, const MR: usize>(self) -> Self {
        Self { half: Some(entry::<H, T, MR, 1, 1>), ..self }
    }
}

/// What the crate needs of an element type; sealed, as the module is private.
pub trait Float: Copy + PartialOrd + Add<Output = Self> + Mul<Output = Self> + Send + Sync + 'static {
    /// 0
    const ZERO: Self;
    /// 1
    const ONE: Self;
    /// Its name in Rust.
    const NAME: &'static str;
    /// `self * b + c`, rounded once.
    #[must_use]
    fn fma(self, b: Self, c: Self) -> Self;
    /// Whether products of this type take the activation.
    fn has(f: Activation) -> bool;
    /// What a product's epilogue makes of it, for an activation that the type has.
    #[must_use]
    fn activate(self, f: Activation) -> Self;
    /// The kernels of a backend for this type.
    fn kernel(backend: &Backend) -> &Kernel<Self>;
}

impl Float for f32 {
    const ZERO: Self = 0.0;
    const ONE: Self = 1.0;
    const NAME: &'static str = "f32";
    #[inline(always)]
    fn fma(self, b: Self, c: Self) -> Self {
        self.mul_add(b, c)
    }
    #[inline]
    fn has(_: Activation) -> bool {
        true
    }
    fn activate(self, f: Activation) -> Self {
        let mut x = [self];
        Backend::exact().activate(f, &mut x);
        x[0]
    }
    #[inline]
    fn kernel(backend: &Backend) -> &Kernel<Self> {
        &backend.f32
    }
}

impl Float for f64 {
    const ZERO: Self = 0.0;
    const ONE: Self = 1.0;
    const NAME: &'static str = "f64";
    #[inline(always)]
    fn fma(self, b: Self, c: Self) -> Self {
        self.mul_add(b, c)
    }
    #[inline]
    fn has(f: Activation) -> bool {
        matches!(f, Activation::Identity | Activation::Relu)
    }
    fn activate(self, f: Activation) -> Self {
        if f == Activation::Relu && self < 0.0 { 0.0 } else { self }
    }
    #[inline]
    fn kernel(backend: &Backend) -> &Kernel<Self> {
        &backend.f64
    }
}

/// Reads and writes the vectors of a row of B or C, of which the last is masked unless `SHARE` is 0.
struct Row<S: Simd<T>, T, const SHARE: usize> {
    s: S,
    mask: S::Mask,
}

impl<S: Simd<T>, T, const SHARE: usize> Row<S, T, SHARE> {
    /// # Safety
    /// Vector `j` of those at `p` is readable; if it is the `last` of the row, as far as it is in use.
    #[inline(always)]
    unsafe fn load(&self, p: *const T, j: usize, last: bool) -> S::V {
        let p = p.wrapping_add(j * S::LANES);
        // SAFETY: the caller's promise.
        unsafe {
            match SHARE {
                1 if last => self.s.load_masked(p, self.mask),
                // For each of the rows that share it.
                2.. if last => self.s.load_repeated(p, S::LANES / SHARE),
                _ => self.s.load(p),
            }
        }
    }

    /// # Safety
    /// Vector `j` of those at `p` is writable; if it is the `last` of the row, as far as it is in use.
    #[inline(always)]
    unsafe fn store(&self, p: *mut T, j: usize, last: bool, v: S::V) {
        let p = p.wrapping_add(j * S::LANES);
        // SAFETY: the caller's promise.
        unsafe { if SHARE > 0 && last { self.s.store_masked(p, self.mask, v) } else { self.s.store(p, v) } }
    }
}

/// `p`, which the compiler can't see through. Where it can be done without a trip through memory, as `black_box` makes
/// it, it is: a small tile takes no longer than that.
#[inline(always)]
pub(super) fn opaque<X>(p: *const X) -> *const X {
    #[cfg(all(any(target_arch = "x86_64", target_arch = "aarch64"), not(miri)))]
    {
        let mut p = p;
        // SAFETY: no instruction at all; the value stays in its register.
        #[expect(clippy::pointers_in_nomem_asm_block, reason = "nothing is read through it here")]
        unsafe {
            std::arch::asm!("/* {0} */", inout(reg) p, options(nomem, nostack, preserves_flags));
        }
        p
    }
    #[cfg(not(all(any(target_arch = "x86_64", target_arch = "aarch64"), not(miri))))]
    std::hint::black_box(p)
}

/// A stride, treated so.
#[inline(always)]
pub(super) fn opaque_stride(stride: isize) -> isize {
    opaque(std::ptr::without_provenance::<u8>(stride.cast_unsigned())).addr().cast_signed()
}

/// Steps along k that are written out where that saves instructions: two hardware threads of a core, each with half of
/// its front end, are held up by these sooner than by the FMA units.
const STEPS: usize = 4;

/// Rows of B from one that is used to one that is fetched then. What the CPU fetches by itself depends on where loads
/// stand in the program: the same loop with other registers took up to 1.2 times as long.
const AHEAD: usize = 16;

/// One step along k: adds the product of a column of A and a row of B. For vector j, row i of A is found `at` a place.
///
/// # Safety
/// The column and the row are readable.
#[inline(always)]
#[expect(clippy::needless_range_loop, reason = "i and j are the indices of the formula, and run over several arrays")]
unsafe fn step<S: Simd<T>, T: Float, const MR: usize, const NV: usize, const SHARE: usize>(
    row: &Row<S, T, SHARE>,
    acc: &mut [[S::V; NV]; MR],
    at: impl Fn(usize, usize) -> *const T,
    b: *const T,
    b_panel: isize,
) {
    let s = row.s;
    let mut bv = [s.splat(T::ZERO); NV];
    for j in 0..NV {
        let panel = b.wrapping_offset((j / PANEL) as isize * b_panel);
        // SAFETY: vector j of the row of B.
        bv[j] = unsafe { row.load(panel, j % PANEL, j == NV - 1) };
    }
    for i in 0..MR {
        for j in 0..NV {
            // SAFETY: row i of the column of A.
            acc[i][j] = s.fma(s.splat(unsafe { *at(i, j) }), bv[j], acc[i][j]);
        }
    }
}

/// Rows of B, as the steps that are written out find them. The strides are in elements.
struct Rows {
    /// To the next row.
    one: isize,
    /// To the next but one.
    two: isize,
    /// To the one that is fetched, and the next, where they are.
    ahead: Option<[isize; 2]>,
    /// From one panel's columns to the next's.
    panel: isize,
}

/// [`STEPS`] steps, written out: for step p and vector j, row i of A is found `at` a place, and the first row of B at
/// `b`. Returns the place of the row after these.
///
/// # Safety
/// These columns and rows are readable.
#[inline(always)]
unsafe fn steps<S: Simd<T>, T: Float, const MR: usize, const NV: usize, const SHARE: usize>(
    row: &Row<S, T, SHARE>,
    acc: &mut [[S::V; NV]; MR],
    at: impl Fn(usize, usize, usize) -> *const T,
    b: *const T,
    rows: &Rows,
) -> *const T {
    // Not a loop, which may stay one.
    // SAFETY: the caller's promise.
    unsafe {
        let b = pair(row, acc, &at, 0, b, rows);
        pair(row, acc, &at, 2, b, rows)
    }
}

/// Steps `p` and `p + 1` of these.
///
/// # Safety
/// As [`steps`].
#[inline(always)]
unsafe fn pair<S: Simd<T>, T: Float, const MR: usize, const NV: usize, const SHARE: usize>(
    row: &Row<S, T, SHARE>,
    acc: &mut [[S::V; NV]; MR],
    at: &impl Fn(usize, usize, usize) -> *const T,
    p: usize,
    b: *const T,
    rows: &Rows,
) -> *const T {
    if let Some(ahead) = rows.ahead {
        for ahead in ahead {
            for line in (0..NV.min(PANEL) * S::LANES).step_by(LINE / size_of::<T>()) {
                prefetch::<false>(b.wrapping_offset(ahead).wrapping_add(line));
            }
        }
    }
    // SAFETY: the caller's promise.
    unsafe {
        step(
            row,
            acc,
            #[inline(always)]
            |i, j| at(p, i, j),
            b,
            rows.panel,
        );
        step(
            row,
            acc,
            #[inline(always)]
            |i, j| at(p + 1, i, j),
            b.wrapping_offset(rows.one),
            rows.panel,
        );
    }
    opaque(b.wrapping_offset(rows.two))
}

/// What is known of a tile when it is compiled. Constants, so that what it does not have is not compiled at all.
struct Known<S, T, const MR: usize, const NV: usize, const SHARE: usize>(PhantomData<(S, T)>);

impl<S: Simd<T>, T: Float, const MR: usize, const NV: usize, const SHARE: usize> Known<S, T, MR, NV, SHARE> {
    /// Whether steps are written out, where that pays for what it adds to the program: with few registers a mask leaves
    /// none for it.
    const WRITTEN: bool = {
        let few = S::REGISTERS < 32;
        !S::LANE_FMA && MR > 4 && if few { SHARE == 0 && NV == PANEL } else { SHARE * NV <= PANEL }
    };
    /// Whether rows of B are fetched.
    const FETCHES: bool = Self::WRITTEN && S::EMBEDDED && NV > 1;
    /// Whether FMAs read elements of A, where its columns are contiguous.
    const EMBEDDED: bool = S::EMBEDDED && MR > 4 && SHARE == 0;
    /// Whether a mask has no register to stay in.
    const TIGHT: bool = SHARE == 1 && MR * NV + NV + 2 > S::REGISTERS;
}

/// `SHARE` says how many rows share the last vector: 0 where a row has all of it, 1 where it has some lanes of its own.
///
/// # Safety
/// See [`TileFn`].
#[inline(always)]
#[expect(clippy::needless_range_loop, reason = "i and j are the indices of the formula, and run over several arrays")]
unsafe fn tile<S: Simd<T>, T: Float, const MR: usize, const NV: usize, const SHARE: usize>(s: S, x: &Tile<T>) {
    let t = &x.shape;
    // Vectors that each row of C has for itself, and lanes that it has of the last one.
    let (own, lanes) = if SHARE > 1 { (NV - 1, S::LANES / SHARE) } else { (NV, S::LANES) };
    let row = Row::<S, T, SHARE> { s, mask: s.first(if SHARE == 1 { t.last } else { lanes }) };
    // Row i of A is reached as group[i / 4] + row[i % 4], and each group steps along k on its own. Left to itself the
    // compiler makes a chain of MR additions of it, as long as the multiplications take, or keeps differences on the
    // stack; what it can't see through it can't combine.
    let mut group: [*const T; 4] = from_fn(|g| {
        let first = x.a.wrapping_offset(times(4 * g, t.a_row));
        if 4 * g < MR { opaque(first) } else { first }
    });
    let along: [isize; 4] = from_fn(|g| if 4 * g < MR { opaque_stride(t.a_col) } else { 0 });
    let a_row = [0, t.a_row, opaque_stride(times(2, t.a_row)), opaque_stride(times(3, t.a_row))];
    let alpha = s.splat(x.alpha);
    let (mut b, mut beta, mut k) = (x.b, x.beta, t.k);
    loop {
        let chunk = k.min(CHUNK);
        let mut acc = [[s.splat(T::ZERO); NV]; MR];
        let mut shared = [s.splat(T::ZERO); MR];
        let mut left = chunk;
        if S::LANE_FMA && t.a_col == 1 {
            // A's rows are read by vectors, whose lanes are the next steps.
            while left >= S::LANES {
                let mut av = [s.splat(T::ZERO); MR];
                for i in 0..MR {
                    // SAFETY: row i of the next columns of A.
                    av[i] = unsafe { s.load(group[i / 4].wrapping_offset(a_row[i % 4])) };
                }
                for lane in 0..S::LANES {
                    let mut bv = [s.splat(T::ZERO); NV];
                    for j in 0..NV {
                        let panel = b.wrapping_offset((j / PANEL) as isize * t.b_panel);
                        // SAFETY: vector j of a row of B.
                        bv[j] = unsafe { row.load(panel, j % PANEL, j == NV - 1) };
                    }
                    for i in 0..MR {
                        for j in 0..NV {
                            acc[i][j] = s.fma_lane(av[i], lane, bv[j], acc[i][j]);
                        }
                    }
                    b = b.wrapping_offset(t.b_row);
                }
                for a in group.iter_mut().take(MR.div_ceil(4)) {
                    *a = a.wrapping_add(S::LANES);
                }
                left -= S::LANES;
            }
        }
        // Rows of B are found as every other one and the next, and A's elements at constant distances where they can be.
        let hidden = |rows| opaque_stride(times(rows, t.b_row));
        let rows = Rows {
            one: t.b_row,
            two: if Known::<S, T, MR, NV, SHARE>::WRITTEN { hidden(2) } else { 0 },
            ahead: if Known::<S, T, MR, NV, SHARE>::FETCHES { Some([hidden(AHEAD), hidden(AHEAD + 1)]) } else { None },
            panel: t.b_panel,
        };
        if Known::<S, T, MR, NV, SHARE>::EMBEDDED && t.a_row == 1 {
            // A's columns are contiguous, so that an FMA can read an element: half of them do, by a pointer of their
            // own, as the compiler would read it once for both vectors.
            let twins = |a: *const T, twin: *const T, i: usize, j: usize| {
                (if NV == PANEL && i % 2 == 1 && j == 1 { twin } else { a }).wrapping_add(i)
            };
            let (mut a, mut twin) = (group[0], opaque(group[0]));
            // Hidden, or it becomes an index, with which an FMA that reads memory counts as two instructions.
            let next = |a: *const T, apart: isize| opaque(a.wrapping_offset(apart));
            if const { NV == PANEL } && t.a_col == MR as isize {
                while left >= STEPS {
                    // SAFETY: these columns of A and rows of B.
                    b = unsafe {
                        steps(
                            &row,
                            &mut acc,
                            #[inline(always)]
                            |p, i, j| twins(a.wrapping_add(p * MR), twin.wrapping_add(p * MR), i, j),
                            b,
                            &rows,
                        )
                    };
                    (a, twin) = (next(a, (STEPS * MR) as isize), next(twin, (STEPS * MR) as isize));
                    left -= STEPS;
                }
            }
            while left >= STEPS {
                for _ in 0..STEPS {
                    // SAFETY: column p of A and row p of B.
                    unsafe {
                        step(
                            &row,
                            &mut acc,
                            #[inline(always)]
                            |i, j| twins(a, twin, i, j),
                            b,
                            t.b_panel,
                        );
                    }
                    b = opaque(b.wrapping_offset(t.b_row));
                    (a, twin) = (next(a, t.a_col), next(twin, t.a_col));
                }
                left -= STEPS;
            }
            for (g, at) in group.iter_mut().enumerate() {
                *at = a.wrapping_add(4 * g);
            }
        } else if Known::<S, T, MR, NV, SHARE>::WRITTEN && t.a_col == 1 {
            // A's rows are.
            while left >= STEPS {
                // SAFETY: as above.
                b = unsafe {
                    steps(
                        &row,
                        &mut acc,
                        #[inline(always)]
                        |p, i, _| group[i / 4].wrapping_offset(a_row[i % 4]).wrapping_add(p),
                        b,
                        &rows,
                    )
                };
                for a in group.iter_mut().take(MR.div_ceil(4)) {
                    *a = opaque(a.wrapping_add(STEPS));
                }
                left -= STEPS;
            }
        }
        for _ in 0..left {
            // Without a register to keep it in, the mask is read each time.
            let mask = if Known::<S, T, MR, NV, SHARE>::TIGHT {
                s.first(opaque_stride(t.last.cast_signed()).cast_unsigned())
            } else {
                row.mask
            };
            let row = Row::<S, T, SHARE> { s, mask };
            let mut bv = [s.splat(T::ZERO); NV];
            for j in 0..NV {
                let panel = b.wrapping_offset((j / PANEL) as isize * t.b_panel);
                // SAFETY: vector j of row p of B.
                bv[j] = unsafe { row.load(panel, j % PANEL, j == NV - 1) };
            }
            let mut shared_a = bv[NV - 1];
            for i in 0..MR {
                // SAFETY: row i of column p of A.
                let av = s.splat(unsafe { *group[i / 4].wrapping_offset(a_row[i % 4]) });
                for j in 0..own {
                    acc[i][j] = s.fma(av, bv[j], acc[i][j]);
                }
                if Known::<S, T, MR, NV, SHARE>::TIGHT {
                    let g = (i + 1) % MR / 4;
                    for j in 0..NV {
                        (acc[i][j], group[g]) = s.in_order(acc[i][j], group[g]);
                    }
                }
                if const { SHARE > 1 } {
                    let (with, place) = (i / SHARE, i % SHARE);
                    shared_a = if place == 0 { av } else { s.select(s.first(place * lanes), shared_a, av) };
                    if place == SHARE - 1 || i == MR - 1 {
                        shared[with] = s.fma(shared_a, bv[NV - 1], shared[with]);
                    }
                }
            }
            for (a, along) in group.iter_mut().zip(along).take(MR.div_ceil(4)) {
                *a = a.wrapping_offset(along);
            }
            b = b.wrapping_offset(t.b_row);
        }
        if const { SHARE > 1 } {
            for i in 0..MR {
                acc[i][NV - 1] = lanes_from(s, shared[i / SHARE], i % SHARE * lanes);
            }
        }
        // Hidden, or the rows' places take registers all the time.
        let apart = opaque_stride(t.c_row);
        let c_row = |i: usize| x.c.wrapping_offset(i as isize * apart);
        if beta == T::ZERO {
            if const { SHARE == 0 && MR > 4 } && t.fetch_next {
                // The lines in which its vectors end: where they lie in two, the first ones are near by then. A loop, as
                // rows written out, in each of the tiles, make the program larger by 15 kB.
                let (mut c, end) = (c_row(0), c_row(MR));
                while c != end {
                    for v in 0..NV {
                        prefetch_to_write(c.wrapping_add((NV + v + 1) * S::LANES));
                    }
                    c = opaque(c.wrapping_offset(apart)).cast_mut();
                }
            }
            for i in 0..MR {
                for j in 0..NV {
                    // SAFETY: vector j of row i of C.
                    unsafe { row.store(c_row(i), j, j == NV - 1, s.mul(alpha, acc[i][j])) };
                }
            }
        } else {
            let beta = s.splat(beta);
            for i in 0..MR {
                for j in 0..NV {
                    // SAFETY: vector j of row i of C; beta asks for the old one.
                    unsafe {
                        let last = j == NV - 1;
                        let old = s.mul(beta, row.load(c_row(i), j, last));
                        row.store(c_row(i), j, last, s.fma(alpha, acc[i][j], old));
                    }
                }
            }
        }
        k -= chunk;
        if k == 0 {
            return;
        }
        beta = T::ONE;
    }
}

/// The lanes of `v` from lane `at` on, as far as the next power of two that `at` is a multiple of; then anything.
#[inline(always)]
fn lanes_from<S: Simd<T>, T>(s: S, mut v: S::V, at: usize) -> S::V {
    if at & 1 > 0 {
        v = s.trn::<1>(v, v).1;
    }
    if at & 2 > 0 {
        v = s.trn::<2>(v, v).1;
    }
    if at & 4 > 0 {
        v = s.trn::<4>(v, v).1;
    }
    v
}

/// The function behind a [`TileFn`]: the door into the instruction set.
///
/// # Safety
/// See [`TileFn`].
unsafe fn entry<S: Simd<T>, T: Float, const MR: usize, const NV: usize, const SHARE: usize>(x: &Tile<T>) {
    // SAFETY: the row is supported, by the caller's promise.
    let s = unsafe { S::assume() };
    // SAFETY: the caller's promise about the operands.
    s.run(
        #[inline(always)]
        || unsafe { tile::<S, T, MR, NV, SHARE>(s, x) },
    );
}

/// The micro-kernel of height `MR`, one vector wide, every lane in use.
#[cfg(target_arch = "x86_64")]
pub(crate) const fn tiles1<S: Simd<T>, T: Float, const MR: usize>() -> Tiles<T> {
    Tiles { masked: &[entry::<S, T, MR, 1, 0>], full: entry::<S, T, MR, 1, 0>, shared: &[], half: None }
}

/// The micro-kernels of height `MR`, up to two vectors wide.
pub(crate) const fn tiles2<S: Simd<T>, T: Float, const MR: usize>() -> Tiles<T> {
    Tiles {
        masked: &[entry::<S, T, MR, 1, 1>, entry::<S, T, MR, 2, 1>],
        full: entry::<S, T, MR, 2, 0>,
        shared: &[],
        half: None,
    }
}

/// The same for vectors of eight, and one that rows share where they have two or four lanes of it.
#[cfg(target_arch = "x86_64")]
pub(crate) const fn tiles2_shared<S: Simd<T>, T: Float, const MR: usize>() -> Tiles<T> {
    let shared = &[entry::<S, T, MR, 2, 4>, entry::<S, T, MR, 2, 2>];
    Tiles { shared, ..tiles2::<S, T, MR>() }
}

/// The micro-kernels of height `MR`, up to three vectors wide. Three rows are rare, as taller tiles share what is left
/// of m: the masked tile serves for the full one, too.
#[cfg(target_arch = "x86_64")]
pub(crate) const fn tiles3<S: Simd<T>, T: Float, const MR: usize>() -> Tiles<T> {
    let masked = &[entry::<S, T, MR, 1, 1>, entry::<S, T, MR, 2, 1>, entry::<S, T, MR, 3, 1>];
    let full = if MR > 3 { entry::<S, T, MR, 2, 0> } else { entry::<S, T, MR, 2, 1> };
    Tiles { masked, full, shared: &[], half: None }
}

/// The same, and such that rows share their last vector where they have half of it.
#[cfg(target_arch = "x86_64")]
pub(crate) const fn tiles3_shared<S: Simd<T>, T: Float, const MR: usize>() -> Tiles<T> {
    Tiles { shared: &[entry::<S, T, MR, 3, 2>], ..tiles3::<S, T, MR>() }
}

/// The micro-kernels of height `MR`, up to four vectors wide.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
pub(crate) const fn tiles4<S: Simd<T>, T: Float, const MR: usize>() -> Tiles<T> {
    Tiles {
        masked: &[entry::<S, T, MR, 1, 1>, entry::<S, T, MR, 2, 1>, entry::<S, T, MR, 3, 1>, entry::<S, T, MR, 4, 1>],
        full: entry::<S, T, MR, 4, 0>,
        shared: &[],
        half: None,
    }
}

/// The micro-kernels of height `MR`, up to eight vectors wide.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
pub(crate) const fn tiles8<S: Simd<T>, T: Float, const MR: usize>() -> Tiles<T> {
    Tiles {
        masked: &[
            entry::<S, T, MR, 1, 1>,
            entry::<S, T, MR, 2, 1>,
            entry::<S, T, MR, 3, 1>,
            entry::<S, T, MR, 4, 1>,
            entry::<S, T, MR, 5, 1>,
            entry::<S, T, MR, 6, 1>,
            entry::<S, T, MR, 7, 1>,
            entry::<S, T, MR, 8, 1>,
        ],
        full: entry::<S, T, MR, 8, 0>,
        shared: &[],
        half: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::isa::portable::Portable;
    use crate::math::math;
    use crate::reference::{Entry, definition};
    use crate::{Blocking, Gemm, MatMut, MatRef};

    type Fused = Portable<true>;

    const fn odd<const MR: usize>() -> Tiles<f32> {
        Tiles { shared: &[entry::<Fused, f32, MR, 2, 2>], ..tiles2::<Fused, f32, MR>() }
    }

    /// A row of the table that no CPU has: tiles of an odd height, and shared vectors in plain Rust.
    static ODD: Backend = Backend {
        name: "odd",
        about: "for this test",
        supported: || true,
        bits_match: true,
        f32: Kernel::new::<Fused>(&[odd::<1>(), odd::<2>(), odd::<3>()]),
        f64: Kernel::new::<Fused>(&[tiles2::<Fused, f64, 1>(), tiles2::<Fused, f64, 2>(), tiles2::<Fused, f64, 3>()]),
        math: math::<Fused, 12>(),
    };

    #[test]
    fn odd_tiles_and_shared_vectors() {
        // No table looks whether the CPU can run this row.
        #[cfg(all(target_arch = "x86_64", not(miri)))]
        if !(is_x86_feature_detected!("fma") && is_x86_feature_detected!("avx2")) {
            return;
        }
        let numbers = |seed: usize, len: usize| -> Vec<f32> {
            (seed..seed + len).map(|i| (i * 37 % 101) as f32 / 64.0 - 0.75).collect()
        };
        for (m, n) in [(1, 5), (2, 6), (3, 7), (4, 8), (5, 13), (7, 14), (8, 4)] {
            for (k, nc) in [(1, None), (16, None), (19, Some(1)), (crate::CHUNK + 16, None)] {
                let (a, b, old) = (numbers(0, m * k), numbers(5, k * n), numbers(9, m * n));
                let mut c = old.clone();
                let mut gemm = Gemm::new().backend(&ODD).alpha(0.5).beta(-1.0);
                if let Some(nc) = nc {
                    gemm = gemm.blocking(Blocking { kc: 1, nc });
                }
                let views = (MatRef::new(&a, m, k).unwrap(), MatRef::new(&b, k, n).unwrap());
                gemm.run(views.0, views.1, MatMut::new(&mut c, m, n).unwrap()).unwrap();
                for (i, found) in c.into_iter().enumerate() {
                    let column: Vec<f32> = b.iter().skip(i % n).step_by(n).copied().collect();
                    let want = definition(&Entry {
                        a: &a[i / n * k..][..k],
                        b: &column,
                        c: old[i],
                        alpha: 0.5,
                        beta: -1.0,
                        bias: None,
                        activation: Activation::Identity,
                    });
                    assert_eq!(found.to_bits(), want.to_bits(), "{m}x{k}x{n}: element {i}");
                }
            }
        }
    }
}
