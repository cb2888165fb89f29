//! Parameter updates: one fused pass over parameters, gradients and moments.

use super::check_len;
use super::slices::{self, Elementwise, Unary};
use crate::error::Result;
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

/// An update rule with the numbers of one step: `p` is a parameter, `g` its gradient, `r` the learning rate. Every
/// operation rounds on its own, but for those of [`Adam`]; roots and quotients are correctly rounded. State below
/// 2^-100 in size becomes 0, as in [`Adam`].
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum Update {
    /// Gradient descent: `p -= r g`.
    Sgd {
        /// The learning rate r.
        rate: f32,
    },
    /// With momentum u (Polyak 1964): `v = u v - r g`, `p += v`.
    Momentum {
        /// The learning rate r.
        rate: f32,
        /// The decay u of the velocity.
        momentum: f32,
    },
    /// With that of Nesterov (Sutskever et al. 2013): `v = u v - r g`, `p += u v - r g`.
    Nesterov {
        /// The learning rate r.
        rate: f32,
        /// The decay u of the velocity.
        momentum: f32,
    },
    /// Adagrad (Duchi et al. 2011): `s = s + g^2`, `p -= r g / (sqrt(s) + epsilon)`.
    Adagrad {
        /// The learning rate r.
        rate: f32,
        /// Keeps the quotient finite.
        epsilon: f32,
    },
    /// RMSProp (Tieleman and Hinton 2012): `v += (g^2 - v) (1 - rho)`, `p -= r g / (sqrt(v) + epsilon)`.
    RmsProp {
        /// The learning rate r.
        rate: f32,
        /// The decay of the mean square.
        rho: f32,
        /// Keeps the quotient finite.
        epsilon: f32,
    },
    /// See [`Adam`].
    Adam(Adam),
    /// [`Adam`] after `p = keep p` (Loshchilov and Hutter 2019).
    AdamW {
        /// The step that follows.
        adam: Adam,
        /// 1 less the learning rate times the decay of the parameters.
        keep: f32,
    },
}

impl Update {
    /// Numbers of state that each parameter has: a velocity, a mean square, or both moments.
    #[must_use]
    pub const fn state(&self) -> usize {
        match self {
            Self::Sgd { .. } => 0,
            Self::Momentum { .. } | Self::Nesterov { .. } | Self::Adagrad { .. } | Self::RmsProp { .. } => 1,
            Self::Adam(_) | Self::AdamW { .. } => 2,
        }
    }

    /// Checks that the slices of a step go together.
    pub(super) fn check(&self, gradients: &[f32], parameters: &[f32], state: &[&mut [f32]; 2]) -> Result<()> {
        let n = parameters.len();
        check_len("the gradients", gradients.len(), n)?;
        for (i, part) in state.iter().enumerate() {
            check_len("the state of an update", part.len(), if i < self.state() { n } else { 0 })?;
        }
        Ok(())
    }

    /// Cuts a state that lies in one slice, all of the first numbers and then all of the second, into the two; what the
    /// rule does not have is empty.
    #[must_use]
    pub fn parts<'a>(&self, state: &'a mut [f32]) -> [&'a mut [f32]; 2] {
        let first = state.len() / self.state().max(1);
        state.split_at_mut(first).into()
    }
}

/// What is too small to matter becomes 0. A NaN is not below, and stays.
#[inline(always)]
fn flushed<S: SimdF32>(s: S, x: S::V) -> S::V {
    s.clear(s.lt(s.abs(x), s.splat(FLUSH)), x)
}

/// See [`Update::Sgd`].
#[derive(Clone, Copy)]
struct Sgd {
    rate: f32,
}

impl Elementwise<2, 1> for Sgd {
    #[inline(always)]
    fn apply<S: SimdF32>(&self, s: S, x: impl Fn(usize) -> S::V, y: impl Fn(usize, S::V)) {
        y(0, s.sub(x(1), s.mul(s.splat(self.rate), x(0))));
    }
}

/// See [`Update::Momentum`] and [`Update::Nesterov`].
#[derive(Clone, Copy)]
struct Momentum {
    rate: f32,
    momentum: f32,
    nesterov: bool,
}

