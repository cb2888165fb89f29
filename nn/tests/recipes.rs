//! Trainings by other recipes than that of the reference program.

use kernels::{Backend, Serial, Team};
use nn::{
    Activation, Adam, AdamW, Clip, Dataset, Dense, Engine, Initialiser, Kernels, Loss, Metrics, Mlp, Norm, Penalty,
    Recipe, Result, RmsProp, Schedule, Sgd, Targets, Trainer,
};

/// Points of the plane, evenly spread.
fn plane(count: usize) -> impl Iterator<Item = [f32; 2]> {
    (0..count).map(|i| [i as f32 * 0.754_877_7, i as f32 * 0.569_840_3].map(|x| 2.0 * x.fract() - 1.0))
}

/// Two values of each point.
fn surface(count: usize) -> Dataset {
    let values = plane(count).flat_map(|[x, y]| [3.0 * x - 2.0 * y + 0.5, x * y]).collect();
    Dataset::from_numbers(plane(count).flatten().collect(), 2, Targets::Values { values, width: 2 }).unwrap()
}

/// Whether both coordinates have one sign.
fn quadrants(count: usize) -> Dataset {
    let labels = plane(count).map(|[x, y]| u32::from(x * y > 0.0)).collect();
    Dataset::from_numbers(plane(count).flatten().collect(), 2, Targets::Classes(labels)).unwrap()
}

fn bits(model: &Mlp) -> Vec<u32> {
    model.parameters().chain(model.running()).flatten().map(|p| p.to_bits()).collect()
}

fn train(engine: &dyn Engine, sizes: &[usize], data: &Dataset, recipe: Recipe) -> Result<Mlp> {
    let mut trainer = Trainer::new(Mlp::new(sizes, 1)?, recipe, engine)?;
    trainer.fit(data, &mut ())?;
    Ok(trainer.into_model())
}

#[test]
fn regressions_learn() -> Result<()> {
    let engine = Kernels::active()?;
    for (loss, bound) in [(Loss::MeanSquared, 0.002), (Loss::MeanAbsolute, 0.04), (Loss::Huber { delta: 0.5 }, 0.001)] {
        let optimiser = Adam { learning_rate: 0.01, ..Adam::default() }.into();
        let recipe = Recipe { epochs: 60, loss: loss.clone(), optimiser, ..Recipe::default() };
        let recipe = Recipe { schedule: Schedule::Cosine { warmup: 10, steps: 1200, floor: 0.01 }, ..recipe };
        let model = train(&engine, &[2, 32, 2], &surface(640), recipe)?;
        let Metrics { loss: found, accuracy } = model.evaluate_by(&loss, &engine, &surface(1000))?;
        assert!(found < bound && accuracy.is_nan(), "{loss:?}: {found}");
        let outputs = model.run(&engine, &surface(1000))?;
        let Targets::Values { values, width: 2 } = surface(1000).targets().clone() else { panic!() };
        let error = outputs.iter().zip(&values).map(|(y, t)| f64::from(y - t).powi(2)).sum::<f64>() / 2000.0;
        assert!((model.evaluate_by(&Loss::MeanSquared, &engine, &surface(1000))?.loss - error).abs() < 1e-6);
    }
    Ok(())
}

/// One output with the binary loss, two with the other: both answer the question.
#[test]
fn questions_are_answered() -> Result<()> {
    let engine = Kernels::active()?;
    for (loss, outputs) in [
        (Loss::BinaryCrossEntropy, 1),
        (Loss::BinaryCrossEntropy, 2),
        (Loss::CrossEntropy { smoothing: 0.05, class_weights: vec![1.0, 1.5] }, 2),
    ] {
        let optimiser = RmsProp { learning_rate: 0.01, ..RmsProp::default() }.into();
        let recipe = Recipe { epochs: 40, loss: loss.clone(), optimiser, ..Recipe::default() };
        let model = train(&engine, &[2, 16, outputs], &quadrants(640), recipe)?;
        let metrics = model.evaluate_by(&loss, &engine, &quadrants(1000))?;
        assert!(metrics.accuracy > 0.95, "{loss:?}: {metrics:?}");
    }
    Ok(())
}

