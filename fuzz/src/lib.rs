//! What the targets share.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// Writes the bytes to a file of this process, in memory where the system has such a folder, and returns its path.
pub fn file(name: &str, bytes: &[u8]) -> PathBuf {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    let folder = FOLDER.get_or_init(|| {
        let shm = Path::new("/dev/shm");
        let base = if shm.is_dir() { shm.to_owned() } else { std::env::temp_dir() };
        let folder = base.join(format!("kernels-fuzz-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        folder
    });
    let path = folder.join(name);
    std::fs::write(&path, bytes).unwrap();
    path
}
