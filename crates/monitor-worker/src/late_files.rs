//! Files that came into a drop after it was read: they are kept for their producer, not deleted with the rest.
//!
//! A file that was written or moved there has a new change time. In a directory that was moved there only the directory itself
//! has one, so all files below a directory with a new change time count.

use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Path, PathBuf};

use durable_fs::{Dir, FileKind, Stat, durable};
use fleet::batch::MAX_DROP_DEPTH;
use tuf_core::sha256::{Sha256, Sha256Hasher};

use crate::done_name;
use crate::drop_dir::{DONE, DropDir, DropName};
use crate::file_work::FileWork;
use crate::read_mark::{ReadMark, TickPrint};
use crate::receipt::Receipt;
use crate::rejection::{self, RejectReason};

/// The files that were changed at a time or later.
#[derive(Default)]
struct RecentFiles {
    print: TickPrint,
    /// One of them, preferably one that was changed later.
    shown: Option<((i64, u32), PathBuf)>,
}

impl RecentFiles {
    /// Those below the open directory `dir`.
    fn below(dir: &dyn Dir, time: (i64, u32)) -> io::Result<Self> {
        let mut recent = Self::default();
        recent.add(dir, Path::new(""), 0, time, None)?;
        Ok(recent)
    }

    /// Adds those below `dir`. `moved` is the newest change of a directory above, if it is recent.
    fn add(
        &mut self,
        dir: &dyn Dir,
        below: &Path,
        depth: usize,
        time: (i64, u32),
        moved: Option<(i64, u32)>,
    ) -> io::Result<()> {
        for entry in dir.iter_entries()? {
            let entry = entry?;
            let path = below.join(&entry.name);
            if entry.kind == FileKind::Dir {
                if depth < MAX_DROP_DEPTH {
                    let inner = dir.open_dir(&entry.name)?;
                    let stat = inner.stat()?;
                    let changed = Some((stat.ctime, stat.ctime_nanos)).filter(|changed| *changed >= time);
                    self.add(inner.as_ref(), &path, depth + 1, time, moved.max(changed))?;
                } else {
                    // No drop that was read is nested more deeply.
                    self.note(path, (i64::MAX, 0), dir.stat_of(&entry.name)?);
                }
                continue;
            }
            // An NFS client gives an open file such a name when it is removed, which changes its time.
            if durable::is_nfs_remnant(&entry.name) {
                continue;
            }
            match dir.stat_of(&entry.name) {
                Ok(stat) => {
                    let changed = Some((stat.ctime, stat.ctime_nanos)).filter(|changed| *changed >= time);
                    if let Some(changed) = changed.max(moved) {
                        self.note(path, changed, stat);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn note(&mut self, path: PathBuf, changed: (i64, u32), stat: Stat) {
        let mut hasher = Sha256Hasher::new();
        for number in [stat.id.1, stat.len, stat.ctime.unsigned_abs(), u64::from(stat.ctime_nanos)] {
            hasher.update(&number.to_be_bytes());
        }
        hasher.update(path.as_os_str().as_encoded_bytes());
        // In any order: directories are listed in none.
        let print = hasher.finish().to_string();
        let print = print.get(..8).and_then(|digits| TickPrint::from_str_radix(digits, 16).ok()).unwrap_or(1);
        self.print = self.print.wrapping_add(print);
        if self.shown.as_ref().is_none_or(|(shown, _)| *shown < changed) {
            self.shown = Some((changed, path));
        }
    }

    /// One of the files, if they are not those of the mark, or more.
    fn late(self, mark: &ReadMark) -> Option<PathBuf> {
        let (changed, path) = self.shown?;
        let is_late = changed > mark.time || mark.tick.is_some_and(|tick| tick != self.print);
        is_late.then_some(path)
    }
}

impl FileWork {
    /// The mark of a drop that is read from now on, `time` by the clock of its mount. `newest` is the newest change of a file
    /// when it was listed: as a rule it is before `time`, and the drop is not looked at again.
    pub(crate) fn read_mark(&self, drop: &DropDir, time: (i64, u32), newest: Option<(i64, u32)>) -> ReadMark {
        if newest.is_none_or(|newest| newest < time) {
            return ReadMark { time, tick: Some(0) };
        }
        let dir = self.fs.open_dir(&self.settings.post.join(&drop.dir));
        let recent = dir.and_then(|dir| RecentFiles::below(dir.as_ref(), time));
        // If it cannot be read, no print matches, and a file of that tick is kept rather than deleted.
        ReadMark { time, tick: Some(recent.map_or(TickPrint::MAX, |recent| recent.print)) }
    }

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
        let Some((name, read)) = done_name::parse(dir) else { return Ok(Some(dir.to_owned())) };
        let (fs, post) = (&*self.fs, &self.settings.post);
        let path = post.join(dir);
        let Some(late) = RecentFiles::below(fs.open_dir(&path)?.as_ref(), read.time)?.late(&read) else {
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
