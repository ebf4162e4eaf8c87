//! The paths of drops that are held back: a younger drop with one of them waits too.
//!
//! *The later of two drops with one path wins*, so a drop never overtakes an older one that waits and shares a path with it.
//! The paths that wait are remembered as numbers of 8 bytes, in bounded space: a million-file drop takes 8 MB. If the paths of
//! a drop do not fit any more, nothing is lost and nothing else stops. Its directory still has them, and the drops of the next
//! batch, which are few enough to be compared, are held against it there (`sieve`): one walk over its names, and only drops
//! that share a path with it wait. That costs time, and only while more than the bound waits.
//!
//! Only a drop whose directory cannot be read holds back all younger ones: each of them may share a path with it, and if it
//! became readable after they were published, the older one would win. The exception is a drop that the monitor may not read.
//! Its producer has to change its permissions, which makes it the later one; and a producer could stop all others with it.

use std::collections::HashMap;
use std::sync::Arc;

use super::candidate::{Candidate, CandidatePaths};
use crate::drop_dir::{DropDir, DropName};

/// A drop with up to this many paths is small.
const SMALL: usize = 65_536;
/// The part of the bound that is for small drops: they are kept in one table, where a path takes four times the space.
const SMALL_PART: usize = 8;

/// The paths of drops that are held back. Each drop has its place among the drops of the cycle; a drop waits only for those
/// before it.
#[derive(Debug)]
pub(crate) struct HeldPaths {
    /// Which small drop has a path, as an index into `drops`; of several, the oldest.
    small: HashMap<u64, u32>,
    /// The sorted paths of each other drop.
    large: Vec<(u32, Arc<[u64]>)>,
    large_paths: usize,
    drops: Vec<HeldDrop>,
    /// Drops whose paths are too many to be remembered.
    unremembered: Vec<(usize, DropDir)>,
    /// The oldest drop whose paths are not known.
    unknown: Option<(usize, DropName)>,
    /// The most paths of large drops, and of small ones.
    most: (usize, usize),
}

/// A drop that is held back.
#[derive(Debug)]
struct HeldDrop {
    order: usize,
    name: DropName,
    id: (u64, u64),
}

/// An older drop for which a drop has to wait.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum OlderDrop {
    /// It has the path of this number too.
    SharesPath { older: DropName, older_id: (u64, u64), path: u64 },
    /// Its paths are not known, so any of them may be shared.
    Unknown { older: DropName },
}

impl HeldPaths {
    /// A table of at most `most` paths of large drops, and an eighth as many of small ones.
    pub(super) fn of_at_most(most: usize) -> Self {
        Self {
            small: HashMap::new(),
            large: Vec::new(),
            large_paths: 0,
            drops: Vec::new(),
            unremembered: Vec::new(),
            unknown: None,
            most: (most, most / SMALL_PART),
        }
    }

    /// Whether a drop with so many paths can be added within the bounds.
    pub(super) fn has_room_for(&self, paths: u64) -> bool {
        let (used, most) =
            if paths <= SMALL as u64 { (self.small.len(), self.most.1) } else { (self.large_paths, self.most.0) };
        paths.saturating_add(used as u64) <= most as u64
    }

    /// Adds the paths of a drop that is held back. Those of a batch are added whether or not there is room: the bounds of a
    /// batch bound them.
    pub(super) fn add(&mut self, candidate: &Candidate) {
        let (order, name) = (candidate.order, &candidate.drop.name);
        let paths = match &candidate.paths {
            CandidatePaths::Known(paths) => paths,
            CandidatePaths::LeftOut => {
                self.unremembered.push((order, candidate.drop.clone()));
                return;
            }
            CandidatePaths::Unknown => {
                if self.unknown.as_ref().is_none_or(|(oldest, _)| order < *oldest) {
                    self.unknown = Some((order, name.clone()));
                }
                return;
            }
        };
        let Ok(index) = u32::try_from(self.drops.len()) else { return };
        self.drops.push(HeldDrop { order, name: name.clone(), id: candidate.drop.id });
        if paths.len() > SMALL {
            self.large_paths += paths.len();
            self.large.push((index, Arc::clone(paths)));
            return;
        }
        for path in paths.iter() {
            let first = self.small.entry(*path).or_insert(index);
            if self.drops.get(*first as usize).is_some_and(|other| order < other.order) {
                *first = index;
            }
        }
    }

