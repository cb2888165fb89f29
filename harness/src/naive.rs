//! What people write before they look for a library: the loops that the kernels are compared with. (Products in the
//! orders i-j-k and i-k-j are in [`kernels::reference`].)

use kernels::{Activation, Function};

/// Rows and columns of the block of B in [`gemm_blocked`]: 16 KiB, half of the first cache of most CPUs.
const BLOCK: usize = 64;

/// C = A B, as [`kernels::reference::gemm_ikj`] but over blocks of B that stay in the first cache. Scalar code, which
/// the compiler may turn into vectors.
///
/// # Panics
/// When a slice is shorter than its matrix.
pub fn gemm_blocked(m: usize, k: usize, n: usize, a: &[f32], (row, col): (usize, usize), b: &[f32], c: &mut [f32]) {
    c[..m * n].fill(0.0);
    for j in (0..n).step_by(BLOCK) {
        let width = BLOCK.min(n - j);
        for p in (0..k).step_by(BLOCK) {
            for i in 0..m {
                let c = &mut c[i * n + j..][..width];
                for p in p..k.min(p + BLOCK) {
                    let x = a[i * row + p * col];
                    for (c, b) in c.iter_mut().zip(&b[p * n + j..][..width]) {
                        *c += x * b;
                    }
                }
            }
        }
    }
}

/// `y[i] = f(x[i])`, over slices of equal length.
pub type Map = Box<dyn Fn(&[f32], &mut [f32])>;

/// A loop over the formula of a function, as its definition has it, with the functions of the standard library (and
/// [`libm::erff`], as there is no erf).
pub fn function(f: Function) -> Map {
    /// Each formula gets a loop of its own, which the compiler sees through.
    fn each(f: impl Fn(f32) -> f32 + 'static) -> Map {
        Box::new(move |x, y| y.iter_mut().zip(x).for_each(|(y, &x)| *y = f(x)))
    }
    let f = match f {
        Function::Exp => return each(f32::exp),
        Function::Exp2 => return each(f32::exp2),
        Function::Expm1 => return each(f32::exp_m1),
        Function::Ln => return each(f32::ln),
        Function::Log1p => return each(f32::ln_1p),
        Function::Erf => return each(libm::erff),
        Function::Activation(f) => f,
        other => unreachable!("{} has no naive loop", other.name()),
    };
    match f {
        Activation::Identity => each(|x| x),
        Activation::Relu => each(|x| x.max(0.0)),
        Activation::LeakyRelu { alpha } => each(move |x| if x < 0.0 { alpha * x } else { x }),
        Activation::Elu { alpha } => each(move |x| if x <= 0.0 { alpha * x.exp_m1() } else { x }),
        Activation::Tanh => each(f32::tanh),
        Activation::Sigmoid => each(|x| 1.0 / (1.0 + (-x).exp())),
        Activation::Gelu => each(|x| 0.5 * x * (1.0 + libm::erff(x * std::f32::consts::FRAC_1_SQRT_2))),
        Activation::GeluTanh => {
            let root = (2.0 / std::f32::consts::PI).sqrt();
            each(move |x| 0.5 * x * (1.0 + (root * (x + 0.044_715 * x * x * x)).tanh()))
        }
        Activation::Silu => each(|x| x / (1.0 + (-x).exp())),
        Activation::Softplus => each(|x| x.exp().ln_1p()),
        Activation::Mish => each(|x| x * x.exp().ln_1p().tanh()),
        Activation::HardSwish => each(|x| x * ((x + 3.0).clamp(0.0, 6.0) / 6.0)),
        other => unreachable!("{} has no naive loop", Function::Activation(other).name()),
    }
}

/// Softmax of a row.
pub fn softmax(row: &mut [f32]) {
    let max = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let mut sum = 0.0;
    for x in row.iter_mut() {
        *x = (*x - max).exp();
        sum += *x;
    }
    for x in row {
        *x /= sum;
    }
}
