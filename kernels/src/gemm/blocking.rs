//! Block sizes: how much of each operand is packed at a time.

use crate::CHUNK;

/// Block sizes of the five loops. The bits of a result do not depend on them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Blocking {
    /// Rows of A (and C) packed at a time: a block of `mc x kc` should stay in the second cache.
    pub mc: usize,
    /// Depth packed at a time, rounded up to a multiple of [`CHUNK`]: a panel of B, `kc x nr`, should stay in the first
    /// cache.
    pub kc: usize,
    /// Columns of B (and C) packed at a time: a block of `kc x nc` should stay in the last cache.
    pub nc: usize,
}

impl Blocking {
    /// The sizes as the loops can use them: none zero, kc a multiple of the chunk, mc and nc of the tile.
    pub(crate) fn fit(self, mr: usize, nr: usize) -> Self {
        Self {
            mc: self.mc.max(1).next_multiple_of(mr),
            kc: self.kc.max(1).next_multiple_of(CHUNK),
            nc: self.nc.max(1).next_multiple_of(nr),
        }
    }
}
