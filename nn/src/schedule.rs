//! How the learning rate changes over a run.

use crate::error::{Result, setting};
use serde::{Deserialize, Serialize};
use std::f64::consts::PI;

/// The factor of the learning rate in step `t`, counted from 0. It depends on `t` alone, not on the number of epochs,
/// so that a run can be interrupted and go on; an epoch has as many steps as batches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Schedule {
    /// 1.
    #[default]
    Constant,
    /// `factor ^ ⌊t / every⌋`.
    Step {
        /// Steps between two drops.
        every: u64,
        /// What each drop leaves.
        factor: f64,
    },
    /// `factor ^ (t / steps)`.
    Exponential {
        /// Steps in which the rate falls to `factor`.
        steps: u64,
        /// What is left after that many.
        factor: f64,
    },
    /// From `1 / warmup` to 1 in a straight line over the first `warmup` steps, then half a cosine wave down to `floor`
    /// at step `steps` (Loshchilov and Hutter 2017, equation 5, without restarts), and `floor` ever after.
    Cosine {
        /// Steps of the rise.
        warmup: u64,
        /// Steps of rise and fall.
        steps: u64,
        /// Where it ends.
        floor: f64,
    },
    /// Half a cosine wave from `start` up to 1 over the first part of `steps`, another down to `end` over the rest
    /// (Smith and Topin 2018, with the waves of PyTorch). The learning rate of the optimiser is the peak.
    OneCycle {
        /// Steps of rise and fall.
        steps: u64,
        /// Part of them in which it rises, 0 to 1; often 0.3.
        rise: f64,
        /// Where it starts; often 1/25.
        start: f64,
        /// Where it is at step `steps`, one after the last; often 4e-6.
        end: f64,
    },
    /// Multiplied by `factor` whenever the loss that [`EarlyStopping`](crate::EarlyStopping) watches too has not become
    /// smaller by more than `min_delta` for `patience` epochs.
    OnPlateau {
        /// Epochs to wait.
        patience: u64,
        /// What each drop leaves.
        factor: f64,
        /// No drop below this.
        floor: f64,
        /// A smaller gain is none.
        min_delta: f64,
    },
}

/// From 1 at 0 to 0 at 1, along half a cosine wave.
fn wave(x: f64) -> f64 {
    0.5 * (1.0 + libm::cos(PI * x.clamp(0.0, 1.0)))
}

impl Schedule {
    /// The factor of the learning rate in step `t`. `drops` is what [`Plateau`] has come to.
    pub(crate) fn factor(&self, t: u64, drops: f64) -> f64 {
        match *self {
            Self::Constant => 1.0,
            Self::Step { every, factor } => libm::pow(factor, (t / every) as f64),
            Self::Exponential { steps, factor } => libm::pow(factor, t as f64 / steps as f64),
            Self::Cosine { warmup, .. } if t < warmup => (t + 1) as f64 / warmup as f64,
            Self::Cosine { warmup, steps, floor } => {
                floor + (1.0 - floor) * wave((t - warmup) as f64 / (steps - warmup) as f64)
            }
            Self::OneCycle { steps, rise, start, end } => {
                let (t, top) = (t as f64, rise * steps as f64);
                if t < top {
                    1.0 - (1.0 - start) * wave(t / top)
                } else {
                    end + (1.0 - end) * wave((t - top) / (steps as f64 - top))
                }
            }
            Self::OnPlateau { .. } => drops,
        }
    }

    pub(crate) fn check(&self) -> Result<()> {
        let part = |name, x: f64| setting(name, x, (0.0..=1.0).contains(&x), "in [0, 1]");
        let count = |name, n: u64| setting(name, n as f64, n > 0, "at least 1");
        match *self {
            Self::Constant => Ok(()),
            Self::Step { every, factor } => count("every", every).and(part("factor", factor)),
            Self::Exponential { steps, factor } => count("steps", steps).and(part("factor", factor)),
            Self::Cosine { warmup, steps, floor } => {
                setting("steps", steps as f64, steps > warmup, "more than warmup").and(part("floor", floor))
            }
            Self::OneCycle { steps, rise, start, end } => {
                count("steps", steps).and(part("start", start)).and(part("end", end))?;
                setting("rise", rise, (0.0..1.0).contains(&rise), "in [0, 1)")
            }
            Self::OnPlateau { patience, factor, floor, min_delta } => {
                count("patience", patience).and(part("factor", factor)).and(part("floor", floor))?;
                setting("min_delta", min_delta, (0.0..f64::INFINITY).contains(&min_delta), "finite and not negative")
            }
        }
    }
}

