//! The model: dense layers in a row, and one batch on its way through them.

use crate::data::{Dataset, Scaler};
use crate::dense::{Dense, Initialiser, Kept};
use crate::engine::Engine;
use crate::error::{Error, Result, setting};
use crate::loss::{Loss, Wanted};
use crate::metrics::{Metrics, Tally, argmax};
use crate::monitor::Summary;
use crate::norm::Norm;
use crate::optim::Step;
use crate::predictor::check_classes;
use crate::rng::{self, Noise, Rng};
use crate::store::{Store, first, first_mut, last_mut};
use kernels::Activation;
use std::collections::HashSet;
use std::iter::zip;
use std::ops::Range;

/// Samples that evaluation and prediction take at a time. Results do not depend on it; it bounds the memory.
const CHUNK: usize = 256;

/// A multi-layer perceptron: dense layers, the last of which puts out logits, or the values of a regression.
#[derive(Clone)]
pub struct Mlp {
    layers: Vec<Dense>,
    /// Layer by layer: weights, bias, and what the normalisation learns.
    parameters: Store,
    /// Layer by layer: the running means of batch normalisation, of μ and then of σ².
    running: Store,
    /// What samples go through first.
    scaler: Option<Scaler>,
    /// The names of the classes; empty where nobody gave them.
    labels: Vec<String>,
    /// What a monitor compares with.
    reference: Option<Summary>,
}

impl Mlp {
    /// Inputs, then the outputs of each layer: `[784, 128, 10]` has one hidden layer. Weights are Glorot uniform, drawn
    /// layer by layer and row by row from the seed's generator; biases are zero.
    ///
    /// # Errors
    /// When there are fewer than two sizes, one of them is 0, or the parameters are too many for the memory.
    pub fn new(sizes: &[usize], seed: u64) -> Result<Self> {
        Self::with(sizes, Activation::Relu, Initialiser::default(), seed)
    }

    /// [`Self::new`], with another function in the hidden layers and other initial weights.
    ///
    /// # Errors
    /// As there, or when the initial weights are not finite.
    pub fn with(sizes: &[usize], hidden: Activation, initialiser: Initialiser, seed: u64) -> Result<Self> {
        let last = sizes.len().saturating_sub(2);
        let layer = |(l, (&inputs, &outputs))| {
            Dense::new(inputs, outputs, if l < last { hidden } else { Activation::Identity })
        };
        let layers: Vec<_> = zip(sizes, sizes.iter().skip(1)).enumerate().map(layer).collect();
        // Too few sizes leave no layer, which is refused there too.
        Self::with_layers(layers, initialiser, seed).map_err(|error| match error {
            Error::Sizes { .. } => Error::Sizes { sizes: sizes.into() },
            other => other,
        })
    }

    /// Any layers in a row, each with as many inputs as the one before has outputs, and the last without activation and
    /// dropout, since losses take logits.
    ///
    /// # Errors
    /// When the layers do not fit, there are none, one has no inputs or outputs, or the parameters are too many for the
    /// memory; when a setting is out of range.
    pub fn with_layers(layers: Vec<Dense>, initialiser: Initialiser, seed: u64) -> Result<Self> {
        let Some(count) = count(&layers) else {
            let sizes = layers.iter().flat_map(|layer| [layer.inputs, layer.outputs]).collect();
            return Err(Error::Sizes { sizes });
        };
        check(&layers)?;
        if let Initialiser::Constant(x) = initialiser {
            setting("constant", x, x.is_finite(), "finite")?;
        }
        let mut parameters = Store::try_zeros(count).ok_or(Error::Memory { parameters: count })?;
        let (mut rest, mut rng) = (&mut *parameters, Rng::new(seed, rng::INIT));
        for layer in &layers {
            layer.initialise(initialiser, &mut rng, first_mut(&mut rest, layer.parameter_count()));
        }
        Ok(Self::from_parts(layers, parameters))
    }

