//! Matrix products: squares in both types, the shapes of a training step and of single predictions, layouts, packing.
//! With the feature `peers`, other libraries too.

#![allow(missing_docs, reason = "criterion's macros make undocumented functions")]

use benches::numbers;
use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use kernels::{Element, Gemm, MatMut, MatRef};
use peers::{Factor, Product, Scalar};
use std::any::type_name;

/// A product's sizes m, k and n, and whether A and B are stored transposed.
type Shape = ([usize; 3], [bool; 2]);

const PLAIN: [bool; 2] = [false, false];

fn squares<T: Scalar + Element + From<f32>>(c: &mut Criterion) {
    let sizes = [8, 16, 32, 64, 128, 256, 512, 1024];
    products::<T>(c, &format!("gemm_{}", type_name::<T>()), &sizes.map(|size| ([size; 3], PLAIN)));
}

fn mlp(c: &mut Criterion) {
    let forward = [[32, 784, 128], [32, 128, 10], [1, 784, 128], [32, 10, 128]].map(|sizes| (sizes, PLAIN));
    // The gradients of weights: A is a batch, transposed.
    let gradients = [[784, 32, 128], [128, 32, 10]].map(|sizes| (sizes, [true, false]));
    products::<f32>(c, "gemm_mlp", &[&forward[..], &gradients].concat());
}

fn layouts(c: &mut Criterion) {
    let all = [PLAIN, [true, false], [false, true], [true, true]];
    products::<f32>(c, "gemm_layouts", &all.map(|transposed| ([256; 3], transposed)));
}

/// Packing B by itself, and products whose B was packed before.
fn packing(c: &mut Criterion) {
    let mut group = c.benchmark_group("gemm_packing");
    for [m, k, n] in [[32, 784, 128], [32, 128, 10], [256; 3], [512; 3]] {
        let (a, b, mut out) = (numbers(m * k), numbers(k * n), vec![0.0; m * n]);
        let a = MatRef::new(&a, m, k).expect("a slice of this size");
        let b = MatRef::new(&b, k, n).expect("a slice of this size");
        let gemm = Gemm::new();
        // Read and written once.
        group.throughput(Throughput::Bytes((2 * k * n * size_of::<f32>()) as u64));
        group.bench_function(BenchmarkId::new("pack_b", format!("{k}x{n}")), |bencher| bencher.iter(|| gemm.pack_b(b)));
        let packed = gemm.pack_b(b).expect("KERNELS_ISA names a row that this CPU can run");
        throughput::<f32>(&mut group, [m, k, n]);
        group.bench_function(BenchmarkId::new("with_packed_b", format!("{m}x{k}x{n}")), |bencher| {
            bencher.iter(|| gemm.run(a, &packed, MatMut::new(&mut out, m, n)?));
        });
    }
}

/// An element is a floating-point operation here: Gelem/s reads as GFLOP/s. Bytes are those of A, B and C, each once.
fn throughput<T>(group: &mut BenchmarkGroup<'_, WallTime>, [m, k, n]: [usize; 3]) {
    let (elements, bytes) = (2 * (m * k * n) as u64, ((m * k + k * n + m * n) * size_of::<T>()) as u64);
    group.throughput(Throughput::ElementsAndBytes { elements, bytes });
}

fn products<T: Scalar + Element + From<f32>>(c: &mut Criterion, name: &str, shapes: &[Shape]) {
    let mut group = c.benchmark_group(name);
    for &([m, k, n], [a_transposed, b_transposed]) in shapes {
        let of = |len| -> Vec<T> { numbers(len).into_iter().map(T::from).collect() };
        let (a, b, mut out) = (of(m * k), of(k * n), of(m * n));
        let mark = |transposed, mark| if transposed { mark } else { "" };
        let shape = format!("{m}x{k}x{n}{}{}", mark(a_transposed, "A'"), mark(b_transposed, "B'"));
        throughput::<T>(&mut group, [m, k, n]);

        let mut product = || {
            let a = if a_transposed { MatRef::new(&a, k, m)?.t() } else { MatRef::new(&a, m, k)? };
            let b = if b_transposed { MatRef::new(&b, n, k)?.t() } else { MatRef::new(&b, k, n)? };
            Gemm::new().run(a, b, MatMut::new(&mut out, m, n)?)
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

criterion_group!(benches, squares::<f32>, squares::<f64>, mlp, layouts, packing);
criterion_main!(benches);
