//! What the BLAS names mean: the reference's checks in its order, its quick returns, its negative increments.
//!
//! Arguments are reported as those of the column-major call of Fortran, which the reference makes of every row-major
//! one: the product C = A B is C' = B' A'. It is computed as it stands.

use crate::gemm::product;
use crate::status::say;
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
    (111..=113).contains(&trans).then_some(trans != 111)
}

/// Whether an order of CBLAS is row-major.
fn row_major(order: c_int) -> Option<bool> {
    match order {
        101 => Some(true),
        102 => Some(false),
        _ => None,
    }
}

/// C (m x n) <- alpha op(A) op(B) + beta C, of matrices that are all row-major or all column-major.
struct Gemm<T> {
    row_major: bool,
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
    /// The first wrong argument, in the order in which the reference finds it: that of the column-major call,
    /// C' = B' A' for a row-major one.
    #[inline]
    fn wrong(&self) -> Option<Wrong> {
        let Self { row_major, transposed: (ta, tb), m, n, k, lda, ldb, ldc, .. } = *self;
        // The elements of a row, or of a column, lie together: as many as the leading dimension is at least.
        let least = |rows: isize, cols: isize, turned: bool| if turned == row_major { rows } else { cols }.max(1);
        let (a, b, c) = (lda < least(m, k, ta), ldb < least(k, n, tb), ldc < least(m, n, false));
        if !((m < 0) | (n < 0) | (k < 0) | a | b | c) {
            return None;
        }
        let (m, n, k, a, b, c) = ((m < 0, 4), (n < 0, 5), (k < 0, 6), (a, 9), (b, 11), (c, 14));
        let found = if row_major { [n, m, k, b, a, c] } else { [m, n, k, a, b, c] };
        let fortran = [3, 4, 5, 8, 10, 13].into_iter();
        fortran.zip(found).find_map(|(fortran, (wrong, cblas))| wrong.then_some(Wrong { fortran, cblas }))
    }

    /// The product that is asked for, where nothing is wrong.
    #[inline]
    fn product(&self) -> Product<T> {
        let Self { m, n, k, alpha, a, b, beta, c, .. } = *self;
        let strides = |turned: bool, ld| if turned == self.row_major { (1, ld) } else { (ld, 1) };
        Product {
            size: (m as usize, k as usize, n as usize),
            alpha,
            a: (a, strides(self.transposed.0, self.lda)),
            b: (b, strides(self.transposed.1, self.ldb)),
            beta,
            c: (c, strides(false, self.ldc)),
        }
    }
}

/// C (m x n) <- alpha A B + beta C: matrices by their first elements and the strides of their rows and columns.
struct Product<T> {
    /// m, k, n
    size: (usize, usize, usize),
    alpha: T,
    a: (*const T, (isize, isize)),
    b: (*const T, (isize, isize)),
    beta: T,
    c: (*mut T, (isize, isize)),
}

impl<T: Real> Product<T> {
    /// Whether C stays as it is.
    #[inline]
    fn is_done(&self) -> bool {
        let (m, k, n) = self.size;
        m == 0 || n == 0 || ((self.alpha == T::ZERO || k == 0) && self.beta == T::ONE)
    }

    /// # Safety
    /// The matrices are there, and no two elements of C share a place.
    #[inline]
    unsafe fn views<'a>(&self) -> (MatRef<'a, T>, MatRef<'a, T>, MatMut<'a, T>) {
        let (m, k, n) = self.size;
        // What is not read need not be there: without products, there is no k.
        let k = if self.alpha == T::ZERO { 0 } else { k };
        // SAFETY: the caller's promise.
        unsafe {
            let view = |(p, (row, col)), rows, cols| MatRef::from_raw(p, rows, cols, row, col);
            let (c, (row, col)) = self.c;
            (view(self.a, m, k), view(self.b, k, n), MatMut::from_raw(c, m, n, row, col))
        }
    }

    #[inline]
    fn call(&self) -> kernels::Gemm<'static, T> {
        kernels::Gemm::new().alpha(self.alpha).beta(self.beta).par(&Setting)
    }

    /// Inlined, a call takes 6 ns less, and the library 6 kB more for each name.
    ///
    /// # Safety
    /// As [`Self::views`].
    #[inline(always)]
    unsafe fn run(&self, inlined: bool) {
        if self.is_done() {
            return;
        }
        // SAFETY: the caller's promise.
        let (a, b, c) = unsafe { self.views() };
        let call = self.call();
        done(if inlined { call.run(a, b, c) } else { product(&call, a.into(), b.into(), c) });
    }
}

