//! Operands of bf16 numbers: on bits, the product of the same numbers as f32, however it is called.

use kernels::{
    Activation, Backend, BatchMut, BatchRef, Bf16, Blocking, Gemm, Layout, MatMut, MatRef, Precision, Team, Tuning,
    Workspace,
};
use proptest::prelude::*;

/// Seeded numbers in [-1, 1), of which some may be odd.
fn numbers(seed: u64, len: usize, odd: bool) -> Vec<Bf16> {
    const ODD: [f32; 8] = [0.0, -0.0, f32::NAN, f32::INFINITY, 1e-40, -3e-39, f32::MAX, 1e-30];
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as u32
    };
    let number = |r: u32| {
        if odd && r.is_multiple_of(60) {
            ODD[r as usize / 60 % 8]
        } else {
            (f64::from(r) / f64::from(1 << 30) - 1.0) as f32
        }
    };
    (0..len).map(|_| Bf16::from_f32(number(next()))).collect()
}

fn floats(x: &[Bf16]) -> Vec<f32> {
    x.iter().map(|&x| x.into()).collect()
}

/// The same bits, or both NaN: which NaN is left open.
fn same(a: &[f32], b: &[f32]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.to_bits() == b.to_bits() || a.is_nan() && b.is_nan())
}

/// The rows, one of them under a pin: emulators are slow.
fn backends() -> impl Iterator<Item = &'static Backend> {
    let pinned = std::env::var_os("KERNELS_ISA").map(|_| Backend::active().unwrap().name());
    Backend::supported().filter(move |b| pinned.is_none_or(|name| name == b.name()))
}

/// How a matrix lies in memory; between its elements there are NaN.
#[derive(Debug, Clone, Copy)]
enum Place {
    RowMajor,
    ColMajor,
    /// Row-major with a gap after each row, at an odd offset.
    Sub,
    /// Apart, both ways.
    Sparse,
    /// Row-major, backwards in both directions.
    Reversed,
}

const PLACES: [Place; 5] = [Place::RowMajor, Place::ColMajor, Place::Sub, Place::Sparse, Place::Reversed];

/// A matrix twice, of bf16 and of f32 numbers.
struct Matrix {
    bf16: Vec<Bf16>,
    f32: Vec<f32>,
    shape: (usize, usize),
    base: usize,
    strides: (isize, isize),
}

impl Matrix {
    fn new(place: Place, rows: usize, cols: usize, seed: u64, odd: bool) -> Self {
        let (r, c) = (rows as isize, cols as isize);
        let (base, row, col) = match place {
            Place::RowMajor => (0, c, 1),
            Place::ColMajor => (0, 1, r),
            Place::Sub => (1, c + 5, 1),
            Place::Sparse => (0, 2 * c + 1, 2),
            Place::Reversed => ((r * c - 1).max(0), -c, -1),
        };
        let far = |n: usize, stride: isize| (n.max(1) - 1) * stride.max(0) as usize;
        let len = base as usize + far(rows, row) + far(cols, col) + 1;
        let mut bf16 = vec![Bf16::from_f32(f32::NAN); len];
        for (at, x) in numbers(seed, rows * cols, odd).into_iter().enumerate() {
            let (i, j) = ((at / cols) as isize, (at % cols) as isize);
            bf16[(base + i * row + j * col) as usize] = x;
        }
        Self { f32: floats(&bf16), bf16, shape: (rows, cols), base: base as usize, strides: (row, col) }
    }

    fn view<'a, T>(&self, data: &'a [T]) -> MatRef<'a, T> {
        let ((rows, cols), (row, col)) = (self.shape, self.strides);
        // SAFETY: `new` made room for every element, and the base is element (0, 0).
        unsafe { MatRef::from_raw(data[self.base..].as_ptr(), rows, cols, row, col) }
    }

    fn bf16(&self) -> MatRef<'_, Bf16> {
        self.view(&self.bf16)
    }

    fn f32(&self) -> MatRef<'_, f32> {
        self.view(&self.f32)
    }
}

