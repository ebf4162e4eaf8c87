//! The operations and their promises.

use std::ffi::{OsStr, OsString};
use std::fmt::Debug;
use std::io::{self, Read, Write};
use std::path::Path;
use std::time::Duration;

/// The kind of a directory entry. Only files and directories are ever opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileKind {
    /// A regular file.
    File,
    /// A directory.
    Dir,
    /// A symbolic link; never followed.
    Symlink,
    /// A FIFO, socket or device; never opened.
    Other,
}

/// One entry of a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirEntry {
    /// The entry's name, without its directory.
    pub name: OsString,
    /// Its kind (`lstat`, links are not followed).
    pub kind: FileKind,
}

/// The result of `lstat` or `fstat`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stat {
    /// The kind of the file.
    pub kind: FileKind,
    /// Length in bytes.
    pub len: u64,
    /// Permission bits (`0o7777` mask).
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Number of hard links.
    pub nlink: u64,
    /// Device and inode: equal for two names of one file.
    pub id: (u64, u64),
    /// Modification time in whole seconds since the Unix epoch.
    pub mtime: i64,
    /// Nanoseconds of the modification time.
    pub mtime_nanos: u32,
    /// Time of the last change of content, name or status, in whole seconds since the Unix epoch. The kernel sets it, renames
    /// included; unlike the modification time, no program can choose it.
    pub ctime: i64,
    /// Nanoseconds of that time. Clocks of file systems tick every few milliseconds, some every second.
    pub ctime_nanos: u32,
}

/// Free space of a mount.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    /// Bytes this process may still write.
    pub bytes: u64,
    /// Inodes this process may still create (`u64::MAX` where the file system has no such limit).
    pub inodes: u64,
}

/// A file being written.
pub trait WriteFile: Write + Send {
    /// `fsync`: when it returns, the bytes written so far survive a power cut. The *name* of the file does not survive until
    /// its directory is synced.
    fn sync(&mut self) -> io::Result<()>;
    /// Writes all of `bytes` over the first bytes of the file. The position of the next `write` does not change.
    fn write_first(&mut self, bytes: &[u8]) -> io::Result<()>;
}

/// A file being read.
pub trait ReadFile: Read + Send {
    /// `fstat` of the open file.
    fn stat(&self) -> io::Result<Stat>;
}

/// A mount since a moment, for a `syncfs` that reports the errors of all writes since then.
///
/// The kernel reports a failed write-back once to each open descriptor, and to none that is opened after another process
/// got it. So a point is opened *before* the first write that it has to cover.
pub trait SyncPoint: Send {
    /// `syncfs`: all data and all names on the mount so far survive a power cut.
    ///
    /// An error is returned once. It may be that of another process's file; the caller cannot know, and discards what it
    /// wrote. A second call says nothing about the writes before the first.
    fn sync(&mut self) -> io::Result<()>;
    /// Whether [`SyncPoint::sync`] reports a failed write-back of each file of the mount. If not, only `sync` of each file
    /// does, with the descriptor that wrote it.
    fn reports_files(&self) -> bool;
}

/// The entries of a directory, read from it as they are asked for, so that a large directory takes little memory. After an
/// error it ends. A name that is made or removed meanwhile may be among them or not; every other one is.
pub type DirEntries = Box<dyn Iterator<Item = io::Result<DirEntry>> + Send>;

