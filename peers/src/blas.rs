//! BLAS from a shared library: `cblas_sgemm` and `cblas_dgemm` with 32-bit integers.

use crate::{Factor, Peer, Product, Scalar};
use libloading::Library;
use std::error::Error;
use std::ffi::c_int;
use std::mem::ManuallyDrop;
use std::path::{Path, PathBuf};

/// Why a library can't take part.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// It can't be opened.
    #[error("cannot load {}: {reason}", path.display())]
    Open {
        /// Which.
        path: PathBuf,
        /// What the loader said.
        reason: String,
    },
    /// It is a library, but not this one.
    #[error("{} has no {symbol}; are its names prefixed? (PATH:PREFIX)", path.display())]
    Symbol {
        /// Which.
        path: PathBuf,
        /// What was looked for.
        symbol: String,
    },
}

/// A product: order, transposes, m, n, k, alpha, A, its leading dimension, B, its leading dimension, beta, C, its
/// leading dimension.
type Gemm<T> = unsafe extern "C" fn(
    c_int,
    c_int,
    c_int,
    c_int,
    c_int,
    c_int,
    T,
    *const T,
    c_int,
    *const T,
    c_int,
    T,
    *mut T,
    c_int,
);

struct Blas {
    name: String,
    sgemm: Gemm<f32>,
    dgemm: Gemm<f64>,
    /// Never unloaded: its threads may still be in it, and the functions point into it.
    _library: ManuallyDrop<Library>,
}

/// Loads a library whose names begin with `prefix`, for as long as the process lives. A name without a directory is
/// looked for where the system keeps its libraries.
///
/// Its code is trusted as much as the person who names it.
///
/// # Errors
/// When the file is no library that can be loaded here, or lacks a function.
pub fn load(path: &Path, prefix: &str) -> Result<&'static dyn Peer, LoadError> {
    // A bare name is looked for in the system's folders alone.
    let place = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    // SAFETY: initialisers run; that a BLAS has harmless ones is for who names it to know.
    let library = unsafe { Library::new(&place) }.map_err(|error| {
        let reason = error.source().map_or_else(|| error.to_string(), ToString::to_string);
        // Some loaders begin with the path.
        let reason = reason.trim_start_matches(&format!("{}: ", place.display())).to_owned();
        LoadError::Open { path: path.to_owned(), reason }
    })?;
    let symbol = |name: &str| format!("{prefix}cblas_{name}");
    let missing = |symbol: String| LoadError::Symbol { path: path.to_owned(), symbol };
    let (s, d) = (symbol("sgemm"), symbol("dgemm"));
    // SAFETY: the C interface of BLAS gives these names these types.
    let sgemm = *unsafe { library.get::<Gemm<f32>>(&s) }.map_err(|_| missing(s))?;
    // SAFETY: as above.
    let dgemm = *unsafe { library.get::<Gemm<f64>>(&d) }.map_err(|_| missing(d))?;
    Ok(Box::leak(Box::new(Blas { name: name(path), sgemm, dgemm, _library: ManuallyDrop::new(library) })))
}

/// What stands between `lib` and the first dot of the file's name.
fn name(path: &Path) -> String {
    let file = path.file_name().unwrap_or_default().to_string_lossy();
    let stem = file.split('.').next().unwrap_or_default();
    stem.strip_prefix("lib").unwrap_or(stem).to_owned()
}

impl Peer for Blas {
    fn name(&self) -> &str {
        &self.name
    }
    fn sgemm(&self, product: Product<'_, f32>) {
        run(self.sgemm, product, 1.0, 0.0);
    }
    fn dgemm(&self, product: Product<'_, f64>) {
        run(self.dgemm, product, 1.0, 0.0);
    }
}

fn run<T: Scalar>(gemm: Gemm<T>, product: Product<'_, T>, alpha: T, beta: T) {
    const ROW_MAJOR: c_int = 101;
    const AS_STORED: c_int = 111;
    const TRANSPOSED: c_int = 112;
    let Product { m, k, n, a, b, c, .. } = product;
    let int = |x: usize| c_int::try_from(x).expect("a BLAS with 32-bit integers takes no larger matrix");
    let order = |factor: Factor<'_, T>| if factor.transposed { TRANSPOSED } else { AS_STORED };
    let leading = |factor: Factor<'_, T>, rows, cols| int(if factor.transposed { rows } else { cols });
    // SAFETY: a `Product` has checked that the slices hold matrices of these sizes, dense, so that the length of a
    // stored row is the leading dimension; C is borrowed mutably.
    unsafe {
        gemm(
            ROW_MAJOR,
            order(a),
            order(b),
            int(m),
            int(n),
            int(k),
            alpha,
            a.data.as_ptr(),
            leading(a, m, k),
            b.data.as_ptr(),
            leading(b, k, n),
            beta,
            c.as_mut_ptr(),
            int(n),
        );
    }
}
