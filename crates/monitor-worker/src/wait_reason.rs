//! Why a drop is held back: a fault of the machine, or an older drop that has to go first.

use std::io;

use fleet::lack_of_room::LackOfRoom;

use crate::drop_dir::DropName;
use crate::staging::{ChangedWhileRead, DropEntry};

/// Why a drop waits although others are taken in. It is tried again in every cycle.
#[derive(Debug, thiserror::Error)]
pub enum WaitReason {
    /// The inbound directory has too little space for it.
    #[error("{0}")]
    NoRoom(LackOfRoom),
    /// The inbound directory became full while the drop was copied.
    #[error("no space is left in the inbound directory")]
    InboundFull,
    /// The targets-worker does not add it yet, for instance because the targets directory has too little space for it; the text
    /// is from there.
    #[error("{0}")]
    TargetsWorker(String),
    /// An older drop with the same target path is held back, and the later of two such drops has to win.
    #[error("it waits for the older drop {older}, which also has {path}")]
    OlderDropFirst {
        /// The older drop.
        older: DropName,
        /// The path that both have.
        path: String,
    },
    /// An older drop is held back, and its paths cannot be read, so that they cannot be compared.
    #[error("it waits for the older drop {older}, whose files cannot be listed: they may have one path")]
    OlderDropUnknown {
        /// The older drop.
        older: DropName,
    },
    /// It cannot be renamed to its processing name.
    #[error("it cannot be renamed to tuf_processing_*: {0}")]
    NotRenamed(#[source] io::Error),
    /// Something that is no directory has its processing name.
    #[error("{name} has the name that it gets next, and is no directory: remove it")]
    ProcessingNameTaken {
        /// The name in the drop directory.
        name: String,
    },
    /// An earlier drop of its name has not ended.
    #[error("an earlier drop of this name is not finished yet")]
    NameInUse,
    /// It has a processing name, no monitor is known to have taken it in, and intake is paused.
    #[error("no monitor is known to have taken it in, so it waits like a ready drop: intake is paused")]
    PausedBeforeIntake,
    /// Reading it failed, and its permissions are not the cause.
    #[error("{entry} cannot be read: {source}")]
    Unreadable {
        /// The file or directory.
        entry: DropEntry,
        /// The error from the file system.
        source: io::Error,
    },
    /// It changed while it was read; after the third time it is rejected.
    #[error(transparent)]
    Changed(#[from] ChangedWhileRead),
}

impl WaitReason {
    /// Whether the monitor has no permission to read the drop.
    pub(crate) fn is_denied(&self) -> bool {
        matches!(self, Self::Unreadable { source, .. } if source.kind() == io::ErrorKind::PermissionDenied)
    }
}
