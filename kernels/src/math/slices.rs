//! Runs a function along memory: whole vectors, then one masked one.

use crate::simd::SimdF32;

/// A function of one float.
pub(crate) trait Unary {
    /// The function, lane by lane.
    fn eval<S: SimdF32>(s: S, x: S::V) -> S::V;
}

/// Applies `F` in place.
///
/// # Safety
/// The row that `S` belongs to is supported by this CPU.
pub(super) unsafe fn unary<S: SimdF32, F: Unary>(x: &mut [f32]) {
    // SAFETY: the caller's promise.
    let s = unsafe { S::assume() };
    let (p, len) = (x.as_mut_ptr(), x.len());
    s.run(
        #[inline(always)]
        || {
            vectors(
                s,
                len,
                #[inline(always)]
                |i, mask| {
                    // SAFETY: `vectors` gives places in the slice.
                    unsafe {
                        let p = p.add(i);
                        match mask {
                            None => s.store(p, F::eval(s, s.load(p))),
                            Some(mask) => s.store_masked(p, mask, F::eval(s, s.load_masked(p, mask))),
                        }
                    }
                },
            );
        },
    );
}

/// Calls `f` for the start of each whole vector of `0..len`, and with a mask for the rest.
#[inline(always)]
pub(super) fn vectors<S: SimdF32>(s: S, len: usize, f: impl Fn(usize, Option<S::Mask>)) {
    let whole = len / S::LANES * S::LANES;
    for i in (0..whole).step_by(S::LANES) {
        f(i, None);
    }
    if whole < len {
        f(whole, Some(s.first(len - whole)));
    }
}

/// `out[i] = bytes[i] * scale`.
///
/// # Safety
/// The row that `S` belongs to is supported by this CPU; the lengths are equal.
pub(super) unsafe fn scale_bytes<S: SimdF32>(bytes: &[u8], scale: f32, out: &mut [f32]) {
    // SAFETY: the caller's promise.
    let s = unsafe { S::assume() };
    let whole = bytes.len() / S::LANES * S::LANES;
    let (from, to) = (bytes.as_ptr(), out.as_mut_ptr());
    s.run(
        #[inline(always)]
        || {
            let scale = s.splat(scale);
            vectors(
                s,
                whole,
                #[inline(always)]
                |i, _| {
                    // SAFETY: whole vectors of both slices.
                    unsafe { s.store(to.add(i), s.mul(s.load_bytes(from.add(i)), scale)) }
                },
            );
        },
    );
    for (to, from) in out[whole..].iter_mut().zip(&bytes[whole..]) {
        *to = f32::from(*from) * scale;
    }
}
