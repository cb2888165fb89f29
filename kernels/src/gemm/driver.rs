//! Loops 4 and 3: cuts a product into jobs, the jobs into blocks, and packs what should be packed. Names no
//! instruction set: everything that depends on one is in the [`Kernel`].

use super::amx::{BLOCK, Tiled};
use super::block::{self, split};
use super::finish::{Epilogue, Finish};
use super::gemv::{self, FEW};
use super::pack::Pack;
use super::precision::{self, Precision};
use super::tile::Float;
use super::tuning::{Blocking, Tuning};
use super::workspace::{self, Workspace};
use crate::CHUNK;
use crate::backend::Kernel;
use crate::bf16::Bf16;
use crate::par::{MOST, Par, run_once, share};
use crate::simd::{LINE, prefetch};
use crate::view::{Layout, times};

/// A matrix without its lifetime: base, row stride, column stride.
///
/// Packed panels are one, too. Of B, panels of nr columns: `row` is nr, and column `j`, a multiple of nr, is `j * col`
/// away. Of A, panels of mr rows: `col` is mr, and row `i`, a multiple of mr, is `i * row` away. See [`super::pack`].
#[derive(Clone, Copy)]
pub(crate) struct Matrix<T> {
    pub ptr: *mut T,
    pub row: isize,
    pub col: isize,
    /// Whether these are packed panels.
    pub packed: bool,
    /// Whether these are [`Bf16`] numbers, which strides count then: only packers and [`gemv`] read them.
    pub bf16: bool,
}

impl<T> Matrix<T> {
    /// The matrix of this layout at `ptr`.
    #[inline(always)]
    pub(crate) fn new(ptr: *mut T, layout: &Layout) -> Self {
        Self { ptr, row: layout.row_stride, col: layout.col_stride, packed: layout.packed, bf16: layout.bf16 }
    }
    /// Elements that kernels read where they lie.
    #[inline(always)]
    pub(crate) fn view(ptr: *mut T, row: isize, col: isize) -> Self {
        Self { ptr, row, col, packed: false, bf16: false }
    }
    /// The transposed matrix.
    pub(crate) fn t(self) -> Self {
        Self { row: self.col, col: self.row, ..self }
    }
    /// The part that begins at row `i` and column `j`; of panels, at the start of one.
    #[inline(always)]
    pub(crate) fn at(self, i: usize, j: usize) -> Self {
        let by = times(i, self.row).wrapping_add(times(j, self.col));
        let ptr = match self.bf16 {
            true => self.ptr.cast::<Bf16>().wrapping_offset(by).cast(),
            false => self.ptr.wrapping_offset(by),
        };
        Self { ptr, ..self }
    }
}

/// C (m x n) <- epilogue(alpha A (m x k) B (k x n) + beta C), shapes checked.
///
/// Aligned to a cache line: where the stack happens to lie does not decide how fast it is read (9x9x9 and a bias: 5 %).
#[derive(Clone, Copy)]
#[repr(align(64))]
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
    #[inline(always)]
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
}

/// How a problem is to be computed; every choice gives the same bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Route {
    /// Computed as C' = B' A'.
    pub transposed: bool,
    pub method: Method,
    /// Parts along m and n, one job each; the method is that of a part.
    pub jobs: (usize, usize),
}

impl Route {
    /// Of a problem without products.
    pub(crate) const SCALE: Self = Self { transposed: false, method: Method::Scale, jobs: (1, 1) };
}

/// What is done with a part of a problem.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Method {
    /// No products (k is 0, or C is empty, or alpha is 0, as a call finds), so A and B are never read.
    Scale,
    /// One tile, operands where they lie, C's columns adjacent. Calls do without loops then: see [`block::Single`].
    Tile,
    /// One row times rows or columns that are contiguous, or bf16 numbers; or a few, as [`gemv::few`] tells.
    Vector,
    /// Loops 2 and 1 alone, operands where they lie, but for a small B that is copied.
    Direct { copy_b: bool },
    /// All loops; what is packed is rounded to the precision, what is not is read where it lies, B fetched first or not.
    Blocks { pack_a: bool, pack_b: bool, fetch_b: bool, blocking: Blocking, precision: Precision },
    /// On the tile unit, as it does it.
    Tiles(Tiled),
}

