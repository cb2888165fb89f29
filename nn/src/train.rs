//! The training loop, and what it tells whoever watches.

use crate::checkpoint;
use crate::data::Dataset;
use crate::engine::Engine;
use crate::error::{Error, Result, setting};
use crate::metrics::{Metrics, Tally};
use crate::mlp::{Batch, Mlp, running_count};
use crate::optim::Step;
use crate::recipe::{EarlyStopping, Recipe};
use crate::rng::{self, Noise, Rng};
use crate::schedule::{Plateau, Watch};
use crate::store::Store;
use serde::{Deserialize, Serialize};
use std::iter::zip;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Weights in a layer from which on it makes its step by itself, while its gradient is in the caches. In smaller models
/// the optimiser's one pass over all parameters is faster.
const LARGE: usize = 1 << 17;

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
    /// Over these samples, each measured before the step that used it, with the penalties.
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
    /// Over these samples, each measured before the step that used it, with the penalties.
    pub metrics: Metrics,
    /// Over the validation data at the end of the epoch, without penalties, where there are such data.
    pub validation: Option<Metrics>,
    /// The learning rate of the last step.
    pub learning_rate: f32,
    /// What the epoch took, shuffling, validation and the observer included.
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

/// How far a training has come: what decides the next steps beside the model and the state of the optimiser.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Progress {
    /// Steps of the optimiser.
    pub(crate) steps: u64,
    /// Begun so far, over all calls of `fit`; picks the stream of the next shuffle.
    pub(crate) epochs: u64,
    /// How many there are to be at the end of this `fit`, or of the last.
    pub(crate) goal: u64,
    /// For early stopping.
    pub(crate) watch: Watch,
    pub(crate) plateau: Plateau,
}

impl Progress {
    /// Whether a training with this recipe can have come so far.
    pub(crate) fn check(&self, recipe: &Recipe) -> Result<()> {
        let left = self.goal.saturating_sub(self.epochs);
        setting("epochs left", left as f64, left <= recipe.epochs as u64, "at most those of the recipe")?;
        // The numbers of streams and steps must not overflow.
        setting("epochs", self.epochs as f64, self.epochs < 1 << 32, "less than 2^32")?;
        setting("steps", self.steps as f64, self.steps < 1 << 63, "less than 2^63")?;
        self.plateau.check()
    }
}

/// Trains a model: owns it, its gradient and the state of the optimiser.
pub struct Trainer<'e> {
    pub(crate) model: Mlp,
    pub(crate) recipe: Recipe,
    engine: &'e dyn Engine,
    gradient: Store,
    /// The gradient of one batch of several that make a step.
    part: Store,
    /// Of the optimiser.
    pub(crate) state: Store,
    /// Parameters and running means of the best epoch; empty unless they are wanted.
    pub(crate) best: Store,
    pub(crate) progress: Progress,
    pub(crate) history: Vec<EpochEnd>,
    checkpoint: Option<PathBuf>,
    /// Whether a training was taken up, or failed, of which nothing may be left but its end.
    pending: bool,
    /// The parameters that stay 0.
    zeros: Vec<usize>,
}

impl<'e> Trainer<'e> {
    /// Makes room for the gradient and for the state of the optimiser.
    ///
    /// # Errors
    /// When a setting is out of range.
    pub fn new(model: Mlp, recipe: Recipe, engine: &'e dyn Engine) -> Result<Self> {
        recipe.check(&model)?;
        let count = model.parameter_count();
        Ok(Self {
            engine,
            gradient: Store::zeros(count),
            part: Store::zeros(if recipe.accumulate > 1 { count } else { 0 }),
            state: Store::zeros(count * recipe.optimiser.state()),
            best: Store::zeros(if recipe.early_stopping.is_some() { count + running_count(model.layers()) } else { 0 }),
            progress: Progress::default(),
            history: Vec::new(),
            checkpoint: None,
            pending: false,
            zeros: Vec::new(),
            model,
            recipe,
        })
    }

    /// From now on, writes a checkpoint to this file after each whole epoch, in the place of the one before. It is
    /// there when the observer hears of the epoch.
    #[must_use]
    pub fn checkpoints(mut self, file: impl Into<PathBuf>) -> Self {
        self.checkpoint = Some(file.into());
        self
    }

    /// From now on, weights that are 0 stay 0, as [`prune`](crate::prune::prune) made them; biases are free. A
    /// checkpoint does not hold this: say it again after [`Self::resume`].
    #[must_use]
    pub fn keep_zeros(mut self) -> Self {
        let mut start = 0;
        for (layer, parameters, _) in self.model.parts() {
            let zeros = parameters[..layer.weight_count()].iter().enumerate().filter(|&(_, &w)| w == 0.0);
            self.zeros.extend(zeros.map(|(j, _)| start + j));
            start += parameters.len();
        }
        self
    }

