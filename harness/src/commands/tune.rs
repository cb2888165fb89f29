//! `harness tune`: block sizes and thresholds that suit this CPU, in a profile.

use super::gemm::Type;
use super::json;
use crate::console::{BAD, Console, GOOD, STRONG, styled};
use crate::error::{Error, Result};
use crate::files;
use crate::number::Number;
use crate::record::Head;
use crate::report::{Table, counted};
use crate::stats::{Estimate, Verdict};
use crate::tune::{self, Clock, Outcome, SEARCHED, Shape, Step, UNSEEN, percent_gain};
use clap::{ArgGroup, value_parser};
use kernels::{Backend, Cpu, Profile, Team, Tuning};
use nn::files::place;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const HELP: &str = "\
Writes a profile for this CPU. Nothing reads it until KERNELS_PROFILE names it:
  harness tune --out my.profile
  KERNELS_PROFILE=my.profile harness compare

Examples:
  harness tune                           two minutes, f32, the row that calls use, one thread
  harness tune --time 600 --type f64 --threads 2
  harness tune --verify                  measures the profile again, on shapes new to it
  harness tune --explain                 the default values, the tuned ones, and why

The profile keeps the lines of other rows and element types. No product's result depends on it.";

/// Arguments of the command.
#[derive(clap::Args)]
#[command(after_help = HELP, group = ArgGroup::new("what"))]
pub struct Args {
    /// Measure the profile against the default, on shapes that the search did not see; fails where it does not pay
    #[arg(long, group = "what")]
    verify: bool,
    /// Show the model's, the default and the profile's values, and why they differ
    #[arg(long, group = "what")]
    explain: bool,
    /// Time for the search and its verification
    #[arg(long, value_name = "SECONDS", default_value = "120", value_parser = super::parse::seconds)]
    time: Duration,
    /// Type of the elements
    #[arg(long = "type", value_enum, default_value_t = Type::F32)]
    element: Type,
    /// Row of the kernels' table [default: the one that the CPU or KERNELS_ISA chooses]
    #[arg(long, value_name = "NAME", value_parser = super::parse::row)]
    row: Option<&'static Backend>,
    /// Tune for so many threads, the threshold for threads with them
    #[arg(long, value_name = "N", default_value = "1", value_parser = value_parser!(u32).range(1..=1024))]
    threads: u32,
    /// Begin with the values of this profile instead of the default ones
    #[arg(long, value_name = "FILE", conflicts_with_all = ["verify", "explain"])]
    start: Option<PathBuf>,
    /// The profile [default: KERNELS_PROFILE, else target/harness/CPU.profile]
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
    /// The row of the kernels' table.
    row: &'static str,
    /// Type of the elements.
    element: &'static str,
    threads: usize,
    /// The profile.
    profile: PathBuf,
    /// The default values, by name: those of the built-in profile of this CPU, else the model's.
    default: BTreeMap<&'static str, usize>,
    /// Those of the profile now.
    tuned: BTreeMap<&'static str, usize>,
    /// Tunings that were timed in the search.
    tried: usize,
    /// The changes of the search that were worth it.
    steps: Vec<Step>,
    /// What the search found against the default, on shapes that it did not see.
    gain: Option<Estimate>,
    /// What the gain says.
    verdict: Option<Verdict>,
    shapes: Vec<ShapeGain>,
}

/// What a tuning does for a shape.
#[derive(Serialize)]
struct ShapeGain {
    shape: String,
    /// Times as fast as the default; null where both compute in the same way.
    gain: Option<Estimate>,
}

/// Searches, verifies or explains.
pub fn run(args: &Args, console: &mut Console) -> Result<()> {
    match args.element {
        Type::F32 => run_for::<f32>(args, console),
        Type::F64 => run_for::<f64>(args, console),
    }
}

fn run_for<T: Number>(args: &Args, console: &mut Console) -> Result<()> {
    let row = args.row.map_or_else(Backend::active, Ok)?;
    let in_use = files::profile();
    let file = args.out.clone().or_else(|| in_use.clone());
    let cpu = Cpu::get().to_string();
    let id = cpu.split_whitespace().next().unwrap_or("this");
    let file = file.unwrap_or_else(|| PathBuf::from(format!("target/harness/{id}.profile")));
    // A search goes on from the file, and keeps what it holds of other rows; it may begin with its values, too.
    let written = (!args.explain && !args.verify).then_some(&file);
    let others = args.start.iter().chain(&in_use).filter(|other| place(other) != place(&file));
    let read = written.is_none().then_some(&file).into_iter().chain(others);
    files::prepare(read, args.json.outputs(written, console))?;
    let task = Task { row, element: std::any::type_name::<T>(), threads: args.threads as usize, file };
    // What calls use where no profile is named. One that is named is what is in question.
    let default = if in_use.is_some() { row.model::<T>() } else { row.tuning::<T>() };
    console.line(format_args!("{cpu}; {} {}, {}", row.name(), task.element, counted(task.threads, "thread")))?;
    let record = if args.explain {
        task.explain(row.model::<T>(), default, console)?
    } else if args.verify {
        task.verify::<T>(default, console)?
    } else {
        let start = match &args.start {
            Some(file) => values(file, &task)?,
            None => default,
        };
        task.search::<T>(default, start, args.time, console)?
    };
    args.json.write(&record, console)?;
    match (&record.gain, record.verdict) {
        (Some(gain), Some(Verdict::Slower)) if args.verify => Err(Error::Checks {
            failures: vec![format!("{} is slower than the default: {}", task.file.display(), percent_gain(gain))],
        }),
        _ => Ok(()),
    }
}

