//! The activations with corners: ReLU and its relatives.

use super::exp::Exp;
use super::expm1::Expm1;
use super::slices::{Activate, Unary};
use crate::simd::SimdF32;

/// x
#[derive(Clone, Copy)]
pub(crate) struct Identity;

impl Unary for Identity {
    #[inline(always)]
    fn eval<S: SimdF32>(&self, _: S, x: S::V) -> S::V {
        x
    }
}

impl Activate for Identity {
    /// 1
    #[inline(always)]
    fn slope<S: SimdF32>(&self, s: S, _: S::V) -> S::V {
        s.splat(1.0)
    }
}

/// 0 where x < 0, else x. Exact.
#[derive(Clone, Copy)]
pub(crate) struct Relu;

impl Unary for Relu {
    #[inline(always)]
    fn eval<S: SimdF32>(&self, s: S, x: S::V) -> S::V {
        s.max(s.splat(0.0), x)
    }
}

impl Activate for Relu {
    /// 1 where y > 0, else 0
    #[inline(always)]
    fn slope<S: SimdF32>(&self, s: S, y: S::V) -> S::V {
        let zero = s.splat(0.0);
        s.select(s.lt(zero, y), s.splat(1.0), zero)
    }
    #[inline(always)]
    fn backward<S: SimdF32>(&self, s: S, y: S::V, dy: S::V) -> S::V {
        let zero = s.splat(0.0);
        s.select(s.lt(zero, y), dy, zero)
    }
}

/// alpha x where x < 0, else x. Correctly rounded.
#[derive(Clone, Copy)]
pub(crate) struct LeakyRelu(pub f32);

impl Unary for LeakyRelu {
    #[inline(always)]
    fn eval<S: SimdF32>(&self, s: S, x: S::V) -> S::V {
        s.select(s.lt(x, s.splat(0.0)), s.mul(x, s.splat(self.0)), x)
    }
}

impl Activate for LeakyRelu {
    /// 1 where x > 0, else alpha
    #[inline(always)]
    fn slope<S: SimdF32>(&self, s: S, x: S::V) -> S::V {
        s.select(s.lt(s.splat(0.0), x), s.splat(1.0), s.splat(self.0))
    }
}

/// alpha (e^x - 1) where x <= 0, else x (Clevert et al. 2015). At most 2 ULP.
#[derive(Clone, Copy)]
pub(crate) struct Elu(pub f32);

impl Unary for Elu {
    #[inline(always)]
    fn eval<S: SimdF32>(&self, s: S, x: S::V) -> S::V {
        s.select(s.lt(s.splat(0.0), x), x, s.mul(s.splat(self.0), Expm1.eval(s, x)))
    }
}

impl Activate for Elu {
    /// 1 where x > 0, else alpha e^x
    #[inline(always)]
    fn slope<S: SimdF32>(&self, s: S, x: S::V) -> S::V {
        s.select(s.lt(s.splat(0.0), x), s.splat(1.0), s.mul(s.splat(self.0), Exp.eval(s, x)))
    }
}

/// 0 where x <= -3, x where x >= 3, else x (x + 3) / 6 (Howard et al. 2019). At most 2 ULP.
#[derive(Clone, Copy)]
pub(crate) struct HardSwish;

/// 1/6 in two parts.
const SIXTH: f32 = 0.166_666_67;
const SIXTH_LOW: f32 = -4.967_054e-9;

impl Unary for HardSwish {
    #[inline(always)]
    fn eval<S: SimdF32>(&self, s: S, x: S::V) -> S::V {
        let three = s.splat(3.0);
        let shifted = s.add(x, three);
        let y = s.mul(x, s.fma(shifted, s.splat(SIXTH), s.mul(shifted, s.splat(SIXTH_LOW))));
        let y = s.select(s.lt(three, x), x, y);
        // Not `x <= -3` the other way round: a NaN is not below.
        s.clear(s.lt(x, s.splat((-3.0_f32).next_up())), y)
    }
}

impl Activate for HardSwish {
    /// 0 where x < -3, 1 where x > 3, else x / 3 + 1/2
    #[inline(always)]
    fn slope<S: SimdF32>(&self, s: S, x: S::V) -> S::V {
        let inside = s.fma(x, s.splat(2.0 * SIXTH), s.splat(0.5));
        let above = s.select(s.lt(s.splat(3.0), x), s.splat(1.0), inside);
        s.clear(s.lt(x, s.splat(-3.0)), above)
    }
}
