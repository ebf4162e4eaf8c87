//! Where a repository's files live: a [`Store`] creates whole files exclusively, in batches, and replaces a few.
//!
//! Every call that writes is durable, names and data, when it returns, and shows a file whole or not at all, at every
//! instant and after a power cut. [`LocalStore`] is a directory, [`MemoryStore`] a map; both pass one conformance suite.

#[cfg(any(test, feature = "conformance"))]
pub mod conformance;
mod contract;
mod error;
mod file;
mod local;
mod memory;
mod name;
mod staged;

pub use contract::Store;
pub use durable_fs::LockGuard;
pub use error::StoreError;
pub use file::{CopyFile, Created, FileContent, FileStat, NewFile, ReplaceOptions};
pub use local::LocalStore;
pub use memory::MemoryStore;
pub use name::{FileName, InvalidFileName, MAX_FILE_NAME_BYTES};
pub use staged::{StagedStream, StagedTail};
