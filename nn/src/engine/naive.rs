//! The engine to compare with: the same mathematics as plain scalar loops, the way they stand in a textbook.

use super::{Activation, Engine, Shape};
use crate::error::Result;
use crate::optim::Adam;
use ::kernels::reference;
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

fn dot(x: &[f32], y: &[f32]) -> f32 {
    zip(x, y).map(|(x, y)| x * y).sum()
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
        match self.order {
            LoopOrder::Ijk => reference::gemm_ijk(rows, inputs, outputs, x, w, y),
            LoopOrder::Ikj => reference::gemm_ikj(rows, inputs, outputs, x, w, y),
        }
        for y in y.chunks_exact_mut(outputs) {
            for (y, b) in zip(y, b) {
                *y = apply(f, *y + b);
            }
        }
        Ok(())
    }

    fn weight_gradient(&self, shape: Shape, x: &[f32], dy: &[f32], dw: &mut [f32]) -> Result<()> {
        let Shape { rows, inputs, outputs } = shape;
        match self.order {
            LoopOrder::Ijk => {
                for p in 0..inputs {
                    for j in 0..outputs {
                        let mut sum = 0.0;
                        for i in 0..rows {
                            sum += x[i * inputs + p] * dy[i * outputs + j];
                        }
                        dw[p * outputs + j] = sum;
                    }
                }
            }
            LoopOrder::Ikj => {
                dw.fill(0.0);
                for (p, dw) in dw.chunks_exact_mut(outputs).enumerate() {
                    for (i, dy) in dy.chunks_exact(outputs).enumerate() {
                        add_scaled(x[i * inputs + p], dy, dw);
                    }
                }
            }
        }
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
            *dy *= slope(f, *saved);
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

    fn adam(
        &self,
        adam: &Adam,
        t: u64,
        gradient: &[f32],
        parameters: &mut [f32],
        (m, v): (&mut [f32], &mut [f32]),
    ) -> Result<()> {
        let &Adam { learning_rate, beta1, beta2, epsilon } = adam;
        let rest = |beta: f32| 1.0 - f64::from(beta).powf(t as f64);
        let rate = (f64::from(learning_rate) * rest(beta2).sqrt() / rest(beta1)) as f32;
        for (((g, p), m), v) in zip(gradient, parameters).zip(m).zip(v) {
            *m += (g - *m) * (1.0 - beta1);
            *v += (g * g - *v) * (1.0 - beta2);
            *p -= rate * *m / (v.sqrt() + epsilon);
        }
        Ok(())
    }
}

/// `f(z)`.
fn apply(f: Activation, z: f32) -> f32 {
    match f {
        Activation::Identity => z,
        Activation::Relu if z < 0.0 => 0.0,
        Activation::LeakyRelu { alpha } if z < 0.0 => alpha * z,
        Activation::Elu { alpha } if z < 0.0 => alpha * z.exp_m1(),
        Activation::Relu | Activation::LeakyRelu { .. } | Activation::Elu { .. } => z,
        Activation::Tanh => z.tanh(),
        Activation::Sigmoid => 1.0 / (1.0 + (-z).exp()),
        Activation::Gelu => z * normal(z),
        Activation::Silu => z / (1.0 + (-z).exp()),
        Activation::Softplus => z.max(0.0) + (-z.abs()).exp().ln_1p(),
    }
}

/// `f'(z)`, from `z` where [`Activation::needs_input`], else from `f(z)`.
fn slope(f: Activation, saved: f32) -> f32 {
    let sigmoid = 1.0 / (1.0 + (-saved).exp());
    match f {
        Activation::Identity => 1.0,
        Activation::Relu => f32::from(u8::from(saved > 0.0)),
        Activation::LeakyRelu { alpha } => {
            if saved < 0.0 {
                alpha
            } else {
                1.0
            }
        }
        Activation::Elu { alpha } => {
            if saved < 0.0 {
                alpha * saved.exp()
            } else {
                1.0
            }
        }
        Activation::Tanh => 1.0 - saved * saved,
        Activation::Sigmoid => saved * (1.0 - saved),
        Activation::Gelu => {
            let density = (-0.5 * saved * saved).exp() * (0.5 * std::f32::consts::FRAC_1_PI).sqrt();
            normal(saved) + saved * density
        }
        Activation::Silu => sigmoid * (1.0 + saved * (1.0 - sigmoid)),
        Activation::Softplus => sigmoid,
    }
}

/// The normal distribution function.
fn normal(z: f32) -> f32 {
    0.5 * libm::erfcf(-z * std::f32::consts::FRAC_1_SQRT_2)
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
