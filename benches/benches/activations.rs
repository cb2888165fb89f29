//! Activations, in place, on a copy that is made afresh for each call (not timed).

#![allow(missing_docs, reason = "criterion's macros make undocumented functions")]

use benches::numbers;
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use kernels::{Backend, MatMut};

fn activations(c: &mut Criterion) {
    let backend = Backend::active().expect("KERNELS_ISA names a row that this CPU can run");
    bench(c, "relu", |x| backend.relu(x));
    bench(c, "exp", |x| backend.exp(x));
    for cols in [10, 512] {
        bench(c, &format!("softmax_{cols}"), |x| {
            let rows = x.len() / cols;
            let matrix = MatMut::new(&mut x[..rows * cols], rows, cols).expect("a slice of this size");
            backend.softmax(matrix);
        });
    }
}

fn bench(c: &mut Criterion, name: &str, mut function: impl FnMut(&mut [f32])) {
    let mut group = c.benchmark_group("activation");
    let input = numbers(64 * 1024);
    group.throughput(Throughput::Elements(input.len() as u64));
    group.bench_function(name, |bencher| {
        bencher.iter_batched_ref(|| input.clone(), |x| function(x), BatchSize::SmallInput);
    });
}

criterion_group!(benches, activations);
criterion_main!(benches);
