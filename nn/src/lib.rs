//! Training of multi-layer perceptrons on top of [`kernels`].
//!
//! The same seed gives the same weights, bit for bit, on every CPU with fused multiply-add and with any number of
//! threads. A training step allocates nothing. Nothing is printed: what happens is told to an [`Observer`].
//!
//! ```
//! use nn::{Kernels, Mlp, Mnist, Recipe, Trainer};
//!
//! let mnist = Mnist::load(concat!(env!("CARGO_MANIFEST_DIR"), "/../data/mnist"))?;
//! let engine = Kernels::active()?;
//! let model = Mlp::new(&[784, 32, 10], 0)?;
//! let recipe = Recipe { epochs: 3, ..Recipe::default() };
//! let mut trainer = Trainer::new(model, recipe, &engine)?;
//! trainer.fit(&mnist.train.head(2000), &mut ())?;
//! let test = trainer.model().evaluate(&engine, &mnist.test)?;
//! assert!(test.accuracy > 0.8);
//! # Ok::<(), nn::Error>(())
//! ```
//!
//! Where what is:
//!
//! | module | holds |
//! | --- | --- |
//! | `data` | [`Dataset`], the readers of IDX ([`Mnist`]), CSV ([`Table`]) and NPY, cleaning, scaling, splitting |
//! | `rng` | every random number: which generator, which stream, which formula |
//! | `store` | the aligned vector that parameters, gradients, moments and activations live in |
//! | [`engine`] | who computes: [`Kernels`], or [`Naive`] loops to compare with |
//! | `dense` | one layer, its backward pass right below its forward pass |
//! | `norm` | batch and layer normalisation |
//! | `mlp` | the model: layers in a row, one batch on its way through them, evaluation, prediction |
//! | `loss` | the losses and penalties, each with its gradient right beside it |
//! | [`metrics`] | accuracy, confusion, precision, recall, F1, areas under curves, calibration, errors of regressions |
//! | `optim` | the optimisers |
//! | `schedule` | how the learning rate changes |
//! | `recipe` | everything that decides what a run computes |
//! | `train` | the training loop and what it tells the [`Observer`] |
//! | [`export`] | weights as `safetensors` and NPZ, and models as Rust source |
//! | [`onnx`] | models as ONNX files, for other programs and from them |
//! | `predictor` | the trained model at work, for many threads at once |
//! | [`quantize`] | models in 8 bits, made after training |
//! | [`prune`] | models with most of their weights at 0 |
//! | [`monitor`] | what a model meets and says in service, against a reference |
//! | `checkpoint` | models and trainings as `safetensors` files |
//! | [`files`] | files that are written whole or not at all |

#![forbid(unsafe_code)]

mod checkpoint;
mod data;
mod dense;
pub mod engine;
mod error;
pub mod export;
pub mod files;
#[cfg(test)]
mod gradients;
mod loss;
pub mod metrics;
mod mlp;
pub mod monitor;
mod norm;
pub mod onnx;
mod optim;
mod predictor;
pub mod prune;
pub mod quantize;
mod recipe;
mod rng;
mod schedule;
mod store;
mod train;

pub use ::kernels::{Activation, Precision};
pub use checkpoint::Kind;
pub use data::{Cleaner, Column, CsvFormat, Dataset, Fold, Missing, Mnist, Repairs, Scaler, Scaling, Table, Targets};
pub use dense::{Dense, Initialiser};
pub use engine::{Engine, Kernels, LoopOrder, Naive, Shape};
pub use error::{Error, Result};
pub use loss::{Loss, Penalty};
pub use metrics::Metrics;
pub use mlp::Mlp;
pub use monitor::Monitor;
pub use norm::Norm;
pub use optim::{Adagrad, Adam, AdamW, Optimiser, RmsProp, Sgd};
pub use predictor::{Predictor, Ranked, Samples};
pub use quantize::Quantized;
pub use recipe::{Clip, EarlyStopping, Recipe};
pub use schedule::Schedule;
pub use train::{BatchEnd, EpochEnd, Observer, Trainer};
