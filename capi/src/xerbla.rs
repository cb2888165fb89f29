//! Errors of BLAS calls: through the handler of the program where it has one.
//!
//! `xerbla_` and `cblas_xerbla` are weak references: the linker, or the loader of the process, fills in the program's
//! own, or that of the BLAS that it is linked with, and leaves null where there is none. Where they can't be had (not
//! ELF), and where there are none, a line on standard error names the argument and the call returns.

use crate::status;
use std::ffi::{CStr, c_char, c_int, c_void};

/// What is wrong with an argument.
pub(crate) struct Wrong {
    /// Its place in the column-major Fortran call that this is, from 1.
    pub fortran: i32,
    /// The same in the CBLAS call, which has the order before it, and in row-major order both operands swapped.
    pub cblas: i32,
}

/// The routine, as both worlds name it.
pub(crate) struct Names {
    /// Six letters, as Fortran passes them.
    pub fortran: &'static CStr,
    pub cblas: &'static CStr,
}

type Xerbla = unsafe extern "C" fn(*const c_char, *const c_void, usize);
type CblasXerbla = unsafe extern "C" fn(c_int, *const c_char, *const c_char, ...);
type CblasXerbla64 = unsafe extern "C" fn(i64, *const c_char, *const c_char, ...);

/// The address of a symbol that need not exist, or null.
macro_rules! weak {
    ($name:literal) => {{
        let address: *mut c_void;
        // SAFETY: reads an entry of the global offset table, which the linker makes and the loader fills.
        #[cfg(all(target_os = "linux", target_arch = "x86_64"))]
        unsafe {
            std::arch::asm!(
                concat!(".weak ", $name),
                concat!("mov {}, qword ptr [rip + ", $name, "@GOTPCREL]"),
                out(reg) address,
                options(nostack, preserves_flags, readonly)
            );
        }
        // SAFETY: as above.
        #[cfg(all(target_os = "linux", target_arch = "aarch64"))]
        unsafe {
            std::arch::asm!(
                concat!(".weak ", $name),
                concat!("adrp {0}, :got:", $name),
                concat!("ldr {0}, [{0}, :got_lo12:", $name, "]"),
                out(reg) address,
                options(nostack, preserves_flags, readonly)
            );
        }
        #[cfg(not(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64"))))]
        {
            address = std::ptr::null_mut();
        }
        address
    }};
}

fn say(routine: &CStr, parameter: i32) {
    status::say(format_args!("parameter {parameter} of {} has an illegal value", routine.to_string_lossy()));
}

/// An error of a Fortran call with integers of type `I`.
#[cold]
pub(crate) fn fortran<I: super::blas::Int>(names: &Names, wrong: &Wrong) {
    let address = if I::IS_64 { weak!("xerbla_64_") } else { weak!("xerbla_") };
    if address.is_null() {
        return say(names.fortran, wrong.fortran);
    }
    let info = I::from_i32(wrong.fortran);
    // SAFETY: this name has this type in every BLAS; Fortran passes the length of a string last.
    unsafe {
        let xerbla = std::mem::transmute::<*mut c_void, Xerbla>(address);
        xerbla(names.fortran.as_ptr(), (&raw const info).cast(), names.fortran.count_bytes());
    }
}

/// An error of a CBLAS call with integers of type `I`.
///
/// The reference reports the argument of the Fortran call that it makes, one further, and in row-major order tells its
/// handler by `RowMajorStrg` to swap it back. A handler that can't know (there is no such variable) gets the argument
/// of the call that was made.
#[cold]
pub(crate) fn cblas<I: super::blas::Int>(names: &Names, wrong: &Wrong, row_major: bool) {
    let handler = if I::IS_64 { weak!("cblas_xerbla_64") } else { weak!("cblas_xerbla") };
    if handler.is_null() {
        let xerbla = if I::IS_64 { weak!("xerbla_64_") } else { weak!("xerbla_") };
        if xerbla.is_null() || wrong.fortran == 0 {
            return say(names.cblas, wrong.cblas);
        }
        return fortran::<I>(names, wrong);
    }
    let swapped = weak!("RowMajorStrg").cast::<c_int>();
    let info = if swapped.is_null() || wrong.fortran == 0 { wrong.cblas } else { wrong.fortran + 1 };
    // SAFETY: these names have these types in every CBLAS; the flag is set for the handler alone, as the reference
    // does.
    unsafe {
        if !swapped.is_null() {
            swapped.write_volatile(c_int::from(row_major));
        }
        if I::IS_64 {
            let handler = std::mem::transmute::<*mut c_void, CblasXerbla64>(handler);
            handler(i64::from(info), names.cblas.as_ptr(), c"".as_ptr());
        } else {
            let handler = std::mem::transmute::<*mut c_void, CblasXerbla>(handler);
            handler(info, names.cblas.as_ptr(), c"".as_ptr());
        }
        if !swapped.is_null() {
            swapped.write_volatile(0);
        }
    }
}
