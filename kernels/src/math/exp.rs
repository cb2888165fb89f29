//! e^x and 2^x, at most 1 ULP.
//!
//! x = n ln 2 + r with |r| <= ln 2 / 2, e^r by a minimax polynomial, and a factor 2^n that alone can round: results
//! below the normal range are rounded once.

use super::parts::{LN2_HIGH, LN2_LOW, nearest, polynomial, reduce};
use super::slices::Unary;
use crate::simd::{ROUND, SimdF32, TINY};

/// e^x
#[derive(Clone, Copy)]
pub(crate) struct Exp;

/// e^r on |r| <= 0.34675, lowest power first; relative error 0.053 * 2^-24.
const P: [f32; 7] = [1.0, 1.0, TAIL[0], TAIL[1], TAIL[2], TAIL[3], TAIL[4]];
/// The same for (e^r - 1 - r) / r^2.
pub(super) const TAIL: [f32; 5] = [0.499_999_94, 0.166_665_21, 0.041_668_266, 0.008_368_677, 0.001_382_073_2];

/// e^r for |r| <= 0.34675.
#[inline(always)]
pub(super) fn significand<S: SimdF32>(s: S, r: S::V) -> S::V {
    // Horner's rule to the end: to sum 1 + (r + ..) instead would round r once more, for 1.01 ULP.
    polynomial(s, r, &P)
}

impl Exp {
    /// e^(x - top), the difference not rounded, for x <= top.
    #[inline(always)]
    pub(super) fn below<S: SimdF32>(s: S, x: S::V, top: S::V) -> S::V {
        let d = s.sub(x, top);
        // What the difference lost: as x <= top, the lesser of its terms x and -top is the larger in size.
        let minus_top = s.neg(top);
        let (large, small) = (s.min(minus_top, x), s.max(minus_top, x));
        let lost = s.sub(small, s.sub(d, large));
        let (shifted, n) = nearest(s, d);
        let r = s.add(s.fma(n, s.splat(-LN2_HIGH), d), s.fma(n, s.splat(-LN2_LOW), lost));
        let y = s.mul(s.mul(significand(s, r), s.power_above::<64>(shifted)), s.splat(TINY));
        // There it is 0, and y may be anything.
        s.clear(s.lt(d, s.splat(-104.0)), y)
    }
}

impl Unary for Exp {
    #[inline(always)]
    fn eval<S: SimdF32>(&self, s: S, x: S::V) -> S::V {
        // Beyond these the result is 0 or Inf anyway, and n stays small; a NaN passes.
        let (n, r) = reduce(s, s.min(s.splat(89.0), s.max(s.splat(-104.5), x)));
        s.scale(significand(s, s.fma(n, s.splat(-LN2_LOW), r)), n)
    }
}

/// 2^x
#[derive(Clone, Copy)]
pub(crate) struct Exp2;

/// 2^r on |r| <= 1/2, lowest power first; relative error 0.051 * 2^-24.
const P2: [f32; 7] =
    [1.0, std::f32::consts::LN_2, 0.240_226_48, 0.055_503_6, 0.009_618_506, 0.001_339_080_6, 0.000_153_264_63];

impl Unary for Exp2 {
    #[inline(always)]
    fn eval<S: SimdF32>(&self, s: S, x: S::V) -> S::V {
        let x = s.min(s.splat(129.0), s.max(s.splat(-150.5), x));
        let n = s.sub(s.add(x, s.splat(ROUND)), s.splat(ROUND));
        s.scale(polynomial(s, s.sub(x, n), &P2), n)
    }
}
