//! Plain Rust on small arrays, for every CPU. Two rows come from it:
//!
//! - `portable` multiplies and adds with one rounding (`mul_add`), like the FMA units of the other rows, so it gives
//!   their bits. It needs a CPU where that is an instruction: the functions that stand in for it elsewhere are exact,
//!   but a hundred times slower, and would be most of the library's code.
//! - `plain` rounds twice, and so gives other bits, on any CPU. It is the default only where there is no other.

use crate::backend::{Backend, Kernel};
use crate::bf16::Bf16;
use crate::gemm::tile::{self, Float, Tiles};
use crate::math::math;
use crate::simd::{Isa, Simd, SimdF32};
use std::ops::{Div, Sub};

/// The token of the portable rows: there is nothing to prove.
#[derive(Clone, Copy)]
pub(crate) struct Portable<const FUSED: bool>;

/// Whether `mul_add` is one instruction here.
#[cfg(any(feature = "portable", not(any(target_arch = "x86_64", target_arch = "aarch64"))))]
fn has_fma() -> bool {
    #[cfg(target_arch = "x86_64")]
    return is_x86_feature_detected!("fma") && is_x86_feature_detected!("avx2");
    #[cfg(not(target_arch = "x86_64"))]
    return cfg!(any(
        target_arch = "aarch64",
        target_arch = "loongarch64",
        target_arch = "powerpc64",
        target_arch = "riscv64",
        target_arch = "s390x",
    ));
}

// Miri needs no instruction for `mul_add`, and lets nothing be called that is compiled for those it lacks.
#[cfg(all(target_arch = "x86_64", not(miri)))]
#[target_feature(enable = "avx2,fma")]
#[inline]
fn run_fma<R>(f: impl FnOnce() -> R) -> R {
    f()
}

impl<const FUSED: bool> Isa for Portable<FUSED> {
    const NAME: &'static str = if FUSED { "portable" } else { "plain" };

    #[inline(always)]
    unsafe fn assume() -> Self {
        Self
    }
    #[inline(always)]
    fn run<R>(self, f: impl FnOnce() -> R) -> R {
        #[cfg(all(target_arch = "x86_64", not(miri)))]
        if FUSED {
            // SAFETY: the row is supported only where `has_fma`.
            return unsafe { run_fma(f) };
        }
        f()
    }
}

/// Elements in a vector, floats or doubles.
const LANES: usize = 4;

/// `f` of each lane. Not a loop: thousands of them, each to be unrolled, would take most of the crate's compile time.
/// Closures that the compiler leaves behind as calls would be compiled without FMA, so everything on the way is
/// inlined.
#[inline(always)]
fn lanes<T>(f: impl Fn(usize) -> T) -> [T; LANES] {
    [f(0), f(1), f(2), f(3)]
}

/// The operations on one lane that operators do not give.
pub(crate) trait Lane: Float + Sub<Output = Self> + Div<Output = Self> {
    /// The correctly rounded square root.
    fn root(self) -> Self;
}

impl Lane for f32 {
    #[inline(always)]
    fn root(self) -> Self {
        self.sqrt()
    }
}

impl Lane for f64 {
    #[inline(always)]
    fn root(self) -> Self {
        self.sqrt()
    }
}

impl<const FUSED: bool, T: Lane> Simd<T> for Portable<FUSED> {
    type V = [T; LANES];
    type Mask = [bool; LANES];
    const LANES: usize = LANES;

