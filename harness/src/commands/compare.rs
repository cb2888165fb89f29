//! `harness compare`, the main job: kernels against naive loops, in speed and accuracy, from single calls to a whole
//! training. It fails when a result is wrong, never because it is slow.

use super::{data, json, rivals};
use crate::case::{self, Case, Comparison, Function, Functions, Measured, Product};
use crate::console::{BAD, Console, GOOD, STRONG, styled};
use crate::contender::Contender;
use crate::error::{Error, Result};
use crate::machine;
use crate::measure::{Cache, Plan};
use crate::peak::Roofline;
use crate::record::{CaseRecord, Entry, Head, Ratio};
use crate::report::{NONE, Table, counted, percent, short, thousands};
use crate::stats::{Estimate, Verdict, geometric_mean, verdict};
use crate::training::{self, Outcome, Runner, Steps};
use clap::ArgGroup;
use kernels::{Activation, Backend};
use nn::{EpochEnd, Mnist, Recipe, Trainer};
use serde::Serialize;
use std::collections::BTreeMap;
use std::iter::zip;
use std::time::Duration;

const HELP: &str = "\
Examples:
  harness compare --quick
  harness compare --full --json today.json
  harness compare --peers --blas libopenblas.so.0     (--peers: built with --features peers)";

/// Arguments of the command.
#[derive(clap::Args)]
#[command(after_help = HELP, group = ArgGroup::new("effort"))]
pub struct Args {
    /// Measure for a shorter time, leave the largest product away, train for one epoch: below 20 seconds
    #[arg(long, group = "effort")]
    quick: bool,
    /// Measure for a longer time, larger products and all functions: some minutes
    #[arg(long, group = "effort")]
    full: bool,
    #[command(flatten)]
    rivals: rivals::Args,
    #[command(flatten)]
    data: data::Args,
    #[command(flatten)]
    json: json::Args,
}

/// What the flags ask for.
pub(super) fn effort(quick: bool, full: bool) -> Effort {
    match (quick, full) {
        (true, _) => QUICK,
        (_, true) => FULL,
        _ => DEFAULT,
    }
}

/// How much is done.
#[derive(Clone, Copy)]
pub(super) struct Effort {
    name: &'static str,
    /// For each speed limit.
    limit: Duration,
    /// For each case.
    pub(super) case: Duration,
    squares: &'static [usize],
    functions: &'static [kernels::Function],
    steps: Steps,
    pub(super) epochs: usize,
    /// The test accuracy that any seed reaches after these epochs.
    accuracy: f64,
}

const USUAL: [kernels::Function; 6] = {
    use kernels::Function as F;
    [
        F::Activation(Activation::Relu),
        F::Exp,
        F::Activation(Activation::Tanh),
        F::Activation(Activation::Sigmoid),
        F::Activation(Activation::Gelu),
        F::Activation(Activation::Silu),
    ]
};

const QUICK: Effort = Effort {
    name: "quick",
    limit: Duration::from_millis(25),
    case: Duration::from_millis(350),
    squares: &[64, 256],
    functions: USUAL.split_at(3).0,
    steps: Steps { rounds: 3, per_round: 10 },
    epochs: 1,
    accuracy: 0.93,
};

const DEFAULT: Effort = Effort {
    name: "default",
    limit: Duration::from_millis(100),
    case: Duration::from_millis(3300),
    squares: &[64, 256, 512],
    functions: &USUAL,
    steps: Steps { rounds: 7, per_round: 40 },
    epochs: 5,
    accuracy: 0.97,
};

const FULL: Effort = Effort {
    name: "full",
    limit: Duration::from_millis(300),
    case: Duration::from_secs(6),
    squares: &[16, 64, 256, 512, 1024],
    functions: &kernels::Function::ALL,
    steps: Steps { rounds: 12, per_round: 100 },
    epochs: 5,
    accuracy: 0.97,
};

/// All cases are measured so many times, each for a part of its time, because a neighbour on the machine often stays
/// for longer than a case takes, and would meet just some of them.
const PASSES: u32 = 3;

/// How far the test accuracy may be from that of naive loops after equal steps: they round differently, no more.
const SAME_ACCURACY: f64 = 0.01;

