//! Training runs: who computes, what is printed meanwhile, the digest of the weights, equal steps for all.

use crate::console::Console;
use crate::contender::Contender;
use crate::error::{Error, Result};
use crate::interrupt::{self, Watch};
use crate::measure::{self, Samples};
use kernels::{Par, Precision, Team};
use nn::{
    BatchEnd, Dataset, Engine, EpochEnd, Kernels, LoopOrder, Metrics, Mlp, Mnist, Naive, Observer, Recipe, Trainer,
};
use sha2::{Digest, Sha256};
use std::io;
use std::ops::ControlFlow;
use std::time::Instant;

/// A contender and its threads. Naive loops use one, whatever the team.
pub struct Runner {
    /// Who it is.
    pub who: Contender,
    team: Team,
}

impl Runner {
    /// A contender with this many threads.
    pub fn new(who: Contender, threads: usize) -> Self {
        Self { who, team: Team::new(threads) }
    }

    /// How many threads it has.
    pub fn threads(&self) -> usize {
        self.team.threads()
    }

    /// The routines of this contender.
    ///
    /// # Panics
    /// For peers and blocked loops, which multiply but do not train.
    pub fn engine(&self) -> Box<dyn Engine + '_> {
        match self.who {
            Contender::NaiveLoop | Contender::NaiveIjk => Box::new(Naive { order: LoopOrder::Ijk }),
            Contender::NaiveIkj => Box::new(Naive { order: LoopOrder::Ikj }),
            Contender::Row(backend) | Contender::Team(backend, _) => {
                Box::new(Kernels { backend, par: &self.team, precision: Precision::F32 })
            }
            Contender::Precise(backend, precision, _) => Box::new(Kernels { backend, par: &self.team, precision }),
            Contender::NaiveBlocked | Contender::Peer(..) => panic!("{} does not train", self.who),
        }
    }
}

/// A model for this data: as many inputs as pixels, as many outputs as classes.
///
/// # Errors
/// When training it with batches of this size takes too much memory: running out of it is no error but the end.
pub fn model_for(data: &Mnist, hidden: &[usize], batch: usize, seed: u64) -> Result<Mlp> {
    const LIMIT: u32 = 4;
    let classes = data.train.classes().max(data.test.classes());
    let sizes = [&[data.train.features()], hidden, &[classes]].concat();
    let parameters: f64 = sizes.windows(2).map(|pair| (pair[0] as f64 + 1.0) * pair[1] as f64).sum();
    let values: f64 = sizes.iter().map(|&size| size as f64).sum::<f64>() * batch.min(data.train.len()) as f64;
    // The parameters, their gradient and two moments; the values of a batch and their gradients.
    let gib = (4.0 * parameters + 2.0 * values) * size_of::<f32>() as f64 / f64::from(1 << 30);
    if gib > f64::from(LIMIT) {
        return Err(Error::TooLarge { gib, limit: LIMIT });
    }
    Ok(Mlp::new(&sizes, seed)?)
}

/// SHA-256 of the parameters as little-endian bytes, layer by layer, weights then bias.
pub fn weights_sha256(model: &Mlp) -> String {
    let mut hash = Sha256::new();
    for parameters in model.parameters() {
        for x in parameters {
            hash.update(x.to_le_bytes());
        }
    }
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Trains, and prints a line for each epoch as Keras does; with validation data, after each epoch what these say.
///
/// # Errors
/// Those of the training; [`Error::Interrupted`] after Ctrl-C, at the end of the step.
pub fn fit(
    trainer: &mut Trainer<'_>,
    data: &Dataset,
    validation: Option<&Dataset>,
    console: &mut Console,
) -> Result<Vec<EpochEnd>> {
    let _watch = Watch::begin();
    console.begin_status();
    let mut lines = EpochLines { console, done: 0, batches: 0, shown: 0.0, failed: None };
    let history = trainer.fit_and_validate(data, validation, &mut lines)?;
    let failed = lines.failed;
    console.end();
    match failed {
        _ if interrupt::asked() => Err(Error::Interrupted),
        Some(error) => Err(error.into()),
        None => Ok(history),
    }
}

struct EpochLines<'a> {
    console: &'a Console,
    /// Steps of the epoch that are done, and all of them.
    done: usize,
    batches: usize,
    /// When the live line was last drawn, in seconds since the epoch began.
    shown: f64,
    failed: Option<io::Error>,
}

impl EpochLines<'_> {
    fn print(&mut self, line: std::fmt::Arguments<'_>) -> ControlFlow<()> {
        match self.console.line(line) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => {
                self.failed = Some(error);
                ControlFlow::Break(())
            }
        }
    }
}