    /// A model with as many parameters as [`count`] says, and running means that know of no batch.
    pub(crate) fn from_parts(layers: Vec<Dense>, parameters: Store) -> Self {
        debug_assert_eq!(count(&layers), Some(parameters.len()));
        let mut running = Store::zeros(running_count(&layers));
        let mut rest = &mut *running;
        for layer in &layers {
            let means = first_mut(&mut rest, layer.running_count());
            means.chunks_exact_mut(layer.outputs).skip(1).for_each(|variance| variance.fill(1.0));
        }
        Self { layers, parameters, running, scaler: None, labels: Vec::new(), reference: None }
    }

    /// From now on, samples go through this first: the model takes raw features, and its file holds all that it needs.
    ///
    /// # Errors
    /// When it is for another number of features.
    pub fn with_scaler(mut self, scaler: Scaler) -> Result<Self> {
        if !scaler.fits(self.inputs()) {
            let (value, range) = (scaler.features() as f64, "the inputs of the model, scaled by finite numbers");
            return Err(Error::Setting { name: "features of the scaler", value, range });
        }
        self.scaler = Some(scaler);
        Ok(self)
    }

    /// Names the classes, for whoever reads the predictions; the file of the model holds them.
    ///
    /// # Errors
    /// When there is not one name for each output, or one is empty, is there twice, or holds control characters.
    pub fn with_labels(mut self, labels: impl IntoIterator<Item = impl Into<String>>) -> Result<Self> {
        let labels: Vec<String> = labels.into_iter().map(Into::into).collect();
        check_labels(&labels, self.outputs())?;
        self.labels = labels;
        Ok(self)
    }

    /// Stores what the samples and predictions of a good time looked like, for a [`Monitor`](crate::Monitor) to compare
    /// with; the file of the model holds it.
    ///
    /// # Errors
    /// When it is of another number of features or classes.
    pub fn with_reference(mut self, reference: Summary) -> Result<Self> {
        reference.check(self.inputs(), self.outputs())?;
        self.reference = Some(reference);
        Ok(self)
    }

    /// What a [`Monitor`](crate::Monitor) compares with.
    pub fn reference(&self) -> Option<&Summary> {
        self.reference.as_ref()
    }

    /// What samples go through first.
    pub fn scaler(&self) -> Option<&Scaler> {
        self.scaler.as_ref()
    }

    /// The names of the classes; empty where nobody gave them.
    pub fn labels(&self) -> &[String] {
        &self.labels
    }

    /// The layers, first to last.
    pub fn layers(&self) -> &[Dense] {
        &self.layers
    }

    /// Columns of the first layer's input.
    pub fn inputs(&self) -> usize {
        self.layers[0].inputs
    }

    /// Columns of the last layer's output.
    pub fn outputs(&self) -> usize {
        self.layers[self.layers.len() - 1].outputs
    }

    /// Number of classes: of each, the outputs hold the logit.
    pub fn classes(&self) -> usize {
        self.outputs()
    }

    /// Columns of `x` and of everything that a training keeps of every layer.
    fn width(&self) -> usize {
        self.inputs() + self.layers.iter().map(|layer| layer.kept() + layer.outputs + dropped(layer)).sum::<usize>()
    }

    /// Number of weights, biases, and what normalisations learn.
    pub fn parameter_count(&self) -> usize {
        self.parameters.len()
    }

    /// The parameters layer by layer: weights (inputs x outputs, row-major), bias, and where there is a normalisation
    /// its `γ` and `β`.
    pub fn parameters(&self) -> impl Iterator<Item = &[f32]> {
        self.parts()
            .flat_map(|(layer, parameters, _)| layer.parts(parameters).into_iter().take(2 + layer.norm.learned()))
    }

    /// Each layer with its parameters and its running means.
    pub(crate) fn parts(&self) -> impl Iterator<Item = (&Dense, &[f32], &[f32])> {
        let (mut parameters, mut running) = (&*self.parameters, &*self.running);
        self.layers.iter().map(move |layer| {
            let parameters = first(&mut parameters, layer.parameter_count());
            (layer, parameters, first(&mut running, layer.running_count()))
        })
    }

    /// The running means of batch normalisation, layer by layer where there is one: of `μ`, then of `σ²`.
    pub fn running(&self) -> impl Iterator<Item = &[f32]> {
        self.parts().flat_map(|(layer, _, running)| running.chunks_exact(layer.outputs))
    }

