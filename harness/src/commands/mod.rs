//! The commands: each has its arguments and a `run` that prints and answers whether all went well.

pub mod act;
pub mod certify;
pub mod compare;
mod data;
pub mod evaluate;
pub mod export;
pub mod fingerprint;
pub mod gemm;
pub mod import;
pub mod info;
mod json;
pub mod monitor;
mod parse;
pub mod predict;
pub mod prune;
pub mod quantize;
pub mod report;
mod rivals;
pub mod step;
pub mod train;
pub mod tune;
