//! What a model meets and says in service, against what it met and said in a good time.
//!
//! A [`Monitor`] is fed with samples and the probabilities that were predicted for them. It keeps sums and counts
//! alone, so its memory does not grow and two of them add up: each thread has its own, and whoever reports adds them.
//! What it has seen is a [`Summary`]; one over good data, stored with the model
//! ([`Mlp::with_reference`](crate::Mlp::with_reference)), is the reference that a [`Report`] compares with:
//!
//! | figure | what it is |
//! | --- | --- |
//! | feature shift | `d = min(\|m - m'\| / √((v + v') / 2), 3)` of each feature, with mean m and variance v now and m', v' in the reference; 0 where all four agree. The root of the mean of d², and the largest d |
//! | missing | share of values that are NaN or infinite |
//! | prediction PSI | population stability index of the predicted classes: `Σ (p - p') ln(p / p')` over the shares p now and p' in the reference, each at least 0.0001 |
//! | confidence PSI | the same over 10 bins that hold a tenth of the reference each, as nearly as 64 fine bins allow |
//! | confidence KS | largest distance between the distributions of the largest probability (Kolmogorov and Smirnov), at the edges of the fine bins |
//!
//! The 64 fine bins of the confidence c are equal in log(1 - c), from 1 down to 2^-24 (what an f32 can tell from 1),
//! since what is well known lies near 1.

use crate::error::{Result, setting};
use crate::metrics::argmax;
use crate::predictor::Samples;
use serde::{Deserialize, Serialize};
use std::fmt::Write;
use std::time::Duration;

/// Bins of the confidence.
const BINS: usize = 64;
/// Bits of 1 - c that they cover.
const DEPTH: f64 = 24.0;
/// Bins of a population stability index over a confidence.
const COARSE: usize = 10;
/// The largest shift of a feature that counts.
const FAR: f64 = 3.0;
/// Parts of each factor of 2 of a latency.
const STEPS: usize = 8;

/// What was seen: counts and sums.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Summary {
    samples: u64,
    /// Of each feature: values that are missing, the sum of the others, and that of their squares. In f64, a variance
    /// has 5 digits left even where the mean is 10,000 deviations.
    missing: Vec<u64>,
    sums: Vec<f64>,
    squares: Vec<f64>,
    /// How often each class was predicted.
    classes: Vec<u64>,
    /// Samples whose probabilities were no numbers; they are in none of the following.
    invalid: u64,
    /// By the largest probability.
    confidence: Vec<u64>,
    confidence_sum: f64,
    /// Of -Σ p ln p.
    entropy_sum: f64,
}

impl Summary {
    fn new(features: usize, classes: usize) -> Self {
        Self {
            samples: 0,
            missing: vec![0; features],
            sums: vec![0.0; features],
            squares: vec![0.0; features],
            classes: vec![0; classes],
            invalid: 0,
            confidence: vec![0; BINS],
            confidence_sum: 0.0,
            entropy_sum: 0.0,
        }
    }

    /// Samples that were seen.
    pub fn samples(&self) -> u64 {
        self.samples
    }

    /// How often each class was predicted.
    pub fn classes(&self) -> &[u64] {
        &self.classes
    }

    /// Mean and variance of a feature, of the values that were there; NaN where there were none.
    pub fn feature(&self, j: usize) -> (f64, f64) {
        let count = (self.samples - self.missing[j]) as f64;
        let mean = self.sums[j] / count;
        (mean, (self.squares[j] / count - mean * mean).max(0.0))
    }

    /// Whether it is of so many features and classes, and can have come from a monitor.
    pub(crate) fn check(&self, features: usize, classes: usize) -> Result<()> {
        let lengths = [(self.missing.len(), features), (self.sums.len(), features), (self.squares.len(), features)];
        let lengths = [&lengths[..], &[(self.classes.len(), classes), (self.confidence.len(), BINS)]].concat();
        for (found, expected) in lengths {
            let what = "a list of the reference of a monitor";
            if found != expected {
                return Err(kernels::Error::Length { what, expected, found }.into());
            }
        }
        let total = |counts: &[u64]| counts.iter().try_fold(self.invalid, |sum, &count| sum.checked_add(count));
        let counted = total(&self.classes) == Some(self.samples) && total(&self.confidence) == Some(self.samples);
        let counted = counted && self.missing.iter().all(|&missing| missing <= self.samples);
        let numbers = [&self.sums[..], &self.squares, &[self.confidence_sum, self.entropy_sum]].concat();
        let finite = numbers.iter().all(|x| x.is_finite());
        setting("samples of the reference", self.samples as f64, counted && finite, "what its finite parts add up to")
    }

