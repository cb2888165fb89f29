//! What the BLAS names mean: the reference's checks in its order, its quick returns, its negative increments.
//!
//! Everything is the column-major call of Fortran; a row-major product C = A B is the column-major C' = B' A', and a
//! row-major matrix is a column-major one transposed.

use crate::threads::Setting;
use crate::xerbla::{self, Names, Wrong};
use kernels::{BatchMut, BatchRef, Element, MatMut, MatRef};
use std::ffi::{c_char, c_int};

/// The integers of a BLAS.
pub trait Int: Copy {
    const IS_64: bool;
    fn from_i32(value: i32) -> Self;
    fn wide(self) -> isize;
}

impl Int for i32 {
    const IS_64: bool = false;
    fn from_i32(value: i32) -> Self {
        value
    }
    #[inline]
    fn wide(self) -> isize {
        self as isize
    }
}

impl Int for i64 {
    const IS_64: bool = true;
    fn from_i32(value: i32) -> Self {
        value.into()
    }
    #[inline]
    fn wide(self) -> isize {
        // Where an address has 32 bits, what does not fit is no size of anything: it stays too large, or negative.
        self.clamp(isize::MIN as i64, isize::MAX as i64) as isize
    }
}

/// The element types, with the names of their routines.
pub(crate) trait Real: Element {
    const GEMM: Names;
    const GEMV: Names;
    const BATCH: Names;
}

impl Real for f32 {
    const GEMM: Names = Names { fortran: c"SGEMM ", cblas: c"cblas_sgemm" };
    const GEMV: Names = Names { fortran: c"SGEMV ", cblas: c"cblas_sgemv" };
    const BATCH: Names = Names { fortran: c"SGEMM ", cblas: c"cblas_sgemm_batch_strided" };
}

impl Real for f64 {
    const GEMM: Names = Names { fortran: c"DGEMM ", cblas: c"cblas_dgemm" };
    const GEMV: Names = Names { fortran: c"DGEMV ", cblas: c"cblas_dgemv" };
    const BATCH: Names = Names { fortran: c"DGEMM ", cblas: c"cblas_dgemm_batch_strided" };
}

/// Whether a transpose of Fortran asks for one; `None` for a letter that means nothing.
///
/// # Safety
/// It can be read.
unsafe fn letter(trans: *const c_char) -> Option<bool> {
    // SAFETY: the caller's promise.
    match unsafe { *trans } as u8 {
        b'N' | b'n' => Some(false),
        b'T' | b't' | b'C' | b'c' => Some(true),
        _ => None,
    }
}

/// The same of CBLAS.
fn transposed(trans: c_int) -> Option<bool> {
    match trans {
        111 => Some(false),
        112 | 113 => Some(true),
        _ => None,
    }
}

/// Whether an order of CBLAS is row-major.
fn row_major(order: c_int) -> Option<bool> {
    match order {
        101 => Some(true),
        102 => Some(false),
        _ => None,
    }
}

/// C (m x n) <- alpha op(A) op(B) + beta C, all column-major.
struct Gemm<T> {
    transposed: (bool, bool),
    m: isize,
    n: isize,
    k: isize,
    alpha: T,
    a: *const T,
    lda: isize,
    b: *const T,
    ldb: isize,
    beta: T,
    c: *mut T,
    ldc: isize,
}

impl<T: Real> Gemm<T> {
    /// The first wrong argument.
    #[inline]
    fn wrong(&self, row_major: bool) -> Option<Wrong> {
        let Self { transposed: (ta, tb), m, n, k, lda, ldb, ldc, .. } = *self;
        let wrong = |fortran, swapped| Wrong { fortran, cblas: if row_major { swapped } else { fortran + 1 } };
        if m < 0 {
            Some(wrong(3, 5))
        } else if n < 0 {
            Some(wrong(4, 4))
        } else if k < 0 {
            Some(wrong(5, 6))
        } else if lda < if ta { k } else { m }.max(1) {
            Some(wrong(8, 11))
        } else if ldb < if tb { n } else { k }.max(1) {
            Some(wrong(10, 9))
        } else if ldc < m.max(1) {
            Some(wrong(13, 14))
        } else {
            None
        }
    }

    /// Whether C stays as it is.
    #[inline]
    fn is_done(&self) -> bool {
        self.m == 0 || self.n == 0 || ((self.alpha == T::ZERO || self.k == 0) && self.beta == T::ONE)
    }