    /// A table of the layers, as Keras draws it.
    pub fn summary(&self) -> String {
        let mut table = format!("{:<28}{:<16}{:>12}\n", "Layer", "Output", "Parameters");
        for (l, layer) in self.layers.iter().enumerate() {
            let shape = format!("(n, {})", layer.outputs);
            let name = format!("dense {l}, {:?}", layer.activation);
            table += &format!("{name:<28}{shape:<16}{:>12}\n", layer.parameter_count());
            if layer.norm != Norm::None {
                let name = if layer.running_count() > 0 { "  batch normalisation" } else { "  layer normalisation" };
                table += &format!("{name:<28}{shape:<16}{:>12}\n", "");
            }
            if layer.dropout > 0.0 {
                table += &format!("{:<28}{shape:<16}{:>12}\n", format!("dropout {}", layer.dropout), 0);
            }
        }
        table + &format!("{:<44}{:>12}\n", "Total", self.parameter_count())
    }

    /// Mean cross-entropy and accuracy over a data set.
    ///
    /// # Errors
    /// When the images or the labels do not fit the model, or there are none.
    pub fn evaluate(&self, engine: &dyn Engine, data: &Dataset) -> Result<Metrics> {
        self.evaluate_by(&Loss::default(), engine, data)
    }

    /// Means over a data set, by any loss.
    ///
    /// # Errors
    /// When the samples or the targets do not fit the model, or there are none.
    pub fn evaluate_by(&self, loss: &Loss, engine: &dyn Engine, data: &Dataset) -> Result<Metrics> {
        loss.check(self.outputs())?;
        data.check_not_empty()?;
        data.check_targets(loss, self.outputs())?;
        let mut tally = Tally::default();
        self.for_each_chunk(engine, data, |batch, samples| {
            let scale = 1.0 / samples.len() as f32;
            batch.load_targets(self, loss, data, samples);
            tally += batch.loss(self, engine, loss, scale)?;
            Ok(())
        })?;
        Ok(tally.metrics())
    }

    /// What the last layer puts out for each sample (samples x outputs, row-major): logits, or predicted values.
    ///
    /// # Errors
    /// When the samples do not fit the model.
    pub fn run(&self, engine: &dyn Engine, data: &Dataset) -> Result<Vec<f32>> {
        let mut outputs = Vec::with_capacity(data.len() * self.outputs());
        self.for_each_chunk(engine, data, |batch, _| {
            outputs.extend_from_slice(batch.logits(self));
            Ok(())
        })?;
        Ok(outputs)
    }

    /// The most probable class of each image.
    ///
    /// # Errors
    /// When the images do not fit the model, or it has a single output, which is no class.
    pub fn predict(&self, engine: &dyn Engine, data: &Dataset) -> Result<Vec<u32>> {
        check_classes(self.outputs())?;
        let mut classes = Vec::with_capacity(data.len());
        self.for_each_chunk(engine, data, |batch, _| {
            classes.extend(batch.logits(self).chunks_exact(self.classes()).map(|z| argmax(z) as u32));
            Ok(())
        })?;
        Ok(classes)
    }

    /// The probability of each class for each image (images x classes, row-major).
    ///
    /// # Errors
    /// As [`Self::predict`].
    pub fn probabilities(&self, engine: &dyn Engine, data: &Dataset) -> Result<Vec<f32>> {
        check_classes(self.outputs())?;
        let mut probabilities = Vec::with_capacity(data.len() * self.classes());
        self.for_each_chunk(engine, data, |batch, _| {
            let z = batch.logits(self);
            engine.softmax(self.classes(), z)?;
            probabilities.extend_from_slice(z);
            Ok(())
        })?;
        Ok(probabilities)
    }

    /// Runs the whole data set forward, in order, and hands over batch by batch with its samples.
    fn for_each_chunk(
        &self,
        engine: &dyn Engine,
        data: &Dataset,
        mut then: impl FnMut(&mut Batch, Range<usize>) -> Result<()>,
    ) -> Result<()> {
        data.check_inputs(self.inputs())?;
        let mut batch = Batch::new(self, CHUNK.min(data.len()));
        for start in (0..data.len()).step_by(CHUNK) {
            let samples = start..data.len().min(start + CHUNK);
            batch.load(self, engine, data, samples.clone())?;
            batch.forward(self, engine, None)?;
            then(&mut batch, samples)?;
        }
        Ok(())
    }

