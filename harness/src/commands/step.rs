//! `harness step`: where the time of a training step goes.

use super::json;
use crate::budget::{self, Budget};
use crate::console::Console;
use crate::error::{Error, Result};
use crate::peak;
use crate::record::Head;
use crate::report::{NONE, Table, counted, percent, short, thousands};
use clap::value_parser;
use kernels::{Backend, Gemm, Par, Team};
use serde::Serialize;
use std::time::Duration;

const HELP: &str = "\
Examples:
  harness step 784,128,10                the reference model
  harness step 784,512,512,10 --batch 128 --threads 2";

/// Arguments of the command.
#[derive(clap::Args)]
#[command(after_help = HELP)]
pub struct Args {
    /// Widths of the layers, inputs first
    #[arg(required = true, value_name = "WIDTHS", value_delimiter = ',', value_parser = value_parser!(u32).range(1..=16_384))]
    widths: Vec<u32>,
    /// Samples in a step
    #[arg(long, value_name = "N", default_value = "32", value_parser = value_parser!(u32).range(1..=4096))]
    batch: u32,
    /// Threads
    #[arg(long, value_name = "N", default_value = "1", value_parser = value_parser!(u32).range(1..=1024))]
    threads: u32,
    /// Time for the samples
    #[arg(long, value_name = "SECONDS", default_value = "2", value_parser = super::gemm::seconds)]
    time: Duration,
    #[command(flatten)]
    json: json::Args,
}

/// What `--json` holds.
#[derive(Serialize)]
struct Record {
    #[serde(flatten)]
    head: Head,
    /// The row of the kernels' table.
    row: &'static str,
    /// Its FMA peak on one core, FLOP per second.
    peak: f64,
    #[serde(flatten)]
    budget: Budget,
}

/// Measures and prints.
pub fn run(args: &Args, console: &mut Console) -> Result<()> {
    let widths: Vec<usize> = args.widths.iter().map(|&width| width as usize).collect();
    if widths.len() < 2 {
        return Err(Error::Usage("a network has at least inputs and outputs: 784,10"));
    }
    args.json.prepare(console)?;
    let active = Backend::active()?;
    let team = Team::new(args.threads as usize);
    console.begin_status();
    console.status("measuring");
    let peak = peak::fma_peak(active, Duration::from_millis(100));
    let budget = budget::measure(active, &team, &widths, args.batch as usize, args.time)?;
    console.end();
    let record = Record { head: Head::new("step"), row: active.name(), peak, budget };
    let Budget { batch, seconds, .. } = record.budget;
    console.line(format_args!(
        "A training step of {} with Adam on batches of {batch}: {}, {}; {} an epoch of 60 000 samples.\n\
         us: median; 95%: its bootstrap interval; peak: share of the FMA peak of {} GFLOP/s a thread.\n",
        widths.iter().map(ToString::to_string).collect::<Vec<_>>().join("-"),
        active.name(),
        counted(team.threads(), "thread"),
        format_args!("{} s", short(seconds.median * 60_000.0 / batch as f64)),
        short(peak / 1e9),
    ))?;
    console.print(table(&record))?;
    console.line(format_args!("{} samples/s", thousands((batch as f64 / seconds.median) as u64)))?;
    for pair in widths.windows(2) {
        console.line(format_args!("\n{}", Gemm::<f32>::new().par(&team).explain(batch, pair[0], pair[1])?))?;
    }
    args.json.write(&record, console)
}

fn table(record: &Record) -> Table {
    let Record { peak, budget, .. } = record;
    let mut table = Table::new(&["part", "us", "95%", "share", "GFLOP/s", "peak"]);
    let us = |seconds: f64| short(seconds * 1e6);
    for part in &budget.parts {
        let speed = part.operations / part.seconds.median;
        let of_peak = speed / peak / budget.threads as f64;
        let product = part.operations > 0.0;
        table.row([
            part.name.clone(),
            us(part.seconds.median),
            format!("{}..{}", us(part.seconds.low), us(part.seconds.high)),
            percent(part.share),
            if product { short(speed / 1e9) } else { NONE.to_owned() },
            if product { percent(of_peak) } else { NONE.to_owned() },
        ]);
    }
    let operations: f64 = budget.parts.iter().map(|part| part.operations).sum();
    let speed = operations / budget.seconds.median;
    let interval = format!("{}..{}", us(budget.seconds.low), us(budget.seconds.high));
    let whole = [us(budget.seconds.median), interval, percent(1.0), short(speed / 1e9)];
    table.row(["the step".to_owned()].into_iter().chain(whole).chain([percent(speed / peak / budget.threads as f64)]));
    table
}