    /// # Safety
    /// Nothing is wrong with the arguments, and the matrices are there.
    #[inline]
    unsafe fn views<'a>(&self) -> (MatRef<'a, T>, MatRef<'a, T>, MatMut<'a, T>) {
        let (m, n) = (self.m as usize, self.n as usize);
        // What is not read need not be there: without products, there is no k.
        let k = if self.alpha == T::ZERO { 0 } else { self.k as usize };
        // SAFETY: the caller's promise.
        unsafe {
            let view = |turned: bool, p, rows, cols, ld| {
                if turned { MatRef::from_raw(p, rows, cols, ld, 1) } else { MatRef::from_raw(p, rows, cols, 1, ld) }
            };
            let a = view(self.transposed.0, self.a, m, k, self.lda);
            let b = view(self.transposed.1, self.b, k, n, self.ldb);
            (a, b, MatMut::from_raw(self.c, m, n, 1, self.ldc))
        }
    }

    #[inline]
    fn call(&self) -> kernels::Gemm<'static, T> {
        kernels::Gemm::new().alpha(self.alpha).beta(self.beta).par(&Setting)
    }

    /// # Safety
    /// As [`Self::views`].
    #[inline]
    unsafe fn run(&self) {
        if !self.is_done() {
            // SAFETY: the caller's promise.
            let (a, b, c) = unsafe { self.views() };
            done(self.call().run(a, b, c));
        }
    }
}

/// What is left to go wrong where sizes and strides were checked is that `KERNELS_ISA` pins what this CPU lacks. There is
/// no status to return, and going on without a result would be worse.
#[inline]
fn done(result: kernels::Result<()>) {
    #[cold]
    fn end(error: &kernels::Error) -> ! {
        eprintln!("kernels: {error}");
        std::process::abort()
    }
    if let Err(error) = result {
        end(&error);
    }
}

/// The arguments of a CBLAS product.
pub(crate) struct CblasGemm<T, I> {
    pub order: c_int,
    pub trans_a: c_int,
    pub trans_b: c_int,
    pub m: I,
    pub n: I,
    pub k: I,
    pub alpha: T,
    pub a: *const T,
    pub lda: I,
    pub b: *const T,
    pub ldb: I,
    pub beta: T,
    pub c: *mut T,
    pub ldc: I,
}

impl<T: Real, I: Int> CblasGemm<T, I> {
    /// The Fortran call that it is, and whether the order is row-major; or the number of the argument that is wrong.
    #[inline]
    fn fortran(&self) -> Result<(Gemm<T>, bool), Wrong> {
        let at = |cblas| Wrong { fortran: 0, cblas };
        let row_major = row_major(self.order).ok_or(at(1))?;
        let ta = transposed(self.trans_a).ok_or(at(2))?;
        let tb = transposed(self.trans_b).ok_or(at(3))?;
        let [m, n, k, lda, ldb, ldc] = [self.m, self.n, self.k, self.lda, self.ldb, self.ldc].map(I::wide);
        let Self { alpha, a, b, beta, c, .. } = *self;
        let transposed = (ta, tb);
        let call = Gemm { transposed, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc };
        let swapped = Gemm { transposed: (tb, ta), m: n, n: m, a: b, lda: ldb, b: a, ldb: lda, ..call };
        let call = if row_major { swapped } else { call };
        match call.wrong(row_major) {
            Some(wrong) => Err(wrong),
            None => Ok((call, row_major)),
        }
    }

    /// # Safety
    /// The matrices are there, where the arguments are right.
    #[inline]
    pub(crate) unsafe fn run(self) {
        match self.fortran() {
            // SAFETY: the caller's promise.
            Ok((call, _)) => unsafe { call.run() },
            Err(wrong) => xerbla::cblas::<I>(&T::GEMM, &wrong, row_major(self.order) == Some(true)),
        }
    }

