//! How exactly a product is computed: f32 throughout, or with operands of fewer significant bits.
//!
//! On rows without a tile unit, operands are rounded while they are packed, and multiplied in f32 as ever.

use super::amx;
use super::driver::{self, Method, Problem, Route, Settings};
use super::gemv::{self, Gemv};
use super::pack::{self, Pack};
use super::tile::Float;
use super::tuning::Blocking;
use crate::backend::Kernel;
use crate::simd::{Simd, SimdF32};
use std::fmt;
use std::sync::atomic::Ordering;

/// How exactly a product of f32 matrices is computed. Operands and result are f32 in all of them, and sums are.
///
/// Within one of them bits depend on nothing that they do not depend on in [`Precision::F32`], but on whether the
/// backend has a tile unit: see `docs/numerics.md`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Precision {
    /// f32 multiplications: the same bits on every backend.
    #[default]
    F32,
    /// As exact as f32, by six bf16 products on a tile unit; where there is none, the same as [`Precision::F32`].
    F32Amx,
    /// Operands of 16 significant bits or a little more: three bf16 products on a tile unit.
    Bf16x3,
    /// Operands of 8 significant bits: one bf16 product on a tile unit.
    Bf16,
}

impl Precision {
    /// All of them, the most exact first.
    pub const ALL: [Self; 4] = [Self::F32, Self::F32Amx, Self::Bf16x3, Self::Bf16];

    /// Its name, in small letters.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::F32Amx => "f32-amx",
            Self::Bf16x3 => "bf16x3",
            Self::Bf16 => "bf16",
        }
    }

    /// How often a tile unit left the sum of one chunk of k, for up to 16 by 16 elements of C, to the FMA units, as
    /// some of the elements multiplied were too small or too large for it: since the process began, by all products.
    #[must_use]
    pub fn sums_by_fma() -> u64 {
        amx::BY_FMA.load(Ordering::Relaxed)
    }

    /// The bits that [`Self::round`] takes from a significand of 24.
    const fn dropped(self) -> i32 {
        match self {
            Self::F32 | Self::F32Amx => 0,
            Self::Bf16x3 => 8,
            Self::Bf16 => 16,
        }
    }

    /// An operand's element as it is multiplied on backends without a tile unit: rounded to the nearest number of 24
    /// (F32, F32Amx), 16 (Bf16x3) or 8 (Bf16) significant bits, ties to even. Subnormal numbers, infinities, NaN and
    /// what would round to an infinity stay as they are.
    #[must_use]
    pub const fn round(self, x: f32) -> f32 {
        let dropped = self.dropped();
        if dropped == 0 {
            return x;
        }
        let normal = x.abs() >= f32::MIN_POSITIVE && x.abs() < limit(dropped);
        if !normal {
            return x;
        }
        let bits = x.to_bits();
        let up = (1 << (dropped - 1)) - 1 + (bits >> dropped & 1);
        f32::from_bits((bits + up) >> dropped << dropped)
    }
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// The least number that becomes an infinity when it loses so many bits of its significand.
const fn limit(dropped: i32) -> f32 {
    f32::from_bits(f32::INFINITY.to_bits() - (1 << (dropped - 1)))
}

/// What becomes of elements that are not multiplied as they lie, on an instruction set.
pub(crate) trait Convert<T>: Simd<T> {
    /// Packs bf16 numbers.
    ///
    /// # Safety
    /// See [`PackFn`](pack::PackFn).
    unsafe fn widen(x: &Pack<T>);

    /// A row times a matrix of bf16 numbers.
    ///
    /// # Safety
    /// See [`GemvFn`](gemv::GemvFn).
    unsafe fn rows_of_bf16(x: &Gemv<T>);

    /// Rounds the lines of a packed panel, whose first one is line `first`, in place.
    ///
    /// # Safety
    /// The row is supported by this CPU; the panel was packed.
    unsafe fn round(x: &Pack<T>, first: usize);
}

impl<S: SimdF32> Convert<f32> for S {
    unsafe fn widen(x: &Pack<f32>) {
        // SAFETY: the caller's promise.
        unsafe { pack::widen::<S>(x) }
    }
    unsafe fn rows_of_bf16(x: &Gemv<f32>) {
        // SAFETY: the caller's promise.
        unsafe { gemv::rows_of_bf16::<S>(x) }
    }

    #[inline(always)]
    unsafe fn round(x: &Pack<f32>, first: usize) {
        // SAFETY: the caller's promise.
        unsafe {
            match x.precision {
                Precision::F32 | Precision::F32Amx => {}
                Precision::Bf16x3 => panel::<S, 8>(x, first),
                Precision::Bf16 => panel::<S, 16>(x, first),
            }
        }
    }
}

impl<S: Simd<f64>> Convert<f64> for S {
    unsafe fn widen(_: &Pack<f64>) {
        unreachable!("operands of f64 hold no bf16 numbers");
    }
    unsafe fn rows_of_bf16(_: &Gemv<f64>) {
        unreachable!("operands of f64 hold no bf16 numbers");
    }

    #[inline(always)]
    unsafe fn round(x: &Pack<f64>, _: usize) {
        debug_assert!(x.precision == Precision::F32, "the call has it for f32 alone");
    }
}

/// # Safety
/// See [`Convert::round`].
unsafe fn panel<S: SimdF32, const DROPPED: i32>(x: &Pack<f32>, first: usize) {
    // SAFETY: the row is supported, by the caller's promise.
    let s = unsafe { S::assume() };
    let (panel, lines) = (x.to.wrapping_add(first * x.k), x.width.min(x.lines - first));
    s.run(
        #[inline(always)]
        || {
            for p in 0..x.k {
                for i in (0..lines).step_by(S::LANES) {
                    let at = panel.wrapping_add(p * x.width + i);
                    let mask = s.first((lines - i).min(S::LANES));
                    // SAFETY: the lines that are there.
                    unsafe { s.store_masked(at, mask, nearest::<S, DROPPED>(s, s.load_masked(at, mask))) };
                }
            }
        },
    );
}

