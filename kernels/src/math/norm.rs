//! Layer normalisation (Ba, Kiros and Hinton 2016), forward and backward.

use super::rows::{Group, Sum, first, fold};
use crate::simd::{GROUP, SimdF32};
use crate::view::times;

/// A matrix whose rows have adjacent elements.
#[derive(Clone, Copy)]
pub(crate) struct Dense {
    pub ptr: *mut f32,
    pub row: isize,
}

impl Dense {
    /// Where row `i` begins.
    fn at(self, i: usize) -> *mut f32 {
        self.ptr.wrapping_offset(times(i, self.row))
    }
}

/// The sum over a row of what `f` gives for its elements, divided by their number, in every lane; 0 where there are
/// none.
#[inline(always)]
fn mean<S: SimdF32>(s: S, cols: usize, f: impl Fn(usize) -> Group<S>) -> S::V {
    s.div(fold::<S, Sum>(s, cols, f), s.splat(cols.max(1) as f32))
}

/// See [`Backend::layer_norm`](crate::Backend::layer_norm).
///
/// # Safety
/// The row that `S` belongs to is supported by this CPU; `x` and `y` have as many rows as there are `scales` and as
/// many columns as `gain` and `bias` have elements, readable and writable.
pub(super) unsafe fn forward<S: SimdF32>(
    [x, y]: [Dense; 2],
    [gain, bias]: [&[f32]; 2],
    epsilon: f32,
    scales: &mut [f32],
) {
    // SAFETY: the caller's promise.
    let s = unsafe { S::assume() };
    let cols = gain.len();
    for (i, scale) in scales.iter_mut().enumerate() {
        let (x, y) = (x.at(i), y.at(i));
        s.run(
            #[inline(always)]
            || {
                let centre = mean(
                    s,
                    cols,
                    #[inline(always)]
                    |at| {
                        // SAFETY: elements of the row, or masked.
                        unsafe { Group::load(s, x.wrapping_add(at), cols - at, 0.0) }
                    },
                );
                // Those that are not there count as the mean.
                let pad = first(s, centre);
                let variance = mean(
                    s,
                    cols,
                    #[inline(always)]
                    |at| {
                        // SAFETY: as above.
                        let x = unsafe { Group::load(s, x.wrapping_add(at), cols - at, pad) };
                        x.map(
                            #[inline(always)]
                            |x| s.mul(s.sub(x, centre), s.sub(x, centre)),
                        )
                    },
                );
                let factor = s.div(s.splat(1.0), s.sqrt(s.add(variance, s.splat(epsilon))));
                *scale = first(s, factor);
                for at in (0..cols).step_by(GROUP) {
                    let n = cols - at;
                    // SAFETY: as above.
                    unsafe {
                        let normal = Group::load(s, x.add(at), n, 0.0).map(
                            #[inline(always)]
                            |x| s.mul(s.sub(x, centre), factor),
                        );
                        normal.store(s, x.add(at), n);
                        let scaled = normal.mul(s, Group::load(s, gain.as_ptr().add(at), n, 0.0));
                        let moved = scaled.add(s, Group::load(s, bias.as_ptr().add(at), n, 0.0));
                        moved.store(s, y.add(at), n);
                    }
                }
            },
        );
    }
}