const PRODUCTS: &str = "
Products C = A B in f32, sizes m x k x n, one thread, warm caches (A': A is stored transposed). GFLOP/s: median; 95%:
its bootstrap interval; ±: median deviation; peak: share of the FMA peak, sampled in the same rounds; x ijk: times as
fast as naive loops in that order, the median of the ratios within rounds, = where that is no difference; error: the
largest |error| / (|A||B|) in units of 2^-24; max abs and rms: errors against the exact product.";

const FUNCTIONS: &str = "
Functions in f32, one thread, warm caches; G/s: billions of elements a second; ULP: the largest error in units of the
last place, relative, tails included.";

/// What `--json` holds.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Record {
    #[serde(flatten)]
    pub(super) head: Head,
    /// `quick`, `default` or `full`.
    pub(super) effort: &'static str,
    /// The row of the kernels' table that calls use.
    pub(super) active: &'static str,
    /// The limits of every row.
    pub(super) rooflines: Vec<Roofline>,
    /// Where a row was slower than a naive loop.
    pub(super) losses: Vec<String>,
    pub(super) products: Vec<CaseRecord>,
    pub(super) functions: Vec<CaseRecord>,
    pub(super) training: Training,
    /// Checks that were passed.
    pub(super) checks_passed: usize,
    /// Checks that were not, in words.
    pub(super) checks_failed: Vec<String>,
}

/// The comparison of trainings.
#[derive(Debug, Clone, Default, Serialize)]
pub(super) struct Training {
    /// Steps that all did.
    pub(super) steps: usize,
    pub(super) runs: Vec<TrainingRun>,
    /// Of the whole training by the kernels.
    pub(super) epochs: Vec<Epoch>,
    pub(super) test_accuracy: f64,
    pub(super) test_loss: f64,
}

/// Equal steps by one contender.
#[derive(Debug, Clone, Serialize)]
pub(super) struct TrainingRun {
    pub(super) name: String,
    pub(super) threads: usize,
    /// Of a sample.
    pub(super) seconds: Estimate,
    /// How many times as fast as the naive loops it is.
    pub(super) over: BTreeMap<String, Ratio>,
    pub(super) test_accuracy: f64,
    /// Digest of the weights.
    pub(super) weights_sha256: String,
}

/// An epoch of the whole training.
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct Epoch {
    pub(super) seconds: f64,
    pub(super) samples: usize,
    /// While training.
    pub(super) accuracy: f64,
    pub(super) loss: f64,
    /// On the test set at the end of the epoch, where that was asked for; it decides nothing.
    pub(super) test_accuracy: Option<f64>,
    pub(super) test_loss: Option<f64>,
}

impl From<&EpochEnd> for Epoch {
    fn from(end: &EpochEnd) -> Self {
        Self {
            seconds: end.seconds,
            samples: end.samples,
            accuracy: end.metrics.accuracy,
            loss: end.metrics.loss,
            test_accuracy: end.validation.map(|test| test.accuracy),
            test_loss: end.validation.map(|test| test.loss),
        }
    }
}

/// Compares, prints, and fails if a result was not as it must be.
pub fn run(args: &Args, console: &mut Console) -> Result<()> {
    args.json.prepare(args.data.files().iter().chain(args.rivals.files()), [], console)?;
    let data = args.data.load()?;
    let contenders = args.rivals.join(Contender::for_gemm(), 1)?;
    let record = measure(effort(args.quick, args.full), contenders, &data, console)?;
    args.json.write(&record, console)?;
    if record.checks_failed.is_empty() { Ok(()) } else { Err(Error::Checks { failures: record.checks_failed }) }
}

/// Compares and prints; the contenders are those for products.
pub(super) fn measure(
    effort: Effort,
    contenders: Vec<Contender>,
    data: &Mnist,
    console: &mut Console,
) -> Result<Record> {
    let active = Backend::active()?;
    console.line(format_args!(
        "{}, {}; kernels choose {}",
        machine::cpu().unwrap_or_else(|| "unknown CPU".to_owned()),
        counted(machine::cores(), "core"),
        active.name()
    ))?;
    let record = Record {
        head: Head::new("compare"),
        effort: effort.name,
        active: active.name(),
        rooflines: Vec::new(),
        losses: Vec::new(),
        products: Vec::new(),
        functions: Vec::new(),
        training: Training::default(),
        checks_passed: 0,
        checks_failed: Vec::new(),
    };
    let mut session = Session { effort, contenders, console, record };
    session.kernels()?;
    session.training(active, data)?;
    session.verdict()
}

/// A comparison on its way.
struct Session<'a> {
    effort: Effort,
    /// For products.
    contenders: Vec<Contender>,
    console: &'a mut Console,
    record: Record,
}

