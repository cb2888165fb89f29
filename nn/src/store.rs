//! Where numbers live: one allocation for each kind of tensor (parameters, gradients, moments, activations).

use std::mem::take;
use std::ops::{Deref, DerefMut};

/// A cache line, and the widest vector register.
const ALIGN: usize = 64;
const LANES: usize = ALIGN / size_of::<f32>();

/// A fixed number of `f32`, zero at first, starting at a cache line: vector loads that straddle two lines cost double.
pub(crate) struct Store {
    /// Longer than needed by up to a line; what lies before `start` is never touched.
    room: Vec<f32>,
    start: usize,
    len: usize,
}

impl Store {
    pub(crate) const EMPTY: Self = Self { room: Vec::new(), start: 0, len: 0 };

    pub(crate) fn zeros(len: usize) -> Self {
        let room = vec![0.0; len + LANES];
        // `align_offset` may decline to answer; alignment is for speed alone, so any start will do then.
        let start = Some(room.as_ptr().align_offset(ALIGN)).filter(|&s| s < LANES).unwrap_or(0);
        Self { room, start, len }
    }

    /// [`Self::zeros`], if there is memory for so many.
    pub(crate) fn try_zeros(len: usize) -> Option<Self> {
        // Asked for by a vector without zeros, as one with them ends the program where there is none.
        Vec::<f32>::new().try_reserve_exact(len.checked_add(LANES)?).ok()?;
        Some(Self::zeros(len))
    }
}

impl From<&[f32]> for Store {
    fn from(numbers: &[f32]) -> Self {
        let mut store = Self::zeros(numbers.len());
        store.copy_from_slice(numbers);
        store
    }
}

impl Clone for Store {
    fn clone(&self) -> Self {
        Self::from(&**self)
    }
}

impl Deref for Store {
    type Target = [f32];
    fn deref(&self) -> &[f32] {
        &self.room[self.start..][..self.len]
    }
}

impl DerefMut for Store {
    fn deref_mut(&mut self) -> &mut [f32] {
        &mut self.room[self.start..][..self.len]
    }
}

/// Numbers as files hold them: little-endian.
pub(crate) fn le_bytes(numbers: &[f32]) -> Vec<u8> {
    numbers.iter().flat_map(|x| x.to_le_bytes()).collect()
}

/// The numbers that [`le_bytes`] made these of.
pub(crate) fn floats(bytes: &[u8]) -> impl Iterator<Item = f32> {
    bytes.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes))
}

/// Splits the first `n` elements off a slice that holds tensors one after the other.
pub(crate) fn first<'a>(rest: &mut &'a [f32], n: usize) -> &'a [f32] {
    let (part, tail) = rest.split_at(n);
    *rest = tail;
    part
}

/// [`first`], mutable.
pub(crate) fn first_mut<'a>(rest: &mut &'a mut [f32], n: usize) -> &'a mut [f32] {
    let (part, tail) = take(rest).split_at_mut(n);
    *rest = tail;
    part
}

/// Splits the last `n` elements off: what went forward by [`first`] goes backward by this.
pub(crate) fn last_mut<'a>(rest: &mut &'a mut [f32], n: usize) -> &'a mut [f32] {
    let at = rest.len() - n;
    let (head, part) = take(rest).split_at_mut(at);
    *rest = head;
    part
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn starts_at_a_cache_line_and_keeps_its_values() {
        for len in [0, 1, 15, 16, 17, 1000] {
            let mut store = Store::zeros(len);
            assert_eq!(&*store, vec![0.0; len]);
            store.fill(1.5);
            let copy = store.clone();
            assert_eq!(&*copy, vec![1.5; len]);
            for store in [store, copy] {
                assert_eq!(store.as_ptr() as usize % ALIGN, 0);
            }
        }
    }
}
