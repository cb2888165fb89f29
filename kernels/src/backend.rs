//! The table: a row for each instruction set, as plain data and function pointers.

use crate::CHUNK;
use crate::Element;
use crate::cpu::Cpu;
use crate::error::{Error, Result};
use crate::gemm::Precision;
use crate::gemm::amx::{LEAST_K, Unit};
use crate::gemm::finish::{Activations, FinishFn, finish};
use crate::gemm::gemv::{GemvFn, gemv};
use crate::gemm::pack::{PackFn, pack};
use crate::gemm::precision::Convert;
use crate::gemm::tile::{Float, PANEL, Tiles, panels};
use crate::gemm::tuning::{Tuned, Tuning};
use crate::isa;
use crate::math::Math;
use std::sync::OnceLock;

/// One row of the table: all that the library has for one instruction set.
///
/// A backend that can be had is supported by this CPU, so everything it offers may be called.
pub struct Backend {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    pub(crate) supported: fn() -> bool,
    pub(crate) bits_match: bool,
    pub(crate) f32: Kernel<f32>,
    pub(crate) f64: Kernel<f64>,
    pub(crate) math: Math,
}

/// What the GEMM driver knows of an instruction set, for one element type.
pub struct Kernel<T: 'static> {
    /// The name of its row.
    pub(crate) name: &'static str,
    /// Elements in a vector.
    pub(crate) lanes: usize,
    /// Rows of the tallest tile.
    pub(crate) mr: usize,
    /// Columns of the tallest tile, and of a packed panel of B.
    pub(crate) nr: usize,
    /// Rows of the tallest tile that is a panel and a vector wide, or 0.
    wide: usize,
    /// Rows of the tallest tile that is two panels wide, if it has as many sums as the tallest, else 0. Its steps are
    /// fewer instructions, but read twice as much of B.
    low: usize,
    /// Whether its tiles fetch the rows of B ahead, so that one as large as the second cache can be read where it lies.
    pub(crate) fetches: bool,
    /// Columns of C from which A is packed, whose panels the micro-kernels read with fewer instructions than its rows.
    pub(crate) pack_columns: usize,
    /// The micro-kernels by height, from 1; the taller, the narrower. Those above `mr`, which are narrower than `nr`,
    /// are for products of one tile, every lane in use.
    pub(crate) tiles: &'static [Tiles<T>],
    pub(crate) pack: PackFn<T>,
    pub(crate) finish: FinishFn<T>,
    /// A row, or a few, times a matrix of contiguous rows or columns.
    pub(crate) gemv: GemvFn<T>,
    /// For precisions beside f32.
    pub(crate) unit: Option<Unit<T>>,
    /// Block sizes and thresholds, found out when they are first needed.
    tuned: OnceLock<Tuned>,
}

impl<T: Float> Kernel<T> {
    /// The kernels of `S`, of which the micro-kernels are given: a set for each height.
    pub(crate) const fn new<S: Activations<T> + Convert<T>>(tiles: &'static [Tiles<T>]) -> Self {
        Self {
            name: S::NAME,
            lanes: S::LANES,
            mr: tallest(tiles, PANEL),
            nr: PANEL * S::LANES,
            wide: odd(tiles),
            low: if S::EMBEDDED { low(tiles) } else { 0 },
            fetches: S::EMBEDDED,
            pack_columns: if S::EMBEDDED { 12 * PANEL * S::LANES } else { usize::MAX },
            tiles,
            pack: pack::<S, T>,
            finish: finish::<S, T>,
            gemv: gemv::<S, T>,
            unit: None,
            tuned: OnceLock::new(),
        }
    }

    /// The unit that computes products of this precision and depth, if there is one.
    pub(crate) fn unit(&self, precision: Precision, k: usize) -> Option<&Unit<T>> {
        self.unit.as_ref().filter(|_| precision != Precision::F32 && k >= LEAST_K)
    }

    /// Whether there is a tile of these sizes.
    #[inline]
    pub(crate) fn is_tile(&self, m: usize, n: usize) -> bool {
        let width = |m: usize| self.tiles[m - 1].masked.len() * self.lanes;
        if m <= self.mr { n <= width(m) } else { m <= self.tiles.len() && n == width(m) }
    }

    /// Columns of the vectors that hold `n` columns. Lanes are a power of two, and a division takes as long as a tile.
    #[inline(always)]
    pub(crate) fn whole(&self, n: usize) -> usize {
        n.saturating_add(self.lanes - 1) & !(self.lanes - 1)
    }

    /// Columns of the widest tile for a problem of `m` rows: whole panels.
    #[inline]
    pub(crate) fn width(&self, m: usize) -> usize {
        match m {
            // The tiles of part of it can be lower, and then no narrower.
            0 => self.lanes,
            _ if m >= self.mr => self.nr,
            _ => panels(self.tiles[m - 1].masked.len()) * self.lanes,
        }
    }

