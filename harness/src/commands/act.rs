//! `harness act`: one function in depth.

use super::json;
use crate::case::{self, Function, Functions, Measured};
use crate::console::Console;
use crate::contender::Contender;
use crate::error::{Error, Result};
use crate::machine;
use crate::measure::{Cache, Plan};
use crate::peak::Roofline;
use crate::record::{CaseRecord, Entry, Head};
use crate::report::{NONE, Table, counted, percent, short};
use clap::value_parser;
use kernels::Backend;
use serde::Serialize;
use std::time::Duration;

const HELP: &str = "\
Examples:
  harness act gelu 4096
  harness act softmax 10 1000            rows of 10, a thousand of them
  harness act tanh 10000000 --cold";

/// Arguments of the command.
#[derive(clap::Args)]
#[command(after_help = HELP)]
pub struct Args {
    /// The function, as `harness certify` names it, or softmax
    #[arg(value_name = "NAME")]
    function: Functions,
    /// Numbers, or numbers in a row
    #[arg(value_name = "LEN", value_parser = value_parser!(u32).range(1..=1 << 26))]
    len: u32,
    /// Rows
    #[arg(value_name = "ROWS", default_value = "1", value_parser = value_parser!(u32).range(1..=1 << 26))]
    rows: u32,
    /// The data lie in memory before each call, not in a cache
    #[arg(long)]
    cold: bool,
    /// Time for the samples
    #[arg(long, value_name = "SECONDS", default_value = "1", value_parser = super::parse::seconds)]
    time: Duration,
    #[command(flatten)]
    json: json::Args,
}

const LEGEND: &str = "
ns: nanoseconds an element; 95%: the bootstrap interval of the speed; GB/s: bytes read and written; roof: share of
what the bandwidth allows; x: times as fast as the naive loop, = where that is no difference; ULP: the largest error,
relative.";

/// What `--json` holds.
#[derive(Serialize)]
struct Record {
    #[serde(flatten)]
    head: Head,
    roofline: Roofline,
    #[serde(flatten)]
    case: CaseRecord,
    /// Those whose result was wrong, in words.
    failures: Vec<String>,
}

/// Verifies, measures, prints; fails if a result is wrong.
pub fn run(args: &Args, console: &mut Console) -> Result<()> {
    if u64::from(args.len) * u64::from(args.rows) > 1 << 26 {
        return Err(Error::Usage("LEN times ROWS is too large: at most 2^26 numbers"));
    }
    args.json.prepare([], [], console)?;
    let active = Backend::active()?;
    let cpu = machine::cpu().unwrap_or_else(|| "unknown CPU".to_owned());
    console.line(format_args!("{cpu}, {}\n{LEGEND}", counted(machine::cores(), "core")))?;
    console.begin_status();
    console.status("measuring");
    let cache = if args.cold { Cache::Cold } else { Cache::Warm };
    let case = Function::new(args.function, args.rows as usize, args.len as usize);
    let roofline = Roofline::measure(active, Duration::from_millis(50));
    let plan = Plan { cache, ..Plan::lasting(args.time) };
    let comparison = case::compete(&case, &Contender::for_function(), &[], &plan);
    console.end();
    let naive = |_: &Measured, other: &Measured| !other.who.is_row();
    let case_record = CaseRecord::new(&case, cache, &comparison, Some(&roofline), naive);
    let failures = comparison.wrong.iter().map(|(who, wrong)| format!("{case}, {who}: {wrong}")).collect();
    let record = Record { head: Head::new("act"), roofline, case: case_record, failures };
    console.print(format_args!("\n{}", table(&record)))?;
    if let Functions::Each(f) = args.function {
        console.line(format_args!("claimed: at most {} ULP on every row with FMA", f.bound()))?;
    }
    console.line(format_args!("{}; {}", record.case.noise(), record.roofline.describe(&record.case)))?;
    args.json.write(&record, console)?;
    if record.failures.is_empty() { Ok(()) } else { Err(Error::Checks { failures: record.failures }) }
}

fn table(record: &Record) -> Table {
    let case = &record.case;
    let mut headings = vec![case.name.as_str(), "G/s"];
    headings.extend(Entry::SPEED);
    headings.extend(["ns", "GB/s", "roof", "x naive", "ULP", "max abs", "rms"]);
    let mut table = Table::new(&headings);
    for entry in &case.results {
        let per_element = entry.seconds.median / case.operations;
        let bandwidth = case.bytes / entry.seconds.median;
        let roof = entry.roofline.map_or(NONE.to_owned(), percent);
        let over = entry.over.values().next().map_or(NONE.to_owned(), |ratio| ratio.cell());
        let cells = entry.speed_cells().into_iter();
        let cells = cells.chain([short(per_element * 1e9), short(bandwidth / 1e9), roof, over]);
        table.row([entry.name.clone()].into_iter().chain(cells).chain(entry.error_cells()));
    }
    table
}
