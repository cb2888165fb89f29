//! Status codes, the message of the last error of a thread, and the barrier that no panic crosses.

use kernels::{Activation, Backend, Error, Function};
use std::any::Any;
use std::cell::RefCell;
use std::ffi::{CStr, CString, c_char};
use std::fmt;
use std::io::{self, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// What a call returns. All but KERNELS_OK, KERNELS_BUFFER and KERNELS_INTERNAL mean that nothing has been written.
#[repr(i32)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum kernels_status {
    /// Done.
    KERNELS_OK = 0,
    /// A pointer is null where something is to be read or written.
    KERNELS_NULL = 1,
    /// An option, a function or a parameter that this library does not know.
    KERNELS_OPTION = 2,
    /// Matrices or vectors whose sizes do not go together.
    KERNELS_SHAPE = 3,
    /// Strides by which elements of C overlap, a size that overflows or exceeds the memory, or a pointer that is not
    /// aligned.
    KERNELS_LAYOUT = 4,
    /// A matrix that lies otherwise than the plan of the call was made for.
    KERNELS_PLAN = 5,
    /// A matrix packed for the other side, or for another instruction set.
    KERNELS_PACKED = 6,
    /// An instruction set that this CPU lacks.
    KERNELS_ISA = 7,
    /// A buffer that is too small; it holds the start of the text.
    KERNELS_BUFFER = 8,
    /// A fault of the library, or a thread that could not be started. C may have been written.
    KERNELS_INTERNAL = 9,
}

use kernels_status::*;

/// A function of one number: of arrays, and for those up to KERNELS_HARD_SWISH, of the elements of a product.
#[repr(i32)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum kernels_function {
    /// x
    KERNELS_IDENTITY = 0,
    /// 0 where x < 0, else x
    KERNELS_RELU = 1,
    /// parameter x where x < 0, else x
    KERNELS_LEAKY_RELU = 2,
    /// parameter (e^x - 1) where x <= 0, else x
    KERNELS_ELU = 3,
    /// tanh x
    KERNELS_TANH = 4,
    /// 1 / (1 + e^-x)
    KERNELS_SIGMOID = 5,
    /// x (1 + erf(x / sqrt 2)) / 2
    KERNELS_GELU = 6,
    /// x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2
    KERNELS_GELU_TANH = 7,
    /// x / (1 + e^-x)
    KERNELS_SILU = 8,
    /// ln(1 + e^x)
    KERNELS_SOFTPLUS = 9,
    /// x tanh(ln(1 + e^x))
    KERNELS_MISH = 10,
    /// 0 where x <= -3, x where x >= 3, else x (x + 3) / 6
    KERNELS_HARD_SWISH = 11,
    /// e^x
    KERNELS_EXP = 64,
    /// 2^x
    KERNELS_EXP2 = 65,
    /// e^x - 1
    KERNELS_EXPM1 = 66,
    /// The natural logarithm
    KERNELS_LN = 67,
    /// ln(1 + x)
    KERNELS_LOG1P = 68,
    /// The error function
    KERNELS_ERF = 69,
}

/// The activation of this number.
pub(crate) fn activation(function: i32, parameter: f32) -> Result<Activation, Failure> {
    match self::function(function, parameter)? {
        Function::Activation(f) => Ok(f),
        f => Err(Failure::new(KERNELS_OPTION, format!("{} is no activation", f.name()))),
    }
}

/// The function of this number.
pub(crate) fn function(function: i32, parameter: f32) -> Result<Function, Failure> {
    Ok(Function::Activation(match function {
        0 => Activation::Identity,
        1 => Activation::Relu,
        2 => Activation::LeakyRelu { alpha: parameter },
        3 => Activation::Elu { alpha: parameter },
        4 => Activation::Tanh,
        5 => Activation::Sigmoid,
        6 => Activation::Gelu,
        7 => Activation::GeluTanh,
        8 => Activation::Silu,
        9 => Activation::Softplus,
        10 => Activation::Mish,
        11 => Activation::HardSwish,
        64 => return Ok(Function::Exp),
        65 => return Ok(Function::Exp2),
        66 => return Ok(Function::Expm1),
        67 => return Ok(Function::Ln),
        68 => return Ok(Function::Log1p),
        69 => return Ok(Function::Erf),
        _ => return Err(Failure::new(KERNELS_OPTION, format!("there is no function {function}"))),
    }))
}

/// Why a call was refused.
pub(crate) struct Failure {
    status: kernels_status,
    message: String,
}