impl Observer for EpochLines<'_> {
    fn on_batch(&mut self, event: &BatchEnd) -> ControlFlow<()> {
        if event.batch == 0 {
            self.batches = event.batches;
            self.shown = 0.0;
            self.print(format_args!("Epoch {}/{}", event.epoch + 1, event.epochs))?;
        }
        self.done = event.batch + 1;
        if event.seconds - self.shown > 0.1 {
            self.shown = event.seconds;
            self.console.status(keras_line(self.done, self.batches, event.seconds, &event.metrics));
        }
        if interrupt::asked() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    fn on_epoch(&mut self, event: &EpochEnd) -> ControlFlow<()> {
        self.console.status("");
        let mut line = keras_line(self.done, self.batches, event.seconds, &event.metrics);
        if let Some(Metrics { accuracy, loss }) = event.validation {
            line += &format!(" - val_accuracy: {accuracy:.4} - val_loss: {loss:.4}");
        }
        self.print(format_args!("{line}"))
    }
}

fn keras_line(done: usize, of: usize, seconds: f64, metrics: &Metrics) -> String {
    const BAR: usize = 20;
    let bar = "━".repeat(done * BAR / of.max(1));
    let step = seconds / done.max(1) as f64;
    let step = match step {
        s if s >= 1.0 => format!("{s:.0}s"),
        s if s >= 1e-3 => format!("{:.0}ms", s * 1e3),
        s => format!("{:.0}us", s * 1e6),
    };
    let Metrics { accuracy, loss } = metrics;
    format!("{done}/{of} {bar:<BAR$} {seconds:.0}s {step}/step - accuracy: {accuracy:.4} - loss: {loss:.4}")
}

/// A training run of a few steps.
pub struct Outcome {
    /// Seconds per sample, one figure for each round.
    pub samples: Samples,
    /// Loss and accuracy on the test set, computed by the runner's own engine.
    pub test: Metrics,
    /// Digest of the weights.
    pub weights: String,
}

/// How many steps all runners do.
#[derive(Debug, Clone, Copy)]
pub struct Steps {
    /// Turns that the runners take.
    pub rounds: usize,
    /// Steps in a turn.
    pub per_round: usize,
}

/// Trains the same model by all runners with the same steps, taking turns; the answer is in their order.
pub fn equal_steps(
    runners: &[Runner],
    model: &Mlp,
    data: &Mnist,
    recipe: Recipe,
    steps: Steps,
    console: &Console,
) -> Result<Vec<Outcome>> {
    let recipe = Recipe { epochs: 1, ..recipe };
    let portions = portions(&data.train, steps.per_round * recipe.batch, steps.rounds)?;
    let engines: Vec<_> = runners.iter().map(Runner::engine).collect();
    let mut trainers = engines
        .iter()
        .map(|engine| Trainer::new(model.clone(), recipe.clone(), engine.as_ref()))
        .collect::<nn::Result<Vec<_>>>()?;
    let samples = measure::rounds(
        recipe.seed,
        runners.len(),
        |done| done < portions.len(),
        |round, who| {
            let portion = &portions[round];
            let begin = Instant::now();
            trainers[who].fit(portion, &mut ())?;
            console.step();
            Ok::<_, nn::Error>(begin.elapsed().as_secs_f64() / portion.len() as f64)
        },
    )?;
    let outcomes = samples.into_iter().zip(trainers).zip(&engines).map(|((samples, trainer), engine)| {
        let test = trainer.model().evaluate(engine.as_ref(), &data.test)?;
        console.step();
        Ok(Outcome { samples, test, weights: weights_sha256(trainer.model()) })
    });
    outcomes.collect()
}

/// The first `count` portions of `size` samples, or what there is.
fn portions(data: &Dataset, size: usize, count: usize) -> nn::Result<Vec<Dataset>> {
    let samples: Vec<usize> = (0..data.len()).collect();
    let portion = |samples: &[usize]| {
        let images = samples.iter().flat_map(|&i| data.image(i)).copied().collect();
        let labels = samples.iter().map(|&i| data.labels()[i]).collect();
        Dataset::new(images, labels, data.height(), data.width())
    };
    samples.chunks(size.max(1)).take(count).map(portion).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_read_as_those_of_keras() {
        let metrics = Metrics { accuracy: 0.92653, loss: 0.25701 };
        assert_eq!(
            keras_line(1875, 1875, 0.3, &metrics),
            "1875/1875 ━━━━━━━━━━━━━━━━━━━━ 0s 160us/step - accuracy: 0.9265 - loss: 0.2570"
        );
        assert_eq!(
            keras_line(3, 4, 3.6, &metrics),
            "3/4 ━━━━━━━━━━━━━━━      4s 1s/step - accuracy: 0.9265 - loss: 0.2570"
        );
    }

    #[test]
    fn portions_cover_the_data_without_overlap() {
        let data = Dataset::new((0..10).collect(), vec![0; 10], 1, 1).unwrap();
        let sizes = |size, count| -> Vec<(usize, u8)> {
            portions(&data, size, count).unwrap().iter().map(|p| (p.len(), p.image(0)[0])).collect()
        };
        assert_eq!(sizes(4, 9), [(4, 0), (4, 4), (2, 8)]);
        assert_eq!(sizes(4, 2), [(4, 0), (4, 4)]);
    }
}
