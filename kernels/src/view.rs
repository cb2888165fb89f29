//! Matrix views: a pointer, a shape and two strides, checked when they are made.
//!
//! Element `(i, j)` lies at `i * row_stride + j * col_stride` elements from the base. Row-major matrices have
//! `col_stride` 1, column-major ones `row_stride` 1; transposing swaps the strides and moves nothing.

use crate::bf16::Bf16;
use crate::error::{Error, Result};
use std::marker::PhantomData;
use std::ops::Range;

/// How a matrix lies in memory: its shape and strides, without the data.
#[derive(Debug, Clone, Copy, Eq)]
pub struct Layout {
    pub(crate) rows: usize,
    pub(crate) cols: usize,
    pub(crate) row_stride: isize,
    pub(crate) col_stride: isize,
    /// Whether it is [`Packed`](crate::Packed), so that the strides are those of panels.
    pub(crate) packed: bool,
    /// Whether its elements are [`Bf16`] numbers, so that strides count these.
    pub(crate) bf16: bool,
}

impl Layout {
    /// A dense row-major `rows` x `cols` matrix.
    #[must_use]
    pub fn row_major(rows: usize, cols: usize) -> Self {
        Self { rows, cols, row_stride: signed(cols), col_stride: 1, packed: false, bf16: false }
    }

    /// A dense column-major `rows` x `cols` matrix.
    #[must_use]
    pub fn col_major(rows: usize, cols: usize) -> Self {
        Self { rows, cols, row_stride: 1, col_stride: signed(rows), packed: false, bf16: false }
    }

    /// Any strides, in elements.
    #[must_use]
    pub const fn with_strides(rows: usize, cols: usize, row_stride: isize, col_stride: isize) -> Self {
        Self { rows, cols, row_stride, col_stride, packed: false, bf16: false }
    }

    /// The same layout, of [`Bf16`] numbers: that of a view of them.
    #[must_use]
    pub const fn bf16(self) -> Self {
        Self { bf16: true, ..self }
    }

    /// Whether there are no elements.
    pub(crate) const fn is_empty(&self) -> bool {
        self.rows == 0 || self.cols == 0
    }

    /// Checks that no two elements share a place, as a matrix that is written needs it.
    ///
    /// # Errors
    /// When two do.
    pub fn check_distinct(&self) -> Result<()> {
        check_distinct((self.rows, self.cols), (self.row_stride.unsigned_abs(), self.col_stride.unsigned_abs()))
    }
}

impl PartialEq for Layout {
    /// Of all numbers at once: a branch for each would take as long as a small product that is computed by a plan.
    #[inline]
    fn eq(&self, other: &Self) -> bool {
        let shape = (self.rows ^ other.rows) | (self.cols ^ other.cols);
        let strides = (self.row_stride ^ other.row_stride) | (self.col_stride ^ other.col_stride);
        let form = (self.packed ^ other.packed) | (self.bf16 ^ other.bf16);
        shape | strides.cast_unsigned() | usize::from(form) == 0
    }
}

impl std::fmt::Display for Layout {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { rows, cols, row_stride, col_stride, packed, bf16 } = self;
        match packed {
            true => write!(f, "{rows}x{cols}, packed"),
            false => {
                let of = if *bf16 { " of bf16" } else { "" };
                write!(f, "{rows}x{cols}{of} with strides ({row_stride}, {col_stride})")
            }
        }
    }
}

/// `i` strides. Wraps instead of panicking, as a stride that reaches no element may be any number.
#[inline(always)]
pub(crate) const fn times(i: usize, stride: isize) -> isize {
    (i as isize).wrapping_mul(stride)
}

/// A read-only matrix view.
pub struct MatRef<'a, T> {
    ptr: *const T,
    rows: usize,
    cols: usize,
    row_stride: isize,
    col_stride: isize,
    life: PhantomData<&'a [T]>,
}

/// A mutable matrix view, in which no two elements share a place.
pub struct MatMut<'a, T> {
    ptr: *mut T,
    rows: usize,
    cols: usize,
    row_stride: isize,
    col_stride: isize,
    life: PhantomData<&'a mut [T]>,
}

// SAFETY: a MatRef is a `&[T]` with a shape: it may go where that slice may go.
unsafe impl<T: Sync> Send for MatRef<'_, T> {}
// SAFETY: as above; sharing it shares `&[T]`.
unsafe impl<T: Sync> Sync for MatRef<'_, T> {}
// SAFETY: a MatMut is a `&mut [T]` with a shape, its elements are reached through it alone.
unsafe impl<T: Send> Send for MatMut<'_, T> {}
// SAFETY: a shared MatMut gives only reads.
unsafe impl<T: Sync> Sync for MatMut<'_, T> {}

