//! `--data`, which all commands that need images share.

use crate::error::Result;
use crate::files;
use nn::Mnist;
use std::path::PathBuf;

/// Where the images are.
#[derive(clap::Args)]
#[group(skip)]
pub struct Args {
    /// Directory with the four MNIST files, plain or .gz [default: data/mnist]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
}

impl Args {
    /// The directory: the one that was named, else that of the workspace.
    pub fn dir(&self) -> Result<PathBuf> {
        files::data_dir(self.data.as_deref())
    }

    /// Reads the images.
    pub fn load(&self) -> Result<Mnist> {
        Ok(Mnist::load(self.dir()?)?)
    }
}