    #[inline(always)]
    fn splat(self, x: T) -> Self::V {
        [x; LANES]
    }
    #[inline(always)]
    unsafe fn load(self, p: *const T) -> Self::V {
        // SAFETY: the caller's promise.
        unsafe { p.cast::<Self::V>().read() }
    }
    #[inline(always)]
    unsafe fn load_halves<const UPPER: bool>(self, p: *const T, q: *const T) -> Self::V {
        let first = if UPPER { 2 } else { 0 };
        // SAFETY: the caller's promise.
        unsafe { [*p.add(first), *p.add(first + 1), *q.add(first), *q.add(first + 1)] }
    }
    #[inline(always)]
    unsafe fn store(self, p: *mut T, v: Self::V) {
        // SAFETY: the caller's promise.
        unsafe { p.cast::<Self::V>().write(v) }
    }
    #[inline(always)]
    fn first(self, n: usize) -> Self::Mask {
        lanes(
            #[inline(always)]
            |i| i < n,
        )
    }
    #[inline(always)]
    unsafe fn load_masked(self, p: *const T, mask: Self::Mask) -> Self::V {
        lanes(
            #[inline(always)]
            // SAFETY: only lanes in the mask are read, by the caller's promise readable.
            |i| if mask[i] { unsafe { *p.add(i) } } else { T::ZERO },
        )
    }
    #[inline(always)]
    unsafe fn store_masked(self, p: *mut T, mask: Self::Mask, v: Self::V) {
        lanes(
            #[inline(always)]
            |i| {
                if mask[i] {
                    // SAFETY: only lanes in the mask are written, by the caller's promise writable.
                    unsafe { *p.add(i) = v[i] }
                }
            },
        );
    }
    #[inline(always)]
    fn add(self, a: Self::V, b: Self::V) -> Self::V {
        lanes(
            #[inline(always)]
            |i| a[i] + b[i],
        )
    }
    #[inline(always)]
    fn sub(self, a: Self::V, b: Self::V) -> Self::V {
        lanes(
            #[inline(always)]
            |i| a[i] - b[i],
        )
    }
    #[inline(always)]
    fn mul(self, a: Self::V, b: Self::V) -> Self::V {
        lanes(
            #[inline(always)]
            |i| a[i] * b[i],
        )
    }
    #[inline(always)]
    fn div(self, a: Self::V, b: Self::V) -> Self::V {
        lanes(
            #[inline(always)]
            |i| a[i] / b[i],
        )
    }
    #[inline(always)]
    fn sqrt(self, a: Self::V) -> Self::V {
        lanes(
            #[inline(always)]
            |i| a[i].root(),
        )
    }
    #[inline(always)]
    fn fma(self, a: Self::V, b: Self::V, mut c: Self::V) -> Self::V {
        // This one a loop: the vectoriser finds it, and the tile runs three times as fast.
        for i in 0..LANES {
            c[i] = if FUSED { a[i].fma(b[i], c[i]) } else { a[i] * b[i] + c[i] };
        }
        c
    }
    #[inline(always)]
    fn max(self, a: Self::V, b: Self::V) -> Self::V {
        lanes(
            #[inline(always)]
            |i| if a[i] > b[i] { a[i] } else { b[i] },
        )
    }
    #[inline(always)]
    fn min(self, a: Self::V, b: Self::V) -> Self::V {
        lanes(
            #[inline(always)]
            |i| if a[i] < b[i] { a[i] } else { b[i] },
        )
    }
    #[inline(always)]
    fn lt(self, a: Self::V, b: Self::V) -> Self::Mask {
        lanes(
            #[inline(always)]
            |i| a[i] < b[i],
        )
    }
    #[inline(always)]
    fn trn<const D: usize>(self, a: Self::V, b: Self::V) -> (Self::V, Self::V) {
        let low = lanes(
            #[inline(always)]
            |i| if i & D == 0 { a[i] } else { b[i ^ D] },
        );
        let high = lanes(
            #[inline(always)]
            |i| if i & D == 0 { a[i | D] } else { b[i] },
        );
        (low, high)
    }
    #[inline(always)]
    fn select(self, mask: Self::Mask, yes: Self::V, no: Self::V) -> Self::V {
        lanes(
            #[inline(always)]
            |i| if mask[i] { yes[i] } else { no[i] },
        )
    }
}

impl<const FUSED: bool> SimdF32 for Portable<FUSED> {
    type I = [i32; LANES];
    // The vectoriser makes its own.
    type Wide = Self;

