//! Plain Rust on small arrays, for every CPU. Two rows come from it:
//!
//! - `portable` multiplies and adds with one rounding (`mul_add`), like the FMA units of the other rows, so it gives
//!   their bits. Where an x86 CPU has FMA, the same code is compiled for it; elsewhere the platform's exact `fma`
//!   function does it, slowly.
//! - `plain` rounds twice, and so gives other bits, at the speed of a CPU without FMA. It is the default only there.

use crate::backend::{Backend, Kernel};
use crate::gemm::blocking::Blocking;
use crate::gemm::finish::finish;
use crate::gemm::pack::pack;
use crate::gemm::tile;
use crate::math::math;
use crate::simd::{Isa, Simd, SimdF32};
use std::array::from_fn;

/// The token of the portable rows: there is nothing to prove.
#[derive(Clone, Copy)]
pub(crate) struct Portable<const FUSED: bool>;

/// Whether `mul_add` is one instruction here.
pub(crate) fn has_fma() -> bool {
    #[cfg(target_arch = "x86_64")]
    return is_x86_feature_detected!("fma") && is_x86_feature_detected!("avx2");
    #[cfg(not(target_arch = "x86_64"))]
    return cfg!(any(target_arch = "aarch64", target_arch = "powerpc64", target_feature = "fma"));
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
#[inline]
fn run_fma<R>(f: impl FnOnce() -> R) -> R {
    f()
}

impl<const FUSED: bool> Isa for Portable<FUSED> {
    #[inline(always)]
    unsafe fn assume() -> Self {
        Self
    }
    #[inline(always)]
    fn run<R>(self, f: impl FnOnce() -> R) -> R {
        #[cfg(target_arch = "x86_64")]
        if FUSED && has_fma() {
            // SAFETY: the features are there.
            return unsafe { run_fma(f) };
        }
        f()
    }
    #[inline(always)]
    fn prefetch<T>(self, _: *const T) {}
}

/// Floats in a vector: two SSE registers' worth.
const F32: usize = 8;
/// Doubles in a vector.
const F64: usize = 4;

impl<const FUSED: bool> Simd<f32> for Portable<FUSED> {
    type V = [f32; F32];
    type Mask = [bool; F32];
    const LANES: usize = F32;

    #[inline(always)]
    fn splat(self, x: f32) -> Self::V {
        [x; F32]
    }
    #[inline(always)]
    unsafe fn load(self, p: *const f32) -> Self::V {
        // SAFETY: the caller's promise.
        unsafe { p.cast::<Self::V>().read() }
    }
    #[inline(always)]
    unsafe fn store(self, p: *mut f32, v: Self::V) {
        // SAFETY: the caller's promise.
        unsafe { p.cast::<Self::V>().write(v) }
    }
    #[inline(always)]
    fn first(self, n: usize) -> Self::Mask {
        from_fn(|i| i < n)
    }
    #[inline(always)]
    unsafe fn load_masked(self, p: *const f32, mask: Self::Mask) -> Self::V {
        // SAFETY: only lanes in the mask are read, by the caller's promise readable.
        from_fn(|i| if mask[i] { unsafe { *p.add(i) } } else { 0.0 })
    }
    #[inline(always)]
    unsafe fn store_masked(self, p: *mut f32, mask: Self::Mask, v: Self::V) {
        for i in 0..F32 {
            if mask[i] {
                // SAFETY: only lanes in the mask are written, by the caller's promise writable.
                unsafe { *p.add(i) = v[i] }
            }
        }
    }
    #[inline(always)]
    fn add(self, a: Self::V, b: Self::V) -> Self::V {
        from_fn(|i| a[i] + b[i])
    }
    #[inline(always)]
    fn sub(self, a: Self::V, b: Self::V) -> Self::V {
        from_fn(|i| a[i] - b[i])
    }
    #[inline(always)]
    fn mul(self, a: Self::V, b: Self::V) -> Self::V {
        from_fn(|i| a[i] * b[i])
    }
    #[inline(always)]
    fn div(self, a: Self::V, b: Self::V) -> Self::V {
        from_fn(|i| a[i] / b[i])
    }
    #[inline(always)]
    fn sqrt(self, a: Self::V) -> Self::V {
        from_fn(|i| a[i].sqrt())
    }
    #[inline(always)]
    fn fma(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V {
        from_fn(|i| if FUSED { a[i].mul_add(b[i], c[i]) } else { a[i] * b[i] + c[i] })
    }
    #[inline(always)]
    fn max(self, a: Self::V, b: Self::V) -> Self::V {
        from_fn(|i| if a[i] > b[i] { a[i] } else { b[i] })
    }
    #[inline(always)]
    fn min(self, a: Self::V, b: Self::V) -> Self::V {
        from_fn(|i| if a[i] < b[i] { a[i] } else { b[i] })
    }
    #[inline(always)]
    fn lt(self, a: Self::V, b: Self::V) -> Self::Mask {
        from_fn(|i| a[i] < b[i])
    }
    #[inline(always)]
    fn select(self, mask: Self::Mask, yes: Self::V, no: Self::V) -> Self::V {
        from_fn(|i| if mask[i] { yes[i] } else { no[i] })
    }
}

impl<const FUSED: bool> Simd<f64> for Portable<FUSED> {
    type V = [f64; F64];
    type Mask = [bool; F64];
    const LANES: usize = F64;

    #[inline(always)]
    fn splat(self, x: f64) -> Self::V {
        [x; F64]
    }
    #[inline(always)]
    unsafe fn load(self, p: *const f64) -> Self::V {
        // SAFETY: the caller's promise.
        unsafe { p.cast::<Self::V>().read() }
    }
    #[inline(always)]
    unsafe fn store(self, p: *mut f64, v: Self::V) {
        // SAFETY: the caller's promise.
        unsafe { p.cast::<Self::V>().write(v) }
    }
    #[inline(always)]
    fn first(self, n: usize) -> Self::Mask {
        from_fn(|i| i < n)
    }
    #[inline(always)]
    unsafe fn load_masked(self, p: *const f64, mask: Self::Mask) -> Self::V {
        // SAFETY: only lanes in the mask are read, by the caller's promise readable.
        from_fn(|i| if mask[i] { unsafe { *p.add(i) } } else { 0.0 })
    }
    #[inline(always)]
    unsafe fn store_masked(self, p: *mut f64, mask: Self::Mask, v: Self::V) {
        for i in 0..F64 {
            if mask[i] {
                // SAFETY: only lanes in the mask are written, by the caller's promise writable.
                unsafe { *p.add(i) = v[i] }
            }
        }
    }
    #[inline(always)]
    fn add(self, a: Self::V, b: Self::V) -> Self::V {
        from_fn(|i| a[i] + b[i])
    }
    #[inline(always)]
    fn sub(self, a: Self::V, b: Self::V) -> Self::V {
        from_fn(|i| a[i] - b[i])
    }
    #[inline(always)]
    fn mul(self, a: Self::V, b: Self::V) -> Self::V {
        from_fn(|i| a[i] * b[i])
    }
    #[inline(always)]
    fn div(self, a: Self::V, b: Self::V) -> Self::V {
        from_fn(|i| a[i] / b[i])
    }
    #[inline(always)]
    fn sqrt(self, a: Self::V) -> Self::V {
        from_fn(|i| a[i].sqrt())
    }
    #[inline(always)]
    fn fma(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V {
        from_fn(|i| if FUSED { a[i].mul_add(b[i], c[i]) } else { a[i] * b[i] + c[i] })
    }
    #[inline(always)]
    fn max(self, a: Self::V, b: Self::V) -> Self::V {
        from_fn(|i| if a[i] > b[i] { a[i] } else { b[i] })
    }
    #[inline(always)]
    fn min(self, a: Self::V, b: Self::V) -> Self::V {
        from_fn(|i| if a[i] < b[i] { a[i] } else { b[i] })
    }
    #[inline(always)]
    fn lt(self, a: Self::V, b: Self::V) -> Self::Mask {
        from_fn(|i| a[i] < b[i])
    }
    #[inline(always)]
    fn select(self, mask: Self::Mask, yes: Self::V, no: Self::V) -> Self::V {
        from_fn(|i| if mask[i] { yes[i] } else { no[i] })
    }
}

impl<const FUSED: bool> SimdF32 for Portable<FUSED> {
    type I = [i32; F32];

    #[inline(always)]
    fn splat_i32(self, x: i32) -> Self::I {
        [x; F32]
    }
    #[inline(always)]
    fn to_bits(self, v: Self::V) -> Self::I {
        v.map(|x| x.to_bits().cast_signed())
    }
    #[inline(always)]
    fn from_bits(self, v: Self::I) -> Self::V {
        v.map(|x| f32::from_bits(x.cast_unsigned()))
    }
    #[inline(always)]
    fn add_i32(self, a: Self::I, b: Self::I) -> Self::I {
        from_fn(|i| a[i].wrapping_add(b[i]))
    }
    #[inline(always)]
    fn sub_i32(self, a: Self::I, b: Self::I) -> Self::I {
        from_fn(|i| a[i].wrapping_sub(b[i]))
    }
    #[inline(always)]
    fn shl<const N: i32>(self, a: Self::I) -> Self::I {
        a.map(|x| x << N)
    }
    #[inline(always)]
    fn sar<const N: i32>(self, a: Self::I) -> Self::I {
        a.map(|x| x >> N)
    }
    #[inline(always)]
    fn convert_i32(self, a: Self::I) -> Self::V {
        a.map(|x| x as f32)
    }
    #[inline(always)]
    unsafe fn load_bytes(self, p: *const u8) -> Self::V {
        // SAFETY: the caller's promise.
        unsafe { p.cast::<[u8; F32]>().read() }.map(f32::from)
    }
}

pub(crate) static ROW: Backend = Backend {
    name: "portable",
    about: "plain Rust with exact fused multiply-add",
    supported: || true,
    bits_match: true,
    f32: Kernel {
        lanes: 8,
        mr: 4,
        nr: 16,
        tiles: &[
            tile::tiles2::<Portable<true>, f32, 1>(),
            tile::tiles2::<Portable<true>, f32, 2>(),
            tile::tiles2::<Portable<true>, f32, 3>(),
            tile::tiles2::<Portable<true>, f32, 4>(),
        ],
        pack: pack::<Portable<true>, f32>,
        finish: finish::<Portable<true>, f32>,
        blocking: Blocking { mc: 128, kc: 256, nc: 2048 },
        pack_b_from: 96,
        pack_b_area: 16_384,
        pack_a_from: 256,
        pack_a_area: 65_536,
        work_per_thread: 200_000,
    },
    f64: Kernel {
        lanes: 4,
        mr: 4,
        nr: 8,
        tiles: &[
            tile::tiles2::<Portable<true>, f64, 1>(),
            tile::tiles2::<Portable<true>, f64, 2>(),
            tile::tiles2::<Portable<true>, f64, 3>(),
            tile::tiles2::<Portable<true>, f64, 4>(),
        ],
        pack: pack::<Portable<true>, f64>,
        finish: finish::<Portable<true>, f64>,
        blocking: Blocking { mc: 64, kc: 256, nc: 2048 },
        pack_b_from: 96,
        pack_b_area: 16_384,
        pack_a_from: 256,
        pack_a_area: 65_536,
        work_per_thread: 200_000,
    },
    math: math::<Portable<true>>(),
};

pub(crate) static PLAIN: Backend = Backend {
    name: "plain",
    about: "plain Rust for CPUs without FMA: other bits",
    supported: || true,
    bits_match: false,
    f32: Kernel {
        lanes: 8,
        mr: 4,
        nr: 16,
        tiles: &[
            tile::tiles2::<Portable<false>, f32, 1>(),
            tile::tiles2::<Portable<false>, f32, 2>(),
            tile::tiles2::<Portable<false>, f32, 3>(),
            tile::tiles2::<Portable<false>, f32, 4>(),
        ],
        pack: pack::<Portable<false>, f32>,
        finish: finish::<Portable<false>, f32>,
        blocking: Blocking { mc: 128, kc: 256, nc: 2048 },
        pack_b_from: 96,
        pack_b_area: 16_384,
        pack_a_from: 256,
        pack_a_area: 65_536,
        work_per_thread: 200_000,
    },
    f64: Kernel {
        lanes: 4,
        mr: 4,
        nr: 8,
        tiles: &[
            tile::tiles2::<Portable<false>, f64, 1>(),
            tile::tiles2::<Portable<false>, f64, 2>(),
            tile::tiles2::<Portable<false>, f64, 3>(),
            tile::tiles2::<Portable<false>, f64, 4>(),
        ],
        pack: pack::<Portable<false>, f64>,
        finish: finish::<Portable<false>, f64>,
        blocking: Blocking { mc: 64, kc: 256, nc: 2048 },
        pack_b_from: 96,
        pack_b_area: 16_384,
        pack_a_from: 256,
        pack_a_area: 65_536,
        work_per_thread: 200_000,
    },
    math: math::<Portable<false>>(),
};
