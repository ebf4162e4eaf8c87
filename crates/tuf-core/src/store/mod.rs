//! Stores for a repository's files: a [`Store`] creates whole files exclusively, in batches, and replaces a few.
//!
//! When a call that writes returns, names and data are durable. A file is visible whole or not at all, at every instant
//! and after a power cut. [`LocalStore`] is a directory, [`MemoryStore`] a map; both pass one conformance suite.

#[cfg(any(test, feature = "conformance"))]
pub mod conformance;
mod contract;
mod error;
mod file;
mod local;
mod memory;
mod name;
mod staged;
mod sync;

pub use contract::Store;
pub use durable_fs::LockGuard;
pub use error::StoreError;
pub use file::{CopyFile, Created, FileContent, FileStat, NewFile, ReplaceOptions};
pub use local::LocalStore;
pub use memory::MemoryStore;
pub use name::{FileName, InvalidFileName, MAX_FILE_NAME_BYTES};
pub use staged::{StagedStream, StagedTail};
