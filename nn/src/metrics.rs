//! Loss and accuracy.

use std::ops::AddAssign;

/// Means over samples.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Metrics {
    /// Mean loss; with cross-entropy, in nats.
    pub loss: f64,
    /// Share of samples whose largest logit is that of their label, 0 to 1.
    pub accuracy: f64,
}

/// What has been counted so far.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Tally {
    pub(crate) samples: usize,
    pub(crate) correct: usize,
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
        Metrics { loss: self.loss / samples, accuracy: self.correct as f64 / samples }
    }
}

/// Index of the largest element, the first of equals. NaN is never the largest.
pub(crate) fn argmax(row: &[f32]) -> usize {
    let mut best = 0;
    for (j, &x) in row.iter().enumerate() {
        if x > row[best] || row[best].is_nan() {
            best = j;
        }
    }
    best
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
    }
}
