//! Results as `--json` holds them, and as tables show them. `docs/json.md` documents every field; a test compares.

use crate::case::{Case, Comparison, Measured, Operation};
use crate::machine::{self, Facts};
use crate::measure::Cache;
use crate::number::Number;
use crate::peak::Roofline;
use crate::report::{NONE, percent, short};
use crate::stats::{Estimate, Verdict, verdict};
use nn::metrics::Scores;
use serde::Serialize;
use std::collections::BTreeMap;

/// What every record begins with.
#[derive(Debug, Clone, Serialize)]
pub struct Head {
    /// The command, and the version of its schema: a field that is taken away or changes its meaning makes a new one.
    pub schema: String,
    /// Machine and build.
    pub machine: Facts,
}

impl Head {
    /// For a record of this command.
    pub fn new(command: &str) -> Self {
        Self { schema: format!("harness/{command}/1"), machine: machine::facts() }
    }
}

/// A case, and what its contenders did.
#[derive(Debug, Clone, Serialize)]
pub struct CaseRecord {
    /// As tables name it.
    pub name: String,
    /// What is counted.
    pub operation: Operation,
    /// How many of them a call does.
    pub operations: f64,
    /// Bytes that a call reads and writes at least, each once.
    pub bytes: f64,
    /// Where the data lay.
    pub cache: Cache,
    /// Two runs of the same code differed by up to this share: smaller differences are none.
    pub noise_floor: f64,
    /// Rounds that were left away because something else was at work on the core.
    pub disturbed: usize,
    /// Those whose result was right.
    pub results: Vec<Entry>,
}

/// A contender in a case.
#[derive(Debug, Clone, Serialize)]
pub struct Entry {
    /// Who it is.
    pub name: String,
    /// Whether it is a row of the kernels' table, alone or as a team.
    pub row: bool,
    /// Threads that it was given.
    pub threads: usize,
    /// Of a call.
    pub seconds: Estimate,
    /// Operations per second, by the median time.
    pub speed: f64,
    /// Share of the FMA peak of all its threads, where that was sampled in the same rounds.
    pub peak: Option<f64>,
    /// Share of what arithmetic and bandwidth together allow on one core, where they were measured.
    pub roofline: Option<f64>,
    /// The largest error, in roundings of |A||B| for products and in ULP for functions.
    pub error: f64,
    /// The largest error as it is.
    pub max_abs_error: f64,
    /// The root of the mean square of the errors.
    pub rms_error: f64,
    /// Rounds.
    pub samples: usize,
    /// How many times as fast as others it is, by their names.
    pub over: BTreeMap<String, Ratio>,
}

/// How well a class is found.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Score {
    /// Right among those taken for the class.
    pub precision: f64,
    /// Found among those of the class.
    pub recall: f64,
    /// Harmonic mean of both.
    pub f1: f64,
    /// Samples of the class.
    pub support: u64,
}

impl From<Scores> for Score {
    fn from(Scores { precision, recall, f1, support }: Scores) -> Self {
        Self { precision, recall, f1, support }
    }
}

/// A ratio of speeds within rounds.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Ratio {
    /// The ratio.
    #[serde(flatten)]
    pub estimate: Estimate,
    /// What it says.
    pub verdict: Verdict,
}

impl CaseRecord {
    /// `compared` says who is compared with whom.
    pub fn new<T: Number>(
        case: &dyn Case<T>,
        cache: Cache,
        comparison: &Comparison,
        roofline: Option<&Roofline>,
        compared: impl Fn(&Measured, &Measured) -> bool,
    ) -> Self {
        let (operations, bytes, noise_floor) = (case.operations(), case.bytes(), comparison.noise_floor());
        let entry = |entry: &Measured| {
            let seconds = entry.samples.estimate();
            let speed = operations / seconds.median;
            let others = comparison.measured.iter().filter(|other| other.who != entry.who && compared(entry, other));
            let ratio = |other: &Measured| {
                let estimate = entry.samples.speed_up_over(&other.samples);
                Ratio { estimate, verdict: verdict(&estimate, noise_floor) }
            };
            let row = entry.who.backend().map(|row| row.name());
            let limit = roofline.filter(|roofline| row == Some(roofline.row) && entry.who.threads() == 1);
            let share = |roofline: &Roofline| speed / roofline.limit(case.operation(), operations, bytes, cache);
            Entry {
                name: entry.who.to_string(),
                row: row.is_some(),
                threads: entry.who.threads(),
                seconds,
                speed,
                peak: comparison.share_of_limit(entry).map(|share| share.median),
                roofline: limit.map(share),
                error: entry.accuracy.scaled,
                max_abs_error: entry.accuracy.absolute,
                rms_error: entry.accuracy.rms,
                samples: entry.samples.0.len(),
                over: others.map(|other| (other.who.to_string(), ratio(other))).collect(),
            }
        };
        Self {
            name: case.to_string(),
            operation: case.operation(),
            operations,
            bytes,
            cache,
            noise_floor: noise_floor.exp_m1(),
            disturbed: comparison.disturbed,
            results: comparison.measured.iter().map(entry).collect(),
        }
    }

    /// The contender of this name.
    pub fn entry(&self, name: &str) -> Option<&Entry> {
        self.results.iter().find(|entry| entry.name == name)
    }

    /// The unit of speeds, for headings.
    pub fn unit(&self) -> &'static str {
        match self.operation {
            Operation::Flop => "GFLOP/s",
            Operation::Element => "G/s",
        }
    }

    /// What the table says of the noise.
    pub fn noise(&self) -> String {
        let rounds = self.results.first().map_or(0, |entry| entry.samples);
        let floor = 100.0 * self.noise_floor;
        format!("noise floor {floor:.1}%; {rounds} quiet rounds, {} disturbed", self.disturbed)
    }
}

impl Entry {
    /// Headings of [`Self::speed_cells`].
    pub const SPEED: [&'static str; 2] = ["95%", "±"];
    /// Headings of [`Self::error_cells`].
    pub const ERROR: [&'static str; 3] = ["error", "max abs", "rms"];

    /// Speed, its interval, the deviation of its time.
    pub fn speed_cells(&self) -> [String; 3] {
        let Estimate { median, low, high, .. } = self.seconds;
        let speed = |seconds: f64| short(self.speed * median / seconds / 1e9);
        [speed(median), format!("{}..{}", speed(high), speed(low)), percent(self.seconds.spread())]
    }

    /// The errors.
    pub fn error_cells(&self) -> [String; 3] {
        [short(self.error), format!("{:.1e}", self.max_abs_error), format!("{:.1e}", self.rms_error)]
    }

    /// How many times as fast as this one; `=` marks what is no difference.
    pub fn over_cell(&self, name: &str) -> String {
        self.over.get(name).map_or(NONE.to_owned(), Ratio::cell)
    }
}

impl Ratio {
    /// The ratio in short; `=` marks what is no difference.
    pub fn cell(&self) -> String {
        let mark = if self.verdict == Verdict::NoDifference { "=" } else { "" };
        let ratio = self.estimate.median;
        if ratio < 10.0 { format!("{mark}{ratio:.2}") } else { format!("{mark}{}", short(ratio)) }
    }
}