impl Elementwise<3, 2> for Momentum {
    #[inline(always)]
    fn apply<S: SimdF32>(&self, s: S, x: impl Fn(usize) -> S::V, y: impl Fn(usize, S::V)) {
        let (momentum, step) = (s.splat(self.momentum), s.mul(s.splat(self.rate), x(0)));
        let v = flushed(s, s.sub(s.mul(momentum, x(2)), step));
        y(1, v);
        let ahead = if self.nesterov { s.sub(s.mul(momentum, v), step) } else { v };
        y(0, s.add(x(1), ahead));
    }
}

/// [`Update::RmsProp`], and with no `rest` [`Update::Adagrad`].
#[derive(Clone, Copy)]
struct MeanSquare {
    rate: f32,
    rest: Option<f32>,
    epsilon: f32,
}

impl Elementwise<3, 2> for MeanSquare {
    #[inline(always)]
    fn apply<S: SimdF32>(&self, s: S, x: impl Fn(usize) -> S::V, y: impl Fn(usize, S::V)) {
        let (g, v) = (x(0), x(2));
        let square = s.mul(g, g);
        let v = flushed(
            s,
            match self.rest {
                None => s.add(v, square),
                Some(rest) => s.add(v, s.mul(s.sub(square, v), s.splat(rest))),
            },
        );
        y(1, v);
        let step = s.div(s.mul(s.splat(self.rate), g), s.add(s.sqrt(v), s.splat(self.epsilon)));
        y(0, s.sub(x(1), step));
    }
}

/// See [`Update::AdamW`]; with a `keep` of 1, which changes nothing, [`Update::Adam`].
#[derive(Clone, Copy)]
struct AdamW {
    adam: Adam,
    keep: f32,
}

impl Elementwise<4, 3> for AdamW {
    #[inline(always)]
    fn apply<S: SimdF32>(&self, s: S, x: impl Fn(usize) -> S::V, y: impl Fn(usize, S::V)) {
        let Adam { rate, beta1, beta2, epsilon } = self.adam;
        let (g, m, v) = (x(0), x(2), x(3));
        // Roots and quotients are the bulk of the time, so they begin as early as can be.
        let v = flushed(s, s.fma(s.sub(s.mul(g, g), v), s.splat(1.0 - beta2), v));
        y(2, v);
        let root = s.sqrt(v);
        let m = flushed(s, s.fma(s.sub(g, m), s.splat(1.0 - beta1), m));
        y(1, m);
        let step = s.div(s.mul(s.splat(rate), m), s.add(root, s.splat(epsilon)));
        y(0, s.sub(s.mul(x(1), s.splat(self.keep)), step));
    }
}

/// `a x + y`, rounded once.
#[derive(Clone, Copy)]
struct Axpy(f32);

impl Elementwise<2, 1> for Axpy {
    #[inline(always)]
    fn apply<S: SimdF32>(&self, s: S, x: impl Fn(usize) -> S::V, y: impl Fn(usize, S::V)) {
        y(0, s.fma(s.splat(self.0), x(0), x(1)));
    }
}

/// `a x`
#[derive(Clone, Copy)]
struct Scale(f32);

impl Unary for Scale {
    #[inline(always)]
    fn eval<S: SimdF32>(&self, s: S, x: S::V) -> S::V {
        s.mul(s.splat(self.0), x)
    }
}

