//! AVX-512 (F, BW, DQ, VL): 16 floats or 8 doubles, masks for the edges, 32 registers.

use super::avx2::Avx2;
use crate::backend::{Backend, Kernel};
use crate::bf16::Bf16;
use crate::gemm::tile::{self, Float, Tiles};
use crate::math::math;
use crate::simd::{Isa, Simd, SimdF32};
use crate::wide::Wide;
use std::arch::x86_64::*;

/// Proof that the CPU has AVX-512 F, BW, DQ and VL, and FMA.
#[derive(Clone, Copy)]
pub(crate) struct Avx512(());

impl Avx512 {
    /// Whether the CPU and the operating system support the instructions.
    fn detect() -> bool {
        is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512vl")
            && is_x86_feature_detected!("fma")
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
#[inline]
pub(super) fn run<R>(f: impl FnOnce() -> R) -> R {
    f()
}

/// See [`Simd::in_order`].
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
#[inline]
fn in_order<T>(v: __m512, p: *const T) -> (__m512, *const T) {
    #[cfg(not(miri))]
    {
        let (mut v, mut p) = (v, p);
        // SAFETY: no instruction at all; the values stay in their registers.
        #[expect(clippy::pointers_in_nomem_asm_block, reason = "nothing is read through it here")]
        unsafe {
            std::arch::asm!("/* {0} {1} */", inout(zmm_reg) v, inout(reg) p, options(nomem, nostack, preserves_flags));
        }
        (v, p)
    }
    #[cfg(miri)]
    (v, p)
}

impl Isa for Avx512 {
    const NAME: &'static str = "avx512";

    #[inline(always)]
    unsafe fn assume() -> Self {
        Self(())
    }
    #[inline(always)]
    fn run<R>(self, f: impl FnOnce() -> R) -> R {
        // SAFETY: the token proves the features.
        unsafe { run(f) }
    }
}

impl Simd<f32> for Avx512 {
    type V = __m512;
    type Mask = __mmask16;
    const LANES: usize = 16;
    const EMBEDDED: bool = true;
    const APART: usize = <Self as Simd<f32>>::LANES / 4;

    #[inline(always)]
    fn splat(self, x: f32) -> __m512 {
        // SAFETY: the token.
        unsafe { _mm512_set1_ps(x) }
    }
    #[inline(always)]
    unsafe fn load(self, p: *const f32) -> __m512 {
        // SAFETY: the token; the caller's promise.
        unsafe { _mm512_loadu_ps(p) }
    }
    #[inline(always)]
    unsafe fn load_halves<const UPPER: bool>(self, p: *const f32, q: *const f32) -> __m512 {
        // SAFETY: the caller's promise.
        unsafe { _mm512_castpd_ps(<Self as Simd<f64>>::load_halves::<UPPER>(self, p.cast(), q.cast())) }
    }
    #[inline(always)]
    fn in_order(self, v: __m512, p: *const f32) -> (__m512, *const f32) {
        // SAFETY: the token.
        unsafe { in_order(v, p) }
    }
    #[inline(always)]
    unsafe fn store(self, p: *mut f32, v: __m512) {
        // SAFETY: the token; the caller's promise.
        unsafe { _mm512_storeu_ps(p, v) }
    }
    #[inline(always)]
    fn first(self, n: usize) -> __mmask16 {
        debug_assert!(n <= <Self as Simd<f32>>::LANES);
        ((1u32 << n) - 1) as __mmask16
    }
    #[inline(always)]
    unsafe fn load_masked(self, p: *const f32, mask: __mmask16) -> __m512 {
        // SAFETY: the token; the caller's promise.
        unsafe { _mm512_maskz_loadu_ps(mask, p) }
    }
    #[inline(always)]
    unsafe fn store_masked(self, p: *mut f32, mask: __mmask16, v: __m512) {
        // SAFETY: the token; the caller's promise.
        unsafe { _mm512_mask_storeu_ps(p, mask, v) }
    }
    #[inline(always)]
    fn add(self, a: __m512, b: __m512) -> __m512 {
        // SAFETY: the token.
        unsafe { _mm512_add_ps(a, b) }
    }
    #[inline(always)]
    fn sub(self, a: __m512, b: __m512) -> __m512 {
        // SAFETY: the token.
        unsafe { _mm512_sub_ps(a, b) }
    }
    #[inline(always)]
    fn mul(self, a: __m512, b: __m512) -> __m512 {
        // SAFETY: the token.
        unsafe { _mm512_mul_ps(a, b) }
    }
    #[inline(always)]
    fn div(self, a: __m512, b: __m512) -> __m512 {
        // SAFETY: the token.
        unsafe { _mm512_div_ps(a, b) }
    }
    #[inline(always)]
    fn sqrt(self, a: __m512) -> __m512 {
        // SAFETY: the token.
        unsafe { _mm512_sqrt_ps(a) }
    }
    #[inline(always)]
    fn fma(self, a: __m512, b: __m512, c: __m512) -> __m512 {
        // SAFETY: the token.
        unsafe { _mm512_fmadd_ps(a, b, c) }
    }
    #[inline(always)]
    fn max(self, a: __m512, b: __m512) -> __m512 {
        // SAFETY: the token.
        unsafe { _mm512_max_ps(a, b) }
    }
    #[inline(always)]
    fn min(self, a: __m512, b: __m512) -> __m512 {
        // SAFETY: the token.
        unsafe { _mm512_min_ps(a, b) }
    }
    #[inline(always)]
    fn lt(self, a: __m512, b: __m512) -> __mmask16 {
        // SAFETY: the token.
        unsafe { _mm512_cmp_ps_mask::<_CMP_LT_OQ>(a, b) }
    }
    #[inline(always)]
    fn trn<const D: usize>(self, a: __m512, b: __m512) -> (__m512, __m512) {
        // SAFETY: the token.
        unsafe {
            match D {
                1 => (_mm512_mask_moveldup_ps(a, 0xaaaa, b), _mm512_mask_movehdup_ps(b, 0x5555, a)),
                _ => {
                    let (a, b) = (_mm512_castps_pd(a), _mm512_castps_pd(b));
                    let (x, y) = match D {
                        2 => <Self as Simd<f64>>::trn::<1>(self, a, b),
                        4 => <Self as Simd<f64>>::trn::<2>(self, a, b),
                        _ => <Self as Simd<f64>>::trn::<4>(self, a, b),
                    };
                    (_mm512_castpd_ps(x), _mm512_castpd_ps(y))
                }
            }
        }
    }
    #[inline(always)]
    fn even_odd(self, a: __m512, b: __m512) -> (__m512, __m512) {
        // SAFETY: the token.
        unsafe { (_mm512_shuffle_f32x4::<0x88>(a, b), _mm512_shuffle_f32x4::<0xdd>(a, b)) }
    }
    #[inline(always)]
    fn select(self, mask: __mmask16, yes: __m512, no: __m512) -> __m512 {
        // SAFETY: the token.
        unsafe { _mm512_mask_blend_ps(mask, no, yes) }
    }
}

impl Simd<f64> for Avx512 {
    type V = __m512d;
    type Mask = __mmask8;
    const LANES: usize = 8;
    const EMBEDDED: bool = true;
    const APART: usize = <Self as Simd<f64>>::LANES / 4;

    #[inline(always)]
    fn splat(self, x: f64) -> __m512d {
        // SAFETY: the token.
        unsafe { _mm512_set1_pd(x) }
    }
    #[inline(always)]
    unsafe fn load(self, p: *const f64) -> __m512d {
        // SAFETY: the token; the caller's promise.
        unsafe { _mm512_loadu_pd(p) }
    }
    #[inline(always)]
    unsafe fn load_halves<const UPPER: bool>(self, p: *const f64, q: *const f64) -> __m512d {
        let first = if UPPER { 4 } else { 0 };
        // SAFETY: the token; the caller's promise.
        unsafe {
            let (p, q) = (p.add(first), q.add(first));
            _mm512_insertf64x4::<1>(_mm512_castpd256_pd512(_mm256_loadu_pd(p)), _mm256_loadu_pd(q))
        }
    }
    #[inline(always)]
    fn in_order(self, v: __m512d, p: *const f64) -> (__m512d, *const f64) {
        // SAFETY: the token.
        let (v, p) = unsafe { in_order(_mm512_castpd_ps(v), p) };
        // SAFETY: the token.
        (unsafe { _mm512_castps_pd(v) }, p)
    }
    #[inline(always)]
    unsafe fn store(self, p: *mut f64, v: __m512d) {
        // SAFETY: the token; the caller's promise.
        unsafe { _mm512_storeu_pd(p, v) }
    }
    #[inline(always)]
    fn first(self, n: usize) -> __mmask8 {
        debug_assert!(n <= <Self as Simd<f64>>::LANES);
        ((1u32 << n) - 1) as __mmask8
    }
    #[inline(always)]
    unsafe fn load_masked(self, p: *const f64, mask: __mmask8) -> __m512d {
        // SAFETY: the token; the caller's promise.
        unsafe { _mm512_maskz_loadu_pd(mask, p) }
    }
    #[inline(always)]
    unsafe fn store_masked(self, p: *mut f64, mask: __mmask8, v: __m512d) {
        // SAFETY: the token; the caller's promise.
        unsafe { _mm512_mask_storeu_pd(p, mask, v) }
    }
    #[inline(always)]
    fn add(self, a: __m512d, b: __m512d) -> __m512d {
        // SAFETY: the token.
        unsafe { _mm512_add_pd(a, b) }
    }
    #[inline(always)]
    fn sub(self, a: __m512d, b: __m512d) -> __m512d {
        // SAFETY: the token.
        unsafe { _mm512_sub_pd(a, b) }
    }
    #[inline(always)]
    fn mul(self, a: __m512d, b: __m512d) -> __m512d {
        // SAFETY: the token.
        unsafe { _mm512_mul_pd(a, b) }
    }
    #[inline(always)]
    fn div(self, a: __m512d, b: __m512d) -> __m512d {
        // SAFETY: the token.
        unsafe { _mm512_div_pd(a, b) }
    }
    #[inline(always)]
    fn sqrt(self, a: __m512d) -> __m512d {
        // SAFETY: the token.
        unsafe { _mm512_sqrt_pd(a) }
    }
    #[inline(always)]
    fn fma(self, a: __m512d, b: __m512d, c: __m512d) -> __m512d {
        // SAFETY: the token.
        unsafe { _mm512_fmadd_pd(a, b, c) }
    }
    #[inline(always)]
    fn max(self, a: __m512d, b: __m512d) -> __m512d {
        // SAFETY: the token.
        unsafe { _mm512_max_pd(a, b) }
    }
    #[inline(always)]
    fn min(self, a: __m512d, b: __m512d) -> __m512d {
        // SAFETY: the token.
        unsafe { _mm512_min_pd(a, b) }
    }
    #[inline(always)]
    fn lt(self, a: __m512d, b: __m512d) -> __mmask8 {
        // SAFETY: the token.
        unsafe { _mm512_cmp_pd_mask::<_CMP_LT_OQ>(a, b) }
    }
    #[inline(always)]
    fn trn<const D: usize>(self, a: __m512d, b: __m512d) -> (__m512d, __m512d) {
        // SAFETY: the token.
        unsafe {
            match D {
                1 => (_mm512_unpacklo_pd(a, b), _mm512_unpackhi_pd(a, b)),
                2 => (
                    _mm512_permutex2var_pd(a, _mm512_setr_epi64(0, 1, 8, 9, 4, 5, 12, 13), b),
                    _mm512_permutex2var_pd(a, _mm512_setr_epi64(2, 3, 10, 11, 6, 7, 14, 15), b),
                ),
                _ => (_mm512_shuffle_f64x2::<0x44>(a, b), _mm512_shuffle_f64x2::<0xee>(a, b)),
            }
        }
    }
    #[inline(always)]
    fn even_odd(self, a: __m512d, b: __m512d) -> (__m512d, __m512d) {
        // SAFETY: the token.
        unsafe { (_mm512_shuffle_f64x2::<0x88>(a, b), _mm512_shuffle_f64x2::<0xdd>(a, b)) }
    }
    #[inline(always)]
    fn select(self, mask: __mmask8, yes: __m512d, no: __m512d) -> __m512d {
        // SAFETY: the token.
        unsafe { _mm512_mask_blend_pd(mask, no, yes) }
    }
}

impl SimdF32 for Avx512 {
    type I = __m512i;
    type Wide = Wide<Self, 2>;

    #[inline(always)]
    fn splat_i32(self, x: i32) -> __m512i {
        // SAFETY: the token.
        unsafe { _mm512_set1_epi32(x) }
    }
    #[inline(always)]
    fn to_bits(self, v: __m512) -> __m512i {
        // SAFETY: the token.
        unsafe { _mm512_castps_si512(v) }
    }
    #[inline(always)]
    fn with_bits(self, v: __m512i) -> __m512 {
        // SAFETY: the token.
        unsafe { _mm512_castsi512_ps(v) }
    }
    #[inline(always)]
    fn sub_i32(self, a: __m512i, b: __m512i) -> __m512i {
        // SAFETY: the token.
        unsafe { _mm512_sub_epi32(a, b) }
    }
    #[inline(always)]
    fn shl<const N: i32>(self, a: __m512i) -> __m512i {
        // SAFETY: the token.
        unsafe { _mm512_sll_epi32(a, _mm_cvtsi32_si128(N)) }
    }
    #[inline(always)]
    fn sar<const N: i32>(self, a: __m512i) -> __m512i {
        // SAFETY: the token.
        unsafe { _mm512_sra_epi32(a, _mm_cvtsi32_si128(N)) }
    }
    #[inline(always)]
    fn and_i32(self, a: __m512i, b: __m512i) -> __m512i {
        // SAFETY: the token.
        unsafe { _mm512_and_si512(a, b) }
    }
    #[inline(always)]
    fn or_i32(self, a: __m512i, b: __m512i) -> __m512i {
        // SAFETY: the token.
        unsafe { _mm512_or_si512(a, b) }
    }
    /// One instruction that rounds once as well.
    #[inline(always)]
    fn scale(self, v: __m512, n: __m512) -> __m512 {
        // SAFETY: the token.
        unsafe { _mm512_scalef_ps(v, n) }
    }
    /// Three instructions, exact as well; they normalise subnormals by themselves.
    #[inline(always)]
    fn split(self, x: __m512) -> (__m512, __m512) {
        // SAFETY: the token.
        unsafe {
            let m = _mm512_getmant_ps::<_MM_MANT_NORM_P75_1P5, _MM_MANT_SIGN_SRC>(x);
            (m, _mm512_sub_ps(_mm512_getexp_ps(x), _mm512_getexp_ps(m)))
        }
    }
    #[inline(always)]
    fn convert_i32(self, a: __m512i) -> __m512 {
        // SAFETY: the token.
        unsafe { _mm512_cvtepi32_ps(a) }
    }
    #[inline(always)]
    unsafe fn load_bytes(self, p: *const u8) -> __m512 {
        // SAFETY: the token; the caller's promise.
        unsafe { _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_loadu_si128(p.cast()))) }
    }
    #[inline(always)]
    unsafe fn load_bf16(self, p: *const Bf16) -> __m512 {
        // SAFETY: the token; the caller's promise.
        self.with_bits(self.shl::<16>(unsafe { _mm512_cvtepu16_epi32(_mm256_loadu_si256(p.cast())) }))
    }
}

