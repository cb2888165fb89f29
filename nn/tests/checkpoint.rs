//! Trainings that are interrupted, and files that are damaged in every way that can be told.

use flate2::Crc;
use nn::{
    Activation, Adam, AdamW, BatchEnd, Clip, Dataset, Dense, EarlyStopping, EpochEnd, Error, Initialiser, Kernels, Mlp,
    Norm, Observer, Penalty, Recipe, Result, RmsProp, Schedule, Sgd, Targets, Trainer,
};
use safetensors::tensor::{Dtype, SafeTensors, TensorView, serialize};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::fs::{self, File};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;
use tempfile::TempDir;

/// Points on two moons; the labels of the last few are wrong, so that a validation on them gets worse.
fn points(count: usize, seed: f64) -> Dataset {
    let angle = |i: usize| (i as f64 * 0.754_877 + seed).fract() * std::f64::consts::PI;
    let numbers = (0..count).flat_map(|i| {
        let (x, y) = (angle(i).cos() as f32, angle(i).sin() as f32);
        if i % 2 == 0 { [x, y] } else { [1.0 - x, 0.5 - y] }
    });
    let labels = (0..count as u32).map(|i| if i % 7 == 0 { (i + 1) % 2 } else { i % 2 });
    Dataset::from_numbers(numbers.collect(), 2, Targets::Classes(labels.collect())).unwrap()
}

fn bits(model: &Mlp) -> Vec<u32> {
    model.parameters().chain(model.running()).flatten().map(|p| p.to_bits()).collect()
}

/// Without the time, which is another in each run.
fn timeless(history: &[EpochEnd]) -> Vec<EpochEnd> {
    history.iter().map(|end| EpochEnd { seconds: 0.0, ..*end }).collect()
}

/// Keeps the checkpoint of each epoch, under its number.
struct Keep<'a>(&'a Path);

impl Observer for Keep<'_> {
    fn on_epoch(&mut self, end: &EpochEnd) -> ControlFlow<()> {
        fs::copy(self.0.join("latest"), self.0.join(end.epoch.to_string())).unwrap();
        ControlFlow::Continue(())
    }
}

fn recipes() -> Vec<Recipe> {
    let base = Recipe { epochs: 5, batch: 8, ..Recipe::default() };
    vec![
        base.clone(),
        Recipe {
            seed: 7,
            accumulate: 3,
            clip: Some(Clip::Norm(0.5)),
            penalties: vec![Penalty { l1: 1e-4, l2: 1e-3 }],
            optimiser: AdamW { decay: 0.1, ..AdamW::default() }.into(),
            schedule: Schedule::Cosine { warmup: 4, steps: 20, floor: 0.1 },
            ..base.clone()
        },
        Recipe {
            optimiser: Sgd { learning_rate: 0.3, momentum: 0.9, nesterov: true }.into(),
            schedule: Schedule::OnPlateau { patience: 1, factor: 0.5, floor: 0.0, min_delta: 0.01 },
            early_stopping: Some(EarlyStopping { patience: 2, min_delta: 0.0 }),
            ..base.clone()
        },
        Recipe {
            optimiser: RmsProp::default().into(),
            early_stopping: Some(EarlyStopping { patience: 9, min_delta: 0.0 }),
            ..base
        },
    ]
}

