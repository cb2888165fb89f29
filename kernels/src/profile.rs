//! Profiles: tuned values in a file, as a tuner writes them.
//!
//! ```text
//! kernels-profile 1
//! cpu AuthenticAMD-25-1-1 l1=32K l2=512K l3=32768K
//! # a comment
//! avx2 f32 6x16 block=65536 kc=256 pack_rows=160 near=65536 pack_rows_far=24 thread_work=2000000
//! avx2 f64 6x8 block=32768 kc=256 pack_rows=160 near=32768 pack_rows_far=24 thread_work=2000000
//! ```
//!
//! A line for each kernel: its row of the table, its element type, its tile, and every value of a [`Tuning`]. A profile
//! belongs to the CPU that it names and to the tiles that it was measured with.

use crate::backend::{Backend, Kernel};
use crate::cpu::Cpu;
use crate::error::{Error, Result};
use crate::gemm::tile::Float;
use crate::gemm::tuning::Tuning;
use std::fmt;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;
use std::sync::OnceLock;

/// The environment variable that names a profile.
const VARIABLE: &str = "KERNELS_PROFILE";
const HEADER: &str = "kernels-profile 1";
/// No profile is longer.
const MAX_BYTES: u64 = 64 << 10;

/// Tuned values for this CPU, by row of the table and element type.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Profile {
    entries: Vec<Entry>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    backend: &'static str,
    element: &'static str,
    tile: (usize, usize),
    tuning: Tuning,
}

/// Profiles of CPUs that were measured, each for the CPU that it names.
const BUILT_IN: &[&str] = &[
    #[cfg(target_arch = "x86_64")]
    include_str!("../profiles/amd-zen3-milan.txt"),
];

impl Profile {
    /// A profile without values.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads a profile from a file.
    ///
    /// # Errors
    /// When the file can't be read, is not a profile, or is one of another CPU or of other kernels.
    pub fn load(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let wrong = |why: String| Error::Profile { place: path.display().to_string(), why };
        let is_file = std::fs::metadata(path).map_err(|e| wrong(e.to_string()))?.is_file();
        let mut text = String::new();
        // Some files of the system say that they are empty, so what counts is what can be read.
        if is_file {
            let file = File::open(path).map_err(|e| wrong(e.to_string()))?;
            file.take(MAX_BYTES + 1).read_to_string(&mut text).map_err(|e| wrong(e.to_string()))?;
        }
        if !is_file || text.len() as u64 > MAX_BYTES {
            return Err(wrong(format!("not a file of at most {MAX_BYTES} bytes")));
        }
        Self::parse(&text).map_err(|e| match e {
            Error::Profile { place, why } => wrong(format!("{place}: {why}")),
            e => e,
        })
    }

    /// Reads a profile from its text.
    ///
    /// # Errors
    /// As [`Self::load`]; the error names the line.
    pub fn parse(text: &str) -> Result<Self> {
        let mut profile = Self::new();
        let mut lines = text.lines().enumerate().map(|(i, line)| (i + 1, line.trim()));
        let wrong = |line: usize, why: String| Err(Error::Profile { place: format!("line {line}"), why });
        if lines.next().is_none_or(|(_, line)| line != HEADER) {
            return wrong(1, format!("should be `{HEADER}`"));
        }
        let cpu = Cpu::get().to_string();
        let mut lines = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
        match lines.next() {
            Some((_, line)) if line.strip_prefix("cpu ") == Some(cpu.as_str()) => {}
            Some((at, line)) => return wrong(at, format!("`{line}`, but this CPU is `cpu {cpu}`")),
            None => return wrong(2, format!("ends before `cpu {cpu}`")),
        }
        for (at, line) in lines {
            let entry = match entry(line) {
                Ok(entry) => entry,
                Err(why) => return wrong(at, why),
            };
            if profile.get(entry.backend, entry.element).is_some() {
                return wrong(at, format!("{} {} a second time", entry.backend, entry.element));
            }
            profile.entries.push(entry);
        }
        Ok(profile)
    }