    /// `count` products, of which each begins a stride after the last.
    ///
    /// # Safety
    /// As [`Self::run`], for each.
    pub(crate) unsafe fn run_batch(self, [stride_a, stride_b, stride_c]: [I; 3], count: I) {
        // There is no Fortran routine: arguments are reported where they are.
        let report = |cblas| xerbla::cblas::<I>(&T::BATCH, &Wrong { fortran: 0, cblas }, false);
        let (call, swapped) = match self.fortran() {
            Ok(call) => call,
            // Before the strides there are lda (9, 9), ldb (12, not 11) and ldc (16, not 14).
            Err(wrong) => return report(wrong.cblas + i32::from(wrong.cblas > 9) + i32::from(wrong.cblas > 11)),
        };
        let [stride_a, stride_b, stride_c, count] = [stride_a, stride_b, stride_c, count].map(I::wide);
        let span = if call.m == 0 || call.n == 0 { 0 } else { (call.n - 1).saturating_mul(call.ldc) + call.m };
        if stride_a < 0 {
            return report(10);
        } else if stride_b < 0 {
            return report(13);
        } else if stride_c < 0 || (count > 1 && stride_c < span) {
            return report(17);
        } else if count < 0 {
            return report(18);
        } else if call.is_done() {
            return;
        }
        // SAFETY: the caller's promise; the matrices C follow each other.
        unsafe {
            let (a, b, c) = call.views();
            let count = count as usize;
            let (stride_a, stride_b) = if swapped { (stride_b, stride_a) } else { (stride_a, stride_b) };
            let (a, b) =
                (BatchRef::from_raw(a, count, stride_a as usize), BatchRef::from_raw(b, count, stride_b as usize));
            done(call.call().run_batch(a, b, BatchMut::from_raw(c, count, stride_c as usize)));
        }
    }
}

/// The arguments of a Fortran product.
pub(crate) struct FortranGemm<T, I> {
    pub trans_a: *const c_char,
    pub trans_b: *const c_char,
    pub m: *const I,
    pub n: *const I,
    pub k: *const I,
    pub alpha: *const T,
    pub a: *const T,
    pub lda: *const I,
    pub b: *const T,
    pub ldb: *const I,
    pub beta: *const T,
    pub c: *mut T,
    pub ldc: *const I,
}

impl<T: Real, I: Int> FortranGemm<T, I> {
    /// # Safety
    /// All but the matrices can be read; those are there, where the arguments are right.
    #[inline]
    pub(crate) unsafe fn run(self) {
        // SAFETY: the caller's promise.
        let trans = unsafe { (letter(self.trans_a), letter(self.trans_b)) };
        let report = |fortran| xerbla::fortran::<I>(&T::GEMM, &Wrong { fortran, cblas: 0 });
        let transposed = match trans {
            (None, _) => return report(1),
            (_, None) => return report(2),
            (Some(a), Some(b)) => (a, b),
        };
        // SAFETY: as above.
        let [m, n, k, lda, ldb, ldc] =
            [self.m, self.n, self.k, self.lda, self.ldb, self.ldc].map(|i| unsafe { *i }.wide());
        // SAFETY: as above.
        let (alpha, beta) = unsafe { (*self.alpha, *self.beta) };
        let Self { a, b, c, .. } = self;
        let call = Gemm { transposed, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc };
        match call.wrong(false) {
            Some(wrong) => report(wrong.fortran),
            // SAFETY: as above.
            None => unsafe { call.run() },
        }
    }
}

/// y <- alpha op(A) x + beta y for a column-major A (m x n).
struct Gemv<T> {
    transposed: bool,
    m: isize,
    n: isize,
    alpha: T,
    a: *const T,
    lda: isize,
    x: *const T,
    inc_x: isize,
    beta: T,
    y: *mut T,
    inc_y: isize,
}

impl<T: Real> Gemv<T> {
    /// The first wrong argument.
    #[inline]
    fn wrong(&self, row_major: bool) -> Option<Wrong> {
        let wrong = |fortran, swapped| Wrong { fortran, cblas: if row_major { swapped } else { fortran + 1 } };
        if self.m < 0 {
            Some(wrong(2, 4))
        } else if self.n < 0 {
            Some(wrong(3, 3))
        } else if self.lda < self.m.max(1) {
            Some(wrong(6, 7))
        } else if self.inc_x == 0 {
            Some(wrong(8, 9))
        } else if self.inc_y == 0 {
            Some(wrong(11, 12))
        } else {
            None
        }
    }

