//! ln(1 + e^x), at most 2 ULP.

use super::ln::ln_of;
use super::parts::Exponential;
use super::sigmoid::Sigmoid;
use super::slices::{Activate, Unary};
use crate::simd::SimdF32;

/// ln(1 + e^x) = max(x, 0) + ln(1 + z), z = e^-|x|
#[derive(Clone, Copy)]
pub(crate) struct Softplus;

impl Unary for Softplus {
    #[inline(always)]
    fn eval<S: SimdF32>(&self, s: S, x: S::V) -> S::V {
        let (zero, half) = (s.splat(0.0), s.splat(0.5));
        let a = s.sub(zero, s.min(s.splat(105.0), s.abs(x)));
        let e = Exponential::new(s, a, zero);
        let whole = e.value(s);
        let power = s.power(s.max(s.splat(-126.0), e.n));
        let (z, z_low) = e.significand(s);
        let (z, z_low) = (s.mul(z, power), s.mul(z_low, power));
        // 1 + z = 2 (1 + (z - 1) / 2) where that is nearer to 1.
        let large = s.lt(half, z);
        let k = s.select(large, s.splat(1.0), zero);
        let f = s.select(large, s.fma(z, half, s.splat(-0.5)), z);
        let f_low = s.select(large, s.mul(z_low, half), z_low);
        let y = ln_of(s, k, f, s.fma(s.sub(zero, f), f_low, f_low));
        let y = s.select(s.lt(a, s.splat(-20.0)), whole, y);
        s.add(s.max(zero, x), y)
    }
}

impl Activate for Softplus {
    /// 1 / (1 + e^-x)
    #[inline(always)]
    fn slope<S: SimdF32>(&self, s: S, x: S::V) -> S::V {
        Sigmoid.eval(s, x)
    }
}
