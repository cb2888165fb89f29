//! Memory for packed panels: one buffer a thread, which only grows, so that calls allocate nothing once warm.

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::cell::Cell;

/// Panels start on cache lines, so that no vector of a packed panel crosses one.
pub(crate) const ALIGN: usize = 64;

/// A block of memory aligned to [`ALIGN`].
struct Buffer {
    ptr: *mut u8,
    bytes: usize,
}

impl Buffer {
    const EMPTY: Self = Self { ptr: std::ptr::null_mut(), bytes: 0 };

    fn layout(bytes: usize) -> Layout {
        Layout::from_size_align(bytes, ALIGN).expect("a workspace larger than the address space")
    }

    fn grow(&mut self, bytes: usize) {
        *self = Self::EMPTY;
        let layout = Self::layout(bytes);
        // SAFETY: only asked for when `bytes` is more than there is, so it is not zero.
        let ptr = unsafe { alloc(layout) };
        if ptr.is_null() {
            handle_alloc_error(layout);
        }
        *self = Self { ptr, bytes };
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if self.bytes > 0 {
            // SAFETY: it was allocated with this layout.
            unsafe { dealloc(self.ptr, Self::layout(self.bytes)) }
        }
    }
}

thread_local! {
    static BUFFER: Cell<Buffer> = const { Cell::new(Buffer::EMPTY) };
}

/// Calls `f` with room for `len` elements, uninitialised, aligned to [`ALIGN`].
pub(crate) fn with<T, R>(len: usize, f: impl FnOnce(*mut T) -> R) -> R {
    const { assert!(align_of::<T>() <= ALIGN) };
    let bytes = len.checked_mul(size_of::<T>()).expect("a workspace larger than the address space");
    // A nested call would find the cell empty and use a buffer of its own.
    let mut buffer = BUFFER.replace(Buffer::EMPTY);
    if buffer.bytes < bytes {
        buffer.grow(bytes);
    }
    let result = f(buffer.ptr.cast());
    BUFFER.set(buffer);
    result
}
