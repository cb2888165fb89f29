//! The error of every precision on every kind of data, by the definitions of the results: `docs/numerics.md` has this
//! table. Prints it: `cargo test -p kernels --test errors -- --nocapture`.

use kernels::reference::{Entry, definition, definition_on_tiles};
use kernels::{Activation, Precision};

/// Seeded numbers in [-1, 1) with full significands (splitmix64).
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 52) as f64 - 1.0
    }

    /// Times a power of two from -range to range.
    fn scaled(&mut self, range: f64) -> f64 {
        self.next() * (self.next() * range).round().exp2()
    }
}

const KINDS: [&str; 7] = ["random", "same sign", "2^±10", "2^±60", "cancelling", "subnormal", "huge"];

/// A row of A and a column of B.
fn operands(kind: &str, k: usize, seed: u64) -> (Vec<f32>, Vec<f32>) {
    let mut next = Numbers(seed);
    let (mut a, mut b): (Vec<f32>, Vec<f32>) = (Vec::new(), Vec::new());
    for p in 0..k {
        let (x, y) = match kind {
            "random" => (next.next(), next.next()),
            "same sign" => (next.next().abs(), next.next().abs()),
            "2^±10" => (next.scaled(10.0), next.scaled(10.0)),
            "2^±60" => (next.scaled(60.0), next.scaled(60.0)),
            // Each second product takes the one before away, but for a millionth.
            "cancelling" if p % 2 == 1 => (-f64::from(a[p - 1]) * (1.0 + 1e-6 * next.next()), b[p - 1].into()),
            "cancelling" => (next.next(), next.next()),
            "subnormal" => (next.next() * 1e-39, next.next()),
            _ => (next.next() * 1e38, next.next() * 1e-3),
        };
        a.push(x as f32);
        b.push(y as f32);
    }
    (a, b)
}

#[test]
fn six_products_are_as_exact_as_f32() {
    // Nothing in it depends on the row, and emulators, under which rows are pinned, are slow.
    if std::env::var_os("KERNELS_ISA").is_some() {
        return;
    }
    println!("| data | k | F32 | F32Amx | Bf16x3, tiles | Bf16x3 | Bf16, tiles | Bf16 |");
    println!("| --- | --- | --- | --- | --- | --- | --- | --- |");
    let mut ratios = Vec::new();
    for kind in KINDS {
        for k in [1, 16, 64, 256, 1000, 4096, 65536] {
            let count = if k > 10_000 { 16 } else { 128 };
            let mut squares = [0.0; 6];
            for i in 0..count {
                let (a, b) = operands(kind, k, (k + i) as u64 * 977);
                let entry =
                    Entry { a: &a, b: &b, c: 0.0, alpha: 1.0, beta: 0.0, bias: None, activation: Activation::Identity };
                let rounded = |precision: Precision| {
                    let round = |x: &[f32]| x.iter().map(|&x| precision.round(x)).collect::<Vec<_>>();
                    definition(&Entry { a: &round(&a), b: &round(&b), ..entry })
                };
                let found = [
                    definition(&entry),
                    definition_on_tiles(Precision::F32Amx, &entry),
                    definition_on_tiles(Precision::Bf16x3, &entry),
                    rounded(Precision::Bf16x3),
                    definition_on_tiles(Precision::Bf16, &entry),
                    rounded(Precision::Bf16),
                ];
                let products = a.iter().zip(&b).map(|(&a, &b)| f64::from(a) * f64::from(b));
                let (want, size) = products.fold((0.0, 0.0), |(sum, size), x| (sum + x, size + x.abs()));
                // Of what is subnormal, an error is at least of its last bit.
                let unit = f64::max(size * (-24f64).exp2(), (-149f64).exp2());
                for (squares, found) in squares.iter_mut().zip(found) {
                    *squares += ((f64::from(found) - want) / unit).powi(2);
                }
            }
            let error = squares.map(|sum| (sum / count as f64).sqrt());
            let cells = error.map(|x| if x < 10.0 { format!("{x:.3}") } else { format!("{x:.0}") });
            println!("| {kind} | {k} | {} |", cells.join(" | "));
            let ratio = error[1] / error[0];
            assert!(ratio <= 1.5, "{kind}, {k}: {ratio} times the error of f32");
            ratios.push(ratio);
            // A rounding of both operands each, 2^15 and 2^7 units, and what three products leave out.
            let [.., three, rounded_three, one, rounded_one] = error;
            assert!(three < 300.0 && rounded_three < 300.0, "{kind}, {k}: {three} {rounded_three}");
            assert!(one < 70_000.0 && rounded_one < 70_000.0, "{kind}, {k}: {one} {rounded_one}");
        }
    }
    let mean = (ratios.iter().map(|r| r.ln()).sum::<f64>() / ratios.len() as f64).exp();
    println!("F32Amx to F32, geometric mean: {mean:.2}");
    assert!(mean < 0.9, "{mean} times the error of f32");
}
