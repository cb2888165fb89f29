//! Weights alone, by name: `layers.<l>.weight` and `layers.<l>.bias`, as `safetensors` or as NPZ. What else a model is
//! made of (layout, activations, scaler, names of the classes) stands beside them as JSON, under the name `nn`, and is
//! not needed to read them: a file that another program wrote has none.

use super::npz::{self, Array};
use crate::checkpoint::{ENTRY, Kind, described, error, open, read_file};
use crate::data::Scaler;
use crate::dense::Dense;
use crate::error::{Error, Result};
use crate::files::write_whole;
use crate::mlp::{Mlp, check, count};
use crate::store::{Store, floats, le_bytes};
use kernels::Activation;
use safetensors::tensor::{Dtype, TensorView, serialize};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::path::Path;

/// How the weights of a layer lie in a file, row-major.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Layout {
    /// inputs x outputs, as in a [`Dense`] layer here and in Keras.
    #[default]
    InputsOutputs,
    /// outputs x inputs, as in `torch.nn.Linear`.
    PyTorch,
}

/// What a model is made of beside its weights.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct About {
    layers: Vec<Dense>,
    /// Of the weights; files of older versions do not tell.
    layout: Option<Layout>,
    scaler: Option<Scaler>,
    labels: Vec<String>,
}

fn about(model: &Mlp, layout: Layout) -> String {
    let (scaler, labels) = (model.scaler().cloned(), model.labels().into());
    let about = About { layers: model.layers().into(), layout: Some(layout), scaler, labels };
    serde_json::to_string(&about).expect("its keys are strings")
}

/// Matrix (rows x cols) with rows and columns exchanged.
fn transposed(rows: usize, cols: usize, x: &[f32]) -> Vec<f32> {
    (0..cols).flat_map(|c| (0..rows).map(move |r| x[r * cols + c])).collect()
}

/// The tensors of a model: name, dimensions, numbers.
fn arrays(file: &Path, model: &Mlp, layout: Layout) -> Result<Vec<Array>> {
    let parameters: Vec<&[f32]> = model.parameters().collect();
    let mut arrays = Vec::new();
    for (l, (layer, numbers)) in model.layers().iter().zip(parameters.chunks_exact(2)).enumerate() {
        let (w, b, Dense { inputs, outputs, .. }) = (numbers[0], numbers[1], *layer);
        let (shape, w) = match layout {
            Layout::InputsOutputs => (vec![inputs, outputs], w.to_vec()),
            Layout::PyTorch => (vec![outputs, inputs], transposed(inputs, outputs, w)),
        };
        for (what, shape, numbers) in [("weight", shape, w), ("bias", vec![outputs], b.to_vec())] {
            let name = format!("layers.{l}.{what}");
            if !numbers.iter().all(|x| x.is_finite()) {
                return Err(error(file, name, "is not finite, and was not written"));
            }
            arrays.push(Array { name, shape, numbers });
        }
    }
    Ok(arrays)
}

/// Writes the weights as `safetensors`, whole or not at all.
///
/// # Errors
/// When the file can't be written, or a parameter is not finite.
pub fn save_safetensors(file: impl AsRef<Path>, model: &Mlp, layout: Layout) -> Result<()> {
    let file = file.as_ref();
    let model = &model.folded()?;
    let arrays = arrays(file, model, layout)?;
    let bytes: Vec<Vec<u8>> = arrays.iter().map(|array| le_bytes(&array.numbers)).collect();
    let views = arrays.iter().zip(&bytes).map(|(array, bytes)| {
        let view = TensorView::new(Dtype::F32, array.shape.clone(), bytes);
        (&array.name, view.expect("as many bytes as the shape says"))
    });
    // `format` is what PyTorch's readers look for.
    let metadata = HashMap::from([(ENTRY.into(), about(model, layout)), ("format".into(), "pt".into())]);
    let bytes = serialize(views, Some(metadata)).map_err(|problem| error(file, "header", problem))?;
    write_whole(file, &bytes)
}

