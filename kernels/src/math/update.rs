//! Parameter updates: one fused pass over parameters, gradients and moments.

use super::slices::{self, Elementwise};
use crate::simd::SimdF32;

/// One step of Adam (Kingma and Ba 2015, the form of the end of section 2, as Keras has it):
///
/// ```text
/// m += (g - m) (1 - beta1)
/// v += (g^2 - v) (1 - beta2)
/// p -= rate m / (sqrt(v) + epsilon)      rate = lr sqrt(1 - beta2^t) / (1 - beta1^t)
/// ```
///
/// The sums are fused with their products; root and quotient are correctly rounded. A moment below 2^-100 in size
/// becomes 0: where gradients stay zero the moments would decay into the subnormal range, where CPUs are slow. The
/// parameter can't feel it, as `m` is divided by at least `epsilon`, and `sqrt(v)` is lost beside it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Adam {
    /// The learning rate with the bias correction of its step.
    pub rate: f32,
    /// Decay of the first moment.
    pub beta1: f32,
    /// Decay of the second moment.
    pub beta2: f32,
    /// Added to the root of the second moment.
    pub epsilon: f32,
}

impl Adam {
    /// The step number `t`, counted from 1. The correction is computed in f64 with multiplications alone and a
    /// correctly rounded root, so it is the same everywhere.
    #[must_use]
    pub fn at_step(lr: f32, beta1: f32, beta2: f32, epsilon: f32, t: u64) -> Self {
        let power = |base: f32| {
            // Square and multiply.
            let (mut result, mut square, mut t) = (1.0, f64::from(base), t);
            while t > 0 {
                if t & 1 == 1 {
                    result *= square;
                }
                square *= square;
                t >>= 1;
            }
            result
        };
        let rate = f64::from(lr) * (1.0 - power(beta2)).sqrt() / (1.0 - power(beta1));
        Self { rate: rate as f32, beta1, beta2, epsilon }
    }
}

/// Moments below this size become 0.
const FLUSH: f32 = f32::from_bits((127 - 100) << 23);

impl Elementwise<4, 3> for Adam {
    /// The new parameter and moments from the gradient, the parameter and the moments.
    #[inline(always)]
    fn apply<S: SimdF32>(&self, s: S, [g, p, m, v]: [S::V; 4]) -> [S::V; 3] {
        let (zero, flush) = (s.splat(0.0), s.splat(FLUSH));
        let m = s.fma(s.sub(g, m), s.splat(1.0 - self.beta1), m);
        let v = s.fma(s.sub(s.mul(g, g), v), s.splat(1.0 - self.beta2), v);
        // A NaN is not below, and stays.
        let m = s.select(s.lt(s.max(m, s.sub(zero, m)), flush), zero, m);
        let v = s.select(s.lt(v, flush), zero, v);
        let p = s.sub(p, s.div(s.mul(s.splat(self.rate), m), s.add(s.sqrt(v), s.splat(self.epsilon))));
        [p, m, v]
    }
}

/// See [`Adam`].
///
/// # Safety
/// The row that `S` belongs to is supported by this CPU; the lengths are equal.
pub(super) unsafe fn adam<S: SimdF32>(
    step: &Adam,
    gradients: &[f32],
    parameters: &mut [f32],
    m: &mut [f32],
    v: &mut [f32],
) {
    let (p, m, v) = (parameters.as_mut_ptr(), m.as_mut_ptr(), v.as_mut_ptr());
    let x = [gradients.as_ptr(), p.cast_const(), m.cast_const(), v.cast_const()];
    // SAFETY: the caller's promise.
    unsafe { slices::each::<S, Adam, 4, 3>(step, x, [p, m, v], gradients.len()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Backend;

    /// The formula of [`Adam`], one element at a time.
    fn plain(step: &Adam, g: f32, p: &mut f32, m: &mut f32, v: &mut f32) {
        *m = (g - *m).mul_add(1.0 - step.beta1, *m);
        *v = (g * g - *v).mul_add(1.0 - step.beta2, *v);
        if m.abs() < FLUSH {
            *m = 0.0;
        }
        if *v < FLUSH {
            *v = 0.0;
        }
        *p -= step.rate * *m / (v.sqrt() + step.epsilon);
    }

    #[test]
    fn adam_follows_its_formula_on_every_row() {
        for backend in Backend::supported().filter(|b| b.bits_match()) {
            for len in [0, 1, 5, 16, 37] {
                let (mut p, mut m, mut v) = (vec![0.5_f32; len], vec![0.0; len], vec![0.0; len]);
                let (mut wp, mut wm, mut wv) = (p.clone(), m.clone(), v.clone());
                for t in 1..=100 {
                    let step = Adam::at_step(1e-3, 0.9, 0.999, 1e-7, t);
                    let g: Vec<f32> = (0..len).map(|i| ((i as u64 * 7 + t) % 11) as f32 * 0.1 - 0.5).collect();
                    backend.adam(&step, &g, &mut p, &mut m, &mut v).unwrap();
                    for i in 0..len {
                        plain(&step, g[i], &mut wp[i], &mut wm[i], &mut wv[i]);
                    }
                }
                assert_eq!((&p, &m, &v), (&wp, &wm, &wv), "{backend:?}");
            }
        }
    }

    #[test]
    fn the_first_step_moves_by_the_learning_rate() {
        let step = Adam::at_step(0.01, 0.9, 0.999, 0.0, 1);
        let (mut p, mut m, mut v) = ([1.0], [0.0], [0.0]);
        Backend::active().unwrap().adam(&step, &[4.0], &mut p, &mut m, &mut v).unwrap();
        // m = 0.1 g, v = 0.001 g^2, rate = 0.01 sqrt(0.001) / 0.1: the step is lr * sign(g).
        assert!((p[0] - 0.99).abs() < 1e-6, "{}", p[0]);
    }

    #[test]
    fn moments_end_at_zero_not_in_subnormals() {
        for backend in Backend::supported() {
            let (mut p, mut m, mut v) = ([1.0], [1e-3], [1e-3]);
            for t in 1..=2000 {
                let step = Adam::at_step(1e-3, 0.9, 0.9, 1e-7, t);
                backend.adam(&step, &[0.0], &mut p, &mut m, &mut v).unwrap();
                assert!(!m[0].is_subnormal() && !v[0].is_subnormal());
            }
            assert_eq!((m, v), ([0.0], [0.0]));
            let step = Adam::at_step(1e-3, 0.9, 0.9, 1e-7, 1);
            backend.adam(&step, &[f32::NAN], &mut p, &mut m, &mut v).unwrap();
            assert!(p[0].is_nan() && m[0].is_nan() && v[0].is_nan(), "a NaN was lost");
        }
    }
}
