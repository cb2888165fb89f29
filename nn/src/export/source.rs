//! A model as Rust source: a program with the weights inside, for where nothing can be linked or loaded.

use crate::checkpoint::error;
use crate::error::Result;
use crate::mlp::Mlp;
use kernels::{Activation, CHUNK};
use std::fmt::Write;
use std::path::Path;

/// Written out as it stands; its tests are below.
const MATH: &str = include_str!("scalar.rs");

/// How the source applies an activation to `x`.
fn applied(f: Activation) -> Option<String> {
    let name = match f {
        Activation::Identity => "identity",
        Activation::Relu => "relu",
        Activation::Tanh => "tanh",
        Activation::Sigmoid => "sigmoid",
        Activation::Gelu => "gelu",
        Activation::Silu => "silu",
        Activation::GeluTanh => "gelu_tanh",
        Activation::Softplus => "softplus",
        Activation::Mish => "mish",
        Activation::HardSwish => "hard_swish",
        Activation::LeakyRelu { alpha } => return Some(format!("|x| math::leaky_relu(x, {alpha:?})")),
        Activation::Elu { alpha } => return Some(format!("|x| math::elu(x, {alpha:?})")),
        _ => return None,
    };
    Some(format!("math::{name}"))
}

/// Numbers as literals that read back as themselves, some in a line.
fn numbers(source: &mut String, x: &[f32]) {
    for line in x.chunks(16) {
        let line: Vec<String> = line.iter().map(|x| format!("{x:?}")).collect();
        *source += &format!("    {},\n", line.join(", "));
    }
}

/// A module of Rust that holds the model: `predict` gives the outputs of a sample, `probabilities` (where there are at
/// least two outputs) and `classify` what follows from them. It needs no crate but the standard library, allocates
/// nothing, and gives the bits of [`Predictor`](crate::Predictor): those of every row of the kernels but `plain`.
/// `file` is named in errors alone.
///
/// # Errors
/// When a parameter is not finite, or an activation is not among those that can be written.
pub fn rust_source(model: &Mlp, file: &Path) -> Result<String> {
    let model = &model.folded()?;
    let (inputs, outputs) = (model.inputs(), model.outputs());
    let sizes: Vec<String> =
        [inputs].into_iter().chain(model.layers().iter().map(|layer| layer.outputs)).map(|n| n.to_string()).collect();
    let mut source =
        format!("// A multi-layer perceptron, {}, written by nn {}.\n\n", sizes.join("-"), env!("CARGO_PKG_VERSION"));
    source += &format!(
        "/// Numbers of a sample.\npub const INPUTS: usize = {inputs};\n\
         /// Numbers that the model puts out.\npub const OUTPUTS: usize = {outputs};\n\
         /// The names of the classes; empty where nobody gave them.\npub const LABELS: &[&str] = &{:?};\n\n",
        model.labels()
    );
    let mut body = String::new();
    if let Some(scaler) = model.scaler() {
        let (centre, factor, base) = scaler.parts();
        for (name, part) in [("CENTRE", centre), ("FACTOR", factor)] {
            source += &format!("#[rustfmt::skip]\nstatic {name}: [f32; INPUTS] = [\n");
            numbers(&mut source, part);
            source += "];\n\n";
        }
        body += &format!(
            "    let mut scaled = *x;\n    for i in 0..INPUTS {{\n        \
             scaled[i] = (x[i] - CENTRE[i]) * FACTOR[i] + {base:?};\n    }}\n    let x = &scaled;\n"
        );
    }
    let parameters: Vec<&[f32]> = model.parameters().collect();
    for (l, (layer, parts)) in model.layers().iter().zip(parameters.chunks_exact(2)).enumerate() {
        let [w, b] = [parts[0], parts[1]];
        for (what, part) in [("weight", w), ("bias", b)] {
            if !part.iter().all(|x| x.is_finite()) {
                return Err(error(file, format!("layers.{l}.{what}"), "is not finite, and was not written"));
            }
        }
        let Some(f) = applied(layer.activation) else {
            let problem = format!("is {:?}, which can't be written as Rust source", layer.activation);
            return Err(error(file, format!("layers.{l}.activation"), problem));
        };
        source += &format!("#[rustfmt::skip]\nstatic WEIGHT_{l}: [[f32; {}]; {}] = [\n", layer.outputs, layer.inputs);
        for row in w.chunks_exact(layer.outputs) {
            source += "    [\n";
            numbers(&mut source, row);
            source += "    ],\n";
        }
        source += &format!("];\n\n#[rustfmt::skip]\nstatic BIAS_{l}: [f32; {}] = [\n", layer.outputs);
        numbers(&mut source, b);
        source += "];\n\n";
        let x = if l == 0 { "x".to_owned() } else { format!("&y{}", l - 1) };
        let _ = writeln!(body, "    let y{l} = dense({x}, &WEIGHT_{l}, &BIAS_{l}, {f});");
    }
    let last = model.layers().len() - 1;
    source += &format!(
        "/// What the last layer puts out for a sample: logits, or the predicted values of a regression.\n\
         pub fn predict(x: &[f32; INPUTS]) -> [f32; OUTPUTS] {{\n{body}    y{last}\n}}\n\n"
    );
    if outputs > 1 {
        source += "/// The probability of each class.\n\
                   pub fn probabilities(x: &[f32; INPUTS]) -> [f32; OUTPUTS] {\n    \
                   let mut y = predict(x);\n    math::softmax(&mut y);\n    y\n}\n\n\
                   /// The most probable class, the first of equals.\n\
                   pub fn classify(x: &[f32; INPUTS]) -> usize {\n    let y = predict(x);\n    \
                   (1..OUTPUTS).fold(0, |best, j| if y[j] > y[best] || y[best].is_nan() { j } else { best })\n}\n\n";
    }
    source += &format!(
        "/// f(x w + b): chunks of {CHUNK} products, each a chain of fused multiplications and additions that starts at 0,\n\
         /// added up in their order.\n\
         fn dense<const K: usize, const N: usize>(\n    x: &[f32; K],\n    w: &[[f32; N]; K],\n    b: &[f32; N],\n    \
         f: impl Fn(f32) -> f32,\n) -> [f32; N] {{\n    let mut y = [0.0; N];\n    \
         for (chunk, (x, w)) in x.chunks({CHUNK}).zip(w.chunks({CHUNK})).enumerate() {{\n        \
         let mut s = [0.0_f32; N];\n        for (x, w) in x.iter().zip(w) {{\n            \
         for (s, w) in s.iter_mut().zip(w) {{\n                *s = x.mul_add(*w, *s);\n            }}\n        }}\n        \
         for (y, s) in y.iter_mut().zip(s) {{\n            *y = if chunk == 0 {{ s }} else {{ *y + s }};\n        }}\n    }}\n    \
         for (y, b) in y.iter_mut().zip(b) {{\n        *y = f(*y + b);\n    }}\n    y\n}}\n\n"
    );
    source += "#[allow(dead_code)]\nmod math {\n";
    for line in MATH.lines() {
        let _ = writeln!(source, "{}{line}", if line.is_empty() { "" } else { "    " });
    }
    source += "}\n";
    Ok(source)
}

