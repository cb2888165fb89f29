//! ln x, at most 1 ULP.
//!
//! x = 2^k (1 + f) with 2/3 <= 1 + f < 4/3; ln(1 + f) = f - f^2/2 + f^3 P(f), P fitted at Chebyshev nodes. k ln 2 + f is
//! the large part; what its sum loses goes back into the small one (Dekker's fast two-sum).

use super::slices::Unary;
use crate::simd::SimdF32;

pub(super) struct Ln;

const LN2_HI: f32 = 0.693_359_4;
const LN2_LO: f32 = -2.121_944_4e-4;
const TWO_THIRDS: i32 = 0x3f2a_aaab;
/// (ln(1 + f) - f + f^2 / 2) / f^3 on -1/3 <= f <= 1/3, lowest power first; relative error of ln 0.057 * 2^-24.
const P: [f32; 9] = [
    0.333_333_34,
    -0.249_999_45,
    0.199_999_48,
    -0.166_733_16,
    0.142_918_68,
    -0.122_887_22,
    0.109_156_55,
    -0.124_222,
    0.113_306_17,
];

impl Unary for Ln {
    #[inline(always)]
    fn eval<S: SimdF32>(s: S, x: S::V) -> S::V {
        let zero = s.splat(0.0);
        // Subnormals are scaled up by 2^23 first.
        let tiny = s.lt(x, s.splat(f32::MIN_POSITIVE));
        let scaled = s.select(tiny, s.mul(x, s.splat(8_388_608.0)), x);
        let bits = s.to_bits(scaled);
        let k = s.sar::<23>(s.sub_i32(bits, s.splat_i32(TWO_THIRDS)));
        let f = s.sub(s.with_bits(s.sub_i32(bits, s.shl::<23>(k))), s.splat(1.0));
        let k = s.add(s.convert_i32(k), s.select(tiny, s.splat(-23.0), zero));
        let mut p = s.splat(P[8]);
        for c in P[..8].iter().rev() {
            p = s.fma(p, f, s.splat(*c));
        }
        let p = s.fma(p, f, s.splat(-0.5));
        let exact = s.mul(k, s.splat(LN2_HI));
        let large = s.add(exact, f);
        let lost = s.sub(f, s.sub(large, exact));
        let small = s.fma(p, s.mul(f, f), s.fma(k, s.splat(LN2_LO), lost));
        let y = s.add(large, small);
        // +Inf and NaN stay as they are; at 0 it is -Inf, below 0 NaN.
        let y = s.select(s.lt(x, s.splat(f32::INFINITY)), y, x);
        let below = s.select(s.lt(x, zero), s.splat(f32::NAN), s.splat(-f32::INFINITY));
        s.select(s.lt(x, s.splat(f32::from_bits(1))), below, y)
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn within_one_ulp() {
        crate::math::tests::check_unary(crate::Backend::ln, f64::ln, 1.0);
    }
}
