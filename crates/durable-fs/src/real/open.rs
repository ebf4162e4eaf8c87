//! Opening files and directories without being led astray by links.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Component, Path};

use rustix::fs::{self, AtFlags, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::{Errno, retry_on_intr};

use super::handles::RealRead;
use super::stat::kind_of;
use crate::{FileKind, ReadFile};

/// The flags for files that are only read: no link, no wait for a FIFO's writer, no terminal.
pub(super) const READ: OFlags =
    OFlags::RDONLY.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC).union(OFlags::NONBLOCK).union(OFlags::NOCTTY);
/// The flags for files that must be new.
pub(super) const NEW: OFlags =
    OFlags::WRONLY.union(OFlags::CREATE).union(OFlags::EXCL).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
/// The flags for directories.
pub(super) const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::CLOEXEC).union(OFlags::DIRECTORY);

fn not_regular(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, format!("not a regular file but {what}"))
}

/// The error of an open call. Some errors of the kernel only mean that the file is not a regular one.
pub(super) fn open_error(error: Errno) -> io::Error {
    match error {
        Errno::LOOP => not_regular("a symbolic link, or below one"),
        Errno::NXIO | Errno::NODEV => not_regular("a socket, FIFO or device"),
        Errno::XDEV => io::Error::new(io::ErrorKind::InvalidInput, "the path leaves its directory"),
        other => other.into(),
    }
}

/// An open file as a reader, if it is a regular file.
pub(super) fn regular(fd: OwnedFd) -> io::Result<Box<dyn ReadFile>> {
    match kind_of(FileType::from_raw_mode(retry_on_intr(|| fs::fstat(&fd))?.st_mode)) {
        FileKind::File => Ok(Box::new(RealRead(File::from(fd)))),
        FileKind::Dir => Err(not_regular("a directory")),
        FileKind::Symlink => Err(not_regular("a symbolic link")),
        FileKind::Other => Err(not_regular("a socket, FIFO or device")),
    }
}

/// Opens a directory and follows a link in the last component, which does no harm for a sync or a query of free space.
pub(super) fn open_dir(dir: &Path) -> io::Result<OwnedFd> {
    Ok(retry_on_intr(|| fs::open(dir, DIRECTORY, Mode::empty()))?)
}

/// Opens component by component, for kernels without `openat2`. No component may be a link; `relative` holds no `..`.
fn open_component_wise(dir: &OwnedFd, relative: &Path) -> io::Result<OwnedFd> {
    let names: Vec<&OsStr> =
        relative.components().filter(|c| *c != Component::CurDir).map(Component::as_os_str).collect();
    let Some((last, parents)) = names.split_last() else {
        return Err(not_regular("a directory"));
    };
    let mut at: Option<OwnedFd> = None;
    for name in parents {
        let base = at.as_ref().unwrap_or(dir);
        let next = retry_on_intr(|| fs::openat(base, *name, DIRECTORY | OFlags::NOFOLLOW, Mode::empty()));
        // A link opened with O_DIRECTORY is ENOTDIR. Report the link, as openat2 does.
        at = Some(next.map_err(|error| match error {
            Errno::NOTDIR if is_link(base, name) => open_error(Errno::LOOP),
            other => open_error(other),
        })?);
    }
    let base = at.as_ref().unwrap_or(dir);
    retry_on_intr(|| fs::openat(base, *last, READ, Mode::empty())).map_err(open_error)
}

fn is_link(dir: &OwnedFd, name: &OsStr) -> bool {
    retry_on_intr(|| fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW))
        .is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Symlink)
}

/// Opens a regular file below `dir` without following a link in any component.
pub(super) fn open_beneath(dir: &Path, relative: &Path) -> io::Result<Box<dyn ReadFile>> {
    // The kernel would allow a `..` that stays inside, but no honest path has one.
    if !relative.components().all(|component| matches!(component, Component::Normal(_) | Component::CurDir)) {
        return Err(open_error(Errno::XDEV));
    }
    let dir = open_dir(dir)?;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    // The kernel answers EAGAIN when a rename elsewhere raced with the lookup.
    let mut tries = 0;
    let fd = loop {
        match fs::openat2(&dir, relative, READ, Mode::empty(), resolve) {
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) if tries < 16 => tries += 1,
            // Too old a kernel, or a container's filter that does not know the call.
            Err(Errno::NOSYS | Errno::PERM | Errno::AGAIN) => {
                break open_component_wise(&dir, relative)?;
            }
            other => break other.map_err(open_error)?,
        }
    };
    regular(fd)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::{Fs as _, RealFs, durable};

    #[test]
    fn without_openat2_a_path_is_walked_with_the_same_answers() {
        let temp = tempfile::tempdir().unwrap();
        let at = |name: &str| temp.path().join(name);
        durable::create_dir_all(&RealFs, &at("a/b"), 0o755).unwrap();
        durable::create(&RealFs, &at("a/b/f"), b"x", 0o644).unwrap();
        symlink("b", at("a/link")).unwrap();
        symlink("f", at("a/b/link")).unwrap();
        let dir = open_dir(temp.path()).unwrap();
        for path in ["a/b/f", "./a/./b/f", "a/link/f", "a/b/link", "a/b", "a/b/none", "a/b/f/x", "none/f", "."] {
            let walked = open_component_wise(&dir, Path::new(path)).and_then(regular).map(drop);
            let opened = RealFs.open_beneath(temp.path(), Path::new(path)).map(drop);
            assert_eq!(walked.map_err(|error| error.to_string()), opened.map_err(|error| error.to_string()), "{path}");
        }
    }
}
