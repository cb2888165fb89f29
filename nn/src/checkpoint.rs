//! Checkpoints: a model, alone or in training, as a file in the format `safetensors`.
//!
//! | tensor | type, shape | holds |
//! | --- | --- | --- |
//! | `layers.<l>.weight` | F32, inputs x outputs | weights of layer `l`, from 0 |
//! | `layers.<l>.bias` | F32, outputs | its bias |
//! | `layers.<l>.gamma`, `.beta` | F32, outputs | factors and terms of its normalisation, where there is one |
//! | `layers.<l>.mean`, `.variance` | F32, outputs | running means of its batch normalisation, where there is one |
//! | `optimiser.<i>` | F32, parameters | the state of the optimiser, in the order of the parameters |
//! | `best` | F32, parameters + running means | those of the best epoch, for early stopping |
//! | `history` | F64, epochs x 10 | [`EpochEnd`] number by number; a 0 before -1, -1 where there was no validation |
//!
//! All but those of the layers belong to a training. The metadata has one entry, `nn`: JSON with the version of the
//! format, the version of this crate, a checksum, the layers, the scaler and the names of the classes, and the
//! recipe and progress of the training.
//!
//! Nothing is believed before it is checked: memory grows with what the file holds, never with what its header says.

use crate::data::Scaler;
use crate::dense::Dense;
use crate::error::{Error, Result};
use crate::files::write_whole;
use crate::metrics::Metrics;
use crate::mlp::{Mlp, check, count, running_count};
use crate::monitor::Summary;
use crate::recipe::Recipe;
use crate::store::{Store, first_mut, floats, le_bytes};
use crate::train::{EpochEnd, Progress, Trainer};
use flate2::Crc;
use safetensors::tensor::{Dtype, SafeTensorError, SafeTensors, TensorInfo, TensorView, serialize};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::fs;
use std::io;
use std::iter::zip;
use std::path::Path;

/// The version of what stands at the top of this file.
const FORMAT: u32 = 1;
/// Larger files are refused: they are no checkpoints of a multi-layer perceptron.
const LIMIT: u64 = 1 << 32;
/// Numbers of an epoch in the history.
const EPOCH: usize = 10;
/// The entry of the metadata.
pub(crate) const ENTRY: &str = "nn";
/// The same, of a model in 8 bits.
pub(crate) const EIGHT_BITS: &str = "nn-int8";

/// What a file in the format `safetensors` can hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// What [`Mlp::save`] and [`Trainer`] write.
    Model,
    /// What [`Quantized::save`](crate::Quantized::save) writes.
    EightBits,
    /// What [`save_safetensors`](crate::export::save_safetensors) writes.
    Weights,
    /// Tensors without a word about this crate.
    Foreign,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Model => "a saved model",
            Self::EightBits => "a model in 8 bits",
            Self::Weights => "exported weights",
            Self::Foreign => "tensors of another program",
        })
    }
}

/// The tensors of a file, by their names.
pub(crate) type Tensors<'a> = BTreeMap<String, TensorView<'a>>;

/// Takes a file apart: what it holds, the entry of its metadata that says more, the tensors.
pub(crate) fn open<'a>(bytes: &'a [u8], file: &Path) -> Result<(Kind, String, Tensors<'a>)> {
    let in_header = |problem| {
        let problem = match problem {
            SafeTensorError::InvalidHeaderLength | SafeTensorError::MetadataIncompleteBuffer => {
                format!("is not that of a file of {} bytes, so it is cut off or damaged ({problem})", bytes.len())
            }
            problem => format!("is not that of a safetensors file ({problem})"),
        };
        error(file, "header", problem)
    };
    let (header, metadata) = SafeTensors::read_metadata(bytes).map_err(in_header)?;
    // The length of the header stands before it.
    let data = &bytes[size_of::<u64>() + header..];
    let view = |(name, about): (String, &TensorInfo)| {
        let (start, end) = about.data_offsets;
        Ok((name, TensorView::new(about.dtype, about.shape.clone(), &data[start..end]).map_err(in_header)?))
    };
    let tensors = metadata.tensors().into_iter().map(view).collect::<Result<_>>()?;
    let entry = |name| metadata.metadata().as_ref().and_then(|entries| entries.get(name)).cloned();
    Ok(match (entry(ENTRY), entry(EIGHT_BITS)) {
        (Some(json), _) if serde_json::from_str::<Version>(&json).is_ok() => (Kind::Model, json, tensors),
        (Some(json), _) => (Kind::Weights, json, tensors),
        (None, Some(json)) => (Kind::EightBits, json, tensors),
        (None, None) => (Kind::Foreign, String::new(), tensors),
    })
}

