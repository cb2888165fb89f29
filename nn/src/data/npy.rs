//! Arrays of NumPy: NPY files, and NPZ files, which are zip files of them (`numpy/lib/_format_impl.py`).
//!
//! A header is believed only as far as bytes follow it: memory grows with what was read, never with what was promised.

use super::{Dataset, Targets};
use crate::checkpoint::error;
use crate::error::{Error, Result};
use std::fs::File;
use std::io::Read;
use std::path::Path;
use zip::ZipArchive;

/// What an NPY file begins with.
pub(crate) const MAGIC: &[u8; 6] = b"\x93NUMPY";
/// Larger arrays are refused: a small zip file can unpack to anything.
const LIMIT: u64 = 1 << 32;

impl Dataset {
    /// Reads features and targets from two NPY files, a sample in each row.
    ///
    /// Bytes are the pixels of images (samples x height x width, or samples x pixels), other numbers are taken as they
    /// are (samples x features, or one feature). Targets are classes where they are whole numbers, else values
    /// (samples, or samples x values).
    ///
    /// # Errors
    /// When a file can't be read, is no row-major NPY file of little-endian numbers, or both do not go together.
    pub fn from_npy(features: impl AsRef<Path>, targets: impl AsRef<Path>) -> Result<Self> {
        let read = |file: &Path| -> Result<Vec<u8>> {
            let mut bytes = Vec::new();
            let open = File::open(file).and_then(|open| open.take(LIMIT + 1).read_to_end(&mut bytes));
            open.map_err(|source| Error::Read { file: file.into(), source })?;
            Ok(bytes)
        };
        let (features, targets) = (features.as_ref(), targets.as_ref());
        let (x, y) = (read(features)?, read(targets)?);
        Self::from_arrays((features, "features", &x), (targets, "targets", &y))
    }

    /// [`Self::from_npy`], from two arrays of an NPZ file: `x_train` and `y_train` of the `mnist.npz` of Keras.
    ///
    /// # Errors
    /// As there, or when the file has no such array.
    pub fn from_npz(file: impl AsRef<Path>, features: &str, targets: &str) -> Result<Self> {
        let file = file.as_ref();
        let open = File::open(file).map_err(|source| Error::Read { file: file.into(), source })?;
        let mut zip = ZipArchive::new(open).map_err(|problem| error(file, "zip", problem))?;
        let mut read = |name: &str| -> Result<Vec<u8>> {
            let entry = zip.by_name(&format!("{name}.npy")).map_err(|problem| error(file, name, problem))?;
            let mut bytes = Vec::new();
            entry.take(LIMIT + 1).read_to_end(&mut bytes).map_err(|problem| error(file, name, problem))?;
            Ok(bytes)
        };
        let (x, y) = (read(features)?, read(targets)?);
        Self::from_arrays((file, features, &x), (file, targets, &y))
    }

    fn from_arrays(features: (&Path, &str, &[u8]), targets: (&Path, &str, &[u8])) -> Result<Self> {
        let ((file, name, _), (target_file, target_name, _)) = (features, targets);
        let (x, y) = (Array::new(features)?, Array::new(targets)?);
        let wrong = |problem: String| error(target_file, target_name, problem);
        if x.shape.first() != y.shape.first() || x.shape.is_empty() {
            return Err(wrong(format!("has dimensions {:?}, but the features have {:?}", y.shape, x.shape)));
        }
        let targets = if y.kind.whole {
            let [_] = *y.shape.as_slice() else {
                return Err(wrong(format!(
                    "has classes in dimensions {:?}, but one for each sample is needed",
                    y.shape
                )));
            };
            let class = |label: f64| {
                let fits = (0.0..f64::from(u32::MAX)).contains(&label);
                if fits { Ok(label as u32) } else { Err(wrong(format!("holds {label}, which is no class"))) }
            };
            Targets::Classes(y.numbers().map(class).collect::<Result<_>>()?)
        } else {
            let width = match *y.shape.as_slice() {
                [_] => 1,
                [_, width] => width,
                _ => return Err(wrong(format!("has dimensions {:?}, but one or two are needed", y.shape))),
            };
            Targets::Values { values: y.numbers().map(|x| x as f32).collect(), width }
        };
        let mut data = match (x.kind.bytes, x.shape.as_slice(), targets) {
            (true, &[_, height, width], Targets::Classes(labels)) => Self::new(x.data.to_vec(), labels, height, width)?,
            (true, &[_, width], Targets::Classes(labels)) => Self::new(x.data.to_vec(), labels, 1, width)?,
            (_, &[_], targets) => Self::from_numbers(x.numbers().map(|x| x as f32).collect(), 1, targets)?,
            (_, &[_, width], targets) => Self::from_numbers(x.numbers().map(|x| x as f32).collect(), width, targets)?,
            (_, shape, _) => {
                let problem = format!("has dimensions {shape:?}: images of bytes with classes have three, others two");
                return Err(error(file, name, problem));
            }
        };
        (data.image_file, data.label_file) = (file.into(), target_file.into());
        Ok(data)
    }
}

