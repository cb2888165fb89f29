//! ln x and ln(1 + x), at most 1 ULP.
//!
//! The argument is 2^k (1 + f) with 3/4 <= 1 + f < 3/2; ln(1 + f) = f - f^2/2 + f^3 P(f), P a minimax polynomial.
//! k ln 2 + f is the large part; what its sum loses goes back into the small one.

use super::parts::{LN2_HIGH, LN2_LOW, polynomial, sum};
use super::slices::Unary;
use crate::simd::SimdF32;

/// ln x
#[derive(Clone, Copy)]
pub(crate) struct Ln;

/// ln(1 + x)
#[derive(Clone, Copy)]
pub(crate) struct Log1p;

/// -1/2 and (ln(1 + f) - f + f^2 / 2) / f^3 on -1/4 <= f <= 1/2, lowest power first; relative error of ln 0.083 *
/// 2^-24.
const P: [f32; 9] = [
    -0.5,
    0.333_334_5,
    -0.250_001_1,
    0.199_908_48,
    -0.166_468_78,
    0.144_776_3,
    -0.131_639_36,
    0.104_725_51,
    -0.045_152_27,
];

/// k ln 2 + ln(1 + f)
#[inline(always)]
pub(super) fn ln_of<S: SimdF32>(s: S, k: S::V, f: S::V, f_low: S::V) -> S::V {
    let (large, lost) = sum(s, s.mul(k, s.splat(LN2_HIGH)), f);
    let small = s.fma(k, s.splat(LN2_LOW), s.add(lost, f_low));
    s.add(large, s.fma(polynomial(s, f, &P), s.mul(f, f), small))
}

/// `y`, but what the logarithm is at `x` = 0, below, at +Inf and at NaN.
#[inline(always)]
fn with_limits<S: SimdF32>(s: S, x: S::V, y: S::V) -> S::V {
    let y = s.select(s.lt(x, s.splat(f32::INFINITY)), y, x);
    let below = s.select(s.lt(x, s.splat(0.0)), s.splat(f32::NAN), s.splat(-f32::INFINITY));
    s.select(s.lt(x, s.splat(f32::from_bits(1))), below, y)
}

impl Unary for Ln {
    #[inline(always)]
    fn eval<S: SimdF32>(&self, s: S, x: S::V) -> S::V {
        let (m, k) = s.split(x);
        with_limits(s, x, ln_of(s, k, s.sub(m, s.splat(1.0)), s.splat(0.0)))
    }
}

impl Unary for Log1p {
    #[inline(always)]
    fn eval<S: SimdF32>(&self, s: S, x: S::V) -> S::V {
        let one = s.splat(1.0);
        let u = s.add(one, x);
        let (_, k) = s.split(u);
        // f = x 2^-k + (2^-k - 1) from x itself, not from the rounded 1 + x: it is exact unless x is large. 2^-k can be
        // subnormal, 2^(2 - k) is not.
        let power = s.power(s.sub(s.splat(2.0), k));
        let quarter = s.splat(0.25);
        let f = s.add(s.mul(s.mul(x, power), quarter), s.fma(power, quarter, s.splat(-1.0)));
        let y = with_limits(s, u, ln_of(s, k, f, s.splat(0.0)));
        s.select(s.lt(s.abs(x), s.splat(1e-8)), x, y)
    }
}
