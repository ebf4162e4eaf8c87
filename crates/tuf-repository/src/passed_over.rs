//! Numbered names that were passed over because the file under them is not what it should be.

use std::collections::BTreeMap;

use tuf_core::store::{FileName, FileStat, Store, StoreError};

/// Names passed over, as they were then. Whoever looks for the next number looks above them and never at them again, so it
/// has to notice when one of them holds something else: a squatter's file may be cleared away and its number be used.
#[derive(Debug, Default)]
pub(crate) struct PassedOver(BTreeMap<u64, (FileName, Option<FileStat>)>);

impl PassedOver {
    /// Passes a name over. `stat` was taken before the file was read, so that no later change is missed.
    pub(crate) fn note(&mut self, number: u64, name: FileName, stat: Option<FileStat>) {
        self.0.insert(number, (name, stat));
    }

    /// Nothing up to this number can become what is looked for any more.
    pub(crate) fn settle(&mut self, number: u64) {
        self.0.retain(|passed, _| *passed > number);
    }

    /// Whether any of them is another file than it was, or gone.
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
