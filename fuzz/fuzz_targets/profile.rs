#![no_main]
//! A profile. The first line and the CPU are put before the input, or nothing would ever come past them.

use kernels::{Gemm, MatMut, MatRef, Profile};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let _ = Profile::parse(text);
    let head = Profile::new().to_string();
    let Ok(profile) = Profile::parse(&format!("{}\n{text}", head.trim_end())) else { return };
    let again = Profile::parse(&profile.to_string()).unwrap();
    assert_eq!(again, profile);
    // Whatever the values, a product is the same.
    for backend in kernels::Backend::supported() {
        if let Some(tuning) = profile.get(backend.name(), "f32") {
            let (x, mut c) = ([1.0_f32; 60], [0.0; 25]);
            let (a, b) = (MatRef::new(&x, 5, 12).unwrap(), MatRef::new(&x, 12, 5).unwrap());
            Gemm::new().backend(backend).tuning(&tuning).run(a, b, MatMut::new(&mut c, 5, 5).unwrap()).unwrap();
            assert_eq!(c, [12.0; 25]);
        }
    }
});