    fn add(&mut self, other: &Self) {
        let counts = [
            (&mut self.missing, &other.missing),
            (&mut self.classes, &other.classes),
            (&mut self.confidence, &other.confidence),
        ];
        for (a, b) in counts {
            a.iter_mut().zip(b).for_each(|(a, b)| *a += b);
        }
        for (a, b) in [(&mut self.sums, &other.sums), (&mut self.squares, &other.squares)] {
            a.iter_mut().zip(b).for_each(|(a, b)| *a += b);
        }
        self.samples += other.samples;
        self.invalid += other.invalid;
        self.confidence_sum += other.confidence_sum;
        self.entropy_sum += other.entropy_sum;
    }

    fn valid(&self) -> f64 {
        (self.samples - self.invalid) as f64
    }
}

/// The fine bin of a confidence.
fn bin(confidence: f32) -> usize {
    let bits = -libm::log2((1.0 - f64::from(confidence)).max(f64::MIN_POSITIVE));
    ((bits * BINS as f64 / DEPTH) as usize).min(BINS - 1)
}

/// Durations in bins of an eighth of each factor of 2: quantiles are at most 12.5 % too high.
#[derive(Clone, Debug, PartialEq)]
struct Latencies {
    counts: Vec<u64>,
    sum: Duration,
    max: Duration,
}

impl Latencies {
    fn new() -> Self {
        Self { counts: vec![0; 64 * STEPS], sum: Duration::ZERO, max: Duration::ZERO }
    }

    fn see(&mut self, latency: Duration) {
        let nanoseconds = u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX).max(1);
        let octave = nanoseconds.ilog2() as usize;
        // The three bits below the highest.
        let step = ((u128::from(nanoseconds) * STEPS as u128) >> octave) as usize - STEPS;
        self.counts[octave * STEPS + step] += 1;
        self.sum = self.sum.saturating_add(latency);
        self.max = self.max.max(latency);
    }

    fn add(&mut self, other: &Self) {
        self.counts.iter_mut().zip(&other.counts).for_each(|(a, b)| *a += b);
        self.sum = self.sum.saturating_add(other.sum);
        self.max = self.max.max(other.max);
    }

    /// In seconds, at the upper end of its bin, and at most the largest.
    fn quantile(&self, q: f64) -> f64 {
        let rank = (q * self.count() as f64).ceil().max(1.0) as u64;
        let mut below = 0;
        let at = self.counts.iter().position(|count| {
            below += count;
            below >= rank
        });
        let end = |i: usize| libm::exp2((i / STEPS) as f64) * (1.0 + (i % STEPS + 1) as f64 / STEPS as f64) * 1e-9;
        at.map_or(f64::NAN, |i| end(i).min(self.max.as_secs_f64()))
    }

    fn count(&self) -> u64 {
        self.counts.iter().sum()
    }
}

/// Sees samples and predictions; see [the module](self).
#[derive(Clone, Debug, PartialEq)]
pub struct Monitor {
    seen: Summary,
    latencies: Latencies,
}

impl Monitor {
    /// One that has seen nothing, for a model of so many inputs and classes.
    pub fn new(features: usize, classes: usize) -> Self {
        Self { seen: Summary::new(features, classes), latencies: Latencies::new() }
    }

