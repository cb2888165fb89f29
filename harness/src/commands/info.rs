//! `harness info`: what the CPU offers, what the kernels make of it, and where data was found.

use super::{data, json};
use crate::console::Console;
use crate::error::{Error, Result};
use crate::record::Head;
use crate::{files, machine};
use kernels::{Backend, Cpu, Profile};
use serde::Serialize;
use std::path::{Path, PathBuf};

const HELP: &str = "\
Examples:
  harness info --json -
  KERNELS_ISA=avx2 KERNELS_PROFILE=this.profile harness info";

/// Arguments of the command.
#[derive(clap::Args)]
#[command(after_help = HELP)]
pub struct Args {
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
    rows: Vec<Row>,
    /// What `KERNELS_ISA` asks for.
    pin: Option<String>,
    /// Where block sizes and thresholds come from.
    tuning: Option<String>,
    data: Option<Data>,
}

/// A row of the kernels' table.
#[derive(Serialize)]
struct Row {
    name: &'static str,
    about: &'static str,
    supported: bool,
    chosen: bool,
}

/// The data set.
#[derive(Serialize)]
struct Data {
    dir: PathBuf,
    train: usize,
    test: usize,
    height: usize,
    width: usize,
}

/// Prints all that can be found out, then fails if the kernels or the data can't be used.
pub fn run(args: &Args, console: &mut Console) -> Result<()> {
    args.json.prepare(&args.data.files(), [], console)?;
    let unknown = || "unknown".to_owned();
    let caches: Vec<String> = machine::caches().iter().map(ToString::to_string).collect();
    console.line(format_args!("cpu      {} ({})", machine::cpu().unwrap_or_else(unknown), std::env::consts::ARCH))?;
    console.line(format_args!("cores    {}", machine::cores()))?;
    console.line(format_args!("caches   {}", if caches.is_empty() { unknown() } else { caches.join(", ") }))?;

    console.line(format_args!("planned  {} (what block sizes are made for)", Cpu::get()))?;
    let active = Backend::active();
    let chosen = active.as_ref().map_or("", |row| row.name());
    let row = |(name, about, supported)| Row { name, about, supported, chosen: name == chosen };
    let rows: Vec<Row> = Backend::table().map(row).collect();
    for (i, row) in rows.iter().enumerate() {
        let state = match row {
            Row { chosen: true, .. } => "chosen",
            Row { supported: true, .. } => "supported",
            _ => "not on this CPU",
        };
        let heading = if i == 0 { "isa" } else { "" };
        console.line(format_args!("{heading:<8} {:<9} {state}: {}", row.name, row.about))?;
    }
    let pin = std::env::var_os("KERNELS_ISA").map(|pin| pin.to_string_lossy().into_owned());
    console.line(format_args!(
        "pin      {}",
        match &pin {
            Some(pin) => format!("KERNELS_ISA={pin}"),
            None => "none; KERNELS_ISA=NAME chooses another row".to_owned(),
        }
    ))?;

    let tuning = active.as_ref().ok().map(|row| tuning_of(row));
    if let Some(tuning) = &tuning {
        console.line(format_args!("tuning   {tuning}"))?;
    }

    let data = match args.data.dir() {
        // Without data the kernels can still be used.
        Err(missing @ Error::NoData { .. }) => {
            console.line(format_args!("data     {missing}"))?;
            Ok(None)
        }
        Err(error) => Err(error),
        Ok(dir) => args.data.load().map(|mnist| {
            let (train, test) = (mnist.train.len(), mnist.test.len());
            Some(Data { dir, train, test, height: mnist.train.height(), width: mnist.train.width() })
        }),
    };
    if let Ok(Some(Data { dir, train, test, height, width })) = &data {
        console.line(format_args!("data     {}: {train} + {test} images of {height}x{width}", dir.display()))?;
    }
    active?;
    args.json.write(&Record { head: Head::new("info"), rows, pin, tuning, data: data? }, console)
}

/// Where the block sizes and thresholds of a row come from.
pub(super) fn tuning_of(row: &Backend) -> String {
    let own =
        if row.tuning::<f32>() == row.model::<f32>() { "by the model of the caches" } else { "built in for this CPU" };
    let Some(file) = files::profile() else { return own.to_owned() };
    let name = Path::new(&file).display();
    match Profile::load(&file) {
        Ok(profile) if profile.get(row.name(), "f32").is_some() => format!("KERNELS_PROFILE={name}"),
        Ok(_) => format!("{own}: KERNELS_PROFILE={name} says nothing of {} f32", row.name()),
        Err(error) => format!("{own}: KERNELS_PROFILE is ignored, {error}"),
    }
}
