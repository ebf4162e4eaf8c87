//! The operating system.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::{Component, Path};

use rustix::fs::{self, AtFlags, CWD, FileType, FlockOperation, Mode, OFlags, ResolveFlags, Timespec, Timestamps};
use rustix::io::{Errno, retry_on_intr};

use crate::{DirEntry, FileKind, Fs, LockGuard, ReadFile, Space, Stat, WriteFile};

/// The operating system's file system (Linux).
///
/// System calls that a signal interrupts are repeated. Files larger than memory are never read whole.
#[derive(Debug, Clone, Copy, Default)]
pub struct RealFs;

/// What files that are only read are opened with: never a link, never a wait for a FIFO's writer, never a terminal.
const READ: OFlags =
    OFlags::RDONLY.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC).union(OFlags::NONBLOCK).union(OFlags::NOCTTY);
const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::CLOEXEC).union(OFlags::DIRECTORY);

fn stat_of(stat: &fs::Stat) -> Stat {
    Stat {
        kind: kind_of(FileType::from_raw_mode(stat.st_mode)),
        len: u64::try_from(stat.st_size).unwrap_or(0),
        mode: stat.st_mode & 0o7777,
        uid: stat.st_uid,
        gid: stat.st_gid,
        // The widths of these fields differ between architectures.
        #[allow(clippy::useless_conversion, clippy::unnecessary_fallible_conversions)]
        nlink: u64::from(stat.st_nlink),
        id: (stat.st_dev, stat.st_ino),
        mtime: stat.st_mtime,
        mtime_nanos: u32::try_from(stat.st_mtime_nsec).unwrap_or(0),
    }
}

fn kind_of(kind: FileType) -> FileKind {
    match kind {
        FileType::RegularFile => FileKind::File,
        FileType::Directory => FileKind::Dir,
        FileType::Symlink => FileKind::Symlink,
        _ => FileKind::Other,
    }
}

fn not_regular(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, format!("not a regular file but {what}"))
}

/// Errors of opening that only mean "this is not a regular file".
fn open_error(error: Errno) -> io::Error {
    match error {
        Errno::LOOP => not_regular("a symbolic link, or below one"),
        Errno::NXIO | Errno::NODEV => not_regular("a socket, FIFO or device"),
        Errno::XDEV => io::Error::new(io::ErrorKind::InvalidInput, "the path leaves its directory"),
        other => other.into(),
    }
}

fn regular(fd: OwnedFd) -> io::Result<Box<dyn ReadFile>> {
    match kind_of(FileType::from_raw_mode(retry_on_intr(|| fs::fstat(&fd))?.st_mode)) {
        FileKind::File => Ok(Box::new(RealRead(File::from(fd)))),
        FileKind::Dir => Err(not_regular("a directory")),
        FileKind::Symlink => Err(not_regular("a symbolic link")),
        FileKind::Other => Err(not_regular("a socket, FIFO or device")),
    }
}

/// Follows a link in the last component: syncing, or asking for space, cannot be led astray.
fn open_dir(dir: &Path) -> io::Result<OwnedFd> {
    Ok(retry_on_intr(|| fs::open(dir, DIRECTORY, Mode::empty()))?)
}

/// Where the kernel has no `openat2`: every component by itself, none of them a link. `relative` holds no `..`.
fn open_component_wise(dir: &OwnedFd, relative: &Path) -> io::Result<OwnedFd> {
    let names: Vec<&OsStr> =
        relative.components().filter(|c| *c != Component::CurDir).map(Component::as_os_str).collect();
    let Some((last, parents)) = names.split_last() else {
        return Err(not_regular("a directory"));
    };
    let mut at: Option<OwnedFd> = None;
    for name in parents {
        let base = at.as_ref().unwrap_or(dir);
        let next = retry_on_intr(|| fs::openat(base, *name, DIRECTORY | OFlags::NOFOLLOW, Mode::empty()));
        // A link opened with O_DIRECTORY is ENOTDIR; say what it is, as openat2 does.
        at = Some(next.map_err(|error| match error {
            Errno::NOTDIR if is_link(base, name) => open_error(Errno::LOOP),
            other => open_error(other),
        })?);
    }
    let base = at.as_ref().unwrap_or(dir);
    retry_on_intr(|| fs::openat(base, *last, READ, Mode::empty())).map_err(open_error)
}

