//! C <- epilogue(alpha A B + beta C): the public call.
//!
//! The way of a call: [`Gemm::run`] checks the shapes and takes a row of the table, `driver` chooses a route and walks
//! loops 4 and 3, `block` loops 2 and 1, and `tile` is the micro-kernel.

#[cfg_attr(not(target_arch = "x86_64"), allow(dead_code, reason = "no row has a unit there"))]
pub(crate) mod amx;
mod batch;
pub(crate) mod block;
pub(crate) mod driver;
mod explain;
pub(crate) mod finish;
pub(crate) mod gemv;
pub(crate) mod pack;
pub(crate) mod packed;
pub(crate) mod precision;
pub(crate) mod tile;
pub(crate) mod tuning;
pub(crate) mod workspace;

pub use batch::{BatchMut, BatchRef};
pub use explain::Explanation;
pub use packed::{Operand, Packed};
pub use precision::Precision;
pub use workspace::Workspace;

use crate::backend::Backend;
use crate::bf16::Bf16;
use crate::error::{Error, Result};
use crate::math::{Activation, Function};
use crate::par::{Par, Serial, run_once, share};
use crate::view::{Layout, MatMut, MatRef};
use block::Single;
use driver::{Matrix, Method, Problem, Route, Settings};
use finish::{Bias, Epilogue};
use packed::Side;
use std::ptr::{null, null_mut};
use tile::Float;
use tuning::{Blocking, Tuning};

/// The element types of [`Gemm`]: `f32` and `f64`.
pub trait Element: Float {}
impl Element for f32 {}
impl Element for f64 {}

/// What operands of products of `T` can be made of: `T` itself, and [`Bf16`] where that is f32.
///
/// How numbers are stored is the operand's affair, how exactly they are multiplied that of [`Gemm::precision`]:
/// whatever it is, a product of bf16 numbers is that of the same numbers as f32, on bits. In [`Precision::Bf16`]
/// nothing is rounded then. They become f32 numbers when they are packed, or, in the product of a row, as they are
/// read.
///
/// ```
/// use kernels::{Bf16, Gemm, MatMut, MatRef, Precision};
/// let x = [1.0, 2.0, 3.0];
/// let w = [0.5, -1.0, 0.25, 2.0, 1.0, -0.5].map(Bf16::from_f32); // 3 x 2
/// let w = MatRef::new(&w, 3, 2)?;
/// let mut y = [0.0; 2];
/// Gemm::new().precision(Precision::Bf16).run(MatRef::new(&x, 1, 3)?, w, MatMut::new(&mut y, 1, 2)?)?;
/// assert_eq!(y, [4.0, 1.5]);
/// let packed = Gemm::<f32>::new().pack_b(w)?; // once for many products
/// Gemm::new().run(MatRef::new(&x, 1, 3)?, &packed, MatMut::new(&mut y, 1, 2)?)?;
/// assert_eq!(y, [4.0, 1.5]);
/// # Ok::<(), kernels::Error>(())
/// ```
///
/// It is f32 alone whose operands can be such:
///
/// ```compile_fail
/// # use kernels::{Bf16, Gemm, MatMut, MatRef};
/// let x = [Bf16::default()];
/// let x = MatRef::new(&x, 1, 1).unwrap();
/// Gemm::new().run(x, x, MatMut::new(&mut [0.0f64], 1, 1).unwrap());
/// ```
pub trait Source<T>: Stored {}
impl<T: Element> Source<T> for T {}
impl Source<f32> for Bf16 {}

