//! Who computes: the numeric routines that training needs, as one trait.
//!
//! [`Kernels`] calls the crate [`kernels`](::kernels); [`Naive`] is the same mathematics in plain loops, to compare
//! with. All matrices are dense and row-major; a batch is `rows` samples, one in each row.

mod kernels;
mod naive;

pub use self::kernels::Kernels;
pub use naive::{LoopOrder, Naive};

use crate::error::Result;
use ::kernels::{Activation, Update};

/// The three sizes of a dense layer at work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Samples in the batch.
    pub rows: usize,
    /// Columns of the layer's input.
    pub inputs: usize,
    /// Columns of the layer's output.
    pub outputs: usize,
}

/// The numeric routines of training. A routine overwrites what it is given as `&mut`, except where it says otherwise.
///
/// Names: `x` input of a layer (rows x inputs), `w` weights (inputs x outputs), `b` bias (outputs), `y` output
/// (rows x outputs); `dx` is the gradient of the loss with respect to `x`, and so on.
pub trait Engine {
    /// `out[i] = bytes[i] * scale`.
    fn scale_bytes(&self, bytes: &[u8], scale: f32, out: &mut [f32]) -> Result<()>;

    /// `y = f(x·w + b)`, the bias added to each row.
    fn dense(&self, shape: Shape, x: &[f32], w: &[f32], b: &[f32], f: Activation, y: &mut [f32]) -> Result<()>;

    /// `dw = xᵀ·dy`.
    fn weight_gradient(&self, shape: Shape, x: &[f32], dy: &[f32], dw: &mut [f32]) -> Result<()>;

    /// `db[j] = Σᵢ dy[i][j]`, the sum over the rows.
    fn bias_gradient(&self, shape: Shape, dy: &[f32], db: &mut [f32]) -> Result<()>;

    /// `dx = dy·wᵀ`.
    fn input_gradient(&self, shape: Shape, dy: &[f32], w: &[f32], dx: &mut [f32]) -> Result<()>;

    /// `y = f(z)`.
    fn activate(&self, f: Activation, z: &[f32], y: &mut [f32]) -> Result<()>;

    /// `dy *= f'(z)` in place; `saved` is `z` or `f(z)`, as [`Activation::saved`] says. For ReLU: 0 where that is not
    /// above 0.
    fn activation_gradient(&self, f: Activation, saved: &[f32], dy: &mut [f32]) -> Result<()>;

    /// Layer normalisation: the rows of `h` become `x̂ = (h - μ) s`, where `μ` is a row's mean and `s = 1 / √(σ² + ε)`
    /// its element of `scales`; `z = γ x̂ + β`.
    fn layer_norm(
        &self,
        learned: [&[f32]; 2],
        epsilon: f32,
        h: &mut [f32],
        z: &mut [f32],
        scales: &mut [f32],
    ) -> Result<()>;

    /// From `x̂` and the scales that [`Self::layer_norm`] left: `dz` becomes the gradient at `h`,
    /// `s (g - mean of g - x̂ mean of g x̂)` with `g = γ dz`, and `gradient` is that of `γ` and `β`, the sums over the
    /// rows of `dz x̂` and of `dz`.
    fn layer_norm_gradient(
        &self,
        gamma: &[f32],
        x: &[f32],
        scales: &[f32],
        dz: &mut [f32],
        gradient: [&mut [f32]; 2],
    ) -> Result<()>;

    /// Logits (rows x classes) become probabilities, in place: `exp(zⱼ) / Σ exp(z)`.
    fn softmax(&self, classes: usize, logits: &mut [f32]) -> Result<()>;

    /// `losses[i] = ln(Σ exp(z)) - z[label]`, and the logits (rows x classes, as many rows as labels) become
    /// `(softmax(z) - onehot(label)) * scale`, the gradient of `scale` times the sum of the losses.
    fn softmax_cross_entropy(
        &self,
        classes: usize,
        logits: &mut [f32],
        labels: &[u32],
        scale: f32,
        losses: &mut [f32],
    ) -> Result<()>;

    /// One step of an update rule. `state` holds the first and the second number of each parameter, each empty where
    /// [`Update::state`] is less.
    fn update(&self, rule: &Update, gradient: &[f32], parameters: &mut [f32], state: [&mut [f32]; 2]) -> Result<()>;
}
