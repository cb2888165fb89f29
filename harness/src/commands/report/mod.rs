//! `harness report`: one page with all that was measured, and the numbers as JSON and CSV.

mod page;

use super::compare::{self, Effort};
use super::{data, info, rivals};
use crate::budget::{self, Budget};
use crate::case::{self, Measured, Product};
use crate::console::Console;
use crate::contender::Contender;
use crate::error::{Error, Result};
use crate::measure::{Cache, Plan};
use crate::record::{CaseRecord, Head, Score};
use crate::{files, machine, model, training};
use clap::ArgGroup;
use kernels::{Backend, Cpu};
use nn::metrics::Confusion;
use nn::{Dataset, Kernels, Mlp, Recipe, Trainer};
use serde::Serialize;
use std::iter::zip;
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

const HELP: &str = "\
Writes report.html, which needs nothing but itself, report.json (docs/json.md) and report.csv.

Examples:
  harness report
  harness report --full --blas libopenblas.so.0 --out ~/reports/today";

/// Arguments of the command.
#[derive(clap::Args)]
#[command(after_help = HELP, group = ArgGroup::new("effort"))]
pub struct Args {
    /// As short as `harness compare --quick`, and some seconds more
    #[arg(long, group = "effort")]
    quick: bool,
    /// As long as `harness compare --full`, and a minute more
    #[arg(long, group = "effort")]
    full: bool,
    #[command(flatten)]
    rivals: rivals::Args,
    #[command(flatten)]
    data: data::Args,
    /// Directory for the files
    #[arg(long, value_name = "DIR", default_value = "target/harness")]
    out: PathBuf,
}

/// What the report is made of.
#[derive(Serialize)]
struct Record {
    #[serde(flatten)]
    head: Head,
    /// Seconds since 1970.
    time: u64,
    /// What all of it took.
    seconds: f64,
    /// The first core's clock in MHz, before and after, as the system tells it.
    clock_mhz: [Option<f64>; 2],
    /// Seconds in which a hypervisor ran others on our cores meanwhile.
    steal_seconds: Option<f64>,
    /// Where block sizes and thresholds come from.
    tuning: String,
    /// The caches that block sizes are made for.
    planned: String,
    /// As `harness compare --json` has it.
    compare: compare::Record,
    /// Squares of many sizes, warm and cold.
    sizes: Vec<CaseRecord>,
    cold: Vec<CaseRecord>,
    budget: Budget,
    /// Widths of the network that was trained.
    layers: Vec<usize>,
    /// A training with the test set after each epoch.
    curves: Vec<compare::Epoch>,
    /// One row for each label, one column for each prediction.
    confusion: Vec<Vec<u64>>,
    scores: Vec<Score>,
    predictions: Vec<Prediction>,
}

/// What the model makes of one of the first test images.
#[derive(Serialize)]
struct Prediction {
    label: u32,
    prediction: u32,
    probability: f32,
}

/// Measures, writes, and fails if a result was not as it must be.
pub fn run(args: &Args, console: &mut Console) -> Result<()> {
    let begin = Instant::now();
    let time = SystemTime::UNIX_EPOCH.elapsed().map_or(0, |time| time.as_secs());
    let [page_file, json_file, csv_file] = ["report.html", "report.json", "report.csv"].map(|name| args.out.join(name));
    let (data, profile) = (args.data.files(), files::profile());
    let inputs = data.iter().chain(args.rivals.files()).chain(&profile);
    files::prepare(inputs, [&page_file, &json_file, &csv_file])?;
    let data = args.data.load()?;
    let contenders = args.rivals.join(Contender::for_gemm(), 1)?;
    let (clock, steal) = (machine::clock_mhz(), machine::steal_seconds());
    let effort = compare::effort(args.quick, args.full);
    let compare = compare::measure(effort, contenders, &data, console)?;
    let (sizes, cold) = squares(&effort, console)?;
    let active = Backend::active()?;
    let engine = Kernels::active()?;
    console.line("\nThe training once more, with the test set after each epoch.\n")?;
    let recipe = Recipe { epochs: effort.epochs, ..Recipe::default() };
    let model = training::model_for(&data, &[128], recipe.batch, recipe.seed)?;
    let layers = vec![model.inputs(), 128, model.classes()];
    let mut trainer = Trainer::new(model, recipe, &engine)?;
    let curves = training::fit(&mut trainer, &data.train, Some(&data.test), console)?;
    let model = trainer.into_model();
    console.begin_status();
    console.status("a training step");
    let budget = budget::measure(&[engine], &layers, 32, effort.case)?.swap_remove(0);
    let found = model.predict(&engine, &data.test)?;
    let confusion = Confusion::new(model.classes(), data.test.labels(), &found)?;
    let predictions = predictions(&model, &engine, &data.test)?;
    console.end();
    let steal_seconds = steal.zip(machine::steal_seconds()).map(|(before, after)| after - before);
    let record = Record {
        head: Head::new("report"),
        time,
        seconds: begin.elapsed().as_secs_f64(),
        clock_mhz: [clock, machine::clock_mhz()],
        steal_seconds,
        tuning: info::tuning_of(active),
        planned: Cpu::get().to_string(),
        compare,
        sizes,
        cold,
        budget,
        layers,
        curves: curves.iter().map(compare::Epoch::from).collect(),
        confusion: confusion.rows().map(<[u64]>::to_vec).collect(),
        scores: confusion.scores().into_iter().map(Score::from).collect(),
        predictions,
    };
    files::write_whole(&page_file, &page::html(&record, &data.test))?;
    let json = serde_json::to_string_pretty(&record).expect("numbers and strings are always JSON") + "\n";
    files::write_whole(&json_file, &json)?;
    files::write_whole(&csv_file, &csv(&record))?;
    console.line(format_args!("\nThe report is {}, its numbers beside it.", page_file.display()))?;
    let failures = record.compare.checks_failed;
    if failures.is_empty() { Ok(()) } else { Err(Error::Checks { failures }) }
}

