//! Functions of slices, in the first cache and in the second, and updates. With the feature `peers`, other libraries
//! too: plain loops, rten-vecmath, and VML and SLEEF where they are installed.

#![allow(missing_docs, reason = "criterion's macros make undocumented functions")]

use benches::numbers;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use kernels::{Adam, Backend, Function, MatMut, Update};

/// Elements whose input and output fit the first cache, and the second.
const SIZES: [usize; 2] = [2048, 32 * 1024];

fn backend() -> &'static Backend {
    Backend::active().expect("KERNELS_ISA names a row that this CPU can run")
}

fn functions(c: &mut Criterion) {
    for f in Function::ALL {
        slices(c, f.name(), |x, y| backend().map_into(f, x, y).expect("slices of one length"));
    }
}

fn softmax(c: &mut Criterion) {
    slices(c, "softmax", |x, y| {
        y.copy_from_slice(x);
        let cols = y.len();
        backend().softmax(MatMut::new(y, 1, cols).expect("a slice of this size"));
    });
    slices(c, "softmax of 10", |x, y| {
        y.copy_from_slice(x);
        let rows = y.len() / 10;
        backend().softmax(MatMut::new(&mut y[..rows * 10], rows, 10).expect("a slice of this size"));
    });
}

fn slices(c: &mut Criterion, name: &str, kernels: impl Fn(&[f32], &mut [f32])) {
    let mut group = c.benchmark_group(name);
    for len in SIZES {
        // Between 0 and 8: every function has work to do there, and the logarithm no NaN.
        let x: Vec<f32> = numbers(len).iter().map(|x| 4.0 * x + 4.0).collect();
        let mut y = vec![0.0; len];
        group.throughput(Throughput::Elements(len as u64));
        group.bench_function(BenchmarkId::new("kernels", len), |bencher| bencher.iter(|| kernels(&x, &mut y)));
        if !cfg!(feature = "peers") {
            continue;
        }
        for peer in peers::functions::mappers(name) {
            group.bench_function(BenchmarkId::new(peer.name, len), |bencher| bencher.iter(|| peer.run(&x, &mut y)));
        }
    }
}

fn updates(c: &mut Criterion) {
    let mut group = c.benchmark_group("update");
    let adam = Adam::at_step(1e-3, 0.9, 0.999, 1e-7, 10);
    for (name, rule) in [("sgd", Update::Sgd { rate: 1e-3 }), ("adam", Update::Adam(adam))] {
        for len in SIZES {
            let g = numbers(len);
            let (mut p, mut state) = (g.clone(), vec![0.5; rule.state() * len]);
            group.throughput(Throughput::Elements(len as u64));
            group.bench_function(BenchmarkId::new(name, len), |bencher| {
                bencher.iter(|| {
                    let state = rule.parts(&mut state);
                    backend().update(&rule, &g, &mut p, state).expect("slices that fit each other");
                });
            });
        }
    }
    for len in SIZES {
        let (g, mut p, mut m, mut v) = (numbers(len), vec![0.0; len], vec![0.0; len], vec![0.5; len]);
        group.throughput(Throughput::Elements(len as u64));
        group.bench_function(BenchmarkId::new("adam, its roots and quotients", len), |bencher| {
            bencher.iter(|| peers::floor::roots_and_quotients(&mut v));
        });
        group.bench_function(BenchmarkId::new("adam, its reads and writes", len), |bencher| {
            bencher.iter(|| peers::floor::traffic(&g, &mut p, &mut m, &mut v));
        });
    }
}

criterion_group!(benches, functions, softmax, updates);
criterion_main!(benches);
