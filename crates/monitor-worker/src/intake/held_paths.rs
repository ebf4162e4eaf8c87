//! The paths of drops that are held back: a younger drop with one of them waits too.

use std::collections::HashMap;

use crate::drop_dir::DropName;
use crate::staging::PathNumbers;

/// Most paths that are remembered, of all drops together: about 100 MB. Beyond it every younger drop waits.
const MAX_PATHS: usize = 4 << 20;

/// The paths of drops that are held back.
#[derive(Debug, Default)]
pub(crate) struct HeldPaths {
    /// The numbers of all paths in this cycle.
    pub(super) numbers: PathNumbers,
    /// Which drop has a path, as an index into `drops`.
    paths: HashMap<u64, u32>,
    drops: Vec<DropName>,
    /// The first drop whose paths were too many to remember.
    overflow: Option<DropName>,
    most: Option<usize>,
}

/// An older drop for which a drop has to wait.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum OlderDrop {
    /// It has the path of this number too.
    SharesPath { older: DropName, path: u64 },
    /// Its paths were not remembered, so any of them may be shared.
    TooManyPaths { older: DropName },
}

impl HeldPaths {
    /// A table of at most `most` paths.
    #[cfg(test)]
    fn of_at_most(most: usize) -> Self {
        Self { most: Some(most), ..Self::default() }
    }

    /// Adds the paths of a drop that is held back.
    pub(super) fn add(&mut self, name: &DropName, paths: &[u64]) {
        if self.paths.len() + paths.len() > self.most.unwrap_or(MAX_PATHS) {
            self.overflow.get_or_insert_with(|| name.clone());
            return;
        }
        let Ok(index) = u32::try_from(self.drops.len()) else { return };
        self.drops.push(name.clone());
        for path in paths {
            // The oldest drop with a path goes first.
            self.paths.entry(*path).or_insert(index);
        }
    }

    /// The older drop for which the drop `name` with `paths` has to wait.
    pub(super) fn older(&self, name: &DropName, paths: &[u64]) -> Option<OlderDrop> {
        let shared = paths.iter().find_map(|path| {
            let older = self.drops.get(*self.paths.get(path)? as usize)?;
            (older != name).then(|| OlderDrop::SharesPath { older: older.clone(), path: *path })
        });
        shared.or_else(|| {
            let older = self.overflow.as_ref().filter(|older| *older != name)?;
            Some(OlderDrop::TooManyPaths { older: older.clone() })
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn the_table_is_bounded_in_sum_and_then_holds_back_rather_than_let_a_drop_overtake() {
        let name = |text: &str| DropName::new(text).unwrap();
        let mut held = HeldPaths::of_at_most(3);
        held.add(&name("one"), &[1, 2]);
        assert_eq!(held.older(&name("new"), &[3]), None);
        held.add(&name("two"), &[3, 4]);
        assert_eq!(held.paths.len(), 2);
        let shares = OlderDrop::SharesPath { older: name("one"), path: 2 };
        assert_eq!(held.older(&name("new"), &[9, 2]), Some(shares));
        assert_eq!(held.older(&name("new"), &[9]), Some(OlderDrop::TooManyPaths { older: name("two") }));
        assert_eq!(held.older(&name("two"), &[9]), None, "no drop waits for itself");
    }
}
