//! Who runs the parts of a call: the calling thread, or a team of threads that the caller owns.
//!
//! Nothing here starts a thread unless the caller makes a [`Team`].

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle, Thread};

/// Runs independent jobs, possibly at the same time. Any executor can be one.
pub trait Par: Sync {
    /// How many threads can work at once, the caller included.
    fn threads(&self) -> usize;

    /// Calls `job(i)` exactly once for each `i` below `jobs`, in any order and on any thread, and returns when all are
    /// done.
    fn run(&self, jobs: usize, job: &(dyn Fn(usize) + Sync));
}

/// The calling thread alone.
#[derive(Debug, Clone, Copy, Default)]
pub struct Serial;

impl Par for Serial {
    fn threads(&self) -> usize {
        1
    }
    fn run(&self, jobs: usize, job: &(dyn Fn(usize) + Sync)) {
        (0..jobs).for_each(job);
    }
}

/// The rayon pool of the calling thread (the global one, unless the call comes from inside another).
#[cfg(feature = "rayon")]
#[derive(Debug, Clone, Copy, Default)]
pub struct Rayon;

#[cfg(feature = "rayon")]
impl Par for Rayon {
    fn threads(&self) -> usize {
        rayon::current_num_threads()
    }
    fn run(&self, jobs: usize, job: &(dyn Fn(usize) + Sync)) {
        use rayon::iter::{IndexedParallelIterator, IntoParallelIterator, ParallelIterator};
        (0..jobs).into_par_iter().with_max_len(1).for_each(job);
    }
}

/// A team of threads: the caller and workers that live as long as the value.
///
/// After a call the workers spin for some 50 microseconds, in which the next one finds them awake, then sleep. They
/// sleep at once where the machine has fewer cores than the team has threads. One call runs at a time: a call from a
/// second thread, or from inside a job, is done by its caller alone.
pub struct Team {
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
    /// The workers, to be woken.
    sleepers: Vec<Thread>,
    /// Held by the call that the workers serve.
    busy: AtomicBool,
}

/// A job with its lifetime erased: `Team::run` does not return before the last use.
#[derive(Clone, Copy)]
struct Job(*const (dyn Fn(usize) + Sync));
// SAFETY: the closure behind it is Sync, so it may be called from any thread.
unsafe impl Send for Job {}

struct Shared {
    /// Counts the calls; a worker that sees it move has work. `usize::MAX` ends the workers.
    call: AtomicUsize,
    job: Mutex<Option<(Job, usize)>>,
    /// The next job to be taken.
    next: AtomicUsize,
    /// Workers that have not finished the current call.
    pending: AtomicUsize,
    /// Workers that sleep, or are about to.
    asleep: AtomicUsize,
    panic: Mutex<Option<Box<dyn Any + Send>>>,
    spins: usize,
}

/// About 50 microseconds of `spin_loop`.
const SPINS: usize = 2000;

impl Shared {
    fn work(&self, job: &(dyn Fn(usize) + Sync), jobs: usize) {
        let all = catch_unwind(AssertUnwindSafe(|| {
            loop {
                let i = self.next.fetch_add(1, Ordering::Relaxed);
                if i >= jobs {
                    break;
                }
                job(i);
            }
        }));
        if let Err(panic) = all {
            // The other threads stop at their next job; the first panic is the one to tell of.
            self.next.store(jobs, Ordering::Relaxed);
            self.panic.lock().unwrap_or_else(|e| e.into_inner()).get_or_insert(panic);
        }
    }

    fn worker(&self) {
        let mut seen = 0;
        loop {
            let mut spins = 0;
            while self.call.load(Ordering::Acquire) == seen {
                if spins < self.spins {
                    spins += 1;
                    std::hint::spin_loop();
                    continue;
                }
                self.asleep.fetch_add(1, Ordering::SeqCst);
                while self.call.load(Ordering::SeqCst) == seen {
                    thread::park();
                }
                self.asleep.fetch_sub(1, Ordering::SeqCst);
            }
            seen = self.call.load(Ordering::Acquire);
            if seen == usize::MAX {
                return;
            }
            let current = *self.job.lock().unwrap_or_else(|e| e.into_inner());
            if let Some((job, jobs)) = current {
                // SAFETY: `Team::run` waits for `pending`, so the closure outlives this call.
                self.work(unsafe { &*job.0 }, jobs);
            }
            self.pending.fetch_sub(1, Ordering::Release);
        }
    }
}