/// [`Precision::round`] of each lane.
#[inline(always)]
fn nearest<S: SimdF32, const DROPPED: i32>(s: S, x: S::V) -> S::V {
    let size = s.abs(x);
    let rounded = s.select(s.lt(size, s.splat(limit(DROPPED))), nearest_normal::<S, DROPPED>(s, x), x);
    s.select(s.lt(size, s.splat(f32::MIN_POSITIVE)), x, rounded)
}

/// The same, of a normal number that does not become an infinity; anything for others.
#[inline(always)]
pub(crate) fn nearest_normal<S: SimdF32, const DROPPED: i32>(s: S, x: S::V) -> S::V {
    let bits = s.to_bits(x);
    let odd = s.and_i32(s.sar::<DROPPED>(bits), s.splat_i32(1));
    let half = s.splat_i32(1 - (1 << (DROPPED - 1)));
    let up = s.sub_i32(bits, s.sub_i32(half, odd));
    s.with_bits(s.and_i32(up, s.splat_i32(-1 << DROPPED)))
}

/// The route of a product that is not computed in f32 throughout.
#[cold]
pub(super) fn route<T: Float>(kernel: &Kernel<T>, x: Problem<T>, set: Settings<'_>) -> Route {
    let (precision, set) = (set.precision, Settings { precision: Precision::F32, ..set });
    let unit = kernel.unit(precision, x.k).is_some();
    if !unit && precision == Precision::F32Amx {
        return driver::route(kernel, &x, set);
    }
    // Both operands are packed; jobs are cut as they would be then.
    let tuning = set.tuning.unwrap_or_else(|| &kernel.tuned().tuning);
    let blocking = set.blocking.unwrap_or_else(|| match unit {
        true => amx::blocking(tuning, precision),
        false => tuning.blocks(kernel, (x.m, x.k, x.n), false),
    });
    let route = driver::route(kernel, &x, Settings { blocking: Some(blocking), ..set });
    match route.method {
        Method::Blocks { blocking: Blocking { nc, .. }, .. } if unit => {
            let nc = nc.checked_next_multiple_of(amx::BLOCK).unwrap_or(nc);
            Route { method: Method::Tiles(amx::Tiled { precision, mirrored: route.transposed, nc }), ..route }
        }
        Method::Blocks { pack_a, pack_b, blocking, .. } => {
            Route { method: Method::Blocks { pack_a, pack_b, fetch_b: false, blocking, precision }, ..route }
        }
        _ => route,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Backend;
    use crate::gemm::driver::Matrix;

    #[test]
    fn rounding_is_to_nearest_and_leaves_what_it_should() {
        let bits = f32::from_bits;
        for (x, want) in [
            (1.0, 1.0),
            (bits(0x3f80_7fff), 1.0),
            (bits(0x3f80_8000), 1.0),
            (bits(0x3f80_8001), bits(0x3f81_0000)),
            (bits(0x3f81_8000), bits(0x3f82_0000)),
            (bits(0xbfff_c000), -2.0),
            (f32::MAX, f32::MAX),
            (bits(0x7f7f_7fff), bits(0x7f7f_0000)),
            (f32::INFINITY, f32::INFINITY),
            (bits(0x007f_ffff), bits(0x007f_ffff)),
            (bits(3), bits(3)),
            (-0.0, -0.0),
        ] {
            assert_eq!(Precision::Bf16.round(x).to_bits(), want.to_bits(), "{x:e}");
        }
        assert_eq!(Precision::Bf16x3.round(bits(0x3f80_0180)), bits(0x3f80_0200));
        assert!(Precision::Bf16.round(f32::NAN).is_nan());
        assert_eq!(Precision::F32Amx.round(1.000_000_1), 1.000_000_1);
    }

    /// Every row rounds as the definition does, and only where there are lines.
    #[test]
    fn rows_round_alike() {
        let mut state = 1u32;
        let mut x: Vec<f32> = (0..4000)
            .map(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                f32::from_bits(state ^ state >> 7)
            })
            .collect();
        x.extend([f32::MAX, f32::INFINITY, f32::NAN, -0.0, 1e-40, f32::MIN_POSITIVE]);
        for backend in Backend::supported() {
            for precision in Precision::ALL {
                for (lines, width) in [(1, 1), (6, 6), (7, 16), (16, 16), (33, 40)] {
                    let mut y = x.clone();
                    let k = x.len() / width;
                    let (from, to) = (Matrix::view(x.as_ptr().cast_mut(), 1, width as isize), y.as_mut_ptr());
                    let panel = Pack { from, lines, k, to, width, precision };
                    // SAFETY: the backend is supported, and there are `k` times `width` elements.
                    unsafe { (backend.f32.pack)(&panel) };
                    for (i, (&x, &y)) in x.iter().zip(&y).enumerate() {
                        let inside = i < k * width;
                        let want = if inside && i % width < lines { precision.round(x) } else { x };
                        // What is not there stays, or becomes 0.
                        let padding = inside && i % width >= lines && y.to_bits() == 0;
                        let same = padding || y.to_bits() == want.to_bits() || y.is_nan() && want.is_nan();
                        assert!(same, "{backend:?} {precision} {x:e}: {y:e}, not {want:e}");
                    }
                }
            }
        }
    }
}
