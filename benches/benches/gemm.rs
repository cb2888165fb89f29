//! Matrix products: squares in both types, the shapes of a training step and of single predictions, layouts. With the
//! feature `peers`, other libraries too.

#![allow(missing_docs, reason = "criterion's macros make undocumented functions")]

use benches::numbers;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use kernels::{Element, MatMut, MatRef, gemm};
use peers::{Factor, Product, Scalar};
use std::any::type_name;

/// A product's sizes m, k and n, and whether A and B are stored transposed.
type Shape = ([usize; 3], [bool; 2]);

const PLAIN: [bool; 2] = [false, false];

fn squares<T: Scalar + Element + From<f32>>(c: &mut Criterion) {
    let sizes = [8, 16, 32, 64, 128, 256, 512, 1024];
    group::<T>(c, &format!("gemm_{}", type_name::<T>()), &sizes.map(|size| ([size; 3], PLAIN)));
}

fn mlp(c: &mut Criterion) {
    let forward = [[32, 784, 128], [32, 128, 10], [1, 784, 128], [32, 10, 128]].map(|sizes| (sizes, PLAIN));
    // The gradients of weights: A is a batch, transposed.
    let gradients = [[784, 32, 128], [128, 32, 10]].map(|sizes| (sizes, [true, false]));
    group::<f32>(c, "gemm_mlp", &[&forward[..], &gradients].concat());
}

fn layouts(c: &mut Criterion) {
    let all = [PLAIN, [true, false], [false, true], [true, true]];
    group::<f32>(c, "gemm_layouts", &all.map(|transposed| ([256; 3], transposed)));
}

fn group<T: Scalar + Element + From<f32>>(c: &mut Criterion, name: &str, shapes: &[Shape]) {
    let mut group = c.benchmark_group(name);
    for &([m, k, n], [a_transposed, b_transposed]) in shapes {
        let of = |len| -> Vec<T> { numbers(len).into_iter().map(T::from).collect() };
        let (a, b, mut out) = (of(m * k), of(k * n), of(m * n));
        let mark = |transposed, mark| if transposed { mark } else { "" };
        let shape = format!("{m}x{k}x{n}{}{}", mark(a_transposed, "A'"), mark(b_transposed, "B'"));
        // An element is a floating-point operation here: Gelem/s reads as GFLOP/s.
        group.throughput(Throughput::Elements(2 * (m * k * n) as u64));

        let mut product = || {
            let a = if a_transposed { MatRef::new(&a, k, m)?.t() } else { MatRef::new(&a, m, k)? };
            let b = if b_transposed { MatRef::new(&b, n, k)?.t() } else { MatRef::new(&b, k, n)? };
            gemm(a, b, MatMut::new(&mut out, m, n)?)
        };
        product().expect("matrices that fit each other");
        group.bench_function(BenchmarkId::new("kernels", &shape), |bencher| bencher.iter(&mut product));

        for peer in peers::RUST {
            let a = Factor { data: &a, transposed: a_transposed };
            let b = Factor { data: &b, transposed: b_transposed };
            group.bench_function(BenchmarkId::new(peer.name(), &shape), |bencher| {
                bencher.iter(|| T::multiply(*peer, Product::new([m, k, n], a, b, &mut out, 1)));
            });
        }
    }
}

criterion_group!(benches, squares::<f32>, squares::<f64>, mlp, layouts);
criterion_main!(benches);
