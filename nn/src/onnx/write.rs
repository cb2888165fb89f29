//! From a model to a file.

use super::proto::{
    Attribute, Dim, Entry, FLOAT, Graph, Model, Node, Opset, Shape, Tensor, TensorType, Type, UINT8, Value,
};
use crate::checkpoint::error;
use crate::error::Result;
use crate::files::write_whole;
use crate::mlp::Mlp;
use crate::store::le_bytes;
use kernels::Activation;
use prost::Message;
use std::iter::zip;
use std::path::Path;

/// What the graph takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Input {
    /// `features`, FLOAT, samples x inputs, as the model was trained with them; its scaler is part of the graph.
    #[default]
    Features,
    /// `pixels`, UINT8, samples x inputs: the graph begins with `pixel / 255`, as data sets of images do.
    Pixels,
}

/// What the graph gives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Output {
    /// `probabilities`, by a softmax at the end.
    #[default]
    Probabilities,
    /// `outputs`: those of the last layer.
    Raw,
}

/// The first version of the operators that has all of these, `Softmax` over one dimension included.
const OPSET: i64 = 13;

/// A graph that grows at its end.
struct Chain {
    graph: Graph,
    opset: i64,
    /// What the last node gives.
    end: String,
}

impl Chain {
    fn constant(&mut self, name: &str, dims: &[usize], numbers: &[f32]) -> String {
        self.graph.initializer.push(Tensor {
            dims: dims.iter().map(|&dim| dim as i64).collect(),
            data_type: FLOAT,
            name: name.into(),
            raw_data: le_bytes(numbers),
            ..Tensor::default()
        });
        name.into()
    }

    /// A node that takes the end and these; what it gives, under its own name, is the new end.
    fn push(&mut self, op_type: &str, name: &str, more: Vec<String>, attribute: Vec<Attribute>) {
        let input = [vec![self.end.clone()], more].concat();
        let (name, op_type, domain) = (name.to_owned(), op_type.into(), String::new());
        self.end.clone_from(&name);
        self.graph.node.push(Node { input, output: vec![name.clone()], name, op_type, attribute, domain });
    }

    fn activation(&mut self, f: Activation, name: &str, file: &Path) -> Result<()> {
        let alpha = |alpha| Attribute { name: "alpha".into(), f: Some(alpha), kind: 1, ..Attribute::default() };
        let tanh = Attribute { name: "approximate".into(), s: Some(b"tanh".into()), kind: 3, ..Attribute::default() };
        let (op_type, attributes, since) = match f {
            Activation::Identity => return Ok(()),
            Activation::Relu => ("Relu", vec![], OPSET),
            Activation::LeakyRelu { alpha: a } => ("LeakyRelu", vec![alpha(a)], OPSET),
            Activation::Elu { alpha: a } => ("Elu", vec![alpha(a)], OPSET),
            Activation::Tanh => ("Tanh", vec![], OPSET),
            Activation::Sigmoid => ("Sigmoid", vec![], OPSET),
            Activation::Gelu => ("Gelu", vec![], 20),
            Activation::GeluTanh => ("Gelu", vec![tanh], 20),
            Activation::Mish => ("Mish", vec![], 18),
            Activation::HardSwish => ("HardSwish", vec![], 14),
            Activation::Softplus => ("Softplus", vec![], OPSET),
            Activation::Silu => {
                let x = self.end.clone();
                self.push("Sigmoid", &format!("{name}.sigmoid"), vec![], vec![]);
                self.push("Mul", name, vec![x], vec![]);
                return Ok(());
            }
            other => return Err(error(file, name, format!("is {other:?}, which is not written to ONNX"))),
        };
        self.opset = self.opset.max(since);
        self.push(op_type, name, vec![], attributes);
        Ok(())
    }
}