impl<T> Clone for MatRef<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T> Copy for MatRef<'_, T> {}

impl<T> std::fmt::Debug for MatRef<'_, T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}x{} view with strides ({}, {})", self.rows, self.cols, self.row_stride, self.col_stride)
    }
}

impl<T> std::fmt::Debug for MatMut<'_, T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.as_ref().fmt(f)
    }
}

/// Checks that every element of the view lies in a slice of `len` elements.
fn check_bounds(len: usize, shape: (usize, usize), strides: (usize, usize)) -> Result<()> {
    if shape.0 == 0 || shape.1 == 0 {
        return Ok(());
    }
    let last = (|| {
        let row = (shape.0 - 1).checked_mul(strides.0)?;
        let col = (shape.1 - 1).checked_mul(strides.1)?;
        row.checked_add(col)
    })();
    match last {
        Some(last) if last < len => Ok(()),
        _ => Err(Error::OutOfBounds { len, shape, strides }),
    }
}

fn gcd(a: usize, b: usize) -> usize {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// Checks that no two elements of the view share a place.
///
/// Two do exactly when `di * row_stride == dj * col_stride` for some `0 < di < rows`, `0 < dj < cols` (the least such
/// pair is the strides over their greatest common divisor), or when a stride is 0 along more than one element.
fn check_distinct(shape: (usize, usize), strides: (usize, usize)) -> Result<()> {
    let (rows, cols) = shape;
    let (rs, cs) = strides;
    let empty = rows == 0 || cols == 0;
    let still = (rs == 0 && rows > 1) || (cs == 0 && cols > 1);
    let crossing = rs != 0 && cs != 0 && {
        let g = gcd(rs, cs);
        cs / g < rows && rs / g < cols
    };
    if !empty && (still || crossing) { Err(Error::Overlap { shape, strides }) } else { Ok(()) }
}

/// Checks that a slice of `len` elements is that of a matrix without gaps.
fn check_dense(len: usize, shape: (usize, usize)) -> Result<()> {
    // Not `checked_mul`: with it, a small product takes 27 instructions more.
    let (size, overflows) = shape.0.overflowing_mul(shape.1);
    if size == len && !overflows { Ok(()) } else { Err(Error::Dense { len, shape }) }
}

fn check_range(what: &'static str, range: &Range<usize>, size: usize) -> Result<()> {
    if range.start <= range.end && range.end <= size {
        Ok(())
    } else {
        Err(Error::Range { what, start: range.start, end: range.end, size })
    }
}

/// A stride that no element is ever reached by (fewer than two elements along it) may be too large for `isize`.
fn signed(stride: usize) -> isize {
    isize::try_from(stride).unwrap_or(0)
}

impl<'a, T> MatRef<'a, T> {
    /// A dense row-major `rows` x `cols` matrix; the slice holds exactly its elements.
    ///
    /// # Errors
    /// When the slice is longer or shorter.
    pub fn new(data: &'a [T], rows: usize, cols: usize) -> Result<Self> {
        check_dense(data.len(), (rows, cols))?;
        // SAFETY: the length was checked against the shape.
        Ok(unsafe { Self::from_raw(data.as_ptr(), rows, cols, signed(cols), 1) })
    }

    /// A dense column-major `rows` x `cols` matrix; the slice holds exactly its elements.
    ///
    /// # Errors
    /// When the slice is longer or shorter.
    pub fn col_major(data: &'a [T], rows: usize, cols: usize) -> Result<Self> {
        check_dense(data.len(), (rows, cols))?;
        // SAFETY: the length was checked against the shape.
        Ok(unsafe { Self::from_raw(data.as_ptr(), rows, cols, 1, signed(rows)) })
    }

    /// Any non-negative strides (in elements), checked against the slice; the last element need not end it.
    ///
    /// # Errors
    /// When an element lies past the end of the slice.
    pub fn with_strides(data: &'a [T], rows: usize, cols: usize, row_stride: usize, col_stride: usize) -> Result<Self> {
        check_bounds(data.len(), (rows, cols), (row_stride, col_stride))?;
        // SAFETY: every element was found to lie in the slice.
        Ok(unsafe { Self::from_raw(data.as_ptr(), rows, cols, signed(row_stride), signed(col_stride)) })
    }

    /// Any strides, negative ones too: `ptr` is the place of element (0, 0).
    ///
    /// # Safety
    /// - Each element `ptr + i * row_stride + j * col_stride` with `i < rows`, `j < cols` lies in one allocation, is
    ///   aligned and initialised, and is not written while the view lives.
    /// - The distance between any two elements, in bytes, fits `isize`.
    pub const unsafe fn from_raw(
        ptr: *const T,
        rows: usize,
        cols: usize,
        row_stride: isize,
        col_stride: isize,
    ) -> Self {
        Self { ptr, rows, cols, row_stride, col_stride, life: PhantomData }
    }

    /// The transposed view.
    #[must_use]
    pub const fn t(self) -> Self {
        Self {
            ptr: self.ptr,
            rows: self.cols,
            cols: self.rows,
            row_stride: self.col_stride,
            col_stride: self.row_stride,
            life: PhantomData,
        }
    }

    /// The sub-matrix of these rows and columns.
    ///
    /// # Errors
    /// When there are not so many rows or columns.
    pub fn sub(self, rows: Range<usize>, cols: Range<usize>) -> Result<Self> {
        check_range("rows", &rows, self.rows)?;
        check_range("columns", &cols, self.cols)?;
        let (m, n) = (rows.len(), cols.len());
        let ptr = if m == 0 || n == 0 { self.ptr } else { self.at(rows.start, cols.start) };
        // SAFETY: its elements are elements of `self`.
        Ok(unsafe { Self::from_raw(ptr, m, n, self.row_stride, self.col_stride) })
    }

    /// Where element `(i, j)` lies; both indices are in range.
    #[inline]
    fn at(&self, i: usize, j: usize) -> *const T {
        self.ptr.wrapping_offset(times(i, self.row_stride).wrapping_add(times(j, self.col_stride)))
    }
}

impl<T: Copy> MatRef<'_, T> {
    /// Element `(i, j)`.
    ///
    /// # Panics
    /// When `i` or `j` is out of range.
    #[inline]
    pub fn get(&self, i: usize, j: usize) -> T {
        assert!(i < self.rows && j < self.cols, "({i}, {j}) is outside {}x{}", self.rows, self.cols);
        // SAFETY: in range, so the constructor vouched for this element.
        unsafe { *self.at(i, j) }
    }
}

