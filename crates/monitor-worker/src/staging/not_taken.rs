//! Why a drop is not copied into the staging directory, and whose fault that is.

use std::io;

use durable_fs::{FileKind, Stat};

use super::changed::{ChangedWhileRead, DropEntry};
use crate::manifest::ManifestError;
use crate::rejection::RejectReason;
use crate::wait_reason::WaitReason;

/// Why a drop was not copied.
#[derive(Debug, thiserror::Error)]
pub enum NotTaken {
    /// Its producer has to change it.
    #[error(transparent)]
    Rejected(#[from] RejectReason),
    /// The machine stands in the way; it is tried again.
    #[error(transparent)]
    Held(#[from] WaitReason),
    /// It changed while it was copied; it is tried again, but only a few times.
    #[error(transparent)]
    Changed(#[from] ChangedWhileRead),
    /// A fault in our own directories, which fails the cycle.
    #[error(transparent)]
    OurDirectory(io::Error),
    /// The worker is stopping.
    #[error("the worker is stopping")]
    Stopping,
}

impl From<ManifestError> for NotTaken {
    fn from(error: ManifestError) -> Self {
        Self::Rejected(error.into())
    }
}

/// A failure in our own directories. A full disk holds the drop back, so that smaller ones pass.
pub(super) fn own_dir_failed(error: io::Error) -> NotTaken {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => NotTaken::Held(WaitReason::InboundFull),
        _ => NotTaken::OurDirectory(error),
    }
}

/// A failure while reading `entry` of a drop: decides whether the producer or the machine is at fault. `stat` is the `lstat`
/// of the entry.
pub(super) fn drop_read_failed(
    stat: impl FnOnce() -> io::Result<Stat>,
    entry: DropEntry,
    error: io::Error,
) -> NotTaken {
    const ELOOP: i32 = 40;
    match error.kind() {
        io::ErrorKind::NotFound => ChangedWhileRead::Vanished { entry }.into(),
        io::ErrorKind::PermissionDenied => {
            let stat = stat();
            let needed = if stat.as_ref().is_ok_and(|s| s.kind == FileKind::Dir) { 0o555 } else { 0o444 };
            match stat {
                Ok(stat) if stat.mode & needed != needed => {
                    RejectReason::Unreadable { entry, mode: stat.mode & 0o7777 }.into()
                }
                _ => WaitReason::Unreadable { entry, source: error }.into(),
            }
        }
        io::ErrorKind::InvalidInput | io::ErrorKind::NotADirectory | io::ErrorKind::CrossesDevices => {
            RejectReason::NotARegularFile { entry, source: error }.into()
        }
        _ if error.raw_os_error() == Some(ELOOP) => RejectReason::ThroughSymbolicLink { entry, source: error }.into(),
        _ => WaitReason::Unreadable { entry, source: error }.into(),
    }
}
