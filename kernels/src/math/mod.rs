//! Elementary functions, row functions and updates, over slices and views.
//!
//! Each function is written once, as `eval` on vectors of any instruction set; `slices` runs it along memory. The
//! accuracy that a function claims stands in its file, beside the test that checks it.

mod exp;
mod ln;
mod relu;
mod rows;
mod slices;
mod update;

pub use update::Adam;

use crate::backend::Backend;
use crate::error::{Error, Result};
use crate::simd::SimdF32;
use crate::view::{MatMut, MatRef};
use rows::Rows;

/// What the epilogue of a product does to each element last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Activation {
    /// x
    #[default]
    Identity,
    /// 0 where x < 0, else x: a NaN stays one.
    Relu,
}

/// The step, the gradients, the parameters and both moments.
type AdamFn = unsafe fn(&Adam, &[f32], &mut [f32], &mut [f32], &mut [f32]);

/// The functions of an instruction set. All of them need its row to be supported.
pub(crate) struct Math {
    exp: unsafe fn(&mut [f32]),
    ln: unsafe fn(&mut [f32]),
    relu: unsafe fn(&mut [f32]),
    relu_backward: unsafe fn(&[f32], &mut [f32]),
    scale_bytes: unsafe fn(&[u8], f32, &mut [f32]),
    softmax: unsafe fn(Rows),
    softmax_cross_entropy: unsafe fn(Rows, &[u32], f32, &mut [f32]),
    column_sums: unsafe fn(MatRef<'_, f32>, &mut [f32]),
    adam: AdamFn,
    fma_loop: unsafe fn(u64) -> u64,
}

/// The functions of `S`. `CHAINS` independent FMAs hide the latency of its units and fit its registers.
pub(crate) const fn math<S: SimdF32, const CHAINS: usize>() -> Math {
    Math {
        exp: slices::unary::<S, exp::Exp>,
        ln: slices::unary::<S, ln::Ln>,
        relu: slices::unary::<S, relu::Relu>,
        relu_backward: relu::backward::<S>,
        scale_bytes: slices::scale_bytes::<S>,
        softmax: rows::softmax::<S>,
        softmax_cross_entropy: rows::softmax_cross_entropy::<S>,
        column_sums: rows::column_sums::<S>,
        adam: update::adam::<S>,
        fma_loop: crate::peak::fma_loop::<S, CHAINS>,
    }
}

/// Checks that a slice is as long as the others of its call.
fn check_len(what: &'static str, found: usize, expected: usize) -> Result<()> {
    if found == expected { Ok(()) } else { Err(Error::Length { what, expected, found }) }
}

// SAFETY (each block below): a backend that can be had is supported, and the lengths were checked.
impl Backend {
    /// e^x of every element, in place. At most 1 ULP; subnormal results are kept.
    pub fn exp(&self, x: &mut [f32]) {
        // SAFETY: as above.
        unsafe { (self.math.exp)(x) }
    }

    /// The natural logarithm of every element, in place. At most 1 ULP; -Inf at 0, NaN below.
    pub fn ln(&self, x: &mut [f32]) {
        // SAFETY: as above.
        unsafe { (self.math.ln)(x) }
    }

    /// 0 where x < 0, else x, in place; a NaN stays one.
    pub fn relu(&self, x: &mut [f32]) {
        // SAFETY: as above.
        unsafe { (self.math.relu)(x) }
    }

    /// The gradient through [`Self::relu`], from its output `y`: `dy` becomes 0 where `y <= 0`.
    ///
    /// # Errors
    /// When the lengths differ.
    pub fn relu_backward(&self, y: &[f32], dy: &mut [f32]) -> Result<()> {
        check_len("the gradient of relu", dy.len(), y.len())?;
        // SAFETY: as above.
        unsafe { (self.math.relu_backward)(y, dy) };
        Ok(())
    }

    /// `out[i] = bytes[i] * scale`: pixels to numbers.
    ///
    /// # Errors
    /// When the lengths differ.
    pub fn scale_bytes(&self, bytes: &[u8], scale: f32, out: &mut [f32]) -> Result<()> {
        check_len("the output of scale_bytes", out.len(), bytes.len())?;
        // SAFETY: as above.
        unsafe { (self.math.scale_bytes)(bytes, scale, out) };
        Ok(())
    }

    /// `e^(x - max) / sum e^(x - max)` along each row, in place.
    ///
    /// A row that holds a NaN or +Inf, or nothing but -Inf, becomes all NaN.
    pub fn softmax(&self, x: MatMut<'_, f32>) {
        // SAFETY: as above; a MatMut vouches for its elements.
        unsafe { (self.math.softmax)(Rows::new(x)) }
    }

