//! GELU (Hendrycks and Gimpel 2016), exact and in the tanh form, at most 2 ULP.
//!
//! Exact: with a = |x| and R(a) = e^(a^2 / 2) erfc(a / sqrt 2) / 2, which falls slowly from 1/2 to 0.4 / a, x Phi(-a) is
//! x R(a) e^(-a^2 / 2), without cancellation however far into the tail. R(a) = P(z) / (a + C), P a minimax polynomial in
//! z = (a - C) / (a + C) (the variable of Shepherd and Laframboise 1981).
//!
//! Tanh form: (1 + tanh g) / 2 = 1 / (1 + e^(-2g)), g = sqrt(2 / pi) (x + 0.044715 x^3). 2g reaches 105 and its absolute
//! error is the relative one of the result, so it comes in two parts.

use super::parts::{Exponential, Logistic, polynomial, sum};
use super::slices::{Activate, Unary};
use crate::simd::SimdF32;

/// x Phi(x), Phi the distribution function of the normal distribution
#[derive(Clone, Copy)]
pub(crate) struct Gelu;

const C: f32 = 5.0;
/// P on 0 <= a <= 14.5, relative error 0.2 * 2^-24: its constant, in two parts of which the first has few bits, and its
/// further coefficients, lowest power first.
const P0: f32 = 0.769_192_7;
const P0_LOW: f32 = 3.576_278_7e-7;
const P: [f32; 9] = [
    -0.665_382_5,
    0.495_306_02,
    -0.313_533_54,
    0.165_010_21,
    -0.069_117_1,
    0.020_864_725,
    -0.002_964_002_3,
    -0.000_957_948_04,
    0.000_413_238_5,
];
/// 1 / sqrt(2 pi)
const DENSITY: f32 = 0.398_942_3;

/// e^(-a^2 / 2) for 0 <= a <= 14.5.
#[inline(always)]
fn bell<S: SimdF32>(s: S, a: S::V) -> Exponential<S::V> {
    let (square, low) = s.product(a, s.mul(a, s.splat(-0.5)));
    Exponential::new(s, square, low)
}

impl Unary for Gelu {
    #[inline(always)]
    fn eval<S: SimdF32>(&self, s: S, x: S::V) -> S::V {
        let zero = s.splat(0.0);
        // From 14.5 on the tail is 0; a NaN passes.
        let a = s.min(s.splat(14.5), s.abs(x));
        // u = a / (a + C) in two parts
        let (w, w_low) = sum(s, s.splat(C), a);
        let u = s.div(a, w);
        let rest = s.fma(s.sub(zero, u), w_low, s.fma(s.sub(zero, u), w, a));
        let u_low = s.mul(rest, s.fma(u, s.splat(-1.0 / C), s.splat(1.0 / C)));
        // P(z) in two parts: most of its error would come from its last step, and from the rounding of z = 2u - 1
        let (z, lost) = sum(s, s.splat(-1.0), s.add(u, u));
        let z_low = s.fma(u_low, s.splat(2.0), lost);
        let steep = polynomial(s, z, &P);
        let p = s.fma(z, steep, s.splat(P0));
        let p_low = s.fma(z, steep, s.sub(s.splat(P0), p));
        let p_low = s.add(s.fma(z_low, steep, p_low), s.splat(P0_LOW));
        let (t, t_low) = s.product(u, p);
        let t_low = s.fma(u, p_low, s.fma(u_low, p, t_low));
        // a Phi(-a) = 2^n (t + t_low) (1 + r + tail)
        let e = bell(s, a);
        let (n, e) = (e.n, s.add(e.r, e.tail));
        let low = s.fma(t, e, s.fma(t_low, e, t_low));
        let tail = s.scale(s.add(t, low), n);
        // x - a Phi(-a) for positive x; a tiny power is lost beside x.
        let power = s.power(s.max(s.splat(-126.0), n));
        let (high, lost) = sum(s, x, s.mul(s.sub(zero, power), t));
        let above = s.add(high, s.fma(s.sub(zero, power), low, lost));
        let above = s.select(s.lt(s.splat(14.5), x), x, above);
        s.select(s.lt(zero, x), above, s.with_sign(tail, x))
    }
}

impl Activate for Gelu {
    /// Phi(x) + x e^(-x^2 / 2) / sqrt(2 pi)
    #[inline(always)]
    fn slope<S: SimdF32>(&self, s: S, x: S::V) -> S::V {
        let (zero, one) = (s.splat(0.0), s.splat(1.0));
        let a = s.min(s.splat(14.5), s.abs(x));
        let v = s.div(one, s.add(a, s.splat(C)));
        let z = s.fma(v, s.splat(-2.0 * C), one);
        let p = s.mul(v, s.fma(z, polynomial(s, z, &P), s.splat(P0)));
        let e = bell(s, a).value(s);
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
    /// 1 / (1 + e^(-2g)), and x between bounds beyond which it is 0 or 1.
    #[inline(always)]
    fn gate<S: SimdF32>(s: S, x: S::V) -> (Logistic<S::V>, S::V) {
        let x = s.min(s.splat(11.0), s.max(s.splat(-11.0), x));
        let (square, square_low) = s.product(x, x);
        let t = s.fma(square, s.splat(B), s.splat(A));
        let t_low = s.fma(square, s.splat(B), s.sub(s.splat(A), t));
        let t_low = s.add(t_low, s.fma(square, s.splat(B_LOW), s.fma(square_low, s.splat(B), s.splat(A_LOW))));
        let (g, g_low) = s.product(x, t);
        (Logistic::new(s, g, s.fma(x, t_low, g_low)), x)
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
        let q = gate.times(s, s.splat(1.0));
        let steep = s.mul(x, s.fma(s.mul(x, x), s.splat(3.0 * B), s.splat(A)));
        s.fma(s.mul(q, s.sub(s.splat(1.0), q)), steep, q)
    }
}