/// The ladder's best loop and the active row over the sizes of squares, with warm caches; the row with cold ones.
fn squares(effort: &Effort, console: &mut Console) -> Result<(Vec<CaseRecord>, Vec<CaseRecord>)> {
    const SIZES: [usize; 14] = [4, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512];
    const COLD: [usize; 4] = [16, 64, 128, 256];
    let active = Backend::active()?;
    let row = Contender::Row(active);
    let naive = [Contender::NaiveIjk, Contender::NaiveIkj];
    console.begin((SIZES.len() + COLD.len()) as u64);
    let budget = (effort.case / 6).max(Duration::from_millis(60));
    let measure = |size: usize, cache: Cache| {
        console.status(format_args!("{size}x{size}x{size}, {cache:?}"));
        let case = Product::<f32>::new(size, size, size);
        // The textbook's loops take too long for large ones.
        let naive = &naive[if size <= 256 { 0 } else { 1 }..];
        let contenders = if cache == Cache::Warm { [naive, &[row]].concat() } else { vec![row] };
        let plan = Plan { cache, ..Plan::lasting(budget) };
        let comparison = case::compete(&case, &contenders, &[active], &plan);
        console.step();
        CaseRecord::new(&case, cache, &comparison, None, |entry: &Measured, other: &Measured| {
            entry.who.is_row() && !other.who.is_row()
        })
    };
    let warm = SIZES.into_iter().map(|size| measure(size, Cache::Warm)).collect();
    let cold = COLD.into_iter().map(|size| measure(size, Cache::Cold)).collect();
    console.end();
    Ok((warm, cold))
}

/// What the model makes of the first test images.
fn predictions(model: &Mlp, engine: &Kernels<'_>, test: &Dataset) -> Result<Vec<Prediction>> {
    let first = test.head(25);
    let of = |(&label, (prediction, probability))| Prediction { label, prediction, probability };
    Ok(zip(first.labels(), model::predictions(model, engine, &first)?).map(of).collect())
}

/// A field of CSV, in quotes where it needs them (RFC 4180): a library's file can have any name.
fn quoted(text: &str) -> String {
    let plain = !text.contains([',', '"', '\n', '\r']);
    if plain { text.to_owned() } else { format!("\"{}\"", text.replace('"', "\"\"")) }
}

/// A line for each contender in each case.
fn csv(record: &Record) -> String {
    let mut text = String::from(
        "case,cache,contender,threads,operation,operations,bytes,seconds,seconds_low,seconds_high,seconds_mad,speed,\
         peak,error,max_abs_error,rms_error,samples,noise_floor\n",
    );
    let cases =
        record.compare.products.iter().chain(&record.compare.functions).chain(&record.sizes).chain(&record.cold);
    for case in cases {
        for entry in &case.results {
            let cache = if case.cache == Cache::Warm { "warm" } else { "cold" };
            let seconds = entry.seconds;
            let (name, contender) = (quoted(&case.name), quoted(&entry.name));
            let names = format!("{name},{cache},{contender},{},{}", entry.threads, case.operation);
            let numbers = [
                Some(case.operations),
                Some(case.bytes),
                Some(seconds.median),
                Some(seconds.low),
                Some(seconds.high),
                Some(seconds.mad),
                Some(entry.speed),
                entry.peak,
                Some(entry.error),
                Some(entry.max_abs_error),
                Some(entry.rms_error),
                Some(entry.samples as f64),
                Some(case.noise_floor),
            ];
            let numbers = numbers.map(|x| x.map_or(String::new(), |x| format!("{x:e}")));
            text += &format!("{names},{}\n", numbers.join(","));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_quoted_where_they_must_be() {
        for (text, field) in
            [("mkl_rt", "mkl_rt"), ("<b>x,y", "\"<b>x,y\""), ("a\"b", "\"a\"\"b\""), ("a\nb", "\"a\nb\"")]
        {
            assert_eq!(quoted(text), field);
        }
    }
}
