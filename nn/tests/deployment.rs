//! Models in 8 bits, pruned models, and the monitor: on MNIST, and on what is made to go wrong.

use nn::monitor::{Report, Thresholds};
use nn::prune::{Scope, prune, sparsity};
use nn::quantize::Calibration;
use nn::{
    Activation, Dataset, Dense, Error, Initialiser, Kernels, Mlp, Mnist, Monitor, Predictor, Quantized, Recipe, Result,
    Scaler, Scaling, Targets, Trainer,
};
use proptest::prelude::*;
use std::fs;
use std::path::Path;
use std::sync::OnceLock;
use std::time::Duration;

const MNIST: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../data/mnist");

/// The data, and a model after one epoch.
fn mnist() -> &'static (Mnist, Mlp) {
    static MNIST_AND_MODEL: OnceLock<(Mnist, Mlp)> = OnceLock::new();
    MNIST_AND_MODEL.get_or_init(|| {
        let (mnist, engine) = (Mnist::load(MNIST).unwrap(), Kernels::active().unwrap());
        let config = Recipe { epochs: 1, ..Recipe::default() };
        let mut trainer = Trainer::new(Mlp::new(&[784, 128, 10], 0).unwrap(), config, &engine).unwrap();
        trainer.fit(&mnist.train, &mut ()).unwrap();
        (mnist, trainer.into_model())
    })
}

fn accuracy(classes: &[u32], data: &Dataset) -> f64 {
    classes.iter().zip(data.labels()).filter(|(a, b)| a == b).count() as f64 / data.len() as f64
}

fn predict(model: &Mlp, data: &Dataset) -> f64 {
    let mut classes = vec![0; data.len()];
    Predictor::new(model).unwrap().classes(data.samples(), &mut classes).unwrap();
    accuracy(&classes, data)
}

fn wave(count: usize) -> Vec<f32> {
    (0..count).map(|i| (i as f32 * 1.7).sin() * 3.0).collect()
}

fn numbers(x: Vec<f32>, width: usize) -> Dataset {
    let labels = vec![0; x.len() / width];
    Dataset::from_numbers(x, width, Targets::Classes(labels)).unwrap()
}

/// Layers of all kinds, a scaler, names.
fn small() -> Mlp {
    let f = [Activation::Relu, Activation::Tanh, Activation::LeakyRelu { alpha: 0.1 }, Activation::Gelu];
    let sizes = [9, 20, 17, 30, 12];
    let hidden = f.iter().zip(sizes.windows(2)).map(|(&f, pair)| Dense::new(pair[0], pair[1], f));
    let layers = hidden.chain([Dense::new(12, 3, Activation::Identity)]).collect();
    let model = Mlp::with_layers(layers, Initialiser::HeNormal, 1).unwrap();
    let scaler = Scaler::fit(&numbers(wave(900), 9), Scaling::Standard).unwrap();
    model.with_scaler(scaler).unwrap().with_labels(["a", "b", "c"]).unwrap()
}

#[test]
fn eight_bits_on_mnist() -> Result<()> {
    let (mnist, model) = mnist();
    let dir = tempfile::tempdir().unwrap();
    let (whole, small) = (dir.path().join("f32"), dir.path().join("int8"));
    model.save(&whole)?;
    let exact = predict(model, &mnist.test);
    for calibration in [Calibration::MinMax, Calibration::Percentile(1e-4)] {
        let quantized = Quantized::new(model, &mnist.train.head(1000), calibration)?;
        quantized.save(&small)?;
        let mut classes = vec![0; mnist.test.len()];
        Quantized::load(&small)?.classes(mnist.test.samples(), &mut classes)?;
        let found = accuracy(&classes, &mnist.test);
        assert!(found > exact - 0.0015, "{calibration:?}: {found} after {exact}");
        let [whole, small] = [&whole, &small].map(|file| fs::metadata(file).unwrap().len() as f64);
        assert!(whole / small > 3.8, "{whole} and {small} bytes");
    }
    Ok(())
}