/// Keeps [`Source`] to the types of this crate, as the packer knows no others.
pub trait Stored {}
impl<T: Element> Stored for T {}
impl Stored for Bf16 {}

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
    tuning: Option<&'a Tuning>,
    plan: Option<&'a Plan<T>>,
    precision: Precision,
    par: &'a dyn Par,
    workspace: Option<&'a Workspace>,
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
            tuning: None,
            plan: None,
            precision: Precision::F32,
            par: &Serial,
            workspace: None,
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

    /// Block sizes and thresholds, instead of those of a profile or the model.
    #[inline]
    #[must_use]
    pub fn tuning(self, tuning: &'a Tuning) -> Self {
        Self { tuning: Some(tuning), ..self }
    }

    /// How the product is computed: what [`Self::prepare`] chose, so that nothing is left to be chosen.
    #[inline]
    #[must_use]
    pub fn plan(self, plan: &'a Plan<T>) -> Self {
        Self { plan: Some(plan), ..self }
    }

    /// Where panels are packed, instead of a buffer that each thread keeps.
    #[inline]
    #[must_use]
    pub fn workspace(self, workspace: &'a Workspace) -> Self {
        Self { workspace: Some(workspace), ..self }
    }

    /// Who computes the parts of a large product.
    #[inline]
    #[must_use]
    pub fn par(self, par: &'a dyn Par) -> Self {
        Self { par, ..self }
    }

    /// Which row of the table computes, instead of [`Backend::active_for`] the precision.
    #[inline]
    #[must_use]
    pub fn backend(self, backend: &'static Backend) -> Self {
        Self { backend: Some(backend), ..self }
    }

    /// Computes the product of A (m x k) and B (k x n) into C (m x n). A and B are views, of `T` or another [`Source`]
    /// of it, or [`Packed`] matrices.
    ///
    /// # Errors
    /// When the shapes disagree, a bias has the wrong length, f64 is asked for an activation other than ReLU, an
    /// operand was packed for another side or backend or differs from the plan, or the instruction set pinned by
    /// `KERNELS_ISA` is not there. C is as it was.
    #[inline(always)]
    pub fn run<'x>(
        &self,
        a: impl Into<Operand<'x, T>>,
        b: impl Into<Operand<'x, T>>,
        mut c: MatMut<'_, T>,
    ) -> Result<()>
    where
        T: 'x,
    {
        let place = c.as_mut_ptr();
        self.execute(&a.into(), &b.into(), &c.layout(), place)
    }

    /// [`Self::run`], for any operands: a call without a plan makes one for itself. All on the way to a tile is
    /// inlined, so that no structure on it has to be in memory, which would take as long as a small product.
    #[inline(always)]
    fn execute(&self, a: &Operand<'_, T>, b: &Operand<'_, T>, layout: &Layout, c: *mut T) -> Result<()> {
        match self.plan {
            Some(plan) => {
                let backend = self.backend.unwrap_or(plan.backend);
                plan.check(backend, self.precision, [&a.layout, &b.layout, layout])?;
                self.by(plan, a, b, layout, c)
            }
            None => self.by(&self.choose(&a.layout, &b.layout, layout)?, a, b, layout, c),
        }
    }

    /// [`Self::run`], by a plan for these operands.
    #[inline(always)]
    fn by(&self, plan: &Plan<T>, a: &Operand<'_, T>, b: &Operand<'_, T>, layout: &Layout, c: *mut T) -> Result<()> {
        let epilogue = self.epilogue(plan.backend, plan.precision, a, b)?;
        let kernel = T::kernel(plan.backend);
        let products = self.alpha != T::ZERO;
        let (places, factors) = ((a.ptr, b.ptr, c), (self.alpha, self.beta));
        // SAFETY (each call): a backend that can be had is supported; the views vouch for their elements, `&mut` for
        // C's being apart from all else; shapes and panels were checked; the plan is one for these layouts.
        match &plan.tile {
            // SAFETY: as above.
            Some(tile) if products => unsafe { tile.run(kernel, places, factors, epilogue) },
            _ => {
                let x = problem([&a.layout, &b.layout, layout], places, factors, epilogue);
                let route = if products { plan.route } else { Route::SCALE };
                // SAFETY: as above.
                unsafe { driver::run(kernel, &x, route, self.par, self.workspace) };
            }
        }
        Ok(())
    }

    /// Computes a batch of products, `C[i] <- A[i] B[i]` for each C there is, with the same settings for all. Threads
    /// share the batch where there are as many products as threads, else each product.
    ///
    /// ```
    /// use kernels::{BatchMut, BatchRef, Gemm, MatRef};
    /// let x = [1.0f32, 2.0, 3.0, 4.0, 5.0, 6.0]; // three 1 x 2 matrices
    /// let w = [1.0, 0.0, 0.0, -1.0];
    /// let mut y = [0.0; 6];
    /// let a = BatchRef::strided(&x, 3, 2, 1, 2)?;
    /// Gemm::new().run_batch(a, MatRef::new(&w, 2, 2)?, BatchMut::strided(&mut y, 3, 2, 1, 2)?)?;
    /// assert_eq!(y, [1.0, -2.0, 3.0, -4.0, 5.0, -6.0]);
    /// # Ok::<(), kernels::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Self::run`], and when A or B has another number of matrices. No C has been written then. Where matrices
    /// differ, it tells which product is wrong. A plan is not used.
    pub fn run_batch<'x>(
        &self,
        a: impl Into<BatchRef<'x, T>>,
        b: impl Into<BatchRef<'x, T>>,
        c: impl Into<BatchMut<'x, T>>,
    ) -> Result<()>
    where
        T: 'x,
    {
        let (a, b, c) = (a.into(), b.into(), c.into());
        let count = c.count();
        for (what, batch) in [("the batch of A", &a), ("the batch of B", &b)] {
            if let Some(found) = batch.count().filter(|&found| found != count) {
                return Err(Error::Length { what, expected: count, found });
            }
        }
        let backend = self.chosen()?;
        let call = Self { plan: None, backend: Some(backend), ..*self };
        // What holds for the first of even batches holds for all.
        let even = a.is_even() && b.is_even() && c.is_even();
        let (different, mut work) = (if even { count.min(1) } else { count }, 0_usize);
        for i in 0..different {
            let (a, b) = (a.get(i), b.get(i));
            // What is wrong with even ones is so with all.
            let which = |error| if even { error } else { Error::Product { index: i, error: Box::new(error) } };
            check_shapes(&a.layout, &b.layout, &c.layout(i)).map_err(which)?;
            call.epilogue(backend, self.precision, &a, &b).map_err(which)?;
            work = work.saturating_add(a.layout.rows.saturating_mul(a.layout.cols).saturating_mul(b.layout.cols));
        }
        if even {
            work = work.saturating_mul(count);
            // There may be more empty matrices than could be counted through.
            if count > 0 && c.layout(0).is_empty() {
                return Ok(());
            }
        }
        let threads = self.par.threads();
        let tuning = self.tuning.unwrap_or_else(|| &T::kernel(backend).tuned().tuning);
        let shared = threads > 1 && count >= threads && work / tuning.thread_work.max(1) >= 2;
        let call = if shared { Gemm { par: &Serial, ..call } } else { call };
        let plan = |i| call.prepare(a.get(i).layout, b.get(i).layout, c.layout(i));
        let same = if even && count > 0 { Some(plan(0)?) } else { None };
        let jobs = if shared { count.min(4 * threads) } else { 1 };
        let some = |job: usize| {
            let (first, len) = share(count, jobs, job);
            for i in first..first + len {
                let own = if same.is_none() { plan(i).ok() } else { None };
                if let Some(plan) = own.as_ref().or(same.as_ref()) {
                    // A batch vouches for the elements of its matrices as views do; what was checked can't have changed.
                    let _ = call.by(plan, &a.get(i), &b.get(i), &c.layout(i), c.place(i));
                }
            }
        };
        // By reference, so that there is one copy of it.
        let some: &(dyn Fn(usize) + Sync) = &some;
        if shared {
            run_once(self.par, jobs, some)
        } else {
            some(0)
        }
        Ok(())
    }

    /// Packs an A (m x k) of any layout, to be given to [`Self::run`] any number of times.
    ///
    /// # Errors
    /// When the instruction set pinned by `KERNELS_ISA` is not there, or there is no memory for the panels.
    pub fn pack_a<X: Source<T>>(&self, a: MatRef<'_, X>) -> Result<Packed<T>> {
        Packed::new(self.chosen()?, self.precision, Side::A, &a.into())
    }

    /// Packs a B (k x n) of any layout, to be given to [`Self::run`] any number of times.
    ///
    /// ```
    /// use kernels::{Gemm, MatMut, MatRef};
    /// let weights = Gemm::new().pack_b(MatRef::new(&[1.0f32, 2.0, 3.0, 4.0], 2, 2)?)?;
    /// let mut y = [0.0; 2];
    /// Gemm::new().run(MatRef::new(&[1.0, 1.0], 1, 2)?, &weights, MatMut::new(&mut y, 1, 2)?)?;
    /// assert_eq!(y, [4.0, 6.0]);
    /// # Ok::<(), kernels::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Self::pack_a`].
    pub fn pack_b<X: Source<T>>(&self, b: MatRef<'_, X>) -> Result<Packed<T>> {
        Packed::new(self.chosen()?, self.precision, Side::B, &b.into())
    }

    /// Chooses how to compute products of these layouts, once for many calls of [`Self::plan`]: with the backend,
    /// precision, tuning, blocking and number of threads of this call, and with any bias, activation and factors.
    ///
    /// ```
    /// use kernels::{Gemm, Layout, MatMut, MatRef};
    /// let (row, square) = (Layout::row_major(1, 2), Layout::row_major(2, 2));
    /// let plan = Gemm::<f32>::new().prepare(row, square, row)?;
    /// let (x, w, mut y) = ([1.0, 1.0], [1.0, 2.0, 3.0, 4.0], [0.0; 2]);
    /// Gemm::new().plan(&plan).run(MatRef::new(&x, 1, 2)?, MatRef::new(&w, 2, 2)?, MatMut::new(&mut y, 1, 2)?)?;
    /// assert_eq!(y, [4.0, 6.0]);
    /// # Ok::<(), kernels::Error>(())
    /// ```
    ///
    /// # Errors
    /// When the shapes disagree, or the instruction set pinned by `KERNELS_ISA` is not there.
    // Choosing is long, and plans are seldom made: one copy serves all who make them.
    #[inline(never)]
    pub fn prepare(&self, a: Layout, b: Layout, c: Layout) -> Result<Plan<T>> {
        self.choose(&a, &b, &c)
    }

    /// [`Self::prepare`], inlined into calls.
    #[inline(always)]
    fn choose(&self, a: &Layout, b: &Layout, c: &Layout) -> Result<Plan<T>> {
        check_shapes(a, b, c)?;
        let backend = self.chosen()?;
        let kernel = T::kernel(backend);
        let x = problem([a, b, c], (null(), null(), null_mut()), (T::ONE, T::ZERO), None);
        let route = driver::route(kernel, &x, self.settings());
        let tile = match route.method {
            Method::Tile => Some(Single::new(kernel, &if route.transposed { x.t() } else { x }, route.transposed)),
            _ => None,
        };
        Ok(Plan { backend, precision: self.precision, layouts: [*a, *b, *c], route, tile })
    }

    /// Tells how a product of dense row-major matrices of these sizes would be computed, and why.
    ///
    /// # Errors
    /// When the instruction set pinned by `KERNELS_ISA` is not there.
    pub fn explain(&self, m: usize, k: usize, n: usize) -> Result<Explanation> {
        self.explain_layouts(Layout::row_major(m, k), Layout::row_major(k, n), Layout::row_major(m, n))
    }

    /// Tells how a product of matrices of these layouts would be computed, and why.
    ///
    /// # Errors
    /// When the shapes disagree, or the instruction set pinned by `KERNELS_ISA` is not there.
    pub fn explain_layouts(&self, a: Layout, b: Layout, c: Layout) -> Result<Explanation> {
        let plan = self.prepare(a, b, c)?;
        Ok(Explanation::new(T::kernel(plan.backend), &plan, self.settings(), self.backend.is_some()))
    }

    #[inline]
    fn settings(&self) -> Settings<'_> {
        Settings { tuning: self.tuning, blocking: self.blocking, precision: self.precision, par: self.par }
    }

    /// Checks what is left to be checked of a call whose shapes fit, and tells what is done after its product.
    #[inline(always)]
    fn epilogue(
        &self,
        backend: &'static Backend,
        precision: Precision,
        a: &Operand<'_, T>,
        b: &Operand<'_, T>,
    ) -> Result<Option<Epilogue<T>>> {
        if !T::has(self.activation) {
            let asked = Function::Activation(self.activation).name().to_owned();
            return Err(Error::Activation { asked, element: T::NAME });
        }
        let bias = match (self.bias, self.bias_per_row) {
            (None, _) => Bias::None,
            (Some(v), false) => Bias::Columns(vector("the bias of the columns", v, b.layout.cols)?),
            (Some(v), true) => Bias::Rows(vector("the bias of the rows", v, a.layout.rows)?),
        };
        for (operand, side) in [(a, Side::A), (b, Side::B)] {
            if let Some(packed) = operand.packed {
                packed.check(backend, precision, side)?;
            }
        }
        let plain = self.bias.is_none() && self.activation == Activation::Identity;
        Ok(if plain { None } else { Some(Epilogue { bias, activation: self.activation }) })
    }

    #[inline]
    fn chosen(&self) -> Result<&'static Backend> {
        match self.backend {
            Some(backend) => Ok(backend),
            None => Backend::active_for(self.precision),
        }
    }
}