/// What the caller has set of the route.
#[derive(Clone, Copy)]
pub(crate) struct Settings<'a> {
    pub tuning: Option<&'a Tuning>,
    /// Pack both, in these blocks.
    pub blocking: Option<Blocking>,
    pub precision: Precision,
    pub par: &'a dyn Par,
}

/// Chooses the route, whatever the problem's places and factors.
#[inline(always)]
pub(crate) fn route<T: Float>(kernel: &Kernel<T>, x: &Problem<T>, set: Settings<'_>) -> Route {
    // A vector of C is made of adjacent columns. A single column is better seen as a row. Panels have their side.
    let sides = !x.a.packed && !x.b.packed;
    let mut transposed = sides && x.c.row == 1 && (x.c.col != 1 || (x.n == 1 && x.m > 1));
    let (mut m, mut n, mut a, mut b) = if transposed { (x.n, x.m, x.b.t(), x.a.t()) } else { (x.m, x.n, x.a, x.b) };
    if m == 0 || n == 0 || x.k == 0 {
        return Route::SCALE;
    }
    if set.precision != Precision::F32 {
        return precision::route(kernel, *x, set);
    }
    let place = (b.col == 1 || b.packed) && (!a.packed || m <= kernel.mr) && !(a.bf16 | b.bf16);
    if set.blocking.is_none() && place && (transposed || x.c.col == 1) && kernel.is_tile(m, n) {
        return Route { transposed, method: Method::Tile, jobs: (1, 1) };
    }
    let tuning = set.tuning.unwrap_or_else(|| &kernel.tuned().tuning);
    let mut jobs = (1, 1);
    // How many threads pay, before it costs anything to ask how many there are. A division takes as long as a small
    // tile: none here and below where a product is small.
    let (work, worth) = (m.saturating_mul(n).saturating_mul(x.k), tuning.thread_work.max(1));
    if work / 2 >= worth {
        let paid = work / worth;
        let threads = paid.min(set.par.threads()).min(MOST);
        if threads > 1 {
            jobs = grid(kernel, (m, x.k, n), threads, paid);
            (m, n) = (m.div_ceil(jobs.0), n.div_ceil(jobs.1));
        }
    }
    if let Some(blocking) = set.blocking {
        let blocking = blocking.fit(kernel.nr);
        let (pack_a, pack_b) = (!a.packed, !b.packed);
        let method = Method::Blocks { pack_a, pack_b, fetch_b: false, blocking, precision: Precision::F32 };
        return Route { transposed, method, jobs };
    }
    if sides && is_vector(kernel, (m, x.k, n), a, b) {
        return Route { transposed, method: Method::Vector, jobs };
    }
    // A column is a row, seen from the other side, and so are a few, where tiles would leave much of each vector empty:
    // if they need no packing, and, as tiles, are deep enough to earn a C that is stored number by number.
    let few = n == 1 || (n <= FEW.min(kernel.lanes / 2) && x.k >= 6 * size_of::<T>());
    let turned = sides && few && is_vector(kernel, (n, x.k, m), b.t(), a.t());
    let narrow = n <= kernel.lanes.min(8) - 2 && m >= kernel.lanes && x.k >= 32;
    if turned || (sides && narrow && a.row == 1 && a.col != 1 && !(a.bf16 | b.bf16)) {
        transposed = !transposed;
        jobs = (jobs.1, jobs.0);
        (m, n, a, b) = (n, m, b.t(), a.t());
    }
    let route = |method| Route { transposed, method, jobs };
    if turned {
        return route(Method::Vector);
    }
    // A vector of B comes from adjacent columns, so others must be packed. What is friendly is packed where enough rows
    // read it to earn the copy.
    // Fetched ahead, rows 2 KiB apart cost nothing.
    let few_sets = if kernel.fetches { 4096 } else { 2048 };
    let enough = tuning.enough(kernel, (x.k, n), crowded::<T>(b.row, few_sets));
    let pack_b = !b.packed && (b.col != 1 || m >= enough || b.bf16);
    // Reading down the columns of A touches a page for each step along k.
    let steep = a.col.unsigned_abs() >= 2048 / size_of::<T>();
    let wide = n >= kernel.pack_columns && m > kernel.mr && x.k >= 64;
    let pack_a = a.bf16 || (!a.packed && (wide || (steep && x.k >= 256 && n >= 256)));
    let in_place = !pack_b && !b.packed;
    // Without a copy, all of B is one block where it is read once, or stays near.
    let whole = if in_place { x.k <= CHUNK || x.k.saturating_mul(n) <= tuning.near / 2 } else { m <= kernel.mr };
    let copy_b = pack_b && !b.bf16 && block::has_room_for(x.k, kernel.whole(n));
    if !pack_a && (copy_b || (whole && !pack_b)) {
        return route(Method::Direct { copy_b });
    }
    let blocking = match (in_place, wide) {
        (true, _) => Blocking::chunk(tuning.near / 2).fit(kernel.nr),
        (false, true) => Blocking::chunk(tuning.block).fit(kernel.nr),
        (false, false) => tuning.blocks(kernel, (m, x.k, n), b.col == 1 && !b.bf16),
    };
    // All of B decides, not the part that a job reads.
    let columns = if transposed { x.m } else { x.n };
    let fetch_b = in_place && x.k.saturating_mul(columns) > FAR / size_of::<T>();
    route(Method::Blocks { pack_a, pack_b, fetch_b, blocking, precision: Precision::F32 })
}

