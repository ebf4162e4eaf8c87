//! Trusted metadata, and the state that a client keeps between runs.

use std::collections::BTreeMap;

use crate::names::RoleName;

/// The files that a client last trusted, to be kept between runs. They are verified again when they are loaded.
///
/// [`StateDirectory`](super::StateDirectory) keeps the same files in a directory.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TrustedState {
    /// The root file.
    pub root: Vec<u8>,
    /// The timestamp file.
    pub timestamp: Option<Vec<u8>>,
    /// The snapshot file.
    pub snapshot: Option<Vec<u8>>,
    /// The files of the targets roles that were needed, the top-level one included.
    pub roles: BTreeMap<RoleName, Vec<u8>>,
}

/// Metadata with the file it was read from.
#[derive(Debug)]
pub(super) struct Trusted<M> {
    pub(super) metadata: M,
    pub(super) file: Vec<u8>,
}
