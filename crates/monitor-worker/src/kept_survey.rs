//! The survey of a drop that is held back, kept for as long as it is, so that it is not walked through in every cycle.

use std::sync::Arc;

use crate::staging::DirSize;

/// The survey of a drop that is held back.
///
/// It holds for one directory at one change time: a drop that is posted again, or whose top directory changes, is surveyed
/// again. A producer that writes below a posted drop breaks the contract of a drop, and may still make it smaller. So a drop of
/// few files is surveyed in every cycle, a large one every few minutes, and each before it is taken in.
#[derive(Clone, Debug)]
pub(crate) struct KeptSurvey {
    /// When it was made, Unix seconds.
    pub(crate) made: i64,
    /// The change time of its directory (seconds, nanoseconds).
    pub(crate) ctime: (i64, u32),
    pub(crate) size: DirSize,
    /// The newest change of a file in it.
    pub(crate) newest: Option<(i64, u32)>,
    /// The numbers of its paths, sorted. `None`: too many to be kept.
    pub(crate) paths: Option<Arc<[u64]>>,
}

/// Drops of up to so many files are surveyed in every cycle.
const FEW_FILES: u64 = 100;
/// For how long the survey of a larger drop is used, in seconds.
const USABLE_SECONDS: i64 = 300;

impl KeptSurvey {
    /// Whether the survey stands for one made at `now`, Unix seconds.
    pub(crate) fn is_usable(&self, now: i64) -> bool {
        self.size.files > FEW_FILES && (0..USABLE_SECONDS).contains(&now.saturating_sub(self.made))
    }
}
