//! GELU (Hendrycks and Gimpel 2016), exact and in the tanh form, at most 2 ULP.
//!
//! Exact: near 0 it is x Phi(x) with Phi(x) = 1/2 + x S(x^2); beyond, with a = |x|, the product a Phi(-a) is
//! e^(-a^2 / 2 - ln sqrt(2 pi) + L(a)) without cancellation however far into the tail, and is subtracted from max(0,
//! x). L, the logarithm of Mills' ratio times a, is about -1 / a^2: a small number, for which a rational function in
//! floats is exact enough.
//!
//! Tanh form: (1 + tanh g) / 2 = 1 / (1 + e^(-2g)), g = sqrt(2 / pi) (x + 0.044715 x^3). 2g reaches 105 and its
//! absolute error is the relative one of the result, so it comes in two parts.

use super::exp::Exp;
use super::parts::{LN2_HIGH, LN2_LOW, Logistic, estrin, polynomial};
use super::slices::{Activate, Unary};
use crate::simd::{ROUND, SimdF32, TINY};

/// x Phi(x), Phi the distribution function of the normal distribution
#[derive(Clone, Copy)]
pub(crate) struct Gelu;

const EDGE: f32 = 0.85;
/// (Phi(sqrt t) - 1/2) / sqrt t on 0 <= t <= EDGE^2, lowest power first; relative error of Phi(-sqrt t) 0.09 * 2^-24.
const S: [f32; 5] = [0.398_942_26, -0.066_489_85, 0.009_969_527, -0.001_174_730_1, 0.000_097_901_17];
/// L on 0.84 <= a <= 14.5 as a quotient, lowest powers first; error 0.3 * 2^-24.
const L: [f32; 4] = [-4.529_582_5, -9.404_122, -3.798_903_2, -1.000_297_3];
const L_OVER: [f32; 6] = [1.392_812_8, 11.007_359, 15.440_387, 11.731_277, 3.810_196_2, 1.0];
/// -ln sqrt(2 pi) in two parts: one with few bits, and one that brings L nearer to 0.
const LN_DENSITY: f32 = -261.0 / 256.0;
const LN_DENSITY_REST: f32 = 0.100_592_72;
/// (e^r - 1 - r) / r^2 on -0.76 <= r <= 0.45, lowest power first; relative error of e^r 0.13 * 2^-24.
const E: [f32; 6] = [0.499_999_8, 0.166_665_79, 0.041_669_186, 0.008_344_029, 0.001_387_204_9, 0.000_167_821_66];
/// 1 / sqrt(2 pi)
const DENSITY: f32 = 0.398_942_3;

impl Unary for Gelu {
    #[inline(always)]
    fn eval<S: SimdF32>(&self, s: S, x: S::V) -> S::V {
        // From 14.5 on the tail is 0; a NaN passes.
        let a = s.min(s.splat(14.5), s.abs(x));
        let square = s.mul(a, a);
        let near = s.mul(x, s.fma(x, polynomial(s, square, &S), s.splat(0.5)));
        let l = s.div(estrin(s, a, square, &L), estrin(s, a, square, &L_OVER));
        // -a^2 / 2 - ln sqrt(2 pi) in two parts
        let (half, half_low) = s.product(a, s.mul(a, s.splat(-0.5)));
        let high = s.add(half, s.splat(LN_DENSITY));
        let low = s.add(half_low, s.sub(half, s.sub(high, s.splat(LN_DENSITY))));
        // -n, with -n - 64 in the low bits: p 2^(n + 64) is normal, and the last factor alone rounds.
        let shift = s.splat(ROUND - 64.0);
        let shifted = s.fma(high, s.splat(-std::f32::consts::LOG2_E), shift);
        let n = s.sub(shifted, shift);
        let low = s.add(low, s.fma(n, s.splat(LN2_LOW), s.splat(LN_DENSITY_REST)));
        let r = s.add(s.fma(n, s.splat(LN2_HIGH), high), s.add(low, l));
        let one = s.splat(1.0);
        let p = s.fma(s.fma(estrin(s, r, s.mul(r, r), &E), r, one), r, one);
        let p = s.sub_i32(s.to_bits(p), s.shl::<23>(s.to_bits(shifted)));
        let tail = s.mul(s.with_bits(p), s.splat(TINY));
        // -0, not 0, where x < 0 and the tail is 0. A NaN stays one, whatever became of the tail.
        let far = s.sub(s.max(s.splat(-0.0), x), tail);
        s.select(s.lt(a, s.splat(EDGE)), near, far)
    }
}

