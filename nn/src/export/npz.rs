//! NPZ: a zip file of arrays, each in the format NPY of NumPy (`numpy/lib/_format_impl.py`).

use crate::checkpoint::error;
use crate::data::npy::{MAGIC, parse};
use crate::error::Result;
use crate::store;
use std::io::{self, Cursor, Read, Write};
use std::path::Path;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipArchive, ZipWriter};

/// Larger arrays are refused: a small file can unpack to anything.
const LIMIT: u64 = 1 << 30;

/// Numbers with a name and dimensions, row-major.
pub(super) struct Array {
    pub(super) name: String,
    pub(super) shape: Vec<usize>,
    pub(super) numbers: Vec<f32>,
}

/// The header of version 1.0, padded so that the numbers begin at a multiple of 64.
fn header(kind: &str, shape: &[usize]) -> Vec<u8> {
    let shape: String = shape.iter().map(|dim| format!("{dim},")).collect();
    let mut dict = format!("{{'descr': '{kind}', 'fortran_order': False, 'shape': ({shape}), }}");
    let length = (MAGIC.len() + 4 + dict.len() + 1).next_multiple_of(64);
    dict += &" ".repeat(length - MAGIC.len() - 4 - dict.len() - 1);
    dict.push('\n');
    [&MAGIC[..], &[1, 0], &(dict.len() as u16).to_le_bytes(), dict.as_bytes()].concat()
}

/// The arrays, and a text as an array of bytes.
pub(super) fn to_bytes(arrays: &[Array], (name, text): (&str, &[u8])) -> io::Result<Vec<u8>> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    // The same numbers make the same file: no dates. Weights hardly get smaller.
    let options = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
    let mut add = |name: &str, header: &[u8], bytes: &[u8]| {
        zip.start_file(format!("{name}.npy"), options)?;
        zip.write_all(header)?;
        zip.write_all(bytes)
    };
    add(name, &header("|u1", &[text.len()]), text)?;
    for Array { name, shape, numbers } in arrays {
        add(name, &header("<f4", shape), &store::le_bytes(numbers))?;
    }
    Ok(zip.finish()?.into_inner())
}

/// The arrays of an NPZ file but the one with the name `text`, whose bytes are given apart.
pub(super) fn from_bytes(bytes: &[u8], file: &Path, text: &str) -> Result<(Vec<Array>, Option<Vec<u8>>)> {
    let mut zip = ZipArchive::new(Cursor::new(bytes))
        .map_err(|problem| error(file, "zip", format!("is no archive, as NPZ files are ({problem})")))?;
    let (mut arrays, mut found, mut left) = (Vec::new(), None, LIMIT);
    for i in 0..zip.len() {
        let entry = zip.by_index(i).map_err(|problem| error(file, format!("entry {i}"), problem))?;
        let whole = entry.name().to_owned();
        let name = whole.strip_suffix(".npy").unwrap_or(&whole).to_owned();
        let mut bytes = Vec::new();
        // The header of an entry may say anything: memory grows with what there is.
        entry.take(left + 1).read_to_end(&mut bytes).map_err(|problem| error(file, &whole, problem))?;
        left = left
            .checked_sub(bytes.len() as u64)
            .ok_or_else(|| error(file, &whole, format!("brings the file to more than {LIMIT} bytes")))?;
        let (kind, shape, data) = parse(&bytes).map_err(|problem| error(file, &whole, problem))?;
        let count = shape.iter().try_fold(1_usize, |product, &dim| product.checked_mul(dim));
        let size = match kind {
            "<f4" => 4,
            "|u1" if name == text => 1,
            _ => return Err(error(file, &whole, format!("has type {kind:?}, but must have \"<f4\""))),
        };
        if count.and_then(|count| count.checked_mul(size)) != Some(data.len()) {
            let problem = format!("has {} bytes for dimensions {shape:?} of {size} bytes", data.len());
            return Err(error(file, &whole, problem));
        }
        if size == 1 {
            found = Some(data.to_vec());
        } else {
            arrays.push(Array { name, shape, numbers: store::floats(data).collect() });
        }
    }
    Ok((arrays, found))
}
