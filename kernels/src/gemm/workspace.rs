//! Memory for packed panels: one buffer a thread, which only grows, or the caller's, so that calls allocate nothing
//! once warm.

use crate::simd::LINE;
use std::alloc::{Layout, alloc, dealloc};
use std::cell::Cell;
use std::fmt;
use std::sync::{Mutex, MutexGuard};

/// A block of memory that begins at a cache line, so that no vector of a packed panel crosses one.
pub(crate) struct Buffer {
    ptr: *mut u8,
    bytes: usize,
}

// SAFETY: a buffer owns its memory, like a Vec.
unsafe impl Send for Buffer {}
// SAFETY: a shared buffer gives only its address.
unsafe impl Sync for Buffer {}

impl Buffer {
    const EMPTY: Self = Self { ptr: std::ptr::null_mut(), bytes: 0 };

    /// Room for `len` elements, uninitialised; `None` where there is no such room.
    pub(crate) fn new<T>(len: usize) -> Option<Self> {
        const { assert!(align_of::<T>() <= LINE) };
        let bytes = len.checked_mul(size_of::<T>())?;
        if bytes == 0 {
            return Some(Self::EMPTY);
        }
        let layout = Layout::from_size_align(bytes, LINE).ok()?;
        // SAFETY: the size is not zero.
        let ptr = unsafe { alloc(layout) };
        (!ptr.is_null()).then_some(Self { ptr, bytes })
    }

    /// Makes it at least so large; what was in it is lost.
    fn grow(&mut self, bytes: usize) {
        if self.bytes < bytes {
            *self = Self::EMPTY;
            *self = Self::new::<u8>(bytes).unwrap_or_else(|| panic!("there is no memory for {bytes} bytes"));
        }
    }

    pub(crate) fn as_ptr<T>(&self) -> *mut T {
        self.ptr.cast()
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if self.bytes > 0 {
            // SAFETY: it was allocated with this size and alignment.
            unsafe { dealloc(self.ptr, Layout::from_size_align_unchecked(self.bytes, LINE)) }
        }
    }
}

/// Memory for packed panels that a caller owns: for programs that want it back, which the buffers of threads give only
/// when the thread ends.
///
/// It holds a buffer for each thread that ever used it at the same time as others, and each only grows.
#[derive(Default)]
pub struct Workspace {
    free: Mutex<Vec<Buffer>>,
}

impl Workspace {
    /// An empty one.
    #[must_use]
    pub const fn new() -> Self {
        Self { free: Mutex::new(Vec::new()) }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Buffer>> {
        self.free.lock().unwrap_or_else(|e| e.into_inner())
    }
}

impl fmt::Debug for Workspace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Workspace")
    }
}

thread_local! {
    static BUFFER: Cell<Buffer> = const { Cell::new(Buffer::EMPTY) };
}

/// Calls `f` with room for `len` elements, uninitialised, at the beginning of a cache line; null for none.
pub(crate) fn with<T, R>(space: Option<&Workspace>, len: usize, f: impl FnOnce(*mut T) -> R) -> R {
    const { assert!(align_of::<T>() <= LINE) };
    let buffer = if len > 0 { take(space, len.saturating_mul(size_of::<T>())) } else { Buffer::EMPTY };
    let result = f(buffer.as_ptr());
    if len > 0 {
        put_back(space, buffer);
    }
    result
}

/// A buffer of the workspace, or of this thread, of so many bytes. A nested call finds the thread's taken, and gets one
/// of its own.
fn take(space: Option<&Workspace>, bytes: usize) -> Buffer {
    let mut buffer = match space {
        // Not there any more in a destructor of another thread-local value.
        None => BUFFER.try_with(|buffer| buffer.replace(Buffer::EMPTY)).unwrap_or(Buffer::EMPTY),
        Some(space) => space.lock().pop().unwrap_or(Buffer::EMPTY),
    };
    buffer.grow(bytes);
    buffer
}

fn put_back(space: Option<&Workspace>, buffer: Buffer) {
    match space {
        None => drop(BUFFER.try_with(|own| own.set(buffer))),
        Some(space) => space.lock().push(buffer),
    }
}
