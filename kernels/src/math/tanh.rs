//! tanh x, at most 1 ULP.
//!
//! With t = e^(2|x|) - 1 it is t / (t + 2). t comes in two parts, and the quotient is corrected by its remainder.

use super::parts::{Exponential, sum};
use super::slices::{Activate, Unary};
use crate::simd::SimdF32;

/// tanh x
#[derive(Clone, Copy)]
pub(crate) struct Tanh;

impl Unary for Tanh {
    #[inline(always)]
    fn eval<S: SimdF32>(&self, s: S, x: S::V) -> S::V {
        let (zero, two) = (s.splat(0.0), s.splat(2.0));
        // It is 1 from 9.02 on; a NaN passes.
        let a = s.min(s.splat(10.0), s.abs(x));
        let e = Exponential::new(s, s.add(a, a), zero);
        let power = s.power(e.n);
        let whole = s.sub(power, s.splat(1.0));
        let high = s.fma(power, e.r, whole);
        let lost = s.fma(power, e.r, s.sub(whole, high));
        let (t, t_low) = sum(s, high, s.fma(power, e.tail, lost));
        let (d, d_low) = sum(s, two, t);
        let d_low = s.add(d_low, t_low);
        let y = s.div(s.splat(1.0), d);
        let q = s.mul(t, y);
        let minus = s.sub(zero, q);
        let rest = s.fma(minus, d_low, s.add(s.fma(minus, d, t), t_low));
        s.with_sign(s.fma(rest, y, q), x)
    }
}

impl Activate for Tanh {
    /// 1 - y^2
    #[inline(always)]
    fn slope<S: SimdF32>(&self, s: S, y: S::V) -> S::V {
        s.fma(s.sub(s.splat(0.0), y), y, s.splat(1.0))
    }
}
