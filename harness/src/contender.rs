//! Who takes part in a comparison.

use kernels::{Backend, Precision};
use peers::Peer;
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
    /// The same order, over blocks that fit the first cache.
    NaiveBlocked,
    /// A row of the kernels' table.
    Row(&'static Backend),
    /// A row of the kernels' table, on so many threads.
    Team(&'static Backend, usize),
    /// A row of the kernels' table, in a precision that is not the default, on so many threads.
    Precise(&'static Backend, Precision, usize),
    /// Another library, on so many threads if it lets its caller choose.
    Peer(&'static dyn Peer, usize),
}

impl Contender {
    /// The ladder of naive loops, then every row that this CPU can run, best first.
    pub fn for_gemm() -> Vec<Self> {
        Self::LADDER.into_iter().chain(Backend::supported().map(Self::Row)).collect()
    }

    /// The naive loop, then every row that this CPU can run, best first.
    pub fn for_function() -> Vec<Self> {
        [Self::NaiveLoop].into_iter().chain(Backend::supported().map(Self::Row)).collect()
    }

    /// Naive loops for products, each a step ahead of the one before.
    pub const LADDER: [Self; 3] = [Self::NaiveIjk, Self::NaiveIkj, Self::NaiveBlocked];

    /// The row of the kernels' table, if it is one.
    pub fn backend(&self) -> Option<&'static Backend> {
        match self {
            Self::Row(backend) | Self::Team(backend, _) | Self::Precise(backend, ..) => Some(backend),
            _ => None,
        }
    }

    /// Whether it is a row of the kernels' table.
    pub fn is_row(&self) -> bool {
        self.backend().is_some()
    }

    /// How many threads it was given.
    pub fn threads(&self) -> usize {
        match *self {
            Self::Team(_, threads) | Self::Precise(_, _, threads) | Self::Peer(_, threads) => threads,
            _ => 1,
        }
    }

    /// In which precision it multiplies.
    pub fn precision(&self) -> Precision {
        if let Self::Precise(_, precision, _) = self { *precision } else { Precision::F32 }
    }

    /// Whether the result must have the same bits as that of every other contender that says yes.
    pub fn bits_match(&self) -> bool {
        self.precision() == Precision::F32 && self.backend().is_some_and(Backend::bits_match)
    }
}

impl PartialEq for Contender {
    fn eq(&self, other: &Self) -> bool {
        self.to_string() == other.to_string()
    }
}

impl fmt::Display for Contender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NaiveLoop => f.pad("naive loop"),
            Self::NaiveIjk => f.pad("naive i-j-k"),
            Self::NaiveIkj => f.pad("naive i-k-j"),
            Self::NaiveBlocked => f.pad("naive blocked"),
            Self::Row(backend) => f.pad(backend.name()),
            Self::Team(backend, threads) => f.pad(&format!("{} x{threads}", backend.name())),
            Self::Precise(backend, precision, 1) => f.pad(&format!("{} {precision}", backend.name())),
            Self::Precise(backend, precision, threads) => f.pad(&format!("{} {precision} x{threads}", backend.name())),
            Self::Peer(peer, _) => f.pad(peer.name()),
        }
    }
}