    /// The values for a row of the table and an element type (`f32` or `f64`), if it has them. The row `amx` shares
    /// those of `avx512`, as it does the kernels.
    #[must_use]
    pub fn get(&self, backend: &str, element: &str) -> Option<Tuning> {
        let kernels = Backend::all().find(|b| b.name == backend)?.f32.name;
        self.entries.iter().find(|e| e.backend == kernels && e.element == element).map(|e| e.tuning)
    }

    /// Sets the values for a row of the table and an element type: any, as [`Self::parse`] takes them.
    pub fn set<T: crate::Element>(&mut self, backend: &'static Backend, tuning: Tuning) {
        let kernel = T::kernel(backend);
        let entry = Entry::of(kernel, tuning);
        self.entries.retain(|e| (e.backend, e.element) != (entry.backend, entry.element));
        self.entries.push(entry);
    }

    /// The profile that `KERNELS_PROFILE` names, read once a process; a file that can't be used is named in one warning
    /// on standard error, and then there is none.
    pub(crate) fn of_environment() -> Option<&'static Self> {
        static PROFILE: OnceLock<Option<Profile>> = OnceLock::new();
        let read = || {
            let path = std::env::var_os(VARIABLE)?;
            let told = |error| {
                // Where standard error can't be written to, the product is computed all the same.
                let _ = writeln!(io::stderr(), "kernels: {VARIABLE} is ignored: {error}");
            };
            Self::load(path).map_err(told).ok()
        };
        PROFILE.get_or_init(read).as_ref()
    }
}

impl Profile {
    /// The built-in profile of this CPU, empty where there is none.
    pub(crate) fn built_in() -> &'static Self {
        static PROFILE: OnceLock<Profile> = OnceLock::new();
        PROFILE.get_or_init(|| {
            let cpu = format!("cpu {}", Cpu::get());
            let mine = BUILT_IN.iter().find(|text| text.lines().any(|line| line == cpu));
            mine.and_then(|text| Self::parse(text).ok()).unwrap_or_default()
        })
    }
}

impl Entry {
    fn of<T: Float>(kernel: &Kernel<T>, tuning: Tuning) -> Self {
        Self { backend: kernel.name, element: T::NAME, tile: (kernel.mr, kernel.nr), tuning }
    }
}

/// A line of a kernel.
fn entry(line: &str) -> std::result::Result<Entry, String> {
    let mut words = line.split_whitespace();
    let (backend, element) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let known = Backend::all().find(|b| b.name == backend).ok_or(format!("`{backend}` is no row of the table"))?;
    let none = Tuning::from_values([0; 6]);
    let mut entry = match element {
        "f32" => Entry::of(&known.f32, none),
        "f64" => Entry::of(&known.f64, none),
        _ => return Err(format!("`{element}` is not f32 or f64")),
    };
    let tile = words.next().unwrap_or_default();
    let (mr, nr) = entry.tile;
    if tile != format!("{mr}x{nr}") {
        return Err(format!("the tile of {backend} {element} is {mr}x{nr}, not `{tile}`"));
    }
    let mut values = [0; 6];
    for (name, value) in Tuning::NAMES.iter().zip(&mut values) {
        let word = words.next().ok_or(format!("ends before {name}"))?;
        *value = word
            .strip_prefix(name)
            .and_then(|rest| rest.strip_prefix('=')?.parse().ok())
            .ok_or(format!("`{word}` should be {name}=N, with N from 0 to {}", usize::MAX))?;
    }
    if let Some(word) = words.next() {
        return Err(format!("`{word}` is one word too many"));
    }
    entry.tuning = Tuning::from_values(values);
    Ok(entry)
}

