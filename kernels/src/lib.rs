//! Matrix products and activation functions on SIMD instructions chosen at run time, without a dependency, and with
//! results whose bits do not depend on the CPU, the threads, the batch or the block sizes.
//!
//! ```
//! use kernels::{MatMut, MatRef, gemm};
//! let a = MatRef::new(&[1.0f32, 2.0, 3.0, 4.0, 5.0, 6.0], 2, 3)?;
//! let mut c = [0.0; 4];
//! gemm(a, a.t(), MatMut::new(&mut c, 2, 2)?)?;
//! assert_eq!(c, [14.0, 32.0, 32.0, 77.0]);
//! # Ok::<(), kernels::Error>(())
//! ```
//!
//! # What is where
//!
//! | file | what |
//! | --- | --- |
//! | `view`, `error` | matrix views, checked when they are made; the error type |
//! | `bf16` | numbers of two bytes, as operands of products hold them |
//! | `simd` | the vector operations as traits; tokens that prove an instruction set |
//! | `wide` | several vectors as one |
//! | `isa/*` | an instruction set each: its operations and its row of the table |
//! | `backend` | the table, the choice of a row, the pin `KERNELS_ISA` |
//! | `cpu`, `profile` | the CPU and its caches; tuned values for it |
//! | `gemm/*` | the product: `mod` the call, `driver`, `block` the loops, `tile` the micro-kernel, `pack`, `finish` |
//! | `math/*` | functions of slices and rows, and updates of parameters |
//! | `par`, `place`, `linux` | who runs the parts of a call, on which CPU a thread wakes up, system calls |
//! | [`reference`](mod@reference) | naive loops, and the definition of a product to the bit |
//!
//! # Unsafe code
//!
//! A [`Backend`] that can be had is supported by the CPU, which makes its instructions callable; a view vouches for its
//! elements, which makes its pointers readable. Every `unsafe` block says which of the two, or which check, it rests
//! on.

pub mod reference;

mod backend;
mod bf16;
mod cpu;
mod error;
mod gemm;
mod isa;
#[cfg(all(target_os = "linux", target_arch = "x86_64", not(miri)))]
mod linux;
mod math;
mod par;
mod peak;
mod place;
mod profile;
mod simd;
mod view;
mod wide;

pub use backend::Backend;
pub use bf16::Bf16;
pub use cpu::Cpu;
pub use error::{Error, Result};
pub use gemm::tuning::{Blocking, Tuning};
pub use gemm::{
    BatchMut, BatchRef, Element, Explanation, Gemm, Operand, Packed, Plan, Precision, Source, Workspace, gemm,
};
pub use math::{Activation, Adam, Function, Parallel, Saved, Update};
#[cfg(feature = "rayon")]
pub use par::Rayon;
pub use par::{Par, Serial, Team};
pub use profile::Profile;
pub use view::{Layout, MatMut, MatRef};

/// Products are summed in chunks of this many along k; see [`reference::definition`].
pub const CHUNK: usize = 256;

/// Asks for a slice to be brought into the first cache while other work goes on: for rows that the CPU can't foresee,
/// as samples in a random order, a row or two before they are used. Changes nothing; where there is no such
/// instruction, it does nothing.
///
/// ```
/// let (numbers, order) = ([0.5f32; 4 * 100], [3, 0, 2, 1]);
/// let row = |i: usize| &numbers[order[i] * 100..][..100];
/// let mut sum = 0.0;
/// for i in 0..4 {
///     if i + 1 < 4 {
///         kernels::prefetch(row(i + 1));
///     }
///     sum += row(i).iter().sum::<f32>();
/// }
/// assert_eq!(sum, 200.0);
/// ```
#[inline]
pub fn prefetch<T>(data: &[T]) {
    let start = data.as_ptr().cast::<u8>();
    for at in (0..size_of_val(data)).step_by(simd::LINE) {
        simd::prefetch::<false>(start.wrapping_add(at));
    }
}

/// The example of the README is a test.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
