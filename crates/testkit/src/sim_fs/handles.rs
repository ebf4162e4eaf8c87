//! Open files and locks.

use std::io::{self, Read, Write};
use std::path::PathBuf;

use durable_fs::{LockGuard, ReadFile, Stat, SyncPoint, WriteFile};

use super::sim::SimFs;

pub(super) struct SimWrite {
    pub(super) fs: SimFs,
    pub(super) path: PathBuf,
    pub(super) inode: u64,
    pub(super) generation: u64,
    pub(super) position: usize,
    /// How many failed write-backs of the file this handle knows.
    seen: u64,
}

impl SimWrite {
    /// A handle of a file that this call made.
    pub(super) fn new(fs: SimFs, path: PathBuf, inode: u64, generation: u64) -> Self {
        Self { fs, path, inode, generation, position: 0, seen: 0 }
    }
}

impl Write for SimWrite {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.fs.act();
        let machine = self.fs.machine();
        machine.alive_since(self.generation)?;
        self.fs
            .finish(machine, "write", &self.path, None, |machine| machine.write(self.inode, self.position, bytes))?;
        self.position = self.position.saturating_add(bytes.len());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl WriteFile for SimWrite {
    fn sync(&mut self) -> io::Result<()> {
        self.fs.act();
        let machine = self.fs.machine();
        machine.alive_since(self.generation)?;
        self.fs.finish(machine, "sync", &self.path, None, |machine| {
            machine.tree.sync_file(self.inode);
            report(&mut self.seen, machine.tree.inode(self.inode).write_errors)
        })
    }

    fn write_first(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.fs.act();
        let machine = self.fs.machine();
        machine.alive_since(self.generation)?;
        self.fs.finish(machine, "write", &self.path, None, |machine| machine.write_first(self.inode, bytes))
    }
}

/// Reports errors that the handle does not know yet, once.
fn report(seen: &mut u64, errors: u64) -> io::Result<()> {
    const EIO: i32 = 5;
    if std::mem::replace(seen, errors) == errors { Ok(()) } else { Err(io::Error::from_raw_os_error(EIO)) }
}

pub(super) struct SimSyncPoint {
    pub(super) fs: SimFs,
    pub(super) path: PathBuf,
    pub(super) generation: u64,
    /// How many failed write-backs of any file this handle knows.
    pub(super) seen: u64,
}

impl SyncPoint for SimSyncPoint {
    fn sync(&mut self) -> io::Result<()> {
        self.fs.act();
        let machine = self.fs.machine();
        machine.alive_since(self.generation)?;
        self.fs.finish(machine, "sync_all", &self.path, None, |machine| {
            machine.tree.sync_all();
            if machine.reports_files { report(&mut self.seen, machine.write_errors) } else { Ok(()) }
        })
    }

    fn reports_files(&self) -> bool {
        self.fs.machine().reports_files
    }
}

pub(super) struct SimRead {
    pub(super) fs: SimFs,
    pub(super) inode: u64,
    pub(super) generation: u64,
    pub(super) position: usize,
}

impl Read for SimRead {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let machine = self.fs.machine();
        machine.alive_since(self.generation)?;
        let data = machine.tree.data(self.inode);
        let count = data.get(self.position..).unwrap_or_default().read(buffer)?;
        self.position = self.position.saturating_add(count);
        Ok(count)
    }
}

impl ReadFile for SimRead {
    fn stat(&self) -> io::Result<Stat> {
        let machine = self.fs.machine();
        machine.alive_since(self.generation)?;
        Ok(machine.tree.stat(self.inode))
    }
}

pub(super) struct SimLock {
    pub(super) fs: SimFs,
    pub(super) inode: u64,
    pub(super) generation: u64,
}

impl LockGuard for SimLock {}

impl Drop for SimLock {
    fn drop(&mut self) {
        let mut machine = self.fs.machine();
        // After a crash the lock is free, or another handle holds it.
        if machine.generation == self.generation {
            machine.locked.remove(&self.inode);
            self.fs.shared.released.notify_all();
        }
    }
}
