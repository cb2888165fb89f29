//! What the benchmarks share. They pin nothing: `KERNELS_ISA` chooses the row of the kernels' table, or the CPU does.

#![forbid(unsafe_code)]

/// Numbers in [-1, 1) that look random and are the same every time.
pub fn numbers(len: usize) -> Vec<f32> {
    let mut state = 1u32;
    let next = || {
        // A linear congruential generator; its upper bits are good enough for inputs.
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 23) as f32 - 1.0
    };
    std::iter::repeat_with(next).take(len).collect()
}
