//! Files that are written together and made durable by one `syncfs`.
//!
//! An error of a write belongs to the process that wrote. The kernel reports it to descriptors that were open at the time;
//! so a batch begins, with a descriptor of each of its mounts, before the first write ([`SyncPoint`] has the rules). Only
//! where a mount does not report errors of files, each file is synced by itself before it is closed.
//!
//! After an error the pages are clean and lost: another `fsync` of the same bytes would succeed. So an error stays with
//! the batch, and every user of the batch discards the files that it wrote.

use std::collections::BTreeSet;
use std::fmt;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::lost_reply::retry_stale;
use super::path_error::context;
use crate::{Fs, SyncPoint, WriteFile};

/// The writes since a moment on the mounts of some directories. Several tasks may share one.
pub struct WriteBatch {
    mounts: Mutex<Mounts>,
    devices: BTreeSet<u64>,
    reports_files: bool,
}

struct Mounts {
    points: Vec<(PathBuf, Box<dyn SyncPoint>)>,
    failed: Option<ErrorKind>,
}

impl WriteBatch {
    /// Begins a batch on each mount that holds one of `dirs`. Call it before the first write.
    ///
    /// # Errors
    /// Any error of the file system.
    pub fn begin<'p>(fs: &dyn Fs, dirs: impl IntoIterator<Item = &'p Path>) -> io::Result<Self> {
        Self::begin_beside(fs, dirs, &[])
    }

    /// As [`WriteBatch::begin`], without the mounts of `others`, which began earlier and report the same errors.
    pub(super) fn begin_beside<'p>(
        fs: &dyn Fs,
        dirs: impl IntoIterator<Item = &'p Path>,
        others: &[Arc<Self>],
    ) -> io::Result<Self> {
        let (mut points, mut devices, mut reports_files) = (Vec::new(), BTreeSet::new(), true);
        for dir in dirs {
            // `dir/.` is the directory even where the last component is a link.
            let stat = retry_stale(|| fs.stat(&dir.join("."))).map_err(|error| context("stat", dir, error))?;
            let device = stat.id.0;
            if others.iter().any(|other| other.devices.contains(&device)) || !devices.insert(device) {
                continue;
            }
            let point = retry_stale(|| fs.begin_sync(dir)).map_err(|error| context("open", dir, error))?;
            reports_files &= point.reports_files();
            points.push((dir.to_path_buf(), point));
        }
        Ok(Self { mounts: Mutex::new(Mounts { points, failed: None }), devices, reports_files })
    }

    /// Whether [`WriteBatch::sync`] reports the failed write-back of each file. If not, [`WriteBatch::close`] syncs each file.
    #[must_use]
    pub fn reports_files(&self) -> bool {
        self.reports_files
    }

    /// Closes a file of the batch after its last write, and syncs it first where the mount would not report its errors.
    ///
    /// # Errors
    /// Any error of the file system: the file must be discarded.
    pub fn close(&self, mut file: Box<dyn WriteFile>) -> io::Result<()> {
        if self.reports_files { Ok(()) } else { file.sync() }
    }

    /// Makes everything on the mounts durable, names included, and reports every error of a write since the batch began.
    ///
    /// # Errors
    /// Any error of the file system, and the same one on every later call: all files of the batch must be discarded.
    pub fn sync(&self) -> io::Result<()> {
        let mut mounts = self.lock();
        if let Some(kind) = mounts.failed {
            return Err(io::Error::new(kind, "a write of the same batch failed before"));
        }
        let mut result = Ok(());
        for (dir, point) in &mut mounts.points {
            let synced = point.sync().map_err(|error| context("sync the file system of", dir, error));
            result = result.and(synced);
        }
        mounts.failed = result.as_ref().err().map(io::Error::kind);
        result
    }

    /// Whether a file that is yet to be written in `dir` can join the batch: it has not failed, and it watches that mount.
    #[must_use]
    pub fn covers(&self, fs: &dyn Fs, dir: &Path) -> bool {
        self.lock().failed.is_none()
            && retry_stale(|| fs.stat(&dir.join("."))).is_ok_and(|stat| self.devices.contains(&stat.id.0))
    }

    fn lock(&self) -> MutexGuard<'_, Mounts> {
        self.mounts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for WriteBatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WriteBatch").field("reports_files", &self.reports_files).finish_non_exhaustive()
    }
}
