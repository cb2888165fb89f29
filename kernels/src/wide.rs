//! Several vectors as one.
//!
//! A function is one long chain of operations, each waiting for the one before, and a CPU looks only so far ahead for
//! others. What is written for one vector and run on a [`Wide`] one has `N` chains side by side, and the same bits.

use crate::bf16::Bf16;
use crate::simd::{Isa, Simd, SimdF32};
use std::array::from_fn;

/// `N` vectors of `S`, one after the other.
#[derive(Clone, Copy)]
pub(crate) struct Wide<S, const N: usize>(S);

impl<S: Isa, const N: usize> Isa for Wide<S, N> {
    const NAME: &'static str = S::NAME;

    #[inline(always)]
    unsafe fn assume() -> Self {
        // SAFETY: the caller's promise.
        Self(unsafe { S::assume() })
    }
    #[inline(always)]
    fn run<R>(self, f: impl FnOnce() -> R) -> R {
        self.0.run(f)
    }
}

impl<S: SimdF32, const N: usize> Simd<f32> for Wide<S, N> {
    type V = [S::V; N];
    type Mask = [S::Mask; N];
    const LANES: usize = N * S::LANES;

    #[inline(always)]
    fn splat(self, x: f32) -> Self::V {
        [self.0.splat(x); N]
    }
    #[inline(always)]
    unsafe fn load(self, p: *const f32) -> Self::V {
        from_fn(
            #[inline(always)]
            // SAFETY: a part of the elements that the caller promises.
            |i| unsafe { self.0.load(p.add(i * S::LANES)) },
        )
    }
    #[inline(always)]
    unsafe fn load_halves<const UPPER: bool>(self, _: *const f32, _: *const f32) -> Self::V {
        unreachable!("only tiles are read so")
    }
    #[inline(always)]
    unsafe fn store(self, p: *mut f32, v: Self::V) {
        for (i, v) in v.into_iter().enumerate() {
            // SAFETY: a part of the elements that the caller promises.
            unsafe { self.0.store(p.add(i * S::LANES), v) };
        }
    }
    #[inline(always)]
    fn first(self, n: usize) -> Self::Mask {
        from_fn(
            #[inline(always)]
            |i| self.0.first(n.saturating_sub(i * S::LANES).min(S::LANES)),
        )
    }
    #[inline(always)]
    unsafe fn load_masked(self, p: *const f32, mask: Self::Mask) -> Self::V {
        from_fn(
            #[inline(always)]
            // SAFETY: the lanes of the mask, as the caller promises; the pointer of those without may be anywhere.
            |i| unsafe { self.0.load_masked(p.wrapping_add(i * S::LANES), mask[i]) },
        )
    }
    #[inline(always)]
    unsafe fn store_masked(self, p: *mut f32, mask: Self::Mask, v: Self::V) {
        for (i, v) in v.into_iter().enumerate() {
            // SAFETY: as for the load.
            unsafe { self.0.store_masked(p.wrapping_add(i * S::LANES), mask[i], v) };
        }
    }
    #[inline(always)]
    fn add(self, a: Self::V, b: Self::V) -> Self::V {
        from_fn(
            #[inline(always)]
            |i| self.0.add(a[i], b[i]),
        )
    }
    #[inline(always)]
    fn sub(self, a: Self::V, b: Self::V) -> Self::V {
        from_fn(
            #[inline(always)]
            |i| self.0.sub(a[i], b[i]),
        )
    }
    #[inline(always)]
    fn mul(self, a: Self::V, b: Self::V) -> Self::V {
        from_fn(
            #[inline(always)]
            |i| self.0.mul(a[i], b[i]),
        )
    }
    #[inline(always)]
    fn div(self, a: Self::V, b: Self::V) -> Self::V {
        from_fn(
            #[inline(always)]
            |i| self.0.div(a[i], b[i]),
        )
    }
    #[inline(always)]
    fn sqrt(self, a: Self::V) -> Self::V {
        from_fn(
            #[inline(always)]
            |i| self.0.sqrt(a[i]),
        )
    }
    #[inline(always)]
    fn fma(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V {
        from_fn(
            #[inline(always)]
            |i| self.0.fma(a[i], b[i], c[i]),
        )
    }
    #[inline(always)]
    fn max(self, a: Self::V, b: Self::V) -> Self::V {
        from_fn(
            #[inline(always)]
            |i| self.0.max(a[i], b[i]),
        )
    }
    #[inline(always)]
    fn min(self, a: Self::V, b: Self::V) -> Self::V {
        from_fn(
            #[inline(always)]
            |i| self.0.min(a[i], b[i]),
        )
    }
    #[inline(always)]
    fn lt(self, a: Self::V, b: Self::V) -> Self::Mask {
        from_fn(
            #[inline(always)]
            |i| self.0.lt(a[i], b[i]),
        )
    }
    #[inline(always)]
    fn trn<const D: usize>(self, _: Self::V, _: Self::V) -> (Self::V, Self::V) {
        unreachable!("lanes are exchanged in single vectors only")
    }
    #[inline(always)]
    fn select(self, mask: Self::Mask, yes: Self::V, no: Self::V) -> Self::V {
        from_fn(
            #[inline(always)]
            |i| self.0.select(mask[i], yes[i], no[i]),
        )
    }
}

impl<S: SimdF32, const N: usize> SimdF32 for Wide<S, N> {
    type I = [S::I; N];
    type Wide = Self;

