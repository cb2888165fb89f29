//! Other libraries' matrix products, and functions of slices, behind one interface, so that whoever compares needs
//! neither their interfaces nor `unsafe`.
//!
//! | file | what |
//! | --- | --- |
//! | `functions` | functions of slices: VML, SLEEF, crates, plain loops |
//! | `floor` | what bounds an update from below |
//! | `blas` | any shared library with the C interface of BLAS, loaded at run time |
//! | `rust` | crates, compiled in with the feature `rust-peers` |

mod blas;
pub mod floor;
pub mod functions;
#[cfg(feature = "rust-peers")]
mod rust;

pub use blas::{LoadError, load};

/// The peers that are compiled in; none without the feature `rust-peers`.
#[cfg(feature = "rust-peers")]
pub static RUST: &[&dyn Peer] = rust::PEERS;
/// The peers that are compiled in; none without the feature `rust-peers`.
#[cfg(not(feature = "rust-peers"))]
pub static RUST: &[&dyn Peer] = &[];

/// A library that multiplies matrices.
pub trait Peer: Sync {
    /// What people call it.
    fn name(&self) -> &str;
    /// Computes a product in f32.
    fn sgemm(&self, product: Product<'_, f32>);
    /// Computes a product in f64.
    fn dgemm(&self, product: Product<'_, f64>);
}

/// The element types that peers multiply.
pub trait Scalar: Copy + Sized + 'static {
    /// The peer's product in this type.
    fn multiply(peer: &dyn Peer, product: Product<'_, Self>);
}

impl Scalar for f32 {
    fn multiply(peer: &dyn Peer, product: Product<'_, Self>) {
        peer.sgemm(product);
    }
}

impl Scalar for f64 {
    fn multiply(peer: &dyn Peer, product: Product<'_, Self>) {
        peer.dgemm(product);
    }
}

/// A factor of a product: a dense matrix, stored row after row.
#[derive(Debug, Clone, Copy)]
pub struct Factor<'a, T> {
    /// Its elements.
    pub data: &'a [T],
    /// Whether it is the transpose that is stored.
    pub transposed: bool,
}

/// C = A B for an `m` x `k` matrix A and a `k` x `n` matrix B. C is dense and row-major; what it holds is not read.
pub struct Product<'a, T> {
    m: usize,
    k: usize,
    n: usize,
    a: Factor<'a, T>,
    b: Factor<'a, T>,
    c: &'a mut [T],
    #[cfg_attr(not(feature = "rust-peers"), expect(dead_code, reason = "C libraries do not ask their caller"))]
    threads: usize,
}

impl<'a, T> Product<'a, T> {
    /// A product on this many threads, where the peer lets its caller choose; C libraries have it from the environment.
    ///
    /// # Panics
    /// When a size is 0, or a slice does not hold exactly its matrix.
    #[must_use]
    pub fn new([m, k, n]: [usize; 3], a: Factor<'a, T>, b: Factor<'a, T>, c: &'a mut [T], threads: usize) -> Self {
        assert!(m > 0 && k > 0 && n > 0, "an empty matrix");
        for (what, len, rows, cols) in [("A", a.data.len(), m, k), ("B", b.data.len(), k, n), ("C", c.len(), m, n)] {
            assert!(rows.checked_mul(cols) == Some(len), "{what} is {rows} x {cols}, but {len} elements are given");
        }
        Self { m, k, n, a, b, c, threads }
    }
}