impl Failure {
    pub(crate) fn new(status: kernels_status, message: impl Into<String>) -> Self {
        Self { status, message: message.into() }
    }
    pub(crate) fn null(what: &str) -> Self {
        Self::new(KERNELS_NULL, format!("{what} is a null pointer"))
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let status = match error {
            Error::Shape { .. } | Error::Length { .. } | Error::Label { .. } => KERNELS_SHAPE,
            Error::OutOfBounds { .. } | Error::Overlap { .. } | Error::Range { .. } => KERNELS_LAYOUT,
            Error::Memory { .. } => KERNELS_LAYOUT,
            Error::Activation { .. } => KERNELS_OPTION,
            Error::Plan { .. } => KERNELS_PLAN,
            Error::Packed { .. } => KERNELS_PACKED,
            Error::Isa { .. } => KERNELS_ISA,
            _ => KERNELS_OPTION,
        };
        Self::new(status, error.to_string())
    }
}

thread_local! {
    static MESSAGE: RefCell<CString> = RefCell::new(CString::default());
}

/// Runs the body of an exported function: an error becomes a status and this thread's message, and so does a panic.
pub(crate) fn guard(body: impl FnOnce() -> Result<(), Failure>) -> kernels_status {
    // What a panic leaves half done is memory of the caller, whose status says so.
    match catch_unwind(AssertUnwindSafe(body)) {
        Ok(Ok(())) => KERNELS_OK,
        Ok(Err(failure)) => told(failure),
        Err(panic) => told(panicked(&*panic)),
    }
}

// Apart from `guard`, as that is compiled into every function.

#[cold]
#[inline(never)]
fn panicked(panic: &(dyn Any + Send)) -> Failure {
    let why = panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
    Failure::new(KERNELS_INTERNAL, why.unwrap_or("a panic without a message"))
}

/// Keeps the message for this thread.
#[cold]
#[inline(never)]
fn told(Failure { status, message }: Failure) -> kernels_status {
    let message = CString::new(message.replace('\0', " ")).unwrap_or_default();
    // A thread that is ending has no message any more.
    let _ = MESSAGE.try_with(|place| place.replace(message));
    status
}

/// A line on standard error. Where that can't be written to, nobody is told, and the call goes on.
#[cold]
pub(crate) fn say(what: fmt::Arguments<'_>) {
    let _ = writeln!(io::stderr(), "kernels: {what}");
}

/// What was wrong with the last call of this thread that did not return KERNELS_OK, with the numbers: "" before there
/// was one. Valid until the next such call of this thread.
#[unsafe(no_mangle)]
pub extern "C" fn kernels_error_message() -> *const c_char {
    MESSAGE.try_with(|message| message.borrow().as_ptr()).unwrap_or(c"".as_ptr())
}

/// What a status means, in a few words; for any number.
#[unsafe(no_mangle)]
pub extern "C" fn kernels_status_name(status: i32) -> *const c_char {
    const NAMES: [&CStr; 10] = [
        c"done",
        c"null pointer",
        c"unknown option",
        c"sizes that do not go together",
        c"overlapping, overflowing or unaligned matrix",
        c"another layout than the plan's",
        c"packed for another side or instruction set",
        c"instruction set not available",
        c"buffer too small",
        c"internal error",
    ];
    usize::try_from(status).ok().and_then(|i| NAMES.get(i)).unwrap_or(&c"unknown status").as_ptr()
}

/// The version of the library, such as "0.1.0".
#[unsafe(no_mangle)]
pub extern "C" fn kernels_version() -> *const c_char {
    const VERSION: &CStr = match CStr::from_bytes_with_nul(concat!(env!("CARGO_PKG_VERSION"), "\0").as_bytes()) {
        Ok(version) => version,
        Err(_) => panic!("a version with a NUL"),
    };
    VERSION.as_ptr()
}

/// The instruction set in use, such as "avx2"; null, with a message, where KERNELS_ISA pins one that this CPU lacks.
#[unsafe(no_mangle)]
pub extern "C" fn kernels_isa_name() -> *const c_char {
    let mut name = std::ptr::null();
    guard(|| {
        let active = Backend::active()?.name();
        let names = [c"avx512", c"amx", c"avx2", c"neon", c"portable", c"plain"];
        let known = names.into_iter().find(|name| name.to_bytes() == active.as_bytes());
        name = known.unwrap_or(c"unknown").as_ptr();
        Ok(())
    });
    name
}
