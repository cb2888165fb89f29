//! Precisions below f32 on rows without a tile unit: the product of rounded operands, by every way to call.

use kernels::{
    Activation, Backend, BatchMut, BatchRef, Blocking, Gemm, Layout, MatMut, MatRef, Packed, Precision, Team, Tuning,
};

/// A way to compute into a C.
type Call<'a> = &'a dyn Fn(MatMut<'_, f32>) -> kernels::Result<()>;

fn numbers(seed: u64, len: usize) -> Vec<f32> {
    let mut state = seed;
    let next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((state >> 33) as f64 / f64::from(1 << 30) - 1.0) as f32
    };
    std::iter::repeat_with(next).take(len).collect()
}

fn rounded(precision: Precision, x: &[f32]) -> Vec<f32> {
    x.iter().map(|&x| precision.round(x)).collect()
}

fn bits(x: &[f32]) -> Vec<u32> {
    x.iter().map(|x| x.to_bits()).collect()
}

/// The rows; under a pin, only that one: emulators are slow.
fn backends() -> impl Iterator<Item = &'static Backend> {
    let pinned = std::env::var_os("KERNELS_ISA").map(|_| Backend::active().unwrap().name());
    Backend::supported().filter(move |b| pinned.is_none_or(|name| name == b.name()))
}

#[test]
fn operands_are_rounded_however_a_product_is_called() {
    let team = Team::new(3);
    let early = Tuning::from_values([1; 6]);
    for (m, k, n) in [(1, 1, 1), (1, 300, 70), (70, 300, 1), (5, 7, 33), (13, 600, 37), (150, 260, 170)] {
        let (a, b, c, bias) = (numbers(1, m * k), numbers(2, k * n), numbers(3, m * n), numbers(4, n));
        for precision in Precision::ALL {
            let (ra, rb) = (rounded(precision, &a), rounded(precision, &b));
            // A tile unit has results of its own (`gemm/amx/tests.rs`).
            for backend in backends().filter(|b| !b.has_tile_unit()) {
                let base = Gemm::new().backend(backend).beta(0.5).bias(&bias).activation(Activation::Relu);
                let mut want = c.clone();
                let (ra, rb) = (MatRef::new(&ra, m, k).unwrap(), MatRef::new(&rb, k, n).unwrap());
                base.run(ra, rb, MatMut::new(&mut want, m, n).unwrap()).unwrap();
                let (a, b) = (MatRef::new(&a, m, k).unwrap(), MatRef::new(&b, k, n).unwrap());
                let call = base.precision(precision);
                let (pa, pb) = (call.pack_a(a).unwrap(), call.pack_b(b).unwrap());
                let plan = call.prepare(a.layout(), b.layout(), Layout::row_major(m, n)).unwrap();
                let (few, some) = (Blocking { kc: 1, nc: 1 }, Blocking { kc: 512, nc: 70 });
                let calls: [(&str, Call<'_>); 10] = [
                    ("plain", &|c| call.run(a, b, c)),
                    ("threads", &|c| call.par(&team).tuning(&early).run(a, b, c)),
                    ("small blocks", &|c| call.blocking(few).run(a, b, c)),
                    ("blocks", &|c| call.blocking(some).run(a, b, c)),
                    ("packed A", &|c| call.run(&pa, b, c)),
                    ("packed B", &|c| call.par(&team).run(a, &pb, c)),
                    ("packed", &|c| call.par(&team).tuning(&early).run(&pa, &pb, c)),
                    ("a plan", &|c| base.plan(&plan).run(a, b, c)),
                    ("a plan, named", &|c| call.plan(&plan).run(a, b, c)),
                    ("a batch", &|c| {
                        let mut c = [c];
                        call.run_batch(BatchRef::from(&[a][..]), b, BatchMut::from(&mut c[..]))
                    }),
                ];
                for (name, call) in calls {
                    let mut got = c.clone();
                    call(MatMut::new(&mut got, m, n).unwrap()).unwrap();
                    assert_eq!(bits(&got), bits(&want), "{backend:?} {precision} {m}x{k}x{n} {name}");
                }
                // C' = B' A', A and C column-major.
                let t: Vec<f32> = (0..k * m).map(|i| a.get(i % m, i / m)).collect();
                let mut got: Vec<f32> = (0..n * m).map(|i| c[i % m * n + i / m]).collect();
                let c = MatMut::with_strides(&mut got, m, n, 1, m).unwrap();
                call.run(MatRef::with_strides(&t, m, k, 1, m).unwrap(), b, c).unwrap();
                let want: Vec<f32> = (0..n * m).map(|i| want[i % m * n + i / m]).collect();
                assert_eq!(bits(&got), bits(&want), "{backend:?} {precision} {m}x{k}x{n} column-major");
            }
        }
    }
}

#[test]
fn without_products_nothing_is_read() {
    let nan = [f32::NAN; 6];
    for precision in Precision::ALL {
        let mut c = [2.0; 6];
        let call = Gemm::new().precision(precision).alpha(0.0).beta(0.5);
        let (a, b) = (MatRef::new(&nan, 2, 3).unwrap(), MatRef::with_strides(&nan, 3, 3, 0, 1).unwrap());
        call.run(a, b, MatMut::new(&mut c, 2, 3).unwrap()).unwrap();
        assert_eq!(c, [1.0; 6]);
    }
}

#[test]
fn what_was_made_for_another_precision_is_refused() {
    let x = numbers(1, 6);
    let (a, b) = (MatRef::new(&x, 2, 3).unwrap(), MatRef::new(&x, 3, 2).unwrap());
    let backend = backends().next().unwrap();
    let name = backend.name();
    let call = Gemm::new().backend(backend);
    let mut c = [7.0; 4];
    let packed: Packed<f32> = call.precision(Precision::Bf16).pack_a(a).unwrap();
    assert_eq!(format!("{packed:?}"), format!("2x3 packed for A on {name} in bf16"));
    let wrong = call.run(&packed, b, MatMut::new(&mut c, 2, 2).unwrap()).unwrap_err().to_string();
    assert_eq!(wrong, format!("a matrix was packed for A on {name} in bf16, but the call needs it for A on {name}"));
    let square = Layout::row_major(2, 2);
    let plan = call.precision(Precision::Bf16x3).prepare(a.layout(), b.layout(), square).unwrap();
    let bf16 = call.precision(Precision::Bf16).plan(&plan);
    let wrong = bf16.run(a, b, MatMut::new(&mut c, 2, 2).unwrap()).unwrap_err().to_string();
    assert_eq!(wrong, "the precision is bf16, but the plan was made for bf16x3");
    // A plan's precision is that of its calls.
    let wrong = call.plan(&plan).run(&packed, b, MatMut::new(&mut c, 2, 2).unwrap()).unwrap_err().to_string();
    assert!(wrong.contains("A"), "{wrong}");
    assert_eq!(c, [7.0; 4], "a refused call writes nothing");
}

#[test]
fn explain_tells_the_precision() {
    let backend = Backend::by_name("portable").or_else(|_| Backend::by_name("plain")).unwrap();
    let call = Gemm::new().backend(backend);
    let text = |precision| call.precision(precision).explain(40, 300, 50).unwrap().to_string();
    assert!(!text(Precision::F32).contains("precise"));
    assert!(text(Precision::F32Amx).contains("f32-amx: computed as f32"), "{}", text(Precision::F32Amx));
    let rounded = text(Precision::Bf16);
    assert!(rounded.contains("bf16: operands are rounded") && rounded.contains("blocked: A is packed"), "{rounded}");
}