#[inline(always)]
fn check_shapes(a: &Layout, b: &Layout, c: &Layout) -> Result<()> {
    if b.rows != a.cols {
        return Err(Error::Shape { what: "B", expected: (a.cols, b.cols), found: (b.rows, b.cols) });
    }
    if (c.rows, c.cols) != (a.rows, b.cols) {
        return Err(Error::Shape { what: "C", expected: (a.rows, b.cols), found: (c.rows, c.cols) });
    }
    Ok(())
}

/// A product of matrices of these layouts and places, with these factors.
#[inline(always)]
fn problem<T>(
    [a, b, c]: [&Layout; 3],
    places: (*const T, *const T, *mut T),
    (alpha, beta): (T, T),
    epilogue: Option<Epilogue<T>>,
) -> Problem<T> {
    Problem {
        m: a.rows,
        k: a.cols,
        n: b.cols,
        a: Matrix::new(places.0.cast_mut(), a),
        b: Matrix::new(places.1.cast_mut(), b),
        c: Matrix::new(places.2, c),
        alpha,
        beta,
        epilogue,
    }
}

#[inline]
fn vector<T>(what: &'static str, v: &[T], expected: usize) -> Result<*const T> {
    if v.len() == expected { Ok(v.as_ptr()) } else { Err(Error::Length { what, expected, found: v.len() }) }
}

