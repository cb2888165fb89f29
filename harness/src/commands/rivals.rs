//! `--peers` and `--blas`, which the commands that compare with other libraries share.

use crate::contender::Contender;
use crate::error::{Error, Result};
use std::path::PathBuf;
use std::str::FromStr;

/// Other libraries.
#[derive(clap::Args)]
#[group(skip)]
pub struct Args {
    /// Compare with the Rust libraries that are compiled in with the feature `peers`
    #[arg(long)]
    peers: bool,
    /// Compare with a shared library that has cblas_sgemm and cblas_dgemm, with 32-bit integers and maybe a prefix
    #[arg(long, value_name = "PATH[:PREFIX]")]
    blas: Vec<Blas>,
}

impl Args {
    /// The libraries' files, which no output may replace.
    pub fn files(&self) -> impl Iterator<Item = &PathBuf> {
        self.blas.iter().map(|blas| &blas.path)
    }

    /// All contenders of a comparison: `ours`, then those that were asked for, loaded.
    ///
    /// # Errors
    /// When the program has no peers, a library can't be loaded, or two have the same name.
    pub fn join(&self, ours: Vec<Contender>, threads: usize) -> Result<Vec<Contender>> {
        let mut all = ours;
        if self.peers {
            if peers::RUST.is_empty() {
                return Err(Error::Usage("--peers needs a program that was built with --features peers"));
            }
            all.extend(peers::RUST.iter().map(|&peer| Contender::Peer(peer, threads)));
        }
        // The core of MKL is global: a BLAS that is loaded after it calls functions of MKL instead of its own.
        let (mkl, others): (Vec<_>, Vec<_>) =
            self.blas.iter().partition(|blas| blas.path.to_string_lossy().contains("mkl"));
        for blas in others.into_iter().chain(mkl) {
            all.push(Contender::Peer(peers::load(&blas.path, &blas.prefix)?, threads));
        }
        match (1..all.len()).find(|&i| all[..i].contains(&all[i])) {
            Some(i) => Err(Error::SameName { name: all[i].to_string() }),
            None => Ok(all),
        }
    }
}

/// A library to load.
#[derive(Debug, Clone, PartialEq)]
struct Blas {
    path: PathBuf,
    prefix: String,
}

impl FromStr for Blas {
    type Err = &'static str;

    fn from_str(text: &str) -> std::result::Result<Self, Self::Err> {
        // A colon can be part of a path, but then what follows is hardly the beginning of a C name.
        let c_name = |text: &str| text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        let (path, prefix) = text.rsplit_once(':').filter(|(_, prefix)| c_name(prefix)).unwrap_or((text, ""));
        if path.is_empty() {
            return Err("the path of a library is needed");
        }
        Ok(Self { path: path.into(), prefix: prefix.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_is_told_from_a_path() {
        for (text, path, prefix) in
            [("a/b.so", "a/b.so", ""), ("a/b.so:x_", "a/b.so", "x_"), (r"C:\b.dll", r"C:\b.dll", "")]
        {
            assert_eq!(text.parse(), Ok(Blas { path: path.into(), prefix: prefix.into() }));
        }
        assert!(":".parse::<Blas>().is_err() && "".parse::<Blas>().is_err());
    }
}