/// Whether products of these sizes are those of a vector, or of a few, see [`gemv`]: one row times a B that is read as
/// it lies, or a few where both operands are contiguous along k, or A is so small that it is copied.
fn is_vector<T: Float>(kernel: &Kernel<T>, (m, k, n): (usize, usize, usize), a: Matrix<T>, b: Matrix<T>) -> bool {
    // Of a B whose columns are contiguous whole squares are turned; where there are none, it is copied.
    let turns = k >= kernel.lanes || n < kernel.lanes;
    let one = m == 1 && (b.bf16 || b.col == 1 || (b.row == 1 && turns));
    // What a copy of A costs, many columns and steps have to earn.
    let copied = block::has_room_for(m, k) && n >= 32 && k >= 8 * size_of::<T>() * m;
    let contiguous = (a.col == 1 || copied) && b.row == 1 && !(a.bf16 | b.bf16);
    one || (contiguous && gemv::few::<T>(kernel.lanes, (m, k, n), b.col))
}

/// Whether rows so far apart are a multiple of `bytes` apart. At 2 KiB they begin in two sets of the first cache, at 4
/// KiB in one, which can't keep a line of each then: read where they lie, they come from the second cache each time.
pub(super) fn crowded<T>(row: isize, bytes: usize) -> bool {
    row.unsigned_abs().wrapping_mul(size_of::<T>()).is_multiple_of(bytes)
}

/// Parts along m and n: as many as threads, or more where they stay large, so that one core that is slow, or busy, does
/// not hold up the others. `paid` is the work, in units that pay for a thread.
///
/// A shallow product, as the gradient of weights is, is mostly C, which is larger than A and B. It is cut into whole
/// rows, two parts a thread: what comes next finds each thread's rows in its own cache, which fetches none of the other
/// threads'.
fn grid<T: Float>(kernel: &Kernel<T>, (m, k, n): (usize, usize, usize), threads: usize, paid: usize) -> (usize, usize) {
    if m >= 2 * threads * SIDE && m.saturating_mul(n) > k.saturating_mul(m.saturating_add(n)) {
        return (2 * threads, 1);
    }
    // Where A is packed, too, small parts pay twice, and narrow ones are those for which it is not.
    let side = if kernel.pack_columns < usize::MAX { 8 * SIDE } else { SIDE };
    let columns = if n >= kernel.pack_columns { kernel.pack_columns } else { 0 };
    // The grid whose largest part takes the least time: its products, and what it packs or reads anew, in products.
    let best = |parts: usize, side: usize| {
        (1..=parts.min(m))
            .map(|jm| (jm, (parts / jm).min(n.div_ceil(kernel.lanes)).max(1)))
            .filter(|&(jm, jn)| (jm == 1 || m / jm >= side) && (jn == 1 || n / jn >= side))
            .min_by_key(|&(jm, jn)| {
                let (m, n) = (m.div_ceil(jm), n.div_ceil(jn));
                let products = m.saturating_mul(n.next_multiple_of(kernel.lanes));
                let slower = if n < columns { products / 16 } else { 0 };
                [slower, n.saturating_mul(20), m.saturating_mul(10)].into_iter().fold(products, usize::saturating_add)
            })
    };
    let many = if paid / (4 * threads) >= 2 { best(4 * threads, side) } else { None };
    many.filter(|(jm, jn)| jm * jn > threads).or_else(|| best(threads, 1)).unwrap_or((1, 1))
}

