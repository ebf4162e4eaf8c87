//! Numbered names that were skipped, because their files are not valid.

use std::collections::BTreeMap;

use tuf_core::store::{FileName, FileStat, Store, StoreError};

/// Skipped names, each with the state of its file at that time.
///
/// A reader continues above the skipped names and never reads them again. So it must notice when one of them holds another
/// file: an operator may remove a squatter's file, and another writer may then use the number.
#[derive(Debug, Default)]
pub(crate) struct SkippedNames(BTreeMap<u64, (FileName, Option<FileStat>)>);

impl SkippedNames {
    /// Adds a name. Take `stat` before reading the file, so that no later change is missed.
    pub(crate) fn insert(&mut self, number: u64, name: FileName, stat: Option<FileStat>) {
        self.0.insert(number, (name, stat));
    }

    /// Forgets the names up to `number`: a later file of such a name is not valid any more.
    pub(crate) fn settle(&mut self, number: u64) {
        self.0.retain(|skipped, _| *skipped > number);
    }

    /// Whether one of the files has changed or is gone.
    ///
    /// # Errors
    /// As [`Store::stat`].
    pub(crate) fn changed(&self, store: &dyn Store) -> Result<bool, StoreError> {
        for (name, stat) in self.0.values() {
            if store.stat(name)? != *stat {
                return Ok(true);
            }
        }
        Ok(false)
    }
}
