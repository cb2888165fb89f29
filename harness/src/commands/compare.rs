//! `harness compare`, the main job: kernels against naive loops, in speed and accuracy, from single calls to a whole
//! training. It fails when a result is wrong, never because it is slow.

use crate::case::{self, Activation, Case, Function, Measured, Product};
use crate::console::Console;
use crate::contender::Contender;
use crate::error::{Error, Result};
use crate::measure::Plan;
use crate::report::{NONE, Table, counted, percent, short, thousands};
use crate::training::{self, Outcome, Runner, Steps};
use crate::{files, machine, peak};
use kernels::Backend;
use nn::{Mnist, Recipe, Trainer};
use std::path::PathBuf;
use std::time::Duration;

/// Arguments of the command.
#[derive(clap::Args)]
pub struct Args {
    /// Measure for a shorter time, leave the largest product away, train for one epoch
    #[arg(long)]
    quick: bool,
    /// Directory with the four MNIST files, plain or .gz [default: data/mnist]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
}

/// How much is done.
struct Effort {
    /// For each peak.
    peak: Duration,
    /// For each case.
    case: Duration,
    largest_product: usize,
    steps: Steps,
    epochs: usize,
    /// The test accuracy that any seed reaches after these epochs.
    accuracy: f64,
}

const FULL: Effort = Effort {
    peak: Duration::from_millis(300),
    case: Duration::from_millis(1200),
    largest_product: 512,
    steps: Steps { rounds: 6, per_round: 50 },
    epochs: 5,
    accuracy: 0.97,
};

const QUICK: Effort = Effort {
    peak: Duration::from_millis(100),
    case: Duration::from_millis(200),
    largest_product: 256,
    steps: Steps { rounds: 3, per_round: 20 },
    epochs: 1,
    accuracy: 0.93,
};

/// How far the test accuracy may be from that of naive loops after equal steps: they round differently, no more.
const SAME_ACCURACY: f64 = 0.01;

const PRODUCTS: &str = "
Products C = A B in f32, sizes m x k x n, one thread (A': A is stored transposed).
x ijk: times as fast as naive loops in that order; ±: median deviation;
error: the largest |error| / (|A||B|), in units of 2^-24.";

const ACTIVATIONS: &str = "
Activations in f32, in place, one thread; G/s: billions of elements a second.";

/// Compares, prints, and fails if a result was not as it must be.
pub fn run(args: &Args, console: &mut Console) -> Result<()> {
    let effort = if args.quick { QUICK } else { FULL };
    let active = Backend::active()?;
    let data = Mnist::load(files::data_dir(args.data.as_deref())?)?;
    console.line(format_args!(
        "{}, {}; kernels choose {}",
        machine::cpu().unwrap_or_else(|| "unknown CPU".to_owned()),
        counted(machine::cores(), "core"),
        active.name()
    ))?;
    let mut session = Session { effort, console, passed: 0, failures: Vec::new(), losses: Vec::new() };
    session.kernels()?;
    session.training(active, &data)?;
    session.verdict()
}

/// A comparison on its way.
struct Session<'a> {
    effort: Effort,
    console: &'a mut Console,
    /// Checks that were passed.
    passed: usize,
    /// Checks that were not.
    failures: Vec<String>,
    /// Where a row was slower than a naive loop.
    losses: Vec<String>,
}