/// [`open`], for a file that must hold this.
pub(crate) fn open_as<'a>(wanted: Kind, bytes: &'a [u8], file: &Path) -> Result<(String, Tensors<'a>)> {
    let (found, json, tensors) = open(bytes, file)?;
    if found == wanted { Ok((json, tensors)) } else { Err(Error::Kind { file: file.into(), found, wanted }) }
}

/// What the entry of the metadata says first, in this and every later version.
#[derive(Deserialize)]
struct Version {
    format: u32,
}

/// The entry of the metadata.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    format: u32,
    /// Of this crate.
    version: String,
    /// Over this entry as it stands there, but with 0 in this place, then name and bytes of every tensor, in the order
    /// of their names.
    crc32: u32,
    layers: Vec<Dense>,
    scaler: Option<Scaler>,
    /// The names of the classes.
    labels: Vec<String>,
    /// What a monitor compares with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reference: Option<Summary>,
    training: Option<TrainingHeader>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct TrainingHeader {
    recipe: Recipe,
    progress: Progress,
}

/// What a checkpoint holds beside the model.
pub(crate) struct Training {
    pub(crate) recipe: Recipe,
    pub(crate) progress: Progress,
    pub(crate) state: Store,
    pub(crate) best: Store,
    pub(crate) history: Vec<EpochEnd>,
}

pub(crate) fn error(file: &Path, field: impl Into<String>, problem: impl ToString) -> Error {
    Error::Checkpoint { file: file.into(), field: field.into(), problem: problem.to_string() }
}

/// A model with what stands beside its weights in a file.
pub(crate) fn described(mut model: Mlp, file: &Path, scaler: Option<Scaler>, labels: Vec<String>) -> Result<Mlp> {
    if let Some(scaler) = scaler {
        model = model.with_scaler(scaler).map_err(|problem| error(file, "scaler", problem))?;
    }
    if !labels.is_empty() {
        model = model.with_labels(labels).map_err(|problem| error(file, "labels", problem))?;
    }
    Ok(model)
}

impl Mlp {
    /// Writes the model to a file, whole or not at all.
    ///
    /// # Errors
    /// When the file can't be written, or a parameter is not finite: what was there before is still there.
    pub fn save(&self, file: impl AsRef<Path>) -> Result<()> {
        save(file.as_ref(), self, None)
    }

    /// Reads a model from a file that [`Self::save`] or [`Trainer::save`] wrote.
    ///
    /// # Errors
    /// When the file can't be read or is damaged.
    pub fn load(file: impl AsRef<Path>) -> Result<Self> {
        Ok(load(file.as_ref())?.0)
    }
}

/// A tensor on its way to a file.
struct Tensor {
    kind: Dtype,
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

impl Tensor {
    fn new(shape: &[usize], numbers: &[f32]) -> Self {
        Self { kind: Dtype::F32, shape: shape.into(), bytes: le_bytes(numbers) }
    }
}

/// Names and shapes of the tensors of these layers: the parameters in their order, then the running means in theirs.
fn tensors_of(layers: &[Dense]) -> Vec<(String, Vec<usize>)> {
    let name = |l: usize, part: &str| format!("layers.{l}.{part}");
    let parameters = layers.iter().enumerate().flat_map(|(l, layer)| {
        let vectors = ["bias", "gamma", "beta"].into_iter().take(1 + layer.norm.learned());
        let vectors = vectors.map(move |part| (name(l, part), vec![layer.outputs]));
        [(name(l, "weight"), vec![layer.inputs, layer.outputs])].into_iter().chain(vectors)
    });
    let running = layers.iter().enumerate().flat_map(|(l, layer)| {
        let vectors = ["mean", "variance"].into_iter().take(layer.norm.running());
        vectors.map(move |part| (name(l, part), vec![layer.outputs]))
    });
    parameters.chain(running).collect()
}

pub(crate) fn checksum<'a>(json: &str, tensors: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> u32 {
    // No fuzzer finds a right one.
    if cfg!(fuzzing) {
        return 0;
    }
    let mut crc = Crc::new();
    crc.update(json.as_bytes());
    for (name, bytes) in tensors {
        crc.update(name.as_bytes());
        crc.update(bytes);
    }
    crc.sum()
}

fn to_json(header: &Header) -> String {
    serde_json::to_string(header).expect("its keys are strings")
}

