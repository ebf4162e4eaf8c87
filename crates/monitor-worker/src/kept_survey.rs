//! The survey of a drop that is held back, kept for as long as it is, so that it is not walked through in every cycle.

use std::sync::Arc;

use crate::staging::DirSize;

/// The survey of a drop that is held back.
///
/// It holds for one directory at one change time: a drop that is posted again, or whose top directory changes, is surveyed
/// again. A producer that writes below a posted drop breaks the contract of a drop; then the survey may be wrong for as long as
/// the drop is held back, but the drop is surveyed again before it is taken in.
#[derive(Clone, Debug)]
pub(crate) struct KeptSurvey {
    /// The change time of its directory (seconds, nanoseconds).
    pub(crate) ctime: (i64, u32),
    pub(crate) size: DirSize,
    /// The newest change of a file in it.
    pub(crate) newest: Option<(i64, u32)>,
    /// The numbers of its paths, sorted. `None`: too many to be kept.
    pub(crate) paths: Option<Arc<[u64]>>,
}