#[test]
fn eight_bits_are_near_and_come_back_as_they_were() -> Result<()> {
    let (model, dir) = (small(), tempfile::tempdir().unwrap());
    let (x, file) = (wave(9 * 200), dir.path().join("model"));
    let quantized = Quantized::new(&model, &numbers(x.clone(), 9), Calibration::MinMax)?;
    let (mut exact, mut found, mut again) = (vec![0.0; 600], vec![0.0; 600], vec![0.0; 600]);
    Predictor::new(&model)?.run(&x, &mut exact)?;
    quantized.run(&x, &mut found)?;
    let size = exact.iter().fold(0.0_f32, |max, y| max.max(y.abs()));
    let error = exact.iter().zip(&found).fold(0.0_f32, |max, (a, b)| max.max((a - b).abs()));
    assert!(error > 0.0 && error < 0.05 * size, "{error} of {size}");

    quantized.save(&file)?;
    let loaded = Quantized::load(&file)?;
    loaded.run(&x, &mut again)?;
    assert_eq!(found, again);
    assert_eq!(loaded.labels(), model.labels());
    // Alone as in a batch.
    loaded.run(&x[9..18], &mut again[..3])?;
    assert_eq!(found[3..6], again[..3]);
    Ok(())
}

/// By hand: two inputs of 0 to 2.55, so a scale of 0.01; weights with a scale of 1.
#[test]
fn the_formula_is_the_documented_one() -> Result<()> {
    let model = {
        use safetensors::tensor::{Dtype, TensorView, serialize};
        let bytes = |x: &[f32]| x.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<u8>>();
        let (w, b) = (bytes(&[127.0, -0.4, -3.0, 127.0]), bytes(&[0.5, 0.0]));
        let w = TensorView::new(Dtype::F32, vec![2, 2], &w).unwrap();
        let b = TensorView::new(Dtype::F32, vec![2], &b).unwrap();
        let bytes = serialize([("0.weight", w), ("0.bias", b)], None).unwrap();
        let layout = nn::export::Layout::InputsOutputs;
        nn::export::safetensors_from_bytes(&bytes, Path::new("model"), layout, Activation::Relu)?
    };
    let sample = numbers(vec![0.0, 2.55, 2.55, 0.0], 2);
    let quantized = Quantized::new(&model, &sample, Calibration::MinMax)?;
    let mut y = [0.0; 2];
    // 1.004 is 100 steps, 9 is the most there are; -0.4 is no step of a weight.
    quantized.run(&[1.004_f32, 9.0], &mut y)?;
    let scale = (2.55_f32 / 255.0) * 1.0;
    assert_eq!(y, [(100 * 127 - 3 * 255) as f32 * scale + 0.5, (127 * 255) as f32 * scale]);
    Ok(())
}

/// As in f32, and without harm to the samples beside it.
#[test]
fn a_sample_with_nan_has_nan_outputs() -> Result<()> {
    let model = small();
    let quantized = Quantized::new(&model, &numbers(wave(900), 9), Calibration::MinMax)?;
    let mut x = wave(27);
    let (mut before, mut after, mut exact) = ([0.0; 9], [0.0; 9], [0.0; 9]);
    quantized.run(&x, &mut before)?;
    x[13] = f32::NAN;
    quantized.run(&x, &mut after)?;
    Predictor::new(&model)?.run(&x, &mut exact)?;
    assert!(after[3..6].iter().chain(&exact[3..6]).all(|y| y.is_nan()), "{after:?}, {exact:?}");
    assert!(after[..3] == before[..3] && after[6..] == before[6..], "{before:?}, {after:?}");
    Ok(())
}