/// What is tuned, and where the values go.
struct Task {
    row: &'static Backend,
    element: &'static str,
    threads: usize,
    file: PathBuf,
}

/// Rounds of a verification.
const ROUNDS: usize = 31;

impl Task {
    fn search<T: Number>(
        &self,
        default: Tuning,
        start: Tuning,
        time: Duration,
        console: &mut Console,
    ) -> Result<Record> {
        let old = match self.file.exists() {
            true => Profile::load(&self.file)?,
            false => Profile::new(),
        };
        // The verification takes some seconds of the time.
        let search_time = time.mul_f64(0.85).max(time.saturating_sub(Duration::from_secs(15)));
        let team = Team::new(self.threads);
        let begin = Instant::now();
        console.begin(search_time.as_secs());
        let mut clock = Clock::<T>::new(self.row, &team, &SEARCHED, search_time);
        let mut tell = |what: &str| {
            console.set(begin.elapsed().as_secs());
            console.status(format_args!("seconds; {what}"));
        };
        let found = tune::search(&mut clock, start, self.threads > 1, 0, &mut tell);
        let wrong = std::mem::take(&mut clock.wrong);
        console.end();
        if !wrong.is_empty() {
            return Err(Error::Checks { failures: wrong });
        }
        console.line(format_args!("{} tunings tried in {} s", found.tried, begin.elapsed().as_secs()))?;
        for step in &found.steps {
            console.line(format_args!("  {step}"))?;
        }
        let outcome = self.measure::<T>(found.tuning, default, console)?;
        let pays = outcome.verdict == Verdict::Faster && !outcome.loses_somewhere();
        let gain = percent_gain(&outcome.gain);
        let tuning = if pays { found.tuning } else { default };
        let why = match (pays, found.tuning == default) {
            (true, _) => styled(GOOD, format!("faster than the default: {gain}")),
            (_, true) => "the default values are the best that were found".to_owned(),
            _ => format!("no gain over the default that holds: {gain}; the profile has the default values"),
        };
        console.line(format_args!("On shapes that the search did not see: {why}"))?;
        let mut profile = old;
        profile.set::<T>(self.row, tuning);
        let steps = if pays { found.steps.clone() } else { Vec::new() };
        files::write_whole(&self.file, &self.text(&profile, &steps, pays.then_some(&outcome.gain)))?;
        console.line(format_args!("\nWritten to {0}; to use it: export KERNELS_PROFILE={0}", self.file.display()))?;
        Ok(self.record(default, tuning, found.tried, found.steps, Some(&outcome)))
    }

    fn verify<T: Number>(&self, default: Tuning, console: &mut Console) -> Result<Record> {
        let tuning = values(&self.file, self)?;
        let outcome = self.measure::<T>(tuning, default, console)?;
        let mut table = Table::new(&["shape", "times as fast", "95%"]);
        for (shape, gain) in UNSEEN.iter().zip(&outcome.shapes) {
            let cells = gain.map_or(["the same way".to_owned(), String::new()], |x| {
                [format!("{:.3}", x.median), format!("{:.3}..{:.3}", x.low, x.high)]
            });
            table.row([name(shape)].into_iter().chain(cells));
        }
        console.print(format_args!("\n{table}\n"))?;
        let gain = percent_gain(&outcome.gain);
        console.line(match outcome.verdict {
            Verdict::Faster if !outcome.loses_somewhere() => styled(GOOD, format!("It pays: {gain}")),
            Verdict::Faster => styled(BAD, format!("It pays over all, {gain}, but a shape loses more than 3%")),
            Verdict::NoDifference => format!("No difference to the default: {gain}"),
            Verdict::Slower => styled(BAD, format!("It does not pay: {gain}")),
        })?;
        Ok(self.record(default, tuning, 0, Vec::new(), Some(&outcome)))
    }

