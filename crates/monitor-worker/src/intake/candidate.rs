//! A drop that may join the next batch.

use std::sync::Arc;

use crate::drop_dir::DropDir;
use crate::kept_survey::KeptSurvey;
use crate::staging::{DirSize, DropSurvey};

/// The paths of a drop, as numbers.
#[derive(Clone, Debug)]
pub(super) enum CandidatePaths {
    /// All of them, sorted.
    Known(Arc<[u64]>),
    /// They were found, and are too many to be kept while the drop is held back.
    LeftOut,
    /// They could not be read, or are more than a drop may have.
    Unknown,
}

/// A drop with its survey.
#[derive(Clone, Debug)]
pub(super) struct Candidate {
    pub(super) drop: DropDir,
    pub(super) size: DirSize,
    pub(super) paths: CandidatePaths,
    /// The newest change of a file in it (seconds, nanoseconds).
    pub(super) newest: Option<(i64, u32)>,
    /// When it was surveyed, Unix seconds.
    pub(super) surveyed: i64,
    /// Its place among the drops of this cycle: the older, the smaller.
    pub(super) order: usize,
}

impl Candidate {
    /// A drop that was surveyed now.
    pub(super) fn new(drop: DropDir, order: usize, survey: DropSurvey, now: i64) -> Self {
        let paths = survey.paths.map_or(CandidatePaths::Unknown, CandidatePaths::Known);
        Self { drop, size: survey.size, paths, newest: survey.newest, surveyed: now, order }
    }

    /// A drop whose survey failed.
    pub(super) fn unread(drop: DropDir, order: usize, now: i64) -> Self {
        Self { drop, size: DirSize::default(), paths: CandidatePaths::Unknown, newest: None, surveyed: now, order }
    }

    /// The drop as it was surveyed when it was held back, if it is the same one.
    pub(super) fn kept(drop: &DropDir, order: usize, kept: &KeptSurvey) -> Option<Self> {
        let paths = kept.paths.clone().map_or(CandidatePaths::LeftOut, CandidatePaths::Known);
        let (size, newest, surveyed) = (kept.size, kept.newest, kept.made);
        (kept.ctime == drop.ctime).then(|| Self { drop: drop.clone(), size, paths, newest, surveyed, order })
    }

    /// Its survey, to be kept. `None` where it failed: it is tried again in the next cycle.
    pub(super) fn to_kept(&self) -> Option<KeptSurvey> {
        let paths = match &self.paths {
            CandidatePaths::Known(paths) => Some(Arc::clone(paths)),
            CandidatePaths::LeftOut => None,
            CandidatePaths::Unknown => return None,
        };
        Some(KeptSurvey { made: self.surveyed, ctime: self.drop.ctime, size: self.size, newest: self.newest, paths })
    }

    /// The numbers of its paths, as far as they are at hand.
    pub(super) fn known_paths(&self) -> &[u64] {
        match &self.paths {
            CandidatePaths::Known(paths) => paths,
            CandidatePaths::LeftOut | CandidatePaths::Unknown => &[],
        }
    }

    /// Whether its paths are not known.
    pub(super) fn is_unknown(&self) -> bool {
        matches!(self.paths, CandidatePaths::Unknown)
    }
}