pub(crate) fn save(file: &Path, model: &Mlp, trainer: Option<&Trainer<'_>>) -> Result<()> {
    let mut tensors = BTreeMap::new();
    for ((name, shape), numbers) in zip(tensors_of(model.layers()), model.parameters().chain(model.running())) {
        if !numbers.iter().all(|x| x.is_finite()) {
            return Err(error(file, name, "is not finite, and was not written"));
        }
        tensors.insert(name, Tensor::new(&shape, numbers));
    }
    if let Some(Trainer { state, best, history, .. }) = trainer {
        let count = model.parameter_count();
        for (i, numbers) in state.chunks_exact(count).enumerate() {
            tensors.insert(format!("optimiser.{i}"), Tensor::new(&[count], numbers));
        }
        if !best.is_empty() {
            tensors.insert("best".into(), Tensor::new(&[best.len()], best));
        }
        let bytes = history.iter().flat_map(to_numbers).flat_map(f64::to_le_bytes).collect();
        tensors.insert("history".into(), Tensor { kind: Dtype::F64, shape: vec![history.len(), EPOCH], bytes });
    }
    let mut header = Header {
        format: FORMAT,
        version: env!("CARGO_PKG_VERSION").into(),
        crc32: 0,
        layers: model.layers().into(),
        scaler: model.scaler().cloned(),
        labels: model.labels().into(),
        reference: model.reference().cloned(),
        training: trainer
            .map(|trainer| TrainingHeader { recipe: trainer.recipe.clone(), progress: trainer.progress.clone() }),
    };
    header.crc32 = checksum(&to_json(&header), tensors.iter().map(|(name, tensor)| (name.as_str(), &*tensor.bytes)));
    let views = tensors.iter().map(|(name, Tensor { kind, shape, bytes })| {
        let view = TensorView::new(*kind, shape.clone(), bytes);
        (name, view.expect("as many bytes as the shape says"))
    });
    let metadata = HashMap::from([(ENTRY.into(), to_json(&header))]);
    let bytes = serialize(views, Some(metadata)).map_err(|problem| error(file, "header", problem))?;
    write_whole(file, &bytes)
}

/// All of a file that can be a model.
pub(crate) fn read_file(file: &Path) -> Result<Vec<u8>> {
    let broken = |source| Error::Read { file: file.into(), source };
    let about = fs::metadata(file).map_err(broken)?;
    // The length of a pipe or a device says nothing of what can be read.
    if !about.is_file() {
        return Err(broken(io::Error::new(io::ErrorKind::InvalidInput, "it is no file")));
    }
    if about.len() > LIMIT {
        return Err(error(file, "length", format!("is {}, but must be at most {LIMIT} bytes", about.len())));
    }
    fs::read(file).map_err(broken)
}

pub(crate) fn load(file: &Path) -> Result<(Mlp, Option<Training>)> {
    let bytes = read_file(file)?;
    let (json, tensors) = open_as(Kind::Model, &bytes, file)?;
    let json = json.as_str();
    let in_entry = |problem| error(file, format!("metadata {ENTRY:?}"), problem);
    let Version { format } = serde_json::from_str(json).map_err(in_entry)?;
    if format != FORMAT {
        return Err(error(file, "format", format!("is {format}, but this program reads {FORMAT}")));
    }
    let header: Header = serde_json::from_str(json).map_err(in_entry)?;

    let blank = json.replacen(&format!("\"crc32\":{}", header.crc32), "\"crc32\":0", 1);
    let found = checksum(&blank, tensors.iter().map(|(name, tensor)| (name.as_str(), tensor.data())));
    if found != header.crc32 {
        let problem = format!("is {found:#010x}, but the file says {:#010x}", header.crc32);
        return Err(error(file, "crc32", problem));
    }

    let mut reader = Reader { file, tensors };
    let Some(count) = count(&header.layers) else {
        return Err(error(file, "layers", "do not make a model"));
    };
    check(&header.layers).map_err(|problem| error(file, "layers", problem))?;
    let tensors = tensors_of(&header.layers);
    // What the tensors hold was in the file, so a model no larger than they are can be made.
    for (name, shape) in &tensors {
        reader.expect(name, Dtype::F32, shape)?;
    }
    let mut model = Mlp::from_parts(header.layers, Store::zeros(count));
    let [mut first, mut second] = model.trained();
    for (name, shape) in tensors {
        let rest = if first.is_empty() { &mut second } else { &mut first };
        let numbers = first_mut(rest, shape.iter().product());
        reader.take(&name, numbers)?;
        if !numbers.iter().all(|x| x.is_finite()) {
            return Err(error(file, name, "is not finite"));
        }
    }
    model = described(model, file, header.scaler, header.labels)?;
    if let Some(reference) = header.reference {
        model = model.with_reference(reference).map_err(|problem| error(file, "reference", problem))?;
    }
    let training = header.training.map(|header| training(&mut reader, &model, header)).transpose()?;
    match reader.tensors.into_keys().next() {
        Some(name) => Err(error(file, name, "is not part of a checkpoint")),
        None => Ok((model, training)),
    }
}

