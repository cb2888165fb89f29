//! Compares the kernels with naive loops in speed and accuracy, trains on MNIST, reports. The library part of the
//! program `harness`, for measurements of one's own.
//!
//! | module | holds |
//! | --- | --- |
//! | [`contender`] | who takes part: naive loops, the rows of the kernels' table, other libraries |
//! | [`number`] | the element types |
//! | [`case`] | what is compared, and how each contender does it; no timing without a passed check |
//! | [`verify`] | error against f64, equality of bits |
//! | [`measure`] | interleaved timing, median and spread, ratios within rounds |
//! | [`oracle`] | the functions in f64, the same on every machine |
//! | [`peak`] | the measured speed limit |
//! | [`training`] | training runs: who computes, the digest of weights, equal steps for all |
//! | [`machine`] | CPU, cores and caches as the system tells them |
//! | [`picture`] | predictions as an SVG |
//! | [`report`] | aligned tables and short numbers |
//! | [`console`] | lines on standard output, progress on standard error |
//! | [`files`] | where data lies; files written whole or not at all |
//! | [`cli`] | the command line; one module for each command in [`commands`] |

#![forbid(unsafe_code)]

pub mod case;
pub mod cli;
pub mod commands;
pub mod console;
pub mod contender;
mod error;
pub mod files;
pub mod machine;
pub mod measure;
pub mod number;
pub mod oracle;
pub mod peak;
pub mod picture;
pub mod report;
pub mod training;
pub mod verify;

pub use error::{Error, Result};
