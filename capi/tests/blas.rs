//! The BLAS names against the definition of a product, on bits: sizes to 300, all orders and transposes, leading
//! dimensions larger than needed, increments of both signs, and NaN wherever nothing may be read.

#![cfg(feature = "blas")]

use kernels::reference::{Entry, definition};
use kernels::{Activation, Element};
use kernels_c::*;
use std::cell::Cell;
use std::ffi::{CStr, c_char, c_int, c_void};

thread_local! {
    static ERROR: Cell<(i64, [u8; 6])> = const { Cell::new((0, [0; 6])) };
}

/// The error handler of the program, as the library finds it: this is one.
#[unsafe(no_mangle)]
unsafe extern "C" fn xerbla_(name: *const c_char, info: *const c_void, len: usize) {
    assert_eq!(len, 6);
    // SAFETY: the library passes six letters with a NUL, and a 32-bit integer.
    let (name, info) = unsafe { (CStr::from_ptr(name), *info.cast::<i32>()) };
    ERROR.set((info.into(), name.to_bytes().try_into().unwrap()));
}

/// The same for 64-bit integers.
#[unsafe(no_mangle)]
unsafe extern "C" fn xerbla_64_(name: *const c_char, info: *const c_void, len: usize) {
    assert_eq!(len, 6);
    // SAFETY: as above, with a 64-bit integer.
    let (name, info) = unsafe { (CStr::from_ptr(name), *info.cast::<i64>()) };
    ERROR.set((info, name.to_bytes().try_into().unwrap()));
}

/// The routines of an element type, by a common signature.
trait Blas: Element + std::fmt::Debug {
    fn gemm(name: Name, call: &Gemm<Self>);
    fn gemv(name: Name, call: &Gemv<Self>);
    fn number(x: f64) -> Self;
    fn same(self, other: Self) -> bool;
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Name {
    Cblas,
    Cblas64,
    Fortran,
    Fortran64,
}

#[derive(Debug, Clone, Copy)]
struct Gemm<T> {
    order: c_int,
    ta: c_int,
    tb: c_int,
    m: i64,
    n: i64,
    k: i64,
    alpha: T,
    a: *const T,
    lda: i64,
    b: *const T,
    ldb: i64,
    beta: T,
    c: *mut T,
    ldc: i64,
}

#[derive(Debug, Clone, Copy)]
struct Gemv<T> {
    order: c_int,
    t: c_int,
    m: i64,
    n: i64,
    alpha: T,
    a: *const T,
    lda: i64,
    x: *const T,
    inc_x: i64,
    beta: T,
    y: *mut T,
    inc_y: i64,
}

/// CBLAS's number of a transpose as a letter, in both cases by turns.
fn letter(t: c_int, lower: bool) -> c_char {
    let letter = [b'N', b'T', b'C'].get((t - 111) as usize).copied().unwrap_or(b'X');
    if lower { letter.to_ascii_lowercase() as c_char } else { letter as c_char }
}

macro_rules! routines {
    (
        $t:ty, $gemm:ident, $gemm64:ident, $gemm_:ident, $gemm64_:ident,
        $gemv:ident, $gemv64:ident, $gemv_:ident, $gemv64_:ident
    ) => {
        impl Blas for $t {
            fn gemm(name: Name, x: &Gemm<Self>) {
                let Gemm { order, ta, tb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc } = *x;
                let i = |v: i64| v as i32;
                let (la, lb) = (letter(ta, m % 2 == 0), letter(tb, n % 2 == 0));
                // SAFETY: the tests make operands that are there.
                unsafe {
                    match name {
                        Name::Cblas => {
                            $gemm(order, ta, tb, i(m), i(n), i(k), alpha, a, i(lda), b, i(ldb), beta, c, i(ldc))
                        }
                        Name::Cblas64 => $gemm64(order, ta, tb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc),
                        Name::Fortran => {
                            $gemm_(&la, &lb, &i(m), &i(n), &i(k), &alpha, a, &i(lda), b, &i(ldb), &beta, c, &i(ldc))
                        }
                        Name::Fortran64 => $gemm64_(&la, &lb, &m, &n, &k, &alpha, a, &lda, b, &ldb, &beta, c, &ldc),
                    }
                }
            }
            fn gemv(name: Name, v: &Gemv<Self>) {
                let Gemv { order, t, m, n, alpha, a, lda, x, inc_x, beta, y, inc_y } = *v;
                let i = |v: i64| v as i32;
                let l = letter(t, m % 2 == 0);
                // SAFETY: as above.
                unsafe {
                    match name {
                        Name::Cblas => $gemv(order, t, i(m), i(n), alpha, a, i(lda), x, i(inc_x), beta, y, i(inc_y)),
                        Name::Cblas64 => $gemv64(order, t, m, n, alpha, a, lda, x, inc_x, beta, y, inc_y),
                        Name::Fortran => {
                            $gemv_(&l, &i(m), &i(n), &alpha, a, &i(lda), x, &i(inc_x), &beta, y, &i(inc_y));
                        }
                        Name::Fortran64 => $gemv64_(&l, &m, &n, &alpha, a, &lda, x, &inc_x, &beta, y, &inc_y),
                    }
                }
            }
            fn number(x: f64) -> Self {
                x as $t
            }
            fn same(self, other: Self) -> bool {
                self.to_bits() == other.to_bits() || self.is_nan() && other.is_nan()
            }
        }
    };
}
#[rustfmt::skip]
routines!(f32, cblas_sgemm, cblas_sgemm_64, sgemm_, sgemm_64_, cblas_sgemv, cblas_sgemv_64, sgemv_, sgemv_64_);
#[rustfmt::skip]
routines!(f64, cblas_dgemm, cblas_dgemm_64, dgemm_, dgemm_64_, cblas_dgemv, cblas_dgemv_64, dgemv_, dgemv_64_);

const ROW: c_int = 101;
const COL: c_int = 102;
const NAMES: [Name; 4] = [Name::Cblas, Name::Cblas64, Name::Fortran, Name::Fortran64];

/// Numbers without a pattern.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 33
    }
    fn number<T: Blas>(&mut self) -> T {
        T::number(self.next() as f64 / (1u64 << 30) as f64 - 1.0)
    }
    fn of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.next() as usize % choices.len()]
    }
}

