#![no_main]
//! Products of any shape, layout, offset, option and precision, of f32, f64 or bf16 numbers, on every row, against the
//! definition, on bits.

use arbitrary::{Arbitrary, Result, Unstructured};
use kernels::reference::{Entry, definition, definition_on_tiles};
use kernels::{
    Activation, Backend, Bf16, Blocking, Element, Gemm, MatMut, MatRef, Precision, Source, Team, Tuning, Workspace,
};
use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;

static TEAM: LazyLock<Team> = LazyLock::new(|| Team::new(2));
static WORKSPACE: LazyLock<Workspace> = LazyLock::new(Workspace::new);

trait Number: Element + std::fmt::Debug {
    /// What operands can be made of beside, if there is anything.
    type Half: Source<Self> + Copy;
    fn of(x: f32) -> Self;
    fn half(self) -> Self::Half;
    fn whole(half: Self::Half) -> Self;
    fn same(self, other: Self) -> bool;
    fn precise(call: Gemm<'_, Self>, precision: Precision) -> Gemm<'_, Self>;
    /// What a backend computes in a precision.
    fn defined(backend: &Backend, precision: Precision, x: &Entry<'_, Self>) -> Self;
}
impl Number for f32 {
    type Half = Bf16;
    fn of(x: f32) -> Self {
        x
    }
    fn half(self) -> Bf16 {
        Bf16::from_f32(self)
    }
    fn whole(half: Bf16) -> Self {
        half.to_f32()
    }
    fn precise(call: Gemm<'_, Self>, precision: Precision) -> Gemm<'_, Self> {
        call.precision(precision)
    }
    fn defined(backend: &Backend, precision: Precision, x: &Entry<'_, Self>) -> Self {
        if backend.has_tile_unit() && precision != Precision::F32 {
            return definition_on_tiles(precision, x);
        }
        let [a, b] = [x.a, x.b].map(|x| x.iter().map(|&x| precision.round(x)).collect::<Vec<_>>());
        definition(&Entry { a: &a, b: &b, ..*x })
    }
    fn same(self, other: Self) -> bool {
        self.to_bits() == other.to_bits() || self.is_nan() && other.is_nan()
    }
}
impl Number for f64 {
    type Half = Self;
    fn of(x: f32) -> Self {
        f64::from(x) * 1.000_000_01
    }
    fn half(self) -> Self {
        self
    }
    fn whole(half: Self) -> Self {
        half
    }
    fn precise(call: Gemm<'_, Self>, _: Precision) -> Gemm<'_, Self> {
        call
    }
    fn defined(_: &Backend, _: Precision, x: &Entry<'_, Self>) -> Self {
        definition(x)
    }
    fn same(self, other: Self) -> bool {
        self.to_bits() == other.to_bits() || self.is_nan() && other.is_nan()
    }
}

/// Where the elements of a matrix lie.
#[derive(Debug, Clone, Copy)]
struct Place {
    offset: usize,
    strides: (usize, usize),
    len: usize,
}

impl Place {
    fn new(u: &mut Unstructured<'_>, rows: usize, cols: usize) -> Result<Self> {
        let (gap, step) = (u.int_in_range(0..=3)?, u.int_in_range(1..=3)?);
        let strides = if u.arbitrary()? {
            ((cols * step).max(1) + gap, step)
        } else {
            (step, (rows * step).max(1) + gap)
        };
        let offset = u.int_in_range(0..=9)?;
        let last = rows.saturating_sub(1) * strides.0 + cols.saturating_sub(1) * strides.1;
        Ok(Self { offset, strides, len: offset + last + 1 })
    }
    fn view<'a, T>(&self, data: &'a [T], rows: usize, cols: usize) -> MatRef<'a, T> {
        MatRef::with_strides(&data[self.offset..], rows, cols, self.strides.0, self.strides.1).unwrap()
    }
    fn at(&self, i: usize, j: usize) -> usize {
        self.offset + i * self.strides.0 + j * self.strides.1
    }
}

const ODD: [f32; 8] = [0.0, -0.0, f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 1e-40, f32::MAX, f32::MIN_POSITIVE];

/// Ordinary numbers from a seed, now and then an odd one.
fn numbers<T: Number>(seed: u64, odd: u8, len: usize) -> Vec<T> {
    let mut state = seed | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let number = |r: u64| if odd != 0 && r % 64 < u64::from(odd % 4) { ODD[(r >> 8) as usize % 8] } else { (r >> 40) as f32 / (1 << 23) as f32 - 1.0 };
    (0..len).map(|_| T::of(number(next()))).collect()
}

fn size(u: &mut Unstructured<'_>, most: usize) -> Result<usize> {
    const EDGES: [usize; 12] = [0, 1, 2, 8, 12, 16, 17, 32, 33, 64, 256, 257];
    if u.arbitrary()? { Ok((*u.choose(&EDGES)?).min(most)) } else { u.int_in_range(0..=most) }
}

/// How a product is called.
struct Way {
    number: u8,
    blocking: Blocking,
    tuning: Tuning,
}

impl Way {
    fn run<T: Number, A: Source<T>, B: Source<T>>(
        &self,
        call: Gemm<'_, T>,
        a: MatRef<'_, A>,
        b: MatRef<'_, B>,
        c: MatMut<'_, T>,
    ) -> kernels::Result<()> {
        match self.number {
            0 => call.run(a, b, c),
            1 => call.blocking(self.blocking).run(a, b, c),
            2 => call.tuning(&self.tuning).run(a, b, c),
            3 => call.workspace(&WORKSPACE).run(a, b, c),
            4 => {
                let plan = call.prepare(a.layout(), b.layout(), c.layout())?;
                call.plan(&plan).run(a, b, c)
            }
            _ => call.run(&call.pack_a(a)?, &call.pack_b(b)?, c),
        }
    }
}

fn check<T: Number>(u: &mut Unstructured<'_>, activations: &[Activation]) -> Result<()> {
    let (m, k, n) = (size(u, 70)?, size(u, 600)?, size(u, 130)?);
    let (pa, pb, pc) = (Place::new(u, m, k)?, Place::new(u, k, n)?, Place::new(u, m, n)?);
    let (odd, seed) = (u8::arbitrary(u)?, u64::arbitrary(u)?);
    let mut a = numbers::<T>(seed ^ 1, odd, pa.len);
    let mut b = numbers::<T>(seed ^ 2, odd, pb.len);
    let old = numbers::<T>(seed ^ 4, odd, pc.len);
    let bias = numbers::<T>(seed ^ 8, odd, m.max(n));
    let factors = [0.0, 1.0, -1.0, 0.5, 3.7, f32::NAN, f32::INFINITY];
    let (alpha, beta) = (T::of(*u.choose(&factors)?), T::of(*u.choose(&factors)?));
    let activation = *u.choose(activations)?;
    let along = u.int_in_range(0..=2)?;
    let way = u.int_in_range(0..=11_u8)?;
    let blocking = Blocking { kc: size(u, 600)?, nc: size(u, 130)? };
    let mut values = [0; Tuning::NAMES.len()];
    for value in &mut values {
        *value = size(u, 600)?;
    }
    // Drawn last: what older seeds say is the same.
    let precision = *u.choose(&Precision::ALL)?;
    let (half_a, half_b): (bool, bool) = (u.arbitrary()?, u.arbitrary()?);
    let called = Way { number: way >> 1, blocking, tuning: Tuning::from_values(values) };

    let [a16, b16] = [(&mut a, half_a), (&mut b, half_b)].map(|(x, half)| {
        let halves: Vec<T::Half> = x.iter().map(|x| x.half()).collect();
        if half {
            *x = halves.iter().map(|&x| T::whole(x)).collect();
        }
        halves
    });
    let (va, vb) = (pa.view(&a, m, k), pb.view(&b, k, n));
    let (va16, vb16) = (pa.view(&a16, m, k), pb.view(&b16, k, n));
    for backend in Backend::supported().filter(|b| b.bits_match()) {
        let mut call = Gemm::new().backend(backend).alpha(alpha).beta(beta).activation(activation);
        call = match along {
            0 => call,
            1 => call.bias(&bias[..n]),
            _ => call.row_bias(&bias[..m]),
        };
        if way & 1 != 0 {
            call = call.par(&*TEAM);
        }
        call = T::precise(call, precision);
        let mut c = old.clone();
        let vc = MatMut::with_strides(&mut c[pc.offset..], m, n, pc.strides.0, pc.strides.1).unwrap();
        match (half_a, half_b) {
            (false, false) => called.run(call, va, vb, vc),
            (false, true) => called.run(call, va, vb16, vc),
            (true, false) => called.run(call, va16, vb, vc),
            (true, true) => called.run(call, va16, vb16, vc),
        }
        .unwrap();
        let mut touched = vec![false; c.len()];
        for i in 0..m {
            let row: Vec<T> = (0..k).map(|p| a[pa.at(i, p)]).collect();
            for j in 0..n {
                let column: Vec<T> = (0..k).map(|p| b[pb.at(p, j)]).collect();
                let bias = [None, bias.get(j).copied(), bias.get(i).copied()][along];
                let entry = Entry { a: &row, b: &column, c: old[pc.at(i, j)], alpha, beta, bias, activation };
                let want = T::defined(backend, precision, &entry);
                let got = c[pc.at(i, j)];
                touched[pc.at(i, j)] = true;
                assert!(got.same(want), "{backend:?} {precision} ({m}, {k}, {n}) at ({i}, {j}): {got:?}, not {want:?}");
            }
        }
        let apart = touched.iter().zip(c.iter().zip(&old)).all(|(touched, (c, old))| *touched || c.same(*old));
        assert!(apart, "{backend:?} ({m}, {k}, {n}): wrote between the elements");
    }
    Ok(())
}

fuzz_target!(|data: &[u8]| {
    const ALL: [Activation; 7] = [
        Activation::Identity,
        Activation::Relu,
        Activation::LeakyRelu { alpha: 0.1 },
        Activation::Tanh,
        Activation::Sigmoid,
        Activation::Gelu,
        Activation::Silu,
    ];
    let mut u = Unstructured::new(data);
    // Too little input is no error.
    let _ = match u.arbitrary() {
        Ok(true) => check::<f32>(&mut u, &ALL),
        _ => check::<f64>(&mut u, &ALL[..2]),
    };
});
