//! `harness certify`: the functions of the kernels on all 2^32 inputs, or a part of them, against f64.

use super::json;
use crate::case;
use crate::console::Console;
use crate::error::{Error, Result};
use crate::files;
use crate::oracle;
use crate::record::Head;
use kernels::{Backend, Function, reference};
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};
use std::{fs, io};

const AFTER: &str = "\
All inputs of a function take a minute or two on two cores. The report is written after each
function and keeps the lines of other functions and rows, and those of more inputs: a run that
was broken off goes on with --resume.

Examples:
  harness certify --function exp,gelu --threads 2
  harness certify --sample 1001 --isa portable --json -";

/// Arguments of the command.
#[derive(clap::Args)]
#[command(after_help = AFTER)]
pub struct Args {
    /// Only these functions, by name, such as exp,gelu [default: all]
    #[arg(long, value_name = "NAMES", value_delimiter = ',', value_parser = by_name)]
    function: Vec<Function>,
    /// Only these rows of the kernels' table [default: all that this CPU supports]
    #[arg(long, value_name = "ROWS", value_delimiter = ',', value_parser = super::parse::row)]
    isa: Vec<&'static Backend>,
    /// Every N-th input instead of all
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    sample: u32,
    /// Threads that check
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=256))]
    threads: u32,
    /// Leave out the functions that the report already holds for all inputs on these rows
    #[arg(long)]
    resume: bool,
    /// The report [default: docs/accuracy.md when all inputs are checked, else none]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    #[command(flatten)]
    json: json::Args,
}

/// What `--json` holds.
#[derive(Serialize)]
struct Record {
    #[serde(flatten)]
    head: Head,
    sample: u32,
    functions: Vec<Certified>,
    failures: Vec<String>,
}

/// A function on a row.
#[derive(Serialize)]
struct Certified {
    function: &'static str,
    row: &'static str,
    inputs: u64,
    /// Null for an infinite one, which [`Record::failures`] then tells of.
    max_ulp: f64,
    bound: f64,
    at: String,
    /// How many inputs have an error of at most 0, 1/4, .. 2 ULP.
    within: [u64; BINS - 1],
    /// Of an element.
    seconds: f64,
    checksum: String,
}

impl Certified {
    /// As a line of the report.
    fn line(&self) -> String {
        let Self { function, row, inputs, max_ulp, at, checksum, .. } = self;
        // How many of 10,000 have an error of at most so many quarters of an ULP.
        let share = |quarters: usize| {
            let of_10_000 = self.within[quarters] * 10_000 / inputs.max(&1);
            format!("{}.{:02} %", of_10_000 / 100, of_10_000 % 100)
        };
        let shares = [2, 3, 4, 8].map(share).join(" | ");
        let nanoseconds = 1e9 * self.seconds;
        format!("| {function} | {row} | {inputs} | {max_ulp:.4} | {at} | {shares} | {nanoseconds:.2} | {checksum} |")
    }
}

const HEAD: &str = "\
# Accuracy

Written by `harness certify`: a line for each function on each row of the table. The error is the largest one over the
inputs that were checked (4294967296 are all there are), against `harness::oracle` in f64, which is wrong by less than
2^-20 ULP, in ULPs as `kernels::reference::ulps` counts them: an error of a true 0, a zero of the wrong sign and a missing
NaN are infinitely large. The shares are those of the inputs with an error of at most so many ULPs, cut off, not rounded;
0.5 is a correctly rounded result. Times are those of an element of 4096 in the first cache, on the machine of the run. The
checksum covers the bits of all results, NaNs made alike: rows with equal checksums of as many inputs, on whatever machine,
agree on every one.

| function | row | inputs | max ULP | at | <= 0.5 | <= 0.75 | <= 1 | <= 2 | ns/element | checksum |
| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | --- |
";

/// Inputs of a piece of work, before sampling.
const CHUNK: u64 = 1 << 20;
const CHUNKS: usize = ((1 << 32) / CHUNK) as usize;

