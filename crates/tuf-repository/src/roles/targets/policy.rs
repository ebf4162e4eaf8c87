//! The configuration of the targets role.

use tuf_core::bins::BinLayout;

use crate::roles::lifetime::Lifetime;

/// How targets are distributed over roles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// All in `targets`.
    Flat,
    /// `targets → bins → bin_LO-HI`.
    Bins(BinLayout),
}

/// The configuration of the targets role.
#[derive(Clone, Copy, Debug)]
pub struct TargetsPolicy {
    /// Layout of a new repository. An existing repository keeps its own.
    pub layout: Layout,
    /// Lifetime of `targets` and `bins`.
    pub targets: Lifetime,
    /// Lifetime of each bin.
    pub bins: Lifetime,
    /// Whether a commit is refused that adds a target beside which tough sorts another of the same role differently: see
    /// [`SortedApart`](super::SortedApart).
    pub portable_names: bool,
}
