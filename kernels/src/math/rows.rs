//! Functions of a row: reductions, softmax, and softmax with cross-entropy.
//!
//! A sum is taken in [`GROUP`] lanes, element i going to lane i mod `GROUP` in increasing i, and the lanes are then
//! halved (lane l takes lane l + 8, l + 4, l + 2, l + 1): the same order on every row of the table.

use super::exp::Exp;
use super::ln::Ln;
use super::slices::Unary;
use crate::simd::{GROUP, SimdF32};
use crate::view::{MatMut, MatRef};

/// A matrix whose rows are worked on: as [`MatMut`], with the obligations passed on to the caller.
#[derive(Clone, Copy)]
pub(crate) struct Rows {
    ptr: *mut f32,
    rows: usize,
    cols: usize,
    row: isize,
    col: isize,
}

impl Rows {
    pub(super) fn new(mut x: MatMut<'_, f32>) -> Self {
        Self { rows: x.rows(), cols: x.cols(), row: x.row_stride(), col: x.col_stride(), ptr: x.as_mut_ptr() }
    }

    /// Calls `f` with the elements of each row side by side: in place where they are, on a copy where they are not.
    ///
    /// # Safety
    /// The elements are reached through `self` alone.
    #[inline(always)]
    unsafe fn each(self, mut f: impl FnMut(usize, &mut [f32])) {
        let mut copy = if self.col == 1 { Vec::new() } else { vec![0.0; self.cols] };
        for i in 0..self.rows {
            let row = self.ptr.wrapping_offset(i as isize * self.row);
            if self.col == 1 {
                // SAFETY: the elements of row i, adjacent; the caller's promise.
                f(i, unsafe { std::slice::from_raw_parts_mut(row, self.cols) });
                continue;
            }
            let at = |j: usize| row.wrapping_offset(j as isize * self.col);
            // SAFETY: an element of row i.
            copy.iter_mut().enumerate().for_each(|(j, x)| *x = unsafe { *at(j) });
            f(i, &mut copy);
            // SAFETY: an element of row i.
            copy.iter().enumerate().for_each(|(j, x)| unsafe { *at(j) = *x });
        }
    }
}

/// Folds a row in [`GROUP`] lanes that start at `start`; elements that are not there count as `start`, too. The result
/// is in every lane.
#[inline(always)]
fn fold<S: SimdF32>(s: S, x: &[f32], start: f32, f: impl Fn(S::V, S::V) -> S::V) -> S::V {
    const { assert!(GROUP / S::LANES <= 4) };
    let pad = s.splat(start);
    let mut lanes = [pad; 4];
    for group in x.chunks(GROUP) {
        for (v, lane) in lanes[..GROUP / S::LANES].iter_mut().enumerate() {
            let at = v * S::LANES;
            if at + S::LANES <= group.len() {
                // SAFETY: a whole vector of the group.
                *lane = f(*lane, unsafe { s.load(group.as_ptr().add(at)) });
            } else if at < group.len() {
                let mask = s.first(group.len() - at);
                // SAFETY: the masked lanes are in the group.
                let x = unsafe { s.load_masked(group.as_ptr().add(at), mask) };
                *lane = f(*lane, s.select(mask, x, pad));
            }
        }
    }
    let all = match GROUP / S::LANES {
        1 => lanes[0],
        2 => f(lanes[0], lanes[1]),
        _ => f(f(lanes[0], lanes[2]), f(lanes[1], lanes[3])),
    };
    let all = halve::<S, 8>(s, all, &f);
    let all = halve::<S, 4>(s, all, &f);
    let all = halve::<S, 2>(s, all, &f);
    halve::<S, 1>(s, all, &f)
}

/// Lane l takes lane l + D, and the other way round.
#[inline(always)]
fn halve<S: SimdF32, const D: usize>(s: S, v: S::V, f: impl Fn(S::V, S::V) -> S::V) -> S::V {
    if D < S::LANES {
        let (low, high) = s.trn::<D>(v, v);
        f(low, high)
    } else {
        v
    }
}

#[inline(always)]
fn sum<S: SimdF32>(s: S, x: &[f32]) -> S::V {
    fold(
        s,
        x,
        0.0,
        #[inline(always)]
        |a, b| s.add(a, b),
    )
}

#[inline(always)]
fn max<S: SimdF32>(s: S, x: &[f32]) -> S::V {
    fold(
        s,
        x,
        -f32::INFINITY,
        #[inline(always)]
        |a, b| s.max(a, b),
    )
}

/// The first lane.
#[inline(always)]
fn first<S: SimdF32>(s: S, v: S::V) -> f32 {
    let mut x = 0.0;
    // SAFETY: one lane.
    unsafe { s.store_masked(&mut x, s.first(1), v) };
    x
}

