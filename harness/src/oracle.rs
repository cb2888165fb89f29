//! The functions of the kernels in f64, from the crate `libm`: the same bits on every machine.
//!
//! `kernels::reference::function` is the same with the functions of the platform, and others for erf; a test compares
//! them.
//!
//! libm's functions are wrong by less than 1 ULP of f64 (erfc and tanh by less than 2 to 3), those composed of them
//! here by some more, and x / sqrt 2, rounded, moves erfc by a factor of up to 1 + x^2 2^-53: all together below
//! 2^-20 ULP of an f32.

use kernels::{Activation, Function};

/// `f(x)`; at -Inf, where the formulas of the activations are 0 x Inf, the limit.
pub fn function(f: Function, x: f64) -> f64 {
    let f = match f {
        Function::Exp => return libm::exp(x),
        Function::Exp2 => return libm::exp2(x),
        Function::Expm1 => return libm::expm1(x),
        Function::Ln => return libm::log(x),
        Function::Log1p => return libm::log1p(x),
        Function::Erf => return libm::erf(x),
        Function::Activation(f) => f,
        other => return kernels::reference::function(other, x),
    };
    match f {
        Activation::Elu { alpha } if x <= 0.0 => f64::from(alpha) * libm::expm1(x),
        Activation::Tanh => libm::tanh(x),
        Activation::Sigmoid => logistic(x),
        Activation::Softplus => x.max(0.0) + libm::log1p(libm::exp(-x.abs())),
        Activation::Gelu | Activation::GeluTanh | Activation::Silu | Activation::Mish if x == f64::NEG_INFINITY => -0.0,
        Activation::Gelu => x * 0.5 * libm::erfc(-x * std::f64::consts::FRAC_1_SQRT_2),
        Activation::GeluTanh => {
            let factor = 2.0 * std::f64::consts::FRAC_2_SQRT_PI * std::f64::consts::FRAC_1_SQRT_2;
            x * logistic(factor * (x + 0.044_715 * x * x * x))
        }
        Activation::Silu => x * logistic(x),
        Activation::Mish => {
            // tanh(ln(1 + z)) = z (z + 2) / (z (z + 2) + 2), which is 1 from 40 on
            let z = libm::exp(x.min(40.0));
            let n = z * (z + 2.0);
            x * (n / (n + 2.0))
        }
        // Those without a function of libm.
        other => kernels::reference::function(other.into(), x),
    }
}

fn logistic(x: f64) -> f64 {
    1.0 / (1.0 + libm::exp(-x))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two ways of computing a function would not have the same error.
    #[test]
    fn both_references_agree_to_a_millionth_of_an_ulp() {
        for f in Function::ALL {
            for bits in (0..=u32::MAX).step_by(65_537) {
                let x = f64::from(f32::from_bits(bits));
                let (a, b) = (function(f, x), kernels::reference::function(f, x));
                // Below 2^-149 nothing is left of a relative error.
                let same = a.to_bits() == b.to_bits() || a.is_nan() && b.is_nan();
                let near = (a - b).abs() <= 1e-6 * f64::from(f32::EPSILON) * a.abs().max(f64::from(f32::MIN_POSITIVE));
                assert!(same || near && a.is_sign_negative() == b.is_sign_negative(), "{f:?}({x:e}): {a:e} and {b:e}");
            }
        }
    }
}