    /// The drops whose paths are not in the table, with their places.
    pub(super) fn unremembered(&self) -> &[(usize, DropDir)] {
        &self.unremembered
    }

    /// The older drop for which a drop has to wait.
    pub(super) fn older(&self, candidate: &Candidate) -> Option<OlderDrop> {
        let before = |index: u32| self.drops.get(index as usize).filter(|held| held.order < candidate.order);
        let shared = candidate.known_paths().iter().find_map(|path| {
            let in_large = || {
                let mut large = self.large.iter().filter(|(_, paths)| paths.binary_search(path).is_ok());
                large.find_map(|(index, _)| before(*index))
            };
            let held = self.small.get(path).and_then(|index| before(*index)).or_else(in_large)?;
            Some(OlderDrop::SharesPath { older: held.name.clone(), older_id: held.id, path: *path })
        });
        shared.or_else(|| {
            let (_, older) = self.unknown.as_ref().filter(|(order, _)| *order < candidate.order)?;
            Some(OlderDrop::Unknown { older: older.clone() })
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use crate::staging::DropSurvey;

    fn name(text: &str) -> DropName {
        DropName::new(text).unwrap()
    }

    fn candidate(order: usize, paths: impl IntoIterator<Item = u64>) -> Candidate {
        let (name, dir) = (name(&order.to_string()), "d".into());
        let drop = DropDir { name, dir, ctime: (1, 0), id: (1, 2), read: None, bad_name: None };
        let survey = DropSurvey { paths: Some(paths.into_iter().collect()), ..DropSurvey::default() };
        Candidate::new(drop, order, survey, 0)
    }

    fn shares(older: usize, path: u64) -> Option<OlderDrop> {
        Some(OlderDrop::SharesPath { older: name(&older.to_string()), older_id: (1, 2), path })
    }

    #[test]
    fn five_drops_of_a_million_paths_are_remembered_and_hold_back_only_those_that_share_one() {
        let mut held = HeldPaths::of_at_most(8 << 20);
        for drop in 0..5 {
            assert!(held.has_room_for(1_000_000));
            held.add(&candidate(drop as usize, drop * 1_000_000..(drop + 1) * 1_000_000));
        }
        assert_eq!(held.older(&candidate(9, [5_000_000])), None);
        assert_eq!(held.older(&candidate(9, [5_000_000, 3_999_999])), shares(3, 3_999_999));
        assert_eq!(held.older(&candidate(3, [3_999_999])), None, "no drop waits for itself");
        assert_eq!(held.older(&candidate(2, [3_999_999])), None, "nor for a younger one");
    }

    #[test]
    fn the_table_is_bounded_in_sum() {
        let mut held = HeldPaths::of_at_most(100_000);
        held.add(&candidate(1, 0..70_000));
        assert!(!held.has_room_for(70_000) && held.has_room_for(12_500));
        held.add(&candidate(2, 70_000..80_000));
        assert!(!held.has_room_for(12_500) && held.has_room_for(2_500));
        assert_eq!(held.older(&candidate(9, [90_000, 70_001])), shares(2, 70_001));
        // Too many: it is compared on disk, and no other drop waits for it here.
        held.add(&Candidate { paths: CandidatePaths::LeftOut, ..candidate(3, []) });
        assert_eq!((held.older(&candidate(9, [90_000])), held.unremembered().len()), (None, 1));
        held.add(&Candidate::unread(candidate(4, []).drop, 4, 0));
        assert_eq!(held.older(&candidate(9, [90_000])), Some(OlderDrop::Unknown { older: name("4") }));
        assert_eq!(held.older(&candidate(3, [90_000])), None, "an older one need not wait");
    }

    #[test]
    fn of_several_drops_with_a_path_the_oldest_counts_whenever_it_was_added() {
        let mut held = HeldPaths::of_at_most(100_000);
        for order in [5, 2, 7] {
            held.add(&candidate(order, [1]));
        }
        assert_eq!(held.older(&candidate(3, [1])), shares(2, 1));
        assert_eq!(held.older(&candidate(1, [1])), None);
    }
}
