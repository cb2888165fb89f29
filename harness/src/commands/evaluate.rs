//! `harness evaluate`: how good a saved model is on the test images.

use crate::console::Console;
use crate::error::Result;
use crate::files;
use crate::model::{self, Model};
use crate::report::{Table, thousands};
use nn::Mnist;
use nn::metrics::{Average, Confusion, calibration_error, log_loss, top_k};
use std::path::PathBuf;

/// Arguments of the command.
#[derive(clap::Args)]
pub struct Args {
    /// The model, in f32 or in 8 bits
    #[arg(value_name = "MODEL")]
    model: PathBuf,
    /// Directory with the four MNIST files, plain or .gz [default: data/mnist]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Also show how often each class was taken for each
    #[arg(long)]
    confusion: bool,
    /// Write the probabilities to this file: f32, little-endian, samples x classes
    #[arg(long, value_name = "FILE")]
    probabilities: Option<PathBuf>,
}

/// Prints the scores.
pub fn run(args: &Args, console: &Console) -> Result<()> {
    let model = Model::load(&args.model)?;
    let test = Mnist::load(files::data_dir(args.data.as_deref())?)?.test;
    let (classes, labels) = (model.outputs(), test.labels());
    let probabilities = model.probabilities(&test)?;
    if let Some(file) = &args.probabilities {
        files::prepare(file)?;
        let bytes: Vec<u8> = probabilities.iter().flat_map(|p| p.to_le_bytes()).collect();
        files::write_whole(file, &bytes)?;
    }
    let predictions = model::classes(&probabilities, classes);
    let confusion = Confusion::new(classes, labels, &predictions)?;
    let mut table = Table::new(&["", "value"]);
    let mean = confusion.average(Average::Macro);
    for (name, value) in [
        ("accuracy", format!("{:.4}", confusion.accuracy())),
        ("top 3", format!("{:.4}", top_k(3, classes, &probabilities, labels)?)),
        ("log loss", format!("{:.4}", log_loss(classes, &probabilities, labels)?)),
        ("F1, mean of classes", format!("{:.4}", mean.f1)),
        ("calibration error", format!("{:.4}", calibration_error(15, classes, &probabilities, labels)?)),
        ("samples", thousands(test.len() as u64)),
        ("samples/s", thousands(model::speeds(&[&model], &test)?[0] as u64)),
        ("bytes of the file", thousands(model::size(&args.model))),
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
    Ok(())
}
