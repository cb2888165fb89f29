//! `harness train`: trains a model, measures it on the test set, draws its first predictions.

use super::{data, json, parse};
use crate::console::{BAD, Console, styled};
use crate::contender::Contender;
use crate::error::{Error, Result};
use crate::model::{self, widths};
use crate::picture::{self, Tile};
use crate::record::{Head, Score};
use crate::report::Table;
use crate::training::{self, Runner};
use crate::{files, interrupt, machine, report};
use clap::{ValueEnum, value_parser};
use kernels::{Backend, Precision};
use nn::metrics::{Average, Confusion};
use nn::{Adam, Dataset, Engine, EpochEnd, Mlp, Recipe, Trainer};
use serde::Serialize;
use std::path::PathBuf;
use std::time::Instant;

const HELP: &str = "\
Examples:
  harness train --seed 1
  harness train --preset one-cycle --hidden 256,64 --threads 2 --json run.json
  KERNELS_ISA=portable harness train --epochs 1     the same weights as on any other row";

/// Arguments of the command; the defaults are the reference model.
#[derive(clap::Args)]
#[command(after_help = HELP)]
pub struct Args {
    #[command(flatten)]
    data: data::Args,
    /// Widths of the hidden layers
    #[arg(long, value_name = "N,..", value_delimiter = ',', default_value = "128")]
    #[arg(value_parser = value_parser!(u32).range(1..=65_536))]
    hidden: Vec<u32>,
    /// Times to go through the training set
    #[arg(long, value_name = "N", default_value = "5", value_parser = value_parser!(u32).range(1..))]
    epochs: u32,
    /// Samples in a step
    #[arg(long, value_name = "N", default_value = "32", value_parser = value_parser!(u32).range(1..=65_536))]
    batch: u32,
    /// How to train
    #[arg(long, value_enum, default_value_t = Preset::Reference)]
    preset: Preset,
    /// Learning rate of Adam, the highest where it changes [default: that of the preset]
    #[arg(long, value_name = "RATE", value_parser = parse::rate)]
    lr: Option<f32>,
    /// Seed of the first weights and of the order of the samples
    #[arg(long, value_name = "N", default_value = "0")]
    seed: u64,
    /// Threads; the weights do not depend on them
    #[arg(long, value_name = "N", default_value = "1", value_parser = value_parser!(u32).range(1..=1024))]
    threads: u32,
    /// Who computes
    #[arg(long, value_enum, default_value_t = EngineName::Kernels)]
    engine: EngineName,
    /// How exactly the kernels multiply: f32, f32-amx, bf16x3, bf16
    #[arg(long, value_name = "NAME", default_value_t = Precision::F32, value_parser = parse::precision)]
    precision: Precision,
    #[command(flatten)]
    json: json::Args,
    /// Directory for the model and the picture of the first predictions
    #[arg(long, value_name = "DIR", default_value = "target/harness")]
    out: PathBuf,
}

/// A recipe with a name.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Preset {
    /// The tutorial's: Adam with a constant learning rate of 0.001, batches of 32
    Reference,
    /// The same model and number of epochs, with a learning rate that rises and falls
    OneCycle,
}

/// Who computes.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
enum EngineName {
    /// The kernels, by the row that suits the CPU or that KERNELS_ISA names
    Kernels,
    /// Naive loops on one thread, in the order i-k-j that compilers vectorise
    Naive,
    /// Naive loops on one thread, in the order i-j-k of textbooks
    NaiveIjk,
}

