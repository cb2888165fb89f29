//! Models in 8 bits, made after training: a quarter of the size, integer products.
//!
//! ```text
//! weights      q_w = round(w / s_w), s_w = max |w| / 127 of each output          from -127 to 127
//! inputs       q_x = clamp(round(x / s_x) + z, 0, 255) of each layer             s_x and z from a sample
//! product      a = Σ (q_x - z) q_w = Σ q_x q_w - z Σ q_w                         exact, in i32
//! output       y = f(a (s_x s_w) + b)                                            f32, two roundings before f
//! ```
//!
//! `round` takes ties to even, `x / s_x` is `x (1 / s_x)` with the reciprocal rounded, and the bias stays f32. `y` is
//! the `x` of the next layer; the last layer's are the outputs. Every step has one result, so a prediction has the same
//! bits on every machine, alone or in a batch. No byte stands for NaN: a sample with one has NaN outputs.

use crate::checkpoint::{EIGHT_BITS, Kind, checksum, error, open_as, read_file};
use crate::data::{Dataset, Scaler};
use crate::dense::Dense;
use crate::error::{Result, setting};
use crate::files::write_whole;
use crate::metrics::argmax;
use crate::mlp::{Mlp, check, check_labels, count};
use crate::predictor::{Predictor, Samples, check_classes, check_len};
use crate::store::{floats, le_bytes};
use kernels::{Backend, MatMut};
use safetensors::tensor::{Dtype, TensorView, serialize};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};
use std::path::Path;

/// The version of the file.
const FORMAT: u32 = 1;
/// Inputs of a layer whose products can't overflow: 255 * 127 of each.
const LONGEST: usize = i32::MAX as usize / (255 * 127);

/// Which range of a layer's inputs, as a sample shows them, 8 bits are spread over. What lies outside becomes an end of
/// it; 0 is always inside and exact.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Calibration {
    /// From the smallest to the largest.
    MinMax,
    /// Without this share of the values at each end, below one half: outliers cost the others no precision.
    Percentile(f64),
}

/// How numbers become bytes: `round(x / scale) + zero`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Coding {
    scale: f32,
    zero: u8,
}

impl Coding {
    /// For numbers from `low` to `high`.
    fn of(low: f32, high: f32) -> Self {
        let (low, high) = (low.min(0.0), high.max(0.0));
        let scale = ((f64::from(high) - f64::from(low)) / 255.0) as f32;
        // Nothing but zeros, or so small that the reciprocal would overflow.
        if scale < f32::MIN_POSITIVE {
            return Self { scale: 1.0, zero: 0 };
        }
        Self { scale, zero: (-low / scale).round_ties_even() as u8 }
    }

    fn encode(self, x: &[f32], q: &mut [u8]) {
        let inverse = 1.0 / self.scale;
        for (x, q) in x.iter().zip(q) {
            // What is out of range becomes an end of it.
            *q = ((x * inverse).round_ties_even() + f32::from(self.zero)) as u8;
        }
    }
}

struct Layer {
    shape: Dense,
    input: Coding,
    /// inputs x outputs, row-major.
    weights: Vec<i8>,
    /// Of the weights of each output.
    scales: Vec<f32>,
    bias: Vec<f32>,
}

/// A model in 8 bits. Many threads can use one at once.
pub struct Quantized {
    layers: Vec<Layer>,
    scaler: Option<Scaler>,
    labels: Vec<String>,
    backend: &'static Backend,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    format: u32,
    /// Of this crate.
    version: String,
    /// As in a checkpoint.
    crc32: u32,
    layers: Vec<Dense>,
    inputs: Vec<Coding>,
    scaler: Option<Scaler>,
    labels: Vec<String>,
}

