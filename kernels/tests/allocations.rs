//! No allocation once warm: the whole test binary counts.

use kernels::{Activation, Backend, BatchMut, BatchRef, Bf16, Blocking, Gemm, MatMut, MatRef, Team, Workspace};
use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

struct Counting;

static COUNT: AtomicUsize = AtomicUsize::new(0);
/// Bytes that are allocated.
static LIVE: AtomicUsize = AtomicUsize::new(0);

// SAFETY: everything is passed on to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        COUNT.fetch_add(1, Ordering::Relaxed);
        LIVE.fetch_add(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        if layout.size() == 0 {
            // Nothing of no size was ever allocated.
            std::process::abort();
        }
        LIVE.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(ptr, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// One test, as the count is of the whole process.
#[test]
fn calls_allocate_nothing_once_warm() {
    let team = Team::new(2);
    let data = vec![0.5_f32; 300 * 700];
    let half = vec![Bf16::from_f32(0.5); 300 * 300];
    let bias = vec![0.1_f32; 300];
    let mut indices = [0; 10];
    let mut out = vec![0.0_f32; 300 * 300];
    let view = |rows: usize, cols: usize| MatRef::new(&data[..rows * cols], rows, cols).unwrap();
    let workspace = Workspace::new();
    for backend in Backend::supported() {
        let packed = Gemm::new().backend(backend).pack_b(view(300, 300)).unwrap();
        let plan = Gemm::<f32>::new()
            .backend(backend)
            .prepare(view(30, 300).layout(), packed.layout(), view(30, 300).layout())
            .unwrap();
        let mut all = || {
            for (m, k, n) in [(8, 8, 8), (300, 700, 300), (1, 300, 300), (300, 300, 1)] {
                let call = Gemm::new().backend(backend).bias(&bias[..n]).activation(Activation::Relu);
                let mut run = |call: Gemm<'_, f32>, a, b| {
                    call.run(a, b, MatMut::new(&mut out[..m * n], m, n).unwrap()).unwrap();
                };
                run(call, view(m, k), view(k, n));
                run(call, view(k, m).t(), view(n, k).t());
                run(call.blocking(Blocking { kc: 1, nc: 1 }), view(m, k), view(k, n));
                run(call.beta(1.0).par(&team), view(m, k), view(k, n));
            }
            let call = Gemm::new().backend(backend);
            let c = MatMut::new(&mut out[..9000], 30, 300).unwrap();
            call.plan(&plan).run(view(30, 300), &packed, c).unwrap();
            let c = MatMut::new(&mut out[..300 * 300], 300, 300).unwrap();
            call.workspace(&workspace).run(view(300, 700), view(700, 300), c).unwrap();
            let c = BatchMut::strided(&mut out[..4000], 10, 400, 20, 20).unwrap();
            call.par(&team)
                .run_batch(BatchRef::strided(&data[..4000], 10, 400, 20, 20).unwrap(), view(20, 20), c)
                .unwrap();
            let (half, c) = (MatRef::new(&half, 300, 300).unwrap(), MatMut::new(&mut out, 300, 300).unwrap());
            call.run(half, half.t(), c).unwrap();
            backend.softmax(MatMut::new(&mut out[..300], 30, 10).unwrap());
            // Rows whose elements are apart are copied, one at a time.
            backend.softmax(MatMut::col_major(&mut out[..300], 30, 10).unwrap());
            backend.row_sums(view(30, 300).sub(0..30, 0..10).unwrap().t(), &mut out[..10]).unwrap();
            backend.row_argmax(view(30, 10).t(), &mut indices).unwrap();
        };
        // Which worker gets which part of a shared product is left to chance: a few rounds warm them all.
        let warm = (0..50).any(|_| {
            let before = COUNT.load(Ordering::Relaxed);
            (0..10).for_each(|_| all());
            COUNT.load(Ordering::Relaxed) == before
        });
        assert!(warm, "{backend:?} allocates in each round of calls");
        let before = LIVE.load(Ordering::Relaxed);
        let workspace = Workspace::new();
        let c = MatMut::new(&mut out, 300, 300).unwrap();
        Gemm::new().backend(backend).workspace(&workspace).run(view(300, 700), view(700, 300), c).unwrap();
        let used = LIVE.load(Ordering::Relaxed) - before;
        drop(workspace);
        assert!(used > 0 && LIVE.load(Ordering::Relaxed) == before, "{backend:?}: {used} bytes in use");
    }
}
