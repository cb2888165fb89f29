//! The one error type of the crate. Every variant carries the file and the numbers that were wrong.

use crate::checkpoint::Kind;
use std::{io, path::PathBuf};

/// Why a file could not be read, or why data, model and settings do not go together.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The folder that should hold the data does not exist, or is no folder.
    #[error("{} is not a directory", dir.display())]
    NoDirectory {
        /// The path that was given.
        dir: PathBuf,
    },
    /// A data file is there neither plain nor compressed.
    #[error("{} holds neither {name} nor {name}.gz", dir.display())]
    Missing {
        /// The folder that was searched.
        dir: PathBuf,
        /// Name of the file.
        name: &'static str,
    },
    /// The operating system or the decompressor gave up.
    #[error("cannot read {}: {source}", file.display())]
    Read {
        /// The file.
        file: PathBuf,
        /// What they said.
        source: io::Error,
    },
    /// The first four bytes do not announce the kind of IDX file that is needed here.
    #[error("{} starts with {found:#010x}, not with {expected:#010x}", file.display())]
    Magic {
        /// The file.
        file: PathBuf,
        /// The magic number of the kind that is needed.
        expected: u32,
        /// The first four bytes of the file, big-endian.
        found: u32,
    },
    /// The header announces more than any data set of this kind holds.
    #[error("the header of {} announces {dims:?} bytes, more than the {limit} that are accepted", file.display())]
    TooLarge {
        /// The file.
        file: PathBuf,
        /// Its dimensions, as the header tells them.
        dims: Vec<u32>,
        /// The most bytes that are accepted.
        limit: u64,
    },
    /// The file ends before what its header announces.
    #[error("{} ends after {found} of {expected} bytes (uncompressed)", file.display())]
    Truncated {
        /// The file.
        file: PathBuf,
        /// Uncompressed length that the header announces, itself included.
        expected: u64,
        /// Uncompressed length that was found.
        found: u64,
    },
    /// The file goes on after what its header announces.
    #[error("{} goes on after the {expected} bytes (uncompressed) that its header announces", file.display())]
    TooLong {
        /// The file.
        file: PathBuf,
        /// Uncompressed length that the header announces, itself included.
        expected: u64,
    },
    /// There are not as many labels as images.
    #[error("{} holds {images} images, but {} holds {labels} labels", image_file.display(), label_file.display())]
    Counts {
        /// The file of the images.
        image_file: PathBuf,
        /// Number of images.
        images: usize,
        /// The file of the labels.
        label_file: PathBuf,
        /// Number of labels.
        labels: usize,
    },
    /// A slice does not hold whole images.
    #[error("{found} bytes are not {images} images of {height}x{width}")]
    Pixels {
        /// Number of bytes given.
        found: usize,
        /// Number of images, as many as labels.
        images: usize,
        /// Rows of an image.
        height: usize,
        /// Columns of an image.
        width: usize,
    },
    /// Slices do not hold as many whole rows as targets.
    #[error("{numbers} numbers in rows of {width} do not go with {targets} targets, {per_sample} for each row")]
    Rows {
        /// How many numbers were given.
        numbers: usize,
        /// Numbers of a sample.
        width: usize,
        /// How many targets were given.
        targets: usize,
        /// Targets of a sample.
        per_sample: usize,
    },
    /// A table is not what it should be.
    #[error("{}, line {line}, column {column}: {problem}", file.display())]
    Csv {
        /// The file.
        file: PathBuf,
        /// The line, from 1; 0 where it is unknown.
        line: u64,
        /// The name of the column, empty where it is the whole line.
        column: String,
        /// What is wrong.
        problem: String,
    },
    /// A feature can't be cleaned or scaled.
    #[error("feature {feature} of {} {problem}", file.display())]
    Feature {
        /// The file of the features.
        file: PathBuf,
        /// The feature, from 0.
        feature: usize,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// Only numbers are cleaned and scaled; a batch scales pixels by itself.
    #[error("the samples of {} are images, not numbers", file.display())]
    Images {
        /// The file of the images.
        file: PathBuf,
    },
    /// The model was made for images of another size.
    #[error("the images of {} have {height}x{width} pixels, but the model takes {inputs} inputs", file.display())]
    ImageSize {
        /// The file of the images.
        file: PathBuf,
        /// Rows of an image.
        height: usize,
        /// Columns of an image.
        width: usize,
        /// Inputs of the model.
        inputs: usize,
    },
    /// A label names a class that the model does not have.
    #[error("label {label} of sample {sample} in {} is not below the {classes} classes of the model", file.display())]
    Label {
        /// The file of the labels.
        file: PathBuf,
        /// Index of the first such sample, from 0.
        sample: usize,
        /// Its label.
        label: u32,
        /// Number of classes, the outputs of the model.
        classes: usize,
    },
    /// There is nothing to train on.
    #[error("{} holds no samples", file.display())]
    Empty {
        /// The file of the images.
        file: PathBuf,
    },
    /// The layer sizes make no model: fewer than two, a zero, or more parameters than can be counted.
    #[error("layer sizes {sizes:?} make no model: at least inputs and outputs, none of them 0")]
    Sizes {
        /// Inputs, then the outputs of each layer.
        sizes: Vec<usize>,
    },
    /// The model is too large for the memory.
    #[error("there is no memory for a model of {parameters} parameters")]
    Memory {
        /// How many it has.
        parameters: usize,
    },
    /// The last layer changes its outputs, but losses take them as they are: as logits.
    #[error("the last layer has an activation, a normalisation or dropout, but losses take logits")]
    LastLayer,
    /// Every class has a name, or none has.
    #[error("the number of names is {names}, but the model has {classes} classes")]
    ClassNames {
        /// How many were given.
        names: usize,
        /// Outputs of the model.
        classes: usize,
    },
    /// A class can't have this name.
    #[error("the name of class {class}, {name:?}, {problem}")]
    ClassName {
        /// The class, from 0.
        class: usize,
        /// The name that was to be its own.
        name: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// What is to hold the model has no place for this.
    #[error("layer {layer} is normalised over its outputs, which can't be written into its weights")]
    Normalised {
        /// The layer, from 0.
        layer: usize,
    },
    /// A setting of the training is out of range.
    #[error("{name} is {value}, but must be {range}")]
    Setting {
        /// The field.
        name: &'static str,
        /// Its value.
        value: f64,
        /// What it may be.
        range: &'static str,
    },
    /// The targets of the data are not what the model puts out.
    #[error("the samples of {} have {found} targets each, but the model has {outputs} outputs", file.display())]
    Targets {
        /// The file of the targets.
        file: PathBuf,
        /// Targets of a sample.
        found: usize,
        /// Outputs of the model.
        outputs: usize,
    },
    /// The loss is infinite or no number: the run has diverged, or the data hold such values.
    #[error("the loss is {loss} in epoch {}, step {} of the training", epoch + 1, *steps + 1)]
    Diverged {
        /// The epoch, counted from 0 like [`EpochEnd::epoch`](crate::EpochEnd::epoch).
        epoch: usize,
        /// Steps of the optimiser before this one, whose parameters are still in place.
        steps: u64,
        /// The loss of the batch.
        loss: f64,
    },
    /// A step has made parameters that are infinite or no numbers, though the losses of its epoch were finite.
    #[error("not all parameters are finite at the end of epoch {}, after step {steps} of the training", epoch + 1)]
    Overflow {
        /// The epoch, counted from 0 like [`EpochEnd::epoch`](crate::EpochEnd::epoch).
        epoch: usize,
        /// Steps of the optimiser, the last of which did it at the latest.
        steps: u64,
    },
    /// A checkpoint is damaged, or no checkpoint at all.
    #[error("{}: {field} {problem}", file.display())]
    Checkpoint {
        /// The file.
        file: PathBuf,
        /// The part of it that is wrong.
        field: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A file holds something else than what is to be read from it.
    #[error("{}: holds {found}, not {wanted}", file.display())]
    Kind {
        /// The file.
        file: PathBuf,
        /// What it holds.
        found: Kind,
        /// What it should hold.
        wanted: Kind,
    },
    /// The operating system could not write a file. What was there before is still there.
    #[error("cannot write {}: {source}", file.display())]
    Write {
        /// The file.
        file: PathBuf,
        /// What it said.
        source: io::Error,
    },
    /// A kernel refused a call.
    #[error(transparent)]
    Kernels(#[from] kernels::Error),
}

/// Refuses a setting that is out of its range.
pub(crate) fn setting(name: &'static str, value: impl Into<f64>, ok: bool, range: &'static str) -> Result<()> {
    if ok { Ok(()) } else { Err(Error::Setting { name, value: value.into(), range }) }
}

/// Short for `Result<T, nn::Error>`.
pub type Result<T> = std::result::Result<T, Error>;
