//! The element types of cases.

use crate::naive;
use kernels::{Gemm, Precision, reference};
use rand::distr::uniform::SampleUniform;
use std::fmt;
use std::ops::Range;

/// A naive loop: m, k, n, A and its strides, B, C.
pub type NaiveProduct<T> = fn(usize, usize, usize, &[T], (usize, usize), &[T], &mut [T]);

/// What a case needs of its numbers.
pub trait Number: kernels::Element + peers::Scalar + SampleUniform + Into<f64> + fmt::LowerExp {
    /// Not a number.
    const NAN: Self;
    /// What random numbers are taken from.
    const RANGE: Range<Self>;
    /// The error of one rounding: half the distance from 1 to the next number.
    const ROUNDING: f64;
    /// The ladder of naive loops, where there is one: i-j-k, i-k-j, blocked.
    const NAIVE: Option<[NaiveProduct<Self>; 3]>;
    /// Its bits.
    fn bits(self) -> u64;
    /// A product in a precision, where products of this type have it.
    fn in_precision(gemm: Gemm<'_, Self>, precision: Precision) -> Option<Gemm<'_, Self>>;
}

impl Number for f32 {
    const NAN: Self = Self::NAN;
    const RANGE: Range<Self> = -1.0..1.0;
    const ROUNDING: f64 = Self::EPSILON as f64 / 2.0;
    const NAIVE: Option<[NaiveProduct<Self>; 3]> =
        Some([reference::gemm_ijk, reference::gemm_ikj, naive::gemm_blocked]);
    fn bits(self) -> u64 {
        self.to_bits().into()
    }
    fn in_precision(gemm: Gemm<'_, Self>, precision: Precision) -> Option<Gemm<'_, Self>> {
        Some(gemm.precision(precision))
    }
}

impl Number for f64 {
    const NAN: Self = Self::NAN;
    const RANGE: Range<Self> = -1.0..1.0;
    const ROUNDING: f64 = Self::EPSILON / 2.0;
    const NAIVE: Option<[NaiveProduct<Self>; 3]> = None;
    fn bits(self) -> u64 {
        self.to_bits()
    }
    fn in_precision(gemm: Gemm<'_, Self>, precision: Precision) -> Option<Gemm<'_, Self>> {
        (precision == Precision::F32).then_some(gemm)
    }
}