    #[inline(always)]
    fn splat_i32(self, x: i32) -> Self::I {
        [x; LANES]
    }
    #[inline(always)]
    fn to_bits(self, v: Self::V) -> Self::I {
        lanes(
            #[inline(always)]
            |i| v[i].to_bits().cast_signed(),
        )
    }
    #[inline(always)]
    fn with_bits(self, v: Self::I) -> Self::V {
        lanes(
            #[inline(always)]
            |i| f32::from_bits(v[i].cast_unsigned()),
        )
    }
    #[inline(always)]
    fn sub_i32(self, a: Self::I, b: Self::I) -> Self::I {
        lanes(
            #[inline(always)]
            |i| a[i].wrapping_sub(b[i]),
        )
    }
    #[inline(always)]
    fn shl<const N: i32>(self, a: Self::I) -> Self::I {
        lanes(
            #[inline(always)]
            |i| a[i] << N,
        )
    }
    #[inline(always)]
    fn sar<const N: i32>(self, a: Self::I) -> Self::I {
        lanes(
            #[inline(always)]
            |i| a[i] >> N,
        )
    }
    #[inline(always)]
    fn and_i32(self, a: Self::I, b: Self::I) -> Self::I {
        lanes(
            #[inline(always)]
            |i| a[i] & b[i],
        )
    }
    #[inline(always)]
    fn or_i32(self, a: Self::I, b: Self::I) -> Self::I {
        lanes(
            #[inline(always)]
            |i| a[i] | b[i],
        )
    }
    #[inline(always)]
    fn product(self, a: Self::V, b: Self::V) -> (Self::V, Self::V) {
        let p: Self::V = Simd::<f32>::mul(self, a, b);
        let lost = lanes(
            #[inline(always)]
            |i| {
                if FUSED {
                    a[i].mul_add(b[i], -p[i])
                } else {
                    (f64::from(a[i]) * f64::from(b[i]) - f64::from(p[i])) as f32
                }
            },
        );
        (p, lost)
    }
    #[inline(always)]
    fn convert_i32(self, a: Self::I) -> Self::V {
        lanes(
            #[inline(always)]
            |i| a[i] as f32,
        )
    }
    #[inline(always)]
    unsafe fn load_bytes(self, p: *const u8) -> Self::V {
        // SAFETY: the caller's promise.
        let bytes = unsafe { p.cast::<[u8; LANES]>().read() };
        lanes(
            #[inline(always)]
            |i| f32::from(bytes[i]),
        )
    }
    #[inline(always)]
    unsafe fn load_bf16(self, p: *const Bf16) -> Self::V {
        // SAFETY: the caller's promise.
        let numbers = unsafe { p.cast::<[Bf16; LANES]>().read() };
        lanes(
            #[inline(always)]
            |i| numbers[i].to_f32(),
        )
    }
}

/// The micro-kernels by height, from 1.
const fn tiles<const FUSED: bool, T: Lane>() -> [Tiles<T>; 4] {
    [
        tile::tiles2::<Portable<FUSED>, T, 1>(),
        tile::tiles2::<Portable<FUSED>, T, 2>(),
        tile::tiles2::<Portable<FUSED>, T, 3>(),
        tile::tiles2::<Portable<FUSED>, T, 4>(),
    ]
}

#[cfg(any(feature = "portable", not(any(target_arch = "x86_64", target_arch = "aarch64"))))]
pub(crate) static ROW: Backend = Backend {
    name: Portable::<true>::NAME,
    about: "plain Rust with exact fused multiply-add",
    supported: has_fma,
    bits_match: true,
    f32: Kernel::new::<Portable<true>>(const { &tiles::<true, f32>() }),
    f64: Kernel::new::<Portable<true>>(const { &tiles::<true, f64>() }),
    // Compilers make one vector of two.
    math: math::<Portable<true>, 24>(),
};

pub(crate) static PLAIN: Backend = Backend {
    name: Portable::<false>::NAME,
    about: "plain Rust for CPUs without FMA: other bits",
    supported: || true,
    bits_match: false,
    f32: Kernel::new::<Portable<false>>(const { &tiles::<false, f32>() }),
    f64: Kernel::new::<Portable<false>>(const { &tiles::<false, f64>() }),
    math: math::<Portable<false>, 12>(),
};
