//! AVX2 with FMA: 8 floats or 4 doubles, masked loads for the edges, 16 registers.

use super::avx512;
use crate::backend::{Backend, Kernel};
use crate::bf16::Bf16;
use crate::gemm::tile::{self, Tiles};
use crate::math::math;
use crate::simd::{Aligned, Isa, Simd, SimdF32};
use crate::wide::Wide;
use std::arch::x86_64::*;

/// Proof that the CPU has AVX2 and FMA; and if it is `EVEX`, the AVX-512 of that row, in whose encoding the same vectors
/// have 32 registers and masks of a bit a lane.
#[derive(Clone, Copy)]
pub(crate) struct Avx2<const EVEX: bool = false>(());

impl Avx2 {
    /// Whether the CPU and the operating system support the instructions.
    fn detect() -> bool {
        is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma")
    }
}

#[target_feature(enable = "avx2,fma")]
#[inline]
fn run<R>(f: impl FnOnce() -> R) -> R {
    f()
}

impl<const EVEX: bool> Isa for Avx2<EVEX> {
    const NAME: &'static str = "avx2";

    #[inline(always)]
    unsafe fn assume() -> Self {
        Self(())
    }
    #[inline(always)]
    fn run<R>(self, f: impl FnOnce() -> R) -> R {
        if EVEX {
            // SAFETY: the token proves the features.
            unsafe { avx512::run(f) }
        } else {
            // SAFETY: as above.
            unsafe { run(f) }
        }
    }
}

/// Writes the first lanes of `v`, as many as the mask selects; it selects no later ones.
///
/// AVX2's own masked store takes a dozen cycles on AMD's CPUs up to Zen 4, branches that are always the same next to
/// none.
///
/// # Safety
/// AVX2 is there; the lanes in the mask are writable.
#[inline(always)]
unsafe fn store_first_f32(p: *mut f32, mask: __m256i, v: __m256) {
    // SAFETY: the caller's promise: each store writes lanes that the mask selects.
    unsafe {
        let set = _mm256_movemask_ps(_mm256_castsi256_ps(mask));
        if set == 0xff {
            return _mm256_storeu_ps(p, v);
        }
        let (mut p, mut part, mut set) = (p, _mm256_castps256_ps128(v), set);
        if set & 8 != 0 {
            _mm_storeu_ps(p, part);
            (p, part, set) = (p.add(4), _mm256_extractf128_ps::<1>(v), set >> 4);
        }
        if set & 2 != 0 {
            _mm_storel_pd(p.cast(), _mm_castps_pd(part));
            (p, part, set) = (p.add(2), _mm_movehl_ps(part, part), set >> 2);
        }
        if set & 1 != 0 {
            _mm_store_ss(p, part);
        }
    }
}

/// The same for doubles.
///
/// # Safety
/// As [`store_first_f32`].
#[inline(always)]
unsafe fn store_first_f64(p: *mut f64, mask: __m256i, v: __m256d) {
    // SAFETY: the caller's promise: each store writes lanes that the mask selects.
    unsafe {
        let set = _mm256_movemask_pd(_mm256_castsi256_pd(mask));
        if set == 0xf {
            return _mm256_storeu_pd(p, v);
        }
        let (mut p, mut part, mut set) = (p, _mm256_castpd256_pd128(v), set);
        if set & 2 != 0 {
            _mm_storeu_pd(p, part);
            (p, part, set) = (p.add(2), _mm256_extractf128_pd::<1>(v), set >> 2);
        }
        if set & 1 != 0 {
            _mm_store_sd(p, part);
        }
    }
}

/// See [`Simd::in_order`].
#[target_feature(enable = "avx2,fma")]
#[inline]
fn in_order<T>(v: __m256, p: *const T) -> (__m256, *const T) {
    #[cfg(not(miri))]
    {
        let (mut v, mut p) = (v, p);
        // SAFETY: no instruction at all; the values stay in their registers.
        #[expect(clippy::pointers_in_nomem_asm_block, reason = "nothing is read through it here")]
        unsafe {
            std::arch::asm!("/* {0} {1} */", inout(ymm_reg) v, inout(reg) p, options(nomem, nostack, preserves_flags));
        }
        (v, p)
    }
    #[cfg(miri)]
    (v, p)
}

