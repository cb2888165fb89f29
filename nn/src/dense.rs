//! One fully connected layer.

use crate::engine::{Engine, Shape};
use crate::error::Result;
use crate::rng::Rng;
use kernels::{Activation, Saved};
use serde::{Deserialize, Serialize};

/// A dense layer: `y = f(x·w + b)`. Its parameters are one slice: the weights (inputs x outputs, row-major), then the
/// bias.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Dense {
    /// Columns of `x`.
    pub inputs: usize,
    /// Columns of `y`.
    pub outputs: usize,
    /// The function `f`.
    #[serde(with = "Named")]
    pub activation: Activation,
    /// Share of the elements of `y` that are dropped in training, each time others; see [`Self::new`].
    pub dropout: f32,
}

/// The activations as a file names them.
#[derive(Serialize, Deserialize)]
#[serde(remote = "Activation")]
#[non_exhaustive]
enum Named {
    Identity,
    Relu,
    LeakyRelu { alpha: f32 },
    Elu { alpha: f32 },
    Tanh,
    Sigmoid,
    Gelu,
    GeluTanh,
    Silu,
    Softplus,
    Mish,
    HardSwish,
}

/// Where the weights of a layer start: Glorot and Bengio 2010, equation 16 (the default of Keras), He et al. 2015,
/// equation 10 (for ReLU), LeCun et al. 1998, section 4.6. Biases start at 0.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Initialiser {
    /// Uniform in ±√(6 / (inputs + outputs)).
    #[default]
    GlorotUniform,
    /// Normal with variance 2 / (inputs + outputs).
    GlorotNormal,
    /// Uniform in ±√(6 / inputs).
    HeUniform,
    /// Normal with variance 2 / inputs.
    HeNormal,
    /// Uniform in ±√(3 / inputs).
    LeCunUniform,
    /// Normal with variance 1 / inputs.
    LeCunNormal,
    /// All of them this.
    Constant(f32),
}

impl Initialiser {
    fn fill(self, inputs: usize, outputs: usize, rng: &mut Rng, w: &mut [f32]) {
        let (variance, fan) = match self {
            Self::Constant(x) => return w.fill(x),
            Self::GlorotUniform | Self::GlorotNormal => (2.0, inputs + outputs),
            Self::HeUniform | Self::HeNormal => (2.0, inputs),
            Self::LeCunUniform | Self::LeCunNormal => (1.0, inputs),
        };
        match self {
            Self::GlorotNormal | Self::HeNormal | Self::LeCunNormal => {
                let deviation = (variance / fan as f64).sqrt();
                w.fill_with(|| (rng.normal() * deviation) as f32);
            }
            // The variance of a uniform distribution on [-r, r) is r² / 3.
            _ => {
                let range = (3.0 * variance / fan as f64).sqrt() as f32;
                w.fill_with(|| (2.0 * rng.uniform() - 1.0) * range);
            }
        }
    }
}

impl Dense {
    /// A layer without dropout. With it (Srivastava et al. 2014, in the inverted form), each element of `y` is 0 with
    /// that probability in training, and otherwise divided by what is left of 1.
    pub fn new(inputs: usize, outputs: usize, activation: Activation) -> Self {
        Self { inputs, outputs, activation, dropout: 0.0 }
    }

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

    /// Weights as the initialiser says, zero bias.
    pub(crate) fn initialise(&self, how: Initialiser, rng: &mut Rng, parameters: &mut [f32]) {
        let (w, b) = parameters.split_at_mut(self.weight_count());
        how.fill(self.inputs, self.outputs, rng, w);
        b.fill(0.0);
    }

    /// How many columns of `z = x·w + b` are kept for the backward pass: none where `y` serves.
    pub(crate) fn kept(&self) -> usize {
        if self.activation.saved() == Saved::Input { self.outputs } else { 0 }
    }

    /// `y = f(z)`, where `z = x·w + b` is kept if there is room for it.
    pub(crate) fn forward(
        &self,
        engine: &dyn Engine,
        parameters: &[f32],
        x: &[f32],
        z: &mut [f32],
        y: &mut [f32],
    ) -> Result<()> {
        let (w, b) = parameters.split_at(self.weight_count());
        let shape = self.shape(y.len() / self.outputs);
        if self.kept() == 0 {
            return engine.dense(shape, x, w, b, self.activation, y);
        }
        engine.dense(shape, x, w, b, Activation::Identity, z)?;
        engine.activate(self.activation, z, y)
    }

    /// From the gradient at `y` to that at `z`, in place.
    pub(crate) fn backward_activation(&self, engine: &dyn Engine, z: &[f32], y: &[f32], dy: &mut [f32]) -> Result<()> {
        match self.activation {
            Activation::Identity => Ok(()),
            f => engine.activation_gradient(f, if f.saved() == Saved::Input { z } else { y }, dy),
        }
    }

    /// With `dz` the gradient at `z`:
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
