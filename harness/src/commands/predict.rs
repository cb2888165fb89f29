//! `harness predict`: what a saved model takes images for.

use super::{data, json};
use crate::console;
use crate::console::{BAD, Console, GOOD, STRONG, styled};
use crate::error::{Error, Result};
use crate::record::Head;
use crate::report::counted;
use crate::{files, image};
use clap::ArgGroup;
use nn::{Dataset, Kernels, Mlp};
use serde::Serialize;
use std::path::{Path, PathBuf};

const HELP: &str = "\
Examples:
  harness train                          trains, and saves the model where predict looks for it
  harness predict digit.png              a photo or drawing, dark on light or light on dark
  harness predict --index 0,7,42         images of the test set
  harness predict a.pgm b.pgm --model other.safetensors --json -";

/// Arguments of the command.
#[derive(clap::Args)]
#[command(after_help = HELP, group = ArgGroup::new("what").required(true).multiple(true))]
pub struct Args {
    /// PNG or PGM images of one digit each
    #[arg(value_name = "IMAGE", group = "what")]
    images: Vec<PathBuf>,
    /// Images of the test set, counted from 0
    #[arg(long, value_name = "N,..", value_delimiter = ',', group = "what")]
    index: Vec<usize>,
    /// The model, as `harness train` saves it
    #[arg(long, value_name = "FILE", default_value = "target/harness/model.safetensors")]
    model: PathBuf,
    #[command(flatten)]
    data: data::Args,
    #[command(flatten)]
    json: json::Args,
}

/// What `--json` holds.
#[derive(Serialize)]
struct Record {
    #[serde(flatten)]
    head: Head,
    /// The model's file.
    model: PathBuf,
    predictions: Vec<Prediction>,
}

#[derive(Serialize)]
struct Prediction {
    /// The image's file, or `test image N`.
    source: String,
    /// What it shows, where that is known.
    label: Option<u32>,
    prediction: u32,
    /// Of each class.
    probabilities: Vec<f32>,
}

/// Where an image comes from, its pixels and its label.
struct Digit {
    source: String,
    label: Option<u32>,
    width: usize,
    pixels: Vec<u8>,
}

/// Reads, predicts, shows.
pub fn run(args: &Args, console: &mut Console) -> Result<()> {
    args.json.prepare(args.data.files().iter().chain(&args.images).chain([&args.model]), [], console)?;
    files::exists(&args.model, "harness train")?;
    let model = Mlp::load(&args.model)?;
    let engine = Kernels::active()?;
    let mut digits = Vec::new();
    for file in &args.images {
        digits.push(from_file(file, model.inputs())?);
    }
    if !args.index.is_empty() {
        let test = args.data.load_test(model.inputs(), model.outputs())?;
        for &index in &args.index {
            if index >= test.len() {
                return Err(Error::NoSample { index, samples: test.len() });
            }
            let (source, label) = (format!("test image {index}"), test.labels().get(index).copied());
            digits.push(Digit { source, label, width: test.width(), pixels: test.image(index).to_vec() });
        }
    }
    let mut record = Record { head: Head::new("predict"), model: args.model.clone(), predictions: Vec::new() };
    for digit in digits {
        let height = digit.pixels.len() / digit.width;
        let data = Dataset::new(digit.pixels.clone(), vec![0], height, digit.width)?;
        let probabilities = model.probabilities(&engine, &data)?;
        let prediction = model.predict(&engine, &data)?[0];
        console.line(show(&digit, &probabilities, prediction, model.labels()))?;
        let Digit { source, label, .. } = digit;
        record.predictions.push(Prediction { source, label, prediction, probabilities });
    }
    let known: Vec<bool> = record.predictions.iter().filter_map(|p| Some(p.label? == p.prediction)).collect();
    if known.len() > 1 {
        let right = known.iter().filter(|right| **right).count();
        console.line(format_args!("{right} of {} right", counted(known.len(), "image")))?;
    }
    args.json.write(&record, console)
}

fn from_file(path: &Path, inputs: usize) -> Result<Digit> {
    let image_error = |problem: String| Error::Image { path: path.to_owned(), problem };
    let side = inputs.isqrt();
    if side * side != inputs {
        return Err(image_error(format!("the model takes {inputs} numbers, which are no square image")));
    }
    let image = image::read(path)?;
    let pixels = image::like_mnist(&image, side);
    let pixels = pixels.ok_or_else(|| image_error("is blank: nothing differs from its border".to_owned()))?;
    Ok(Digit { source: path.display().to_string(), label: None, width: side, pixels })
}

/// The digit, and beside it what the model makes of it.
fn show(digit: &Digit, probabilities: &[f32], prediction: u32, names: &[String]) -> String {
    const BAR: f32 = 24.0;
    let verdict = match digit.label {
        Some(label) if label == prediction => styled(GOOD, format!("{prediction}, which is right")),
        Some(label) => styled(BAD, format!("{prediction}, but it is {label}")),
        None => styled(STRONG, prediction),
    };
    let mut right: Vec<String> = vec![format!("{}: {verdict}", digit.source), String::new()];
    right.extend(probabilities.iter().enumerate().map(|(class, &p)| {
        let name = names.get(class).cloned().unwrap_or_else(|| class.to_string());
        let style = if class as u32 == prediction { console::STRONG } else { Default::default() };
        let bar = "█".repeat((p * BAR).round() as usize);
        styled(style, format!("{name:>2} {:5.1}% {bar}", 100.0 * p))
    }));
    let left = image::in_text(&digit.pixels, digit.width);
    let lines = (0..left.len().max(right.len())).map(|i| {
        let blank = String::new();
        let (left, right) = (left.get(i).unwrap_or(&blank), right.get(i).unwrap_or(&blank));
        format!("{left:<width$}  {right}", width = digit.width).trim_end().to_owned() + "\n"
    });
    lines.collect()
}
