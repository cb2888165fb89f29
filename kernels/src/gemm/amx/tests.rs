//! Products on the tile unit against their definition, on bits: emulated where the CPU has none.

use super::emulator;
use super::model::STEP;
use super::tile::Panels;
use crate::isa::{amx, avx2};
use crate::reference::{Entry, definition_on_tiles, tdpbf16ps};
use crate::{
    Activation, Backend, BatchMut, BatchRef, Bf16, Blocking, CHUNK, Gemm, Layout, MatMut, MatRef, Par, Precision,
    Serial, Team, Tuning, Workspace,
};

/// The unit, packed for by AVX2.
static EMULATED: Backend = avx2::row().with_unit("amx-emulated", "", || true, super::unit::<avx2::Avx2>());

/// The rows with a unit that can run here, by the CPU or emulated; none under a pin of another row: emulators of whole
/// CPUs are slow.
fn backends() -> Vec<&'static Backend> {
    if std::env::var_os("KERNELS_ISA").is_some_and(|row| row != "amx") {
        return vec![];
    }
    emulator::install();
    let mut rows: Vec<_> = [&amx::ROW].into_iter().filter(|row| (row.supported)()).collect();
    if (avx2::ROW.supported)() {
        rows.push(&EMULATED);
    }
    rows
}

const TILED: [Precision; 3] = [Precision::F32Amx, Precision::Bf16x3, Precision::Bf16];

