//! What is minimised, each loss with its gradient right beside it.
//!
//! Everything here is computed in `f64` with `exp` and `ln` of the crate `libm`, which are the same on every platform,
//! except for plain cross-entropy, which the engine has in one pass.

use crate::engine::Engine;
use crate::error::{Error, Result, setting};
use crate::metrics::argmax;
use serde::{Deserialize, Serialize};
use std::iter::zip;

/// The loss of a sample, meant over the batch. `z` are the outputs of the model, `t` the targets; where there are
/// several outputs, a loss of single numbers is their mean, as in Keras.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Loss {
    /// Categorical cross-entropy from logits, for classes or for a distribution `t` over them:
    ///
    /// ```text
    /// L = Σ t (ln Σ exp(z) - z)        dL/dz = softmax(z) Σ t - t
    /// ```
    CrossEntropy {
        /// Label smoothing ε (Szegedy et al. 2016, section 7): `t` becomes `(1 - ε) t + ε / classes`.
        smoothing: f32,
        /// Factor of the loss of each class, for classes as targets; none when empty. The mean is still over samples.
        class_weights: Vec<f32>,
    },
    /// Binary cross-entropy from logits, each output a question of its own; `t` from 0 to 1:
    ///
    /// ```text
    /// L = max(z, 0) - z t + ln(1 + exp(-|z|))        dL/dz = 1 / (1 + exp(-z)) - t
    /// ```
    BinaryCrossEntropy,
    /// Squared error: `L = (z - t)²`, `dL/dz = 2 (z - t)`.
    MeanSquared,
    /// Absolute error: `L = |z - t|`, `dL/dz = sign(z - t)`, 0 at 0.
    MeanAbsolute,
    /// Squared near the target and absolute far from it (Huber 1964), with `r = z - t`:
    ///
    /// ```text
    /// L = r² / 2 where |r| <= δ, else δ (|r| - δ / 2)        dL/dz = r, at most δ in size
    /// ```
    Huber {
        /// Where the one becomes the other.
        delta: f32,
    },
}

impl Default for Loss {
    /// Cross-entropy without smoothing and weights.
    fn default() -> Self {
        Self::CrossEntropy { smoothing: 0.0, class_weights: Vec::new() }
    }
}