impl fmt::Display for Profile {
    /// The text of the file.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{HEADER}")?;
        writeln!(f, "cpu {}", Cpu::get())?;
        for Entry { backend, element, tile: (mr, nr), tuning } in &self.entries {
            write!(f, "{backend} {element} {mr}x{nr}")?;
            for (name, value) in Tuning::NAMES.iter().zip(tuning.values()) {
                write!(f, " {name}={value}")?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn profile() -> Profile {
        let mut profile = Profile::new();
        for (i, backend) in Backend::supported().enumerate() {
            profile.set::<f32>(backend, Tuning::from_values([i + 1, 2, 3, 4, 5, 6]));
            profile.set::<f64>(backend, Tuning::from_values([10 * (i + 1), 2, 3, 4, 5, 6]));
        }
        profile
    }

    #[test]
    fn a_profile_is_read_as_it_was_written() {
        let profile = profile();
        assert_eq!(Profile::parse(&profile.to_string()).unwrap(), profile);
        let with_comments = profile.to_string().replace("\ncpu", "\n\n# why\n  cpu");
        assert_eq!(Profile::parse(&with_comments).unwrap(), profile);
        let mut extreme = Profile::new();
        for backend in Backend::supported() {
            extreme.set::<f32>(backend, Tuning::from_values([0; 6]));
            extreme.set::<f64>(backend, Tuning::from_values([usize::MAX; 6]));
        }
        assert_eq!(Profile::parse(&extreme.to_string()).unwrap(), extreme);
    }

    #[test]
    fn a_value_is_replaced() {
        let backend = Backend::active().unwrap();
        let mut profile = profile();
        let tuning = Tuning::from_values([7; 6]);
        profile.set::<f32>(backend, tuning);
        assert_eq!(profile.get(backend.name(), "f32"), Some(tuning));
        assert_ne!(profile.get(backend.name(), "f64"), Some(tuning));
    }

    #[cfg(target_arch = "x86_64")]
    #[test]
    fn a_row_with_a_tile_unit_shares_the_values_of_its_kernels() {
        let tuning = Tuning::from_values([7; 6]);
        let mut profile = Profile::new();
        profile.set::<f32>(&crate::isa::amx::ROW, tuning);
        assert_eq!(["amx", "avx512", "avx2"].map(|row| profile.get(row, "f32")), [Some(tuning), Some(tuning), None]);
    }

    #[test]
    fn damage_is_named_with_its_line() {
        let good = profile().to_string();
        let cut = &good[..good.len() - 10];
        for (bad, names) in [
            (String::new(), "line 1: should be `kernels-profile 1`"),
            (good.replace("profile 1", "profile 2"), "line 1"),
            (HEADER.to_owned(), "line 2: ends before `cpu "),
            (good.replace("cpu ", "cpu Other-"), "line 2: `cpu Other-"),
            (good.replacen(" f32 ", " f16 ", 1), "line 3: `f16` is not f32 or f64"),
            (good.replacen("kc=2", "kc=-2", 1), "line 3: `kc=-2` should be kc=N"),
            (good.replacen("kc=2", "kc=99999999999999999999", 1), "`kc=9"),
            (good.replacen("kc=2 ", "", 1), "`pack_rows=3` should be kc=N"),
            (good.replacen("thread_work=6", "thread_work=6 x", 1), "`x` is one word too many"),
            (good.clone() + good.lines().nth(2).unwrap(), "a second time"),
            (good.replacen(" f32 ", " f32 9", 1), "the tile of"),
            (good.clone() + "sse9 f32", "`sse9` is no row"),
            (cut.to_owned(), "thread_work"),
        ] {
            let error = Profile::parse(&bad).expect_err(&bad).to_string();
            assert!(error.contains(names), "{error}\nshould name {names}");
        }
    }

    #[test]
    fn built_in_profiles_are_sound() {
        let cpu = Cpu::get().to_string();
        for text in BUILT_IN {
            let line = text.lines().find(|line| line.starts_with("cpu ")).unwrap();
            let profile = Profile::parse(&text.replace(line, &format!("cpu {cpu}"))).unwrap();
            assert!(!profile.entries.is_empty(), "{text}");
        }
    }

    #[test]
    fn what_is_no_file_is_refused() {
        let error = Profile::load("no such file").unwrap_err().to_string();
        assert!(error.contains("no such file"), "{error}");
        assert!(Profile::load(std::env::temp_dir()).is_err());
    }
}
