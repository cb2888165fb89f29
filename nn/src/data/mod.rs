//! Samples and labels, and how they get into memory and into batches.

mod idx;

use crate::engine::Engine;
use crate::error::{Error, Result};
use std::fmt;
use std::path::{Path, PathBuf};

/// Grey images of one size and the class of each. Pixels stay bytes; each batch converts its own.
#[derive(Clone)]
pub struct Dataset {
    /// Image after image, row after row.
    images: Vec<u8>,
    labels: Vec<u32>,
    height: usize,
    width: usize,
    /// Largest label plus one.
    classes: usize,
    /// Named in errors.
    image_file: PathBuf,
    label_file: PathBuf,
}

impl Dataset {
    /// `labels.len()` images of `height` x `width` bytes, image after image, row after row.
    ///
    /// # Errors
    /// When `images` does not hold exactly that many bytes.
    pub fn new(images: Vec<u8>, labels: Vec<u32>, height: usize, width: usize) -> Result<Self> {
        let memory = PathBuf::from("<memory>");
        Self::with_files(images, labels, (height, width), memory.clone(), memory)
    }

    /// Reads a file of images and a file of labels in IDX format, each plain or compressed with gzip.
    ///
    /// # Errors
    /// Whatever is wrong with either file, or counts that disagree.
    pub fn from_idx(images: impl AsRef<Path>, labels: impl AsRef<Path>) -> Result<Self> {
        let (image_file, label_file) = (images.as_ref(), labels.as_ref());
        // The small file first: when it is not what it should be, the large one need not be read.
        let labels = idx::read_file::<1>(label_file)?;
        let images = idx::read_file::<3>(image_file)?;
        let [count, height, width] = images.dims;
        if count != labels.bytes.len() {
            return Err(Error::Counts {
                image_file: image_file.into(),
                images: count,
                label_file: label_file.into(),
                labels: labels.bytes.len(),
            });
        }
        let classes = labels.bytes.into_iter().map(u32::from).collect();
        Self::with_files(images.bytes, classes, (height, width), image_file.into(), label_file.into())
    }

    fn with_files(
        images: Vec<u8>,
        labels: Vec<u32>,
        (height, width): (usize, usize),
        image_file: PathBuf,
        label_file: PathBuf,
    ) -> Result<Self> {
        let expected = height.checked_mul(width).and_then(|pixels| pixels.checked_mul(labels.len()));
        if expected != Some(images.len()) {
            return Err(Error::Pixels { found: images.len(), images: labels.len(), height, width });
        }
        let classes = labels.iter().max().map_or(0, |&label| label as usize + 1);
        Ok(Self { images, labels, height, width, classes, image_file, label_file })
    }

    /// Number of samples.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there are no samples.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// Rows of an image.
    pub fn height(&self) -> usize {
        self.height
    }

    /// Columns of an image.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Pixels of an image, the inputs of a model.
    pub fn features(&self) -> usize {
        self.height * self.width
    }

    /// Number of classes as far as the labels tell: the largest label plus one.
    pub fn classes(&self) -> usize {
        self.classes
    }

    /// The pixels of image `i`, row after row.
    ///
    /// # Panics
    /// When there is no such image.
    pub fn image(&self, i: usize) -> &[u8] {
        assert!(i < self.len(), "image {i} of {}", self.len());
        &self.images[i * self.features()..][..self.features()]
    }

    /// The class of each image.
    pub fn labels(&self) -> &[u32] {
        &self.labels
    }

    /// A copy of the first `n` samples, of all when there are fewer.
    #[must_use]
    pub fn head(&self, n: usize) -> Self {
        let n = n.min(self.len());
        let labels = self.labels[..n].to_vec();
        Self {
            images: self.images[..n * self.features()].to_vec(),
            classes: labels.iter().max().map_or(0, |&label| label as usize + 1),
            labels,
            image_file: self.image_file.clone(),
            label_file: self.label_file.clone(),
            ..*self
        }
    }

    /// Whether a model with that many inputs can take these images.
    pub(crate) fn check_inputs(&self, inputs: usize) -> Result<()> {
        if self.features() == inputs {
            return Ok(());
        }
        Err(Error::ImageSize { file: self.image_file.clone(), height: self.height, width: self.width, inputs })
    }

    /// Whether every label is below `classes`.
    pub(crate) fn check_labels(&self, classes: usize) -> Result<()> {
        let Some(sample) = self.labels.iter().position(|&label| label as usize >= classes) else {
            return Ok(());
        };
        Err(Error::Label { file: self.label_file.clone(), sample, label: self.labels[sample], classes })
    }

    /// Whether there is anything to train on.
    pub(crate) fn check_not_empty(&self) -> Result<()> {
        if self.is_empty() { Err(Error::Empty { file: self.image_file.clone() }) } else { Ok(()) }
    }

    /// Gathers samples into a batch: pixels times 1/255 into the rows of `x`, classes into `labels`.
    pub(crate) fn gather(
        &self,
        engine: &dyn Engine,
        samples: impl Iterator<Item = usize>,
        x: &mut [f32],
        labels: &mut [u32],
    ) -> Result<()> {
        for ((sample, row), label) in samples.zip(x.chunks_exact_mut(self.features())).zip(labels) {
            engine.scale_bytes(self.image(sample), 1.0 / 255.0, row)?;
            *label = self.labels[sample];
        }
        Ok(())
    }
}

/// The sizes and the files; the pixels would fill the screen.
impl fmt::Debug for Dataset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dataset")
            .field("len", &self.len())
            .field("height", &self.height)
            .field("width", &self.width)
            .field("classes", &self.classes)
            .field("image_file", &self.image_file)
            .field("label_file", &self.label_file)
            .finish_non_exhaustive()
    }
}

/// A training and a test set in the four files of MNIST: Fashion-MNIST and others use the same names.
#[derive(Clone, Debug)]
pub struct Mnist {
    /// Files `train-images-idx3-ubyte` and `train-labels-idx1-ubyte`.
    pub train: Dataset,
    /// Files `t10k-images-idx3-ubyte` and `t10k-labels-idx1-ubyte`.
    pub test: Dataset,
}

impl Mnist {
    /// Reads the four files from a directory, each under its plain name or with `.gz` (the plain one wins).
    ///
    /// # Errors
    /// Whatever is missing or wrong, with the file and the numbers.
    pub fn load(dir: impl AsRef<Path>) -> Result<Self> {
        let dir = dir.as_ref();
        if !dir.is_dir() {
            return Err(Error::NoDirectory { dir: dir.into() });
        }
        let load = |images, labels| Dataset::from_idx(find(dir, images)?, find(dir, labels)?);
        Ok(Self {
            test: load("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")?,
            train: load("train-images-idx3-ubyte", "train-labels-idx1-ubyte")?,
        })
    }
}

fn find(dir: &Path, name: &'static str) -> Result<PathBuf> {
    [dir.join(name), dir.join(format!("{name}.gz"))]
        .into_iter()
        .find(|path| path.exists())
        .ok_or_else(|| Error::Missing { dir: dir.into(), name })
}
