//! The data files in the repository, and files that are damaged in every way that can be told.

use flate2::{Compression, read::GzDecoder, write::GzEncoder};
use nn::{Dataset, Error, Kernels, Mlp, Mnist, Recipe, Result, Targets, Trainer};
use proptest::prelude::*;
use sha2::{Digest, Sha256};
use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use tempfile::TempDir;

const MNIST: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../data/mnist");

#[test]
fn mnist_is_the_original() {
    for (name, expected) in [
        ("train-images-idx3-ubyte", "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db"),
        ("train-labels-idx1-ubyte", "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5"),
        ("t10k-images-idx3-ubyte", "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7"),
        ("t10k-labels-idx1-ubyte", "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2"),
    ] {
        let mut raw = Vec::new();
        let file = File::open(Path::new(MNIST).join(format!("{name}.gz"))).unwrap();
        GzDecoder::new(file).read_to_end(&mut raw).unwrap();
        let found: String = Sha256::digest(&raw).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(found, expected, "{name}");
    }
}

#[test]
fn mnist_loads() -> Result<()> {
    let Mnist { train, test } = Mnist::load(MNIST)?;
    for (data, count) in [(&train, 60_000), (&test, 10_000)] {
        assert_eq!((data.len(), data.height(), data.width(), data.classes()), (count, 28, 28, 10));
        assert_eq!((data.image(count - 1).len(), data.labels().len()), (784, count));
    }
    assert_eq!(train.labels()[..8], [5, 0, 4, 1, 9, 2, 1, 3]);
    assert_eq!(test.labels()[..8], [7, 2, 1, 0, 4, 1, 4, 9]);
    // The sum of the first training image, a 5, as NumPy gives it.
    assert_eq!(train.image(0).iter().map(|&byte| u32::from(byte)).sum::<u32>(), 27_525);
    Ok(())
}

