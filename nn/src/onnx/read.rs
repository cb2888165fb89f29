//! From a file to a model. Nothing is believed before it is checked: memory grows with what the file holds, never with
//! what it says of itself.

use super::proto::{FLOAT, Graph, Model, Node, Tensor, UINT8, Value};
use crate::checkpoint::{error, read_file};
use crate::data::Scaler;
use crate::dense::Dense;
use crate::error::{Error, Result};
use crate::mlp::{Mlp, check, count};
use crate::store::{Store, floats};
use kernels::Activation;
use prost::Message;
use std::collections::{HashMap, HashSet};
use std::path::Path;

/// Reads a model from an ONNX file. A softmax at the end is left out, and so is a sigmoid: the outputs of a model are
/// logits. A graph with several outputs is read for the only one of type FLOAT.
///
/// # Errors
/// When the file can't be read, is damaged, or holds anything but a plain chain; the error names the node.
pub fn load(file: impl AsRef<Path>) -> Result<Mlp> {
    let file = file.as_ref();
    from_bytes(&read_file(file)?, file)
}

/// [`load`], from the bytes of a file. `file` is named in errors alone.
///
/// # Errors
/// As [`load`].
pub fn from_bytes(bytes: &[u8], file: &Path) -> Result<Mlp> {
    let model = Model::decode(bytes)
        .map_err(|problem| error(file, "message", format!("is that of no ONNX file ({problem})")))?;
    let Some(graph) = &model.graph else {
        return Err(error(file, "graph", "is missing: this is no ONNX file"));
    };
    let mut walk = Walk::new(file, graph)?;
    walk.go()?;
    let Walk { layers, scaling, shares, start, head, .. } = walk;
    if element(start) == UINT8 && !shares {
        return Err(error(file, "graph", "takes pixels (UINT8), but does not begin with dividing them by 255"));
    }
    let mut made = build(file, layers, head.is_some())?;
    if let Some(Scaling { centre, factor, base }) = scaling {
        let wide = |numbers: Vec<f32>| match numbers.as_slice() {
            &[one] => vec![one; made.inputs()],
            _ => numbers,
        };
        let scaler = Scaler::from_parts(wide(centre), wide(factor), base);
        made = made.with_scaler(scaler).map_err(|problem| error(file, "scaling of the inputs", problem))?;
    }
    if let Some(entry) = model.metadata.iter().find(|entry| entry.key == "labels") {
        let labels: Vec<String> = serde_json::from_str(&entry.value).map_err(|e| error(file, "metadata labels", e))?;
        made = made.with_labels(labels).map_err(|problem| error(file, "metadata labels", problem))?;
    }
    Ok(made)
}

/// A dense layer as it is found, piece by piece.
struct Layer {
    /// What the errors name.
    node: String,
    inputs: usize,
    outputs: usize,
    /// inputs x outputs, row-major.
    weights: Vec<f32>,
    bias: Option<Vec<f32>>,
    /// The node of it, too.
    activation: Option<(Activation, String)>,
}

/// `(x - centre) factor + base`, each of one number or one for each feature.
struct Scaling {
    centre: Vec<f32>,
    factor: Vec<f32>,
    base: f32,
}

struct Walk<'a> {
    file: &'a Path,
    graph: &'a Graph,
    constants: HashMap<&'a str, &'a Tensor>,
    /// The nodes that take a tensor, of those that the output needs.
    takers: HashMap<&'a str, Vec<usize>>,
    start: &'a Value,
    end: &'a str,
    layers: Vec<Layer>,
    scaling: Option<Scaling>,
    /// Pixels have become shares of 255.
    shares: bool,
    /// The node of a softmax, after which nothing may come.
    head: Option<String>,
}

fn element(value: &Value) -> i32 {
    value.kind.as_ref().and_then(|kind| kind.tensor.as_ref()).map_or(0, |tensor| tensor.element)
}

/// How errors name a node.
fn name(i: usize, node: &Node) -> String {
    format!("node {i} {:?} ({})", node.name, node.op_type)
}