    #[inline(always)]
    fn clear(self, mask: Self::Mask, v: Self::V) -> Self::V {
        from_fn(
            #[inline(always)]
            |i| self.0.clear(mask[i], v[i]),
        )
    }
    #[inline(always)]
    fn splat_i32(self, x: i32) -> Self::I {
        [self.0.splat_i32(x); N]
    }
    #[inline(always)]
    fn to_bits(self, v: Self::V) -> Self::I {
        from_fn(
            #[inline(always)]
            |i| self.0.to_bits(v[i]),
        )
    }
    #[inline(always)]
    fn with_bits(self, v: Self::I) -> Self::V {
        from_fn(
            #[inline(always)]
            |i| self.0.with_bits(v[i]),
        )
    }
    #[inline(always)]
    fn sub_i32(self, a: Self::I, b: Self::I) -> Self::I {
        from_fn(
            #[inline(always)]
            |i| self.0.sub_i32(a[i], b[i]),
        )
    }
    #[inline(always)]
    fn shl<const M: i32>(self, a: Self::I) -> Self::I {
        from_fn(
            #[inline(always)]
            |i| self.0.shl::<M>(a[i]),
        )
    }
    #[inline(always)]
    fn sar<const M: i32>(self, a: Self::I) -> Self::I {
        from_fn(
            #[inline(always)]
            |i| self.0.sar::<M>(a[i]),
        )
    }
    #[inline(always)]
    fn and_i32(self, a: Self::I, b: Self::I) -> Self::I {
        from_fn(
            #[inline(always)]
            |i| self.0.and_i32(a[i], b[i]),
        )
    }
    #[inline(always)]
    fn or_i32(self, a: Self::I, b: Self::I) -> Self::I {
        from_fn(
            #[inline(always)]
            |i| self.0.or_i32(a[i], b[i]),
        )
    }
    #[inline(always)]
    fn convert_i32(self, a: Self::I) -> Self::V {
        from_fn(
            #[inline(always)]
            |i| self.0.convert_i32(a[i]),
        )
    }
    #[inline(always)]
    unsafe fn load_bytes(self, p: *const u8) -> Self::V {
        from_fn(
            #[inline(always)]
            // SAFETY: a part of the bytes that the caller promises.
            |i| unsafe { self.0.load_bytes(p.add(i * S::LANES)) },
        )
    }
    #[inline(always)]
    unsafe fn load_bf16(self, p: *const Bf16) -> Self::V {
        from_fn(
            #[inline(always)]
            // SAFETY: a part of the numbers that the caller promises.
            |i| unsafe { self.0.load_bf16(p.add(i * S::LANES)) },
        )
    }
}
