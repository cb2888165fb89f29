//! The ceiling that speeds are measured against: a loop of nothing but independent FMAs.

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
            // Values that the compiler does not know and that stay in range: x/2 + 1/2 tends to 1.
            let half = s.splat(black_box(0.5));
            let mut x = [s.splat(black_box(0.25)); CHAINS];
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