/// Four batches of 8 make the step of one batch of 32, but for rounding; the last step has what is left.
#[test]
fn accumulated_batches_make_one_step() -> Result<()> {
    let engine = Kernels::active()?;
    let with = |batch, accumulate| {
        let optimiser = Sgd { learning_rate: 0.1, momentum: 0.5, nesterov: false }.into();
        let recipe = Recipe {
            batch,
            accumulate,
            optimiser,
            penalties: vec![Penalty { l1: 0.0, l2: 0.01 }],
            ..Recipe::default()
        };
        let mut trainer = Trainer::new(Mlp::new(&[2, 16, 2], 1)?, recipe, &engine)?;
        let history = trainer.fit(&quadrants(150), &mut ())?;
        assert_eq!(trainer.steps(), 25);
        Ok::<_, nn::Error>((trainer.into_model(), history))
    };
    let ((whole, a), (parts, b)) = (with(32, 1)?, with(8, 4)?);
    for (x, y) in whole.parameters().flatten().zip(parts.parameters().flatten()) {
        assert!((x - y).abs() < 1e-5, "{x} and {y}");
    }
    for (a, b) in a.iter().zip(&b) {
        assert!((a.metrics.loss - b.metrics.loss).abs() < 1e-6);
    }
    Ok(())
}

#[test]
fn penalties_make_weights_small_and_count_in_the_loss() -> Result<()> {
    let engine = Kernels::active()?;
    let size = |penalties: Vec<Penalty>| {
        let recipe = Recipe { epochs: 20, penalties, ..Recipe::default() };
        let model = train(&engine, &[2, 16, 2], &quadrants(320), recipe)?;
        let sizes: Vec<f32> = model.parameters().step_by(2).map(|w| w.iter().map(|w| w.abs()).sum()).collect();
        Ok::<_, nn::Error>(sizes)
    };
    let (l1, none) = (Penalty { l1: 0.02, l2: 0.0 }, Penalty::default());
    let (free, both, second) = (size(vec![])?, size(vec![l1])?, size(vec![none, l1])?);
    assert!(both[0] < 0.8 * free[0] && both[1] < 0.8 * free[1], "{free:?} {both:?}");
    assert!(second[0] > 0.9 * free[0] && second[1] < 0.8 * free[1], "{free:?} {second:?}");

    // Without steps, the loss of an epoch is that of an evaluation and the penalty.
    let optimiser = Sgd { learning_rate: 0.0, ..Sgd::default() }.into();
    let recipe = Recipe { epochs: 1, optimiser, penalties: vec![Penalty { l1: 0.5, l2: 0.25 }], ..Recipe::default() };
    let mut trainer = Trainer::new(Mlp::new(&[2, 16, 2], 1)?, recipe, &engine)?;
    let found = trainer.fit(&quadrants(100), &mut ())?[0].metrics.loss;
    let weights = trainer.model().parameters().step_by(2).flatten().map(|&w| f64::from(w));
    let cost: f64 = weights.map(|w| 0.5 * w.abs() + 0.25 * w * w).sum();
    let expected = trainer.model().evaluate(&engine, &quadrants(100))?.loss + cost;
    assert!((found - expected).abs() < 1e-6, "{found}, not {expected}");
    Ok(())
}

#[test]
fn schedules_set_the_learning_rate() -> Result<()> {
    let engine = Kernels::active()?;
    let optimiser = Sgd { learning_rate: 0.5, ..Sgd::default() }.into();
    // Ten steps in an epoch, the last of which is told.
    let recipe = Recipe { optimiser, schedule: Schedule::Step { every: 15, factor: 0.1 }, ..Recipe::default() };
    let mut trainer = Trainer::new(Mlp::new(&[2, 4, 2], 1)?, recipe, &engine)?;
    trainer.fit(&quadrants(320), &mut ())?;
    let rates: Vec<f32> = trainer.history().iter().map(|end| end.learning_rate).collect();
    let expected = [0.5, 0.05, 0.05, 0.005, 0.0005];
    assert!(rates.iter().zip(expected).all(|(x, y)| (x - y).abs() < 1e-9), "{rates:?}");
    Ok(())
}

