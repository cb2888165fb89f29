//! What no update by Adam can be faster than: its roots and quotients alone, and its reads and writes alone.

/// Runs `f`, compiled for the widest vectors that this CPU has.
fn widest<R>(f: impl FnOnce() -> R) -> R {
    #[cfg(target_arch = "x86_64")]
    {
        #[target_feature(enable = "avx512f")]
        fn avx512<R>(f: impl FnOnce() -> R) -> R {
            f()
        }
        #[target_feature(enable = "avx2")]
        fn avx2<R>(f: impl FnOnce() -> R) -> R {
            f()
        }
        if is_x86_feature_detected!("avx512f") {
            // SAFETY: the CPU has it.
            return unsafe { avx512(f) };
        }
        if is_x86_feature_detected!("avx2") {
            // SAFETY: the CPU has it.
            return unsafe { avx2(f) };
        }
    }
    f()
}

/// A root and a quotient for each element, which stays near 1/2 however often this is called.
pub fn roots_and_quotients(y: &mut [f32]) {
    widest(
        #[inline(always)]
        || {
            for y in y {
                *y = 1.0 / (y.sqrt() + 1.0);
            }
        },
    );
}

/// Reads a gradient, the parameters and their two moments, and writes all but the gradient.
///
/// # Panics
/// When the lengths differ.
pub fn traffic(g: &[f32], p: &mut [f32], m: &mut [f32], v: &mut [f32]) {
    assert!(g.len() == p.len() && g.len() == m.len() && g.len() == v.len());
    widest(
        #[inline(always)]
        || {
            for (((g, p), m), v) in g.iter().zip(p).zip(m).zip(v) {
                (*p, *m, *v) = (*p + g, *m - g, g - *v);
            }
        },
    );
}
