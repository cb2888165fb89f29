//! Ctrl-C ends the program at once, but never in the middle of a file; a training ends after its step.

use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

/// The exit code of a program that Ctrl-C ended, as shells count.
pub const EXIT_CODE: u8 = 130;

/// Held while a file is written.
static WRITING: Mutex<()> = Mutex::new(());
/// Somebody asks [`asked`] from time to time.
static WATCHED: AtomicBool = AtomicBool::new(false);
static ASKED: AtomicBool = AtomicBool::new(false);

/// Takes over Ctrl-C for the process.
pub fn install() {
    let ended = ctrlc::set_handler(|| {
        // The second time is meant at once.
        if WATCHED.load(Ordering::SeqCst) && !ASKED.swap(true, Ordering::SeqCst) {
            return;
        }
        let _whole = WRITING.lock().unwrap_or_else(PoisonError::into_inner);
        // There is nobody left to tell if this fails.
        let _ = writeln!(io::stderr(), "\ninterrupted");
        std::process::exit(EXIT_CODE.into());
    });
    // Without the handler, Ctrl-C does what it does by default.
    drop(ended);
}

/// Does what must not be left half done.
pub fn whole<R>(work: impl FnOnce() -> R) -> R {
    let _whole = WRITING.lock().unwrap_or_else(PoisonError::into_inner);
    work()
}

/// While it lives, the first Ctrl-C only makes [`asked`] true.
pub struct Watch(());

impl Watch {
    /// From now on.
    pub fn begin() -> Self {
        WATCHED.store(true, Ordering::SeqCst);
        Self(())
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        WATCHED.store(false, Ordering::SeqCst);
    }
}

/// Whether the work should end soon.
pub fn asked() -> bool {
    ASKED.load(Ordering::SeqCst)
}
