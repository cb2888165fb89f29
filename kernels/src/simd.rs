//! The vector operations that every kernel is written in, once.
//!
//! [`Isa`] is a token: holding one proves that the CPU has the instruction set. [`Isa::run`] is the only door into
//! code that is compiled for it. [`Simd`] adds the operations for one element type. Every method is
//! `#[inline(always)]`, so that kernels made of them melt into the `#[target_feature]` function behind `run`.
//!
//! The operations are those whose result IEEE 754 fixes to the bit, so a kernel gives the same bits on every row.

/// Proof that the CPU has an instruction set.
pub(crate) trait Isa: Copy {
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

    /// `x` in every lane.
    fn splat(self, x: T) -> Self::V;
    /// Reads `LANES` elements.
    ///
    /// # Safety
    /// They are readable; `p` is aligned for `T`.
    unsafe fn load(self, p: *const T) -> Self::V;
    /// Writes `LANES` elements.
    ///
    /// # Safety
    /// They are writable; `p` is aligned for `T`.
    unsafe fn store(self, p: *mut T, v: Self::V);
    /// The first `n` lanes, `n <= LANES`.
    fn first(self, n: usize) -> Self::Mask;
    /// Reads the lanes in the mask and touches no others; those are zero.
    ///
    /// # Safety
    /// The lanes in the mask are readable.
    unsafe fn load_masked(self, p: *const T, mask: Self::Mask) -> Self::V;
    /// Writes the lanes in the mask and touches no others.
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
    /// `if a > b { a } else { b }`: a NaN on either side gives `b`, and so do two zeros.
    fn max(self, a: Self::V, b: Self::V) -> Self::V;
    /// `if a < b { a } else { b }`: a NaN on either side gives `b`, and so do two zeros.
    fn min(self, a: Self::V, b: Self::V) -> Self::V;
    /// The lanes where `a < b`; none where either is NaN.
    fn lt(self, a: Self::V, b: Self::V) -> Self::Mask;
    /// Transposes 2 x 2 blocks of `D` lanes, `D` a power of two below `LANES`: with a = a0 a1 a2 .. in such blocks it is
    /// (a0 b0 a2 b2 .., a1 b1 a3 b3 ..).
    fn trn<const D: usize>(self, a: Self::V, b: Self::V) -> (Self::V, Self::V);
    /// `yes` in the lanes of the mask, `no` in the others.
    fn select(self, mask: Self::Mask, yes: Self::V, no: Self::V) -> Self::V;
}

/// What the elementary functions need beside: the bits of an f32, as integers.
pub(crate) trait SimdF32: Simd<f32> {
    /// A vector of as many i32.
    type I: Copy;
    /// `x` in every lane.
    fn splat_i32(self, x: i32) -> Self::I;
    /// The bits of each lane.
    fn to_bits(self, v: Self::V) -> Self::I;
    /// The floats with these bits.
    fn with_bits(self, v: Self::I) -> Self::V;
    /// Wrapping sum.
    fn add_i32(self, a: Self::I, b: Self::I) -> Self::I;
    /// Wrapping difference.
    fn sub_i32(self, a: Self::I, b: Self::I) -> Self::I;
    /// Shift left by `N` bits, zeros come in.
    fn shl<const N: i32>(self, a: Self::I) -> Self::I;
    /// Arithmetic shift right by `N` bits, copies of the sign come in.
    fn sar<const N: i32>(self, a: Self::I) -> Self::I;
    /// Nearest float to each integer.
    fn convert_i32(self, a: Self::I) -> Self::V;
    /// The floats of `LANES` bytes.
    ///
    /// # Safety
    /// They are readable.
    unsafe fn load_bytes(self, p: *const u8) -> Self::V;
}

/// Reductions sum in `GROUP` lanes whatever the vector length, so that their order is the same on every row.
pub(crate) const GROUP: usize = 16;
