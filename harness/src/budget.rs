//! Where the time of a training step goes.

use crate::measure;
use crate::stats::Estimate;
use kernels::Update;
use nn::engine::Shape;
use nn::{Activation, Dataset, Engine, Kernels, Mlp, Recipe, Result, Trainer};
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::Serialize;
use std::cell::RefCell;
use std::time::{Duration, Instant};

/// A part of a step.
#[derive(Debug, Clone, Serialize)]
pub struct Part {
    /// What is done, and with which sizes.
    pub name: String,
    /// Of a step.
    pub seconds: Estimate,
    /// Share of the step.
    pub share: f64,
    /// Floating-point operations of a step; none for what is no product.
    pub operations: f64,
}

/// The time of a training step and of its parts.
#[derive(Debug, Clone, Serialize)]
pub struct Budget {
    /// The row of the kernels' table.
    pub row: &'static str,
    /// In which products were computed.
    pub precision: &'static str,
    /// Widths of the layers, inputs first.
    pub widths: Vec<usize>,
    /// Samples in a step.
    pub batch: usize,
    /// Threads.
    pub threads: usize,
    /// Steps that were timed.
    pub steps: usize,
    /// Of a step.
    pub seconds: Estimate,
    /// How many times as fast as the first engine, by the ratios within rounds; none for that one itself.
    pub over_first: Option<Estimate>,
    /// In the order in which a step does them; what no part has is the last.
    pub parts: Vec<Part>,
}

/// Trains a network of these widths on noise for about so long, by all engines in turns; the answer is in their order.
///
/// # Errors
/// When a width or the batch is 0.
pub fn measure(engines: &[Kernels<'_>], widths: &[usize], batch: usize, time: Duration) -> Result<Vec<Budget>> {
    const STEPS: usize = 10;
    const EPOCH: usize = 60_000;
    let mut rng = ChaCha8Rng::seed_from_u64(0);
    let (inputs, classes) = (widths.first().copied().unwrap_or(0), widths.last().copied().unwrap_or(0));
    let model = Mlp::new(widths, 0)?;
    let samples = batch * STEPS;
    // Each round takes others, of as many as MNIST has, so that they come from as far away.
    let portions = EPOCH.min(EPOCH * 28 * 28 / inputs.max(1)) / samples.max(1);
    let data = (0..portions.max(1)).map(|_| {
        let mut images = vec![0; samples * inputs];
        rng.fill_bytes(&mut images);
        let labels = (0..samples).map(|_| rng.random_range(0..classes as u32)).collect();
        Dataset::new(images, labels, 1, inputs)
    });
    let data = data.collect::<Result<Vec<_>>>()?;
    let recipe = Recipe { epochs: 1, batch, ..Recipe::default() };
    let watches: Vec<_> = engines.iter().map(|&engine| Stopwatch { engine, laps: RefCell::default() }).collect();
    let trainers = watches.iter().map(|watch| Trainer::new(model.clone(), recipe.clone(), watch));
    let mut trainers = trainers.collect::<Result<Vec<_>>>()?;
    for trainer in &mut trainers {
        trainer.fit(&data[0], &mut ())?;
    }

    // Seconds of a step that each part of each engine has taken, round by round; last those that no part has.
    let mut each: Vec<_> = watches.iter().map(|watch| vec![Vec::new(); watch.laps.borrow().len() + 1]).collect();
    let start = Instant::now();
    let whole = measure::rounds(
        0,
        engines.len(),
        |done| done < 3 || start.elapsed() < time,
        |round, who| {
            watches[who].laps.borrow_mut().iter_mut().for_each(|lap| lap.time = Duration::ZERO);
            let begin = Instant::now();
            trainers[who].fit(&data[round % data.len()], &mut ())?;
            let whole = begin.elapsed().as_secs_f64() / STEPS as f64;
            let mut rest = whole;
            for (lap, times) in watches[who].laps.borrow().iter().zip(&mut each[who]) {
                let seconds = lap.time.as_secs_f64() / STEPS as f64;
                times.push(seconds);
                rest -= seconds;
            }
            each[who].last_mut().expect("the rest").push(rest);
            Ok::<_, nn::Error>(whole)
        },
    )?;
    let budgets = engines.iter().zip(&watches).zip(&each).zip(&whole).enumerate();
    let budgets = budgets.map(|(i, (((engine, watch), each), samples))| {
        let seconds = samples.estimate();
        let laps = watch.laps.borrow();
        let named = laps.iter().map(|lap| (lap.name(), lap.operations()));
        let named = named.chain([("shuffling, loading, bookkeeping".to_owned(), 0.0)]);
        let parts = named.zip(each).map(|((name, operations), times)| {
            let estimate = Estimate::of(times);
            Part { name, seconds: estimate, share: estimate.median / seconds.median, operations }
        });
        Budget {
            row: engine.backend.name(),
            precision: engine.precision.name(),
            widths: widths.to_vec(),
            batch,
            threads: engine.par.threads(),
            steps: each[0].len() * STEPS,
            seconds,
            over_first: (i > 0).then(|| samples.speed_up_over(&whole[0])),
            parts: parts.collect(),
        }
    });
    Ok(budgets.collect())
}

/// An engine that takes the time of each routine of another.
struct Stopwatch<'a> {
    engine: Kernels<'a>,
    laps: RefCell<Vec<Lap>>,
}

struct Lap {
    routine: &'static str,
    /// m, k and n of a product.
    product: Option<[usize; 3]>,
    time: Duration,
}

