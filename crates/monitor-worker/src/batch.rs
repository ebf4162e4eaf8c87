//! A batch in the inbound directory: its description, and whether it is whole.

use std::io;
use std::path::Path;

use durable_fs::{Fs, durable};
use fleet::batch::{BATCH_FILE, BATCH_FORMAT, Batch, MAX_BATCH_FILE};

/// Reads the description in the batch directory `dir`; `None` when it is missing or this version cannot read it.
///
/// # Errors
/// The error from the file system.
pub fn read(fs: &dyn Fs, dir: &Path) -> io::Result<Option<Batch>> {
    match durable::read_bounded(fs, &dir.join(BATCH_FILE), MAX_BATCH_FILE) {
        Ok(bytes) => Ok(serde_json::from_slice::<Batch>(&bytes).ok().filter(|batch| batch.format == BATCH_FORMAT)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        // The other users of the inbound directory can make such a file; it must not stop all other work.
        Err(error) if is_of_the_file(error.kind()) => {
            tracing::warn!(path = %dir.display(), %error, "batch description ignored");
            Ok(None)
        }
        Err(e) => Err(e),
    }
}

/// Whether reading fails because of the file itself, and not because of the machine.
fn is_of_the_file(kind: io::ErrorKind) -> bool {
    use io::ErrorKind::{FileTooLarge, InvalidData, InvalidInput, IsADirectory, NotADirectory, PermissionDenied};
    matches!(kind, FileTooLarge | InvalidData | InvalidInput | IsADirectory | NotADirectory | PermissionDenied)
}

/// Whether `dir` holds the whole of `batch`: the same drops, each with as many files and bytes as it should have. The
/// content is not read again: the id covers every hash, and the directory became visible after a sync.
///
/// # Errors
/// The error from the file system; a missing file is no error.
pub fn is_whole_in(fs: &dyn Fs, dir: &Path, batch: &Batch) -> io::Result<bool> {
    let Some(found) = read(fs, dir)? else {
        return Ok(false);
    };
    if found.id != batch.id || found.drops.len() != batch.drops.len() {
        return Ok(false);
    }
    for drop in &found.drops {
        if drop.dir.is_empty() || !drop.dir.bytes().all(|b| b.is_ascii_digit()) {
            return Ok(false);
        }
        match crate::staging::measure(fs, &dir.join(&drop.dir), u64::MAX) {
            Ok(size) if size.files == drop.files && size.bytes == drop.bytes => {}
            Ok(_) => return Ok(false),
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(e) => return Err(e),
        }
    }
    Ok(true)
}
