//! Names with numbers far above the next one.

use tuf_core::store::{FileName, Store, StoreError};

use crate::notices::Notices;
use crate::numbered::MAX_SQUATTED_NAMES;

/// Names with numbers far above the next one, whose files do not verify. They never move the next number.
#[derive(Debug, Default)]
pub(crate) struct FarNames {
    /// The lowest of them.
    first: Option<(FileName, &'static str)>,
}

impl FarNames {
    /// Whether a number is too far above the newest verified one to be reached by stepping over names.
    pub(crate) fn is_far(number: u64, verified: u64) -> bool {
        number.saturating_sub(verified) > MAX_SQUATTED_NAMES
    }

    /// Notes the names found by a listing, by number: with their kind, such as `snapshot`.
    pub(crate) fn found(&mut self, kind: &'static str, mut names: Vec<(u64, FileName)>, notices: &mut Notices) {
        names.sort_unstable();
        let count = names.len();
        self.first = names.into_iter().next().map(|(_, name)| (name, kind));
        match &self.first {
            None => notices.clear(kind),
            Some((first, _)) => {
                let more = if count > 1 { format!(" and {} more", count - 1) } else { String::new() };
                let text = format!(
                    "{first}{more}: not a valid {kind}, and its number is far above the newest one; ignored. Find out who \
                     made the file, and remove it"
                );
                notices.set(kind, text);
            }
        }
    }

    /// Whether the lowest name is gone, so that the directory is to be listed again.
    ///
    /// # Errors
    /// As [`Store::stat`].
    pub(crate) fn changed(&self, store: &dyn Store) -> Result<bool, StoreError> {
        match &self.first {
            Some((name, _)) => Ok(store.stat(name)?.is_none()),
            None => Ok(false),
        }
    }
}
