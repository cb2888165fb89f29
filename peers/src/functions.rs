//! Other libraries' functions of slices: Intel's VML and SLEEF, loaded at run time where they are, crates, and plain
//! loops.

use libloading::Library;
use std::ffi::c_int;

type Map = dyn Fn(&[f32], &mut [f32]);

/// A library's way to compute `y[i] = f(x[i])`.
pub struct Mapper {
    /// The library, and its mode where it has several.
    pub name: &'static str,
    map: Box<Map>,
}

impl Mapper {
    fn new(name: &'static str, map: impl Fn(&[f32], &mut [f32]) + 'static) -> Self {
        Self { name, map: Box::new(map) }
    }

    /// Computes it.
    ///
    /// # Panics
    /// When the lengths differ.
    pub fn run(&self, x: &[f32], y: &mut [f32]) {
        assert_eq!(x.len(), y.len());
        (self.map)(x, y);
    }
}

/// All that are found and have this function: exp, ln, tanh, erf, sigmoid, gelu, silu or softmax (of the whole slice).
///
/// VML and SLEEF are looked for where the system finds libraries, such as in `LD_LIBRARY_PATH`.
#[must_use]
pub fn mappers(function: &str) -> Vec<Mapper> {
    let found = [scalar(function), rten(function), vml("VML HA", function, 2), vml("VML LA", function, 1)];
    found.into_iter().flatten().chain(sleef(function)).collect()
}

/// A loop of the standard library's function.
fn scalar(function: &str) -> Option<Mapper> {
    let f: fn(f32) -> f32 = match function {
        "exp" => f32::exp,
        "ln" => f32::ln,
        "tanh" => f32::tanh,
        "sigmoid" => |x| 1.0 / (1.0 + (-x).exp()),
        "silu" => |x| x / (1.0 + (-x).exp()),
        _ => return None,
    };
    Some(Mapper::new("plain loop", move |x, y| x.iter().zip(y).for_each(|(&x, y)| *y = f(x))))
}

#[cfg(not(feature = "rust-peers"))]
fn rten(_: &str) -> Option<Mapper> {
    None
}

#[cfg(feature = "rust-peers")]
fn rten(function: &str) -> Option<Mapper> {
    use rten_simd::{SimdOp, SimdUnaryOp};
    use rten_vecmath::{Erf, Exp, Gelu, Sigmoid, Silu, Softmax, Tanh};
    use std::mem::MaybeUninit;
    fn unary(op: impl SimdUnaryOp<f32> + 'static) -> Option<Mapper> {
        Some(Mapper::new("rten-vecmath", move |x, y| {
            op.map(x, uninit(y));
        }))
    }
    /// The form that the crate asks outputs for.
    fn uninit(y: &mut [f32]) -> &mut [MaybeUninit<f32>] {
        // SAFETY: the types have one layout, and the crate only ever writes floats.
        unsafe { &mut *(std::ptr::from_mut(y) as *mut [MaybeUninit<f32>]) }
    }
    match function {
        "exp" => unary(Exp {}),
        "tanh" => unary(Tanh {}),
        "erf" => unary(Erf {}),
        "sigmoid" => unary(Sigmoid {}),
        "gelu" => unary(Gelu {}),
        "silu" => unary(Silu {}),
        "softmax" => Some(Mapper::new("rten-vecmath", |x, y| {
            Softmax::new(x, uninit(y)).dispatch();
        })),
        _ => None,
    }
}

/// The first of these libraries that is found. It is never unloaded: its functions are used as long as the process
/// lives.
fn library(names: &[&str]) -> Option<&'static Library> {
    // SAFETY: initialisers run; those of the libraries named here are harmless.
    let found = names.iter().find_map(|&name| unsafe { Library::new(name) }.ok())?;
    Some(Box::leak(Box::new(found)))
}

/// Elements, input, output, mode.
type Vml = unsafe extern "C" fn(c_int, *const f32, *mut f32, i64);

/// Intel's vector mathematics, of MKL: mode 2 is its most exact (HA), 1 the usual one (LA).
fn vml(name: &'static str, function: &str, mode: i64) -> Option<Mapper> {
    let symbol = match function {
        "exp" => "vmsExp",
        "ln" => "vmsLn",
        "tanh" => "vmsTanh",
        "erf" => "vmsErf",
        _ => return None,
    };
    let library = library(&["libmkl_rt.so.3", "libmkl_rt.so.2", "libmkl_rt.so"])?;
    // SAFETY: MKL gives these names these types; 1 is the sequential layer.
    let f = unsafe {
        let layer: unsafe extern "C" fn(c_int) -> c_int = *library.get("MKL_Set_Threading_Layer").ok()?;
        layer(1);
        *library.get::<Vml>(symbol).ok()?
    };
    Some(Mapper::new(name, move |x, y| {
        let len = c_int::try_from(x.len()).expect("a slice that VML can count");
        // SAFETY: the lengths are equal.
        unsafe { f(len, x.as_ptr(), y.as_mut_ptr(), mode) }
    }))
}

#[cfg(not(target_arch = "x86_64"))]
fn sleef(_: &str) -> Option<Mapper> {
    None
}

/// SLEEF's functions of 1.0 ULP, on AVX2.
#[cfg(target_arch = "x86_64")]
fn sleef(function: &str) -> Option<Mapper> {
    use std::arch::x86_64::{__m256, _mm256_loadu_ps, _mm256_storeu_ps};
    #[allow(improper_ctypes_definitions, reason = "C has this type, too")]
    type Vector = unsafe extern "C" fn(__m256) -> __m256;

    /// Whole vectors, and the rest through a buffer.
    #[target_feature(enable = "avx2,fma")]
    fn map(f: Vector, x: &[f32], y: &mut [f32]) {
        let (x, x_rest) = x.as_chunks::<8>();
        let (y, y_rest) = y.as_chunks_mut::<8>();
        for (x, y) in x.iter().zip(y) {
            // SAFETY: both are vectors.
            unsafe { _mm256_storeu_ps(y.as_mut_ptr(), f(_mm256_loadu_ps(x.as_ptr()))) };
        }
        let mut rest = [0.0; 8];
        rest[..x_rest.len()].copy_from_slice(x_rest);
        // SAFETY: the buffer is a vector.
        unsafe { _mm256_storeu_ps(rest.as_mut_ptr(), f(_mm256_loadu_ps(rest.as_ptr()))) };
        y_rest.copy_from_slice(&rest[..y_rest.len()]);
    }

    let symbol = match function {
        "exp" => "Sleef_expf8_u10avx2",
        "ln" => "Sleef_logf8_u10avx2",
        "tanh" => "Sleef_tanhf8_u10avx2",
        "erf" => "Sleef_erff8_u10avx2",
        _ => return None,
    };
    if !is_x86_feature_detected!("avx2") || !is_x86_feature_detected!("fma") {
        return None;
    }
    let library = library(&["libsleef.so.3", "libsleef.so"])?;
    // SAFETY: SLEEF gives these names this type.
    let f = *unsafe { library.get::<Vector>(symbol) }.ok()?;
    // SAFETY: the CPU has the instructions.
    Some(Mapper::new("SLEEF u10", move |x, y| unsafe { map(f, x, y) }))
}
