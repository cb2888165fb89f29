//! C <- epilogue(alpha A B + beta C): the public call.
//!
//! The way of a call: [`Gemm::run`] checks the shapes and takes a row of the table, `driver` chooses a route and walks
//! loops 5 to 3, `block` loops 2 and 1, and `tile` is the micro-kernel.

pub(crate) mod block;
pub(crate) mod blocking;
pub(crate) mod driver;
pub(crate) mod finish;
pub(crate) mod gemv;
pub(crate) mod pack;
pub(crate) mod tile;
pub(crate) mod workspace;

use crate::backend::Backend;
use crate::error::{Error, Result};
use crate::math::Activation;
use crate::par::{Par, Serial};
use crate::view::{MatMut, MatRef};
use blocking::Blocking;
use driver::{Matrix, Problem, Route};
use finish::{Bias, Epilogue};
use std::fmt;
use tile::Float;

/// The element types of [`Gemm`]: `f32` and `f64`.
pub trait Element: Float {}
impl Element for f32 {}
impl Element for f64 {}

/// A matrix product and everything about it that can be set.
///
/// `C <- activation(alpha A B + beta C + bias)`, by the summation order of
/// [`reference::definition`](crate::reference::definition), to the bit, whatever the settings.
///
/// ```
/// use kernels::{Activation, Gemm, MatMut, MatRef};
/// let a = MatRef::new(&[1.0f32, 2.0, 3.0, 4.0], 2, 2)?;
/// let b = MatRef::new(&[1.0, 0.0, 0.0, -1.0], 2, 2)?;
/// let mut c = [f32::NAN; 4];
/// Gemm::new().bias(&[0.5, 0.5]).activation(Activation::Relu).run(a, b, MatMut::new(&mut c, 2, 2)?)?;
/// assert_eq!(c, [1.5, 0.0, 3.5, 0.0]);
/// # Ok::<(), kernels::Error>(())
/// ```
#[derive(Clone, Copy)]
pub struct Gemm<'a, T> {
    alpha: T,
    beta: T,
    bias: Option<&'a [T]>,
    bias_per_row: bool,
    activation: Activation,
    blocking: Option<Blocking>,
    par: &'a dyn Par,
    backend: Option<&'static Backend>,
}

