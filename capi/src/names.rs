//! The BLAS names. A function each, as a symbol needs; all of them only hand on their arguments.
//!
//! The first group of each pair has 32-bit integers, the `_64` one 64-bit integers. A panic ends the process (a
//! function with the C calling convention can't be unwound out of), as there is no status to return.

use crate::blas::{CblasGemm, CblasGemv, FortranGemm, FortranGemv};
use std::ffi::{c_char, c_int};

/// C <- alpha op(A) op(B) + beta C.
///
/// # Safety
/// As the reference BLAS has it: the operands are there.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cblas_sgemm(
    order: c_int, trans_a: c_int, trans_b: c_int, m: i32, n: i32, k: i32, alpha: f32, a: *const f32, lda: i32,
    b: *const f32, ldb: i32, beta: f32, c: *mut f32, ldc: i32,
) {
    // SAFETY: the caller's promise.
    unsafe { CblasGemm { order, trans_a, trans_b, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc }.run() }
}

/// C <- alpha op(A) op(B) + beta C.
///
/// # Safety
/// As the reference BLAS has it: the operands are there.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cblas_dgemm(
    order: c_int, trans_a: c_int, trans_b: c_int, m: i32, n: i32, k: i32, alpha: f64, a: *const f64, lda: i32,
    b: *const f64, ldb: i32, beta: f64, c: *mut f64, ldc: i32,
) {
    // SAFETY: the caller's promise.
    unsafe { CblasGemm { order, trans_a, trans_b, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc }.run() }
}

/// y <- alpha op(A) x + beta y.
///
/// # Safety
/// As the reference BLAS has it: the operands are there.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cblas_sgemv(
    order: c_int, trans: c_int, m: i32, n: i32, alpha: f32, a: *const f32, lda: i32, x: *const f32, inc_x: i32,
    beta: f32, y: *mut f32, inc_y: i32,
) {
    // SAFETY: the caller's promise.
    unsafe { CblasGemv { order, trans, m, n, alpha, a, lda, x, inc_x, beta, y, inc_y }.run() }
}

/// y <- alpha op(A) x + beta y.
///
/// # Safety
/// As the reference BLAS has it: the operands are there.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cblas_dgemv(
    order: c_int, trans: c_int, m: i32, n: i32, alpha: f64, a: *const f64, lda: i32, x: *const f64, inc_x: i32,
    beta: f64, y: *mut f64, inc_y: i32,
) {
    // SAFETY: the caller's promise.
    unsafe { CblasGemv { order, trans, m, n, alpha, a, lda, x, inc_x, beta, y, inc_y }.run() }
}

/// batch_size products C <- alpha op(A) op(B) + beta C; matrix i begins i strides after the first.
///
/// # Safety
/// As the reference BLAS has it: the operands are there.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cblas_sgemm_batch_strided(
    order: c_int, trans_a: c_int, trans_b: c_int, m: i32, n: i32, k: i32, alpha: f32, a: *const f32, lda: i32,
    stride_a: i32, b: *const f32, ldb: i32, stride_b: i32, beta: f32, c: *mut f32, ldc: i32, stride_c: i32,
    batch_size: i32,
) {
    // SAFETY: the caller's promise.
    unsafe {
        CblasGemm { order, trans_a, trans_b, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc }
            .run_batch([stride_a, stride_b, stride_c], batch_size)
    }
}

/// batch_size products C <- alpha op(A) op(B) + beta C; matrix i begins i strides after the first.
///
/// # Safety
/// As the reference BLAS has it: the operands are there.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cblas_dgemm_batch_strided(
    order: c_int, trans_a: c_int, trans_b: c_int, m: i32, n: i32, k: i32, alpha: f64, a: *const f64, lda: i32,
    stride_a: i32, b: *const f64, ldb: i32, stride_b: i32, beta: f64, c: *mut f64, ldc: i32, stride_c: i32,
    batch_size: i32,
) {
    // SAFETY: the caller's promise.
    unsafe {
        CblasGemm { order, trans_a, trans_b, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc }
            .run_batch([stride_a, stride_b, stride_c], batch_size)
    }
}