/// Rows or columns of a part, where there are more parts than threads: fewer read the other operand too often.
const SIDE: usize = 64;

/// Computes the problem.
///
/// # Safety
/// - The kernel's row is supported by this CPU, and the route is one of this kernel for a problem of these sizes,
///   strides and factors.
/// - A and B are readable, C is writable (and, unless beta is 0, readable) at every element of their shapes, and C's
///   elements have places of their own, apart from A, B and the epilogue's vectors, which reach as far as C.
/// - Packed operands are panels of this kernel.
#[inline(always)]
pub(crate) unsafe fn run<T: Float>(
    kernel: &Kernel<T>,
    x: &Problem<T>,
    route: Route,
    par: &dyn Par,
    space: Option<&Workspace>,
) {
    let turned;
    let x = if route.transposed {
        turned = x.t();
        &turned
    } else {
        x
    };
    let (jm, jn) = route.jobs;
    if jm * jn <= 1 {
        // SAFETY: the caller's promise.
        return unsafe { serial(kernel, x, route.method, space) };
    }
    // The last lanes of a row belong together: columns are cut at whole vectors, panels between each other.
    let (rows, cols) = match route.method {
        Method::Tiles(_) => (BLOCK, BLOCK),
        _ => (if x.a.packed { kernel.mr } else { 1 }, if x.b.packed { kernel.nr } else { kernel.lanes }),
    };
    let part = |job: usize| {
        let (rows, cols) = (nth(x.m, rows, jm, job % jm), nth(x.n, cols, jn, job / jm));
        if rows.1 > 0 && cols.1 > 0 {
            // SAFETY: a part of a good problem is one; parts do not share elements of C.
            unsafe { serial(kernel, &x.part(rows, cols), route.method, space) }
        }
    };
    run_once(par, jm * jn, &part);
}

/// The start and length of part `i` of `parts` of `total`, cut at multiples of `unit`.
fn nth(total: usize, unit: usize, parts: usize, i: usize) -> (usize, usize) {
    let (start, len) = share(total.div_ceil(unit), parts, i);
    ((start * unit).min(total), (len * unit).min(total.saturating_sub(start * unit)))
}

/// Computes the problem on this thread.
///
/// # Safety
/// As [`run`].
#[inline(always)]
unsafe fn serial<T: Float>(kernel: &Kernel<T>, x: &Problem<T>, method: Method, space: Option<&Workspace>) {
    // SAFETY (each arm): the caller's promise; the method is one that `route` chose for such a problem.
    match method {
        // SAFETY: as above.
        Method::Scale => unsafe { scale(kernel, x) },
        // SAFETY: as above.
        Method::Vector => unsafe { block::vector(kernel, x, space) },
        // SAFETY: as above.
        Method::Direct { copy_b: true } => unsafe { block::copied(kernel, x) },
        // SAFETY: as above.
        Method::Tile | Method::Direct { .. } => unsafe { block::run(kernel, x, None) },
        // SAFETY: as above.
        Method::Blocks { pack_a, pack_b, fetch_b, blocking, precision } => unsafe {
            blocks(kernel, x, (pack_a, pack_b, fetch_b), precision, blocking, space);
        },
        Method::Tiles(how) => {
            if let Some(unit) = &kernel.unit {
                // SAFETY: as above.
                unsafe { (unit.run)(kernel, x, how, space) }
            }
        }
    }
}

