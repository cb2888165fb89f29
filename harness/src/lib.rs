//! Compares the kernels with naive loops in speed and accuracy, trains on MNIST, reports. The library part of the
//! program `harness`, for measurements of one's own.
//!
//! | module | holds |
//! | --- | --- |
//! | [`contender`] | who takes part: naive loops, the rows of the kernels' table, other libraries |
//! | [`number`] | the element types |
//! | [`naive`] | the loops that people write first |
//! | [`case`] | what is compared, and how each contender does it; no timing without a passed check |
//! | [`verify`] | error against f64, equality of bits |
//! | [`oracle`] | the functions in f64, the same on every machine |
//! | [`measure`] | interleaved timing, warm and cold |
//! | [`stats`] | medians with intervals, noise floors, what counts as a difference |
//! | [`peak`] | the measured speed limits: arithmetic, caches, memory; the roofline |
//! | [`record`] | results as `--json` holds them |
//! | [`training`] | training runs: who computes, the digest of weights, equal steps for all |
//! | [`tune`] | the search for block sizes and thresholds that suit a CPU |
//! | [`budget`] | where the time of a training step goes |
//! | [`model`] | a trained model from a file, and how fast its predictions are |
//! | [`machine`] | CPU, cores and caches as the system tells them |
//! | [`image`] | digits from PNG and PGM files, as MNIST has them |
//! | [`chart`] | charts as SVG that follows light and dark pages |
//! | [`picture`] | predictions as an SVG |
//! | [`report`] | aligned tables and short numbers |
//! | [`console`] | lines on standard output, progress on standard error |
//! | [`files`], [`interrupt`] | where data lies; files written whole or not at all, Ctrl-C included |
//! | [`cli`] | the command line; one module for each command in [`commands`] |

#![forbid(unsafe_code)]

pub mod budget;
pub mod case;
pub mod chart;
pub mod cli;
pub mod commands;
pub mod console;
pub mod contender;
mod error;
pub mod files;
pub mod image;
pub mod interrupt;
pub mod machine;
pub mod measure;
pub mod model;
pub mod naive;
pub mod number;
pub mod oracle;
pub mod peak;
pub mod picture;
pub mod record;
pub mod report;
pub mod stats;
pub mod training;
pub mod tune;
pub mod verify;

pub use error::{Error, Result};
