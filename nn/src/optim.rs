//! The optimisers: from a gradient to a step.
//!
//! The steps themselves are [`kernels::Update`]. Moments below 2^-100 in size become 0: where gradients stay zero they
//! would decay into the subnormal range, where CPUs are slow.

use crate::error::{Result, setting};
use crate::store::last_mut;
use kernels::Update;
use serde::{Deserialize, Serialize};

/// An update rule: `p` parameter, `g` gradient, `α` learning rate, `t` number of the step, from 1.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Optimiser {
    /// See [`Sgd`].
    Sgd(Sgd),
    /// See [`Adagrad`].
    Adagrad(Adagrad),
    /// See [`RmsProp`].
    RmsProp(RmsProp),
    /// See [`Adam`].
    Adam(Adam),
    /// See [`AdamW`].
    AdamW(AdamW),
}

/// Gradient descent, plain (`μ = 0`: `p ← p - α g`), with momentum (Polyak 1964) or with that of Nesterov, in the form
/// of Sutskever et al. 2013, which Keras uses:
///
/// ```text
/// v ← μ v - α g        p ← p + v, or for Nesterov p ← p + μ v - α g
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sgd {
    /// Step size α.
    pub learning_rate: f32,
    /// Decay μ of the velocity.
    pub momentum: f32,
    /// Whether the gradient is that of where the velocity leads.
    pub nesterov: bool,
}

impl Default for Sgd {
    /// As in Keras: 0.01 and no momentum.
    fn default() -> Self {
        Self { learning_rate: 0.01, momentum: 0.0, nesterov: false }
    }
}

/// Adagrad (Duchi et al. 2011, figure 1): `s ← s + g²`, `p ← p - α g / (√s + ε)`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Adagrad {
    /// Step size α.
    pub learning_rate: f32,
    /// Keeps the quotient finite.
    pub epsilon: f32,
}

impl Default for Adagrad {
    /// As in PyTorch: 0.01 and 1e-10.
    fn default() -> Self {
        Self { learning_rate: 0.01, epsilon: 1e-10 }
    }
}

/// RMSProp (Tieleman and Hinton 2012, lecture 6.5): `v ← v + (1 - ρ)(g² - v)`, `p ← p - α g / (√v + ε)`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct RmsProp {
    /// Step size α.
    pub learning_rate: f32,
    /// Decay ρ of the mean square.
    pub rho: f32,
    /// Keeps the quotient finite.
    pub epsilon: f32,
}

impl Default for RmsProp {
    /// As in Keras: 0.001, 0.9, 1e-7.
    fn default() -> Self {
        Self { learning_rate: 1e-3, rho: 0.9, epsilon: 1e-7 }
    }
}

/// Adam (Kingma and Ba 2015, in the form at the end of their section 2, which Keras uses): in step `t`, with gradient
/// `g`,
///
/// ```text
/// m ← m + (1 - β₁)(g - m)        v ← v + (1 - β₂)(g² - v)
/// p ← p - α √(1 - β₂ᵗ) / (1 - β₁ᵗ) · m / (√v + ε)
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Adam {
    /// Step size α.
    pub learning_rate: f32,
    /// Decay β₁ of the mean of the gradients.
    pub beta1: f32,
    /// Decay β₂ of the mean of their squares.
    pub beta2: f32,
    /// Keeps the quotient finite.
    pub epsilon: f32,
}

impl Default for Adam {
    /// As in Keras: 0.001, 0.9, 0.999, 1e-7.
    fn default() -> Self {
        Self { learning_rate: 1e-3, beta1: 0.9, beta2: 0.999, epsilon: 1e-7 }
    }
}

/// Adam after `p ← p - α λ p` (Loshchilov and Hutter 2019, algorithm 2, with α in the place of their η).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct AdamW {
    /// The rule that follows.
    pub adam: Adam,
    /// Decay λ of the parameters.
    pub decay: f32,
}

impl Default for AdamW {
    /// [`Adam::default`] with a decay of 0.01, as in PyTorch.
    fn default() -> Self {
        Self { adam: Adam::default(), decay: 0.01 }
    }
}

impl From<Sgd> for Optimiser {
    fn from(rule: Sgd) -> Self {
        Self::Sgd(rule)
    }
}

impl From<Adagrad> for Optimiser {
    fn from(rule: Adagrad) -> Self {
        Self::Adagrad(rule)
    }
}

impl From<RmsProp> for Optimiser {
    fn from(rule: RmsProp) -> Self {
        Self::RmsProp(rule)
    }
}

impl From<Adam> for Optimiser {
    fn from(rule: Adam) -> Self {
        Self::Adam(rule)
    }
}

impl From<AdamW> for Optimiser {
    fn from(rule: AdamW) -> Self {
        Self::AdamW(rule)
    }
}