    /// Rows and columns of the tiles of a problem: the tallest, but where its columns are those of one odd tile, which
    /// is lower and a vector wider, and keeps the FMA units busier than a tall tile and a thin rest; or where they make
    /// low tiles without a thin rest, and B is in the first cache, or of one such tile's columns, and read `in_place` or
    /// shallow.
    #[inline]
    pub(crate) fn cut(&self, (m, k, n): (usize, usize, usize), in_place: bool) -> (usize, usize) {
        let odd = self.nr + self.lanes;
        let single = m > self.wide && m <= self.mr;
        if self.wide > 0 && n > self.nr && n <= odd && !single {
            return (self.wide, odd);
        }
        let low = 2 * self.nr;
        let near = k.saturating_mul(n) <= NEAREST / size_of::<T>() && n >= low;
        let one = n == low && (in_place || k <= CHUNK);
        if self.low > 0 && m > self.mr && (near || one) {
            // Lanes, and so the columns of a panel, are a power of two.
            let rest = n & (low - 1);
            if rest == 0 || rest > self.nr {
                return (self.low, low);
            }
        }
        (self.mr, self.width(m))
    }

    /// The values of the profile that `KERNELS_PROFILE` names, or that is built in for this CPU, else the model's.
    #[inline]
    pub(crate) fn tuned(&self) -> &Tuned {
        self.tuned.get_or_init(|| Tuned::find(self))
    }
}

/// Bytes of a B that the first cache keeps.
const NEAREST: usize = 32 << 10;

/// The height of the tallest tiles that are so many vectors wide, or 0.
const fn tallest<T>(tiles: &[Tiles<T>], vectors: usize) -> usize {
    let mut mr = tiles.len();
    while mr > 0 && tiles[mr - 1].masked.len() < vectors {
        mr -= 1;
    }
    mr
}

/// The height of the tallest tiles that are a panel and a vector wide, if those above are no wider than a panel, or 0.
const fn odd<T>(tiles: &[Tiles<T>]) -> usize {
    let height = tallest(tiles, PANEL + 1);
    if height > 0 && tiles[height - 1].masked.len() == PANEL + 1 { height } else { 0 }
}

/// The height of the tallest tiles that are two panels wide, if they have as many vectors as the tallest of one, or 0.
const fn low<T>(tiles: &[Tiles<T>]) -> usize {
    let height = tallest(tiles, 2 * PANEL);
    if 2 * height == tallest(tiles, PANEL) { height } else { 0 }
}

/// The environment variable that pins a row.
pub(crate) const PIN: &str = "KERNELS_ISA";

/// Best first. A new instruction set is one file, its line in `isa/mod.rs` and one here.
static TABLE: &[&Backend] = &[
    #[cfg(target_arch = "x86_64")]
    &isa::avx512::ROW,
    #[cfg(target_arch = "x86_64")]
    &isa::amx::ROW,
    #[cfg(target_arch = "x86_64")]
    &isa::avx2::ROW,
    #[cfg(target_arch = "aarch64")]
    &isa::neon::ROW,
    #[cfg(any(feature = "portable", not(any(target_arch = "x86_64", target_arch = "aarch64"))))]
    &isa::portable::ROW,
    &isa::portable::PLAIN,
];

