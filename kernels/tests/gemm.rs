//! The product against its definition, on bits: every supported row of the table, every route.

use kernels::reference::{Entry, definition};
use kernels::{
    Activation, Backend, BatchMut, BatchRef, Blocking, CHUNK, Element, Gemm, MatMut, MatRef, Par, Serial, Team, Tuning,
    Workspace,
};

/// Element types as the tests need them.
trait Number: Element + std::fmt::Debug {
    fn from_f64(x: f64) -> Self;
    /// Equal in every bit, or both NaN: which NaN is left open.
    fn same(self, other: Self) -> bool;
}
impl Number for f32 {
    fn from_f64(x: f64) -> Self {
        x as f32
    }
    fn same(self, other: Self) -> bool {
        self.to_bits() == other.to_bits() || (self.is_nan() && other.is_nan())
    }
}
impl Number for f64 {
    fn from_f64(x: f64) -> Self {
        x
    }
    fn same(self, other: Self) -> bool {
        self.to_bits() == other.to_bits() || (self.is_nan() && other.is_nan())
    }
}

/// Seeded numbers in [-1, 1) with full significands (splitmix64).
fn numbers<T: Number>(seed: u64, len: usize) -> Vec<T> {
    let mut state = seed;
    let next = || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        T::from_f64(((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 52) as f64 - 1.0)
    };
    std::iter::repeat_with(next).take(len).collect()
}

/// How a matrix lies in memory. Places between its elements hold NaN, which must neither be used nor overwritten.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Layout {
    RowMajor,
    ColMajor,
    /// Row-major with a gap after each row, at an odd offset.
    Sub,
    /// Two elements apart, both ways.
    Sparse,
    /// Row-major, backwards in both directions.
    Reversed,
}

const LAYOUTS: [Layout; 5] = [Layout::RowMajor, Layout::ColMajor, Layout::Sub, Layout::Sparse, Layout::Reversed];

/// A matrix in a buffer with guards.
struct Matrix<T> {
    data: Vec<T>,
    rows: usize,
    cols: usize,
    base: usize,
    row: isize,
    col: isize,
}

const GUARD: usize = 3;

impl<T: Number> Matrix<T> {
    fn new(layout: Layout, rows: usize, cols: usize, values: &[T]) -> Self {
        let (r, c) = (rows as isize, cols as isize);
        let (base, row, col) = match layout {
            Layout::RowMajor => (0, c, 1),
            Layout::ColMajor => (0, 1, r),
            Layout::Sub => (1, c + 5, 1),
            Layout::Sparse => (0, 2 * c + 1, 2),
            Layout::Reversed => ((r * c - 1).max(0), -c, -1),
        };
        let base = base as usize + GUARD;
        let far = |n: usize, stride: isize| (n.max(1) - 1) * stride.max(0) as usize;
        let nan = T::from_f64(f64::NAN);
        let mut x =
            Self { data: vec![nan; base + far(rows, row) + far(cols, col) + 1 + GUARD], rows, cols, base, row, col };
        for i in 0..rows {
            for j in 0..cols {
                let at = x.at(i, j);
                x.data[at] = values[i * cols + j];
            }
        }
        x
    }

    fn at(&self, i: usize, j: usize) -> usize {
        (self.base as isize + i as isize * self.row + j as isize * self.col) as usize
    }

    fn view(&self) -> MatRef<'_, T> {
        // SAFETY: `new` made room for every element, and the base is element (0, 0).
        unsafe { MatRef::from_raw(self.data.as_ptr().add(self.base), self.rows, self.cols, self.row, self.col) }
    }

    fn view_mut(&mut self) -> MatMut<'_, T> {
        // SAFETY: as above; in every layout each element has a place of its own.
        unsafe { MatMut::from_raw(self.data.as_mut_ptr().add(self.base), self.rows, self.cols, self.row, self.col) }
    }

    /// The elements, row by row, after a check that everything around them is untouched.
    fn values(&self, what: &str) -> Vec<T> {
        let mut seen = vec![false; self.data.len()];
        let mut values = Vec::new();
        for i in 0..self.rows {
            for j in 0..self.cols {
                seen[self.at(i, j)] = true;
                values.push(self.data[self.at(i, j)]);
            }
        }
        let nan = T::from_f64(f64::NAN);
        let hurt = seen.iter().zip(&self.data).position(|(seen, x)| !seen && !x.same(nan));
        assert_eq!(hurt, None, "{what}: wrote between the elements");
        values
    }
}

/// A way to compute into a C.
type Call<'a, T> = &'a dyn Fn(MatMut<'_, T>) -> kernels::Result<()>;

/// One product: what is computed, but not how.
#[derive(Debug, Clone, Copy)]
struct Case {
    size: (usize, usize, usize),
    layouts: (Layout, Layout, Layout),
    alpha: f64,
    beta: f64,
    bias: Along,
    relu: bool,
}

/// Where a bias lies.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Along {
    None,
    Columns,
    Rows,
}
const ALONG: [Along; 3] = [Along::None, Along::Columns, Along::Rows];