    /// Goes through the data [`Recipe::epochs`] times, each time in a new order; returns what each epoch ended with.
    /// Called again, it goes on: the optimiser keeps its state, the next orders are new ones. After [`Self::resume`],
    /// after an error, and where an observer broke it off, the next call does what is left of the epochs: nothing,
    /// where a training that is taken up had ended.
    ///
    /// # Errors
    /// When the data do not fit the model, or there are none; when the loss is no longer finite; when a checkpoint
    /// can't be written.
    pub fn fit(&mut self, data: &Dataset, observer: &mut dyn Observer) -> Result<Vec<EpochEnd>> {
        self.fit_and_validate(data, None, observer)
    }

    /// [`Self::fit`], with an evaluation on other data after each epoch.
    ///
    /// # Errors
    /// As [`Self::fit`], for both.
    pub fn fit_and_validate(
        &mut self,
        data: &Dataset,
        validation: Option<&Dataset>,
        observer: &mut dyn Observer,
    ) -> Result<Vec<EpochEnd>> {
        for data in [Some(data), validation].into_iter().flatten() {
            data.check_not_empty()?;
            data.check_inputs(self.model.inputs())?;
            data.check_targets(&self.recipe.loss, self.model.outputs())?;
        }
        let epochs = self.recipe.epochs;
        if self.progress.epochs >= self.progress.goal && !self.pending {
            self.progress.goal = self.progress.epochs.saturating_add(epochs as u64);
            self.progress.watch = Watch::default();
        }
        self.pending = true;
        let size = self.recipe.batch.min(data.len());
        let per_step = size.saturating_mul(self.recipe.accumulate);
        let mut batch = Batch::new(&self.model, size);
        let mut order = vec![0; data.len()];
        let (batches, known) = (data.len().div_ceil(per_step), self.history.len());
        let mut broken = false;
        while self.progress.epochs < self.progress.goal && !broken {
            let epoch = epochs - (self.progress.goal - self.progress.epochs) as usize;
            let start = Instant::now();
            self.shuffle(&mut order);
            let (mut tally, mut flow) = (Tally::default(), ControlFlow::Continue(()));
            let mut learning_rate = 0.0;
            for (b, samples) in order.chunks(per_step).enumerate() {
                learning_rate = self.learning_rate();
                let step = self.step(&mut batch, data, samples, learning_rate)?;
                if !step.loss.is_finite() {
                    let loss = step.metrics().loss;
                    return Err(Error::Diverged { epoch, steps: self.progress.steps, loss });
                }
                tally += step;
                let (samples, metrics, seconds) = (tally.samples, tally.metrics(), start.elapsed().as_secs_f64());
                flow = observer.on_batch(&BatchEnd { epoch, epochs, batch: b, batches, samples, metrics, seconds });
                if flow.is_break() {
                    break;
                }
            }
            if !self.model.parameters().chain(self.model.running()).flatten().all(|p| p.is_finite()) {
                return Err(Error::Overflow { epoch, steps: self.progress.steps });
            }
            let validate = |data| self.model.evaluate_by(&self.recipe.loss, self.engine, data);
            let validation = validation.map(validate).transpose()?;
            if let Some(Metrics { loss, .. }) = validation.filter(|metrics| !metrics.loss.is_finite()) {
                return Err(Error::Diverged { epoch, steps: self.progress.steps, loss });
            }
            let (samples, metrics, seconds) = (tally.samples, tally.metrics(), start.elapsed().as_secs_f64());
            let end = EpochEnd { epoch, epochs, samples, metrics, validation, learning_rate, seconds };
            self.history.push(end);
            if self.judge(validation.unwrap_or(metrics).loss) {
                self.progress.goal = self.progress.epochs;
            }
            if let Some(file) = self.checkpoint.as_ref().filter(|_| flow.is_continue()) {
                self.save(file)?;
            }
            broken = observer.on_epoch(&end).is_break() || flow.is_break();
        }
        if self.progress.watch.best.is_some() && !self.best.is_empty() {
            let [parameters, running] = self.model.trained();
            let (best, means) = self.best.split_at(parameters.len());
            parameters.copy_from_slice(best);
            running.copy_from_slice(means);
            // What is left of a training that was broken off is in the last checkpoint.
            if let Some(file) = self.checkpoint.as_ref().filter(|_| !broken) {
                self.save(file)?;
            }
        }
        self.pending = false;
        Ok(self.history[known..].to_vec())
    }

