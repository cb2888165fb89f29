//! Samples and labels, and how they get into memory and into batches.

mod clean;
mod csv;
mod idx;
pub(crate) mod npy;
mod split;

pub use clean::{Cleaner, Missing, Repairs, Scaler, Scaling};
pub use csv::{Column, CsvFormat, Table};
pub use split::Fold;

use crate::engine::Engine;
use crate::error::{Error, Result, setting};
use crate::loss::Loss;
use crate::predictor::Samples;
use kernels::prefetch;
use std::fmt;
use std::iter::zip;
use std::path::{Path, PathBuf};

/// What is known of each sample.
#[derive(Clone)]
enum Features {
    /// Grey images, image after image, row after row. Pixels stay bytes; each batch converts its own.
    Images(Vec<u8>),
    /// Numbers, sample after sample.
    Numbers(Vec<f32>),
}

/// What a model is to learn of each sample.
#[derive(Clone, Debug, PartialEq)]
pub enum Targets {
    /// A class, from 0.
    Classes(Vec<u32>),
    /// As many numbers as the model has outputs.
    Values {
        /// Sample after sample.
        values: Vec<f32>,
        /// Numbers of each sample.
        width: usize,
    },
}

/// Samples: grey images of one size or rows of numbers, with the class of each or the values that belong to it.
#[derive(Clone)]
pub struct Dataset {
    features: Features,
    targets: Targets,
    len: usize,
    height: usize,
    width: usize,
    /// Largest label plus one.
    classes: usize,
    /// Named in errors.
    image_file: PathBuf,
    label_file: PathBuf,
}

