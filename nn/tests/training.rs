//! Whole trainings, on a few hundred real samples.

use kernels::{Backend, Serial, Team};
use nn::{
    Activation, Adam, AdamW, BatchEnd, Clip, Dataset, Dense, Engine, EpochEnd, Initialiser, Kernels, LoopOrder,
    Metrics, Mlp, Naive, Norm, Observer, Optimiser, Recipe, Result, Sgd, Trainer,
};
use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::OnceLock;

/// The test set of MNIST: it loads faster than the training set, and serves as well here.
fn mnist() -> &'static Dataset {
    static DATA: OnceLock<Dataset> = OnceLock::new();
    DATA.get_or_init(|| {
        let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/../data/mnist");
        let file = |name| format!("{dir}/t10k-{name}-ubyte.gz");
        Dataset::from_idx(file("images-idx3"), file("labels-idx1")).unwrap()
    })
}

/// Trains on the first `samples`, from the same seed for weights and order.
fn train(engine: &dyn Engine, sizes: &[usize], samples: usize, epochs: usize, seed: u64) -> Result<Mlp> {
    let recipe = Recipe { epochs, seed, ..Recipe::default() };
    let mut trainer = Trainer::new(Mlp::new(sizes, seed)?, recipe, engine)?;
    trainer.fit(&mnist().head(samples), &mut ())?;
    Ok(trainer.into_model())
}

fn bits(model: &Mlp) -> Vec<u32> {
    model.parameters().flatten().map(|p| p.to_bits()).collect()
}

/// Small batches, and one large enough for threads to share the work.
#[test]
fn same_seed_same_bits() -> Result<()> {
    // 300 samples: the last batch of 32 has 12.
    for (batch, hidden) in [(32, 128), (300, 256)] {
        let run = |engine: &dyn Engine, seed| -> Result<Vec<u32>> {
            let recipe = Recipe { epochs: 2, batch, seed, ..Recipe::default() };
            let mut trainer = Trainer::new(Mlp::new(&[784, hidden, 40, 10], seed)?, recipe, engine)?;
            trainer.fit(&mnist().head(300), &mut ())?;
            Ok(bits(trainer.model()))
        };
        let mut common = None;
        for backend in Backend::supported() {
            // A row without fused multiply-add has bits of its own, but they too are the same for all thread counts.
            let expected = if backend.bits_match() { &mut common } else { &mut None };
            for threads in 1..=3 {
                let found = run(&Kernels { backend, par: &Team::new(threads), precision: Default::default() }, 0)?;
                let same = *expected.get_or_insert_with(|| found.clone()) == found;
                assert!(same, "{} with {threads} threads gives other weights", backend.name());
            }
            assert!(
                run(&Kernels { backend, par: &Serial, precision: Default::default() }, 1)?
                    != *expected.as_ref().unwrap()
            );
        }
    }
    Ok(())
}

/// A layer so large that it makes its step as soon as it has its gradient, against steps of all parameters together:
/// those of a recipe that asks for the gradient as a whole, though it does nothing to it.
#[test]
fn large_layers_make_the_same_steps_by_themselves() -> Result<()> {
    let run = |engine: &dyn Engine, optimiser: &Optimiser, clip: Option<Clip>| -> Result<Vec<u32>> {
        let recipe = Recipe { epochs: 2, batch: 128, optimiser: *optimiser, clip, ..Recipe::default() };
        let hidden = Dense { norm: Norm::BATCH, dropout: 0.1, ..Dense::new(784, 200, Activation::Silu) };
        let layers = vec![hidden, Dense::new(200, 10, Activation::Identity)];
        let model = Mlp::with_layers(layers, Initialiser::default(), 0)?;
        let mut trainer = Trainer::new(model, recipe, engine)?;
        trainer.fit(&mnist().head(300), &mut ())?;
        Ok(bits(trainer.model()))
    };
    let nesterov = Sgd { momentum: 0.9, nesterov: true, ..Sgd::default() };
    for optimiser in [Sgd::default().into(), nesterov.into(), AdamW::default().into()] {
        let naive = Naive { order: LoopOrder::Ikj };
        let together = Some(Clip::Value(f32::MAX));
        assert!(run(&naive, &optimiser, None)? == run(&naive, &optimiser, together)?, "naive, {optimiser:?}");
        for backend in Backend::supported() {
            let serial = Kernels { backend, par: &Serial, precision: Default::default() };
            let expected = run(&serial, &optimiser, together)?;
            for threads in 1..=3 {
                let found = run(&Kernels { par: &Team::new(threads), ..serial }, &optimiser, None)?;
                assert!(found == expected, "{} with {threads} threads, {optimiser:?}", backend.name());
            }
        }
    }
    Ok(())
}

