//! Models with most of their weights at 0.

use crate::error::{Result, setting};
use crate::mlp::Mlp;
use crate::store::first_mut;

/// Which weights compete for being kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// All of the model: layers that matter less lose more.
    Global,
    /// Those of each layer: all lose the same share.
    PerLayer,
}

/// A copy in which the smallest weights are 0: the share `sparsity` of them, as the product in f64, rounded down (0.29
/// of 100 are 28, as 0.29 is a little less in binary); of equals the first. Biases stay.
/// [`Trainer::keep_zeros`](crate::Trainer::keep_zeros) trains the others on.
///
/// # Errors
/// When the sparsity is not in [0, 1].
pub fn prune(model: &Mlp, sparsity: f64, scope: Scope) -> Result<Mlp> {
    setting("sparsity", sparsity, (0.0..=1.0).contains(&sparsity), "in [0, 1]")?;
    let mut pruned = model.clone();
    let weights: Vec<usize> = model.layers().iter().map(|layer| layer.weight_count()).collect();
    let others: Vec<usize> =
        model.layers().iter().map(|layer| layer.parameter_count() - layer.weight_count()).collect();
    let mut rest = pruned.parameters_mut();
    let mut parts: Vec<&mut [f32]> = Vec::new();
    for (w, other) in weights.into_iter().zip(others) {
        parts.push(first_mut(&mut rest, w));
        first_mut(&mut rest, other);
    }
    let mut all: Vec<&mut f32> = Vec::new();
    for part in parts {
        all.extend(part);
        if scope == Scope::PerLayer {
            zero(std::mem::take(&mut all), sparsity);
        }
    }
    zero(all, sparsity);
    Ok(pruned)
}

fn zero(mut weights: Vec<&mut f32>, sparsity: f64) {
    let count = (sparsity * weights.len() as f64) as usize;
    // Stable, so that of equals the first go.
    weights.sort_by(|a, b| a.abs().total_cmp(&b.abs()));
    weights.into_iter().take(count).for_each(|w| *w = 0.0);
}

/// The share of weights that are 0.
pub fn sparsity(model: &Mlp) -> f64 {
    let weights = || model.parts().flat_map(|(layer, parameters, _)| &parameters[..layer.weight_count()]);
    weights().filter(|&&w| w == 0.0).count() as f64 / weights().count() as f64
}
