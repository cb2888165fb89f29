//! Where data lies, and files that are written whole or not at all.

use crate::error::{Error, Result};
use crate::interrupt;
use nn::files::{place, writable};
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// The directory with the data: the one that was named, else `data/mnist` here, else that of the workspace.
pub fn data_dir(named: Option<&Path>) -> Result<PathBuf> {
    if let Some(dir) = named {
        return Ok(dir.to_owned());
    }
    let here = PathBuf::from("data/mnist");
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("")).join(&here);
    let tried = vec![here, workspace];
    match tried.iter().find(|dir| dir.is_dir()) {
        Some(dir) => Ok(dir.clone()),
        None => Err(Error::NoData { tried }),
    }
}

/// The profile that `KERNELS_PROFILE` names, which the kernels read in every command.
pub fn profile() -> Option<PathBuf> {
    std::env::var_os("KERNELS_PROFILE").map(PathBuf::from)
}

/// Whether there is a file that a command of this program makes.
///
/// # Errors
/// When not, with the name of the command.
pub fn exists(path: &Path, command: &str) -> Result<()> {
    if path.exists() {
        return Ok(());
    }
    let missing = io::Error::new(io::ErrorKind::NotFound, format!("no such file; `{command}` makes one"));
    Err(Error::Read { path: path.to_owned(), source: missing })
}

/// Makes the directories that the outputs of a command are to be written in, and looks whether they can be, so that a
/// long run does not end with a surprise. No output may be one of the inputs, nor another output.
///
/// # Errors
/// Those of the operating system, and [`Error::Twice`].
pub fn prepare<'a>(
    inputs: impl IntoIterator<Item = &'a PathBuf>,
    outputs: impl IntoIterator<Item = &'a PathBuf>,
) -> Result<()> {
    let outputs: Vec<&PathBuf> = outputs.into_iter().collect();
    let mut taken: Vec<PathBuf> = inputs.into_iter().map(|file| place(file)).collect();
    for file in &outputs {
        let place = place(file);
        // What is no file, like a pipe, loses nothing by being written to twice.
        if taken.contains(&place) && (file.is_file() || !file.exists()) {
            return Err(Error::Twice { path: file.to_path_buf() });
        }
        taken.push(place);
    }
    for file in outputs {
        if let Some(dir) = file.parent().filter(|dir| !dir.as_os_str().is_empty()) {
            fs::create_dir_all(dir).map_err(|source| {
                let is_file = source.kind() == io::ErrorKind::AlreadyExists;
                let source = if is_file { io::ErrorKind::NotADirectory.into() } else { source };
                Error::Write { path: dir.to_owned(), source }
            })?;
        }
        writable(file)?;
    }
    Ok(())
}

/// [`nn::files::write_whole`], which Ctrl-C waits for.
///
/// # Errors
/// As there.
pub fn write_whole(path: &Path, content: &(impl AsRef<[u8]> + ?Sized)) -> Result<()> {
    Ok(interrupt::whole(|| nn::files::write_whole(path, content.as_ref()))?)
}

/// Reads a file of at most so many bytes.
pub fn read_at_most(path: &Path, most: u64) -> Result<Vec<u8>> {
    let error = |source| Error::Read { path: path.to_owned(), source };
    let file = File::open(path).map_err(error)?;
    let mut bytes = Vec::new();
    file.take(most + 1).read_to_end(&mut bytes).map_err(error)?;
    if bytes.len() as u64 > most {
        return Err(Error::FileTooLarge { path: path.to_owned(), most });
    }
    Ok(bytes)
}
