//! What models, data and recipes tell about themselves, and calls that no other test makes.

use nn::quantize::{Calibration, Quantized};
use nn::{
    Activation, Adagrad, Cleaner, Dataset, Dense, Engine, Initialiser, Kernels, LoopOrder, Missing, Mlp, Monitor,
    Naive, Optimiser, Predictor, Recipe, Result, Schedule, Targets, Trainer, onnx,
};

const FEATURES: usize = 3;

fn data() -> Dataset {
    let numbers = (0..20 * FEATURES).map(|i| if i % FEATURES == 1 { 4.0 } else { (i * 7 % 13) as f32 - 6.0 });
    Dataset::from_numbers(numbers.collect(), FEATURES, Targets::Classes((0..20).map(|i| i % 2).collect())).unwrap()
}

fn model() -> Mlp {
    let layers = vec![Dense::new(FEATURES, 4, Activation::Tanh), Dense::new(4, 2, Activation::Identity)];
    Mlp::with_layers(layers, Initialiser::default(), 3)
        .unwrap()
        .with_labels(["even".to_owned(), "odd".to_owned()])
        .unwrap()
}

#[test]
fn data_tell_their_sizes() {
    let data = data();
    assert_eq!((data.len(), data.is_empty(), data.height(), data.width(), data.features()), (20, false, 1, 3, 3));
    let text = format!("{data:?}");
    assert!(text.contains("len: 20") && text.contains("classes: 2") && !text.contains("-6.0"), "{text}");
    assert_eq!(Cleaner::fit(&data, Missing::Mean, 0.0).unwrap().constant_features(), [1]);
}

/// Each form of a model gives probabilities and names, alone and together.
#[test]
fn forms_of_a_model_agree() -> Result<()> {
    let (model, data) = (model(), data());
    let (predictor, small) = (Predictor::new(&model)?, Quantized::new(&model, &data, Calibration::Percentile(0.0))?);
    assert_eq!((predictor.labels(), small.labels()), (model.labels(), model.labels()));
    let (mut one, mut other) = ([0.0; 40], [0.0; 40]);
    predictor.probabilities(data.samples(), &mut one)?;
    small.probabilities(data.samples(), &mut other)?;
    for (a, b) in one.chunks(2).zip(other.chunks(2)) {
        assert!((b[0] + b[1] - 1.0).abs() < 1e-6 && (a[0] - b[0]).abs() < 0.05, "{a:?} and {b:?}");
    }
    let mut first = [0.0; 2];
    predictor.probabilities(&data.numbers().unwrap()[..FEATURES], &mut first)?;
    assert_eq!(first, one[..2]);
    let mut monitor = Monitor::new(FEATURES, 2);
    monitor.observe(data.samples(), &one)?;
    assert_eq!((monitor.summary().samples(), monitor.summary().classes().iter().sum()), (20, 20_u64));
    let error = small.run(data.samples(), &mut first).unwrap_err().to_string();
    assert_eq!(error, "the outputs has length 2, but the other operands need 40");
    let error = small.classes(data.samples(), &mut [0; 3]).unwrap_err().to_string();
    assert_eq!(error, "the predictions has length 3, but the other operands need 20");
    Ok(())
}

#[test]
fn onnx_files_come_back() -> Result<()> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("model.onnx");
    onnx::save(&file, &model(), onnx::Input::Features, onnx::Output::Raw)?;
    let back = onnx::from_bytes(&std::fs::read(&file).unwrap(), &file)?;
    assert!(back.parameters().eq(model().parameters()));
    let missing = folder.path().join("missing").join("model.onnx");
    let error = onnx::save(&missing, &model(), onnx::Input::Features, onnx::Output::Raw).unwrap_err().to_string();
    assert!(error.starts_with(&format!("cannot write {}", missing.display())), "{error}");
    Ok(())
}

/// The preset: its schedule ends with the last step, and it learns.
#[test]
fn one_cycle_fits_its_training() -> Result<()> {
    let (data, engine) = (data(), Kernels::active()?);
    let recipe = Recipe::one_cycle(3, 8, data.len());
    let Schedule::OneCycle { steps, .. } = recipe.schedule else { panic!("{recipe:?}") };
    assert_eq!(steps, 9);
    let mut trainer = Trainer::new(model(), recipe, &engine)?;
    let before = trainer.model().evaluate(&engine, &data)?.loss;
    trainer.fit(&data, &mut ())?;
    assert_eq!(trainer.steps(), steps);
    assert!(trainer.model().evaluate(&engine, &data)?.loss < before);
    let Adagrad { learning_rate, epsilon } = Adagrad::default();
    assert_eq!((learning_rate, epsilon), (0.01, 1e-10));
    assert!(matches!(Optimiser::from(Adagrad::default()), Optimiser::Adagrad(_)));
    Ok(())
}

/// The plain loops against the kernels, where training does not call them.
#[test]
fn engines_agree() -> Result<()> {
    let (naive, kernels) = (Naive { order: LoopOrder::Ikj }, Kernels::active()?);
    let close = |a: &[f32], b: &[f32]| a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-5);
    let z: Vec<f32> = (0..12).map(|i| (i * 5 % 7) as f32 - 3.0).collect();
    let (mut a, mut b) = (z.clone(), z.clone());
    naive.softmax(4, &mut a)?;
    kernels.softmax(4, &mut b)?;
    assert!(close(&a, &b), "{a:?} {b:?}");
    for f in [Activation::Tanh, Activation::Gelu] {
        naive.activate(f, &z, &mut a)?;
        kernels.activate(f, &z, &mut b)?;
        assert!(close(&a, &b), "{a:?} {b:?}");
        let (mut da, mut db) = (vec![1.0; 12], vec![1.0; 12]);
        naive.activation_gradient(f, &a, &mut da)?;
        kernels.activation_gradient(f, &a, &mut db)?;
        assert!(close(&da, &db), "{f:?}: {da:?} {db:?}");
    }
    Ok(())
}
