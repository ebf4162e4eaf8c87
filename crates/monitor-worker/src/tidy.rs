//! The removal of directories and files that are out of use, off the path of a release.

use std::ffi::{OsStr, OsString};
use std::io;
use std::path::Path;
use std::time::Duration;

use durable_fs::{Dir, DirEntry, FileKind, Stat, durable};
use fleet::batch::{MAX_DROP_DEPTH, is_dir_name};

use crate::batch;
use crate::drop_dir::{self, DONE, DropListing, PROCESSING, RECEIPT};
use crate::file_work::FileWork;
use crate::inbound_dir::{STAGING_PREFIX, TRASH_PREFIX};

/// Seconds between two searches for files past their time.
const COLLECT_INTERVAL: i64 = 3600;
/// How many published directories are looked at before the first of them is removed.
const DONE_CHUNK: usize = 1024;

impl FileWork {
    /// Removes published directories, used batches and, hourly, files past their time.
    pub(crate) fn tidy(&self) -> io::Result<()> {
        let found = self.list()?;
        self.finish_directories(&found)?;
        self.discard_unneeded_batches()?;
        self.empty_trash()?;
        let now = self.clock.now().unix();
        let due = self.memory().last_collection.is_none_or(|last| now < last || now - last >= COLLECT_INTERVAL);
        if due {
            self.memory().last_collection = Some(now);
            self.collect_by_age()?;
        }
        Ok(())
    }

    /// Removes published directories, and finished rejections from the journal. Their new names must be durable first:
    /// otherwise a power cut could bring a directory back under its processing name, half empty or without its rejection.
    fn finish_directories(&self, found: &DropListing) -> io::Result<()> {
        let in_processing = |name: &str| found.processing.iter().any(|d| d.name.as_str() == name);
        let ended: Vec<_> = if found.leaves_processing_out() {
            // Some may still have a processing name.
            Vec::new()
        } else {
            self.memory().rejections.values().filter(|r| !in_processing(&r.name)).cloned().collect()
        };
        if found.done == 0 && ended.is_empty() {
            return Ok(());
        }
        self.fs.sync_dir(&self.settings.post)?;
        if found.done > 0 {
            self.remove_done()?;
        }
        for receipt in &ended {
            // A cycle that runs at the same time may have rejected the name again.
            let mut memory = self.memory();
            if memory.rejections.get(&receipt.name) == Some(receipt) {
                self.receipts.finish_rejection(&*self.fs, receipt)?;
                memory.rejections.remove(&receipt.name);
            }
        }
        Ok(())
    }

    /// Removes published directories, whose names are durable.
    fn remove_done(&self) -> io::Result<()> {
        let mut entries = self.fs.open_dir(&self.settings.post)?.iter_entries()?;
        loop {
            let mut done = Vec::new();
            for entry in entries.by_ref() {
                let entry = entry?;
                if entry.kind == FileKind::Dir && starts_with(&entry.name, DONE) {
                    done.push(entry.name);
                }
                if done.len() >= DONE_CHUNK {
                    break;
                }
            }
            if done.is_empty() {
                return Ok(());
            }
            for dir in self.without_late_files(&done)? {
                self.remove_quietly(&self.settings.post.join(dir));
            }
        }
    }

    /// Takes batches out of use if none of their drops is in processing: their cycle ended, or was interrupted at its end. A
    /// batch that any monitor works on has processing directories.
    fn discard_unneeded_batches(&self) -> io::Result<()> {
        for entry in self.fs.open_dir(&self.settings.inbound)?.iter_entries()? {
            let entry = entry?;
            if !is_dir_name(&entry.name) || self.is_in_flight(&entry.name) {
                continue;
            }
            let path = self.settings.inbound.join(&entry.name);
            let Some(described) = batch::read(&*self.fs, &path)? else {
                continue;
            };
            let mut needed = false;
            for drop in &described.drops {
                let dir = self.settings.post.join(format!("{PROCESSING}{}", drop.name));
                needed |= durable::stat_if_there(&*self.fs, &dir)?.is_some();
            }
            if !needed && !self.is_in_flight(&entry.name) {
                self.move_to_trash(&path)?;
            }
        }
        Ok(())
    }

    fn is_in_flight(&self, batch_dir: &OsStr) -> bool {
        self.memory().in_flight.as_deref().is_some_and(|dir| OsStr::new(dir) == batch_dir)
    }

    fn empty_trash(&self) -> io::Result<()> {
        let own = format!("{TRASH_PREFIX}{}_", self.settings.instance);
        let mut trash = Vec::new();
        for entry in self.fs.open_dir(&self.settings.inbound)?.iter_entries()? {
            let entry = entry?;
            if starts_with(&entry.name, &own) {
                trash.push(entry);
            }
        }
        if trash.is_empty() {
            return Ok(());
        }
        // The new name must be durable first: a batch must not come back under its old one with files missing.
        self.fs.sync_dir(&self.settings.inbound)?;
        for entry in trash {
            self.remove_quietly(&self.settings.inbound.join(&entry.name));
        }
        Ok(())
    }