#[test]
fn damaged_files_of_eight_bits() -> Result<()> {
    let (dir, file) = (tempfile::tempdir().unwrap(), Path::new("model"));
    let path = dir.path().join("model");
    Quantized::new(&small(), &numbers(wave(900), 9), Calibration::MinMax)?.save(&path)?;
    let good = fs::read(&path).unwrap();
    let says = |bytes: &[u8]| Quantized::from_bytes(bytes, file).err().map(|error| error.to_string());
    assert_eq!(says(&good), None);
    for length in 0..good.len() {
        assert!(says(&good[..length]).is_some_and(|error| error.starts_with("model: ")));
    }
    // The checksum knows every bit of metadata and tensors; what is left is JSON around them.
    for i in 0..good.len() {
        let mut bytes = good.clone();
        bytes[i] ^= 1 << (i % 8);
        assert!(says(&bytes).is_none_or(|error| error.starts_with("model: ")));
    }
    small().save(&path)?;
    let error = says(&fs::read(&path).unwrap()).unwrap();
    assert_eq!(error, "model: holds a saved model, not a model in 8 bits");

    let empty = Quantized::new(&small(), &numbers(vec![], 9), Calibration::MinMax).err().unwrap();
    assert!(matches!(empty, Error::Empty { .. }));
    let share = Quantized::new(&small(), &numbers(wave(90), 9), Calibration::Percentile(0.5)).err().unwrap();
    assert!(share.to_string().contains("0.5"), "{share}");
    let nan = Quantized::new(&small(), &numbers(vec![f32::NAN; 9], 9), Calibration::MinMax).err().unwrap();
    assert!(nan.to_string().contains("NaN"), "{nan}");
    // Sizes are looked at before numbers.
    let long = Mlp::new(&[1, 66_312, 2], 0)?;
    let long = Quantized::new(&long, &numbers(vec![f32::NAN], 1), Calibration::MinMax).err().unwrap();
    assert!(long.to_string().starts_with("inputs of a layer in 8 bits is 66312"), "{long}");
    Ok(())
}

#[test]
fn pruned_on_mnist() -> Result<()> {
    let (mnist, model) = mnist();
    let engine = Kernels::active()?;
    let pruned = prune(model, 0.8, Scope::Global)?;
    let (before, cut) = (predict(model, &mnist.test), predict(&pruned, &mnist.test));
    let config = Recipe { epochs: 1, seed: 1, ..Recipe::default() };
    let mut trainer = Trainer::new(pruned, config, &engine)?.keep_zeros();
    trainer.fit(&mnist.train, &mut ())?;
    let tuned = trainer.into_model();
    let after = predict(&tuned, &mnist.test);
    assert!(after > before - 0.003 && after > cut, "{before}, pruned {cut}, tuned {after}");
    assert!((sparsity(&tuned) - 0.8).abs() < 1e-4, "{}", sparsity(&tuned));
    Ok(())
}

#[test]
fn the_smallest_go() -> Result<()> {
    let model = small();
    let weights = |model: &Mlp| model.parameters().step_by(2).map(<[f32]>::to_vec).collect::<Vec<_>>();
    let zeros = |w: &[f32]| w.iter().filter(|&&w| w == 0.0).count();
    for scope in [Scope::Global, Scope::PerLayer] {
        for share in [0.0, 0.3, 0.77, 1.0] {
            let pruned = prune(&model, share, scope)?;
            let (before, after) = (weights(&model), weights(&pruned));
            let groups = match scope {
                Scope::Global => vec![(before.concat(), after.concat())],
                Scope::PerLayer => before.into_iter().zip(after).collect(),
            };
            for (before, after) in groups {
                assert_eq!(zeros(&after), (share * before.len() as f64) as usize);
                let kept = after.iter().filter(|&&w| w != 0.0).fold(f32::INFINITY, |min, w| min.min(w.abs()));
                for (&before, &after) in before.iter().zip(&after) {
                    assert!(after == before || after == 0.0 && before.abs() <= kept);
                }
            }
            assert!(model.parameters().skip(1).step_by(2).eq(pruned.parameters().skip(1).step_by(2)), "biases stay");
        }
        assert!(prune(&model, 1.1, scope).is_err() && prune(&model, f64::NAN, scope).is_err());
    }
    Ok(())
}

/// A monitor that has seen these.
fn seen(model: &Mlp, data: &Dataset) -> Monitor {
    let mut monitor = Monitor::new(model.inputs(), model.outputs());
    let mut probabilities = vec![0.0; data.len() * model.outputs()];
    Predictor::new(model).unwrap().probabilities(data.samples(), &mut probabilities).unwrap();
    monitor.observe(data.samples(), &probabilities).unwrap();
    monitor
}

/// The test images, each pixel changed by its value, row, column and a number that looks like chance.
fn changed(data: &Dataset, f: impl Fn(&dyn Fn(usize, usize) -> u8, usize, usize, i32) -> u8) -> Dataset {
    let (mut images, mut state) = (Vec::new(), 1_u32);
    for i in 0..data.len() {
        let image = data.image(i);
        let at = |row: usize, col: usize| if row < 28 && col < 28 { image[row * 28 + col] } else { 0 };
        for (row, col) in (0..28).flat_map(|row| (0..28).map(move |col| (row, col))) {
            // The sum of two uniform numbers.
            let mut next = || {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (state >> 24) as i32
            };
            images.push(f(&at, row, col, next() + next() - 255));
        }
    }
    Dataset::new(images, data.labels().into(), 28, 28).unwrap()
}