/// The bytes of an ONNX file. `file` is named in errors alone.
///
/// # Errors
/// When a layer can't be written, a parameter is not finite, or probabilities are asked of a single output.
pub fn to_bytes(model: &Mlp, input: Input, output: Output, file: &Path) -> Result<Vec<u8>> {
    if output == Output::Probabilities && model.outputs() < 2 {
        return Err(error(file, "outputs", "are one, which is no class: write them raw"));
    }
    let (first, element) = match input {
        Input::Features => ("features", FLOAT),
        Input::Pixels => ("pixels", UINT8),
    };
    let mut chain = Chain { graph: Graph::default(), opset: OPSET, end: first.into() };
    if input == Input::Pixels {
        let to = Attribute { name: "to".into(), i: Some(FLOAT.into()), kind: 2, ..Attribute::default() };
        chain.push("Cast", "pixels.float", vec![], vec![to]);
        let scale = chain.constant("pixels.scale", &[], &[1.0 / 255.0]);
        chain.push("Mul", "pixels.unit", vec![scale], vec![]);
    }
    if let Some(scaler) = model.scaler() {
        let (centre, factor, base) = scaler.parts();
        for (op, what, numbers) in [("Sub", "centre", centre), ("Mul", "factor", factor)] {
            let constant = chain.constant(&format!("scaler.{what}"), &[numbers.len()], numbers);
            chain.push(op, &format!("scaler.{}", op.to_lowercase()), vec![constant], vec![]);
        }
        let constant = chain.constant("scaler.base", &[], &[base]);
        chain.push("Add", "scaler.add", vec![constant], vec![]);
    }
    let model = &model.folded()?;
    let parameters: Vec<&[f32]> = model.parameters().collect();
    for (l, (layer, numbers)) in zip(model.layers(), parameters.chunks_exact(2)).enumerate() {
        let mut constants = Vec::new();
        for (what, dims, numbers) in
            [("weight", &[layer.inputs, layer.outputs][..], numbers[0]), ("bias", &[layer.outputs], numbers[1])]
        {
            let name = format!("layers.{l}.{what}");
            if !numbers.iter().all(|x| x.is_finite()) {
                return Err(error(file, name, "is not finite, and was not written"));
            }
            constants.push(chain.constant(&name, dims, numbers));
        }
        chain.push("Gemm", &format!("layers.{l}"), constants, vec![]);
        chain.activation(layer.activation, &format!("layers.{l}.activation"), file)?;
    }
    match output {
        Output::Probabilities => {
            let axis = Attribute { name: "axis".into(), i: Some(-1), kind: 2, ..Attribute::default() };
            chain.push("Softmax", "probabilities", vec![], vec![axis]);
        }
        Output::Raw => chain.push("Identity", "outputs", vec![], vec![]),
    }
    let Chain { mut graph, opset, end } = chain;
    let value = |name: String, element, width| {
        let dim =
            vec![Dim { value: None, symbol: Some("samples".into()) }, Dim { value: Some(width as i64), symbol: None }];
        let tensor = Some(TensorType { element, shape: Some(Shape { dim }) });
        Value { name, kind: Some(Type { tensor }) }
    };
    graph.name = "mlp".into();
    graph.input.push(value(first.into(), element, model.inputs()));
    graph.output.push(value(end, FLOAT, model.outputs()));
    let labels = serde_json::to_string(model.labels()).expect("strings are always JSON");
    let about = Entry { key: "labels".into(), value: labels };
    let file = Model {
        // The oldest that goes with the operators.
        ir_version: if opset > 18 { 9 } else { 7 },
        producer_name: env!("CARGO_PKG_NAME").into(),
        producer_version: env!("CARGO_PKG_VERSION").into(),
        graph: Some(graph),
        opset_import: vec![Opset { domain: String::new(), version: opset }],
        metadata: if model.labels().is_empty() { vec![] } else { vec![about] },
    };
    Ok(file.encode_to_vec())
}

/// Writes an ONNX file, whole or not at all.
///
/// # Errors
/// As [`to_bytes`], or when the file can't be written.
pub fn save(file: impl AsRef<Path>, model: &Mlp, input: Input, output: Output) -> Result<()> {
    let file = file.as_ref();
    let bytes = to_bytes(model, input, output, file)?;
    write_whole(file, &bytes)
}
