//! Whether the targets directory has room for a drop. One without room waits; the other drops of its batch pass.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use durable_fs::{Fs, Space};
use fleet::batch::BatchDrop;
use fleet::lack_of_room::{LackOfRoom, human_bytes};
use tuf_core::names::TargetPath;

/// Space that a file takes beyond its bytes.
const BLOCK_BYTES: u64 = 4096;
/// Bytes that drops leave free: metadata is often on the same mount, and nothing can be signed without space for it.
const RESERVE_BYTES: u64 = 16 << 20;
/// Inodes per file: its two names are links, but each may need a directory.
const INODES_PER_FILE: u64 = 2;

/// Why a drop waits, through no fault of its producer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum DropWaitReason {
    /// The targets directory has too little space for it.
    #[error("{0}")]
    NoRoom(LackOfRoom),
    /// The targets directory was full when it was copied, although it had reported enough space.
    #[error("the targets directory was full when it was written there ({}): is there a quota?", human_bytes(*needed_bytes))]
    Full { needed_bytes: u64 },
    /// An older drop of the batch with the same path waits, and the later of two such drops has to win.
    #[error("it waits for the older drop {older}, which also has {path}")]
    OlderDropFirst { older: String, path: TargetPath },
}

/// The room for the drops of one batch.
#[derive(Debug)]
pub(crate) struct Room {
    /// The free space of the mount, and the part that drops may still use; `None` where target files are not kept.
    free: Option<(Space, Space)>,
    /// Paths of the drops that wait.
    waiting: BTreeMap<TargetPath, String>,
}

impl Room {
    /// The room in `targets`; without limit where target files are not kept.
    ///
    /// # Errors
    /// The error from the file system.
    pub(crate) fn of(fs: &dyn Fs, targets: Option<&Path>) -> io::Result<Self> {
        let free = targets.map(|targets| fs.space(targets)).transpose()?;
        let free = free.map(|space| (space, Space { bytes: space.bytes.saturating_sub(RESERVE_BYTES), ..space }));
        Ok(Self { free, waiting: BTreeMap::new() })
    }

    /// Takes the room that a drop needs, or says why it has none.
    pub(crate) fn take(&mut self, drop: &BatchDrop) -> Option<DropWaitReason> {
        let (free, usable) = self.free.as_mut()?;
        let needed = needs(drop);
        if needed.bytes > usable.bytes || needed.inodes > usable.inodes {
            let lack = LackOfRoom { directory: "targets", needed, free: *free, usable: *usable };
            return Some(DropWaitReason::NoRoom(lack));
        }
        usable.bytes -= needed.bytes;
        usable.inodes -= needed.inodes;
        None
    }

    /// Why a drop whose copy filled the directory waits.
    pub(crate) fn filled_by(&mut self, drop: &BatchDrop) -> DropWaitReason {
        let full = Space { bytes: 0, inodes: 0 };
        self.free = Some((full, full));
        Self::full(drop)
    }

    /// Why a drop waits that did not fit where there seemed to be room.
    pub(crate) fn full(drop: &BatchDrop) -> DropWaitReason {
        DropWaitReason::Full { needed_bytes: drop.bytes }
    }

    /// Remembers the paths of a drop that waits.
    pub(crate) fn wait(&mut self, drop: &BatchDrop, paths: Vec<TargetPath>) {
        for path in paths {
            self.waiting.entry(path).or_insert_with(|| drop.name.clone());
        }
    }

    /// The older drop for which a drop with these paths has to wait.
    pub(crate) fn older(&self, paths: &[TargetPath]) -> Option<DropWaitReason> {
        paths.iter().find_map(|path| {
            let older = self.waiting.get(path)?.clone();
            Some(DropWaitReason::OlderDropFirst { older, path: path.clone() })
        })
    }
}

fn needs(drop: &BatchDrop) -> Space {
    let inodes = drop.files.saturating_mul(INODES_PER_FILE);
    Space { bytes: drop.bytes.saturating_add(inodes.saturating_mul(BLOCK_BYTES)), inodes }
}
