//! e^x - 1, at most 1 ULP.

use super::parts::{Exponential, sum};
use super::slices::Unary;
use crate::simd::SimdF32;

/// e^x - 1
#[derive(Clone, Copy)]
pub(crate) struct Expm1;

impl Unary for Expm1 {
    #[inline(always)]
    fn eval<S: SimdF32>(&self, s: S, x: S::V) -> S::V {
        let zero = s.splat(0.0);
        let e = Exponential::new(s, s.min(s.splat(89.0), s.max(s.splat(-18.0), x)), zero);
        // 2^n (1 + r + tail) - 1, halved so that 2^n does not overflow before the result does.
        let half = s.power(s.sub(e.n, s.splat(1.0)));
        let (whole, beside) = sum(s, half, s.splat(-0.5));
        let high = s.fma(half, e.r, whole);
        let lost = s.fma(half, e.r, s.sub(whole, high));
        let y = s.add(high, s.fma(half, e.tail, s.add(lost, beside)));
        // Here x is the result, zeros keep their sign, and no subnormal is halved.
        s.select(s.lt(s.abs(x), s.splat(1e-8)), x, s.add(y, y))
    }
}
