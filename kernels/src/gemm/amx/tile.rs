//! The tile unit: its instructions, its configuration, and the sum of a chunk for up to 32 by 32 elements of C.
//!
//! ```text
//!                          B: 16 pairs of k by 16 columns
//!                          tmm6      tmm7
//!   A: 16 rows    tmm4     tmm0      tmm1
//!   by 16 pairs   tmm5     tmm2      tmm3
//! ```

use super::BLOCK;
use crate::gemm::Precision;
use std::arch::asm;

/// Rows, and bytes of a row divided by four, of a tile.
pub(super) const TILE: usize = BLOCK / 2;
/// f32 numbers in the room of a tile.
pub(super) const TILE_LEN: usize = TILE * TILE;

/// What LDTILECFG reads.
#[repr(C, align(64))]
struct Config {
    palette: u8,
    start_row: u8,
    reserved: [u8; 14],
    row_bytes: [u16; 16],
    rows: [u8; 16],
}

/// All eight tiles are 16 rows of 64 bytes.
static CONFIG: Config = {
    let (mut row_bytes, mut rows) = ([0; 16], [0; 16]);
    let mut tile = 0;
    while tile < 8 {
        row_bytes[tile] = 4 * TILE as u16;
        rows[tile] = TILE as u8;
        tile += 1;
    }
    Config { palette: 1, start_row: 0, reserved: [0; 14], row_bytes, rows }
};

/// The tile unit of this thread, configured; dropped, it is as it was found, but for what its tiles held, which any
/// call may change by the rules of the platform.
pub(super) struct Unit {
    found: Config,
}

impl Unit {
    /// Configures the tiles.
    ///
    /// # Safety
    /// The CPU has them, and the operating system lets the process use them.
    pub(super) unsafe fn new() -> Self {
        let mut found = Config { palette: 0, start_row: 0, reserved: [0; 14], row_bytes: [0; 16], rows: [0; 16] };
        // SAFETY: the caller's promise; both operands are 64 bytes.
        unsafe {
            asm!("sttilecfg [{0}]", in(reg) &raw mut found, options(nostack, preserves_flags));
            asm!("ldtilecfg [{0}]", in(reg) &raw const CONFIG, options(readonly, nostack, preserves_flags));
        }
        Self { found }
    }

    /// Writes the sums of a chunk to `to`, rows [`BLOCK`] apart: of one or two panels of A and of B, where they begin,
    /// each `steps` times `precision.parts()` tiles. `mirrored` says that A and B have changed places, so that their
    /// parts do. In each step, `beside` is called: the unit takes so long that other work costs no time.
    ///
    /// # Safety
    /// These tiles are readable, and there is room for as many tiles of C.
    #[inline(always)]
    pub(super) unsafe fn sum(
        &self,
        (precision, mirrored): (Precision, bool),
        steps: usize,
        a: (*const f32, Option<*const f32>),
        b: (*const f32, Option<*const f32>),
        to: *mut f32,
        mut beside: impl FnMut(usize),
    ) {
        let parts = precision.parts();
        // SAFETY: the tiles are configured, of which the value is proof, those at `a` and `b` readable, and there is
        // room at `to`, by the caller's promise.
        unsafe {
            zero::<0>();
            zero::<1>();
            zero::<2>();
            zero::<3>();
            for step in 0..steps {
                let at = |p: *const f32, part: usize| p.wrapping_add((step * parts + part) * TILE_LEN);
                let mut loaded = (usize::MAX, usize::MAX);
                for &(i, j) in precision.products() {
                    let (i, j) = if mirrored { (j, i) } else { (i, j) };
                    if i != loaded.0 {
                        load::<4>(at(a.0, i));
                        if let Some(a) = a.1 {
                            load::<5>(at(a, i));
                        }
                    }
                    if j != loaded.1 {
                        load::<6>(at(b.0, j));
                        if let Some(b) = b.1 {
                            load::<7>(at(b, j));
                        }
                    }
                    loaded = (i, j);
                    multiply::<0, 4, 6>();
                    if b.1.is_some() {
                        multiply::<1, 4, 7>();
                    }
                    if a.1.is_some() {
                        multiply::<2, 5, 6>();
                    }
                    if a.1.is_some() && b.1.is_some() {
                        multiply::<3, 5, 7>();
                    }
                }
                beside(step);
            }
            store::<0>(to);
            if b.1.is_some() {
                store::<1>(to.wrapping_add(TILE));
            }
            if a.1.is_some() {
                store::<2>(to.wrapping_add(TILE * BLOCK));
            }
            if a.1.is_some() && b.1.is_some() {
                store::<3>(to.wrapping_add(TILE * BLOCK + TILE));
            }
        }
    }
}

impl Drop for Unit {
    fn drop(&mut self) {
        // SAFETY: `new` found the instructions usable; what it stored can be loaded.
        unsafe {
            if self.found.palette == 0 {
                asm!("tilerelease", options(nomem, nostack, preserves_flags));
            } else {
                asm!("ldtilecfg [{0}]", in(reg) &raw const self.found, options(readonly, nostack, preserves_flags));
            }
        }
    }
}

/// # Safety
/// The tiles are configured.
#[inline(always)]
unsafe fn zero<const T: u8>() {
    // SAFETY: the caller's promise.
    unsafe { asm!("tilezero tmm{t}", t = const T, options(nomem, nostack, preserves_flags)) }
}

/// Loads a tile whose rows follow each other.
///
/// # Safety
/// The tiles are configured, and this one is readable.
#[inline(always)]
unsafe fn load<const T: u8>(p: *const f32) {
    // SAFETY: the caller's promise.
    unsafe {
        asm!(
            "tileloadd tmm{t}, [{p} + {row}*1]",
            t = const T, p = in(reg) p, row = in(reg) 4 * TILE,
            options(readonly, nostack, preserves_flags)
        );
    }
}

/// C += A B.
///
/// # Safety
/// The tiles are configured.
#[inline(always)]
unsafe fn multiply<const C: u8, const A: u8, const B: u8>() {
    // SAFETY: the caller's promise.
    unsafe {
        asm!(
            "tdpbf16ps tmm{c}, tmm{a}, tmm{b}",
            c = const C, a = const A, b = const B,
            options(nomem, nostack, preserves_flags)
        );
    }
}

/// Stores a tile, its rows [`BLOCK`] numbers apart.
///
/// # Safety
/// The tiles are configured, and there is room.
#[inline(always)]
unsafe fn store<const T: u8>(p: *mut f32) {
    // SAFETY: the caller's promise.
    unsafe {
        asm!(
            "tilestored [{p} + {row}*1], tmm{t}",
            t = const T, p = in(reg) p, row = in(reg) 4 * BLOCK,
            options(nostack, preserves_flags)
        );
    }
}
