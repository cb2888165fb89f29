//! `harness evaluate`: how good a saved model is on the test images.

use super::{data, json};
use crate::console::Console;
use crate::error::Result;
use crate::files;
use crate::model::{self, Model};
use crate::record::{Head, Score};
use crate::report::{Table, thousands};
use nn::metrics::{Average, Confusion, calibration_error, log_loss, top_k};
use serde::Serialize;
use std::path::PathBuf;

const HELP: &str = "\
Examples:
  harness evaluate target/harness/model.safetensors --confusion
  harness evaluate small.safetensors --json scores.json";

/// Arguments of the command.
#[derive(clap::Args)]
#[command(after_help = HELP)]
pub struct Args {
    /// The model, in f32 or in 8 bits
    #[arg(value_name = "MODEL")]
    model: PathBuf,
    #[command(flatten)]
    data: data::Args,
    /// Also show how often each class was taken for each
    #[arg(long)]
    confusion: bool,
    /// Write the probabilities to this file: f32, little-endian, samples x classes
    #[arg(long, value_name = "FILE")]
    probabilities: Option<PathBuf>,
    #[command(flatten)]
    json: json::Args,
}

/// What `--json` holds.
#[derive(Serialize)]
struct Record {
    #[serde(flatten)]
    head: Head,
    model: PathBuf,
    accuracy: f64,
    top_3: f64,
    log_loss: f64,
    calibration_error: f64,
    samples: usize,
    samples_per_second: f64,
    bytes: u64,
    confusion: Vec<Vec<u64>>,
    scores: Vec<Score>,
}

/// Prints the scores.
pub fn run(args: &Args, console: &mut Console) -> Result<()> {
    args.json.prepare(args.data.files().iter().chain([&args.model]), &args.probabilities, console)?;
    let model = Model::load(&args.model)?;
    let test = args.data.load_test(model.inputs(), model.outputs())?;
    let (classes, labels) = (model.outputs(), test.labels());
    let probabilities = model.probabilities(&test)?;
    if let Some(file) = &args.probabilities {
        let bytes: Vec<u8> = probabilities.iter().flat_map(|p| p.to_le_bytes()).collect();
        files::write_whole(file, &bytes)?;
    }
    let predictions = model::classes(&probabilities, classes);
    let confusion = Confusion::new(classes, labels, &predictions)?;
    let record = Record {
        head: Head::new("evaluate"),
        model: args.model.clone(),
        accuracy: confusion.accuracy(),
        top_3: top_k(3, classes, &probabilities, labels)?,
        log_loss: log_loss(classes, &probabilities, labels)?,
        calibration_error: calibration_error(15, classes, &probabilities, labels)?,
        samples: test.len(),
        samples_per_second: model::speeds(&[&model], &test)?[0],
        bytes: model::size(&args.model),
        confusion: confusion.rows().map(<[u64]>::to_vec).collect(),
        scores: confusion.scores().into_iter().map(Score::from).collect(),
    };
    let mut table = Table::new(&["", "value"]);
    for (name, value) in [
        ("accuracy", format!("{:.4}", record.accuracy)),
        ("top 3", format!("{:.4}", record.top_3)),
        ("log loss", format!("{:.4}", record.log_loss)),
        ("F1, mean of classes", format!("{:.4}", confusion.average(Average::Macro).f1)),
        ("calibration error", format!("{:.4}", record.calibration_error)),
        ("samples", thousands(record.samples as u64)),
        ("samples/s", thousands(record.samples_per_second as u64)),
        ("bytes of the file", thousands(record.bytes)),
    ] {
        table.row([name.to_owned(), value]);
    }
    console.print(table)?;

    let names = model.labels();
    let mut table = Table::new(&["class", "precision", "recall", "F1", "samples"]);
    for (name, scores) in names.iter().zip(confusion.scores()) {
        let share = |x: f64| format!("{x:.4}");
        let cells = [share(scores.precision), share(scores.recall), share(scores.f1), scores.support.to_string()];
        table.row([name.clone()].into_iter().chain(cells));
    }
    console.print(format_args!("\n{table}"))?;
    if args.confusion {
        let headings: Vec<&str> = ["is, taken for"].into_iter().chain(names.iter().map(String::as_str)).collect();
        let mut table = Table::new(&headings);
        for (name, row) in names.iter().zip(confusion.rows()) {
            table.row([name.clone()].into_iter().chain(row.iter().map(u64::to_string)));
        }
        console.print(format_args!("\n{table}"))?;
    }
    args.json.write(&record, console)
}