/// How products of fixed layouts are computed, chosen once: see [`Gemm::prepare`].
///
/// It belongs to its element type, as tiles of f32 are wider than those of f64:
///
/// ```compile_fail
/// # use kernels::{Gemm, Layout};
/// let square = Layout::row_major(2, 2);
/// let plan = Gemm::<f32>::new().prepare(square, square, square).unwrap();
/// Gemm::<f64>::new().plan(&plan);
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Plan<T> {
    backend: &'static Backend,
    precision: Precision,
    layouts: [Layout; 3],
    route: Route,
    /// Where the method is [`Method::Tile`].
    tile: Option<Single<T>>,
}

impl<T> Plan<T> {
    /// Checks that a call on this backend, in this precision unless it is the default, has the operands of the plan.
    #[inline(always)]
    fn check(&self, backend: &'static Backend, precision: Precision, [a, b, c]: [&Layout; 3]) -> Result<()> {
        let same = (*a == self.layouts[0]) & (*b == self.layouts[1]) & (*c == self.layouts[2]);
        let fits = precision == Precision::F32 || precision == self.precision;
        if same & fits & std::ptr::eq(backend, self.backend) {
            return Ok(());
        }
        // Copied here, so that they need no memory where all is well.
        Err(self.difference(backend, fits, precision, [*a, *b, *c]))
    }