impl<'a> Walk<'a> {
    fn new(file: &'a Path, graph: &'a Graph) -> Result<Self> {
        let mut constants: HashMap<&str, &Tensor> = graph.initializer.iter().map(|t| (t.name.as_str(), t)).collect();
        for (i, node) in graph.node.iter().enumerate().filter(|(_, node)| node.op_type == "Constant") {
            let tensor = node.attribute.iter().find_map(|attribute| attribute.t.as_ref());
            match (tensor, node.output.as_slice()) {
                (Some(tensor), [output]) => constants.insert(output, tensor),
                _ => return Err(error(file, name(i, node), "holds no tensor")),
            };
        }
        // Old files list the constants among the inputs.
        let mut inputs = graph.input.iter().filter(|value| !constants.contains_key(value.name.as_str()));
        let (Some(start), None) = (inputs.next(), inputs.next()) else {
            return Err(error(file, "graph input", "must be one tensor"));
        };
        let floats = || graph.output.iter().filter(|value| element(value) == FLOAT);
        let end = match (graph.output.as_slice(), floats().next(), floats().nth(1)) {
            ([one], _, _) | (_, Some(one), None) => one.name.as_str(),
            _ => return Err(error(file, "graph output", "must be one tensor, or one of type FLOAT among others")),
        };
        // Backwards from the end: what it needs.
        let makers: HashMap<&str, usize> =
            graph.node.iter().enumerate().flat_map(|(i, n)| n.output.iter().map(move |o| (o.as_str(), i))).collect();
        let (mut needed, mut left) = (HashSet::new(), vec![end]);
        while let Some(tensor) = left.pop() {
            if let Some(&i) = makers.get(tensor).filter(|&&i| needed.insert(i)) {
                left.extend(graph.node[i].input.iter().map(String::as_str));
            }
        }
        let mut takers: HashMap<&str, Vec<usize>> = HashMap::new();
        for (i, node) in graph.node.iter().enumerate().filter(|(i, _)| needed.contains(i)) {
            for input in &node.input {
                let nodes = takers.entry(input).or_default();
                if nodes.last() != Some(&i) {
                    nodes.push(i);
                }
            }
        }
        let (layers, scaling, head) = (Vec::new(), None, None);
        Ok(Self { file, graph, constants, takers, start, end, layers, scaling, shares: false, head })
    }

    /// From the input to the output.
    fn go(&mut self) -> Result<()> {
        let (mut at, mut steps) = (self.start.name.as_str(), 0);
        while at != self.end {
            // A graph that runs in circles would never end.
            steps += 1;
            let takers = self.takers.get(at).map_or(&[][..], Vec::as_slice);
            let node = |i: usize| &self.graph.node[i];
            let (i, next) = match *takers {
                [i] if steps <= self.graph.node.len() => (i, i),
                // x and sigmoid(x) meet in a product: SiLU.
                [a, b] => {
                    let (sigmoid, product) = if node(a).op_type == "Sigmoid" { (a, b) } else { (b, a) };
                    let output = node(sigmoid).output.first();
                    let both = output.is_some_and(|output| node(product).input.contains(output));
                    if (node(sigmoid).op_type.as_str(), node(product).op_type.as_str(), both)
                        != ("Sigmoid", "Mul", true)
                    {
                        return Err(self.refuse(b, "branches off: this is no plain chain"));
                    }
                    (sigmoid, product)
                }
                [] => return Err(error(self.file, format!("tensor {at:?}"), "is used by no node")),
                [i, ..] => return Err(self.refuse(i, "branches off or runs in a circle: this is no plain chain")),
            };
            if i == next {
                self.step(i, at)?;
            } else {
                self.activation(next, Activation::Silu)?;
            }
            match node(next).output.first() {
                Some(output) => at = output,
                None => return Err(self.refuse(next, "has no output")),
            }
        }
        Ok(())
    }

    fn refuse(&self, i: usize, problem: impl ToString) -> Error {
        error(self.file, name(i, &self.graph.node[i]), problem)
    }

