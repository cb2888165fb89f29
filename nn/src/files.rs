//! Files that are written whole or not at all.

use crate::error::{Error, Result};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Writes a file beside the one that is meant, and puts it in its place when it is safely on the disk: nobody ever sees
/// half of it. A file that was there is replaced and its permissions stay; symbolic links are followed. What is no
/// file, such as a pipe or a device, takes the bytes as they come.
///
/// # Errors
/// What the operating system says; the file is as it was then.
pub fn write_whole(file: impl AsRef<Path>, bytes: &[u8]) -> Result<()> {
    let file = file.as_ref();
    write(file, bytes).map_err(|source| Error::Write { file: file.into(), source })
}

fn write(file: &Path, bytes: &[u8]) -> io::Result<()> {
    if fs::metadata(file).is_ok_and(|about| !about.is_file()) {
        return OpenOptions::new().write(true).open(file)?.write_all(bytes);
    }
    let place = place(file);
    let old = existing(&place)?;
    let mut new = beside(&place)?;
    new.as_file_mut().write_all(bytes)?;
    if let Some(old) = old {
        new.as_file().set_permissions(old.metadata()?.permissions())?;
    }
    new.as_file().sync_all()?;
    new.persist(&place).map_err(|error| error.error)?;
    // The new name is on the disk once its folder is; only Unix lets a folder be opened.
    if cfg!(unix) {
        File::open(folder(&place))?.sync_all()?;
    }
    Ok(())
}

/// Whether [`write_whole`] can be expected to succeed, for a look before work that takes long. The file stays as it is.
///
/// # Errors
/// What the operating system says.
pub fn writable(file: impl AsRef<Path>) -> Result<()> {
    let (file, place) = (file.as_ref(), place(file.as_ref()));
    let found = match fs::metadata(file) {
        Ok(about) if about.is_dir() => Err(io::ErrorKind::IsADirectory.into()),
        // A pipe must not be opened before there is something to say.
        Ok(about) if !about.is_file() => Ok(()),
        _ => existing(&place).and_then(|_| beside(&place)).map(drop),
    };
    found.map_err(|source| Error::Write { file: file.into(), source })
}

/// Where a file is, or will be: symbolic links are followed, even one that leads to nothing yet.
#[must_use]
pub fn place(file: &Path) -> PathBuf {
    if let Ok(place) = file.canonicalize() {
        return place;
    }
    let named = fs::read_link(file).map_or_else(|_| file.to_owned(), |link| folder(file).join(link));
    match (folder(&named).canonicalize(), named.file_name()) {
        (Ok(folder), Some(name)) => folder.join(name),
        _ => named,
    }
}

/// The file that is to be replaced, which must not be protected from it.
fn existing(place: &Path) -> io::Result<Option<File>> {
    match OpenOptions::new().write(true).open(place) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// A new file in the same folder, under a name that nobody else has; it goes when it is dropped.
fn beside(place: &Path) -> io::Result<tempfile::NamedTempFile> {
    let mut prefix = place.file_name().ok_or(io::ErrorKind::InvalidFilename)?.to_owned();
    prefix.push(".");
    let mut builder = tempfile::Builder::new();
    builder.prefix(&prefix).suffix(".new");
    #[cfg(unix)]
    // As any new file: the process's mask takes away from it.
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    builder.tempfile_in(folder(place)).map_err(|error| {
        // The system's error alone: the name that was tried is nobody's.
        let cause = error.get_ref().and_then(|error| error.source()?.downcast_ref::<io::Error>()?.raw_os_error());
        cause.map_or(error, io::Error::from_raw_os_error)
    })
}

fn folder(file: &Path) -> &Path {
    file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tempfile::TempDir;

    fn names(dir: &Path) -> Vec<String> {
        let mut names: Vec<String> =
            fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_file_is_replaced_and_nothing_stays_beside_it() {
        let dir = TempDir::new().unwrap();
        let [file, other] = ["model", "model.new"].map(|name| dir.path().join(name));
        fs::write(&other, "of somebody else").unwrap();
        for text in ["one", "two"] {
            writable(&file).unwrap();
            write_whole(&file, text.as_bytes()).unwrap();
            assert_eq!(fs::read_to_string(&file).unwrap(), text);
        }
        assert_eq!(names(dir.path()), ["model", "model.new"]);
        assert_eq!(fs::read_to_string(other).unwrap(), "of somebody else");
    }

    #[test]
    fn what_can_not_be_written_is_an_error_and_leaves_nothing() {
        let dir = TempDir::new().unwrap();
        for file in [dir.path().join("missing/model"), dir.path().to_owned()] {
            assert!(writable(&file).is_err(), "{}", file.display());
            assert!(write_whole(&file, b"x").is_err(), "{}", file.display());
        }
        assert!(write_whole("", b"x").is_err() && writable("").is_err());
        assert!(names(dir.path()).is_empty());
    }

    #[test]
    fn two_writers_do_not_meet() {
        let dir = TempDir::new().unwrap();
        let file = &dir.path().join("model");
        std::thread::scope(|scope| {
            for writer in 0..4_u8 {
                scope.spawn(move || (0..50).for_each(|_| write_whole(file, &[writer; 10_000]).unwrap()));
            }
        });
        let bytes = fs::read(file).unwrap();
        assert!(bytes.len() == 10_000 && bytes.iter().all(|byte| *byte == bytes[0]));
        assert_eq!(names(dir.path()), ["model"]);
    }

    #[cfg(unix)]
    mod unix {
        use super::*;
        use std::os::unix::fs::{FileTypeExt, PermissionsExt, symlink};
        use std::process::Command;

        #[test]
        fn links_stay_links_and_permissions_stay() {
            let dir = TempDir::new().unwrap();
            fs::create_dir(dir.path().join("real")).unwrap();
            let [file, link, open] = ["real/model", "link", "open"].map(|name| dir.path().join(name));
            symlink("real/model", &link).unwrap();
            write_whole(&link, b"new").unwrap();
            fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
            write_whole(&link, b"newer").unwrap();
            assert!(link.is_symlink() && !file.is_symlink());
            assert_eq!(fs::read(&file).unwrap(), b"newer");
            assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o640);
            // A new file is as open as any other.
            write_whole(&open, b"x").unwrap();
            let plain = dir.path().join("plain");
            fs::write(&plain, b"x").unwrap();
            let mode = |file| fs::metadata(file).unwrap().permissions().mode();
            assert_eq!(mode(&open), mode(&plain));
        }

        #[test]
        fn a_pipe_takes_the_bytes_and_stays() {
            let dir = TempDir::new().unwrap();
            let pipe = &dir.path().join("pipe");
            assert!(Command::new("mkfifo").arg(pipe).status().unwrap().success());
            writable(pipe).unwrap();
            let read = std::thread::scope(|scope| {
                let reader = scope.spawn(|| fs::read(pipe).unwrap());
                write_whole(pipe, b"bytes").unwrap();
                reader.join().unwrap()
            });
            assert_eq!(read, b"bytes");
            assert!(fs::metadata(pipe).unwrap().file_type().is_fifo());
        }
    }
}
