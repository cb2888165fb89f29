//! How a product is computed, in words.

use super::amx::Tiled;
use super::driver::{Method, Route, Settings};
use super::tile::Float;
use super::tuning::Blocking;
use super::{Plan, Precision};
use crate::CHUNK;
use crate::backend::{Backend, Kernel, PIN};
use crate::view::Layout;
use std::fmt;

/// What [`Gemm::explain`](crate::Gemm::explain) tells; print it with `{}`.
#[derive(Debug, Clone)]
pub struct Explanation {
    backend: &'static Backend,
    precision: Precision,
    layouts: [Layout; 3],
    route: Route,
    pinned: bool,
    tile: (usize, usize),
    tuning: &'static str,
    threads: usize,
}

impl Explanation {
    pub(crate) fn new<T: Float>(kernel: &Kernel<T>, plan: &Plan<T>, set: Settings<'_>, chosen: bool) -> Self {
        let tuning = match set {
            Settings { blocking: Some(_), .. } => "given with the call",
            Settings { tuning: Some(_), .. } => "by a tuning given with the call",
            _ => kernel.tuned().source,
        };
        let pinned = chosen || std::env::var_os(PIN).is_some();
        let Plan { backend, precision, layouts, route, .. } = *plan;
        let (tile, threads) = ((kernel.mr, kernel.nr), set.par.threads());
        Self { backend, precision, layouts, route, pinned, tile, tuning, threads }
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { backend, precision, layouts: [a, b, c], route, .. } = self;
        let why = if self.pinned { "pinned" } else { "best that this CPU supports" };
        let order = |layout: &Layout| match layout {
            Layout { packed: false, row_stride: 1, col_stride, .. } if *col_stride != 1 => " (column-major)",
            _ => "",
        };
        writeln!(f, "{}x{}{} times {}x{}{}", a.rows, a.cols, order(a), b.rows, b.cols, order(b))?;
        writeln!(f, "  backend  {} ({why})", backend.name())?;
        match precision {
            Precision::F32 => {}
            _ if matches!(route.method, Method::Tiles(_)) => {
                let products = precision.products().len();
                writeln!(f, "  precise  {precision}: bf16 products on the tile unit, {products} for each of f32")?;
            }
            Precision::F32Amx => writeln!(f, "  precise  {precision}: computed as f32, by the FMA units")?,
            _ => writeln!(f, "  precise  {precision}: operands are rounded, then multiplied in f32")?,
        }
        writeln!(f, "  tile     {}x{}", self.tile.0, self.tile.1)?;
        if route.transposed {
            let why = if c.row_stride == 1 { "the rows of C are adjacent" } else { "C has few columns" };
            writeln!(f, "  seen as  C' = B' A', as {why}: A and B change places below")?;
        }
        let how = |packed_now: bool, layout: &Layout| match (packed_now, layout) {
            (_, Layout { bf16: true, .. }) => "is packed, from bf16",
            (true, _) => "is packed",
            (_, Layout { packed: true, .. }) => "came packed",
            _ => "is read where it lies",
        };
        let (a, b) = if route.transposed { (b, a) } else { (a, b) };
        let blocked = |f: &mut fmt::Formatter<'_>, pack_a, pack_b, Blocking { kc, nc }| {
            writeln!(f, "  route    blocked: A {}, B {}", how(pack_a, a), how(pack_b, b))?;
            writeln!(f, "  blocks   kc {kc}, nc {nc} ({})", self.tuning)
        };
        match route.method {
            Method::Scale => writeln!(f, "  route    no products: C is scaled")?,
            Method::Tile => writeln!(f, "  route    one tile: it fits the registers")?,
            Method::Vector => {
                let widened = if a.bf16 || b.bf16 { ", and widened from bf16" } else { "" };
                let rows = if route.transposed { a.cols } else { a.rows };
                let what = if rows > 1 { "a few rows" } else { "matrix-vector" };
                writeln!(f, "  route    {what}: the matrix is read once, as it lies{widened}")?;
            }
            Method::Direct { copy_b: true } => writeln!(f, "  route    direct: A {}, B is copied", how(false, a))?,
            Method::Direct { .. } => writeln!(f, "  route    direct: both operands are read where they lie")?,
            Method::Blocks { pack_a, pack_b, blocking, .. } => blocked(f, pack_a, pack_b, blocking)?,
            Method::Tiles(Tiled { nc, .. }) => {
                blocked(f, !a.packed, !b.packed, Blocking { kc: CHUNK, nc })?;
                let count = Precision::sums_by_fma();
                writeln!(
                    f,
                    "  range    what is too small or large for the unit is computed as f32: {count} times so far"
                )?;
            }
        }
        let ((jm, jn), s) = (route.jobs, if self.threads == 1 { "" } else { "s" });
        write!(f, "  jobs     {jm} along m by {jn} along n, on {} thread{s}", self.threads)
    }
}