/// Updates parameters `p` of gradients `g`, and their `state`, a slice for each of [`Update::state`] numbers.
///
/// # Safety
/// The row that `S` belongs to is supported by this CPU; all have `len` elements, `g` readable, the others writable,
/// too.
pub(super) unsafe fn update<S: SimdF32>(rule: &Update, g: *const f32, p: *mut f32, state: [*mut f32; 2], len: usize) {
    let [m, v] = state;
    let one = ([g, p.cast_const(), m.cast_const()], [p, m]);
    let two = ([g, p.cast_const(), m.cast_const(), v.cast_const()], [p, m, v]);
    // SAFETY: the caller's promise; a rule has the slices of state that it counts.
    unsafe {
        match *rule {
            Update::Sgd { rate } => slices::each::<S, _, 2, 1>(&Sgd { rate }, [g, p], [p], len),
            Update::Momentum { rate, momentum } => {
                slices::each::<S, _, 3, 2>(&Momentum { rate, momentum, nesterov: false }, one.0, one.1, len);
            }
            Update::Nesterov { rate, momentum } => {
                slices::each::<S, _, 3, 2>(&Momentum { rate, momentum, nesterov: true }, one.0, one.1, len);
            }
            Update::Adagrad { rate, epsilon } => {
                slices::each::<S::Wide, _, 3, 2>(&MeanSquare { rate, rest: None, epsilon }, one.0, one.1, len);
            }
            Update::RmsProp { rate, rho, epsilon } => {
                let rest = Some(1.0 - rho);
                slices::each::<S::Wide, _, 3, 2>(&MeanSquare { rate, rest, epsilon }, one.0, one.1, len);
            }
            Update::Adam(adam) => slices::each::<S::Wide, _, 4, 3>(&AdamW { adam, keep: 1.0 }, two.0, two.1, len),
            Update::AdamW { adam, keep } => slices::each::<S::Wide, _, 4, 3>(&AdamW { adam, keep }, two.0, two.1, len),
        }
    }
}

/// `y[i] = a x[i] + y[i]`
///
/// # Safety
/// The row that `S` belongs to is supported by this CPU; both have `len` elements, those of `y` writable, too.
pub(super) unsafe fn axpy<S: SimdF32>(a: f32, x: *const f32, y: *mut f32, len: usize) {
    // SAFETY: the caller's promise.
    unsafe { slices::each::<S, _, 2, 1>(&Axpy(a), [x, y], [y], len) }
}