#[test]
fn resumed_is_unbroken() -> Result<()> {
    let engine = Kernels::active()?;
    let (data, validation) = (points(45, 0.0), points(20, 0.3));
    let dir = tempfile::tempdir().unwrap();
    for (recipe, norm) in recipes().into_iter().zip([Norm::None, Norm::BATCH, Norm::BATCH, Norm::LAYER]) {
        let file = dir.path().join("latest");
        let hidden = Dense { dropout: 0.25, norm, ..Dense::new(2, 6, Activation::Gelu) };
        let layers = vec![hidden, Dense::new(6, 2, Activation::Identity)];
        let model = Mlp::with_layers(layers, Initialiser::HeNormal, 3)?;
        let mut whole = Trainer::new(model, recipe.clone(), &engine)?.checkpoints(&file);
        let epochs = whole.fit_and_validate(&data, Some(&validation), &mut Keep(dir.path()))?.len();
        assert!(epochs > 2);
        // From that of the last epoch on, nothing is left but to put the best weights back.
        for epoch in 0..epochs {
            let mut resumed = Trainer::resume(dir.path().join(epoch.to_string()), &engine)?;
            assert_eq!(resumed.history().len(), epoch + 1);
            let rest = resumed.fit_and_validate(&data, Some(&validation), &mut ())?;
            assert_eq!(rest.len(), epochs - epoch - 1);
            assert!(bits(resumed.model()) == bits(whole.model()), "{recipe:?} after epoch {epoch}");
            assert_eq!(timeless(resumed.history()), timeless(whole.history()));
            assert_eq!(resumed.steps(), whole.steps());
        }
        // The last checkpoint holds what the training ended with; from there too, both go on alike.
        assert_eq!(bits(&Mlp::load(&file)?), bits(whole.model()));
        let mut again = Trainer::resume(&file, &engine)?;
        assert!(again.fit_and_validate(&data, Some(&validation), &mut ())?.is_empty());
        for trainer in [&mut again, &mut whole] {
            trainer.fit_and_validate(&data, Some(&validation), &mut ())?;
        }
        assert!(bits(again.model()) == bits(whole.model()), "{recipe:?} twice");
    }
    Ok(())
}

#[test]
fn early_stopping_puts_the_best_back() -> Result<()> {
    let engine = Kernels::active()?;
    let (data, validation) = (points(45, 0.0), points(20, 0.3));
    let recipe = Recipe {
        epochs: 200,
        batch: 8,
        optimiser: Adam { learning_rate: 0.003, ..Adam::default() }.into(),
        early_stopping: Some(EarlyStopping { patience: 5, min_delta: 0.0 }),
        ..Recipe::default()
    };
    let mut trainer = Trainer::new(Mlp::new(&[2, 32, 2], 0)?, recipe, &engine)?;
    let history = trainer.fit_and_validate(&data, Some(&validation), &mut ())?;
    let losses: Vec<f64> = history.iter().map(|end| end.validation.unwrap().loss).collect();
    let best = (0..losses.len()).min_by(|&a, &b| losses[a].total_cmp(&losses[b])).unwrap();
    assert!((5..194).contains(&best), "{losses:?}");
    assert_eq!(losses.len(), best + 1 + 5);
    assert_eq!(trainer.model().evaluate(&engine, &validation)?.loss, losses[best]);
    Ok(())
}

#[test]
fn divergence_stops_and_keeps_the_last_good_checkpoint() -> Result<()> {
    let engine = Kernels::active()?;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("run");
    // The rate grows a millionfold: the second epoch, from step 6, can't go well.
    let recipe = Recipe {
        batch: 8,
        optimiser: Sgd { learning_rate: 1e25, ..Sgd::default() }.into(),
        schedule: Schedule::OneCycle { steps: 7, rise: 0.99, start: 0.0, end: 1.0 },
        ..Recipe::default()
    };
    let start = Mlp::new(&[2, 6, 2], 0)?;
    start.save(&file)?;
    let mut trainer = Trainer::new(start.clone(), recipe, &engine)?.checkpoints(&file);
    let error = trainer.fit(&points(45, 0.0), &mut ()).unwrap_err();
    let Error::Diverged { epoch: 0, steps, loss } = error else { panic!("{error}") };
    assert!((1..7).contains(&steps) && !loss.is_finite());
    assert_eq!(error.to_string(), format!("the loss is {loss} in epoch 1, step {} of the training", steps + 1));
    assert_eq!((trainer.steps(), trainer.history()), (steps, &[][..]));
    assert_eq!(bits(&Mlp::load(&file)?), bits(&start));

    // A value that is missing: nothing has moved yet.
    let numbers = vec![0.0, 1.0, f32::NAN, 0.0];
    let data = Dataset::from_numbers(numbers, 2, Targets::Classes(vec![0, 1]))?;
    let mut trainer = Trainer::new(start.clone(), Recipe::default(), &engine)?;
    let error = trainer.fit(&data, &mut ()).unwrap_err().to_string();
    assert_eq!(error, "the loss is NaN in epoch 1, step 1 of the training");
    assert_eq!(bits(trainer.model()), bits(&start));
    Ok(())
}