/// See [`Backend::layer_norm_backward`](crate::Backend::layer_norm_backward).
///
/// # Safety
/// The row that `S` belongs to is supported by this CPU; `normal` and `dy` have as many rows as there are `scales` and
/// as many columns as `gain`, `d_gain` and `d_bias` have elements, readable, those of `dy` writable.
pub(super) unsafe fn backward<S: SimdF32>(
    [normal, dy]: [Dense; 2],
    gain: &[f32],
    scales: &[f32],
    [d_gain, d_bias]: [&mut [f32]; 2],
) {
    // SAFETY: the caller's promise.
    let s = unsafe { S::assume() };
    let cols = gain.len();
    d_gain.fill(0.0);
    d_bias.fill(0.0);
    for (i, &scale) in scales.iter().enumerate() {
        let row = Row { normal: normal.at(i), dy: dy.at(i), gain: gain.as_ptr(), cols };
        s.run(
            #[inline(always)]
            || {
                let level = mean(
                    s,
                    cols,
                    #[inline(always)]
                    |at| {
                        // SAFETY: the elements are there, by the caller's promise.
                        unsafe { row.inner(s, at) }
                    },
                );
                let slope = mean(
                    s,
                    cols,
                    #[inline(always)]
                    // SAFETY: as above.
                    |at| unsafe { row.inner(s, at).mul(s, row.normal(s, at)) },
                );
                let minus = s.sub(s.splat(0.0), slope);
                let scale = s.splat(scale);
                for at in (0..cols).step_by(GROUP) {
                    let n = cols - at;
                    // SAFETY: as above.
                    unsafe {
                        let (given, normal, inner) = (row.given(s, at), row.normal(s, at), row.inner(s, at));
                        for (sums, term) in [(d_gain.as_mut_ptr(), given.mul(s, normal)), (d_bias.as_mut_ptr(), given)]
                        {
                            let sums = sums.add(at);
                            Group::load(s, sums, n, 0.0).add(s, term).store(s, sums, n);
                        }
                        let around = inner.map(
                            #[inline(always)]
                            |g| s.sub(g, level),
                        );
                        let along = normal.map(
                            #[inline(always)]
                            |x| s.mul(x, minus),
                        );
                        let dx = around.add(s, along).map(
                            #[inline(always)]
                            |x| s.mul(x, scale),
                        );
                        dx.store(s, row.dy.add(at), n);
                    }
                }
            },
        );
    }
}

/// What the backward pass reads of a row.
struct Row {
    normal: *const f32,
    dy: *mut f32,
    gain: *const f32,
    cols: usize,
}

impl Row {
    /// The normalised elements from `at` on.
    ///
    /// # Safety
    /// The rows have `cols` elements.
    #[inline(always)]
    unsafe fn normal<S: SimdF32>(&self, s: S, at: usize) -> Group<S> {
        // SAFETY: the caller's promise.
        unsafe { Group::load(s, self.normal.wrapping_add(at), self.cols - at, 0.0) }
    }

    /// The gradients of the results.
    ///
    /// # Safety
    /// The rows have `cols` elements.
    #[inline(always)]
    unsafe fn given<S: SimdF32>(&self, s: S, at: usize) -> Group<S> {
        // SAFETY: the caller's promise.
        unsafe { Group::load(s, self.dy.wrapping_add(at), self.cols - at, 0.0) }
    }

    /// The gradients of the normalised elements.
    ///
    /// # Safety
    /// The rows have `cols` elements.
    #[inline(always)]
    unsafe fn inner<S: SimdF32>(&self, s: S, at: usize) -> Group<S> {
        // SAFETY: the caller's promise.
        unsafe { self.given(s, at).mul(s, Group::load(s, self.gain.wrapping_add(at), self.cols - at, 0.0)) }
    }
}

#[cfg(test)]
mod tests {
    use crate::{Backend, MatMut, MatRef};

    const EPSILON: f32 = 1e-3;

    fn numbers(len: usize, seed: usize) -> Vec<f32> {
        (0..len).map(|i| ((i + seed) * 2_654_435_761 % 1000) as f32 * 0.004 - 2.0).collect()
    }

    /// The definition in f64: the results for one row.
    fn definition(x: &[f64], gain: &[f64], bias: &[f64]) -> Vec<f64> {
        let n = x.len() as f64;
        let mean = x.iter().sum::<f64>() / n;
        let variance = x.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / n;
        let scale = 1.0 / (variance + f64::from(EPSILON)).sqrt();
        x.iter().zip(gain).zip(bias).map(|((x, g), b)| (x - mean) * scale * g + b).collect()
    }

    fn wide(x: &[f32]) -> Vec<f64> {
        x.iter().map(|&x| f64::from(x)).collect()
    }

    /// Normalised rows, results, dx, the gradients of gain and bias.
    fn both_passes(backend: &Backend, x: &[f32], dy: &[f32], gain: &[f32], bias: &[f32]) -> [Vec<f32>; 5] {
        let cols = gain.len();
        let rows = x.len() / cols;
        let (mut x, mut y, mut dx) = (x.to_vec(), vec![0.0; x.len()], dy.to_vec());
        let (mut scales, mut d_gain, mut d_bias) = (vec![0.0; rows], vec![9.0; cols], vec![9.0; cols]);
        let (xm, ym) = (MatMut::new(&mut x, rows, cols).unwrap(), MatMut::new(&mut y, rows, cols).unwrap());
        backend.layer_norm(xm, gain, bias, EPSILON, ym, &mut scales).unwrap();
        let normal = MatRef::new(&x, rows, cols).unwrap();
        let dm = MatMut::new(&mut dx, rows, cols).unwrap();
        backend.layer_norm_backward(normal, &scales, gain, dm, &mut d_gain, &mut d_bias).unwrap();
        [x, y, dx, d_gain, d_bias]
    }

