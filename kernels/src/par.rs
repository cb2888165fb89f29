//! Who runs the parts of a call: the calling thread, or a team of threads that the caller owns.
//!
//! Nothing here starts a thread unless the caller makes a [`Team`].

use crate::place::Sleeper;
use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

/// Runs independent jobs, possibly at the same time. Any executor can be one.
pub trait Par: Sync {
    /// How many threads can work at once, the caller included.
    fn threads(&self) -> usize;

    /// Calls `job(i)` exactly once for each `i` below `jobs`, in any order and on any thread, and returns when all are
    /// done.
    fn run(&self, jobs: usize, job: &(dyn Fn(usize) + Sync));
}

/// Runs `job(i)` exactly once for each `i` below `jobs` on `par`, which is the caller's code and may be wrong: jobs
/// write through pointers, so memory safety must not depend on the numbers that it passes.
///
/// A job runs where the executor calls for it, as it may know whose cache has what the job needs; of a great many, as
/// many as share a bit run together. It panics where a job did, even if the executor went on.
pub(crate) fn run_once(par: &dyn Par, jobs: usize, job: &(dyn Fn(usize) + Sync)) {
    const BITS: usize = usize::BITS as usize;
    let taken = [const { AtomicUsize::new(0) }; 16];
    let done = AtomicUsize::new(0);
    let group = jobs.div_ceil(taken.len() * BITS).max(1);
    let take = |i: usize| {
        let (word, bit) = (i / group / BITS, 1 << (i / group % BITS));
        if i < jobs && taken[word].fetch_or(bit, Ordering::Relaxed) & bit == 0 {
            let first = i / group * group;
            (first..jobs.min(first + group)).for_each(job);
            done.fetch_add(1, Ordering::Relaxed);
        }
    };
    par.run(jobs, &take);
    (0..jobs).step_by(group).for_each(take);
    assert_eq!(done.into_inner(), jobs.div_ceil(group), "jobs were done: the others panicked, which the executor hid");
}

/// The start and length of part `i` of `parts` of `total`, as equal as they can be.
pub(crate) fn share(total: usize, parts: usize, i: usize) -> (usize, usize) {
    nth(total / parts, total % parts, i)
}

