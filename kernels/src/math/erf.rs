//! The error function, at most 1 ULP.
//!
//! Below 1 it is x + x P(x^2), beyond 1 - e^-Q(|x|) with Q(x) = -ln(erfc x), which is smooth; both are minimax
//! polynomials.

use super::exp;
use super::parts::{LN2_HIGH, LN2_LOW, nearest, polynomial};
use super::slices::Unary;
use crate::simd::SimdF32;

/// 2 / sqrt(pi) times the integral of e^(-t^2) from 0 to x
#[derive(Clone, Copy)]
pub(crate) struct Erf;

const EDGE: f32 = 1.0;
/// erf(sqrt t) / sqrt t - 1 on 0 <= t <= 1, lowest power first; relative error of erf 0.024 * 2^-24.
const P: [f32; 7] =
    [0.128_379_17, -0.376_126_26, 0.112_835_79, -0.026_853_347, 0.005_187_162, -0.000_799_785_3, 0.000_078_069_03];
/// -ln(erfc x) on 0.9 <= x <= 3.95, lowest power first; relative error of erf 0.028 * 2^-24.
const Q0: f32 = 0.000_166_450_58;
const Q: [f32; 6] = [1.127_797_2, 0.636_976_06, 0.104_113_69, -0.022_315_202, 0.003_065_478_5, -0.000_198_216_88];

impl Unary for Erf {
    #[inline(always)]
    fn eval<S: SimdF32>(&self, s: S, x: S::V) -> S::V {
        let zero = s.splat(0.0);
        // It is 1 from 3.92 on; a NaN passes.
        let a = s.min(s.splat(3.95), s.abs(x));
        let near = s.fma(x, polynomial(s, s.mul(a, a), &P), x);
        // Q(a) = a q + Q0 is not rounded before it is reduced: near 1 that alone would be half an ULP of the result.
        let q = s.sub(zero, polynomial(s, a, &Q));
        let (_, n) = nearest(s, s.mul(a, q));
        let r = s.fma(a, q, s.mul(n, s.splat(-LN2_HIGH)));
        let r = s.add(r, s.fma(n, s.splat(-LN2_LOW), s.splat(-Q0)));
        let far = s.fma(s.sub(zero, exp::significand(s, r)), s.power(n), s.splat(1.0));
        s.select(s.lt(a, s.splat(EDGE)), near, s.with_sign(far, x))
    }
}
