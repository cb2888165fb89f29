//! `harness step`: where the time of a training step goes.

use super::json;
use crate::budget::{self, Budget};
use crate::console::Console;
use crate::error::{Error, Result};
use crate::peak;
use crate::record::Head;
use crate::report::{NONE, Table, counted, percent, short, thousands};
use clap::value_parser;
use kernels::{Backend, Gemm, Par, Precision, Team};
use nn::Kernels;
use serde::Serialize;
use std::time::Duration;

const HELP: &str = "\
Examples:
  harness step 784,128,10                the reference model
  harness step 784,512,512,10 --batch 128 --threads 2
  harness step 784,512,10 --precision f32-amx,bf16x3,bf16";

/// Arguments of the command.
#[derive(clap::Args)]
#[command(after_help = HELP)]
pub struct Args {
    /// Widths of the layers, inputs first
    #[arg(required = true, value_name = "WIDTHS", value_delimiter = ',')]
    #[arg(value_parser = value_parser!(u32).range(1..=16_384))]
    widths: Vec<u32>,
    /// Samples in a step
    #[arg(long, value_name = "N", default_value = "32", value_parser = value_parser!(u32).range(1..=4096))]
    batch: u32,
    /// Threads
    #[arg(long, value_name = "N", default_value = "1", value_parser = value_parser!(u32).range(1..=1024))]
    threads: u32,
    /// Also measure it in these precisions: f32-amx, bf16x3, bf16
    #[arg(long, value_name = "NAME,..", value_delimiter = ',', value_parser = super::parse::precision)]
    precision: Vec<Precision>,
    /// Time for the samples
    #[arg(long, value_name = "SECONDS", default_value = "2", value_parser = super::parse::seconds)]
    time: Duration,
    #[command(flatten)]
    json: json::Args,
}

/// What `--json` holds.
#[derive(Serialize)]
struct Record {
    #[serde(flatten)]
    head: Head,
    /// The FMA peak on one core, FLOP per second.
    peak: f64,
    #[serde(flatten)]
    budget: Budget,
    /// The same step in other precisions.
    precise: Vec<Budget>,
}

/// Measures and prints.
pub fn run(args: &Args, console: &mut Console) -> Result<()> {
    let widths: Vec<usize> = args.widths.iter().map(|&width| width as usize).collect();
    if widths.len() < 2 {
        return Err(Error::Usage("a network has at least inputs and outputs: 784,10"));
    }
    args.json.prepare([], [], console)?;
    let active = Backend::active()?;
    let team = Team::new(args.threads as usize);
    // In f32 first, then from the most exact on, each once.
    let asked = |precision: &Precision| *precision == Precision::F32 || args.precision.contains(precision);
    let engine = |precision| Ok(Kernels { backend: Backend::active_for(precision)?, par: &team, precision });
    let engines = Precision::ALL.into_iter().filter(asked).map(engine).collect::<Result<Vec<_>>>()?;
    console.begin_status();
    console.status("measuring");
    let peak = peak::fma_peak(active, Duration::from_millis(100));
    let mut precise = budget::measure(&engines, &widths, args.batch as usize, args.time)?;
    let budget = precise.remove(0);
    console.end();
    let record = Record { head: Head::new("step"), peak, budget, precise };
    let Budget { batch, seconds, .. } = record.budget;
    console.line(format_args!(
        "A training step of {} with Adam on batches of {batch}: {}, {}; {} an epoch of 60 000 samples.\n\
         us: median; 95%: its bootstrap interval; peak: share of the FMA peak of {} GFLOP/s a thread.\n",
        widths.iter().map(ToString::to_string).collect::<Vec<_>>().join("-"),
        active.name(),
        counted(team.threads(), "thread"),
        epoch(&record.budget),
        short(peak / 1e9),
    ))?;
    console.print(table(peak, &record.budget))?;
    console.line(format_args!("{} samples/s", thousands((batch as f64 / seconds.median) as u64)))?;
    for budget in &record.precise {
        let over = budget.over_first.as_ref().map_or(String::new(), |over| {
            format!("{} times as fast as in f32 ({}..{})", short(over.median), short(over.low), short(over.high))
        });
        let Budget { row, precision, .. } = budget;
        console.line(format_args!("\n{row} {precision}: {over}; {} an epoch.\n", epoch(budget)))?;
        console.print(table(peak, budget))?;
    }
    for Kernels { backend, precision, .. } in engines {
        let chosen = std::ptr::eq(backend, active);
        let gemm = if chosen { Gemm::new() } else { Gemm::new().backend(backend) };
        for pair in widths.windows(2) {
            let explanation = gemm.par(&team).precision(precision).explain(batch, pair[0], pair[1])?;
            console.line(format_args!("\n{explanation}"))?;
        }
    }
    args.json.write(&record, console)
}

/// The time that all steps of an epoch take.
fn epoch(budget: &Budget) -> String {
    format!("{} s", short(budget.seconds.median * 60_000.0 / budget.batch as f64))
}

fn table(peak: f64, budget: &Budget) -> Table {
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
