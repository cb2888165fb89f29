//! The size of the second cache, as the CPU or the operating system tells it.

use std::sync::OnceLock;

/// Where nothing is told.
const USUAL: usize = 1 << 20;

/// Bytes of the second cache, asked once a process; a size that can't be true counts as none.
pub(crate) fn l2() -> usize {
    static L2: OnceLock<usize> = OnceLock::new();
    *L2.get_or_init(|| ask().filter(|bytes| (1 << 17..=1 << 26).contains(bytes)).unwrap_or(USUAL).min(1 << 22))
}

/// CPUID leaf 4 (Intel) or 0x8000001D (AMD): a list of caches. Intel SDM volume 2A, CPUID; AMD APM volume 3, appendix E.
#[cfg(target_arch = "x86_64")]
fn ask() -> Option<usize> {
    use std::arch::x86_64::{__cpuid, __cpuid_count};
    // Since Rust 1.94 these are safe; before, CPUID is there on every x86-64 CPU.
    #[allow(unused_unsafe)]
    // SAFETY: CPUID exists on every x86-64 CPU.
    let (leaves, extended) = unsafe { (__cpuid(0).eax, __cpuid(0x8000_0000).eax) };
    [(4, leaves), (0x8000_001d, extended)].into_iter().filter(|(leaf, last)| leaf <= last).find_map(|(leaf, _)| {
        (0..8).find_map(|i| {
            #[allow(unused_unsafe)]
            // SAFETY: as above; the leaf is one of those that there are.
            let r = unsafe { __cpuid_count(leaf, i) };
            let (kind, level) = (r.eax & 0x1f, r.eax >> 5 & 7);
            let part = |shift: u32, bits: u32| (r.ebx >> shift & ((1 << bits) - 1)) as usize + 1;
            let bytes = part(22, 10) * part(12, 10) * part(0, 12) * (r.ecx as usize + 1);
            // Kind 1 is data, 2 instructions, 3 both, 0 none.
            ((kind == 1 || kind == 3) && level == 2).then_some(bytes)
        })
    })
}

/// Linux tells it for every architecture, as "2048K".
#[cfg(not(target_arch = "x86_64"))]
fn ask() -> Option<usize> {
    let text = std::fs::read_to_string("/sys/devices/system/cpu/cpu0/cache/index2/size").ok()?;
    text.trim().strip_suffix('K')?.parse::<usize>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_second_cache_has_a_sane_size() {
        let bytes = super::l2();
        println!("second cache: {bytes} bytes");
        assert!((1 << 17..=1 << 22).contains(&bytes));
    }
}