/// `x[j] = f(x[j])`.
#[inline(always)]
fn map<S: SimdF32>(s: S, x: &mut [f32], f: impl Fn(S::V) -> S::V) {
    for part in x.chunks_mut(S::LANES) {
        let p = part.as_mut_ptr();
        if part.len() == S::LANES {
            // SAFETY: a whole vector.
            unsafe { s.store(p, f(s.load(p))) };
        } else {
            let mask = s.first(part.len());
            // SAFETY: the masked lanes are in the part.
            unsafe { s.store_masked(p, mask, f(s.load_masked(p, mask))) };
        }
    }
}

/// A row becomes e^(x - max); gives max and the sum, in every lane.
#[inline(always)]
fn exp_from_max<S: SimdF32>(s: S, x: &mut [f32]) -> (S::V, S::V) {
    let top = max(s, x);
    map(
        s,
        x,
        #[inline(always)]
        |v| Exp::eval(s, s.sub(v, top)),
    );
    (top, sum(s, x))
}

/// See [`Backend::softmax`](crate::Backend::softmax).
///
/// # Safety
/// The row that `S` belongs to is supported by this CPU; the elements are reached through `rows` alone.
pub(super) unsafe fn softmax<S: SimdF32>(rows: Rows) {
    // SAFETY: the caller's promise.
    let s = unsafe { S::assume() };
    s.run(
        #[inline(always)]
        || {
            // SAFETY: the caller's promise.
            unsafe {
                rows.each(
                    #[inline(always)]
                    |_, x| {
                        let (_, sum) = exp_from_max(s, x);
                        map(
                            s,
                            x,
                            #[inline(always)]
                            |v| s.div(v, sum),
                        );
                    },
                );
            }
        },
    );
}

/// See [`Backend::softmax_cross_entropy`](crate::Backend::softmax_cross_entropy).
///
/// # Safety
/// The row that `S` belongs to is supported by this CPU; the elements are reached through `rows` alone; there is a
/// label and a loss for each row.
pub(super) unsafe fn softmax_cross_entropy<S: SimdF32>(rows: Rows, labels: &[u32], scale: f32, losses: &mut [f32]) {
    // SAFETY: the caller's promise.
    let s = unsafe { S::assume() };
    s.run(
        #[inline(always)]
        || {
            // SAFETY: the caller's promise.
            unsafe {
                rows.each(
                    #[inline(always)]
                    |i, z| {
                        let label = labels[i] as usize;
                        let chosen = s.splat(z[label]);
                        let (top, sum) = exp_from_max(s, z);
                        losses[i] = first(s, s.sub(Ln::eval(s, sum), s.sub(chosen, top)));
                        let gradient = (z[label] / first(s, sum) - 1.0) * scale;
                        map(
                            s,
                            z,
                            #[inline(always)]
                            |v| s.mul(s.div(v, sum), s.splat(scale)),
                        );
                        z[label] = gradient;
                    },
                );
            }
        },
    );
}

/// See [`Backend::column_sums`](crate::Backend::column_sums).
///
/// # Safety
/// The row that `S` belongs to is supported by this CPU; `out` has an element for each column.
pub(super) unsafe fn column_sums<S: SimdF32>(x: MatRef<'_, f32>, out: &mut [f32]) {
    // SAFETY: the caller's promise.
    let s = unsafe { S::assume() };
    let (rows, cols) = x.shape();
    if x.col_stride() != 1 {
        for (j, out) in out.iter_mut().enumerate() {
            *out = (0..rows).fold(
                0.0,
                #[inline(always)]
                |sum, i| sum + x.get(i, j),
            );
        }
        return;
    }
    s.run(
        #[inline(always)]
        || {
            for j in (0..cols).step_by(S::LANES) {
                let mask = s.first((cols - j).min(S::LANES));
                let mut sum = s.splat(0.0);
                for i in 0..rows {
                    let row = x.as_ptr().wrapping_offset(i as isize * x.row_stride());
                    // SAFETY: the masked lanes are columns of row i.
                    sum = s.add(sum, unsafe { s.load_masked(row.add(j), mask) });
                }
                // SAFETY: the masked lanes are in `out`.
                unsafe { s.store_masked(out.as_mut_ptr().add(j), mask, sum) };
            }
        },
    );
}

#[cfg(test)]
mod tests {
    use crate::math::tests::ulps;
    use crate::{Backend, MatMut, MatRef};

    fn logits(rows: usize, cols: usize) -> Vec<f32> {
        (0..rows * cols).map(|i| ((i * 2_654_435_761_usize) % 1000) as f32 * 0.02 - 10.0).collect()
    }

