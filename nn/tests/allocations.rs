//! What may not allocate: a training step, and a header that promises more than follows.

use kernels::{Backend, Serial, Team};
use nn::{
    Activation, AdamW, BatchEnd, Clip, Dataset, Dense, Engine, Initialiser, Kernels, LoopOrder, Loss, Mlp, Naive, Norm,
    Observer, Penalty, Predictor, Ranked, Recipe, Result, Schedule, Targets, Trainer,
};
use std::alloc::{GlobalAlloc, Layout, System};
use std::io::Write;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// Counts what the program asks for.
struct Counting;

static CALLS: AtomicUsize = AtomicUsize::new(0);
static LARGEST: AtomicUsize = AtomicUsize::new(0);

#[global_allocator]
static COUNTING: Counting = Counting;

fn count(bytes: usize) {
    CALLS.fetch_add(1, Relaxed);
    LARGEST.fetch_max(bytes, Relaxed);
}

// SAFETY: every call goes to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: the caller's promises are those that are asked for.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(ptr, layout) }
    }
    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size);
        // SAFETY: as above.
        unsafe { System.realloc(ptr, layout, size) }
    }
}

/// Notes how many allocations there were at the end of each step.
struct AtEachStep(Vec<usize>);

impl Observer for AtEachStep {
    fn on_batch(&mut self, _: &BatchEnd) -> ControlFlow<()> {
        self.0.push(CALLS.load(Relaxed));
        ControlFlow::Continue(())
    }
}

/// The same with everything that a step can hold.
fn a_rich_step_allocates_nothing(engine: &dyn Engine) -> Result<()> {
    let values = (0..620).map(|i| (i % 7) as f32).collect();
    let numbers = (0..620 * 20).map(|i| (i % 251) as f32 / 251.0).collect();
    let data = Dataset::from_numbers(numbers, 20, Targets::Values { values, width: 1 })?;
    let recipe = Recipe {
        epochs: 2,
        batch: 8,
        accumulate: 4,
        loss: Loss::Huber { delta: 1.0 },
        penalties: vec![Penalty { l1: 1e-4, l2: 1e-4 }],
        clip: Some(Clip::Norm(1.0)),
        optimiser: AdamW::default().into(),
        schedule: Schedule::Cosine { warmup: 5, steps: 40, floor: 0.0 },
        ..Recipe::default()
    };
    let hidden = Dense { dropout: 0.5, norm: Norm::BATCH, ..Dense::new(20, 64, Activation::Silu) };
    let second = Dense { norm: Norm::LAYER, ..Dense::new(64, 16, Activation::Elu { alpha: 1.0 }) };
    let layers = vec![hidden, second, Dense::new(16, 1, Activation::Identity)];
    let model = Mlp::with_layers(layers, Initialiser::HeNormal, 0)?;
    let mut trainer = Trainer::new(model, recipe, engine)?;
    let mut seen = AtEachStep(Vec::with_capacity(40));
    trainer.fit(&data, &mut seen)?;
    let allocations = seen.0[39] - seen.0[0];
    assert!(seen.0.len() == 40 && allocations <= 1, "{allocations} allocations, {:?}", seen.0);
    Ok(())
}

/// A checkpoint whose header promises 90 MB.
fn a_checkpoint_reserves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("model");
    std::fs::write(&file, [&90_000_000_u64.to_le_bytes()[..], &[b' '; 100]].concat()).unwrap();
    LARGEST.store(0, Relaxed);
    let error = Mlp::load(&file).err().unwrap().to_string();
    assert!(error.ends_with("(invalid header length)"), "{error}");
    assert!(LARGEST.load(Relaxed) <= 1 << 16, "{} bytes at once", LARGEST.load(Relaxed));
}

/// `late` allocations are forgiven: a thread warms up its buffers when it first gets work, which may be at any step.
fn a_step_allocates_nothing(name: &str, engine: &dyn Engine, late: usize) -> Result<()> {
    let pixels = (0..620 * 784).map(|i| (i % 251) as u8).collect();
    let data = Dataset::new(pixels, (0..620).map(|i| i % 10).collect(), 28, 28)?;
    let recipe = Recipe { epochs: 2, ..Recipe::default() };
    // The latter has a layer that makes its step by itself.
    for sizes in [&[784, 128, 64, 10][..], &[784, 200, 10]] {
        let mut trainer = Trainer::new(Mlp::new(sizes, 0)?, recipe.clone(), engine)?;
        let mut seen = AtEachStep(Vec::with_capacity(40));
        trainer.fit(&data, &mut seen)?;
        assert_eq!(seen.0.len(), 40);
        // The first step warms up the kernels' buffers; between the epochs, the history takes its first entry.
        let allocations = seen.0[39] - seen.0[0];
        assert!(allocations <= 1 + late, "{name}, {sizes:?}: {allocations} allocations, {:?}", seen.0);
    }
    Ok(())
}

/// Predictions of any kind, once a thread has asked for as many.
fn a_prediction_allocates_nothing() -> Result<()> {
    let predictor = Predictor::new(&Mlp::new(&[784, 128, 64, 10], 0)?)?;
    let (pixels, mut p) = (vec![7_u8; 300 * 784], vec![0.0; 3000]);
    let (mut classes, mut ranked) = (vec![0; 300], vec![Ranked::default(); 600]);
    let mut before = 0;
    for _ in 0..2 {
        before = CALLS.load(Relaxed);
        for n in [300, 1, 32] {
            predictor.probabilities(&pixels[..n * 784], &mut p[..n * 10])?;
            predictor.classes(&pixels[..n * 784], &mut classes[..n])?;
            predictor.top_k(&pixels[..n * 784], 2, &mut ranked[..n * 2])?;
        }
    }
    assert_eq!(CALLS.load(Relaxed), before);
    Ok(())
}

fn a_header_reserves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("images");
    let mut write = std::fs::File::create(&file).unwrap();
    // 4,294,836,225 bytes, just below what is accepted at all.
    for word in [0x0803_u32, 1, 0xffff, 0xffff] {
        write.write_all(&word.to_be_bytes()).unwrap();
    }
    write.write_all(&[0; 100]).unwrap();
    let labels = dir.path().join("labels");
    std::fs::write(&labels, [0, 0, 8, 1, 0, 0, 0, 1, 5]).unwrap();
    LARGEST.store(0, Relaxed);
    let error = Dataset::from_idx(&file, &labels).unwrap_err().to_string();
    assert!(error.ends_with("ends after 116 of 4294836241 bytes (uncompressed)"), "{error}");
    assert!(LARGEST.load(Relaxed) <= 1 << 16, "{} bytes at once", LARGEST.load(Relaxed));
}

/// One test alone: others would run, and allocate, beside it.
#[test]
fn allocations() -> Result<()> {
    a_header_reserves_nothing();
    a_checkpoint_reserves_nothing();
    a_prediction_allocates_nothing()?;
    a_rich_step_allocates_nothing(&Kernels::active()?)?;
    for backend in Backend::supported() {
        a_step_allocates_nothing(backend.name(), &Kernels { backend, par: &Serial, precision: Default::default() }, 0)?;
    }
    a_step_allocates_nothing("naive", &Naive { order: LoopOrder::Ikj }, 0)?;
    // Only now: a thread that is starting allocates too.
    let team = Team::new(2);
    for backend in Backend::supported() {
        a_step_allocates_nothing(backend.name(), &Kernels { backend, par: &team, precision: Default::default() }, 8)?;
    }
    Ok(())
}