    /// A model without normalisation that puts out the same but for rounding: that over the batch goes into the
    /// weights, `w γ / √(σ² + ε)`, and the biases, `(b - μ) γ / √(σ² + ε) + β`.
    ///
    /// # Errors
    /// When a layer is normalised over its outputs, which depends on the sample.
    pub fn folded(&self) -> Result<Self> {
        let mut folded = self.clone();
        folded.layers.iter_mut().for_each(|layer| layer.norm = Norm::None);
        let mut parameters = Vec::new();
        for (l, (layer, own, running)) in self.parts().enumerate() {
            let [w, b, gamma, beta] = layer.parts(own);
            let factors: Vec<f64> = match layer.norm {
                Norm::None => vec![1.0; layer.outputs],
                Norm::Layer { .. } => return Err(Error::Normalised { layer: l }),
                Norm::Batch { epsilon, .. } => zip(gamma, &running[layer.outputs..])
                    .map(|(&gamma, &variance)| f64::from(gamma) / (f64::from(variance) + f64::from(epsilon)).sqrt())
                    .collect(),
            };
            let weights = w.chunks_exact(layer.outputs).flat_map(|w| zip(w, &factors));
            parameters.extend(weights.map(|(&w, factor)| (f64::from(w) * factor) as f32));
            let of = |x: &[f32], j: usize| f64::from(x.get(j).copied().unwrap_or(0.0));
            let bias = factors.iter().enumerate().map(|(j, factor)| (of(b, j) - of(running, j)) * factor + of(beta, j));
            parameters.extend(bias.map(|b| b as f32));
        }
        (folded.parameters, folded.running) = (Store::from(&*parameters), Store::zeros(0));
        Ok(folded)
    }

    /// For the optimiser.
    pub(crate) fn parameters_mut(&mut self) -> &mut [f32] {
        &mut self.parameters
    }

    /// All that training changes: the parameters and the running means.
    pub(crate) fn trained(&mut self) -> [&mut [f32]; 2] {
        [&mut self.parameters, &mut self.running]
    }
}

/// How many parameters these layers have in a row, if they can stand so: at least one, none without inputs or outputs,
/// each with as many inputs as the one before has outputs.
pub(crate) fn count(layers: &[Dense]) -> Option<usize> {
    let fit = layers.windows(2).all(|pair| pair[0].outputs == pair[1].inputs);
    let full = layers.iter().all(|layer| layer.inputs > 0 && layer.outputs > 0);
    let count = layers.iter().try_fold(0_usize, |sum, layer| {
        let columns = layer.inputs.checked_add(1 + layer.norm.learned())?;
        sum.checked_add(columns.checked_mul(layer.outputs)?)
    });
    count.filter(|_| fit && full && !layers.is_empty())
}

/// How many running means they have.
pub(crate) fn running_count(layers: &[Dense]) -> usize {
    layers.iter().map(Dense::running_count).sum()
}

/// Whether these name so many classes. The names get into terminals and web pages.
pub(crate) fn check_labels(labels: &[String], classes: usize) -> Result<()> {
    if labels.len() != classes {
        return Err(Error::ClassNames { names: labels.len(), classes });
    }
    let mut others = HashSet::new();
    for (class, name) in labels.iter().enumerate() {
        let problem = match name {
            _ if name.trim().is_empty() => "is empty",
            _ if name.chars().any(char::is_control) => "has a control character",
            _ if !others.insert(name) => "is that of another class too",
            _ => continue,
        };
        return Err(Error::ClassName { class, name: name.clone(), problem });
    }
    Ok(())
}

/// Whether the settings of the layers are in range.
pub(crate) fn check(layers: &[Dense]) -> Result<()> {
    for (l, layer) in layers.iter().enumerate() {
        setting("dropout", layer.dropout, (0.0..1.0).contains(&layer.dropout), "in [0, 1)")?;
        if let Activation::LeakyRelu { alpha } | Activation::Elu { alpha } = layer.activation {
            setting("alpha", alpha, alpha.is_finite(), "finite")?;
        }
        layer.norm.check()?;
        let plain = Dense::new(layer.inputs, layer.outputs, Activation::Identity);
        if l + 1 == layers.len() && *layer != plain {
            return Err(Error::LastLayer);
        }
    }
    Ok(())
}

