//! NEON: 4 floats or 2 doubles, 32 registers; FMA is part of the base instruction set of aarch64.

use crate::backend::{Backend, Kernel};
use crate::bf16::Bf16;
use crate::gemm::tile::{self, Float, Tiles};
use crate::math::math;
use crate::simd::{Isa, Simd, SimdF32};
use crate::wide::Wide;
use std::arch::aarch64::*;

/// Proof that the CPU has NEON.
#[derive(Clone, Copy)]
pub(crate) struct Neon(());

impl Neon {
    /// Whether the CPU and the operating system support the instructions.
    fn detect() -> bool {
        std::arch::is_aarch64_feature_detected!("neon")
    }
}

#[target_feature(enable = "neon")]
#[inline]
fn run<R>(f: impl FnOnce() -> R) -> R {
    f()
}

impl Isa for Neon {
    const NAME: &'static str = "neon";

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

/// A window of 4 entries that starts at `4 - n` selects the first `n` lanes.
static WINDOW_F32: [u32; 8] = [!0, !0, !0, !0, 0, 0, 0, 0];
/// The same for 2 doubles.
static WINDOW_F64: [u64; 4] = [!0, !0, 0, 0];

/// Lanes in a mask of the first lanes.
#[inline(always)]
fn count_f32(mask: uint32x4_t) -> usize {
    // SAFETY: a mask exists only where a token does.
    unsafe { vaddvq_u32(vshrq_n_u32::<31>(mask)) as usize }
}

/// Lanes in a mask of the first lanes.
#[inline(always)]
fn count_f64(mask: uint64x2_t) -> usize {
    // SAFETY: a mask exists only where a token does.
    unsafe { vaddvq_u64(vshrq_n_u64::<63>(mask)) as usize }
}

impl Simd<f32> for Neon {
    type V = float32x4_t;
    type Mask = uint32x4_t;
    const LANES: usize = 4;
    const LANE_FMA: bool = true;