/// The 4 elements at `p`, in both halves. The compiler is not to see that they are the same: it would make an insertion
/// of a blend with them, which takes the units that turn squares.
///
/// # Safety
/// They are readable.
#[target_feature(enable = "avx2,fma")]
#[inline]
unsafe fn twice(p: *const f32) -> __m256 {
    // SAFETY: the caller's promise.
    let half = unsafe { _mm_loadu_ps(p) };
    let v = _mm256_set_m128(half, half);
    #[cfg(not(miri))]
    {
        let mut v = v;
        // SAFETY: no instruction at all; the value stays in its register.
        unsafe { std::arch::asm!("/* {0} */", inout(ymm_reg) v, options(pure, nomem, nostack, preserves_flags)) };
        v
    }
    #[cfg(miri)]
    v
}

/// A window of 8 entries that starts at `8 - n` selects the first `n` lanes.
static WINDOW_F32: Aligned<[i32; 16]> = Aligned([-1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0]);
/// The same for 4 doubles.
static WINDOW_F64: Aligned<[i64; 8]> = Aligned([-1, -1, -1, -1, 0, 0, 0, 0]);

impl<const EVEX: bool> Simd<f32> for Avx2<EVEX> {
    type V = __m256;
    type Mask = __m256i;
    const LANES: usize = 8;
    const REGISTERS: usize = if EVEX { 32 } else { 16 };

    #[inline(always)]
    fn splat(self, x: f32) -> __m256 {
        // SAFETY: the token.
        unsafe { _mm256_set1_ps(x) }
    }
    #[inline(always)]
    unsafe fn load(self, p: *const f32) -> __m256 {
        // SAFETY: the token; the caller's promise.
        unsafe { _mm256_loadu_ps(p) }
    }
    #[inline(always)]
    unsafe fn load_halves<const UPPER: bool>(self, p: *const f32, q: *const f32) -> __m256 {
        // SAFETY: the token; the caller's promise.
        unsafe {
            if UPPER {
                _mm256_blend_ps::<0xf0>(twice(p.add(4)), _mm256_loadu_ps(q))
            } else {
                _mm256_blend_ps::<0xf0>(_mm256_loadu_ps(p), twice(q))
            }
        }
    }
    #[inline(always)]
    fn in_order(self, v: __m256, p: *const f32) -> (__m256, *const f32) {
        // SAFETY: the token.
        unsafe { in_order(v, p) }
    }
    #[inline(always)]
    unsafe fn store(self, p: *mut f32, v: __m256) {
        // SAFETY: the token; the caller's promise.
        unsafe { _mm256_storeu_ps(p, v) }
    }
    #[inline(always)]
    fn first(self, n: usize) -> __m256i {
        debug_assert!(n <= 8);
        // SAFETY: the token; the window starts 8 - n <= 8 into 2 * 8 entries.
        unsafe { _mm256_loadu_si256(WINDOW_F32.0.as_ptr().add(8 - n).cast()) }
    }
    #[inline(always)]
    unsafe fn load_masked(self, p: *const f32, mask: __m256i) -> __m256 {
        // SAFETY: the token; the caller's promise.
        unsafe { if EVEX { _mm256_maskz_loadu_ps(_mm256_movepi32_mask(mask), p) } else { _mm256_maskload_ps(p, mask) } }
    }
    #[inline(always)]
    unsafe fn load_repeated(self, p: *const f32, n: usize) -> __m256 {
        // SAFETY: the token; the caller's promise.
        unsafe {
            match n {
                1 => _mm256_set1_ps(*p),
                2 => _mm256_castpd_ps(_mm256_set1_pd(p.cast::<f64>().read_unaligned())),
                _ => twice(p),
            }
        }
    }
    #[inline(always)]
    unsafe fn store_masked(self, p: *mut f32, mask: __m256i, v: __m256) {
        // SAFETY: the token; the caller's promise.
        unsafe {
            if EVEX {
                _mm256_mask_storeu_ps(p, _mm256_movepi32_mask(mask), v);
            } else {
                store_first_f32(p, mask, v);
            }
        }
    }
    #[inline(always)]
    fn add(self, a: __m256, b: __m256) -> __m256 {
        // SAFETY: the token.
        unsafe { _mm256_add_ps(a, b) }
    }
    #[inline(always)]
    fn sub(self, a: __m256, b: __m256) -> __m256 {
        // SAFETY: the token.
        unsafe { _mm256_sub_ps(a, b) }
    }
    #[inline(always)]
    fn mul(self, a: __m256, b: __m256) -> __m256 {
        // SAFETY: the token.
        unsafe { _mm256_mul_ps(a, b) }
    }
    #[inline(always)]
    fn div(self, a: __m256, b: __m256) -> __m256 {
        // SAFETY: the token.
        unsafe { _mm256_div_ps(a, b) }
    }
    #[inline(always)]
    fn sqrt(self, a: __m256) -> __m256 {
        // SAFETY: the token.
        unsafe { _mm256_sqrt_ps(a) }
    }
    #[inline(always)]
    fn fma(self, a: __m256, b: __m256, c: __m256) -> __m256 {
        // SAFETY: the token.
        unsafe { _mm256_fmadd_ps(a, b, c) }
    }
    #[inline(always)]
    fn max(self, a: __m256, b: __m256) -> __m256 {
        // SAFETY: the token.
        unsafe { _mm256_max_ps(a, b) }
    }
    #[inline(always)]
    fn min(self, a: __m256, b: __m256) -> __m256 {
        // SAFETY: the token.
        unsafe { _mm256_min_ps(a, b) }
    }
    #[inline(always)]
    fn lt(self, a: __m256, b: __m256) -> __m256i {
        // SAFETY: the token.
        unsafe { _mm256_castps_si256(_mm256_cmp_ps::<_CMP_LT_OQ>(a, b)) }
    }
    #[inline(always)]
    fn trn<const D: usize>(self, a: __m256, b: __m256) -> (__m256, __m256) {
        // SAFETY: the token.
        unsafe {
            match D {
                1 => (
                    _mm256_blend_ps::<0xaa>(a, _mm256_moveldup_ps(b)),
                    _mm256_blend_ps::<0xaa>(_mm256_movehdup_ps(a), b),
                ),
                2 => {
                    let (a, b) = (_mm256_castps_pd(a), _mm256_castps_pd(b));
                    (_mm256_castpd_ps(_mm256_unpacklo_pd(a, b)), _mm256_castpd_ps(_mm256_unpackhi_pd(a, b)))
                }
                _ => (_mm256_permute2f128_ps::<0x20>(a, b), _mm256_permute2f128_ps::<0x31>(a, b)),
            }
        }
    }
    #[inline(always)]
    fn select(self, mask: __m256i, yes: __m256, no: __m256) -> __m256 {
        // SAFETY: the token.
        unsafe { _mm256_blendv_ps(no, yes, _mm256_castsi256_ps(mask)) }
    }
}

