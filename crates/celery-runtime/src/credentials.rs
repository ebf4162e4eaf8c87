//! Files of credentials: certificates, private keys, passwords.
//!
//! Each connection reads them again, so that they can be replaced under a running process.

use std::{
    collections::BTreeSet,
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
    sync::Mutex,
};

use rustix::fs::{FileType, Mode, OFlags};

use crate::sync::lock;

/// The largest file of credentials, in bytes. Every certificate authority of the world fits.
const MAX_CREDENTIALS_BYTES: u64 = 1 << 20;
/// Directories in which orchestrators mount secrets with modes of their own choosing.
const SECRET_MOUNTS: [&str; 2] = ["/run/secrets", "/run/credentials"];

/// Why a file of credentials cannot be used. Never quotes the file.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CredentialsError {
    /// The file cannot be opened or read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// The path names a directory, a device or a pipe.
    #[error("{path} is not a file")]
    NotAFile {
        /// The path.
        path: PathBuf,
    },
    /// Users other than the owner can read the secret.
    #[error("{path} can be read by others (mode {mode:03o}): run `chmod 400 {path}`")]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The file is too large to hold credentials.
    #[error("{path} is larger than {MAX_CREDENTIALS_BYTES} bytes")]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// The file of a password is not text.
    #[error("{path} is not UTF-8 text")]
    NotUtf8 {
        /// The file.
        path: PathBuf,
    },
    /// The file of a password is empty or has several lines.
    #[error("{path} does not hold one line with a password")]
    NotOneLine {
        /// The file.
        path: PathBuf,
    },
    /// The process is ending.
    #[error("reading {path} was interrupted")]
    Interrupted {
        /// The file.
        path: PathBuf,
    },
}

/// Reads a file that every user may read.
pub(crate) async fn read_public(path: &Path) -> Result<Vec<u8>, CredentialsError> {
    read(path, false).await
}

/// Reads a file that only its owner may read. Below `/run/secrets` and `/run/credentials`, where orchestrators set the mode, a
/// wider mode is only logged.
pub(crate) async fn read_secret(path: &Path) -> Result<Vec<u8>, CredentialsError> {
    read(path, true).await
}

/// Reads the password in a file, without the end of its line.
pub(crate) async fn read_password(path: &Path) -> Result<String, CredentialsError> {
    let bytes = read_secret(path).await?;
    let text = String::from_utf8(bytes).map_err(|_| CredentialsError::NotUtf8 { path: path.to_owned() })?;
    let password = text.trim_end_matches(['\r', '\n']);
    if password.is_empty() || password.contains(['\r', '\n']) {
        return Err(CredentialsError::NotOneLine { path: path.to_owned() });
    }
    Ok(password.to_owned())
}

/// The password to use now: that of the file, if there is one, otherwise `password`.
pub(crate) async fn present_password(password: &str, file: Option<&PathBuf>) -> Result<String, CredentialsError> {
    match file {
        Some(path) => read_password(path).await,
        None => Ok(password.to_owned()),
    }
}

async fn read(path: &Path, secret: bool) -> Result<Vec<u8>, CredentialsError> {
    let path = path.to_owned();
    let interrupted = CredentialsError::Interrupted { path: path.clone() };
    // In a thread of its own, because a mount may hang.
    let reading = tokio::task::spawn_blocking(move || read_blocking(&path, secret));
    reading.await.unwrap_or(Err(interrupted))
}

fn read_blocking(path: &Path, secret: bool) -> Result<Vec<u8>, CredentialsError> {
    let failed = |source: io::Error| CredentialsError::Read { path: path.to_owned(), source };
    // Links are followed: mounted secrets are links. A pipe must not block.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = rustix::fs::open(path, flags, Mode::empty()).map_err(|error| failed(error.into()))?;
    let stat = rustix::fs::fstat(&file).map_err(|error| failed(error.into()))?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(CredentialsError::NotAFile { path: path.to_owned() });
    }
    let mode = stat.st_mode & 0o777;
    if secret && mode & 0o077 != 0 {
        if !SECRET_MOUNTS.iter().any(|mount| path.starts_with(mount)) {
            return Err(CredentialsError::Exposed { path: path.to_owned(), mode });
        }
        warn_once(path, mode);
    }
    let mut bytes = Vec::new();
    File::from(file).take(MAX_CREDENTIALS_BYTES + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > MAX_CREDENTIALS_BYTES {
        return Err(CredentialsError::TooLarge { path: path.to_owned() });
    }
    Ok(bytes)
}

/// Warns of an exposed secret once in the life of this process.
fn warn_once(path: &Path, mode: u32) {
    static WARNED: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());
    if lock(&WARNED).insert(path.to_owned()) {
        tracing::warn!(path = %path.display(), mode = %format_args!("{mode:03o}"), "secret file can be read by others");
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "tests arrange files as someone else would")]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn file(dir: &Path, name: &str, text: &str, mode: u32) -> PathBuf {
        let path = dir.join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        path
    }

    #[tokio::test]
    async fn a_secret_that_others_can_read_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        for mode in [0o440, 0o404, 0o640] {
            let path = file(dir.path(), &format!("{mode:o}"), "s3cret\n", mode);
            let error = read_secret(&path).await.unwrap_err().to_string();
            assert!(error.contains(&format!("(mode {mode:03o})")) && error.contains("chmod 400"), "{error}");
            assert!(!error.contains("s3cret"), "{error}");
            assert_eq!(read_public(&path).await.unwrap(), b"s3cret\n");
        }
        assert_eq!(read_password(&file(dir.path(), "own", "s3cret\r\n", 0o400)).await.unwrap(), "s3cret");
    }

    #[tokio::test]
    async fn an_unusable_file_is_named_by_its_path() {
        let dir = tempfile::tempdir().unwrap();
        let missing = read_public(&dir.path().join("missing")).await.unwrap_err().to_string();
        assert!(missing.contains("missing: No such file"), "{missing}");
        assert!(read_public(dir.path()).await.unwrap_err().to_string().ends_with("is not a file"));
        for text in ["", "\n", "two\nlines\n"] {
            let error = read_password(&file(dir.path(), "password", text, 0o600)).await.unwrap_err().to_string();
            assert!(error.contains("one line"), "{error}");
        }
        let large = file(dir.path(), "large", &"x".repeat(1 + (1 << 20)), 0o600);
        assert!(read_public(&large).await.unwrap_err().to_string().contains("larger"));
    }
}
