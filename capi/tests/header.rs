//! `include/kernels.h` is what cbindgen makes of the sources, so it can't drift from them.
//!
//! After a change of the interface: `KERNELS_WRITE_HEADER=1 cargo test -p capi --test header`.

use std::fs;
use std::path::Path;

#[test]
fn the_header_is_that_of_the_sources() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let config = cbindgen::Config::from_file(root.join("cbindgen.toml")).unwrap();
    let mut made = Vec::new();
    cbindgen::Builder::new().with_crate(root).with_config(config).generate().unwrap().write(&mut made);
    let path = root.join("include/kernels.h");
    if std::env::var_os("KERNELS_WRITE_HEADER").is_some() {
        fs::write(&path, &made).unwrap();
    }
    let kept = fs::read(&path).unwrap();
    let line = made.split(|&b| b == b'\n').zip(kept.split(|&b| b == b'\n')).position(|(a, b)| a != b);
    assert!(
        made == kept,
        "include/kernels.h is out of date from line {:?}: see the head of this test",
        line.map(|l| l + 1)
    );
}