impl Session<'_> {
    fn kernels(&mut self) -> Result<()> {
        let rows: Vec<&'static Backend> = Backend::supported().collect();
        let products = products(self.effort.largest_product);
        let activations = activations();
        self.console.begin((rows.len() + products.len() + activations.len()) as u64);
        let peaks = self.peaks(&rows)?;
        self.console.line(PRODUCTS)?;
        for case in &products {
            self.product(case, &peaks)?;
        }
        self.console.line(ACTIVATIONS)?;
        for case in &activations {
            self.activation(case)?;
        }
        self.console.end();
        Ok(())
    }

    /// Speed limits of the rows, in FLOP/s.
    fn peaks(&mut self, rows: &[&'static Backend]) -> Result<Vec<(Contender, f64)>> {
        let mut peaks = Vec::new();
        let mut table = Table::new(&["peak", "GFLOP/s"]);
        for row in rows {
            self.console.status(format_args!("peak of {}", row.name()));
            let peak = peak::fma_peak(row, self.effort.peak);
            table.row([row.name().to_owned(), short(peak / 1e9)]);
            peaks.push((Contender::Row(row), peak));
            self.console.step();
        }
        self.console.print(format_args!("\nFMAs in registers, one thread: the limit of a row.\n\n{table}"))?;
        Ok(peaks)
    }

    fn product(&mut self, case: &Product, peaks: &[(Contender, f64)]) -> Result<()> {
        let measured = self.compete(case, &Contender::for_gemm());
        let name = case.to_string();
        let mut table = Table::new(&[&name, "GFLOP/s", "±", "peak", "x ijk", "x ikj", "error", "max abs"]);
        for entry in &measured {
            let time = entry.samples.spread();
            let speed = case.operations() / time.median;
            let peak = peaks.iter().find(|(who, _)| *who == entry.who);
            table.row([
                entry.who.to_string(),
                short(speed / 1e9),
                percent(time.mad / time.median),
                peak.map_or(NONE.to_owned(), |(_, peak)| percent(speed / peak)),
                speed_up(&measured, entry, Contender::NaiveIjk),
                speed_up(&measured, entry, Contender::NaiveIkj),
                short(entry.accuracy.scaled),
                format!("{:.1e}", entry.accuracy.absolute),
            ]);
        }
        Ok(self.console.print(format_args!("\n{table}"))?)
    }

    fn activation(&mut self, case: &Activation) -> Result<()> {
        let measured = self.compete(case, &Contender::for_activation());
        let mut table = Table::new(&[&case.to_string(), "G/s", "±", "x naive", "ULP", "max abs"]);
        for entry in &measured {
            let time = entry.samples.spread();
            table.row([
                entry.who.to_string(),
                short(case.operations() / time.median / 1e9),
                percent(time.mad / time.median),
                speed_up(&measured, entry, Contender::NaiveLoop),
                short(entry.accuracy.scaled),
                format!("{:.1e}", entry.accuracy.absolute),
            ]);
        }
        Ok(self.console.print(format_args!("\n{table}"))?)
    }

    /// Checks all contenders and measures those whose results are right.
    fn compete(&mut self, case: &dyn Case, contenders: &[Contender]) -> Vec<Measured> {
        self.console.status(case);
        let case::Comparison { measured, wrong, .. } =
            case::compete(case, contenders, &[], &Plan::lasting(self.effort.case));
        self.passed += measured.len();
        self.failures.extend(wrong.iter().map(|(who, wrong)| format!("{case}, {who}: {wrong}")));
        self.note_losses(case, &measured);
        self.console.step();
        measured
    }

    /// A row loses where the best naive loop is faster by more than the ratio's spread.
    fn note_losses(&mut self, case: &dyn Case, measured: &[Measured]) {
        let (rows, naive): (Vec<_>, Vec<_>) = measured.iter().partition(|entry| entry.who.is_row());
        let time = |entry: &&Measured| entry.samples.spread().median;
        let Some(best) = naive.into_iter().min_by(|a, b| time(a).total_cmp(&time(b))) else { return };
        for row in rows {
            let ratio = row.samples.speed_up_over(&best.samples);
            if ratio.median + ratio.mad < 1.0 {
                let loss = format!("{case}: {} has {} of the speed of {}", row.who, percent(ratio.median), best.who);
                self.losses.push(loss);
            }
        }
    }

    /// A few equal steps for all, then the whole training with the kernels.
    fn training(&mut self, active: &'static Backend, data: &Mnist) -> Result<()> {
        let recipe = Recipe { epochs: self.effort.epochs, ..Recipe::default() };
        let model = training::model_for(data, &[128], recipe.batch, recipe.seed)?;
        let steps = self.effort.steps;
        let mut runners: Vec<Runner> = Contender::for_gemm().into_iter().map(|who| Runner::new(who, 1)).collect();
        runners.push(Runner::new(Contender::Row(active), machine::cores().max(2)));

        self.console.line(format_args!(
            "\nTraining {}-128-{} on MNIST: Adam, batches of {}, seed {}.\n\
             First {} steps each, in {} turns: all of the training would take naive loops too long.",
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
        let history = training::fit(&mut trainer, &data.train, self.console)?;
        let test = trainer.model().evaluate(engine.as_ref(), &data.test)?;
        self.console.line(format_args!("Test: accuracy: {:.4} - loss: {:.4}", test.accuracy, test.loss))?;
        let (found, needed) = (test.accuracy, self.effort.accuracy);
        self.check(found >= needed, || format!("training: test accuracy {found:.4} is below {needed}"));

        let samples: usize = history.iter().map(|epoch| epoch.samples).sum();
        let seconds: f64 = history.iter().map(|epoch| epoch.seconds).sum();
        self.console.line(format_args!(
            "{} s, {} samples/s",
            short(seconds),
            thousands((samples as f64 / seconds) as u64)
        ))?;
        for (runner, outcome) in runners.iter().zip(&outcomes).filter(|(runner, _)| !runner.who.is_row()) {
            let needed = samples as f64 * outcome.samples.spread().median;
            self.console.line(format_args!(
                "{} loops would need about {} s, {} times as long",
                runner.who,
                short(needed),
                short(needed / seconds)
            ))?;
        }
        Ok(())
    }

    fn equal_steps(&mut self, runners: &[Runner], outcomes: &[Outcome]) -> Result<()> {
        let headings = ["", "threads", "samples/s", "±", "x ijk", "x ikj", "accuracy", "weights"];
        let mut table = Table::new(&headings);
        let of = |who| runners.iter().position(|runner| runner.who == who).map(|at| &outcomes[at]);
        let (ijk, ikj) = (of(Contender::NaiveIjk), of(Contender::NaiveIkj));
        let mut first: Option<(&Runner, &Outcome)> = None;
        for (runner, outcome) in runners.iter().zip(outcomes) {
            let time = outcome.samples.spread();
            let times = |naive: Option<&Outcome>| {
                naive.map_or(NONE.to_owned(), |naive| short(outcome.samples.speed_up_over(&naive.samples).median))
            };
            table.row([
                runner.who.to_string(),
                runner.threads().to_string(),
                thousands((1.0 / time.median) as u64),
                percent(time.mad / time.median),
                times(ijk),
                times(ikj),
                format!("{:.4}", outcome.test.accuracy),
                outcome.weights[..8].to_owned(),
            ]);
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
            if let Some(naive) = ijk {
                let (mine, theirs) = (outcome.test.accuracy, naive.test.accuracy);
                self.check((mine - theirs).abs() <= SAME_ACCURACY, || {
                    format!("{name}: test accuracy {mine:.4}, but {theirs:.4} with naive loops after the same steps")
                });
            }
        }
        Ok(self.console.print(format_args!("\n{table}"))?)
    }

    fn check(&mut self, right: bool, failure: impl FnOnce() -> String) {
        if right {
            self.passed += 1;
        } else {
            self.failures.push(failure());
        }
    }

    /// Where the kernels lost, and whether all results were right.
    fn verdict(self) -> Result<()> {
        let losses = match self.losses.as_slice() {
            [] => "No row was slower than a naive loop anywhere.".to_owned(),
            losses => format!("Slower than naive loops:\n  {}", losses.join("\n  ")),
        };
        self.console.line(format_args!("\n{losses}"))?;
        if self.failures.is_empty() {
            Ok(self
                .console
                .line(format_args!("All {} passed: errors, equal bits, accuracy.", counted(self.passed, "check")))?)
        } else {
            Err(Error::Checks { failures: self.failures })
        }
    }
}

fn speed_up(all: &[Measured], entry: &Measured, over: Contender) -> String {
    let other = all.iter().find(|other| other.who == over);
    other.map_or(NONE.to_owned(), |other| short(entry.samples.speed_up_over(&other.samples).median))
}

/// Squares, and the three products of a step of the reference model.
fn products(largest: usize) -> Vec<Product> {
    let squares = [64, 256, 512].into_iter().filter(|&size| size <= largest).map(|size| Product::new(size, size, size));
    let steps = [Product::new(32, 784, 128), Product::with_a_transposed(784, 32, 128), Product::new(32, 128, 10)];
    squares.chain(steps).collect()
}

fn activations() -> Vec<Activation> {
    vec![
        Activation::new(Function::Relu, 256, 256),
        Activation::new(Function::Exp, 256, 256),
        Activation::new(Function::Softmax, 4096, 10),
        Activation::new(Function::Softmax, 128, 512),
    ]
}
