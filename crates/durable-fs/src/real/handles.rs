//! Open files and locks.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;

use rustix::fs;
use rustix::io::retry_on_intr;

use super::stat::stat_of;
use crate::{LockGuard, ReadFile, Stat, WriteFile};

pub(super) struct RealWrite(pub(super) File);

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

pub(super) struct RealRead(pub(super) File);

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

/// Closing the descriptor releases the lock. The file stays, because removing it would let two processes lock two files.
pub(super) struct RealLock(#[allow(dead_code, reason = "held for its drop")] pub(super) OwnedFd);

impl LockGuard for RealLock {}