    #[inline(always)]
    fn splat(self, x: f32) -> float32x4_t {
        // SAFETY: the token.
        unsafe { vdupq_n_f32(x) }
    }
    #[inline(always)]
    unsafe fn load(self, p: *const f32) -> float32x4_t {
        // SAFETY: the token; the caller's promise.
        unsafe { vld1q_f32(p) }
    }
    #[inline(always)]
    unsafe fn load_halves<const UPPER: bool>(self, p: *const f32, q: *const f32) -> float32x4_t {
        let first = if UPPER { 2 } else { 0 };
        // SAFETY: the token; the caller's promise.
        unsafe { vcombine_f32(vld1_f32(p.add(first)), vld1_f32(q.add(first))) }
    }
    #[inline(always)]
    unsafe fn store(self, p: *mut f32, v: float32x4_t) {
        // SAFETY: the token; the caller's promise.
        unsafe { vst1q_f32(p, v) }
    }
    #[inline(always)]
    fn first(self, n: usize) -> uint32x4_t {
        debug_assert!(n <= 4);
        // SAFETY: the token; the window starts 4 - n <= 4 into 2 * 4 entries.
        unsafe { vld1q_u32(WINDOW_F32.as_ptr().add(4 - n)) }
    }
    #[inline(always)]
    unsafe fn load_masked(self, p: *const f32, mask: uint32x4_t) -> float32x4_t {
        let mut lanes = [0.0; 4];
        // SAFETY: the token; no more lanes are read than the mask has, by the caller's promise.
        unsafe {
            std::ptr::copy_nonoverlapping(p, lanes.as_mut_ptr(), count_f32(mask));
            vld1q_f32(lanes.as_ptr())
        }
    }
    #[inline(always)]
    unsafe fn store_masked(self, p: *mut f32, mask: uint32x4_t, v: float32x4_t) {
        let mut lanes = [0.0; 4];
        // SAFETY: the token; no more lanes are written than the mask has, by the caller's promise.
        unsafe {
            vst1q_f32(lanes.as_mut_ptr(), v);
            std::ptr::copy_nonoverlapping(lanes.as_ptr(), p, count_f32(mask));
        }
    }
    #[inline(always)]
    fn add(self, a: float32x4_t, b: float32x4_t) -> float32x4_t {
        // SAFETY: the token.
        unsafe { vaddq_f32(a, b) }
    }
    #[inline(always)]
    fn sub(self, a: float32x4_t, b: float32x4_t) -> float32x4_t {
        // SAFETY: the token.
        unsafe { vsubq_f32(a, b) }
    }
    #[inline(always)]
    fn mul(self, a: float32x4_t, b: float32x4_t) -> float32x4_t {
        // SAFETY: the token.
        unsafe { vmulq_f32(a, b) }
    }
    #[inline(always)]
    fn div(self, a: float32x4_t, b: float32x4_t) -> float32x4_t {
        // SAFETY: the token.
        unsafe { vdivq_f32(a, b) }
    }
    #[inline(always)]
    fn sqrt(self, a: float32x4_t) -> float32x4_t {
        // SAFETY: the token.
        unsafe { vsqrtq_f32(a) }
    }
    #[inline(always)]
    fn fma(self, a: float32x4_t, b: float32x4_t, c: float32x4_t) -> float32x4_t {
        // SAFETY: the token.
        unsafe { vfmaq_f32(c, a, b) }
    }
    #[inline(always)]
    fn fma_lane(self, a: float32x4_t, lane: usize, b: float32x4_t, c: float32x4_t) -> float32x4_t {
        // SAFETY: the token.
        unsafe {
            match lane {
                0 => vfmaq_laneq_f32::<0>(c, b, a),
                1 => vfmaq_laneq_f32::<1>(c, b, a),
                2 => vfmaq_laneq_f32::<2>(c, b, a),
                _ => vfmaq_laneq_f32::<3>(c, b, a),
            }
        }
    }
    #[inline(always)]
    fn max(self, a: float32x4_t, b: float32x4_t) -> float32x4_t {
        // SAFETY: the token.
        unsafe { vbslq_f32(vcgtq_f32(a, b), a, b) }
    }
    #[inline(always)]
    fn min(self, a: float32x4_t, b: float32x4_t) -> float32x4_t {
        // SAFETY: the token.
        unsafe { vbslq_f32(vcltq_f32(a, b), a, b) }
    }
    #[inline(always)]
    fn lt(self, a: float32x4_t, b: float32x4_t) -> uint32x4_t {
        // SAFETY: the token.
        unsafe { vcltq_f32(a, b) }
    }
    #[inline(always)]
    fn trn<const D: usize>(self, a: float32x4_t, b: float32x4_t) -> (float32x4_t, float32x4_t) {
        // SAFETY: the token.
        unsafe {
            match D {
                1 => (vtrn1q_f32(a, b), vtrn2q_f32(a, b)),
                _ => {
                    let (a, b) = (vreinterpretq_f64_f32(a), vreinterpretq_f64_f32(b));
                    (vreinterpretq_f32_f64(vtrn1q_f64(a, b)), vreinterpretq_f32_f64(vtrn2q_f64(a, b)))
                }
            }
        }
    }
    #[inline(always)]
    fn select(self, mask: uint32x4_t, yes: float32x4_t, no: float32x4_t) -> float32x4_t {
        // SAFETY: the token.
        unsafe { vbslq_f32(mask, yes, no) }
    }
}

impl Simd<f64> for Neon {
    type V = float64x2_t;
    type Mask = uint64x2_t;
    const LANES: usize = 2;
    const LANE_FMA: bool = true;

