//! The commands: each has its arguments and a `run` that prints and answers whether all went well.

pub mod certify;
pub mod compare;
pub mod fingerprint;
pub mod gemm;
pub mod info;
pub mod train;