    /// A tuning against the default one, on shapes that no search sees.
    fn measure<T: Number>(&self, tuning: Tuning, default: Tuning, console: &mut Console) -> Result<Outcome> {
        console.begin_status();
        console.status("verifying on unseen shapes");
        let team = Team::new(self.threads);
        let mut clock = Clock::<T>::new(self.row, &team, &UNSEEN, Duration::ZERO);
        let outcome = tune::compare(&mut clock, tuning, default, ROUNDS);
        console.end();
        if clock.wrong.is_empty() { Ok(outcome) } else { Err(Error::Checks { failures: clock.wrong }) }
    }

    fn explain(&self, model: Tuning, default: Tuning, console: &Console) -> Result<Record> {
        const MEANING: [&str; 6] = [
            "elements of a block of B; by the model it fills half of the second cache",
            "the deepest block along k; deeper ones pass C less often, shallower ones are wider",
            "rows from which a B of adjacent columns is packed, which then is read in order",
            "elements of a B that stays in the second cache by itself",
            "rows from which a B that is not near is packed",
            "multiplications that pay for waking one more thread",
        ];
        let tuning = if self.file.exists() { values(&self.file, self)? } else { default };
        let mut table = Table::new(&["value", "model", "default", "tuned", ""]);
        let values = model.values().into_iter().zip(default.values()).zip(tuning.values());
        for ((name, ((model, default), tuned)), meaning) in Tuning::NAMES.into_iter().zip(values).zip(MEANING) {
            let change =
                if default == tuned { "=".to_owned() } else { format!("x {:.2}", tuned as f64 / default as f64) };
            table.row([name.to_owned(), model.to_string(), default.to_string(), tuned.to_string(), change]);
            console.line(format_args!("{name:<16} {meaning}"))?;
        }
        console.print(format_args!("\n{table}\n"))?;
        let why = self.comments(&fs::read_to_string(&self.file).unwrap_or_default());
        console.line(match (self.file.exists(), why.is_empty()) {
            (false, _) => format!("{} is not there: these are the default values", self.file.display()),
            (_, true) => format!("{} has the default values, or does not say why", self.file.display()),
            _ => format!("{}\n{}", styled(STRONG, "Why, as the search measured it:"), why.join("\n")),
        })?;
        Ok(self.record(default, tuning, 0, Vec::new(), None))
    }

    /// What comments about this row and element type begin with.
    fn mark(&self) -> String {
        format!("# {} {}: ", self.row.name(), self.element)
    }

    fn comments(&self, text: &str) -> Vec<String> {
        text.lines().filter_map(|line| line.strip_prefix(&self.mark())).map(str::to_owned).collect()
    }

    /// The profile with the reasons of its values; those of other rows stay.
    fn text(&self, profile: &Profile, steps: &[Step], gain: Option<&Estimate>) -> String {
        let mark = self.mark();
        let old = fs::read_to_string(&self.file).unwrap_or_default();
        let others = old.lines().filter(|line| line.starts_with('#') && !line.starts_with(&mark)).map(str::to_owned);
        let steps = steps.iter().map(|step| format!("{mark}{step}"));
        let gain = gain
            .map(|gain| format!("{mark}{} on unseen shapes, {}", percent_gain(gain), counted(self.threads, "thread")));
        let comments: Vec<String> = others.chain(steps).chain(gain).collect();
        let text = profile.to_string();
        // Two lines say what it is and for whom.
        let split = text.match_indices('\n').nth(1).map_or(text.len(), |(at, _)| at + 1);
        let (head, lines) = text.split_at(split);
        let comments: String = comments.into_iter().map(|line| line + "\n").collect();
        format!("{head}{comments}{lines}")
    }

    fn record(
        &self,
        default: Tuning,
        tuned: Tuning,
        tried: usize,
        steps: Vec<Step>,
        outcome: Option<&Outcome>,
    ) -> Record {
        let named = |tuning: Tuning| Tuning::NAMES.into_iter().zip(tuning.values()).collect();
        let shapes = outcome.iter().flat_map(|outcome| UNSEEN.iter().zip(&outcome.shapes));
        Record {
            head: Head::new("tune"),
            row: self.row.name(),
            element: self.element,
            threads: self.threads,
            profile: self.file.clone(),
            default: named(default),
            tuned: named(tuned),
            tried,
            steps,
            gain: outcome.map(|outcome| outcome.gain),
            verdict: outcome.map(|outcome| outcome.verdict),
            shapes: shapes.map(|(shape, &gain)| ShapeGain { shape: name(shape), gain }).collect(),
        }
    }
}

/// The values of a profile for the row and the element type.
fn values(file: &Path, task: &Task) -> Result<Tuning> {
    files::exists(file, "harness tune")?;
    let profile = Profile::load(file)?;
    profile.get(task.row.name(), task.element).ok_or_else(|| Error::NotInProfile {
        path: file.to_owned(),
        row: task.row.name(),
        element: task.element,
    })
}

fn name(&([m, k, n], a_transposed): &Shape) -> String {
    format!("{m}x{k}x{n}{}", if a_transposed { "A'" } else { "" })
}
