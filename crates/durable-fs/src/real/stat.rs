//! `stat` results of the kernel.

use rustix::fs::{self, FileType};

use crate::{FileKind, Stat};

pub(super) fn stat_of(stat: &fs::Stat) -> Stat {
    Stat {
        kind: kind_of(FileType::from_raw_mode(stat.st_mode)),
        len: u64::try_from(stat.st_size).unwrap_or(0),
        mode: stat.st_mode & 0o7777,
        uid: stat.st_uid,
        gid: stat.st_gid,
        // The widths of these fields differ between architectures.
        #[allow(clippy::useless_conversion, clippy::unnecessary_fallible_conversions)]
        nlink: u64::from(stat.st_nlink),
        id: (stat.st_dev, stat.st_ino),
        mtime: stat.st_mtime,
        mtime_nanos: u32::try_from(stat.st_mtime_nsec).unwrap_or(0),
        ctime: stat.st_ctime,
        ctime_nanos: u32::try_from(stat.st_ctime_nsec).unwrap_or(0),
    }
}

pub(super) fn kind_of(kind: FileType) -> FileKind {
    match kind {
        FileType::RegularFile => FileKind::File,
        FileType::Directory => FileKind::Dir,
        FileType::Symlink => FileKind::Symlink,
        _ => FileKind::Other,
    }
}