/// A stored matrix of `lines` lines of `len` elements, `ld` apart, NaN between them.
fn stored<T: Blas>(random: &mut Random, lines: usize, len: usize, ld: usize) -> Vec<T> {
    let nan = T::number(f64::NAN);
    (0..lines * ld).map(|i| if i % ld < len { random.number() } else { nan }).collect()
}

/// Element (i, j) of op(X).
fn at(order: c_int, t: c_int, ld: usize, i: usize, j: usize) -> usize {
    let (i, j) = if t == 111 { (i, j) } else { (j, i) };
    if order == ROW { i * ld + j } else { j * ld + i }
}

fn check_gemm<T: Blas>(random: &mut Random, (m, n, k): (usize, usize, usize)) {
    for order in [ROW, COL] {
        for ta in 111..=113 {
            for tb in 111..=113 {
                // Of a stored X, the number of lines and their length.
                let lines = |t: c_int, rows, cols| match (t == 111) == (order == ROW) {
                    true => (rows, cols),
                    false => (cols, rows),
                };
                let (alpha, beta) =
                    random.of(&[(1.0, 0.0), (1.0, 1.0), (0.7, -1.3), (0.0, 0.5), (0.0, 0.0), (-2.0, 0.0)]);
                let ((la, wa), (lb, wb), (lc, wc)) = (lines(ta, m, k), lines(tb, k, n), lines(111, m, n));
                let mut ld = |width: usize| (width + random.of(&[0, 0, 1, 7])).max(1);
                let (lda, ldb, ldc) = (ld(wa), ld(wb), ld(wc));
                let (mut a, mut b): (Vec<T>, Vec<T>) = (stored(random, la, wa, lda), stored(random, lb, wb, ldb));
                let mut c: Vec<T> = stored(random, lc, wc, ldc);
                let nan = T::number(f64::NAN);
                if alpha == 0.0 {
                    a.fill(nan);
                    b.fill(nan);
                }
                if beta == 0.0 {
                    c.fill(nan);
                }
                let (alpha, beta) = (T::number(alpha), T::number(beta));
                let names = if order == ROW { &NAMES[..2] } else { &NAMES };
                let name = random.of(names);
                let before = c.clone();
                let call = Gemm {
                    order,
                    ta,
                    tb,
                    m: m as i64,
                    n: n as i64,
                    k: k as i64,
                    alpha,
                    a: a.as_ptr(),
                    lda: lda as i64,
                    b: b.as_ptr(),
                    ldb: ldb as i64,
                    beta,
                    c: c.as_mut_ptr(),
                    ldc: ldc as i64,
                };
                T::gemm(name, &call);
                let mut want = before.clone();
                let quick = (alpha == T::ZERO || k == 0) && beta == T::ONE;
                for j in 0..if quick { 0 } else { n } {
                    let column: Vec<T> = (0..k).map(|p| b[at(order, tb, ldb, p, j)]).collect();
                    for i in 0..m {
                        let row: Vec<T> = (0..k).map(|p| a[at(order, ta, lda, i, p)]).collect();
                        let c = &mut want[at(order, 111, ldc, i, j)];
                        let activation = Activation::Identity;
                        *c = definition(&Entry { a: &row, b: &column, c: *c, alpha, beta, bias: None, activation });
                    }
                }
                let wrong = c.iter().zip(&want).position(|(&c, &w)| !c.same(w));
                assert!(wrong.is_none(), "{name:?} {call:?}: place {wrong:?} of C is wrong");
            }
        }
    }
}

