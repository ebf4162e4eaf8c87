//! How far a role has looked through the target files.

use std::collections::BTreeMap;

use tuf_core::names::RoleName;
use tuf_core::store::FileName;
use tuf_core::time::UtcTime;

/// How far a role has looked through the target files, in rounds over all directories.
#[derive(Debug, Default)]
pub(crate) struct SweepProgress {
    /// Start of the last round.
    pub(crate) started: Option<UtcTime>,
    /// Whether this is the first round of the process.
    pub(crate) first: bool,
    /// The remaining directories of this round.
    pub(crate) pending: Vec<String>,
    /// Names seen in this round.
    pub(crate) seen: usize,
    /// Old files with the role version that lists them, so that they are not looked up again until that version is below
    /// the horizon.
    pub(crate) listed_by: BTreeMap<FileName, (RoleName, u64)>,
}