/// An open directory. It stays the same one, whatever happens to its name, and every operation is about one name in it: a
/// single component, never `.` or `..` (`InvalidInput`). No operation follows a symbolic link, so nothing outside is reached
/// even while another user exchanges names.
pub trait Dir: Send {
    /// `fstat` of the directory itself.
    fn stat(&self) -> io::Result<Stat>;
    /// The entries one by one, from the first, in no particular order, without `.` and `..`. For directories in which others
    /// can make as many names as they like. It takes a descriptor until it is dropped.
    fn iter_entries(&self) -> io::Result<DirEntries>;
    /// All entries. For directories whose size is our own choice.
    fn entries(&self) -> io::Result<Vec<DirEntry>> {
        self.iter_entries()?.collect()
    }
    /// `lstat` of a name.
    fn stat_of(&self, name: &OsStr) -> io::Result<Stat>;
    /// Opens a directory. `NotADirectory` for anything else, a link to a directory included.
    fn open_dir(&self, name: &OsStr) -> io::Result<Box<dyn Dir>>;
    /// Opens a regular file for reading, as [`Fs::open`].
    fn open_file(&self, name: &OsStr) -> io::Result<Box<dyn ReadFile>>;
    /// Creates a file exclusively, as [`Fs::create_new`].
    fn create_file(&self, name: &OsStr, mode: u32) -> io::Result<Box<dyn WriteFile>>;
    /// Creates a directory with `mode` (less the umask).
    fn create_dir(&self, name: &OsStr, mode: u32) -> io::Result<()>;
    /// Renames the file `from` into this directory, as [`Fs::rename`].
    fn rename_here(&self, from: &Path, name: &OsStr) -> io::Result<()>;
    /// Removes a name of a file, link or special file.
    fn remove_file(&self, name: &OsStr) -> io::Result<()>;
    /// Removes an empty directory.
    fn remove_dir(&self, name: &OsStr) -> io::Result<()>;
    /// `fsync`: the names made, changed and removed in it so far survive a power cut.
    fn sync(&self) -> io::Result<()>;
}

/// An exclusive lock; dropping it releases the lock.
pub trait LockGuard: Send {}

/// A file system. Paths are absolute or relative to the process; nothing follows a symbolic link in
/// the last component (the directories given to `sync_dir`, `begin_sync`, `space` and `open_beneath` excepted). A
/// configured directory that may itself be a link is passed with a trailing slash: `dir.join("")`.
pub trait Fs: Debug + Send + Sync {
    /// Creates a file exclusively (`O_CREAT|O_EXCL|O_NOFOLLOW`) with `mode` (less the umask).
    /// `AlreadyExists` if any file has that name.
    fn create_new(&self, path: &Path, mode: u32) -> io::Result<Box<dyn WriteFile>>;
    /// Opens a regular file for reading without following a link in the last component.
    /// Anything that is not a regular file is an `InvalidInput` error, and opening never blocks (FIFOs).
    fn open(&self, path: &Path) -> io::Result<Box<dyn ReadFile>>;
    /// Opens a regular file at `relative` beneath `dir` without following a link in *any* component
    /// below `dir` and without leaving it, for files of other users.
    fn open_beneath(&self, dir: &Path, relative: &Path) -> io::Result<Box<dyn ReadFile>>;
    /// `fsync` of a directory: the names made, changed and removed in it so far survive a power cut.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;
    /// Begins to watch the mount that holds `dir`; call it before the first write that one `syncfs` has to cover.
    fn begin_sync(&self, dir: &Path) -> io::Result<Box<dyn SyncPoint>>;
    /// Opens a directory, for work below it that others must not lead astray. `NotADirectory` for anything else.
    fn open_dir(&self, dir: &Path) -> io::Result<Box<dyn Dir>>;
    /// Gives a file a second name. `AlreadyExists` if another file has the name; it is never overwritten.
    fn link(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Renames atomically; replaces a file, or an empty directory by a directory. A non-empty target
    /// directory is `DirectoryNotEmpty` (or `AlreadyExists`).
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Creates a directory with `mode` (less the umask).
    fn create_dir(&self, path: &Path, mode: u32) -> io::Result<()>;
    /// Removes a name of a file, link or special file.
    fn remove_file(&self, path: &Path) -> io::Result<()>;
    /// Removes an empty directory.
    fn remove_dir(&self, path: &Path) -> io::Result<()>;
    /// All entries of a directory, in no particular order, without `.` and `..`. Where others can make as many names as they
    /// like, use [`Dir::iter_entries`].
    fn read_dir(&self, dir: &Path) -> io::Result<Vec<DirEntry>>;
    /// `lstat`.
    fn stat(&self, path: &Path) -> io::Result<Stat>;
    /// Sets the modification time to whole seconds since the Unix epoch.
    fn set_mtime(&self, path: &Path, seconds: i64) -> io::Result<()>;
    /// Free space of the mount that holds `dir`.
    fn space(&self, dir: &Path) -> io::Result<Space>;
    /// Takes an exclusive lock on the file at `path` (created when missing), and waits for it up to `wait`. `TimedOut` when
    /// another process holds it longer: any process that can open the file can hold the lock for ever.
    /// An optimisation: correctness must not depend on it, because locks may fail on network mounts.
    fn lock(&self, path: &Path, wait: Duration) -> io::Result<Box<dyn LockGuard>>;
}
