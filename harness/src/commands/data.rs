//! `--data`, which all commands that need images share.

use crate::error::Result;
use crate::files;
use nn::{Dataset, Mnist};
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

    /// The files there, which no output may replace; none where there is no directory.
    pub fn files(&self) -> Vec<PathBuf> {
        let Ok(dir) = self.dir() else { return Vec::new() };
        let file = |name: &str| [dir.join(name), dir.join(format!("{name}.gz"))];
        Mnist::FILES.into_iter().flat_map(file).collect()
    }

    /// Reads the images: a model that is trained on some can be tested on the others.
    pub fn load(&self) -> Result<Mnist> {
        let data = Mnist::load(self.dir()?)?;
        let classes = data.train.classes().max(data.test.classes());
        for set in [&data.train, &data.test] {
            set.fits(data.train.features(), classes)?;
        }
        Ok(data)
    }

    /// Reads the test images, for a model with so many inputs and classes.
    pub fn load_test(&self, inputs: usize, classes: usize) -> Result<Dataset> {
        let test = Mnist::load_test(self.dir()?)?;
        test.fits(inputs, classes)?;
        Ok(test)
    }
}
