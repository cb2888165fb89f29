//! The IDX format: a magic number (0, 0, the code of the element type, the number of dimensions), the dimensions as
//! 32-bit numbers, the elements; everything big-endian. Only unsigned bytes (code 8) are read here.
//!
//! A header is believed only as far as bytes follow it: memory grows with what was read, never with what was promised.

use crate::error::{Error, Result};
use byteorder::{BigEndian, ByteOrder};
use flate2::bufread::GzDecoder;
use std::fs::File;
use std::io::{self, BufRead, BufReader, ErrorKind, Read};
use std::ops::Range;
use std::path::Path;

/// More elements than this are refused, so that a small compressed file can't fill the memory. EMNIST by class, the
/// largest set in common use, has 547 million.
const LIMIT: u64 = 1 << 32;

pub(super) struct Idx<const RANK: usize> {
    pub(super) dims: [usize; RANK],
    /// As many as the product of the dimensions.
    pub(super) bytes: Vec<u8>,
}

/// Reads a file, plain or compressed: the first two bytes tell (those of a plain one are 0).
pub(super) fn read_file<const RANK: usize>(file: &Path) -> Result<Idx<RANK>> {
    let broken = |source| Error::Read { file: file.into(), source };
    let mut reader = BufReader::new(File::open(file).map_err(broken)?);
    if reader.fill_buf().map_err(broken)?.starts_with(&[0x1f, 0x8b]) {
        read(Gzip(Some(GzDecoder::new(reader))), file)
    } else {
        read(reader, file)
    }
}

/// A compressed file as gzip(1) reads it: one stream after the other, then nothing, or the zeros that tapes and some
/// programs fill up with. None once it has ended.
struct Gzip<R>(Option<GzDecoder<R>>);

impl<R: BufRead> Read for Gzip<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while let Some(stream) = &mut self.0 {
            let read = stream.read(out)?;
            if read > 0 || out.is_empty() {
                return Ok(read);
            }
            let rest = self.0.take().map(GzDecoder::into_inner);
            self.0 = rest.and_then(|rest| next_stream(rest).transpose()).transpose()?;
        }
        Ok(0)
    }
}

fn next_stream<R: BufRead>(mut rest: R) -> io::Result<Option<GzDecoder<R>>> {
    if rest.fill_buf()?.first() == Some(&0x1f) {
        return Ok(Some(GzDecoder::new(rest)));
    }
    match rest.bytes().find(|byte| !matches!(byte, Ok(0))).transpose()? {
        Some(_) => {
            Err(io::Error::new(ErrorKind::InvalidData, "what follows its gzip stream is neither another nor zeros"))
        }
        None => Ok(None),
    }
}

/// Reads from any source; `file` is named in errors.
fn read<const RANK: usize>(mut source: impl Read, file: &Path) -> Result<Idx<RANK>> {
    // The bytes at these places; a decompressor whose own input ends too early says `UnexpectedEof`.
    let mut exactly = |places: Range<u64>| {
        let (mut bytes, wanted) = (Vec::new(), places.end - places.start);
        match source.by_ref().take(wanted).read_to_end(&mut bytes) {
            Err(source) if source.kind() != ErrorKind::UnexpectedEof => Err(Error::Read { file: file.into(), source }),
            _ if bytes.len() as u64 == wanted => Ok(bytes),
            _ => {
                let found = places.start + bytes.len() as u64;
                Err(Error::Truncated { file: file.into(), expected: places.end, found })
            }
        }
    };

    let expected = 0x0800 | RANK as u32;
    let found = BigEndian::read_u32(&exactly(0..4)?);
    if found != expected {
        return Err(Error::Magic { file: file.into(), expected, found });
    }
    let start = 4 + 4 * RANK as u64;
    let mut dims = [0; RANK];
    BigEndian::read_u32_into(&exactly(4..start)?, &mut dims);
    // The product of up to three 32-bit numbers can't overflow here.
    let announced: u128 = dims.iter().map(|&dim| u128::from(dim)).product();
    if announced > u128::from(LIMIT) {
        return Err(Error::TooLarge { file: file.into(), dims: dims.into(), limit: LIMIT });
    }
    let end = start + announced as u64;
    let bytes = exactly(start..end)?;

    // Looking for one byte more also makes a decompressor compare its checksum.
    match source.take(1).read_to_end(&mut Vec::new()) {
        Ok(0) => Ok(Idx { dims: dims.map(|dim| dim as usize), bytes }),
        Ok(_) => Err(Error::TooLong { file: file.into(), expected: end }),
        Err(source) => Err(Error::Read { file: file.into(), source }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers whose bytes all differ, so that the order of the machine can't be taken for that of the file.
    #[test]
    fn numbers_are_big_endian() {
        let mut bytes = vec![0, 0, 8, 3, 0, 0, 0, 1, 0, 0, 1, 2, 0, 0, 0, 3];
        bytes.extend((0..774).map(|i| i as u8));
        let idx = read::<3>(&bytes[..], Path::new("images")).unwrap();
        assert_eq!(idx.dims, [1, 0x102, 3]);
        assert_eq!(idx.bytes, bytes[16..]);
        let error = read::<1>(&bytes[..], Path::new("labels")).err().unwrap().to_string();
        assert!(error.contains("0x00000803") && error.contains("0x00000801"), "{error}");
    }
}
