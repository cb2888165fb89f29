//! SIMD kernels for matrix products and activations, without a dependency.

pub mod reference;

mod backend;
mod error;
mod gemm;
mod isa;
mod math;
mod par;
mod peak;
mod simd;
mod view;

pub use backend::Backend;
pub use error::{Error, Result};
pub use gemm::blocking::Blocking;
pub use gemm::{Element, Explanation, Gemm, gemm};
pub use math::{Activation, Adam};
pub use par::{Par, Serial, Team};
pub use view::{MatMut, MatRef};

/// Products are summed in chunks of this many along k; see [`reference::definition`].
pub const CHUNK: usize = 256;