    /// # Safety
    /// Nothing is wrong with the arguments, and the matrix and the vectors are there.
    #[inline]
    unsafe fn run(&self) {
        let Self { m, n, lda, inc_x, inc_y, .. } = *self;
        if m == 0 || n == 0 || (self.alpha == T::ZERO && self.beta == T::ONE) {
            return;
        }
        let (rows, k) = if self.transposed { (n, m) } else { (m, n) };
        // A vector that is walked backwards begins at its end.
        let first = |len: isize, inc: isize| if inc < 0 { (1 - len) * inc } else { 0 };
        let x = self.x.wrapping_offset(first(k, inc_x));
        let y = self.y.wrapping_offset(first(rows, inc_y));
        let rows = rows as usize;
        // What is not read need not be there.
        let k = if self.alpha == T::ZERO { 0 } else { k as usize };
        // SAFETY: the caller's promise.
        let (a, x, y) = unsafe {
            let (row, col) = if self.transposed { (lda, 1) } else { (1, lda) };
            (
                MatRef::from_raw(self.a, rows, k, row, col),
                MatRef::from_raw(x, k, 1, inc_x, 1),
                MatMut::from_raw(y, rows, 1, inc_y, 1),
            )
        };
        done(kernels::Gemm::new().alpha(self.alpha).beta(self.beta).par(&Setting).run(a, x, y));
    }
}

/// The arguments of a CBLAS product of a matrix and a vector.
pub(crate) struct CblasGemv<T, I> {
    pub order: c_int,
    pub trans: c_int,
    pub m: I,
    pub n: I,
    pub alpha: T,
    pub a: *const T,
    pub lda: I,
    pub x: *const T,
    pub inc_x: I,
    pub beta: T,
    pub y: *mut T,
    pub inc_y: I,
}

impl<T: Real, I: Int> CblasGemv<T, I> {
    /// # Safety
    /// The matrix and the vectors are there, where the arguments are right.
    #[inline]
    pub(crate) unsafe fn run(self) {
        let is_row_major = row_major(self.order);
        let report = |wrong: &Wrong| xerbla::cblas::<I>(&T::GEMV, wrong, is_row_major == Some(true));
        let (rows, transposed) = match (is_row_major, transposed(self.trans)) {
            (None, _) => return report(&Wrong { fortran: 0, cblas: 1 }),
            (_, None) => return report(&Wrong { fortran: 0, cblas: 2 }),
            (Some(rows), Some(transposed)) => (rows, transposed),
        };
        let [m, n, lda, inc_x, inc_y] = [self.m, self.n, self.lda, self.inc_x, self.inc_y].map(I::wide);
        let (m, n) = if rows { (n, m) } else { (m, n) };
        let Self { alpha, a, x, beta, y, .. } = self;
        let call = Gemv { transposed: transposed != rows, m, n, alpha, a, lda, x, inc_x, beta, y, inc_y };
        match call.wrong(rows) {
            Some(wrong) => report(&wrong),
            // SAFETY: the caller's promise.
            None => unsafe { call.run() },
        }
    }
}

/// The arguments of a Fortran product of a matrix and a vector.
pub(crate) struct FortranGemv<T, I> {
    pub trans: *const c_char,
    pub m: *const I,
    pub n: *const I,
    pub alpha: *const T,
    pub a: *const T,
    pub lda: *const I,
    pub x: *const T,
    pub inc_x: *const I,
    pub beta: *const T,
    pub y: *mut T,
    pub inc_y: *const I,
}

impl<T: Real, I: Int> FortranGemv<T, I> {
    /// # Safety
    /// All but the matrix and the vectors can be read; those are there, where the arguments are right.
    #[inline]
    pub(crate) unsafe fn run(self) {
        let report = |fortran| xerbla::fortran::<I>(&T::GEMV, &Wrong { fortran, cblas: 0 });
        // SAFETY: the caller's promise.
        let Some(transposed) = (unsafe { letter(self.trans) }) else { return report(1) };
        // SAFETY: as above.
        let [m, n, lda, inc_x, inc_y] =
            [self.m, self.n, self.lda, self.inc_x, self.inc_y].map(|i| unsafe { *i }.wide());
        // SAFETY: as above.
        let (alpha, beta) = unsafe { (*self.alpha, *self.beta) };
        let Self { a, x, y, .. } = self;
        let call = Gemv { transposed, m, n, alpha, a, lda, x, inc_x, beta, y, inc_y };
        match call.wrong(false) {
            Some(wrong) => report(wrong.fortran),
            // SAFETY: as above.
            None => unsafe { call.run() },
        }
    }
}
