//! The room for the next batch in the inbound directory.

use std::io;

use crate::file_work::FileWork;
use crate::staging::DirSize;
use crate::unusable_dir::unusable_dir;
use crate::wait_reason::WaitReason;

/// Space that a file or directory takes beyond its bytes.
const BLOCK_BYTES: u64 = 4096;

/// Free space that the drops of a batch may use.
#[derive(Clone, Copy, Debug)]
pub(super) struct InboundRoom {
    free_bytes: u64,
    free_inodes: u64,
}

impl InboundRoom {
    /// Why a drop of this size does not fit.
    pub(super) fn lacks(&self, size: &DirSize) -> Option<WaitReason> {
        let Self { free_bytes, free_inodes } = *self;
        let (needed_bytes, needed_inodes) = needs(size);
        (needed_bytes > free_bytes || needed_inodes > free_inodes).then_some(WaitReason::NoRoom {
            needed_bytes,
            needed_inodes,
            free_bytes,
            free_inodes,
        })
    }

    /// Takes the space of a drop that fits.
    pub(super) fn take(&mut self, size: &DirSize) {
        let (bytes, inodes) = needs(size);
        self.free_bytes = self.free_bytes.saturating_sub(bytes);
        self.free_inodes = self.free_inodes.saturating_sub(inodes);
    }
}

/// Bytes and inodes that the copy of a drop takes.
fn needs(size: &DirSize) -> (u64, u64) {
    let inodes = size.files.saturating_add(size.dirs).saturating_add(1);
    (size.bytes.saturating_add(inodes.saturating_mul(BLOCK_BYTES)), inodes)
}

impl FileWork {
    /// The room for a batch, without the reserve.
    pub(super) fn room_for_batch(&self) -> io::Result<InboundRoom> {
        let limits = &self.settings.limits;
        let inbound = &self.settings.inbound;
        let space = self.fs.space(inbound).map_err(|error| unusable_dir("inbound_targets_path", inbound, error))?;
        Ok(InboundRoom {
            free_bytes: space.bytes.saturating_sub(limits.reserve_bytes),
            free_inodes: space.inodes.saturating_sub(limits.reserve_inodes),
        })
    }

    /// Why a drop of this size certainly does not fit any more, whatever was free when it was picked: other programs, and the
    /// drops that were copied since, use the directory too.
    pub(super) fn lacks_room_now(&self, size: &DirSize) -> io::Result<Option<WaitReason>> {
        let inbound = &self.settings.inbound;
        let space = self.fs.space(inbound).map_err(|error| unusable_dir("inbound_targets_path", inbound, error))?;
        let room = InboundRoom { free_bytes: space.bytes, free_inodes: space.inodes };
        Ok(if size.bytes > space.bytes { room.lacks(size) } else { None })
    }
}