/// What the outputs of a batch should be.
#[derive(Clone, Copy)]
pub(crate) enum Wanted<'a> {
    /// One class each.
    Classes(&'a [u32]),
    /// As many numbers as outputs.
    Values(&'a [f32]),
}

impl Loss {
    pub(crate) fn check(&self, outputs: usize) -> Result<()> {
        match self {
            Self::CrossEntropy { smoothing, class_weights } => {
                setting("smoothing", *smoothing, (0.0..1.0).contains(smoothing), "in [0, 1)")?;
                if ![0, outputs].contains(&class_weights.len()) {
                    let found = class_weights.len() as f64;
                    let range = "none, or one for each output of the model";
                    return Err(Error::Setting { name: "number of class_weights", value: found, range });
                }
                class_weights.iter().try_for_each(|&weight| {
                    setting("class_weights", weight, (0.0..f32::INFINITY).contains(&weight), "finite and not negative")
                })
            }
            Self::Huber { delta } => setting("delta", *delta, *delta > 0.0 && delta.is_finite(), "finite and positive"),
            Self::BinaryCrossEntropy | Self::MeanSquared | Self::MeanAbsolute => Ok(()),
        }
    }

    /// Puts the loss of each row of `z` (rows x outputs) into `losses`, and `scale` times its gradient in the place of
    /// `z`. Returns how many rows were right: NaN where that means nothing.
    pub(crate) fn apply(
        &self,
        engine: &dyn Engine,
        outputs: usize,
        z: &mut [f32],
        wanted: Wanted<'_>,
        scale: f32,
        losses: &mut [f32],
    ) -> Result<f64> {
        match (self, wanted) {
            (Self::CrossEntropy { smoothing, class_weights }, Wanted::Classes(labels)) => {
                let hits = zip(z.chunks_exact(outputs), labels).filter(|&(z, &label)| argmax(z) == label as usize);
                let hits = hits.count() as f64;
                if *smoothing == 0.0 && class_weights.is_empty() {
                    engine.softmax_cross_entropy(outputs, z, labels, scale, losses)?;
                    return Ok(hits);
                }
                for ((z, &label), loss) in zip(z.chunks_exact_mut(outputs), labels).zip(losses) {
                    let weight = class_weights.get(label as usize).map_or(1.0, |&weight| f64::from(weight));
                    let target = smoothed(*smoothing, outputs, |j| f64::from(u8::from(j == label as usize)));
                    *loss = cross_entropy(z, target, weight, scale);
                }
                Ok(hits)
            }
            (Self::CrossEntropy { smoothing, .. }, Wanted::Values(targets)) => {
                let mut hits = 0;
                for ((z, t), loss) in zip(z.chunks_exact_mut(outputs), targets.chunks_exact(outputs)).zip(losses) {
                    hits += usize::from(argmax(z) == argmax(t));
                    *loss = cross_entropy(z, smoothed(*smoothing, outputs, |j| t[j].into()), 1.0, scale);
                }
                Ok(hits as f64)
            }
            (_, Wanted::Values(targets)) => {
                let scale = f64::from(scale) / outputs as f64;
                let mut hits = 0;
                for ((z, t), loss) in zip(z.chunks_exact_mut(outputs), targets.chunks_exact(outputs)).zip(losses) {
                    hits += usize::from(zip(&*z, t).all(|(&z, &t)| (z > 0.0) == (t > 0.5)));
                    let mut sum = 0.0;
                    for (z, &t) in zip(z, t) {
                        let (loss, slope) = self.of_one((*z).into(), t.into());
                        sum += loss;
                        *z = (slope * scale) as f32;
                    }
                    *loss = (sum / outputs as f64) as f32;
                }
                Ok(if *self == Self::BinaryCrossEntropy { hits as f64 } else { f64::NAN })
            }
            (_, Wanted::Classes(_)) => unreachable!("a batch holds classes for cross-entropy alone"),
        }
    }

    /// The loss of one output and its slope.
    fn of_one(&self, z: f64, t: f64) -> (f64, f64) {
        let r = z - t;
        match self {
            Self::MeanSquared => (r * r, 2.0 * r),
            Self::MeanAbsolute => (r.abs(), if r == 0.0 { 0.0 } else { r.signum() }),
            Self::Huber { delta } => {
                let delta = f64::from(*delta);
                let loss = if r.abs() <= delta { 0.5 * r * r } else { delta * (r.abs() - 0.5 * delta) };
                (loss, r.clamp(-delta, delta))
            }
            Self::BinaryCrossEntropy | Self::CrossEntropy { .. } => {
                let small = libm::exp(-z.abs());
                let sigmoid = if z >= 0.0 { 1.0 / (1.0 + small) } else { small / (1.0 + small) };
                (z.max(0.0) - z * t + libm::log1p(small), sigmoid - t)
            }
        }
    }
}

/// Smoothed targets.
fn smoothed(smoothing: f32, classes: usize, t: impl Fn(usize) -> f64) -> impl Fn(usize) -> f64 {
    let smoothing = f64::from(smoothing);
    move |j| (1.0 - smoothing) * t(j) + smoothing / classes as f64
}

/// The cross-entropy of a row; leaves the gradient in its place.
fn cross_entropy(z: &mut [f32], target: impl Fn(usize) -> f64, weight: f64, scale: f32) -> f32 {
    let max = z.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let exp = |z: f32| libm::exp(f64::from(z) - f64::from(max));
    let sum: f64 = z.iter().map(|&z| exp(z)).sum();
    let (log_sum, total) = (f64::from(max) + libm::log(sum), (0..z.len()).map(&target).sum::<f64>());
    let (mut loss, scale) = (0.0, weight * f64::from(scale));
    for (j, z) in z.iter_mut().enumerate() {
        let t = target(j);
        // What is not wanted at all costs nothing, even where its logit is -Inf.
        if t != 0.0 {
            loss += t * (log_sum - f64::from(*z));
        }
        *z = ((exp(*z) / sum * total - t) * scale) as f32;
    }
    (weight * loss) as f32
}

/// What large weights cost beside the loss; biases cost nothing. `R = l1 Σ|w| + l2 Σw²`, as in Keras.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Penalty {
    /// Factor of the absolute values.
    pub l1: f32,
    /// Factor of the squares.
    pub l2: f32,
}

impl Penalty {
    pub(crate) fn check(&self) -> Result<()> {
        for (name, factor) in [("l1", self.l1), ("l2", self.l2)] {
            setting(name, factor, (0.0..f32::INFINITY).contains(&factor), "finite and not negative")?;
        }
        Ok(())
    }

    /// Returns `R`, and adds `dR/dw = l1 sign(w) + 2 l2 w` to the gradient of the weights.
    pub(crate) fn apply(&self, w: &[f32], dw: &mut [f32]) -> f64 {
        let (mut sum, mut squares) = (0.0, 0.0);
        for (&w, dw) in zip(w, dw) {
            sum += f64::from(w.abs());
            squares += f64::from(w) * f64::from(w);
            let sign = if w == 0.0 { 0.0 } else { w.signum() };
            *dw += self.l1 * sign + 2.0 * self.l2 * w;
        }
        f64::from(self.l1) * sum + f64::from(self.l2) * squares
    }
}
