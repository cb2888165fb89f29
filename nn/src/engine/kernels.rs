//! The engine that trains: every routine is a call of the crate `kernels`.

use super::{Engine, Shape};
use crate::error::Result;
use ::kernels::{Activation, Backend, Gemm, MatMut, MatRef, Par, Precision, Serial, Update};

/// SIMD kernels: the same bits on every backend whose [`Backend::bits_match`] is true, with any number of threads.
#[derive(Clone, Copy)]
pub struct Kernels<'a> {
    /// The instruction set.
    pub backend: &'static Backend,
    /// The threads.
    pub par: &'a dyn Par,
    /// How exactly matrices are multiplied; [`Precision::F32`] is the default.
    pub precision: Precision,
}

impl Kernels<'static> {
    /// The instruction set of [`Backend::active`], on the calling thread alone.
    ///
    /// # Errors
    /// When `KERNELS_ISA` asks for one that this CPU lacks.
    pub fn active() -> Result<Self> {
        Ok(Self { backend: Backend::active()?, par: &Serial, precision: Precision::F32 })
    }
}

impl Kernels<'_> {
    fn gemm(&self) -> Gemm<'_, f32> {
        Gemm::new().backend(self.backend).par(self.par).precision(self.precision)
    }
}

impl Engine for Kernels<'_> {
    fn scale_bytes(&self, bytes: &[u8], scale: f32, out: &mut [f32]) -> Result<()> {
        Ok(self.backend.scale_bytes(bytes, scale, out)?)
    }

    fn dense(&self, shape: Shape, x: &[f32], w: &[f32], b: &[f32], f: Activation, y: &mut [f32]) -> Result<()> {
        let Shape { rows, inputs, outputs } = shape;
        let (x, w) = (MatRef::new(x, rows, inputs)?, MatRef::new(w, inputs, outputs)?);
        Ok(self.gemm().bias(b).activation(f).run(x, w, MatMut::new(y, rows, outputs)?)?)
    }

    fn weight_gradient(&self, shape: Shape, x: &[f32], dy: &[f32], dw: &mut [f32]) -> Result<()> {
        let Shape { rows, inputs, outputs } = shape;
        let (x, dy) = (MatRef::new(x, rows, inputs)?, MatRef::new(dy, rows, outputs)?);
        Ok(self.gemm().run(x.t(), dy, MatMut::new(dw, inputs, outputs)?)?)
    }

    fn bias_gradient(&self, shape: Shape, dy: &[f32], db: &mut [f32]) -> Result<()> {
        Ok(self.backend.column_sums(MatRef::new(dy, shape.rows, shape.outputs)?, db)?)
    }

    fn input_gradient(&self, shape: Shape, dy: &[f32], w: &[f32], dx: &mut [f32]) -> Result<()> {
        let Shape { rows, inputs, outputs } = shape;
        let (dy, w) = (MatRef::new(dy, rows, outputs)?, MatRef::new(w, inputs, outputs)?);
        Ok(self.gemm().run(dy, w.t(), MatMut::new(dx, rows, inputs)?)?)
    }

    fn activate(&self, f: Activation, z: &[f32], y: &mut [f32]) -> Result<()> {
        Ok(self.backend.map_into(f, z, y)?)
    }

    fn activation_gradient(&self, f: Activation, saved: &[f32], dy: &mut [f32]) -> Result<()> {
        Ok(self.backend.activation_backward(f, saved, dy)?)
    }

    fn layer_norm(
        &self,
        [gamma, beta]: [&[f32]; 2],
        epsilon: f32,
        h: &mut [f32],
        z: &mut [f32],
        scales: &mut [f32],
    ) -> Result<()> {
        let (rows, outputs) = (scales.len(), gamma.len());
        let (h, z) = (MatMut::new(h, rows, outputs)?, MatMut::new(z, rows, outputs)?);
        Ok(self.backend.layer_norm(h, gamma, beta, epsilon, z, scales)?)
    }

    fn layer_norm_gradient(
        &self,
        gamma: &[f32],
        x: &[f32],
        scales: &[f32],
        dz: &mut [f32],
        [dgamma, dbeta]: [&mut [f32]; 2],
    ) -> Result<()> {
        let (rows, outputs) = (scales.len(), gamma.len());
        let (x, dz) = (MatRef::new(x, rows, outputs)?, MatMut::new(dz, rows, outputs)?);
        Ok(self.backend.layer_norm_backward(x, scales, gamma, dz, dgamma, dbeta)?)
    }

    fn softmax(&self, classes: usize, logits: &mut [f32]) -> Result<()> {
        let rows = logits.len() / classes;
        self.backend.softmax(MatMut::new(logits, rows, classes)?);
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
        let logits = MatMut::new(logits, labels.len(), classes)?;
        Ok(self.backend.softmax_cross_entropy(logits, labels, scale, losses)?)
    }

    fn update(&self, rule: &Update, gradient: &[f32], parameters: &mut [f32], state: [&mut [f32]; 2]) -> Result<()> {
        Ok(self.backend.on(self.par).update(rule, gradient, parameters, state)?)
    }
}
