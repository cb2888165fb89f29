//! The vector operations that every kernel is written in, once.
//!
//! [`Isa`] is a token: holding one proves that the CPU has the instruction set. [`Isa::run`] is the only door into
//! code that is compiled for it. [`Simd`] adds the operations for one element type. Every method is
//! `#[inline(always)]`, so that kernels made of them melt into the `#[target_feature]` function behind `run`.
//!
//! The operations are those whose result IEEE 754 fixes to the bit, so a kernel gives the same bits on every row.

use crate::bf16::Bf16;

/// Proof that the CPU has an instruction set.
pub(crate) trait Isa: Copy {
    /// The name of its row.
    const NAME: &'static str;

    /// The token, without asking the CPU again: for functions that are reached through a row of the table.
    ///
    /// # Safety
    /// The CPU has the instruction set.
    unsafe fn assume() -> Self;

    /// Runs `f`, compiled for this instruction set. `f` should be a closure whose callees are all inlined.
    fn run<R>(self, f: impl FnOnce() -> R) -> R;
}

/// Vectors of `T` on one instruction set.
pub(crate) trait Simd<T>: Isa {
    /// A vector of [`Self::LANES`] elements.
    type V: Copy;
    /// One yes or no for each lane.
    type Mask: Copy;
    /// Elements in a vector; a power of two, at most [`GROUP`].
    const LANES: usize;
    /// Registers for vectors, and for masks where they are vectors.
    const REGISTERS: usize = 32;
    /// Whether [`Self::fma_lane`] is one instruction, so that it pays to read A by vectors.
    const LANE_FMA: bool = false;
    /// Whether an FMA can read one element from memory for all lanes.
    const EMBEDDED: bool = false;
    /// Where a square is turned by halves, the lines whose halves are in one vector are so many lines apart: half of
    /// the lanes, or where [`Self::even_odd`] is the better last stage, a quarter.
    const APART: usize = Self::LANES / 2;

    /// `x` in every lane.
    fn splat(self, x: T) -> Self::V;
    /// Reads `LANES` elements.
    ///
    /// # Safety
    /// They are readable; `p` is aligned for `T`.
    unsafe fn load(self, p: *const T) -> Self::V;
    /// Reads one half of the vector at `p`, the `UPPER` one or the lower, and for the upper half of the result the same
    /// of the vector at `q`.
    ///
    /// # Safety
    /// `LANES` elements are readable at each; the pointers are aligned for `T`.
    unsafe fn load_halves<const UPPER: bool>(self, p: *const T, q: *const T) -> Self::V;
    /// Both as they are, but where it pays the compiler takes it that what is read at `p` depends on `v`, so that it
    /// can't mix what was written in order.
    #[inline(always)]
    fn in_order(self, v: Self::V, p: *const T) -> (Self::V, *const T) {
        (v, p)
    }
    /// Writes `LANES` elements.
    ///
    /// # Safety
    /// They are writable; `p` is aligned for `T`.
    unsafe fn store(self, p: *mut T, v: Self::V);
    /// The first `n` lanes, `n <= LANES`.
    fn first(self, n: usize) -> Self::Mask;
    /// Reads the lanes in a mask made by [`Self::first`] and touches no others; those are zero.
    ///
    /// # Safety
    /// The lanes in the mask are readable.
    unsafe fn load_masked(self, p: *const T, mask: Self::Mask) -> Self::V;
    /// Reads `n` elements, a power of two below `LANES`, and repeats them.
    ///
    /// # Safety
    /// They are readable.
    #[inline(always)]
    unsafe fn load_repeated(self, p: *const T, n: usize) -> Self::V {
        // SAFETY: the caller's promise.
        let mut v = unsafe { self.load_masked(p, self.first(n)) };
        if n <= 1 {
            v = self.trn::<1>(v, v).0;
        }
        if n <= 2 && Self::LANES > 2 {
            v = self.trn::<2>(v, v).0;
        }
        if n <= 4 && Self::LANES > 4 {
            v = self.trn::<4>(v, v).0;
        }
        v
    }
    /// Writes the lanes in a mask made by [`Self::first`] and touches no others.
    ///
    /// # Safety
    /// The lanes in the mask are writable.
    unsafe fn store_masked(self, p: *mut T, mask: Self::Mask, v: Self::V);

