//! Numbered names that were skipped, because their files are not valid.

use std::collections::BTreeMap;

use crate::named_file::NamedFile;
use tuf_core::store::{FileName, FileStat, Store, StoreError};

/// The state of a skipped name.
#[derive(Debug)]
enum SkippedFile {
    /// A file, or none.
    Stat(Option<FileStat>),
    /// Something that cannot be read, and whose state does not show when that changes.
    Unreadable,
}

/// Skipped names, each with the state of its file at that time.
///
/// A reader continues above the skipped names and never reads them again. So it must notice when one of them holds another
/// file: an operator may remove a squatter's file, and another writer may then use the number.
#[derive(Debug, Default)]
pub(crate) struct SkippedNames(BTreeMap<u64, (FileName, SkippedFile)>);

impl SkippedNames {
    /// Adds a name. Take `stat` before reading the file, so that no later change is missed.
    pub(crate) fn insert(&mut self, number: u64, name: FileName, stat: Option<FileStat>) {
        self.0.insert(number, (name, SkippedFile::Stat(stat)));
    }

    /// Adds a name that cannot be read, for the reason `error`.
    pub(crate) fn insert_unusable(&mut self, number: u64, name: FileName, stat: Option<FileStat>, error: &StoreError) {
        let file = match error {
            StoreError::TooLarge { .. } => SkippedFile::Stat(stat),
            _ => SkippedFile::Unreadable,
        };
        self.0.insert(number, (name, file));
    }

    /// Forgets the names up to `number`: a later file of such a name is not valid any more.
    pub(crate) fn settle(&mut self, number: u64) {
        self.0.retain(|skipped, _| *skipped > number);
    }

    /// The first number from `number` on that was not skipped.
    pub(crate) fn next_free(&self, number: u64) -> u64 {
        let mut free = number;
        while self.0.contains_key(&free) {
            free += 1;
        }
        free
    }

    /// Takes out the names above `number`.
    pub(crate) fn take_above(&mut self, number: u64) -> Vec<(u64, FileName)> {
        let above = self.0.split_off(&number.saturating_add(1));
        above.into_iter().map(|(number, (name, _))| (number, name)).collect()
    }

    /// The lowest of these names and `next` that is up to `number` and cannot be read, with the reason. `next` is the next name
    /// to read with its number: a listing leaves out what is no file.
    ///
    /// # Errors
    /// A fault of the store.
    pub(crate) fn unreadable_up_to(
        &self,
        store: &dyn Store,
        (next, next_name): (u64, FileName),
        number: u64,
    ) -> Result<Option<(FileName, StoreError)>, StoreError> {
        let unreadable = |(_, file): &&(FileName, SkippedFile)| matches!(file, SkippedFile::Unreadable);
        let skipped = self.0.range(..=number).map(|(_, skipped)| skipped).filter(unreadable).map(|(name, _)| name);
        for name in skipped.chain((next <= number).then_some(&next_name)) {
            if let NamedFile::Unusable(reason) = NamedFile::read(store, name, 0)?
                && !matches!(reason, StoreError::TooLarge { .. })
            {
                return Ok(Some((name.clone(), reason)));
            }
        }
        Ok(None)
    }

    /// Whether one of the files has changed or is gone.
    ///
    /// # Errors
    /// As [`Store::stat`].
    pub(crate) fn changed(&self, store: &dyn Store) -> Result<bool, StoreError> {
        for (name, file) in self.0.values() {
            let changed = match file {
                SkippedFile::Stat(stat) => store.stat(name)? != *stat,
                SkippedFile::Unreadable => match store.open(name) {
                    Ok(_) => true,
                    Err(error) if error.is_of_the_file() => false,
                    Err(error) => return Err(error),
                },
            };
            if changed {
                return Ok(true);
            }
        }
        Ok(false)
    }
}
