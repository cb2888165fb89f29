//! Where data lies, and files that are written whole or not at all.

use crate::error::{Error, Result};
use crate::interrupt;
use std::fs::{self, File};
use std::io::{Read, Write};
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

/// Makes the directory that `path` is to be written in, so that a long run does not end with a surprise.
pub fn prepare(path: &Path) -> Result<()> {
    if path.is_dir() {
        return Err(Error::Write { path: path.to_owned(), source: std::io::ErrorKind::IsADirectory.into() });
    }
    let dir = path.parent().unwrap_or(Path::new(""));
    if dir.as_os_str().is_empty() {
        return Ok(());
    }
    fs::create_dir_all(dir).map_err(|source| Error::Write { path: dir.to_owned(), source })
}

/// Writes the file beside its place, then moves it there: nobody ever sees half of it, not even after Ctrl-C.
pub fn write_whole(path: &Path, content: &(impl AsRef<[u8]> + ?Sized)) -> Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.tmp", std::process::id()));
    let beside = path.with_file_name(name);
    let write = || {
        let mut file = File::create(&beside)?;
        file.write_all(content.as_ref())?;
        // What is moved into place is on the disk.
        file.sync_all()?;
        fs::rename(&beside, path)
    };
    interrupt::whole(write).map_err(|source| {
        // It may never have come to be; the first error is the one to tell of.
        let _ = fs::remove_file(&beside);
        Error::Write { path: path.to_owned(), source }
    })
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
