//! Normalisation of a layer's sums before its activation, backward right below forward.
//!
//! `h = x·w + b` becomes `z = γ x̂ + β` with `x̂ = (h - μ) / √(σ² + ε)`. Sums over the samples run in their order, so
//! their bits depend on nothing else; those over the outputs are the engine's.

use crate::engine::Engine;
use crate::error::{Result, setting};
use serde::{Deserialize, Serialize};
use std::iter::zip;

/// How the sums of a layer are brought to mean 0 and variance 1, before they are scaled and shifted again by factors
/// `γ` (1 at first) and terms `β` (0 at first) that are learned, one for each output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Norm {
    /// They are left as they are.
    #[default]
    None,
    /// Each output over the samples of the batch (Ioffe and Szegedy 2015, algorithm 1). Outside of training, `μ` and
    /// `σ²` are running means of those of the batches (0 and 1 at first): `r ← r + (1 - momentum)(batch - r)`.
    Batch {
        /// What a step leaves of the running means.
        momentum: f32,
        /// ε, which keeps the quotient finite.
        epsilon: f32,
    },
    /// Each sample over its outputs (Ba et al. 2016, equation 3), in training and outside alike.
    Layer {
        /// ε, which keeps the quotient finite.
        epsilon: f32,
    },
}

impl Norm {
    /// Over the batch, as in Keras: momentum 0.99, ε 0.001.
    pub const BATCH: Self = Self::Batch { momentum: 0.99, epsilon: 1e-3 };
    /// Over the outputs, as in Keras: ε 0.001.
    pub const LAYER: Self = Self::Layer { epsilon: 1e-3 };

    pub(crate) fn check(self) -> Result<()> {
        let positive = |x: f32| setting("epsilon", x, x > 0.0 && x.is_finite(), "finite and positive");
        match self {
            Self::None => Ok(()),
            Self::Layer { epsilon } => positive(epsilon),
            Self::Batch { momentum, epsilon } => {
                setting("momentum", momentum, (0.0..1.0).contains(&momentum), "in [0, 1)").and(positive(epsilon))
            }
        }
    }

    /// How many vectors of one number an output are learned: γ and β, or none.
    pub(crate) fn learned(self) -> usize {
        if self == Self::None { 0 } else { 2 }
    }

    /// How many vectors of one number an output are running means: of μ and σ², or none.
    pub(crate) fn running(self) -> usize {
        if matches!(self, Self::Batch { .. }) { 2 } else { 0 }
    }

    /// Numbers that [`Self::forward`] leaves for [`Self::backward`]: `1 / √(σ² + ε)` of each output or sample, and over
    /// the batch also μ and σ².
    pub(crate) fn saved(self, rows: usize, outputs: usize) -> usize {
        match self {
            Self::None => 0,
            Self::Batch { .. } => 3 * outputs,
            Self::Layer { .. } => rows,
        }
    }

    /// `h` (rows x outputs) becomes `x̂`, and `z = γ x̂ + β`. `running` are μ and σ² to be used outside of training,
    /// one after the other.
    pub(crate) fn forward(
        self,
        engine: &dyn Engine,
        [gamma, beta]: [&[f32]; 2],
        running: Option<&[f32]>,
        h: &mut [f32],
        z: &mut [f32],
        saved: &mut [f32],
    ) -> Result<()> {
        let outputs = gamma.len();
        let rows = h.len() / outputs;
        let epsilon = match self {
            Self::None => return Ok(()),
            Self::Layer { epsilon } => return engine.layer_norm([gamma, beta], epsilon, h, z, &mut saved[..rows]),
            Self::Batch { epsilon, .. } => epsilon,
        };
        let (inverse, moments) = saved.split_at_mut(outputs);
        let (mean, variance) = moments.split_at_mut(outputs);
        match running {
            Some(running) => {
                mean.copy_from_slice(&running[..outputs]);
                variance.copy_from_slice(&running[outputs..]);
            }
            None => {
                column_means(rows, h, mean, |h, _| h);
                column_means(rows, h, variance, |h, j| (h - mean[j]) * (h - mean[j]));
            }
        }
        zip(&mut *inverse, variance).for_each(|(inverse, variance)| *inverse = 1.0 / (*variance + epsilon).sqrt());
        for (h, z) in zip(h.chunks_exact_mut(outputs), z.chunks_exact_mut(outputs)) {
            for ((h, mean), inverse) in zip(&mut *h, &*mean).zip(&*inverse) {
                *h = (*h - mean) * inverse;
            }
            for ((z, h), (gamma, beta)) in zip(z, h).zip(zip(gamma, beta)) {
                *z = *h * gamma + beta;
            }
        }
        Ok(())
    }

    /// `dz` becomes the gradient at `h`, and `gradient` is that of γ and β. Over a batch of `n` samples:
    ///
    /// ```text
    /// dγ = Σ dz x̂        dβ = Σ dz        sums over the samples
    /// dh = (dz - dβ/n - x̂ dγ/n) γ / √(σ² + ε)
    /// ```
    pub(crate) fn backward(
        self,
        engine: &dyn Engine,
        gamma: &[f32],
        x: &[f32],
        saved: &[f32],
        dz: &mut [f32],
        gradient: &mut [f32],
    ) -> Result<()> {
        let outputs = gamma.len();
        let rows = dz.len() / outputs;
        let (dgamma, dbeta) = gradient.split_at_mut(outputs);
        match self {
            Self::None => return Ok(()),
            Self::Layer { .. } => {
                return engine.layer_norm_gradient(gamma, x, &saved[..rows], dz, [dgamma, dbeta]);
            }
            Self::Batch { .. } => {}
        }
        dgamma.fill(0.0);
        dbeta.fill(0.0);
        for (dz, x) in zip(dz.chunks_exact(outputs), x.chunks_exact(outputs)) {
            for ((dgamma, dbeta), (dz, x)) in zip(&mut *dgamma, &mut *dbeta).zip(zip(dz, x)) {
                *dgamma += dz * x;
                *dbeta += dz;
            }
        }
        for (dz, x) in zip(dz.chunks_exact_mut(outputs), x.chunks_exact(outputs)) {
            for (j, (dz, x)) in zip(dz, x).enumerate() {
                *dz = (*dz - dbeta[j] / rows as f32 - x * (dgamma[j] / rows as f32)) * (gamma[j] * saved[j]);
            }
        }
        Ok(())
    }

    /// Takes what [`Self::forward`] saw of a batch into the running means.
    pub(crate) fn learn(self, saved: &[f32], running: &mut [f32]) {
        if let Self::Batch { momentum, .. } = self {
            let batch = &saved[saved.len() - running.len()..];
            zip(running, batch)
                .for_each(|(running, batch)| *running = flushed(*running + (batch - *running) * (1.0 - momentum)));
        }
    }
}

/// 0 for what is so small that it would decay into the subnormal range, where CPUs are slow; a NaN stays one.
fn flushed(x: f32) -> f32 {
    // 2^-100
    const SMALLEST: f32 = f32::from_bits((127 - 100) << 23);
    if x.abs() < SMALLEST { 0.0 } else { x }
}

/// The mean over the samples of `f(h, column)`.
fn column_means(rows: usize, h: &[f32], means: &mut [f32], f: impl Fn(f32, usize) -> f32) {
    means.fill(0.0);
    for h in h.chunks_exact(means.len()) {
        for (j, (sum, h)) in zip(&mut *means, h).enumerate() {
            *sum += f(*h, j);
        }
    }
    means.iter_mut().for_each(|sum| *sum /= rows as f32);
}
