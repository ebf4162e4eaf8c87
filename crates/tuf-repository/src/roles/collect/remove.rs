//! Deletes files. No work depends on a deletion, so a failure is only logged.

use tuf_core::store::{FileName, Store};

/// Removes files and returns their number; 0 after a failure, which is logged.
pub(super) fn remove(store: &dyn Store, names: &[FileName]) -> u64 {
    if names.is_empty() {
        return 0;
    }
    match store.remove(names) {
        Ok(()) => names.len() as u64,
        Err(error) => {
            tracing::warn!(%error, "retention could not remove files");
            0
        }
    }
}

/// Removes temporary files of killed processes, and returns their number.
pub(super) fn remove_stale(store: &dyn Store, dir: &str, before: i64) -> u64 {
    store.remove_stale(dir, before).unwrap_or_else(|error| {
        tracing::warn!(%error, "retention could not remove temporary files");
        0
    })
}