    fn attribute(&self, i: usize, name: &str) -> Option<&'a super::proto::Attribute> {
        self.graph.node[i].attribute.iter().find(|attribute| attribute.name == name)
    }

    fn float(&self, i: usize, name: &str, default: f32) -> f32 {
        self.attribute(i, name).map_or(default, |attribute| attribute.f.unwrap_or(0.0))
    }

    fn int(&self, i: usize, name: &str, default: i64) -> i64 {
        self.attribute(i, name).map_or(default, |attribute| attribute.i.unwrap_or(0))
    }

    /// Whether the third input of a dropout is not known to be false.
    fn trains(&self, i: usize) -> bool {
        let mode = self.graph.node[i].input.get(2).filter(|mode| !mode.is_empty());
        mode.is_some_and(|mode| {
            let constant = self.constants.get(mode.as_str());
            constant.is_none_or(|c| c.raw_data.iter().any(|&byte| byte != 0) || c.int32_data.iter().any(|&x| x != 0))
        })
    }

    /// One node, which takes the tensor `at`.
    fn step(&mut self, i: usize, at: &str) -> Result<()> {
        let node = &self.graph.node[i];
        let ours = ["", "ai.onnx"].contains(&node.domain.as_str());
        if let Some(head) = self.head.as_ref().filter(|_| node.op_type != "Identity") {
            return Err(self.refuse(i, format!("comes after {head}, which must be the last")));
        }
        match node.op_type.as_str() {
            "Scaler" if node.domain == "ai.onnx.ml" => {
                let numbers = |name| self.attribute(i, name).map_or(&[][..], |attribute| &attribute.floats);
                let (offset, scale) = (numbers("offset").to_vec(), numbers("scale").to_vec());
                self.scale(i, "Sub", offset)?;
                self.scale(i, "Mul", scale)
            }
            _ if !ours => Err(self.refuse(i, format!("is of domain {:?}, which is not read", node.domain))),
            "Flatten" if self.int(i, "axis", 1) != 1 => Err(self.refuse(i, "has an axis other than 1")),
            "Dropout" if self.trains(i) => Err(self.refuse(i, "is in training mode")),
            "Identity" | "Dropout" | "Flatten" => Ok(()),
            "Cast" if self.int(i, "to", 0) == i64::from(FLOAT) => Ok(()),
            "Reshape" => match node.input.get(1).and_then(|shape| self.constants.get(shape.as_str())) {
                Some(shape) if shape.dims == [2] => Ok(()),
                _ => Err(self.refuse(i, "does not reshape to two dimensions, which is all that is read")),
            },
            "Gemm" => self.gemm(i, at),
            "MatMul" => {
                self.operand(i, at, 0)?;
                let ([inputs, outputs], weights) = self.matrix(i, 1)?;
                self.layer(i, inputs, outputs, weights, None)
            }
            "Add" | "Sub" | "Mul" | "Div" => self.arithmetic(i, at),
            "BatchNormalization" => self.normalisation(i, at),
            "Relu" => self.activation(i, Activation::Relu),
            "LeakyRelu" => self.activation(i, Activation::LeakyRelu { alpha: self.float(i, "alpha", 0.01) }),
            "Elu" => self.activation(i, Activation::Elu { alpha: self.float(i, "alpha", 1.0) }),
            "Tanh" => self.activation(i, Activation::Tanh),
            "Sigmoid" => self.activation(i, Activation::Sigmoid),
            "Softplus" => self.activation(i, Activation::Softplus),
            "Gelu" => match self.attribute(i, "approximate").and_then(|attribute| attribute.s.as_deref()) {
                None | Some(b"none") => self.activation(i, Activation::Gelu),
                Some(b"tanh") => self.activation(i, Activation::GeluTanh),
                Some(_) => Err(self.refuse(i, "approximates in another way than \"tanh\"")),
            },
            "Mish" => self.activation(i, Activation::Mish),
            "HardSwish" => self.activation(i, Activation::HardSwish),
            "Softmax" | "LogSoftmax" => {
                // Before version 13 the default was 1, which is the last here too.
                let axis = self.int(i, "axis", -1);
                if ![-1, 1].contains(&axis) {
                    return Err(self.refuse(i, format!("has axis {axis}, but must have the last")));
                }
                self.head = Some(name(i, node));
                Ok(())
            }
            _ => Err(self.refuse(i, "is no operator of a plain chain")),
        }
    }

    /// The tensor must be this operand.
    fn operand(&self, i: usize, at: &str, operand: usize) -> Result<()> {
        let found = self.graph.node[i].input.get(operand).map_or("", String::as_str);
        if found == at { Ok(()) } else { Err(self.refuse(i, format!("takes {at:?} in another place than {operand}"))) }
    }

    /// The numbers of a constant operand and their dimensions.
    fn constant(&self, i: usize, operand: usize) -> Result<(Vec<usize>, Vec<f32>)> {
        let wrong = |problem: String| {
            let input = self.graph.node[i].input.get(operand).map_or("", String::as_str);
            Err(self.refuse(i, format!("input {operand} {input:?} {problem}")))
        };
        let tensor = self.graph.node[i].input.get(operand).and_then(|input| self.constants.get(input.as_str()));
        let Some(Tensor { dims, data_type, float_data, raw_data, data_location, .. }) = tensor else {
            return wrong("is no constant".into());
        };
        if (*data_type, *data_location) != (FLOAT, 0) {
            return wrong(format!("has type {data_type} in location {data_location}, but must be FLOAT (1) in place"));
        }
        let sizes: Option<Vec<usize>> = dims.iter().map(|&dim| usize::try_from(dim).ok()).collect();
        let found = if raw_data.is_empty() { float_data.len() } else { raw_data.len() / 4 };
        let whole = raw_data.len().is_multiple_of(4) && (raw_data.is_empty() || float_data.is_empty());
        let count = sizes.iter().flatten().try_fold(1_usize, |product, &dim| product.checked_mul(dim));
        let Some(sizes) = sizes.filter(|_| whole && count == Some(found)) else {
            return wrong(format!("has {found} numbers for dimensions {dims:?}"));
        };
        let numbers = if raw_data.is_empty() { float_data.clone() } else { floats(raw_data).collect() };
        if !numbers.iter().all(|x| x.is_finite()) {
            return wrong("is not finite".into());
        }
        Ok((sizes, numbers))
    }

    fn matrix(&self, i: usize, operand: usize) -> Result<([usize; 2], Vec<f32>)> {
        let (dims, numbers) = self.constant(i, operand)?;
        match *dims.as_slice() {
            [rows, cols] if rows > 0 && cols > 0 => Ok(([rows, cols], numbers)),
            _ => Err(self.refuse(i, format!("input {operand} has dimensions {dims:?}, but must be a matrix"))),
        }
    }

    /// A constant operand that is added to, or multiplies, rows of `width`: as many numbers, or one for all.
    fn row(&self, i: usize, operand: usize, width: usize) -> Result<Vec<f32>> {
        let (dims, numbers) = self.constant(i, operand)?;
        match numbers.as_slice() {
            &[one] => Ok(vec![one; width]),
            _ if numbers.len() == width && is_row(&dims) => Ok(numbers),
            _ => Err(self.refuse(i, format!("input {operand} has dimensions {dims:?} for {width} columns"))),
        }
    }

    fn gemm(&mut self, i: usize, at: &str) -> Result<()> {
        self.operand(i, at, 0)?;
        for (attribute, value) in [("alpha", self.float(i, "alpha", 1.0)), ("beta", self.float(i, "beta", 1.0))] {
            if value != 1.0 {
                return Err(self.refuse(i, format!("has {attribute} {value}, but must have 1")));
            }
        }
        if self.int(i, "transA", 0) != 0 {
            return Err(self.refuse(i, "transposes its input (transA)"));
        }
        let ([rows, cols], weights) = self.matrix(i, 1)?;
        let (inputs, outputs, weights) = if self.int(i, "transB", 0) == 0 {
            (rows, cols, weights)
        } else {
            (
                cols,
                rows,
                (0..cols).flat_map(|c| (0..rows).map(move |r| (r, c))).map(|(r, c)| weights[r * cols + c]).collect(),
            )
        };
        let bias = match self.graph.node[i].input.get(2).filter(|input| !input.is_empty()) {
            Some(_) => Some(self.row(i, 2, outputs)?),
            None => None,
        };
        self.layer(i, inputs, outputs, weights, bias)
    }

    fn layer(
        &mut self,
        i: usize,
        inputs: usize,
        outputs: usize,
        weights: Vec<f32>,
        bias: Option<Vec<f32>>,
    ) -> Result<()> {
        let before = match self.layers.last() {
            Some(layer) => Some(layer.outputs),
            None => self.features(),
        };
        if let Some(before) = before.filter(|&before| before != inputs) {
            return Err(self.refuse(i, format!("takes {inputs} columns, but there are {before}")));
        }
        let node = name(i, &self.graph.node[i]);
        self.layers.push(Layer { node, inputs, outputs, weights, bias, activation: None });
        Ok(())
    }

    /// How many features the graph says it takes: the product of all dimensions but the first, where they are known.
    fn features(&self) -> Option<usize> {
        let shape = self.start.kind.as_ref()?.tensor.as_ref()?.shape.as_ref()?;
        let dims = shape.dim.get(1..).filter(|dims| !dims.is_empty())?;
        dims.iter().try_fold(1_usize, |product, dim| product.checked_mul(usize::try_from(dim.value?).ok()?))
    }

    /// The bias of the layer before, or the scaling of the inputs.
    fn arithmetic(&mut self, i: usize, at: &str) -> Result<()> {
        let node = &self.graph.node[i];
        let operand = usize::from(node.input.first().is_some_and(|input| input == at));
        if operand == 0 && ["Sub", "Div"].contains(&node.op_type.as_str()) {
            self.operand(i, at, 0)?;
        }
        let Some(layer) = self.layers.last() else {
            let (dims, numbers) = self.constant(i, operand)?;
            if !is_row(&dims) {
                return Err(self.refuse(i, format!("input {operand} has dimensions {dims:?}, more than a row")));
            }
            return self.scale(i, &node.op_type, numbers);
        };
        let free = layer.bias.is_none() && layer.activation.is_none();
        if node.op_type != "Add" || !free {
            return Err(self.refuse(i, "is neither the bias of a layer nor the scaling of the inputs"));
        }
        let bias = self.row(i, operand, layer.outputs)?;
        if let Some(layer) = self.layers.last_mut() {
            layer.bias = Some(bias);
        }
        Ok(())
    }

    /// Scaling of the inputs, in the order of a [`Scaler`].
    fn scale(&mut self, i: usize, op: &str, numbers: Vec<f32>) -> Result<()> {
        let pixels = element(self.start) == UINT8;
        let share = matches!((op, numbers.as_slice()), ("Mul", [x]) if *x == 1.0 / 255.0)
            || (op == "Div" && numbers == [255.0]);
        if self.layers.is_empty() && self.scaling.is_none() && pixels && !self.shares && share {
            self.shares = true;
            // What a data set of images does by itself.
            return Ok(());
        }
        let plain = || Scaling { centre: vec![0.0], factor: vec![1.0], base: 0.0 };
        let mut scaling = self.scaling.take().unwrap_or_else(plain);
        let (unscaled, unmoved) = (scaling.factor == [1.0] && scaling.base == 0.0, scaling.base == 0.0);
        match (op, numbers.as_slice()) {
            ("Sub", _) if unscaled && scaling.centre == [0.0] => scaling.centre = numbers,
            ("Add", &[base]) if unmoved => scaling.base = base,
            ("Add", _) if unscaled && scaling.centre == [0.0] => scaling.centre = numbers.iter().map(|x| -x).collect(),
            ("Mul", _) if scaling.factor == [1.0] && unmoved => scaling.factor = numbers,
            ("Div", _) if scaling.factor == [1.0] && unmoved => {
                scaling.factor = numbers.iter().map(|x| 1.0 / x).collect()
            }
            _ => return Err(self.refuse(i, "does not fit a scaling (x - centre) factor + base, base one number")),
        }
        self.scaling = Some(scaling);
        Ok(())
    }

    fn activation(&mut self, i: usize, f: Activation) -> Result<()> {
        let node = name(i, &self.graph.node[i]);
        match self.layers.last_mut().map(|layer| &mut layer.activation) {
            Some(activation @ None) => *activation = Some((f, node)),
            Some(Some(_)) => return Err(self.refuse(i, "follows another activation")),
            None => return Err(self.refuse(i, "comes before the first layer")),
        }
        Ok(())
    }

    /// `scale (x - mean) / √(var + ε) + shift` of a layer's outputs becomes part of its weights, in `f64`.
    fn normalisation(&mut self, i: usize, at: &str) -> Result<()> {
        self.operand(i, at, 0)?;
        if self.int(i, "training_mode", 0) != 0 {
            return Err(self.refuse(i, "is in training mode"));
        }
        let epsilon = f64::from(self.float(i, "epsilon", 1e-5));
        let Some(width) = self.layers.last().filter(|layer| layer.activation.is_none()).map(|layer| layer.outputs)
        else {
            return Err(self.refuse(i, "must follow a layer, before its activation"));
        };
        let [scale, shift, mean, variance] = [1, 2, 3, 4].map(|operand| self.row(i, operand, width));
        let (scale, shift, mean, variance) = (scale?, shift?, mean?, variance?);
        let Some(layer) = self.layers.last_mut() else { return Ok(()) };
        let bias = layer.bias.get_or_insert_with(|| vec![0.0; width]);
        for j in 0..width {
            let factor = f64::from(scale[j]) / (f64::from(variance[j]) + epsilon).sqrt();
            bias[j] = ((f64::from(bias[j]) - f64::from(mean[j])) * factor + f64::from(shift[j])) as f32;
            layer.weights.iter_mut().skip(j).step_by(width).for_each(|w| *w = (f64::from(*w) * factor) as f32);
        }
        if !bias.iter().chain(&layer.weights).all(|x| x.is_finite()) {
            return Err(self.refuse(i, "makes numbers that are not finite"));
        }
        Ok(())
    }
}

