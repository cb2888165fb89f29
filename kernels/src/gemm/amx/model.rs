//! What a tile unit computes, as plain code: the split into bf16 parts, the range in which it serves, its instruction,
//! and the sum of a chunk. The kernels are held to it on bits.

use crate::gemm::Precision;

/// Steps of a tile instruction along k: 16 pairs.
pub(crate) const STEP: usize = 32;

/// Exponents of the nonzero elements of a row of A, or a column of B, within one chunk of k.
///
/// A pair of ranges fits the tile unit where no part of an element and no sum on the way can be subnormal, which the
/// unit would take for zero, nor overflow. An element of exponent e is a multiple of 2^(e - 23), and so is each of its
/// three parts, which are normal down to e = -103. Products of parts, and sums of these, are multiples of 2^(ea + eb -
/// 46), and thereby normal or zero down to ea + eb = -80. The first part is at most 2^(e + 1), finite up to e = 126;
/// 256 products of first parts are at most 2^(ea + eb + 10), and all others together a hundredth of that, so that ea +
/// eb <= 100 leaves room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C)]
pub(crate) struct Range {
    least: i32,
    most: i32,
}

impl Range {
    /// Of zeros alone: it fits all that fit at all.
    pub(crate) const ZEROS: Self = Self { least: 1000, most: -1000 };
    /// It fits no other.
    const UNFIT: Self = Self { least: -10_000, most: 10_000 };

    /// Of elements of which the bits of two sizes are given: those of the least that is not zero, less one, so that
    /// zeros are the greatest, and those of the greatest, be it no number.
    pub(crate) const fn new(least: u32, most: u32) -> Self {
        const LEAST: u32 = (127 - 100) << 23;
        const END: u32 = (127 + 127) << 23;
        if most == 0 {
            return Self::ZEROS;
        }
        if least + 1 < LEAST || most >= END {
            return Self::UNFIT;
        }
        Self { least: exponent(least + 1), most: exponent(most) }
    }

    /// Of these elements.
    pub(crate) fn of(x: &[f32]) -> Self {
        let sizes = || x.iter().map(|x| x.abs().to_bits());
        Self::new(sizes().fold(u32::MAX, |least, x| least.min(x.wrapping_sub(1))), sizes().fold(0, u32::max))
    }

    /// Of the elements of both.
    pub(crate) fn with(self, other: Self) -> Self {
        Self { least: self.least.min(other.least), most: self.most.max(other.most) }
    }

    /// Whether the products of elements of both ranges can be left to the tile unit.
    pub(crate) const fn fits(self, other: Self) -> bool {
        self.least + other.least >= -80 && self.most + other.most <= 100
    }
}

const fn exponent(size: u32) -> i32 {
    (size >> 23) as i32 - 127
}

impl Precision {
    /// Parts of an element that take part.
    pub(crate) const fn parts(self) -> usize {
        match self {
            Self::F32 | Self::F32Amx => 3,
            Self::Bf16x3 => 2,
            Self::Bf16 => 1,
        }
    }

    /// The products of a step, see [`products`].
    pub(crate) const fn products(self) -> &'static [(usize, usize)] {
        products(self.parts())
    }
}

/// The products of a step between operands of so many parts, in their order, the small ones first: which part of A and
/// which of B. Most neighbours share one of them.
pub(super) const fn products(parts: usize) -> &'static [(usize, usize)] {
    match parts {
        3 => &[(0, 2), (0, 1), (1, 1), (1, 0), (2, 0), (0, 0)],
        2 => &[(0, 1), (1, 0), (0, 0)],
        _ => &[(0, 0)],
    }
}

/// `x` in three parts of 8 significant bits, the upper halves of f32 numbers: each the nearest to what is left, ties to
/// even. Together they are `x`, if it is in the range.
fn split(x: f32) -> [u16; 3] {
    let mut rest = x;
    std::array::from_fn(|_| {
        let part = Precision::Bf16.round(rest);
        rest -= part;
        (part.to_bits() >> 16) as u16
    })
}

/// One element of what the instruction TDPBF16PS does to a tile, as Intel's manual has it (Software Developer's Manual,
/// volume 2, "Dot Product of BF16 Tiles Accumulated into Packed Single Precision Tile"): of `c` and of a row of A and a
/// column of B, whose 16 pairs are summed in two chains, one for either element of the pairs.
///
/// Operands are the upper halves of f32 numbers. Each step rounds to nearest, ties to even; subnormal numbers count as
/// zeros and become zeros.
#[must_use]
#[inline]
pub fn tdpbf16ps(c: f32, a: &[u16; STEP], b: &[u16; STEP]) -> f32 {
    let flush = |x: f32| if x.abs() < f32::MIN_POSITIVE { 0f32.copysign(x) } else { x };
    let widen = |x: u16| flush(f32::from_bits(u32::from(x) << 16));
    let mut chains = [0.0f32; 2];
    for (i, (&a, &b)) in a.iter().zip(b).enumerate() {
        let chain = &mut chains[i % 2];
        *chain = flush(widen(a).mul_add(widen(b), *chain));
    }
    flush(flush(c) + flush(chains[0] + chains[1]))
}

