//! Block sizes and thresholds: the model's values, which a profile or the call may replace.

use crate::CHUNK;
use crate::backend::Kernel;
use crate::cpu::Cpu;
use crate::gemm::tile::Float;
use crate::profile::Profile;

/// Block sizes. The bits of a result do not depend on them.
///
/// A block of B, `kc x nc`, stays in the second cache, where every row of tiles reads it. There is no block size along
/// m: a row of tiles reads its panel of A once for the whole block, so A can come from anywhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Blocking {
    /// Depth of a block, rounded up to a multiple of [`CHUNK`]. C is read and written once for each.
    pub kc: usize,
    /// Columns of a block, rounded up to whole tiles. A is read once for each.
    pub nc: usize,
}

impl Blocking {
    /// As deep as a chunk, of so many elements.
    ///
    /// So are those of a B that is read where it lies, for a column of tiles to be in the first cache and few pages; of
    /// half of what is near, where every row of tiles finds them. And those beside packed panels of A, which
    /// stay in the first cache then while all of the block passes: deeper ones, 1024 steps, take 1.1 times as long.
    pub(crate) fn chunk(elements: usize) -> Self {
        Self { kc: CHUNK, nc: elements / CHUNK }
    }

    /// The sizes as the loops can use them.
    pub(crate) fn fit(self, nr: usize) -> Self {
        let kc = self.kc.max(1).checked_next_multiple_of(CHUNK).unwrap_or(usize::MAX / CHUNK * CHUNK);
        let nc = self.nc.max(1).checked_next_multiple_of(nr).unwrap_or(usize::MAX / nr * nr);
        Self { kc, nc }
    }
}

/// What can be tuned of the products of one element type on one row of the table. No result's bits depend on it.
///
/// The values come from, in this order: [`Gemm::tuning`](crate::Gemm::tuning), the profile that the environment
/// variable `KERNELS_PROFILE` names (see [`Profile`]), the built-in profile of this CPU, the model: see
/// [`Backend::tuning`](crate::Backend::tuning).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tuning {
    /// Elements of a block of B, which is to stay in the second cache, or in the third where that is fast.
    pub block: usize,
    /// The deepest block, along k.
    pub kc: usize,
    /// Rows from which a B of adjacent columns is packed.
    pub pack_rows: usize,
    /// Elements of a B that is near: it stays in the second cache by itself.
    pub near: usize,
    /// Rows from which a B that is not near is packed.
    pub pack_rows_far: usize,
    /// Multiplications that pay for waking one more thread.
    pub thread_work: usize,
}