/// What is left to go wrong where sizes and strides were checked is that `KERNELS_ISA` pins what this CPU lacks. There
/// is no status to return, and going on without a result would be worse.
#[inline]
fn done(result: kernels::Result<()>) {
    #[cold]
    fn end(error: &kernels::Error) -> ! {
        say(format_args!("{error}"));
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
    /// The call, or the number of the argument that is wrong.
    #[inline]
    fn checked(&self) -> Result<Gemm<T>, Wrong> {
        let at = |cblas| Wrong { fortran: 0, cblas };
        let row_major = row_major(self.order).ok_or(at(1))?;
        let ta = transposed(self.trans_a).ok_or(at(2))?;
        let tb = transposed(self.trans_b).ok_or(at(3))?;
        let [m, n, k, lda, ldb, ldc] = [self.m, self.n, self.k, self.lda, self.ldb, self.ldc].map(I::wide);
        let Self { alpha, a, b, beta, c, .. } = *self;
        let call = Gemm { row_major, transposed: (ta, tb), m, n, k, alpha, a, lda, b, ldb, beta, c, ldc };
        match call.wrong() {
            Some(wrong) => Err(wrong),
            None => Ok(call),
        }
    }

    /// # Safety
    /// The matrices are there, where the arguments are right.
    #[inline]
    pub(crate) unsafe fn run(self) {
        match self.checked() {
            // SAFETY: the caller's promise. Few programs have the names with 64-bit integers.
            Ok(call) => unsafe { call.product().run(!I::IS_64) },
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
        let call = match self.checked() {
            Ok(call) => call,
            // Before the strides there are lda (9, 9), ldb (12, not 11) and ldc (16, not 14).
            Err(wrong) => return report(wrong.cblas + i32::from(wrong.cblas > 9) + i32::from(wrong.cblas > 11)),
        };
        let [stride_a, stride_b, stride_c, count] = [stride_a, stride_b, stride_c, count].map(I::wide);
        let (lines, line) = if call.row_major { (call.m, call.n) } else { (call.n, call.m) };
        let span = if lines == 0 || line == 0 { 0 } else { (lines - 1).saturating_mul(call.ldc).saturating_add(line) };
        if stride_a < 0 {
            return report(10);
        } else if stride_b < 0 {
            return report(13);
        } else if stride_c < 0 || (count > 1 && stride_c < span) {
            return report(17);
        } else if count < 0 {
            return report(18);
        }
        let product = call.product();
        if product.is_done() {
            return;
        }
        // SAFETY: the caller's promise; the matrices C follow each other.
        unsafe {
            let (a, b, c) = product.views();
            let count = count as usize;
            let (a, b) =
                (BatchRef::from_raw(a, count, stride_a as usize), BatchRef::from_raw(b, count, stride_b as usize));
            done(product.call().run_batch(a, b, BatchMut::from_raw(c, count, stride_c as usize)));
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
        let call = Gemm { row_major: false, transposed, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc };
        match call.wrong() {
            Some(wrong) => report(wrong.fortran),
            // SAFETY: as above.
            None => unsafe { call.product().run(false) },
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

    /// The product with one column, or nothing to do.
    #[inline]
    fn product(&self) -> Option<Product<T>> {
        let Self { m, n, alpha, a, lda, x, inc_x, beta, y, inc_y, .. } = *self;
        // Without products, beta is still applied, but not where the matrix is empty.
        if m == 0 || n == 0 {
            return None;
        }
        let (rows, k, strides) = if self.transposed { (n, m, (lda, 1)) } else { (m, n, (1, lda)) };
        // A vector that is walked backwards begins at its end.
        let first = |len: isize, inc: isize| if inc < 0 { (1 - len) * inc } else { 0 };
        Some(Product {
            size: (rows as usize, k as usize, 1),
            alpha,
            a: (a, strides),
            b: (x.wrapping_offset(first(k, inc_x)), (inc_x, 1)),
            beta,
            c: (y.wrapping_offset(first(rows, inc_y)), (inc_y, 1)),
        })
    }

    /// # Safety
    /// Nothing is wrong with the arguments, and the matrix and the vectors are there.
    #[inline]
    unsafe fn run(&self) {
        if let Some(product) = self.product() {
            // SAFETY: the caller's promise.
            unsafe { product.run(false) }
        }
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
