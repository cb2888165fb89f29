//! Judges a result: its error against an oracle in f64, and its bits against another row's.

use crate::number::Number;
use kernels::MatRef;
use std::fmt;

/// The largest errors of a result.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Accuracy {
    /// The largest error in the unit that suits the work: see [`Oracle`].
    pub scaled: f64,
    /// The largest error as it is.
    pub absolute: f64,
    /// The root of the mean square of the errors as they are.
    pub rms: f64,
}

/// The true result, computed in f64, and how far a result may be from it.
pub struct Oracle {
    exact: Vec<f64>,
    /// One unit of error for each element.
    unit: Vec<f64>,
}

impl Oracle {
    /// For a matrix product in the type `T`. The unit is the error of one rounding of |A||B|, `magnitude`.
    pub fn product<T: Number>(exact: Vec<f64>, magnitude: Vec<f64>) -> Self {
        let unit = magnitude.into_iter().map(|x| x * T::ROUNDING).collect();
        Self { exact, unit }
    }

    /// For functions of one number. The unit is the ULP: the distance between f32s around the exact value.
    pub fn function(exact: Vec<f64>) -> Self {
        let unit = exact.iter().map(|&x| ulp(x)).collect();
        Self { exact, unit }
    }

    /// The errors; an `Err` when one is more than `bound` units or a result is not a number.
    pub fn judge<T: Number>(&self, result: &[T], bound: f64) -> Result<Accuracy, Wrong> {
        assert_eq!(result.len(), self.exact.len(), "a case and its oracle disagree about the size");
        let mut worst = Accuracy { scaled: 0.0, absolute: 0.0, rms: 0.0 };
        for (index, ((&got, &exact), &unit)) in result.iter().zip(&self.exact).zip(&self.unit).enumerate() {
            let got = got.into();
            let absolute = (got - exact).abs();
            // A product with a row of zeros has no unit, but then it is exact.
            let scaled = if absolute == 0.0 { 0.0 } else { absolute / unit };
            if scaled.is_nan() || scaled > bound {
                return Err(Wrong::Value { index, got, exact, units: scaled, bound });
            }
            worst.scaled = worst.scaled.max(scaled);
            worst.absolute = worst.absolute.max(absolute);
            worst.rms += absolute * absolute;
        }
        worst.rms = (worst.rms / result.len().max(1) as f64).sqrt();
        Ok(worst)
    }
}

/// The distance between neighbouring f32s at `x`, subnormal ones included.
fn ulp(x: f64) -> f64 {
    let exponent = (x.abs().to_bits() >> 52) as i32 - 1023;
    f64::from(exponent.max(-126) - 23).exp2()
}

/// Compares bits, any NaN being equal to any other.
pub fn same_bits<T: Number>(this: &[T], other: &[T]) -> Result<(), Wrong> {
    let is_nan = |x: T| x.into().is_nan();
    let differ = |(&a, &b): (&T, &T)| a.bits() != b.bits() && !(is_nan(a) && is_nan(b));
    let text = |x: T| format!("{x:e} ({:0width$x})", x.bits(), width = 2 * size_of::<T>());
    match this.iter().zip(other).position(differ) {
        Some(index) => Err(Wrong::Bits { index, this: text(this[index]), other: text(other[index]) }),
        None => Ok(()),
    }
}

/// A B and |A| |B|, row-major, rounded once to f64 because sums of integers are exact.
///
/// # Panics
/// When a number is not a multiple of 2^-52 between -1 and 1.
pub fn exact_product<T: Number>(a: MatRef<'_, T>, b: MatRef<'_, T>) -> (Vec<f64>, Vec<f64>) {
    const ONE: f64 = (1u64 << 52) as f64;
    let rows_of = |x: MatRef<'_, T>| -> Vec<i64> {
        let (rows, cols) = x.shape();
        let fixed = |at: usize| {
            let scaled = x.get(at / cols, at % cols).into() * ONE;
            assert!(scaled.fract() == 0.0 && scaled.abs() <= ONE, "this product would not be exact");
            scaled as i64
        };
        (0..rows * cols).map(fixed).collect()
    };
    let k = a.cols();
    let (rows, columns) = (rows_of(a), rows_of(b.t()));
    let entry = |(row, column): (&[i64], &[i64])| {
        let (mut sum, mut magnitude) = (0i128, 0i128);
        for (&x, &y) in row.iter().zip(column) {
            let product = i128::from(x) * i128::from(y);
            sum += product;
            magnitude += product.abs();
        }
        (sum as f64 / (ONE * ONE), magnitude as f64 / (ONE * ONE))
    };
    rows.chunks_exact(k).flat_map(|row| columns.chunks_exact(k).map(move |column| entry((row, column)))).unzip()
}

