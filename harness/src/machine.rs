//! What the operating system tells of the machine. What it does not tell stays unknown.

use std::fmt;
use std::fs;
use std::path::Path;

/// The name of the CPU, where the system has one.
pub fn cpu() -> Option<String> {
    let text = fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = text.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

/// How many threads can run at once.
pub fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
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

impl fmt::Display for Cache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind.as_str() {
            "Data" => "d",
            "Instruction" => "i",
            _ => "",
        };
        let size = match self.size.strip_suffix('K').and_then(|k| k.parse::<u64>().ok()) {
            Some(kib) if kib >= 1024 && kib.is_multiple_of(1024) => format!("{} MiB", kib / 1024),
            Some(kib) => format!("{kib} KiB"),
            None => self.size.clone(),
        };
        write!(f, "L{}{kind} {size}", self.level)
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_written_for_people() {
        let cache =
            |level, kind: &str, size: &str| Cache { level, kind: kind.into(), size: size.into(), cores: "0".into() };
        assert_eq!(cache(1, "Data", "48K").to_string(), "L1d 48 KiB");
        assert_eq!(cache(2, "Unified", "2048K").to_string(), "L2 2 MiB");
        assert_eq!(cache(3, "Unified", "1G").to_string(), "L3 1G");
    }
}