impl<'a, T> MatMut<'a, T> {
    /// A dense row-major `rows` x `cols` matrix; the slice holds exactly its elements.
    ///
    /// # Errors
    /// When the slice is longer or shorter.
    pub fn new(data: &'a mut [T], rows: usize, cols: usize) -> Result<Self> {
        check_dense(data.len(), (rows, cols))?;
        // SAFETY: the length was checked against the shape, and dense rows do not overlap.
        Ok(unsafe { Self::from_raw(data.as_mut_ptr(), rows, cols, signed(cols), 1) })
    }

    /// A dense column-major `rows` x `cols` matrix; the slice holds exactly its elements.
    ///
    /// # Errors
    /// When the slice is longer or shorter.
    pub fn col_major(data: &'a mut [T], rows: usize, cols: usize) -> Result<Self> {
        check_dense(data.len(), (rows, cols))?;
        // SAFETY: the length was checked against the shape, and dense columns do not overlap.
        Ok(unsafe { Self::from_raw(data.as_mut_ptr(), rows, cols, 1, signed(rows)) })
    }

    /// Any positive strides (in elements) by which no two elements share a place, checked against the slice.
    ///
    /// # Errors
    /// When an element lies past the end of the slice, or two share a place.
    pub fn with_strides(
        data: &'a mut [T],
        rows: usize,
        cols: usize,
        row_stride: usize,
        col_stride: usize,
    ) -> Result<Self> {
        check_bounds(data.len(), (rows, cols), (row_stride, col_stride))?;
        check_distinct((rows, cols), (row_stride, col_stride))?;
        // SAFETY: every element was found to lie in the slice, at a place of its own.
        Ok(unsafe { Self::from_raw(data.as_mut_ptr(), rows, cols, signed(row_stride), signed(col_stride)) })
    }

    /// Any strides, negative ones too: `ptr` is the place of element (0, 0).
    ///
    /// # Safety
    /// - Each element `ptr + i * row_stride + j * col_stride` with `i < rows`, `j < cols` lies in one allocation, is
    ///   aligned and initialised, has a place of its own, and is reached through this view alone while it lives.
    /// - The distance between any two elements, in bytes, fits `isize`.
    pub const unsafe fn from_raw(ptr: *mut T, rows: usize, cols: usize, row_stride: isize, col_stride: isize) -> Self {
        Self { ptr, rows, cols, row_stride, col_stride, life: PhantomData }
    }

    /// The transposed view.
    #[must_use]
    pub const fn t(self) -> Self {
        Self {
            ptr: self.ptr,
            rows: self.cols,
            cols: self.rows,
            row_stride: self.col_stride,
            col_stride: self.row_stride,
            life: PhantomData,
        }
    }

