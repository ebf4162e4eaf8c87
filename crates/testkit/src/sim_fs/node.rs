//! Inodes: files, directories and links, as a program sees them and as they are durable.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;

pub(super) const ROOT: u64 = 1;

#[derive(Clone)]
pub(super) enum Node {
    /// The first `synced` bytes are durable.
    File {
        data: Arc<Vec<u8>>,
        synced: usize,
    },
    /// The names that a program sees, and the durable ones.
    Dir {
        names: BTreeMap<OsString, u64>,
        durable: BTreeMap<OsString, u64>,
    },
    Symlink(PathBuf),
    /// A FIFO.
    Other,
}

impl Node {
    pub(super) fn dir() -> Self {
        Self::Dir { names: BTreeMap::new(), durable: BTreeMap::new() }
    }
}

#[derive(Clone)]
pub(super) struct Inode {
    pub(super) node: Node,
    pub(super) mode: u32,
    pub(super) mtime: i64,
    pub(super) synced_mtime: i64,
    /// Seconds, and a count of changes in place of nanoseconds.
    pub(super) ctime: (i64, u32),
    /// A directory's `ctime` becomes durable with the change of its name, as on journalling file systems.
    pub(super) durable_ctime: (i64, u32),
    pub(super) nlink: u64,
    /// How often the write-back of its bytes failed.
    pub(super) write_errors: u64,
    /// Bytes that the disk has lost and the cache still shows: start and end.
    pub(super) lost: Vec<(usize, usize)>,
}

impl Inode {
    pub(super) fn new(node: Node, mode: u32, time: i64) -> Self {
        Self {
            node,
            mode,
            mtime: time,
            synced_mtime: time,
            ctime: (time, 0),
            durable_ctime: (time, 0),
            nlink: 0,
            write_errors: 0,
            lost: Vec::new(),
        }
    }

    pub(super) fn len(&self) -> u64 {
        match &self.node {
            Node::File { data, .. } => data.len() as u64,
            _ => 0,
        }
    }
}

/// Whether a link in the last component is followed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum FollowLinks {
    Yes,
    /// Not followed, except (as in Linux) with a trailing `/` or `/.`.
    No,
    /// No link at all is followed, and nothing leads upwards.
    Beneath,
}