/// C <- alpha op(A) op(B) + beta C, for Fortran.
///
/// # Safety
/// As the reference BLAS has it: the operands are there.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sgemm_(
    trans_a: *const c_char, trans_b: *const c_char, m: *const i32, n: *const i32, k: *const i32, alpha: *const f32,
    a: *const f32, lda: *const i32, b: *const f32, ldb: *const i32, beta: *const f32, c: *mut f32, ldc: *const i32,
) {
    // SAFETY: the caller's promise.
    unsafe { FortranGemm { trans_a, trans_b, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc }.run() }
}

/// C <- alpha op(A) op(B) + beta C, for Fortran.
///
/// # Safety
/// As the reference BLAS has it: the operands are there.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dgemm_(
    trans_a: *const c_char, trans_b: *const c_char, m: *const i32, n: *const i32, k: *const i32, alpha: *const f64,
    a: *const f64, lda: *const i32, b: *const f64, ldb: *const i32, beta: *const f64, c: *mut f64, ldc: *const i32,
) {
    // SAFETY: the caller's promise.
    unsafe { FortranGemm { trans_a, trans_b, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc }.run() }
}

/// y <- alpha op(A) x + beta y, for Fortran.
///
/// # Safety
/// As the reference BLAS has it: the operands are there.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sgemv_(
    trans: *const c_char, m: *const i32, n: *const i32, alpha: *const f32, a: *const f32, lda: *const i32,
    x: *const f32, inc_x: *const i32, beta: *const f32, y: *mut f32, inc_y: *const i32,
) {
    // SAFETY: the caller's promise.
    unsafe { FortranGemv { trans, m, n, alpha, a, lda, x, inc_x, beta, y, inc_y }.run() }
}

/// y <- alpha op(A) x + beta y, for Fortran.
///
/// # Safety
/// As the reference BLAS has it: the operands are there.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dgemv_(
    trans: *const c_char, m: *const i32, n: *const i32, alpha: *const f64, a: *const f64, lda: *const i32,
    x: *const f64, inc_x: *const i32, beta: *const f64, y: *mut f64, inc_y: *const i32,
) {
    // SAFETY: the caller's promise.
    unsafe { FortranGemv { trans, m, n, alpha, a, lda, x, inc_x, beta, y, inc_y }.run() }
}

/// C <- alpha op(A) op(B) + beta C.
///
/// # Safety
/// As the reference BLAS has it: the operands are there.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cblas_sgemm_64(
    order: c_int, trans_a: c_int, trans_b: c_int, m: i64, n: i64, k: i64, alpha: f32, a: *const f32, lda: i64,
    b: *const f32, ldb: i64, beta: f32, c: *mut f32, ldc: i64,
) {
    // SAFETY: the caller's promise.
    unsafe { CblasGemm { order, trans_a, trans_b, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc }.run() }
}

/// C <- alpha op(A) op(B) + beta C.
///
/// # Safety
/// As the reference BLAS has it: the operands are there.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cblas_dgemm_64(
    order: c_int, trans_a: c_int, trans_b: c_int, m: i64, n: i64, k: i64, alpha: f64, a: *const f64, lda: i64,
    b: *const f64, ldb: i64, beta: f64, c: *mut f64, ldc: i64,
) {
    // SAFETY: the caller's promise.
    unsafe { CblasGemm { order, trans_a, trans_b, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc }.run() }
}

/// y <- alpha op(A) x + beta y.
///
/// # Safety
/// As the reference BLAS has it: the operands are there.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cblas_sgemv_64(
    order: c_int, trans: c_int, m: i64, n: i64, alpha: f32, a: *const f32, lda: i64, x: *const f32, inc_x: i64,
    beta: f32, y: *mut f32, inc_y: i64,
) {
    // SAFETY: the caller's promise.
    unsafe { CblasGemv { order, trans, m, n, alpha, a, lda, x, inc_x, beta, y, inc_y }.run() }
}