/// Loops 4 and 3.
///
/// # Safety
/// As [`run`]; B's columns are adjacent, or it is packed or to be packed.
unsafe fn blocks<T: Float>(
    kernel: &Kernel<T>,
    x: &Problem<T>,
    (pack_a, pack_b, fetch_b): (bool, bool, bool),
    precision: Precision,
    Blocking { kc, nc }: Blocking,
    space: Option<&Workspace>,
) {
    let depth = kc.min(x.k);
    // A view may repeat its elements, so depth can be any number: what does not fit is refused by the workspace.
    let room = |lines: usize| lines.saturating_mul(depth).checked_next_multiple_of(LINE).unwrap_or(usize::MAX);
    let room_a = if pack_a { room(kernel.mr) } else { 0 };
    // A panel more than there may be: cheaper than to count them.
    let room_b = if pack_b { room(nc.min(x.n).saturating_add(kernel.nr)) } else { 0 };
    workspace::with(space, room_a.saturating_add(room_b), |room: *mut T| {
        let panel = if pack_a { Some((room, precision)) } else { None };
        for (j, n) in split_at(x.n, nc, kernel.nr) {
            for (p, k) in split_at(x.k, kc, CHUNK) {
                let last = p + k == x.k;
                let mut part = Problem {
                    n,
                    k,
                    a: x.a.at(0, p),
                    b: x.b.at(p, j),
                    c: x.c.at(0, j),
                    beta: if p == 0 { x.beta } else { T::ONE },
                    epilogue: if last { x.epilogue.map(|e| e.at(0, j)) } else { None },
                    ..*x
                };
                if pack_b {
                    let to = room.wrapping_add(room_a);
                    let block = Pack { from: part.b.t(), lines: n, k, to, width: kernel.nr, precision };
                    // SAFETY: the part's B, for which there is room.
                    unsafe { (kernel.pack)(&block) };
                    part.b = Matrix { packed: true, ..Matrix::view(to, kernel.nr as isize, k as isize) };
                }
                if fetch_b {
                    fetch(&part);
                }
                // SAFETY: a part of the caller's problem; there is room for a panel of A.
                unsafe { block::run(kernel, &part, panel) };
            }
        }
    });
}

/// Bytes of B from which fetching it pays: so much of it comes from memory.
const FAR: usize = 12 << 20;

/// Fetches a block of B, whose columns are adjacent, in the order of its rows: tiles read a piece of each row, one
/// column of tiles after the other, which takes far longer from memory.
fn fetch<T: Float>(x: &Problem<T>) {
    for p in 0..x.k {
        for j in (0..x.n).step_by(LINE / size_of::<T>()) {
            prefetch::<true>(x.b.at(p, j).ptr);
        }
    }
}

/// Cuts `total` into nearly equal parts of at most `most`, all but the last a multiple of `unit`.
#[inline]
fn split_at(total: usize, most: usize, unit: usize) -> impl Iterator<Item = (usize, usize)> {
    let one = total <= most;
    let (unit, most) = if one { (total, 1) } else { (unit, most.div_ceil(unit)) };
    let units = if one { usize::from(total > 0) } else { total.div_ceil(unit) };
    split(units, most).map(move |(u, len)| (u * unit, (len * unit).min(total - u * unit)))
}

/// No products: C <- epilogue(beta C).
///
/// # Safety
/// As [`run`].
unsafe fn scale<T: Float>(kernel: &Kernel<T>, x: &Problem<T>) {
    let turned;
    let x = if x.c.col != 1 && x.c.row == 1 {
        turned = x.t();
        &turned
    } else {
        x
    };
    // The epilogue takes adjacent elements together.
    let cols = if x.c.col == 1 { x.n.max(1) } else { 1 };
    for i in 0..x.m {
        for j in (0..x.n).step_by(cols) {
            for c in (j..j + cols).map(|j| x.c.at(i, j).ptr) {
                // SAFETY: an element of C, read only if beta asks for it.
                unsafe { *c = if x.beta == T::ZERO { T::ZERO } else { x.beta * *c } };
            }
            if let Some(epilogue) = x.epilogue {
                let (c, epilogue) = (x.c.at(i, j).ptr, epilogue.at(i, j));
                // SAFETY: the elements that were just written; the epilogue reaches as far as C.
                unsafe { (kernel.finish)(&Finish { c, c_row: x.c.row, rows: 1, cols, epilogue }) };
            }
        }
    }
}
