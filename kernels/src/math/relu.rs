//! ReLU, exact, and its gradient.

use super::slices::{self, Unary};
use crate::simd::SimdF32;

pub(super) struct Relu;

impl Unary for Relu {
    #[inline(always)]
    fn eval<S: SimdF32>(s: S, x: S::V) -> S::V {
        s.max(s.splat(0.0), x)
    }
}

#[inline(always)]
fn gate<S: SimdF32>(s: S, y: S::V, dy: S::V) -> S::V {
    let zero = s.splat(0.0);
    s.select(s.lt(zero, y), dy, zero)
}

/// `dy` becomes 0 where the output `y` is not positive.
///
/// # Safety
/// The row that `S` belongs to is supported by this CPU; the lengths are equal.
pub(super) unsafe fn backward<S: SimdF32>(y: &[f32], dy: &mut [f32]) {
    // SAFETY: the caller's promise.
    let s = unsafe { S::assume() };
    let (y, dy, len) = (y.as_ptr(), dy.as_mut_ptr(), y.len());
    s.run(
        #[inline(always)]
        || {
            slices::vectors(
                s,
                len,
                #[inline(always)]
                |i, mask| {
                    // SAFETY: `vectors` gives places in both slices.
                    unsafe {
                        let (y, dy) = (y.add(i), dy.add(i));
                        match mask {
                            None => s.store(dy, gate(s, s.load(y), s.load(dy))),
                            Some(mask) => {
                                s.store_masked(dy, mask, gate(s, s.load_masked(y, mask), s.load_masked(dy, mask)))
                            }
                        }
                    }
                },
            );
        },
    );
}

#[cfg(test)]
mod tests {
    use crate::Backend;

    #[test]
    fn relu_and_its_gradient() {
        let x = [-1.0, -0.0, 0.0, 2.0, f32::NAN, -f32::INFINITY, f32::INFINITY, -f32::from_bits(1)];
        for backend in Backend::supported() {
            let mut y = x;
            backend.relu(&mut y);
            assert!(y[4].is_nan());
            y[4] = 0.0;
            assert_eq!(y, [0.0, 0.0, 0.0, 2.0, 0.0, 0.0, f32::INFINITY, 0.0], "{backend:?}");
            let mut dy = [3.0; 8];
            backend.relu_backward(&y, &mut dy).unwrap();
            assert_eq!(dy, [0.0, 0.0, 0.0, 3.0, 0.0, 0.0, 3.0, 0.0], "{backend:?}");
            assert!(backend.relu_backward(&y, &mut dy[1..]).is_err());
        }
    }
}
