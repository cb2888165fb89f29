//! `harness quantize`: a saved model in 8 bits, and what that costs.

use super::{data, json, parse};
use crate::console::Console;
use crate::error::Result;
use crate::interrupt;
use crate::model::{self, Model};
use crate::record::Head;
use crate::report::{Table, thousands};
use clap::value_parser;
use nn::quantize::Calibration;
use nn::{Mlp, Quantized};
use serde::Serialize;
use std::path::{Path, PathBuf};

const HELP: &str = "\
Examples:
  harness quantize target/harness/model.safetensors small.safetensors
  harness quantize model.safetensors small.safetensors --percentile 0.001 --json -";

/// Arguments of the command.
#[derive(clap::Args)]
#[command(after_help = HELP)]
pub struct Args {
    /// The model, as `harness train` saves it
    #[arg(value_name = "MODEL")]
    model: PathBuf,
    /// The file to write
    #[arg(value_name = "FILE")]
    to: PathBuf,
    #[command(flatten)]
    data: data::Args,
    /// Training images that show what the layers meet
    #[arg(long, value_name = "N", default_value = "1000", value_parser = value_parser!(u32).range(1..))]
    sample: u32,
    /// Leave out this share of the values at each end when ranges are chosen [default: none]
    #[arg(long, value_name = "SHARE", value_parser = parse::tail)]
    percentile: Option<f64>,
    #[command(flatten)]
    json: json::Args,
}

/// What `--json` holds.
#[derive(Serialize)]
struct Record<'a> {
    #[serde(flatten)]
    head: Head,
    exact: Measured<'a>,
    quantized: Measured<'a>,
    samples: usize,
}

/// A model on the test images.
#[derive(Serialize)]
struct Measured<'a> {
    file: &'a Path,
    bytes: u64,
    samples_per_second: f64,
    accuracy: f64,
}

/// Quantises, writes, compares on the test images.
pub fn run(args: &Args, console: &mut Console) -> Result<()> {
    args.json.prepare(args.data.files().iter().chain([&args.model]), [&args.to], console)?;
    let exact = Mlp::load(&args.model)?;
    let data = args.data.load()?;
    data.test.fits(exact.inputs(), exact.outputs())?;
    let calibration = args.percentile.map_or(Calibration::MinMax, Calibration::Percentile);
    let small = Quantized::new(&exact, &data.train.head(args.sample as usize), calibration)?;
    interrupt::whole(|| small.save(&args.to))?;

    // What was written is what is measured.
    let models = [Model::exact(exact)?, Model::load(&args.to)?];
    let speeds = model::speeds(&models.each_ref(), &data.test)?;
    let measured = |i: usize, file| -> Result<Measured<'_>> {
        let accuracy = model::accuracy(&models[i].probabilities(&data.test)?, models[i].outputs(), &data.test);
        Ok(Measured { file, bytes: model::size(file), samples_per_second: speeds[i], accuracy })
    };
    let (exact, quantized) = (measured(0, &args.model)?, measured(1, &args.to)?);
    let mut table = Table::new(&["", "bytes", "samples/s", "accuracy"]);
    for (name, of) in [("f32", &exact), ("8 bits", &quantized)] {
        let speed = thousands(of.samples_per_second as u64);
        table.row([name.to_owned(), thousands(of.bytes), speed, format!("{:.4}", of.accuracy)]);
    }
    table.row([
        "change".to_owned(),
        format!("{:.2}x less", exact.bytes as f64 / quantized.bytes as f64),
        format!("{:.2}x", quantized.samples_per_second / exact.samples_per_second),
        format!("{:+.2} points", 100.0 * (quantized.accuracy - exact.accuracy)),
    ]);
    console.print(table)?;
    args.json.write(&Record { head: Head::new("quantize"), exact, quantized, samples: data.test.len() }, console)
}
