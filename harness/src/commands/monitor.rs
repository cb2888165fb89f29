//! `harness monitor`: what a saved model meets and says, against what it met and said in training.

use super::{data, json};
use crate::console::Console;
use crate::error::{Error, Result};
use crate::interrupt;
use crate::model::Model;
use crate::record::Head;
use crate::report::{Table, thousands};
use clap::{ValueEnum, value_parser};
use nn::monitor::{Report, Thresholds};
use nn::{Dataset, Mlp, Monitor};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng};
use serde::Serialize;
use std::path::{Path, PathBuf};
use std::time::Instant;

const HELP: &str = "\
Examples:
  harness monitor model.safetensors --learn watched.safetensors    stores how the data look
  harness monitor watched.safetensors                              the test images raise no alarm
  harness monitor watched.safetensors --change invert              inverted ones do
  harness monitor watched.safetensors --format prometheus          for a server that scrapes it

Exit codes: 0 all well, 1 an error or an alarm, 2 wrong usage.";

/// Arguments of the command.
#[derive(clap::Args)]
#[command(after_help = HELP)]
pub struct Args {
    /// The model, in f32; it holds the reference
    #[arg(value_name = "MODEL")]
    model: PathBuf,
    /// Look at the training images, and write the model with that as the reference to this file
    #[arg(long, value_name = "FILE", conflicts_with_all = ["change", "format", "samples", "json"])]
    learn: Option<PathBuf>,
    /// Spoil the test images first
    #[arg(long, value_enum)]
    change: Option<Change>,
    /// How many test images [default: all]
    #[arg(long, value_name = "N", value_parser = value_parser!(u32).range(1..))]
    samples: Option<u32>,
    /// How to tell
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
    #[command(flatten)]
    data: data::Args,
    #[command(flatten)]
    json: json::Args,
}

/// What `--json` holds.
#[derive(Serialize)]
struct Record<'a> {
    #[serde(flatten)]
    head: Head,
    model: &'a Path,
    /// Whether there were enough samples for alarms.
    judged: bool,
    #[serde(flatten)]
    report: &'a Report,
}

/// What can go wrong with images.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Change {
    /// Three pixels down
    Shift,
    /// Black for white
    Invert,
    /// Uniform noise of up to a quarter of the range, either way
    Noise,
}

/// Ways to tell.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Table,
    Prometheus,
}

/// Samples in a prediction that is timed.
const BATCH: usize = 32;

/// Learns, or compares.
pub fn run(args: &Args, console: &mut Console) -> Result<()> {
    // A model may be replaced by itself with a reference.
    let model = args.learn.is_none().then_some(&args.model);
    args.json.prepare(args.data.files().iter().chain(model), &args.learn, console)?;
    let model = Mlp::load(&args.model)?;
    if let Some(file) = &args.learn {
        let data = args.data.load()?;
        data.train.fits(model.inputs(), model.outputs())?;
        let seen = watch(&Model::exact(model.clone())?, &data.train)?;
        let model = model.with_reference(seen.summary().clone())?;
        interrupt::whole(|| model.save(file))?;
        let samples = thousands(data.train.len() as u64);
        console.line(format_args!("{}: the model, and what {samples} training images look like", file.display()))?;
        return Ok(());
    }
    let Some(reference) = model.reference().cloned() else {
        return Err(Error::Usage("the model has no reference: give it one with --learn FILE"));
    };
    let test = args.data.load_test(model.inputs(), model.outputs())?;
    let test = args.samples.map_or_else(|| test.clone(), |n| test.head(n as usize));
    let test = args.change.map_or_else(|| Ok(test.clone()), |change| changed(&test, change))?;
    let model = Model::exact(model)?;
    let (monitor, thresholds) = (watch(&model, &test)?, Thresholds::default());
    let report = monitor.report(&reference, &thresholds)?;
    let judged = report.samples >= thresholds.min_samples;
    match args.format {
        Format::Prometheus => console.print(report.to_prometheus(&model.labels()))?,
        Format::Table => console.print(table(&report, &thresholds, judged))?,
    }
    args.json.write(&Record { head: Head::new("monitor"), model: &args.model, judged, report: &report }, console)?;
    if report.alarms.is_empty() {
        return Ok(());
    }
    let line = |alarm: &nn::monitor::Alarm| format!("{} is {:.3}, above {}", alarm.figure, alarm.value, alarm.limit);
    Err(Error::Checks { failures: report.alarms.iter().map(line).collect() })
}

/// Predicts batch by batch, and lets a monitor watch.
fn watch(model: &Model, data: &Dataset) -> Result<Monitor> {
    let mut monitor = Monitor::new(data.features(), model.outputs());
    for start in (0..data.len()).step_by(BATCH) {
        let batch = data.select(start..data.len().min(start + BATCH));
        let begin = Instant::now();
        let probabilities = model.probabilities(&batch)?;
        monitor.observe_latency(begin.elapsed());
        monitor.observe(batch.samples(), &probabilities)?;
    }
    Ok(monitor)
}

fn table(report: &Report, thresholds: &Thresholds, judged: bool) -> String {
    let mut table = Table::new(&["figure", "value", "limit", ""]);
    for (figure, value, limit) in report.figures(thresholds) {
        let state = match report.alarms.iter().any(|alarm| alarm.figure == figure) {
            true => "alarm",
            false if !judged => "not judged",
            false => "",
        };
        table.row([figure.replace('_', " "), format!("{value:.3}"), format!("{limit}"), state.to_owned()]);
    }
    let latency = report.latency.map_or_else(String::new, |latency| {
        let us = |seconds: f64| format!("{:.1} us", 1e6 * seconds);
        format!("; {BATCH} in {}, 99 of 100 in at most {}", us(latency.p50), us(latency.p99))
    });
    let samples = thousands(report.samples);
    let (confidence, entropy) = (report.mean_confidence, report.mean_entropy);
    let few = match judged {
        true => String::new(),
        false => format!("Alarms need {} samples: small numbers are far apart by chance.\n", thresholds.min_samples),
    };
    format!(
        "{table}\n{few}{samples} samples, mean confidence {confidence:.4}, mean entropy {entropy:.4} nats{latency}\n"
    )
}

/// A copy of images that are spoilt.
fn changed(data: &Dataset, change: Change) -> Result<Dataset> {
    const SHIFT: usize = 3;
    let (height, width) = (data.height(), data.width());
    let mut rng = ChaCha8Rng::seed_from_u64(0);
    let mut images = Vec::with_capacity(data.len() * height * width);
    for i in 0..data.len() {
        let image = data.image(i);
        match change {
            Change::Shift => {
                let blank = SHIFT.min(height) * width;
                images.extend(std::iter::repeat_n(0, blank));
                images.extend(&image[..image.len() - blank]);
            }
            Change::Invert => images.extend(image.iter().map(|pixel| 255 - pixel)),
            Change::Noise => images.extend(image.iter().map(|&pixel| {
                let noise = (rng.next_u32() >> 25) as i32 - 64;
                (i32::from(pixel) + noise).clamp(0, 255) as u8
            })),
        }
    }
    Ok(Dataset::new(images, data.labels().to_vec(), height, width)?)
}