impl Stopwatch<'_> {
    fn lap<R>(&self, routine: &'static str, product: Option<[usize; 3]>, work: impl FnOnce() -> R) -> R {
        let begin = Instant::now();
        let result = work();
        let time = begin.elapsed();
        let mut laps = self.laps.borrow_mut();
        match laps.iter_mut().find(|lap| (lap.routine, lap.product) == (routine, product)) {
            Some(lap) => lap.time += time,
            None => laps.push(Lap { routine, product, time }),
        }
        result
    }
}

impl Lap {
    fn name(&self) -> String {
        self.product.map_or(self.routine.to_owned(), |[m, k, n]| format!("{} {m}x{k}x{n}", self.routine))
    }

    fn operations(&self) -> f64 {
        self.product.map_or(0.0, |sizes| 2.0 * sizes.iter().map(|&size| size as f64).product::<f64>())
    }
}

impl Engine for Stopwatch<'_> {
    fn scale_bytes(&self, bytes: &[u8], scale: f32, out: &mut [f32]) -> Result<()> {
        self.lap("pixels to numbers", None, || self.engine.scale_bytes(bytes, scale, out))
    }

    fn dense(&self, shape: Shape, x: &[f32], w: &[f32], b: &[f32], f: Activation, y: &mut [f32]) -> Result<()> {
        let product = [shape.rows, shape.inputs, shape.outputs];
        self.lap("layer", Some(product), || self.engine.dense(shape, x, w, b, f, y))
    }

    fn weight_gradient(&self, shape: Shape, x: &[f32], dy: &[f32], dw: &mut [f32]) -> Result<()> {
        let product = [shape.inputs, shape.rows, shape.outputs];
        self.lap("weight gradient", Some(product), || self.engine.weight_gradient(shape, x, dy, dw))
    }

    fn bias_gradient(&self, shape: Shape, dy: &[f32], db: &mut [f32]) -> Result<()> {
        self.lap("bias gradient", None, || self.engine.bias_gradient(shape, dy, db))
    }

    fn input_gradient(&self, shape: Shape, dy: &[f32], w: &[f32], dx: &mut [f32]) -> Result<()> {
        let product = [shape.rows, shape.outputs, shape.inputs];
        self.lap("input gradient", Some(product), || self.engine.input_gradient(shape, dy, w, dx))
    }

    fn activate(&self, f: Activation, z: &[f32], y: &mut [f32]) -> Result<()> {
        self.lap("activation", None, || self.engine.activate(f, z, y))
    }

    fn activation_gradient(&self, f: Activation, saved: &[f32], dy: &mut [f32]) -> Result<()> {
        self.lap("activation gradient", None, || self.engine.activation_gradient(f, saved, dy))
    }

    fn layer_norm(
        &self,
        learned: [&[f32]; 2],
        epsilon: f32,
        h: &mut [f32],
        z: &mut [f32],
        scales: &mut [f32],
    ) -> Result<()> {
        self.lap("layer normalisation", None, || self.engine.layer_norm(learned, epsilon, h, z, scales))
    }

    fn layer_norm_gradient(
        &self,
        gamma: &[f32],
        x: &[f32],
        scales: &[f32],
        dz: &mut [f32],
        gradient: [&mut [f32]; 2],
    ) -> Result<()> {
        self.lap("layer normalisation gradient", None, || {
            self.engine.layer_norm_gradient(gamma, x, scales, dz, gradient)
        })
    }

    fn softmax(&self, classes: usize, logits: &mut [f32]) -> Result<()> {
        self.lap("softmax", None, || self.engine.softmax(classes, logits))
    }

    fn softmax_cross_entropy(
        &self,
        classes: usize,
        logits: &mut [f32],
        labels: &[u32],
        scale: f32,
        losses: &mut [f32],
    ) -> Result<()> {
        self.lap("softmax and loss", None, || self.engine.softmax_cross_entropy(classes, logits, labels, scale, losses))
    }

    fn update(&self, rule: &Update, gradient: &[f32], parameters: &mut [f32], state: [&mut [f32]; 2]) -> Result<()> {
        self.lap("optimiser", None, || self.engine.update(rule, gradient, parameters, state))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kernels::Precision;

    #[test]
    fn the_parts_make_up_the_step() {
        let engine = Kernels::active().unwrap();
        let bf16 = Kernels { precision: Precision::Bf16, ..engine };
        let budgets = measure(&[engine, bf16], &[12, 9, 3], 4, Duration::ZERO).unwrap();
        assert_eq!(budgets.iter().map(|budget| budget.precision).collect::<Vec<_>>(), ["f32", "bf16"]);
        assert_eq!(budgets.iter().map(|budget| budget.over_first.is_some()).collect::<Vec<_>>(), [false, true]);
        for budget in budgets {
            assert_eq!((budget.steps, budget.batch), (30, 4));
            let of = |name: &str| budget.parts.iter().find(|part| part.name == name).map(|part| part.operations);
            assert_eq!(of("layer 4x12x9"), Some(2.0 * 4.0 * 12.0 * 9.0));
            assert_eq!(of("weight gradient 12x4x9"), of("layer 4x12x9"));
            assert_eq!(of("input gradient 4x3x9"), Some(216.0));
            assert_eq!(of("input gradient 4x9x12"), None, "nobody needs that of the pixels");
            assert!(of("optimiser").is_some());
            let medians: f64 = budget.parts.iter().map(|part| part.seconds.median).sum();
            assert!(budget.parts.iter().all(|part| part.seconds.median >= 0.0) && medians > 0.0);
        }
    }
}