impl Tuning {
    /// The names of the values, as profiles have them, in the order of [`Self::values`].
    pub const NAMES: [&'static str; 6] = ["block", "kc", "pack_rows", "near", "pack_rows_far", "thread_work"];

    /// The values, in the order of [`Self::NAMES`].
    #[must_use]
    pub const fn values(&self) -> [usize; 6] {
        [self.block, self.kc, self.pack_rows, self.near, self.pack_rows_far, self.thread_work]
    }

    /// The tuning of these values, in the order of [`Self::NAMES`].
    #[must_use]
    pub const fn from_values([block, kc, pack_rows, near, pack_rows_far, thread_work]: [usize; 6]) -> Self {
        Self { block, kc, pack_rows, near, pack_rows_far, thread_work }
    }

    /// The model's values for an element type and a CPU.
    ///
    /// A block of B fills half of the second cache; the other half is for what passes by, panels of A and tiles of C.
    /// It is as deep as it can be while still at least eight tiles wide: C, which comes from further away, passes once
    /// for each kc, and A's panel, which is in the first cache, serves a row of tiles. The thresholds are measured
    /// (see `docs/design.md` and `docs/experiments.md`).
    pub(crate) fn model<T: Float>(kernel: &Kernel<T>, cpu: &Cpu) -> Self {
        let block = cpu.l2() / 2 / size_of::<T>();
        let (near, pack_rows_far) = if kernel.fetches { (2 * block, 40) } else { (block, 24) };
        Self { block, kc: deepest(block, 8 * kernel.nr), pack_rows: 160, near, pack_rows_far, thread_work: 2_000_000 }
    }

    /// Rows that earn the copy of a B (`k` x `n`) that could be read where it lies; whether its rows are `crowded` into
    /// few sets of the first cache. From further away, a copy in the order of the rows is the faster way to read it; a
    /// single row of tiles reads it no more than once.
    #[inline(always)]
    pub(crate) fn enough<T: Float>(&self, kernel: &Kernel<T>, (k, n): (usize, usize), crowded: bool) -> usize {
        let near = if crowded { self.pack_rows / 3 } else { self.pack_rows };
        let far = near.min(self.pack_rows_far);
        match k.saturating_mul(n) {
            size if size <= self.near => near,
            size if size / 16 <= self.near && !crowded => far,
            _ => far.min(kernel.mr + 1),
        }
    }

    /// The block sizes, as the loops can use them, for a problem of `m` rows, depth `k` and `n` columns.
    ///
    /// Where all of m is one row of tiles, a block is read only once, and is no larger than a panel, to stay in the
    /// first cache; but not that of a B that is read `in_rows`, which take longer in pieces. An A that is smaller than
    /// a block can be read for each of many: then they are narrow and deep, and stay in the second cache, of which they
    /// fill three quarters.
    pub(crate) fn blocks<T: Float>(
        &self,
        kernel: &Kernel<T>,
        (m, k, n): (usize, usize, usize),
        in_rows: bool,
    ) -> Blocking {
        let once = m <= kernel.mr && !in_rows;
        let most = if once { CHUNK * kernel.width(m) } else { self.block.min(self.near) };
        // One block, by no division.
        if k <= CHUNK && k.saturating_mul(n) <= most {
            return Blocking { kc: CHUNK, nc: n };
        }
        let (block, kc) = if once {
            (most, CHUNK)
        } else if m.saturating_mul(k) <= self.block {
            let block = self.near.saturating_add(self.near / 2).min(self.block);
            (block, deepest(block, 4 * kernel.nr))
        } else {
            (self.block, self.kc)
        };
        let kc = kc.min(k).max(1);
        Blocking { kc, nc: block / kc }.fit(kernel.nr)
    }
}

/// How deep a block of so many elements and columns is; one that is deeper than this gains nothing.
fn deepest(block: usize, columns: usize) -> usize {
    (block / columns / CHUNK * CHUNK).clamp(CHUNK, 4 * CHUNK)
}

/// A tuning and where it comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tuned {
    pub tuning: Tuning,
    pub source: &'static str,
}

