//! What several test programs need.

use byteorder::{BigEndian, WriteBytesExt};
use std::fs;
use std::path::Path;

/// Writes an IDX file of bytes.
pub fn idx(path: &Path, dims: &[usize], bytes: &[u8]) {
    let mut file = Vec::new();
    file.write_u32::<BigEndian>(0x0800 + dims.len() as u32).unwrap();
    for &dim in dims {
        file.write_u32::<BigEndian>(dim as u32).unwrap();
    }
    file.extend_from_slice(bytes);
    fs::write(path, file).unwrap();
}