/// Seeded bits (splitmix64).
fn bits(seed: u64) -> impl FnMut() -> u64 {
    let mut state = seed;
    move || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

fn numbers(seed: u64, len: usize) -> Vec<f32> {
    let mut next = bits(seed);
    (0..len).map(|_| ((next() >> 11) as f64 / (1u64 << 52) as f64 - 1.0) as f32).collect()
}

/// Numbers of which some do not fit the unit, in some rows and columns: tiny, huge, and no numbers at all.
fn wild(seed: u64, len: usize, period: usize) -> Vec<f32> {
    let odd = [1e-45, 1e38, f32::INFINITY, f32::NAN, -3e-39, 0.0, 2e-31, 5e37, -0.0, 1e-20, 1e15];
    let mut next = bits(seed + 1);
    let pick = |(i, x): (usize, f32)| {
        let r = next() as usize;
        if (i / period).is_multiple_of(7) && r.is_multiple_of(5) { odd[(r >> 8) % odd.len()] * x.signum() } else { x }
    };
    numbers(seed, len).into_iter().enumerate().map(pick).collect()
}

fn same(a: f32, b: f32) -> bool {
    a.to_bits() == b.to_bits() || a.is_nan() && b.is_nan()
}

/// A product, and the settings that its definition knows.
struct Case {
    size: (usize, usize, usize),
    a: Vec<f32>,
    b: Vec<f32>,
    c: Vec<f32>,
    bias: Vec<f32>,
    alpha: f32,
    beta: f32,
    precision: Precision,
}

type Call<'a> = &'a dyn Fn(MatMut<'_, f32>) -> crate::Result<()>;

impl Case {
    fn new((m, k, n): (usize, usize, usize), precision: Precision) -> Self {
        let (a, b, c, bias) = (numbers(1, m * k), numbers(2, k * n), numbers(3, m * n), numbers(4, n));
        Self { size: (m, k, n), a, b, c, bias, alpha: 1.0, beta: 0.0, precision }
    }

    fn wild(self) -> Self {
        let (m, k, n) = self.size;
        let b = wild(6, n * k, k);
        let b = (0..k * n).map(|i| b[i % n * k + i / n]).collect();
        Self { a: wild(5, m * k, k), b, ..self }
    }

    fn call(&self, backend: &'static Backend) -> Gemm<'_, f32> {
        let call = Gemm::new().alpha(self.alpha).beta(self.beta).bias(&self.bias).activation(Activation::Relu);
        call.backend(backend).precision(self.precision)
    }

    fn want(&self) -> Vec<f32> {
        let (m, k, n) = self.size;
        let mut want = Vec::new();
        for i in 0..m {
            for j in 0..n {
                let column: Vec<f32> = (0..k).map(|p| self.b[p * n + j]).collect();
                let entry = Entry {
                    a: &self.a[i * k..][..k],
                    b: &column,
                    c: self.c[i * n + j],
                    alpha: self.alpha,
                    beta: self.beta,
                    bias: Some(self.bias[j]),
                    activation: Activation::Relu,
                };
                want.push(definition_on_tiles(self.precision, &entry));
            }
        }
        want
    }

    /// Compares a call into a row-major C, with gaps after its rows that nothing may be written to.
    fn check(&self, what: &str, want: &[f32], call: Call<'_>) {
        let (m, _, n) = self.size;
        let row = n + 3;
        let mut c = vec![7.0; m * row + 1];
        for i in 0..m {
            c[i * row..][..n].copy_from_slice(if self.beta == 0.0 {
                &[f32::NAN; 256][..n]
            } else {
                &self.c[i * n..][..n]
            });
        }
        call(MatMut::with_strides(&mut c, m, n, row, 1).unwrap()).unwrap();
        for i in 0..m {
            for j in 0..row {
                let want = if j < n { want[i * n + j] } else { 7.0 };
                let found = c[i * row + j];
                assert!(
                    same(found, want),
                    "{} {:?} {what}: ({i}, {j}) is {found:e}, not {want:e}",
                    self.precision,
                    self.size
                );
            }
        }
    }

    fn a(&self) -> MatRef<'_, f32> {
        MatRef::new(&self.a, self.size.0, self.size.1).unwrap()
    }

    fn b(&self) -> MatRef<'_, f32> {
        MatRef::new(&self.b, self.size.1, self.size.2).unwrap()
    }
}

#[test]
fn the_instruction_is_the_model() {
    if backends().is_empty() {
        return;
    }
    let mut next = bits(9);
    for round in 0..40 {
        // Any bits, and numbers of sizes that meet; no NaN, as which one comes out is left open.
        let mut half = || loop {
            let x = if round % 2 == 0 { next() as u16 } else { 0x3c00 | next() as u16 & 0x87ff };
            if x & 0x7f80 != 0x7f80 {
                return x;
            }
        };
        let mut tile = || -> [[u16; STEP]; 16] { std::array::from_fn(|_| std::array::from_fn(|_| half())) };
        let (a, pairs) = (tile(), tile());
        let mut c = [[0.0f32; 16]; 16];
        // SAFETY: the instructions work; tiles of 16 rows of 64 bytes.
        unsafe {
            let unit = super::tile::Unit::new();
            let one = |tile: &[[u16; STEP]; 16]| Panels { tiles: tile.as_ptr().cast(), apart: 0, both: false };
            let mut sums = [[0.0f32; 32]; 16];
            unit.sum::<1, false>(1, one(&a), one(&pairs), sums.as_mut_ptr().cast(), || {});
            for (c, sums) in c.iter_mut().zip(sums) {
                c.copy_from_slice(&sums[..16]);
            }
        }
        for i in 0..16 {
            for j in 0..16 {
                let column = std::array::from_fn(|p| pairs[p / 2][2 * j + p % 2]);
                let want = tdpbf16ps(0.0, &a[i], &column);
                assert!(same(c[i][j], want), "({i}, {j}) is {:e}, not {want:e}", c[i][j]);
            }
        }
    }
}

#[test]
fn sizes_around_every_edge() {
    for backend in backends() {
        for precision in TILED {
            for (m, n) in [(1, 1), (1, 40), (15, 17), (16, 32), (17, 16), (33, 31), (48, 49), (65, 1)] {
                for k in [1, 33, 63, 64, 65, 97, 128] {
                    let case = Case::new((m, k, n), precision);
                    case.check("plain", &case.want(), &|c| case.call(backend).run(case.a(), case.b(), c));
                }
            }
            for k in [CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK + 40] {
                for (alpha, beta) in [(1.0, 0.0), (0.5, -1.0), (-1.0, 1.0)] {
                    let case = Case { alpha, beta, ..Case::new((18, k, 35), precision) };
                    case.check("deep", &case.want(), &|c| case.call(backend).run(case.a(), case.b(), c));
                }
            }
        }
    }
}

/// What does not fit the unit, in company of what does.
#[test]
fn special_values_and_ranges() {
    for backend in backends() {
        for precision in TILED {
            for size in [(20, 70, 37), (40, CHUNK + 30, 18), (1, 64, 50)] {
                let before = Precision::sums_by_fma();
                let case = Case { beta: 1.0, ..Case::new(size, precision).wild() };
                let want = case.want();
                case.check("wild", &want, &|c| case.call(backend).run(case.a(), case.b(), c));
                let (pa, pb) =
                    (case.call(backend).pack_a(case.a()).unwrap(), case.call(backend).pack_b(case.b()).unwrap());
                case.check("wild, packed", &want, &|c| case.call(backend).run(&pa, &pb, c));
                assert!(Precision::sums_by_fma() > before, "nothing was left to the FMA units");
                let explained = case.call(backend).explain(size.0, size.1, size.2).unwrap().to_string();
                assert!(explained.contains("on the tile unit") && explained.contains("times so far"), "{explained}");
                assert!(explained.contains("blocked: A is packed, B is packed"), "{explained}");
                let c = Layout::row_major(size.0, size.2);
                let explained = case.call(backend).explain_layouts(pa.layout(), pb.layout(), c).unwrap().to_string();
                assert!(explained.contains("blocked: A came packed, B came packed"), "{explained}");
            }
        }
    }
}

/// Blocks of B that hold one chunk of k and more, of products whose last ones hold fewer: each chunk enters C once, and
/// the epilogue follows the last.
#[test]
fn chunks_in_groups() {
    for backend in backends() {
        for (precision, wild) in TILED.into_iter().flat_map(|precision| [(precision, false), (precision, true)]) {
            for k in [2 * CHUNK, 4 * CHUNK, 4 * CHUNK + 70] {
                let case = Case { alpha: 0.5, beta: -1.0, ..Case::new((35, k, 31), precision) };
                let case = if wild { case.wild() } else { case };
                let (want, call, a, b) = (case.want(), case.call(backend), case.a(), case.b());
                let pb = call.pack_b(b).unwrap();
                for group in 1..=5 {
                    let call = call.blocking(Blocking { kc: 1, nc: group * 32 });
                    case.check("groups", &want, &|c| call.run(a, b, c));
                    case.check("groups, packed B", &want, &|c| call.run(a, &pb, c));
                }
            }
        }
    }
}

#[test]
fn every_way_to_call_gives_the_same_bits() {
    let team = Team::new(3);
    let tuning = Tuning::from_values([1; 6]);
    let workspace = Workspace::new();
    for backend in backends() {
        for (precision, wild) in TILED.into_iter().flat_map(|precision| [(precision, false), (precision, true)]) {
            let (m, k, n) = (50, CHUNK + 70, 75);
            let case = Case { alpha: 0.5, beta: 0.5, ..Case::new((m, k, n), precision) };
            let case = if wild { case.wild() } else { case };
            let (want, call, a, b) = (case.want(), case.call(backend), case.a(), case.b());
            let (pa, pb) = (call.pack_a(a).unwrap(), call.pack_b(b).unwrap());
            let apart = call.par(&team).tuning(&tuning);
            case.check("threads", &want, &|c| apart.run(a, b, c));
            case.check("packed A", &want, &|c| apart.run(&pa, b, c));
            case.check("packed B, a workspace", &want, &|c| call.workspace(&workspace).run(a, &pb, c));
            case.check("both packed", &want, &|c| apart.run(&pa, &pb, c));
            case.check("small blocks", &want, &|c| call.blocking(Blocking { kc: 1, nc: 1 }).run(a, b, c));
            case.check("a batch", &want, &|c| {
                let mut c = [c];
                call.run_batch(BatchRef::from(&[a][..]), b, BatchMut::from(&mut c[..]))
            });
            case.check("a plan", &want, &|c| {
                let plan = call.prepare(a.layout(), b.layout(), c.layout())?;
                Gemm::new().alpha(0.5).beta(0.5).bias(&case.bias).activation(Activation::Relu).plan(&plan).run(a, b, c)
            });
            // Other layouts: A and B stored as their transposes, A with gaps, C column-major, C with gaps both ways.
            let turned = |x: MatRef<'_, f32>| -> Vec<f32> {
                let (rows, cols) = x.shape();
                (0..rows * cols).map(|i| x.get(i % rows, i / rows)).collect()
            };
            let (ta, tb) = (turned(a), turned(b));
            let (ta, tb) = (MatRef::new(&ta, k, m).unwrap().t(), MatRef::new(&tb, n, k).unwrap().t());
            let gaps: Vec<f32> = case.a.iter().flat_map(|&x| [x, f32::NAN]).collect();
            let gaps = MatRef::with_strides(&gaps, m, k, 2 * k, 2).unwrap();
            case.check("A transposed", &want, &|c| call.run(ta, b, c));
            case.check("B transposed", &want, &|c| call.run(a, tb, c));
            case.check("packed transposes", &want, &|c| call.run(&call.pack_a(ta)?, &call.pack_b(tb)?, c));
            case.check("A with gaps", &want, &|c| call.run(gaps, b, c));
            for (row, col) in [(1, m), (2 * n + 1, 2)] {
                let place = |i: usize, j: usize| i * row + j * col;
                let mut c = vec![7.0; place(m - 1, n - 1) + 1];
                for (at, old) in case.c.iter().enumerate() {
                    c[place(at / n, at % n)] = *old;
                }
                call.run(a, b, MatMut::with_strides(&mut c, m, n, row, col).unwrap()).unwrap();
                for (at, want) in want.iter().enumerate() {
                    let found = c[place(at / n, at % n)];
                    assert!(same(found, *want), "{precision} C {row}, {col}: {at} is {found:e}, not {want:e}");
                }
                let elements = c.iter().filter(|c| !same(**c, 7.0)).count();
                assert!(row == 1 || elements <= m * n, "wrote between the elements");
            }
        }
    }
}

