//! What the operating system tells of the machine, and the build of itself. What is not told stays unknown.

use serde::Serialize;
use std::fmt;
use std::fs;
use std::path::Path;

/// The name of the CPU, where the system has one.
pub fn cpu() -> Option<String> {
    cpuinfo("model name")
}

/// The first value of this name in `/proc/cpuinfo`.
fn cpuinfo(name: &str) -> Option<String> {
    let text = fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = text.lines().find(|line| line.split(':').next().is_some_and(|key| key.trim() == name))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

/// The clock of the first core in MHz, as the system tells it: under a hypervisor often the nominal one.
pub fn clock_mhz() -> Option<f64> {
    cpuinfo("cpu MHz")?.parse().ok()
}

/// How many threads can run at once.
pub fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Seconds in which a hypervisor ran others on our cores, summed over cores since the machine started.
pub fn steal_seconds() -> Option<f64> {
    /// Of the times in `/proc/stat`, for programs.
    const TICKS_PER_SECOND: f64 = 100.0;
    let text = fs::read_to_string("/proc/stat").ok()?;
    // cpu user nice system idle iowait irq softirq steal ..
    let ticks: f64 = text.lines().next()?.split_ascii_whitespace().nth(8)?.parse().ok()?;
    Some(ticks / TICKS_PER_SECOND)
}

/// A cache that the first core uses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cache {
    /// 1 is nearest to the core.
    pub level: u32,
    /// `Data`, `Instruction` or `Unified`.
    pub kind: String,
    /// Its size, as the system writes it.
    pub size: String,
    /// The cores that share it, as the system writes them.
    pub cores: String,
}

impl Cache {
    /// Its size.
    pub fn bytes(&self) -> Option<u64> {
        let (digits, unit) = match self.size.strip_suffix(['K', 'M', 'G']) {
            Some(digits) => (digits, self.size.as_bytes()[digits.len()]),
            None => (self.size.as_str(), b' '),
        };
        let shift = match unit {
            b'K' => 10,
            b'M' => 20,
            b'G' => 30,
            _ => 0,
        };
        digits.parse::<u64>().ok()?.checked_mul(1 << shift)
    }
}

impl fmt::Display for Cache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind.as_str() {
            "Data" => "d",
            "Instruction" => "i",
            _ => "",
        };
        let size = self.bytes().map_or_else(|| self.size.clone(), size_text);
        write!(f, "L{}{kind} {size}", self.level)
    }
}

/// A size for people: `48 KiB`, `2 MiB`.
pub fn size_text(bytes: u64) -> String {
    let units = [(30, "GiB"), (20, "MiB"), (10, "KiB")];
    let unit = units.into_iter().find(|(shift, _)| bytes >> shift > 0 && bytes.is_multiple_of(1 << shift));
    unit.map_or_else(|| format!("{bytes} bytes"), |(shift, name)| format!("{} {name}", bytes >> shift))
}

/// The caches of the first core, nearest first; empty where the system does not tell.
pub fn caches() -> Vec<Cache> {
    let mut caches: Vec<Cache> = (0..)
        .map_while(|index| cache(Path::new(&format!("/sys/devices/system/cpu/cpu0/cache/index{index}"))))
        .collect();
    caches.sort_by_key(|cache| cache.level);
    caches
}

fn cache(dir: &Path) -> Option<Cache> {
    let read = |name: &str| fs::read_to_string(dir.join(name)).ok().map(|text| text.trim().to_owned());
    Some(Cache {
        level: read("level")?.parse().ok()?,
        kind: read("type")?,
        size: read("size")?,
        cores: read("shared_cpu_list")?,
    })
}

/// Machine and build, as records of measurements hold them.
#[derive(Debug, Clone, Serialize)]
pub struct Facts {
    /// The name of the CPU.
    pub cpu: Option<String>,
    /// Its architecture, as Rust calls it.
    pub architecture: &'static str,
    /// Vendor-family-model-stepping, as profiles name it.
    pub cpu_id: String,
    /// Threads that can run at once.
    pub cores: usize,
    /// Caches of the first core.
    pub caches: Vec<String>,
    /// The operating system.
    pub os: &'static str,
    /// Version of this program.
    pub version: &'static str,
    /// Commit that it was built from.
    pub commit: Option<&'static str>,
    /// The compiler.
    pub rustc: Option<&'static str>,
    /// Flags that the compiler was given.
    pub rustflags: Option<&'static str>,
}

/// What can be found out.
pub fn facts() -> Facts {
    Facts {
        cpu: cpu(),
        architecture: std::env::consts::ARCH,
        cpu_id: kernels::Cpu::get().name.clone(),
        cores: cores(),
        caches: caches().iter().map(ToString::to_string).collect(),
        os: std::env::consts::OS,
        version: env!("CARGO_PKG_VERSION"),
        commit: option_env!("HARNESS_COMMIT"),
        rustc: option_env!("HARNESS_RUSTC"),
        rustflags: option_env!("HARNESS_RUSTFLAGS"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_written_for_people() {
        let cache =
            |level, kind: &str, size: &str| Cache { level, kind: kind.into(), size: size.into(), cores: "0".into() };
        assert_eq!(cache(1, "Data", "48K").to_string(), "L1d 48 KiB");
        assert_eq!(cache(2, "Unified", "2048K").to_string(), "L2 2 MiB");
        assert_eq!(cache(3, "Unified", "1G").to_string(), "L3 1 GiB");
        assert_eq!(cache(3, "Unified", "many").to_string(), "L3 many");
        assert_eq!(cache(1, "Data", "48K").bytes(), Some(48 << 10));
    }
}
