//! The model: dense layers in a row, and one batch on its way through them.

use crate::data::Dataset;
use crate::dense::Dense;
use crate::engine::{Activation, Engine};
use crate::error::{Error, Result};
use crate::loss::sparse_categorical_cross_entropy;
use crate::metrics::{Metrics, Tally, argmax};
use crate::rng::{self, Rng};
use crate::store::{Store, first, first_mut, last, last_mut};
use std::iter::zip;

/// Samples that evaluation and prediction take at a time. Results do not depend on it; it bounds the memory.
const CHUNK: usize = 256;

/// A multi-layer perceptron that classifies: hidden layers with ReLU, a last layer whose outputs are logits.
#[derive(Clone)]
pub struct Mlp {
    layers: Vec<Dense>,
    /// Layer by layer: weights, then bias.
    parameters: Store,
}

impl Mlp {
    /// Inputs, then the outputs of each layer: `[784, 128, 10]` has one hidden layer. Weights are Glorot uniform, drawn
    /// layer by layer and row by row from the seed's generator; biases are zero.
    ///
    /// # Errors
    /// When there are fewer than two sizes, one of them is 0, or the parameters are too many to count.
    pub fn new(sizes: &[usize], seed: u64) -> Result<Self> {
        let hidden = sizes.len().saturating_sub(2);
        let layers: Vec<_> = zip(sizes, sizes.iter().skip(1))
            .enumerate()
            .map(|(l, (&inputs, &outputs))| {
                let activation = if l < hidden { Activation::Relu } else { Activation::Identity };
                Dense { inputs, outputs, activation }
            })
            .collect();
        let count = layers
            .iter()
            .try_fold(0_usize, |sum, layer| sum.checked_add(layer.inputs.checked_add(1)?.checked_mul(layer.outputs)?));
        let count = count.filter(|_| !layers.is_empty() && !sizes.contains(&0));
        let mut parameters = Store::zeros(count.ok_or_else(|| Error::Sizes { sizes: sizes.into() })?);
        let (mut rest, mut rng) = (&mut *parameters, Rng::new(seed, rng::INIT));
        for layer in &layers {
            layer.initialise(&mut rng, first_mut(&mut rest, layer.parameter_count()));
        }
        Ok(Self { layers, parameters })
    }

    /// The layers, first to last.
    pub fn layers(&self) -> &[Dense] {
        &self.layers
    }

    /// Columns of the first layer's input.
    pub fn inputs(&self) -> usize {
        self.layers[0].inputs
    }

    /// Number of classes, the columns of the logits.
    pub fn classes(&self) -> usize {
        self.layers[self.layers.len() - 1].outputs
    }

    /// Columns of `x` and of every layer's output together.
    fn width(&self) -> usize {
        self.inputs() + self.layers.iter().map(|layer| layer.outputs).sum::<usize>()
    }

    /// Number of weights and biases.
    pub fn parameter_count(&self) -> usize {
        self.parameters.len()
    }

    /// The parameters layer by layer: weights (inputs x outputs, row-major), then bias.
    pub fn parameters(&self) -> impl Iterator<Item = &[f32]> {
        let mut rest = &*self.parameters;
        self.layers.iter().flat_map(move |layer| {
            let (w, b) = first(&mut rest, layer.parameter_count()).split_at(layer.weight_count());
            [w, b]
        })
    }

    /// Mean cross-entropy and accuracy over a data set.
    ///
    /// # Errors
    /// When the images or the labels do not fit the model, or there are none.
    pub fn evaluate(&self, engine: &dyn Engine, data: &Dataset) -> Result<Metrics> {
        data.check_not_empty()?;
        data.check_labels(self.classes())?;
        let mut tally = Tally::default();
        self.for_each_chunk(engine, data, |batch| {
            tally += batch.loss(self, engine)?;
            Ok(())
        })?;
        Ok(tally.metrics())
    }

    /// The most probable class of each image.
    ///
    /// # Errors
    /// When the images do not fit the model.
    pub fn predict(&self, engine: &dyn Engine, data: &Dataset) -> Result<Vec<u32>> {
        let mut classes = Vec::with_capacity(data.len());
        self.for_each_chunk(engine, data, |batch| {
            classes.extend(batch.logits(self).chunks_exact(self.classes()).map(|z| argmax(z) as u32));
            Ok(())
        })?;
        Ok(classes)
    }

    /// The probability of each class for each image (images x classes, row-major).
    ///
    /// # Errors
    /// When the images do not fit the model.
    pub fn probabilities(&self, engine: &dyn Engine, data: &Dataset) -> Result<Vec<f32>> {
        let mut probabilities = Vec::with_capacity(data.len() * self.classes());
        self.for_each_chunk(engine, data, |batch| {
            let z = batch.logits(self);
            engine.softmax(self.classes(), z)?;
            probabilities.extend_from_slice(z);
            Ok(())
        })?;
        Ok(probabilities)
    }