/// Operands of bf16 numbers, of which some do not fit the unit: as the same numbers in f32.
#[test]
fn bf16_operands() {
    let team = Team::new(3);
    let tuning = Tuning::from_values([1; 6]);
    for backend in backends() {
        for (precision, wild) in TILED.into_iter().flat_map(|precision| [(precision, false), (precision, true)]) {
            for (m, k, n) in [(1, 15, 3), (33, 64, 32), (50, CHUNK + 70, 75)] {
                let case = Case { beta: 0.5, ..Case::new((m, k, n), precision) };
                let mut case = if wild { case.wild() } else { case };
                let halves: [Vec<Bf16>; 2] = [&mut case.a, &mut case.b].map(|wide| {
                    let half: Vec<Bf16> = wide.iter().map(|&x| Bf16::from_f32(x)).collect();
                    *wide = half.iter().map(|&x| x.to_f32()).collect();
                    half
                });
                let (want, call) = (case.want(), case.call(backend));
                let (a, b) = (MatRef::new(&halves[0], m, k).unwrap(), MatRef::new(&halves[1], k, n).unwrap());
                let (pa, pb) = (call.pack_a(a).unwrap(), call.pack_b(b).unwrap());
                let apart = call.par(&team).tuning(&tuning);
                case.check("bf16", &want, &|c| call.run(a, b, c));
                case.check("bf16 A", &want, &|c| call.run(a, case.b(), c));
                case.check("bf16 B", &want, &|c| call.run(case.a(), b, c));
                case.check("bf16, threads", &want, &|c| apart.run(a, b, c));
                case.check("bf16, packed", &want, &|c| call.run(&pa, &pb, c));
                case.check("bf16, packed B", &want, &|c| apart.run(a, &pb, c));
                case.check("bf16, a batch", &want, &|c| call.run_batch(&[a][..], b, &mut [c][..]));
                let turned = |x: MatRef<'_, Bf16>| -> Vec<Bf16> {
                    let (rows, cols) = x.shape();
                    (0..rows * cols).map(|i| x.get(i % rows, i / rows)).collect()
                };
                let (ta, tb) = (turned(a), turned(b));
                let (ta, tb) = (MatRef::new(&ta, k, m).unwrap().t(), MatRef::new(&tb, n, k).unwrap().t());
                case.check("bf16, transposed", &want, &|c| call.run(ta, tb, c));
                case.check("bf16, transposed and packed", &want, &|c| call.run(&call.pack_a(ta)?, tb, c));
            }
        }
    }
}

