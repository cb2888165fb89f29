//! How a product is computed, in words.

use super::Plan;
use super::driver::{Method, Route, Settings};
use super::tile::Float;
use crate::backend::{Backend, Kernel, PIN};
use crate::view::Layout;
use std::fmt;

/// What [`Gemm::explain`](crate::Gemm::explain) tells; print it with `{}`.
#[derive(Debug, Clone)]
pub struct Explanation {
    backend: &'static Backend,
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
        let Plan { backend, layouts, route, .. } = *plan;
        Self { backend, layouts, route, pinned, tile: (kernel.mr, kernel.nr), tuning, threads: set.par.threads() }
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { backend, layouts: [a, b, _], route, .. } = self;
        let why = if self.pinned { "pinned" } else { "best that this CPU supports" };
        writeln!(f, "{}x{} times {}x{}", a.rows, a.cols, b.rows, b.cols)?;
        writeln!(f, "  backend  {} ({why})", backend.name())?;
        writeln!(f, "  tile     {}x{}", self.tile.0, self.tile.1)?;
        if route.transposed {
            writeln!(f, "  seen as  C' = B' A', as the rows of C are adjacent: A and B change places below")?;
        }
        match route.method {
            Method::Scale => writeln!(f, "  route    no products: C is scaled")?,
            Method::Tile => writeln!(f, "  route    one tile: it fits the registers")?,
            Method::Vector => {
                writeln!(f, "  route    matrix-vector: squares of the matrix are transposed in registers")?
            }
            Method::Direct => writeln!(f, "  route    direct: both operands are read where they lie")?,
            Method::Blocks { pack_a, pack_b, blocking } => {
                let how = |packed_now: bool, layout_packed: bool| match (packed_now, layout_packed) {
                    (true, _) => "is packed",
                    (_, true) => "came packed",
                    _ => "is read where it lies",
                };
                let (pa, pb) = if route.transposed { (b.packed, a.packed) } else { (a.packed, b.packed) };
                writeln!(f, "  route    blocked: A {}, B {}", how(pack_a, pa), how(pack_b, pb))?;
                writeln!(f, "  blocks   kc {}, nc {} ({})", blocking.kc, blocking.nc, self.tuning)?;
            }
        }
        write!(f, "  jobs     {} along m by {} along n, on {} threads", route.jobs.0, route.jobs.1, self.threads)
    }
}
