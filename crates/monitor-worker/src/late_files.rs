//! Files that were written to a drop after it was read: they are kept for their producer, not deleted with the rest.

use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Path, PathBuf};

use durable_fs::{Dir, FileKind, durable};
use fleet::batch::MAX_DROP_DEPTH;
use tuf_core::sha256::Sha256;

use crate::done_name;
use crate::drop_dir::{DONE, DropName};
use crate::file_work::FileWork;
use crate::receipt::Receipt;
use crate::rejection::{self, RejectReason};

impl FileWork {
    /// Keeps those of the published directories `done` to which something was written after they were read, and returns the
    /// durable names under which the others may be removed.
    ///
    /// # Errors
    /// The drop directory cannot be synced; nothing may be removed then.
    pub(crate) fn without_late_files(&self, done: &[OsString]) -> io::Result<Vec<OsString>> {
        let mut removable = Vec::with_capacity(done.len());
        for dir in done {
            match self.keep_if_late(dir) {
                Ok(name) => removable.extend(name),
                Err(error) => tracing::warn!(?dir, %error, "published directory not removed; trying again later"),
            }
        }
        if removable.iter().any(|name| !done.contains(name)) {
            // A power cut must not bring a half removed directory back under the name that has it looked at.
            self.fs.sync_dir(&self.settings.post)?;
        }
        Ok(removable)
    }

    /// Keeps the published directory `dir` as `tuf_late_X`, with the reason in it, if a file of it was written after it was
    /// read. Otherwise returns the name under which it may be removed: a removal that is interrupted changes the times of hard
    /// links, so that the directory must not be looked at again.
    ///
    /// # Errors
    /// The error from the file system; nothing may be removed then.
    fn keep_if_late(&self, dir: &OsStr) -> io::Result<Option<OsString>> {
        let Some((name, read_at)) = done_name::parse(dir) else { return Ok(Some(dir.to_owned())) };
        let (fs, post) = (&*self.fs, &self.settings.post);
        let path = post.join(dir);
        let Some(late) = written_after(fs.open_dir(&path)?.as_ref(), Path::new(""), 0, read_at)? else {
            let number = self.memory().next_number();
            let removing = OsString::from(removing_name(&name, &self.settings.instance, number));
            return match durable::rename_dir(fs, &path, &post.join(&removing)) {
                Ok(true) => Ok(Some(removing)),
                // Taken by an earlier removal: the next time another number is tried.
                Ok(false) => Ok(None),
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
                Err(error) => Err(error),
            };
        };
        let reason = RejectReason::WrittenLate { path: late.to_string_lossy().into_owned() };
        tracing::warn!(drop.name = %name, %reason, "late file kept");
        if let Err(error) =
            rejection::write_reason(fs, post, &path, &Receipt::rejected(&name, None, &reason, self.now()))
        {
            tracing::warn!(drop.name = %name, %error, "REASON.json not written");
        }
        rejection::rename_to_late(fs, post, &path, &name)?;
        Ok(None)
    }
}

/// The name of a published directory that is being removed. The instance is a host's name and may be long, so it stands there
/// as a number: with the longest drop name it still fits a file name.
fn removing_name(name: &DropName, instance: &str, number: u64) -> String {
    let instance = Sha256::of(instance.as_bytes()).to_string();
    format!("{DONE}{name}.{}-{number}", instance.get(..8).unwrap_or_default())
}

/// A file below the open directory `dir`, at `below` in the drop, whose last change is after `time`.
fn written_after(dir: &dyn Dir, below: &Path, depth: usize, time: (i64, u32)) -> io::Result<Option<PathBuf>> {
    for entry in dir.entries()? {
        let path = below.join(&entry.name);
        if entry.kind == FileKind::Dir {
            // No drop that was read is nested more deeply.
            if depth >= MAX_DROP_DEPTH {
                return Ok(Some(path));
            }
            if let Some(late) = written_after(dir.open_dir(&entry.name)?.as_ref(), &path, depth + 1, time)? {
                return Ok(Some(late));
            }
            continue;
        }
        // An NFS client gives an open file such a name when it is removed, which changes its time.
        if durable::is_nfs_remnant(&entry.name) {
            continue;
        }
        match dir.stat_of(&entry.name) {
            Ok(stat) if (stat.ctime, stat.ctime_nanos) > time => return Ok(Some(path)),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use crate::drop_dir::MAX_NAME_BYTES;

    #[test]
    fn the_longest_drop_name_and_a_long_host_name_fit_a_file_name() {
        let name = DropName::new(&"x".repeat(MAX_NAME_BYTES)).unwrap();
        let removing = removing_name(&name, &"h".repeat(253), u64::MAX);
        assert!(removing.len() <= 255, "{}", removing.len());
        assert_eq!(done_name::parse(OsStr::new(&removing)), None, "it is being removed");
    }
}
