//! e^x and the logistic function in parts that have not been rounded together yet, for the functions made of them.
//!
//! Numbers in two parts are sums `high + low` with `low` below an ULP of `high`. `fma(a, b, -ab)` is the rounding error
//! of the product ab, and `b - ((a + b) - a)` that of the sum, where |a| >= |b| (Dekker 1971).

use super::exp;
use crate::simd::{ROUND, SimdF32, TINY};

/// ln 2 in two parts, the first with 10 bits: its product with an exponent is exact (Cody and Waite 1980).
pub(super) const LN2_HIGH: f32 = 0.693_359_4;
pub(super) const LN2_LOW: f32 = -2.121_944_4e-4;
/// (e^r - 1 - r) / r^2 on |r| <= 0.34675, lowest power first; relative error of e^r - 1 below 0.008 * 2^-24.
const P: [f32; 6] = [0.5, 0.166_666_66, 0.041_666_493, 0.008_333_545, 0.001_393_233_1, 0.000_197_625_72];

/// The polynomial with these coefficients, lowest power first.
#[inline(always)]
pub(super) fn polynomial<S: SimdF32, const N: usize>(s: S, x: S::V, c: &[f32; N]) -> S::V {
    let mut p = s.splat(c[N - 1]);
    for &c in c[..N - 1].iter().rev() {
        p = s.fma(p, x, s.splat(c));
    }
    p
}

/// The same by Estrin's scheme: a chain half as long. `square` is `x` times itself.
#[inline(always)]
pub(super) fn estrin<S: SimdF32, const N: usize>(s: S, x: S::V, square: S::V, c: &[f32; N]) -> S::V {
    let mut i = (N - 1) / 2 * 2;
    let mut p = s.splat(c[i]);
    if i + 1 < N {
        p = s.fma(x, s.splat(c[i + 1]), p);
    }
    while i > 0 {
        i -= 2;
        p = s.fma(p, square, s.fma(x, s.splat(c[i + 1]), s.splat(c[i])));
    }
    p
}

/// The sum in two parts, where |a| >= |b|, or a is 0 or a small integer and b has its sign.
#[inline(always)]
pub(super) fn sum<S: SimdF32>(s: S, a: S::V, b: S::V) -> (S::V, S::V) {
    let t = s.add(a, b);
    (t, s.sub(b, s.sub(t, a)))
}

/// The nearest integer n to x / ln 2, as `n + ROUND`, which [`SimdF32::power_above`] takes, and as it is.
#[inline(always)]
pub(super) fn nearest<S: SimdF32>(s: S, x: S::V) -> (S::V, S::V) {
    let round = s.splat(ROUND);
    let shifted = s.fma(x, s.splat(std::f32::consts::LOG2_E), round);
    (shifted, s.sub(shifted, round))
}

/// This integer n, and x - n times the high part of ln 2, which is exact.
#[inline(always)]
pub(super) fn reduce<S: SimdF32>(s: S, x: S::V) -> (S::V, S::V) {
    let (_, n) = nearest(s, x);
    (n, s.fma(n, s.splat(-LN2_HIGH), x))
}

/// e^x as `2^n (1 + r + tail)`; |r| <= 0.3468, and `tail` is about r^2 / 2.
pub(super) struct Exponential<V> {
    pub n: V,
    pub r: V,
    pub tail: V,
}

impl<V: Copy> Exponential<V> {
    /// e^(high + low) for |high| <= 150.
    #[inline(always)]
    pub(super) fn new<S: SimdF32<V = V>>(s: S, high: V, low: V) -> Self {
        let (n, exact) = reduce(s, high);
        let (r, lost) = sum(s, exact, s.fma(n, s.splat(-LN2_LOW), low));
        let tail = s.fma(s.mul(r, r), polynomial(s, r, &P), lost);
        Self { n, r, tail }
    }

    /// `1 + r + tail` in two parts, of which the second has lost 2^-26 at most.
    #[inline(always)]
    pub(super) fn significand<S: SimdF32<V = V>>(&self, s: S) -> (V, V) {
        sum(s, s.splat(1.0), s.add(self.r, self.tail))
    }

    /// The value, rounded once more than its parts.
    #[inline(always)]
    pub(super) fn value<S: SimdF32<V = V>>(&self, s: S) -> V {
        s.scale(s.add(s.splat(1.0), s.add(self.r, self.tail)), self.n)
    }
}

/// 1 / (1 + e^-x) as `y (1 + delta) power 2^-64`, and 1 less it as `(1 + t) y`.
pub(super) struct Logistic<V> {
    t: V,
    y: V,
    delta: V,
    power: V,
}

impl<V: Copy> Logistic<V> {
    /// Below, x times it is 0, and beyond, it is 1, to rounding.
    pub(super) const LOW: f32 = -110.0;
    pub(super) const HIGH: f32 = 20.0;

    /// `x` between these; a NaN passes.
    #[inline(always)]
    pub(super) fn inside<S: SimdF32<V = V>>(s: S, x: V) -> V {
        s.min(s.splat(Self::HIGH), s.max(s.splat(Self::LOW), x))
    }

    /// Of `high + low`, between [`Self::LOW`] or a little less and [`Self::HIGH`].
    ///
    /// With e^-x = 2^-n (1 + t) it is 2^n / (2^n + 1 + t), and nothing overflows or gets lost below the normal range
    /// before the last factor.
    #[inline(always)]
    pub(super) fn new<S: SimdF32<V = V>>(s: S, high: V, low: Option<V>) -> Self {
        let (one, scale) = (s.splat(1.0), s.splat(TINY));
        let (shifted, n) = nearest(s, high);
        let r = s.fma(n, s.splat(LN2_LOW), s.fma(n, s.splat(LN2_HIGH), s.neg(high)));
        let r = if let Some(low) = low { s.sub(r, low) } else { r };
        let square = s.mul(r, r);
        let t = s.fma(square, estrin(s, r, square, &exp::TAIL), r);
        let power = s.power_above::<64>(shifted);
        let whole = s.fma(power, scale, one);
        let lost = s.fma(power, scale, s.sub(one, whole));
        let (d, d_low) = sum(s, whole, t);
        let (y, delta) = reciprocal(s, d, s.add(d_low, lost));
        Self { t, y, delta, power }
    }

    /// `x` times it.
    #[inline(always)]
    pub(super) fn times<S: SimdF32<V = V>>(&self, s: S, x: V) -> V {
        self.scaled(s, s.mul(x, s.fma(self.y, self.delta, self.y)))
    }

    /// It.
    #[inline(always)]
    pub(super) fn value<S: SimdF32<V = V>>(&self, s: S) -> V {
        self.scaled(s, s.fma(self.y, self.delta, self.y))
    }

    /// 1 less it, to some roundings.
    #[inline(always)]
    pub(super) fn complement<S: SimdF32<V = V>>(&self, s: S) -> V {
        s.fma(self.y, self.t, self.y)
    }

    #[inline(always)]
    fn scaled<S: SimdF32<V = V>>(&self, s: S, v: V) -> V {
        s.mul(s.mul(v, self.power), s.splat(TINY))
    }
}

/// 1 / (d + low) as `y (1 + delta)`.
#[inline(always)]
pub(super) fn reciprocal<S: SimdF32>(s: S, d: S::V, low: S::V) -> (S::V, S::V) {
    let one = s.splat(1.0);
    let y = s.div(one, d);
    let minus = s.neg(y);
    (y, s.fma(minus, low, s.fma(minus, d, one)))
}
