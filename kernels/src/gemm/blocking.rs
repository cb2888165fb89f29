//! Block sizes: how much of B is packed at a time.

use crate::CHUNK;

/// Block sizes. The bits of a result do not depend on them.
///
/// A block of B, `kc x nc`, should stay in the second cache, where every row of tiles reads it. There is no block size
/// along m: a row of tiles reads its panel of A once for the whole block, so A can come from anywhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Blocking {
    /// Depth of a block, rounded up to a multiple of [`CHUNK`]. C is read and written once for each.
    pub kc: usize,
    /// Columns of a block, rounded up to whole tiles. A is read once for each.
    pub nc: usize,
}

impl Blocking {
    /// The sizes as the loops can use them.
    pub(crate) fn fit(self, nr: usize) -> Self {
        Self { kc: self.kc.max(1).next_multiple_of(CHUNK), nc: self.nc.max(1).next_multiple_of(nr) }
    }
}
