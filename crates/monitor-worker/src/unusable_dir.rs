//! A configured directory that cannot be used.

use std::io;
use std::path::{Path, PathBuf};

/// A directory that cannot be used, with the setting that names it, because the system's error names neither.
#[derive(Debug, thiserror::Error)]
#[error("{setting} {} cannot be used: {source}: mount or create it", dir.display())]
struct UnusableDir {
    setting: &'static str,
    dir: PathBuf,
    source: io::Error,
}

/// `error` of the directory `dir`, which `setting` configures, with both in its message.
pub(crate) fn unusable_dir(setting: &'static str, dir: &Path, error: io::Error) -> io::Error {
    io::Error::new(error.kind(), UnusableDir { setting, dir: dir.to_owned(), source: error })
}
