//! The files of a drop, found without following links, each with a name that can be a target path.

use std::path::{Path, PathBuf};

use durable_fs::{FileKind, Fs};
use fleet::batch::MAX_DROP_DEPTH;
use tuf_core::names::TargetPath;
use tuf_core::store::MAX_FILE_NAME_BYTES;

use super::not_taken::{NotTaken, drop_read_failed};
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

pub(super) fn walk(fs: &dyn Fs, source: &Path, limits: &BatchLimits) -> Result<DropFiles, NotTaken> {
    let mut found = DropFiles { paths: Vec::new(), manifest: false };
    let (mut dirs, mut path_bytes) = (0_u64, 0_u64);
    let max_depth = limits.depth_per_drop.min(MAX_DROP_DEPTH);
    let mut todo = vec![(PathBuf::from(source), String::new(), 0_usize)];
    while let Some((dir, prefix, depth)) = todo.pop() {
        let entries = fs.read_dir(&dir).map_err(|error| drop_read_failed(fs, source, &dir, &prefix, error))?;
        for entry in entries {
            let Some(name) = entry.name.to_str() else {
                let path = format!("{prefix}{}", entry.name.to_string_lossy());
                return Err(RejectReason::NotUtf8 { path }.into());
            };
            if is_nfs_leftover(name) {
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
            path_bytes = path_bytes.saturating_add(path.len() as u64);
            if path_bytes > limits.path_bytes_per_drop {
                return Err(RejectReason::TooManyPathBytes { max: limits.path_bytes_per_drop }.into());
            }
            match entry.kind {
                FileKind::Dir => {
                    dirs += 1;
                    if depth >= max_depth {
                        return Err(RejectReason::TooDeep { path, max: max_depth }.into());
                    }
                    todo.push((dir.join(name), format!("{path}/"), depth + 1));
                }
                FileKind::File if depth == 0 && name == MANIFEST => found.manifest = true,
                FileKind::File if depth == 0 && name == rejection::REASON_FILE && rejection::is_ours(fs, &dir) => {}
                FileKind::File => found.paths.push(path),
                FileKind::Symlink => return Err(RejectReason::SymbolicLink { path }.into()),
                FileKind::Other => return Err(RejectReason::SpecialFile { path }.into()),
            }
            let max = limits.files_per_drop;
            if found.paths.len() as u64 > max || dirs > max {
                return Err(RejectReason::TooManyFiles { max }.into());
            }
        }
    }
    found.paths.sort_unstable();
    Ok(found)
}

/// Whether an NFS client left this name for a file that was removed while it was open. Narrower than
/// [`durable_fs::durable::is_nfs_remnant`]: a producer's file such as `.nfs-exports` must be reported, not left out.
fn is_nfs_leftover(name: &str) -> bool {
    name.strip_prefix(".nfs").is_some_and(|rest| rest.len() >= 8 && rest.bytes().all(|b| b.is_ascii_hexdigit()))
}