impl Team {
    /// A team of `threads`, the caller included: `threads - 1` workers are started (none for 0 or 1).
    ///
    /// # Panics
    /// When the operating system can't start a thread.
    #[must_use]
    pub fn new(threads: usize) -> Self {
        let cores = thread::available_parallelism().map_or(1, |n| n.get());
        let shared = Arc::new(Shared {
            call: AtomicUsize::new(0),
            job: Mutex::new(None),
            next: AtomicUsize::new(0),
            pending: AtomicUsize::new(0),
            asleep: AtomicUsize::new(0),
            panic: Mutex::new(None),
            spins: if threads <= cores { SPINS } else { 0 },
        });
        let workers: Vec<_> = (1..threads)
            .map(|i| {
                let shared = Arc::clone(&shared);
                thread::Builder::new()
                    .name(format!("kernels-{i}"))
                    .spawn(move || shared.worker())
                    .expect("the operating system can't start a thread")
            })
            .collect();
        let sleepers = workers.iter().map(|w| w.thread().clone()).collect();
        Self { shared, workers, sleepers, busy: AtomicBool::new(false) }
    }

    /// Tells the workers that `call` has moved.
    fn wake(&self) {
        if self.shared.asleep.load(Ordering::SeqCst) > 0 {
            self.sleepers.iter().for_each(Thread::unpark);
        }
    }
}

impl Par for Team {
    fn threads(&self) -> usize {
        self.workers.len() + 1
    }

    fn run(&self, jobs: usize, job: &(dyn Fn(usize) + Sync)) {
        let alone = jobs < 2 || self.workers.is_empty();
        if alone || self.busy.swap(true, Ordering::Acquire) {
            return Serial.run(jobs, job);
        }
        let shared = &*self.shared;
        // SAFETY: only the lifetime changes, and this call outlasts every use: it returns once `pending` is 0.
        let erased = unsafe { std::mem::transmute::<&(dyn Fn(usize) + Sync), &'static (dyn Fn(usize) + Sync)>(job) };
        *shared.job.lock().unwrap_or_else(|e| e.into_inner()) = Some((Job(erased), jobs));
        shared.next.store(0, Ordering::Relaxed);
        shared.pending.store(self.workers.len(), Ordering::Relaxed);
        shared.call.fetch_add(1, Ordering::SeqCst);
        self.wake();
        shared.work(job, jobs);
        let mut spins = 0;
        while shared.pending.load(Ordering::Acquire) > 0 {
            if spins < SPINS {
                spins += 1;
                std::hint::spin_loop();
            } else {
                thread::yield_now();
            }
        }
        let panic = shared.panic.lock().unwrap_or_else(|e| e.into_inner()).take();
        self.busy.store(false, Ordering::Release);
        if let Some(panic) = panic {
            resume_unwind(panic);
        }
    }
}

impl Drop for Team {
    fn drop(&mut self) {
        self.shared.call.store(usize::MAX, Ordering::SeqCst);
        self.wake();
        for worker in self.workers.drain(..) {
            // A worker catches the panics of its jobs, so it can't have one of its own.
            let _ = worker.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_job_runs_once() {
        for threads in [0, 1, 2, 3, 7] {
            let team = Team::new(threads);
            for jobs in [0, 1, 2, 3, 100] {
                let counts: Vec<_> = (0..jobs).map(|_| AtomicUsize::new(0)).collect();
                team.run(jobs, &|i| {
                    counts[i].fetch_add(1, Ordering::Relaxed);
                });
                assert!(counts.iter().all(|c| c.load(Ordering::Relaxed) == 1), "{threads} threads, {jobs} jobs");
            }
        }
    }

    #[test]
    fn many_calls_in_a_row_and_after_sleep() {
        let team = Team::new(2);
        let sum = AtomicUsize::new(0);
        for round in 0..2000 {
            if round % 500 == 0 {
                thread::sleep(std::time::Duration::from_millis(3));
            }
            team.run(4, &|i| {
                sum.fetch_add(i, Ordering::Relaxed);
            });
        }
        assert_eq!(sum.into_inner(), 2000 * 6);
    }

    #[test]
    fn nested_and_concurrent_calls_are_served() {
        let team = Team::new(3);
        let sum = AtomicUsize::new(0);
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..50 {
                        team.run(3, &|_| {
                            team.run(5, &|_| {
                                sum.fetch_add(1, Ordering::Relaxed);
                            });
                        });
                    }
                });
            }
        });
        assert_eq!(sum.into_inner(), 4 * 50 * 3 * 5);
    }

    #[test]
    fn a_panic_reaches_the_caller_and_leaves_the_team_working() {
        let team = Team::new(2);
        let caught = catch_unwind(AssertUnwindSafe(|| team.run(8, &|i| assert!(i != 5, "job five"))));
        let panic = caught.expect_err("the panic was lost");
        assert!(panic.downcast_ref::<&str>().is_some_and(|s| s.contains("job five")));
        let count = AtomicUsize::new(0);
        team.run(8, &|_| {
            count.fetch_add(1, Ordering::Relaxed);
        });
        assert_eq!(count.into_inner(), 8);
    }
}
