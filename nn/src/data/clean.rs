//! Cleaning and scaling. Both are fitted on the training part alone and then applied to every part.

use super::{Dataset, Features, Targets};
use crate::error::{Error, Result, setting};
use serde::{Deserialize, Serialize};
use std::iter::zip;

/// What is put in the place of a value that is missing: NaN or infinite.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Missing {
    /// Nothing: the sample is dropped.
    Drop,
    /// The mean of the feature.
    Mean,
    /// The median of the feature.
    Median,
    /// This.
    Constant(f32),
}

/// Repairs samples by what it has seen in the training part.
#[derive(Clone, Debug, PartialEq)]
pub struct Cleaner {
    /// What is put in the place of a missing value of each feature; none where the sample is dropped.
    fill: Option<Vec<f32>>,
    /// Smallest and largest value that is left as it is, for each feature.
    range: Vec<(f32, f32)>,
    constant: Vec<usize>,
}

/// What a [`Cleaner`] did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Repairs {
    /// Samples that were dropped.
    pub dropped: usize,
    /// Values that were missing and are there now.
    pub imputed: usize,
    /// Values that were too far out.
    pub clipped: usize,
}

impl Cleaner {
    /// Looks at the training part. Values below the quantile `clip` of their feature, or above that of `1 - clip`, will
    /// be moved there; `clip` is 0 to leave them, and less than one half.
    ///
    /// # Errors
    /// When the samples are images, there are none, `clip` or a constant is out of range, or a feature has no value to
    /// take a mean or a median of.
    pub fn fit(train: &Dataset, missing: Missing, clip: f64) -> Result<Self> {
        setting("clip", clip, (0.0..0.5).contains(&clip), "in [0, 0.5)")?;
        let (mut fill, mut range, mut constant) = (Vec::new(), Vec::new(), Vec::new());
        for (j, mut column) in columns(train)?.enumerate() {
            column.retain(|x| x.is_finite());
            column.sort_by(f32::total_cmp);
            if column.is_empty() && matches!(missing, Missing::Mean | Missing::Median) {
                return Err(Error::Feature { file: train.image_file.clone(), feature: j, problem: "has no value" });
            }
            fill.push(match missing {
                Missing::Drop => 0.0,
                Missing::Mean => mean(&column) as f32,
                Missing::Median => quantile(&column, 0.5) as f32,
                Missing::Constant(x) => x,
            });
            setting("constant", fill[j], fill[j].is_finite(), "finite")?;
            if column.first() == column.last() {
                constant.push(j);
            }
            let leave = clip == 0.0 || column.is_empty();
            let limits = || (quantile(&column, clip) as f32, quantile(&column, 1.0 - clip) as f32);
            range.push(if leave { (f32::NEG_INFINITY, f32::INFINITY) } else { limits() });
        }
        Ok(Self { fill: Some(fill).filter(|_| missing != Missing::Drop), range, constant })
    }

    /// The features that have one value in all of the training part, or none: nothing can be learned of them.
    pub fn constant_features(&self) -> &[usize] {
        &self.constant
    }

    /// A clean copy. A sample with a target that is not finite is always dropped: it teaches nothing.
    ///
    /// # Errors
    /// When the samples have another number of features.
    pub fn apply(&self, data: &Dataset) -> Result<(Dataset, Repairs)> {
        data.check_inputs(self.range.len())?;
        let numbers = numbers(data)?;
        let good = |&i: &usize| {
            let row = &numbers[i * data.features()..][..data.features()];
            (self.fill.is_some() || row.iter().all(|x| x.is_finite()))
                && match &data.targets {
                    Targets::Classes(_) => true,
                    Targets::Values { values, width } => values[i * width..][..*width].iter().all(|t| t.is_finite()),
                }
        };
        let mut clean = data.select((0..data.len()).filter(good));
        let mut repairs = Repairs { dropped: data.len() - clean.len(), ..Repairs::default() };
        let Features::Numbers(numbers) = &mut clean.features else { unreachable!("they were numbers before") };
        for row in numbers.chunks_exact_mut(self.range.len().max(1)) {
            for (j, (x, &(low, high))) in zip(row, &self.range).enumerate() {
                if !x.is_finite() {
                    *x = self.fill.as_ref().map_or(*x, |fill| fill[j]);
                    repairs.imputed += 1;
                } else if *x < low || *x > high {
                    *x = x.clamp(low, high);
                    repairs.clipped += 1;
                }
            }
        }
        Ok((clean, repairs))
    }
}

