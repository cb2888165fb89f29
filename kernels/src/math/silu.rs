//! SiLU (x times the logistic function) and Mish (Misra 2019), at most 2 ULP.

use super::parts::{Exponential, Logistic, reciprocal, sum};
use super::slices::{Activate, Unary};
use crate::simd::SimdF32;

/// x / (1 + e^-x)
#[derive(Clone, Copy)]
pub(crate) struct Silu;

impl Unary for Silu {
    #[inline(always)]
    fn eval<S: SimdF32>(&self, s: S, x: S::V) -> S::V {
        // Beyond these it is 0 and x, but Inf would meet zeros there.
        let inside = Logistic::inside(s, x);
        let y = Logistic::new(s, inside, None).times(s, inside);
        s.select(s.lt(inside, x), x, y)
    }
}

impl Activate for Silu {
    /// With q = 1 / (1 + e^-x): q + x q (1 - q)
    #[inline(always)]
    fn slope<S: SimdF32>(&self, s: S, x: S::V) -> S::V {
        let x = Logistic::inside(s, x);
        let q = Logistic::new(s, x, None).value(s);
        s.fma(s.mul(q, s.sub(s.splat(1.0), q)), x, q)
    }
}

/// x tanh(ln(1 + e^x))
///
/// With z = e^x and m = 2 + z, tanh(ln(1 + z)) = z m / (z m + 2).
#[derive(Clone, Copy)]
pub(crate) struct Mish;

impl Unary for Mish {
    #[inline(always)]
    fn eval<S: SimdF32>(&self, s: S, x: S::V) -> S::V {
        let (zero, two) = (s.splat(0.0), s.splat(2.0));
        let inside = s.min(s.splat(20.0), s.max(s.splat(-110.0), x));
        let e = Exponential::new(s, inside, zero);
        let n = e.n;
        let power = s.power(s.max(s.splat(-126.0), n));
        let (e, e_low) = e.significand(s);
        let (z, z_low) = (s.mul(e, power), s.mul(e_low, power));
        let (m, lost) = sum(s, two, z);
        let m_low = s.add(lost, z_low);
        // e m, z m and z m + 2 in two parts each
        let (em, em_low) = s.product(e, m);
        let em_low = s.fma(e, m_low, s.fma(e_low, m, em_low));
        let (d, lost) = sum(s, two, s.mul(em, power));
        let (y, delta) = reciprocal(s, d, s.fma(em_low, power, lost));
        let (q, q_low) = s.product(em, y);
        let q_low = s.fma(em_low, y, s.fma(q, delta, q_low));
        let y = s.scale(s.mul(inside, s.add(q, q_low)), n);
        s.select(s.lt(s.splat(20.0), x), x, y)
    }
}

impl Activate for Mish {
    /// With n = z m and d = n + 2: (n d + 4 x z (1 + z)) / d^2
    #[inline(always)]
    fn slope<S: SimdF32>(&self, s: S, x: S::V) -> S::V {
        let x = s.min(s.splat(20.0), s.max(s.splat(-104.5), x));
        let z = Exponential::new(s, x, s.splat(0.0)).value(s);
        let n = s.mul(z, s.add(z, s.splat(2.0)));
        let d = s.add(n, s.splat(2.0));
        let rise = s.mul(s.mul(x, s.splat(4.0)), s.fma(z, z, z));
        s.div(s.fma(n, d, rise), s.mul(d, d))
    }
}
