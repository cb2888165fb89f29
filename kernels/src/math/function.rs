//! The functions by name: what calls name, and the one place that leads from a name to its code.

use super::slices::{self, Activate, Backward, Unary};
use super::{erf, exp, expm1, gelu, ln, relu, sigmoid, silu, softplus, tanh};
use crate::simd::SimdF32;

/// A function that layers of a network apply: to slices ([`Backend::activate`](crate::Backend::activate)), or to the
/// elements of a product last ([`Gemm::activation`](crate::Gemm::activation)).
#[derive(Debug, Clone, Copy, PartialEq, Default)]
#[non_exhaustive]
pub enum Activation {
    /// x
    #[default]
    Identity,
    /// 0 where x < 0, else x: a NaN stays one.
    Relu,
    /// alpha x where x < 0, else x.
    LeakyRelu {
        /// The slope below 0.
        alpha: f32,
    },
    /// alpha (e^x - 1) where x <= 0, else x.
    Elu {
        /// Minus the limit at -Inf.
        alpha: f32,
    },
    /// tanh x
    Tanh,
    /// 1 / (1 + e^-x)
    Sigmoid,
    /// x Phi(x) = x (1 + erf(x / sqrt 2)) / 2
    Gelu,
    /// x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2
    GeluTanh,
    /// x / (1 + e^-x), also called swish.
    Silu,
    /// ln(1 + e^x)
    Softplus,
    /// x tanh(ln(1 + e^x))
    Mish,
    /// 0 where x <= -3, x where x >= 3, else x (x + 3) / 6.
    HardSwish,
}

/// What an activation's derivative is computed from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Saved {
    /// x
    Input,
    /// f(x)
    Output,
}

/// A function of one float: for [`Backend::map`](crate::Backend::map).
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum Function {
    /// e^x; 0 at -Inf. Subnormal results are kept.
    Exp,
    /// 2^x
    Exp2,
    /// e^x - 1
    Expm1,
    /// The natural logarithm: -Inf at 0, NaN below.
    Ln,
    /// ln(1 + x): -Inf at -1, NaN below.
    Log1p,
    /// The error function, 2 / sqrt(pi) times the integral of e^(-t^2) from 0 to x.
    Erf,
    /// Any of the activations.
    Activation(Activation),
}

impl From<Activation> for Function {
    fn from(f: Activation) -> Self {
        Self::Activation(f)
    }
}

/// What is to be done with the code of some function.
pub(crate) trait Visitor {
    fn visit<F: Unary>(self, f: F);
}

/// What is to be done with the code of some activation.
pub(crate) trait ActivationVisitor {
    fn visit_activation<F: Activate>(self, f: F);
}

impl<V: Visitor> ActivationVisitor for V {
    fn visit_activation<F: Activate>(self, f: F) {
        self.visit(f);
    }
}

impl Activation {
    pub(crate) fn visit(self, v: impl ActivationVisitor) {
        match self {
            Self::Identity => v.visit_activation(relu::Identity),
            Self::Relu => v.visit_activation(relu::Relu),
            Self::LeakyRelu { alpha } => v.visit_activation(relu::LeakyRelu(alpha)),
            Self::Elu { alpha } => v.visit_activation(relu::Elu(alpha)),
            Self::Tanh => v.visit_activation(tanh::Tanh),
            Self::Sigmoid => v.visit_activation(sigmoid::Sigmoid),
            Self::Gelu => v.visit_activation(gelu::Gelu),
            Self::GeluTanh => v.visit_activation(gelu::GeluTanh),
            Self::Silu => v.visit_activation(silu::Silu),
            Self::Softplus => v.visit_activation(softplus::Softplus),
            Self::Mish => v.visit_activation(silu::Mish),
            Self::HardSwish => v.visit_activation(relu::HardSwish),
        }
    }

    /// All of them, with the usual parameters.
    pub const ALL: [Self; 12] = [
        Self::Identity,
        Self::Relu,
        Self::LeakyRelu { alpha: 0.01 },
        Self::Elu { alpha: 1.0 },
        Self::Tanh,
        Self::Sigmoid,
        Self::Gelu,
        Self::GeluTanh,
        Self::Silu,
        Self::Softplus,
        Self::Mish,
        Self::HardSwish,
    ];

    /// What [`Backend::activation_backward`](crate::Backend::activation_backward) computes the derivative from: the
    /// output for identity, ReLU, tanh and sigmoid, the input for the others.
    #[must_use]
    pub const fn saved(self) -> Saved {
        match self {
            Self::Identity | Self::Relu | Self::Tanh | Self::Sigmoid => Saved::Output,
            _ => Saved::Input,
        }
    }
}

