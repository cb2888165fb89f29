//! The optimiser.

use crate::engine::Engine;
use crate::error::{Error, Result};

/// Adam (Kingma and Ba 2015, in the form at the end of their section 2, which Keras uses): in step `t`, with gradient
/// `g`,
///
/// ```text
/// m ← m + (1 - β₁)(g - m)        v ← v + (1 - β₂)(g² - v)
/// p ← p - α √(1 - β₂ᵗ) / (1 - β₁ᵗ) · m / (√v + ε)
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
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

impl Adam {
    /// Numbers of state that each parameter needs: `m` and `v`.
    pub(crate) const STATE: usize = 2;

    pub(crate) fn check(&self) -> Result<()> {
        let Self { learning_rate, beta1, beta2, epsilon } = *self;
        let rate = 0.0..f32::MAX;
        let beta = 0.0..1.0;
        for (name, value, ok, range) in [
            ("learning_rate", learning_rate, rate.contains(&learning_rate), "finite and not negative"),
            ("beta1", beta1, beta.contains(&beta1), "in [0, 1)"),
            ("beta2", beta2, beta.contains(&beta2), "in [0, 1)"),
            ("epsilon", epsilon, epsilon > 0.0 && epsilon.is_finite(), "finite and positive"),
        ] {
            if !ok {
                return Err(Error::Setting { name, value: value.into(), range });
            }
        }
        Ok(())
    }

    /// Step `t`, counted from 1; `state` holds all of `m`, then all of `v`.
    pub(crate) fn step(
        &self,
        engine: &dyn Engine,
        t: u64,
        gradient: &[f32],
        parameters: &mut [f32],
        state: &mut [f32],
    ) -> Result<()> {
        engine.adam(self, t, gradient, parameters, state.split_at_mut(gradient.len()))
    }
}