/// What was found on one row.
#[derive(Clone)]
struct Found {
    inputs: u64,
    worst: f64,
    at: f32,
    /// Inputs with an error of up to 0, 1/4, 2/4, .. ULP, and those beyond 2.
    histogram: [u64; BINS],
    checksum: u64,
}

const BINS: usize = 10;

impl Found {
    const NOTHING: Self = Self { inputs: 0, worst: 0.0, at: 0.0, histogram: [0; BINS], checksum: 0 };

    /// For the record and the report.
    fn certified(&self, f: Function, row: &Backend) -> Certified {
        let mut within = [0; BINS - 1];
        let mut sum = 0;
        for (within, count) in within.iter_mut().zip(self.histogram) {
            sum += count;
            *within = sum;
        }
        Certified {
            function: f.name(),
            row: row.name(),
            inputs: self.inputs,
            max_ulp: self.worst,
            bound: if row.bits_match() { f.bound() } else { f.plain_bound() },
            at: format!("{:e}", self.at),
            within,
            seconds: seconds(f, row),
            checksum: format!("{:016x}", self.checksum),
        }
    }

    /// Adds what was found on further inputs.
    fn take(&mut self, next: &Self) {
        self.inputs += next.inputs;
        self.checksum = mix(self.checksum, next.checksum);
        for (all, next) in self.histogram.iter_mut().zip(next.histogram) {
            *all += next;
        }
        if next.worst > self.worst {
            (self.worst, self.at) = (next.worst, next.at);
        }
    }
}

/// Checks, reports, and fails where a bound is missed or rows differ.
pub fn run(args: &Args, console: &mut Console) -> Result<()> {
    let functions = if args.function.is_empty() { Function::ALL.to_vec() } else { args.function.clone() };
    let rows = if args.isa.is_empty() { Backend::supported().collect() } else { args.isa.clone() };
    let out = args.out.clone().or_else(|| (args.sample == 1).then(|| PathBuf::from("docs/accuracy.md")));
    args.json.prepare([], &out, console)?;
    if let Some(out) = &out {
        report(out)?;
    }
    let mut record = Record { head: Head::new("certify"), sample: args.sample, functions: vec![], failures: vec![] };
    for f in functions {
        if let Some(out) = out.as_ref().filter(|_| args.resume) {
            let report = report(out)?;
            let held = |row: &&Backend| report.contains(&format!("| {} | {} | {} |", f.name(), row.name(), 1u64 << 32));
            if rows.iter().all(held) {
                continue;
            }
        }
        console.begin(CHUNKS as u64);
        console.status(f.name());
        let found = check(f, &rows, args.sample, args.threads, console);
        console.end();
        let mut lines = BTreeMap::new();
        let mut first: Option<&Found> = None;
        for (row, found) in rows.iter().zip(&found) {
            let certified = found.certified(f, row);
            if certified.max_ulp > certified.bound {
                let Certified { function, row, max_ulp, at, .. } = &certified;
                record.failures.push(format!("{function}, {row}: {max_ulp} ULP at {at}"));
            }
            if row.bits_match() && first.get_or_insert(found).checksum != found.checksum {
                record.failures.push(format!("{}: {} has other bits", f.name(), row.name()));
            }
            let line = certified.line();
            console.line(&line)?;
            lines.insert((f.name().to_owned(), row.name().to_owned()), line);
            record.functions.push(certified);
        }
        if let Some(out) = &out {
            files::write_whole(out, &merged(&report(out)?, lines))?;
        }
    }
    args.json.write(&record, console)?;
    if record.failures.is_empty() { Ok(()) } else { Err(Error::Checks { failures: record.failures }) }
}

fn by_name(name: &str) -> std::result::Result<Function, String> {
    case::by_name(name, Function::ALL.into_iter(), Function::name)
}