/// These samples of `width` elements each. In a random order the CPU can't foresee them: two are on their way from
/// memory while one is read.
fn in_order<T>(all: &[T], width: usize, samples: impl Iterator<Item = usize> + Clone) -> impl Iterator<Item = &[T]> {
    let at = move |sample: usize| &all[sample * width..][..width];
    let mut ahead = samples.clone().skip(2).map(at);
    samples.map(move |sample| {
        ahead.next().into_iter().for_each(prefetch);
        at(sample)
    })
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

    /// Rows of `width` numbers, row after row, and the targets of each.
    ///
    /// # Errors
    /// When there are not as many whole rows as targets.
    pub fn from_numbers(numbers: Vec<f32>, width: usize, targets: Targets) -> Result<Self> {
        let memory = PathBuf::from("<memory>");
        let (found, per_sample) = match &targets {
            Targets::Classes(labels) => (labels.len(), 1),
            Targets::Values { values, width } => (values.len(), *width),
        };
        let len = found.checked_div(per_sample).unwrap_or(0);
        if len.checked_mul(per_sample) != Some(found) || len.checked_mul(width) != Some(numbers.len()) {
            return Err(Error::Rows { numbers: numbers.len(), width, targets: found, per_sample });
        }
        let classes = classes_of(&targets);
        let features = Features::Numbers(numbers);
        Ok(Self { features, targets, len, height: 1, width, classes, image_file: memory.clone(), label_file: memory })
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
        let (len, targets) = (labels.len(), Targets::Classes(labels));
        let classes = classes_of(&targets);
        let features = Features::Images(images);
        Ok(Self { features, targets, len, height, width, classes, image_file, label_file })
    }

    /// Number of samples.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are no samples.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Rows of an image; 1 for numbers.
    pub fn height(&self) -> usize {
        self.height
    }

    /// Columns of an image; for numbers, how many a sample has.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Pixels of an image or numbers of a sample: the inputs of a model.
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
    /// When there is no such image, or the samples are numbers.
    pub fn image(&self, i: usize) -> &[u8] {
        assert!(i < self.len(), "image {i} of {}", self.len());
        match &self.features {
            Features::Images(images) => &images[i * self.features()..][..self.features()],
            Features::Numbers(_) => panic!("the samples are numbers, not images"),
        }
    }

    /// The numbers of all samples, sample after sample; none for images.
    pub fn numbers(&self) -> Option<&[f32]> {
        match &self.features {
            Features::Images(_) => None,
            Features::Numbers(numbers) => Some(numbers),
        }
    }

    /// All samples, for a [`Predictor`](crate::Predictor).
    pub fn samples(&self) -> Samples<'_> {
        match &self.features {
            Features::Images(images) => Samples::Pixels(images),
            Features::Numbers(numbers) => Samples::Numbers(numbers),
        }
    }

    /// The class of each sample; empty when the targets are values.
    pub fn labels(&self) -> &[u32] {
        match &self.targets {
            Targets::Classes(labels) => labels,
            Targets::Values { .. } => &[],
        }
    }

    /// What a model is to learn.
    pub fn targets(&self) -> &Targets {
        &self.targets
    }

    /// A copy of the first `n` samples, of all when there are fewer.
    #[must_use]
    pub fn head(&self, n: usize) -> Self {
        self.select(0..n.min(self.len))
    }

    /// A copy of these samples, in this order.
    ///
    /// # Panics
    /// When there is no such sample.
    #[must_use]
    pub fn select(&self, samples: impl IntoIterator<Item = usize>) -> Self {
        let samples: Vec<usize> = samples.into_iter().collect();
        let features = match &self.features {
            Features::Images(images) => Features::Images(rows(images, self.features(), &samples)),
            Features::Numbers(numbers) => Features::Numbers(rows(numbers, self.features(), &samples)),
        };
        let targets = match &self.targets {
            Targets::Classes(labels) => Targets::Classes(rows(labels, 1, &samples)),
            Targets::Values { values, width } => {
                Targets::Values { values: rows(values, *width, &samples), width: *width }
            }
        };
        let (len, classes) = (samples.len(), classes_of(&targets));
        let (image_file, label_file) = (self.image_file.clone(), self.label_file.clone());
        Self { features, targets, len, classes, image_file, label_file, ..*self }
    }

    /// Whether a classifier with so many inputs and classes can be measured on this: there are samples, each of as many
    /// features, and no label is beyond the classes.
    ///
    /// # Errors
    /// What does not fit, with the file and the numbers.
    pub fn fits(&self, inputs: usize, classes: usize) -> Result<()> {
        self.check_not_empty()?;
        self.check_inputs(inputs)?;
        self.check_targets(&Loss::default(), classes)
    }

    /// Whether a model with that many inputs can take these images.
    pub(crate) fn check_inputs(&self, inputs: usize) -> Result<()> {
        if self.features() == inputs {
            return Ok(());
        }
        Err(Error::ImageSize { file: self.image_file.clone(), height: self.height, width: self.width, inputs })
    }

    /// Whether a model with that many outputs can learn these targets by this loss.
    pub(crate) fn check_targets(&self, loss: &Loss, outputs: usize) -> Result<()> {
        let weights = if let Loss::CrossEntropy { class_weights, .. } = loss { class_weights.len() } else { 0 };
        let labels = match &self.targets {
            Targets::Values { width, .. } if *width == outputs => {
                let range = "none where targets are values";
                return setting("number of class_weights", weights as f64, weights == 0, range);
            }
            Targets::Values { width, .. } => {
                return Err(Error::Targets { file: self.label_file.clone(), found: *width, outputs });
            }
            Targets::Classes(labels) => labels,
        };
        // A single output learns the class as a number: any for a regression, 0 or 1 for a question.
        let classes = match loss {
            Loss::CrossEntropy { .. } => outputs,
            Loss::BinaryCrossEntropy => outputs.max(2),
            _ if outputs == 1 => return Ok(()),
            _ => outputs,
        };
        let Some(sample) = labels.iter().position(|&label| label as usize >= classes) else {
            return Ok(());
        };
        Err(Error::Label { file: self.label_file.clone(), sample, label: labels[sample], classes })
    }

    /// Whether the targets are classes.
    pub(crate) fn has_classes(&self) -> bool {
        matches!(self.targets, Targets::Classes(_))
    }

    /// Whether there is anything to train on.
    pub(crate) fn check_not_empty(&self) -> Result<()> {
        if self.is_empty() { Err(Error::Empty { file: self.image_file.clone() }) } else { Ok(()) }
    }

    /// Gathers samples into the rows of `x`: numbers as they are, pixels times 1/255.
    pub(crate) fn gather(
        &self,
        engine: &dyn Engine,
        samples: impl Iterator<Item = usize> + Clone,
        x: &mut [f32],
    ) -> Result<()> {
        let width = self.features();
        let rows = x.chunks_exact_mut(width);
        match &self.features {
            Features::Images(images) => {
                for (image, row) in zip(in_order(images, width, samples), rows) {
                    engine.scale_bytes(image, 1.0 / 255.0, row)?;
                }
            }
            Features::Numbers(numbers) => {
                zip(in_order(numbers, width, samples), rows).for_each(|(numbers, row)| row.copy_from_slice(numbers));
            }
        }
        Ok(())
    }

    /// Gathers the classes of samples.
    pub(crate) fn gather_labels(&self, samples: impl Iterator<Item = usize>, labels: &mut [u32]) {
        for (sample, label) in samples.zip(labels) {
            *label = self.labels()[sample];
        }
    }

    /// Gathers the targets of samples as numbers, `outputs` each. A class is the number itself for a single output, and
    /// a 1 among zeros for several.
    pub(crate) fn gather_values(&self, samples: impl Iterator<Item = usize>, outputs: usize, values: &mut [f32]) {
        for (sample, row) in samples.zip(values.chunks_exact_mut(outputs)) {
            match &self.targets {
                Targets::Values { values, .. } => row.copy_from_slice(&values[sample * outputs..][..outputs]),
                Targets::Classes(labels) if outputs == 1 => row[0] = labels[sample] as f32,
                Targets::Classes(labels) => {
                    row.fill(0.0);
                    row[labels[sample] as usize] = 1.0;
                }
            }
        }
    }
}