impl Session<'_> {
    fn kernels(&mut self) -> Result<()> {
        let rows: Vec<&'static Backend> = Backend::supported().collect();
        let products = products(self.effort.squares);
        let functions = functions(self.effort.functions);
        let for_products = self.contenders.clone();
        let for_functions = Contender::for_function();
        let competitions: Vec<(&dyn Case, &[Contender], &[&Backend])> = (products.iter())
            .map(|case| (case as &dyn Case, &*for_products, &*rows))
            .chain(functions.iter().map(|case| (case as &dyn Case, &*for_functions, &[][..])))
            .collect();
        self.console.begin((rows.len() + PASSES as usize * competitions.len()) as u64);
        for row in &rows {
            self.console.status(format_args!("the speed limits of {}", row.name()));
            self.record.rooflines.push(Roofline::measure(row, self.effort.limit));
            self.console.step();
        }
        let mut comparisons: Vec<Comparison> = Vec::new();
        for pass in 0..PASSES {
            let plan = Plan { min_rounds: 2, seed: pass.into(), ..Plan::lasting(self.effort.case / PASSES) };
            for (i, &(case, contenders, limits)) in competitions.iter().enumerate() {
                self.console.status(case);
                let comparison = case::compete(case, contenders, limits, &plan);
                match comparisons.get_mut(i) {
                    Some(earlier) => earlier.join(comparison),
                    None => comparisons.push(comparison),
                }
                self.console.step();
            }
        }
        let records = zip(&competitions, &comparisons).map(|((case, ..), comparison)| self.take(*case, comparison));
        let mut records: Vec<CaseRecord> = records.collect();
        self.record.functions = records.split_off(products.len());
        self.record.products = records;
        self.console.end();
        self.print_kernels()
    }

    /// What is told of a case; its checks and losses are counted.
    fn take(&mut self, case: &dyn Case, comparison: &Comparison) -> CaseRecord {
        let wrong = comparison.wrong.iter().map(|(who, wrong)| format!("{case}, {who}: {wrong}"));
        self.record.checks_passed += comparison.measured.len();
        self.record.checks_failed.extend(wrong);
        let opponent = |_: &Measured, other: &Measured| !other.who.is_row();
        let roofline = self.record.rooflines.first();
        let record = CaseRecord::new(case, Cache::Warm, comparison, roofline, opponent);
        for entry in record.results.iter().filter(|entry| entry.row) {
            let slower = entry.over.iter().filter(|(_, ratio)| ratio.verdict == Verdict::Slower);
            self.record.losses.extend(slower.map(|(name, ratio)| {
                format!("{case}: {} has {} of the speed of {name}", entry.name, percent(ratio.estimate.median))
            }));
        }
        record
    }

    /// Losses first, then the limits and the tables.
    fn print_kernels(&self) -> Result<()> {
        let Record { losses, rooflines, products, functions, .. } = &self.record;
        self.console.line(match losses.as_slice() {
            [] => styled(GOOD, "\nNo row was slower than another contender anywhere."),
            losses => format!("\n{}\n  {}", styled(BAD, "Slower than others:"), losses.join("\n  ")),
        })?;
        let levels: Vec<&str> = rooflines[0].levels.iter().map(|level| level.name.as_str()).collect();
        let mut table = Table::new(&[&["limit", "GFLOP/s"], &levels[..]].concat());
        for limit in rooflines {
            let bandwidths = limit.levels.iter().map(|level| short(level.bandwidth / 1e9));
            table.row([limit.row.to_owned(), short(limit.peak / 1e9)].into_iter().chain(bandwidths));
        }
        self.console.print(format_args!(
            "\n{}\nFMAs in registers and reads from each cache and memory in GB/s, one thread.\n\n{table}",
            styled(STRONG, "Limits")
        ))?;
        self.console.line(format_args!("\n{}{PRODUCTS}", styled(STRONG, "Products")))?;
        for case in products {
            self.console.print(format_args!("\n{}", table_of(case, "error")))?;
        }
        self.console.line(format_args!("\n{}{FUNCTIONS}", styled(STRONG, "Functions")))?;
        for case in functions {
            self.console.print(format_args!("\n{}", table_of(case, "ULP")))?;
        }
        Ok(())
    }

    /// A few equal steps for all, then the whole training with the kernels.
    fn training(&mut self, active: &'static Backend, data: &Mnist) -> Result<()> {
        let recipe = Recipe { epochs: self.effort.epochs, ..Recipe::default() };
        let model = training::model_for(data, &[128], recipe.batch, recipe.seed)?;
        let steps = self.effort.steps;
        let naive = [Contender::NaiveIjk, Contender::NaiveIkj].into_iter();
        let all = naive.chain(Backend::supported().map(Contender::Row));
        let mut runners: Vec<Runner> = all.map(|who| Runner::new(who, 1)).collect();
        runners.push(Runner::new(Contender::Row(active), machine::cores().max(2)));

        self.console.line(format_args!(
            "\n{}\n{}-128-{} on MNIST: Adam, batches of {}, seed {}.\n\
             First {} steps each, in {} turns: all of the training would take naive loops too long.",
            styled(STRONG, "Training"),
            model.inputs(),
            model.classes(),
            recipe.batch,
            recipe.seed,
            steps.rounds * steps.per_round,
            steps.rounds,
        ))?;
        self.console.begin(((steps.rounds + 1) * runners.len()) as u64);
        self.console.status("training");
        let outcomes = training::equal_steps(&runners, &model, data, recipe.clone(), steps, self.console)?;
        self.console.end();
        self.equal_steps(&runners, &outcomes)?;

        self.console.line(format_args!("\nThe whole training with {}, 1 thread.\n", active.name()))?;
        let runner = Runner::new(Contender::Row(active), 1);
        let engine = runner.engine();
        let mut trainer = Trainer::new(model, recipe, engine.as_ref())?;
        let history = training::fit(&mut trainer, &data.train, None, self.console)?;
        let test = trainer.model().evaluate(engine.as_ref(), &data.test)?;
        self.console.line(format_args!("Test: accuracy: {:.4} - loss: {:.4}", test.accuracy, test.loss))?;
        let (found, needed) = (test.accuracy, self.effort.accuracy);
        self.check(found >= needed, || format!("training: test accuracy {found:.4} is below {needed}"));
        self.record.training.epochs = history.iter().map(Epoch::from).collect();
        (self.record.training.test_accuracy, self.record.training.test_loss) = (test.accuracy, test.loss);

        let samples: usize = history.iter().map(|epoch| epoch.samples).sum();
        let seconds: f64 = history.iter().map(|epoch| epoch.seconds).sum();
        let speed = thousands((samples as f64 / seconds) as u64);
        self.console.line(format_args!("{} s, {speed} samples/s", short(seconds)))?;
        for run in self.record.training.runs.iter().filter(|run| run.name.starts_with("naive")) {
            let needed = samples as f64 * run.seconds.median;
            self.console.line(format_args!(
                "{} loops would need about {} s, {} times as long",
                run.name,
                short(needed),
                short(needed / seconds)
            ))?;
        }
        Ok(())
    }

    fn equal_steps(&mut self, runners: &[Runner], outcomes: &[Outcome]) -> Result<()> {
        let headings = ["", "threads", "samples/s", "95%", "±", "x ijk", "x ikj", "accuracy", "weights"];
        let mut table = Table::new(&headings);
        let naive: Vec<(&Runner, &Outcome)> =
            runners.iter().zip(outcomes).filter(|(runner, _)| !runner.who.is_row()).collect();
        let mut first: Option<(&Runner, &Outcome)> = None;
        for (runner, outcome) in runners.iter().zip(outcomes) {
            let seconds = outcome.samples.estimate();
            let over = |(other, theirs): &(&Runner, &Outcome)| {
                let estimate = outcome.samples.speed_up_over(&theirs.samples);
                (other.who.to_string(), Ratio { estimate, verdict: verdict(&estimate, 0.0) })
            };
            let others = naive.iter().filter(|(other, _)| other.who != runner.who);
            let run = TrainingRun {
                name: runner.who.to_string(),
                threads: runner.threads(),
                seconds,
                over: others.map(over).collect(),
                test_accuracy: outcome.test.accuracy,
                weights_sha256: outcome.weights.clone(),
            };
            let speed = |seconds: f64| thousands((1.0 / seconds) as u64);
            let times =
                |who: Contender| run.over.get(&who.to_string()).map_or(NONE.to_owned(), |r| short(r.estimate.median));
            table.row([
                run.name.clone(),
                run.threads.to_string(),
                speed(seconds.median),
                format!("{}..{}", speed(seconds.high), speed(seconds.low)),
                percent(seconds.spread()),
                times(Contender::NaiveIjk),
                times(Contender::NaiveIkj),
                format!("{:.4}", outcome.test.accuracy),
                outcome.weights[..8].to_owned(),
            ]);
            self.record.training.runs.push(run);
            let name = format!("training, {}, {}", runner.who, counted(runner.threads(), "thread"));
            if runner.who.bits_match() {
                let (other, reference) = *first.get_or_insert((runner, outcome));
                self.check(outcome.weights == reference.weights, || {
                    format!(
                        "{name}: the weights are not those of {}, {}",
                        other.who,
                        counted(other.threads(), "thread")
                    )
                });
            }
            if let Some((_, naive)) = naive.first() {
                let (mine, theirs) = (outcome.test.accuracy, naive.test.accuracy);
                self.check((mine - theirs).abs() <= SAME_ACCURACY, || {
                    format!("{name}: test accuracy {mine:.4}, but {theirs:.4} with naive loops after the same steps")
                });
            }
        }
        self.record.training.steps = self.effort.steps.rounds * self.effort.steps.per_round;
        Ok(self.console.print(format_args!("\n{table}"))?)
    }

    fn check(&mut self, right: bool, failure: impl FnOnce() -> String) {
        if right {
            self.record.checks_passed += 1;
        } else {
            self.record.checks_failed.push(failure());
        }
    }

    /// What it comes to: the speed-ups over all cases, the noise, and whether all results were right.
    fn verdict(self) -> Result<Record> {
        let Self { console, record, .. } = self;
        let noise = record.products.iter().chain(&record.functions).map(|case| case.noise_floor);
        let noise = noise.fold(0.0, f64::max);
        console.line(format_args!(
            "\n{}\n{}; the noise floor was {:.1}% at most.",
            styled(STRONG, "In all"),
            record.speed_ups(),
            100.0 * noise
        ))?;
        if record.checks_failed.is_empty() {
            let passed = format!("All {} passed:", counted(record.checks_passed, "check"));
            console.line(format_args!("{} errors, equal bits, accuracy.", styled(GOOD, passed)))?;
        }
        Ok(record)
    }
}