    #[test]
    fn both_passes_follow_the_definition_with_the_same_bits_on_every_row() {
        const ROWS: usize = 3;
        for cols in [1, 2, 10, 16, 17, 40, 64] {
            let (x, dy) = (numbers(ROWS * cols, 1), numbers(ROWS * cols, 77));
            let (gain, bias) = (numbers(cols, 5), numbers(cols, 9));
            let mut bits: Option<[Vec<f32>; 5]> = None;
            for backend in Backend::supported() {
                let results = both_passes(backend, &x, &dy, &gain, &bias);
                let (mut d_gain, mut d_bias) = (vec![0.0; cols], vec![0.0; cols]);
                for i in 0..ROWS {
                    let at = i * cols..(i + 1) * cols;
                    let (x, dy) = (wide(&x[at.clone()]), wide(&dy[at.clone()]));
                    let (gain, bias) = (wide(&gain), wide(&bias));
                    let y = definition(&x, &gain, &bias);
                    let normal = definition(&x, &vec![1.0; cols], &vec![0.0; cols]);
                    for j in 0..cols {
                        d_gain[j] += dy[j] * normal[j];
                        d_bias[j] += dy[j];
                        // The slope of the sum of dy y in the direction of x_j, by central differences.
                        let loss = |h: f64| {
                            let mut x = x.clone();
                            x[j] += h;
                            definition(&x, &gain, &bias).iter().zip(&dy).map(|(y, d)| y * d).sum::<f64>()
                        };
                        let dx = (loss(1e-5) - loss(-1e-5)) / 2e-5;
                        for (found, want) in [(&results[0], normal[j]), (&results[1], y[j]), (&results[2], dx)] {
                            let found = f64::from(found[i * cols + j]);
                            assert!(
                                (found - want).abs() < 2e-4,
                                "{backend:?}: row {i} column {j} of {cols}: {found}, not {want}"
                            );
                        }
                    }
                }
                for j in 0..cols {
                    assert!((f64::from(results[3][j]) - d_gain[j]).abs() < 1e-5, "{backend:?}: gain {j} of {cols}");
                    assert!((f64::from(results[4][j]) - d_bias[j]).abs() < 1e-5, "{backend:?}: bias {j} of {cols}");
                }
                if backend.bits_match() {
                    let first = bits.get_or_insert_with(|| results.clone());
                    let same =
                        first.iter().flatten().zip(results.iter().flatten()).all(|(a, b)| a.to_bits() == b.to_bits());
                    assert!(same, "{backend:?}: other bits with {cols} columns");
                }
            }
        }
    }

    #[test]
    fn matrices_that_do_not_fit_are_refused() {
        let backend = Backend::active().unwrap();
        let (mut x, mut y, mut scales) = ([1.0; 6], [0.0; 6], [0.0; 2]);
        let mut call = |x: MatMut<'_, f32>, gain: &[f32]| {
            let y = MatMut::new(&mut y, 2, 3).unwrap();
            backend.layer_norm(x, gain, &[0.0; 3], EPSILON, y, &mut scales).map_err(|e| e.to_string())
        };
        let columns = MatMut::col_major(&mut x, 2, 3).unwrap();
        assert!(call(columns, &[1.0; 3]).unwrap_err().contains("2 apart"));
        // A single column has no neighbour.
        let (mut y, mut scales) = ([0.0; 2], [0.0; 2]);
        let column = MatMut::col_major(&mut x[..2], 2, 1).unwrap();
        let y = MatMut::new(&mut y, 2, 1).unwrap();
        assert!(backend.layer_norm(column, &[1.0], &[0.0], EPSILON, y, &mut scales).is_ok());
        assert!(call(MatMut::new(&mut x, 2, 3).unwrap(), &[1.0; 2]).unwrap_err().contains("gain"));
        assert!(call(MatMut::new(&mut x, 3, 2).unwrap(), &[1.0; 3]).unwrap_err().contains("3x2"));
    }
}
