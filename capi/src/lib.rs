//! The kernels as a C library.
//!
//! | file | what |
//! | --- | --- |
//! | `gemm` | the library's own API: products, batches, plans, packed operands |
//! | `math` | functions over arrays |
//! | `status` | status codes, messages, and the barrier that no panic crosses |
//! | `threads` | who computes: `KERNELS_NUM_THREADS`, teams, `fork` |
//! | `blas` | BLAS semantics: checks, quick returns, negative increments |
//! | `names`, `xerbla` | the names of BLAS, and its reports of errors |
//!
//! `include/kernels.h` is generated from these files; a test compares. `docs/linking.md` is the manual.
//!
//! # Unsafe code
//!
//! Everything rests on what the caller promises of its pointers, which the header says; what can be checked is checked:
//! null, alignment, and sizes that overflow.

#![allow(non_camel_case_types, reason = "the names are those of the header")]

mod gemm;
mod math;
mod status;
mod threads;

#[cfg(feature = "blas")]
mod blas;
#[cfg(feature = "blas")]
mod names;
#[cfg(feature = "blas")]
mod xerbla;

pub use gemm::*;
pub use math::*;
#[cfg(feature = "blas")]
pub use names::*;
pub use status::{
    kernels_error_message, kernels_function, kernels_isa_name, kernels_status, kernels_status_name, kernels_version,
};
pub use threads::{
    kernels_get_num_threads, kernels_set_num_threads, kernels_team, kernels_team_create, kernels_team_destroy,
};