/// Everything at once, on every row and with every number of threads.
#[test]
fn same_recipe_same_bits() -> Result<()> {
    let ce = Loss::CrossEntropy { smoothing: 0.1, class_weights: vec![1.0, 2.0] };
    for (loss, optimiser, data, activation, initialiser, norm) in [
        (ce, AdamW::default().into(), quadrants(300), Activation::Gelu, Initialiser::HeNormal, Norm::BATCH),
        (
            Loss::BinaryCrossEntropy,
            RmsProp::default().into(),
            quadrants(300),
            Activation::Tanh,
            Initialiser::LeCunNormal,
            Norm::LAYER,
        ),
        (
            Loss::Huber { delta: 0.1 },
            Sgd { momentum: 0.9, ..Sgd::default() }.into(),
            surface(300),
            Activation::Elu { alpha: 1.0 },
            Initialiser::GlorotNormal,
            Norm::None,
        ),
    ] {
        let recipe = Recipe {
            batch: 100,
            accumulate: 2,
            loss,
            optimiser,
            penalties: vec![Penalty { l1: 1e-3, l2: 1e-3 }],
            clip: Some(Clip::Norm(0.1)),
            schedule: Schedule::OneCycle { steps: 10, rise: 0.3, start: 0.04, end: 0.0 },
            ..Recipe::default()
        };
        let hidden = Dense { dropout: 0.3, norm, ..Dense::new(2, 200, activation) };
        let model = Mlp::with_layers(vec![hidden, Dense::new(200, 2, Activation::Identity)], initialiser, 1)?;
        let train = |engine: &dyn Engine, recipe: Recipe| -> Result<Vec<u32>> {
            let mut trainer = Trainer::new(model.clone(), recipe, engine)?;
            trainer.fit(&data, &mut ())?;
            Ok(bits(trainer.model()))
        };
        let mut common = None;
        for backend in Backend::supported().filter(|backend| backend.bits_match()) {
            for threads in 1..=3 {
                let found = train(
                    &Kernels { backend, par: &Team::new(threads), precision: Default::default() },
                    recipe.clone(),
                )?;
                let same = *common.get_or_insert_with(|| found.clone()) == found;
                assert!(same, "{} with {threads} threads gives other weights", backend.name());
            }
        }
        let backend = Backend::active()?;
        let other = Recipe { seed: 1, ..recipe };
        assert!(train(&Kernels { backend, par: &Serial, precision: Default::default() }, other)? != common.unwrap());
    }
    Ok(())
}

#[test]
fn initial_weights_have_their_variance() -> Result<()> {
    for (initialiser, variance, uniform) in [
        (Initialiser::GlorotUniform, 2.0_f64 / 500.0, true),
        (Initialiser::GlorotNormal, 2.0 / 500.0, false),
        (Initialiser::HeUniform, 2.0 / 300.0, true),
        (Initialiser::HeNormal, 2.0 / 300.0, false),
        (Initialiser::LeCunUniform, 1.0 / 300.0, true),
        (Initialiser::LeCunNormal, 1.0 / 300.0, false),
    ] {
        let model = Mlp::with(&[300, 200], Activation::Relu, initialiser, 0)?;
        let w: Vec<f64> = model.parameters().next().unwrap().iter().map(|&w| w.into()).collect();
        let moment = |k: i32| w.iter().map(|w| w.powi(k)).sum::<f64>() / w.len() as f64;
        assert!(moment(1).abs() < 0.02 * variance.sqrt(), "{initialiser:?}: mean {}", moment(1));
        assert!((moment(2) / variance - 1.0).abs() < 0.03, "{initialiser:?}: variance {}", moment(2));
        // The fourth moment tells the two apart: 9/5 and 3 times the square of the variance.
        let expected = if uniform { 1.8 } else { 3.0 };
        assert!((moment(4) / moment(2).powi(2) - expected).abs() < 0.1, "{initialiser:?}");
    }
    let model = Mlp::with(&[3, 2], Activation::Relu, Initialiser::Constant(0.5), 0)?;
    assert_eq!(model.parameters().flatten().copied().collect::<Vec<_>>(), [0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.0, 0.0]);
    Ok(())
}