    fn collect_by_age(&self) -> io::Result<()> {
        let settings = &self.settings;
        let now = self.now_on(&settings.inbound);
        for entry in self.fs.open_dir(&settings.inbound)?.iter_entries()? {
            let entry = entry?;
            let path = settings.inbound.join(&entry.name);
            let is_batch = is_dir_name(&entry.name);
            if durable::is_temp_name(&entry.name) && entry.kind == FileKind::File {
                self.remove_if_older(&path, settings.collect_after, now)?;
                continue;
            }
            let collectable =
                is_batch || starts_with(&entry.name, STAGING_PREFIX) || starts_with(&entry.name, TRASH_PREFIX);
            if !collectable || !self.is_older(&path, settings.collect_after, now)? {
                continue;
            }
            if is_batch && !self.is_in_flight(&entry.name) {
                self.move_to_trash(&path)?;
            } else if !is_batch {
                self.remove_quietly(&path);
            }
        }
        let now = self.now_on(&settings.post);
        if let Some(age) = settings.abandoned_after {
            self.remove_abandoned(age, now)?;
        }
        for entry in self.fs.open_dir(&settings.post)?.iter_entries()? {
            let DirEntry { name, kind } = entry?;
            // Temporary files may be unfinished receipts.
            let keep = match durable::is_temp_name(&name) {
                true => settings.collect_after,
                false if starts_with(&name, RECEIPT) => settings.keep_public_receipts,
                false => continue,
            };
            if kind == FileKind::File {
                self.remove_if_older(&settings.post.join(name), keep, now)?;
            }
        }
        let now = self.now_on(self.receipts.dir());
        for entry in self.fs.open_dir(self.receipts.dir())?.iter_entries()? {
            let entry = entry?;
            let keep =
                if durable::is_temp_name(&entry.name) { settings.collect_after } else { settings.keep_state_receipts };
            self.remove_if_older(&self.receipts.dir().join(&entry.name), keep, now)?;
        }
        Ok(())
    }

    /// Removes drops that a producer began and never finished. Anything in a drop that is younger than `age` keeps all of it.
    fn remove_abandoned(&self, age: Duration, now: i64) -> io::Result<()> {
        for entry in self.fs.open_dir(&self.settings.post)?.iter_entries()? {
            let entry = entry?;
            if entry.kind != FileKind::Dir || !drop_dir::is_unfinished(&entry.name, self.settings.any_case) {
                continue;
            }
            let path = self.settings.post.join(&entry.name);
            if !self.is_older(&path, age, now)? {
                continue;
            }
            match self.fs.open_dir(&path).and_then(|dir| all_older(dir.as_ref(), age, now, 0)) {
                Ok(true) => {}
                Ok(false) => continue,
                // Its producer is at work.
                Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                    continue;
                }
                Err(error) => return Err(error),
            }
            tracing::warn!(
                path = %path.display(),
                unchanged_s = age.as_secs(),
                "removing an abandoned drop (tuf_tmp_cleanup_after)"
            );
            // Renamed first, so that a producer that comes back does not find it half removed.
            let mut name = OsString::from(DONE);
            name.push(&entry.name);
            let away = self.settings.post.join(name);
            match durable::rename_dir(&*self.fs, &path, &away) {
                Ok(true) => {
                    self.fs.sync_dir(&self.settings.post)?;
                    self.remove_quietly(&away);
                }
                // An earlier one of that name is being removed, or the producer renamed it first.
                Ok(false) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => tracing::warn!(path = %path.display(), %error, "abandoned drop not removed"),
            }
        }
        Ok(())
    }

    fn remove_if_older(&self, path: &Path, age: Duration, now: i64) -> io::Result<()> {
        if self.is_older(path, age, now)? {
            durable::remove_file_if_there(&*self.fs, path)?;
        }
        Ok(())
    }

    /// The time by our clock or by that of the mount of `dir`, whichever is behind: if one of them were years ahead,
    /// everything would be past its time. A full mount gives no time, and has to be tidied all the same.
    fn now_on(&self, dir: &Path) -> i64 {
        let theirs = || -> io::Result<i64> {
            let mut file = durable::TempFile::new(&*self.fs, dir, 0o600)?;
            // Over NFS the time is the server's only once bytes have reached it.
            file.write_bytes(b"x")?;
            file.sync()?;
            Ok(self.fs.stat(file.path())?.mtime)
        };
        let ours = self.clock.now().unix();
        theirs().map_or(ours, |theirs| theirs.min(ours))
    }

    fn is_older(&self, path: &Path, age: Duration, now: i64) -> io::Result<bool> {
        Ok(durable::stat_if_there(&*self.fs, path)?.is_some_and(|stat| has_age(&stat, age, now)))
    }
}

/// By the time of the change: a copy keeps the modification times of its original while it is still being made.
fn has_age(stat: &Stat, age: Duration, now: i64) -> bool {
    now.saturating_sub(stat.ctime) > i64::try_from(age.as_secs()).unwrap_or(i64::MAX)
}

/// Whether everything in an open directory is older than `age`; `false` if it is nested too deeply to tell.
fn all_older(dir: &dyn Dir, age: Duration, now: i64, depth: usize) -> io::Result<bool> {
    if depth > MAX_DROP_DEPTH {
        return Ok(false);
    }
    for entry in dir.iter_entries()? {
        let DirEntry { name, kind } = entry?;
        if !has_age(&dir.stat_of(&name)?, age, now)
            || (kind == FileKind::Dir && !all_older(dir.open_dir(&name)?.as_ref(), age, now, depth + 1)?)
        {
            return Ok(false);
        }
    }
    Ok(true)
}

fn starts_with(name: &OsStr, prefix: &str) -> bool {
    name.as_encoded_bytes().starts_with(prefix.as_bytes())
}
