//! On which CPU a thread wakes up: not on that of the thread that wakes it, which has work to do.
//!
//! Linux looks for a CPU that is idle. In a virtual machine on x86 it sees none: one that the host has put to sleep
//! looks as if the host had taken it away (`available_idle_cpu` and `vcpu_is_preempted` in the kernel's scheduler). A
//! thread then wakes up where it is woken, and both share a CPU until the loads are balanced again, which takes longer
//! than most calls. So there, and only there, that CPU is closed to the thread for as long as waking takes.

use std::sync::atomic::{AtomicUsize, Ordering};

/// A thread that others wake.
#[derive(Default)]
pub(crate) struct Sleeper {
    /// Its number; 0 as long as nobody knows it.
    thread: AtomicUsize,
}

impl Sleeper {
    /// The calling thread is the one.
    pub(crate) fn is_me(&self) {
        self.thread.store(system::thread().unwrap_or(0), Ordering::Relaxed);
    }

    /// Calls `wake`, which wakes the thread; it wakes up on another CPU than the caller's, if it may run on one.
    pub(crate) fn wake(&self, wake: impl FnOnce()) {
        let thread = self.thread.load(Ordering::Relaxed);
        let before = if thread == 0 { None } else { system::leave(thread) };
        wake();
        if let Some(mask) = before {
            system::allow(thread, &mask);
        }
    }
}

#[cfg(all(target_os = "linux", target_arch = "x86_64", not(miri)))]
mod system {
    use crate::cpu::cpuid;
    use crate::linux::call;

    const BITS: usize = usize::BITS as usize;
    /// CPUs, a bit each; where there are more, the kernel refuses it.
    pub(super) type Mask = [usize; 1024 / BITS];

    /// The number of the calling thread, in a virtual machine.
    pub(super) fn thread() -> Option<usize> {
        const HYPERVISOR: u32 = 1 << 31;
        const GETTID: usize = 186;
        // SAFETY: the call has no arguments.
        (cpuid(1, 0)[2] & HYPERVISOR != 0).then(|| unsafe { call(GETTID, [0; 3]) }.cast_unsigned())
    }

    /// The CPU of the calling thread.
    pub(super) fn cpu() -> Option<usize> {
        const GETCPU: usize = 309;
        let mut cpu = 0_u32;
        // SAFETY: the call writes a u32 at the first address, and nothing where it is 0.
        let result = unsafe { call(GETCPU, [(&raw mut cpu).expose_provenance(), 0, 0]) };
        (result == 0).then_some(cpu as usize)
    }

    /// The CPUs on which a thread may run.
    pub(super) fn allowed(thread: usize) -> Option<Mask> {
        const GETAFFINITY: usize = 204;
        let mut mask = Mask::default();
        // SAFETY: the call writes at most the bytes that the mask has.
        let bytes = unsafe { call(GETAFFINITY, [thread, size_of::<Mask>(), mask.as_mut_ptr().expose_provenance()]) };
        (bytes > 0).then_some(mask)
    }

    /// Sets the CPUs on which a thread may run, if there are any among them.
    pub(super) fn allow(thread: usize, mask: &Mask) -> bool {
        const SETAFFINITY: usize = 203;
        // SAFETY: the call reads the bytes of the mask.
        unsafe { call(SETAFFINITY, [thread, size_of::<Mask>(), mask.as_ptr().expose_provenance()]) == 0 }
    }

    /// Closes the caller's CPU to a thread, and tells where it was allowed to run before, if there is another.
    pub(super) fn leave(thread: usize) -> Option<Mask> {
        let (before, cpu) = (allowed(thread)?, cpu()?);
        let mut mask = before;
        *mask.get_mut(cpu / BITS)? &= !(1 << (cpu % BITS));
        allow(thread, &mask).then_some(before)
    }
}

#[cfg(not(all(target_os = "linux", target_arch = "x86_64", not(miri))))]
mod system {
    pub(super) type Mask = ();

    pub(super) fn thread() -> Option<usize> {
        None
    }

    pub(super) fn allow(_: usize, (): &Mask) -> bool {
        false
    }

    pub(super) fn leave(_: usize) -> Option<Mask> {
        None
    }
}

#[cfg(all(test, target_os = "linux", target_arch = "x86_64", not(miri)))]
mod tests {
    use super::{Sleeper, system};
    use crate::cpu::cpuid;
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
    use std::{hint, thread};

    #[test]
    fn a_thread_wakes_up_elsewhere_and_may_run_where_it_could() {
        let cores = thread::available_parallelism().map_or(1, |n| n.get());
        let virtual_machine = cpuid(1, 0)[2] >> 31 == 1;
        assert_eq!(system::thread().is_some(), virtual_machine);
        if !virtual_machine || cores < 2 {
            return;
        }
        let (sleeper, cpu, done) = (Sleeper::default(), AtomicUsize::new(usize::MAX), AtomicBool::new(false));
        sleeper.wake(|| {});
        thread::scope(|scope| {
            scope.spawn(|| {
                sleeper.is_me();
                while !done.load(Ordering::Relaxed) {
                    cpu.store(system::cpu().unwrap(), Ordering::Relaxed);
                    hint::spin_loop();
                }
            });
            while cpu.load(Ordering::Relaxed) == usize::MAX {
                hint::spin_loop();
            }
            let thread = sleeper.thread.load(Ordering::Relaxed);
            let before = system::allowed(thread);
            let seen = [(); 20].map(|()| {
                let mut closed = (false, false);
                sleeper.wake(|| {
                    // The system may move this thread meanwhile.
                    let apart = || cpu.load(Ordering::Relaxed) != system::cpu().unwrap();
                    closed = (system::allowed(thread) != before, (0..1 << 20).any(|_| apart()));
                });
                (closed, system::allowed(thread) == before)
            });
            done.store(true, Ordering::Relaxed);
            assert_eq!(seen, [((true, true), true); 20]);
        });
    }
}