/// Columns of a layer's output after dropout, where there is any: the output before is needed for the gradient.
fn dropped(layer: &Dense) -> usize {
    if layer.dropout > 0.0 { layer.outputs } else { 0 }
}

/// One batch on its way through a model; made once, with room for the largest batch, and used for every step.
pub(crate) struct Batch {
    /// Samples in it now.
    rows: usize,
    /// The most that there is room for.
    capacity: usize,
    /// What dropout depends on in the current pass; none where nothing is dropped.
    noise: Option<Noise>,
    /// Whether its targets are classes.
    classes: bool,
    labels: Vec<u32>,
    /// Targets that are no classes, rows x outputs.
    targets: Store,
    losses: Vec<f32>,
    /// What the normalisation of each layer keeps beside values of samples.
    norms: Store,
    /// `x`, then for each layer what it keeps, the output, and the output after dropout, each rows x columns and
    /// each only where there is such a thing. The last are the logits, which the loss turns into
    /// their gradient.
    values: Store,
    /// The gradient of each hidden layer's output.
    deltas: Store,
}

impl Batch {
    pub(crate) fn new(model: &Mlp, capacity: usize) -> Self {
        Self {
            rows: 0,
            capacity,
            noise: None,
            classes: true,
            labels: vec![0; capacity],
            targets: Store::zeros(capacity * model.outputs()),
            losses: vec![0.0; capacity],
            norms: Store::zeros(model.layers.iter().map(|layer| layer.norm.saved(capacity, layer.outputs)).sum()),
            values: Store::zeros(capacity * model.width()),
            deltas: Store::zeros(capacity * model.layers[1..].iter().map(|layer| layer.inputs).sum::<usize>()),
        }
    }

    /// Takes in these samples, at most as many as there is room for.
    pub(crate) fn load(
        &mut self,
        model: &Mlp,
        engine: &dyn Engine,
        data: &Dataset,
        samples: impl ExactSizeIterator<Item = usize> + Clone,
    ) -> Result<()> {
        self.rows = samples.len();
        let x = &mut self.values[..self.rows * model.inputs()];
        data.gather(engine, samples, x)?;
        if let Some(scaler) = &model.scaler {
            scaler.apply(x);
        }
        Ok(())
    }

    /// Takes in what the outputs for these samples should be.
    pub(crate) fn load_targets(
        &mut self,
        model: &Mlp,
        loss: &Loss,
        data: &Dataset,
        samples: impl ExactSizeIterator<Item = usize>,
    ) {
        self.classes = data.has_classes() && matches!(loss, Loss::CrossEntropy { .. });
        if self.classes {
            data.gather_labels(samples, &mut self.labels);
        } else {
            data.gather_values(samples, model.outputs(), &mut self.targets);
        }
    }

    /// From `x` to the logits; in training, with dropout by this noise.
    pub(crate) fn forward(&mut self, model: &Mlp, engine: &dyn Engine, noise: Option<Noise>) -> Result<()> {
        let (mut values, mut norms) = (&mut *self.values, &mut *self.norms);
        let (mut parameters, mut running) = (&*model.parameters, &*model.running);
        self.noise = noise;
        let mut x = first_mut(&mut values, self.rows * model.inputs());
        for (l, layer) in model.layers.iter().enumerate() {
            let kept = Kept {
                values: first_mut(&mut values, self.rows * layer.kept()),
                saved: first_mut(&mut norms, layer.norm.saved(self.capacity, layer.outputs)),
            };
            let y = first_mut(&mut values, self.rows * layer.outputs);
            let running = Some(first(&mut running, layer.running_count())).filter(|_| noise.is_none());
            layer.forward(engine, first(&mut parameters, layer.parameter_count()), running, x, kept, y)?;
            x = match noise {
                Some(noise) if layer.dropout > 0.0 => {
                    let after = first_mut(&mut values, y.len());
                    after.copy_from_slice(y);
                    noise.of(l, model.layers.len()).drop(layer.dropout, after);
                    after
                }
                _ => y,
            };
        }
        Ok(())
    }

