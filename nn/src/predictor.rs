//! The trained model at work: predictions for any number of samples, from any number of threads.

use crate::data::Scaler;
use crate::engine::Kernels;
use crate::error::{Result, setting};
use crate::metrics::{above, argmax};
use crate::mlp::Mlp;
use crate::norm::Norm;
use crate::store::{Store, first_mut};
use kernels::{Activation, Backend, Gemm, Layout, MatMut, MatRef, Packed, Plan, Precision, Serial};
use std::cell::RefCell;
use std::mem::swap;

/// Samples that go through the layers together: enough to use a weight many times while it is in a cache, few enough
/// for what is between two layers to stay in one. Results do not depend on it.
const CHUNK: usize = 128;

/// What a [`Predictor`] is asked about: samples one after the other. Slices turn into it by themselves.
#[derive(Clone, Copy, Debug)]
pub enum Samples<'a> {
    /// The features of each sample, as the model was trained with them; its scaler is applied.
    Numbers(&'a [f32]),
    /// The pixels of each image, which count as `pixel / 255`; then the scaler is applied.
    Pixels(&'a [u8]),
}

impl Samples<'_> {
    fn len(&self) -> usize {
        match self {
            Self::Numbers(numbers) => numbers.len(),
            Self::Pixels(pixels) => pixels.len(),
        }
    }

    /// How many samples of `inputs` elements these are.
    pub(crate) fn count(&self, inputs: usize) -> Result<usize> {
        let (found, count) = (self.len(), self.len().checked_div(inputs).unwrap_or(0));
        check_len("the samples", found, count, inputs)?;
        Ok(count)
    }

    /// The part from element `start` on.
    pub(crate) fn part(&self, start: usize, len: usize) -> Self {
        match self {
            Self::Numbers(numbers) => Self::Numbers(&numbers[start..][..len]),
            Self::Pixels(pixels) => Self::Pixels(&pixels[start..][..len]),
        }
    }

    /// As the first layer takes them.
    pub(crate) fn convert(&self, backend: &Backend, scaler: Option<&Scaler>, x: &mut [f32]) -> Result<()> {
        match self {
            Self::Numbers(numbers) => x.copy_from_slice(numbers),
            Self::Pixels(pixels) => backend.scale_bytes(pixels, 1.0 / 255.0, x)?,
        }
        if let Some(scaler) = scaler {
            scaler.apply(x);
        }
        Ok(())
    }
}

impl<'a> From<&'a [f32]> for Samples<'a> {
    fn from(numbers: &'a [f32]) -> Self {
        Self::Numbers(numbers)
    }
}

impl<'a> From<&'a [u8]> for Samples<'a> {
    fn from(pixels: &'a [u8]) -> Self {
        Self::Pixels(pixels)
    }
}

impl<'a, T, const N: usize> From<&'a [T; N]> for Samples<'a>
where
    Self: From<&'a [T]>,
{
    fn from(samples: &'a [T; N]) -> Self {
        samples[..].into()
    }
}

impl<'a, T> From<&'a Vec<T>> for Samples<'a>
where
    Self: From<&'a [T]>,
{
    fn from(samples: &'a Vec<T>) -> Self {
        samples[..].into()
    }
}

/// A class and how probable it is.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Ranked {
    /// The class, from 0.
    pub class: u32,
    /// From 0 to 1; NaN where the outputs of the model are no numbers.
    pub probability: f32,
}

/// A layer as predictions need it.
struct Layer {
    inputs: usize,
    outputs: usize,
    weights: Packed<f32>,
    bias: Store,
    norm: Norm,
    /// Of the normalisation; empty where there is none.
    gamma: Store,
    beta: Store,
    running: Store,
    activation: Activation,
    /// For a sample alone, and for a whole chunk.
    plans: [Plan<f32>; 2],
}

impl Layer {
    /// Numbers that the normalisation of so many samples needs: the sums before it, and what [`Norm::saved`] says.
    fn normalising(&self, rows: usize) -> usize {
        match self.norm {
            Norm::None => 0,
            norm => rows * self.outputs + norm.saved(rows, self.outputs),
        }
    }
}