impl Quantized {
    /// Quantises a model; the sample shows what its layers meet. Some hundred typical samples are enough.
    ///
    /// # Errors
    /// When the samples do not fit the model or there are none, a weight or an input is not finite, a layer has more
    /// than 66,311 inputs, or the percentile is out of range.
    pub fn new(model: &Mlp, sample: &Dataset, calibration: Calibration) -> Result<Self> {
        if let Calibration::Percentile(share) = calibration {
            setting("share of a percentile", share, (0.0..0.5).contains(&share), "in [0, 0.5)")?;
        }
        sample.check_not_empty()?;
        sample.check_inputs(model.inputs())?;
        model.layers().iter().try_for_each(|layer| check_length(layer.inputs))?;
        let model = &model.folded()?;
        let mut seen = vec![Vec::new(); model.layers().len()];
        Predictor::new(model)?.trace(sample.samples(), |l, x| seen[l].extend_from_slice(x))?;
        let parameters: Vec<&[f32]> = model.parameters().collect();
        let mut layers = Vec::new();
        for ((shape, parts), mut seen) in model.layers().iter().zip(parameters.chunks_exact(2)).zip(seen) {
            let (w, bias) = (parts[0], parts[1].to_vec());
            let finite = |x: &[f32]| x.iter().all(|x| x.is_finite());
            let numbers = finite(w) && finite(&bias) && finite(&seen);
            setting("a weight or an input of a layer", f32::NAN, numbers, "finite")?;
            let cut = match calibration {
                Calibration::MinMax => 0,
                Calibration::Percentile(share) => (share * seen.len() as f64) as usize,
            };
            let last = seen.len() - 1;
            let low = *seen.select_nth_unstable_by(cut, f32::total_cmp).1;
            let high = *seen.select_nth_unstable_by(last - cut, f32::total_cmp).1;
            let largest = |j| w.iter().skip(j).step_by(shape.outputs).fold(0.0_f32, |max, w| max.max(w.abs()));
            // The weights of an output that has none but zeros are 0 by any scale.
            let scale = |j| Some(largest(j) / 127.0).filter(|&scale| scale >= f32::MIN_POSITIVE).unwrap_or(1.0);
            let scales: Vec<f32> = (0..shape.outputs).map(scale).collect();
            let weights = w.chunks_exact(shape.outputs).flat_map(|row| row.iter().zip(&scales));
            let weights = weights.map(|(w, scale)| (w / scale).round_ties_even() as i8).collect();
            let shape = Dense { dropout: 0.0, ..*shape };
            layers.push(Layer { shape, input: Coding::of(low, high), weights, scales, bias });
        }
        let (scaler, labels) = (model.scaler().cloned(), model.labels().into());
        Ok(Self { layers, scaler, labels, backend: Backend::active()? })
    }

    /// Numbers or pixels of a sample.
    pub fn inputs(&self) -> usize {
        self.layers[0].shape.inputs
    }

    /// Numbers that the model puts out for a sample.
    pub fn outputs(&self) -> usize {
        self.layers[self.layers.len() - 1].shape.outputs
    }

    /// The names of the classes; empty where nobody gave them.
    pub fn labels(&self) -> &[String] {
        &self.labels
    }