    /// The same matrix, borrowed for a shorter time.
    pub const fn reborrow(&mut self) -> MatMut<'_, T> {
        MatMut { life: PhantomData, ..*self }
    }

    /// The same matrix, read-only.
    pub const fn as_ref(&self) -> MatRef<'_, T> {
        MatRef {
            ptr: self.ptr,
            rows: self.rows,
            cols: self.cols,
            row_stride: self.row_stride,
            col_stride: self.col_stride,
            life: PhantomData,
        }
    }

    /// The sub-matrix of these rows and columns.
    ///
    /// # Errors
    /// When there are not so many rows or columns.
    pub fn sub(self, rows: Range<usize>, cols: Range<usize>) -> Result<Self> {
        let ptr = self.as_ref().sub(rows.clone(), cols.clone())?.ptr.cast_mut();
        // SAFETY: its elements are elements of `self`, which was given up.
        Ok(unsafe { Self::from_raw(ptr, rows.len(), cols.len(), self.row_stride, self.col_stride) })
    }

    /// The base pointer, element (0, 0).
    #[inline]
    pub const fn as_mut_ptr(&mut self) -> *mut T {
        self.ptr
    }
}

impl<T: Copy> MatMut<'_, T> {
    /// Element `(i, j)`.
    ///
    /// # Panics
    /// When `i` or `j` is out of range.
    #[inline]
    pub fn get(&self, i: usize, j: usize) -> T {
        self.as_ref().get(i, j)
    }

    /// Sets element `(i, j)`.
    ///
    /// # Panics
    /// When `i` or `j` is out of range.
    #[inline]
    pub fn set(&mut self, i: usize, j: usize, value: T) {
        assert!(i < self.rows && j < self.cols, "({i}, {j}) is outside {}x{}", self.rows, self.cols);
        // SAFETY: in range, so the constructor vouched for this element, and `&mut self` for its uniqueness.
        unsafe { *self.as_ref().at(i, j).cast_mut() = value }
    }
}

/// What both views can be asked; written once for the read-only one.
impl<T> MatRef<'_, T> {
    /// Its shape and strides.
    #[inline]
    pub const fn layout(&self) -> Layout {
        let Self { rows, cols, row_stride, col_stride, .. } = *self;
        // No other elements of two bytes are multiplied.
        let bf16 = size_of::<T>() == size_of::<Bf16>();
        Layout { rows, cols, row_stride, col_stride, packed: false, bf16 }
    }
    /// Number of rows.
    #[inline]
    pub const fn rows(&self) -> usize {
        self.rows
    }
    /// Number of columns.
    #[inline]
    pub const fn cols(&self) -> usize {
        self.cols
    }
    /// Rows and columns.
    #[inline]
    pub const fn shape(&self) -> (usize, usize) {
        (self.rows, self.cols)
    }
    /// Distance from a row to the next, in elements.
    #[inline]
    pub const fn row_stride(&self) -> isize {
        self.row_stride
    }
    /// Distance from a column to the next, in elements.
    #[inline]
    pub const fn col_stride(&self) -> isize {
        self.col_stride
    }
    /// The base pointer, element (0, 0).
    #[inline]
    pub const fn as_ptr(&self) -> *const T {
        self.ptr
    }
}

impl<T> MatMut<'_, T> {
    /// Its shape and strides.
    #[inline]
    pub const fn layout(&self) -> Layout {
        self.as_ref().layout()
    }
    /// Number of rows.
    #[inline]
    pub const fn rows(&self) -> usize {
        self.rows
    }
    /// Number of columns.
    #[inline]
    pub const fn cols(&self) -> usize {
        self.cols
    }
    /// Rows and columns.
    #[inline]
    pub const fn shape(&self) -> (usize, usize) {
        (self.rows, self.cols)
    }
    /// Distance from a row to the next, in elements.
    #[inline]
    pub const fn row_stride(&self) -> isize {
        self.row_stride
    }
    /// Distance from a column to the next, in elements.
    #[inline]
    pub const fn col_stride(&self) -> isize {
        self.col_stride
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Also where differences would cancel out.
    #[test]
    fn layouts_are_equal_in_all_numbers_or_unequal() {
        let layout = |bits: usize| {
            let [rows, cols, row_stride, col_stride, packed, bf16] = [0, 1, 2, 3, 4, 5].map(|i| bits >> i & 1);
            Layout {
                rows,
                cols,
                row_stride: row_stride as isize,
                col_stride: col_stride as isize,
                packed: packed == 1,
                bf16: bf16 == 1,
            }
        };
        for a in 0..1 << 6 {
            for b in 0..1 << 6 {
                assert_eq!(layout(a) == layout(b), a == b, "{:?} and {:?}", layout(a), layout(b));
            }
        }
    }
}