/// y <- alpha op(A) x + beta y.
///
/// # Safety
/// As the reference BLAS has it: the operands are there.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cblas_dgemv_64(
    order: c_int, trans: c_int, m: i64, n: i64, alpha: f64, a: *const f64, lda: i64, x: *const f64, inc_x: i64,
    beta: f64, y: *mut f64, inc_y: i64,
) {
    // SAFETY: the caller's promise.
    unsafe { CblasGemv { order, trans, m, n, alpha, a, lda, x, inc_x, beta, y, inc_y }.run() }
}

/// batch_size products C <- alpha op(A) op(B) + beta C; matrix i begins i strides after the first.
///
/// # Safety
/// As the reference BLAS has it: the operands are there.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cblas_sgemm_batch_strided_64(
    order: c_int, trans_a: c_int, trans_b: c_int, m: i64, n: i64, k: i64, alpha: f32, a: *const f32, lda: i64,
    stride_a: i64, b: *const f32, ldb: i64, stride_b: i64, beta: f32, c: *mut f32, ldc: i64, stride_c: i64,
    batch_size: i64,
) {
    // SAFETY: the caller's promise.
    unsafe {
        CblasGemm { order, trans_a, trans_b, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc }
            .run_batch([stride_a, stride_b, stride_c], batch_size)
    }
}

/// batch_size products C <- alpha op(A) op(B) + beta C; matrix i begins i strides after the first.
///
/// # Safety
/// As the reference BLAS has it: the operands are there.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cblas_dgemm_batch_strided_64(
    order: c_int, trans_a: c_int, trans_b: c_int, m: i64, n: i64, k: i64, alpha: f64, a: *const f64, lda: i64,
    stride_a: i64, b: *const f64, ldb: i64, stride_b: i64, beta: f64, c: *mut f64, ldc: i64, stride_c: i64,
    batch_size: i64,
) {
    // SAFETY: the caller's promise.
    unsafe {
        CblasGemm { order, trans_a, trans_b, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc }
            .run_batch([stride_a, stride_b, stride_c], batch_size)
    }
}

/// C <- alpha op(A) op(B) + beta C, for Fortran.
///
/// # Safety
/// As the reference BLAS has it: the operands are there.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sgemm_64_(
    trans_a: *const c_char, trans_b: *const c_char, m: *const i64, n: *const i64, k: *const i64, alpha: *const f32,
    a: *const f32, lda: *const i64, b: *const f32, ldb: *const i64, beta: *const f32, c: *mut f32, ldc: *const i64,
) {
    // SAFETY: the caller's promise.
    unsafe { FortranGemm { trans_a, trans_b, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc }.run() }
}

/// C <- alpha op(A) op(B) + beta C, for Fortran.
///
/// # Safety
/// As the reference BLAS has it: the operands are there.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dgemm_64_(
    trans_a: *const c_char, trans_b: *const c_char, m: *const i64, n: *const i64, k: *const i64, alpha: *const f64,
    a: *const f64, lda: *const i64, b: *const f64, ldb: *const i64, beta: *const f64, c: *mut f64, ldc: *const i64,
) {
    // SAFETY: the caller's promise.
    unsafe { FortranGemm { trans_a, trans_b, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc }.run() }
}

/// y <- alpha op(A) x + beta y, for Fortran.
///
/// # Safety
/// As the reference BLAS has it: the operands are there.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sgemv_64_(
    trans: *const c_char, m: *const i64, n: *const i64, alpha: *const f32, a: *const f32, lda: *const i64,
    x: *const f32, inc_x: *const i64, beta: *const f32, y: *mut f32, inc_y: *const i64,
) {
    // SAFETY: the caller's promise.
    unsafe { FortranGemv { trans, m, n, alpha, a, lda, x, inc_x, beta, y, inc_y }.run() }
}

/// y <- alpha op(A) x + beta y, for Fortran.
///
/// # Safety
/// As the reference BLAS has it: the operands are there.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dgemv_64_(
    trans: *const c_char, m: *const i64, n: *const i64, alpha: *const f64, a: *const f64, lda: *const i64,
    x: *const f64, inc_x: *const i64, beta: *const f64, y: *mut f64, inc_y: *const i64,
) {
    // SAFETY: the caller's promise.
    unsafe { FortranGemv { trans, m, n, alpha, a, lda, x, inc_x, beta, y, inc_y }.run() }
}