/// What `--json` holds.
#[derive(Serialize)]
struct Record {
    #[serde(flatten)]
    head: Head,
    /// Share of the test images that were classified rightly, 0 to 1.
    test_accuracy: f64,
    /// Mean cross-entropy on the test images.
    test_loss: f64,
    /// Mean accuracy while training, for each epoch.
    train_accuracy: Vec<f64>,
    /// Mean cross-entropy while training, for each epoch.
    train_loss: Vec<f64>,
    epoch_seconds: Vec<f64>,
    /// From the first step to the last, without loading and testing.
    total_seconds: f64,
    samples_per_second: f64,
    train_samples: usize,
    test_samples: usize,
    layers: Vec<usize>,
    parameters: usize,
    epochs: u32,
    batch: u32,
    preset: Preset,
    learning_rate: f32,
    seed: u64,
    engine: EngineName,
    /// The kernels' row; null for naive loops.
    isa: Option<&'static str>,
    /// Of its products.
    precision: &'static str,
    threads: u32,
    cpu: Option<String>,
    version: &'static str,
    /// One row for each label, one column for each prediction.
    confusion: Vec<Vec<u64>>,
    scores: Vec<Score>,
    weights_sha256: String,
}

/// Trains, tests, draws.
pub fn run(args: &Args, console: &mut Console) -> Result<()> {
    let runner = runner(args)?;
    let engine = runner.engine();
    let drawing = args.out.join("predictions.svg");
    let saved = args.out.join("model.safetensors");
    args.json.prepare(&args.data.files(), [&drawing, &saved], console)?;
    let data = args.data.load()?;
    let hidden: Vec<usize> = args.hidden.iter().map(|&width| width as usize).collect();
    let (epochs, batch, seed) = (args.epochs as usize, args.batch as usize, args.seed);
    let mut recipe = match args.preset {
        Preset::Reference => Recipe { epochs, batch, seed, ..Recipe::default() },
        Preset::OneCycle => Recipe { seed, ..Recipe::one_cycle(epochs, batch, data.train.len()) },
    };
    if let Some(learning_rate) = args.lr {
        recipe.optimiser = Adam { learning_rate, ..Adam::default() }.into();
    }
    let learning_rate = recipe.optimiser.learning_rate();
    let model = training::model_for(&data, &hidden, recipe.batch, args.seed)?;
    let classes = model.classes();
    let blank = (0..classes as u32).filter(|class| !data.train.labels().contains(class)).count();
    if blank > 0 {
        let line = format!("{blank} of the {classes} classes that the labels make have no training image");
        console.line(styled(BAD, line))?;
    }
    let layers = widths(&model);
    let name = layers.iter().map(ToString::to_string).collect::<Vec<_>>().join("-");
    let parameters = model.parameter_count();
    console.line(format_args!(
        "{name}, {} parameters; {}, {}, seed {}",
        report::thousands(parameters as u64),
        runner.who,
        report::counted(args.threads as usize, "thread"),
        args.seed,
    ))?;

    let mut trainer = Trainer::new(model, recipe, engine.as_ref())?;
    let begin = Instant::now();
    let history = training::fit(&mut trainer, &data.train, None, console)?;
    let total_seconds = begin.elapsed().as_secs_f64();
    let model = trainer.into_model();
    // What took so long is safe, whatever comes.
    interrupt::whole(|| model.save(&saved))?;
    let test = model.evaluate(engine.as_ref(), &data.test)?;
    console.line(format_args!("Test: accuracy: {:.4} - loss: {:.4}", test.accuracy, test.loss))?;
    let found = model.predict(engine.as_ref(), &data.test)?;
    let confusion = Confusion::new(model.classes(), data.test.labels(), &found)?;
    console.print(format_args!("\n{}\n{}\n", curves(&history), scores(&confusion)))?;

    let tiles = draw(&name, test.accuracy, &model, engine.as_ref(), &data.test)?;
    files::write_whole(&drawing, &tiles)?;
    console.line(format_args!(
        "The first predictions are drawn in {}; the model is {}, for harness predict",
        drawing.display(),
        saved.display()
    ))?;
    let record = Record {
        head: Head::new("train"),
        test_accuracy: test.accuracy,
        test_loss: test.loss,
        train_accuracy: history.iter().map(|epoch| epoch.metrics.accuracy).collect(),
        train_loss: history.iter().map(|epoch| epoch.metrics.loss).collect(),
        epoch_seconds: history.iter().map(|epoch| epoch.seconds).collect(),
        total_seconds,
        samples_per_second: history.iter().map(|epoch| epoch.samples as f64).sum::<f64>() / total_seconds,
        train_samples: data.train.len(),
        test_samples: data.test.len(),
        layers,
        parameters,
        epochs: args.epochs,
        batch: args.batch,
        preset: args.preset,
        learning_rate,
        seed: args.seed,
        engine: args.engine,
        isa: runner.who.backend().map(Backend::name),
        precision: args.precision.name(),
        threads: args.threads,
        cpu: machine::cpu(),
        version: env!("CARGO_PKG_VERSION"),
        confusion: confusion.rows().map(<[u64]>::to_vec).collect(),
        scores: confusion.scores().into_iter().map(Score::from).collect(),
        weights_sha256: training::weights_sha256(&model),
    };
    args.json.write(&record, console)
}

