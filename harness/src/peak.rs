//! The speed limit: how many floating-point operations per second one core does when it waits for nothing.

use crate::measure::Timed;
use kernels::Backend;
use std::hint::black_box;
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

/// The same loop as a contender among others, to meet the clock that they meet; and the operations of one call.
pub fn timed(backend: &'static Backend) -> (Timed<'static>, f64) {
    const ITERATIONS: u64 = 1 << 10;
    let operations = backend.fma_peak_loop(ITERATIONS) as f64;
    let run = move |calls: u32| {
        let begin = Instant::now();
        black_box(backend.fma_peak_loop(ITERATIONS * u64::from(calls)));
        begin.elapsed()
    };
    (Box::new(run), operations)
}
