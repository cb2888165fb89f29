#![no_main]
//! Command lines, a line an argument: whatever they are, they are understood or refused.

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let _ = harness::cli::accepts(std::iter::once("harness").chain(text.lines()));
});