impl Case {
    fn plain(m: usize, k: usize, n: usize) -> Self {
        let row = Layout::RowMajor;
        let layouts = (row, row, row);
        Self { size: (m, k, n), layouts, alpha: 1.0, beta: 0.0, bias: Along::None, relu: false }
    }

    /// Runs the case with the given settings, and compares every element with the definition.
    fn check<T: Number>(&self, backends: &[&'static Backend], ways: &[(Option<Blocking>, &dyn Par)]) {
        let (m, k, n) = self.size;
        let (a, b, c) = (numbers(1, m * k), numbers(2, k * n), numbers(3, m * n));
        let bias: Vec<T> = match self.bias {
            Along::None => vec![],
            Along::Columns => numbers(4, n),
            Along::Rows => numbers(4, m),
        };
        let (alpha, beta) = (T::from_f64(self.alpha), T::from_f64(self.beta));
        let activation = if self.relu { Activation::Relu } else { Activation::Identity };
        // At beta 0 the old C must not be read: it holds NaN.
        let c: Vec<T> = if self.beta == 0.0 { vec![T::from_f64(f64::NAN); m * n] } else { c };

        let mut want = Vec::new();
        for i in 0..m {
            for j in 0..n {
                let column: Vec<T> = (0..k).map(|p| b[p * n + j]).collect();
                want.push(definition(&Entry {
                    a: &a[i * k..][..k],
                    b: &column,
                    c: c[i * n + j],
                    alpha,
                    beta,
                    bias: bias.get(if self.bias == Along::Rows { i } else { j }).copied(),
                    activation,
                }));
            }
        }
        let (a, b) = (Matrix::new(self.layouts.0, m, k, &a), Matrix::new(self.layouts.1, k, n, &b));
        for &backend in backends {
            for &(blocking, par) in ways {
                let mut c = Matrix::new(self.layouts.2, m, n, &c);
                let mut call = Gemm::new().alpha(alpha).beta(beta).activation(activation).backend(backend).par(par);
                match self.bias {
                    Along::None => {}
                    Along::Columns => call = call.bias(&bias),
                    Along::Rows => call = call.row_bias(&bias),
                }
                if let Some(blocking) = blocking {
                    call = call.blocking(blocking);
                }
                call.run(a.view(), b.view(), c.view_mut()).unwrap();
                let what = format!("{backend:?} {self:?} {blocking:?} {} threads", par.threads());
                compare(&c, &want, &what);
            }
        }
    }

    /// Runs the case by every other way to call it (a plan, packed operands, a workspace of its own, a tuning that
    /// packs early, or late), and compares with a plain call, which `check` compares with the definition.
    fn check_calls<T: Number>(&self, backends: &[&'static Backend], par: &dyn Par) {
        let (m, k, n) = self.size;
        let (a, b, c) = (numbers::<T>(1, m * k), numbers::<T>(2, k * n), numbers::<T>(3, m * n));
        let (a, b) = (Matrix::new(self.layouts.0, m, k, &a), Matrix::new(self.layouts.1, k, n, &b));
        let workspace = Workspace::new();
        let early = Tuning { block: 1, kc: 1, pack_rows: 1, near: 1, pack_rows_far: 1, thread_work: 1 };
        // Where it lies, in blocks.
        let late = Tuning { pack_rows: usize::MAX, near: k * n, pack_rows_far: usize::MAX, ..early };
        for &backend in backends {
            let base = Gemm::new().alpha(T::from_f64(self.alpha)).beta(T::from_f64(self.beta)).backend(backend);
            let mut plain = Matrix::new(self.layouts.2, m, n, &c);
            base.run(a.view(), b.view(), plain.view_mut()).unwrap();
            let want = plain.values("a plain call");
            let plan = base.par(par).prepare(a.view().layout(), b.view().layout(), plain.view().layout()).unwrap();
            let (pa, pb) = (base.pack_a(a.view()).unwrap(), base.pack_b(b.view()).unwrap());
            let mixed = base.par(par).prepare(a.view().layout(), pb.layout(), plain.view().layout()).unwrap();
            let small = base.par(par).blocking(SMALL);
            let calls: [(&str, Call<'_, T>); 10] = [
                ("a plan", &|c| base.par(par).plan(&plan).run(a.view(), b.view(), c)),
                ("a workspace", &|c| small.workspace(&workspace).run(a.view(), b.view(), c)),
                ("a tuning", &|c| base.par(par).tuning(&early).run(a.view(), b.view(), c)),
                ("a tuning that packs late", &|c| base.par(par).tuning(&late).run(a.view(), b.view(), c)),
                ("packed A", &|c| base.par(par).run(&pa, b.view(), c)),
                ("packed B", &|c| base.par(par).run(a.view(), &pb, c)),
                ("packed A and B", &|c| base.par(par).run(&pa, &pb, c)),
                ("packed A and B in blocks", &|c| small.run(&pa, &pb, c)),
                ("packed A and B, tuned", &|c| base.par(par).tuning(&early).run(&pa, &pb, c)),
                ("packed B and a plan", &|c| base.plan(&mixed).run(a.view(), &pb, c)),
            ];
            for (name, call) in calls {
                let mut c = Matrix::new(self.layouts.2, m, n, &c);
                call(c.view_mut()).unwrap();
                compare(&c, &want, &format!("{backend:?} {self:?} with {name}"));
            }
        }
    }
}

/// Compares a product with what it should be.
fn compare<T: Number>(c: &Matrix<T>, want: &[T], what: &str) {
    let got = c.values(what);
    let wrong = got.iter().zip(want).position(|(g, w)| !g.same(*w));
    if let Some(at) = wrong {
        panic!("{what}: ({}, {}) is {:?}, not {:?}", at / c.cols, at % c.cols, got[at], want[at]);
    }
}

/// The rows that promise the same bits; under a pin, only that one: emulators are slow.
fn backends() -> Vec<&'static Backend> {
    let pinned = std::env::var_os("KERNELS_ISA").map(|_| Backend::active().unwrap().name());
    Backend::supported().filter(|b| b.bits_match() && pinned.is_none_or(|name| name == b.name())).collect()
}

/// The best of them, as a list: none where the CPU has no FMA.
fn best() -> Vec<&'static Backend> {
    backends().into_iter().take(1).collect()
}

const TINY: Blocking = Blocking { kc: 1, nc: 1 };
const SMALL: Blocking = Blocking { kc: 2 * CHUNK, nc: 70 };
const WAYS: [(Option<Blocking>, &dyn Par); 3] = [(None, &Serial), (Some(TINY), &Serial), (Some(SMALL), &Serial)];

#[test]
fn sizes_around_every_tile_edge() {
    let edges = [1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 12, 13, 15, 16, 17, 31, 32, 33, 49];
    for m in edges {
        for n in edges {
            Case::plain(m, 5, n).check::<f32>(&backends(), &WAYS);
            Case::plain(m, 5, n).check::<f64>(&backends(), &WAYS);
        }
    }
    for n in [63, 64, 65, 95, 127, 128, 129, 257] {
        for m in [1, 2, 3, 4, 14] {
            Case::plain(m, 7, n).check::<f32>(&backends(), &WAYS);
            Case::plain(m, 7, n).check::<f64>(&backends(), &WAYS);
        }
    }
}

/// Where the last columns are few, rows share a vector for them.
#[test]
fn rows_that_share_their_last_vector() {
    for n in (9..16).chain(25..28) {
        for m in (1..=7).chain([11, 32]) {
            for k in [15, 16, CHUNK + 17] {
                let case = Case { beta: 0.5, bias: Along::Columns, ..Case::plain(m, k, n) };
                case.check::<f32>(&backends(), &WAYS);
            }
        }
    }
}

#[test]
fn depths_around_the_chunk() {
    for k in [0, 1, 2, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 2 * CHUNK + 1, 5 * CHUNK + 3] {
        for (m, n) in [(1, 1), (5, 40), (14, 33), (40, 3), (61, 75)] {
            for (alpha, beta) in [(1.0, 0.0), (0.5, -1.0)] {
                let case = Case { alpha, beta, bias: Along::Columns, relu: true, ..Case::plain(m, k, n) };
                case.check::<f32>(&backends(), &WAYS);
                case.check::<f64>(&backends(), &WAYS);
            }
        }
    }
}

#[test]
fn every_layout_of_every_operand() {
    for la in LAYOUTS {
        for lb in LAYOUTS {
            for lc in LAYOUTS {
                for (m, k, n) in [(7, 9, 21), (13, CHUNK + 2, 34), (1, 40, 50), (50, 40, 1)] {
                    let case = Case { layouts: (la, lb, lc), beta: 1.0, bias: Along::Columns, ..Case::plain(m, k, n) };
                    case.check::<f32>(&backends(), &WAYS);
                    case.check::<f64>(&backends(), &WAYS[..1]);
                }
            }
        }
    }
}

#[test]
fn factors_and_epilogues() {
    for alpha in [0.0, 1.0, -1.0, 0.5] {
        for beta in [0.0, 1.0, -1.0, 0.5] {
            for (bias, relu) in ALONG.into_iter().flat_map(|bias| [(bias, false), (bias, true)]) {
                for layout in [Layout::RowMajor, Layout::ColMajor, Layout::Sparse] {
                    let layouts = (Layout::RowMajor, Layout::RowMajor, layout);
                    let size = (13, CHUNK + 1, 35);
                    let case = Case { size, layouts, alpha, beta, bias, relu };
                    case.check::<f32>(&backends(), &WAYS);
                    case.check::<f64>(&backends(), &WAYS[..1]);
                    Case { size: (13, 0, 35), ..case }.check::<f32>(&backends(), &WAYS);
                }
            }
        }
    }
}

#[test]
fn any_number_of_threads() {
    let teams = [1, 2, 3, 7].map(Team::new);
    let ways: Vec<(Option<Blocking>, &dyn Par)> =
        teams.iter().flat_map(|t| [(None, t as &dyn Par), (Some(SMALL), t as &dyn Par)]).collect();
    let best = best();
    // Large enough to be shared out, in both directions, with odd edges.
    for (m, k, n) in [(150, 300, 170), (9, 700, 1000), (1100, 520, 7), (1, 2000, 1500)] {
        let case = Case { beta: 0.5, bias: Along::Rows, relu: true, ..Case::plain(m, k, n) };
        case.check::<f32>(&best, &ways);
        let t = Layout::ColMajor;
        Case { layouts: (t, t, t), ..case }.check::<f32>(&best, &ways);
        case.check::<f64>(&best, &ways);
    }
}

#[test]
fn every_way_to_call_gives_the_same_bits() {
    let team = Team::new(3);
    for (m, k, n) in [(1, 1, 1), (1, 300, 70), (2, 40, 130), (5, 7, 33), (13, 300, 37), (40, 600, 129), (150, 260, 170)]
    {
        for layouts in [
            (Layout::RowMajor, Layout::RowMajor, Layout::RowMajor),
            (Layout::ColMajor, Layout::ColMajor, Layout::ColMajor),
            (Layout::Sub, Layout::Sparse, Layout::Sparse),
            (Layout::ColMajor, Layout::Reversed, Layout::Sub),
        ] {
            for (alpha, beta) in [(1.0, 0.0), (0.5, -1.0), (0.0, 1.0)] {
                let case = Case { layouts, alpha, beta, ..Case::plain(m, k, n) };
                case.check_calls::<f32>(&backends(), &Serial);
                case.check_calls::<f32>(&best(), &team);
                case.check_calls::<f64>(&best(), &team);
            }
        }
    }
    for (m, k, n) in [(0, 3, 3), (3, 0, 3), (3, 3, 0)] {
        Case::plain(m, k, n).check_calls::<f32>(&backends(), &team);
    }
}

#[test]
fn batches_are_products_one_by_one() {
    let team = Team::new(2);
    for (count, (m, k, n)) in
        [(0, (2, 2, 2)), (1, (3, 4, 5)), (3, (7, 300, 20)), (40, (17, 65, 33)), (2, (200, 100, 150))]
    {
        let (a, b) = (numbers::<f32>(1, count * m * k), numbers::<f32>(2, count * k * n));
        let gap = m * n + 3;
        let bias = numbers::<f32>(4, n);
        let call = Gemm::new().bias(&bias).activation(Activation::Relu);
        let (av, bv) = (
            |i: usize| MatRef::new(&a[i * m * k..][..m * k], m, k),
            |i: usize| MatRef::new(&b[i * k * n..][..k * n], k, n),
        );
        let mut want = vec![7.0; count * gap];
        for i in 0..count {
            call.run(av(i).unwrap(), bv(i).unwrap(), MatMut::new(&mut want[i * gap..][..m * n], m, n).unwrap())
                .unwrap();
        }
        for par in [&Serial as &dyn Par, &team] {
            let mut c = vec![7.0; count * gap];
            let (ba, bb) = (
                BatchRef::strided(&a, count, m * k, m, k).unwrap(),
                BatchRef::strided(&b, count, k * n, k, n).unwrap(),
            );
            call.par(par).run_batch(ba, bb, BatchMut::strided(&mut c, count, gap, m, n).unwrap()).unwrap();
            assert_eq!(c, want, "strided, {count} of {m}x{k}x{n}");

            let mut c = vec![7.0; count * gap];
            let (la, lb): (Vec<_>, Vec<_>) = (0..count).map(|i| (av(i).unwrap(), bv(i).unwrap())).unzip();
            let mut lc: Vec<_> = c.chunks_mut(gap).map(|c| MatMut::new(&mut c[..m * n], m, n).unwrap()).collect();
            call.par(par).run_batch(&la[..], &lb[..], &mut lc[..]).unwrap();
            assert_eq!(c, want, "a list, {count} of {m}x{k}x{n}");
        }
    }
}

#[test]
fn one_matrix_can_serve_a_batch() {
    let (x, w) = (numbers::<f32>(1, 4 * 6), numbers::<f32>(2, 12));
    let (mut batch, mut whole) = (vec![0.0; 16], vec![0.0; 16]);
    // The same W, stored as its transpose, for four samples.
    let w = MatRef::new(&w[..], 2, 6).unwrap();
    let (a, c) = (BatchRef::strided(&x, 4, 6, 1, 6).unwrap(), BatchMut::strided(&mut batch, 4, 4, 1, 2).unwrap());
    Gemm::new().run_batch(a, BatchRef::from(w).t(), c).unwrap();
    let c = MatMut::with_strides(&mut whole, 4, 2, 4, 1).unwrap();
    kernels::gemm(MatRef::new(&x, 4, 6).unwrap(), w.t(), c).unwrap();
    assert_eq!(batch, whole);
}

#[test]
fn what_a_batch_plan_or_packed_operand_does_not_fit_is_an_error() {
    let x = numbers::<f32>(1, 60);
    let mut c = [7.0; 24];
    let wrong = BatchRef::strided(&x, 3, 20, 4, 6).map(|_| ()).unwrap_err().to_string();
    assert_eq!(wrong, "a batch of 3 matrices, each 4x6, 20 apart, does not fit a slice of length 60");
    assert!(BatchRef::<f32>::strided(&x, usize::MAX, usize::MAX, 1, 1).is_err());
    assert!(BatchRef::<f32>::strided(&x, 1, 0, usize::MAX, 2).is_err());
    let wrong = BatchMut::strided(&mut c, 3, 5, 2, 3).map(|_| ()).unwrap_err().to_string();
    assert_eq!(wrong, "matrices of a mutable batch of 3, each 2x3, 5 apart, overlap");
    let (a, b) = (BatchRef::strided(&x, 4, 6, 2, 3).unwrap(), BatchRef::strided(&x, 3, 9, 3, 3).unwrap());
    let target = BatchMut::strided(&mut c, 4, 6, 2, 3).unwrap();
    let wrong = Gemm::new().run_batch(a, b, target).unwrap_err().to_string();
    assert_eq!(wrong, "the batch of B has length 3, but the other operands need 4");
    // Of even matrices all are wrong, of different ones the second.
    let a = BatchRef::strided(&x, 2, 6, 2, 3).unwrap();
    let target = BatchMut::strided(&mut c, 2, 6, 2, 3).unwrap();
    let wrong = Gemm::new().run_batch(a, MatRef::new(&x[..12], 4, 3).unwrap(), target).unwrap_err().to_string();
    assert_eq!(wrong, "B is 4x3, but the other operands need 3x3");
    let (square, tall) = (MatRef::new(&x[..9], 3, 3).unwrap(), MatRef::new(&x[..12], 4, 3).unwrap());
    for (b, bias, wrong) in [
        ([square, tall], 3, "product 1 of the batch: B is 4x3, but the other operands need 3x3"),
        ([square; 2], 2, "product 0 of the batch: the bias of the columns has length 2, but the other operands need 3"),
    ] {
        let target = BatchMut::strided(&mut c, 2, 6, 2, 3).unwrap();
        let error = Gemm::new().bias(&x[..bias]).run_batch(a, &b[..], target).unwrap_err();
        assert_eq!(error.to_string(), wrong);
    }
    assert_eq!(c, [7.0; 24], "a refused batch writes nothing");

    let (a, b) = (MatRef::new(&x[..6], 2, 3).unwrap(), MatRef::new(&x[..12], 3, 4).unwrap());
    let call = Gemm::new();
    let plan = call.prepare(a.layout(), b.layout(), kernels::Layout::row_major(2, 4)).unwrap();
    let wide = MatMut::with_strides(&mut c, 2, 4, 5, 1).unwrap();
    let wrong = call.plan(&plan).run(a, b, wide).unwrap_err().to_string();
    assert_eq!(wrong, "C is 2x4 with strides (5, 1), but the plan was made for 2x4 with strides (4, 1)");
    // Plans of which one number is another.
    let planned = [a.layout(), b.layout(), kernels::Layout::row_major(2, 4)];
    for i in 0..3 {
        for (rows, cols) in [(1, 0), (0, 1)] {
            let mut other = planned;
            other[i] = kernels::Layout::with_strides([2, 3, 2][i], [3, 4, 4][i], [3, 4, 4][i] + rows, 1 + cols);
            let plan = call.prepare(other[0], other[1], other[2]).unwrap();
            let wrong = call.plan(&plan).run(a, b, MatMut::new(&mut c[..8], 2, 4).unwrap()).unwrap_err().to_string();
            assert!(wrong.starts_with(["A is 2x3", "B is 3x4", "C is 2x4"][i]), "{wrong}");
        }
    }
    for (m, k, n, operand) in [(1, 3, 4, "A"), (2, 2, 4, "A"), (2, 3, 3, "B")] {
        let layout = kernels::Layout::with_strides;
        let plan = call.prepare(layout(m, k, 3, 1), layout(k, n, 4, 1), layout(m, n, 4, 1)).unwrap();
        let wrong = call.plan(&plan).run(a, b, MatMut::new(&mut c[..8], 2, 4).unwrap()).unwrap_err().to_string();
        assert!(wrong.starts_with(operand), "{wrong}");
    }
    for other in backends().into_iter().filter(|other| other.name() != Backend::active().unwrap().name()) {
        let wrong = call.plan(&plan).backend(other).run(a, b, MatMut::new(&mut c[..8], 2, 4).unwrap()).unwrap_err();
        let (name, active) = (other.name(), Backend::active().unwrap().name());
        assert_eq!(wrong.to_string(), format!("the backend is {name}, but the plan was made for {active}"));
    }
    let packed = call.pack_a(a).unwrap();
    let wrong = call.run(b.t(), &packed, MatMut::new(&mut c[..12], 4, 3).unwrap()).unwrap_err().to_string();
    assert!(wrong.starts_with("B is 2x3"), "{wrong}");
    let packed = call.pack_b(b.t()).unwrap();
    let wrong = call.run(&packed, a.t(), MatMut::new(&mut c[..8], 4, 2).unwrap()).unwrap_err().to_string();
    let name = Backend::active().unwrap().name();
    assert_eq!(wrong, format!("a matrix was packed for B on {name}, but the call needs it for A on {name}"));
    assert_eq!(c, [7.0; 24], "a refused call writes nothing");
}

/// Groups of columns and chunks of k that run side by side, in any number; a vector with gaps; a matrix from memory.
#[test]
fn matrix_times_vector() {
    let (row, sparse) = (Layout::RowMajor, Layout::Sparse);
    for k in [3, CHUNK - 1, CHUNK, 4 * CHUNK, 3 * CHUNK + 13] {
        for m in [3, 8, 17, 70] {
            for (layouts, beta) in [((row, row, row), 0.0), ((Layout::Sub, sparse, sparse), 0.5)] {
                let case = Case { layouts, beta, bias: Along::Rows, ..Case::plain(m, k, 1) };
                case.check::<f32>(&backends(), &WAYS);
                case.check::<f64>(&backends(), &WAYS);
            }
        }
    }
    Case::plain(2503, 2600, 1).check::<f32>(&backends(), &WAYS[..1]);
}

/// Rows that share the squares of a B whose columns are contiguous, or columns seen as such rows, C's elements adjacent
/// or not: pairs of groups of columns, the last of which begins earlier, and depths that end within a square or a chunk.
#[test]
fn a_few_rows_times_columns() {
    let (row, col) = (Layout::RowMajor, Layout::ColMajor);
    for k in [1, 7, 16, 50, CHUNK - 1, CHUNK, 2 * CHUNK + 13] {
        for n in [7, 8, 16, 17, 23, 31, 40, 260] {
            for m in 2..=5 {
                let case = Case { layouts: (row, col, row), bias: Along::Columns, ..Case::plain(m, k, n) };
                let gaps = Case { layouts: (Layout::Sub, col, Layout::Sub), beta: 0.5, bias: Along::Rows, ..case };
                let turned = Case { layouts: (row, col, col), beta: -1.0, ..Case::plain(n, k, m) };
                let columns = Case { layouts: (Layout::Sub, col, row), beta: 0.5, relu: true, ..Case::plain(n, k, m) };
                let narrow = Case { layouts: (col, row, Layout::Sub), bias: Along::Columns, ..columns };
                let small = Case { layouts: (row, row, row), ..columns };
                for case in [case, gaps, turned, columns, narrow, small] {
                    case.check::<f32>(&backends(), &WAYS);
                    case.check::<f64>(&backends(), &WAYS);
                }
            }
        }
    }
}

#[test]
fn vector_times_matrix() {
    let (row, sparse) = (Layout::RowMajor, Layout::Sparse);
    for k in [3, 16, CHUNK - 1, 2 * CHUNK + 19] {
        for n in [65, 108, 257, 1100] {
            for (layouts, beta) in [((row, row, row), 0.0), ((sparse, Layout::Sub, row), 0.5)] {
                let case = Case { layouts, beta, bias: Along::Columns, ..Case::plain(1, k, n) };
                case.check::<f32>(&backends(), &WAYS);
                case.check::<f64>(&backends(), &WAYS);
            }
        }
    }
}

#[test]
fn large_enough_for_every_loop_with_the_default_blocks() {
    for (m, k, n) in [(500, 520, 300), (300, 1100, 130)] {
        Case::plain(m, k, n).check::<f32>(&backends(), &WAYS[..1]);
        let layouts = (Layout::ColMajor, Layout::ColMajor, Layout::RowMajor);
        Case { layouts, ..Case::plain(m, k, n) }.check::<f32>(&backends(), &WAYS[..1]);
    }
    // Wide enough for A to be packed beside a B that is, and beside one that is not.
    for (m, k, n) in [(203, CHUNK + 67, 397), (29, 66, 391)] {
        for la in [Layout::RowMajor, Layout::ColMajor, Layout::Sparse] {
            let case = Case { layouts: (la, Layout::RowMajor, Layout::RowMajor), beta: 0.5, ..Case::plain(m, k, n) };
            case.check::<f32>(&backends(), &WAYS[..1]);
            case.check::<f64>(&backends(), &WAYS[..1]);
        }
    }
}

/// Tiles of other shapes than the tallest and its parts: low and wide ones, of two panels or a little less, and, where
/// they are all of C, very tall ones of one vector.
#[test]
fn tiles_of_other_shapes() {
    for (m, k, n) in [(20, 70, 64), (20, 35, 101), (19, 33, 32), (17, 18, 27), (16, 41, 16), (13, 42, 16), (15, 6, 8)] {
        for (la, beta) in [(Layout::RowMajor, 0.0), (Layout::ColMajor, 0.5), (Layout::Sparse, 1.0)] {
            let layouts = (la, Layout::RowMajor, Layout::RowMajor);
            let case = Case { layouts, beta, bias: Along::Columns, ..Case::plain(m, k, n) };
            case.check::<f32>(&backends(), &WAYS[..1]);
            case.check::<f64>(&backends(), &WAYS[..1]);
        }
    }
}

/// What a product gives for NaN, infinities, signed zeros and subnormals is what the definition gives.
#[test]
fn special_values() {
    let inf = f32::INFINITY;
    let tiny = f32::from_bits(3);
    for backend in backends() {
        for (rows, cols) in [(1, 1), (3, 17), (12, 32), (13, 33), (40, 70)] {
            for blocking in [None, Some(TINY)] {
                for (x, y) in
                    [(0.0, f32::NAN), (0.0, inf), (inf, -inf), (1.0, tiny), (-0.0, 1.0), (tiny, 0.5), (inf, inf)]
                {
                    for (alpha, beta, old) in [(1.0, 0.0, f32::NAN), (0.0, 1.0, y), (1.0, 1.0, -inf), (-1.0, 0.0, 1.0)]
                    {
                        for activation in [Activation::Identity, Activation::Relu] {
                            let (a, b) = (vec![x; rows * 2], vec![y; 2 * cols]);
                            let mut c = vec![old; rows * cols];
                            let mut call = Gemm::new().alpha(alpha).beta(beta).activation(activation).backend(backend);
                            if let Some(blocking) = blocking {
                                call = call.blocking(blocking);
                            }
                            let (a, b) = (MatRef::new(&a, rows, 2).unwrap(), MatRef::new(&b, 2, cols).unwrap());
                            call.run(a, b, MatMut::new(&mut c, rows, cols).unwrap()).unwrap();
                            let (a, b) = (&[x, x], &[y, y]);
                            let want = definition(&Entry { a, b, c: old, alpha, beta, bias: None, activation });
                            assert!(c.iter().all(|c| c.same(want)), "{backend:?} {x} {y} {old}: {} not {want}", c[0]);
                        }
                    }
                }
            }
        }
    }
}

/// The row for CPUs without FMA has bits of its own, but the same meaning.
#[test]
fn plain_is_close() {
    let plain = Backend::by_name("plain").unwrap();
    let (m, k, n) = (13, 600, 37);
    let (a, b) = (numbers::<f32>(1, m * k), numbers::<f32>(2, k * n));
    let (a, b) = (MatRef::new(&a, m, k).unwrap(), MatRef::new(&b, k, n).unwrap());
    let (want, scale) = kernels::reference::gemm_f64(a, b);
    let mut first = None;
    for (blocking, par) in [(None, 1), (Some(TINY), 1), (Some(SMALL), 3)] {
        let mut c = vec![f32::NAN; m * n];
        let team = Team::new(par);
        let mut call = Gemm::new().backend(plain).par(&team);
        if let Some(blocking) = blocking {
            call = call.blocking(blocking);
        }
        call.run(a, b, MatMut::new(&mut c, m, n).unwrap()).unwrap();
        for ((got, want), scale) in c.iter().zip(&want).zip(&scale) {
            assert!((f64::from(*got) - want).abs() <= scale * 64.0 * f64::from(f32::EPSILON));
        }
        let bits: Vec<u32> = c.iter().map(|x| x.to_bits()).collect();
        assert_eq!(*first.get_or_insert(bits.clone()), bits, "its own bits do not move either");
    }
}

/// A view may repeat one element for ever. The room for its panels is more than there is, and no number that wraps.
#[test]
#[should_panic(expected = "there is no memory for")]
fn a_depth_beyond_memory_is_refused() {
    let (one, k) = ([1.0f32], 1 << (usize::BITS - 1));
    let (a, b) = (MatRef::with_strides(&one, 1, k, 0, 0).unwrap(), MatRef::with_strides(&one, k, 4, 0, 0).unwrap());
    let blocking = Blocking { kc: usize::MAX, nc: 64 };
    let _ = Gemm::new().blocking(blocking).run(a, b, MatMut::new(&mut [0.0; 4], 1, 4).unwrap());
}

/// A row of a product is the same alone, in any sub-matrix, at any place.
#[test]
fn rows_do_not_depend_on_their_company() {
    let (m, k, n) = (41, 300, 77);
    let (a, b) = (numbers::<f32>(1, m * k), numbers::<f32>(2, k * n));
    let (av, bv) = (MatRef::new(&a, m, k).unwrap(), MatRef::new(&b, k, n).unwrap());
    let mut c = vec![0.0; m * n];
    kernels::gemm(av, bv, MatMut::new(&mut c, m, n).unwrap()).unwrap();
    for (rows, cols) in [(5..6, 0..n), (40..41, 3..4), (2..39, 16..77), (0..12, 1..33)] {
        let (sa, sb) = (av.sub(rows.clone(), 0..k).unwrap(), bv.sub(0..k, cols.clone()).unwrap());
        let mut part = vec![0.0; rows.len() * cols.len()];
        kernels::gemm(sa, sb, MatMut::new(&mut part, rows.len(), cols.len()).unwrap()).unwrap();
        for (i, row) in rows.clone().enumerate() {
            for (j, col) in cols.clone().enumerate() {
                assert!(part[i * cols.len() + j].same(c[row * n + col]));
            }
        }
    }
}

#[test]
fn wrong_shapes_are_errors_that_name_the_sizes() {
    let x = [1.0f32; 12];
    let mut c = [7.0f32; 6];
    let a = MatRef::new(&x[..6], 2, 3).unwrap();
    let b = MatRef::new(&x, 4, 3).unwrap();
    let error = kernels::gemm(a, b, MatMut::new(&mut c, 2, 3).unwrap()).unwrap_err();
    assert_eq!(error.to_string(), "B is 4x3, but the other operands need 3x3");
    let b = MatRef::new(&x, 3, 4).unwrap();
    let error = kernels::gemm(a, b, MatMut::new(&mut c, 2, 3).unwrap()).unwrap_err();
    assert_eq!(error.to_string(), "C is 2x3, but the other operands need 2x4");
    let b = MatRef::new(&x[..9], 3, 3).unwrap();
    let call = Gemm::new().bias(&x[..2]);
    let error = call.run(a, b, MatMut::new(&mut c, 2, 3).unwrap()).unwrap_err();
    assert_eq!(error.to_string(), "the bias of the columns has length 2, but the other operands need 3");
    assert_eq!(c, [7.0; 6], "a refused call writes nothing");
}

#[test]
fn explain_names_the_choice() {
    let text = Gemm::<f32>::new().explain(32, 784, 128).unwrap().to_string();
    let name = Backend::active().unwrap().name();
    assert!(text.contains(name) && text.contains("32x784 times 784x128"), "{text}");
}

mod random {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(96) })]

        #[test]
        fn products_match_the_definition(
            (m, k, n) in (0usize..70, 0usize..600, 0usize..90),
            (la, lb, lc) in (0usize..5, 0usize..5, 0usize..5),
            alpha in prop::sample::select(vec![0.0, 1.0, -1.0, 0.5]),
            beta in prop::sample::select(vec![0.0, 1.0, -1.0, 0.5]),
            bias in prop::sample::select(ALONG.to_vec()),
            relu: bool,
            (kc, nc) in (1usize..600, 1usize..100),
        ) {
            let layouts = (LAYOUTS[la], LAYOUTS[lb], LAYOUTS[lc]);
            let case = Case { size: (m, k, n), layouts, alpha, beta, bias, relu };
            let blocking = Blocking { kc, nc };
            case.check::<f32>(&backends(), &[(None, &Serial), (Some(blocking), &Serial)]);
            case.check::<f64>(&backends(), &[(None, &Serial), (Some(blocking), &Serial)]);
        }
    }
}