#[test]
fn learns() -> Result<()> {
    let kernels = Kernels::active()?;
    let naive = Naive { order: LoopOrder::Ikj };
    let unseen = Dataset::new(
        (1000..2000).flat_map(|i| mnist().image(i)).copied().collect(),
        mnist().labels()[1000..2000].to_vec(),
        28,
        28,
    )?;
    let engines: [&dyn Engine; 2] = [&kernels, &naive];
    let mut results = Vec::new();
    for engine in engines {
        let model = train(engine, &[784, 32, 10], 1000, 8, 0)?;
        let Metrics { loss, accuracy } = model.evaluate(engine, &unseen)?;
        assert!(accuracy > 0.82 && loss < 0.6, "accuracy {accuracy}, loss {loss}");
        results.push(accuracy);
    }
    // Rounding parts the two, not more.
    assert!((results[0] - results[1]).abs() <= 0.01, "{results:?}");
    Ok(())
}

#[test]
fn untrained_models_know_nothing() -> Result<()> {
    let engine = Kernels::active()?;
    let blank = Dataset::new(vec![0; 784 * 10], (0..10).collect(), 28, 28)?;
    let metrics = Mlp::new(&[784, 128, 10], 0)?.evaluate(&engine, &blank)?;
    // Zero inputs and zero bias: all logits 0, all classes equal, the first is taken.
    assert!((metrics.loss - 10f64.ln()).abs() < 1e-6, "{metrics:?}");
    assert_eq!(metrics.accuracy, 0.1);
    Ok(())
}

#[test]
fn initial_weights_are_glorot_uniform() -> Result<()> {
    let model = Mlp::new(&[784, 128, 10], 0)?;
    assert_eq!((model.inputs(), model.classes(), model.parameter_count()), (784, 10, 101_770));
    let activations: Vec<_> = model.layers().iter().map(|layer| layer.activation).collect();
    assert_eq!(activations, [Activation::Relu, Activation::Identity]);
    let parts: Vec<_> = model.parameters().collect();
    assert_eq!(parts.iter().map(|part| part.len()).collect::<Vec<_>>(), [100_352, 128, 1280, 10]);
    for (w, b, sizes) in [(parts[0], parts[1], 784 + 128), (parts[2], parts[3], 128 + 10)] {
        let range = (6.0 / f64::from(sizes)).sqrt();
        let mean = w.iter().map(|&w| f64::from(w)).sum::<f64>() / w.len() as f64;
        let square = w.iter().map(|&w| f64::from(w * w)).sum::<f64>() / w.len() as f64;
        assert!(w.iter().all(|&w| f64::from(w.abs()) <= range * 1.000_001));
        assert!(mean.abs() < 0.03 * range, "mean {mean}");
        // The variance of a uniform distribution on [-r, r) is r² / 3.
        assert!((square / (range * range / 3.0) - 1.0).abs() < 0.05, "mean square {square}");
        assert!(b.iter().all(|&b| b == 0.0));
    }
    // The first word of the seed's key stream is 0x2fef003e (see `rng`); its upper 24 bits make the first weight.
    let first = (2.0 * (f64::from(0x2f_ef00) / f64::from(1 << 24)) as f32 - 1.0) * (6.0 / 912_f64).sqrt() as f32;
    assert_eq!(parts[0][0], first);
    assert_eq!(bits(&model), bits(&Mlp::new(&[784, 128, 10], 0)?));
    assert_ne!(bits(&model), bits(&Mlp::new(&[784, 128, 10], 1)?));
    Ok(())
}

#[test]
fn sizes_that_make_no_model_are_errors() {
    for sizes in [&[][..], &[5], &[5, 0], &[0, 5], &[5, 0, 3], &[usize::MAX, 2], &[1 << 40, 1 << 40]] {
        let error = Mlp::new(sizes, 0).err().map(|error| error.to_string());
        let expected = format!("layer sizes {sizes:?} make no model: at least inputs and outputs, none of them 0");
        assert_eq!(error, Some(expected));
    }
}

/// Keeps every event.
#[derive(Default)]
struct Log {
    batches: Vec<BatchEnd>,
    epochs: Vec<EpochEnd>,
    stop_after_batches: Option<usize>,
    stop_after_epochs: Option<usize>,
}