/// A caller that uses tiles finds its configuration as it was; another finds none.
#[test]
fn the_unit_is_left_as_it_was() {
    if backends().is_empty() {
        return;
    }
    let stored = || {
        let mut config = [0u8; 64];
        // SAFETY: the instruction works; it stores 64 bytes.
        unsafe { std::arch::asm!("sttilecfg [{0}]", in(reg) &raw mut config) };
        config
    };
    let case = Case::new((3, 40, 5), Precision::F32Amx);
    let run = |par: &dyn Par| {
        for backend in backends() {
            let call = case.call(backend).par(par);
            case.check("plain", &case.want(), &|c| call.run(case.a(), case.b(), c));
        }
    };
    assert_eq!(stored(), [0; 64]);
    run(&Serial);
    assert_eq!(stored(), [0; 64]);
    let mut mine = [0u8; 64];
    (mine[0], mine[16], mine[48]) = (1, 32, 4);
    // SAFETY: the instruction works, and this is a configuration: one tile of 4 rows of 32 bytes.
    unsafe { std::arch::asm!("ldtilecfg [{0}]", in(reg) &raw const mine) };
    run(&Serial);
    assert_eq!(stored(), mine);
    // Released by a panic, too.
    let panic = std::panic::catch_unwind(|| {
        // SAFETY: the instructions work.
        let _unit = unsafe { super::tile::Unit::new() };
        panic!("of a job");
    });
    assert!(panic.is_err());
    assert_eq!(stored(), mine);
    // SAFETY: the instruction works.
    unsafe { std::arch::asm!("tilerelease") };
    assert_eq!(stored(), [0; 64]);
    assert!(amx::usable() || emulator::executed() > 0);
}
