//! The operations on files, each with its durability. The only crate that touches files.
//!
//! [`Fs`] is the small set of operations, each with the durability that it promises. [`RealFs`] is the operating system. A
//! simulated file system (in the tests) can stop at any operation, lose unsynced data, and repeat operations whose reply
//! was lost. [`durable`] holds the sequences built on [`Fs`]: *write, sync, link, sync the directory*.

mod api;
pub mod durable;
mod real;

pub use api::{Dir, DirEntries, DirEntry, FileKind, Fs, LockGuard, ReadFile, Space, Stat, SyncPoint, WriteFile};
pub use real::RealFs;