/// The start and length of part `i`, where parts have `len` elements and the first `longer` of them one more.
#[inline(always)]
pub(crate) fn nth(len: usize, longer: usize, i: usize) -> (usize, usize) {
    (i * len + i.min(longer), len + usize::from(i < longer))
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
/// sleep at once where the machine has fewer cores than the team has threads. A call does not wait for workers that are
/// late: what they would have done, the caller does. Each thread begins with a share of the jobs that is the same in
/// each call with as many jobs, as its cache may still hold what they need, and then helps others. One call runs at a
/// time: a call from a second thread, or from inside a job, is done by its caller alone.
///
/// In a virtual machine on Linux and x86-64, where the system would wake workers on the caller's CPU, a call that finds
/// them asleep closes that CPU to them while it wakes them (`sched_setaffinity`); where that is refused, nothing
/// changes.
pub struct Team {
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
    /// Held by the call that the workers serve.
    busy: AtomicBool,
}

/// A job with its lifetime erased: `Team::run` does not return before the last use.
#[derive(Clone, Copy)]
struct Job(*const (dyn Fn(usize) + Sync));
// SAFETY: the closure behind it is Sync, so it may be called from any thread.
unsafe impl Send for Job {}

struct Shared {
    /// The number of the call times [`CALL`], [`OPEN`] while workers may join it, and how many have.
    state: AtomicUsize,
    stop: AtomicBool,
    job: Mutex<Option<(Job, usize)>>,
    /// Jobs that nobody has taken.
    left: AtomicUsize,
    /// How many jobs have been taken of each thread's share.
    taken: Box<[Counter]>,
    /// Workers that sleep, or are about to.
    asleep: AtomicUsize,
    /// The workers.
    sleepers: Box<[Sleeper]>,
    panic: Mutex<Option<Box<dyn Any + Send>>>,
    spins: usize,
}

/// A counter that shares its cache line with nothing.
#[derive(Default)]
#[repr(align(64))]
struct Counter(AtomicUsize);

/// Threads of a team, and as many as a product is cut for.
pub(crate) const MOST: usize = 4000;

const OPEN: usize = 1 << 12;
const CALL: usize = OPEN << 1;

/// About 50 microseconds of `spin_loop`.
const SPINS: usize = 2000;

/// What a mutex guards is whole even after a panic: it is only ever replaced.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    /// Takes jobs as thread number `who`, until there are none.
    fn work(&self, who: usize, job: &(dyn Fn(usize) + Sync), jobs: usize) {
        let threads = self.taken.len();
        let all = catch_unwind(AssertUnwindSafe(|| {
            let mut whose = who;
            while self.take() {
                // There is a job for whoever was let in.
                let i = loop {
                    let (first, len) = share(jobs, threads, whose);
                    let taken = self.taken[whose].0.fetch_add(1, Ordering::Relaxed);
                    if taken < len {
                        break first + taken;
                    }
                    whose = (whose + 1) % threads;
                };
                job(i);
            }
        }));
        if let Err(panic) = all {
            // The other threads stop at their next job; the first panic is the one to tell of.
            self.left.store(0, Ordering::Relaxed);
            // A payload that is dropped may panic again, here where nothing catches it.
            let mut first = lock(&self.panic);
            match *first {
                None => *first = Some(panic),
                Some(_) => std::mem::forget(panic),
            }
        }
    }

    /// Whether there is a job left, which is then the caller's to find.
    fn take(&self) -> bool {
        let less = |left: usize| left.checked_sub(1);
        self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).is_ok()
    }

    /// Waits for a call other than `seen` and returns the state, or `None` when the team ends.
    fn wait(&self, seen: usize) -> Option<usize> {
        let moved = || {
            let state = self.state.load(Ordering::SeqCst);
            (state / CALL != seen).then_some(state)
        };
        for _ in 0..self.spins {
            if let Some(state) = moved() {
                return Some(state).filter(|_| !self.stop.load(Ordering::SeqCst));
            }
            std::hint::spin_loop();
        }
        self.asleep.fetch_add(1, Ordering::SeqCst);
        let state = loop {
            if let Some(state) = moved() {
                break state;
            }
            thread::park();
        };
        self.asleep.fetch_sub(1, Ordering::SeqCst);
        Some(state).filter(|_| !self.stop.load(Ordering::SeqCst))
    }

    fn worker(&self, who: usize) {
        // Where there are fewer cores than threads, they share them anyway.
        if self.spins > 0 {
            self.sleepers[who - 1].is_me();
        }
        let mut seen = 0;
        while let Some(mut state) = self.wait(seen) {
            // Joins, unless the call is over.
            while state & OPEN != 0 {
                match self.state.compare_exchange_weak(state, state + 1, Ordering::SeqCst, Ordering::SeqCst) {
                    Ok(_) => {
                        let current = *lock(&self.job);
                        if let Some((job, jobs)) = current {
                            // SAFETY: `Team::run` waits for those who joined, so the closure outlives this call.
                            self.work(who, unsafe { &*job.0 }, jobs);
                        }
                        self.state.fetch_sub(1, Ordering::SeqCst);
                        break;
                    }
                    Err(now) => state = now,
                }
            }
            seen = state / CALL;
        }
    }
}

impl Team {
    /// A team of `threads`, the caller included: `threads - 1` workers are started (none for 0 or 1), 4000 at most.
    ///
    /// # Panics
    /// When the operating system can't start a thread.
    #[must_use]
    pub fn new(threads: usize) -> Self {
        let cores = thread::available_parallelism().map_or(1, |n| n.get());
        let shared = Arc::new(Shared {
            state: AtomicUsize::new(0),
            stop: AtomicBool::new(false),
            job: Mutex::new(None),
            left: AtomicUsize::new(0),
            taken: (0..threads.clamp(1, MOST)).map(|_| Counter::default()).collect(),
            asleep: AtomicUsize::new(0),
            sleepers: (1..threads.clamp(1, MOST)).map(|_| Sleeper::default()).collect(),
            panic: Mutex::new(None),
            spins: if threads <= cores { SPINS } else { 0 },
        });
        let mut team = Self { shared, workers: Vec::new(), busy: AtomicBool::new(false) };
        for i in 1..threads.min(MOST) {
            let shared = Arc::clone(&team.shared);
            let worker = thread::Builder::new().name(format!("kernels-{i}")).spawn(move || shared.worker(i));
            // Those that were started end with the team.
            team.workers.push(worker.expect("the operating system can't start a thread"));
        }
        team
    }

