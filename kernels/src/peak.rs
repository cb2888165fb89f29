//! The ceilings that speeds are measured against: loops of nothing but independent FMAs, and of nothing but loads.

use crate::simd::SimdF32;
use std::hint::black_box;

/// Runs `iterations` rounds of `CHAINS` vector FMAs and tells how many floating-point operations those were.
///
/// # Safety
/// The row that `S` belongs to is supported by this CPU.
pub(crate) unsafe fn fma_loop<S: SimdF32, const CHAINS: usize>(iterations: u64) -> u64 {
    // SAFETY: the caller's promise.
    let s = unsafe { S::assume() };
    s.run(
        #[inline(always)]
        || {
            // Values that the compiler does not know, nor that they are alike, and that stay in range: x/2 + 1/2 tends
            // to 1.
            let half = s.splat(black_box(0.5));
            let start = black_box([[0.25; crate::simd::GROUP]; CHAINS]);
            // SAFETY: a vector has at most GROUP lanes.
            let mut x = start.map(|start| unsafe { s.load(start.as_ptr()) });
            for _ in 0..iterations {
                for x in &mut x {
                    *x = s.fma(*x, half, half);
                }
            }
            let total = x.iter().fold(half, |a, &b| s.add(a, b));
            let mut out = [0.0; crate::simd::GROUP];
            // SAFETY: a vector has at most GROUP lanes.
            unsafe { s.store(out.as_mut_ptr(), total) };
            black_box(out);
        },
    );
    iterations * (CHAINS * S::LANES * 2) as u64
}

/// Loads all of `x` but what is left after the last whole round of 8 vectors, and tells how many bytes those were.
///
/// # Safety
/// The row that `S` belongs to is supported by this CPU.
pub(crate) unsafe fn read_loop<S: SimdF32>(x: &[f32]) -> u64 {
    const CHAINS: usize = 8;
    // SAFETY: the caller's promise.
    let s = unsafe { S::assume() };
    let rounds = x.chunks_exact(CHAINS * S::LANES);
    let bytes = (rounds.len() * CHAINS * S::LANES * size_of::<f32>()) as u64;
    s.run(
        #[inline(always)]
        || {
            // The largest of all: what is loaded must be used, and this can't overflow.
            let mut most = [s.splat(0.0); CHAINS];
            for round in rounds {
                for (i, most) in most.iter_mut().enumerate() {
                    // SAFETY: a round holds CHAINS vectors.
                    *most = s.max(*most, unsafe { s.load(round.as_ptr().add(i * S::LANES)) });
                }
            }
            let all = most.iter().fold(most[0], |a, &b| s.max(a, b));
            let mut out = [0.0; crate::simd::GROUP];
            // SAFETY: a vector has at most GROUP lanes.
            unsafe { s.store(out.as_mut_ptr(), all) };
            black_box(out);
        },
    );
    bytes
}
