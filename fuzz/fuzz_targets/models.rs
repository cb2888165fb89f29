#![no_main]
//! Models of others: ONNX, safetensors, NPZ, and our own in 8 bits. The first byte chooses.

use libfuzzer_sys::fuzz_target;
use nn::export::{self, Layout};
use nn::quantize::Quantized;
use nn::{Activation, onnx};
use std::path::Path;

fuzz_target!(|data: &[u8]| {
    let Some((&which, bytes)) = data.split_first() else { return };
    let file = Path::new("input");
    let layout = if which & 4 == 0 { Layout::InputsOutputs } else { Layout::PyTorch };
    let model = match which % 4 {
        0 => onnx::from_bytes(bytes, file),
        1 => export::safetensors_from_bytes(bytes, file, layout, Activation::Relu),
        2 => export::npz_from_bytes(bytes, file, layout, Activation::Relu),
        _ => {
            if let Ok(model) = Quantized::from_bytes(bytes, file) {
                let mut out = vec![0.0; model.outputs()];
                model.run(&vec![0.5_f32; model.inputs()], &mut out).unwrap();
            }
            return;
        }
    };
    if let Ok(model) = model {
        assert_eq!(model.parameters().map(<[f32]>::len).sum::<usize>(), model.parameter_count());
    }
});
