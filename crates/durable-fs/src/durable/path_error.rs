//! I/O errors with the action and the path.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// The directory of `path`; `.` for a bare name.
pub(super) fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(above) if above.as_os_str().is_empty() => Path::new("."),
        Some(above) => above,
        None => path,
    }
}

/// Adds the action and the path to an error. The kind stays.
pub(super) fn context(doing: &'static str, path: &Path, error: io::Error) -> io::Error {
    io::Error::new(error.kind(), PathError { doing, path: path.to_path_buf(), source: error })
}

/// An I/O error with its action and path.
#[derive(Debug)]
struct PathError {
    doing: &'static str,
    path: PathBuf,
    source: io::Error,
}

impl fmt::Display for PathError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.doing, self.path.display(), self.source)
    }
}

impl std::error::Error for PathError {
    // The message already holds that of `source`.
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        std::error::Error::source(&self.source)
    }
}