/// A model made ready for predictions. Many threads can use one at once. A sample's prediction has the same bits alone
/// and in a batch of 10,000, and as [`Mlp::run`] and [`Mlp::probabilities`] give it. Each thread that asks has room of
/// its own, which grows to what the largest call so far needed, so that later ones allocate nothing.
///
/// ```
/// use nn::{Mlp, Predictor};
/// let model = Mlp::new(&[4, 16, 3], 0)?;
/// let predictor = Predictor::new(&model)?;
/// let mut probabilities = [0.0; 3];
/// predictor.probabilities(&[5.1, 3.5, 1.4, 0.2], &mut probabilities)?;
/// assert!((probabilities.iter().sum::<f32>() - 1.0).abs() < 1e-6);
/// # Ok::<(), nn::Error>(())
/// ```
pub struct Predictor {
    layers: Vec<Layer>,
    scaler: Option<Scaler>,
    labels: Vec<String>,
    /// Columns of the widest output of a hidden layer.
    width: usize,
    backend: &'static Backend,
    precision: Precision,
}

thread_local! {
    static ROOM: RefCell<Store> = const { RefCell::new(Store::EMPTY) };
}

/// Calls `f` with room for `len` numbers, whatever they are.
fn with_room<R>(len: usize, f: impl FnOnce(&mut [f32]) -> R) -> R {
    // Not there any more in a destructor of another thread-local value.
    let mut room = ROOM.try_with(|own| own.replace(Store::EMPTY)).unwrap_or(Store::EMPTY);
    if room.len() < len {
        room = Store::zeros(len);
    }
    let result = f(&mut room[..len]);
    let _ = ROOM.try_with(|own| own.replace(room));
    result
}

impl Predictor {
    /// Makes a model ready, for the row of the kernels that suits the CPU or that `KERNELS_ISA` names.
    ///
    /// # Errors
    /// When `KERNELS_ISA` asks for one that this CPU lacks.
    pub fn new(model: &Mlp) -> Result<Self> {
        Self::on(Backend::active()?, model)
    }

    /// [`Self::new`], for this row.
    ///
    /// # Errors
    /// When a layer is too large to be packed.
    pub fn on(backend: &'static Backend, model: &Mlp) -> Result<Self> {
        Self::precise(backend, Precision::F32, model)
    }

    /// [`Self::on`], with products of this precision, for which [`Backend::active_for`] has the row that suits.
    ///
    /// # Errors
    /// As [`Self::on`].
    pub fn precise(backend: &'static Backend, precision: Precision, model: &Mlp) -> Result<Self> {
        let mut layers = Vec::new();
        for (layer, parameters, running) in model.parts() {
            let crate::Dense { inputs, outputs, activation, norm, .. } = *layer;
            let [weights, others @ ..] = layer.parts(parameters);
            let gemm = Gemm::new().backend(backend).precision(precision);
            let weights = gemm.pack_b(MatRef::new(weights, inputs, outputs)?)?;
            let plan = |rows| {
                let (x, y) = (Layout::row_major(rows, inputs), Layout::row_major(rows, outputs));
                gemm.prepare(x, weights.layout(), y)
            };
            let plans = [plan(1)?, plan(CHUNK)?];
            let ([bias, gamma, beta], running) = (others.map(Store::from), running.into());
            layers.push(Layer { inputs, outputs, weights, bias, norm, gamma, beta, running, activation, plans });
        }
        let width = layers[1..].iter().map(|layer| layer.inputs).max().unwrap_or(0);
        Ok(Self { layers, scaler: model.scaler().cloned(), labels: model.labels().into(), width, backend, precision })
    }

    /// Numbers or pixels of a sample.
    pub fn inputs(&self) -> usize {
        self.layers[0].inputs
    }

    /// Numbers that the model puts out for a sample: one for each class.
    pub fn outputs(&self) -> usize {
        self.layers[self.layers.len() - 1].outputs
    }

    /// The names of the classes; empty where nobody gave them.
    pub fn labels(&self) -> &[String] {
        &self.labels
    }