    /// Takes in samples and the probabilities that were predicted for them (samples x classes, row-major). Pixels count
    /// as `pixel / 255`, numbers as they are. Allocates nothing.
    ///
    /// # Errors
    /// When there are not whole samples, or not as many rows of probabilities.
    pub fn observe<'a>(&mut self, samples: impl Into<Samples<'a>>, probabilities: &[f32]) -> Result<()> {
        let (samples, features, classes) = (samples.into(), self.seen.sums.len(), self.seen.classes.len());
        let count = samples.count(features)?;
        if probabilities.len() != count * classes {
            let (expected, found) = (count * classes, probabilities.len());
            return Err(kernels::Error::Length { what: "the probabilities", expected, found }.into());
        }
        let seen = &mut self.seen;
        seen.samples += count as u64;
        let mut see = |j: usize, x: f64| {
            if x.is_finite() {
                seen.sums[j] += x;
                seen.squares[j] += x * x;
            } else {
                seen.missing[j] += 1;
            }
        };
        match samples {
            Samples::Numbers(numbers) => {
                let rows = numbers.chunks_exact(features.max(1));
                rows.for_each(|row| row.iter().enumerate().for_each(|(j, &x)| see(j, x.into())));
            }
            Samples::Pixels(pixels) => {
                let rows = pixels.chunks_exact(features.max(1));
                rows.for_each(|row| row.iter().enumerate().for_each(|(j, &x)| see(j, f64::from(x) / 255.0)));
            }
        }
        for p in probabilities.chunks_exact(classes.max(1)) {
            if !p.iter().all(|p| (0.0..=1.0).contains(p)) {
                seen.invalid += 1;
                continue;
            }
            let class = argmax(p);
            seen.classes[class] += 1;
            seen.confidence[bin(p[class])] += 1;
            seen.confidence_sum += f64::from(p[class]);
            let terms = p.iter().filter(|&&p| p > 0.0).map(|&p| f64::from(p) * libm::log(p.into()));
            seen.entropy_sum -= terms.sum::<f64>();
        }
        Ok(())
    }

    /// Takes in how long a prediction took.
    pub fn observe_latency(&mut self, latency: Duration) {
        self.latencies.see(latency);
    }

    /// Takes in all that another one saw.
    ///
    /// # Errors
    /// When it is for another number of features or classes.
    pub fn merge(&mut self, other: &Self) -> Result<()> {
        other.seen.check(self.seen.sums.len(), self.seen.classes.len())?;
        self.seen.add(&other.seen);
        self.latencies.add(&other.latencies);
        Ok(())
    }

    /// What was seen, to be a reference.
    pub fn summary(&self) -> &Summary {
        &self.seen
    }

    /// Compares what was seen with a reference.
    ///
    /// # Errors
    /// When the reference is of another number of features or classes, or has seen nothing.
    pub fn report(&self, reference: &Summary, thresholds: &Thresholds) -> Result<Report> {
        let (seen, latencies) = (&self.seen, &self.latencies);
        reference.check(seen.sums.len(), seen.classes.len())?;
        setting("samples of the reference", 0.0, reference.valid() > 0.0, "at least 1 that was valid")?;
        let shift = |j: usize| {
            let ((mean, variance), (mean_then, variance_then)) = (seen.feature(j), reference.feature(j));
            let distance = (mean - mean_then).abs();
            let shift = distance / ((variance + variance_then) / 2.0).sqrt();
            // Means of equal values differ by some roundings, which a deviation of 0 would make infinitely far.
            let same = distance <= 1e-9 * mean.abs().max(mean_then.abs());
            // A feature that is missing everywhere has no mean.
            if same || shift.is_nan() { 0.0 } else { shift.min(FAR) }
        };
        let shifts: Vec<f64> = (0..seen.sums.len()).map(shift).collect();
        let worst = (0..shifts.len()).reduce(|a, b| if shifts[b] > shifts[a] { b } else { a }).unwrap_or(0);
        let values = seen.samples as f64 * seen.sums.len() as f64;
        let missing = seen.missing.iter().sum::<u64>() as f64;
        let mean = |sum: f64, count: f64| if count > 0.0 { sum / count } else { 0.0 };
        let mut report = Report {
            samples: seen.samples,
            feature_shift: mean(shifts.iter().map(|d| d * d).sum(), shifts.len() as f64).sqrt(),
            worst_feature: worst,
            worst_feature_shift: shifts.get(worst).copied().unwrap_or(0.0),
            missing: mean(missing, values),
            invalid: mean(seen.invalid as f64, seen.samples as f64),
            prediction_psi: psi(&seen.classes, &reference.classes),
            confidence_psi: psi(&coarse(&seen.confidence, reference), &coarse(&reference.confidence, reference)),
            confidence_ks: distance(&seen.confidence, &reference.confidence),
            mean_confidence: mean(seen.confidence_sum, seen.valid()),
            mean_entropy: mean(seen.entropy_sum, seen.valid()),
            predictions: seen.classes.clone(),
            latency: (latencies.count() > 0).then(|| Latency {
                count: latencies.count(),
                p50: latencies.quantile(0.5),
                p90: latencies.quantile(0.9),
                p99: latencies.quantile(0.99),
                max: latencies.max.as_secs_f64(),
                sum: latencies.sum.as_secs_f64(),
            }),
            alarms: Vec::new(),
        };
        if seen.samples >= thresholds.min_samples {
            let exceeded = report.figures(thresholds).into_iter().filter(|(_, value, limit)| value > limit);
            report.alarms = exceeded.map(|(figure, value, limit)| Alarm { figure, value, limit }).collect();
        }
        Ok(report)
    }
}

