//! Elementary functions, row functions and updates, over slices and views.
//!
//! Each function is written once, as `eval` on vectors of any instruction set; `slices` runs it along memory. The
//! accuracy that a function claims stands in its file, beside the test that checks it.

mod erf;
mod exp;
mod expm1;
mod function;
mod gelu;
mod ln;
mod norm;
mod parallel;
mod parts;
mod relu;
mod rows;
mod sigmoid;
mod silu;
mod slices;
mod softplus;
mod tanh;
mod update;

pub(crate) use function::map;
pub use function::{Activation, Function, Saved};
pub use parallel::Parallel;
pub use update::{Adam, Update};

use crate::backend::Backend;
use crate::error::{Error, Result};
use crate::simd::SimdF32;
use crate::view::{MatMut, MatRef};
use norm::Dense;
use rows::{Reduction, Rows};

/// The rule, the gradients, the parameters, the slices of state that the rule has, and the length of each.
type UpdateFn = unsafe fn(&Update, *const f32, *mut f32, [*mut f32; 2], usize);

/// Input and output, gain and bias, epsilon, and the scale of each row.
type LayerNormFn = unsafe fn([Dense; 2], [&[f32]; 2], f32, &mut [f32]);
/// The normalised matrix and the gradient, gain, scales, and the gradients of gain and bias.
type LayerNormBackwardFn = unsafe fn([Dense; 2], &[f32], &[f32], [&mut [f32]; 2]);