/// An IDX file of unsigned bytes.
fn idx(dims: &[u32], bytes: &[u8]) -> Vec<u8> {
    let mut file = (0x0800 | dims.len() as u32).to_be_bytes().to_vec();
    file.extend(dims.iter().flat_map(|dim| dim.to_be_bytes()));
    file.extend(bytes);
    file
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// A folder with a file of images and a file of labels.
struct Files {
    dir: TempDir,
}

impl Files {
    fn new(images: &[u8], labels: &[u8]) -> Self {
        let files = Self { dir: tempfile::tempdir().unwrap() };
        fs::write(files.images(), images).unwrap();
        fs::write(files.labels(), labels).unwrap();
        files
    }
    fn images(&self) -> PathBuf {
        self.dir.path().join("images")
    }
    fn labels(&self) -> PathBuf {
        self.dir.path().join("labels")
    }
    fn load(&self) -> Result<Dataset> {
        Dataset::from_idx(self.images(), self.labels())
    }
    /// The message without the folder, which has another name in each run.
    fn message(&self, error: &Error) -> String {
        error.to_string().replace(&format!("{}/", self.dir.path().display()), "")
    }
}

/// Two images of 2x3 and their labels.
fn good() -> (Vec<u8>, Vec<u8>) {
    (idx(&[2, 2, 3], &[0, 50, 100, 150, 200, 250, 1, 2, 3, 4, 5, 6]), idx(&[2], &[7, 1]))
}

#[test]
fn reads_plain_and_compressed_files() -> Result<()> {
    let (images, labels) = good();
    // A gzip file may consist of several members.
    let members = |bytes: &[u8]| [gzip(&bytes[..10]), gzip(&bytes[10..])].concat();
    let filled = |zeros: usize| [gzip(&images), vec![0; zeros]].concat();
    for (images, labels) in [
        (images.clone(), labels.clone()),
        (gzip(&images), labels.clone()),
        (images.clone(), gzip(&labels)),
        (members(&images), gzip(&labels)),
        // Tapes fill their last block with zeros, which gzip(1) ignores.
        (filled(1), labels.clone()),
        (filled(20_000), [members(&labels), vec![0; 7]].concat()),
    ] {
        let data = Files::new(&images, &labels).load()?;
        assert_eq!((data.len(), data.height(), data.width(), data.classes()), (2, 2, 3, 8));
        assert_eq!(data.image(0), [0, 50, 100, 150, 200, 250]);
        assert_eq!(data.image(1), [1, 2, 3, 4, 5, 6]);
        assert_eq!(data.labels(), [7, 1]);
    }
    Ok(())
}

#[test]
fn damaged_files_are_errors_with_numbers() {
    const AFTER: &str = "cannot read images: what follows its gzip stream is neither another nor zeros";
    let (images, labels) = good();
    let with = |bytes: &[u8], change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = bytes.to_vec();
        change(&mut bytes);
        bytes
    };
    let broken_checksum = with(&gzip(&images), &|file| {
        let at = file.len() - 8;
        file[at] ^= 1;
    });
    for (images, labels, expected) in [
        (labels.clone(), labels.clone(), "images starts with 0x00000801, not with 0x00000803"),
        (images.clone(), images.clone(), "labels starts with 0x00000803, not with 0x00000801"),
        (b"<html>".into(), labels.clone(), "images starts with 0x3c68746d, not with 0x00000803"),
        (vec![], labels.clone(), "images ends after 0 of 4 bytes (uncompressed)"),
        (images[..9].into(), labels.clone(), "images ends after 9 of 16 bytes (uncompressed)"),
        (images[..27].into(), labels.clone(), "images ends after 27 of 28 bytes (uncompressed)"),
        (images.clone(), labels[..9].into(), "labels ends after 9 of 10 bytes (uncompressed)"),
        (gzip(&images[..27]), labels.clone(), "images ends after 27 of 28 bytes (uncompressed)"),
        (gzip(&images)[..5].into(), labels.clone(), "images ends after 0 of 4 bytes (uncompressed)"),
        (
            with(&images, &|file| file.push(0)),
            labels.clone(),
            "images goes on after the 28 bytes (uncompressed) that its header announces",
        ),
        (
            images.clone(),
            gzip(&with(&labels, &|file| file.push(0))),
            "labels goes on after the 10 bytes (uncompressed) that its header announces",
        ),
        (broken_checksum, labels.clone(), "cannot read images: corrupt gzip stream does not have a matching checksum"),
        (with(&gzip(&images), &|file| file.push(1)), labels.clone(), AFTER),
        (with(&gzip(&images), &|file| file.extend([0, 0, 0x1f])), labels.clone(), AFTER),
        (with(&gzip(&images), &|file| file.extend([0x1f, 0])), labels.clone(), "cannot read images: "),
        (images.clone(), idx(&[3], &[7, 1, 0]), "images holds 2 images, but labels holds 3 labels"),
        (
            idx(&[1 << 20, 1 << 20, 1 << 20], &[1]),
            labels.clone(),
            "the header of images announces [1048576, 1048576, 1048576] bytes, more than the 4294967296 that are accepted",
        ),
        (
            idx(&[u32::MAX; 3], &[1]),
            labels.clone(),
            "the header of images announces [4294967295, 4294967295, 4294967295] bytes, more than the 4294967296 that \
             are accepted",
        ),
        (images.clone(), idx(&[u32::MAX], &[1]), "labels ends after 9 of 4294967303 bytes (uncompressed)"),
        (idx(&[u32::MAX, 1, 1], &[1]), labels.clone(), "images ends after 17 of 4294967311 bytes (uncompressed)"),
        (idx(&[u32::MAX, 0, 9], &[]), labels.clone(), "images holds 4294967295 images, but labels holds 2 labels"),
    ] {
        let files = Files::new(&images, &labels);
        let message = files.message(&files.load().expect_err(expected));
        // The prefix will do where another crate words the rest.
        assert!(message.starts_with(expected), "{message}\n  where expected:\n{expected}");
    }
}

#[test]
fn missing_files_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let load = |path: &Path| Mnist::load(path).unwrap_err().to_string().replace(dir.path().to_str().unwrap(), "DIR");
    assert_eq!(load(&dir.path().join("none")), "DIR/none is not a directory");
    let missing = "DIR holds neither t10k-images-idx3-ubyte nor t10k-images-idx3-ubyte.gz";
    assert_eq!(load(dir.path()), missing);
    fs::write(dir.path().join("t10k-images-idx3-ubyte.gz"), good().0).unwrap();
    assert_eq!(load(dir.path()), missing.replace("images-idx3", "labels-idx1"));
    fs::write(dir.path().join("t10k-labels-idx1-ubyte"), good().1).unwrap();
    assert_eq!(load(dir.path()), missing.replace("t10k", "train"));
    // A directory in the place of a file can be opened, but not read.
    fs::remove_file(dir.path().join("t10k-labels-idx1-ubyte")).unwrap();
    fs::create_dir(dir.path().join("t10k-labels-idx1-ubyte")).unwrap();
    assert!(load(dir.path()).starts_with("cannot read DIR/t10k-labels-idx1-ubyte: "));
    let gone = dir.path().join("gone");
    assert!(matches!(Dataset::from_idx(&gone, &gone), Err(Error::Read { file, .. }) if file == gone));
}

