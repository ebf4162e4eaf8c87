//! Open files and locks.

use std::io::{self, Read, Write};
use std::path::PathBuf;

use durable_fs::{LockGuard, ReadFile, Stat, WriteFile};

use super::SimFs;

pub(super) struct SimWrite {
    pub(super) fs: SimFs,
    pub(super) path: PathBuf,
    pub(super) inode: u64,
    pub(super) generation: u64,
    pub(super) position: usize,
}

impl Write for SimWrite {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let state = self.fs.state();
        state.alive_since(self.generation)?;
        self.fs.finish(state, "write", &self.path, None, |state| state.write(self.inode, self.position, bytes))?;
        self.position = self.position.saturating_add(bytes.len());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl WriteFile for SimWrite {
    fn sync(&mut self) -> io::Result<()> {
        let state = self.fs.state();
        state.alive_since(self.generation)?;
        self.fs.finish(state, "sync", &self.path, None, |state| {
            state.tree.sync_file(self.inode);
            Ok(())
        })
    }

    fn write_first(&mut self, bytes: &[u8]) -> io::Result<()> {
        let state = self.fs.state();
        state.alive_since(self.generation)?;
        self.fs.finish(state, "write", &self.path, None, |state| state.write_first(self.inode, bytes))
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
        let state = self.fs.state();
        state.alive_since(self.generation)?;
        let data = state.tree.data(self.inode);
        let count = data.get(self.position..).unwrap_or_default().read(buffer)?;
        self.position = self.position.saturating_add(count);
        Ok(count)
    }
}

impl ReadFile for SimRead {
    fn stat(&self) -> io::Result<Stat> {
        let state = self.fs.state();
        state.alive_since(self.generation)?;
        Ok(state.tree.stat(self.inode))
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
        let mut state = self.fs.state();
        // After a crash the lock is free or someone else's.
        if state.generation == self.generation {
            state.locked.remove(&self.inode);
            self.fs.shared.released.notify_all();
        }
    }
}
