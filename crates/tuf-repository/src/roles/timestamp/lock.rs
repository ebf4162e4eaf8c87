//! The lock of writers that replace what clients see.

use std::io::ErrorKind;
use std::time::Duration;

use durable_fs::LockGuard;
use tuf_core::store::{FileName, StoreError};

use super::names::TIMESTAMP_LOCK;
use super::role::TimestampRole;
use crate::roles::error::RoleError;

/// How long a swap waits for the lock. A swap takes milliseconds, or seconds on a slow mount without consistent snapshots.
const LOCK_WAIT: Duration = Duration::from_secs(2);

impl TimestampRole {
    /// Takes the lock, if it is to be had. The lock only saves work: every process that can open the file can hold it, even
    /// one that is frozen, so that the role notes it and goes on without.
    pub(in crate::roles) fn lock_served(&mut self) -> Result<Option<Box<dyn LockGuard>>, RoleError> {
        match self.repository.metadata.lock(&FileName::new(TIMESTAMP_LOCK)?, LOCK_WAIT) {
            Ok(guard) => {
                self.notices.clear(TIMESTAMP_LOCK);
                Ok(Some(guard))
            }
            Err(StoreError::Io { source, .. }) if source.kind() == ErrorKind::TimedOut => {
                let text = format!(
                    "another process has held the lock metadata/{TIMESTAMP_LOCK} for more than {} s, so the role works \
                     without it: find the process with `lslocks`, and end it",
                    LOCK_WAIT.as_secs()
                );
                self.notices.set(TIMESTAMP_LOCK, text);
                Ok(None)
            }
            // Some mounts have no locks.
            Err(error) => {
                tracing::debug!(%error, "working without a lock");
                Ok(None)
            }
        }
    }
}