    /// `a + b`.
    fn add(self, a: Self::V, b: Self::V) -> Self::V;
    /// `a - b`.
    fn sub(self, a: Self::V, b: Self::V) -> Self::V;
    /// `a * b`.
    fn mul(self, a: Self::V, b: Self::V) -> Self::V;
    /// `a / b`, correctly rounded.
    fn div(self, a: Self::V, b: Self::V) -> Self::V;
    /// The correctly rounded square root.
    fn sqrt(self, a: Self::V) -> Self::V;
    /// `a * b + c`, rounded once (twice on the row without FMA).
    fn fma(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    /// `a[lane] * b + c`, rounded once, where [`Self::LANE_FMA`].
    #[inline(always)]
    fn fma_lane(self, _a: Self::V, _lane: usize, _b: Self::V, _c: Self::V) -> Self::V {
        unreachable!("there is no such instruction")
    }
    /// `if a > b { a } else { b }`: a NaN on either side gives `b`, and so do two zeros.
    fn max(self, a: Self::V, b: Self::V) -> Self::V;
    /// `if a < b { a } else { b }`: a NaN on either side gives `b`, and so do two zeros.
    fn min(self, a: Self::V, b: Self::V) -> Self::V;
    /// The lanes where `a < b`; none where either is NaN.
    fn lt(self, a: Self::V, b: Self::V) -> Self::Mask;
    /// Transposes 2 x 2 blocks of `D` lanes, `D` a power of two below `LANES`: with a = a0 a1 a2 .. in such blocks it
    /// is (a0 b0 a2 b2 .., a1 b1 a3 b3 ..).
    fn trn<const D: usize>(self, a: Self::V, b: Self::V) -> (Self::V, Self::V);
    /// The even quarters of `a` and those of `b`, and the odd ones, where [`Self::APART`] is a quarter.
    #[inline(always)]
    fn even_odd(self, _a: Self::V, _b: Self::V) -> (Self::V, Self::V) {
        unreachable!("squares are turned without it")
    }
    /// `yes` in the lanes of the mask, `no` in the others.
    fn select(self, mask: Self::Mask, yes: Self::V, no: Self::V) -> Self::V;
}

/// What the elementary functions need beside: the bits of an f32, as integers.
pub(crate) trait SimdF32: Simd<f32> {
    /// A vector of as many i32.
    type I: Copy;
    /// As many vectors as one as the chains of a function need to keep the CPU busy; at most [`WIDEST`] lanes.
    type Wide: SimdF32;
    /// `x` in every lane.
    fn splat_i32(self, x: i32) -> Self::I;
    /// The bits of each lane.
    fn to_bits(self, v: Self::V) -> Self::I;
    /// The floats with these bits.
    fn with_bits(self, v: Self::I) -> Self::V;
    /// Wrapping difference.
    fn sub_i32(self, a: Self::I, b: Self::I) -> Self::I;
    /// Shift left by `N` bits, zeros come in.
    fn shl<const N: i32>(self, a: Self::I) -> Self::I;
    /// Arithmetic shift right by `N` bits, copies of the sign come in.
    fn sar<const N: i32>(self, a: Self::I) -> Self::I;
    /// Bitwise and.
    fn and_i32(self, a: Self::I, b: Self::I) -> Self::I;
    /// Bitwise or.
    fn or_i32(self, a: Self::I, b: Self::I) -> Self::I;
    /// Nearest float to each integer.
    fn convert_i32(self, a: Self::I) -> Self::V;
    /// The floats of `LANES` bytes.
    ///
    /// # Safety
    /// They are readable.
    unsafe fn load_bytes(self, p: *const u8) -> Self::V;
    /// The floats of `LANES` bf16 numbers.
    ///
    /// # Safety
    /// They are readable; `p` is aligned.
    unsafe fn load_bf16(self, p: *const Bf16) -> Self::V;