    /// Runs the whole data set forward, in order, and hands over batch by batch.
    fn for_each_chunk(
        &self,
        engine: &dyn Engine,
        data: &Dataset,
        mut then: impl FnMut(&mut Batch) -> Result<()>,
    ) -> Result<()> {
        data.check_inputs(self.inputs())?;
        let mut batch = Batch::new(self, CHUNK.min(data.len()));
        for start in (0..data.len()).step_by(CHUNK) {
            batch.load(self, engine, data, start..data.len().min(start + CHUNK))?;
            batch.forward(self, engine)?;
            then(&mut batch)?;
        }
        Ok(())
    }

    /// For the optimiser.
    pub(crate) fn parameters_mut(&mut self) -> &mut [f32] {
        &mut self.parameters
    }
}

/// One batch on its way through a model; made once, with room for the largest batch, and used for every step.
pub(crate) struct Batch {
    /// Samples in it now.
    rows: usize,
    labels: Vec<u32>,
    losses: Vec<f32>,
    /// `x`, then the output of each layer, each rows x columns. The last are the logits, which the loss turns into
    /// their gradient.
    values: Store,
    /// The gradient of each hidden layer's output.
    deltas: Store,
}

impl Batch {
    pub(crate) fn new(model: &Mlp, capacity: usize) -> Self {
        Self {
            rows: 0,
            labels: vec![0; capacity],
            losses: vec![0.0; capacity],
            values: Store::zeros(capacity * model.width()),
            deltas: Store::zeros(capacity * (model.width() - model.inputs() - model.classes())),
        }
    }

    /// Takes in these samples, at most as many as there is room for.
    pub(crate) fn load(
        &mut self,
        model: &Mlp,
        engine: &dyn Engine,
        data: &Dataset,
        samples: impl ExactSizeIterator<Item = usize>,
    ) -> Result<()> {
        self.rows = samples.len();
        let x = &mut self.values[..self.rows * model.inputs()];
        data.gather(engine, samples, x, &mut self.labels[..self.rows])
    }

    /// From `x` to the logits.
    pub(crate) fn forward(&mut self, model: &Mlp, engine: &dyn Engine) -> Result<()> {
        let (mut values, mut parameters) = (&mut *self.values, &*model.parameters);
        let mut x = first_mut(&mut values, self.rows * model.inputs());
        for layer in &model.layers {
            let y = first_mut(&mut values, self.rows * layer.outputs);
            layer.forward(engine, first(&mut parameters, layer.parameter_count()), x, y)?;
            x = y;
        }
        Ok(())
    }

    /// From the gradient of the logits, which the loss left in their place, to that of the parameters.
    pub(crate) fn backward(&mut self, model: &Mlp, engine: &dyn Engine, mut gradient: &mut [f32]) -> Result<()> {
        let mut values = &mut self.values[..self.rows * model.width()];
        let (mut deltas, mut parameters) = (&mut *self.deltas, &*model.parameters);
        let mut dz = last_mut(&mut values, self.rows * model.classes());
        for (l, layer) in model.layers.iter().enumerate().rev() {
            let x = last_mut(&mut values, self.rows * layer.inputs);
            let parameters = last(&mut parameters, layer.parameter_count());
            let gradient = last_mut(&mut gradient, layer.parameter_count());
            // The first layer's input is data: nobody asks for its gradient.
            let below = model.layers[..l].last();
            let dx = last_mut(&mut deltas, below.map_or(0, |below| self.rows * below.outputs));
            layer.backward(engine, parameters, x, dz, gradient, below.map(|_| &mut *dx))?;
            if let Some(below) = below {
                engine.activation_gradient(below.activation, x, dx)?;
            }
            dz = dx;
        }
        Ok(())
    }

    /// Tallies losses and hits, and leaves the gradient of the mean loss in the place of the logits.
    pub(crate) fn loss(&mut self, model: &Mlp, engine: &dyn Engine) -> Result<Tally> {
        let (rows, classes) = (self.rows, model.classes());
        let logits = last_mut(&mut &mut self.values[..rows * model.width()], rows * classes);
        let (labels, losses) = (&self.labels[..rows], &mut self.losses[..rows]);
        sparse_categorical_cross_entropy(engine, classes, logits, labels, losses)
    }

    /// The logits, rows x classes.
    fn logits(&mut self, model: &Mlp) -> &mut [f32] {
        last_mut(&mut &mut self.values[..self.rows * model.width()], self.rows * model.classes())
    }
}