/// Reads weights from a `safetensors` file of this or another program: every layer has a matrix and may have a vector,
/// whose names differ in their last part alone (`fc1.weight`, `fc1.bias`), and layers follow each other in the order of
/// their names, numbers by their value. `layout` and the activation `hidden` between layers are for files that have
/// nothing to say of them, as those of other programs: which way a square matrix was written can't be seen.
///
/// # Errors
/// When the file can't be read, is damaged, or its tensors make no model.
pub fn load_safetensors(file: impl AsRef<Path>, layout: Layout, hidden: Activation) -> Result<Mlp> {
    let file = file.as_ref();
    safetensors_from_bytes(&read_file(file)?, file, layout, hidden)
}

/// [`load_safetensors`], from the bytes of a file. `file` is named in errors alone.
///
/// # Errors
/// As there.
pub fn safetensors_from_bytes(bytes: &[u8], file: &Path, layout: Layout, hidden: Activation) -> Result<Mlp> {
    let (found, json, tensors) = open(bytes, file)?;
    if !matches!(found, Kind::Weights | Kind::Foreign) {
        return Err(Error::Kind { file: file.into(), found, wanted: Kind::Weights });
    }
    let mut arrays = Vec::new();
    for (name, tensor) in tensors {
        if tensor.dtype() != Dtype::F32 {
            return Err(error(file, name, format!("has type {:?}, but must have F32", tensor.dtype())));
        }
        arrays.push(Array { name, shape: tensor.shape().into(), numbers: floats(tensor.data()).collect() });
    }
    let json = (found == Kind::Weights).then_some(json.as_bytes());
    assemble(file, arrays, json, layout, hidden)
}

/// Writes the weights as NPZ, for NumPy: `numpy.load(file)["layers.0.weight"]`. Whole or not at all.
///
/// # Errors
/// When the file can't be written, or a parameter is not finite.
pub fn save_npz(file: impl AsRef<Path>, model: &Mlp) -> Result<()> {
    let file = file.as_ref();
    let model = &model.folded()?;
    let arrays = arrays(file, model, Layout::InputsOutputs)?;
    let bytes = npz::to_bytes(&arrays, (ENTRY, about(model, Layout::InputsOutputs).as_bytes()));
    write_whole(file, &bytes.map_err(|source| Error::Write { file: file.into(), source })?)
}

/// Reads weights from an NPZ file of this or another program; names as in [`load_safetensors`].
///
/// # Errors
/// When the file can't be read, is damaged, or its arrays make no model.
pub fn load_npz(file: impl AsRef<Path>, layout: Layout, hidden: Activation) -> Result<Mlp> {
    let file = file.as_ref();
    npz_from_bytes(&read_file(file)?, file, layout, hidden)
}

/// [`load_npz`], from the bytes of a file. `file` is named in errors alone.
///
/// # Errors
/// As there.
pub fn npz_from_bytes(bytes: &[u8], file: &Path, layout: Layout, hidden: Activation) -> Result<Mlp> {
    let (arrays, json) = npz::from_bytes(bytes, file, ENTRY)?;
    assemble(file, arrays, json.as_deref(), layout, hidden)
}

/// A name up to its last part, and as what it is sorted: its numbers by their value.
fn layer_of(name: &str) -> (&str, Vec<(u64, &[u8])>) {
    let prefix = name.rfind(['.', '/', '_']).map_or("", |end| &name[..end]);
    let parts = prefix.as_bytes().chunk_by(|a, b| a.is_ascii_digit() == b.is_ascii_digit());
    let number = |part| std::str::from_utf8(part).ok().and_then(|part| part.parse().ok());
    (prefix, parts.map(|part| (number(part).unwrap_or(u64::MAX), part)).collect())
}