    /// From the gradient of the logits, which the loss left in their place, to that of the parameters. Where there is a
    /// step, each layer makes it as soon as the one below has what it needs of it; then nobody can use `gradient`.
    pub(crate) fn backward(
        &mut self,
        model: &mut Mlp,
        engine: &dyn Engine,
        mut gradient: &mut [f32],
        mut step: Option<Step<'_>>,
    ) -> Result<()> {
        let used = self.rows * self.used(model);
        let (mut values, mut norms) = (&mut self.values[..used], &mut *self.norms);
        let (mut deltas, mut parameters) = (&mut *self.deltas, &mut *model.parameters);
        let mut dz = last_mut(&mut values, self.rows * model.layers[model.layers.len() - 1].outputs);
        let mut kept = Kept::default();
        for (l, layer) in model.layers.iter().enumerate().rev() {
            let x = last_mut(&mut values, self.rows * layer.inputs);
            let parameters = last_mut(&mut parameters, layer.parameter_count());
            let gradient = last_mut(&mut gradient, layer.parameter_count());
            let step = step.as_mut().map(|step| step.last(parameters.len()));
            layer.backward_norm(engine, parameters, &kept, dz, gradient)?;
            // The first layer's input is data: nobody asks for its gradient.
            let Some(below) = model.layers[..l].last() else {
                return layer.backward(engine, parameters, x, dz, gradient, step);
            };
            let dx = last_mut(&mut deltas, x.len());
            layer.backward_input(engine, parameters, dz, dx)?;
            layer.backward(engine, parameters, x, dz, gradient, step)?;
            let y = match self.noise {
                Some(noise) if below.dropout > 0.0 => {
                    noise.of(l - 1, model.layers.len()).drop(below.dropout, dx);
                    last_mut(&mut values, dx.len())
                }
                _ => x,
            };
            kept = Kept {
                values: last_mut(&mut values, self.rows * below.kept()),
                saved: last_mut(&mut norms, below.norm.saved(self.capacity, below.outputs)),
            };
            below.backward_activation(engine, kept.values, y, dx)?;
            dz = dx;
        }
        Ok(())
    }

    /// Takes what batch normalisation saw of this batch into the running means of the model.
    pub(crate) fn learn(&self, model: &mut Mlp) {
        let (mut norms, mut running) = (&*self.norms, &mut *model.running);
        for layer in &model.layers {
            let saved = first(&mut norms, layer.norm.saved(self.capacity, layer.outputs));
            layer.norm.learn(saved, first_mut(&mut running, layer.running_count()));
        }
    }

    /// Columns of `values` in the current pass.
    fn used(&self, model: &Mlp) -> usize {
        let spared = |layer| if self.noise.is_none() { dropped(layer) } else { 0 };
        model.width() - model.layers.iter().map(spared).sum::<usize>()
    }

    /// Tallies losses and hits, and leaves `scale` times the gradient of the sum of the losses in the place of the
    /// logits.
    pub(crate) fn loss(&mut self, model: &Mlp, engine: &dyn Engine, loss: &Loss, scale: f32) -> Result<Tally> {
        let (rows, outputs) = (self.rows, model.outputs());
        let used = rows * self.used(model);
        let z = last_mut(&mut &mut self.values[..used], rows * outputs);
        let wanted = if self.classes {
            Wanted::Classes(&self.labels[..rows])
        } else {
            Wanted::Values(&self.targets[..rows * outputs])
        };
        let losses = &mut self.losses[..rows];
        let correct = loss.apply(engine, outputs, z, wanted, scale, losses)?;
        Ok(Tally { samples: rows, correct, loss: losses.iter().map(|&loss| f64::from(loss)).sum() })
    }

    /// The logits, rows x classes.
    fn logits(&mut self, model: &Mlp) -> &mut [f32] {
        let used = self.rows * self.used(model);
        last_mut(&mut &mut self.values[..used], self.rows * model.classes())
    }
}
