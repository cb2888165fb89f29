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
        Logistic::new(s, Logistic::inside(s, x), None).value(s)
    }
}

impl Activate for Sigmoid {
    /// y (1 - y)
    #[inline(always)]
    fn slope<S: SimdF32>(&self, s: S, y: S::V) -> S::V {
        s.mul(y, s.sub(s.splat(1.0), y))
    }
}
