//! The speed limit: how many floating-point operations per second one core does when it waits for nothing.

use kernels::Backend;
use std::time::{Duration, Instant};

/// Measured peak of a row in FLOP/s on one core: its independent chains of fused multiply-adds, kept in registers.
///
/// The best of many short samples, because a limit that an unlucky moment lowers is none.
pub fn fma_peak(backend: &Backend, budget: Duration) -> f64 {
    let sample = budget / 100;
    let mut iterations = 1 << 10;
    let mut best: f64 = 0.0;
    let start = Instant::now();
    while start.elapsed() < budget {
        let begin = Instant::now();
        let flops = backend.fma_peak_loop(iterations);
        let elapsed = begin.elapsed();
        if elapsed < sample {
            iterations *= 2;
        } else {
            best = best.max(flops as f64 / elapsed.as_secs_f64());
        }
    }
    best
}
