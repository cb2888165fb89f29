//! System calls of Linux on x86-64 for which `std` has no function.

/// Makes a system call; a negative result is an error.
///
/// # Safety
/// The call of this number writes nowhere but where its arguments say, to memory that is there.
pub(crate) unsafe fn call(number: usize, [a, b, c]: [usize; 3]) -> isize {
    let mut result = number.cast_signed();
    // SAFETY: the caller's promise; the instruction clobbers rcx and r11.
    unsafe {
        std::arch::asm!(
            "syscall",
            inout("rax") result,
            in("rdi") a,
            in("rsi") b,
            in("rdx") c,
            out("rcx") _,
            out("r11") _,
            options(nostack)
        );
    }
    result
}
