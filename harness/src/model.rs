//! A trained model from a file, in f32 or in 8 bits, and how fast predictions are.

use crate::error::Result;
use nn::metrics::argmax;
use nn::{Dataset, Engine, Error, Kind, Mlp, Predictor, Quantized};
use std::fs;
use std::iter::zip;
use std::path::Path;
use std::time::Instant;

/// What a file of a model can hold.
pub enum Model {
    /// Numbers in f32, with all that belongs to them.
    Exact(Box<(Mlp, Predictor)>),
    /// See [`Quantized`].
    EightBits(Quantized),
}

impl Model {
    /// Reads either.
    ///
    /// # Errors
    /// When the file holds neither.
    pub fn load(file: &Path) -> Result<Self> {
        match Mlp::load(file) {
            Ok(model) => Self::exact(model),
            Err(Error::Kind { found: Kind::EightBits, .. }) => Ok(Self::EightBits(Quantized::load(file)?)),
            Err(error) => Err(error.into()),
        }
    }

    /// A model that is in memory.
    ///
    /// # Errors
    /// When `KERNELS_ISA` asks for what this CPU lacks.
    pub fn exact(model: Mlp) -> Result<Self> {
        let predictor = Predictor::new(&model)?;
        Ok(Self::Exact(Box::new((model, predictor))))
    }

    /// Numbers that it takes for a sample.
    pub fn inputs(&self) -> usize {
        match self {
            Self::Exact(exact) => exact.0.inputs(),
            Self::EightBits(model) => model.inputs(),
        }
    }

    /// Numbers that it puts out for a sample.
    pub fn outputs(&self) -> usize {
        match self {
            Self::Exact(exact) => exact.0.outputs(),
            Self::EightBits(model) => model.outputs(),
        }
    }

    /// The names of the classes, or their numbers where nobody named them.
    pub fn labels(&self) -> Vec<String> {
        let labels = match self {
            Self::Exact(exact) => exact.0.labels(),
            Self::EightBits(model) => model.labels(),
        };
        if labels.is_empty() { (0..self.outputs()).map(|class| class.to_string()).collect() } else { labels.into() }
    }

    /// The probability of each class for each sample.
    ///
    /// # Errors
    /// When the samples do not fit the model.
    pub fn probabilities(&self, data: &Dataset) -> Result<Vec<f32>> {
        let mut probabilities = vec![0.0; data.len() * self.outputs()];
        self.fill(data, &mut probabilities)?;
        Ok(probabilities)
    }

    fn fill(&self, data: &Dataset, probabilities: &mut [f32]) -> nn::Result<()> {
        match self {
            Self::Exact(exact) => exact.1.probabilities(data.samples(), probabilities),
            Self::EightBits(model) => model.probabilities(data.samples(), probabilities),
        }
    }
}

/// The class that a model takes each sample for, and the probability that it gives to it.
///
/// # Errors
/// When the samples do not fit the model.
pub fn predictions(model: &Mlp, engine: &dyn Engine, data: &Dataset) -> Result<Vec<(u32, f32)>> {
    let (classes, probabilities) = (model.predict(engine, data)?, model.probabilities(engine, data)?);
    let rows = probabilities.chunks_exact(model.classes());
    Ok(zip(classes, rows).map(|(class, row)| (class, row[class as usize])).collect())
}

/// The most probable class of each sample, by [`argmax`].
pub fn classes(probabilities: &[f32], outputs: usize) -> Vec<u32> {
    probabilities.chunks_exact(outputs).map(|row| argmax(row) as u32).collect()
}

/// Share of right predictions.
pub fn accuracy(probabilities: &[f32], outputs: usize, data: &Dataset) -> f64 {
    let right = classes(probabilities, outputs).iter().zip(data.labels()).filter(|(a, b)| a == b).count();
    right as f64 / data.len() as f64
}

/// Samples a second of each model on these data, softmax included: the median of some rounds, in which they take turns.
///
/// # Errors
/// When the samples do not fit a model.
pub fn speeds(models: &[&Model], data: &Dataset) -> Result<Vec<f64>> {
    const ROUNDS: usize = 7;
    let mut seconds = vec![Vec::new(); models.len()];
    for _ in 0..ROUNDS {
        for (model, seconds) in models.iter().zip(&mut seconds) {
            let mut probabilities = vec![0.0; data.len() * model.outputs()];
            let begin = Instant::now();
            model.fill(data, &mut probabilities)?;
            seconds.push(begin.elapsed().as_secs_f64());
        }
    }
    let median = |seconds: &mut Vec<f64>| {
        seconds.sort_by(f64::total_cmp);
        data.len() as f64 / seconds[ROUNDS / 2]
    };
    Ok(seconds.iter_mut().map(median).collect())
}

/// Widths of the layers, inputs first.
pub fn widths(model: &Mlp) -> Vec<usize> {
    [model.inputs()].into_iter().chain(model.layers().iter().map(|layer| layer.outputs)).collect()
}

/// Bytes of a file.
pub fn size(file: &Path) -> u64 {
    fs::metadata(file).map_or(0, |about| about.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_class_without_number_is_not_the_most_probable() {
        assert_eq!(classes(&[f32::NAN, 0.25, 0.75, 0.5, 0.5, 0.0], 3), [2, 0]);
    }
}