/// `x[i] = a x[i]`
///
/// # Safety
/// The row that `S` belongs to is supported by this CPU; the elements are readable and writable.
pub(super) unsafe fn scale<S: SimdF32>(a: f32, x: *mut f32, len: usize) {
    // SAFETY: the caller's promise.
    unsafe { slices::each::<S, _, 1, 1>(&Scale(a), [x], [x], len) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Backend, MatMut};

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
    fn the_rate_of_every_step_is_corrected_for_its_bias() {
        let (beta1, beta2) = (f64::from(0.9_f32), f64::from(0.999_f32));
        let (mut power1, mut power2) = (1.0, 1.0);
        for t in 1..200 {
            (power1, power2) = (power1 * beta1, power2 * beta2);
            let want = f64::from(0.01_f32) * (1.0 - power2).sqrt() / (1.0 - power1);
            let rate = f64::from(Adam::at_step(0.01, 0.9, 0.999, 1e-7, t).rate);
            assert!((rate / want - 1.0).abs() < 1e-7, "{rate} and {want} at step {t}");
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

    /// The formulas of [`Update`], one element at a time.
    fn plain_update(rule: &Update, g: f32, p: &mut f32, m: &mut f32, v: &mut f32) {
        let flushed = |x: f32| if x.abs() < FLUSH { 0.0 } else { x };
        match rule {
            Update::Sgd { rate } => *p -= rate * g,
            Update::Momentum { rate, momentum } => {
                *m = flushed(momentum * *m - rate * g);
                *p += *m;
            }
            Update::Nesterov { rate, momentum } => {
                *m = flushed(momentum * *m - rate * g);
                *p += momentum * *m - rate * g;
            }
            Update::Adagrad { rate, epsilon } => {
                *m = flushed(*m + g * g);
                *p -= rate * g / (m.sqrt() + epsilon);
            }
            Update::RmsProp { rate, rho, epsilon } => {
                *m = flushed(*m + (g * g - *m) * (1.0 - rho));
                *p -= rate * g / (m.sqrt() + epsilon);
            }
            Update::Adam(adam) => plain(adam, g, p, m, v),
            Update::AdamW { adam, keep } => {
                *p *= keep;
                plain(adam, g, p, m, v);
            }
        }
    }

    #[test]
    fn updates_follow_their_formulas_on_every_row() {
        let adam = Adam::at_step(1e-3, 0.9, 0.999, 1e-7, 3);
        let rules = [
            Update::Sgd { rate: 0.1 },
            Update::Momentum { rate: 0.1, momentum: 0.9 },
            Update::Nesterov { rate: 0.1, momentum: 0.9 },
            Update::Adagrad { rate: 0.01, epsilon: 1e-10 },
            Update::RmsProp { rate: 0.01, rho: 0.9, epsilon: 1e-7 },
            Update::Adam(adam),
            Update::AdamW { adam, keep: 0.999 },
        ];
        for backend in Backend::supported().filter(|b| b.bits_match()) {
            for rule in rules {
                for len in [0, 1, 5, 16, 37] {
                    let mut p = vec![0.5_f32; len];
                    let mut state = vec![0.0_f32; rule.state() * len];
                    let mut want = vec![[0.5_f32, 0.0, 0.0]; len];
                    for t in 1..=100 {
                        let g: Vec<f32> = (0..len).map(|i| ((i * 7 + t) % 11) as f32 * 0.1 - 0.5).collect();
                        backend.update(&rule, &g, &mut p, rule.parts(&mut state)).unwrap();
                        for ([p, m, v], &g) in want.iter_mut().zip(&g) {
                            plain_update(&rule, g, p, m, v);
                        }
                    }
                    for i in 0..len {
                        let state: Vec<f32> = state.iter().skip(i).step_by(len).copied().collect();
                        assert_eq!(p[i], want[i][0], "{backend:?}: {rule:?}, parameter {i} of {len}");
                        assert_eq!(state, want[i][1..=rule.state()], "{backend:?}: {rule:?}, state {i} of {len}");
                    }
                }
            }
        }
    }

    #[test]
    fn state_of_another_size_is_refused() {
        let backend = Backend::active().unwrap();
        let rule = Update::Momentum { rate: 0.1, momentum: 0.9 };
        let update = |gradients: &[f32], sizes: [usize; 2]| {
            let (mut first, mut second) = (vec![0.0; sizes[0]], vec![0.0; sizes[1]]);
            backend.update(&rule, gradients, &mut [1.0; 3], [&mut first, &mut second])
        };
        assert!(update(&[1.0; 3], [3, 0]).is_ok());
        let error = update(&[1.0; 3], [2, 0]).unwrap_err().to_string();
        assert_eq!(error, "the state of an update has length 2, but the other operands need 3");
        assert!(update(&[1.0; 3], [3, 3]).is_err(), "a state that the rule does not have");
        assert!(update(&[1.0; 2], [3, 0]).is_err());
    }

    #[test]
    fn axpy_scale_and_bias() {
        for backend in Backend::supported().filter(|b| b.bits_match()) {
            let x: Vec<f32> = (0..37).map(|i| i as f32 * 0.3 - 5.0).collect();
            let mut y: Vec<f32> = x.iter().map(|x| 1.0 / x).collect();
            let want: Vec<f32> = x.iter().zip(&y).map(|(x, y)| x.mul_add(0.7, *y)).collect();
            backend.axpy(0.7, &x, &mut y).unwrap();
            assert_eq!(y, want, "{backend:?}");
            backend.scale(0.3, &mut y);
            assert_eq!(y, want.iter().map(|y| 0.3 * y).collect::<Vec<_>>(), "{backend:?}");
            assert!(backend.axpy(1.0, &x[1..], &mut y).is_err());
            for cols in [1, 10, 18] {
                let (mut dense, bias) = (vec![0.25_f32; 2 * cols], &x[..cols]);
                backend.add_bias(bias, MatMut::new(&mut dense, 2, cols).unwrap()).unwrap();
                let mut columns = vec![0.25_f32; 2 * cols];
                backend.add_bias(bias, MatMut::col_major(&mut columns, 2, cols).unwrap()).unwrap();
                for (i, j) in (0..2).flat_map(|i| (0..cols).map(move |j| (i, j))) {
                    assert_eq!((dense[i * cols + j], columns[j * 2 + i]), (0.25 + bias[j], 0.25 + bias[j]));
                }
            }
        }
    }
}
