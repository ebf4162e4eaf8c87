//! The operations of [`Fs`] on the simulated file system.

use std::io::{self, ErrorKind};
use std::path::Path;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use durable_fs::{Dir, DirEntry, Fs, LockGuard, ReadFile, Space, Stat, SyncPoint, WriteFile};

use super::dir::SimDir;
use super::handles::{SimLock, SimRead, SimSyncPoint, SimWrite};
use super::node::FollowLinks;
use super::sim::SimFs;

impl Fs for SimFs {
    fn create_new(&self, path: &Path, mode: u32) -> io::Result<Box<dyn WriteFile>> {
        let (inode, generation) = self.operation("create", path, None, |machine| {
            let inode = machine.create(path, mode)?;
            Ok((inode, machine.generation))
        })?;
        Ok(Box::new(SimWrite::new(self.clone(), path.to_path_buf(), inode, generation)))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn ReadFile>> {
        self.read(path, |machine| {
            let inode = machine.tree.find(path, FollowLinks::No)?;
            machine.tree.must_be_file(inode)?;
            Ok(Box::new(SimRead { fs: self.clone(), inode, generation: machine.generation, position: 0 })
                as Box<dyn ReadFile>)
        })
    }

    fn open_beneath(&self, dir: &Path, relative: &Path) -> io::Result<Box<dyn ReadFile>> {
        self.read(&dir.join(relative), |machine| {
            let dir = machine.tree.find(dir, FollowLinks::Yes)?;
            let inode = machine.tree.find_beneath(dir, relative)?;
            machine.tree.must_be_file(inode)?;
            Ok(Box::new(SimRead { fs: self.clone(), inode, generation: machine.generation, position: 0 })
                as Box<dyn ReadFile>)
        })
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.operation("sync_dir", dir, None, |machine| {
            let inode = machine.tree.find_dir(dir, FollowLinks::Yes)?;
            machine.tree.sync_dir(inode);
            Ok(())
        })
    }

    fn begin_sync(&self, dir: &Path) -> io::Result<Box<dyn SyncPoint>> {
        self.read(dir, |machine| {
            machine.tree.find_dir(dir, FollowLinks::Yes)?;
            let (generation, seen) = (machine.generation, machine.write_errors);
            Ok(Box::new(SimSyncPoint { fs: self.clone(), path: dir.to_path_buf(), generation, seen })
                as Box<dyn SyncPoint>)
        })
    }

    fn open_dir(&self, dir: &Path) -> io::Result<Box<dyn Dir>> {
        self.read(dir, |machine| {
            let inode = machine.tree.find_dir(dir, FollowLinks::No)?;
            let generation = machine.generation;
            Ok(Box::new(SimDir { fs: self.clone(), path: dir.to_path_buf(), inode, generation }) as Box<dyn Dir>)
        })
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.operation("link", from, Some(to), |machine| machine.link(from, to))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.operation("rename", from, Some(to), |machine| machine.rename(from, to))
    }

    fn create_dir(&self, path: &Path, mode: u32) -> io::Result<()> {
        self.operation("mkdir", path, None, |machine| machine.create_dir(path, mode))
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.operation("unlink", path, None, |machine| machine.remove_file(path))
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        self.operation("rmdir", path, None, |machine| machine.remove_dir(path))
    }

    fn read_dir(&self, dir: &Path) -> io::Result<Vec<DirEntry>> {
        self.read(dir, |machine| {
            let inode = machine.tree.find_dir(dir, FollowLinks::No)?;
            let entries = machine.tree.entries(inode);
            self.shared.entries_read.fetch_add(entries.len(), Ordering::Relaxed);
            Ok(entries)
        })
    }

    fn stat(&self, path: &Path) -> io::Result<Stat> {
        self.read(path, |machine| {
            let inode = machine.tree.find(path, FollowLinks::No)?;
            Ok(machine.tree.stat(inode))
        })
    }

    fn set_mtime(&self, path: &Path, seconds: i64) -> io::Result<()> {
        self.operation("set_mtime", path, None, |machine| {
            let inode = machine.tree.find(path, FollowLinks::No)?;
            let time = machine.clock;
            machine.tree.set_mtime(inode, seconds, time);
            Ok(())
        })
    }

    fn space(&self, dir: &Path) -> io::Result<Space> {
        self.read(dir, |machine| {
            machine.tree.find_dir(dir, FollowLinks::Yes)?;
            if machine.is_full(dir) {
                return Ok(Space { bytes: 0, inodes: 0 });
            }
            Ok(Space { bytes: machine.capacity.saturating_sub(machine.tree.used), inodes: u64::MAX })
        })
    }

    fn lock(&self, path: &Path, wait: Duration) -> io::Result<Box<dyn LockGuard>> {
        let (inode, generation) = self.operation("lock", path, None, |machine| {
            let inode = match machine.tree.find(path, FollowLinks::No) {
                Err(error) if error.kind() == ErrorKind::NotFound => machine.create(path, 0o660)?,
                other => other?,
            };
            machine.tree.must_be_file(inode)?;
            Ok((inode, machine.generation))
        })?;
        let started = Instant::now();
        let mut machine = self.machine();
        loop {
            machine.alive_since(generation)?;
            if machine.locked.insert(inode) {
                return Ok(Box::new(SimLock { fs: self.clone(), inode, generation }));
            }
            let left = wait.saturating_sub(started.elapsed());
            if left.is_zero() {
                return Err(io::Error::new(ErrorKind::TimedOut, "another process holds the lock"));
            }
            let waited = self.shared.released.wait_timeout(machine, left);
            machine = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}
