//! AMX: AVX-512 with a unit that multiplies tiles of bf16 numbers. In f32 its row is that of AVX-512; the unit serves
//! the other precisions of products.

use super::avx2::Avx2;
use super::avx512::{self, Avx512};
use crate::backend::Backend;
#[cfg(all(target_os = "linux", not(miri)))]
use crate::cpu::cpuid;
use crate::gemm::amx::split::Pairs;
use crate::gemm::amx::unit;
use crate::gemm::precision::nearest_normal;
#[cfg(all(target_os = "linux", not(miri)))]
use crate::linux::call;
use crate::simd::{Isa, SimdF32};
use std::arch::x86_64::*;

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,avx2,fma")]
#[inline]
fn run<R>(f: impl FnOnce() -> R) -> R {
    f()
}

/// Words of two vectors, or of one that is both, 16 at a time in turn.
static ALTERNATE: [u16; 32] = {
    let mut from = [0; 32];
    let mut i = 0;
    while i < 32 {
        from[i] = (i / 2 + i % 2 * 16) as u16;
        i += 1;
    }
    from
};

/// Each of 32 words twice.
static TWICE: [u16; 64] = {
    let mut from = [0; 64];
    let mut i = 0;
    while i < 64 {
        from[i] = (i / 2) as u16;
        i += 1;
    }
    from
};

impl Pairs for Avx512 {
    #[inline(always)]
    fn run_pairs<R>(self, f: impl FnOnce() -> R) -> R {
        // SAFETY: the row `amx` is supported only where there are these conversions.
        unsafe { run(f) }
    }
    #[inline(always)]
    fn join<const ZIPPED: bool>(self, x: Self::V, y: Self::V) -> Self::V {
        // SAFETY: as above.
        unsafe {
            let pairs: __m512i = std::mem::transmute(_mm512_cvtne2ps_pbh(y, x));
            let pairs = match ZIPPED {
                true => _mm512_permutexvar_epi16(_mm512_loadu_si512(ALTERNATE.as_ptr().cast()), pairs),
                false => pairs,
            };
            self.with_bits(pairs)
        }
    }
    #[inline(always)]
    fn halves(self, pairs: Self::V) -> (Self::V, Self::V) {
        let pairs = self.to_bits(pairs);
        let half = |i: usize| {
            // SAFETY: the token; 32 words of the table.
            let upper = unsafe {
                let from = _mm512_loadu_si512(TWICE.as_ptr().add(32 * i).cast());
                _mm512_maskz_permutexvar_epi16(0xaaaa_aaaa, from, pairs)
            };
            self.with_bits(upper)
        };
        (half(0), half(1))
    }
    #[inline(always)]
    fn min_bits(self, a: Self::I, b: Self::I) -> Self::I {
        // SAFETY: the token.
        unsafe { _mm512_min_epu32(a, b) }
    }
    #[inline(always)]
    fn max_bits(self, a: Self::I, b: Self::I) -> Self::I {
        // SAFETY: the token.
        unsafe { _mm512_max_epu32(a, b) }
    }
}

/// For tests alone, on an emulated unit.
impl Pairs for Avx2 {
    #[inline(always)]
    fn run_pairs<R>(self, f: impl FnOnce() -> R) -> R {
        self.run(f)
    }
    #[inline(always)]
    fn join<const ZIPPED: bool>(self, x: Self::V, y: Self::V) -> Self::V {
        let [x, y] = [x, y].map(|v| self.to_bits(nearest_normal::<_, 16>(self, v)));
        // SAFETY: the token.
        unsafe {
            let down = |v| _mm256_srl_epi32(v, _mm_cvtsi32_si128(16));
            self.with_bits(match ZIPPED {
                true => self.or_i32(down(x), y),
                // Packs halves of each vector in turn.
                false => _mm256_permute4x64_epi64::<0b11_01_10_00>(_mm256_packus_epi32(down(x), down(y))),
            })
        }
    }
    #[inline(always)]
    fn halves(self, pairs: Self::V) -> (Self::V, Self::V) {
        let pairs = self.to_bits(pairs);
        // SAFETY: the token.
        let wide = |half| self.with_bits(self.shl::<16>(unsafe { _mm256_cvtepu16_epi32(half) }));
        // SAFETY: the token.
        unsafe { (wide(_mm256_castsi256_si128(pairs)), wide(_mm256_extracti128_si256::<1>(pairs))) }
    }
    #[inline(always)]
    fn min_bits(self, a: Self::I, b: Self::I) -> Self::I {
        // SAFETY: the token.
        unsafe { _mm256_min_epu32(a, b) }
    }
    #[inline(always)]
    fn max_bits(self, a: Self::I, b: Self::I) -> Self::I {
        // SAFETY: the token.
        unsafe { _mm256_max_epu32(a, b) }
    }
}

/// Whether the CPU has the unit for bf16, and the operating system lets this process use it. Linux wants to be asked,
/// and then makes the frames of signals larger, so this is not called before a precision asks for the unit.
pub(crate) fn usable() -> bool {
    #[cfg(all(target_os = "linux", not(miri)))]
    {
        use std::sync::OnceLock;
        static USABLE: OnceLock<bool> = OnceLock::new();
        *USABLE.get_or_init(|| in_cpu() && asked())
    }
    #[cfg(not(all(target_os = "linux", not(miri))))]
    false
}

/// Tile configuration and tile data, of what the operating system saves for a thread.
#[cfg(all(target_os = "linux", not(miri)))]
const STATE: [u64; 2] = [17, 18];

/// Whether the CPU has AMX-TILE and AMX-BF16, and the operating system keeps their state.
#[cfg(all(target_os = "linux", not(miri)))]
fn in_cpu() -> bool {
    #[target_feature(enable = "xsave")]
    fn kept() -> u64 {
        // SAFETY: OSXSAVE was found set.
        unsafe { _xgetbv(0) }
    }
    const OSXSAVE: u32 = 1 << 27;
    const BF16_TILE: u32 = 1 << 22 | 1 << 24;
    if cpuid(0, 0)[0] < 7 || cpuid(1, 0)[2] & OSXSAVE == 0 || cpuid(7, 0)[3] & BF16_TILE != BF16_TILE {
        return false;
    }
    // SAFETY: OSXSAVE says that the instruction can be used.
    let kept = unsafe { kept() };
    STATE.iter().all(|bit| kept >> bit & 1 == 1)
}

/// Asks Linux (5.16 and later) for the use of tile data, for the whole process.
#[cfg(all(target_os = "linux", not(miri)))]
fn asked() -> bool {
    const ARCH_PRCTL: usize = 158;
    const ARCH_REQ_XCOMP_PERM: usize = 0x1023;
    // SAFETY: this call touches no memory of the process.
    unsafe { call(ARCH_PRCTL, [ARCH_REQ_XCOMP_PERM, STATE[1] as usize, 0]) == 0 }
}

pub(crate) static ROW: Backend = avx512::row().with_unit(
    "amx",
    "AVX-512, and AMX-BF16 for precisions beside f32",
    || (avx512::ROW.supported)() && is_x86_feature_detected!("avx512bf16") && usable(),
    unit::<Avx512>(),
);