impl Optimiser {
    /// Numbers of state that each parameter needs.
    pub(crate) fn state(&self) -> usize {
        match self {
            Self::Sgd(Sgd { momentum: 0.0, .. }) => 0,
            Self::Sgd(_) | Self::Adagrad(_) | Self::RmsProp(_) => 1,
            Self::Adam(_) | Self::AdamW(_) => 2,
        }
    }

    /// Step size α.
    pub fn learning_rate(&self) -> f32 {
        match self {
            Self::Sgd(Sgd { learning_rate, .. })
            | Self::Adagrad(Adagrad { learning_rate, .. })
            | Self::RmsProp(RmsProp { learning_rate, .. })
            | Self::Adam(Adam { learning_rate, .. })
            | Self::AdamW(AdamW { adam: Adam { learning_rate, .. }, .. }) => *learning_rate,
        }
    }

    pub(crate) fn check(&self) -> Result<()> {
        let decay = |name, x: f32| setting(name, x, (0.0..1.0).contains(&x), "in [0, 1)");
        let epsilon = |x: f32| setting("epsilon", x, x > 0.0 && x.is_finite(), "finite and positive");
        let size = |name, x: f32| setting(name, x, (0.0..f32::MAX).contains(&x), "finite and not negative");
        size("learning_rate", self.learning_rate())?;
        match self {
            Self::Sgd(rule) => decay("momentum", rule.momentum),
            Self::Adagrad(rule) => epsilon(rule.epsilon),
            Self::RmsProp(rule) => decay("rho", rule.rho).and(epsilon(rule.epsilon)),
            Self::AdamW(rule) => size("decay", rule.decay).and(Self::from(rule.adam).check()),
            Self::Adam(rule) => decay("beta1", rule.beta1).and(decay("beta2", rule.beta2)).and(epsilon(rule.epsilon)),
        }
    }

    /// Step `t`, counted from 1, with learning rate `rate`.
    pub(crate) fn at_step(&self, t: u64, rate: f32) -> Update {
        let adam = |adam: Adam| kernels::Adam::at_step(rate, adam.beta1, adam.beta2, adam.epsilon, t);
        match *self {
            Self::Sgd(Sgd { momentum: 0.0, .. }) => Update::Sgd { rate },
            Self::Sgd(Sgd { momentum, nesterov: false, .. }) => Update::Momentum { rate, momentum },
            Self::Sgd(Sgd { momentum, nesterov: true, .. }) => Update::Nesterov { rate, momentum },
            Self::Adagrad(Adagrad { epsilon, .. }) => Update::Adagrad { rate, epsilon },
            Self::RmsProp(RmsProp { rho, epsilon, .. }) => Update::RmsProp { rate, rho, epsilon },
            Self::Adam(rule) => Update::Adam(adam(rule)),
            Self::AdamW(AdamW { adam: rule, decay }) => Update::AdamW { adam: adam(rule), keep: 1.0 - rate * decay },
        }
    }
}

/// A step of parameters.
pub(crate) struct Step<'a> {
    /// With the numbers of this step.
    pub(crate) rule: &'a Update,
    /// The first and the second number of each parameter, each empty where [`Update::state`] is less.
    pub(crate) state: [&'a mut [f32]; 2],
}

