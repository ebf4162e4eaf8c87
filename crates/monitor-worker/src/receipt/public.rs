//! The receipts in the drop directory, for the producers.

use std::io;
use std::path::{Path, PathBuf};

use durable_fs::{FileKind, Fs, durable};

use super::format::Receipt;
use super::write_files::write_files;
use crate::drop_dir::RECEIPT;

const PUBLIC_MODE: u32 = 0o644;
/// How many foreign files may be moved out of one receipt's place.
const MAX_MOVED_ASIDE: u32 = 100;

/// Writes the receipts for the producers into the drop directory, durably, each replacing an older one of its name. Anything
/// else of that name is renamed; if that fails, the drop ends without a public receipt, so that other drops do not wait.
///
/// # Errors
/// The error from the file system.
pub fn write_public(fs: &dyn Fs, post: &Path, receipts: &[Receipt]) -> io::Result<()> {
    let mut files = Vec::with_capacity(receipts.len());
    for receipt in receipts {
        let public = Receipt { post: None, ..receipt.clone() };
        files.push((format!("{RECEIPT}{}.json", receipt.name), public.to_bytes()?));
    }
    write_files(fs, post, &files, PUBLIC_MODE, &|new, name| {
        match durable::rename_over(fs, new, name) {
            Err(_) if is_taken(fs, new, name) => {}
            other => return other,
        }
        let renamed = move_aside(fs, name).and_then(|aside| {
            tracing::warn!(path = %name.display(), renamed_to = %aside.display(), "foreign file moved out of a receipt's place");
            durable::rename_over(fs, new, name)
        });
        if let Err(error) = renamed {
            tracing::error!(path = %name.display(), %error, "receipt not written; its drop ends without one");
            // A temporary file that stays behind is collected by age.
            let _ = fs.remove_file(new);
        }
        Ok(())
    })
}

/// Whether `name` cannot be replaced by our file `new`, because it is no file, or another user's.
fn is_taken(fs: &dyn Fs, new: &Path, name: &Path) -> bool {
    let (Ok(ours), Ok(theirs)) = (fs.stat(new), fs.stat(name)) else { return false };
    theirs.kind != FileKind::File || theirs.uid != ours.uid
}

/// Renames a foreign `name` to the first free `name.json.N`.
fn move_aside(fs: &dyn Fs, name: &Path) -> io::Result<PathBuf> {
    for number in 1..=MAX_MOVED_ASIDE {
        let aside = name.with_extension(format!("json.{number}"));
        if durable::stat_if_there(fs, &aside)?.is_none() && durable::rename_dir(fs, name, &aside)? {
            return Ok(aside);
        }
    }
    Err(io::Error::new(
        io::ErrorKind::AlreadyExists,
        format!("too many foreign files moved out of the place of {}", name.display()),
    ))
}