fn training(reader: &mut Reader<'_>, model: &Mlp, header: TrainingHeader) -> Result<Training> {
    let TrainingHeader { recipe, progress } = header;
    recipe.check(model).map_err(|problem| error(reader.file, "recipe", problem))?;
    progress.check(&recipe).map_err(|problem| error(reader.file, "progress", problem))?;
    let count = model.parameter_count();
    let mut state = Vec::new();
    for i in 0..recipe.optimiser.state() {
        state.push(reader.store(&format!("optimiser.{i}"), count)?);
    }
    let trained = count + running_count(model.layers());
    let best = if recipe.early_stopping.is_some() { reader.store("best", trained)? } else { Store::zeros(0) };
    let history = reader.history()?;
    let state = Store::from(&*state.iter().flat_map(|part| part.iter().copied()).collect::<Vec<_>>());
    Ok(Training { recipe, progress, state, best, history })
}

/// The tensors of a file, each of which is taken once.
struct Reader<'a> {
    file: &'a Path,
    tensors: Tensors<'a>,
}

impl<'a> Reader<'a> {
    /// The bytes of a tensor, as many as its type and shape say.
    fn expect(&self, name: &str, kind: Dtype, shape: &[usize]) -> Result<&'a [u8]> {
        let Some(tensor) = self.tensors.get(name) else {
            return Err(error(self.file, name, "is missing"));
        };
        if (tensor.dtype(), tensor.shape()) != (kind, shape) {
            let found = format!("is {:?} {:?}, but must be {kind:?} {shape:?}", tensor.dtype(), tensor.shape());
            return Err(error(self.file, name, found));
        }
        Ok(tensor.data())
    }

    /// Reads a tensor whose type and shape have been checked.
    fn take(&mut self, name: &str, out: &mut [f32]) -> Result<()> {
        let Some(tensor) = self.tensors.remove(name) else {
            return Err(error(self.file, name, "is missing"));
        };
        zip(out, floats(tensor.data())).for_each(|(out, x)| *out = x);
        Ok(())
    }

    fn store(&mut self, name: &str, len: usize) -> Result<Store> {
        self.expect(name, Dtype::F32, &[len])?;
        let mut store = Store::zeros(len);
        self.take(name, &mut store)?;
        Ok(store)
    }

    fn history(&mut self) -> Result<Vec<EpochEnd>> {
        const NAME: &str = "history";
        let epochs = self.tensors.get(NAME).and_then(|tensor| tensor.shape().first().copied()).unwrap_or(0);
        let (chunks, _) = self.expect(NAME, Dtype::F64, &[epochs, EPOCH])?.as_chunks::<8>();
        self.tensors.remove(NAME);
        let numbers: Vec<f64> = chunks.iter().map(|bytes| f64::from_le_bytes(*bytes)).collect();
        Ok(numbers.as_chunks().0.iter().map(from_numbers).collect())
    }
}

fn to_numbers(end: &EpochEnd) -> [f64; EPOCH] {
    let Metrics { loss, accuracy } = end.metrics;
    let validation = end.validation.unwrap_or(Metrics { loss: -1.0, accuracy: -1.0 });
    [
        end.epoch as f64,
        end.epochs as f64,
        end.samples as f64,
        loss,
        accuracy,
        f64::from(u8::from(end.validation.is_some())),
        validation.loss,
        validation.accuracy,
        end.learning_rate.into(),
        end.seconds,
    ]
}

fn from_numbers(numbers: &[f64; EPOCH]) -> EpochEnd {
    let &[epoch, epochs, samples, loss, accuracy, validated, validation, hits, learning_rate, seconds] = numbers;
    EpochEnd {
        epoch: epoch as usize,
        epochs: epochs as usize,
        samples: samples as usize,
        metrics: Metrics { loss, accuracy },
        validation: (validated == 1.0).then_some(Metrics { loss: validation, accuracy: hits }),
        learning_rate: learning_rate as f32,
        seconds,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes written out, so that the order of the machine can't be taken for that of the file.
    #[test]
    fn numbers_are_little_endian() {
        let bytes = [0, 0, 0x80, 0x3f, 0, 0, 0x20, 0xc0];
        assert_eq!(Tensor::new(&[2], &[1.0, -2.5]).bytes, bytes);
        let epochs: Vec<u8> = (0..EPOCH as u8).flat_map(|i| [0, 0, 0, 0, 0, 0, 0x10 * (i % 2), 0x40]).collect();
        let tensors = BTreeMap::from([
            ("x".into(), TensorView::new(Dtype::F32, vec![2], &bytes).unwrap()),
            ("history".into(), TensorView::new(Dtype::F64, vec![1, EPOCH], &epochs).unwrap()),
        ]);
        let mut reader = Reader { file: Path::new("file"), tensors };
        assert_eq!(*reader.store("x", 2).unwrap(), [1.0, -2.5]);
        let end = reader.history().unwrap()[0];
        assert_eq!((end.epoch, end.epochs, end.metrics), (2, 4, Metrics { loss: 4.0, accuracy: 2.0 }));
    }
}
