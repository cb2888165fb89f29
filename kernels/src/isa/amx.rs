//! AMX: AVX-512 with a unit that multiplies tiles of bf16 numbers. In f32 its row is that of AVX-512; the unit serves
//! the other precisions of products.

use super::avx2::Avx2;
use super::avx512::{self, Avx512};
use crate::backend::Backend;
#[cfg(all(target_os = "linux", not(miri)))]
use crate::cpu::cpuid;
use crate::gemm::amx::split::Pairs;
use crate::gemm::amx::unit;
#[cfg(all(target_os = "linux", not(miri)))]
use crate::linux::call;
use crate::simd::SimdF32;
use std::arch::x86_64::*;

impl Pairs for Avx512 {
    #[inline(always)]
    fn halves(self, low: Self::V, high: Self::V) -> Self::V {
        // SAFETY: the token.
        unsafe {
            // Word 2i + 1 of both, one after the other: pairs of indices in ascending order, the first in the low half.
            let mut odd = [0i16; 32];
            let mut i = 0;
            while i < 32 {
                odd[i] = 2 * i as i16 + 1;
                i += 1;
            }
            let odd = _mm512_loadu_si512(odd.as_ptr().cast());
            self.with_bits(_mm512_permutex2var_epi16(self.to_bits(low), odd, self.to_bits(high)))
        }
    }
}

impl Pairs for Avx2 {
    #[inline(always)]
    fn halves(self, low: Self::V, high: Self::V) -> Self::V {
        // SAFETY: the token.
        unsafe {
            let down = |v: Self::V| _mm256_srl_epi32(self.to_bits(v), _mm_cvtsi32_si128(16));
            // Packs halves of each vector in turn.
            let mixed = _mm256_packus_epi32(down(low), down(high));
            self.with_bits(_mm256_permute4x64_epi64::<0b11_01_10_00>(mixed))
        }
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
    || (avx512::ROW.supported)() && usable(),
    unit::<Avx512>(),
);