impl<'a> Step<'a> {
    /// Splits off that of the last `n` parameters.
    pub(crate) fn last(&mut self, n: usize) -> Self {
        Self { rule: self.rule, state: self.state.each_mut().map(|state| last_mut(state, n.min(state.len()))) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{Engine, Kernels};

    /// Takes parameters through these gradients.
    fn walk(rule: Optimiser, p: &mut [f32], gradients: &[Vec<f32>]) -> Result<()> {
        let engine = Kernels::active()?;
        let mut state = vec![0.0; rule.state() * p.len()];
        for (t, g) in (1..).zip(gradients) {
            let rule = rule.at_step(t, rule.learning_rate());
            engine.update(&rule, g, p, rule.parts(&mut state))?;
        }
        Ok(())
    }

    #[test]
    fn by_hand() -> Result<()> {
        let sgd = |momentum, nesterov| Sgd { learning_rate: 0.1, momentum, nesterov }.into();
        let ada = Adagrad { learning_rate: 0.1, epsilon: 1e-10 }.into();
        let rms = RmsProp { learning_rate: 0.1, rho: 0.75, epsilon: 1e-10 }.into();
        let adamw = AdamW { adam: Adam { learning_rate: 0.1, ..Adam::default() }, decay: 0.5 }.into();
        for (rule, gradients, expected) in [
            (sgd(0.0, false), &[1.0, -3.0][..], 1.0 - 0.1 + 0.3),
            // v = -.1, then .9·-.1 - .1 = -.19
            (sgd(0.9, false), &[1.0, 1.0], 1.0 - 0.1 - 0.19),
            // The first step is .9·-.1 - .1, the second .9·-.19 - .1.
            (sgd(0.9, true), &[1.0, 1.0], 1.0 - 0.19 - 0.271),
            // s = 9, then 25: steps .1·3/3 and .1·4/5.
            (ada, &[3.0, 4.0], 1.0 - 0.1 - 0.08),
            // v = .25·4 = 1, then 1 + (13 - 1)/4 = 4: steps .2 and .1·√13/2.
            (rms, &[2.0, 3.605_551_2], 1.0 - 0.2 - 0.180_277_56),
            // Decay takes 5 %, then the first step of Adam is the learning rate.
            (adamw, &[1.0], 0.95 - 0.1),
            (adamw, &[0.0], 0.95),
        ] {
            let mut p = [1.0];
            walk(rule, &mut p, &gradients.iter().map(|&g| vec![g]).collect::<Vec<_>>())?;
            assert!((p[0] - expected).abs() < 1e-6, "{rule:?} leads to {}, not {expected}", p[0]);
        }
        Ok(())
    }

    /// The published formulas in `f64`, one parameter at a time; Adam itself has its test in `tests/optimiser.rs`.
    #[test]
    fn over_a_hundred_steps() -> Result<()> {
        const N: usize = 37;
        let gradient = |t: usize, i: usize| ((t as f64 * 1.7 + i as f64).sin() * 10f64.powi(i as i32 % 5 - 2)) as f32;
        let gradients: Vec<Vec<f32>> = (0..100).map(|t| (0..N).map(|i| gradient(t, i)).collect()).collect();
        type Formula = fn(f64, f64, &mut f64, &mut f64, i32) -> f64;
        let cases: [(Optimiser, Formula); 6] = [
            (Sgd { learning_rate: 0.01, ..Sgd::default() }.into(), |p, g, _, _, _| p - 0.01 * g),
            (Sgd { learning_rate: 0.01, momentum: 0.8, nesterov: false }.into(), |p, g, v, _, _| {
                *v = 0.8 * *v - 0.01 * g;
                p + *v
            }),
            // Sutskever's form follows from the original, where g stands at p + μv: the parameter here is that point.
            (Sgd { learning_rate: 0.01, momentum: 0.8, nesterov: true }.into(), |p, g, v, _, _| {
                let original = p - 0.8 * *v;
                *v = 0.8 * *v - 0.01 * g;
                original + *v + 0.8 * *v
            }),
            (Adagrad { learning_rate: 0.01, epsilon: 1e-5 }.into(), |p, g, s, _, _| {
                *s += g * g;
                p - 0.01 * g / (s.sqrt() + 1e-5)
            }),
            (RmsProp { learning_rate: 0.01, rho: 0.8, epsilon: 1e-5 }.into(), |p, g, v, _, _| {
                *v = 0.8 * *v + 0.2 * g * g;
                p - 0.01 * g / (v.sqrt() + 1e-5)
            }),
            (
                AdamW { adam: Adam { learning_rate: 0.01, beta1: 0.8, beta2: 0.95, epsilon: 1e-5 }, decay: 0.1 }.into(),
                |p, g, m, v, t| {
                    *m = 0.8 * *m + 0.2 * g;
                    *v = 0.95 * *v + 0.05 * g * g;
                    let alpha = 0.01 * (1.0 - 0.95_f64.powi(t)).sqrt() / (1.0 - 0.8_f64.powi(t));
                    p - 0.01 * 0.1 * p - alpha * *m / (v.sqrt() + 1e-5)
                },
            ),
        ];
        for (rule, formula) in cases {
            let mut p = [0.5; N];
            walk(rule, &mut p, &gradients)?;
            for (i, &p) in p.iter().enumerate() {
                let (mut expected, mut a, mut b) = (0.5, 0.0, 0.0);
                for (t, g) in (1..).zip(&gradients) {
                    expected = formula(expected, g[i].into(), &mut a, &mut b, t);
                }
                let error = (f64::from(p) - expected).abs() / expected.abs().max(1.0);
                assert!(error < 3e-6, "{rule:?}: parameter {i} is {p}, not {expected}");
            }
        }
        Ok(())
    }

    /// Moments that decay come to rest at 0 instead of among the subnormal numbers.
    #[test]
    fn small_moments_are_flushed() -> Result<()> {
        let engine = Kernels::active()?;
        for rule in [Sgd { momentum: 0.5, ..Sgd::default() }.into(), RmsProp { rho: 0.5, ..RmsProp::default() }.into()]
        {
            let (mut p, mut state): ([f32; 1], [f32; 1]) = ([1.0], [0.0]);
            for t in 1..300 {
                let g = if t == 1 { 1.0 } else { 0.0 };
                let rule = Optimiser::at_step(&rule, t, 0.1);
                engine.update(&rule, &[g], &mut p, rule.parts(&mut state))?;
                assert!(state[0] == 0.0 || state[0].is_normal(), "{rule:?}: {state:?}");
            }
            assert_eq!(state, [0.0]);
        }
        Ok(())
    }
}