/// The sum of one chunk of k (at most [`CHUNK`](crate::CHUNK) products) for one element of C, to the bit, on backends
/// with a tile unit: `a` is the element's row of A and `b` its column of B, of the same length.
///
/// Where the ranges of both fit, for each 32 elements in increasing k, with zeros after the last, [`tdpbf16ps`] adds
/// the products of their bf16 parts: for F32Amx `a1 b3, a1 b2, a2 b2, a2 b1, a3 b1, a1 b1`, for Bf16x3 `a1 b2, a2 b1,
/// a1 b1`, for Bf16 `a1 b1`. Elsewhere it is the chain of [`definition`](crate::reference::definition).
#[must_use]
pub fn tile_sum(precision: Precision, a: &[f32], b: &[f32]) -> f32 {
    if precision == Precision::F32 || !Range::of(a).fits(Range::of(b)) {
        return a.iter().zip(b).fold(0.0, |sum, (a, b)| a.mul_add(*b, sum));
    }
    let parts = |x: &[f32]| {
        let mut parts = [[0; STEP]; 3];
        for (i, &x) in x.iter().enumerate() {
            for (part, x) in parts.iter_mut().zip(split(x)) {
                part[i] = x;
            }
        }
        parts
    };
    let mut sum = 0.0;
    for (a, b) in a.chunks(STEP).zip(b.chunks(STEP)) {
        let (a, b) = (parts(a), parts(b));
        for &(i, j) in precision.products() {
            sum = tdpbf16ps(sum, &a[i], &b[j]);
        }
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_parts_are_the_number() {
        let mut state = 1u64;
        for i in 0..200_000 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let exponent = [27, 28, 127, 200, 253][i % 5];
            let x = f32::from_bits((state >> 33) as u32 & 0x807f_ffff | exponent << 23);
            let parts = split(x).map(|part| f32::from_bits(u32::from(part) << 16));
            assert_eq!(parts.iter().map(|&part| f64::from(part)).sum::<f64>(), f64::from(x), "{x:e}");
            assert!(parts.iter().all(|part| part.is_normal() || *part == 0.0), "{x:e} in {parts:?}");
        }
    }

    /// VCVTNEPS2BF16 and VCVTNE2PS2BF16 of AVX512-BF16, as Intel's manual has them: they take subnormals for zeros.
    fn vcvtneps2bf16(x: f32) -> u16 {
        let bits = x.to_bits();
        match x.classify() {
            std::num::FpCategory::Zero | std::num::FpCategory::Subnormal => (bits >> 16) as u16 & 0x8000,
            std::num::FpCategory::Infinite => (bits >> 16) as u16,
            std::num::FpCategory::Nan => (bits >> 16) as u16 | 0x40,
            std::num::FpCategory::Normal => ((bits + 0x7fff + (bits >> 16 & 1)) >> 16) as u16,
        }
    }

    /// So they could split what is left to the unit: every line with an element for which they differ is unfit.
    #[test]
    fn conversions_by_instruction_split_alike_in_the_range() {
        let mut differ = 0;
        for upper in 0..=u16::MAX {
            for lower in [0, 1, 0x7fff, 0x8000, 0x8001, 0xa5c3, 0xffff] {
                let x = f32::from_bits(u32::from(upper) << 16 | lower);
                let mut rest = x;
                let parts: [u16; 3] = std::array::from_fn(|_| {
                    let part = vcvtneps2bf16(rest);
                    rest -= f32::from_bits(u32::from(part) << 16);
                    part
                });
                if Range::of(&[x]) != Range::UNFIT {
                    assert_eq!(parts, split(x), "{x:e}");
                }
                differ += u32::from(parts[0] != split(x)[0]);
            }
        }
        assert!(differ > 0, "subnormals and signalling NaN");
    }

    /// At the ends of what fits, the unit's flushing changes nothing.
    #[test]
    fn nothing_is_flushed_in_the_range() {
        let power = |e: i32| f32::from_bits(((e + 127) as u32) << 23);
        let odd = |e: i32| f32::from_bits(power(e).to_bits() | 0x7f_ffff);
        for (ea, eb) in [(-40, -40), (-100, 20), (-80, 0), (50, 50), (126, -26)] {
            let (a, b) = ([odd(ea), -power(ea), odd(ea)], [power(eb), odd(eb), odd(eb)]);
            assert!(Range::of(&a).fits(Range::of(&b)), "{ea} {eb}");
            let want: f64 = a.iter().zip(b).map(|(&a, b)| f64::from(a) * f64::from(b)).sum();
            let found = f64::from(tile_sum(Precision::F32Amx, &a, &b));
            assert!((found - want).abs() <= 2f64.powi(ea + eb - 20), "{ea} {eb}: {found:e}, not {want:e}");
        }
        for (ea, eb) in [(-40, -41), (-101, 30), (51, 50), (127, -60)] {
            assert!(!Range::of(&[power(ea)]).fits(Range::of(&[power(eb)])), "{ea} {eb}");
        }
        for x in [f32::NAN, f32::INFINITY, f32::from_bits(1)] {
            assert!(!Range::of(&[x, 0.0]).fits(Range::of(&[0.0])), "{x}");
        }
        assert!(Range::of(&[0.0]).fits(Range::of(&[1e30])));
    }
}
