//! The engine to compare with: the same mathematics as plain scalar loops, the way they stand in a textbook.

use super::{Engine, Shape};
use crate::error::Result;
use ::kernels::{Activation, Adam, Update, reference};
use std::iter::zip;

/// Order of the three loops of a matrix product.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoopOrder {
    /// Row, column, sum: each element of the result is one dot product, as the definition reads.
    Ijk,
    /// Row, sum, column: the innermost loop runs along rows of memory, which a compiler can vectorise.
    Ikj,
}

/// Plain loops, one thread. Its `exp` and `ln` are those of the platform, so its last bits may differ between systems.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Naive {
    /// How matrix products loop.
    pub order: LoopOrder,
}

/// `y += a * x`.
fn add_scaled(a: f32, x: &[f32], y: &mut [f32]) {
    for (y, x) in zip(y, x) {
        *y += a * x;
    }
}

fn mean(x: impl ExactSizeIterator<Item = f32>) -> f32 {
    let len = x.len();
    x.sum::<f32>() / len as f32
}

fn dot(x: &[f32], y: &[f32]) -> f32 {
    zip(x, y).map(|(x, y)| x * y).sum()
}

/// A product `m x k x n`: the first operand and its strides, the second, the result.
type Product = fn(usize, usize, usize, &[f32], (usize, usize), &[f32], &mut [f32]);

impl Naive {
    fn product(self) -> Product {
        match self.order {
            LoopOrder::Ijk => reference::gemm_ijk,
            LoopOrder::Ikj => reference::gemm_ikj,
        }
    }
}

impl Engine for Naive {
    fn scale_bytes(&self, bytes: &[u8], scale: f32, out: &mut [f32]) -> Result<()> {
        for (out, &byte) in zip(out, bytes) {
            *out = f32::from(byte) * scale;
        }
        Ok(())
    }

    fn dense(&self, shape: Shape, x: &[f32], w: &[f32], b: &[f32], f: Activation, y: &mut [f32]) -> Result<()> {
        let Shape { rows, inputs, outputs } = shape;
        self.product()(rows, inputs, outputs, x, (inputs, 1), w, y);
        for y in y.chunks_exact_mut(outputs) {
            for (y, b) in zip(y, b) {
                *y = apply(f, *y + b);
            }
        }
        Ok(())
    }

    fn weight_gradient(&self, shape: Shape, x: &[f32], dy: &[f32], dw: &mut [f32]) -> Result<()> {
        let Shape { rows, inputs, outputs } = shape;
        self.product()(inputs, rows, outputs, x, (1, inputs), dy, dw);
        Ok(())
    }

    fn bias_gradient(&self, shape: Shape, dy: &[f32], db: &mut [f32]) -> Result<()> {
        db.fill(0.0);
        for dy in dy.chunks_exact(shape.outputs) {
            add_scaled(1.0, dy, db);
        }
        Ok(())
    }

    /// Both operands are read along their rows, so either order is one of dot products.
    fn input_gradient(&self, shape: Shape, dy: &[f32], w: &[f32], dx: &mut [f32]) -> Result<()> {
        for (dx, dy) in zip(dx.chunks_exact_mut(shape.inputs), dy.chunks_exact(shape.outputs)) {
            for (dx, w) in zip(dx, w.chunks_exact(shape.outputs)) {
                *dx = dot(dy, w);
            }
        }
        Ok(())
    }

    fn activate(&self, f: Activation, z: &[f32], y: &mut [f32]) -> Result<()> {
        for (z, y) in zip(z, y) {
            *y = apply(f, *z);
        }
        Ok(())
    }

    fn activation_gradient(&self, f: Activation, saved: &[f32], dy: &mut [f32]) -> Result<()> {
        for (saved, dy) in zip(saved, dy) {
            *dy *= slope(f, (*saved).into()) as f32;
        }
        Ok(())
    }

    fn layer_norm(
        &self,
        [gamma, beta]: [&[f32]; 2],
        epsilon: f32,
        h: &mut [f32],
        z: &mut [f32],
        scales: &mut [f32],
    ) -> Result<()> {
        let outputs = gamma.len();
        for ((h, z), scale) in zip(h.chunks_exact_mut(outputs), z.chunks_exact_mut(outputs)).zip(scales) {
            let mean = mean(h.iter().copied());
            *scale = 1.0 / (self::mean(h.iter().map(|h| (h - mean) * (h - mean))) + epsilon).sqrt();
            for ((h, z), (gamma, beta)) in zip(h, z).zip(zip(gamma, beta)) {
                *h = (*h - mean) * *scale;
                *z = gamma * *h + beta;
            }
        }
        Ok(())
    }

    fn layer_norm_gradient(
        &self,
        gamma: &[f32],
        x: &[f32],
        scales: &[f32],
        dz: &mut [f32],
        [dgamma, dbeta]: [&mut [f32]; 2],
    ) -> Result<()> {
        dgamma.fill(0.0);
        dbeta.fill(0.0);
        let outputs = gamma.len();
        for ((dz, x), scale) in zip(dz.chunks_exact_mut(outputs), x.chunks_exact(outputs)).zip(scales) {
            add_scaled(1.0, dz, dbeta);
            for ((dgamma, gamma), (dz, x)) in zip(&mut *dgamma, gamma).zip(zip(&mut *dz, x)) {
                *dgamma += *dz * x;
                *dz *= gamma;
            }
            let (level, slope) = (mean(dz.iter().copied()), dot(dz, x) / outputs as f32);
            zip(dz, x).for_each(|(dz, x)| *dz = (*dz - level - x * slope) * scale);
        }
        Ok(())
    }

