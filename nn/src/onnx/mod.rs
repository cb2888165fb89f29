//! Models as ONNX files, for other programs and from them.
//!
//! What goes both ways is a plain chain: the scaling of the inputs, dense layers, activations, softmax at the end.
//! Written are `Sub`, `Mul`, `Add` (the scaler), `Gemm`, one node for each activation (`Sigmoid` and `Mul` for SiLU)
//! and `Softmax`. Read are also `MatMul` with `Add`, weights stored the other way round (`transB`, as PyTorch has
//! them), `BatchNormalization` after a layer, which goes into its weights, `Scaler` of `ai.onnx.ml`, and what changes
//! nothing here: `Flatten`, `Identity`, `Dropout`, `Cast` to float, `Reshape` to two dimensions. Anything else is an
//! error that names the node.
//!
//! A model read so has the same outputs within rounding: other programs have no fixed order of summation.

mod proto;
mod read;
mod write;

pub use read::{from_bytes, load};
pub use write::{Input, Output, save, to_bytes};