/// The report as it is; none yet is an empty one. A file that is something else is an error, as it would be lost.
fn report(out: &Path) -> Result<String> {
    let error = |source| Error::Read { path: out.to_owned(), source };
    if !out.is_file() {
        return Ok(String::new());
    }
    let text = fs::read_to_string(out).map_err(error)?;
    let begins = HEAD.split(':').next().unwrap_or(HEAD);
    if text.is_empty() || text.starts_with(begins) {
        return Ok(text);
    }
    Err(error(io::Error::new(io::ErrorKind::InvalidData, "it is no report of harness certify, and was left alone")))
}

/// The report with these lines in the place of older ones, but for those of more inputs.
fn merged(old: &str, new: BTreeMap<(String, String), String>) -> String {
    let inputs = |line: &str| line.split(" | ").nth(2).and_then(|inputs| inputs.parse::<u64>().ok());
    let mut lines: BTreeMap<(String, String), String> = old
        .lines()
        .filter_map(|line| {
            let mut cells = line.strip_prefix("| ")?.split(" | ");
            let key = (cells.next()?.to_owned(), cells.next()?.to_owned());
            // The heading has no inputs.
            inputs(line).map(|_| (key, line.to_owned()))
        })
        .collect();
    for (key, line) in new {
        if lines.get(&key).is_none_or(|old| inputs(old) <= inputs(&line)) {
            lines.insert(key, line);
        }
    }
    lines.values().fold(HEAD.to_owned(), |text, line| text + line + "\n")
}

/// Checks a function on some rows.
fn check(f: Function, rows: &[&Backend], sample: u32, threads: u32, console: &Console) -> Vec<Found> {
    let next = AtomicUsize::new(0);
    let chunks = Mutex::new(vec![Vec::new(); CHUNKS]);
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let chunk = next.fetch_add(1, Ordering::Relaxed);
                    if chunk >= CHUNKS {
                        return;
                    }
                    let found = check_chunk(f, rows, chunk as u64 * CHUNK, u64::from(sample));
                    chunks.lock().unwrap_or_else(PoisonError::into_inner)[chunk] = found;
                    console.step();
                }
            });
        }
    });
    let chunks = chunks.into_inner().unwrap_or_else(PoisonError::into_inner);
    chunks.iter().fold(vec![Found::NOTHING; rows.len()], |mut all, chunk| {
        for (all, found) in all.iter_mut().zip(chunk) {
            all.take(found);
        }
        all
    })
}

/// Checks the inputs whose bits are `start` and the `CHUNK` after it, as far as they are multiples of `sample`.
fn check_chunk(f: Function, rows: &[&Backend], start: u64, sample: u64) -> Vec<Found> {
    /// Few enough for the first cache.
    const BATCH: usize = 1024;
    let mut bits = (start.next_multiple_of(sample)..start + CHUNK).step_by(sample as usize);
    let mut all = vec![Found::NOTHING; rows.len()];
    let (mut x, mut want, mut rounded) = (Vec::new(), Vec::new(), Vec::new());
    let mut results = vec![Vec::new(); rows.len()];
    loop {
        x.clear();
        x.extend(bits.by_ref().take(BATCH).map(|bits| f32::from_bits(bits as u32)));
        if x.is_empty() {
            return all;
        }
        want.clear();
        want.extend(x.iter().map(|&x| oracle::function(f, f64::from(x))));
        rounded.clear();
        rounded.extend(want.iter().map(|&want| want as f32));
        let mut batch: Vec<Found> = Vec::with_capacity(rows.len());
        for (i, row) in rows.iter().enumerate() {
            let (before, y) = results.split_at_mut(i);
            let y = &mut y[0];
            y.clear();
            y.extend_from_slice(&x);
            row.map(f, y);
            // Rows agree as a rule, and then have the same errors.
            let like = before.iter().position(|earlier| alike(earlier, y));
            batch.push(like.map_or_else(|| errors(f, &x, y, &want, &rounded), |like| batch[like].clone()));
        }
        for (all, batch) in all.iter_mut().zip(&batch) {
            all.take(batch);
        }
    }
}