/// The population stability index of counts, 0 where nothing was counted yet.
fn psi(now: &[u64], then: &[u64]) -> f64 {
    let total = |counts: &[u64]| counts.iter().sum::<u64>() as f64;
    let (all_now, all_then) = (total(now), total(then));
    if all_now == 0.0 || all_then == 0.0 {
        return 0.0;
    }
    let share = |count: u64, all: f64| (count as f64 / all).max(1e-4);
    let terms = now.iter().zip(then).map(|(&now, &then)| (share(now, all_now), share(then, all_then)));
    terms.map(|(now, then)| (now - then) * libm::log(now / then)).sum()
}

/// Fine bins joined to coarse ones, each with about a tenth of the reference.
fn coarse(counts: &[u64], reference: &Summary) -> [u64; COARSE] {
    let (mut joined, mut below) = ([0; COARSE], 0);
    for (count, then) in counts.iter().zip(&reference.confidence) {
        // By where the middle of the bin lies among all.
        let middle = (below as f64 + 0.5 * *then as f64) / reference.valid();
        joined[((middle * COARSE as f64) as usize).min(COARSE - 1)] += count;
        below += then;
    }
    joined
}

/// The largest distance between two distributions in the same bins, 0 where nothing was counted yet.
fn distance(now: &[u64], then: &[u64]) -> f64 {
    let total = |counts: &[u64]| counts.iter().sum::<u64>().max(1) as f64;
    let (all_now, all_then) = (total(now), total(then));
    if now.iter().all(|&count| count == 0) {
        return 0.0;
    }
    let (mut below_now, mut below_then, mut largest) = (0, 0, 0.0_f64);
    for (now, then) in now.iter().zip(then) {
        below_now += now;
        below_then += then;
        largest = largest.max((below_now as f64 / all_now - below_then as f64 / all_then).abs());
    }
    largest
}

/// What is too much. The defaults keep quiet on data like the reference and hear what harms a model; see
/// `docs/deployment.md` for figures.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Thresholds {
    /// Fewer samples raise no alarm: small numbers are far apart by chance.
    pub min_samples: u64,
    /// Of the root of the mean of all features.
    pub feature_shift: f64,
    /// Of the largest of a feature.
    pub worst_feature_shift: f64,
    /// Share of values.
    pub missing: f64,
    /// Share of predictions that are no numbers.
    pub invalid: f64,
    /// Below 0.1 is commonly read as no change, above 0.25 as a large one.
    pub prediction_psi: f64,
    /// The same.
    pub confidence_psi: f64,
    /// Distance, 0 to 1.
    pub confidence_ks: f64,
}

impl Default for Thresholds {
    fn default() -> Self {
        Self {
            min_samples: 500,
            feature_shift: 0.15,
            worst_feature_shift: 0.5,
            missing: 0.01,
            invalid: 0.0,
            prediction_psi: 0.1,
            confidence_psi: 0.25,
            confidence_ks: 0.15,
        }
    }
}

/// A figure above its limit.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Alarm {
    /// Its name, as in [`Report`].
    pub figure: &'static str,
    /// Its value.
    pub value: f64,
    /// What it may be.
    pub limit: f64,
}

/// How long predictions took, in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Latency {
    /// How many were timed.
    pub count: u64,
    /// Median; like the other quantiles at most 12.5 % too high.
    pub p50: f64,
    /// Of ten, nine are faster.
    pub p90: f64,
    /// Of a hundred, ninety-nine are faster.
    pub p99: f64,
    /// The slowest.
    pub max: f64,
    /// All together.
    pub sum: f64,
}