#[test]
fn products_are_those_of_the_definition() {
    let mut random = Random(1);
    let sizes = [0, 1, 2, 3, 5, 6, 7, 8, 9, 15, 16, 17, 24, 25, 31, 33, 48, 63, 65];
    for _ in 0..120 {
        let shape = (random.of(&sizes), random.of(&sizes), random.of(&sizes));
        check_gemm::<f32>(&mut random, shape);
        check_gemm::<f64>(&mut random, shape);
    }
    for shape in [(300, 300, 300), (300, 1, 257), (1, 300, 300), (129, 200, 64), (65, 129, 300)] {
        check_gemm::<f32>(&mut random, shape);
    }
    check_gemm::<f64>(&mut random, (100, 129, 300));
    for k in 250..262 {
        check_gemm::<f32>(&mut random, (7, 17, k));
    }
}

#[test]
fn threads_do_not_move_bits() {
    kernels_set_num_threads(3);
    assert_eq!(kernels_get_num_threads(), 3);
    check_gemm::<f32>(&mut Random(2), (190, 211, 128));
    kernels_set_num_threads(1);
}

fn check_gemv<T: Blas>(random: &mut Random, (m, n): (usize, usize)) {
    for order in [ROW, COL] {
        for t in 111..=113 {
            for (inc_x, inc_y) in [(1_isize, 1_isize), (2, 1), (1, 3), (-1, 1), (1, -1), (-2, -3)] {
                let (rows, k) = if t == 111 { (m, n) } else { (n, m) };
                let (lines, width) = if order == ROW { (m, n) } else { (n, m) };
                let (alpha, beta) = random.of(&[(1.0, 0.0), (1.0, 1.0), (0.7, -1.3), (0.0, 0.5), (0.0, 0.0)]);
                let lda = (width + random.of(&[0, 3])).max(1);
                let mut a: Vec<T> = stored(random, lines, width, lda);
                let mut x: Vec<T> = stored(random, k, 1, inc_x.unsigned_abs());
                let mut y: Vec<T> = stored(random, rows, 1, inc_y.unsigned_abs());
                let nan = T::number(f64::NAN);
                if alpha == 0.0 {
                    a.fill(nan);
                    x.fill(nan);
                }
                if beta == 0.0 {
                    y.fill(nan);
                }
                let place = |len: usize, inc: isize, i: usize| match inc > 0 {
                    true => i * inc.unsigned_abs(),
                    false => (len - 1 - i) * inc.unsigned_abs(),
                };
                let (alpha, beta) = (T::number(alpha), T::number(beta));
                let name = random.of(if order == ROW { &NAMES[..2] } else { &NAMES });
                let before = y.clone();
                let call = Gemv {
                    order,
                    t,
                    m: m as i64,
                    n: n as i64,
                    alpha,
                    a: a.as_ptr(),
                    lda: lda as i64,
                    x: x.as_ptr(),
                    inc_x: inc_x as i64,
                    beta,
                    y: y.as_mut_ptr(),
                    inc_y: inc_y as i64,
                };
                T::gemv(name, &call);
                let mut want = before.clone();
                // Nothing is done where A is empty, not even to y.
                let quick = m == 0 || n == 0 || alpha == T::ZERO && beta == T::ONE;
                let column: Vec<T> = (0..if quick { 0 } else { k }).map(|p| x[place(k, inc_x, p)]).collect();
                for i in 0..if quick { 0 } else { rows } {
                    let row: Vec<T> = (0..k).map(|p| a[at(order, t, lda, i, p)]).collect();
                    let y = &mut want[place(rows, inc_y, i)];
                    let activation = Activation::Identity;
                    *y = definition(&Entry { a: &row, b: &column, c: *y, alpha, beta, bias: None, activation });
                }
                let wrong = y.iter().zip(&want).position(|(&c, &w)| !c.same(w));
                assert!(wrong.is_none(), "{name:?} {call:?}: place {wrong:?} of y is wrong");
            }
        }
    }
}