#[test]
fn a_file_is_written_whole_or_not_at_all() -> Result<()> {
    let dir = tempfile::tempdir().unwrap();
    let model = Mlp::new(&[2, 3, 2], 0)?;
    let missing = dir.path().join("missing").join("model");
    let error = model.save(&missing).unwrap_err().to_string();
    assert!(error.starts_with(&format!("cannot write {}: ", missing.display())), "{error}");

    // A folder can't be replaced by a file; what was written beside it goes away.
    let taken = dir.path().join("taken");
    fs::create_dir(&taken).unwrap();
    fs::write(taken.join("something"), "").unwrap();
    assert!(matches!(model.save(&taken), Err(Error::Write { .. })));
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);

    let file = dir.path().join("model");
    model.save(&file)?;
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
    let first = fs::read(&file).unwrap();
    model.save(&file)?;
    assert_eq!(fs::read(&file).unwrap(), first, "the same model makes the same file");
    Ok(())
}

/// Names the file that [`checkpoints_without_end`] writes.
const VICTIM: &str = "CHECKPOINT_OF_THE_KILLED";

/// What [`a_killed_program_leaves_a_whole_file`] starts, to be killed: a training that is saved after each of many
/// epochs.
#[test]
#[ignore = "started by another test"]
fn checkpoints_without_end() -> Result<()> {
    let Ok(file) = std::env::var(VICTIM) else { return Ok(()) };
    let engine = Kernels::active()?;
    let recipe = Recipe { epochs: usize::MAX, ..Recipe::default() };
    Trainer::new(Mlp::new(&[2, 300, 300, 2], 0)?, recipe, &engine)?.checkpoints(&file).fit(&points(8, 0.0), &mut ())?;
    Ok(())
}

/// SIGKILL at many moments: what stands under the name of the file can always be read and gone on with.
#[test]
fn a_killed_program_leaves_a_whole_file() -> Result<()> {
    let engine = Kernels::active()?;
    let dir = tempfile::tempdir().unwrap();
    let (mut whole, mut unfinished) = (0, 0);
    for round in 0..30 {
        let folder = dir.path().join(format!("{round}"));
        fs::create_dir(&folder).unwrap();
        let file = folder.join("model");
        let beside = || {
            let names = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name());
            names.into_iter().any(|name| name != "model")
        };
        let mut program = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "--ignored", "checkpoints_without_end"])
            .env(VICTIM, &file)
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        // Half of them in their first file, half in a later one.
        while !(file.exists() || beside() && round % 2 == 0) {
            assert_eq!(program.try_wait().unwrap(), None, "the program ended by itself");
            thread::yield_now();
        }
        thread::sleep(Duration::from_micros(round * 500));
        program.kill().unwrap();
        program.wait().unwrap();
        unfinished += u32::from(beside());
        if file.exists() {
            Trainer::resume(&file, &engine)?;
            whole += 1;
        }
    }
    assert!(whole > 0 && unfinished > 0, "of 30 programs {whole} left a file, {unfinished} one that is unfinished");
    Ok(())
}

