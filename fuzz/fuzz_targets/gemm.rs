#![no_main]
//! Products of any shape, layout, offset and option, on every row, against the definition, on bits.

use arbitrary::{Arbitrary, Result, Unstructured};
use kernels::reference::{Entry, definition};
use kernels::{Activation, Backend, Blocking, Element, Gemm, MatMut, MatRef, Team, Tuning, Workspace};
use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;

static TEAM: LazyLock<Team> = LazyLock::new(|| Team::new(2));
static WORKSPACE: LazyLock<Workspace> = LazyLock::new(Workspace::new);

trait Number: Element + std::fmt::Debug {
    fn of(x: f32) -> Self;
    fn same(self, other: Self) -> bool;
}
impl Number for f32 {
    fn of(x: f32) -> Self {
        x
    }
    fn same(self, other: Self) -> bool {
        self.to_bits() == other.to_bits() || self.is_nan() && other.is_nan()
    }
}
impl Number for f64 {
    fn of(x: f32) -> Self {
        f64::from(x) * 1.000_000_01
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
    fn view<'a, T: Element>(&self, data: &'a [T], rows: usize, cols: usize) -> MatRef<'a, T> {
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

fn check<T: Number>(u: &mut Unstructured<'_>, activations: &[Activation]) -> Result<()> {
    let (m, k, n) = (size(u, 70)?, size(u, 600)?, size(u, 130)?);
    let (pa, pb, pc) = (Place::new(u, m, k)?, Place::new(u, k, n)?, Place::new(u, m, n)?);
    let (odd, seed) = (u8::arbitrary(u)?, u64::arbitrary(u)?);
    let a = numbers::<T>(seed ^ 1, odd, pa.len);
    let b = numbers::<T>(seed ^ 2, odd, pb.len);
    let old = numbers::<T>(seed ^ 4, odd, pc.len);
    let bias = numbers::<T>(seed ^ 8, odd, m.max(n));
    let factors = [0.0, 1.0, -1.0, 0.5, 3.7, f32::NAN, f32::INFINITY];
    let (alpha, beta) = (T::of(*u.choose(&factors)?), T::of(*u.choose(&factors)?));
    let activation = *u.choose(activations)?;
    let along = u.int_in_range(0..=2)?;
    let way = u.int_in_range(0..=11)?;
    let blocking = Blocking { kc: size(u, 600)?, nc: size(u, 130)? };
    let mut values = [0; Tuning::NAMES.len()];
    for value in &mut values {
        *value = size(u, 600)?;
    }
    let tuning = Tuning::from_values(values);

    let (va, vb) = (pa.view(&a, m, k), pb.view(&b, k, n));
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
        let mut c = old.clone();
        let vc = MatMut::with_strides(&mut c[pc.offset..], m, n, pc.strides.0, pc.strides.1).unwrap();
        match way >> 1 {
            0 => call.run(va, vb, vc).unwrap(),
            1 => call.blocking(blocking).run(va, vb, vc).unwrap(),
            2 => call.tuning(&tuning).run(va, vb, vc).unwrap(),
            3 => call.workspace(&WORKSPACE).run(va, vb, vc).unwrap(),
            4 => {
                let plan = call.prepare(va.layout(), vb.layout(), vc.as_ref().layout()).unwrap();
                call.plan(&plan).run(va, vb, vc).unwrap();
            }
            _ => call.run(&call.pack_a(va).unwrap(), &call.pack_b(vb).unwrap(), vc).unwrap(),
        }
        let mut touched = vec![false; c.len()];
        for i in 0..m {
            let row: Vec<T> = (0..k).map(|p| a[pa.at(i, p)]).collect();
            for j in 0..n {
                let column: Vec<T> = (0..k).map(|p| b[pb.at(p, j)]).collect();
                let bias = [None, bias.get(j).copied(), bias.get(i).copied()][along];
                let want = definition(&Entry { a: &row, b: &column, c: old[pc.at(i, j)], alpha, beta, bias, activation });
                let got = c[pc.at(i, j)];
                touched[pc.at(i, j)] = true;
                assert!(got.same(want), "{backend:?} ({m}, {k}, {n}) at ({i}, {j}): {got:?}, not {want:?}");
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