fn flow(count: usize, stop: Option<usize>) -> ControlFlow<()> {
    if Some(count) == stop { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
}

impl Observer for Log {
    fn on_batch(&mut self, event: &BatchEnd) -> ControlFlow<()> {
        self.batches.push(*event);
        flow(self.batches.len(), self.stop_after_batches)
    }
    fn on_epoch(&mut self, event: &EpochEnd) -> ControlFlow<()> {
        self.epochs.push(*event);
        flow(self.epochs.len(), self.stop_after_epochs)
    }
}

fn observe(log: &mut Log, samples: usize) -> Result<(Vec<EpochEnd>, u64)> {
    let engine = Kernels::active()?;
    let recipe = Recipe { epochs: 3, batch: 4, ..Recipe::default() };
    let mut trainer = Trainer::new(Mlp::new(&[784, 8, 10], 0)?, recipe, &engine)?;
    Ok((trainer.fit(&mnist().head(samples), log)?, trainer.steps()))
}

#[test]
fn the_last_smaller_batch_counts() -> Result<()> {
    let mut log = Log::default();
    let (history, steps) = observe(&mut log, 10)?;
    assert_eq!((steps, log.batches.len()), (9, 9));
    let seen: Vec<_> = log.batches.iter().map(|e| (e.epoch, e.epochs, e.batch, e.batches, e.samples)).collect();
    assert_eq!(seen[..4], [(0, 3, 0, 3, 4), (0, 3, 1, 3, 8), (0, 3, 2, 3, 10), (1, 3, 0, 3, 4)]);
    assert_eq!(history, log.epochs);
    for (epoch, end) in history.iter().enumerate() {
        let last = &log.batches[3 * epoch + 2];
        assert_eq!((end.epoch, end.epochs, end.samples, end.metrics), (epoch, 3, 10, last.metrics));
        assert!(end.seconds >= last.seconds);
    }
    // A batch larger than the data is all of them.
    let mut log = Log::default();
    observe(&mut log, 3)?;
    assert_eq!((log.batches.len(), log.batches[0].samples), (3, 3));
    Ok(())
}

/// With a learning rate of 0, an epoch ends with the metrics of an evaluation, whatever the order; and the way there
/// tells that the order is another for each epoch and seed.
#[test]
fn an_epoch_sees_every_sample_once_in_a_new_order() -> Result<()> {
    let engine = Kernels::active()?;
    let data = mnist().head(101);
    let mut log = Log::default();
    for seed in 0..2 {
        let optimiser = Adam { learning_rate: 0.0, ..Adam::default() }.into();
        let recipe = Recipe { epochs: 2, batch: 8, seed, optimiser, ..Recipe::default() };
        let mut trainer = Trainer::new(Mlp::new(&[784, 8, 10], 0)?, recipe, &engine)?;
        let expected = trainer.model().evaluate(&engine, &data)?;
        for _ in 0..2 {
            for EpochEnd { metrics, .. } in trainer.fit(&data, &mut log)? {
                assert_eq!(metrics.accuracy, expected.accuracy);
                assert!((metrics.loss - expected.loss).abs() < 1e-9, "{} and {}", metrics.loss, expected.loss);
            }
        }
    }
    let firsts: BTreeSet<_> = log.batches.iter().filter(|e| e.batch == 0).map(|e| e.metrics.loss.to_bits()).collect();
    assert_eq!(firsts.len(), 8);
    Ok(())
}

#[test]
fn observers_can_break_off() -> Result<()> {
    let mut log = Log { stop_after_batches: Some(4), ..Log::default() };
    let (history, steps) = observe(&mut log, 10)?;
    assert_eq!(steps, 4);
    assert_eq!(history.iter().map(|end| end.samples).collect::<Vec<_>>(), [10, 4]);
    assert_eq!(history, log.epochs);

    let mut log = Log { stop_after_epochs: Some(2), ..Log::default() };
    let (history, steps) = observe(&mut log, 10)?;
    assert_eq!((history.len(), steps), (2, 6));
    Ok(())
}

/// Three epochs at once, or three times one epoch: the same bits.
#[test]
fn fit_goes_on_where_it_left_off() -> Result<()> {
    let engine = Kernels::active()?;
    let data = mnist().head(50);
    let new = |epochs| {
        let recipe = Recipe { epochs, ..Recipe::default() };
        Trainer::new(Mlp::new(&[784, 8, 10], 0)?, recipe, &engine)
    };
    let (mut once, mut thrice) = (new(3)?, new(1)?);
    once.fit(&data, &mut ())?;
    for _ in 0..3 {
        thrice.fit(&data, &mut ())?;
    }
    assert_eq!(bits(once.model()), bits(thrice.model()));
    Ok(())
}

/// A sample's prediction does not depend on the samples beside it.
#[test]
fn predictions_are_the_same_alone_and_in_company() -> Result<()> {
    let engine = Kernels::active()?;
    let model = train(&engine, &[784, 32, 10], 300, 2, 0)?;
    let data = mnist().head(600);
    let (classes, probabilities) = (model.predict(&engine, &data)?, model.probabilities(&engine, &data)?);
    assert_eq!((classes.len(), probabilities.len()), (600, 6000));
    for i in [0, 1, 255, 256, 599] {
        let alone = Dataset::new(data.image(i).to_vec(), vec![0], 28, 28)?;
        assert_eq!(model.predict(&engine, &alone)?, [classes[i]]);
        assert_eq!(model.probabilities(&engine, &alone)?, probabilities[10 * i..][..10]);
    }
    let mut correct = 0;
    for ((p, &class), &label) in probabilities.chunks_exact(10).zip(&classes).zip(data.labels()) {
        assert!((p.iter().sum::<f32>() - 1.0).abs() < 1e-5);
        assert!(p.iter().all(|&x| x <= p[class as usize]));
        correct += usize::from(class == label);
    }
    assert_eq!(model.evaluate(&engine, &data)?.accuracy, correct as f64 / 600.0);
    Ok(())
}