/// Half of a vector.
type Half = Avx2<true>;

/// The micro-kernels by height, from 1.
const fn tiles<T: Float>() -> [Tiles<T>; 16]
where
    Avx512: Simd<T>,
    Half: Simd<T>,
{
    [
        tile::tiles8::<Avx512, T, 1>(),
        tile::tiles8::<Avx512, T, 2>(),
        tile::tiles4::<Avx512, T, 3>(),
        tile::tiles4::<Avx512, T, 4>().with_half::<Half, 4>(),
        tile::tiles4::<Avx512, T, 5>().with_half::<Half, 5>(),
        tile::tiles4::<Avx512, T, 6>().with_half::<Half, 6>(),
        tile::tiles2::<Avx512, T, 7>().with_half::<Half, 7>(),
        tile::tiles2::<Avx512, T, 8>().with_half::<Half, 8>(),
        tile::tiles2::<Avx512, T, 9>().with_half::<Half, 9>(),
        tile::tiles2::<Avx512, T, 10>().with_half::<Half, 10>(),
        tile::tiles2::<Avx512, T, 11>().with_half::<Half, 11>(),
        tile::tiles2::<Avx512, T, 12>().with_half::<Half, 12>(),
        tile::tiles1::<Avx512, T, 13>(),
        tile::tiles1::<Avx512, T, 14>(),
        tile::tiles1::<Avx512, T, 15>(),
        tile::tiles1::<Avx512, T, 16>(),
    ]
}

const F32: &[Tiles<f32>] = &tiles();
const F64: &[Tiles<f64>] = &tiles();

pub(crate) static ROW: Backend = row();

/// The row of these vectors.
pub(crate) const fn row() -> Backend {
    Backend {
        name: Avx512::NAME,
        about: "AVX-512 F, BW, DQ, VL",
        supported: Avx512::detect,
        bits_match: true,
        f32: Kernel::new::<Avx512>(F32),
        f64: Kernel::new::<Avx512>(F64),
        math: math::<Avx512, 12>(),
    }
}
