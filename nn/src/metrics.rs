//! How good predictions are.
//!
//! Scores and probabilities are samples x classes, row-major, as [`Mlp::run`](crate::Mlp::run) and
//! [`Mlp::probabilities`](crate::Mlp::probabilities) give them.

use crate::error::{Error, Result, setting};
use std::iter::zip;
use std::ops::AddAssign;

/// Means over samples.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Metrics {
    /// Mean loss; with cross-entropy, in nats.
    pub loss: f64,
    /// Share of samples whose largest logit is that of their label, 0 to 1. With binary cross-entropy, whose outputs
    /// are all on the right side of 0; NaN with losses that know no right and wrong.
    pub accuracy: f64,
}

/// What has been counted so far.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Tally {
    pub(crate) samples: usize,
    /// NaN with losses that know no right and wrong.
    pub(crate) correct: f64,
    /// Sum of the losses.
    pub(crate) loss: f64,
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.samples += other.samples;
        self.correct += other.correct;
        self.loss += other.loss;
    }
}

impl Tally {
    /// The means; NaN when nothing was counted.
    pub(crate) fn metrics(&self) -> Metrics {
        let samples = self.samples as f64;
        Metrics { loss: self.loss / samples, accuracy: self.correct / samples }
    }
}

/// Whether a logit is ranked before another: any number before NaN.
pub(crate) fn above(x: f32, other: f32) -> bool {
    x > other || (other.is_nan() && !x.is_nan())
}

/// Index of the largest element, the first of equals: the class that these scores are taken for. NaN is never the
/// largest but where all are; 0 where there is none.
#[must_use]
pub fn argmax(row: &[f32]) -> usize {
    let mut best = 0;
    for (j, &x) in row.iter().enumerate() {
        if above(x, row[best]) {
            best = j;
        }
    }
    best
}

/// Whether there are `width` numbers for each label, and every label is below `classes`.
fn check(numbers: usize, width: usize, labels: &[u32], classes: usize) -> Result<()> {
    if width == 0 || labels.len().checked_mul(width) != Some(numbers) {
        return Err(Error::Rows { numbers, width, targets: labels.len(), per_sample: 1 });
    }
    match labels.iter().position(|&label| label as usize >= classes) {
        Some(sample) => Err(Error::Label { file: "<memory>".into(), sample, label: labels[sample], classes }),
        None => Ok(()),
    }
}

/// A quotient of counts; 0 for 0/0, as in scikit-learn.
fn share(part: f64, whole: f64) -> f64 {
    if whole == 0.0 { 0.0 } else { part / whole }
}

/// Most classes of a [`Confusion`], whose counts are 8 GiB then.
const MOST_CLASSES: usize = 1 << 15;
/// Most bins of a calibration.
const MOST_BINS: usize = 1 << 20;

/// How often each class was taken for each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Confusion {
    classes: usize,
    /// One row for each label, one column for each prediction.
    counts: Vec<u64>,
}

/// How well a class is found, or the average over classes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scores {
    /// Share of the predictions of the class that are right; 0 where there are none.
    pub precision: f64,
    /// Share of its samples that are found; 0 where there are none.
    pub recall: f64,
    /// The harmonic mean of both; 0 where both are. An average is that of the classes' values.
    pub f1: f64,
    /// Number of its samples.
    pub support: u64,
}

/// How classes are averaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Average {
    /// All classes count alike.
    Macro,
    /// All samples count alike: with one class for each sample, all three scores are the accuracy.
    Micro,
    /// Each class counts as much as it has samples.
    Weighted,
}

impl Confusion {
    /// Counts.
    ///
    /// # Errors
    /// When there are not as many predictions as labels, one of either is not below `classes`, or these are more than
    /// 32,768.
    pub fn new(classes: usize, labels: &[u32], predictions: &[u32]) -> Result<Self> {
        let few = classes <= MOST_CLASSES;
        setting("number of classes in a confusion matrix", classes as f64, few, "at most 32768")?;
        check(predictions.len(), 1, labels, classes)?;
        check(labels.len(), 1, predictions, classes)?;
        let mut counts = vec![0; classes * classes];
        for (&label, &prediction) in zip(labels, predictions) {
            counts[label as usize * classes + prediction as usize] += 1;
        }
        Ok(Self { classes, counts })
    }

    /// One row for each label, one column for each prediction.
    pub fn rows(&self) -> impl Iterator<Item = &[u64]> {
        self.counts.chunks_exact(self.classes.max(1))
    }

