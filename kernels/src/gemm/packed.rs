//! Operands of products: views, and matrices that were packed once to be used many times.

use super::amx::LINES;
use super::driver::Matrix;
use super::pack::Pack;
use super::precision::Precision;
use super::workspace::Buffer;
use super::{Element, Source};
use crate::backend::Backend;
use crate::error::{Error, Result};
use crate::view::{Layout, MatRef};
use std::fmt;
use std::marker::PhantomData;

/// A or B of a product: a view, or a [`Packed`] matrix.
#[derive(Clone, Copy)]
pub struct Operand<'a, T> {
    pub(crate) ptr: *const T,
    pub(crate) layout: Layout,
    pub(crate) packed: Option<&'a Packed<T>>,
    life: PhantomData<&'a [T]>,
}

impl<'a, T> Operand<'a, T> {
    /// A view of elements that are a [`Source`] of `T`.
    #[inline]
    pub(crate) fn view<X>(x: MatRef<'a, X>) -> Self {
        Self { ptr: x.as_ptr().cast(), layout: x.layout(), packed: None, life: PhantomData }
    }

    #[inline]
    pub(crate) fn matrix(&self) -> Matrix<T> {
        Matrix::new(self.ptr.cast_mut(), &self.layout)
    }
}

impl<'a, T, X: Source<T>> From<MatRef<'a, X>> for Operand<'a, T> {
    #[inline]
    fn from(x: MatRef<'a, X>) -> Self {
        Self::view(x)
    }
}

impl<'a, T> From<&'a Packed<T>> for Operand<'a, T> {
    #[inline]
    fn from(x: &'a Packed<T>) -> Self {
        Self { ptr: x.panels.as_ptr(), layout: x.layout, packed: Some(x), life: PhantomData }
    }
}

/// On which side of a product a matrix stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    A,
    B,
}

/// What panels are for, in words.
fn purpose(backend: &Backend, precision: Precision, side: Side) -> String {
    let precision = if precision == Precision::F32 { String::new() } else { format!(" in {precision}") };
    format!("{side:?} on {}{precision}", backend.name())
}

/// A matrix that was packed once: [`Gemm::pack_a`](crate::Gemm::pack_a) and [`Gemm::pack_b`](crate::Gemm::pack_b) make
/// one, of any layout, to be given instead of the view.
///
/// It remembers its side, its precision, and the backend whose panels it holds; a call that needs others refuses it. It
/// does not depend on block sizes. Many threads can use it at once.
///
/// C is best stored so that its columns are adjacent: a packed operand keeps its side, so that a column-major C can't
/// be computed as the transposed product, as it is from views.
pub struct Packed<T> {
    backend: &'static Backend,
    precision: Precision,
    side: Side,
    layout: Layout,
    panels: Buffer,
    life: PhantomData<T>,
}

impl<T: Element> Packed<T> {
    pub(crate) fn new(backend: &'static Backend, precision: Precision, side: Side, x: &Operand<'_, T>) -> Result<Self> {
        let kernel = T::kernel(backend);
        let Layout { rows, cols, .. } = x.layout;
        // Lines are rows of A or columns of B, k is their length.
        let (width, lines, k, from) = match side {
            Side::A => (kernel.mr, rows, cols, x.matrix()),
            Side::B => (kernel.nr, cols, rows, x.matrix().t()),
        };
        // What a tile unit has is no matrix, but its panels are evenly apart, too.
        let unit = kernel.unit(precision, k);
        let (width, size) = match unit {
            Some(unit) => (LINES, (unit.panel)(precision, k)),
            None => (width, width.checked_mul(k)),
        };
        // Lines that are not there may have any length.
        let size = if lines == 0 { Some(0) } else { size };
        let panels = size
            .and_then(|size| Buffer::new::<T>(lines.div_ceil(width).checked_mul(size)?))
            .ok_or(Error::Memory { what: if side == Side::A { "A" } else { "B" }, shape: (rows, cols) })?;
        let size = size.unwrap_or_default();
        // Without elements there may be more lines than could be counted through.
        let filled = if k == 0 { 0 } else { lines };
        for first in (0..filled).step_by(width) {
            let to = panels.as_ptr::<T>().wrapping_add(first / width * size);
            let from = from.at(first, 0);
            let panel = Pack { from, lines: width.min(lines - first), k, to, width, precision };
            // SAFETY: a backend that can be had is supported; the view vouches for its elements; there is room for all
            // panels.
            unsafe {
                match unit {
                    Some(unit) => (unit.pack)(kernel, side, &panel),
                    None => (kernel.pack)(&panel),
                }
            }
        }
        // From a line to the next, and along k; the latter is of no use to a tile unit.
        let (line, depth) = ((size / width) as isize, width as isize);
        let (row_stride, col_stride) = if side == Side::A { (line, depth) } else { (depth, line) };
        let layout = Layout { rows, cols, row_stride, col_stride, packed: true, bf16: false };
        Ok(Self { backend, precision, side, layout, panels, life: PhantomData })
    }

    /// Checks that it may stand on this side of a product of this backend and precision.
    pub(crate) fn check(&self, backend: &'static Backend, precision: Precision, side: Side) -> Result<()> {
        if self.side == side && std::ptr::eq(self.backend, backend) && self.precision == precision {
            Ok(())
        } else {
            let (packed, needed) = (self.purpose(), purpose(backend, precision, side));
            Err(Error::Packed { packed, needed })
        }
    }
}

impl<T> Packed<T> {
    fn purpose(&self) -> String {
        purpose(self.backend, self.precision, self.side)
    }

    /// Rows and columns of the matrix.
    #[must_use]
    pub fn shape(&self) -> (usize, usize) {
        (self.layout.rows, self.layout.cols)
    }

    /// How it lies in memory, for [`Gemm::prepare`](crate::Gemm::prepare).
    #[must_use]
    pub fn layout(&self) -> Layout {
        self.layout
    }
}

impl<T> fmt::Debug for Packed<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (rows, cols) = self.shape();
        write!(f, "{rows}x{cols} packed for {}", self.purpose())
    }
}