/// What is wrong with a result.
#[derive(Debug, Clone, PartialEq)]
pub enum Wrong {
    /// The call was refused.
    Refused(kernels::Error),
    /// An element is too far from the truth.
    Value {
        /// Its place in the result.
        index: usize,
        /// What was computed.
        got: f64,
        /// The truth.
        exact: f64,
        /// The error, in the oracle's unit.
        units: f64,
        /// The largest error allowed.
        bound: f64,
    },
    /// Two results that must agree bit for bit do not.
    Bits {
        /// Place of the first difference.
        index: usize,
        /// What was computed, and its bits.
        this: String,
        /// What the other row computed, and its bits.
        other: String,
    },
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(error) => error.fmt(f),
            Self::Value { index, got, exact, units, bound } => write!(
                f,
                "element {index} is {got:e} instead of {exact:e}: {units:.1} units off, at most {bound:.1} allowed"
            ),
            Self::Bits { index, this, other } => {
                write!(f, "the bits of element {index} differ: {this} here, {other} there")
            }
        }
    }
}

impl std::error::Error for Wrong {}

impl From<kernels::Error> for Wrong {
    fn from(error: kernels::Error) -> Self {
        Self::Refused(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ulp_is_the_distance_to_the_next_f32() {
        for x in [1.0f32, 1.5, 2.0, 3e38, 1e-40, f32::MIN_POSITIVE, 0.1] {
            assert_eq!(ulp(f64::from(x)), f64::from(x.next_up()) - f64::from(x), "{x:e}");
        }
        assert_eq!(ulp(0.0), f64::from(f32::from_bits(1)));
    }

    #[test]
    fn errors_are_measured_in_the_units_of_the_work() {
        let product = Oracle::product::<f32>(vec![1.0], vec![4.0]);
        let off = 1.0 + 3.0 * f32::EPSILON;
        let error = f64::from(off) - 1.0;
        assert_eq!(product.judge(&[off], 8.0).unwrap(), Accuracy { scaled: 1.5, absolute: error, rms: error });
        assert!(product.judge(&[off], 1.4).is_err());

        let function = Oracle::function(vec![1.0, 0.0]);
        assert!(matches!(function.judge(&[off, 0.0], 2.0), Err(Wrong::Value { units: 3.0, .. })));
        assert_eq!(function.judge(&[off, 0.0], 3.0).unwrap().rms, (error * error / 2.0).sqrt());
    }

    #[test]
    fn exact_products_lose_nothing() {
        // f64 would lose the middle term.
        let tiny = (-30f64).exp2();
        let (a, b) = ([1.0, tiny, -1.0], [0.5, tiny, 0.5]);
        let (exact, magnitude) = exact_product(MatRef::new(&a, 1, 3).unwrap(), MatRef::new(&b, 3, 1).unwrap());
        assert_eq!((exact, magnitude), (vec![tiny * tiny], vec![1.0]));
    }

    #[test]
    fn what_was_never_written_is_found() {
        let oracle = Oracle::product::<f32>(vec![0.0, 0.0], vec![0.0, 1.0]);
        assert!(oracle.judge(&[0.0, 0.0], f64::INFINITY).is_ok());
        assert!(oracle.judge(&[0.0, f32::NAN], f64::INFINITY).is_err());
        assert!(oracle.judge(&[1e-30, 0.0], 4.0).is_err());
    }

    #[test]
    fn bits_tell_zeros_apart_but_not_nans() {
        assert!(same_bits(&[f32::NAN, 1.0], &[-f32::NAN, 1.0]).is_ok());
        assert!(matches!(same_bits(&[1.0, 0.0], &[1.0, -0.0]), Err(Wrong::Bits { index: 1, .. })));
    }
}