#[test]
fn the_monitor_hears_what_harms_and_keeps_quiet_otherwise() -> Result<()> {
    let (mnist, model) = mnist();
    let (dir, test) = (tempfile::tempdir().unwrap(), &mnist.test);
    let file = dir.path().join("model");
    model.clone().with_reference(seen(model, &mnist.train).summary().clone())?.save(&file)?;
    let model = Mlp::load(&file)?;
    let reference = model.reference().expect("it is in the file");
    assert_eq!(reference, seen(&model, &mnist.train).summary());
    let report = |data: &Dataset| seen(&model, data).report(reference, &Thresholds::default()).unwrap();

    let quiet = [test.clone(), test.head(1000), test.select(4000..4600), mnist.train.head(2000)];
    for data in &quiet {
        let report = report(data);
        assert!(report.alarms.is_empty() && report.samples == data.len() as u64, "{report:?}");
    }
    for (name, data) in [
        ("shifted by 3", changed(test, |at, row, col, _| at(row.wrapping_sub(3), col))),
        ("shifted by 3 to the left", changed(test, |at, row, col, _| at(row, col + 3))),
        ("inverted", changed(test, |at, row, col, _| 255 - at(row, col))),
        ("noise", changed(test, |at, row, col, noise| (i32::from(at(row, col)) + noise / 2).clamp(0, 255) as u8)),
        ("one digit", test.select((0..test.len()).filter(|&i| test.labels()[i] == 3))),
    ] {
        let report = report(&data);
        assert!(!report.alarms.is_empty(), "{name}: {report:?}");
    }
    let few = report(&changed(&test.head(100), |at, row, col, _| 255 - at(row, col)));
    assert!(few.alarms.is_empty() && few.feature_shift > 1.0, "{few:?}");
    Ok(())
}

/// The mean of equal values depends on their number, by roundings.
#[test]
fn a_pixel_that_never_changes_has_not_moved() -> Result<()> {
    let seen = |pixel: u8, count| {
        let mut monitor = Monitor::new(1, 1);
        monitor.observe(vec![pixel; count].as_slice(), &vec![1.0; count]).unwrap();
        monitor
    };
    for pixel in 0..=255 {
        let reference = seen(pixel, 777);
        let report = seen(pixel, 5000).report(reference.summary(), &Thresholds::default())?;
        assert!(report.worst_feature_shift == 0.0, "{pixel}: {report:?}");
    }
    let report = seen(51, 5000).report(seen(50, 777).summary(), &Thresholds::default())?;
    assert!(report.worst_feature_shift > 1.0, "{report:?}");
    assert!(Monitor::new(0, 3).observe(&[0_u8; 0], &[]).is_ok());
    Ok(())
}

