//! The loss, and its gradient right beside it.

use crate::engine::Engine;
use crate::error::Result;
use crate::metrics::{Tally, argmax};
use std::iter::zip;

/// Sparse categorical cross-entropy from logits (one row for each label), meant over the batch:
///
/// ```text
/// L = mean over i of ln(Σⱼ exp(zᵢⱼ)) - zᵢ[labelᵢ]        dL/dz = (softmax(z) - onehot(label)) / rows
/// ```
///
/// Returns the sum of the losses and the number of hits, and puts dL/dz in the place of the logits.
pub(crate) fn sparse_categorical_cross_entropy(
    engine: &dyn Engine,
    classes: usize,
    logits: &mut [f32],
    labels: &[u32],
    losses: &mut [f32],
) -> Result<Tally> {
    let hits = zip(logits.chunks_exact(classes), labels).filter(|&(z, &label)| argmax(z) == label as usize);
    let correct = hits.count();
    let samples = labels.len();
    engine.softmax_cross_entropy(classes, logits, labels, 1.0 / samples as f32, losses)?;
    Ok(Tally { samples, correct, loss: losses.iter().map(|&loss| f64::from(loss)).sum() })
}
