//! Files to be written, and the outcome of writing them.

use std::borrow::Cow;

use super::name::FileName;
use super::staged::{StagedStream, StagedTail};
use crate::sha256::FileDigest;

/// The bytes of a file to be created.
#[derive(Debug)]
pub enum FileContent<'a> {
    /// Bytes in memory.
    Bytes(Cow<'a, [u8]>),
    /// A stream that [`Store::stage`](super::Store::stage) of the *same* store copied before.
    Staged(StagedStream),
    /// The first bytes of the file, and the rest, which [`Store::stage_tail`](super::Store::stage_tail) of the *same*
    /// store wrote before. There must be as many first bytes as it left room for.
    HeadAndTail(Cow<'a, [u8]>, StagedTail),
}

/// A file to be created: its bytes and its one or more names (links to one file if the store has links).
#[derive(Debug)]
pub struct NewFile<'a> {
    /// The names; all of them get the same bytes.
    pub names: Vec<FileName>,
    /// The bytes.
    pub content: FileContent<'a>,
}

impl<'a> NewFile<'a> {
    /// A file of one name from bytes in memory.
    pub fn bytes(name: FileName, bytes: impl Into<Cow<'a, [u8]>>) -> Self {
        Self { names: vec![name], content: FileContent::Bytes(bytes.into()) }
    }

    /// A file of one name from its first bytes and the rest, written before.
    pub fn head_and_tail(name: FileName, head: impl Into<Cow<'a, [u8]>>, behind: StagedTail) -> Self {
        Self { names: vec![name], content: FileContent::HeadAndTail(head.into(), behind) }
    }

    /// A file of one or more names from a staged stream.
    #[must_use]
    pub fn staged(names: Vec<FileName>, staged: StagedStream) -> Self {
        Self { names, content: FileContent::Staged(staged) }
    }
}

/// The outcome for a [`NewFile`]; for several names the worst: `Conflict` before `New` before `Same`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Created {
    /// It was created by this call.
    New,
    /// It existed with exactly these bytes. It is durable now, even if another process wrote it, and as new as if this
    /// call had created it, so that [`Store::remove_older`](super::Store::remove_older) leaves it.
    Same,
    /// A name holds other bytes (or is not a regular file); that name was not changed.
    Conflict,
}

/// Length and modification time of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileStat {
    /// Bytes.
    pub len: u64,
    /// Whole seconds since the Unix epoch.
    pub mtime: i64,
}

/// Options for replacing a file. In any case its modification time is at least a second above that of the file it
/// replaces, so that conditional requests always see the change.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReplaceOptions {
    /// The new modification time is also above this one (seconds since the Unix epoch).
    pub mtime_after: Option<i64>,
}

/// One file to be replaced by a copy of another, see [`Store::copy_all`](super::Store::copy_all).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CopyFile {
    /// The file whose bytes are copied.
    pub from: FileName,
    /// The name that is replaced (or created).
    pub to: FileName,
    /// The bytes that `from` must hold, if known: with other bytes nothing is replaced.
    pub expected: Option<FileDigest>,
    /// As for [`Store::replace`](super::Store::replace).
    pub options: ReplaceOptions,
}