    /// Share of right predictions.
    pub fn accuracy(&self) -> f64 {
        let hits: u64 = self.counts.iter().step_by(self.classes + 1).sum();
        share(hits as f64, self.counts.iter().sum::<u64>() as f64)
    }

    /// The scores of each class.
    pub fn scores(&self) -> Vec<Scores> {
        let of = |class: usize| {
            let hits = self.counts[class * self.classes + class] as f64;
            let support: u64 = self.counts[class * self.classes..][..self.classes].iter().sum();
            let predicted: u64 = self.counts.iter().skip(class).step_by(self.classes).sum();
            // 2 P R / (P + R), without the quotients.
            let f1 = share(2.0 * hits, support as f64 + predicted as f64);
            Scores { precision: share(hits, predicted as f64), recall: share(hits, support as f64), f1, support }
        };
        (0..self.classes).map(of).collect()
    }

    /// The scores of all classes together.
    pub fn average(&self, how: Average) -> Scores {
        let (scores, samples) = (self.scores(), self.counts.iter().sum::<u64>());
        let weight = |class: &Scores| match how {
            Average::Macro => share(1.0, self.classes as f64),
            Average::Weighted => share(class.support as f64, samples as f64),
            Average::Micro => 0.0,
        };
        let mean = |score: fn(&Scores) -> f64| match how {
            Average::Micro => self.accuracy(),
            _ => scores.iter().map(|class| weight(class) * score(class)).sum(),
        };
        Scores { precision: mean(|s| s.precision), recall: mean(|s| s.recall), f1: mean(|s| s.f1), support: samples }
    }
}

/// Share of samples whose label is among the `k` highest scores. A score counts as higher than the label's only if it
/// is larger, or as large and of an earlier class, so that `k = 1` is the accuracy.
///
/// # Errors
/// When there are not `classes` scores for each label, or a label is not below `classes`.
pub fn top_k(k: usize, classes: usize, scores: &[f32], labels: &[u32]) -> Result<f64> {
    check(scores.len(), classes, labels, classes)?;
    let hit = |(row, label): (&[f32], &u32)| {
        let (label, own) = (*label as usize, row[*label as usize]);
        let before = row.iter().enumerate().filter(|&(j, &x)| x > own || j < label && x == own).count();
        before < k && !own.is_nan()
    };
    let hits = zip(scores.chunks_exact(classes), labels).map(hit).filter(|&hit| hit).count();
    Ok(share(hits as f64, labels.len() as f64))
}

/// How many positive and negative samples have each score, from the highest score down; zeros of either sign are one.
fn by_score(scores: &[f32], positive: &[bool]) -> Result<Vec<(f64, f64)>> {
    if scores.len() != positive.len() {
        return Err(Error::Rows { numbers: scores.len(), width: 1, targets: positive.len(), per_sample: 1 });
    }
    if let Some(&nan) = scores.iter().find(|score| score.is_nan()) {
        return Err(Error::Setting { name: "score", value: nan.into(), range: "a number" });
    }
    let mut sorted: Vec<_> = zip(scores, positive).map(|(&score, &positive)| (score + 0.0, positive)).collect();
    sorted.sort_by(|a, b| b.0.total_cmp(&a.0));
    let count = |ties: &[(f32, bool)]| {
        let positive = ties.iter().filter(|(_, positive)| *positive).count();
        (positive as f64, (ties.len() - positive) as f64)
    };
    Ok(sorted.chunk_by(|a, b| a.0 == b.0).map(count).collect())
}

/// Area under the receiver operating characteristic: how often a positive sample has a higher score than a negative
/// one, a tie counting half (Hanley and McNeil 1982). NaN when there are none of either kind.
///
/// # Errors
/// When there are not as many scores as samples, or a score is NaN.
pub fn roc_auc(scores: &[f32], positive: &[bool]) -> Result<f64> {
    let (mut above, mut right, mut negatives) = (0.0, 0.0, 0.0);
    for (p, n) in by_score(scores, positive)? {
        right += n * (above + 0.5 * p);
        above += p;
        negatives += n;
    }
    Ok(right / (above * negatives))
}

