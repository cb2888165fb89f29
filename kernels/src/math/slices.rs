//! Runs a function along memory: whole vectors, then one masked one.

use crate::simd::SimdF32;

/// A function of one float.
pub(crate) trait Unary {
    /// The function, lane by lane.
    fn eval<S: SimdF32>(&self, s: S, x: S::V) -> S::V;
}

/// A function that layers of a network apply, with its derivative.
pub(crate) trait Activate: Unary {
    /// The derivative, lane by lane.
    fn slope<S: SimdF32>(&self, s: S, saved: S::V) -> S::V;
    /// The gradient `dy` through it.
    #[inline(always)]
    fn backward<S: SimdF32>(&self, s: S, saved: S::V, dy: S::V) -> S::V {
        s.mul(dy, self.slope(s, saved))
    }
}

/// Applies `f` to `len` elements of `x`; the results go to `y`, which may be `x`.
///
/// # Safety
/// The row that `S` belongs to is supported by this CPU; the elements of `x` are readable, those of `y` writable.
pub(super) unsafe fn unary<S: SimdF32, F: Unary>(f: &F, x: *const f32, y: *mut f32, len: usize) {
    // SAFETY: the caller's promise.
    let s = unsafe { S::assume() };
    s.run(
        #[inline(always)]
        || {
            aligned_vectors(
                s,
                y,
                len,
                #[inline(always)]
                |i, mask| {
                    // SAFETY: `vectors` gives places in the slices.
                    unsafe {
                        let (x, y) = (x.add(i), y.add(i));
                        match mask {
                            None => s.store(y, f.eval(s, s.load(x))),
                            Some(mask) => s.store_masked(y, mask, f.eval(s, s.load_masked(x, mask))),
                        }
                    }
                },
            );
        },
    );
}

/// Multiplies the gradient `dy` by the derivative of `f`, from what was saved of the forward pass.
///
/// # Safety
/// The row that `S` belongs to is supported by this CPU; the lengths are equal.
pub(super) unsafe fn backward<S: SimdF32, F: Activate>(f: &F, saved: &[f32], dy: &mut [f32]) {
    // SAFETY: the caller's promise.
    let s = unsafe { S::assume() };
    let (x, dy, len) = (saved.as_ptr(), dy.as_mut_ptr(), saved.len());
    s.run(
        #[inline(always)]
        || {
            aligned_vectors(
                s,
                dy,
                len,
                #[inline(always)]
                |i, mask| {
                    // SAFETY: `vectors` gives places in both slices.
                    unsafe {
                        let (x, dy) = (x.add(i), dy.add(i));
                        match mask {
                            None => s.store(dy, f.backward(s, s.load(x), s.load(dy))),
                            Some(mask) => {
                                let (x, d) = (s.load_masked(x, mask), s.load_masked(dy, mask));
                                s.store_masked(dy, mask, f.backward(s, x, d));
                            }
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
    vectors_from(s, 0, len, f);
}

/// The same for the elements at `p`, with a first vector that reaches up to an aligned address, where this pays: a vector
/// across two cache lines takes twice as long.
#[inline(always)]
fn aligned_vectors<S: SimdF32>(s: S, p: *const f32, len: usize, f: impl Fn(usize, Option<S::Mask>)) {
    let ahead = p.align_offset(S::LANES * size_of::<f32>());
    // Masked stores delay loads beside them; that is worth it for many vectors only.
    let long = 64 * S::LANES;
    if len < long || ahead == 0 || ahead >= S::LANES {
        return vectors_from(s, 0, len, f);
    }
    f(0, Some(s.first(ahead)));
    vectors_from(s, ahead, len, f);
}

#[inline(always)]
fn vectors_from<S: SimdF32>(s: S, start: usize, len: usize, f: impl Fn(usize, Option<S::Mask>)) {
    let whole = len - (len - start) % S::LANES;
    for i in (start..whole).step_by(S::LANES) {
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
