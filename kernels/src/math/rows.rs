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

/// A function that folds a row.
trait Fold {
    /// What elements that are not there count as.
    const START: f32;
    fn apply<S: SimdF32>(s: S, a: S::V, b: S::V) -> S::V;
}

struct Sum;
impl Fold for Sum {
    const START: f32 = 0.0;
    #[inline(always)]
    fn apply<S: SimdF32>(s: S, a: S::V, b: S::V) -> S::V {
        s.add(a, b)
    }
}

struct Max;
impl Fold for Max {
    const START: f32 = -f32::INFINITY;
    #[inline(always)]
    fn apply<S: SimdF32>(s: S, a: S::V, b: S::V) -> S::V {
        s.max(a, b)
    }
}

/// The vectors of up to [`GROUP`] elements of a row, each with the lanes that are in use.
struct Group<S: SimdF32> {
    lanes: [(S::V, S::Mask); 4],
}

impl<S: SimdF32> Group<S> {
    /// Vectors of a full group.
    const USED: usize = GROUP / S::LANES;

    /// Elements that are not there become `pad`.
    #[inline(always)]
    fn load(s: S, x: &[f32], pad: f32) -> Self {
        const { assert!(Self::USED <= 4) };
        let pad = s.splat(pad);
        let mut lanes = [(pad, s.first(0)); 4];
        for (v, (lane, mask)) in lanes[..Self::USED].iter_mut().enumerate() {
            let at = v * S::LANES;
            *mask = s.first(x.len().saturating_sub(at).min(S::LANES));
            // SAFETY: the masked lanes are in the slice.
            *lane = s.select(*mask, unsafe { s.load_masked(x.as_ptr().wrapping_add(at), *mask) }, pad);
        }
        Self { lanes }
    }

    #[inline(always)]
    fn store(&self, s: S, x: &mut [f32]) {
        for (v, (lane, mask)) in self.lanes[..Self::USED].iter().enumerate() {
            // SAFETY: the masked lanes are in the slice, which has the length of the one that was loaded.
            unsafe { s.store_masked(x.as_mut_ptr().wrapping_add(v * S::LANES), *mask, *lane) };
        }
    }

    /// Lane by lane with another group.
    #[inline(always)]
    fn merge<F: Fold>(&mut self, s: S, other: &Self) {
        for (a, b) in self.lanes[..Self::USED].iter_mut().zip(&other.lanes) {
            a.0 = F::apply(s, a.0, b.0);
        }
    }

    /// All lanes folded into one value, which is in every lane of the result.
    #[inline(always)]
    fn fold<F: Fold>(&self, s: S) -> S::V {
        let [(a, _), (b, _), (c, _), (d, _)] = self.lanes;
        let all = match Self::USED {
            1 => a,
            2 => F::apply(s, a, b),
            _ => F::apply(s, F::apply(s, a, c), F::apply(s, b, d)),
        };
        let all = halve::<S, F, 8>(s, all);
        let all = halve::<S, F, 4>(s, all);
        let all = halve::<S, F, 2>(s, all);
        halve::<S, F, 1>(s, all)
    }

    /// The elements become e^(x - top), and 0 where there are none.
    #[inline(always)]
    fn exp(&mut self, s: S, top: S::V) {
        for (x, mask) in &mut self.lanes[..Self::USED] {
            *x = s.select(*mask, Exp::eval(s, s.sub(*x, top)), s.splat(0.0));
        }
    }
}

/// Lane l takes lane l + D, and the other way round.
#[inline(always)]
fn halve<S: SimdF32, F: Fold, const D: usize>(s: S, v: S::V) -> S::V {
    if D < S::LANES {
        let (low, high) = s.trn::<D>(v, v);
        F::apply(s, low, high)
    } else {
        v
    }
}

/// The first lane.
#[inline(always)]
fn first<S: SimdF32>(s: S, v: S::V) -> f32 {
    let mut x = 0.0;
    // SAFETY: one lane.
    unsafe { s.store_masked(&mut x, s.first(1), v) };
    x
}

/// A row becomes `finish(e^(x - max) / sum)`; gives max and the sum, in every lane. `finish` is told the index of its
/// first element.
#[inline(always)]
fn normalise<S: SimdF32>(s: S, x: &mut [f32], finish: impl Fn(S::V, usize) -> S::V) -> (S::V, S::V) {
    let mut top = Group::load(s, &[], Max::START);
    for x in x.chunks(GROUP) {
        top.merge::<Max>(s, &Group::load(s, x, Max::START));
    }
    let top = top.fold::<Max>(s);
    let mut sum = Group::load(s, &[], Sum::START);
    let mut e = Group::load(s, &[], 0.0);
    for x in x.chunks_mut(GROUP) {
        e = Group::load(s, x, 0.0);
        e.exp(s, top);
        sum.merge::<Sum>(s, &e);
        e.store(s, x);
    }
    let sum = sum.fold::<Sum>(s);
    // What was just written through a mask is slow to read again: a short row stays in registers.
    let short = x.len() <= GROUP;
    for (g, x) in x.chunks_mut(GROUP).enumerate() {
        if !short {
            e = Group::load(s, x, 0.0);
        }
        for (v, (lane, _)) in e.lanes[..Group::<S>::USED].iter_mut().enumerate() {
            *lane = finish(s.div(*lane, sum), g * GROUP + v * S::LANES);
        }
        e.store(s, x);
    }
    (top, sum)
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
                        normalise(
                            s,
                            x,
                            #[inline(always)]
                            |p, _| p,
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
            let scale = s.splat(scale);
            // SAFETY: the caller's promise.
            unsafe {
                rows.each(
                    #[inline(always)]
                    |i, z| {
                        let label = labels[i] as usize;
                        let chosen = s.splat(z[label]);
                        let (top, sum) = normalise(
                            s,
                            z,
                            #[inline(always)]
                            |p, at| s.mul(s.sub(p, one_hot(s, label, at)), scale),
                        );
                        losses[i] = first(s, s.sub(Ln::eval(s, sum), s.sub(chosen, top)));
                    },
                );
            }
        },
    );
}

/// 1 in the lane of element `label` of a vector that starts at element `at`, else 0.
#[inline(always)]
fn one_hot<S: SimdF32>(s: S, label: usize, at: usize) -> S::V {
    let (zero, one) = (s.splat(0.0), s.splat(1.0));
    let through = s.first((label + 1).saturating_sub(at).min(S::LANES));
    let before = s.first(label.saturating_sub(at).min(S::LANES));
    s.select(before, zero, s.select(through, one, zero))
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
