//! The files of a drop, found without following links, each with a name that can be a target path.

use durable_fs::{Dir, FileKind};
use fleet::batch::MAX_DROP_DEPTH;
use tuf_core::names::TargetPath;
use tuf_core::store::MAX_FILE_NAME_BYTES;

use super::changed::DropEntry;
use super::not_taken::{NotTaken, drop_read_failed};
use super::open_drop::open_below;
use crate::manifest::MANIFEST;
use crate::rejection::{self, RejectReason};
use crate::settings::BatchLimits;

/// Longest path below a drop, in bytes. The targets-worker puts a hash in front of it, and the staging directories above it;
/// a longer path would fail there as if the machine were at fault.
const MAX_PATH_BYTES: usize = MAX_FILE_NAME_BYTES - 65;
/// How many characters of a path that is too long are shown.
const SHOWN_CHARS: usize = 80;

/// The files of a drop.
pub(super) struct DropFiles {
    /// Their paths below the drop, sorted.
    pub(super) paths: Vec<String>,
    /// Whether the drop has a manifest, which is not among `paths`.
    pub(super) manifest: bool,
}

/// The files of the open drop `dir`.
pub(super) fn walk(dir: &dyn Dir, limits: &BatchLimits) -> Result<DropFiles, NotTaken> {
    let found = DropFiles { paths: Vec::new(), manifest: false };
    let mut walk = Walk { found, dirs: 0, leftovers: 0, path_bytes: 0, limits };
    walk.enter(dir, "", 0)?;
    walk.found.paths.sort_unstable();
    Ok(walk.found)
}

struct Walk<'a> {
    found: DropFiles,
    dirs: u64,
    /// Names that NFS clients left.
    leftovers: u64,
    path_bytes: u64,
    limits: &'a BatchLimits,
}

impl Walk<'_> {
    /// Reads names one by one, so that a directory with too many is left before they take memory.
    fn enter(&mut self, dir: &dyn Dir, prefix: &str, depth: usize) -> Result<(), NotTaken> {
        let max_depth = self.limits.depth_per_drop.min(MAX_DROP_DEPTH);
        let failed = |error| {
            let entry = match prefix.strip_suffix('/') {
                Some(path) => DropEntry::Below(path.to_owned()),
                None => DropEntry::Whole,
            };
            drop_read_failed(|| dir.stat(), entry, error)
        };
        for entry in dir.iter_entries().map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let Some(name) = entry.name.to_str() else {
                let path = format!("{prefix}{}", entry.name.to_string_lossy());
                return Err(RejectReason::NotUtf8 { path }.into());
            };
            if is_nfs_leftover(name) {
                self.leftovers += 1;
                self.check_number()?;
                continue;
            }
            let path = format!("{prefix}{name}");
            if let Err(source) = TargetPath::new(&path) {
                return Err(RejectReason::NotATargetPath { path, source }.into());
            }
            if path.len() > MAX_PATH_BYTES {
                let start = path.chars().take(SHOWN_CHARS).collect();
                return Err(RejectReason::PathTooLong { start, bytes: path.len(), max: MAX_PATH_BYTES }.into());
            }
            self.path_bytes = self.path_bytes.saturating_add(path.len() as u64);
            if self.path_bytes > self.limits.path_bytes_per_drop {
                return Err(RejectReason::TooManyPathBytes { max: self.limits.path_bytes_per_drop }.into());
            }
            match entry.kind {
                FileKind::Dir => {
                    self.dirs += 1;
                    if depth >= max_depth {
                        return Err(RejectReason::TooDeep { path, max: max_depth }.into());
                    }
                    self.check_number()?;
                    let below = open_below(dir, &entry.name, &path)?;
                    self.enter(below.as_ref(), &format!("{path}/"), depth + 1)?;
                }
                FileKind::File if depth == 0 && name == MANIFEST => self.found.manifest = true,
                FileKind::File if depth == 0 && name == rejection::REASON_FILE && rejection::is_ours(dir) => {}
                FileKind::File => self.found.paths.push(path),
                FileKind::Symlink => return Err(RejectReason::SymbolicLink { path }.into()),
                FileKind::Other => return Err(RejectReason::SpecialFile { path }.into()),
            }
            self.check_number()?;
        }
        Ok(())
    }

    fn check_number(&self) -> Result<(), NotTaken> {
        let max = self.limits.files_per_drop;
        if self.found.paths.len() as u64 > max || self.dirs.max(self.leftovers) > max {
            return Err(RejectReason::TooManyFiles { max }.into());
        }
        Ok(())
    }
}

/// Whether an NFS client left this name for a file that was removed while it was open. Narrower than
/// [`durable_fs::durable::is_nfs_remnant`]: a producer's file such as `.nfs-exports` must be reported, not left out.
pub(super) fn is_nfs_leftover(name: &str) -> bool {
    name.strip_prefix(".nfs").is_some_and(|rest| rest.len() >= 8 && rest.bytes().all(|b| b.is_ascii_hexdigit()))
}