fn is_link(dir: &OwnedFd, name: &OsStr) -> bool {
    retry_on_intr(|| fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW))
        .is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Symlink)
}

impl Fs for RealFs {
    fn create_new(&self, path: &Path, mode: u32) -> io::Result<Box<dyn WriteFile>> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = retry_on_intr(|| fs::open(path, flags, Mode::from_raw_mode(mode)))?;
        Ok(Box::new(RealWrite(File::from(fd))))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn ReadFile>> {
        regular(retry_on_intr(|| fs::open(path, READ, Mode::empty())).map_err(open_error)?)
    }

    fn open_beneath(&self, dir: &Path, relative: &Path) -> io::Result<Box<dyn ReadFile>> {
        // The kernel would allow `..` that stays inside; nobody honest writes it.
        if !relative.components().all(|component| matches!(component, Component::Normal(_) | Component::CurDir)) {
            return Err(open_error(Errno::XDEV));
        }
        let dir = open_dir(dir)?;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        // The kernel answers EAGAIN when a rename elsewhere raced with the lookup.
        let mut tries = 0;
        let fd = loop {
            match fs::openat2(&dir, relative, READ, Mode::empty(), resolve) {
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) if tries < 16 => tries += 1,
                // Too old a kernel, or a container's filter that does not know the call.
                Err(Errno::NOSYS | Errno::PERM | Errno::AGAIN) => {
                    break open_component_wise(&dir, relative)?;
                }
                other => break other.map_err(open_error)?,
            }
        };
        regular(fd)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let dir = open_dir(dir)?;
        Ok(retry_on_intr(|| fs::fsync(&dir))?)
    }

    fn sync_all(&self, dir: &Path) -> io::Result<()> {
        let dir = open_dir(dir)?;
        Ok(retry_on_intr(|| fs::syncfs(&dir))?)
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        Ok(retry_on_intr(|| fs::linkat(CWD, from, CWD, to, AtFlags::empty()))?)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        Ok(retry_on_intr(|| fs::renameat(CWD, from, CWD, to))?)
    }

    fn create_dir(&self, path: &Path, mode: u32) -> io::Result<()> {
        Ok(retry_on_intr(|| fs::mkdirat(CWD, path, Mode::from_raw_mode(mode)))?)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        Ok(retry_on_intr(|| fs::unlinkat(CWD, path, AtFlags::empty()))?)
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        Ok(retry_on_intr(|| fs::unlinkat(CWD, path, AtFlags::REMOVEDIR))?)
    }

    fn read_dir(&self, dir: &Path) -> io::Result<Vec<DirEntry>> {
        let dir = retry_on_intr(|| fs::open(dir, DIRECTORY | OFlags::NOFOLLOW, Mode::empty()))?;
        let mut entries = Vec::new();
        for entry in fs::Dir::read_from(&dir)? {
            let entry = entry?;
            let name = OsStr::from_bytes(entry.file_name().to_bytes());
            if name == "." || name == ".." {
                continue;
            }
            let kind = match entry.file_type() {
                // Not every file system tells the type here.
                FileType::Unknown => {
                    match retry_on_intr(|| fs::statat(&dir, name, AtFlags::SYMLINK_NOFOLLOW)) {
                        Ok(stat) => kind_of(FileType::from_raw_mode(stat.st_mode)),
                        // Removed since.
                        Err(Errno::NOENT) => continue,
                        Err(error) => return Err(error.into()),
                    }
                }
                known => kind_of(known),
            };
            entries.push(DirEntry { name: name.to_owned(), kind });
        }
        Ok(entries)
    }

    fn stat(&self, path: &Path) -> io::Result<Stat> {
        Ok(stat_of(&retry_on_intr(|| fs::statat(CWD, path, AtFlags::SYMLINK_NOFOLLOW))?))
    }

    fn set_mtime(&self, path: &Path, seconds: i64) -> io::Result<()> {
        let times = Timestamps {
            last_access: Timespec { tv_sec: 0, tv_nsec: fs::UTIME_OMIT },
            last_modification: Timespec { tv_sec: seconds, tv_nsec: 0 },
        };
        Ok(retry_on_intr(|| fs::utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW))?)
    }

    fn space(&self, dir: &Path) -> io::Result<Space> {
        let dir = open_dir(dir)?;
        let stat = retry_on_intr(|| fs::fstatvfs(&dir))?;
        Ok(Space {
            bytes: stat.f_bavail.saturating_mul(stat.f_frsize),
            // File systems that make inodes as they go say 0 of 0.
            inodes: if stat.f_files == 0 { u64::MAX } else { stat.f_favail },
        })
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn LockGuard>> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let fd = retry_on_intr(|| fs::open(path, flags, Mode::from_raw_mode(0o660))).map_err(open_error)?;
        retry_on_intr(|| fs::flock(&fd, FlockOperation::LockExclusive))?;
        Ok(Box::new(RealLock(fd)))
    }
}

