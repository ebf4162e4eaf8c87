//! Probes of a role's file operations, with files that every worker ignores.

use std::io;

use durable_fs::{FileKind, Fs, durable};

use super::finding::Findings;
use crate::places::RolePlace;

/// The result of the write probe.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct WriteProbe {
    /// The modification time that the mount gave.
    pub mtime: i64,
    /// The mode that a file for all to read got.
    pub mode: u32,
}

/// Writes, links, renames and removes a file, and creates and removes a directory.
pub(super) fn write(fs: &dyn Fs, place: &RolePlace, findings: &mut Findings) -> Option<WriteProbe> {
    let dir = place.path.as_path();
    // Names of temporary files, which are collected if this process dies here.
    let [file, link, renamed, below] = std::array::from_fn(|_| durable::temp_path(dir));
    let mut step = |doing: &str, result: io::Result<()>| match result {
        Ok(()) => true,
        Err(error) => {
            let advice = match error.kind() {
                io::ErrorKind::PermissionDenied => "give this worker's user (or its group) the right to write there",
                io::ErrorKind::ReadOnlyFilesystem => "mount it read-write",
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                    "free some space: releases that do not fit have to wait"
                }
                _ => "check this mount in the system's log",
            };
            findings.warn("write", dir, format!("{doing} there fails: {error}"), advice);
            false
        }
    };
    let written = fs.create_new(&file, 0o644).and_then(|mut file| {
        file.write_all(b"x")?;
        file.sync()
    });
    if !step("writing a file", written) {
        let _ = fs.remove_file(&file);
        return None;
    }
    let probe = fs.stat(&file).map(|stat| WriteProbe { mtime: stat.mtime, mode: stat.mode }).ok();
    let linked = step("linking a file", fs.link(&file, &link));
    let moved = linked && step("renaming a file", fs.rename(&link, &renamed));
    let left = if moved { &renamed } else { &link };
    if linked {
        step("removing a file", fs.remove_file(left));
    }
    step("removing a file", fs.remove_file(&file));
    if step("creating a directory", fs.create_dir(&below, 0o700)) {
        step("removing a directory", fs.remove_dir(&below));
    }
    step("syncing the directory", fs.sync_dir(dir));
    probe
}

/// Opens a directory or file that is only read.
pub(super) fn read(fs: &dyn Fs, place: &RolePlace, findings: &mut Findings) {
    let readable = match fs.stat(&place.path) {
        Ok(stat) if stat.kind == FileKind::File => fs.open(&place.path).map(drop),
        _ => fs.read_dir(&place.path.join("")).map(drop),
    };
    if let Err(error) = readable {
        let advice = "give this worker's user (or its group) the right to read there";
        findings.warn("place", &place.path, format!("{} cannot be read: {error}", place.kind), advice);
    }
}
