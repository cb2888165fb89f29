//! Models in the forms of others: weights as `safetensors` and NPZ, and as Rust source.

mod npz;
mod source;
mod weights;

pub use source::rust_source;
pub use weights::{
    Layout, load_npz, load_safetensors, npz_from_bytes, safetensors_from_bytes, save_npz, save_safetensors,
};
