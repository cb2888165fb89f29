//! Who takes part in a comparison.

use kernels::Backend;
use std::fmt;

/// One way to compute.
#[derive(Clone, Copy)]
pub enum Contender {
    /// A plain loop, for work that has but one order.
    NaiveLoop,
    /// Loops for matrix products in textbook order: the inner one runs along k.
    NaiveIjk,
    /// Loops for matrix products in the order that compilers vectorise: the inner one runs along a row of C.
    NaiveIkj,
    /// A row of the kernels' table.
    Row(&'static Backend),
}

impl Contender {
    /// Both kinds of naive loops, then every row that this CPU can run, best first.
    pub fn for_gemm() -> Vec<Self> {
        [Self::NaiveIjk, Self::NaiveIkj].into_iter().chain(Backend::supported().map(Self::Row)).collect()
    }

    /// The naive loop, then every row that this CPU can run, best first.
    pub fn for_activation() -> Vec<Self> {
        [Self::NaiveLoop].into_iter().chain(Backend::supported().map(Self::Row)).collect()
    }

    /// What people call it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::NaiveLoop => "naive loop",
            Self::NaiveIjk => "naive i-j-k",
            Self::NaiveIkj => "naive i-k-j",
            Self::Row(backend) => backend.name(),
        }
    }

    /// Whether it is a row of the kernels' table.
    pub fn is_row(&self) -> bool {
        matches!(self, Self::Row(_))
    }

    /// Whether the result must have the same bits as that of every other contender that says yes.
    pub fn bits_match(&self) -> bool {
        matches!(self, Self::Row(backend) if backend.bits_match())
    }
}

impl PartialEq for Contender {
    fn eq(&self, other: &Self) -> bool {
        self.name() == other.name()
    }
}

impl fmt::Display for Contender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}