#[test]
fn data_that_do_not_fit_the_model_are_errors_with_numbers() -> Result<()> {
    let engine = Kernels::active()?;
    let (images, labels) = good();
    let files = Files::new(&images, &labels);
    let data = files.load()?;

    let check = |sizes: &[usize], data: &Dataset, expected: &str, labels_matter: bool| -> Result<()> {
        let model = Mlp::new(sizes, 0)?;
        let mut errors = vec![model.evaluate(&engine, data).map(|_| ()).unwrap_err()];
        let mut trainer = Trainer::new(model.clone(), Recipe::default(), &engine)?;
        errors.push(trainer.fit(data, &mut ()).map(|_| ()).unwrap_err());
        if labels_matter {
            assert_eq!(model.predict(&engine, data)?.len(), data.len());
        } else {
            errors.push(model.predict(&engine, data).map(|_| ()).unwrap_err());
        }
        for error in &errors {
            assert_eq!(files.message(error), expected);
        }
        Ok(())
    };
    check(&[7, 8], &data, "the images of images have 2x3 pixels, but the model takes 7 inputs", false)?;
    let expected = "label 7 of sample 0 in labels is not below the 7 classes of the model";
    check(&[6, 4, 7], &data, expected, true)?;
    assert!(Mlp::new(&[6, 4, 8], 0)?.evaluate(&engine, &data).is_ok());

    let empty = Files::new(&idx(&[0, 2, 3], &[]), &idx(&[0], &[])).load()?;
    assert!(matches!(Mlp::new(&[6, 2], 0)?.evaluate(&engine, &empty), Err(Error::Empty { .. })));
    assert!(Mlp::new(&[6, 2], 0)?.predict(&engine, &empty)?.is_empty());
    let mut trainer = Trainer::new(Mlp::new(&[6, 2], 0)?, Recipe::default(), &engine)?;
    assert!(matches!(trainer.fit(&empty, &mut ()), Err(Error::Empty { .. })));

    let error = Dataset::new(vec![0; 11], vec![0, 1], 2, 3).unwrap_err().to_string();
    assert_eq!(error, "11 bytes are not 2 images of 2x3");
    assert!(Dataset::new(vec![], vec![0, 1], usize::MAX, 2).is_err());
    Ok(())
}

#[test]
fn head_copies_the_first_samples() -> Result<()> {
    let data = Dataset::new((0..12).collect(), vec![1, 9, 0], 2, 2)?;
    let head = data.head(1);
    assert_eq!((head.len(), head.classes(), head.labels(), head.image(0)), (1, 2, &[1][..], &[0, 1, 2, 3][..]));
    assert_eq!((data.head(7).len(), data.head(0).len(), data.head(0).classes()), (3, 0, 0));
    Ok(())
}

proptest! {
    /// Bytes of any kind, with and without a plausible beginning, plain and compressed: an error, or a data set that
    /// holds what the file holds; never a panic.
    #[test]
    fn any_bytes_are_read_or_refused(
        images in prop::collection::vec(any::<u8>(), 0..64),
        labels in prop::collection::vec(any::<u8>(), 0..16),
        dims in prop::option::of([0..4_u32, 0..4_u32, 0..4_u32]),
        count in prop::option::of(0..4_u32),
        packed in any::<[bool; 2]>(),
        cut in 0..64_usize,
    ) {
        let mut images = dims.map_or(images.clone(), |dims| idx(&dims, &images));
        let labels = count.map_or(labels.clone(), |count| idx(&[count], &labels));
        let announced = dims.map(|dims| dims.iter().product::<u32>() as usize);
        // Often the right length, so that the far end of the reader is reached too.
        if let (Some(bytes), true) = (announced, cut > 8) {
            images.resize(16 + bytes, 1);
        }
        let pack = |bytes: &[u8], packed: bool| if packed { gzip(bytes) } else { bytes.to_vec() };
        let mut file = pack(&images, packed[0]);
        if cut < 4 {
            file.truncate(file.len() - file.len().min(cut));
        }
        if let Ok(data) = Files::new(&file, &pack(&labels, packed[1])).load() {
            prop_assert_eq!(data.len() * data.features(), images.len() - 16);
            prop_assert_eq!(data.len(), labels.len() - 8);
        }
    }
}

