//! Block sizes: how much of B is worked on at a time.

use crate::CHUNK;
use crate::backend::Kernel;
use crate::cache;

/// Block sizes. The bits of a result do not depend on them.
///
/// A block of B, `kc x nc`, stays in the second cache, where every row of tiles reads it. There is no block size along m:
/// a row of tiles reads its panel of A once for the whole block, so A can come from anywhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Blocking {
    /// Depth of a block, rounded up to a multiple of [`CHUNK`]. C is read and written once for each.
    pub kc: usize,
    /// Columns of a block, rounded up to whole tiles. A is read once for each.
    pub nc: usize,
}

impl Blocking {
    /// The sizes for a problem of `m` rows and depth `k`.
    ///
    /// The block has the [`area`] and is as deep as it can be while still at least eight tiles wide: C, which comes
    /// from further away, passes once for each kc, and A's panel, which is in the first cache, serves a row of tiles.
    ///
    /// Where all of m is one row of tiles, a block is read only once, and is one panel, which stays in the first cache.
    pub(crate) fn model<T>(kernel: &Kernel<T>, m: usize, k: usize) -> Self {
        if m <= kernel.mr {
            return Self { kc: CHUNK, nc: kernel.nr };
        }
        let area = area::<T>();
        let deepest = (area / (8 * kernel.nr)).clamp(CHUNK, 4 * CHUNK);
        let kc = deepest.min(k).next_multiple_of(CHUNK);
        Self { kc, nc: area / kc }
    }

    /// The sizes as the loops can use them.
    pub(crate) fn fit(self, nr: usize) -> Self {
        Self { kc: self.kc.max(1).next_multiple_of(CHUNK), nc: self.nc.max(1).next_multiple_of(nr) }
    }
}

/// Elements of a block of B: half of the second cache; the other half is for what passes by, panels of A and tiles of C.
#[inline]
pub(crate) fn area<T>() -> usize {
    cache::l2() / 2 / size_of::<T>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Backend;

    #[test]
    fn blocks_fill_half_of_the_cache() {
        for backend in Backend::supported() {
            let kernel = &backend.f32;
            for (m, k) in [(1, 1), (1, 5000), (100, 1), (100, 300), (100, 5000), (100_000, 100_000)] {
                let Blocking { kc, nc } = Blocking::model(kernel, m, k).fit(kernel.nr);
                assert!(kc % CHUNK == 0 && nc % kernel.nr == 0);
                assert!(kc < k + CHUNK && kc <= 4 * CHUNK);
                assert!(kc * nc <= area::<f32>() + kc * kernel.nr, "{kc} x {nc}");
            }
        }
    }
}
