//! What a client trusts, and keeps between runs.

/// What a client keeps between runs: the files it last trusted. It is verified again when it is read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TrustedState {
    /// The root file.
    pub root: Vec<u8>,
    /// The timestamp file.
    pub timestamp: Option<Vec<u8>>,
    /// The snapshot file.
    pub snapshot: Option<Vec<u8>>,
}

/// Metadata with the file it was read from.
#[derive(Debug)]
pub(super) struct Trusted<M> {
    pub(super) metadata: M,
    pub(super) file: Vec<u8>,
}
