//! Open directories.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{self, AtFlags, CWD, FileType, Mode, OFlags};
use rustix::io::{Errno, retry_on_intr};

use super::handles::RealWrite;
use super::open::{DIRECTORY, NEW, READ, open_error, regular};
use super::stat::{kind_of, stat_of};
use crate::{Dir, DirEntries, DirEntry, ReadFile, Stat, WriteFile};

pub(super) struct RealDir(OwnedFd);

impl RealDir {
    /// Opens a directory without following a link in the last component.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        Self::open_at(CWD, path.as_os_str())
    }

    fn open_at(at: impl std::os::fd::AsFd, path: &OsStr) -> io::Result<Self> {
        Ok(Self(retry_on_intr(|| fs::openat(&at, path, DIRECTORY | OFlags::NOFOLLOW, Mode::empty()))?))
    }
}

/// `name`, if it is a single component that does not lead elsewhere.
fn single(name: &OsStr) -> io::Result<&OsStr> {
    match name.as_bytes() {
        b"" | b"." | b".." => Err(open_error(Errno::XDEV)),
        bytes if bytes.contains(&b'/') => Err(open_error(Errno::XDEV)),
        _ => Ok(name),
    }
}

/// Reads a directory a few kilobytes at a time.
struct RealEntries(fs::Dir);

impl RealEntries {
    /// `None` for an entry that is none.
    fn entry(&self, entry: &fs::DirEntry) -> io::Result<Option<DirEntry>> {
        let name = OsStr::from_bytes(entry.file_name().to_bytes());
        if name == "." || name == ".." {
            return Ok(None);
        }
        let kind = match entry.file_type() {
            // Not every file system reports the type here.
            FileType::Unknown => {
                let dir = self.0.fd()?;
                match retry_on_intr(|| fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW)) {
                    Ok(stat) => kind_of(FileType::from_raw_mode(stat.st_mode)),
                    // Removed since it was read.
                    Err(Errno::NOENT) => return Ok(None),
                    Err(error) => return Err(error.into()),
                }
            }
            known => kind_of(known),
        };
        Ok(Some(DirEntry { name: name.to_owned(), kind }))
    }
}

impl Iterator for RealEntries {
    type Item = io::Result<DirEntry>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let read = self.0.next()?.map_err(io::Error::from);
            if let Some(entry) = read.and_then(|entry| self.entry(&entry)).transpose() {
                return Some(entry);
            }
        }
    }
}

impl Dir for RealDir {
    fn stat(&self) -> io::Result<Stat> {
        Ok(stat_of(&retry_on_intr(|| fs::fstat(&self.0))?))
    }

    fn iter_entries(&self) -> io::Result<DirEntries> {
        Ok(Box::new(RealEntries(fs::Dir::read_from(&self.0)?)))
    }

    fn stat_of(&self, name: &OsStr) -> io::Result<Stat> {
        let name = single(name)?;
        Ok(stat_of(&retry_on_intr(|| fs::statat(&self.0, name, AtFlags::SYMLINK_NOFOLLOW))?))
    }

    fn open_dir(&self, name: &OsStr) -> io::Result<Box<dyn Dir>> {
        Ok(Box::new(Self::open_at(&self.0, single(name)?)?))
    }

    fn open_file(&self, name: &OsStr) -> io::Result<Box<dyn ReadFile>> {
        let name = single(name)?;
        regular(retry_on_intr(|| fs::openat(&self.0, name, READ, Mode::empty())).map_err(open_error)?)
    }

    fn create_file(&self, name: &OsStr, mode: u32) -> io::Result<Box<dyn WriteFile>> {
        let name = single(name)?;
        let fd = retry_on_intr(|| fs::openat(&self.0, name, NEW, Mode::from_raw_mode(mode)))?;
        Ok(Box::new(RealWrite(File::from(fd))))
    }

    fn create_dir(&self, name: &OsStr, mode: u32) -> io::Result<()> {
        let name = single(name)?;
        Ok(retry_on_intr(|| fs::mkdirat(&self.0, name, Mode::from_raw_mode(mode)))?)
    }

    fn rename_here(&self, from: &Path, name: &OsStr) -> io::Result<()> {
        let name = single(name)?;
        Ok(retry_on_intr(|| fs::renameat(CWD, from, &self.0, name))?)
    }

    fn remove_file(&self, name: &OsStr) -> io::Result<()> {
        let name = single(name)?;
        Ok(retry_on_intr(|| fs::unlinkat(&self.0, name, AtFlags::empty()))?)
    }

    fn remove_dir(&self, name: &OsStr) -> io::Result<()> {
        let name = single(name)?;
        Ok(retry_on_intr(|| fs::unlinkat(&self.0, name, AtFlags::REMOVEDIR))?)
    }

    fn sync(&self) -> io::Result<()> {
        Ok(retry_on_intr(|| fs::fsync(&self.0))?)
    }
}