/// What another program finds in a file.
#[test]
fn files_are_safetensors() -> Result<()> {
    let files = Files::new()?;
    let bytes = fs::read(&files.good).unwrap();
    let (_, metadata) = SafeTensors::read_metadata(&bytes).unwrap();
    let header: Value = serde_json::from_str(&metadata.metadata().as_ref().unwrap()["nn"]).unwrap();
    assert_eq!((&header["format"], &header["version"]), (&json!(1), &json!(env!("CARGO_PKG_VERSION"))));
    assert_eq!(
        header["layers"][0],
        json!({ "inputs": 2, "outputs": 3, "activation": "Relu", "dropout": 0.0, "norm": "None" })
    );
    let training = &header["training"];
    assert_eq!((&training["recipe"]["seed"], &training["progress"]["epochs"]), (&json!(0), &json!(2)));
    let optimiser = json!({ "Adam": { "learning_rate": 0.001, "beta1": 0.9, "beta2": 0.999, "epsilon": 1e-7 } });
    assert_eq!(training["recipe"]["optimiser"], optimiser);
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let mut names = tensors.names();
    names.sort_unstable();
    let layers = ["layers.0.bias", "layers.0.weight", "layers.1.bias", "layers.1.weight"];
    assert_eq!(names, [&["history"], &layers[..], &["optimiser.0", "optimiser.1"]].concat());
    assert_eq!(tensors.tensor("layers.0.weight").unwrap().shape(), [2, 3]);
    assert_eq!(tensors.tensor("history").unwrap().shape(), [2, 10]);
    let first = Mlp::load(&files.good)?.parameters().next().unwrap()[0];
    assert_eq!(tensors.tensor("layers.0.weight").unwrap().data()[..4], first.to_le_bytes());
    Ok(())
}

/// A good checkpoint, and a place for bad ones.
struct Files {
    dir: TempDir,
    good: PathBuf,
}

impl Files {
    fn new() -> Result<Self> {
        let dir = tempfile::tempdir().unwrap();
        let good = dir.path().join("good");
        let engine = Kernels::active()?;
        let recipe = Recipe { epochs: 2, ..Recipe::default() };
        let mut trainer = Trainer::new(Mlp::new(&[2, 3, 2], 0)?, recipe, &engine)?.checkpoints(&good);
        trainer.fit(&points(10, 0.0), &mut ())?;
        Ok(Self { dir, good })
    }

    /// What is said about a file with these bytes, without its name.
    fn error(&self, bytes: &[u8]) -> String {
        let file = self.dir.path().join("bad");
        fs::write(&file, bytes).unwrap();
        let message = message(&file);
        // Some file systems wait for the disk when a file is written over, not when it goes away.
        fs::remove_file(file).unwrap();
        message
    }

    /// What is said about the good file with another header or other tensors, and a checksum that fits.
    fn forged(&self, change: impl FnOnce(&mut Value, &mut Vec<(String, Dtype, Vec<usize>, Vec<u8>)>)) -> String {
        let bytes = fs::read(&self.good).unwrap();
        let tensors = SafeTensors::deserialize(&bytes).unwrap();
        let (_, metadata) = SafeTensors::read_metadata(&bytes).unwrap();
        let json = &metadata.metadata().as_ref().unwrap()["nn"];
        let crc = serde_json::from_str::<Value>(json).unwrap()["crc32"].to_string();
        // With its keys in the order in which they stand there, which a `Value` does not keep.
        let blank = json.replacen(&crc, "0", 1);
        let mut header: Value = serde_json::from_str(&blank).unwrap();
        let before = header.clone();
        let view = |(name, view): (&str, TensorView<'_>)| {
            (name.to_owned(), view.dtype(), view.shape().to_vec(), view.data().to_vec())
        };
        let mut parts: Vec<_> = tensors.iter().map(view).collect();
        parts.sort_by(|a, b| a.0.cmp(&b.0));
        change(&mut header, &mut parts);
        let mut text = blank;
        for (path, old) in leaves(&before) {
            let new = header.pointer(&path).unwrap();
            if old != *new {
                let key = path.rsplit('/').next().unwrap();
                let (old, new) = (format!("\"{key}\":{old}"), format!("\"{key}\":{new}"));
                assert!(text.contains(&old), "{old} in {text}");
                text = text.replacen(&old, &new, 1);
            }
        }
        let mut crc = Crc::new();
        crc.update(text.as_bytes());
        for (name, _, _, data) in &parts {
            crc.update(name.as_bytes());
            crc.update(data);
        }
        let text = text.replacen("\"crc32\":0", &format!("\"crc32\":{}", crc.sum()), 1);
        let views = parts
            .iter()
            .map(|(name, kind, shape, data)| (name.clone(), TensorView::new(*kind, shape.clone(), data).unwrap()));
        self.error(&serialize(views, Some(HashMap::from([("nn".into(), text)]))).unwrap())
    }
}