/// Whether all dimensions but the last are 1.
fn is_row(dims: &[usize]) -> bool {
    dims.iter().rev().skip(1).all(|&rows| rows == 1)
}

fn build(file: &Path, mut layers: Vec<Layer>, headed: bool) -> Result<Mlp> {
    let Some(last) = layers.last_mut() else {
        return Err(error(file, "graph", "has no layer"));
    };
    match last.activation.take() {
        None | Some((Activation::Identity, _)) => {}
        // A single output's logit becomes a probability by it, unless a softmax follows.
        Some((Activation::Sigmoid, _)) if !headed => {}
        Some((_, node)) => return Err(error(file, node, "is at the end, where a model puts out logits")),
    }
    let dense = |layer: &Layer| {
        let f = layer.activation.as_ref().map_or(Activation::Identity, |(f, _)| *f);
        Dense::new(layer.inputs, layer.outputs, f)
    };
    let shapes: Vec<Dense> = layers.iter().map(dense).collect();
    if count(&shapes).is_none() {
        return Err(error(file, layers[0].node.clone(), "and those after it do not make a model"));
    }
    check(&shapes).map_err(|problem| error(file, "layers", problem))?;
    let numbers = layers.into_iter().flat_map(|layer| {
        let bias = layer.bias.unwrap_or_else(|| vec![0.0; layer.outputs]);
        [layer.weights, bias].concat()
    });
    let parameters = Store::from(&*numbers.collect::<Vec<f32>>());
    Ok(Mlp::from_parts(shapes, parameters))
}
