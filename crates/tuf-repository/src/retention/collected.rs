//! The files that one call of retention deleted.

/// The files that one call deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Collected {
    /// Metadata files, hidden timestamps included.
    pub metadata: u64,
    /// Names of target files.
    pub targets: u64,
    /// Records and bases of the commit log.
    pub records: u64,
    /// Temporary files of killed processes.
    pub temporary: u64,
    /// Whether a limit was reached, so that the next call should follow immediately.
    pub more: bool,
}

impl Collected {
    /// Number of files deleted.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.metadata + self.targets + self.records + self.temporary
    }
}
