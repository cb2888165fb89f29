//! The training loop, and what it tells whoever watches.

use crate::data::Dataset;
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::metrics::{Metrics, Tally};
use crate::mlp::{Batch, Mlp};
use crate::optim::Adam;
use crate::rng::{self, Rng};
use crate::store::Store;
use std::ops::ControlFlow;
use std::time::Instant;

/// How to train. The default is the reference program: 5 epochs, batches of 32, Adam, seed 0.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TrainConfig {
    /// How many times to go through the data.
    pub epochs: usize,
    /// Samples in a step; the last step of an epoch takes what is left.
    pub batch: usize,
    /// Decides the order of the samples.
    pub seed: u64,
    /// The optimiser.
    pub adam: Adam,
}

impl Default for TrainConfig {
    fn default() -> Self {
        Self { epochs: 5, batch: 32, seed: 0, adam: Adam::default() }
    }
}

/// The end of a step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BatchEnd {
    /// From 0.
    pub epoch: usize,
    /// How many there will be.
    pub epochs: usize,
    /// Within the epoch, from 0.
    pub batch: usize,
    /// How many there are in an epoch.
    pub batches: usize,
    /// Samples seen since the epoch began.
    pub samples: usize,
    /// Over these samples, each measured before the step that used it.
    pub metrics: Metrics,
    /// Seconds since the epoch began.
    pub seconds: f64,
}

/// The end of an epoch.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct EpochEnd {
    /// From 0.
    pub epoch: usize,
    /// How many there will be.
    pub epochs: usize,
    /// Samples seen: all of them, unless the observer broke off.
    pub samples: usize,
    /// Over these samples, each measured before the step that used it.
    pub metrics: Metrics,
    /// What the epoch took, shuffling and the observer included.
    pub seconds: f64,
}

/// Whoever watches a training, and may end it. `()` watches nothing.
pub trait Observer {
    /// After each step; `Break` ends the epoch here, and the training with it.
    fn on_batch(&mut self, _event: &BatchEnd) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }

    /// After each epoch, one broken off included; `Break` ends the training.
    fn on_epoch(&mut self, _event: &EpochEnd) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }
}

impl Observer for () {}

/// Trains a model: owns it, its gradient and the state of the optimiser.
pub struct Trainer<'e> {
    model: Mlp,
    config: TrainConfig,
    engine: &'e dyn Engine,
    gradient: Store,
    /// Of the optimiser.
    state: Store,
    steps: u64,
    /// Begun so far, over all calls of `fit`; picks the stream of the next shuffle.
    epochs: u64,
}

impl<'e> Trainer<'e> {
    /// Makes room for the gradient and for the state of the optimiser.
    ///
    /// # Errors
    /// When a setting is out of range.
    pub fn new(model: Mlp, config: TrainConfig, engine: &'e dyn Engine) -> Result<Self> {
        if config.batch == 0 {
            return Err(Error::Setting { name: "batch", value: 0.0, range: "at least 1" });
        }
        config.adam.check()?;
        let count = model.parameter_count();
        let (gradient, state) = (Store::zeros(count), Store::zeros(count * Adam::STATE));
        Ok(Self { model, config, engine, gradient, state, steps: 0, epochs: 0 })
    }

    /// Goes through the data [`TrainConfig::epochs`] times, each time in a new order; returns what each epoch ended
    /// with. Called again, it goes on: the optimiser keeps its state, the next orders are new ones.
    ///
    /// # Errors
    /// When the data do not fit the model, or there are none.
    pub fn fit(&mut self, data: &Dataset, observer: &mut dyn Observer) -> Result<Vec<EpochEnd>> {
        data.check_not_empty()?;
        data.check_inputs(self.model.inputs())?;
        data.check_labels(self.model.classes())?;
        let size = self.config.batch.min(data.len());
        let mut batch = Batch::new(&self.model, size);
        let mut order = vec![0; data.len()];
        let (epochs, batches) = (self.config.epochs, data.len().div_ceil(size));
        let mut history = Vec::new();
        for epoch in 0..epochs {
            let start = Instant::now();
            self.shuffle(&mut order);
            let (mut tally, mut flow) = (Tally::default(), ControlFlow::Continue(()));
            for (b, samples) in order.chunks(size).enumerate() {
                tally += self.step(&mut batch, data, samples)?;
                let (samples, metrics, seconds) = (tally.samples, tally.metrics(), start.elapsed().as_secs_f64());
                flow = observer.on_batch(&BatchEnd { epoch, epochs, batch: b, batches, samples, metrics, seconds });
                if flow.is_break() {
                    break;
                }
            }
            let (samples, metrics, seconds) = (tally.samples, tally.metrics(), start.elapsed().as_secs_f64());
            let end = EpochEnd { epoch, epochs, samples, metrics, seconds };
            history.push(end);
            if observer.on_epoch(&end).is_break() || flow.is_break() {
                break;
            }
        }
        Ok(history)
    }

    /// One step: forward, loss, backward, optimiser. Allocates nothing.
    fn step(&mut self, batch: &mut Batch, data: &Dataset, samples: &[usize]) -> Result<Tally> {
        let (model, engine) = (&mut self.model, self.engine);
        batch.load(model, engine, data, samples.iter().copied())?;
        batch.forward(model, engine)?;
        let tally = batch.loss(model, engine)?;
        batch.backward(model, engine, &mut self.gradient)?;
        self.steps += 1;
        self.config.adam.step(engine, self.steps, &self.gradient, model.parameters_mut(), &mut self.state)?;
        Ok(tally)
    }

    /// The order of an epoch depends on the seed and the epoch's number alone.
    fn shuffle(&mut self, order: &mut [usize]) {
        for (i, sample) in order.iter_mut().enumerate() {
            *sample = i;
        }
        Rng::new(self.config.seed, rng::SHUFFLE + self.epochs).shuffle(order);
        self.epochs += 1;
    }

    /// The model as it is now.
    pub fn model(&self) -> &Mlp {
        &self.model
    }

    /// The trained model.
    pub fn into_model(self) -> Mlp {
        self.model
    }

    /// Steps of the optimiser so far.
    pub fn steps(&self) -> u64 {
        self.steps
    }
}
