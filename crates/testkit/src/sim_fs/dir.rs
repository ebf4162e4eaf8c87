//! Open directories.

use std::ffi::{OsStr, OsString};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use durable_fs::{Dir, DirEntries, ReadFile, Stat, WriteFile};

use super::handles::{SimRead, SimWrite};
use super::machine::Machine;
use super::sim::SimFs;

pub(super) struct SimDir {
    pub(super) fs: SimFs,
    /// The path at which it was opened, for the log and for faults of paths.
    pub(super) path: PathBuf,
    pub(super) inode: u64,
    pub(super) generation: u64,
}

/// `name`, if it is a single component that does not lead elsewhere.
fn single(name: &OsStr) -> io::Result<OsString> {
    match name.as_encoded_bytes() {
        b"" | b"." | b".." => Err(ErrorKind::InvalidInput.into()),
        bytes if bytes.contains(&b'/') => Err(ErrorKind::InvalidInput.into()),
        _ => Ok(name.to_owned()),
    }
}

impl SimDir {
    /// Looks at a name in the directory.
    fn look<T>(&self, name: &OsStr, run: impl FnOnce(&mut Machine, u64) -> io::Result<T>) -> io::Result<T> {
        let name = single(name)?;
        self.fs.read(&self.path.join(&name), |machine| {
            machine.alive_since(self.generation)?;
            let inode = machine.tree.lookup(self.inode, &name).ok_or(ErrorKind::NotFound)?;
            run(machine, inode)
        })
    }

    /// Runs a counted operation on a name in the directory.
    fn change<T>(
        &self,
        operation: &'static str,
        name: &OsStr,
        mut run: impl FnMut(&mut Machine, u64, OsString) -> io::Result<T>,
    ) -> io::Result<T> {
        let name = single(name)?;
        self.fs.operation(operation, &self.path.join(&name), None, |machine| {
            machine.alive_since(self.generation)?;
            run(machine, self.inode, name.clone())
        })
    }
}

impl Dir for SimDir {
    fn stat(&self) -> io::Result<Stat> {
        self.fs.read(&self.path, |machine| {
            machine.alive_since(self.generation)?;
            Ok(machine.tree.stat(self.inode))
        })
    }

    fn iter_entries(&self) -> io::Result<DirEntries> {
        let found = self.fs.read(&self.path, |machine| {
            machine.alive_since(self.generation)?;
            Ok(machine.tree.entries(self.inode))
        })?;
        let shared = Arc::clone(&self.fs.shared);
        Ok(Box::new(found.into_iter().map(Ok).inspect(move |_| {
            shared.entries_read.fetch_add(1, Ordering::Relaxed);
        })))
    }

    fn stat_of(&self, name: &OsStr) -> io::Result<Stat> {
        self.look(name, |machine, inode| Ok(machine.tree.stat(inode)))
    }

    fn open_dir(&self, name: &OsStr) -> io::Result<Box<dyn Dir>> {
        self.look(name, |machine, inode| {
            if !machine.tree.is_dir(inode) {
                return Err(ErrorKind::NotADirectory.into());
            }
            let path = self.path.join(name);
            Ok(Box::new(Self { fs: self.fs.clone(), path, inode, generation: self.generation }) as Box<dyn Dir>)
        })
    }

    fn open_file(&self, name: &OsStr) -> io::Result<Box<dyn ReadFile>> {
        self.look(name, |machine, inode| {
            machine.tree.must_be_file(inode)?;
            let generation = self.generation;
            Ok(Box::new(SimRead { fs: self.fs.clone(), inode, generation, position: 0 }) as Box<dyn ReadFile>)
        })
    }

    fn create_file(&self, name: &OsStr, mode: u32) -> io::Result<Box<dyn WriteFile>> {
        let inode = self.change("create", name, |machine, dir, name| machine.create_in(dir, name, mode))?;
        Ok(Box::new(SimWrite::new(self.fs.clone(), self.path.join(name), inode, self.generation)))
    }

    fn create_dir(&self, name: &OsStr, mode: u32) -> io::Result<()> {
        self.change("mkdir", name, |machine, dir, name| machine.create_dir_in(dir, name, mode))
    }

    fn rename_here(&self, from: &Path, name: &OsStr) -> io::Result<()> {
        let name = single(name)?;
        self.fs.operation("rename", from, Some(&self.path.join(&name)), |machine| {
            machine.alive_since(self.generation)?;
            machine.rename_into(from, self.inode, name.clone())
        })
    }

    fn remove_file(&self, name: &OsStr) -> io::Result<()> {
        self.change("unlink", name, Machine::remove_file_in)
    }

    fn remove_dir(&self, name: &OsStr) -> io::Result<()> {
        self.change("rmdir", name, Machine::remove_dir_in)
    }

    fn sync(&self) -> io::Result<()> {
        self.fs.operation("sync_dir", &self.path, None, |machine| {
            machine.alive_since(self.generation)?;
            machine.tree.sync_dir(self.inode);
            Ok(())
        })
    }
}