impl<const EVEX: bool> Simd<f64> for Avx2<EVEX> {
    type V = __m256d;
    type Mask = __m256i;
    const LANES: usize = 4;
    const REGISTERS: usize = if EVEX { 32 } else { 16 };

    #[inline(always)]
    fn splat(self, x: f64) -> __m256d {
        // SAFETY: the token.
        unsafe { _mm256_set1_pd(x) }
    }
    #[inline(always)]
    unsafe fn load(self, p: *const f64) -> __m256d {
        // SAFETY: the token; the caller's promise.
        unsafe { _mm256_loadu_pd(p) }
    }
    #[inline(always)]
    unsafe fn load_halves<const UPPER: bool>(self, p: *const f64, q: *const f64) -> __m256d {
        // SAFETY: the token; the caller's promise.
        unsafe { _mm256_castps_pd(<Self as Simd<f32>>::load_halves::<UPPER>(self, p.cast(), q.cast())) }
    }
    #[inline(always)]
    fn in_order(self, v: __m256d, p: *const f64) -> (__m256d, *const f64) {
        // SAFETY: the token.
        let (v, p) = unsafe { in_order(_mm256_castpd_ps(v), p) };
        // SAFETY: the token.
        (unsafe { _mm256_castps_pd(v) }, p)
    }
    #[inline(always)]
    unsafe fn store(self, p: *mut f64, v: __m256d) {
        // SAFETY: the token; the caller's promise.
        unsafe { _mm256_storeu_pd(p, v) }
    }
    #[inline(always)]
    fn first(self, n: usize) -> __m256i {
        debug_assert!(n <= 4);
        // SAFETY: the token; the window starts 4 - n <= 4 into 2 * 4 entries.
        unsafe { _mm256_loadu_si256(WINDOW_F64.0.as_ptr().add(4 - n).cast()) }
    }
    #[inline(always)]
    unsafe fn load_masked(self, p: *const f64, mask: __m256i) -> __m256d {
        // SAFETY: the token; the caller's promise.
        unsafe { if EVEX { _mm256_maskz_loadu_pd(_mm256_movepi64_mask(mask), p) } else { _mm256_maskload_pd(p, mask) } }
    }
    #[inline(always)]
    unsafe fn load_repeated(self, p: *const f64, n: usize) -> __m256d {
        // SAFETY: the token; the caller's promise.
        unsafe { _mm256_castps_pd(<Self as Simd<f32>>::load_repeated(self, p.cast(), 2 * n)) }
    }
    #[inline(always)]
    unsafe fn store_masked(self, p: *mut f64, mask: __m256i, v: __m256d) {
        // SAFETY: the token; the caller's promise.
        unsafe {
            if EVEX {
                _mm256_mask_storeu_pd(p, _mm256_movepi64_mask(mask), v);
            } else {
                store_first_f64(p, mask, v);
            }
        }
    }
    #[inline(always)]
    fn add(self, a: __m256d, b: __m256d) -> __m256d {
        // SAFETY: the token.
        unsafe { _mm256_add_pd(a, b) }
    }
    #[inline(always)]
    fn sub(self, a: __m256d, b: __m256d) -> __m256d {
        // SAFETY: the token.
        unsafe { _mm256_sub_pd(a, b) }
    }
    #[inline(always)]
    fn mul(self, a: __m256d, b: __m256d) -> __m256d {
        // SAFETY: the token.
        unsafe { _mm256_mul_pd(a, b) }
    }
    #[inline(always)]
    fn div(self, a: __m256d, b: __m256d) -> __m256d {
        // SAFETY: the token.
        unsafe { _mm256_div_pd(a, b) }
    }
    #[inline(always)]
    fn sqrt(self, a: __m256d) -> __m256d {
        // SAFETY: the token.
        unsafe { _mm256_sqrt_pd(a) }
    }
    #[inline(always)]
    fn fma(self, a: __m256d, b: __m256d, c: __m256d) -> __m256d {
        // SAFETY: the token.
        unsafe { _mm256_fmadd_pd(a, b, c) }
    }
    #[inline(always)]
    fn max(self, a: __m256d, b: __m256d) -> __m256d {
        // SAFETY: the token.
        unsafe { _mm256_max_pd(a, b) }
    }
    #[inline(always)]
    fn min(self, a: __m256d, b: __m256d) -> __m256d {
        // SAFETY: the token.
        unsafe { _mm256_min_pd(a, b) }
    }
    #[inline(always)]
    fn lt(self, a: __m256d, b: __m256d) -> __m256i {
        // SAFETY: the token.
        unsafe { _mm256_castpd_si256(_mm256_cmp_pd::<_CMP_LT_OQ>(a, b)) }
    }
    #[inline(always)]
    fn trn<const D: usize>(self, a: __m256d, b: __m256d) -> (__m256d, __m256d) {
        // SAFETY: the token.
        unsafe {
            match D {
                1 => (_mm256_unpacklo_pd(a, b), _mm256_unpackhi_pd(a, b)),
                _ => (_mm256_permute2f128_pd::<0x20>(a, b), _mm256_permute2f128_pd::<0x31>(a, b)),
            }
        }
    }
    #[inline(always)]
    fn select(self, mask: __m256i, yes: __m256d, no: __m256d) -> __m256d {
        // SAFETY: the token.
        unsafe { _mm256_blendv_pd(no, yes, _mm256_castsi256_pd(mask)) }
    }
}