#[test]
fn matrix_vector_products_are_those_of_the_definition() {
    let mut random = Random(3);
    let sizes = [0, 1, 2, 3, 7, 8, 9, 16, 17, 33, 64, 100, 257, 300];
    for _ in 0..40 {
        let shape = (random.of(&sizes), random.of(&sizes));
        check_gemv::<f32>(&mut random, shape);
        check_gemv::<f64>(&mut random, shape);
    }
}

/// What is reported of a call, and the name of the routine.
fn error_of(call: impl FnOnce()) -> (i64, String) {
    ERROR.set((0, [0; 6]));
    call();
    let (info, name) = ERROR.get();
    (info, String::from_utf8(name.to_vec()).unwrap())
}

#[test]
fn arguments_are_checked_in_the_order_of_the_reference() {
    // Two giants of sizes: only checked, never touched.
    const HUGE: i64 = i32::MAX as i64;
    let null = std::ptr::null_mut::<f32>();
    let good = Gemm {
        order: COL,
        ta: 111,
        tb: 111,
        m: 2,
        n: 3,
        k: 4,
        alpha: 1.0,
        a: null,
        lda: 2,
        b: null,
        ldb: 4,
        beta: 0.0,
        c: null,
        ldc: 2,
    };
    for name in [Name::Fortran, Name::Fortran64] {
        for (info, bad) in [
            (1, Gemm { ta: 120, m: -1, ..good }),
            (2, Gemm { tb: 120, m: -1, ..good }),
            (3, Gemm { m: -1, n: -1, ..good }),
            (4, Gemm { n: -1, k: -1, ..good }),
            (5, Gemm { k: -1, lda: 0, ..good }),
            (8, Gemm { lda: 1, ldb: 0, ..good }),
            (8, Gemm { ta: 112, lda: 3, ..good }),
            (8, Gemm { m: HUGE, lda: HUGE - 1, ..good }),
            (10, Gemm { ldb: 3, ldc: 0, ..good }),
            (10, Gemm { tb: 113, ldb: 2, ..good }),
            (10, Gemm { k: HUGE, ldb: HUGE - 1, ..good }),
            (13, Gemm { ldc: 1, ..good }),
            (13, Gemm { m: 0, ldc: 0, ..good }),
            // Nothing to do, however large.
            (0, Gemm { m: 0, n: HUGE, k: HUGE, ldb: HUGE, ..good }),
            (0, Gemm { m: HUGE, lda: HUGE, ldc: HUGE, n: 0, ..good }),
            (0, Gemm { m: HUGE, n: HUGE, k: HUGE, lda: HUGE, ldb: HUGE, ldc: HUGE, alpha: 0.0, beta: 1.0, ..good }),
            (0, Gemm { m: HUGE, n: HUGE, k: 0, lda: HUGE, ldb: HUGE, ldc: HUGE, beta: 1.0, ..good }),
        ] {
            let (found, routine) = error_of(|| f32::gemm(name, &bad));
            assert_eq!(found, info, "{name:?} {bad:?}");
            assert!(found == 0 || routine == "SGEMM ");
        }
    }
    let good = Gemv {
        order: COL,
        t: 111,
        m: 2,
        n: 3,
        alpha: 1.0,
        a: null,
        lda: 2,
        x: null,
        inc_x: 1,
        beta: 0.0,
        y: null,
        inc_y: 1,
    };
    for name in [Name::Fortran, Name::Fortran64] {
        for (info, bad) in [
            (1, Gemv { t: 120, m: -1, ..good }),
            (2, Gemv { m: -1, n: -1, ..good }),
            (3, Gemv { n: -1, lda: 0, ..good }),
            (6, Gemv { lda: 1, inc_x: 0, ..good }),
            (8, Gemv { inc_x: 0, inc_y: 0, ..good }),
            (11, Gemv { inc_y: 0, ..good }),
            (0, Gemv { m: 0, n: HUGE, ..good }),
            (0, Gemv { m: HUGE, n: HUGE, lda: HUGE, alpha: 0.0, beta: 1.0, ..good }),
        ] {
            let (found, routine) = error_of(|| f32::gemv(name, &bad));
            assert_eq!(found, info, "{name:?} {bad:?}");
            assert!(found == 0 || routine == "SGEMV ");
        }
    }
    // A row-major product is the Fortran call with both operands swapped, and so are the arguments that it reports.
    let good = Gemm {
        order: ROW,
        ta: 111,
        tb: 111,
        m: 2,
        n: 3,
        k: 4,
        alpha: 1.0,
        a: null,
        lda: 4,
        b: null,
        ldb: 3,
        beta: 0.0,
        c: null,
        ldc: 3,
    };
    for (info, bad) in [
        (4, Gemm { m: -1, ..good }),
        (3, Gemm { n: -1, m: -1, ..good }),
        (10, Gemm { lda: 3, ..good }),
        (8, Gemm { ldb: 2, lda: 0, ..good }),
        (13, Gemm { ldc: 2, ..good }),
    ] {
        assert_eq!(error_of(|| f32::gemm(Name::Cblas, &bad)).0, info, "{bad:?}");
    }
}

