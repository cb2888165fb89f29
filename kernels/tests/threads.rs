//! Many threads at once: one plan, one packed operand, one team and one profile for all, and executors that fail.

use kernels::{Activation, Backend, Gemm, Layout, MatMut, MatRef, Par, Profile, Serial, Team, Tuning, Workspace};
use std::panic::{AssertUnwindSafe, catch_unwind, panic_any};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

const M: usize = 70;
const K: usize = 300;
const N: usize = 130;

fn numbers(seed: u32, len: usize) -> Vec<f32> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..len).map(|_| next()).collect()
}

/// The operands of a product large enough to be shared out, and what comes of them on one thread.
struct Case {
    a: Vec<f32>,
    b: Vec<f32>,
    want: Vec<f32>,
}

impl Case {
    fn new() -> Self {
        let (a, b) = (numbers(1, M * K), numbers(2, K * N));
        let mut case = Self { a, b, want: vec![0.0; M * N] };
        let mut want = vec![0.0; M * N];
        Gemm::new().run(case.a(), case.b(), MatMut::new(&mut want, M, N).unwrap()).unwrap();
        case.want = want;
        case
    }
    fn a(&self) -> MatRef<'_, f32> {
        MatRef::new(&self.a, M, K).unwrap()
    }
    fn b(&self) -> MatRef<'_, f32> {
        MatRef::new(&self.b, K, N).unwrap()
    }
    fn check(&self, what: &str, call: impl FnOnce(MatMut<'_, f32>) -> kernels::Result<()>) {
        let mut c = vec![f32::NAN; M * N];
        call(MatMut::new(&mut c, M, N).unwrap()).unwrap();
        assert!(c.iter().zip(&self.want).all(|(c, w)| c.to_bits() == w.to_bits()), "{what} gives other bits");
    }
}

/// Wakes threads for any product.
const EAGER: Tuning = Tuning::from_values([1; Tuning::NAMES.len()]);

#[test]
fn everything_can_be_shared_between_callers() {
    let case = Case::new();
    let team = Team::new(3);
    let workspace = Workspace::new();
    let call = Gemm::<f32>::new().tuning(&EAGER).par(&team).workspace(&workspace);
    let (a, b) = (call.pack_a(case.a()).unwrap(), call.pack_b(case.b()).unwrap());
    let dense = Layout::row_major;
    let plan = call.prepare(dense(M, K), dense(K, N), dense(M, N)).unwrap();
    let backend = Backend::active().unwrap();
    let mut profile = Profile::new();
    profile.set::<f32>(backend, EAGER);
    thread::scope(|scope| {
        for caller in 0..6 {
            let (case, a, b, plan, call, profile, team) = (&case, &a, &b, &plan, &call, &profile, &team);
            scope.spawn(move || {
                for round in 0..10 {
                    match (caller + round) % 5 {
                        0 => case.check("a packed A and B", |c| call.run(a, b, c)),
                        1 => case.check("a packed B", |c| call.run(case.a(), b, c)),
                        2 => case.check("a plan", |c| call.plan(plan).run(case.a(), case.b(), c)),
                        3 => case.check("a profile", |c| {
                            let tuning = profile.get(backend.name(), "f32").unwrap();
                            Gemm::new().tuning(&tuning).par(team).run(case.a(), case.b(), c)
                        }),
                        _ => case.check("a workspace", |c| call.run(case.a(), case.b(), c)),
                    }
                }
            });
        }
    });
}

#[test]
fn teams_can_be_nested() {
    let case = Case::new();
    let (outer, inner) = (Team::new(3), Team::new(2));
    let call = Gemm::new().tuning(&EAGER);
    outer.run(7, &|job| {
        // The outer team again, from one of its own jobs, and one that is busy for others.
        let par: &dyn Par = if job % 2 == 0 { &outer } else { &inner };
        case.check("a nested product", |c| call.par(par).run(case.a(), case.b(), c));
    });
}

/// An executor that runs some of its jobs, then panics.
struct Failing(AtomicUsize);

impl Par for Failing {
    fn threads(&self) -> usize {
        4
    }
    fn run(&self, jobs: usize, job: &(dyn Fn(usize) + Sync)) {
        self.0.fetch_add(1, Ordering::Relaxed);
        (0..jobs / 2).for_each(job);
        panic!("no more of this");
    }
}

#[test]
fn a_panic_in_an_executor_leaves_nothing_broken() {
    let case = Case::new();
    let workspace = Workspace::new();
    let call = Gemm::new().tuning(&EAGER).workspace(&workspace);
    let failing = Failing(AtomicUsize::new(0));
    for _ in 0..3 {
        let mut c = vec![0.0; M * N];
        let run = || call.par(&failing).run(case.a(), case.b(), MatMut::new(&mut c, M, N).unwrap());
        let panic = catch_unwind(AssertUnwindSafe(run)).unwrap_err();
        assert_eq!(panic.downcast_ref(), Some(&"no more of this"));
        // The same thread, its buffers and the workspace go on.
        case.check("the call after a panic", |c| call.par(&Serial).run(case.a(), case.b(), c));
        case.check("the call after a panic, without a workspace", |c| {
            Gemm::new().tuning(&EAGER).run(case.a(), case.b(), c)
        });
    }
    assert_eq!(failing.0.load(Ordering::Relaxed), 3, "the executor was not asked");
}