/// The numbers and strings of a tree and where they are.
fn leaves(tree: &Value) -> Vec<(String, Value)> {
    let inner = |key: &str, value: &Value| -> Vec<_> {
        leaves(value).into_iter().map(|(path, leaf)| (format!("/{key}{path}"), leaf)).collect()
    };
    match tree {
        Value::Array(items) => items.iter().enumerate().flat_map(|(i, item)| inner(&i.to_string(), item)).collect(),
        Value::Object(items) => items.iter().flat_map(|(key, item)| inner(key, item)).collect(),
        leaf => vec![(String::new(), leaf.clone())],
    }
}

fn message(file: &Path) -> String {
    let engine = Kernels::active().unwrap();
    let error = Trainer::resume(file, &engine).err().map_or("no error".into(), |error| error.to_string());
    error.replace(&format!("{}: ", file.display()), "")
}

#[test]
fn every_damage_is_seen() -> Result<()> {
    let files = Files::new()?;
    let good = fs::read(&files.good).unwrap();
    assert_eq!(files.error(&good), "no error");
    for len in (0..good.len()).step_by(7) {
        assert_ne!(files.error(&good[..len]), "no error", "cut at {len}");
    }
    assert_eq!(
        files.error(&[&good[..], b" "].concat()),
        format!(
            "header is not that of a file of {} bytes, so it is cut off or damaged (incomplete metadata, file not fully covered)",
            good.len() + 1
        )
    );
    for place in 0..good.len() {
        for mask in [1, 0x80] {
            let mut bytes = good.clone();
            bytes[place] ^= mask;
            assert_ne!(files.error(&bytes), "no error", "byte {place} of {}", good.len());
        }
    }
    // A flipped bit of a weight is told by nothing but the checksum.
    let mut bytes = good.clone();
    *bytes.last_mut().unwrap() ^= 1;
    let error = files.error(&bytes);
    assert!(error.starts_with("crc32 is 0x") && error.contains(", but the file says 0x"), "{error}");
    Ok(())
}

