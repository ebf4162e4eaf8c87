//! The room for the next batch in the inbound directory.

use std::io;

use durable_fs::Space;
use fleet::lack_of_room::LackOfRoom;

use crate::file_work::FileWork;
use crate::staging::DirSize;
use crate::unusable_dir::unusable_dir;
use crate::wait_reason::WaitReason;

/// Space that a file or directory takes beyond its bytes.
const BLOCK_BYTES: u64 = 4096;

/// Free space that the drops of a batch may use.
#[derive(Clone, Copy, Debug)]
pub(super) struct InboundRoom {
    /// The free space of the mount when it was looked at.
    free: Space,
    /// The part that drops may still use.
    usable: Space,
}

impl InboundRoom {
    /// Why a drop of this size does not fit.
    pub(super) fn lacks(&self, size: &DirSize) -> Option<WaitReason> {
        let Self { free, usable } = *self;
        let needed = needs(size);
        let lacks = needed.bytes > usable.bytes || needed.inodes > usable.inodes;
        lacks.then_some(WaitReason::NoRoom(LackOfRoom { directory: "inbound", needed, free, usable }))
    }

    /// Takes the space of a drop that fits.
    pub(super) fn take(&mut self, size: &DirSize) {
        let needed = needs(size);
        self.usable.bytes = self.usable.bytes.saturating_sub(needed.bytes);
        self.usable.inodes = self.usable.inodes.saturating_sub(needed.inodes);
    }
}

/// The space that the copy of a drop takes.
fn needs(size: &DirSize) -> Space {
    let inodes = size.files.saturating_add(size.dirs).saturating_add(1);
    Space { bytes: size.bytes.saturating_add(inodes.saturating_mul(BLOCK_BYTES)), inodes }
}

impl FileWork {
    /// The room for a batch, without the reserve.
    pub(super) fn room_for_batch(&self) -> io::Result<InboundRoom> {
        let limits = &self.settings.limits;
        let inbound = &self.settings.inbound;
        let space = self.fs.space(inbound).map_err(|error| unusable_dir("inbound_targets_path", inbound, error))?;
        let usable = Space {
            bytes: space.bytes.saturating_sub(limits.reserve_bytes),
            inodes: space.inodes.saturating_sub(limits.reserve_inodes),
        };
        Ok(InboundRoom { free: space, usable })
    }

    /// Why a drop of this size certainly does not fit any more, whatever was free when it was picked: other programs, and the
    /// drops that were copied since, use the directory too.
    pub(super) fn lacks_room_now(&self, size: &DirSize) -> io::Result<Option<WaitReason>> {
        let inbound = &self.settings.inbound;
        let space = self.fs.space(inbound).map_err(|error| unusable_dir("inbound_targets_path", inbound, error))?;
        let room = InboundRoom { free: space, usable: space };
        Ok(if size.bytes > space.bytes { room.lacks(size) } else { None })
    }
}