/// Whether the bits are equal.
fn alike(a: &[f32], b: &[f32]) -> bool {
    a.iter().zip(b).fold(true, |same, (a, b)| same & (a.to_bits() == b.to_bits()))
}

/// What there is to say of the results `y` at `x`. Where all are `rounded`, the true values as floats, the errors are
/// not looked at, but for a function that claims less than half an ULP.
fn errors(f: Function, x: &[f32], y: &[f32], want: &[f64], rounded: &[f32]) -> Found {
    let mut found = Found { inputs: x.len() as u64, checksum: checksum(y), ..Found::NOTHING };
    if f.bound() > 0.5 && alike(y, rounded) {
        (found.worst, found.at) = (0.5, x[0]);
        found.histogram[2] = found.inputs;
        return found;
    }
    for ((&x, &y), &want) in x.iter().zip(y).zip(want) {
        let error = reference::ulps(y, want);
        // A conversion holds what is too large, infinity included, and cuts off.
        let quarters = (error * 4.0) as usize;
        let bin = quarters + usize::from(quarters as f64 != error * 4.0);
        found.histogram[bin.min(BINS - 1)] += 1;
        if error > found.worst {
            (found.worst, found.at) = (error, x);
        }
    }
    found
}

/// Of the bits of all, NaNs made alike; in lanes, since a step waits for the last one.
fn checksum(y: &[f32]) -> u64 {
    let mut lanes = [0; 8];
    for y in y.chunks(lanes.len()) {
        for (lane, y) in lanes.iter_mut().zip(y) {
            *lane = mix(*lane, u64::from(if y.is_nan() { f32::NAN.to_bits() } else { y.to_bits() }));
        }
    }
    lanes.into_iter().fold(0, mix)
}

/// A step of the checksum: multiplication by an odd number loses nothing, rotation brings the high bits down.
fn mix(sum: u64, bits: u64) -> u64 {
    (sum ^ bits).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29)
}

/// The best of some milliseconds, for one element of 4096 between -8 and 8.
fn seconds(f: Function, row: &Backend) -> f64 {
    const LEN: usize = 4096;
    let x: Vec<f32> = (0..LEN).map(|i| (i as f32 - LEN as f32 / 2.0) * (16.0 / LEN as f32)).collect();
    let mut y = vec![0.0; LEN];
    let mut best = Duration::MAX;
    let start = Instant::now();
    while start.elapsed() < Duration::from_millis(20) {
        let begin = Instant::now();
        row.map_into(f, &x, &mut y).expect("the lengths are equal");
        best = best.min(begin.elapsed());
    }
    best.as_secs_f64() / LEN as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_of_a_function_is_within_its_bound_and_alike_on_all_rows() {
        let rows: Vec<&Backend> = Backend::supported().filter(|row| row.bits_match()).collect();
        let found = check(Function::Exp, &rows, 65_537, 2, &Console::new());
        assert_eq!(found[0].inputs, 65_536);
        let again = check(Function::Exp, &rows[..1], 65_537, 1, &Console::new());
        assert!(found.iter().all(|found| found.worst <= 1.0 && found.checksum == again[0].checksum));
    }

    #[test]
    fn a_report_keeps_the_lines_of_others() {
        let line = |function: &str, row: &str, inputs: u64, text: &str| {
            ((function.to_owned(), row.to_owned()), format!("| {function} | {row} | {inputs} | {text} |"))
        };
        let old = [line("exp", "avx2", 7, "old"), line("ln", "avx2", 7, "old"), line("sin", "avx2", 9, "old")];
        let old = merged("", BTreeMap::from(old));
        // A sample does not replace what is known of all inputs.
        let new = merged(&old, BTreeMap::from([line("exp", "avx2", 7, "new"), line("sin", "avx2", 8, "new")]));
        assert!(new.starts_with(HEAD));
        let lines = "| exp | avx2 | 7 | new |\n| ln | avx2 | 7 | old |\n| sin | avx2 | 9 | old |\n";
        assert_eq!(new[HEAD.len()..], *lines);
    }
}