    /// The outputs for each sample, into `out` (samples x outputs, row-major).
    ///
    /// # Errors
    /// When there are not whole samples, or `out` has another length.
    pub fn run<'a>(&self, samples: impl Into<Samples<'a>>, out: &mut [f32]) -> Result<()> {
        let (samples, inputs, outputs) = (samples.into(), self.inputs(), self.outputs());
        let count = samples.count(inputs)?;
        check_len("the outputs", out.len(), count, outputs)?;
        let width = self.layers.iter().map(|layer| layer.shape.inputs.max(layer.shape.outputs)).max().unwrap_or(0);
        let (mut x, mut q, mut sums) = (vec![0.0; width], vec![0; width], vec![0; width]);
        for (i, out) in out.chunks_exact_mut(outputs).enumerate() {
            samples.part(i * inputs, inputs).convert(self.backend, self.scaler.as_ref(), &mut x[..inputs])?;
            // Without a way out of the loop it is one of vectors.
            if x[..inputs].iter().fold(false, |nan, x| nan | x.is_nan()) {
                out.fill(f32::NAN);
                continue;
            }
            for Layer { shape, input, weights, scales, bias } in &self.layers {
                let (q, sums) = (&mut q[..shape.inputs], &mut sums[..shape.outputs]);
                input.encode(&x[..shape.inputs], q);
                multiply(input.zero, q, weights, sums);
                let y = &mut x[..shape.outputs];
                for (((y, &a), scale), b) in y.iter_mut().zip(&*sums).zip(scales).zip(bias) {
                    *y = a as f32 * (input.scale * scale) + b;
                }
                self.backend.activate(shape.activation, y);
            }
            out.copy_from_slice(&x[..outputs]);
        }
        Ok(())
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
        check_classes(self.outputs())?;
        let (samples, outputs) = (samples.into(), self.outputs());
        check_len("the predictions", out.len(), samples.count(self.inputs())?, 1)?;
        let mut logits = vec![0.0; out.len() * outputs];
        self.run(samples, &mut logits)?;
        for (z, out) in logits.chunks_exact(outputs).zip(out) {
            *out = argmax(z) as u32;
        }
        Ok(())
    }

    /// Writes the model to a file, whole or not at all: `safetensors` with `layers.<l>.weight` (I8, inputs x outputs),
    /// `layers.<l>.scale` and `layers.<l>.bias` (F32, outputs).
    ///
    /// # Errors
    /// When the file can't be written.
    pub fn save(&self, file: impl AsRef<Path>) -> Result<()> {
        let file = file.as_ref();
        let mut tensors = BTreeMap::new();
        for (l, Layer { shape, weights, scales, bias, .. }) in self.layers.iter().enumerate() {
            let weights = weights.iter().map(|w| w.to_le_bytes()[0]).collect();
            tensors.insert(format!("layers.{l}.weight"), (Dtype::I8, vec![shape.inputs, shape.outputs], weights));
            tensors.insert(format!("layers.{l}.scale"), (Dtype::F32, vec![shape.outputs], le_bytes(scales)));
            tensors.insert(format!("layers.{l}.bias"), (Dtype::F32, vec![shape.outputs], le_bytes(bias)));
        }
        let mut header = Header {
            format: FORMAT,
            version: env!("CARGO_PKG_VERSION").into(),
            crc32: 0,
            layers: self.layers.iter().map(|layer| layer.shape).collect(),
            inputs: self.layers.iter().map(|layer| layer.input).collect(),
            scaler: self.scaler.clone(),
            labels: self.labels.clone(),
        };
        let json = |header: &Header| serde_json::to_string(header).expect("its keys are strings");
        header.crc32 = checksum(&json(&header), tensors.iter().map(|(name, (_, _, bytes))| (name.as_str(), &**bytes)));
        let views = tensors.iter().map(|(name, (kind, shape, bytes))| {
            (name, TensorView::new(*kind, shape.clone(), bytes).expect("as many bytes as the shape says"))
        });
        let metadata = HashMap::from([(EIGHT_BITS.into(), json(&header))]);
        let bytes = serialize(views, Some(metadata)).map_err(|problem| error(file, "header", problem))?;
        write_whole(file, &bytes)
    }

    /// Reads a model that [`Self::save`] wrote.
    ///
    /// # Errors
    /// When the file can't be read or is damaged, or `KERNELS_ISA` asks for what this CPU lacks.
    pub fn load(file: impl AsRef<Path>) -> Result<Self> {
        let file = file.as_ref();
        Self::from_bytes(&read_file(file)?, file)
    }

    /// [`Self::load`], from the bytes of a file. `file` is named in errors alone.
    ///
    /// # Errors
    /// As there.
    pub fn from_bytes(bytes: &[u8], file: &Path) -> Result<Self> {
        let (json, tensors) = open_as(Kind::EightBits, bytes, file)?;
        let header: Header =
            serde_json::from_str(&json).map_err(|e| error(file, format!("metadata {EIGHT_BITS:?}"), e))?;
        let Header { format, crc32, layers: shapes, inputs, scaler, labels, .. } = header;
        if format != FORMAT {
            return Err(error(file, "format", format!("is {format}, but this program reads {FORMAT}")));
        }
        let blank = json.replacen(&format!("\"crc32\":{crc32}"), "\"crc32\":0", 1);
        let found = checksum(&blank, tensors.iter().map(|(name, tensor)| (name.as_str(), tensor.data())));
        if found != crc32 {
            return Err(error(file, "crc32", format!("is {found:#010x}, but the file says {crc32:#010x}")));
        }
        if count(&shapes).is_none() || inputs.len() != shapes.len() || tensors.len() != 3 * shapes.len() {
            return Err(error(file, "layers", "do not make a model"));
        }
        check(&shapes).map_err(|problem| error(file, "layers", problem))?;
        let mut layers = Vec::new();
        for (l, (shape, input)) in shapes.into_iter().zip(inputs).enumerate() {
            check_length(shape.inputs).map_err(|problem| error(file, format!("layers.{l}"), problem))?;
            let tensor = |what: &str, kind, dims: &[usize]| {
                let name = format!("layers.{l}.{what}");
                let found = tensors.get(&name).map(|tensor| (tensor.dtype(), tensor.shape(), tensor.data()));
                match found {
                    Some((k, d, data)) if (k, d) == (kind, dims) => Ok(data),
                    Some((k, d, _)) => Err(error(file, name, format!("is {k:?} {d:?}, but must be {kind:?} {dims:?}"))),
                    None => Err(error(file, name, "is missing")),
                }
            };
            let numbers = |what: &str| {
                let numbers: Vec<f32> = floats(tensor(what, Dtype::F32, &[shape.outputs])?).collect();
                let finite = numbers.iter().all(|x| x.is_finite());
                if finite { Ok(numbers) } else { Err(error(file, format!("layers.{l}.{what}"), "is not finite")) }
            };
            let weights = tensor("weight", Dtype::I8, &[shape.inputs, shape.outputs])?;
            let weights: Vec<i8> = weights.iter().map(|&byte| i8::from_le_bytes([byte])).collect();
            if weights.contains(&i8::MIN) {
                return Err(error(file, format!("layers.{l}.weight"), "holds -128, which is out of range"));
            }
            if !(input.scale >= f32::MIN_POSITIVE && input.scale.is_finite()) {
                return Err(error(file, format!("inputs of layer {l}"), format!("have scale {}", input.scale)));
            }
            layers.push(Layer { shape, input, weights, scales: numbers("scale")?, bias: numbers("bias")? });
        }
        let model = Self { layers, scaler, labels, backend: Backend::active()? };
        if model.scaler.as_ref().is_some_and(|scaler| !scaler.fits(model.inputs())) {
            return Err(error(file, "scaler", "does not fit the inputs"));
        }
        if !model.labels.is_empty() {
            check_labels(&model.labels, model.outputs()).map_err(|problem| error(file, "labels", problem))?;
        }
        Ok(model)
    }
}

/// `sums[j] = Σ (q[p] - zero) weights[p][j]`, exact. One row of a product u8 x i8 -> i32: what integer kernels will do.
fn multiply(zero: u8, q: &[u8], weights: &[i8], sums: &mut [i32]) {
    sums.fill(0);
    for (q, row) in q.iter().zip(weights.chunks_exact(sums.len())) {
        let q = i16::from(*q) - i16::from(zero);
        // Most inputs of a layer after ReLU are 0, and so is the paper around a digit.
        if q != 0 {
            for (sum, &w) in sums.iter_mut().zip(row) {
                *sum += i32::from(q) * i32::from(w);
            }
        }
    }
}

fn check_length(inputs: usize) -> Result<()> {
    setting("inputs of a layer in 8 bits", inputs as f64, inputs <= LONGEST, "at most 66311, so that no sum overflows")
}