/// The functions of an instruction set. All of them need its row to be supported.
pub(crate) struct Math {
    map: unsafe fn(Function, *const f32, *mut f32, usize),
    backward: unsafe fn(Activation, &[f32], &mut [f32]),
    scale_bytes: unsafe fn(&[u8], f32, &mut [f32]),
    softmax: unsafe fn(Rows),
    softmax_cross_entropy: unsafe fn(Rows, &[u32], f32, &mut [f32]),
    log_softmax: unsafe fn(Rows),
    reduce: unsafe fn(Reduction, MatRef<'_, f32>, &mut [f32]),
    layer_norm: LayerNormFn,
    layer_norm_backward: LayerNormBackwardFn,
    column_sums: unsafe fn(MatRef<'_, f32>, &mut [f32]),
    update: UpdateFn,
    axpy: unsafe fn(f32, *const f32, *mut f32, usize),
    scale: unsafe fn(f32, *mut f32, usize),
    fma_loop: unsafe fn(u64) -> u64,
    read_loop: unsafe fn(&[f32]) -> u64,
}

/// The functions of `S`. `CHAINS` independent FMAs hide the latency of its units and fit its registers.
pub(crate) const fn math<S: SimdF32, const CHAINS: usize>() -> Math {
    Math {
        map: function::map::<S>,
        backward: function::backward::<S>,
        scale_bytes: slices::scale_bytes::<S>,
        softmax: rows::softmax::<S>,
        softmax_cross_entropy: rows::softmax_cross_entropy::<S>,
        log_softmax: rows::log_softmax::<S>,
        reduce: rows::reduce::<S>,
        layer_norm: norm::forward::<S>,
        layer_norm_backward: norm::backward::<S>,
        column_sums: rows::column_sums::<S>,
        update: update::update::<S>,
        axpy: update::axpy::<S>,
        scale: update::scale::<S>,
        fma_loop: crate::peak::fma_loop::<S, CHAINS>,
        read_loop: crate::peak::read_loop::<S>,
    }
}

/// Checks that a slice is as long as the others of its call.
fn check_len(what: &'static str, found: usize, expected: usize) -> Result<()> {
    if found == expected { Ok(()) } else { Err(Error::Length { what, expected, found }) }
}

/// Checks that a matrix has this shape, and rows of adjacent elements.
fn check_rows(what: &'static str, x: &MatRef<'_, f32>, shape: (usize, usize)) -> Result<()> {
    if x.shape() != shape {
        return Err(Error::Shape { what, expected: shape, found: x.shape() });
    }
    if x.col_stride() != 1 && x.cols() > 1 && x.rows() > 0 {
        return Err(Error::Columns { what, stride: x.col_stride() });
    }
    Ok(())
}

// SAFETY (each block below): a backend that can be had is supported, and the lengths were checked.
impl Backend {
    /// `x[i] = f(x[i])`
    pub fn map(&self, f: impl Into<Function>, x: &mut [f32]) {
        let p = x.as_mut_ptr();
        // SAFETY: as above.
        unsafe { (self.math.map)(f.into(), p.cast_const(), p, x.len()) }
    }

    /// `y[i] = f(x[i])`
    ///
    /// # Errors
    /// When the lengths differ.
    pub fn map_into(&self, f: impl Into<Function>, x: &[f32], y: &mut [f32]) -> Result<()> {
        check_len("the output of a function", y.len(), x.len())?;
        // SAFETY: as above.
        unsafe { (self.math.map)(f.into(), x.as_ptr(), y.as_mut_ptr(), x.len()) };
        Ok(())
    }

    /// `x[i][j] = f(x[i][j])`, for a matrix of any strides.
    pub fn map_matrix(&self, f: impl Into<Function>, x: MatMut<'_, f32>) {
        let f = f.into();
        // Rows of adjacent elements, where there are any.
        let x = if x.row_stride() == 1 { x.t() } else { x };
        let cols = x.cols();
        // SAFETY: as above; a MatMut vouches for its elements.
        unsafe {
            Rows::new(x).dense(|_, rows| {
                for i in 0..rows.rows() {
                    (self.math.map)(f, rows.at(i), rows.at(i), cols);
                }
            });
        }
    }

    /// e^x of every element, in place.
    pub fn exp(&self, x: &mut [f32]) {
        self.map(Function::Exp, x);
    }

    /// The natural logarithm of every element, in place.
    pub fn ln(&self, x: &mut [f32]) {
        self.map(Function::Ln, x);
    }

    /// 0 where x < 0, else x, in place; a NaN stays one.
    pub fn relu(&self, x: &mut [f32]) {
        self.activate(Activation::Relu, x);
    }

    /// Applies an activation to every element, in place.
    pub fn activate(&self, f: Activation, x: &mut [f32]) {
        self.map(f, x);
    }

    /// The gradient through an activation: `dy` is multiplied by the derivative, which is computed from what
    /// [`Activation::saved`] names, the input or the output of the forward pass.
    ///
    /// # Errors
    /// When the lengths differ.
    pub fn activation_backward(&self, f: Activation, saved: &[f32], dy: &mut [f32]) -> Result<()> {
        check_len("the gradient of an activation", dy.len(), saved.len())?;
        // SAFETY: as above.
        unsafe { (self.math.backward)(f, saved, dy) };
        Ok(())
    }

    /// The gradient through [`Self::relu`], from its output `y`: `dy` becomes 0 where `y <= 0`.
    ///
    /// # Errors
    /// When the lengths differ.
    pub fn relu_backward(&self, y: &[f32], dy: &mut [f32]) -> Result<()> {
        self.activation_backward(Activation::Relu, y, dy)
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
    /// A row that holds a NaN or +Inf, or nothing but -Inf, becomes all NaN. Without elements, nothing happens.
    pub fn softmax(&self, x: MatMut<'_, f32>) {
        // SAFETY: as above; a MatMut vouches for its elements.
        unsafe { (self.math.softmax)(Rows::new(x)) }
    }

    /// `x - ln(sum e^x)` along each row, in place: the logarithm of [`Self::softmax`], which stays exact to some ULPs
    /// where that is nearly 0 or nearly 1.
    ///
    /// A row that holds a NaN or +Inf, or nothing but -Inf, becomes all NaN. Without elements, nothing happens.
    pub fn log_softmax(&self, x: MatMut<'_, f32>) {
        // SAFETY: as above; a MatMut vouches for its elements.
        unsafe { (self.math.log_softmax)(Rows::new(x)) }
    }

    /// `out[i] = ln(sum_j e^x[i][j])`, without overflow: -Inf for a row without elements or of -Inf alone; NaN for one
    /// with a NaN or +Inf.
    ///
    /// # Errors
    /// When `out` has not one element for each row.
    pub fn log_sum_exp(&self, x: MatRef<'_, f32>, out: &mut [f32]) -> Result<()> {
        self.reduce(Reduction::LogSumExp, x, out)
    }

    /// `out[i] = sum_j x[i][j]`, in the order of `docs/numerics.md`; 0 for a row without elements.
    ///
    /// # Errors
    /// When `out` has not one element for each row.
    pub fn row_sums(&self, x: MatRef<'_, f32>, out: &mut [f32]) -> Result<()> {
        self.reduce(Reduction::Sum, x, out)
    }

    /// `out[i]` is the largest element of row i: NaN if it holds one, -Inf if it has no elements.
    ///
    /// # Errors
    /// When `out` has not one element for each row.
    pub fn row_max(&self, x: MatRef<'_, f32>, out: &mut [f32]) -> Result<()> {
        self.reduce(Reduction::Max, x, out)?;
        for (i, top) in out.iter_mut().enumerate().filter(|(_, top)| **top == f32::INFINITY) {
            if (0..x.cols()).any(|j| x.get(i, j).is_nan()) {
                *top = f32::NAN;
            }
        }
        Ok(())
    }

    /// `out[i]` is the index of the first of the largest elements of row i, or of its first NaN.
    ///
    /// # Errors
    /// When `out` has not one element for each row, or rows have no elements, or more than an index can count.
    pub fn row_argmax(&self, x: MatRef<'_, f32>, out: &mut [u32]) -> Result<()> {
        check_len("the indices", out.len(), x.rows())?;
        // An index counts from 0.
        let most = (u32::MAX as usize).saturating_add(1);
        if x.rows() > 0 && !(1..=most).contains(&x.cols()) {
            return Err(Error::Width { what: "the matrix of argmax", found: x.cols(), most });
        }
        for (i, out) in out.iter_mut().enumerate() {
            let mut top = [0.0];
            self.row_max(x.sub(i..i + 1, 0..x.cols())?, &mut top)?;
            let [top] = top;
            let at = (0..x.cols()).position(|j| x.get(i, j) == top || top.is_nan() && x.get(i, j).is_nan());
            *out = at.expect("the largest element is one of them") as u32;
        }
        Ok(())
    }

    fn reduce(&self, what: Reduction, x: MatRef<'_, f32>, out: &mut [f32]) -> Result<()> {
        check_len("the results of rows", out.len(), x.rows())?;
        // SAFETY: as above; a MatRef vouches for its elements.
        unsafe { (self.math.reduce)(what, x, out) };
        Ok(())
    }

    /// Layer normalisation (Ba, Kiros and Hinton 2016): along each row
    ///
    /// ```text
    /// x = (x - mean) scale      scale = 1 / sqrt(variance + epsilon), the variance that of the row (not of a sample)
    /// y = gain x + bias
    /// ```
    ///
    /// `x` and `scales`, one for each row, are what [`Self::layer_norm_backward`] needs. Without elements, mean and
    /// variance are 0.
    ///
    /// # Errors
    /// When the shapes do not go together, or the elements of a row are not adjacent.
    pub fn layer_norm(
        &self,
        mut x: MatMut<'_, f32>,
        gain: &[f32],
        bias: &[f32],
        epsilon: f32,
        mut y: MatMut<'_, f32>,
        scales: &mut [f32],
    ) -> Result<()> {
        let shape = (scales.len(), gain.len());
        check_len("the bias of a layer normalisation", bias.len(), y.cols())?;
        check_len("the gain of a layer normalisation", gain.len(), y.cols())?;
        check_rows("the input of a layer normalisation", &x.as_ref(), shape)?;
        check_rows("the output of a layer normalisation", &y.as_ref(), shape)?;
        let x = Dense { row: x.row_stride(), ptr: x.as_mut_ptr() };
        let y = Dense { row: y.row_stride(), ptr: y.as_mut_ptr() };
        // SAFETY: as above; a MatMut vouches for its elements.
        unsafe { (self.math.layer_norm)([x, y], [gain, bias], epsilon, scales) };
        Ok(())
    }

    /// The gradient through [`Self::layer_norm`], from the normalised rows and the scales that it left. `dy` becomes
    ///
    /// ```text
    /// dx = scale (g - mean(g) - normal mean(g normal))      g = gain dy
    /// ```
    ///
    /// and `d_gain` the column sums of `dy normal`, `d_bias` those of `dy`, in the order of the rows; 0 where there are
    /// none.
    ///
    /// # Errors
    /// When the shapes do not go together, or the elements of a row are not adjacent.
    pub fn layer_norm_backward(
        &self,
        normal: MatRef<'_, f32>,
        scales: &[f32],
        gain: &[f32],
        mut dy: MatMut<'_, f32>,
        d_gain: &mut [f32],
        d_bias: &mut [f32],
    ) -> Result<()> {
        let shape = (scales.len(), gain.len());
        check_len("the gradient of the gain", d_gain.len(), gain.len())?;
        check_len("the gradient of the bias", d_bias.len(), gain.len())?;
        check_rows("the normalised matrix", &normal, shape)?;
        check_rows("the gradient of a layer normalisation", &dy.as_ref(), shape)?;
        let normal = Dense { row: normal.row_stride(), ptr: normal.as_ptr().cast_mut() };
        let dy = Dense { row: dy.row_stride(), ptr: dy.as_mut_ptr() };
        // SAFETY: as above; a MatRef vouches for its elements, which are only read.
        unsafe { (self.math.layer_norm_backward)([normal, dy], gain, scales, [d_gain, d_bias]) };
        Ok(())
    }

    /// Softmax and cross-entropy with their gradient, row by row (a row is a sample's logits z):
    ///
    /// - `losses[i] = ln(sum_j e^(z_j - max)) - (z_label - max)`,
    /// - `z_j` becomes `(softmax(z)_j - [j = label]) * scale`.
    ///
    /// # Errors
    /// When there is not one label and one loss for each row, or a label is not below the number of columns, as none is
    /// where there are no columns.
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

    /// `out[j] = x[0][j] + x[1][j] + ...`, in this order: the gradient of a bias. 0 where there are no rows.
    ///
    /// # Errors
    /// When `out` has not one element for each column.
    pub fn column_sums(&self, x: MatRef<'_, f32>, out: &mut [f32]) -> Result<()> {
        check_len("the column sums", out.len(), x.cols())?;
        // SAFETY: as above; a MatRef vouches for its elements.
        unsafe { (self.math.column_sums)(x, out) };
        Ok(())
    }

    /// Runs `iterations` rounds of independent f32 FMAs in registers, and tells how many floating-point operations
    /// those were: timed, it gives the peak that a kernel could reach at the clock of the moment.
    #[must_use]
    pub fn fma_peak_loop(&self, iterations: u64) -> u64 {
        // SAFETY: as above.
        unsafe { (self.math.fma_loop)(iterations) }
    }

    /// Loads `x` from wherever it lies, but for a rest shorter than 8 vectors, and tells how many bytes those were:
    /// timed, it gives the read bandwidth of the cache that holds `x`.
    #[must_use]
    pub fn read_peak_loop(&self, x: &[f32]) -> u64 {
        // SAFETY: as above.
        unsafe { (self.math.read_loop)(x) }
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
        unsafe {
            let state = [m.as_mut_ptr(), v.as_mut_ptr()];
            (self.math.update)(&Update::Adam(*step), gradients.as_ptr(), parameters.as_mut_ptr(), state, n);
        }
        Ok(())
    }

    /// One step of an update rule over parameters, gradients and state, in one pass. `state` holds the first number of
    /// each parameter, and the second, as m and v of Adam, each empty where [`Update::state`] is less.
    ///
    /// # Errors
    /// When the lengths do not go together.
    pub fn update(
        &self,
        rule: &Update,
        gradients: &[f32],
        parameters: &mut [f32],
        state: [&mut [f32]; 2],
    ) -> Result<()> {
        rule.check(gradients, parameters, &state)?;
        let (g, p, n) = (gradients.as_ptr(), parameters.as_mut_ptr(), parameters.len());
        // SAFETY: as above.
        unsafe { (self.math.update)(rule, g, p, state.map(<[f32]>::as_mut_ptr), n) };
        Ok(())
    }

    /// `y[i] = a x[i] + y[i]`, rounded once.
    ///
    /// # Errors
    /// When the lengths differ.
    pub fn axpy(&self, a: f32, x: &[f32], y: &mut [f32]) -> Result<()> {
        check_len("the sum of axpy", y.len(), x.len())?;
        // SAFETY: as above.
        unsafe { (self.math.axpy)(a, x.as_ptr(), y.as_mut_ptr(), x.len()) };
        Ok(())
    }

    /// `x[i] = a x[i]`
    pub fn scale(&self, a: f32, x: &mut [f32]) {
        // SAFETY: as above.
        unsafe { (self.math.scale)(a, x.as_mut_ptr(), x.len()) }
    }

    /// `x[i][j] = x[i][j] + bias[j]`
    ///
    /// # Errors
    /// When the bias has not one element for each column.
    pub fn add_bias(&self, bias: &[f32], x: MatMut<'_, f32>) -> Result<()> {
        check_len("the bias", bias.len(), x.cols())?;
        // SAFETY: as above, for each row; a product with 1 is exact.
        unsafe {
            Rows::new(x).dense(|_, rows| {
                for i in 0..rows.rows() {
                    (self.math.axpy)(1.0, bias.as_ptr(), rows.at(i), bias.len());
                }
            });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference::{function, ulps};

    /// Every exponent with both signs and a spread of significands, all special values, and ordinary numbers.
    fn inputs() -> Vec<f32> {
        // An odd step walks through all of them.
        let mut x: Vec<f32> = (0..=u32::MAX).step_by(16_381).map(f32::from_bits).collect();
        x.extend([
            0.0,
            -0.0,
            1.0,
            -1.0,
            f32::INFINITY,
            -f32::INFINITY,
            f32::NAN,
            f32::MIN_POSITIVE,
            f32::MAX,
            f32::MIN,
        ]);
        x.extend([f32::from_bits(1), -f32::from_bits(1), f32::MIN_POSITIVE / 2.0]);
        x.extend((-11_000..11_000).map(|i| i as f32 * 0.01));
        x
    }

    fn same(a: f32, b: f32) -> bool {
        a.to_bits() == b.to_bits() || a.is_nan() && b.is_nan()
    }

    #[test]
    fn functions_keep_their_bounds_and_rows_give_the_same_bits() {
        let x = inputs();
        for f in Function::ALL {
            let want: Vec<f64> = x.iter().map(|&x| function(f, f64::from(x))).collect();
            let mut first: Option<Vec<f32>> = None;
            for backend in Backend::supported() {
                let mut y = vec![0.0; x.len()];
                backend.map_into(f, &x, &mut y).unwrap();
                let bound = if backend.bits_match() { f.bound() } else { f.plain_bound() };
                for ((&x, &y), &want) in x.iter().zip(&y).zip(&want) {
                    let error = ulps(y, want);
                    assert!(error <= bound, "{backend:?}: {f:?}({x:e}) = {y:e}, not {want:e}: {error} ULP");
                }
                if backend.bits_match() {
                    let first = first.get_or_insert_with(|| y.clone());
                    let at = first.iter().zip(&y).position(|(&a, &b)| !same(a, b));
                    assert_eq!(at.map(|i| x[i]), None, "{backend:?}: {f:?} has other bits");
                }
            }
        }
    }

    /// The table of the documentation is the test.
    #[test]
    fn special_values_are_those_of_the_table() {
        let text = include_str!("../../../docs/numerics.md");
        let rows = text.lines().filter_map(|line| line.strip_prefix("| ")?.strip_suffix(" |"));
        let mut rows = rows.map(|row| row.split(" | ").collect::<Vec<_>>()).skip_while(|row| row[0] != "function");
        let number = |cell: &str| cell.parse::<f32>().unwrap_or_else(|_| panic!("{cell} is no number"));
        let x: Vec<f32> = rows.next().expect("the table is there")[1..].iter().map(|cell| number(cell)).collect();
        for f in Function::ALL {
            let row = rows.by_ref().find(|row| row[0] == f.name()).expect("a line for each function, in their order");
            let want: Vec<f32> = row[1..].iter().map(|cell| number(cell)).collect();
            for backend in Backend::supported() {
                let mut y = x.clone();
                backend.map(f, &mut y);
                // What is no whole or half number is rounded in the table.
                let rounded = |y: f32, want: f32| (2.0 * want).fract() != 0.0 && ulps(y, f64::from(want)) <= 1.0;
                let all = y.iter().zip(&want).all(|(&y, &want)| same(y, want) || rounded(y, want));
                assert_eq!(y.len(), want.len(), "the line of {f:?}");
                assert!(all, "{backend:?}: {f:?} of {x:?} is {y:?}, not {want:?}");
            }
        }
    }

    #[test]
    fn lanes_and_tails_are_alike() {
        for backend in Backend::supported() {
            for f in Function::ALL {
                let x: Vec<f32> = (0..72).map(|i| 0.37 * i as f32 - 9.0).collect();
                let one = |x: f32| {
                    let mut x = [x];
                    backend.map(f, &mut x);
                    x[0]
                };
                let want: Vec<f32> = x.iter().map(|&x| one(x)).collect();
                for len in 0..68 {
                    for start in 0..4 {
                        let mut y = x.clone();
                        backend.map(f, &mut y[start..start + len]);
                        for i in 0..x.len() {
                            let want = if (start..start + len).contains(&i) { want[i] } else { x[i] };
                            assert!(same(y[i], want), "{backend:?}: {f:?} of element {i} of {start}..+{len}");
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn gradients_are_those_of_the_functions() {
        // Corners have no derivative, and lie between these.
        let x: Vec<f32> = (-300..300).map(|i| (i as f32 + 0.5) * 0.05).collect();
        for f in Function::ALL {
            let Function::Activation(a) = f else { continue };
            let mut first: Option<Vec<f32>> = None;
            for backend in Backend::supported() {
                let mut saved = x.clone();
                if a.saved() == Saved::Output {
                    backend.activate(a, &mut saved);
                }
                let mut dy = vec![2.0; x.len()];
                backend.activation_backward(a, &saved, &mut dy).unwrap();
                for (&x, &dy) in x.iter().zip(&dy) {
                    let (x, h) = (f64::from(x), 1e-5);
                    let want = (function(f, x + h) - function(f, x - h)) / h;
                    assert!((f64::from(dy) - want).abs() < 2e-6, "{backend:?}: {f:?} at {x}: {dy}, not {want}");
                }
                if backend.bits_match() {
                    assert_eq!(first.get_or_insert_with(|| dy.clone()), &dy, "{backend:?}: {f:?} has other bits");
                }
            }
        }
    }

    #[test]
    fn gradients_at_special_values() {
        let inf = f32::INFINITY;
        for backend in Backend::supported() {
            for f in Function::ALL {
                let Function::Activation(a) = f else { continue };
                let mut saved = [-inf, inf, f32::NAN];
                if a.saved() == Saved::Output {
                    backend.activate(a, &mut saved);
                }
                let mut dy = [1.0; 3];
                backend.activation_backward(a, &saved, &mut dy).unwrap();
                assert!(dy[0].is_finite() && dy[1].is_finite(), "{backend:?}: {a:?} has slopes {dy:?} at both ends");
                // What only looks at the sign of a NaN lets it pass forward and stops it here.
                let sign = [Activation::Identity, Activation::Relu, Activation::LeakyRelu { alpha: 0.01 }];
                assert!(dy[2].is_nan() || sign.contains(&a), "{backend:?}: {a:?} has slope {} at NaN", dy[2]);
            }
        }
    }

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

    #[test]
    fn matrices_of_any_strides_and_nothing_beside_them() {
        let x: Vec<f32> = (0..200).map(|i| i as f32 * 0.05 - 5.0).collect();
        for backend in Backend::supported() {
            let mut want = x.clone();
            backend.map(Activation::Tanh, &mut want);
            for (row, col) in [(20, 1), (11, 1), (1, 11), (1, 10), (17, 2)] {
                let mut y = x.clone();
                let view = MatMut::with_strides(&mut y, 10, 9, row, col);
                let Ok(view) = view else { panic!("strides {row} and {col} fit") };
                backend.map_matrix(Activation::Tanh, view);
                let mut inside = vec![false; x.len()];
                (0..90).for_each(|i| inside[i / 9 * row + i % 9 * col] = true);
                for i in 0..x.len() {
                    let want = if inside[i] { want[i] } else { x[i] };
                    assert_eq!(y[i].to_bits(), want.to_bits(), "{backend:?}: element {i}, strides {row} and {col}");
                }
            }
        }
    }

    #[test]
    fn lengths_must_agree() {
        let backend = Backend::active().unwrap();
        assert!(backend.map_into(Function::Exp, &[1.0; 2], &mut [0.0; 3]).is_err());
    }
}
