//! Loops 5, 4 and 3: cuts a product into jobs, the jobs into blocks, and packs what should be packed. Names no
//! instruction set: everything that depends on one is in the [`Kernel`].

use super::block::{self, Block, Operand, split};
use super::blocking::Blocking;
use super::finish::{Epilogue, Finish};
use super::pack::Panel;
use super::tile::Float;
use super::workspace;
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
    fn at(self, i: usize, j: usize) -> Self {
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
    fn t(self) -> Self {
        Self {
            m: self.n,
            n: self.m,
            a: self.b.t(),
            b: self.a.t(),
            c: self.c.t(),
            epilogue: self.epilogue.map(Epilogue::t),
            ..self
        }
    }

    /// The part that computes rows `i..i + m` and columns `j..j + n` of C.
    fn part(self, (i, m): (usize, usize), (j, n): (usize, usize)) -> Self {
        Self {
            m,
            n,
            a: self.a.at(i, 0),
            b: self.b.at(0, j),
            c: self.c.at(i, j),
            epilogue: self.epilogue.map(|e| e.at(i, j)),
            ..self
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
    /// Meant for the packed operands: without one there is one block.
    pub blocking: Blocking,
    /// Parts along m and n, one job each.
    pub jobs: (usize, usize),
}

/// Chooses the route.
#[inline]
pub(crate) fn route<T: Float>(
    kernel: &Kernel<T>,
    x: &Problem<T>,
    blocking: Option<Blocking>,
    threads: usize,
) -> (Problem<T>, Route) {
    // A vector of C is made of adjacent columns. A single column is better seen as a row.
    let transposed = x.c.row == 1 && (x.c.col != 1 || (x.n == 1 && x.m > 1));
    let x = if transposed { x.t() } else { *x };
    let jobs = if threads > 1 { jobs(kernel, &x, threads) } else { (1, 1) };
    let (m, n) = if jobs == (1, 1) { (x.m, x.n) } else { (x.m.div_ceil(jobs.0), x.n.div_ceil(jobs.1)) };
    // A vector of B comes from adjacent columns, so others must be packed. What is friendly is packed where it is read
    // often enough to earn the copy.
    let forced = blocking.is_some();
    let pack_b = x.b.col != 1 || forced || (m > kernel.pack_b_from && x.k * n > kernel.pack_b_area);
    let pack_a = forced || (n > kernel.pack_a_from && m * x.k > kernel.pack_a_area);
    (x, Route { transposed, pack_a, pack_b, blocking: blocking.unwrap_or(kernel.blocking), jobs })
}

/// Parts along m and n: as many as pay for the hand-off, tiles kept whole.
fn jobs<T: Float>(kernel: &Kernel<T>, x: &Problem<T>, threads: usize) -> (usize, usize) {
    let work = x.m.saturating_mul(x.n).saturating_mul(x.k.max(1));
    let threads = threads.min(work / kernel.work_per_thread).min(x.m.saturating_mul(x.n));
    if threads < 2 {
        return (1, 1);
    }
    // The grid whose largest part is smallest, counted in tiles; ties go to the squarer part, which packs less.
    let cost = |jm: usize, jn: usize| {
        let (m, n) = (x.m.div_ceil(jm), x.n.div_ceil(jn));
        (m * n.div_ceil(kernel.lanes), m + n)
    };
    (1..=threads.min(x.m))
        .map(|jm| (jm, (threads / jm).min(x.n.div_ceil(kernel.lanes)).max(1)))
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
    let nr = kernel.width(x.m);
    let a = Operand::Strided { ptr: x.a.ptr.cast_const(), line: x.a.row, depth: x.a.col };
    let b = Operand::Strided { ptr: x.b.ptr.cast_const(), line: x.b.col, depth: x.b.row };
    let whole = Block {
        m: x.m,
        n: x.n,
        k: x.k,
        nr,
        a,
        b,
        c: x.c.ptr,
        c_row: x.c.row,
        c_col: x.c.col,
        alpha: x.alpha,
        beta: x.beta,
        epilogue: x.epilogue,
    };
    if !route.pack_a && !route.pack_b {
        // SAFETY: the caller's promise; B's columns are adjacent, or the route would pack it.
        return unsafe { block::run(kernel, &whole) };
    }
    let Blocking { mc, kc, nc } = route.blocking.fit(kernel.mr, nr);
    let (mc, kc, nc) = (mc.min(x.m), kc.min(x.k), nc.min(x.n));
    let room_a = if route.pack_a { (mc * kc).next_multiple_of(workspace::ALIGN) } else { 0 };
    let room_b = if route.pack_b { kc * nc.next_multiple_of(kernel.lanes) } else { 0 };
    workspace::with(room_a + room_b, |space: *mut T| {
        for (j, n) in split_at(x.n, nc, nr) {
            for p in (0..x.k).step_by(kc) {
                let k = kc.min(x.k - p);
                let last = p + k == x.k;
                let beta = if p == 0 { x.beta } else { T::ONE };
                let b_at = x.b.at(p, j);
                let b = Matrix { row: b_at.col, col: b_at.row, ..b_at };
                let b = if route.pack_b {
                    // SAFETY: k columns of n lines of B; the space holds them, each panel rounded up to vectors.
                    unsafe { pack(kernel, b, n, k, space.wrapping_add(room_a), Panels::Fixed(nr)) }
                } else {
                    Operand::Strided { ptr: b.ptr.cast_const(), line: b.row, depth: b.col }
                };
                for (i, m) in split_at(x.m, mc, kernel.mr) {
                    let a = x.a.at(i, p);
                    let a = if route.pack_a {
                        // SAFETY: m lines of k elements of A, for which there is space.
                        unsafe { pack(kernel, a, m, k, space, Panels::Even(kernel.mr)) }
                    } else {
                        Operand::Strided { ptr: a.ptr.cast_const(), line: a.row, depth: a.col }
                    };
                    let block = Block {
                        m,
                        n,
                        k,
                        a,
                        b,
                        c: x.c.at(i, j).ptr,
                        beta,
                        epilogue: if last { x.epilogue.map(|e| e.at(i, j)) } else { None },
                        ..whole
                    };
                    // SAFETY: a part of the caller's problem.
                    unsafe { block::run(kernel, &block) };
                }
            }
        }
    });
}

/// Cuts `total` into nearly equal blocks of at most `most`, all but the last a multiple of `unit`.
fn split_at(total: usize, most: usize, unit: usize) -> impl Iterator<Item = (usize, usize)> {
    let units = total.div_ceil(unit);
    split(units, most.div_ceil(unit).max(1)).map(move |(u, len)| (u * unit, (len * unit).min(total - u * unit)))
}

/// How an operand is cut into panels; [`block::run`] walks them the same way.
enum Panels {
    /// As equal as they can be, of at most this many lines: A.
    Even(usize),
    /// This many lines each, the last one rounded up to whole vectors: B.
    Fixed(usize),
}

/// Packs `lines x k` of a matrix whose rows are the lines.
///
/// # Safety
/// The matrix is readable there; `to` has room for the panels.
unsafe fn pack<T: Float>(
    kernel: &Kernel<T>,
    from: Matrix<T>,
    lines: usize,
    k: usize,
    to: *mut T,
    panels: Panels,
) -> Operand<T> {
    let one = |first: usize, lines: usize, width: usize| {
        let panel = Panel {
            from: from.at(first, 0).ptr.cast_const(),
            line: from.row,
            depth: from.col,
            lines,
            k,
            to: to.wrapping_add(first * k),
            width,
        };
        // SAFETY: the caller's promise.
        unsafe { (kernel.pack)(&panel) }
    };
    match panels {
        Panels::Even(most) => split(lines, most).for_each(|(first, len)| one(first, len, len)),
        Panels::Fixed(width) => (0..lines).step_by(width).for_each(|first| {
            let len = width.min(lines - first);
            one(first, len, len.next_multiple_of(kernel.lanes));
        }),
    }
    Operand::Packed { ptr: to.cast_const(), k }
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