/// Against the definitions, on numbers, with values that are missing.
#[test]
fn figures_by_hand() -> Result<()> {
    let nan = f32::NAN;
    let x = [1.0, 5.0, 2.0, nan, 3.0, f32::INFINITY, 6.0, 5.0];
    let p = [0.9, 0.1, 0.25, 0.75, 0.5, 0.5, nan, nan];
    let mut monitor = Monitor::new(2, 2);
    monitor.observe(&x, &p)?;
    for nanoseconds in [1, 1000, 1000, 1_000_000] {
        monitor.observe_latency(Duration::from_nanos(nanoseconds));
    }
    let summary = monitor.summary();
    assert_eq!((summary.samples(), summary.classes()), (4, &[2, 1][..]));
    assert_eq!((summary.feature(0), summary.feature(1)), ((3.0, 3.5), (5.0, 0.0)));

    let mut then = Monitor::new(2, 2);
    then.observe(&[1.0_f32, 5.0, 3.0, 5.0], &[0.9, 0.1, 0.1, 0.9])?;
    let report = monitor.report(then.summary(), &Thresholds { min_samples: 0, ..Thresholds::default() })?;
    let near = |a: f64, b: f64| assert!((a - b).abs() < 1e-6, "{a}, not {b}");
    // Means 3 and 2, variances 3.5 and 1.
    near(report.worst_feature_shift, 1.0 / 2.25_f64.sqrt());
    near(report.feature_shift, (1.0 / 2.25 / 2.0_f64).sqrt());
    near(report.missing, 2.0 / 8.0);
    near(report.invalid, 0.25);
    near(report.prediction_psi, (2.0 / 3.0 - 0.5) * (4.0_f64 / 3.0).ln() + (1.0 / 3.0 - 0.5) * (2.0_f64 / 3.0).ln());
    // All of the reference is at 0.9, two of three are below.
    near(report.confidence_ks, 2.0 / 3.0);
    near(report.mean_confidence, (0.9 + 0.75 + 0.5) / 3.0);
    let entropy = |p: f64| -p * p.ln() - (1.0 - p) * (1.0 - p).ln();
    near(report.mean_entropy, (entropy(0.9) + entropy(0.75) + entropy(0.5)) / 3.0);
    let latency = report.latency.unwrap();
    assert_eq!((latency.count, latency.max), (4, 1e-3));
    assert!((1e-6..1.125e-6).contains(&latency.p50) && latency.p99 == 1e-3, "{latency:?}");
    let figures: Vec<_> = report.alarms.iter().map(|alarm| alarm.figure).collect();
    assert!(figures.contains(&"missing") && figures.contains(&"invalid"), "{figures:?}");

    let json: serde_json::Value = serde_json::from_str(&report.to_json()).unwrap();
    assert_eq!((&json["samples"], &json["predictions"]), (&4.into(), &vec![2, 1].into()));
    let text = report.to_prometheus(&["one".into(), "t\"wo\\".into()]);
    for line in [
        "nn_samples_total 4\n",
        "# TYPE nn_predictions_total counter\nnn_predictions_total{class=\"one\"} 2\n",
        "nn_predictions_total{class=\"t\\\"wo\\\\\"} 1\n",
        "nn_drift{figure=\"missing\"} 0.25\n",
        "nn_alarm{figure=\"missing\"} 1\n",
        "nn_latency_seconds_count 4\n",
    ] {
        assert!(text.contains(line), "{line:?} is not in {text}");
    }
    assert!(monitor.observe(&[1.0_f32], &[]).is_err() && monitor.observe(&[1.0_f32, 2.0], &[0.5]).is_err());
    assert!(monitor.merge(&Monitor::new(2, 3)).is_err());
    assert!(monitor.report(Monitor::new(2, 2).summary(), &Thresholds::default()).is_err());
    assert!(small().with_reference(monitor.summary().clone()).is_err());
    // Nothing seen is nothing to complain about.
    let nothing = Monitor::new(2, 2).report(then.summary(), &Thresholds { min_samples: 0, ..Thresholds::default() })?;
    assert_eq!((nothing.alarms.len(), nothing.confidence_ks), (0, 0.0));
    Ok(())
}

proptest! {
    /// Threads that each see a part know as much together as one that sees all.
    #[test]
    fn monitors_add_up(p in prop::collection::vec(0.0..1.0_f32, 1..40), cut in any::<prop::sample::Index>()) {
        let both: Vec<f32> = p.iter().flat_map(|&p| [p, 1.0 - p]).collect();
        let x: Vec<f32> = p.iter().map(|p| (p * 64.0).round()).collect();
        let cut = cut.index(p.len());
        let see = |from: usize, to: usize| {
            let mut monitor = Monitor::new(1, 2);
            monitor.observe(&x[from..to], &both[2 * from..2 * to]).unwrap();
            (from..to).for_each(|i| monitor.observe_latency(Duration::from_micros(i as u64)));
            monitor
        };
        let (whole, mut parts) = (see(0, p.len()), see(0, cut));
        parts.merge(&see(cut, p.len())).unwrap();
        let report = |monitor: &Monitor| monitor.report(whole.summary(), &Thresholds::default()).unwrap();
        let (whole, parts) = (report(&whole), report(&parts));
        // Sums of entropies depend on their order in the last bits.
        let about = |report: Report| Report { mean_entropy: 0.0, mean_confidence: 0.0, ..report };
        prop_assert!((whole.mean_entropy - parts.mean_entropy).abs() < 1e-12);
        prop_assert!((whole.mean_confidence - parts.mean_confidence).abs() < 1e-12);
        prop_assert_eq!(about(whole), about(parts));
    }
}
