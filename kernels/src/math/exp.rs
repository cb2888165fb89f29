//! e^x, at most 1 ULP.
//!
//! x = n ln 2 + r with |r| <= ln 2 / 2 (Cody and Waite's reduction: ln 2 in two parts, the first with 10 bits, so that
//! its product with n is exact), e^r by a polynomial fitted at Chebyshev nodes, then two multiplications by powers of
//! two, of which only the last can round: results below the normal range are rounded once.

use super::slices::Unary;
use crate::simd::SimdF32;

pub(super) struct Exp;

/// Adding it rounds to an integer, which then stands in the low bits.
const ROUND: f32 = 12_582_912.0;
const LN2_HI: f32 = 0.693_359_4;
const LN2_LO: f32 = -2.121_944_4e-4;
/// (e^r - 1 - r) / r^2 on |r| <= 0.34662, lowest power first; relative error of e^r 0.012 * 2^-24.
const P: [f32; 6] = [0.5, 0.166_666_67, 0.041_666_467, 0.008_333_310_5, 0.001_393_365_3, 0.000_198_909_94];

impl Unary for Exp {
    #[inline(always)]
    fn eval<S: SimdF32>(s: S, x: S::V) -> S::V {
        // Beyond these the result is 0 or Inf anyway, and n stays small; a NaN passes.
        let x = s.min(s.splat(89.0), s.max(s.splat(-104.5), x));
        let t = s.fma(x, s.splat(std::f32::consts::LOG2_E), s.splat(ROUND));
        let n = s.sub(t, s.splat(ROUND));
        let r = s.fma(n, s.splat(-LN2_HI), x);
        let r = s.fma(n, s.splat(-LN2_LO), r);
        let mut p = s.splat(P[5]);
        for c in P[..5].iter().rev() {
            p = s.fma(p, r, s.splat(*c));
        }
        let p = s.add(s.fma(p, s.mul(r, r), r), s.splat(1.0));
        let n = s.sub_i32(s.to_bits(t), s.splat_i32(ROUND.to_bits().cast_signed()));
        let half = s.sar::<1>(n);
        s.mul(s.mul(p, power(s, half)), power(s, s.sub_i32(n, half)))
    }
}

/// 2^n for n in the normal range.
#[inline(always)]
fn power<S: SimdF32>(s: S, n: S::I) -> S::V {
    s.with_bits(s.shl::<23>(s.add_i32(n, s.splat_i32(127))))
}

#[cfg(test)]
mod tests {
    #[test]
    fn within_one_ulp() {
        crate::math::tests::check_unary(crate::Backend::exp, f64::exp, 1.0);
    }
}