/// An NPY file: NumPy writes version 1 and pads the header to a multiple of 64, which readers need not mind.
fn npy(kind: &str, shape: &str, data: &[u8]) -> Vec<u8> {
    let header = format!("{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}\n");
    [b"\x93NUMPY\x01\x00", &(header.len() as u16).to_le_bytes()[..], header.as_bytes(), data].concat()
}

#[test]
fn arrays_of_numpy_are_read() -> Result<()> {
    let load = |x: &[u8], y: &[u8]| {
        let files = Files::new(x, y);
        Dataset::from_npy(files.images(), files.labels()).map_err(|error| files.message(&error))
    };
    let classes = npy("<i8", "(2,)", &[7i64, 1].map(i64::to_le_bytes).concat());
    let images = load(&npy("|u1", "(2, 2, 3)", &[9; 12]), &classes).unwrap();
    assert_eq!((images.len(), images.height(), images.width(), images.classes()), (2, 2, 3, 8));
    assert_eq!((images.image(1), images.labels()), (&[9; 6][..], &[7, 1][..]));
    assert_eq!(load(&npy("|u1", "(2, 6)", &[9; 12]), &classes).unwrap().image(0), [9; 6]);
    let numbers = npy("<f8", "(2, 2)", &[0.5, -1.0, f64::NAN, 3.0].map(f64::to_le_bytes).concat());
    let data = load(&numbers, &npy("<f4", "(2,)", &[1.5f32, 2.5].map(f32::to_le_bytes).concat())).unwrap();
    let Targets::Values { values, width: 1 } = data.targets() else { panic!("{data:?}") };
    assert!(values == &[1.5, 2.5] && data.numbers().unwrap()[2].is_nan() && data.numbers().unwrap()[3] == 3.0);
    assert_eq!(load(&npy("<i2", "(2,)", &[1, 0, 255, 255]), &classes).unwrap().numbers(), Some(&[1.0, -1.0][..]));

    let negative = npy("|i1", "(2,)", &[0, 255]);
    for (x, y, expected) in [
        (&b"GIF89a"[..], &classes, "images: features does not begin as an NPY file"),
        (&numbers[..40], &classes, "images: features ends in its header"),
        (&numbers[..100], &classes, "images: features has 30 bytes for dimensions [2, 2] of 8 bytes"),
        (
            &npy(">f4", "(2, 1)", &[0; 8]),
            &classes,
            "images: features has type \">f4\", but must hold little-endian numbers",
        ),
        (&npy("<f4", "(4611686018427387904, 4)", &[]), &classes, "images: features has 0 bytes for dimensions"),
        (&npy("<f4", "(3, 1)", &[0; 12]), &classes, "labels: targets has dimensions [2], but the features have [3, 1]"),
        (
            &npy("|u1", "(2, 1, 1, 1)", &[0; 2]),
            &classes,
            "images: features has dimensions [2, 1, 1, 1]: images of bytes",
        ),
        (&numbers, &negative, "labels: targets holds -1, which is no class"),
        (
            &numbers,
            &npy("|u1", "(2, 1)", &[0; 2]),
            "labels: targets has classes in dimensions [2, 1], but one for each",
        ),
        (&numbers, &npy("<f4", "(2, 1, 1)", &[0; 8]), "labels: targets has dimensions [2, 1, 1], but one or two are"),
    ] {
        let message = load(x, y).expect_err(expected);
        assert!(message.starts_with(expected), "{message}\n  where expected:\n{expected}");
    }

    // A zip file, as NumPy writes it.
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("mnist.npz");
    let mut zip = zip::ZipWriter::new(File::create(&file).unwrap());
    for (name, bytes) in [("x_train.npy", npy("|u1", "(2, 2, 3)", &[9; 12])), ("y_train.npy", classes)] {
        zip.start_file(name, zip::write::SimpleFileOptions::default()).unwrap();
        zip.write_all(&bytes).unwrap();
    }
    zip.finish().unwrap();
    assert_eq!(Dataset::from_npz(&file, "x_train", "y_train")?.image(0), [9; 6]);
    let missing = Dataset::from_npz(&file, "x_train", "y_test").unwrap_err().to_string();
    assert!(missing.contains("mnist.npz: y_test "), "{missing}");
    Ok(())
}
