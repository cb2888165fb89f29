//! Many products of the same settings in one call.

use super::packed::Operand;
use crate::bf16::Bf16;
use crate::error::{Error, Result};
use crate::view::{Layout, MatMut, MatRef};

/// The A or B of a batch of products.
#[derive(Clone, Copy)]
pub struct BatchRef<'a, T>(Elements<'a, T>);

#[derive(Clone, Copy)]
enum Elements<'a, T> {
    Own(Views<'a, T>),
    Bf16(Views<'a, Bf16>),
}

#[derive(Clone, Copy)]
enum Views<'a, T> {
    /// One matrix for all of them.
    Same(MatRef<'a, T>),
    /// Matrices a stride apart.
    Strided {
        first: MatRef<'a, T>,
        count: usize,
        stride: usize,
    },
    List(&'a [MatRef<'a, T>]),
}

/// The C of a batch of products, none of which shares an element with another.
pub struct BatchMut<'a, T>(Target<'a, T>);

enum Target<'a, T> {
    Strided { first: MatMut<'a, T>, count: usize, stride: usize },
    List(&'a mut [MatMut<'a, T>]),
}

/// Checks that `count` dense matrices that begin `stride` apart lie in a slice.
fn check(len: usize, count: usize, stride: usize, shape: (usize, usize)) -> Result<()> {
    let end = || match (shape.0.checked_mul(shape.1)?, count) {
        (0, _) | (_, 0) => Some(0),
        (size, count) => (count - 1).checked_mul(stride)?.checked_add(size),
    };
    if end().is_some_and(|end| end <= len) {
        Ok(())
    } else {
        Err(Error::BatchOutOfBounds { len, count, shape, stride })
    }
}

impl<'a, T> BatchRef<'a, T> {
    /// `count` dense row-major `rows` x `cols` matrices, of which each begins `stride` elements after the last.
    ///
    /// # Errors
    /// When they reach past the end of the slice.
    pub fn strided(data: &'a [T], count: usize, stride: usize, rows: usize, cols: usize) -> Result<Self> {
        check(data.len(), count, stride, (rows, cols))?;
        let shape = if count == 0 { (0, 0) } else { (rows, cols) };
        // The view stands for all matrices, so it is made from the whole slice.
        let first = MatRef::with_strides(data, shape.0, shape.1, shape.1, 1)?;
        Ok(Self(Elements::Own(Views::Strided { first, count, stride })))
    }

    /// `count` matrices like `first`, of which each begins `stride` elements after the last.
    ///
    /// # Safety
    /// For each of them, what [`MatRef::from_raw`] asks for the first.
    #[must_use]
    pub const unsafe fn from_raw(first: MatRef<'a, T>, count: usize, stride: usize) -> Self {
        Self(Elements::Own(Views::Strided { first, count, stride }))
    }

    /// The transposed matrices, where they are a stride apart or one for all; a list holds views, transposed or not.
    #[must_use]
    pub fn t(self) -> Self {
        Self(match self.0 {
            Elements::Own(views) => Elements::Own(views.t()),
            Elements::Bf16(views) => Elements::Bf16(views.t()),
        })
    }

    /// How many there are; `None` for as many as are needed.
    pub(crate) fn count(&self) -> Option<usize> {
        match &self.0 {
            Elements::Own(views) => views.count(),
            Elements::Bf16(views) => views.count(),
        }
    }

    /// Whether all have the layout of the first.
    pub(crate) fn is_even(&self) -> bool {
        !matches!(self.0, Elements::Own(Views::List(_)) | Elements::Bf16(Views::List(_)))
    }

    /// Matrix `i`, which exists.
    pub(crate) fn get(&self, i: usize) -> Operand<'a, T> {
        match &self.0 {
            Elements::Own(views) => Operand::view(views.get(i)),
            Elements::Bf16(views) => Operand::view(views.get(i)),
        }
    }
}

impl<'a, T> Views<'a, T> {
    fn t(self) -> Self {
        match self {
            Self::Same(x) => Self::Same(x.t()),
            Self::Strided { first, count, stride } => Self::Strided { first: first.t(), count, stride },
            list @ Self::List(_) => list,
        }
    }

    fn count(&self) -> Option<usize> {
        match self {
            Self::Same(_) => None,
            Self::Strided { count, .. } => Some(*count),
            Self::List(list) => Some(list.len()),
        }
    }