    /// Tells the workers that the call has moved.
    fn wake(&self) {
        if self.shared.asleep.load(Ordering::SeqCst) > 0 {
            for (worker, sleeper) in self.workers.iter().zip(&self.shared.sleepers) {
                sleeper.wake(|| worker.thread().unpark());
            }
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
        // SAFETY: only the lifetime changes, and this call outlasts every use: it returns once all who joined have
        // left.
        let erased = unsafe { std::mem::transmute::<&(dyn Fn(usize) + Sync), &'static (dyn Fn(usize) + Sync)>(job) };
        *lock(&shared.job) = Some((Job(erased), jobs));
        shared.taken.iter().for_each(|taken| taken.0.store(0, Ordering::Relaxed));
        shared.left.store(jobs, Ordering::Relaxed);
        // Nobody is in the last call, which is closed: the state is its number alone.
        let call = shared.state.load(Ordering::SeqCst).wrapping_add(CALL);
        shared.state.store(call | OPEN, Ordering::SeqCst);
        self.wake();
        shared.work(0, job, jobs);
        shared.state.fetch_and(!OPEN, Ordering::SeqCst);
        let mut spins = 0;
        while shared.state.load(Ordering::SeqCst) != call {
            if spins < SPINS {
                spins += 1;
                std::hint::spin_loop();
            } else {
                thread::yield_now();
            }
        }
        let panic = lock(&shared.panic).take();
        self.busy.store(false, Ordering::Release);
        if let Some(panic) = panic {
            resume_unwind(panic);
        }
    }
}

impl Drop for Team {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        self.shared.state.fetch_add(CALL, Ordering::SeqCst);
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
    fn each_job_runs_once_whatever_the_executor_does() {
        /// Calls each job as many times as it says, and all of them with the same number.
        struct Wrong(usize);
        impl Par for Wrong {
            fn threads(&self) -> usize {
                2
            }
            fn run(&self, jobs: usize, job: &(dyn Fn(usize) + Sync)) {
                (0..jobs * self.0).for_each(|_| job(0));
            }
        }
        // Of the latter, some share a bit.
        for (times, jobs) in [0, 1, 3].into_iter().flat_map(|times| [5, 64, 3001].map(|jobs| (times, jobs))) {
            let counts: Vec<_> = (0..jobs).map(|_| AtomicUsize::new(0)).collect();
            run_once(&Wrong(times), jobs, &|i| {
                counts[i].fetch_add(1, Ordering::Relaxed);
            });
            assert!(counts.iter().all(|c| c.load(Ordering::Relaxed) == 1), "{jobs} jobs, {times} times");
        }
    }

    #[test]
    #[should_panic(expected = "which the executor hid")]
    fn a_job_that_panics_is_not_hidden() {
        /// Goes on with the next job.
        struct Calm;
        impl Par for Calm {
            fn threads(&self) -> usize {
                2
            }
            fn run(&self, jobs: usize, job: &(dyn Fn(usize) + Sync)) {
                (0..jobs).for_each(|i| drop(catch_unwind(AssertUnwindSafe(|| job(i)))));
            }
        }
        run_once(&Calm, 4, &|i| assert_ne!(i, 2, "this one"));
    }

    #[test]
    fn jobs_run_where_the_executor_calls_for_them() {
        struct Backwards;
        impl Par for Backwards {
            fn threads(&self) -> usize {
                2
            }
            fn run(&self, jobs: usize, job: &(dyn Fn(usize) + Sync)) {
                (0..jobs).rev().for_each(job);
            }
        }
        let order = Mutex::new(Vec::new());
        run_once(&Backwards, 4, &|i| lock(&order).push(i));
        assert_eq!(*lock(&order), [3, 2, 1, 0]);
    }

    #[test]
    fn a_thread_begins_with_its_own_share() {
        let (team, caller) = (Team::new(2), thread::current().id());
        for _ in 0..100 {
            let first = Mutex::new(None);
            team.run(4, &|i| {
                if thread::current().id() != caller {
                    lock(&first).get_or_insert(i);
                } else if i == 0 {
                    while lock(&first).is_none() {
                        thread::yield_now();
                    }
                }
            });
            assert_eq!(*lock(&first), Some(2));
        }
    }

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