    /// `ab` in two parts: the product, and what its rounding lost.
    #[inline(always)]
    fn product(self, a: Self::V, b: Self::V) -> (Self::V, Self::V) {
        let p = self.mul(a, b);
        (p, self.fma(a, b, self.sub(self.splat(0.0), p)))
    }
    /// `v`, but 0 in the lanes of the mask.
    #[inline(always)]
    fn clear(self, mask: Self::Mask, v: Self::V) -> Self::V {
        self.select(mask, self.splat(0.0), v)
    }
    /// `-v`; the compiler makes it a part of the operation that takes it.
    #[inline(always)]
    fn neg(self, v: Self::V) -> Self::V {
        self.sub(self.splat(-0.0), v)
    }
    /// `v` without its sign.
    #[inline(always)]
    fn abs(self, v: Self::V) -> Self::V {
        self.with_bits(self.and_i32(self.to_bits(v), self.splat_i32(i32::MAX)))
    }
    /// `size`, which has no sign of its own, with the sign of `sign`.
    #[inline(always)]
    fn with_sign(self, size: Self::V, sign: Self::V) -> Self::V {
        let sign = self.and_i32(self.to_bits(sign), self.splat_i32(i32::MIN));
        self.with_bits(self.or_i32(self.to_bits(size), sign))
    }
    /// `2^n` for an integer `n` from -126 to 127; 0 at -127.
    #[inline(always)]
    fn power(self, n: Self::V) -> Self::V {
        // Leaves n + 127 in the low bits, and the shift drops the others.
        self.with_bits(self.shl::<23>(self.to_bits(self.add(n, self.splat(ROUND + 127.0)))))
    }
    /// `2^(n + ABOVE)` from `n + ROUND`, for an integer `n` with a result from 2^-126 to 2^127.
    #[inline(always)]
    fn power_above<const ABOVE: i32>(self, shifted: Self::V) -> Self::V {
        let n = self.shl::<23>(self.to_bits(shifted));
        self.with_bits(self.sub_i32(n, self.splat_i32(-((127 + ABOVE) << 23))))
    }
    /// `v * 2^n`, rounded once, for an integer `n` from -250 to 250 and a `v` that a factor of 2^±80 leaves normal.
    #[inline(always)]
    fn scale(self, v: Self::V, n: Self::V) -> Self::V {
        let round = self.splat(ROUND);
        // Half of the way is exact, so that only the second product rounds.
        let half = self.sub(self.fma(n, self.splat(0.5), round), round);
        self.mul(self.mul(v, self.power(half)), self.power(self.sub(n, half)))
    }
    /// `(m, k)` with `x = m 2^k` and `3/4 <= m < 3/2`, for a positive finite `x`; anything for another.
    #[inline(always)]
    fn split(self, x: Self::V) -> (Self::V, Self::V) {
        // Subnormals are scaled up by 2^23 first.
        let tiny = self.lt(x, self.splat(f32::MIN_POSITIVE));
        let bits = self.to_bits(self.select(tiny, self.mul(x, self.splat(8_388_608.0)), x));
        let k = self.sar::<23>(self.sub_i32(bits, self.splat_i32(0x3f40_0000)));
        let m = self.with_bits(self.sub_i32(bits, self.shl::<23>(k)));
        (m, self.add(self.convert_i32(k), self.select(tiny, self.splat(-23.0), self.splat(0.0))))
    }
}

/// 2^-64
pub(crate) const TINY: f32 = 1.0 / (1u128 << 64) as f32;

/// Bytes of a cache line.
pub(crate) const LINE: usize = 64;

/// On the stack, it may or may not be so by chance: its vectors never lie in two lines then.
#[repr(align(64))]
pub(crate) struct Aligned<X>(pub X);

/// Asks for the cache line at `p`, any address at all, to be brought into the first cache, or if it is `FAR` into the
/// second; nothing where there is no such instruction.
#[inline(always)]
pub(crate) fn prefetch<const FAR: bool>(p: *const impl Sized) {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    // SAFETY: every x86-64 CPU has SSE, and a prefetch never faults.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T0, _MM_HINT_T1, _mm_prefetch};
        if FAR { _mm_prefetch::<_MM_HINT_T1>(p.cast()) } else { _mm_prefetch::<_MM_HINT_T0>(p.cast()) }
    }
    #[cfg(all(target_arch = "aarch64", not(miri)))]
    // SAFETY: a prefetch never faults, and changes nothing that a program can see.
    unsafe {
        use std::arch::asm;
        if FAR {
            asm!("prfm pldl2keep, [{0}]", in(reg) p, options(nostack, preserves_flags, readonly));
        } else {
            asm!("prfm pldl1keep, [{0}]", in(reg) p, options(nostack, preserves_flags, readonly));
        }
    }
    #[cfg(not(all(any(target_arch = "x86_64", target_arch = "aarch64"), not(miri))))]
    let _ = p;
}

/// Asks for the cache line at `p`, any address at all, to be brought into the first cache to be written.
#[inline(always)]
pub(crate) fn prefetch_to_write(p: *const impl Sized) {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    // SAFETY: a prefetch never faults, and changes nothing that a program can see; where a CPU has no such instruction,
    // it does nothing.
    unsafe {
        std::arch::asm!("prefetchw [{0}]", in(reg) p, options(nostack, preserves_flags, readonly));
    }
    #[cfg(all(target_arch = "aarch64", not(miri)))]
    // SAFETY: as above.
    unsafe {
        std::arch::asm!("prfm pstl1keep, [{0}]", in(reg) p, options(nostack, preserves_flags, readonly));
    }
    #[cfg(not(all(any(target_arch = "x86_64", target_arch = "aarch64"), not(miri))))]
    let _ = p;
}

/// Adding it rounds a float below 2^22 in size to an integer, which then stands in the low bits.
pub(crate) const ROUND: f32 = 12_582_912.0;

/// Reductions sum in `GROUP` lanes whatever the vector length, so that their order is the same on every row.
pub(crate) const GROUP: usize = 16;

/// Lanes of the widest [`SimdF32::Wide`].
pub(crate) const WIDEST: usize = 32;