impl SimdF32 for Avx2 {
    type I = __m256i;
    type Wide = Wide<Self, 4>;

    #[inline(always)]
    fn clear(self, mask: __m256i, v: __m256) -> __m256 {
        // Of a blend with 0 the compiler makes two instructions.
        // SAFETY: the token.
        unsafe { _mm256_andnot_ps(_mm256_castsi256_ps(mask), v) }
    }
    #[inline(always)]
    fn splat_i32(self, x: i32) -> __m256i {
        // SAFETY: the token.
        unsafe { _mm256_set1_epi32(x) }
    }
    #[inline(always)]
    fn to_bits(self, v: __m256) -> __m256i {
        // SAFETY: the token.
        unsafe { _mm256_castps_si256(v) }
    }
    #[inline(always)]
    fn with_bits(self, v: __m256i) -> __m256 {
        // SAFETY: the token.
        unsafe { _mm256_castsi256_ps(v) }
    }
    #[inline(always)]
    fn sub_i32(self, a: __m256i, b: __m256i) -> __m256i {
        // SAFETY: the token.
        unsafe { _mm256_sub_epi32(a, b) }
    }
    #[inline(always)]
    fn shl<const N: i32>(self, a: __m256i) -> __m256i {
        // SAFETY: the token.
        unsafe { _mm256_slli_epi32::<N>(a) }
    }
    #[inline(always)]
    fn sar<const N: i32>(self, a: __m256i) -> __m256i {
        // SAFETY: the token.
        unsafe { _mm256_srai_epi32::<N>(a) }
    }
    #[inline(always)]
    fn and_i32(self, a: __m256i, b: __m256i) -> __m256i {
        // SAFETY: the token.
        unsafe { _mm256_and_si256(a, b) }
    }
    #[inline(always)]
    fn or_i32(self, a: __m256i, b: __m256i) -> __m256i {
        // SAFETY: the token.
        unsafe { _mm256_or_si256(a, b) }
    }
    #[inline(always)]
    fn convert_i32(self, a: __m256i) -> __m256 {
        // SAFETY: the token.
        unsafe { _mm256_cvtepi32_ps(a) }
    }
    #[inline(always)]
    unsafe fn load_bytes(self, p: *const u8) -> __m256 {
        // SAFETY: the token; the caller's promise.
        unsafe { _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_loadl_epi64(p.cast()))) }
    }
    #[inline(always)]
    unsafe fn load_bf16(self, p: *const Bf16) -> __m256 {
        // SAFETY: the token; the caller's promise.
        self.with_bits(self.shl::<16>(unsafe { _mm256_cvtepu16_epi32(_mm_loadu_si128(p.cast())) }))
    }
}

