//! The directory in which the files of a rejected drop are.

use std::path::{Path, PathBuf};

use durable_fs::{FileKind, Fs};
use monitor_worker::drop_dir::REJECTED;

use super::write::PostedDrop;

/// The directory that `posted` became when it was rejected: `tuf_rejected_X`, or `tuf_rejected_X.2` and so on if an earlier one
/// has that name. `None` when it cannot be found, for instance because it was removed.
pub fn rejected_dir(fs: &dyn Fs, post: &Path, posted: &PostedDrop) -> Option<PathBuf> {
    let prefix = format!("{REJECTED}{}", posted.name);
    let entries = fs.open_dir(post).and_then(|dir| dir.iter_entries()).ok()?;
    let named = entries.flatten().filter(|entry| entry.kind == FileKind::Dir);
    let mut paths =
        named.filter_map(|entry| entry.name.to_string_lossy().starts_with(&prefix).then(|| post.join(&entry.name)));
    paths.find(|path| posted.id.is_some() && fs.stat(path).ok().map(|stat| stat.id) == posted.id)
}