#[test]
fn foreign_files_are_errors() -> Result<()> {
    let files = Files::new()?;
    for (bytes, expected) in [
        (&b""[..], "header is not that of a safetensors file (header too small)"),
        (b"GIF89a, a picture", "header is not that of a safetensors file (header too large)"),
        (
            &[0x50, 0, 0, 0, 0, 0, 0, 0, b'{'],
            "header is not that of a file of 9 bytes, so it is cut off or damaged (invalid header length)",
        ),
        (&[0xff; 100], "header is not that of a safetensors file (header too large)"),
        (
            &[&5u64.to_le_bytes()[..], b"[1,2]"].concat(),
            "header is not that of a safetensors file (invalid JSON in header: ",
        ),
        (&[&2u64.to_le_bytes()[..], b"{}"].concat(), "holds tensors of another program, not a saved model"),
    ] {
        let error = files.error(bytes);
        assert!(error.starts_with(expected), "{error}");
    }
    let two = serialize(
        Vec::<(String, TensorView<'_>)>::new(),
        Some(HashMap::from([("nn".into(), r#"{"format":2,"new":true}"#.into())])),
    );
    assert_eq!(files.error(&two.unwrap()), "format is 2, but this program reads 1");

    // Sparse: it takes no room.
    let large = files.dir.path().join("large");
    File::create(&large).unwrap().set_len((1 << 32) + 1).unwrap();
    assert_eq!(message(&large), "length is 4294967297, but must be at most 4294967296 bytes");
    assert!(message(files.dir.path()).ends_with("it is no file"));

    let alone = files.dir.path().join("alone");
    Mlp::load(&files.good)?.save(&alone)?;
    assert_eq!(message(&alone), "training is missing: the file holds a model alone");
    Ok(())
}

/// Files whose checksum is right, but whose parts do not go together.
#[test]
fn parts_that_do_not_fit_are_errors() -> Result<()> {
    let files = Files::new()?;
    assert_eq!(files.forged(|_, _| ()), "no error");
    type Change = fn(&mut Value, &mut Vec<(String, Dtype, Vec<usize>, Vec<u8>)>);
    let cases: [(Change, &str); 12] = [
        (|h, _| h["layers"][0]["outputs"] = json!(1u64 << 40), "layers do not make a model"),
        (|h, _| h["layers"][0]["inputs"] = json!(0), "layers do not make a model"),
        (
            |h, _| h["layers"][0]["inputs"] = json!(1u64 << 40),
            "layers.0.weight is F32 [2, 3], but must be F32 [1099511627776, 3]",
        ),
        (|h, _| h["layers"][0]["inputs"] = json!(u64::MAX), "layers do not make a model"),
        (|_, t| t.retain(|part| part.0 != "layers.1.bias"), "layers.1.bias is missing"),
        (|_, t| t.retain(|part| part.0 != "optimiser.1"), "optimiser.1 is missing"),
        (|_, t| t.push(("zeal".into(), Dtype::F32, vec![1], vec![0; 4])), "zeal is not part of a checkpoint"),
        (|_, t| t[1].1 = Dtype::I32, "layers.0.bias is I32 [3], but must be F32 [3]"),
        (|_, t| t[2].3[..4].copy_from_slice(&f32::NAN.to_le_bytes()), "layers.0.weight is not finite"),
        (|h, _| h["training"]["recipe"]["batch"] = json!(0), "recipe batch is 0, but must be at least 1"),
        (
            |h, _| h["training"]["progress"]["goal"] = json!(99),
            "progress epochs left is 97, but must be at most those of the recipe",
        ),
        (
            |h, _| h["training"]["progress"]["steps"] = json!(u64::MAX),
            "progress steps is 18446744073709552000, but must be less than 2^63",
        ),
    ];
    for (change, expected) in cases {
        assert_eq!(files.forged(change), expected);
    }
    Ok(())
}

/// The steps of an observer that breaks off are in the next checkpoint, but a part of an epoch makes none. Called
/// again, the training does what is left.
#[test]
fn broken_off_epochs_make_no_checkpoint() -> Result<()> {
    struct Stop;
    impl Observer for Stop {
        fn on_batch(&mut self, _: &BatchEnd) -> ControlFlow<()> {
            ControlFlow::Break(())
        }
    }
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("run");
    let engine = Kernels::active()?;
    let mut trainer = Trainer::new(Mlp::new(&[2, 3, 2], 0)?, Recipe::default(), &engine)?.checkpoints(&file);
    assert_eq!(trainer.fit(&points(100, 0.0), &mut Stop)?.len(), 1);
    assert!(!file.exists());
    trainer.fit(&points(100, 0.0), &mut ())?;
    assert_eq!(Trainer::resume(&file, &engine)?.history().len(), 5);
    Ok(())
}

/// Breaking off leaves the checkpoint of the last whole epoch, from which the training goes on as if it had not been,
/// though the best weights so far are put back.
#[test]
fn a_training_that_was_broken_off_can_go_on() -> Result<()> {
    struct Stop {
        epoch: usize,
        batch: bool,
    }
    impl Observer for Stop {
        fn on_batch(&mut self, event: &BatchEnd) -> ControlFlow<()> {
            if self.batch && event.epoch == self.epoch && event.batch == 1 {
                return ControlFlow::Break(());
            }
            ControlFlow::Continue(())
        }
        fn on_epoch(&mut self, event: &EpochEnd) -> ControlFlow<()> {
            if event.epoch == self.epoch { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        }
    }
    let engine = Kernels::active()?;
    let (data, validation) = (points(45, 0.0), points(20, 0.3));
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("run");
    let patient = EarlyStopping { patience: 100, min_delta: 0.0 };
    for early_stopping in [None, Some(patient)] {
        let recipe = Recipe { epochs: 6, batch: 8, early_stopping, ..Recipe::default() };
        let mut whole = Trainer::new(Mlp::new(&[2, 5, 2], 1)?, recipe.clone(), &engine)?;
        whole.fit_and_validate(&data, Some(&validation), &mut ())?;
        for (batch, left) in [(false, 2), (true, 3)] {
            let mut broken = Trainer::new(Mlp::new(&[2, 5, 2], 1)?, recipe.clone(), &engine)?.checkpoints(&file);
            broken.fit_and_validate(&data, Some(&validation), &mut Stop { epoch: 3, batch })?;
            let mut resumed = Trainer::resume(&file, &engine)?;
            assert_eq!(resumed.fit_and_validate(&data, Some(&validation), &mut ())?.len(), left);
            assert!(bits(resumed.model()) == bits(whole.model()), "{early_stopping:?} {batch}");
        }
    }
    Ok(())
}

/// The loss is that before the last step.
#[test]
fn parameters_that_overflow_in_the_last_step_are_an_error() -> Result<()> {
    let engine = Kernels::active()?;
    let recipe = Recipe {
        epochs: 1,
        batch: 64,
        optimiser: AdamW { adam: Adam { learning_rate: 1e30, ..Adam::default() }, decay: 1e30 }.into(),
        ..Recipe::default()
    };
    let mut trainer = Trainer::new(Mlp::new(&[2, 5, 2], 1)?, recipe, &engine)?;
    let error = trainer.fit(&points(45, 0.0), &mut ()).unwrap_err();
    assert_eq!(error.to_string(), "not all parameters are finite at the end of epoch 1, after step 1 of the training");
    Ok(())
}

/// An epoch that improves does not end a training, however impatient.
#[test]
fn without_patience_the_first_epoch_that_is_no_better_ends_it() -> Result<()> {
    let engine = Kernels::active()?;
    let early_stopping = Some(EarlyStopping { patience: 0, min_delta: 0.0 });
    let recipe = Recipe { epochs: 3, batch: 8, early_stopping, ..Recipe::default() };
    let history = Trainer::new(Mlp::new(&[2, 5, 2], 1)?, recipe, &engine)?.fit(&points(45, 0.0), &mut ())?;
    assert!(history.len() == 3 && history[2].metrics.loss < history[0].metrics.loss);
    Ok(())
}

/// Where the last checkpoint could not be written, the next call writes it, and trains no more.
#[test]
fn an_error_at_the_end_does_not_train_twice() -> Result<()> {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("not yet");
    let engine = Kernels::active()?;
    let recipe =
        Recipe { epochs: 1, early_stopping: Some(EarlyStopping { patience: 9, min_delta: 0.0 }), ..Recipe::default() };
    let file = folder.join("run");
    let mut trainer = Trainer::new(Mlp::new(&[2, 3, 2], 0)?, recipe, &engine)?.checkpoints(&file);
    let data = points(100, 0.0);
    trainer.fit(&data, &mut ()).unwrap_err();
    let steps = trainer.steps();
    std::fs::create_dir(&folder).unwrap();
    assert!(trainer.fit(&data, &mut ())?.is_empty());
    assert_eq!(trainer.steps(), steps);
    assert_eq!(bits(&Mlp::load(&file)?), bits(trainer.model()));
    Ok(())
}