    /// Takes in the loss of an epoch; tells whether it is time to stop.
    fn judge(&mut self, loss: f64) -> bool {
        self.progress.plateau.see(&self.recipe.schedule, loss);
        let Some(EarlyStopping { patience, min_delta }) = self.recipe.early_stopping else { return false };
        if self.progress.watch.improves(loss, min_delta) {
            let [parameters, running] = self.model.trained();
            let (best, means) = self.best.split_at_mut(parameters.len());
            best.copy_from_slice(parameters);
            means.copy_from_slice(running);
        }
        self.progress.watch.since >= patience.max(1)
    }

    /// That of the next step.
    fn learning_rate(&self) -> f32 {
        let factor = self.recipe.schedule.factor(self.progress.steps, self.progress.plateau.drops);
        (f64::from(self.recipe.optimiser.learning_rate()) * factor) as f32
    }

    /// One step: forward, loss, backward, optimiser. Where the loss is not finite, the parameters stay as they are, and
    /// so do the running means unless batches before it have gone into them.
    /// Allocates nothing.
    fn step(&mut self, batch: &mut Batch, data: &Dataset, samples: &[usize], rate: f32) -> Result<Tally> {
        let Self { model, recipe, engine, gradient, part, state, .. } = self;
        let (loss, scale) = (&recipe.loss, 1.0 / samples.len() as f32);
        let rule = recipe.optimiser.at_step(self.progress.steps + 1, rate);
        let early = recipe.takes_gradients_apart() && model.layers().iter().any(|layer| layer.weight_count() >= LARGE);
        let mut step = Some(Step { rule: &rule, state: rule.parts(state) });
        let mut tally = Tally::default();
        for (i, samples) in samples.chunks(recipe.batch).enumerate() {
            batch.load(model, *engine, data, samples.iter().copied())?;
            batch.load_targets(model, loss, data, samples.iter().copied());
            let number = self.progress.steps.wrapping_mul(recipe.accumulate as u64) + i as u64;
            batch.forward(model, *engine, Some(Noise { seed: recipe.seed, batch: number }))?;
            tally += batch.loss(model, *engine, loss, scale)?;
            if !tally.loss.is_finite() {
                return Ok(tally);
            }
            if i == 0 {
                batch.backward(model, *engine, gradient, step.take_if(|_| early))?;
            } else {
                batch.backward(model, *engine, part, None)?;
                zip(gradient.iter_mut(), part.iter()).for_each(|(sum, g)| *sum += g);
            }
            batch.learn(model);
        }
        if let Some(Step { rule, state }) = step {
            tally.loss += recipe.penalise(model, gradient) * samples.len() as f64;
            if !tally.loss.is_finite() {
                return Ok(tally);
            }
            if let Some(clip) = &recipe.clip {
                clip.apply(gradient);
            }
            engine.update(rule, gradient, model.parameters_mut(), state)?;
        }
        self.progress.steps += 1;
        let parameters = model.parameters_mut();
        self.zeros.iter().for_each(|&i| parameters[i] = 0.0);
        Ok(tally)
    }

    /// The order of an epoch depends on the seed and the epoch's number alone.
    fn shuffle(&mut self, order: &mut [usize]) {
        for (i, sample) in order.iter_mut().enumerate() {
            *sample = i;
        }
        Rng::new(self.recipe.seed, rng::SHUFFLE + self.progress.epochs).shuffle(order);
        self.progress.epochs += 1;
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
        self.progress.steps
    }

    /// What every epoch so far ended with, over all calls of [`Self::fit`] and all interruptions.
    pub fn history(&self) -> &[EpochEnd] {
        &self.history
    }

    /// Writes model and training to a file, whole or not at all. Between two epochs, the training goes on from there to
    /// the same bits.
    ///
    /// # Errors
    /// When the file can't be written, or a parameter is not finite: what was there before is still there.
    pub fn save(&self, file: impl AsRef<Path>) -> Result<()> {
        checkpoint::save(file.as_ref(), &self.model, Some(self))
    }

    /// Takes up a training where [`Self::save`] left it. The next [`Self::fit`] does what is left of the epochs; it
    /// takes the same data.
    ///
    /// # Errors
    /// When the file can't be read, is damaged, or holds a model alone.
    pub fn resume(file: impl AsRef<Path>, engine: &'e dyn Engine) -> Result<Self> {
        let file = file.as_ref();
        let (model, training) = checkpoint::load(file)?;
        let Some(training) = training else {
            return Err(checkpoint::error(file, "training", "is missing: the file holds a model alone"));
        };
        let whole = |_| checkpoint::error(file, "recipe", "does not fit the model");
        let mut trainer = Self::new(model, training.recipe, engine).map_err(whole)?;
        (trainer.state, trainer.best) = (training.state, training.best);
        (trainer.progress, trainer.history) = (training.progress, training.history);
        trainer.pending = true;
        Ok(trainer)
    }
}
