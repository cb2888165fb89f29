//! Matrix products: squares, and the shapes of a training step and of single predictions.

#![allow(missing_docs, reason = "criterion's macros make undocumented functions")]

use benches::numbers;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use kernels::{MatMut, MatRef, gemm};

fn squares(c: &mut Criterion) {
    let mut group = c.benchmark_group("gemm");
    for size in [8, 16, 32, 64, 128, 256, 512, 1024] {
        bench(&mut group, (size, size, size), false);
    }
}

fn mlp(c: &mut Criterion) {
    let mut group = c.benchmark_group("gemm_mlp");
    for shape in [(32, 784, 128), (32, 128, 10), (1, 784, 128), (32, 10, 128)] {
        bench(&mut group, shape, false);
    }
    // The gradients of weights: A is a batch, transposed.
    for shape in [(784, 32, 128), (128, 32, 10)] {
        bench(&mut group, shape, true);
    }
}

type Group<'a> = criterion::BenchmarkGroup<'a, criterion::measurement::WallTime>;

fn bench(group: &mut Group<'_>, (m, k, n): (usize, usize, usize), transposed: bool) {
    let (a, b, mut out) = (numbers(m * k), numbers(k * n), vec![0.0; m * n]);
    let name = BenchmarkId::from_parameter(format!("{m}x{k}x{n}{}", if transposed { "t" } else { "" }));
    let mut product = || {
        let a = if transposed { MatRef::new(&a, k, m)?.t() } else { MatRef::new(&a, m, k)? };
        gemm(a, MatRef::new(&b, k, n)?, MatMut::new(&mut out, m, n)?)
    };
    product().expect("matrices that fit each other");
    // An element is a floating-point operation here: Gelem/s reads as GFLOP/s.
    group.throughput(Throughput::Elements(2 * (m * k * n) as u64));
    group.bench_function(name, |bencher| bencher.iter(&mut product));
}

criterion_group!(benches, squares, mlp);
criterion_main!(benches);