/// The upper tail of the normal distribution is e^(-a^2 / 2) P(z) / (a + C) with z = (C - a) / (C + a) (the variable of
/// Shepherd and Laframboise 1981), on 0 <= a <= 14.5, to 0.2 * 2^-24 of it; lowest power first.
const C: f32 = 5.0;
const P: [f32; 10] = [
    0.769_193_05,
    0.665_382_5,
    0.495_306_02,
    0.313_533_54,
    0.165_010_21,
    0.069_117_1,
    0.020_864_725,
    0.002_964_002_3,
    -0.000_957_948_04,
    -0.000_413_238_5,
];

impl Activate for Gelu {
    /// Phi(x) + x e^(-x^2 / 2) / sqrt(2 pi)
    #[inline(always)]
    fn slope<S: SimdF32>(&self, s: S, x: S::V) -> S::V {
        let (zero, one) = (s.splat(0.0), s.splat(1.0));
        let a = s.min(s.splat(14.5), s.abs(x));
        let v = s.div(one, s.add(a, s.splat(C)));
        let z = s.fma(v, s.splat(2.0 * C), s.splat(-1.0));
        let p = s.mul(v, polynomial(s, z, &P));
        let e = Exp.eval(s, s.mul(a, s.mul(a, s.splat(-0.5))));
        // Phi(-a), and the slope at -a; that at a is 1 less it.
        let below = s.mul(e, s.fma(a, s.splat(-DENSITY), p));
        s.select(s.lt(zero, x), s.sub(one, below), below)
    }
}

/// x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2
#[derive(Clone, Copy)]
pub(crate) struct GeluTanh;

/// 2 sqrt(2 / pi), the first part with few bits: A1 + B x^2 then loses nothing that can't be found again.
const A: f32 = 1.595_769_9;
const A_LOW: f32 = -7.605_964_4e-7;
/// 2 sqrt(2 / pi) 0.044715
const B: f32 = 0.071_354_814;
const B_LOW: f32 = 2.398_832_5e-9;

impl GeluTanh {
    /// 1 / (1 + e^(-2g)), and x between bounds beyond which it is 0 or 1: -2g stays within those of [`Logistic`].
    #[inline(always)]
    fn gate<S: SimdF32>(s: S, x: S::V) -> (Logistic<S::V>, S::V) {
        let x = s.min(s.splat(5.2), s.max(s.splat(-11.0), x));
        let (square, square_low) = s.product(x, x);
        let t = s.fma(square, s.splat(B), s.splat(A));
        let t_low = s.fma(square, s.splat(B), s.sub(s.splat(A), t));
        let t_low = s.add(t_low, s.fma(square, s.splat(B_LOW), s.fma(square_low, s.splat(B), s.splat(A_LOW))));
        let (g, g_low) = s.product(x, t);
        (Logistic::new(s, g, Some(s.fma(x, t_low, g_low))), x)
    }
}

impl Unary for GeluTanh {
    #[inline(always)]
    fn eval<S: SimdF32>(&self, s: S, x: S::V) -> S::V {
        let (gate, inside) = Self::gate(s, x);
        s.select(s.lt(inside, x), x, gate.times(s, inside))
    }
}

impl Activate for GeluTanh {
    /// With q = 1 / (1 + e^(-2g)): q + x q (1 - q) 2g', 2g' = A + 3 B x^2
    #[inline(always)]
    fn slope<S: SimdF32>(&self, s: S, x: S::V) -> S::V {
        let (gate, x) = Self::gate(s, x);
        let q = gate.value(s);
        let steep = s.mul(x, s.fma(s.mul(x, x), s.splat(3.0 * B), s.splat(A)));
        s.fma(s.mul(q, gate.complement(s)), steep, q)
    }
}