impl<T: Element> Default for Gemm<'_, T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<'a, T: Element> Gemm<'a, T> {
    /// `C <- A B` on the calling thread, with the backend that is active.
    #[inline]
    #[must_use]
    pub fn new() -> Self {
        Self {
            alpha: T::ONE,
            beta: T::ZERO,
            bias: None,
            bias_per_row: false,
            activation: Activation::Identity,
            blocking: None,
            par: &Serial,
            backend: None,
        }
    }

    /// Factor of the product; at 0, A and B are not read.
    #[inline]
    #[must_use]
    pub fn alpha(self, alpha: T) -> Self {
        Self { alpha, ..self }
    }

    /// Factor of the old C; at 0, C is not read and may hold anything.
    #[inline]
    #[must_use]
    pub fn beta(self, beta: T) -> Self {
        Self { beta, ..self }
    }

    /// Adds one value for each column: a vector of length n. It takes the place of a bias set before.
    #[inline]
    #[must_use]
    pub fn bias(self, per_column: &'a [T]) -> Self {
        Self { bias: Some(per_column), bias_per_row: false, ..self }
    }

    /// Adds one value for each row: a vector of length m. It takes the place of a bias set before.
    #[inline]
    #[must_use]
    pub fn row_bias(self, per_row: &'a [T]) -> Self {
        Self { bias: Some(per_row), bias_per_row: true, ..self }
    }

    /// Applied to every element at the end.
    #[inline]
    #[must_use]
    pub fn activation(self, activation: Activation) -> Self {
        Self { activation, ..self }
    }

    /// Packs both operands, in blocks of these sizes, instead of those that the library would choose.
    #[inline]
    #[must_use]
    pub fn blocking(self, blocking: Blocking) -> Self {
        Self { blocking: Some(blocking), ..self }
    }

    /// Who computes the parts of a large product.
    #[inline]
    #[must_use]
    pub fn par(self, par: &'a dyn Par) -> Self {
        Self { par, ..self }
    }

    /// Which row of the table computes, instead of [`Backend::active`].
    #[inline]
    #[must_use]
    pub fn backend(self, backend: &'static Backend) -> Self {
        Self { backend: Some(backend), ..self }
    }

    /// Computes the product of A (m x k) and B (k x n) into C (m x n).
    ///
    /// # Errors
    /// When the shapes disagree, a bias has the wrong length, f64 is asked for an activation other than ReLU, or the
    /// instruction set pinned by `KERNELS_ISA` is not
    /// there. C is as it was.
    #[inline]
    pub fn run(&self, a: MatRef<'_, T>, b: MatRef<'_, T>, mut c: MatMut<'_, T>) -> Result<()> {
        let (m, k) = a.shape();
        let n = b.cols();
        if b.rows() != k {
            return Err(Error::Shape { what: "B", expected: (k, n), found: b.shape() });
        }
        if c.shape() != (m, n) {
            return Err(Error::Shape { what: "C", expected: (m, n), found: c.shape() });
        }
        if !T::has(self.activation) {
            let asked = format!("{:?}", self.activation);
            return Err(Error::Activation { asked, element: std::any::type_name::<T>() });
        }
        let bias = match (self.bias, self.bias_per_row) {
            (None, _) => Bias::None,
            (Some(v), false) => Bias::Columns(vector("the bias of the columns", v, n)?),
            (Some(v), true) => Bias::Rows(vector("the bias of the rows", v, m)?),
        };
        let matrix = |x: MatRef<'_, T>| Matrix { ptr: x.as_ptr().cast_mut(), row: x.row_stride(), col: x.col_stride() };
        let plain = self.bias.is_none() && self.activation == Activation::Identity;
        let problem = Problem {
            m,
            k,
            n,
            a: matrix(a),
            b: matrix(b),
            c: Matrix { ptr: c.as_mut_ptr(), row: c.row_stride(), col: c.col_stride() },
            alpha: self.alpha,
            beta: self.beta,
            epilogue: if plain { None } else { Some(Epilogue { bias, activation: self.activation }) },
        };
        let kernel = T::kernel(self.chosen()?);
        let route = driver::route(kernel, &problem, self.blocking, self.par.threads());
        let turned;
        let problem = if route.transposed {
            turned = problem.t();
            &turned
        } else {
            &problem
        };
        // SAFETY: a backend that can be had is supported; the views vouch for their elements, `&mut` for C's being apart
        // from all else; the shapes were checked.
        unsafe { driver::run(kernel, problem, &route, self.par) };
        Ok(())
    }

    /// Tells how a product of dense row-major matrices of these sizes would be computed, and why.
    ///
    /// # Errors
    /// When the instruction set pinned by `KERNELS_ISA` is not there.
    pub fn explain(&self, m: usize, k: usize, n: usize) -> Result<Explanation> {
        let backend = self.chosen()?;
        let kernel = T::kernel(backend);
        let dense = |cols: usize| Matrix { ptr: std::ptr::null_mut(), row: cols as isize, col: 1 };
        let problem = Problem {
            m,
            k,
            n,
            a: dense(k),
            b: dense(n),
            c: dense(n),
            alpha: self.alpha,
            beta: self.beta,
            epilogue: None,
        };
        let route = driver::route(kernel, &problem, self.blocking, self.par.threads());
        let size = (m, k, n);
        let tile = (kernel.mr, kernel.nr);
        let pinned = self.backend.is_some() || std::env::var_os(crate::backend::PIN).is_some();
        let blocks = route.blocks(kernel, if route.transposed { n } else { m }, k);
        Ok(Explanation { backend: backend.name(), pinned, tile, size, route, blocks, threads: self.par.threads() })
    }

    #[inline]
    fn chosen(&self) -> Result<&'static Backend> {
        match self.backend {
            Some(backend) => Ok(backend),
            None => Backend::active(),
        }
    }
}

#[inline]
fn vector<T>(what: &'static str, v: &[T], expected: usize) -> Result<*const T> {
    if v.len() == expected { Ok(v.as_ptr()) } else { Err(Error::Length { what, expected, found: v.len() }) }
}

/// `C <- A B`, with the settings of [`Gemm::new`].
///
/// # Errors
/// As [`Gemm::run`].
#[inline]
pub fn gemm<T: Element>(a: MatRef<'_, T>, b: MatRef<'_, T>, c: MatMut<'_, T>) -> Result<()> {
    Gemm::new().run(a, b, c)
}

/// What [`Gemm::explain`] tells; print it with `{}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    backend: &'static str,
    pinned: bool,
    tile: (usize, usize),
    size: (usize, usize, usize),
    route: Route,
    blocks: Blocking,
    threads: usize,
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (m, k, n) = self.size;
        let (mr, nr) = self.tile;
        let Route { pack_a, pack_b, jobs: (jm, jn), .. } = self.route;
        let why = if self.pinned { "pinned" } else { "best that this CPU supports" };
        writeln!(f, "{m}x{k} times {k}x{n}")?;
        writeln!(f, "  backend  {} ({why})", self.backend)?;
        writeln!(f, "  tile     {mr}x{nr}")?;
        match (pack_a, pack_b) {
            (false, false) => writeln!(f, "  route    direct: both operands are read where they lie")?,
            (true, false) => writeln!(f, "  route    blocked: A is packed, B is read where it lies")?,
            (false, true) => writeln!(f, "  route    blocked: B is packed, A is read where it lies")?,
            (true, true) => writeln!(f, "  route    blocked: both operands are packed")?,
        }
        if pack_a || pack_b {
            writeln!(f, "  blocks   kc {}, nc {}", self.blocks.kc, self.blocks.nc)?;
        }
        write!(f, "  jobs     {jm} along m by {jn} along n, on {} threads", self.threads)
    }
}