/// Area under the curve of precision over recall, as average precision: the sum of the precisions at each score,
/// weighted by what it adds to the recall. NaN when there are no positive samples.
///
/// # Errors
/// When there are not as many scores as samples, or a score is NaN.
pub fn pr_auc(scores: &[f32], positive: &[bool]) -> Result<f64> {
    let (mut found, mut taken, mut sum) = (0.0, 0.0, 0.0);
    for (p, n) in by_score(scores, positive)? {
        found += p;
        taken += p + n;
        sum += p * found / taken;
    }
    Ok(sum / found)
}

/// Mean of `-ln p` over the probabilities of the labels, in nats. A probability below the smallest normal number counts
/// as that, so that one mistake is not infinite.
///
/// # Errors
/// When there are not `classes` probabilities for each label, or a label is not below `classes`.
pub fn log_loss(classes: usize, probabilities: &[f32], labels: &[u32]) -> Result<f64> {
    check(probabilities.len(), classes, labels, classes)?;
    let losses = zip(probabilities.chunks_exact(classes), labels).map(|(p, &label)| {
        // Not `max`, which drops NaN.
        let p = p[label as usize];
        -libm::log(if p < f32::MIN_POSITIVE { f32::MIN_POSITIVE } else { p }.into())
    });
    Ok(share(losses.sum(), labels.len() as f64))
}

/// Expected calibration error (Guo et al. 2017, equation 3): the samples in `bins` of equal width by the probability of
/// their most probable class, the mean over samples of how far accuracy and mean probability of a bin are apart. Bin
/// `m` of `M`, from 1, is `((m - 1) / M, m / M]`; 0 is in the first.
///
/// # Errors
/// When there are no bins or more than 1,048,576, not `classes` probabilities for each label, or a label is not below
/// `classes`.
pub fn calibration_error(bins: usize, classes: usize, probabilities: &[f32], labels: &[u32]) -> Result<f64> {
    setting("bins", bins as f64, (1..=MOST_BINS).contains(&bins), "from 1 to 1048576")?;
    check(probabilities.len(), classes, labels, classes)?;
    // Hits minus confidence, bin by bin: |accuracy - confidence| times samples.
    let mut gaps = vec![0.0; bins];
    for (p, &label) in zip(probabilities.chunks_exact(classes), labels) {
        let best = argmax(p);
        let confidence = f64::from(p[best]);
        // The product is exact; what is no probability falls into a bin at an end.
        let bin = ((confidence * bins as f64).ceil() as usize).clamp(1, bins) - 1;
        gaps[bin] += f64::from(u8::from(best == label as usize)) - confidence;
    }
    Ok(share(gaps.iter().map(|gap: &f64| gap.abs()).sum(), labels.len() as f64))
}

/// How far predicted values are from the targets.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Regression {
    /// Mean squared error.
    pub mse: f64,
    /// Mean absolute error.
    pub mae: f64,
    /// Share of the targets' variance that is explained: 1 minus squared error over squared distance from the mean. NaN
    /// or -Inf when the targets are all the same.
    pub r2: f64,
}

impl Regression {
    /// Measures, over all values together.
    ///
    /// # Errors
    /// When there are not as many predictions as targets, or none.
    pub fn new(predictions: &[f32], targets: &[f32]) -> Result<Self> {
        if predictions.len() != targets.len() || targets.is_empty() {
            let (numbers, targets) = (predictions.len(), targets.len());
            return Err(Error::Rows { numbers, width: 1, targets, per_sample: 1 });
        }
        let n = targets.len() as f64;
        let mean = targets.iter().map(|&t| f64::from(t)).sum::<f64>() / n;
        let (mut squares, mut sizes, mut spread) = (0.0, 0.0, 0.0);
        for (&y, &t) in zip(predictions, targets) {
            let error = f64::from(y) - f64::from(t);
            squares += error * error;
            sizes += error.abs();
            spread += (f64::from(t) - mean) * (f64::from(t) - mean);
        }
        Ok(Self { mse: squares / n, mae: sizes / n, r2: 1.0 - squares / spread })
    }
}

#[cfg(test)]
mod tests {
    use super::argmax;

    #[test]
    fn argmax_takes_the_first_of_equals_and_never_nan() {
        assert_eq!(argmax(&[0.5]), 0);
        assert_eq!(argmax(&[-3.0, -1.0, -2.0]), 1);
        assert_eq!(argmax(&[1.0, 2.0, 2.0]), 1);
        assert_eq!(argmax(&[f32::NAN, f32::NEG_INFINITY, -1.0, f32::NAN]), 2);
        assert_eq!(argmax(&[f32::NAN; 3]), 0);
    }
}