/// Largest label plus one.
fn classes_of(targets: &Targets) -> usize {
    match targets {
        Targets::Classes(labels) => labels.iter().max().map_or(0, |&label| label as usize + 1),
        Targets::Values { .. } => 0,
    }
}

/// A copy of these rows.
fn rows<T: Copy>(from: &[T], width: usize, samples: &[usize]) -> Vec<T> {
    samples.iter().flat_map(|&i| &from[i * width..][..width]).copied().collect()
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
    /// The names of the files, each of which may end with `.gz`: images and labels to train on, then to test with.
    pub const FILES: [&'static str; 4] =
        ["train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"];

    /// Reads the four files from a directory, each under its plain name or with `.gz` (the plain one wins).
    ///
    /// # Errors
    /// Whatever is missing or wrong, with the file and the numbers.
    pub fn load(dir: impl AsRef<Path>) -> Result<Self> {
        let (dir, [images, labels, ..]) = (dir.as_ref(), Self::FILES);
        Ok(Self { test: Self::load_test(dir)?, train: load(dir, images, labels)? })
    }

    /// Reads the test set alone.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub fn load_test(dir: impl AsRef<Path>) -> Result<Dataset> {
        let [.., images, labels] = Self::FILES;
        load(dir.as_ref(), images, labels)
    }
}

fn load(dir: &Path, images: &'static str, labels: &'static str) -> Result<Dataset> {
    if !dir.is_dir() {
        return Err(Error::NoDirectory { dir: dir.into() });
    }
    Dataset::from_idx(find(dir, images)?, find(dir, labels)?)
}

fn find(dir: &Path, name: &'static str) -> Result<PathBuf> {
    [dir.join(name), dir.join(format!("{name}.gz"))]
        .into_iter()
        .find(|path| path.exists())
        .ok_or_else(|| Error::Missing { dir: dir.into(), name })
}