#[test]
fn strides_of_two_to_the_31_do_not_overflow() {
    // Two columns 8 GiB apart, in memory that is only reserved: all arithmetic on 32-bit sizes would wrap.
    let ld = i64::from(i32::MAX);
    let bytes = (ld as usize + 4) * size_of::<f32>();
    // SAFETY: a private mapping, of which two pages are ever touched.
    let map = unsafe { mmap(std::ptr::null_mut(), bytes, 3, MAP_PRIVATE_ANON_NORESERVE, -1, 0) };
    if map as isize == -1 {
        return; // An address space, or a machine, that is too small for it.
    }
    let c = map.cast::<f32>();
    let (a, b) = ([1.0_f32, 2.0], [3.0_f32, 5.0]);
    let call = Gemm {
        order: COL,
        ta: 111,
        tb: 111,
        m: 2,
        n: 2,
        k: 1,
        alpha: 1.0,
        a: a.as_ptr(),
        lda: ld,
        b: b.as_ptr(),
        ldb: 1,
        beta: 0.0,
        c,
        ldc: ld,
    };
    for name in NAMES {
        f32::gemm(name, &call);
        // SAFETY: both columns lie in the mapping.
        let found = unsafe { [*c, *c.add(1), *c.add(ld as usize), *c.add(ld as usize + 1)] };
        assert_eq!(found, [3.0, 6.0, 5.0, 10.0], "{name:?}");
        // SAFETY: as above.
        unsafe { (*c.add(ld as usize), *c.add(ld as usize + 1)) = (0.0, 0.0) };
    }
    // SAFETY: the mapping from above.
    unsafe { munmap(map, bytes) };
}

unsafe extern "C" {
    fn mmap(at: *mut c_void, bytes: usize, protection: c_int, flags: c_int, file: c_int, offset: i64) -> *mut c_void;
    fn munmap(at: *mut c_void, bytes: usize) -> c_int;
}
/// Of Linux, where the test runs.
const MAP_PRIVATE_ANON_NORESERVE: c_int = 0x2 | 0x20 | 0x4000;

#[test]
fn a_batch_is_its_products() {
    let mut random = Random(4);
    let (m, n, k, count) = (5, 7, 9, 4);
    for order in [ROW, COL] {
        let (ldc, c_lines) = if order == ROW { (n + 1, m) } else { (m + 1, n) };
        let (lda, ldb) = if order == ROW { (k, n) } else { (m, k) };
        let a: Vec<f32> = stored(&mut random, count, m * k, m * k);
        let b: Vec<f32> = stored(&mut random, 1, k * n, k * n);
        let stride_c = c_lines * ldc;
        let mut c = vec![f32::NAN; count * stride_c];
        let i = |x: usize| x as i32;
        // SAFETY: one B for all, and `count` matrices A and C.
        unsafe {
            cblas_sgemm_batch_strided(
                order,
                111,
                111,
                i(m),
                i(n),
                i(k),
                1.0,
                a.as_ptr(),
                i(lda),
                i(m * k),
                b.as_ptr(),
                i(ldb),
                0,
                0.0,
                c.as_mut_ptr(),
                i(ldc),
                i(stride_c),
                i(count),
            );
        }
        for at in 0..count {
            let mut want = vec![f32::NAN; stride_c];
            // SAFETY: as above.
            unsafe {
                cblas_sgemm(
                    order,
                    111,
                    111,
                    i(m),
                    i(n),
                    i(k),
                    1.0,
                    a[at * m * k..].as_ptr(),
                    i(lda),
                    b.as_ptr(),
                    i(ldb),
                    0.0,
                    want.as_mut_ptr(),
                    i(ldc),
                );
            }
            assert!(c[at * stride_c..][..stride_c].iter().zip(&want).all(|(&x, &y)| x.same(y)), "{order} {at}");
        }
    }
}
