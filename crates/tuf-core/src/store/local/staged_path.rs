//! A temporary file of a store that waits for its names.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use durable_fs::durable::WriteBatch;
use durable_fs::{Fs, WriteFile};

/// The temporary file behind a [`StagedStream`](crate::store::StagedStream) of a local store. Dropped before it has a
/// name, it is removed.
pub(super) struct StagedPath {
    pub(super) fs: Arc<dyn Fs>,
    pub(super) path: PathBuf,
    pub(super) file: Option<Box<dyn WriteFile>>,
    pub(super) batch: Arc<WriteBatch>,
    pub(super) named: bool,
    pub(super) open: Arc<AtomicUsize>,
}

impl Drop for StagedPath {
    fn drop(&mut self) {
        self.file = None;
        self.open.fetch_sub(1, Ordering::Relaxed);
        if self.named {
            // A remnant wastes space and nothing else, and `remove_stale` finds it.
            let _ = self.fs.remove_file(&self.path);
        }
    }
}
