//! Steps of the reference model, 784-128-10 with Adam and batches of 32, with the kernels and with naive loops.

#![allow(missing_docs, reason = "criterion's macros make undocumented functions")]

use benches::numbers;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use nn::{Dataset, Engine, Kernels, LoopOrder, Mlp, Naive, Recipe, Trainer};

/// Samples in what is timed: some steps, so that what happens once per call does not show.
const SAMPLES: usize = 32 * 20;

fn steps(c: &mut Criterion) {
    let kernels = Kernels::active().expect("KERNELS_ISA names a row that this CPU can run");
    bench(c, "kernels", &kernels);
    bench(c, "naive_ikj", &Naive { order: LoopOrder::Ikj });
}

fn bench(c: &mut Criterion, name: &str, engine: &dyn Engine) {
    let images = numbers(SAMPLES * 784).into_iter().map(|x| (x.abs() * 255.0) as u8).collect();
    let labels = (0..SAMPLES as u32).map(|i| i % 10).collect();
    let data = Dataset::new(images, labels, 28, 28).expect("as many labels as images");
    let model = Mlp::new(&[784, 128, 10], 0).expect("sizes above 0");
    let recipe = Recipe { epochs: 1, ..Recipe::default() };
    let mut trainer = Trainer::new(model, recipe, engine).expect("settings in range");
    let mut group = c.benchmark_group("training");
    group.throughput(Throughput::Elements(SAMPLES as u64));
    group.sample_size(20);
    group.bench_function(name, |bencher| {
        bencher.iter(|| trainer.fit(&data, &mut ()).expect("data that fits the model"))
    });
}

criterion_group!(benches, steps);
criterion_main!(benches);
