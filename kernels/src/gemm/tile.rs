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

use crate::CHUNK;
use crate::backend::{Backend, Kernel};
use crate::simd::Simd;
use std::ops::{Add, Mul};

/// One call of a micro-kernel. The strides are in elements.
pub(crate) struct Tile<T> {
    /// Element (0, 0) of the rows of A.
    pub a: *const T,
    /// From a row of A to the next.
    pub a_row: isize,
    /// From a column of A to the next (along k).
    pub a_col: isize,
    /// Element (0, 0) of the columns of B; a row's elements are adjacent.
    pub b: *const T,
    /// From a row of B to the next (along k).
    pub b_row: isize,
    /// Element (0, 0) of the tile of C; a row's elements are adjacent.
    pub c: *mut T,
    /// From a row of C to the next.
    pub c_row: isize,
    /// Depth; at least 1.
    pub k: usize,
    /// Lanes in use in the last vector, 1 to `LANES`.
    pub last: usize,
    /// Factor of the product.
    pub alpha: T,
    /// Factor of the old C; at 0 it is not read.
    pub beta: T,
}

/// A micro-kernel.
///
/// # Safety
/// - The row that it belongs to is supported by this CPU.
/// - A is readable at `mr x k`, B at `k x n`, C writable (and, unless `beta` is 0, readable) at `mr x n` places, where
///   `n` is `nv * LANES` for a full tile, and `(nv - 1) * LANES + last` for a masked one.
pub(crate) type TileFn<T> = unsafe fn(&Tile<T>);

/// The micro-kernels of one height.
pub(crate) struct Tiles<T: 'static> {
    /// `masked[nv - 1]` is `nv` vectors wide and minds `last`.
    pub masked: &'static [TileFn<T>],
    /// As wide as the widest of `masked`, every lane in use.
    pub full: TileFn<T>,
}

/// What the crate needs of an element type; sealed, as the module is private.
pub trait Float: Copy + PartialOrd + Add<Output = Self> + Mul<Output = Self> + Send + Sync + 'static {
    /// 0
    const ZERO: Self;
    /// 1
    const ONE: Self;
    /// `self * b + c`, rounded once.
    #[must_use]
    fn fma(self, b: Self, c: Self) -> Self;
    /// The kernels of a backend for this type.
    fn kernel(backend: &Backend) -> &Kernel<Self>;
}

impl Float for f32 {
    const ZERO: Self = 0.0;
    const ONE: Self = 1.0;
    fn fma(self, b: Self, c: Self) -> Self {
        self.mul_add(b, c)
    }
    #[inline]
    fn kernel(backend: &Backend) -> &Kernel<Self> {
        &backend.f32
    }
}

impl Float for f64 {
    const ZERO: Self = 0.0;
    const ONE: Self = 1.0;
    fn fma(self, b: Self, c: Self) -> Self {
        self.mul_add(b, c)
    }
    #[inline]
    fn kernel(backend: &Backend) -> &Kernel<Self> {
        &backend.f64
    }
}

/// Chunks longer than this give the old C time to arrive before it is needed.
const PREFETCH_FROM: usize = 64;

/// # Safety
/// See [`TileFn`].
#[inline(always)]
unsafe fn tile<S: Simd<T>, T: Float, const MR: usize, const NV: usize, const MASKED: bool>(s: S, t: &Tile<T>) {
    let mask = s.first(if MASKED { t.last } else { S::LANES });
    // SAFETY: the caller vouches for these vectors of a row of B or C.
    let load = |row: *const T, j: usize| unsafe {
        let p = row.add(j * S::LANES);
        if MASKED && j == NV - 1 { s.load_masked(p, mask) } else { s.load(p) }
    };
    // SAFETY: as above.
    let store = |row: *mut T, j: usize, v: S::V| unsafe {
        let p = row.add(j * S::LANES);
        if MASKED && j == NV - 1 { s.store_masked(p, mask, v) } else { s.store(p, v) }
    };
    let c_row = |i: usize| t.c.wrapping_offset(i as isize * t.c_row);

    let alpha = s.splat(t.alpha);
    let (mut a, mut b, mut beta, mut k) = (t.a, t.b, t.beta, t.k);
    loop {
        let chunk = k.min(CHUNK);
        if chunk > PREFETCH_FROM {
            for i in 0..MR {
                for j in 0..NV {
                    s.prefetch(c_row(i).wrapping_add(j * S::LANES));
                }
            }
        }
        let mut acc = [[s.splat(T::ZERO); NV]; MR];
        for _ in 0..chunk {
            let mut bv = [s.splat(T::ZERO); NV];
            for j in 0..NV {
                bv[j] = load(b, j);
            }
            for i in 0..MR {
                // SAFETY: row i of column p of A.
                let av = s.splat(unsafe { *a.wrapping_offset(i as isize * t.a_row) });
                for j in 0..NV {
                    acc[i][j] = s.fma(av, bv[j], acc[i][j]);
                }
            }
            a = a.wrapping_offset(t.a_col);
            b = b.wrapping_offset(t.b_row);
        }
        if beta == T::ZERO {
            for i in 0..MR {
                for j in 0..NV {
                    store(c_row(i), j, s.mul(alpha, acc[i][j]));
                }
            }
        } else {
            let beta = s.splat(beta);
            for i in 0..MR {
                for j in 0..NV {
                    let old = s.mul(beta, load(c_row(i), j));
                    store(c_row(i), j, s.fma(alpha, acc[i][j], old));
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

/// The function behind a [`TileFn`]: the door into the instruction set.
///
/// # Safety
/// See [`TileFn`].
unsafe fn entry<S: Simd<T>, T: Float, const MR: usize, const NV: usize, const MASKED: bool>(t: &Tile<T>) {
    // SAFETY: the row is supported, by the caller's promise.
    let s = unsafe { S::assume() };
    // SAFETY: the caller's promise about the operands.
    s.run(|| unsafe { tile::<S, T, MR, NV, MASKED>(s, t) })
}

/// The micro-kernels of height `MR`, up to two vectors wide.
pub(crate) const fn tiles2<S: Simd<T>, T: Float, const MR: usize>() -> Tiles<T> {
    Tiles { masked: &[entry::<S, T, MR, 1, true>, entry::<S, T, MR, 2, true>], full: entry::<S, T, MR, 2, false> }
}

/// The micro-kernels of height `MR`, up to four vectors wide.
pub(crate) const fn tiles4<S: Simd<T>, T: Float, const MR: usize>() -> Tiles<T> {
    Tiles {
        masked: &[
            entry::<S, T, MR, 1, true>,
            entry::<S, T, MR, 2, true>,
            entry::<S, T, MR, 3, true>,
            entry::<S, T, MR, 4, true>,
        ],
        full: entry::<S, T, MR, 4, false>,
    }
}

/// The micro-kernels of height `MR`, up to eight vectors wide.
pub(crate) const fn tiles8<S: Simd<T>, T: Float, const MR: usize>() -> Tiles<T> {
    Tiles {
        masked: &[
            entry::<S, T, MR, 1, true>,
            entry::<S, T, MR, 2, true>,
            entry::<S, T, MR, 3, true>,
            entry::<S, T, MR, 4, true>,
            entry::<S, T, MR, 5, true>,
            entry::<S, T, MR, 6, true>,
            entry::<S, T, MR, 7, true>,
            entry::<S, T, MR, 8, true>,
        ],
        full: entry::<S, T, MR, 8, false>,
    }
}