    fn get(&self, i: usize) -> MatRef<'a, T> {
        match *self {
            Self::Same(x) => x,
            Self::Strided { first, stride, .. } => {
                let (rows, cols) = first.shape();
                let ptr = first.as_ptr().wrapping_add(i.wrapping_mul(stride));
                // SAFETY: `strided` found all that have elements to lie in its slice, of which `first` is a view; of
                // others the caller of `from_raw` promised it.
                unsafe { MatRef::from_raw(ptr, rows, cols, first.row_stride(), first.col_stride()) }
            }
            Self::List(list) => list[i],
        }
    }
}

impl<'a, T> From<MatRef<'a, T>> for BatchRef<'a, T> {
    fn from(same: MatRef<'a, T>) -> Self {
        Self(Elements::Own(Views::Same(same)))
    }
}

impl<'a, T> From<&'a [MatRef<'a, T>]> for BatchRef<'a, T> {
    fn from(list: &'a [MatRef<'a, T>]) -> Self {
        Self(Elements::Own(Views::List(list)))
    }
}

/// A batch of bf16 matrices stands for one of f32: see [`Source`](crate::Source).
impl<'a> From<BatchRef<'a, Bf16>> for BatchRef<'a, f32> {
    fn from(batch: BatchRef<'a, Bf16>) -> Self {
        let (Elements::Own(views) | Elements::Bf16(views)) = batch.0;
        Self(Elements::Bf16(views))
    }
}

impl<'a> From<MatRef<'a, Bf16>> for BatchRef<'a, f32> {
    fn from(same: MatRef<'a, Bf16>) -> Self {
        BatchRef::<Bf16>::from(same).into()
    }
}

impl<'a> From<&'a [MatRef<'a, Bf16>]> for BatchRef<'a, f32> {
    fn from(list: &'a [MatRef<'a, Bf16>]) -> Self {
        BatchRef::<Bf16>::from(list).into()
    }
}

impl<'a, T> BatchMut<'a, T> {
    /// `count` dense row-major `rows` x `cols` matrices, of which each begins `stride` elements after the last.
    ///
    /// # Errors
    /// When they reach past the end of the slice, or overlap.
    pub fn strided(data: &'a mut [T], count: usize, stride: usize, rows: usize, cols: usize) -> Result<Self> {
        check(data.len(), count, stride, (rows, cols))?;
        if count > 1 && stride < rows * cols {
            return Err(Error::BatchOverlap { count, shape: (rows, cols), stride });
        }
        let shape = if count == 0 { (0, 0) } else { (rows, cols) };
        // The view stands for all matrices, so it is made from the whole slice.
        let first = MatMut::with_strides(data, shape.0, shape.1, shape.1, 1)?;
        Ok(Self(Target::Strided { first, count, stride }))
    }

    /// `count` matrices like `first`, of which each begins `stride` elements after the last.
    ///
    /// # Safety
    /// For each of them, what [`MatMut::from_raw`] asks for the first; and none shares an element with another.
    #[must_use]
    pub const unsafe fn from_raw(first: MatMut<'a, T>, count: usize, stride: usize) -> Self {
        Self(Target::Strided { first, count, stride })
    }

    pub(crate) fn count(&self) -> usize {
        match &self.0 {
            Target::Strided { count, .. } => *count,
            Target::List(list) => list.len(),
        }
    }

    /// Whether all have the layout of the first.
    pub(crate) fn is_even(&self) -> bool {
        matches!(self.0, Target::Strided { .. })
    }

    /// The layout of matrix `i`, which exists.
    pub(crate) fn layout(&self, i: usize) -> Layout {
        match &self.0 {
            Target::Strided { first, .. } => first.layout(),
            Target::List(list) => list[i].layout(),
        }
    }

    /// Where matrix `i`, which exists, lies.
    pub(crate) fn place(&self, i: usize) -> *mut T {
        let ptr = match &self.0 {
            Target::Strided { first, stride, .. } => first.as_ref().as_ptr().wrapping_add(i.wrapping_mul(*stride)),
            Target::List(list) => list[i].as_ref().as_ptr(),
        };
        ptr.cast_mut()
    }
}

impl<'a, T> From<&'a mut [MatMut<'a, T>]> for BatchMut<'a, T> {
    fn from(list: &'a mut [MatMut<'a, T>]) -> Self {
        Self(Target::List(list))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matrices_of_a_batch_are_views_of_its_slice() {
        // Under Miri, which knows what each reference may reach.
        let data: Vec<f32> = (0..11u8).map(f32::from).collect();
        let batch = BatchRef::strided(&data, 3, 4, 1, 3).unwrap();
        let Elements::Own(views) = &batch.0 else { panic!("they are its own") };
        let last: Vec<f32> = (0..3).map(|i| views.get(i).get(0, 2)).collect();
        assert_eq!(last, [2.0, 6.0, 10.0]);
    }
}
