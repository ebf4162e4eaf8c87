//! `syncfs` on a descriptor that was opened before the writes.
//!
//! Who learns of a failed write-back (Linux)? The kernel counts the errors of each inode and of each superblock. A descriptor
//! remembers both counts from the moment it was opened; `fsync` returns an error if the inode's count has moved since,
//! `syncfs` if the superblock's has. A descriptor that is opened after another process got the error does not
//! report it. So the descriptor is opened before the first write.
//!
//! `fsync` of every file, with the descriptor that wrote it, would be enough everywhere. But it flushes the disk's cache
//! for each file even after a `syncfs` has written all of them (ext4: 2 ms each, measured), and a batch of thousands would
//! pay for thousands of flushes. `syncfs` alone is enough on these conditions, and otherwise
//! [`reports_files`](SyncPoint::reports_files) is `false`:
//!
//! - The kernel counts per superblock: since Linux 5.8.
//! - The file system's own superblock is the one that counts. Overlay and FUSE file systems write through another one, and
//!   tell only the file.

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::LazyLock;

use rustix::fs;
use rustix::io::retry_on_intr;

use super::open::open_dir;
use crate::SyncPoint;

/// `f_type` of the file systems that record a failed write-back of a file in their own superblock.
const REPORTING: [u64; 8] = [
    0xef53,      // ext2, ext3, ext4
    0x5846_5342, // XFS
    0x9123_683e, // Btrfs
    0xf2f5_2010, // F2FS
    0xca45_1a4e, // bcachefs
    0x6969,      // NFS
    0x00c3_6400, // Ceph
    0x0102_1994, // tmpfs, which writes nothing back
];

/// The first Linux whose `syncfs` reports errors of files.
const REPORTING_SINCE: (u32, u32) = (5, 8);

pub(super) struct RealSyncPoint {
    dir: OwnedFd,
    reports_files: bool,
}

impl RealSyncPoint {
    /// Opens `dir`. A link in the last component is followed.
    pub(super) fn open(dir: &Path) -> io::Result<Self> {
        static REPORTS: LazyLock<bool> =
            LazyLock::new(|| release(&rustix::system::uname().release().to_string_lossy()) >= REPORTING_SINCE);
        let dir = open_dir(dir)?;
        // The width and the sign of this field differ between architectures.
        #[allow(clippy::cast_sign_loss, clippy::unnecessary_cast, clippy::cast_lossless)]
        let kind = retry_on_intr(|| fs::fstatfs(&dir))?.f_type as u64 & 0xffff_ffff;
        Ok(Self { dir, reports_files: *REPORTS && REPORTING.contains(&kind) })
    }
}

impl SyncPoint for RealSyncPoint {
    fn sync(&mut self) -> io::Result<()> {
        Ok(retry_on_intr(|| fs::syncfs(&self.dir))?)
    }

    fn reports_files(&self) -> bool {
        self.reports_files
    }
}

/// The first two numbers of a kernel release such as `6.1.0-13-amd64`; zeros where there are none.
fn release(text: &str) -> (u32, u32) {
    let mut numbers = text.split(|c: char| !c.is_ascii_digit()).map(|number| number.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_kernel_that_counts_errors_per_superblock_is_trusted_with_one_syncfs() {
        let trusted = |text| release(text) >= REPORTING_SINCE;
        for text in ["5.8.0", "5.10.0-28-amd64", "6.1", "10.0-rc1", "5.8-rc1"] {
            assert!(trusted(text), "{text}");
        }
        for text in ["4.4.0", "5.7.19-generic", "4.19", "", "gvisor", "5"] {
            assert!(!trusted(text), "{text}");
        }
    }
}
