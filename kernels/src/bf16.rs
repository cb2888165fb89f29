//! bf16: the upper half of an f32, 8 significant bits and all of its range.

use std::cmp::Ordering;
use std::fmt;

/// A bf16 number, as programs and files hold them: two bytes, the upper half of the f32 of the same value.
///
/// Operands of products of f32 can be matrices of it: see [`Source`](crate::Source).
///
/// ```
/// use kernels::Bf16;
/// let x = Bf16::from_f32(1.003);
/// assert_eq!((x.to_f32(), x.to_bits()), (1.0, 0x3f80));
/// assert!(x < Bf16::from_f32(1.004));
/// ```
#[derive(Clone, Copy, Default)]
#[repr(transparent)]
pub struct Bf16(u16);

impl Bf16 {
    /// The number of these bits.
    #[inline]
    #[must_use]
    pub const fn from_bits(bits: u16) -> Self {
        Self(bits)
    }

    /// Its bits.
    #[inline]
    #[must_use]
    pub const fn to_bits(self) -> u16 {
        self.0
    }

    /// The nearest number, ties to even, as IEEE 754 has it: subnormals are rounded as others are, and from 2^128 -
    /// 2^119 on, it is an infinity. A NaN becomes a quiet one, with the sign and the upper bits of its payload.
    ///
    /// [`Precision::round`](crate::Precision::round) leaves subnormals alone, and what would become an infinity.
    #[inline]
    #[must_use]
    pub const fn from_f32(x: f32) -> Self {
        let bits = x.to_bits();
        if x.is_nan() {
            return Self((bits >> 16) as u16 | 0x40);
        }
        Self(((bits + 0x7fff + (bits >> 16 & 1)) >> 16) as u16)
    }

    /// The same number as an f32; a NaN keeps its bits.
    #[inline]
    #[must_use]
    pub const fn to_f32(self) -> f32 {
        f32::from_bits((self.0 as u32) << 16)
    }
}

impl From<Bf16> for f32 {
    #[inline]
    fn from(x: Bf16) -> Self {
        x.to_f32()
    }
}

/// As numbers are compared: zeros of both signs are equal, a NaN is not equal to itself.
impl PartialEq for Bf16 {
    #[inline]
    fn eq(&self, other: &Self) -> bool {
        self.to_f32() == other.to_f32()
    }
}

impl PartialOrd for Bf16 {
    #[inline]
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        self.to_f32().partial_cmp(&other.to_f32())
    }
}

impl fmt::Debug for Bf16 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.to_f32(), f)
    }
}

impl fmt::Display for Bf16 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.to_f32(), f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Precision;

    #[test]
    fn every_number_comes_back() {
        for bits in 0..=u16::MAX {
            let x = Bf16::from_bits(bits);
            let wide = x.to_f32();
            let quiet = if wide.is_nan() { bits | 0x40 } else { bits };
            assert_eq!(Bf16::from_f32(wide).to_bits(), quiet, "{bits:#x}");
            assert_eq!(wide.to_bits(), u32::from(bits) << 16);
            assert_eq!(f32::from(x).to_bits(), wide.to_bits());
            assert_eq!(Precision::Bf16.round(wide).to_bits(), wide.to_bits(), "{bits:#x} has no more than 8 bits");
            assert_eq!(x == x, !wide.is_nan());
        }
    }

    /// Between each two neighbours: the nearest, and of the middle the even one.
    #[test]
    fn rounding_is_to_nearest_and_to_even() {
        for bits in (0..0x7f80).chain(0x8000..0xff80u16) {
            let (below, middle) = (u32::from(bits) << 16, u32::from(bits) << 16 | 0x8000);
            let round = |bits: u32| Bf16::from_f32(f32::from_bits(bits)).to_bits();
            assert_eq!(round(below + 1), bits);
            assert_eq!(round(middle - 1), bits);
            assert_eq!(round(middle), bits + (bits & 1));
            assert_eq!(round(middle + 1), bits + 1);
            assert_eq!(round(middle | 0x7fff), bits + 1);
        }
        // Where it is normal and finite, a product rounds alike.
        for x in [1.003, -3.992_187_5, 1e-30, 3.3e38, f32::MIN_POSITIVE] {
            assert_eq!(Bf16::from_f32(x).to_f32(), Precision::Bf16.round(x), "{x}");
        }
    }

    #[test]
    fn special_values() {
        let bits = |x: f32| Bf16::from_f32(x).to_bits();
        let limit = f32::from_bits(0x7f7f_8000); // 2^128 - 2^119
        for (x, want) in [
            (0.0, 0),
            (-0.0, 0x8000),
            (f32::INFINITY, 0x7f80),
            (f32::NEG_INFINITY, 0xff80),
            (f32::MAX, 0x7f80),
            (-limit, 0xff80),
            (limit.next_down(), 0x7f7f),
            (f32::from_bits(0x7fff), 0),
            (f32::from_bits(0x1_8000), 2),
            // Quiet, and not an infinity though the upper half is that of one.
            (f32::from_bits(0x7f80_0001), 0x7fc0),
            (f32::from_bits(0xffa0_1234), 0xffe0),
            (f32::from_bits(0x7fff_ffff), 0x7fff),
        ] {
            assert_eq!(bits(x), want, "{x:e}");
        }
        let [one, nan] = [1.0, f32::NAN].map(Bf16::from_f32);
        assert_eq!(Bf16::from_f32(-0.0), Bf16::default());
        assert!(Bf16::from_f32(-1.0) < one && one.partial_cmp(&nan).is_none() && nan != nan);
        assert_eq!(format!("{one:?} {one} {nan:?} {:.2}", Bf16::from_f32(0.1)), "1.0 1 NaN 0.10");
    }
}