    /// What [`Self::check`] has found.
    #[cold]
    #[inline(never)]
    fn difference(&self, backend: &Backend, fits: bool, precision: Precision, layouts: [Layout; 3]) -> Error {
        let (what, planned, found) = if !std::ptr::eq(backend, self.backend) {
            ("the backend", self.backend.name().to_owned(), backend.name().to_owned())
        } else if !fits {
            ("the precision", self.precision.to_string(), precision.to_string())
        } else {
            let i = (0..2).find(|&i| layouts[i] != self.layouts[i]).unwrap_or(2);
            (["A", "B", "C"][i], self.layouts[i].to_string(), layouts[i].to_string())
        };
        Error::Plan { what, planned, found }
    }
}

impl Gemm<'_, f32> {
    /// How exactly the product is computed, instead of [`Precision::F32`].
    ///
    /// ```
    /// use kernels::{Gemm, MatMut, MatRef, Precision};
    /// let (a, b, mut c) = ([1.003, 1.0], [2.0, 0.0], [0.0]);
    /// let (a, b) = (MatRef::new(&a, 1, 2)?, MatRef::new(&b, 2, 1)?);
    /// Gemm::new().precision(Precision::Bf16).run(a, b, MatMut::new(&mut c, 1, 1)?)?;
    /// assert!((c[0] - 2.006).abs() < 0.008);
    /// # Ok::<(), kernels::Error>(())
    /// ```
    #[inline]
    #[must_use]
    pub fn precision(self, precision: Precision) -> Self {
        Self { precision, ..self }
    }
}

/// `C <- A B`, with the settings of [`Gemm::new`].
///
/// # Errors
/// As [`Gemm::run`].
#[inline]
pub fn gemm<T: Element>(a: MatRef<'_, T>, b: MatRef<'_, T>, c: MatMut<'_, T>) -> Result<()> {
    Gemm::new().run(a, b, c)
}