/// Makes a model of named arrays.
fn assemble(
    file: &Path,
    mut arrays: Vec<Array>,
    json: Option<&[u8]>,
    layout: Layout,
    hidden: Activation,
) -> Result<Mlp> {
    let about: Option<About> = json
        .map(serde_json::from_slice)
        .transpose()
        .map_err(|problem| error(file, format!("entry {ENTRY:?}"), problem))?;
    let layout = about.as_ref().and_then(|about| about.layout).unwrap_or(layout);
    // The matrix of a layer before its vector.
    arrays.sort_by(|a, b| {
        let key = |array: &Array| std::cmp::Reverse(array.shape.len());
        layer_of(&a.name).1.cmp(&layer_of(&b.name).1).then(key(a).cmp(&key(b)))
    });
    let (mut shapes, mut parameters) = (Vec::<Dense>::new(), Vec::new());
    let mut open: Option<&str> = None;
    for Array { name, shape, numbers } in &arrays {
        if !numbers.iter().all(|x| x.is_finite()) {
            return Err(error(file, name, "is not finite"));
        }
        let (prefix, outputs) = (layer_of(name).0, shapes.last().map_or(0, |layer| layer.outputs));
        match *shape.as_slice() {
            // Without numbers, sizes may be any.
            [0, _] | [_, 0] => {
                return Err(error(file, name, format!("is {} x {}, so holds nothing", shape[0], shape[1])));
            }
            [a, b] => {
                if open.take().is_some() {
                    parameters.resize(parameters.len() + outputs, 0.0);
                }
                let (inputs, outputs) = if layout == Layout::PyTorch { (b, a) } else { (a, b) };
                if let Some(before) = shapes.last().map(|layer| layer.outputs).filter(|&before| before != inputs) {
                    let problem = format!("is {a} x {b}, so takes {inputs} columns, but the layer before has {before}");
                    return Err(error(file, name, problem));
                }
                shapes.push(Dense::new(inputs, outputs, hidden));
                parameters.extend(if layout == Layout::PyTorch { transposed(a, b, numbers) } else { numbers.clone() });
                open = Some(prefix);
            }
            [n] if open == Some(prefix) && n == outputs => {
                parameters.extend(numbers);
                open = None;
            }
            _ => {
                let problem =
                    format!("has dimensions {shape:?}, but must be a matrix, or a vector of its {outputs} outputs");
                return Err(error(file, name, problem));
            }
        }
    }
    if open.is_some() {
        parameters.resize(parameters.len() + shapes.last().map_or(0, |layer| layer.outputs), 0.0);
    }
    if let Some(last) = shapes.last_mut() {
        last.activation = Activation::Identity;
    }
    if let Some(About { layers, .. }) = &about {
        let sizes = |layers: &[Dense]| layers.iter().map(|layer| (layer.inputs, layer.outputs)).collect::<Vec<_>>();
        if sizes(layers) != sizes(&shapes) {
            return Err(error(file, format!("entry {ENTRY:?}"), "has other layers than the weights"));
        }
        shapes.clone_from(layers);
    }
    if count(&shapes) != Some(parameters.len()) {
        return Err(error(file, "tensors", "do not make a model"));
    }
    check(&shapes).map_err(|problem| error(file, "layers", problem))?;
    let model = Mlp::from_parts(shapes, Store::from(&*parameters));
    match about {
        Some(About { scaler, labels, .. }) => described(model, file, scaler, labels),
        None => Ok(model),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_follow_each_other_by_number() {
        let mut names = ["net.10.weight", "net.2.bias", "net.2.weight", "a.bias", "ünï9.w", "weight", "fc1_b"];
        names.sort_by_key(|name| layer_of(name).1);
        assert_eq!(names, ["weight", "a.bias", "fc1_b", "net.2.bias", "net.2.weight", "net.10.weight", "ünï9.w"]);
        assert_eq!(layer_of("net.10.weight").0, "net.10");
    }
}