impl Function {
    /// All of them, with the usual parameters.
    pub const ALL: [Self; 6 + Activation::ALL.len()] = {
        let mut all = [Self::Exp; 6 + Activation::ALL.len()];
        (all[1], all[2], all[3], all[4], all[5]) = (Self::Exp2, Self::Expm1, Self::Ln, Self::Log1p, Self::Erf);
        let mut i = 0;
        while i < Activation::ALL.len() {
            all[6 + i] = Self::Activation(Activation::ALL[i]);
            i += 1;
        }
        all
    };

    /// Its name, in small letters.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Exp => "exp",
            Self::Exp2 => "exp2",
            Self::Expm1 => "expm1",
            Self::Ln => "ln",
            Self::Log1p => "log1p",
            Self::Erf => "erf",
            Self::Activation(f) => match f {
                Activation::Identity => "identity",
                Activation::Relu => "relu",
                Activation::LeakyRelu { .. } => "leaky-relu",
                Activation::Elu { .. } => "elu",
                Activation::Tanh => "tanh",
                Activation::Sigmoid => "sigmoid",
                Activation::Gelu => "gelu",
                Activation::GeluTanh => "gelu-tanh",
                Activation::Silu => "silu",
                Activation::Softplus => "softplus",
                Activation::Mish => "mish",
                Activation::HardSwish => "hard-swish",
            },
        }
    }

    /// The largest error that it claims, in ULPs as [`reference::ulps`](crate::reference::ulps) counts them, on the
    /// rows whose bits match.
    #[must_use]
    pub const fn bound(self) -> f64 {
        match self {
            Self::Activation(Activation::Identity | Activation::Relu) => 0.0,
            Self::Activation(Activation::LeakyRelu { .. }) => 0.5,
            Self::Activation(Activation::Tanh | Activation::Sigmoid) => 1.0,
            Self::Activation(_) => 2.0,
            _ => 1.0,
        }
    }

    /// The same on the row `plain`, where products that a fused operation keeps are rounded.
    #[must_use]
    pub const fn plain_bound(self) -> f64 {
        match self {
            Self::Activation(Activation::LeakyRelu { .. }) => 0.5,
            Self::Activation(Activation::Identity | Activation::Relu) => 0.0,
            Self::Activation(Activation::GeluTanh) => 64.0,
            f => f.bound() + 1.0,
        }
    }

    fn visit(self, v: impl Visitor) {
        match self {
            Self::Exp => v.visit(exp::Exp),
            Self::Exp2 => v.visit(exp::Exp2),
            Self::Expm1 => v.visit(expm1::Expm1),
            Self::Ln => v.visit(ln::Ln),
            Self::Log1p => v.visit(ln::Log1p),
            Self::Erf => v.visit(erf::Erf),
            Self::Activation(f) => f.visit(v),
        }
    }
}

/// Applies `f` to `len` elements of `x`; the results go to `y`, which may be `x`.
///
/// # Safety
/// The row that `S` belongs to is supported by this CPU; the elements of `x` are readable, those of `y` writable.
pub(crate) unsafe fn map<S: SimdF32>(f: Function, x: *const f32, y: *mut f32, len: usize) {
    struct Map<S>(S, *const f32, *mut f32, usize);
    impl<S: SimdF32> Visitor for Map<S> {
        fn visit<F: Unary>(self, f: F) {
            let Self(_, x, y, len) = self;
            // SAFETY: the promise of the caller of `map`.
            unsafe { slices::each::<S::Wide, F, 1, 1>(&f, [x], [y], len) }
        }
    }
    // SAFETY: the caller's promise.
    f.visit(Map(unsafe { S::assume() }, x, y, len));
}

/// Multiplies the gradient `dy` by the derivative of `f`, from what was saved of the forward pass.
///
/// # Safety
/// The row that `S` belongs to is supported by this CPU; the lengths are equal.
pub(super) unsafe fn backward<S: SimdF32>(f: Activation, saved: &[f32], dy: &mut [f32]) {
    struct Back<'a, S>(S, &'a [f32], &'a mut [f32]);
    impl<S: SimdF32> ActivationVisitor for Back<'_, S> {
        fn visit_activation<F: Activate>(self, f: F) {
            let Self(_, saved, dy) = self;
            let y = dy.as_mut_ptr();
            let (x, y) = ([saved.as_ptr(), y.cast_const()], [y]);
            // SAFETY: the promise of the caller of `backward`.
            unsafe { slices::each::<S::Wide, Backward<F>, 2, 1>(&Backward(f), x, y, saved.len()) }
        }
    }
    // SAFETY: the caller's promise.
    f.visit(Back(unsafe { S::assume() }, saved, dy));
}
