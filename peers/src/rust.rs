//! Peers that are crates.

use crate::{Factor, Peer, Product, Scalar};

/// All of them.
pub(crate) const PEERS: &[&dyn Peer] = &[
    &Crate { name: "gemm", f32: gemm_crate, f64: gemm_crate },
    &Crate { name: "faer", f32: faer_crate, f64: faer_crate },
    &Crate { name: "gemmkit", f32: gemmkit_crate, f64: gemmkit_crate },
    &Crate { name: "matrixmultiply", f32: matrixmultiply_f32, f64: matrixmultiply_f64 },
];

/// A crate: its name and its products.
struct Crate {
    name: &'static str,
    f32: fn(Product<'_, f32>),
    f64: fn(Product<'_, f64>),
}

impl Peer for Crate {
    fn name(&self) -> &str {
        self.name
    }
    fn sgemm(&self, product: Product<'_, f32>) {
        (self.f32)(product);
    }
    fn dgemm(&self, product: Product<'_, f64>) {
        (self.f64)(product);
    }
}

/// The distances from a row and from a column to the next.
fn strides<T>(factor: Factor<'_, T>, rows: usize, cols: usize) -> [isize; 2] {
    if factor.transposed { [1, rows as isize] } else { [cols as isize, 1] }
}

fn gemm_crate<T: Scalar + From<u8>>(product: Product<'_, T>) {
    let Product { m, k, n, a, b, c, threads } = product;
    let ([a_row, a_col], [b_row, b_col]) = (strides(a, m, k), strides(b, k, n));
    let parallelism = if threads > 1 { gemm::Parallelism::Rayon(threads) } else { gemm::Parallelism::None };
    // SAFETY: a `Product` has checked that the slices hold dense matrices of these sizes; C is borrowed mutably. It has
    // kernels for this type, else it panics.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            c.as_mut_ptr(),
            1,
            n as isize,
            false,
            a.data.as_ptr(),
            a_col,
            a_row,
            b.data.as_ptr(),
            b_col,
            b_row,
            T::from(0),
            T::from(1),
            false,
            false,
            false,
            parallelism,
        );
    }
}

fn faer_crate<'a, T: Scalar + faer::traits::ComplexField + From<u8>>(product: Product<'a, T>) {
    let Product { m, k, n, a, b, c, threads } = product;
    let view = |factor: Factor<'a, T>, rows, cols| {
        let stored =
            if factor.transposed { faer::MatRef::from_column_major_slice } else { faer::MatRef::from_row_major_slice };
        stored(factor.data, rows, cols)
    };
    let par = if threads > 1 { faer::Par::rayon(threads) } else { faer::Par::Seq };
    let c = faer::MatMut::from_row_major_slice_mut(c, m, n);
    faer::linalg::matmul::matmul(c, faer::Accum::Replace, view(a, m, k), view(b, k, n), T::from(1), par);
}

fn gemmkit_crate<'a, T: Scalar + gemmkit::GemmScalar + From<u8>>(product: Product<'a, T>) {
    let Product { m, k, n, a, b, c, threads } = product;
    let view = |factor: Factor<'a, T>, rows, cols| {
        let stored = if factor.transposed { gemmkit::MatRef::from_col_major } else { gemmkit::MatRef::from_row_major };
        stored(factor.data, rows, cols)
    };
    let par = if threads > 1 { gemmkit::Parallelism::Rayon(threads) } else { gemmkit::Parallelism::Serial };
    let c = gemmkit::MatMut::from_row_major(c, m, n);
    gemmkit::gemm(T::from(1), view(a, m, k), view(b, k, n), T::from(0), c, par);
}

fn matrixmultiply_f32(product: Product<'_, f32>) {
    let Product { m, k, n, a, b, c, .. } = product;
    let ([a_row, a_col], [b_row, b_col]) = (strides(a, m, k), strides(b, k, n));
    let (a, b, c) = (a.data.as_ptr(), b.data.as_ptr(), c.as_mut_ptr());
    // SAFETY: a `Product` has checked that the slices hold dense matrices of these sizes; C is borrowed mutably.
    unsafe { matrixmultiply::sgemm(m, k, n, 1.0, a, a_row, a_col, b, b_row, b_col, 0.0, c, n as isize, 1) };
}

fn matrixmultiply_f64(product: Product<'_, f64>) {
    let Product { m, k, n, a, b, c, .. } = product;
    let ([a_row, a_col], [b_row, b_col]) = (strides(a, m, k), strides(b, k, n));
    let (a, b, c) = (a.data.as_ptr(), b.data.as_ptr(), c.as_mut_ptr());
    // SAFETY: as for f32.
    unsafe { matrixmultiply::dgemm(m, k, n, 1.0, a, a_row, a_col, b, b_row, b_col, 0.0, c, n as isize, 1) };
}