    /// What the last layer puts out for each sample, into `out` (samples x outputs, row-major): logits, or the
    /// predicted values of a regression.
    ///
    /// # Errors
    /// When there are not whole samples, or `out` has another length.
    pub fn run<'a>(&self, samples: impl Into<Samples<'a>>, out: &mut [f32]) -> Result<()> {
        let samples = samples.into();
        let (count, outputs) = (samples.count(self.inputs())?, self.outputs());
        check_len("the outputs", out.len(), count, outputs)?;
        self.parts(samples, count, |first, rows, part| {
            let z = &mut out[first * outputs..][..rows * outputs];
            with_room(self.room(rows), |room| self.forward(part, room, z, |_, _| {}))
        })
    }

    /// Calls `f` with one part of some samples after the other: the index of its first, how many they are, and the
    /// part.
    fn parts<'a>(
        &self,
        samples: Samples<'a>,
        count: usize,
        mut f: impl FnMut(usize, usize, Samples<'a>) -> Result<()>,
    ) -> Result<()> {
        (0..count).step_by(CHUNK).try_for_each(|first| {
            let rows = CHUNK.min(count - first);
            f(first, rows, samples.part(first * self.inputs(), rows * self.inputs()))
        })
    }

    /// The probability of each class for each sample, into `out` (samples x classes, row-major).
    ///
    /// # Errors
    /// As [`Self::run`], or when the model has a single output, which is no class.
    pub fn probabilities<'a>(&self, samples: impl Into<Samples<'a>>, out: &mut [f32]) -> Result<()> {
        check_classes(self.outputs())?;
        self.run(samples, out)?;
        let rows = out.len() / self.outputs();
        self.backend.softmax(MatMut::new(out, rows, self.outputs())?);
        Ok(())
    }

    /// The most probable class of each sample.
    ///
    /// # Errors
    /// As [`Self::probabilities`].
    pub fn classes<'a>(&self, samples: impl Into<Samples<'a>>, out: &mut [u32]) -> Result<()> {
        self.each(samples.into(), out, 1, |z, out| {
            out[0] = argmax(z) as u32;
            Ok(())
        })
    }

    /// The `k` most probable classes of each sample, the most probable first and equals in the order of the classes,
    /// into `out` (samples x k, row-major).
    ///
    /// # Errors
    /// As [`Self::probabilities`], or when `k` is 0 or more than there are classes.
    pub fn top_k<'a>(&self, samples: impl Into<Samples<'a>>, k: usize, out: &mut [Ranked]) -> Result<()> {
        setting("k", k as f64, (1..=self.outputs()).contains(&k), "at least 1 and at most the number of classes")?;
        self.each(samples.into(), out, k, |z, out| {
            let mut len = 0;
            for (class, &logit) in z.iter().enumerate() {
                let at = out[..len].partition_point(|ranked: &Ranked| !above(logit, z[ranked.class as usize]));
                if at < out.len() {
                    len = out.len().min(len + 1);
                    out[at..len].rotate_right(1);
                    out[at] = Ranked { class: class as u32, probability: 0.0 };
                }
            }
            self.backend.softmax(MatMut::new(z, 1, z.len())?);
            out.iter_mut().for_each(|ranked| ranked.probability = z[ranked.class as usize]);
            Ok(())
        })
    }

    /// Calls `f` with the logits of each sample and its `width` elements of `out`.
    fn each<T>(
        &self,
        samples: Samples<'_>,
        out: &mut [T],
        width: usize,
        f: impl Fn(&mut [f32], &mut [T]) -> Result<()>,
    ) -> Result<()> {
        check_classes(self.outputs())?;
        let (count, outputs) = (samples.count(self.inputs())?, self.outputs());
        check_len("the predictions", out.len(), count, width)?;
        self.parts(samples, count, |first, rows, part| {
            with_room(rows * outputs + self.room(rows), |mut room| {
                let z = first_mut(&mut room, rows * outputs);
                self.forward(part, room, z, |_, _| {})?;
                let out = &mut out[first * width..][..rows * width];
                z.chunks_exact_mut(outputs).zip(out.chunks_exact_mut(width)).try_for_each(|(z, out)| f(z, out))
            })
        })
    }

    /// Numbers that so many samples need on their way.
    fn room(&self, rows: usize) -> usize {
        rows * (self.inputs() + 2 * self.width) + self.normalising(rows)
    }

    /// Numbers that the normalisations of so many samples need.
    fn normalising(&self, rows: usize) -> usize {
        self.layers.iter().map(|layer| layer.normalising(rows)).max().unwrap_or(0)
    }

    /// Shows the input of every layer, part of the samples by part.
    pub(crate) fn trace(&self, samples: Samples<'_>, mut see: impl FnMut(usize, &[f32])) -> Result<()> {
        let count = samples.count(self.inputs())?;
        self.parts(samples, count, |_, rows, part| {
            let (mut room, mut z) = (vec![0.0; self.room(rows)], vec![0.0; rows * self.outputs()]);
            self.forward(part, &mut room, &mut z, &mut see)
        })
    }

    /// From the samples to their logits; `see` is shown the input of every layer.
    fn forward(
        &self,
        samples: Samples<'_>,
        mut room: &mut [f32],
        z: &mut [f32],
        mut see: impl FnMut(usize, &[f32]),
    ) -> Result<()> {
        let rows = z.len() / self.outputs();
        let converted = first_mut(&mut room, rows * self.inputs());
        let mut x = match samples {
            Samples::Numbers(numbers) if self.scaler.is_none() => numbers,
            _ => {
                samples.convert(self.backend, self.scaler.as_ref(), converted)?;
                &*converted
            }
        };
        let aside = first_mut(&mut room, self.normalising(rows));
        let (mut here, mut there) = room.split_at_mut(rows * self.width);
        let (last, hidden) = self.layers.split_last().expect("a model has layers");
        for (l, layer) in hidden.iter().enumerate() {
            see(l, x);
            let y = &mut here[..rows * layer.outputs];
            self.layer(layer, rows, x, y, aside)?;
            // The next layer reads this one's output while it writes into the other half.
            swap(&mut here, &mut there);
            x = &there[..rows * layer.outputs];
        }
        see(hidden.len(), x);
        self.layer(last, rows, x, z, aside)
    }

    fn layer(&self, layer: &Layer, rows: usize, x: &[f32], y: &mut [f32], aside: &mut [f32]) -> Result<()> {
        let &Layer { inputs, outputs, ref weights, ref bias, norm, activation, ref plans, .. } = layer;
        let gemm = Gemm::new().backend(self.backend).precision(self.precision).bias(bias);
        let gemm = if norm == Norm::None { gemm.activation(activation) } else { gemm };
        let gemm = match rows {
            1 => gemm.plan(&plans[0]),
            CHUNK => gemm.plan(&plans[1]),
            _ => gemm,
        };
        let x = MatRef::new(x, rows, inputs)?;
        if norm == Norm::None {
            return Ok(gemm.run(x, weights, MatMut::new(y, rows, outputs)?)?);
        }
        let (h, saved) = aside[..layer.normalising(rows)].split_at_mut(rows * outputs);
        gemm.run(x, weights, MatMut::new(&mut *h, rows, outputs)?)?;
        let engine = Kernels { backend: self.backend, par: &Serial, precision: self.precision };
        norm.forward(&engine, [&layer.gamma, &layer.beta], Some(&layer.running), h, y, saved)?;
        self.backend.activate(activation, y);
        Ok(())
    }
}

/// A single output is no class.
pub(crate) fn check_classes(outputs: usize) -> Result<()> {
    setting("number of outputs", outputs as f64, outputs > 1, "at least 2 where classes are asked for")
}

/// Whether so many numbers are those of rows.
pub(crate) fn check_len(what: &'static str, found: usize, rows: usize, width: usize) -> Result<()> {
    let expected = rows.saturating_mul(width);
    if found == expected { Ok(()) } else { Err(kernels::Error::Length { what, expected, found }.into()) }
}
