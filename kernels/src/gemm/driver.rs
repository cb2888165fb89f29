//! Loops 4 and 3: cuts a product into jobs, the jobs into blocks, and packs what should be packed. Names no
//! instruction set: everything that depends on one is in the [`Kernel`].

use super::block::{self, Packed, split};
use super::blocking::{self, Blocking};
use super::finish::{Epilogue, Finish};
use super::pack::Pack;
use super::tile::Float;
use super::workspace;
use crate::CHUNK;
use crate::backend::Kernel;
use crate::par::Par;

/// A matrix without its lifetime: base, row stride, column stride.
#[derive(Clone, Copy)]
pub(crate) struct Matrix<T> {
    pub ptr: *mut T,
    pub row: isize,
    pub col: isize,
}

impl<T> Matrix<T> {
    fn t(self) -> Self {
        Self { row: self.col, col: self.row, ..self }
    }
    /// The part that begins at row `i` and column `j`.
    #[inline(always)]
    pub(crate) fn at(self, i: usize, j: usize) -> Self {
        Self { ptr: self.ptr.wrapping_offset(i as isize * self.row + j as isize * self.col), ..self }
    }
}

/// C (m x n) <- epilogue(alpha A (m x k) B (k x n) + beta C), shapes checked.
#[derive(Clone, Copy)]
pub(crate) struct Problem<T> {
    pub m: usize,
    pub k: usize,
    pub n: usize,
    pub a: Matrix<T>,
    pub b: Matrix<T>,
    pub c: Matrix<T>,
    pub alpha: T,
    pub beta: T,
    pub epilogue: Option<Epilogue<T>>,
}

// SAFETY: a problem goes to other threads only inside `run`, whose caller vouches for its matrices until it returns;
// jobs write disjoint parts of C.
unsafe impl<T: Sync> Sync for Problem<T> {}

impl<T: Float> Problem<T> {
    /// The same product seen from the other side: C' = B' A'. The same additions in the same order, so the same bits.
    pub(crate) fn t(&self) -> Self {
        Self {
            m: self.n,
            n: self.m,
            a: self.b.t(),
            b: self.a.t(),
            c: self.c.t(),
            epilogue: self.epilogue.map(Epilogue::t),
            ..*self
        }
    }

    /// The part that computes rows `i..i + m` and columns `j..j + n` of C.
    fn part(&self, (i, m): (usize, usize), (j, n): (usize, usize)) -> Self {
        Self {
            m,
            n,
            a: self.a.at(i, 0),
            b: self.b.at(0, j),
            c: self.c.at(i, j),
            epilogue: self.epilogue.map(|e| e.at(i, j)),
            ..*self
        }
    }

    /// Whether any product is to be added: otherwise A and B are never read.
    fn has_products(&self) -> bool {
        self.k > 0 && self.alpha != T::ZERO
    }
}

/// How a problem is to be computed; every choice gives the same bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Route {
    /// Computed as C' = B' A'.
    pub transposed: bool,
    pub pack_a: bool,
    pub pack_b: bool,
    /// Block sizes that the caller asks for, instead of those of the model.
    pub blocking: Option<Blocking>,
    /// Parts along m and n, one job each.
    pub jobs: (usize, usize),
}

impl Route {
    /// The block sizes for a problem of `m` rows and depth `k`, where something is packed.
    pub(crate) fn blocks<T>(&self, kernel: &Kernel<T>, m: usize, k: usize) -> Blocking {
        self.blocking.unwrap_or_else(|| Blocking::model(kernel, m, k)).fit(kernel.nr)
    }
}

/// Chooses the route.
#[inline]
pub(crate) fn route<T: Float>(kernel: &Kernel<T>, x: &Problem<T>, blocking: Option<Blocking>, threads: usize) -> Route {
    // A vector of C is made of adjacent columns. A single column is better seen as a row.
    let transposed = x.c.row == 1 && (x.c.col != 1 || (x.n == 1 && x.m > 1));
    let (m, n, a, b) = if transposed { (x.n, x.m, x.b.t(), x.a.t()) } else { (x.m, x.n, x.a, x.b) };
    let jobs = if threads > 1 { jobs(kernel, (m, x.k, n), threads) } else { (1, 1) };
    let (m, n) = if jobs == (1, 1) { (m, n) } else { (m.div_ceil(jobs.0), n.div_ceil(jobs.1)) };
    let forced = blocking.is_some();
    // A vector of B comes from adjacent columns, so others must be packed. What is friendly is packed where enough rows
    // read it to earn the copy: a few where it does not fit the second cache.
    let often = m >= 160 || (m >= 24 && x.k.saturating_mul(n) > blocking::area::<T>());
    let pack_b = b.col != 1 || forced || often;
    // Reading down the columns of A touches a page for each step along k.
    let steep = a.col.unsigned_abs() * size_of::<T>() >= 2048;
    let pack_a = forced || (steep && x.k >= 256 && n >= 256);
    Route { transposed, pack_a, pack_b, blocking, jobs }
}

/// Multiplications that pay for waking one more thread.
const WORK_PER_THREAD: usize = 2_000_000;

/// Parts along m and n: as many as pay for the hand-off, tiles kept whole.
fn jobs<T>(kernel: &Kernel<T>, (m, k, n): (usize, usize, usize), threads: usize) -> (usize, usize) {
    let work = m.saturating_mul(n).saturating_mul(k);
    let threads = threads.min(work / WORK_PER_THREAD);
    if threads < 2 {
        return (1, 1);
    }
    // The grid whose largest part is smallest, counted in vectors; ties go to the squarer part, which reads less.
    let cost = |jm: usize, jn: usize| {
        let (m, n) = (m.div_ceil(jm), n.div_ceil(jn));
        (m * n.div_ceil(kernel.lanes), m + n)
    };
    (1..=threads.min(m))
        .map(|jm| (jm, (threads / jm).min(n.div_ceil(kernel.lanes)).max(1)))
        .min_by_key(|&(jm, jn)| cost(jm, jn))
        .unwrap_or((1, 1))
}

