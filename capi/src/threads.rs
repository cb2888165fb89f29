//! Who computes: the calling thread, unless the caller asks for more.

use crate::status::{Failure, guard, kernels_status, say};
use kernels::{Par, Serial, Team};
use std::ffi::OsStr;
use std::panic::catch_unwind;
use std::process;
use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// The environment variable that sets the threads of a product.
const VARIABLE: &str = "KERNELS_NUM_THREADS";
/// More than any machine has, and few enough to be started.
const MOST: usize = 1024;

/// A team of threads. Its workers belong to the process that made it: in a child of `fork`, which they did not follow,
/// the caller computes alone.
pub struct kernels_team {
    process: u32,
    team: Team,
}

impl kernels_team {
    fn new(threads: usize) -> std::thread::Result<Self> {
        // It panics where the operating system refuses a thread.
        Ok(Self { process: process::id(), team: catch_unwind(|| Team::new(threads))? })
    }

    fn is_here(&self) -> bool {
        self.process == process::id()
    }
}

impl Par for kernels_team {
    fn threads(&self) -> usize {
        self.team.threads()
    }
    fn run(&self, jobs: usize, job: &(dyn Fn(usize) + Sync)) {
        if self.is_here() { self.team.run(jobs, job) } else { Serial.run(jobs, job) }
    }
}

/// The team of all calls that name none: as many threads as the setting says, started by the first product that is
/// large enough for them.
pub(crate) struct Setting;

/// The setting; 0 before it was read.
static THREADS: AtomicUsize = AtomicUsize::new(0);

/// The team of a process. A child of `fork` makes its own and leaves its parent's where it is: what another thread was
/// about to do with it is unknown.
struct Home {
    process: u32,
    team: Mutex<Option<Arc<kernels_team>>>,
}

static HOME: AtomicPtr<Home> = AtomicPtr::new(std::ptr::null_mut());

fn home() -> &'static Home {
    let process = process::id();
    let old = HOME.load(Ordering::Acquire);
    // SAFETY: null, or a `Home` that was leaked below.
    match unsafe { old.as_ref() } {
        Some(home) if home.process == process => home,
        _ => {
            let new = Box::into_raw(Box::new(Home { process, team: Mutex::new(None) }));
            let found = match HOME.compare_exchange(old, new, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => new,
                Err(other) => {
                    // SAFETY: nobody else has seen it.
                    drop(unsafe { Box::from_raw(new) });
                    other
                }
            };
            // SAFETY: leaked, by this thread or by one of this process that was faster.
            unsafe { &*found }
        }
    }
}

impl Setting {
    fn team(&self) -> Option<Arc<kernels_team>> {
        let threads = self.threads();
        let mut place = home().team.lock().unwrap_or_else(PoisonError::into_inner);
        let stale = match &*place {
            Some(team) if team.threads() == threads => return Some(Arc::clone(team)),
            _ => place.take(),
        };
        match kernels_team::new(threads) {
            Ok(team) => *place = Some(Arc::new(team)),
            Err(_) => {
                say(format_args!("{threads} threads can't be started; products are computed by their caller alone"));
                THREADS.store(1, Ordering::Relaxed);
            }
        }
        let team = place.clone();
        drop(place);
        // Its workers end here, or where the last call that uses them does.
        drop(stale);
        team
    }
}

impl Par for Setting {
    #[inline]
    fn threads(&self) -> usize {
        match THREADS.load(Ordering::Relaxed) {
            0 => read(),
            threads => threads,
        }
    }

    fn run(&self, jobs: usize, job: &(dyn Fn(usize) + Sync)) {
        match self.team() {
            Some(team) => team.run(jobs, job),
            None => Serial.run(jobs, job),
        }
    }
}

/// The number of threads that the value of the variable asks for, 0 for all cores, or what is wrong with it.
fn asked(value: &OsStr) -> Result<usize, String> {
    let text = value.to_string_lossy();
    let number = text.trim().parse().map(count);
    number.map_err(|_| format!("{VARIABLE} is \"{text}\", which is no number of threads: one is used"))
}

/// Reads the variable; one thread where it is not set.
#[cold]
fn read() -> usize {
    let threads = std::env::var_os(VARIABLE).map_or(Ok(1), |value| asked(&value)).unwrap_or_else(|why| {
        say(format_args!("{why}"));
        1
    });
    // Not over a number that was set meanwhile.
    match THREADS.compare_exchange(0, threads, Ordering::Relaxed, Ordering::Relaxed) {
        Ok(_) => threads,
        Err(set) => set,
    }
}

/// A number of threads that can be had; 0 stands for all cores.
fn count(threads: usize) -> usize {
    let all = || std::thread::available_parallelism().map_or(1, |n| n.get());
    if threads == 0 { all() } else { threads }.min(MOST)
}

/// Sets how many threads compute a product that is large enough: 0 for as many as there are cores, at most 1024. Takes
/// the place of KERNELS_NUM_THREADS; without either, the caller computes alone. The results do not depend on it.
#[unsafe(no_mangle)]
pub extern "C" fn kernels_set_num_threads(threads: usize) {
    THREADS.store(count(threads), Ordering::Relaxed);
}

/// How many threads compute a product that is large enough.
#[unsafe(no_mangle)]
pub extern "C" fn kernels_get_num_threads() -> usize {
    Setting.threads()
}

/// Makes a team of threads, the caller included, for the field `team` of options: 0 for as many as there are cores, at
/// most 1024.
///
/// # Safety
/// `team` is null or can be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kernels_team_create(threads: usize, team: *mut *mut kernels_team) -> kernels_status {
    guard(|| {
        if team.is_null() {
            return Err(Failure::null("the place of the team"));
        }
        let threads = count(threads);
        let made = kernels_team::new(threads).map_err(|_| {
            Failure::new(kernels_status::KERNELS_INTERNAL, format!("{threads} threads can't be started"))
        })?;
        // SAFETY: the caller's promise.
        unsafe { *team = Box::into_raw(Box::new(made)) };
        Ok(())
    })
}

/// Ends a team, which no call uses any more. Null is ignored.
///
/// # Safety
/// It comes from kernels_team_create, and is not used again.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kernels_team_destroy(team: *mut kernels_team) {
    guard(|| {
        if !team.is_null() {
            // SAFETY: the caller's promise.
            let team = unsafe { Box::from_raw(team) };
            if team.is_here() {
                drop(team);
            } else {
                // There are no threads to wait for.
                std::mem::forget(team);
            }
        }
        Ok(())
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_number_of_threads_is_said() {
        assert_eq!(["1", " 3 ", "9999"].map(|value| asked(value.as_ref())), [Ok(1), Ok(3), Ok(MOST)]);
        assert!(asked("0".as_ref()).is_ok_and(|all| all >= 1));
        for bad in ["", "-1", "two"] {
            assert!(asked(bad.as_ref()).unwrap_err().contains(&format!("is \"{bad}\", which is no number")));
        }
    }

    #[cfg(unix)]
    #[test]
    fn nor_is_what_is_not_even_text() {
        use std::os::unix::ffi::OsStrExt;
        let why = asked(OsStr::from_bytes(b"4\xff")).unwrap_err();
        assert_eq!(why, "KERNELS_NUM_THREADS is \"4\u{fffd}\", which is no number of threads: one is used");
    }
}