impl Tuned {
    pub(crate) fn find<T: Float>(kernel: &Kernel<T>) -> Self {
        let given = Profile::of_environment().and_then(|p| p.get(kernel.name, T::NAME));
        let (tuning, source) = match given {
            Some(tuning) => (tuning, "profile"),
            None => match Profile::built_in().get(kernel.name, T::NAME) {
                Some(tuning) => (tuning, "built-in profile of this CPU"),
                None => (Tuning::model(kernel, Cpu::get()), "model"),
            },
        };
        Self { tuning, source }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Backend;

    #[test]
    fn blocks_fill_half_of_the_cache() {
        for backend in Backend::supported() {
            let kernel = &backend.f32;
            let tuning = Tuning::model(kernel, Cpu::get());
            for (m, k) in [(1, 1), (1, 5000), (100, 1), (100, 300), (100, 5000), (100_000, 100_000)] {
                for in_rows in [false, true] {
                    let Blocking { kc, nc } = tuning.blocks(kernel, (m, k, usize::MAX), in_rows);
                    assert!(kc.is_multiple_of(CHUNK) && nc.is_multiple_of(kernel.nr));
                    assert!(kc < k + CHUNK && kc <= 4 * CHUNK);
                    let depth = kc.min(k);
                    assert!(depth * nc <= tuning.block + depth * kernel.nr, "{depth} x {nc}");
                    let narrow = m <= kernel.mr && !in_rows;
                    assert!(narrow || depth * (nc + kernel.nr) >= tuning.block, "{depth} x {nc} is too small");
                }
            }
        }
    }

    #[test]
    fn the_model_in_numbers() {
        let kernel = &Backend::exact().f32;
        let cpu = Cpu { name: String::new(), caches: [32 << 10, 256 << 10, 0] };
        let model = Tuning::model(kernel, &cpu);
        // Half of the second cache, in numbers of four bytes.
        assert_eq!([model.block, model.near], [32 << 10; 2]);
        #[cfg(target_arch = "x86_64")]
        assert_eq!(Tuning::model(&crate::isa::avx512::ROW.f32, &cpu).near, 64 << 10);
        assert_eq!(model.kc, deepest(32 << 10, 8 * kernel.nr));
        let depths = [(1000, 128), (100_000, 128), (128 << 10, 256), (1 << 20, 128)];
        assert_eq!(depths.map(|(block, columns)| deepest(block, columns)), [256, 768, 512, 1024]);
        let tuning = Tuning { block: 128 << 10, near: 4 << 10, kc: 512, ..model };
        let check = |(m, k, n), in_rows, (kc, nc)| {
            assert_eq!(tuning.blocks(kernel, (m, k, n), in_rows), Blocking { kc, nc }.fit(kernel.nr), "{m}x{k}x{n}");
        };
        check((kernel.mr, 1 << 20, 1 << 20), false, (CHUNK, kernel.nr));
        check((kernel.mr, 1 << 20, 1 << 20), true, (512, 256));
        // A that is smaller than a block, and one that is not.
        let kc = deepest(6 << 10, 4 * kernel.nr).min(700);
        check((100, 700, 1 << 20), true, (kc, (6 << 10) / kc));
        check((1 << 10, 1 << 10, 1 << 20), true, (512, 256));
        check((1 << 20, 300, 1 << 20), true, (300, (128 << 10) / 300));
        // Small enough to be one block as it is: at most what is near, or the panel that is read once.
        let one = |m, k, n, in_rows| tuning.blocks(kernel, (m, k, n), in_rows) == Blocking { kc: CHUNK, nc: n };
        assert!(one(100, 128, 32, true) && !one(100, 128, 33, true) && !one(100, CHUNK + 1, 1, true));
        let most = 2 * kernel.width(2);
        assert!(one(2, CHUNK / 2, most, false) && !one(2, CHUNK / 2, most + 1, false));
    }

    #[test]
    fn further_away_fewer_rows_earn_the_copy() {
        let kernel = &Backend::exact().f32;
        let tuning = Tuning { block: 0, kc: 0, pack_rows: 150, near: 1000, pack_rows_far: 20, thread_work: 0 };
        let rows = |k, n| [false, true].map(|crowded| tuning.enough(kernel, (k, n), crowded));
        assert_eq!(rows(2, 500), [150, 50]);
        assert_eq!(rows(2, 501), [20, kernel.mr + 1]);
        assert_eq!(rows(16, 1000), [20, kernel.mr + 1]);
        assert_eq!(rows(17, 1000), [kernel.mr + 1; 2]);
        assert_eq!(rows(usize::MAX, 2), [kernel.mr + 1; 2]);
    }

    #[test]
    fn any_blocking_can_be_asked_for() {
        let most = Blocking { kc: usize::MAX, nc: usize::MAX }.fit(32);
        assert_eq!(most, Blocking { kc: usize::MAX - (CHUNK - 1), nc: usize::MAX - 31 });
        assert_eq!(Blocking { kc: 0, nc: 0 }.fit(8), Blocking { kc: CHUNK, nc: 8 });
    }

    #[test]
    fn values_and_names_belong_together() {
        let tuning = Tuning { block: 1, kc: 2, pack_rows: 3, near: 4, pack_rows_far: 5, thread_work: 6 };
        assert_eq!(Tuning::from_values(tuning.values()), tuning);
        let text = format!("{tuning:?}");
        for (name, value) in Tuning::NAMES.iter().zip(tuning.values()) {
            assert!(text.contains(&format!("{name}: {value}")), "{name} in {text}");
        }
    }
}
