//! `harness quantize`: a saved model in 8 bits, and what that costs.

use crate::console::Console;
use crate::error::Result;
use crate::files;
use crate::model::{self, Model};
use crate::report::{Table, thousands};
use nn::quantize::Calibration;
use nn::{Mlp, Mnist, Quantized};
use std::path::PathBuf;

/// Arguments of the command.
#[derive(clap::Args)]
pub struct Args {
    /// The model, as `harness train` saves it
    #[arg(value_name = "MODEL")]
    model: PathBuf,
    /// The file to write
    #[arg(value_name = "FILE")]
    to: PathBuf,
    /// Directory with the four MNIST files, plain or .gz [default: data/mnist]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Training images that show what the layers meet
    #[arg(long, value_name = "N", default_value = "1000")]
    sample: usize,
    /// Leave out this share of the values at each end when ranges are chosen [default: none]
    #[arg(long, value_name = "SHARE")]
    percentile: Option<f64>,
}

/// Quantises, writes, compares on the test images.
pub fn run(args: &Args, console: &Console) -> Result<()> {
    let exact = Mlp::load(&args.model)?;
    let data = Mnist::load(files::data_dir(args.data.as_deref())?)?;
    let calibration = args.percentile.map_or(Calibration::MinMax, Calibration::Percentile);
    files::prepare(&args.to)?;
    Quantized::new(&exact, &data.train.head(args.sample), calibration)?.save(&args.to)?;

    // What was written is what is measured.
    let models = [Model::exact(exact)?, Model::load(&args.to)?];
    let speeds = model::speeds(&models.each_ref(), &data.test)?;
    let mut table = Table::new(&["", "bytes", "samples/s", "accuracy"]);
    let files = [("f32", &args.model), ("8 bits", &args.to)];
    let mut rows = Vec::new();
    for (((name, file), model), speed) in files.into_iter().zip(&models).zip(speeds) {
        let accuracy = model::accuracy(&model.probabilities(&data.test)?, model.outputs(), &data.test);
        rows.push((model::size(file) as f64, speed, accuracy));
        let cells = [thousands(model::size(file)), thousands(speed as u64), format!("{accuracy:.4}")];
        table.row([name.to_owned()].into_iter().chain(cells));
    }
    let ((bytes, speed, accuracy), (bytes8, speed8, accuracy8)) = (rows[0], rows[1]);
    let change = [
        format!("{:.2}x less", bytes / bytes8),
        format!("{:.2}x", speed8 / speed),
        format!("{:+.2} points", 100.0 * (accuracy8 - accuracy)),
    ];
    table.row(["change".to_owned()].into_iter().chain(change));
    console.print(table)?;
    Ok(())
}
