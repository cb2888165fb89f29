//! Where data lies, and files that are written whole or not at all.

use crate::error::{Error, Result};
use std::fs;
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

/// Writes the file beside its place, then moves it there: nobody ever sees half of it.
pub fn write_whole(path: &Path, content: &str) -> Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.tmp", std::process::id()));
    let beside = path.with_file_name(name);
    fs::write(&beside, content).and_then(|()| fs::rename(&beside, path)).map_err(|source| {
        // It may never have come to be; the first error is the one to tell of.
        let _ = fs::remove_file(&beside);
        Error::Write { path: path.to_owned(), source }
    })
}