impl Record {
    /// Geometric means of the active row's ratios over each other contender, over the products and the functions.
    pub(super) fn speed_ups(&self) -> String {
        let mean = |cases: &[CaseRecord], name: &str| {
            let ratio = |case: &CaseRecord| Some(case.entry(self.active)?.over.get(name)?.estimate.median);
            geometric_mean(cases.iter().filter_map(ratio)).map(|mean| format!("{} x {name}", short(mean)))
        };
        let of = |cases: &[CaseRecord]| {
            let mut names: Vec<&String> = cases.iter().flat_map(|c| &c.results).flat_map(|e| e.over.keys()).collect();
            names.sort();
            names.dedup();
            names.iter().filter_map(|name| mean(cases, name)).collect::<Vec<_>>().join(", ")
        };
        let Self { products, functions, active, .. } = self;
        format!("Geometric means for {active}: products {}; functions {}", of(products), of(functions))
    }
}

/// A line for each contender.
fn table_of(case: &CaseRecord, error: &str) -> String {
    let mut opponents: Vec<&String> = case.results.iter().flat_map(|entry| entry.over.keys()).collect();
    opponents.sort();
    opponents.dedup();
    let short_name = |name: &&String| format!("x {}", name.trim_start_matches("naive ").replace('-', ""));
    let ratios: Vec<String> = opponents.iter().map(short_name).collect();
    let peaks = case.results.iter().any(|entry| entry.peak.is_some());
    let mut headings = vec![case.name.as_str(), case.unit()];
    headings.extend(Entry::SPEED);
    headings.extend(peaks.then_some("peak"));
    headings.extend(ratios.iter().map(String::as_str));
    headings.extend([error].into_iter().chain(Entry::ERROR.into_iter().skip(1)));
    let mut table = Table::new(&headings);
    for entry in &case.results {
        let peak = peaks.then(|| entry.peak.map_or(NONE.to_owned(), percent));
        let over = opponents.iter().map(|name| entry.over_cell(name));
        let cells = entry.speed_cells().into_iter().chain(peak).chain(over).chain(entry.error_cells());
        table.row([entry.name.clone()].into_iter().chain(cells));
    }
    format!("{table}{}\n", case.noise())
}

/// Squares, and the three products of a step of the reference model.
fn products(squares: &[usize]) -> Vec<Product> {
    let squares = squares.iter().map(|&size| Product::new(size, size, size));
    let steps = [Product::new(32, 784, 128), Product::with_a_transposed(784, 32, 128), Product::new(32, 128, 10)];
    squares.chain(steps).collect()
}

fn functions(each: &[kernels::Function]) -> Vec<Function> {
    let each = each.iter().map(|&f| Function::new(Functions::Each(f), 64, 256));
    let softmax = [(4096, 10), (128, 512)].map(|(rows, cols)| Function::new(Functions::Softmax, rows, cols));
    each.chain(softmax).collect()
}