#[test]
fn layers_that_make_no_model_are_errors() {
    let (identity, relu) = (Activation::Identity, Activation::Relu);
    let dropout = |dropout| Dense { dropout, ..Dense::new(2, 2, identity) };
    for (layers, expected) in [
        (
            vec![Dense::new(2, 2, relu)],
            "the last layer has an activation, a normalisation or dropout, but losses take logits",
        ),
        (vec![dropout(0.5)], "the last layer has an activation, a normalisation or dropout, but losses take logits"),
        (vec![dropout(1.0), Dense::new(2, 2, identity)], "dropout is 1, but must be in [0, 1)"),
        (
            vec![Dense::new(2, 3, relu), Dense::new(2, 2, identity)],
            "layer sizes [2, 3, 2, 2] make no model: at least inputs and outputs, none of them 0",
        ),
        (
            vec![Dense::new(2, 2, Activation::Elu { alpha: f32::NAN }), Dense::new(2, 2, identity)],
            "alpha is NaN, but must be finite",
        ),
    ] {
        let error = Mlp::with_layers(layers, Initialiser::default(), 0).err().unwrap();
        assert_eq!(error.to_string(), expected);
    }
    // As many parameters as can be counted, in any machine's words, but not stored.
    let wide = 1_usize << (usize::BITS / 2 - 1);
    let error = Mlp::new(&[wide, wide], 0).err().unwrap().to_string();
    assert_eq!(error, format!("there is no memory for a model of {} parameters", wide * wide + wide));
}

/// In training it is there, each time another; evaluation knows nothing of it.
#[test]
fn dropout_is_for_training_alone() -> Result<()> {
    let engine = Kernels::active()?;
    let layers = |dropout| {
        let hidden = Dense { dropout, ..Dense::new(2, 400, Activation::Sigmoid) };
        Mlp::with_layers(vec![hidden, Dense::new(400, 2, Activation::Identity)], Initialiser::default(), 1)
    };
    let (plain, dropped, data) = (layers(0.0)?, layers(0.5)?, quadrants(200));
    assert_eq!(plain.run(&engine, &data)?, dropped.run(&engine, &data)?);
    let loss = |model: Mlp, seed| {
        let optimiser = Sgd { learning_rate: 0.0, ..Sgd::default() }.into();
        let mut trainer = Trainer::new(model, Recipe { seed, epochs: 2, optimiser, ..Recipe::default() }, &engine)?;
        let history = trainer.fit(&data, &mut ())?;
        Ok::<_, nn::Error>([history[0].metrics.loss, history[1].metrics.loss])
    };
    let ([a, b], [c, _]) = (loss(dropped.clone(), 0)?, loss(dropped, 1)?);
    assert!(a != b && a != c, "other elements in each epoch and for each seed");
    // Noise costs, but not much among so many: the mean of each sum stays.
    let [without, _] = loss(plain, 0)?;
    assert!([a, b, c].iter().all(|x| (without..without + 0.3).contains(x)), "{a} {b} {c} {without}");
    Ok(())
}

#[test]
fn summaries_are_tables() -> Result<()> {
    let hidden = Dense { dropout: 0.2, norm: Norm::BATCH, ..Dense::new(784, 128, Activation::Relu) };
    let model = Mlp::with_layers(vec![hidden, Dense::new(128, 10, Activation::Identity)], Initialiser::default(), 0)?;
    let expected = "\
Layer                       Output            Parameters
dense 0, Relu               (n, 128)              100736
  batch normalisation       (n, 128)                    
dropout 0.2                 (n, 128)                   0
dense 1, Identity           (n, 10)                 1290
Total                                             102026
";
    assert_eq!(model.summary(), expected);
    Ok(())
}

#[test]
fn targets_that_do_not_fit_are_errors() -> Result<()> {
    let engine = Kernels::active()?;
    let error = |outputs: usize, loss: Loss, data: &Dataset| {
        let recipe = Recipe { loss, ..Recipe::default() };
        let mut trainer = Trainer::new(Mlp::new(&[2, outputs], 0)?, recipe, &engine)?;
        trainer.fit(data, &mut ())?;
        Ok::<_, nn::Error>(())
    };
    let three = Dataset::from_numbers(vec![0.0; 4], 2, Targets::Classes(vec![1, 2]))?;
    for (outputs, loss, data, expected) in [
        (3, Loss::MeanSquared, &surface(5), "the samples of <memory> have 2 targets each, but the model has 3 outputs"),
        (3, Loss::default(), &surface(5), "the samples of <memory> have 2 targets each, but the model has 3 outputs"),
        (
            1,
            Loss::BinaryCrossEntropy,
            &three,
            "label 2 of sample 1 in <memory> is not below the 2 classes of the model",
        ),
        (
            2,
            Loss::CrossEntropy { smoothing: 0.0, class_weights: vec![1.0; 2] },
            &surface(5),
            "number of class_weights is 2, but must be none where targets are values",
        ),
        (2, Loss::MeanSquared, &three, "label 2 of sample 1 in <memory> is not below the 2 classes of the model"),
    ] {
        assert_eq!(error(outputs, loss, data).unwrap_err().to_string(), expected);
    }
    error(1, Loss::MeanSquared, &three)?;
    for (numbers, width, targets) in [
        (5, 2, Targets::Classes(vec![0, 0])),
        (4, 2, Targets::Values { values: vec![0.0; 3], width: 2 }),
        (4, 2, Targets::Values { values: vec![], width: 0 }),
    ] {
        assert!(matches!(Dataset::from_numbers(vec![0.0; numbers], width, targets), Err(nn::Error::Rows { .. })));
    }
    Ok(())
}