/// Runs every job in three threads at the same time, in the wrong order, and jobs that do not exist. It is safe code,
/// so that must not become a data race; and as each part is computed once, the result is right.
struct Careless;

impl Par for Careless {
    fn threads(&self) -> usize {
        4
    }
    fn run(&self, jobs: usize, job: &(dyn Fn(usize) + Sync)) {
        thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| (0..jobs + 3).rev().chain([usize::MAX]).for_each(job));
            }
        });
    }
}

/// Leaves a job undone, which the caller then does.
struct Lazy;

impl Par for Lazy {
    fn threads(&self) -> usize {
        4
    }
    fn run(&self, jobs: usize, job: &(dyn Fn(usize) + Sync)) {
        (1..jobs).for_each(job);
    }
}

#[test]
fn executors_are_not_trusted() {
    let case = Case::new();
    let call = Gemm::new().tuning(&EAGER);
    case.check("a careless executor", |c| {
        // Added to, an element shows how often it was computed.
        let mut c = c;
        (0..M).for_each(|i| (0..N).for_each(|j| c.set(i, j, 0.0)));
        call.beta(1.0).par(&Careless).run(case.a(), case.b(), c)
    });
    case.check("a lazy executor", |c| call.par(&Lazy).run(case.a(), case.b(), c));
}

#[test]
fn slices_bear_any_executor() {
    let (backend, x) = (Backend::active().unwrap(), numbers(3, 200_000));
    let mut want = x.clone();
    backend.map(Activation::Gelu, &mut want);
    let failing = Failing(AtomicUsize::new(0));
    let mut y = x.clone();
    let run = || backend.on(&failing).map(Activation::Gelu, &mut y);
    catch_unwind(AssertUnwindSafe(run)).unwrap_err();
    for par in [&Careless as &dyn Par, &Lazy, &Team::new(3)] {
        y.copy_from_slice(&x);
        // A part that is computed twice would be the function of a function.
        backend.on(par).map(Activation::Gelu, &mut y);
        assert!(y.iter().zip(&want).all(|(y, w)| y.to_bits() == w.to_bits()), "{} threads", par.threads());
    }
}

/// What a job panics with may panic again when it is dropped: the team still waits for all jobs, and tells of the
/// first.
#[test]
fn a_panic_that_panics_again_when_dropped() {
    struct Again;
    impl Drop for Again {
        fn drop(&mut self) {
            panic!("again");
        }
    }
    let team = Team::new(2);
    let inside = AtomicUsize::new(0);
    let told = catch_unwind(AssertUnwindSafe(|| {
        team.run(2, &|_| {
            inside.fetch_add(1, Ordering::SeqCst);
            while inside.load(Ordering::SeqCst) < 2 {
                std::thread::yield_now();
            }
            panic_any(Again);
        });
    }));
    // Not dropped here either.
    std::mem::forget(told.unwrap_err().downcast::<Again>().ok().unwrap());
    let sum = AtomicUsize::new(0);
    team.run(10, &|i| {
        sum.fetch_add(i, Ordering::Relaxed);
    });
    assert_eq!(sum.into_inner(), 45);
}

/// The thread's own buffer is gone then.
#[test]
fn a_product_in_a_destructor_of_the_thread() {
    struct Last(std::sync::mpsc::Sender<f32>);
    impl Drop for Last {
        fn drop(&mut self) {
            let (a, mut c) = (vec![1.0_f32; 300 * 300], vec![0.0; 300 * 300]);
            let view = MatRef::new(&a, 300, 300).unwrap();
            Gemm::new().run(view, view.t(), MatMut::new(&mut c, 300, 300).unwrap()).unwrap();
            self.0.send(c[300 * 300 - 1]).unwrap();
        }
    }
    thread_local! {
        static LAST: std::cell::RefCell<Option<Last>> = const { std::cell::RefCell::new(None) };
    }
    let (send, receive) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        LAST.with(|last| *last.borrow_mut() = Some(Last(send)));
        // The buffer is made after the value, so it goes before.
        let (a, mut c) = (vec![1.0_f32; 300 * 300], vec![0.0; 300 * 300]);
        let view = MatRef::new(&a, 300, 300).unwrap();
        Gemm::new().run(view, view.t(), MatMut::new(&mut c, 300, 300).unwrap()).unwrap();
    })
    .join()
    .unwrap();
    assert_eq!(receive.recv(), Ok(300.0));
}