    #[inline(always)]
    fn splat(self, x: f64) -> float64x2_t {
        // SAFETY: the token.
        unsafe { vdupq_n_f64(x) }
    }
    #[inline(always)]
    unsafe fn load(self, p: *const f64) -> float64x2_t {
        // SAFETY: the token; the caller's promise.
        unsafe { vld1q_f64(p) }
    }
    #[inline(always)]
    unsafe fn load_halves<const UPPER: bool>(self, p: *const f64, q: *const f64) -> float64x2_t {
        let first = usize::from(UPPER);
        // SAFETY: the token; the caller's promise.
        unsafe { vcombine_f64(vld1_f64(p.add(first)), vld1_f64(q.add(first))) }
    }
    #[inline(always)]
    unsafe fn store(self, p: *mut f64, v: float64x2_t) {
        // SAFETY: the token; the caller's promise.
        unsafe { vst1q_f64(p, v) }
    }
    #[inline(always)]
    fn first(self, n: usize) -> uint64x2_t {
        debug_assert!(n <= 2);
        // SAFETY: the token; the window starts 2 - n <= 2 into 2 * 2 entries.
        unsafe { vld1q_u64(WINDOW_F64.as_ptr().add(2 - n)) }
    }
    #[inline(always)]
    unsafe fn load_masked(self, p: *const f64, mask: uint64x2_t) -> float64x2_t {
        let mut lanes = [0.0; 2];
        // SAFETY: the token; no more lanes are read than the mask has, by the caller's promise.
        unsafe {
            std::ptr::copy_nonoverlapping(p, lanes.as_mut_ptr(), count_f64(mask));
            vld1q_f64(lanes.as_ptr())
        }
    }
    #[inline(always)]
    unsafe fn store_masked(self, p: *mut f64, mask: uint64x2_t, v: float64x2_t) {
        let mut lanes = [0.0; 2];
        // SAFETY: the token; no more lanes are written than the mask has, by the caller's promise.
        unsafe {
            vst1q_f64(lanes.as_mut_ptr(), v);
            std::ptr::copy_nonoverlapping(lanes.as_ptr(), p, count_f64(mask));
        }
    }
    #[inline(always)]
    fn add(self, a: float64x2_t, b: float64x2_t) -> float64x2_t {
        // SAFETY: the token.
        unsafe { vaddq_f64(a, b) }
    }
    #[inline(always)]
    fn sub(self, a: float64x2_t, b: float64x2_t) -> float64x2_t {
        // SAFETY: the token.
        unsafe { vsubq_f64(a, b) }
    }
    #[inline(always)]
    fn mul(self, a: float64x2_t, b: float64x2_t) -> float64x2_t {
        // SAFETY: the token.
        unsafe { vmulq_f64(a, b) }
    }
    #[inline(always)]
    fn div(self, a: float64x2_t, b: float64x2_t) -> float64x2_t {
        // SAFETY: the token.
        unsafe { vdivq_f64(a, b) }
    }
    #[inline(always)]
    fn sqrt(self, a: float64x2_t) -> float64x2_t {
        // SAFETY: the token.
        unsafe { vsqrtq_f64(a) }
    }
    #[inline(always)]
    fn fma(self, a: float64x2_t, b: float64x2_t, c: float64x2_t) -> float64x2_t {
        // SAFETY: the token.
        unsafe { vfmaq_f64(c, a, b) }
    }
    #[inline(always)]
    fn fma_lane(self, a: float64x2_t, lane: usize, b: float64x2_t, c: float64x2_t) -> float64x2_t {
        // SAFETY: the token.
        unsafe {
            match lane {
                0 => vfmaq_laneq_f64::<0>(c, b, a),
                _ => vfmaq_laneq_f64::<1>(c, b, a),
            }
        }
    }
    #[inline(always)]
    fn max(self, a: float64x2_t, b: float64x2_t) -> float64x2_t {
        // SAFETY: the token.
        unsafe { vbslq_f64(vcgtq_f64(a, b), a, b) }
    }
    #[inline(always)]
    fn min(self, a: float64x2_t, b: float64x2_t) -> float64x2_t {
        // SAFETY: the token.
        unsafe { vbslq_f64(vcltq_f64(a, b), a, b) }
    }
    #[inline(always)]
    fn lt(self, a: float64x2_t, b: float64x2_t) -> uint64x2_t {
        // SAFETY: the token.
        unsafe { vcltq_f64(a, b) }
    }
    #[inline(always)]
    fn trn<const D: usize>(self, a: float64x2_t, b: float64x2_t) -> (float64x2_t, float64x2_t) {
        // SAFETY: the token.
        unsafe { (vtrn1q_f64(a, b), vtrn2q_f64(a, b)) }
    }
    #[inline(always)]
    fn select(self, mask: uint64x2_t, yes: float64x2_t, no: float64x2_t) -> float64x2_t {
        // SAFETY: the token.
        unsafe { vbslq_f64(mask, yes, no) }
    }
}

impl SimdF32 for Neon {
    type I = int32x4_t;
    type Wide = Wide<Self, 4>;