/// Parts are more than threads where they stay large on both sides, and never fewer where threads pay.
#[test]
fn parts_for_threads() {
    struct Two;
    impl Par for Two {
        fn threads(&self) -> usize {
            2
        }
        fn run(&self, jobs: usize, job: &(dyn Fn(usize) + Sync)) {
            (0..jobs).for_each(job);
        }
    }
    for backend in backends() {
        let tuning = Tuning { thread_work: 2_000_000, ..backend.model::<f32>() };
        let gemm = Gemm::<f32>::new().backend(backend).tuning(&tuning).par(&Two);
        // Of rows that pack A, too, parts are larger.
        let large = ["avx512", "amx"].contains(&backend.name());
        for (m, k, n, (jm, jn), of_large) in [
            (32, 784, 128, (1, 1), (1, 1)),
            (128, 784, 512, (1, 8), (1, 2)),
            (448, 448, 448, (2, 4), (2, 1)),
            (100, 100_000, 4, (2, 1), (2, 1)),
            (60, 6000, 256, (1, 2), (1, 2)),
            // Shallow: whole rows.
            (784, 128, 512, (4, 1), (4, 1)),
            (200, 128, 2048, (1, 8), (1, 2)),
        ] {
            let (jm, jn) = if large { of_large } else { (jm, jn) };
            let told = gemm.explain(m, k, n).unwrap().to_string();
            let jobs = format!("{jm} along m by {jn} along n");
            assert!(told.contains(&jobs), "{} {m}x{k}x{n}, expected {jobs}: {told}", backend.name());
        }
    }
}