    /// Softmax and cross-entropy with their gradient, row by row (a row is a sample's logits z):
    ///
    /// - `losses[i] = ln(sum_j e^(z_j - max)) - (z_label - max)`,
    /// - `z_j` becomes `(softmax(z)_j - [j = label]) * scale`.
    ///
    /// # Errors
    /// When there is not one label and one loss for each row, or a label is not below the number of columns.
    pub fn softmax_cross_entropy(
        &self,
        logits: MatMut<'_, f32>,
        labels: &[u32],
        scale: f32,
        losses: &mut [f32],
    ) -> Result<()> {
        let (rows, classes) = logits.shape();
        check_len("the labels", labels.len(), rows)?;
        check_len("the losses", losses.len(), rows)?;
        if let Some(row) = labels.iter().position(|&l| l as usize >= classes) {
            return Err(Error::Label { row, label: labels[row], classes });
        }
        // SAFETY: as above; a MatMut vouches for its elements.
        unsafe { (self.math.softmax_cross_entropy)(Rows::new(logits), labels, scale, losses) };
        Ok(())
    }

    /// `out[j] = x[0][j] + x[1][j] + ...`, in this order: the gradient of a bias.
    ///
    /// # Errors
    /// When `out` has not one element for each column.
    pub fn column_sums(&self, x: MatRef<'_, f32>, out: &mut [f32]) -> Result<()> {
        check_len("the column sums", out.len(), x.cols())?;
        // SAFETY: as above; a MatRef vouches for its elements.
        unsafe { (self.math.column_sums)(x, out) };
        Ok(())
    }

    /// Runs `iterations` rounds of independent f32 FMAs in registers, and tells how many floating-point operations those
    /// were: timed, it gives the peak that a kernel could reach at the clock of the moment.
    #[must_use]
    pub fn fma_peak_loop(&self, iterations: u64) -> u64 {
        // SAFETY: as above.
        unsafe { (self.math.fma_loop)(iterations) }
    }

    /// One step of Adam over parameters, gradients and both moments, in one pass.
    ///
    /// # Errors
    /// When the lengths differ.
    pub fn adam(
        &self,
        step: &Adam,
        gradients: &[f32],
        parameters: &mut [f32],
        m: &mut [f32],
        v: &mut [f32],
    ) -> Result<()> {
        let n = parameters.len();
        check_len("the gradients", gradients.len(), n)?;
        check_len("the first moments", m.len(), n)?;
        check_len("the second moments", v.len(), n)?;
        // SAFETY: as above.
        unsafe { (self.math.adam)(step, gradients, parameters, m, v) };
        Ok(())
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Distance between `got` and the f64 reference `want`, in ULPs of the f32 nearest to `want`. Wrong zeros, signs,
    /// infinities and NaNs are infinitely far.
    pub(crate) fn ulps(got: f32, want: f64) -> f64 {
        let near = want as f32;
        if near.is_nan() || near.is_infinite() || near == 0.0 || got.is_nan() || got.is_infinite() {
            return if got == near || (got.is_nan() && near.is_nan()) { 0.0 } else { f64::INFINITY };
        }
        let a = near.abs();
        let ulp = f64::from(f32::from_bits(a.to_bits() + 1)) - f64::from(a);
        ((f64::from(got) - want) / ulp).abs()
    }

    /// Checks a unary function on every exponent, both signs and the special values, on every supported row, against
    /// `want`, and the rows against each other on bits.
    pub(crate) fn check_unary(f: fn(&Backend, &mut [f32]), want: fn(f64) -> f64, bound: f64) {
        // An odd step walks through all signs, exponents and a spread of significands.
        let mut x: Vec<f32> = (0..=u32::MAX).step_by(8191).map(f32::from_bits).collect();
        x.extend([0.0, -0.0, 1.0, -1.0, f32::INFINITY, -f32::INFINITY, f32::NAN, f32::MIN_POSITIVE, f32::MAX]);
        x.extend([f32::from_bits(1), -f32::from_bits(1), f32::MIN_POSITIVE / 2.0]);
        x.extend((-1100..1100).map(|i| i as f32 * 0.1));
        let mut first: Option<Vec<f32>> = None;
        for backend in Backend::supported() {
            let mut y = x.clone();
            f(backend, &mut y);
            for (&x, &y) in x.iter().zip(&y) {
                let error = ulps(y, want(f64::from(x)));
                assert!(error <= bound, "{backend:?}: f({x:e}) = {y:e}, {error} ULP");
            }
            if backend.bits_match() {
                let first = first.get_or_insert_with(|| y.clone());
                let same = |a: f32, b: f32| a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan());
                let at = first.iter().zip(&y).position(|(&a, &b)| !same(a, b));
                assert_eq!(at.map(|i| x[i]), None, "{backend:?} has other bits");
            }
        }
    }

    #[test]
    fn lanes_and_tails_are_alike() {
        for backend in Backend::supported() {
            for len in 0..68 {
                for start in 0..4 {
                    let x: Vec<f32> = (0..len + start).map(|i| 0.37 * i as f32 - 9.0).collect();
                    for f in [Backend::exp, Backend::ln, Backend::relu] {
                        let mut whole = x.clone();
                        f(backend, &mut whole[start..]);
                        for i in start..x.len() {
                            let mut one = [x[i]];
                            f(backend, &mut one);
                            assert!(one[0].to_bits() == whole[i].to_bits() || one[0].is_nan() && whole[i].is_nan());
                        }
                        assert_eq!(whole[..start], x[..start], "wrote before the slice");
                    }
                }
            }
        }
    }
}