const F32: &[Tiles<f32>] = &[
    tile::tiles8::<Avx2, f32, 1>(),
    tile::tiles4::<Avx2, f32, 2>(),
    tile::tiles3::<Avx2, f32, 3>(),
    tile::tiles3::<Avx2, f32, 4>(),
    tile::tiles2_shared::<Avx2, f32, 5>(),
    tile::tiles2_shared::<Avx2, f32, 6>(),
    tile::tiles1::<Avx2, f32, 7>(),
    tile::tiles1::<Avx2, f32, 8>(),
    tile::tiles1::<Avx2, f32, 9>(),
    tile::tiles1::<Avx2, f32, 10>(),
    tile::tiles1::<Avx2, f32, 11>(),
    tile::tiles1::<Avx2, f32, 12>(),
];

const F64: &[Tiles<f64>] = &[
    tile::tiles8::<Avx2, f64, 1>(),
    tile::tiles4::<Avx2, f64, 2>(),
    tile::tiles3::<Avx2, f64, 3>(),
    tile::tiles3_shared::<Avx2, f64, 4>(),
    tile::tiles2::<Avx2, f64, 5>(),
    tile::tiles2::<Avx2, f64, 6>(),
    tile::tiles1::<Avx2, f64, 7>(),
    tile::tiles1::<Avx2, f64, 8>(),
    tile::tiles1::<Avx2, f64, 9>(),
    tile::tiles1::<Avx2, f64, 10>(),
    tile::tiles1::<Avx2, f64, 11>(),
    tile::tiles1::<Avx2, f64, 12>(),
];

pub(crate) static ROW: Backend = row();

/// The row of these vectors.
pub(crate) const fn row() -> Backend {
    Backend {
        name: <Avx2>::NAME,
        about: "AVX2 and FMA",
        supported: <Avx2>::detect,
        bits_match: true,
        f32: Kernel::new::<Avx2>(F32),
        f64: Kernel::new::<Avx2>(F64),
        math: math::<Avx2, 12>(),
    }
}