/// To what a [`Scaler`] brings each feature.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Scaling {
    /// The smallest value of the training part to the first, the largest to the second.
    Range(f32, f32),
    /// Mean 0 and deviation 1 in the training part.
    Standard,
}

/// Brings each feature to a common scale: `(x - centre) factor + base`. A model can hold one, and then takes raw
/// features; see [`Mlp::with_scaler`](crate::Mlp::with_scaler).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Scaler {
    centre: Vec<f32>,
    /// 1 for a constant feature.
    factor: Vec<f32>,
    base: f32,
}

impl Scaler {
    /// Looks at the training part.
    ///
    /// # Errors
    /// When the samples are images, there are none, a value is not finite, or the range is empty.
    pub fn fit(train: &Dataset, scaling: Scaling) -> Result<Self> {
        let (mut centre, mut factor) = (Vec::new(), Vec::new());
        for (j, column) in columns(train)?.enumerate() {
            if !column.iter().all(|x| x.is_finite()) {
                let problem = "is not finite in every sample: clean it first";
                return Err(Error::Feature { file: train.image_file.clone(), feature: j, problem });
            }
            let (from, width, wanted) = match scaling {
                Scaling::Range(low, high) => {
                    setting("range", high, low < high && low.is_finite() && high.is_finite(), "finite and not empty")?;
                    let min = column.iter().copied().fold(f32::INFINITY, f32::min);
                    let max = column.iter().copied().fold(f32::NEG_INFINITY, f32::max);
                    (min, f64::from(max) - f64::from(min), f64::from(high) - f64::from(low))
                }
                Scaling::Standard => {
                    let mean = mean(&column);
                    let squares: f64 = column.iter().map(|&x| (f64::from(x) - mean).powi(2)).sum();
                    (mean as f32, (squares / column.len() as f64).sqrt(), 1.0)
                }
            };
            centre.push(from);
            factor.push(if width > 0.0 { (wanted / width) as f32 } else { 1.0 });
        }
        let base = if let Scaling::Range(low, _) = scaling { low } else { 0.0 };
        Ok(Self { centre, factor, base })
    }

    /// Number of features.
    pub fn features(&self) -> usize {
        self.centre.len()
    }

    pub(crate) fn from_parts(centre: Vec<f32>, factor: Vec<f32>, base: f32) -> Self {
        Self { centre, factor, base }
    }

    /// Centre and factor of each feature, and the base.
    pub(crate) fn parts(&self) -> (&[f32], &[f32], f32) {
        (&self.centre, &self.factor, self.base)
    }

    /// Whether it scales that many features by finite numbers.
    pub(crate) fn fits(&self, features: usize) -> bool {
        let finite = self.centre.iter().chain(&self.factor).chain([&self.base]).all(|x| x.is_finite());
        finite && self.centre.len() == features && self.factor.len() == features
    }

    /// Scales rows of features in place.
    pub(crate) fn apply(&self, x: &mut [f32]) {
        for row in x.chunks_exact_mut(self.features()) {
            for ((x, centre), factor) in zip(row, &self.centre).zip(&self.factor) {
                *x = (*x - centre) * factor + self.base;
            }
        }
    }
}

fn numbers(data: &Dataset) -> Result<&[f32]> {
    data.numbers().ok_or_else(|| Error::Images { file: data.image_file.clone() })
}

/// Each feature over all samples.
fn columns(data: &Dataset) -> Result<impl Iterator<Item = Vec<f32>>> {
    data.check_not_empty()?;
    let (numbers, width) = (numbers(data)?, data.features());
    Ok((0..width).map(move |j| numbers.iter().skip(j).step_by(width).copied().collect()))
}

/// 0 of nothing.
fn mean(x: &[f32]) -> f64 {
    x.iter().map(|&x| f64::from(x)).sum::<f64>() / x.len().max(1) as f64
}

/// The quantile `q` of sorted numbers, in a straight line between neighbours (Hyndman and Fan 1996, type 7, as NumPy).
fn quantile(sorted: &[f32], q: f64) -> f64 {
    let place = q * (sorted.len() - 1) as f64;
    let (below, part) = (place as usize, place.fract());
    let (a, b) = (f64::from(sorted[below]), f64::from(sorted[(below + 1).min(sorted.len() - 1)]));
    a + (b - a) * part
}
