//! `harness import`: a model that another program wrote, made a file of ours.

use super::export::Format;
use super::json;
use crate::console::Console;
use crate::error::{Error, Result};
use crate::interrupt;
use crate::model::widths;
use crate::record::Head;
use clap::ValueEnum;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use nn::export::{self, Layout};
use nn::{Activation, onnx};
use serde::Serialize;
use std::path::{Path, PathBuf};

const HELP: &str = "\
Examples:
  harness import model.onnx model.safetensors
  harness import weights.npz model.safetensors --activation tanh --labels no,yes";

/// Arguments of the command.
#[derive(clap::Args)]
#[command(after_help = HELP)]
pub struct Args {
    /// The file to read
    #[arg(value_name = "FILE")]
    from: PathBuf,
    /// The model to write
    #[arg(value_name = "MODEL")]
    to: PathBuf,
    /// Its format [default: by its ending: .onnx, .npz, .safetensors]
    #[arg(long, value_parser = readable())]
    format: Option<Format>,
    /// Between layers, where the file holds weights alone
    #[arg(long, value_enum, default_value_t = Hidden::Relu)]
    activation: Hidden,
    /// Names of the classes
    #[arg(long, value_name = "NAME,..", value_delimiter = ',')]
    labels: Vec<String>,
    #[command(flatten)]
    json: json::Args,
}

/// What `--json` holds.
#[derive(Serialize)]
struct Record<'a> {
    #[serde(flatten)]
    head: Head,
    file: &'a Path,
    format: Format,
    model: &'a Path,
    layers: Vec<usize>,
    parameters: usize,
    labels: &'a [String],
}

/// The formats, without source, which is only written.
fn readable() -> impl TypedValueParser<Value = Format> {
    let formats = Format::value_variants().iter().filter(|format| **format != Format::Rust);
    PossibleValuesParser::new(formats.filter_map(Format::to_possible_value))
        .map(|name| Format::from_str(&name, false).expect("it is one of these"))
}

/// Activations without settings.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Hidden {
    Identity,
    Relu,
    Tanh,
    Sigmoid,
    Gelu,
    GeluTanh,
    Silu,
    Softplus,
    Mish,
    HardSwish,
}

impl From<Hidden> for Activation {
    fn from(hidden: Hidden) -> Self {
        match hidden {
            Hidden::Identity => Self::Identity,
            Hidden::Relu => Self::Relu,
            Hidden::Tanh => Self::Tanh,
            Hidden::Sigmoid => Self::Sigmoid,
            Hidden::Gelu => Self::Gelu,
            Hidden::GeluTanh => Self::GeluTanh,
            Hidden::Silu => Self::Silu,
            Hidden::Softplus => Self::Softplus,
            Hidden::Mish => Self::Mish,
            Hidden::HardSwish => Self::HardSwish,
        }
    }
}

/// Reads and writes.
pub fn run(args: &Args, console: &mut Console) -> Result<()> {
    let (from, hidden) = (&args.from, args.activation.into());
    let format = args.format.map_or_else(|| Format::of(from), Ok)?;
    args.json.prepare([from], [&args.to], console)?;
    let mut model = match format {
        Format::Onnx => onnx::load(from)?,
        Format::Npz => export::load_npz(from, Layout::InputsOutputs, hidden)?,
        Format::Safetensors => export::load_safetensors(from, Layout::InputsOutputs, hidden)?,
        Format::Pytorch => export::load_safetensors(from, Layout::PyTorch, hidden)?,
        Format::Rust => return Err(Error::Usage("Rust source is written, not read")),
    };
    if !args.labels.is_empty() {
        model = model.with_labels(args.labels.clone())?;
    }
    interrupt::whole(|| model.save(&args.to))?;
    console.print(model.summary())?;
    let record = Record {
        head: Head::new("import"),
        file: from,
        format,
        model: &args.to,
        layers: widths(&model),
        parameters: model.parameter_count(),
        labels: model.labels(),
    };
    args.json.write(&record, console)
}