#[cfg(test)]
#[path = "scalar.rs"]
#[allow(dead_code)]
mod scalar;

#[cfg(test)]
mod tests {
    use super::scalar;

    use kernels::{Activation, Backend, MatMut};

    /// Every exponent with both signs and a spread of significands, and ordinary numbers.
    fn inputs() -> Vec<f32> {
        let all = (0..=u32::MAX).step_by(6_007).map(f32::from_bits);
        let special = [0.0, -0.0, f32::INFINITY, f32::NEG_INFINITY, f32::NAN, f32::MIN_POSITIVE, 1e-8, -1e-8, 14.5];
        all.chain(special).chain((-30_000..30_000).map(|i| i as f32 * 1e-3)).collect()
    }

    fn same(a: f32, b: f32) -> bool {
        a.to_bits() == b.to_bits() || a.is_nan() && b.is_nan()
    }

    #[test]
    fn activations_have_the_bits_of_the_kernels() {
        let x = inputs();
        let backend = Backend::supported().find(|backend| backend.bits_match()).expect("a row with FMA");
        type Scalar = fn(f32) -> f32;
        let functions: [(Activation, Scalar); 12] = [
            (Activation::Identity, scalar::identity),
            (Activation::Relu, scalar::relu),
            (Activation::LeakyRelu { alpha: 0.3 }, |x| scalar::leaky_relu(x, 0.3)),
            (Activation::Elu { alpha: 1.7 }, |x| scalar::elu(x, 1.7)),
            (Activation::Tanh, scalar::tanh),
            (Activation::Sigmoid, scalar::sigmoid),
            (Activation::Gelu, scalar::gelu),
            (Activation::Silu, scalar::silu),
            (Activation::GeluTanh, scalar::gelu_tanh),
            (Activation::Softplus, scalar::softplus),
            (Activation::Mish, scalar::mish),
            (Activation::HardSwish, scalar::hard_swish),
        ];
        for (f, scalar) in functions {
            let mut y = x.clone();
            backend.activate(f, &mut y);
            for (&x, &y) in x.iter().zip(&y) {
                assert!(same(scalar(x), y), "{f:?}({x:e}) is {:e}, not {y:e}", scalar(x));
            }
        }
    }

    #[test]
    fn softmax_has_the_bits_of_the_kernels() {
        let backend = Backend::supported().find(|backend| backend.bits_match()).expect("a row with FMA");
        for cols in [2, 3, 10, 15, 16, 17, 40, 100] {
            for scale in [0.01, 1.0, 50.0, 1e30] {
                let mut x: Vec<f32> = (0..cols).map(|i| (i as f32 * 7.7).sin() * scale).collect();
                let mut y = x.clone();
                scalar::softmax(&mut x);
                backend.softmax(MatMut::new(&mut y, 1, cols).unwrap());
                assert!(x.iter().zip(&y).all(|(&x, &y)| same(x, y)), "{cols} of {scale}: {x:?}, not {y:?}");
            }
        }
    }
}