fn runner(args: &Args) -> Result<Runner> {
    let who = match args.engine {
        EngineName::Kernels if args.precision == Precision::F32 => Contender::Row(Backend::active()?),
        EngineName::Kernels => {
            let row = Backend::active_for(args.precision)?;
            Contender::Precise(row, args.precision, args.threads as usize)
        }
        EngineName::Naive => Contender::NaiveIkj,
        EngineName::NaiveIjk => Contender::NaiveIjk,
    };
    if args.engine != EngineName::Kernels && args.precision != Precision::F32 {
        return Err(Error::Usage("naive loops multiply in f32: leave --precision away, or take --engine kernels"));
    }
    if args.engine != EngineName::Kernels && args.threads != 1 {
        return Err(Error::Usage("naive loops run on one thread: leave --threads away, or take --engine kernels"));
    }
    Ok(Runner::new(who, args.threads as usize))
}

/// Loss and accuracy over the epochs, a column each.
fn curves(history: &[EpochEnd]) -> String {
    let line = |name: &str, of: fn(&EpochEnd) -> f64| {
        let values: Vec<f64> = history.iter().map(of).collect();
        let (Some(first), Some(last)) = (values.first(), values.last()) else { return String::new() };
        format!("{name:<9} {} {first:.4} to {last:.4}\n", report::columns(&values))
    };
    line("loss", |epoch| epoch.metrics.loss) + &line("accuracy", |epoch| epoch.metrics.accuracy)
}

/// How often each class was taken for each, and how well each is found.
fn scores(confusion: &Confusion) -> Table {
    let scores = confusion.scores();
    let classes: Vec<String> = (0..scores.len()).map(|class| class.to_string()).collect();
    let mut headings = vec!["label, taken for"];
    headings.extend(classes.iter().map(String::as_str));
    headings.extend(["precision", "recall", "F1"]);
    let mut table = Table::new(&headings);
    let share = |x: f64| format!("{x:.4}");
    for ((class, counts), score) in classes.iter().zip(confusion.rows()).zip(&scores) {
        let counts = counts.iter().map(|&count| if count == 0 { "·".to_owned() } else { count.to_string() });
        let shares = [score.precision, score.recall, score.f1].map(share);
        table.row([class.clone()].into_iter().chain(counts).chain(shares));
    }
    let mean = confusion.average(Average::Macro);
    let blank = vec![String::new(); classes.len()];
    table.row(["mean".to_owned()].into_iter().chain(blank).chain([mean.precision, mean.recall, mean.f1].map(share)));
    table
}

/// The first test images and what the model makes of them.
fn draw(name: &str, accuracy: f64, model: &Mlp, engine: &dyn Engine, test: &Dataset) -> Result<String> {
    let first = test.head(25);
    let found = model::predictions(model, engine, &first)?;
    let tile = |(i, (prediction, confidence))| Tile {
        pixels: first.image(i),
        label: first.labels()[i],
        prediction,
        confidence,
    };
    let tiles: Vec<Tile<'_>> = found.into_iter().enumerate().map(tile).collect();
    let right = tiles.iter().filter(|tile| tile.label == tile.prediction).count();
    let title = format!("The first {} test images", tiles.len());
    let all = report::thousands(test.len() as u64);
    let subtitle = format!("{name}: {right} of them right, and {:.2}% of all {all}", 100.0 * accuracy);
    Ok(picture::svg(&title, &subtitle, &tiles, first.width()))
}