struct RealWrite(File);

impl Write for RealWrite {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl WriteFile for RealWrite {
    fn sync(&mut self) -> io::Result<()> {
        Ok(retry_on_intr(|| fs::fsync(&self.0))?)
    }
    fn write_first(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all_at(bytes, 0)
    }
}

struct RealRead(File);

impl Read for RealRead {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl ReadFile for RealRead {
    fn stat(&self) -> io::Result<Stat> {
        Ok(stat_of(&retry_on_intr(|| fs::fstat(self.0.as_fd()))?))
    }
}

/// Closing the descriptor releases the lock; the file stays, since removing it would let two processes lock two files.
struct RealLock(#[allow(dead_code, reason = "held for its drop")] OwnedFd);

impl LockGuard for RealLock {}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::durable;

    #[test]
    fn without_openat2_a_path_is_walked_with_the_same_answers() {
        let temp = tempfile::tempdir().unwrap();
        let at = |name: &str| temp.path().join(name);
        durable::create_dir_all(&RealFs, &at("a/b"), 0o755).unwrap();
        durable::create(&RealFs, &at("a/b/f"), b"x", 0o644).unwrap();
        symlink("b", at("a/link")).unwrap();
        symlink("f", at("a/b/link")).unwrap();
        let dir = open_dir(temp.path()).unwrap();
        for path in ["a/b/f", "./a/./b/f", "a/link/f", "a/b/link", "a/b", "a/b/none", "a/b/f/x", "none/f", "."] {
            let walked = open_component_wise(&dir, Path::new(path)).and_then(regular).map(drop);
            let opened = RealFs.open_beneath(temp.path(), Path::new(path)).map(drop);
            assert_eq!(walked.map_err(|error| error.to_string()), opened.map_err(|error| error.to_string()), "{path}");
        }
    }

    #[test]
    fn opening_a_device_or_a_socket_is_refused_without_touching_it() {
        let temp = tempfile::tempdir().unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(temp.path().join("s")).unwrap();
        for path in [&temp.path().join("s"), Path::new("/dev/null"), Path::new("/dev/tty")] {
            let error = RealFs.open(path).map(drop).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{error}");
        }
    }

    #[test]
    fn space_is_told_in_bytes_and_inodes() {
        let space = RealFs.space(Path::new("/")).unwrap();
        assert!(space.bytes > 0 && space.inodes > 0);
    }
}