    #[inline(always)]
    fn splat_i32(self, x: i32) -> int32x4_t {
        // SAFETY: the token.
        unsafe { vdupq_n_s32(x) }
    }
    #[inline(always)]
    fn to_bits(self, v: float32x4_t) -> int32x4_t {
        // SAFETY: the token.
        unsafe { vreinterpretq_s32_f32(v) }
    }
    #[inline(always)]
    fn with_bits(self, v: int32x4_t) -> float32x4_t {
        // SAFETY: the token.
        unsafe { vreinterpretq_f32_s32(v) }
    }
    #[inline(always)]
    fn sub_i32(self, a: int32x4_t, b: int32x4_t) -> int32x4_t {
        // SAFETY: the token.
        unsafe { vsubq_s32(a, b) }
    }
    #[inline(always)]
    fn shl<const N: i32>(self, a: int32x4_t) -> int32x4_t {
        // SAFETY: the token.
        unsafe { vshlq_n_s32::<N>(a) }
    }
    #[inline(always)]
    fn sar<const N: i32>(self, a: int32x4_t) -> int32x4_t {
        // SAFETY: the token.
        unsafe { vshrq_n_s32::<N>(a) }
    }
    #[inline(always)]
    fn and_i32(self, a: int32x4_t, b: int32x4_t) -> int32x4_t {
        // SAFETY: the token.
        unsafe { vandq_s32(a, b) }
    }
    #[inline(always)]
    fn or_i32(self, a: int32x4_t, b: int32x4_t) -> int32x4_t {
        // SAFETY: the token.
        unsafe { vorrq_s32(a, b) }
    }
    #[inline(always)]
    fn convert_i32(self, a: int32x4_t) -> float32x4_t {
        // SAFETY: the token.
        unsafe { vcvtq_f32_s32(a) }
    }
    #[inline(always)]
    unsafe fn load_bytes(self, p: *const u8) -> float32x4_t {
        // SAFETY: the token; the caller's promise.
        unsafe {
            vcvtq_f32_u32(vmovl_u16(vget_low_u16(vmovl_u8(vcreate_u8(u64::from(p.cast::<u32>().read_unaligned()))))))
        }
    }
    #[inline(always)]
    unsafe fn load_bf16(self, p: *const Bf16) -> float32x4_t {
        // SAFETY: the token; the caller's promise.
        unsafe { vreinterpretq_f32_u32(vshlq_n_u32::<16>(vmovl_u16(vld1_u16(p.cast())))) }
    }
}

/// The micro-kernels by height, from 1.
const fn tiles<T: Float>() -> [Tiles<T>; 8]
where
    Neon: Simd<T>,
{
    [
        tile::tiles8::<Neon, T, 1>(),
        tile::tiles4::<Neon, T, 2>(),
        tile::tiles4::<Neon, T, 3>(),
        tile::tiles4::<Neon, T, 4>(),
        tile::tiles2::<Neon, T, 5>(),
        tile::tiles2::<Neon, T, 6>(),
        tile::tiles2::<Neon, T, 7>(),
        tile::tiles2::<Neon, T, 8>(),
    ]
}

const F32: &[Tiles<f32>] = &tiles();
const F64: &[Tiles<f64>] = &tiles();

pub(crate) static ROW: Backend = Backend {
    name: Neon::NAME,
    about: "NEON",
    supported: Neon::detect,
    bits_match: true,
    f32: Kernel::new::<Neon>(F32),
    f64: Kernel::new::<Neon>(F64),
    math: math::<Neon, 16>(),
};