    fn softmax(&self, classes: usize, logits: &mut [f32]) -> Result<()> {
        for z in logits.chunks_exact_mut(classes) {
            softmax_row(z);
        }
        Ok(())
    }

    fn softmax_cross_entropy(
        &self,
        classes: usize,
        logits: &mut [f32],
        labels: &[u32],
        scale: f32,
        losses: &mut [f32],
    ) -> Result<()> {
        for ((z, &label), loss) in zip(logits.chunks_exact_mut(classes), labels).zip(losses) {
            let of_label = z[label as usize];
            let (max, sum) = softmax_row(z);
            *loss = sum.ln() - (of_label - max);
            z[label as usize] -= 1.0;
            for z in z {
                *z *= scale;
            }
        }
        Ok(())
    }

    fn update(&self, rule: &Update, gradient: &[f32], parameters: &mut [f32], state: [&mut [f32]; 2]) -> Result<()> {
        let [first, second] = state;
        let adam = |step: &Adam, keep: f32, parameters: &mut [f32], first: &mut [f32]| {
            for (((g, p), m), v) in zip(gradient, parameters).zip(first).zip(second) {
                *m += (g - *m) * (1.0 - step.beta1);
                *v += (g * g - *v) * (1.0 - step.beta2);
                *p = *p * keep - step.rate * *m / (v.sqrt() + step.epsilon);
            }
        };
        let each = |parameters: &mut [f32], first: &mut [f32], f: &dyn Fn(f32, &mut f32, &mut f32)| {
            zip(zip(gradient, parameters), first).for_each(|((g, p), s)| f(*g, p, s));
        };
        match *rule {
            Update::Sgd { rate } => add_scaled(-rate, gradient, parameters),
            Update::Momentum { rate, momentum } => each(parameters, first, &|g, p, v| {
                *v = momentum * *v - rate * g;
                *p += *v;
            }),
            Update::Nesterov { rate, momentum } => each(parameters, first, &|g, p, v| {
                *v = momentum * *v - rate * g;
                *p += momentum * *v - rate * g;
            }),
            Update::Adagrad { rate, epsilon } => each(parameters, first, &|g, p, s| {
                *s += g * g;
                *p -= rate * g / (s.sqrt() + epsilon);
            }),
            Update::RmsProp { rate, rho, epsilon } => each(parameters, first, &|g, p, v| {
                *v += (g * g - *v) * (1.0 - rho);
                *p -= rate * g / (v.sqrt() + epsilon);
            }),
            Update::Adam(ref step) => adam(step, 1.0, parameters, first),
            Update::AdamW { adam: ref step, keep } => adam(step, keep, parameters, first),
            _ => unimplemented!("{rule:?} has no naive loop"),
        }
        Ok(())
    }
}

/// `f(z)`.
fn apply(f: Activation, z: f32) -> f32 {
    reference::function(f.into(), z.into()) as f32
}

/// `f'(z)`, from `z` or from `f(z)`, as [`Activation::saved`] says.
fn slope(f: Activation, saved: f64) -> f64 {
    use std::f64::consts::{FRAC_1_PI, FRAC_1_SQRT_2};
    let z = saved;
    let sigmoid = 1.0 / (1.0 + (-z).exp());
    match f {
        Activation::Relu => f64::from(u8::from(saved > 0.0)),
        Activation::LeakyRelu { alpha } if z < 0.0 => alpha.into(),
        Activation::Elu { alpha } if z < 0.0 => f64::from(alpha) * z.exp(),
        Activation::Tanh => 1.0 - saved * saved,
        Activation::Sigmoid => saved * (1.0 - saved),
        Activation::Gelu => {
            let density = (-0.5 * z * z).exp() * (0.5 * FRAC_1_PI).sqrt();
            0.5 * libm::erfc(-z * FRAC_1_SQRT_2) + z * density
        }
        Activation::GeluTanh => {
            let (root, cube) = ((2.0 * FRAC_1_PI).sqrt(), 0.044_715);
            let tanh = (root * (z + cube * z * z * z)).tanh();
            0.5 * (1.0 + tanh) + 0.5 * z * (1.0 - tanh * tanh) * root * (1.0 + 3.0 * cube * z * z)
        }
        Activation::Silu => sigmoid * (1.0 + z * (1.0 - sigmoid)),
        Activation::Softplus => sigmoid,
        Activation::Mish => {
            let tanh = z.exp().ln_1p().tanh();
            tanh + z * sigmoid * (1.0 - tanh * tanh)
        }
        Activation::HardSwish if z.abs() < 3.0 => (2.0 * z + 3.0) / 6.0,
        Activation::HardSwish => f64::from(u8::from(z > 0.0)),
        // Identity, and the upper halves of the above.
        _ => 1.0,
    }
}

/// Logits become probabilities; returns the largest logit and the sum of `exp(z - largest)`.
fn softmax_row(z: &mut [f32]) -> (f32, f32) {
    let max = z.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let mut sum = 0.0;
    for z in &mut *z {
        *z = (*z - max).exp();
        sum += *z;
    }
    for z in z {
        *z /= sum;
    }
    (max, sum)
}