/// A type of numbers.
struct Kind {
    size: usize,
    /// Whether it is that of pixels.
    bytes: bool,
    whole: bool,
    read: fn(&[u8]) -> f64,
}

impl Kind {
    fn new(name: &str) -> Option<Self> {
        /// The bytes of one number, as many as the type has.
        fn of<const N: usize>(bytes: &[u8]) -> [u8; N] {
            bytes.try_into().expect("chunks of this size")
        }
        let (size, read): (usize, fn(&[u8]) -> f64) = match name {
            "|u1" | "|b1" => (1, |x| x[0].into()),
            "|i1" => (1, |x| i8::from_le_bytes(of(x)).into()),
            "<u2" => (2, |x| u16::from_le_bytes(of(x)).into()),
            "<i2" => (2, |x| i16::from_le_bytes(of(x)).into()),
            "<u4" => (4, |x| u32::from_le_bytes(of(x)).into()),
            "<i4" => (4, |x| i32::from_le_bytes(of(x)).into()),
            "<u8" => (8, |x| u64::from_le_bytes(of(x)) as f64),
            "<i8" => (8, |x| i64::from_le_bytes(of(x)) as f64),
            "<f4" => (4, |x| f32::from_le_bytes(of(x)).into()),
            "<f8" => (8, |x| f64::from_le_bytes(of(x))),
            _ => return None,
        };
        Some(Self { size, bytes: name == "|u1", whole: !name.starts_with("<f"), read })
    }
}

/// An NPY file whose data are as long as its header says.
struct Array<'a> {
    kind: Kind,
    shape: Vec<usize>,
    data: &'a [u8],
}

impl<'a> Array<'a> {
    fn new((file, name, bytes): (&Path, &str, &'a [u8])) -> Result<Self> {
        let wrong = |problem: String| error(file, name, problem);
        if bytes.len() as u64 > LIMIT {
            return Err(wrong(format!("has more than {LIMIT} bytes")));
        }
        let (kind, shape, data) = parse(bytes).map_err(wrong)?;
        let known =
            Kind::new(kind).ok_or_else(|| wrong(format!("has type {kind:?}, but must hold little-endian numbers")))?;
        let size = shape.iter().try_fold(known.size, |product, &dim| product.checked_mul(dim));
        if size != Some(data.len()) {
            let problem = format!("has {} bytes for dimensions {shape:?} of {} bytes", data.len(), known.size);
            return Err(wrong(problem));
        }
        Ok(Self { kind: known, shape, data })
    }

    fn numbers(&self) -> impl Iterator<Item = f64> {
        self.data.chunks_exact(self.kind.size).map(self.kind.read)
    }
}

/// Type, dimensions and data of an NPY file; the data may be of any length.
pub(crate) fn parse(bytes: &[u8]) -> std::result::Result<(&str, Vec<usize>, &[u8]), String> {
    let rest = bytes.strip_prefix(MAGIC).ok_or("does not begin as an NPY file")?;
    let (length, rest) = match rest {
        [1, _, a, b, rest @ ..] => (u16::from_le_bytes([*a, *b]).into(), rest),
        [2 | 3, _, a, b, c, d, rest @ ..] => (u32::from_le_bytes([*a, *b, *c, *d]) as usize, rest),
        _ => return Err("has an unknown version of NPY".into()),
    };
    let (dict, data) = rest.split_at_checked(length).ok_or("ends in its header")?;
    let dict = std::str::from_utf8(dict).map_err(|_| "has a header that is no text")?;
    let field = |name: &str| {
        let at = dict.find(&format!("'{name}':")).ok_or(format!("has no {name:?} in its header"))?;
        Ok::<_, String>(dict[at + name.len() + 3..].trim_start())
    };
    if !field("fortran_order")?.starts_with("False") {
        return Err("is in the order of Fortran, which is not read".into());
    }
    let kind = field("descr")?.strip_prefix('\'').and_then(|kind| kind.split_once('\''));
    let shape = field("shape")?.strip_prefix('(').and_then(|shape| shape.split_once(')'));
    let ((kind, _), (shape, _)) = kind.zip(shape).ok_or("has a header that is not understood")?;
    let dims = shape.split(',').map(str::trim).filter(|dim| !dim.is_empty());
    let dims: std::result::Result<Vec<usize>, _> = dims.map(str::parse).collect();
    Ok((kind, dims.map_err(|problem| format!("has dimensions ({shape}): {problem}"))?, data))
}
