//! e^x and the logistic function in parts that have not been rounded together yet, for the functions made of them.
//!
//! Numbers in two parts are sums `high + low` with `low` below an ULP of `high`. `fma(a, b, -ab)` is the rounding error
//! of the product ab, and `b - ((a + b) - a)` that of the sum, where |a| >= |b| (Dekker 1971).

use crate::simd::{ROUND, SimdF32};

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

/// The sum in two parts, where |a| >= |b|, or a is 0 or a small integer and b has its sign.
#[inline(always)]
pub(super) fn sum<S: SimdF32>(s: S, a: S::V, b: S::V) -> (S::V, S::V) {
    let t = s.add(a, b);
    (t, s.sub(b, s.sub(t, a)))
}

/// The nearest integer to x / ln 2.
#[inline(always)]
pub(super) fn nearest<S: SimdF32>(s: S, x: S::V) -> S::V {
    let round = s.splat(ROUND);
    s.sub(s.fma(x, s.splat(std::f32::consts::LOG2_E), round), round)
}

/// This integer n, and x - n times the high part of ln 2, which is exact.
#[inline(always)]
pub(super) fn reduce<S: SimdF32>(s: S, x: S::V) -> (S::V, S::V) {
    let n = nearest(s, x);
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

/// 1 / (1 + e^-x) as `y (1 + delta) 2^n`.
pub(super) struct Logistic<V> {
    pub y: V,
    pub delta: V,
    pub n: V,
}

impl<V: Copy> Logistic<V> {
    /// Of `high + low`. Beyond -110 and 20 it is, to rounding, what it is there.
    ///
    /// With e^-x = 2^k e it is 2^-k / (2^-k + e), and nothing overflows or gets lost below the normal range before the
    /// last factor.
    #[inline(always)]
    pub(super) fn new<S: SimdF32<V = V>>(s: S, high: V, low: V) -> Self {
        let zero = s.splat(0.0);
        let high = s.min(s.splat(20.0), s.max(s.splat(-110.0), high));
        let e = Exponential::new(s, s.sub(zero, high), s.sub(zero, low));
        let n = s.sub(zero, e.n);
        let one = s.power(s.max(s.splat(-126.0), n));
        let (e, e_low) = e.significand(s);
        let (d, lost) = sum(s, s.max(one, e), s.min(one, e));
        let (y, delta) = reciprocal(s, d, s.add(lost, e_low));
        Self { y, delta, n }
    }

    /// `x` times it.
    #[inline(always)]
    pub(super) fn times<S: SimdF32<V = V>>(&self, s: S, x: V) -> V {
        s.scale(s.mul(x, s.fma(self.y, self.delta, self.y)), self.n)
    }
}

/// 1 / (d + low) as `y (1 + delta)`.
#[inline(always)]
pub(super) fn reciprocal<S: SimdF32>(s: S, d: S::V, low: S::V) -> (S::V, S::V) {
    let one = s.splat(1.0);
    let y = s.div(one, d);
    let minus = s.sub(s.splat(0.0), y);
    (y, s.fma(minus, low, s.fma(minus, d, one)))
}
