//! Which CPU this is, and how large its caches are, as it or the operating system tells.

use std::fmt;
use std::sync::OnceLock;

/// The CPU that the program runs on. Its `Display` form is the key of profiles.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Cpu {
    /// Vendor, family, model and stepping on x86-64, implementer, part and variant on Linux elsewhere; else the
    /// architecture alone.
    pub name: String,
    /// Bytes of a core's first data cache, second cache, and of the third cache (0: none is told). A size that can't be
    /// true is replaced by a usual one, as virtual machines tell all sorts.
    pub caches: [usize; 3],
}

/// What is usual, and the bounds of what can be true.
const USUAL: [usize; 3] = [32 << 10, 1 << 20, 0];
const BOUNDS: [std::ops::RangeInclusive<usize>; 3] = [8 << 10..=1 << 20, 128 << 10..=64 << 20, 1 << 20..=2 << 30];

impl Cpu {
    /// Asked once a process.
    pub fn get() -> &'static Self {
        static CPU: OnceLock<Cpu> = OnceLock::new();
        CPU.get_or_init(|| {
            let told = caches();
            let caches = [0, 1, 2].map(|i| if BOUNDS[i].contains(&told[i]) { told[i] } else { USUAL[i] });
            Self { name: name().unwrap_or_else(|| std::env::consts::ARCH.to_owned()), caches }
        })
    }

    /// Bytes of the second cache that a block may be planned for.
    pub(crate) fn l2(&self) -> usize {
        self.caches[1].min(4 << 20)
    }
}

impl fmt::Display for Cpu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [l1, l2, l3] = self.caches.map(|bytes| bytes >> 10);
        write!(f, "{} l1={l1}K l2={l2}K l3={l3}K", self.name)
    }
}

/// CPUID leaf 4 (Intel) or 0x8000001D (AMD): a list of caches. Intel SDM volume 2A, CPUID; AMD APM volume 3, appendix
/// E.
#[cfg(target_arch = "x86_64")]
fn caches() -> [usize; 3] {
    let mut sizes = [0; 3];
    let (leaves, extended) = (cpuid(0, 0)[0], cpuid(0x8000_0000, 0)[0]);
    let leaf = if cpuid(0, 0)[1..] == AMD { 0x8000_001d } else { 4 };
    if leaf > if leaf == 4 { leaves } else { extended } {
        return sizes;
    }
    for i in 0..8 {
        let [a, b, c, _] = cpuid(leaf, i);
        let (kind, level) = (a & 0x1f, (a >> 5 & 7) as usize);
        let part = |shift: u32, bits: u32| (b >> shift & ((1 << bits) - 1)) as usize + 1;
        // Kind 1 is data, 2 instructions, 3 both, 0 none.
        if (kind == 1 || kind == 3) && (1..=3).contains(&level) {
            sizes[level - 1] = part(22, 10) * part(12, 10) * part(0, 12) * (c as usize + 1);
        }
    }
    sizes
}

/// "AuthenticAMD", in the order of [`cpuid`].
#[cfg(target_arch = "x86_64")]
const AMD: [u32; 3] = [0x6874_7541, 0x444d_4163, 0x6974_6e65];

/// The registers eax, ebx, ecx, edx of a leaf.
#[cfg(target_arch = "x86_64")]
pub(crate) fn cpuid(leaf: u32, part: u32) -> [u32; 4] {
    // Miri has no such instruction, and with this no caches.
    if cfg!(miri) {
        return [0; 4];
    }
    // Since Rust 1.94 this is safe.
    #[allow(unused_unsafe)]
    // SAFETY: CPUID exists on every x86-64 CPU.
    let r = unsafe { std::arch::x86_64::__cpuid_count(leaf, part) };
    [r.eax, r.ebx, r.ecx, r.edx]
}

/// Vendor-family-model-stepping.
#[cfg(target_arch = "x86_64")]
fn name() -> Option<String> {
    let [_, b, c, d] = cpuid(0, 0);
    let vendor: Vec<u8> = [b, d, c].into_iter().flat_map(u32::to_le_bytes).collect();
    let a = cpuid(1, 0)[0];
    let part = |shift: u32, bits: u32| a >> shift & ((1 << bits) - 1);
    let family = part(8, 4) + if part(8, 4) == 15 { part(20, 8) } else { 0 };
    let model = part(4, 4) + if part(8, 4) == 6 || part(8, 4) == 15 { part(16, 4) << 4 } else { 0 };
    let vendor: String = vendor.iter().map(|&c| c as char).filter(char::is_ascii_alphanumeric).collect();
    Some(format!("{vendor}-{family}-{model}-{}", part(0, 4)))
}

/// Linux tells sizes for every architecture, as "2048K".
#[cfg(not(target_arch = "x86_64"))]
fn caches() -> [usize; 3] {
    let mut sizes = [0; 3];
    for i in 0..8 {
        let read = |what: &str| {
            std::fs::read_to_string(format!("/sys/devices/system/cpu/cpu0/cache/index{i}/{what}"))
                .map(|text| text.trim().to_owned())
                .unwrap_or_default()
        };
        let level = read("level").parse::<usize>().unwrap_or(0);
        let bytes = read("size").strip_suffix('K').and_then(|k| k.parse::<usize>().ok()?.checked_mul(1024));
        if (1..=3).contains(&level) && read("type") != "Instruction" {
            sizes[level - 1] = bytes.unwrap_or(0);
        }
    }
    sizes
}

/// The first of each of these lines of `/proc/cpuinfo`, as Linux on ARM has them.
#[cfg(not(target_arch = "x86_64"))]
fn name() -> Option<String> {
    let text = std::fs::read_to_string("/proc/cpuinfo").ok()?;
    let value =
        |key: &str| text.lines().find_map(|line| line.strip_prefix(key)?.split_once(':').map(|(_, v)| v.trim()));
    let (implementer, part, variant) = (value("CPU implementer")?, value("CPU part")?, value("CPU variant")?);
    Some(format!("{}-{implementer}-{part}-{variant}", std::env::consts::ARCH))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cpu_is_described_sanely() {
        let cpu = Cpu::get();
        println!("{cpu}");
        assert!(!cpu.name.is_empty() && !cpu.name.contains(char::is_whitespace), "{cpu}");
        for (bytes, bounds) in cpu.caches.iter().zip(BOUNDS) {
            assert!(*bytes == 0 || bounds.contains(bytes), "{cpu}");
        }
        assert!(cpu.caches[0] > 0 && cpu.l2() > 0);
    }
}