impl Backend {
    /// The backend that calls use unless told otherwise: the one that the environment variable `KERNELS_ISA` names,
    /// else the best that this CPU supports. Chosen once a process.
    ///
    /// # Errors
    /// When `KERNELS_ISA` names a row that does not exist or that the CPU does not support.
    #[inline]
    pub fn active() -> Result<&'static Self> {
        static ACTIVE: OnceLock<Result<&'static Backend>> = OnceLock::new();
        match ACTIVE.get_or_init(choose) {
            Ok(backend) => Ok(backend),
            Err(error) => Err(error.clone()),
        }
    }

    /// The backend that calls of this precision use unless told otherwise: one with a tile unit where it helps and
    /// there is one and none is pinned, else [`Self::active`].
    ///
    /// # Errors
    /// As [`Self::active`].
    #[inline]
    pub fn active_for(precision: Precision) -> Result<&'static Self> {
        if precision == Precision::F32 { Self::active() } else { Self::active_unit() }
    }

    #[cold]
    fn active_unit() -> Result<&'static Self> {
        static UNIT: OnceLock<Option<&'static Backend>> = OnceLock::new();
        let unit = UNIT.get_or_init(|| match std::env::var_os(PIN) {
            Some(_) => None,
            None => Self::supported().find(|b| b.has_tile_unit()),
        });
        unit.map_or_else(Self::active, Ok)
    }

    /// Another row, with a tile unit beside what this one has.
    #[cfg(target_arch = "x86_64")]
    pub(crate) const fn with_unit(
        mut self,
        name: &'static str,
        about: &'static str,
        supported: fn() -> bool,
        unit: Unit<f32>,
    ) -> Self {
        (self.name, self.about, self.supported) = (name, about, supported);
        self.f32.unit = Some(unit);
        self
    }

    /// The backend of this name: `avx512`, `amx`, `avx2`, `neon`, `portable` or `plain`.
    ///
    /// # Errors
    /// When there is none, or the CPU does not support it.
    pub fn by_name(name: &str) -> Result<&'static Self> {
        // Others are not asked: some would ask Linux for the use of their registers.
        let found = TABLE.iter().copied().find(|b| b.name == name).filter(|b| (b.supported)());
        found.ok_or_else(|| Error::Isa {
            asked: name.to_owned(),
            supported: Self::supported().map(|b| b.name).collect(),
        })
    }

    /// The plainest row with the bits that all promise, where the CPU supports one.
    pub(crate) fn exact() -> &'static Self {
        let found = TABLE.iter().copied().rev().find(|b| b.bits_match && (b.supported)());
        found.unwrap_or(&isa::portable::PLAIN)
    }

    /// The backends that this CPU supports, best first.
    pub fn supported() -> impl Iterator<Item = &'static Self> {
        TABLE.iter().copied().filter(|b| (b.supported)())
    }

    /// All of the table for this architecture, supported or not.
    pub(crate) fn all() -> impl Iterator<Item = &'static Self> {
        TABLE.iter().copied()
    }

    /// The whole table for this architecture: each row's name, what it is, and whether this CPU supports it.
    pub fn table() -> impl Iterator<Item = (&'static str, &'static str, bool)> {
        TABLE.iter().map(|b| (b.name, b.about, (b.supported)()))
    }

    /// Rows and columns of the tallest micro-kernel for an element type.
    #[must_use]
    pub fn tile<T: Element>(&self) -> (usize, usize) {
        let kernel = T::kernel(self);
        (kernel.mr, kernel.nr)
    }

    /// The block sizes and thresholds for an element type: those of the profile that `KERNELS_PROFILE` names, or that
    /// is built in for this CPU, else the model's.
    #[must_use]
    pub fn tuning<T: Element>(&self) -> Tuning {
        T::kernel(self).tuned().tuning
    }

    /// The model's block sizes and thresholds for an element type.
    #[must_use]
    pub fn model<T: Element>(&self) -> Tuning {
        Tuning::model(T::kernel(self), Cpu::get())
    }

    /// Whether products in a [`Precision`] beside f32 are computed by a unit for tiles of bf16 numbers.
    #[must_use]
    pub fn has_tile_unit(&self) -> bool {
        self.f32.unit.is_some()
    }

    /// Its name, as `KERNELS_ISA` takes it.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Whether its results are those of every other such backend, bit for bit. Only `plain`, for CPUs without FMA, is
    /// apart.
    #[must_use]
    pub fn bits_match(&self) -> bool {
        self.bits_match
    }
}

impl std::fmt::Debug for Backend {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Backend({})", self.name)
    }
}

fn choose() -> Result<&'static Backend> {
    match std::env::var_os(PIN) {
        Some(name) => Backend::by_name(&name.to_string_lossy()),
        None => Ok(Backend::supported().next().unwrap_or(&isa::portable::PLAIN)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_consistent() {
        fn check<T: Float>(k: &Kernel<T>) {
            assert_eq!(k.tiles[k.mr - 1].masked.len() * k.lanes, k.nr);
            for (i, pair) in k.tiles.windows(2).enumerate() {
                assert!(pair[0].masked.len() >= pair[1].masked.len(), "height {} is narrower than the next", i + 1);
            }
            for (i, t) in k.tiles.iter().enumerate() {
                assert!((i + 1) * t.masked.len() * k.lanes <= crate::gemm::block::TILE_MAX);
            }
        }
        for b in TABLE {
            check(&b.f32);
            check(&b.f64);
        }
    }

    /// The dispatch check of `ci/x86-dispatch` reads this line.
    #[test]
    fn selected_row_is_said() {
        match Backend::active() {
            Ok(backend) => println!("selected row: {}", backend.name()),
            Err(error) => panic!("{error}"),
        }
    }

    #[test]
    fn unknown_names_are_refused_with_the_choice() {
        let error = Backend::by_name("sse9").unwrap_err().to_string();
        assert!(error.contains("sse9") && error.contains("plain"), "{error}");
    }
}
