//! Locks that a panic elsewhere does not take away.

use std::sync::{Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// Locking whether or not a thread panicked while it held the lock.
///
/// Only for data that a panic cannot leave half-changed: each change under these locks is a few infallible operations.
pub(crate) trait LockExt<T> {
    /// The guard of the mutex, poisoned or not.
    fn lock_unpoisoned(&self) -> MutexGuard<'_, T>;
}

impl<T> LockExt<T> for Mutex<T> {
    fn lock_unpoisoned(&self) -> MutexGuard<'_, T> {
        self.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// As [`LockExt`], for locks with readers and a writer.
pub(crate) trait RwLockExt<T> {
    /// The guard of a reader, poisoned or not.
    fn read_unpoisoned(&self) -> RwLockReadGuard<'_, T>;

    /// The guard of the writer, poisoned or not.
    fn write_unpoisoned(&self) -> RwLockWriteGuard<'_, T>;
}

impl<T> RwLockExt<T> for RwLock<T> {
    fn read_unpoisoned(&self) -> RwLockReadGuard<'_, T> {
        self.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_unpoisoned(&self) -> RwLockWriteGuard<'_, T> {
        self.write().unwrap_or_else(PoisonError::into_inner)
    }
}