/// Computes the problem.
///
/// # Safety
/// - The kernel's row is supported by this CPU.
/// - A and B are readable, C is writable (and, unless beta is 0, readable) at every element of their shapes, and C's
///   elements have places of their own, apart from A, B and the epilogue's vectors, which reach as far as C.
pub(crate) unsafe fn run<T: Float>(kernel: &Kernel<T>, x: &Problem<T>, route: &Route, par: &dyn Par) {
    let (jm, jn) = route.jobs;
    if jm * jn <= 1 {
        // SAFETY: the caller's promise.
        return unsafe { serial(kernel, x, route) };
    }
    let part = |job: usize| {
        // The last lanes of a row belong together: columns are cut at whole vectors.
        let vectors = x.n.div_ceil(kernel.lanes);
        let rows = nth(x.m, jm, job % jm);
        let (v, len) = nth(vectors, jn, job / jm);
        let j = v * kernel.lanes;
        let cols = (j, (len * kernel.lanes).min(x.n - j));
        // SAFETY: a part of a good problem is one; parts do not share elements of C.
        unsafe { serial(kernel, &x.part(rows, cols), route) }
    };
    par.run(jm * jn, &part);
}

/// The start and length of part `i` of `parts` of `total`.
fn nth(total: usize, parts: usize, i: usize) -> (usize, usize) {
    let (len, longer) = (total / parts, total % parts);
    (i * len + i.min(longer), len + usize::from(i < longer))
}

/// Computes the problem on this thread.
///
/// # Safety
/// As [`run`].
unsafe fn serial<T: Float>(kernel: &Kernel<T>, x: &Problem<T>, route: &Route) {
    if x.m == 0 || x.n == 0 {
        return;
    }
    if !x.has_products() {
        // SAFETY: the caller's promise.
        return unsafe { scale(kernel, x) };
    }
    if route.blocking.is_none() {
        if block::is_single(kernel, x) {
            // SAFETY: the caller's promise.
            return unsafe { block::single(kernel, x) };
        }
        if block::is_vector(x) {
            // SAFETY: the caller's promise.
            return unsafe { block::vector(kernel, x) };
        }
    }
    if !route.pack_a && !route.pack_b {
        // SAFETY: the caller's promise; B's columns are adjacent, or the route would pack it.
        return unsafe { block::run(kernel, x, Packed::NONE) };
    }
    let Blocking { kc, nc } = route.blocks(kernel, x.m, x.k);
    let (kc, nc) = (kc.min(x.k), nc.min(x.n.next_multiple_of(kernel.lanes)));
    let room_a = if route.pack_a { (kernel.mr * kc).next_multiple_of(workspace::ALIGN) } else { 0 };
    let room_b = if route.pack_b { nc * kc } else { 0 };
    workspace::with(room_a + room_b, |space: *mut T| {
        let mut packed = Packed::NONE;
        if route.pack_a {
            packed.a = space;
        }
        for (j, n) in split_at(x.n, nc, kernel.nr) {
            for (p, k) in split_at(x.k, kc, CHUNK) {
                let last = p + k == x.k;
                let part = Problem {
                    n,
                    k,
                    a: x.a.at(0, p),
                    b: x.b.at(p, j),
                    c: x.c.at(0, j),
                    beta: if p == 0 { x.beta } else { T::ONE },
                    epilogue: if last { x.epilogue.map(|e| e.at(0, j)) } else { None },
                    ..*x
                };
                if route.pack_b {
                    let to = space.wrapping_add(room_a);
                    let block = Pack {
                        from: part.b.ptr.cast_const(),
                        line: part.b.col,
                        depth: part.b.row,
                        lines: n,
                        k,
                        to,
                        width: kernel.nr,
                        unit: kernel.lanes,
                    };
                    // SAFETY: the part's B, for which there is room.
                    unsafe { (kernel.pack)(&block) };
                    packed.b = to;
                }
                // SAFETY: a part of the caller's problem.
                unsafe { block::run(kernel, &part, packed) };
            }
        }
    });
}

/// Cuts `total` into nearly equal parts of at most `most`, all but the last a multiple of `unit`.
fn split_at(total: usize, most: usize, unit: usize) -> impl Iterator<Item = (usize, usize)> {
    let units = total.div_ceil(unit);
    split(units, most.div_ceil(unit)).map(move |(u, len)| (u * unit, (len * unit).min(total - u * unit)))
}

/// No products: C <- epilogue(beta C).
///
/// # Safety
/// As [`run`].
unsafe fn scale<T: Float>(kernel: &Kernel<T>, x: &Problem<T>) {
    for i in 0..x.m {
        for j in 0..x.n {
            let c = x.c.at(i, j).ptr;
            // SAFETY: an element of C, read only if beta asks for it; the epilogue reaches as far as C.
            unsafe {
                *c = if x.beta == T::ZERO { T::ZERO } else { x.beta * *c };
                if let Some(epilogue) = x.epilogue {
                    let epilogue = epilogue.at(i, j);
                    (kernel.finish)(&Finish { c, c_row: x.c.row, rows: 1, cols: 1, epilogue });
                }
            }
        }
    }
}
