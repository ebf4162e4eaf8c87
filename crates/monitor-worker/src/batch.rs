//! A batch: drops that are signed together, described by the `BATCH.json` of the task contract.

use std::ffi::OsStr;
use std::io;
use std::path::Path;

use durable_fs::{Fs, durable};
use fleet::contract::{BATCH_FILE, BATCH_FORMAT, BATCH_PREFIX, Batch, BatchDrop, MAX_BATCH_FILE};
use tuf_core::sha256::Sha256Hasher;

/// A batch of `drops`, in this order.
pub fn new_batch(drops: Vec<BatchDrop>) -> Batch {
    let id = batch_id(drops.iter().map(|d| (d.name.as_str(), d.digest.as_str())));
    Batch { format: BATCH_FORMAT, id, drops }
}

/// Name of the batch's directory below the inbound directory.
pub fn dir_name(batch: &Batch) -> String {
    format!("{BATCH_PREFIX}{}", batch.id)
}

/// Whether `name` is that of a batch directory. No other directory has such a name by chance.
pub fn is_dir_name(name: &OsStr) -> bool {
    let id = name.to_str().and_then(|name| name.strip_prefix(BATCH_PREFIX));
    id.is_some_and(|id| id.len() == 32 && id.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')))
}

/// Reads the description in the batch directory `dir`; `None` when it is missing or this version cannot read it.
///
/// # Errors
/// The error from the file system.
pub fn read(fs: &dyn Fs, dir: &Path) -> io::Result<Option<Batch>> {
    match durable::read_bounded(fs, &dir.join(BATCH_FILE), MAX_BATCH_FILE) {
        Ok(bytes) => Ok(serde_json::from_slice::<Batch>(&bytes).ok().filter(|batch| batch.format == BATCH_FORMAT)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
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

/// The id of a set of drops `(name, digest)`. It depends neither on the monitor nor on the order.
pub fn batch_id<'a>(drops: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    let mut drops: Vec<_> = drops.collect();
    drops.sort_unstable();
    let mut hasher = Sha256Hasher::new();
    for (name, digest) in drops {
        hasher.update(name.as_bytes());
        hasher.update(b"\0");
        hasher.update(digest.as_bytes());
        hasher.update(b"\n");
    }
    let mut id = hasher.finish().to_string();
    id.truncate(32);
    id
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_depends_on_the_set_and_not_on_the_order() {
        let ab = batch_id([("a", "1"), ("b", "2")].into_iter());
        assert_eq!(ab.len(), 32);
        assert_eq!(ab, batch_id([("b", "2"), ("a", "1")].into_iter()));
        assert_ne!(ab, batch_id([("a", "2"), ("b", "1")].into_iter()));
        assert_ne!(ab, batch_id([("a", "1")].into_iter()));
    }

    #[test]
    fn the_description_is_written_as_documented() {
        let drop = BatchDrop { dir: "0".into(), name: "X".into(), digest: "d".into(), files: 1, bytes: 2 };
        let batch = new_batch(vec![drop]);
        assert_eq!(
            serde_json::to_string(&batch).unwrap(),
            format!(
                r#"{{"format":1,"id":"{}","drops":[{{"dir":"0","name":"X","digest":"d","files":1,"bytes":2}}]}}"#,
                batch.id
            )
        );
    }
}
