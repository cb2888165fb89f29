//! The tile unit: its instructions, its configuration, and the sum of a chunk for up to 32 by 32 elements of C.
//!
//! ```text
//!                          B: 16 pairs of k by 16 columns
//!                          tmm6      tmm7
//!   A: 16 rows    tmm4     tmm0      tmm1
//!   by 16 pairs   tmm5     tmm2      tmm3
//! ```

use super::BLOCK;
use super::model::products;
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

/// Where the tiles of a step are, of one or two panels of an operand.
#[derive(Clone, Copy)]
pub(super) struct Panels {
    /// Those of the first.
    pub tiles: *const f32,
    /// How far behind the first those of the second are, in f32 numbers, and whether there is one.
    pub apart: usize,
    pub both: bool,
}

impl Panels {
    /// A part's tile in the first panel.
    #[inline(always)]
    fn first(self, part: usize) -> *const f32 {
        self.tiles.wrapping_add(part * TILE_LEN)
    }
    /// In the second one.
    #[inline(always)]
    fn second(self, part: usize) -> *const f32 {
        self.first(part).wrapping_add(self.apart)
    }
}

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

    /// Writes the sums of a chunk to `to`, rows [`BLOCK`] apart: of panels of A and of B, where they begin, each `steps`
    /// times `N` tiles. `MIRRORED` says that A and B have changed places, so that their parts do. With each
    /// product, `beside` is called: the unit takes so long that other work costs little time, if it comes bit by bit.
    ///
    /// # Safety
    /// These tiles are readable, and there is room for as many tiles of C.
    #[inline(always)]
    pub(super) unsafe fn sum<const N: usize, const MIRRORED: bool>(
        &self,
        steps: usize,
        a: Panels,
        b: Panels,
        to: *mut f32,
        mut beside: impl FnMut(),
    ) {
        // SAFETY: the tiles are configured, of which the value is proof; the caller's promise.
        unsafe {
            if a.both && b.both {
                // As constants.
                let (a, b) = (Panels { both: true, ..a }, Panels { both: true, ..b });
                all_steps::<N, MIRRORED>(steps, a, b, to, beside);
            } else {
                edge::<N, MIRRORED>(steps, a, b, to);
                for _ in 0..steps * const { products(N).len() } {
                    beside();
                }
            }
        }
    }
}

/// [`Unit::sum`] at an edge of C, with nothing beside: it is there once, not with all that is.
///
/// # Safety
/// As there, and the tiles are configured.
#[inline(never)]
unsafe fn edge<const N: usize, const MIRRORED: bool>(steps: usize, a: Panels, b: Panels, to: *mut f32) {
    // SAFETY: the caller's promise.
    unsafe { all_steps::<N, MIRRORED>(steps, a, b, to, || {}) }
}

/// See [`Unit::sum`].
///
/// # Safety
/// As there, and the tiles are configured.
#[inline(always)]
unsafe fn all_steps<const N: usize, const MIRRORED: bool>(
    steps: usize,
    mut a: Panels,
    mut b: Panels,
    to: *mut f32,
    mut beside: impl FnMut(),
) {
    // SAFETY: the tiles are configured, those of the panels readable, and there is room at `to`, by the caller's promise.
    unsafe {
        zero::<0>();
        zero::<1>();
        zero::<2>();
        zero::<3>();
        for _ in 0..steps {
            // Written out: LLVM would leave a loop, whose branches take the time of a product.
            product::<N, MIRRORED>(0, a, b, &mut beside);
            if N >= 2 {
                product::<N, MIRRORED>(1, a, b, &mut beside);
                product::<N, MIRRORED>(2, a, b, &mut beside);
            }
            if N >= 3 {
                product::<N, MIRRORED>(3, a, b, &mut beside);
                product::<N, MIRRORED>(4, a, b, &mut beside);
                product::<N, MIRRORED>(5, a, b, &mut beside);
            }
            (a.tiles, b.tiles) = (a.first(N), b.first(N));
        }
        store::<0>(to);
        if b.both {
            store::<1>(to.wrapping_add(TILE));
        }
        if a.both {
            store::<2>(to.wrapping_add(TILE * BLOCK));
        }
        if a.both && b.both {
            store::<3>(to.wrapping_add(TILE * BLOCK + TILE));
        }
    }
}

/// Product `q` of a step, and what is done beside. What the next one needs is loaded as soon as its place is free.
///
/// # Safety
/// The tiles are configured, and those of the panels readable.
#[inline(always)]
unsafe fn product<const N: usize, const MIRRORED: bool>(q: usize, a: Panels, b: Panels, beside: &mut impl FnMut()) {
    let parts = |q: usize| {
        let (i, j) = const { products(N) }[q];
        if MIRRORED { (j, i) } else { (i, j) }
    };
    let now = parts(q);
    let next = if q + 1 < const { products(N).len() } { parts(q + 1) } else { now };
    let (new_a, new_b) = (next.0 != now.0, next.1 != now.1);
    // SAFETY: the caller's promise.
    unsafe {
        if q == 0 {
            load::<4>(a.first(now.0));
            load_once::<6>(b.first(now.1));
            if b.both {
                load_once::<7>(b.second(now.1));
            }
            if a.both {
                load::<5>(a.second(now.0));
            }
        }
        multiply::<0, 4, 6>();
        if new_b && !new_a {
            if a.both {
                multiply::<2, 5, 6>();
            }
            load_once::<6>(b.first(next.1));
            if b.both {
                multiply::<1, 4, 7>();
            }
        } else {
            if b.both {
                multiply::<1, 4, 7>();
            }
            if new_a {
                load::<4>(a.first(next.0));
            }
            if a.both {
                multiply::<2, 5, 6>();
            }
            if new_b {
                load_once::<6>(b.first(next.1));
            }
        }
        if a.both && b.both {
            multiply::<3, 5, 7>();
        }
        if new_a && a.both {
            load::<5>(a.second(next.0));
        }
        if new_b && b.both {
            load_once::<7>(b.second(next.1));
        }
    }
    beside();
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

/// The same of a tile that will not be needed soon, past the first cache, so that A and C stay there.
///
/// # Safety
/// As [`load`].
#[inline(always)]
unsafe fn load_once<const T: u8>(p: *const f32) {
    // SAFETY: the caller's promise.
    unsafe {
        asm!(
            "tileloaddt1 tmm{t}, [{p} + {row}*1]",
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
