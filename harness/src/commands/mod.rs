//! The commands: each has its arguments and a `run` that prints and answers whether all went well.

pub mod compare;
pub mod info;
pub mod train;