/// Two samples of two features go through a layer whose sums are 0 and 2, and 1 and 5: mean 1 and 3, variance 1 and 4.
#[test]
fn running_means_by_hand() -> Result<()> {
    let engine = Kernels::active()?;
    let norm = Norm::Batch { momentum: 0.75, epsilon: 1.0 };
    let layers = vec![Dense { norm, ..Dense::new(1, 2, Activation::Identity) }, Dense::new(2, 1, Activation::Identity)];
    let model = Mlp::with_layers(layers, Initialiser::Constant(1.0), 0)?;
    let data = Dataset::from_numbers(vec![1.0, 3.0], 1, Targets::Values { values: vec![0.0; 2], width: 1 })?;
    // Before any step, running means are 0 and 1, so x / √2 twice is what comes in: twice x / √2.
    let before = model.run(&engine, &data)?;
    assert!((before[0] - 2f32.sqrt()).abs() < 1e-6 && (before[1] - 3.0 * 2f32.sqrt()).abs() < 1e-6, "{before:?}");
    let optimiser = Sgd { learning_rate: 0.0, ..Sgd::default() }.into();
    let recipe = Recipe { epochs: 1, loss: Loss::MeanSquared, optimiser, ..Recipe::default() };
    let mut trainer = Trainer::new(model, recipe, &engine)?;
    // In the batch, x̂ is -1 / √2 and 1 / √2, and the output their sum: ∓√2, squared 2.
    assert!((trainer.fit(&data, &mut ())?[0].metrics.loss - 2.0).abs() < 1e-6);
    // Mean 2 and variance 1 of the batch enter by a quarter: .5 and 1.
    let running: Vec<&[f32]> = trainer.model().running().collect();
    assert_eq!(running, [[0.5, 0.5], [1.0, 1.0]]);
    let after = trainer.model().run(&engine, &data)?;
    assert!((after[0] - 0.5 * 2f32.sqrt()).abs() < 1e-6, "{after:?}");
    Ok(())
}

/// What normalisation over the batch has learned fits into weights and biases.
#[test]
fn folded_models_put_out_the_same() -> Result<()> {
    let engine = Kernels::active()?;
    let with = |norm| {
        let hidden = Dense { norm, ..Dense::new(2, 16, Activation::Tanh) };
        let model = Mlp::with_layers(vec![hidden, Dense::new(16, 2, Activation::Identity)], Initialiser::default(), 1)?;
        let mut trainer = Trainer::new(model, Recipe::default(), &engine)?;
        trainer.fit(&quadrants(320), &mut ())?;
        Ok::<_, nn::Error>(trainer.into_model())
    };
    let model = with(Norm::BATCH)?;
    assert!(model.running().flatten().all(|&x| x != 0.0 && x != 1.0));
    let folded = model.folded()?;
    assert_eq!((folded.running().count(), folded.parameters().count()), (0, 4));
    for (a, b) in model.run(&engine, &quadrants(100))?.iter().zip(folded.run(&engine, &quadrants(100))?) {
        assert!((a - b).abs() < 1e-5, "{a} and {b}");
    }
    let error = with(Norm::LAYER)?.folded().err().map(|error| error.to_string());
    assert_eq!(
        error.as_deref(),
        Some("layer 0 is normalised over its outputs, which can't be written into its weights")
    );
    Ok(())
}
