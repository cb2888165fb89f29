//! The one error type of the crate, written for the person who reads it in a terminal.

use crate::report;
use std::io;
use std::path::PathBuf;

/// Why a command could not do its work.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The data, the model or the settings are not fit for training.
    #[error(transparent)]
    Nn(#[from] nn::Error),
    /// A kernel refused a call, or `KERNELS_ISA` can't be met.
    #[error(transparent)]
    Kernels(#[from] kernels::Error),
    /// A library that was to be compared with can't be loaded.
    #[error(transparent)]
    Peer(#[from] peers::LoadError),
    /// No data directory was named, and none is in the usual places.
    #[error("no MNIST data in {}; name the directory with --data", list(tried))]
    NoData {
        /// Where it was looked for.
        tried: Vec<PathBuf>,
    },
    /// A file can't be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// A file or directory can't be written.
    #[error("cannot write {}: {source}", path.display())]
    Write {
        /// Which.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// A file would be written over what the same command reads or writes.
    #[error("{} is named twice: the one would replace the other", path.display())]
    Twice {
        /// Which.
        path: PathBuf,
    },
    /// Results are told apart by the names of the contenders.
    #[error(
        "two contenders are called {name}: rows and precisions are named once, libraries after their files, without lib"
    )]
    SameName {
        /// What both are called.
        name: String,
    },
    /// A file is larger than anything that is expected there.
    #[error("{} is larger than {most} bytes", path.display())]
    FileTooLarge {
        /// Which.
        path: PathBuf,
        /// The largest that is accepted.
        most: u64,
    },
    /// A file is no image that can be read, or shows nothing.
    #[error("{}: {problem}", path.display())]
    Image {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// The test set has no such image.
    #[error("there is no test image {index}: they are numbered from 0 to {}", samples.saturating_sub(1))]
    NoSample {
        /// Which was asked for.
        index: usize,
        /// How many there are.
        samples: usize,
    },
    /// A profile has no line for a kernel.
    #[error("{} has no values for {row} {element}; harness tune makes them", path.display())]
    NotInProfile {
        /// Its file.
        path: PathBuf,
        /// The row of the kernels' table.
        row: &'static str,
        /// The element type.
        element: &'static str,
    },
    /// Ctrl-C.
    #[error("interrupted")]
    Interrupted,
    /// Arguments that do not go together.
    #[error("{0}")]
    Usage(&'static str),
    /// The model would not fit in the memory of common machines.
    #[error("this model and batch need about {gib:.1} GiB while training, more than the {limit} GiB that are accepted")]
    TooLarge {
        /// What it would take.
        gib: f64,
        /// The most that is accepted.
        limit: u32,
    },
    /// Nobody reads what is printed.
    #[error("cannot write to standard output: {0}")]
    Output(#[from] io::Error),
    /// Results that must be right, or equal, are not.
    #[error("{} failed:\n  {}", report::counted(failures.len(), "check"), failures.join("\n  "))]
    Checks {
        /// One line for each check that failed.
        failures: Vec<String>,
    },
}

fn list(paths: &[PathBuf]) -> String {
    paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(" or ")
}

/// Short for `Result<T, harness::Error>`.
pub type Result<T> = std::result::Result<T, Error>;