    /// Every supported row of the table gives the same bits; the last one's are returned.
    fn on_all(f: impl Fn(&'static Backend) -> Vec<f32>) -> Vec<f32> {
        let bits = |v: &[f32]| v.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
        let want = f(Backend::by_name("portable").unwrap());
        for backend in Backend::supported().filter(|b| b.bits_match()) {
            assert_eq!(bits(&f(backend)), bits(&want), "{backend:?}");
        }
        want
    }

    #[test]
    fn softmax_is_close_and_sums_to_one() {
        for cols in 1..70 {
            let x = logits(3, cols);
            let y = on_all(|backend| {
                let mut y = x.clone();
                backend.softmax(MatMut::new(&mut y, 3, cols).unwrap());
                y
            });
            for (x, y) in x.chunks(cols).zip(y.chunks(cols)) {
                let top = x.iter().fold(f64::MIN, |a, &b| a.max(f64::from(b)));
                let sum: f64 = x.iter().map(|&v| (f64::from(v) - top).exp()).sum();
                for (&x, &y) in x.iter().zip(y) {
                    let error = ulps(y, (f64::from(x) - top).exp() / sum);
                    // The difference is rounded: half an ULP of it, which exp turns into as many ULPs as it is large.
                    let bound = 3.0 + (top - f64::from(x));
                    assert!(error < bound, "{error} ULP at {x} with maximum {top}");
                }
            }
        }
    }

    #[test]
    fn softmax_of_a_column_major_matrix_is_the_same() {
        let (rows, cols) = (5, 11);
        let x = logits(rows, cols);
        let backend = Backend::active().unwrap();
        let mut dense = x.clone();
        backend.softmax(MatMut::new(&mut dense, rows, cols).unwrap());
        let mut columns: Vec<f32> = (0..rows * cols).map(|i| x[i % rows * cols + i / rows]).collect();
        backend.softmax(MatMut::col_major(&mut columns, rows, cols).unwrap());
        for i in 0..rows {
            for j in 0..cols {
                assert_eq!(dense[i * cols + j].to_bits(), columns[j * rows + i].to_bits());
            }
        }
    }

    #[test]
    fn special_rows_of_softmax() {
        for backend in Backend::supported() {
            for bad in [[0.0, f32::NAN], [1.0, f32::INFINITY], [-f32::INFINITY; 2]] {
                let mut x = bad;
                backend.softmax(MatMut::new(&mut x, 1, 2).unwrap());
                assert!(x.iter().all(|x| x.is_nan()), "{backend:?}: {bad:?} became {x:?}");
            }
            let mut x = [3.0, -f32::INFINITY, 3.0];
            backend.softmax(MatMut::new(&mut x, 1, 3).unwrap());
            assert_eq!(x, [0.5, 0.0, 0.5]);
            backend.softmax(MatMut::new(&mut [], 2, 0).unwrap());
            let mut x = [f32::MAX];
            backend.softmax(MatMut::new(&mut x, 1, 1).unwrap());
            assert_eq!(x, [1.0]);
        }
    }

    #[test]
    fn cross_entropy_and_its_gradient() {
        for cols in [1, 2, 10, 16, 17, 40] {
            let x = logits(4, cols);
            let labels: Vec<u32> = (0..4).map(|i| (i * 7 % cols) as u32).collect();
            let all = on_all(|backend| {
                let (mut z, mut losses) = (x.clone(), vec![f32::NAN; 4]);
                let view = MatMut::new(&mut z, 4, cols).unwrap();
                backend.softmax_cross_entropy(view, &labels, 0.25, &mut losses).unwrap();
                losses.extend(z);
                losses
            });
            let (losses, grads) = all.split_at(4);
            for i in 0..4 {
                let z: Vec<f64> = x[i * cols..][..cols].iter().map(|&v| f64::from(v)).collect();
                let sum: f64 = z.iter().map(|z| z.exp()).sum();
                let label = labels[i] as usize;
                assert!((f64::from(losses[i]) - (sum.ln() - z[label])).abs() < 1e-5);
                for j in 0..cols {
                    let want = (z[j].exp() / sum - f64::from(u8::from(j == label))) * 0.25;
                    assert!((f64::from(grads[i * cols + j]) - want).abs() < 1e-6);
                }
            }
        }
    }

    #[test]
    fn a_label_out_of_range_is_refused() {
        let backend = Backend::active().unwrap();
        let (mut z, mut losses) = ([1.0; 6], [0.0; 2]);
        let view = MatMut::new(&mut z, 2, 3).unwrap();
        let error = backend.softmax_cross_entropy(view, &[2, 3], 1.0, &mut losses).unwrap_err().to_string();
        assert_eq!(error, "label 3 of row 1 is not below the 3 classes");
        assert_eq!((z, losses), ([1.0; 6], [0.0; 2]));
    }

    #[test]
    fn column_sums_add_in_order() {
        for cols in [1, 7, 16, 33] {
            let x = logits(6, cols);
            let want: Vec<f32> = (0..cols).map(|j| (0..6).fold(0.0, |s, i| s + x[i * cols + j])).collect();
            let got = on_all(|backend| {
                let mut out = vec![f32::NAN; cols];
                backend.column_sums(MatRef::new(&x, 6, cols).unwrap(), &mut out).unwrap();
                out
            });
            assert_eq!(got, want);
            let mut out = vec![0.0; 6];
            Backend::active().unwrap().column_sums(MatRef::new(&x, 6, cols).unwrap().t(), &mut out).unwrap();
            assert_eq!(out[1], x[cols..2 * cols].iter().fold(0.0, |s, x| s + x));
        }
    }
}
