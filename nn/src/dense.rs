//! One fully connected layer.

use crate::engine::{Engine, Shape};
use crate::error::Result;
use crate::norm::Norm;
use crate::optim::Step;
use crate::rng::Rng;
use kernels::{Activation, Saved};
use serde::{Deserialize, Serialize};

/// A dense layer: `y = f(norm(x·w + b))`. Its parameters are one slice: the weights (inputs x outputs, row-major), the
/// bias, and `γ` and `β` of the normalisation where there is one.
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
    /// What is done to the sums first.
    #[serde(default)]
    pub norm: Norm,
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
    /// A layer without normalisation and dropout. With it (Srivastava et al. 2014, in the inverted form), each element
    /// of `y` is 0 with that probability in training, and otherwise divided by what is left of 1.
    pub fn new(inputs: usize, outputs: usize, activation: Activation) -> Self {
        Self { inputs, outputs, activation, dropout: 0.0, norm: Norm::None }
    }

    /// Number of weights, without the bias.
    pub fn weight_count(&self) -> usize {
        self.inputs * self.outputs
    }

    /// Number of weights, biases, and what the normalisation learns.
    pub fn parameter_count(&self) -> usize {
        self.weight_count() + (1 + self.norm.learned()) * self.outputs
    }

    /// Number of running means; see [`Norm::Batch`].
    pub fn running_count(&self) -> usize {
        self.norm.running() * self.outputs
    }

    /// Weights, bias, `γ` and `β`, the last two empty where there is no normalisation.
    pub(crate) fn parts<'a>(&self, parameters: &'a [f32]) -> [&'a [f32]; 4] {
        let (w, rest) = parameters.split_at(self.weight_count());
        let (b, rest) = rest.split_at(self.outputs);
        let (gamma, beta) = rest.split_at(rest.len() / 2);
        [w, b, gamma, beta]
    }

    fn shape(&self, rows: usize) -> Shape {
        Shape { rows, inputs: self.inputs, outputs: self.outputs }
    }

    /// Weights as the initialiser says, zero bias; `γ` 1 and `β` 0.
    pub(crate) fn initialise(&self, how: Initialiser, rng: &mut Rng, parameters: &mut [f32]) {
        let (w, rest) = parameters.split_at_mut(self.weight_count());
        how.fill(self.inputs, self.outputs, rng, w);
        rest.fill(0.0);
        rest.chunks_exact_mut(self.outputs).skip(1).take(1).for_each(|gamma| gamma.fill(1.0));
    }

    /// How many columns are kept for the backward pass beside `y`: `x̂` where there is a normalisation, and `z` where
    /// there is one or the activation's gradient is computed from it.
    pub(crate) fn kept(&self) -> usize {
        let z = self.norm != Norm::None || self.activation.saved() == Saved::Input;
        self.outputs * (usize::from(self.norm != Norm::None) + usize::from(z))
    }

    /// `y = f(z)`, where `z` is the sums `x·w + b`, normalised: by `running` means outside of training.
    pub(crate) fn forward(
        &self,
        engine: &dyn Engine,
        parameters: &[f32],
        running: Option<&[f32]>,
        x: &[f32],
        kept: Kept<'_>,
        y: &mut [f32],
    ) -> Result<()> {
        let [w, b, gamma, beta] = self.parts(parameters);
        let shape = self.shape(y.len() / self.outputs);
        if kept.values.is_empty() {
            return engine.dense(shape, x, w, b, self.activation, y);
        }
        let (h, z) = kept.values.split_at_mut(kept.values.len() - y.len());
        if self.norm == Norm::None {
            engine.dense(shape, x, w, b, Activation::Identity, z)?;
        } else {
            engine.dense(shape, x, w, b, Activation::Identity, h)?;
            self.norm.forward(engine, [gamma, beta], running, h, z, kept.saved)?;
        }
        engine.activate(self.activation, z, y)
    }

    /// From the gradient at `y` to that at `z`, in place.
    pub(crate) fn backward_activation(
        &self,
        engine: &dyn Engine,
        kept: &[f32],
        y: &[f32],
        dy: &mut [f32],
    ) -> Result<()> {
        match (self.activation, self.activation.saved()) {
            (Activation::Identity, _) => Ok(()),
            (f, Saved::Output) => engine.activation_gradient(f, y, dy),
            (f, Saved::Input) => engine.activation_gradient(f, &kept[kept.len() - y.len()..], dy),
        }
    }

    /// From the gradient at `z` to that at the sums `h`, in place.
    pub(crate) fn backward_norm(
        &self,
        engine: &dyn Engine,
        parameters: &[f32],
        kept: &Kept<'_>,
        dz: &mut [f32],
        gradient: &mut [f32],
    ) -> Result<()> {
        if self.norm == Norm::None {
            return Ok(());
        }
        let [_, _, gamma, _] = self.parts(parameters);
        let gradient = &mut gradient[self.weight_count() + self.outputs..];
        self.norm.backward(engine, gamma, &kept.values[..dz.len()], kept.saved, dz, gradient)
    }

    /// With `dh` the gradient at `h = x·w + b`: `dx = dh·wᵀ`, for the layer below.
    pub(crate) fn backward_input(
        &self,
        engine: &dyn Engine,
        parameters: &[f32],
        dh: &[f32],
        dx: &mut [f32],
    ) -> Result<()> {
        engine.input_gradient(self.shape(dh.len() / self.outputs), dh, &parameters[..self.weight_count()], dx)
    }

    /// `dw = xᵀ·dh` and `db = Σ rows of dh`, and where there is a step, that of the parameters.
    pub(crate) fn backward(
        &self,
        engine: &dyn Engine,
        parameters: &mut [f32],
        x: &[f32],
        dh: &[f32],
        gradient: &mut [f32],
        step: Option<Step<'_>>,
    ) -> Result<()> {
        let shape = self.shape(dh.len() / self.outputs);
        let (w, others) = parameters.split_at_mut(self.weight_count());
        let (dw, rest) = gradient.split_at_mut(w.len());
        engine.bias_gradient(shape, dh, &mut rest[..self.outputs])?;
        engine.weight_gradient(shape, x, dh, dw)?;
        let Some(mut step) = step else { return Ok(()) };
        engine.update(step.rule, rest, others, step.last(others.len()).state)?;
        engine.update(step.rule, dw, w, step.state)
    }
}

/// What a layer keeps of its forward pass for the backward one.
#[derive(Default)]
pub(crate) struct Kept<'a> {
    /// [`Dense::kept`] columns a sample: `x̂`, then `z`, each only where it is kept.
    pub(crate) values: &'a mut [f32],
    /// What [`Norm::saved`] says.
    pub(crate) saved: &'a mut [f32],
}