/// A way to compute into a C.
type Call<'a> = &'a dyn Fn(MatMut<'_, f32>) -> kernels::Result<()>;

/// One product; `odd` says whether some numbers are.
#[derive(Debug, Clone, Copy)]
struct Case {
    size: (usize, usize, usize),
    places: (Place, Place, Place),
    beta: f32,
    odd: bool,
    precision: Precision,
}

impl Case {
    /// Compares every way to call with the product of f32 numbers.
    fn check(self) {
        let Self { size: (m, k, n), places, beta, odd, precision } = self;
        let (a, b) = (Matrix::new(places.0, m, k, 1, odd), Matrix::new(places.1, k, n, 2, odd));
        let (bias, old) = (floats(&numbers(3, n, odd)), Matrix::new(places.2, m, n, 4, odd));
        let (team, workspace, early) = (Team::new(2), Workspace::new(), Tuning::from_values([1; 6]));
        let (al, bl, cl) = (a.bf16().layout(), b.bf16().layout(), old.f32().layout());
        for backend in backends() {
            let call = Gemm::new().backend(backend).precision(precision).beta(beta).bias(&bias);
            let call = call.activation(Activation::Relu);
            let into = |call: Call<'_>| {
                let mut c = old.f32.clone();
                let (row, col) = old.strides;
                // SAFETY: `new` made room for every element; each has a place of its own.
                let view = unsafe { MatMut::from_raw(c[old.base..].as_mut_ptr(), m, n, row, col) };
                call(view).unwrap();
                c
            };
            let want = into(&|c| call.run(a.f32(), b.f32(), c));
            let (pa, pb) = (call.pack_a(a.bf16()).unwrap(), call.pack_b(b.bf16()).unwrap());
            let plan = call.par(&team).prepare(al, bl, cl).unwrap();
            let mixed = call.prepare(a.f32().layout(), bl, cl).unwrap();
            let blocks = call.blocking(Blocking { kc: 512, nc: 70 }).workspace(&workspace);
            let apart = call.par(&team).tuning(&early);
            let (listed_a, listed_b) = ([a.bf16()], [b.bf16()]);
            let calls: [(&str, Call<'_>); 13] = [
                ("both", &|c| call.run(a.bf16(), b.bf16(), c)),
                ("A", &|c| call.run(a.bf16(), b.f32(), c)),
                ("B", &|c| call.run(a.f32(), b.bf16(), c)),
                ("threads", &|c| apart.run(a.bf16(), b.bf16(), c)),
                ("blocks", &|c| blocks.run(a.bf16(), b.bf16(), c)),
                ("packed A", &|c| call.run(&pa, b.bf16(), c)),
                ("packed B", &|c| call.run(a.bf16(), &pb, c)),
                ("packed", &|c| apart.run(&pa, &pb, c)),
                ("packed B, A of f32", &|c| call.run(a.f32(), &pb, c)),
                ("a plan", &|c| call.plan(&plan).run(a.bf16(), b.bf16(), c)),
                ("a plan for A of f32", &|c| call.plan(&mixed).run(a.f32(), b.bf16(), c)),
                ("a batch, A listed", &|c| call.run_batch(&listed_a[..], b.bf16(), &mut [c][..])),
                ("a batch, B listed", &|c| call.run_batch(a.f32(), &listed_b[..], &mut [c][..])),
            ];
            for (name, call) in calls {
                assert!(same(&into(call), &want), "{backend:?} {self:?}: {name}");
            }
        }
    }
}

#[test]
fn the_product_of_the_same_numbers_as_f32() {
    let row = Place::RowMajor;
    for size in [(1, 1, 1), (1, 300, 70), (70, 300, 1), (5, 7, 33), (6, 16, 16), (13, 600, 37), (150, 260, 170)] {
        for (precision, odd) in Precision::ALL.into_iter().flat_map(|precision| [(precision, false), (precision, true)])
        {
            Case { size, places: (row, row, row), beta: 0.5, odd, precision }.check();
        }
    }
    for size in [(0, 3, 3), (3, 0, 3), (3, 3, 0)] {
        Case { size, places: (row, row, row), beta: 1.0, odd: false, precision: Precision::Bf16 }.check();
    }
}

/// A matrix that is read once, for a row or a column.
#[test]
fn matrix_vector() {
    for place in PLACES {
        for (k, n) in [(7, 5), (300, 70), (513, 130)] {
            let case = |size, places| Case { size, places, beta: 0.5, odd: true, precision: Precision::F32 };
            case((1, k, n), (place, place, Place::RowMajor)).check();
            case((n, k, 1), (place, place, Place::RowMajor)).check();
        }
    }
}

/// Pieces of what is widened end at every place, in both directions.
#[test]
fn pieces_of_any_size() {
    for (m, k) in [(31, 32), (32, 33), (33, 31), (64, 65), (65, 64)] {
        for place in PLACES {
            let places = (place, place, Place::RowMajor);
            Case { size: (m, k, m + 1), places, beta: 0.0, odd: false, precision: Precision::Bf16 }.check();
        }
    }
}

/// On rows without a tile unit, bf16 numbers multiply alike in f32 and in bf16.
#[test]
fn precisions_agree_where_nothing_is_to_be_rounded() {
    let (m, k, n) = (20, 300, 40);
    let (a, b) = (Matrix::new(Place::Sub, m, k, 1, true), Matrix::new(Place::ColMajor, k, n, 2, true));
    for backend in backends().filter(|backend| !backend.has_tile_unit()) {
        let [exact, rest @ ..] = Precision::ALL.map(|precision| {
            let mut c = vec![0.0; m * n];
            let call = Gemm::new().backend(backend).precision(precision);
            call.run(a.bf16(), b.bf16(), MatMut::new(&mut c, m, n).unwrap()).unwrap();
            c
        });
        assert!(rest.iter().all(|c| same(c, &exact)), "{backend:?}");
    }
}

#[test]
fn strided_batches_and_their_transposes() {
    let (count, m, k, n) = (5, 3, 40, 18);
    let (a, b) = (numbers(1, count * m * k, false), numbers(2, k * n, false));
    let (wide_a, wide_b) = (floats(&a), floats(&b));
    let (mut found, mut want) = (vec![7.0; count * m * n], vec![0.0; count * m * n]);
    let call = Gemm::new().precision(Precision::Bf16);
    let batch = BatchRef::strided(&a, count, m * k, k, m).unwrap().t();
    let b = MatRef::new(&b, n, k).unwrap();
    call.run_batch(batch, BatchRef::<f32>::from(b).t(), BatchMut::strided(&mut found, count, m * n, m, n).unwrap())
        .unwrap();
    let batch = BatchRef::strided(&wide_a, count, m * k, k, m).unwrap().t();
    let b = MatRef::new(&wide_b, n, k).unwrap().t();
    call.run_batch(batch, b, BatchMut::strided(&mut want, count, m * n, m, n).unwrap()).unwrap();
    assert!(same(&found, &want));
}

#[test]
fn what_does_not_fit_is_an_error() {
    let x = numbers(1, 12, false);
    let wide = floats(&x);
    let (a, b) = (MatRef::new(&x[..6], 2, 3).unwrap(), MatRef::new(&x, 4, 3).unwrap());
    let mut c = [7.0; 6];
    let call = Gemm::new().backend(backends().next().unwrap());
    let wrong = call.run(a, b, MatMut::new(&mut c, 2, 3).unwrap()).unwrap_err().to_string();
    assert_eq!(wrong, "B is 4x3, but the other operands need 3x3");
    let b = MatRef::new(&x[..9], 3, 3).unwrap();
    // What is to be widened is no f32 matrix of the same strides.
    let square = Layout::row_major(3, 3);
    let plan = call.prepare(a.layout(), square, Layout::row_major(2, 3)).unwrap();
    let wrong = call.plan(&plan).run(a, b, MatMut::new(&mut c, 2, 3).unwrap()).unwrap_err().to_string();
    assert_eq!(wrong, "B is 3x3 of bf16 with strides (3, 1), but the plan was made for 3x3 with strides (3, 1)");
    assert_eq!(b.layout(), square.bf16());
    let plan = call.prepare(Layout::row_major(2, 3).bf16(), square.bf16(), Layout::row_major(2, 3)).unwrap();
    let f32_b = MatRef::new(&wide[..9], 3, 3).unwrap();
    let wrong = call.plan(&plan).run(a, f32_b, MatMut::new(&mut c, 2, 3).unwrap()).unwrap_err().to_string();
    assert_eq!(wrong, "B is 3x3 with strides (3, 1), but the plan was made for 3x3 of bf16 with strides (3, 1)");
    // Packed operands keep their precision, whatever they were made of.
    let packed = call.precision(Precision::Bf16).pack_b(b).unwrap();
    let wrong = call.run(a, &packed, MatMut::new(&mut c, 2, 3).unwrap()).unwrap_err().to_string();
    assert!(wrong.contains("in bf16, but the call needs it for B on"), "{wrong}");
    assert_eq!(c, [7.0; 6], "a refused call writes nothing");
    call.plan(&plan).run(a, b, MatMut::new(&mut c, 2, 3).unwrap()).unwrap();
    assert!(c.iter().all(|&c| c != 7.0));
}

#[test]
fn nothing_is_read_without_products() {
    let nan = [Bf16::from_f32(f32::NAN); 6];
    let (a, b) = (MatRef::new(&nan, 2, 3).unwrap(), MatRef::with_strides(&nan, 3, 3, 0, 1).unwrap());
    let mut c = [2.0; 6];
    Gemm::new().alpha(0.0).beta(0.5).run(a, b, MatMut::new(&mut c, 2, 3).unwrap()).unwrap();
    assert_eq!(c, [1.0; 6]);
}

#[test]
fn explain_tells_what_is_widened() {
    let call = Gemm::<f32>::new().backend(backends().next().unwrap());
    let (wide, half) = (Layout::row_major(40, 40), Layout::row_major(40, 40).bf16());
    let text = |a, b| call.explain_layouts(a, b, wide).unwrap().to_string();
    assert!(text(half, wide).contains("A is packed, from bf16, B is read where it lies"), "{}", text(half, wide));
    assert!(text(wide, half).contains("B is packed, from bf16"), "{}", text(wide, half));
    assert!(!text(wide, wide).contains("bf16"));
    let (row, matrix) = (Layout::row_major(1, 300), Layout::row_major(300, 200));
    let text = |b| call.explain_layouts(row, b, Layout::row_major(1, 200)).unwrap().to_string();
    assert!(text(matrix.bf16()).contains("as it lies, and widened from bf16"), "{}", text(matrix.bf16()));
    assert!(!text(matrix).contains("widened"));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(64) })]

    #[test]
    fn any_product(
        size in (0usize..70, 0usize..600, 0usize..90),
        (a, b, c) in (0usize..5, 0usize..5, 0usize..5),
        beta in prop::sample::select(vec![0.0f32, 1.0, 0.5]),
        odd: bool,
        precision in prop::sample::select(Precision::ALL.to_vec()),
    ) {
        Case { size, places: (PLACES[a], PLACES[b], PLACES[c]), beta, odd, precision }.check();
    }
}
