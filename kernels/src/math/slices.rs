//! Runs an operation along memory: whole vectors, and a masked one at each end.

use crate::simd::{SimdF32, WIDEST};

/// An operation that takes an element of each of `IN` slices and gives one for each of `OUT` slices.
pub(super) trait Elementwise<const IN: usize, const OUT: usize>: Copy {
    /// The operation, lane by lane: takes what it needs of the inputs, by their numbers, and gives each output once,
    /// after the input of the same slice. In what order decides how many values wait in registers.
    fn apply<S: SimdF32>(&self, s: S, x: impl Fn(usize) -> S::V, y: impl Fn(usize, S::V));
}

/// A function of one float.
pub(crate) trait Unary: Copy {
    /// The function, lane by lane.
    fn eval<S: SimdF32>(&self, s: S, x: S::V) -> S::V;
}

impl<F: Unary> Elementwise<1, 1> for F {
    #[inline(always)]
    fn apply<S: SimdF32>(&self, s: S, x: impl Fn(usize) -> S::V, y: impl Fn(usize, S::V)) {
        y(0, self.eval(s, x(0)));
    }
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

/// The gradient through an activation: from what was saved of the forward pass, and the gradient of the output.
#[derive(Clone, Copy)]
pub(super) struct Backward<F>(pub F);

impl<F: Activate> Elementwise<2, 1> for Backward<F> {
    #[inline(always)]
    fn apply<S: SimdF32>(&self, s: S, x: impl Fn(usize) -> S::V, y: impl Fn(usize, S::V)) {
        y(0, self.0.backward(s, x(0), x(1)));
    }
}

/// Applies `f` to `len` elements of each of `x`; the results go to `y`, which may be among `x`.
///
/// The operation stands in the code once, in a loop over whole vectors; the ends of the slices come to it through a
/// buffer. With a copy for each case, the library would take twice as long to compile.
///
/// # Safety
/// The row that `S` belongs to is supported by this CPU; the elements of `x` are readable, those of `y` writable.
pub(super) unsafe fn each<S: SimdF32, F: Elementwise<IN, OUT>, const IN: usize, const OUT: usize>(
    f: &F,
    x: [*const f32; IN],
    y: [*mut f32; OUT],
    len: usize,
) {
    // SAFETY: the caller's promise.
    let s = unsafe { S::assume() };
    s.run(
        #[inline(always)]
        || {
            // A value of its own, which no store to `y` can change: its numbers stay in registers.
            let f = *f;
            const { assert!(S::LANES <= WIDEST) };
            let (mut inputs, mut outputs) = ([[0.0; WIDEST]; IN], [[0.0; WIDEST]; OUT]);
            let mut i = 0;
            // Elements that are less than a vector, and come next.
            let mut rest = if len < S::LANES { len } else { ahead::<S>(y[0], len) };
            while i < len {
                let mask = s.first(rest);
                let (mut from, mut to) = (x, y);
                for (from, input) in from.iter_mut().zip(&mut inputs) {
                    *from = from.wrapping_add(i);
                    if rest > 0 {
                        // SAFETY: `rest` elements from i on, below len; a vector has at most WIDEST lanes.
                        unsafe { s.store(input.as_mut_ptr(), s.load_masked(*from, mask)) };
                        *from = input.as_ptr();
                    }
                }
                for (to, output) in to.iter_mut().zip(&mut outputs) {
                    *to = if rest > 0 { output.as_mut_ptr() } else { to.wrapping_add(i) };
                }
                let n = if rest > 0 { S::LANES } else { (len - i) / S::LANES * S::LANES };
                for j in (0..n).step_by(S::LANES) {
                    f.apply(
                        s,
                        #[inline(always)]
                        // SAFETY: a vector of the buffer, or of n elements from i on.
                        |input| unsafe { s.load(from[input].wrapping_add(j)) },
                        #[inline(always)]
                        // SAFETY: as above.
                        |output, v| unsafe { s.store(to[output].wrapping_add(j), v) },
                    );
                }
                if rest > 0 {
                    for (y, output) in y.iter().zip(&outputs) {
                        // SAFETY: `rest` elements from i on, below len.
                        unsafe { s.store_masked(y.wrapping_add(i), mask, s.load(output.as_ptr())) };
                    }
                    (i, rest) = (i + rest, 0);
                } else {
                    i += n;
                    rest = len - i;
                }
            }
        },
    );
}

/// How many elements come before an aligned address, where it pays to start there: a vector across two cache lines
/// takes twice as long, but masked stores delay loads beside them.
#[inline(always)]
fn ahead<S: SimdF32>(p: *const f32, len: usize) -> usize {
    let ahead = p.align_offset(S::LANES * size_of::<f32>());
    if len >= 64 * S::LANES && ahead < S::LANES { ahead } else { 0 }
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
            for i in (0..whole).step_by(S::LANES) {
                // SAFETY: whole vectors of both slices.
                unsafe { s.store(to.add(i), s.mul(s.load_bytes(from.add(i)), scale)) }
            }
        },
    );
    for (to, from) in out[whole..].iter_mut().zip(&bytes[whole..]) {
        *to = f32::from(*from) * scale;
    }
}

#[cfg(test)]
mod tests {
    use crate::Backend;

    #[test]
    fn bytes_become_numbers_at_every_length() {
        let bytes: Vec<u8> = (0..=u8::MAX).chain((0..=u8::MAX).rev()).collect();
        for backend in Backend::supported() {
            for len in (0..68).chain([bytes.len()]) {
                let (bytes, mut out) = (&bytes[512 - len..], vec![f32::NAN; len]);
                backend.scale_bytes(bytes, 1.0 / 255.0, &mut out).unwrap();
                let expected: Vec<f32> = bytes.iter().map(|&byte| f32::from(byte) * (1.0 / 255.0)).collect();
                assert_eq!(out, expected, "{backend:?}, {len} bytes");
            }
            assert!(backend.scale_bytes(&bytes, 1.0, &mut [0.0; 511]).is_err());
        }
    }
}
