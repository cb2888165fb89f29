//! `harness export`: a saved model in a form that others read.

use super::json;
use crate::console::Console;
use crate::error::{Error, Result};
use crate::interrupt;
use crate::model::size;
use crate::record::Head;
use crate::report::thousands;
use clap::ValueEnum;
use nn::Mlp;
use nn::export::{self, Layout};
use nn::onnx::{self, Input, Output};
use serde::Serialize;
use std::path::{Path, PathBuf};

const HELP: &str = "\
Examples:
  harness export target/harness/model.safetensors model.onnx --pixels
  harness export model.safetensors linear.safetensors --format pytorch
  harness export model.safetensors src/model.rs     a Rust module that needs no crate";

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
    /// Its format [default: by its ending: .onnx, .npz, .safetensors, .rs]
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// ONNX: take pixels from 0 to 255 instead of numbers
    #[arg(long)]
    pixels: bool,
    /// ONNX: give the outputs of the last layer instead of probabilities
    #[arg(long)]
    raw: bool,
    #[command(flatten)]
    json: json::Args,
}

/// What `--json` holds.
#[derive(Serialize)]
struct Record<'a> {
    #[serde(flatten)]
    head: Head,
    model: &'a Path,
    file: &'a Path,
    format: Format,
    bytes: u64,
}

/// Forms of a model.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Format {
    /// Weights, activations, scaling and softmax, for onnxruntime and others
    Onnx,
    /// Weights for NumPy
    Npz,
    /// Weights, inputs x outputs
    Safetensors,
    /// Weights as safetensors, outputs x inputs, as torch.nn.Linear has them
    Pytorch,
    /// A Rust module that needs no crate
    Rust,
}

impl Format {
    /// The format that goes with the ending of a file.
    pub fn of(file: &Path) -> Result<Self> {
        match file.extension().and_then(|ending| ending.to_str()) {
            Some("onnx") => Ok(Self::Onnx),
            Some("npz") => Ok(Self::Npz),
            Some("safetensors") => Ok(Self::Safetensors),
            Some("rs") => Ok(Self::Rust),
            _ => Err(Error::Usage(
                "the ending tells no format (.onnx, .npz, .safetensors; .rs to write): name it with --format",
            )),
        }
    }
}

/// Reads and writes.
pub fn run(args: &Args, console: &mut Console) -> Result<()> {
    let to = &args.to;
    let format = args.format.map_or_else(|| Format::of(to), Ok)?;
    if format != Format::Onnx && (args.pixels || args.raw) {
        return Err(Error::Usage("--pixels and --raw go with ONNX"));
    }
    args.json.prepare([&args.model], [to], console)?;
    let model = Mlp::load(&args.model)?;
    interrupt::whole(|| match format {
        Format::Onnx => {
            let input = if args.pixels { Input::Pixels } else { Input::Features };
            let output = if args.raw { Output::Raw } else { Output::Probabilities };
            onnx::save(to, &model, input, output)
        }
        Format::Npz => export::save_npz(to, &model),
        Format::Safetensors => export::save_safetensors(to, &model, Layout::InputsOutputs),
        Format::Pytorch => export::save_safetensors(to, &model, Layout::PyTorch),
        Format::Rust => nn::files::write_whole(to, export::rust_source(&model, to)?.as_bytes()),
    })?;
    let record = Record { head: Head::new("export"), model: &args.model, file: to, format, bytes: size(to) };
    console.line(format_args!("{}: {} bytes", to.display(), thousands(record.bytes)))?;
    args.json.write(&record, console)
}
