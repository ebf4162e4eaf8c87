//! Many small files, written durably with few syncs.

use std::io::{self, Write};
use std::path::Path;

use durable_fs::Fs;
use durable_fs::durable::{self, WriteBatch};

/// Up to this many files are synced one by one; more are synced with one `syncfs`.
const SYNC_SINGLY: usize = 2;

/// Writes `(name, bytes)` into `dir`, each whole or not at all, and returns when all are durable. `rename` gives a written
/// file its name. The number of syncs does not grow with the number of files.
pub(super) fn write_files(
    fs: &dyn Fs,
    dir: &Path,
    files: &[(String, Vec<u8>)],
    mode: u32,
    rename: &dyn Fn(&Path, &Path) -> io::Result<()>,
) -> io::Result<()> {
    if files.is_empty() {
        return Ok(());
    }
    // Begun before the first write: a descriptor that is opened later may miss an error.
    let batch = if files.len() <= SYNC_SINGLY { None } else { Some(WriteBatch::begin(fs, [dir])?) };
    let mut renames = Vec::with_capacity(files.len());
    let written = files.iter().try_for_each(|(name, bytes)| {
        let new = durable::temp_path(dir);
        let mut file = fs.create_new(&new, mode)?;
        renames.push((new, dir.join(name)));
        file.write_all(bytes)?;
        match &batch {
            Some(batch) => batch.close(file),
            None => file.sync(),
        }
    });
    let synced = written.and_then(|()| batch.as_ref().map_or(Ok(()), WriteBatch::sync));
    if let Err(e) = synced {
        // Also after a failed sync, which would succeed if it were repeated: the bytes may be lost.
        for (new, _) in renames {
            // A temporary file that stays behind is collected by age.
            let _ = fs.remove_file(&new);
        }
        return Err(e);
    }
    for (new, name) in renames {
        rename(&new, &name)?;
    }
    fs.sync_dir(dir)
}
