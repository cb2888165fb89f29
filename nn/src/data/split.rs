//! Parts of a data set: training, validation and test, and the folds of a cross-validation.

use super::Dataset;
use crate::error::{Error, Result, setting};
use crate::rng::{self, Rng};

/// One round of a cross-validation, as numbers of samples.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fold {
    /// To train on.
    pub train: Vec<usize>,
    /// To measure on; each sample is here in one fold.
    pub test: Vec<usize>,
}

impl Dataset {
    /// Cuts the samples into parts of these shares, in an order that depends on the seed. Where it is `stratified`,
    /// each class has these shares, to a sample; targets that are values are one class.
    ///
    /// # Errors
    /// When a share is negative or they do not sum to 1.
    pub fn split(&self, shares: &[f64], stratified: bool, seed: u64) -> Result<Vec<Self>> {
        let parts = self.parts(shares, stratified, seed)?;
        Ok(parts.into_iter().map(|part| self.select(part)).collect())
    }

    /// The numbers of the samples in each part of [`Self::split`].
    ///
    /// # Errors
    /// As there.
    pub fn parts(&self, shares: &[f64], stratified: bool, seed: u64) -> Result<Vec<Vec<usize>>> {
        shares.iter().try_for_each(|&share| setting("share", share, (0.0..=1.0).contains(&share), "in [0, 1]"))?;
        let sum = shares.iter().fold(0.0, |sum, share| sum + share);
        setting("sum of shares", sum, (sum - 1.0).abs() < 1e-9, "1")?;
        let mut parts = vec![Vec::new(); shares.len()];
        for stratum in self.strata(stratified, seed) {
            let (mut share, mut from) = (0.0, 0);
            for (part, more) in parts.iter_mut().zip(shares) {
                share += more;
                let to = ((share * stratum.len() as f64).round() as usize).min(stratum.len());
                part.extend(&stratum[from..to]);
                from = to;
            }
        }
        Ok(parts)
    }

    /// The folds of a cross-validation, in an order that depends on the seed. They differ by one sample at most, and
    /// where they are `stratified`, so do their samples of each class.
    ///
    /// # Errors
    /// When there are fewer than 2 folds, or more than samples.
    pub fn folds(&self, count: usize, stratified: bool, seed: u64) -> Result<Vec<Fold>> {
        if !(2..=self.len()).contains(&count) {
            let range = "at least 2, and at most the number of samples";
            return Err(Error::Setting { name: "number of folds", value: count as f64, range });
        }
        let order: Vec<usize> = self.strata(stratified, seed).concat();
        let fold = |k: usize| {
            let (mut train, mut test) = (Vec::new(), Vec::new());
            for (place, &sample) in order.iter().enumerate() {
                if place % count == k { &mut test } else { &mut train }.push(sample);
            }
            Fold { train, test }
        };
        Ok((0..count).map(fold).collect())
    }

    /// All samples, class by class, each class shuffled; or all of them shuffled together.
    fn strata(&self, by_class: bool, seed: u64) -> Vec<Vec<usize>> {
        let mut order: Vec<usize> = (0..self.len()).collect();
        Rng::new(seed, rng::SPLIT).shuffle(&mut order);
        if !by_class || !self.has_classes() {
            return vec![order];
        }
        let label = |i: &usize| self.labels()[*i];
        order.sort_by_key(label);
        order.chunk_by(|a, b| label(a) == label(b)).map(<[_]>::to_vec).collect()
    }
}
