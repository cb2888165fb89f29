//! One fully connected layer.

use crate::engine::{Activation, Engine, Shape};
use crate::error::Result;
use crate::rng::Rng;

/// A dense layer: `y = f(x·w + b)`. Its parameters are one slice: the weights (inputs x outputs, row-major), then the
/// bias.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dense {
    /// Columns of `x`.
    pub inputs: usize,
    /// Columns of `y`.
    pub outputs: usize,
    /// The function `f`.
    pub activation: Activation,
}

impl Dense {
    /// Number of weights, without the bias.
    pub fn weight_count(&self) -> usize {
        self.inputs * self.outputs
    }

    /// Number of weights and biases.
    pub fn parameter_count(&self) -> usize {
        self.weight_count() + self.outputs
    }

    fn shape(&self, rows: usize) -> Shape {
        Shape { rows, inputs: self.inputs, outputs: self.outputs }
    }

    /// Glorot uniform weights, in [-r, r) with `r = √(6 / (inputs + outputs))`, and zero bias (Glorot and Bengio 2010,
    /// equation 16; the default of Keras).
    pub(crate) fn initialise(&self, rng: &mut Rng, parameters: &mut [f32]) {
        let (w, b) = parameters.split_at_mut(self.weight_count());
        let range = (6.0 / (self.inputs + self.outputs) as f64).sqrt() as f32;
        w.fill_with(|| (2.0 * rng.uniform() - 1.0) * range);
        b.fill(0.0);
    }

    /// `y = f(x·w + b)`.
    pub(crate) fn forward(&self, engine: &dyn Engine, parameters: &[f32], x: &[f32], y: &mut [f32]) -> Result<()> {
        let (w, b) = parameters.split_at(self.weight_count());
        engine.dense(self.shape(y.len() / self.outputs), x, w, b, self.activation, y)
    }

    /// With `z = x·w + b` and `dz` the gradient there (that is, after the activation's own part):
    /// `dw = xᵀ·dz`, `db = Σ rows of dz`, and, where the layer below wants it, `dx = dz·wᵀ`.
    pub(crate) fn backward(
        &self,
        engine: &dyn Engine,
        parameters: &[f32],
        x: &[f32],
        dz: &[f32],
        gradient: &mut [f32],
        dx: Option<&mut [f32]>,
    ) -> Result<()> {
        let shape = self.shape(dz.len() / self.outputs);
        let (dw, db) = gradient.split_at_mut(self.weight_count());
        engine.weight_gradient(shape, x, dz, dw)?;
        engine.bias_gradient(shape, dz, db)?;
        match dx {
            Some(dx) => engine.input_gradient(shape, dz, &parameters[..self.weight_count()], dx),
            None => Ok(()),
        }
    }
}
