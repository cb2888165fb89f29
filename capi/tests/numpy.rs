//! NumPy with the library preloaded computes the bits of the Rust call. Run by `ci/capi`, as it needs a NumPy that is
//! linked with the system's BLAS: `KERNELS_PYTHON=/usr/bin/python3 cargo test -p capi --test numpy -- --ignored`.

#![cfg(feature = "blas")]

use kernels::{Element, Gemm, MatMut, MatRef};
use std::path::Path;
use std::process::Command;

const SCRIPT: &str = r"
import sys, numpy as np
dtype, m, k, n = sys.argv[1], *map(int, sys.argv[2:5])
data = np.fromfile(sys.argv[5], dtype)
a, b = data[: m * k].reshape(m, k), data[m * k :].reshape(k, n)
products = [
    a @ b,
    np.asfortranarray(a) @ np.asfortranarray(b),
    (b.T @ a.T).T,
    np.stack([a @ np.ascontiguousarray(b[:, j]) for j in range(n)], axis=1),
    a[: m // 2] @ b,
]
np.concatenate([p.ravel() for p in products]).tofile(sys.argv[6])
";

#[test]
#[ignore = "needs a NumPy that is linked with the system's BLAS"]
fn numpy_with_the_library_preloaded_has_the_bits_of_rust() {
    let python = std::env::var("KERNELS_PYTHON").expect("KERNELS_PYTHON should name a Python with NumPy");
    let library = std::env::current_exe().unwrap().with_file_name("libkernels_c.so");
    assert!(library.exists(), "{} is not built", library.display());
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    for (m, k, n) in [(3, 5, 3), (8, 8, 8), (33, 300, 47), (120, 777, 65)] {
        check::<f32>(&python, &library, folder, "f4", (m, k, n), |bytes| f32::from_le_bytes(bytes.try_into().unwrap()));
        check::<f64>(&python, &library, folder, "f8", (m, k, n), |bytes| f64::from_le_bytes(bytes.try_into().unwrap()));
    }
}

fn check<T: Element + std::fmt::Debug>(
    python: &str, library: &Path, folder: &Path, dtype: &str, (m, k, n): (usize, usize, usize), read: fn(&[u8]) -> T,
) {
    let size = size_of::<T>();
    // Any 24 bits are a number in either type, by way of f32 or f64 arithmetic that is exact.
    let mut state = 1_u32;
    let mut bytes = Vec::new();
    for _ in 0..m * k + k * n {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let x = f64::from(state >> 8) / f64::from(1 << 23) - 1.0;
        if size == 4 { bytes.extend((x as f32).to_le_bytes()) } else { bytes.extend(x.to_le_bytes()) }
    }
    let (input, output) = (folder.join("numpy-in"), folder.join("numpy-out"));
    std::fs::write(&input, &bytes).unwrap();
    let run = Command::new(python)
        .env("LD_PRELOAD", library)
        .args(["-c", SCRIPT, dtype, &m.to_string(), &k.to_string(), &n.to_string()])
        .args([&input, &output])
        .output()
        .unwrap();
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    let values: Vec<T> = bytes.chunks(size).map(read).collect();
    let mut c = vec![T::ZERO; m * n];
    let (a, b) = values.split_at(m * k);
    let (a, b) = (MatRef::new(a, m, k).unwrap(), MatRef::new(b, k, n).unwrap());
    Gemm::new().run(a, b, MatMut::new(&mut c, m, n).unwrap()).unwrap();
    let found: Vec<T> = std::fs::read(&output).unwrap().chunks(size).map(read).collect();
    let want: Vec<T> = [&c, &c, &c, &c, &c[..m / 2 * n]].into_iter().flatten().copied().collect();
    assert_eq!(found.len(), want.len());
    // Equal numbers here have equal bits: there is no 0 and no NaN among them.
    let wrong = found.iter().zip(&want).position(|(x, y)| x != y);
    let product = wrong.map(|at| at / (m * n));
    assert_eq!(product, None, "{dtype} {m}x{k}x{n}: another product than Rust's; is NumPy linked with libblas.so.3?");
}
