//! Open files and locks.

use std::io::{self, Read, Write};
use std::path::PathBuf;

use durable_fs::{LockGuard, ReadFile, Stat, WriteFile};

use super::sim::SimFs;

pub(super) struct SimWrite {
    pub(super) fs: SimFs,
    pub(super) path: PathBuf,
    pub(super) inode: u64,
    pub(super) generation: u64,
    pub(super) position: usize,
}

impl Write for SimWrite {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
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
        let machine = self.fs.machine();
        machine.alive_since(self.generation)?;
        self.fs.finish(machine, "sync", &self.path, None, |machine| {
            machine.tree.sync_file(self.inode);
            Ok(())
        })
    }

    fn write_first(&mut self, bytes: &[u8]) -> io::Result<()> {
        let machine = self.fs.machine();
        machine.alive_since(self.generation)?;
        self.fs.finish(machine, "write", &self.path, None, |machine| machine.write_first(self.inode, bytes))
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