/// What was seen, against a reference; the figures are those of [the module](self).
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// Samples that were seen.
    pub samples: u64,
    /// Root of the mean over features.
    pub feature_shift: f64,
    /// The feature that moved most, from 0.
    pub worst_feature: usize,
    /// How far.
    pub worst_feature_shift: f64,
    /// Share of values that are NaN or infinite.
    pub missing: f64,
    /// Share of predictions that are no numbers.
    pub invalid: f64,
    /// Of the predicted classes.
    pub prediction_psi: f64,
    /// Of the largest probabilities.
    pub confidence_psi: f64,
    /// Of the largest probabilities.
    pub confidence_ks: f64,
    /// Mean of the largest probability.
    pub mean_confidence: f64,
    /// Mean of -Σ p ln p, in nats.
    pub mean_entropy: f64,
    /// How often each class was predicted.
    pub predictions: Vec<u64>,
    /// Where latencies were observed.
    pub latency: Option<Latency>,
    /// What is above its limit; none where too few samples were seen.
    pub alarms: Vec<Alarm>,
}

impl Report {
    /// Each figure that has a limit, with its value and the limit.
    pub fn figures(&self, limits: &Thresholds) -> [(&'static str, f64, f64); 7] {
        [
            ("feature_shift", self.feature_shift, limits.feature_shift),
            ("worst_feature_shift", self.worst_feature_shift, limits.worst_feature_shift),
            ("missing", self.missing, limits.missing),
            ("invalid", self.invalid, limits.invalid),
            ("prediction_psi", self.prediction_psi, limits.prediction_psi),
            ("confidence_psi", self.confidence_psi, limits.confidence_psi),
            ("confidence_ks", self.confidence_ks, limits.confidence_ks),
        ]
    }

    /// One JSON object.
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).expect("its keys are strings")
    }

    /// The text format of Prometheus, version 0.0.4. A class has its label, or else its number.
    pub fn to_prometheus(&self, labels: &[String]) -> String {
        let mut text = String::new();
        let mut metric = |name: &str, kind: &str, help: &str, lines: &[(String, f64)]| {
            let _ = writeln!(text, "# HELP nn_{name} {help}\n# TYPE nn_{name} {kind}");
            for (suffix, value) in lines {
                let _ = writeln!(text, "nn_{name}{suffix} {value}");
            }
        };
        metric("samples_total", "counter", "Samples that were seen.", &[(String::new(), self.samples as f64)]);
        let class = |(i, &count): (usize, &u64)| {
            let label = labels.get(i).map_or_else(|| i.to_string(), Clone::clone);
            let label = label.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            (format!("{{class=\"{label}\"}}"), count as f64)
        };
        let classes: Vec<(String, f64)> = self.predictions.iter().enumerate().map(class).collect();
        metric("predictions_total", "counter", "How often each class was predicted.", &classes);
        let figures = self.figures(&Thresholds::default());
        let drift = figures.map(|(figure, value, _)| (format!("{{figure=\"{figure}\"}}"), value));
        metric("drift", "gauge", "Distance from the reference.", &drift);
        let alarm = figures.map(|(figure, ..)| {
            let on = self.alarms.iter().any(|alarm| alarm.figure == figure);
            (format!("{{figure=\"{figure}\"}}"), f64::from(u8::from(on)))
        });
        metric("alarm", "gauge", "1 where a figure is above its limit.", &alarm);
        let one = |value| [(String::new(), value)];
        metric("confidence_mean", "gauge", "Mean of the largest probability.", &one(self.mean_confidence));
        metric("entropy_mean", "gauge", "Mean entropy of the predictions, in nats.", &one(self.mean_entropy));
        if let Some(Latency { count, p50, p90, p99, sum, .. }) = self.latency {
            let quantiles = [("0.5", p50), ("0.9", p90), ("0.99", p99)];
            let quantiles = quantiles.map(|(q, value)| (format!("{{quantile=\"{q}\"}}"), value));
            let lines = [&quantiles[..], &[("_sum".into(), sum), ("_count".into(), count as f64)]].concat();
            metric("latency_seconds", "summary", "How long predictions took.", &lines);
        }
        text
    }
}
