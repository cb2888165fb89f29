//! The speed limits of one core, measured: how many floating-point operations it does per second when it waits for
//! nothing, how many bytes it reads per second from each cache and from memory, and what both together allow.

use crate::case::Operation;
use crate::machine;
use crate::measure::{Cache, Timed};
use crate::record::CaseRecord;
use crate::report::short;
use kernels::Backend;
use serde::Serialize;
use std::hint::black_box;
use std::time::{Duration, Instant};

/// Measured peak of a row in FLOP/s on one core: its independent chains of fused multiply-adds, kept in registers.
pub fn fma_peak(backend: &Backend, budget: Duration) -> f64 {
    best_rate(budget, |iterations| backend.fma_peak_loop(iterations))
}

/// The best of many short samples, because a limit that an unlucky moment lowers is none: so much work a second as
/// `run` says it did, told how often to repeat.
fn best_rate(budget: Duration, mut run: impl FnMut(u64) -> u64) -> f64 {
    let sample = budget / 50;
    let mut times = 1;
    let mut best: f64 = 0.0;
    let start = Instant::now();
    while start.elapsed() < budget || best == 0.0 {
        let begin = Instant::now();
        let work = run(times);
        let elapsed = begin.elapsed();
        if elapsed < sample {
            times *= 2;
        } else {
            best = best.max(work as f64 / elapsed.as_secs_f64());
        }
    }
    best
}

/// The peak loop as a contender among others, to meet the clock that they meet; and the operations of one call.
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

/// A cache, or memory.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Level {
    /// `L1`, `L2`, `L3` or `DRAM`.
    pub name: String,
    /// What it holds; nothing is known of memory.
    pub capacity: Option<u64>,
    /// How much was read over and over.
    pub probe: u64,
    /// Read bandwidth of one core, bytes per second.
    pub bandwidth: f64,
}

/// The limits of a row of the kernels' table on one core.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Roofline {
    /// The row.
    pub row: &'static str,
    /// FLOP per second.
    pub peak: f64,
    /// Nearest first.
    pub levels: Vec<Level>,
}

impl Roofline {
    /// Measures arithmetic and each level, for this long each.
    pub fn measure(backend: &'static Backend, budget: Duration) -> Self {
        let levels = levels().into_iter().map(|(name, capacity, probe)| {
            let data = vec![0.0f32; probe as usize / size_of::<f32>()];
            let read = |times| (0..times).map(|_| backend.read_peak_loop(black_box(&data))).sum();
            Level { name, capacity, probe, bandwidth: best_rate(budget, read) }
        });
        let levels = levels.collect();
        Self { row: backend.name(), peak: fma_peak(backend, budget), levels }
    }

    /// The level that a call's data come from.
    pub fn level(&self, bytes: f64, cache: Cache) -> Option<&Level> {
        let fits = |level: &&Level| cache == Cache::Warm && level.capacity.is_some_and(|most| bytes <= most as f64);
        self.levels.iter().find(fits).or(self.levels.last())
    }

    /// The most operations per second for a call of so many that moves so many bytes: what the level that holds the
    /// data can feed, and for floating-point operations no more than the arithmetic does.
    pub fn limit(&self, operation: Operation, operations: f64, bytes: f64, cache: Cache) -> f64 {
        let fed = self.level(bytes, cache).map_or(f64::INFINITY, |level| operations / bytes * level.bandwidth);
        if operation == Operation::Flop { self.peak.min(fed) } else { fed }
    }

    /// Where a case stands under it, in a line.
    pub fn describe(&self, case: &CaseRecord) -> String {
        let CaseRecord { operation, operations, bytes, cache, .. } = *case;
        let level = self.level(bytes, cache).map_or("memory", |level| level.name.as_str());
        let limit = self.limit(operation, operations, bytes, cache);
        let bound = if limit == self.peak { "arithmetic" } else { "bandwidth" };
        let intensity = short(operations / bytes);
        format!(
            "{intensity} {operation} a byte from {level}, the limit is {bound}: {} {}",
            short(limit / 1e9),
            case.unit()
        )
    }
}

/// Name, capacity and size of the probe of each level.
fn levels() -> Vec<(String, Option<u64>, u64)> {
    const LEAST: u64 = 64 << 20;
    const MOST: u64 = 256 << 20;
    let data = machine::caches().into_iter().filter(|cache| cache.kind != "Instruction");
    let mut levels: Vec<(String, Option<u64>, u64)> = data
        .filter_map(|cache| {
            let bytes = cache.bytes()?;
            // Half is safe from what else the core does; a last cache may be shared with other cores.
            let share = if cache.level < 3 { 2 } else { 4 };
            Some((format!("L{}", cache.level), Some(bytes), bytes / share))
        })
        .collect();
    let last = levels.iter().filter_map(|level| level.1).max().unwrap_or(0);
    levels.push(("DRAM".to_owned(), None, (4 * last).clamp(LEAST, MOST)));
    levels
}

#[cfg(test)]
mod tests {
    use super::*;

    fn roofline() -> Roofline {
        let level = |name: &str, capacity, bandwidth| Level { name: name.into(), capacity, probe: 0, bandwidth };
        let levels = vec![level("L1", Some(1000), 100.0), level("L2", Some(10_000), 50.0), level("DRAM", None, 10.0)];
        Roofline { row: "test", peak: 200.0, levels }
    }

    #[test]
    fn a_limit_is_that_of_arithmetic_or_of_the_level_that_holds_the_data() {
        let limit = |operations, bytes, cache| roofline().limit(Operation::Flop, operations, bytes, cache);
        // 4 operations a byte.
        assert_eq!(limit(4000.0, 1000.0, Cache::Warm), 200.0);
        assert_eq!(limit(4000.0, 1000.0, Cache::Cold), 40.0);
        assert_eq!(limit(1000.0, 2000.0, Cache::Warm), 25.0);
        assert_eq!(limit(1e6, 1e6, Cache::Warm), 10.0);
        assert_eq!(roofline().limit(Operation::Element, 1e4, 1e3, Cache::Warm), 1000.0);
    }

    #[test]
    fn the_best_rate_leaves_out_samples_that_are_too_short() {
        let rate = best_rate(Duration::from_millis(5), |times| {
            let begin = Instant::now();
            while begin.elapsed() < Duration::from_micros(20) * times as u32 {}
            times
        });
        assert!(rate > 0.0 && rate <= 1.0 / 20e-6, "{rate}");
    }

    #[test]
    fn levels_end_with_memory_and_probes_fit() {
        let levels = levels();
        assert!(levels.iter().all(|(_, capacity, probe)| capacity.is_none_or(|most| *probe <= most) && *probe > 0));
        assert_eq!(levels.last().map(|level| level.0.as_str()), Some("DRAM"));
    }
}
