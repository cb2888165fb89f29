#![no_main]
//! A model, alone or in training. One that can be read must be one that can be used and saved.

use libfuzzer_sys::fuzz_target;
use nn::{Kernels, Mlp, Predictor, Trainer};

fuzz_target!(|data: &[u8]| {
    let file = fuzz::file("checkpoint", data);
    if let Ok(model) = Mlp::load(&file) {
        let mut out = vec![0.0; model.outputs()];
        Predictor::new(&model).unwrap().run(&vec![0.5_f32; model.inputs()], &mut out).unwrap();
        model.save(&file).unwrap();
        assert_eq!(Mlp::load(&file).unwrap().parameter_count(), model.parameter_count());
    }
    let engine = Kernels::active().unwrap();
    if let Ok(trainer) = Trainer::resume(fuzz::file("checkpoint", data), &engine) {
        trainer.save(&file).unwrap();
    }
});
