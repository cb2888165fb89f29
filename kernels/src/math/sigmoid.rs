//! 1 / (1 + e^-x), at most 1 ULP.

use super::parts::Logistic;
use super::slices::{Activate, Unary};
use crate::simd::SimdF32;

/// 1 / (1 + e^-x)
#[derive(Clone, Copy)]
pub(crate) struct Sigmoid;

impl Unary for Sigmoid {
    #[inline(always)]
    fn eval<S: SimdF32>(&self, s: S, x: S::V) -> S::V {
        let Logistic { y, delta, n } = Logistic::new(s, x, s.splat(0.0));
        s.scale(s.fma(y, delta, y), n)
    }
}

impl Activate for Sigmoid {
    /// y (1 - y)
    #[inline(always)]
    fn slope<S: SimdF32>(&self, s: S, y: S::V) -> S::V {
        s.mul(y, s.sub(s.splat(1.0), y))
    }
}
