//! The operating system's file system.

use std::fs::File;
use std::io;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{self, AtFlags, CWD, FlockOperation, Mode, OFlags, Timespec, Timestamps};
use rustix::io::{Errno, retry_on_intr};

use super::dir::RealDir;
use super::handles::{RealLock, RealWrite};
use super::open::{self, NEW, READ, open_dir, open_error, regular};
use super::stat::stat_of;
use super::sync_point::RealSyncPoint;
use crate::{Dir, DirEntry, Fs, LockGuard, ReadFile, Space, Stat, SyncPoint, WriteFile};

/// The pauses between two tries to take a lock. Locks are held for milliseconds.
const FIRST_LOCK_PAUSE: Duration = Duration::from_millis(1);
const LONGEST_LOCK_PAUSE: Duration = Duration::from_millis(50);

/// The operating system's file system (Linux).
///
/// System calls that a signal interrupts are repeated. Files larger than memory are never read whole.
#[derive(Debug, Clone, Copy, Default)]
pub struct RealFs;

impl Fs for RealFs {
    fn create_new(&self, path: &Path, mode: u32) -> io::Result<Box<dyn WriteFile>> {
        let fd = retry_on_intr(|| fs::open(path, NEW, Mode::from_raw_mode(mode)))?;
        Ok(Box::new(RealWrite(File::from(fd))))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn ReadFile>> {
        regular(retry_on_intr(|| fs::open(path, READ, Mode::empty())).map_err(open_error)?)
    }

    fn open_beneath(&self, dir: &Path, relative: &Path) -> io::Result<Box<dyn ReadFile>> {
        open::open_beneath(dir, relative)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let dir = open_dir(dir)?;
        Ok(retry_on_intr(|| fs::fsync(&dir))?)
    }

    fn begin_sync(&self, dir: &Path) -> io::Result<Box<dyn SyncPoint>> {
        Ok(Box::new(RealSyncPoint::open(dir)?))
    }

    fn open_dir(&self, dir: &Path) -> io::Result<Box<dyn Dir>> {
        Ok(Box::new(RealDir::open(dir)?))
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
        RealDir::open(dir)?.entries()
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
            // File systems without a fixed number of inodes report 0 of 0.
            inodes: if stat.f_files == 0 { u64::MAX } else { stat.f_favail },
        })
    }

    fn lock(&self, path: &Path, wait: Duration) -> io::Result<Box<dyn LockGuard>> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let fd = retry_on_intr(|| fs::open(path, flags, Mode::from_raw_mode(0o660))).map_err(open_error)?;
        let started = Instant::now();
        let mut pause = FIRST_LOCK_PAUSE;
        // A blocking call has no time limit, so the lock is asked for again and again.
        while let Err(error) = retry_on_intr(|| fs::flock(&fd, FlockOperation::NonBlockingLockExclusive)) {
            let left = wait.saturating_sub(started.elapsed());
            if error != Errno::WOULDBLOCK {
                return Err(error.into());
            }
            if left.is_zero() {
                return Err(io::Error::new(io::ErrorKind::TimedOut, "another process holds the lock"));
            }
            thread::sleep(pause.min(left));
            pause = pause.saturating_mul(2).min(LONGEST_LOCK_PAUSE);
        }
        Ok(Box::new(RealLock(fd)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn a_lock_that_another_holds_is_not_waited_for_without_end() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("lock");
        let held = RealFs.lock(&path, Duration::ZERO).unwrap();
        for wait in [Duration::ZERO, Duration::from_millis(20)] {
            assert_eq!(RealFs.lock(&path, wait).map(drop).unwrap_err().kind(), io::ErrorKind::TimedOut);
        }
        drop(held);
        drop(RealFs.lock(&path, Duration::ZERO).unwrap());
    }

    #[test]
    fn space_is_reported_in_bytes_and_inodes() {
        let space = RealFs.space(Path::new("/")).unwrap();
        assert!(space.bytes > 0 && space.inodes > 0);
    }
}
