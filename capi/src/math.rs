//! Functions over arrays.

use crate::gemm::{Mutable, kernels_view_mut};
use crate::status::{Failure, activation, function, guard, kernels_status};
use kernels::{Backend, Saved};
use std::slice;

/// The elements of an array that is read.
///
/// # Safety
/// As [`slice::from_raw_parts`], where there are any.
pub(crate) unsafe fn array<'a, T>(what: &str, data: *const T, len: usize) -> Result<&'a [T], Failure> {
    check(what, data, len)?;
    // SAFETY: checked, the rest is the caller's promise.
    Ok(if len == 0 { &[] } else { unsafe { slice::from_raw_parts(data, len) } })
}

/// The elements of an array that is written.
///
/// # Safety
/// As [`slice::from_raw_parts_mut`], where there are any.
unsafe fn array_mut<'a, T>(what: &str, data: *mut T, len: usize) -> Result<&'a mut [T], Failure> {
    check(what, data, len)?;
    // SAFETY: checked, the rest is the caller's promise.
    Ok(if len == 0 { &mut [] } else { unsafe { slice::from_raw_parts_mut(data, len) } })
}

/// What can be checked of an array.
pub(crate) fn check<T>(what: &str, data: *const T, len: usize) -> Result<(), Failure> {
    if len > 0 && data.is_null() {
        return Err(Failure::null(what));
    }
    let fits = len.checked_mul(size_of::<T>()).is_some_and(|bytes| isize::try_from(bytes).is_ok());
    if fits && (len == 0 || data.is_aligned()) {
        return Ok(());
    }
    let why = format!("{what} at {data:p} with {len} elements overflows, or is not aligned");
    Err(Failure::new(kernels_status::KERNELS_LAYOUT, why))
}

/// `y[i] = function(x[i])` for `len` elements, on the calling thread; `y` is `x`, or apart from it. `function` is a
/// kernels_function; `parameter` is that of leaky ReLU and ELU, and else ignored.
///
/// # Safety
/// `len` elements of `x` can be read, and of `y` written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kernels_map_f32(
    function: i32, parameter: f32, x: *const f32, y: *mut f32, len: usize,
) -> kernels_status {
    guard(|| {
        let f = self::function(function, parameter)?;
        let backend = Backend::active()?;
        check("x", x, len)?;
        // SAFETY: the caller's promise.
        let y = unsafe { array_mut("y", y, len) }?;
        if std::ptr::eq(x, y.as_ptr()) {
            backend.map(f, y);
        } else {
            // SAFETY: the caller's promise; it does not overlap y.
            backend.map_into(f, unsafe { array("x", x, len) }?, y)?;
        }
        Ok(())
    })
}

/// The gradient through an activation: `dy[i]` is multiplied by its derivative, computed from `saved`, the output of
/// the activation or its input, whichever kernels_saves_output tells.
///
/// # Safety
/// `len` elements of `saved` can be read, and of `dy` written; they do not overlap.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kernels_activation_backward_f32(
    function: i32, parameter: f32, saved: *const f32, dy: *mut f32, len: usize,
) -> kernels_status {
    guard(|| {
        let f = activation(function, parameter)?;
        // SAFETY: the caller's promise.
        let (saved, dy) = unsafe { (array("saved", saved, len)?, array_mut("dy", dy, len)?) };
        Ok(Backend::active()?.activation_backward(f, saved, dy)?)
    })
}

/// What the derivative of an activation is computed from: 1 for its output, 0 for its input, -1 for no activation.
#[unsafe(no_mangle)]
pub extern "C" fn kernels_saves_output(function: i32) -> i32 {
    let mut answer = -1;
    guard(|| {
        answer = i32::from(activation(function, 0.0)?.saved() == Saved::Output);
        Ok(())
    });
    answer
}

/// e^(x - max) / sum e^(x - max) along each row, in place.
///
/// # Safety
/// `x` is null or points to a view whose elements can be read and written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kernels_softmax_f32(x: *const kernels_view_mut<f32>) -> kernels_status {
    guard(|| {
        // SAFETY: the caller's promise.
        let x = unsafe { Mutable::checked("x", x)?.view() };
        Backend::active()?.softmax(x);
        Ok(())
    })
}