/// Whether a loss still becomes smaller.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Watch {
    /// The smallest so far.
    pub(crate) best: Option<f64>,
    /// Epochs since then.
    pub(crate) since: u64,
}

impl Watch {
    /// Takes in the loss of another epoch; tells whether it is the best by more than `min_delta`.
    pub(crate) fn improves(&mut self, loss: f64, min_delta: f64) -> bool {
        let better = self.best.is_none_or(|best| loss < best - min_delta);
        if better {
            *self = Self { best: Some(loss), since: 0 };
        } else {
            self.since += 1;
        }
        better
    }
}

/// The state of [`Schedule::OnPlateau`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Plateau {
    pub(crate) drops: f64,
    watch: Watch,
}

impl Default for Plateau {
    fn default() -> Self {
        Self { drops: 1.0, watch: Watch::default() }
    }
}

impl Plateau {
    /// Takes in the loss of another epoch.
    pub(crate) fn see(&mut self, schedule: &Schedule, loss: f64) {
        let Schedule::OnPlateau { patience, factor, floor, min_delta } = *schedule else { return };
        if !self.watch.improves(loss, min_delta) && self.watch.since >= patience {
            self.drops = (self.drops * factor).max(floor);
            self.watch.since = 0;
        }
    }

    pub(crate) fn check(&self) -> Result<()> {
        setting("drops", self.drops, (0.0..=1.0).contains(&self.drops), "in [0, 1]")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn factors_are_those_of_the_formulas() {
        let step = Schedule::Step { every: 10, factor: 0.5 };
        let exponential = Schedule::Exponential { steps: 10, factor: 0.25 };
        let cosine = Schedule::Cosine { warmup: 4, steps: 104, floor: 0.1 };
        let cycle = Schedule::OneCycle { steps: 100, rise: 0.25, start: 0.04, end: 0.001 };
        for (schedule, t, expected) in [
            (Schedule::Constant, 1_000_000, 1.0),
            (step, 0, 1.0),
            (step, 9, 1.0),
            (step, 10, 0.5),
            (step, 35, 0.125),
            (exponential, 0, 1.0),
            (exponential, 5, 0.5),
            (exponential, 20, 0.0625),
            (cosine, 0, 0.25),
            (cosine, 3, 1.0),
            (cosine, 4, 1.0),
            // A third of the way down: cos 60° = 1/2.
            (Schedule::Cosine { warmup: 0, steps: 300, floor: 0.0 }, 100, 0.75),
            (cosine, 54, 0.55),
            (cosine, 104, 0.1),
            (cosine, u64::MAX, 0.1),
            (cycle, 0, 0.04),
            (cycle, 25, 1.0),
            (Schedule::OneCycle { steps: 100, rise: 0.5, start: 0.0, end: 0.0 }, 25, 0.5),
            (cycle, 100, 0.001),
            (cycle, 1000, 0.001),
        ] {
            schedule.check().unwrap();
            let found = schedule.factor(t, 1.0);
            assert!((found - expected).abs() < 1e-12, "{schedule:?} at {t} is {found}, not {expected}");
        }
    }

    #[test]
    fn plateaus_lower_the_rate() {
        let schedule = Schedule::OnPlateau { patience: 2, factor: 0.1, floor: 0.05, min_delta: 0.01 };
        let mut plateau = Plateau::default();
        let drops = [3.0, 2.0, 1.995, 1.992, 1.991, 1.5, 1.5, 1.6, 1.4999, 0.0].map(|loss| {
            plateau.see(&schedule, loss);
            plateau.drops
        });
        assert_eq!(drops, [1.0, 1.0, 1.0, 0.1, 0.1, 0.1, 0.1, 0.05, 0.05, 0.05]);
    }

    #[test]
    fn schedules_out_of_range_are_errors() {
        for (schedule, expected) in [
            (Schedule::Step { every: 0, factor: 0.5 }, "every is 0, but must be at least 1"),
            (Schedule::Exponential { steps: 1, factor: f64::NAN }, "factor is NaN, but must be in [0, 1]"),
            (Schedule::Cosine { warmup: 5, steps: 5, floor: 0.0 }, "steps is 5, but must be more than warmup"),
            (Schedule::OneCycle { steps: 5, rise: 1.0, start: 0.0, end: 0.0 }, "rise is 1, but must be in [0, 1)"),
            (
                Schedule::OnPlateau { patience: 1, factor: 0.5, floor: 0.0, min_delta: -1.0 },
                "min_delta is -1, but must be finite and not negative",
            ),
        ] {
            assert_eq!(schedule.check().unwrap_err().to_string(), expected);
        }
    }
}
