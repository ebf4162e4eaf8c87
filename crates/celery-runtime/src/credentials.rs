//! Reading files of credentials: certificates, private keys, passwords. They are read anew for each connection, so that they
//! can be replaced under a running process.

use std::{
    collections::BTreeSet,
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use rustix::fs::{FileType, Mode, OFlags};

/// Largest file read, in bytes: every authority of the world fits.
const MAX_BYTES: u64 = 1 << 20;
/// Where orchestrators mount secrets with modes of their own choosing.
const MOUNTED: [&str; 2] = ["/run/secrets", "/run/credentials"];

/// A file that anybody may read.
pub(crate) async fn public(path: &Path) -> Result<Vec<u8>, String> {
    read(path, false).await
}

/// A file that its owner alone may read; a warning is enough where an orchestrator mounted it.
pub(crate) async fn secret(path: &Path) -> Result<Vec<u8>, String> {
    read(path, true).await
}

/// The password in a file, without the end of its line.
pub(crate) async fn password(path: &Path) -> Result<String, String> {
    let text = String::from_utf8(secret(path).await?).map_err(|_| format!("{} is not UTF-8 text", path.display()))?;
    let password = text.trim_end_matches(['\r', '\n']);
    if password.is_empty() || password.contains(['\r', '\n']) {
        return Err(format!("{} does not hold one line with a password", path.display()));
    }
    Ok(password.to_owned())
}

async fn read(path: &Path, secret: bool) -> Result<Vec<u8>, String> {
    let path = path.to_owned();
    // A mount may hang.
    match tokio::task::spawn_blocking(move || read_now(&path, secret)).await {
        Ok(outcome) => outcome,
        Err(_) => Err("reading a file of credentials was interrupted".to_owned()),
    }
}

fn read_now(path: &Path, secret: bool) -> Result<Vec<u8>, String> {
    let failed = |error: io::Error| format!("cannot read {}: {error}", path.display());
    // Links are followed: mounted secrets are links. A pipe must not block.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = rustix::fs::open(path, flags, Mode::empty()).map_err(|error| failed(error.into()))?;
    let stat = rustix::fs::fstat(&file).map_err(|error| failed(error.into()))?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(format!("{} is not a file", path.display()));
    }
    let mode = stat.st_mode & 0o777;
    if secret && mode & 0o077 != 0 {
        let problem = format!("{} can be read by others (mode {mode:03o})", path.display());
        if !MOUNTED.iter().any(|mounted| path.starts_with(mounted)) {
            return Err(format!("{problem}: run `chmod 400 {}`", path.display()));
        }
        tell_once(path, &problem);
    }
    let mut bytes = Vec::new();
    File::from(file).take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(format!("{} is larger than {MAX_BYTES} bytes", path.display()));
    }
    Ok(bytes)
}

fn tell_once(path: &Path, problem: &str) {
    static TOLD: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());
    if TOLD.lock().unwrap_or_else(PoisonError::into_inner).insert(path.to_owned()) {
        tracing::warn!("{problem}");
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
            let error = secret(&path).await.unwrap_err();
            assert!(error.contains(&format!("(mode {mode:03o})")) && error.contains("chmod 400"), "{error}");
            assert!(!error.contains("s3cret"), "{error}");
            assert_eq!(public(&path).await.unwrap(), b"s3cret\n");
        }
        assert_eq!(password(&file(dir.path(), "own", "s3cret\r\n", 0o400)).await.unwrap(), "s3cret");
    }

    #[tokio::test]
    async fn what_is_no_file_of_credentials_is_told_by_its_path() {
        let dir = tempfile::tempdir().unwrap();
        let missing = public(&dir.path().join("missing")).await.unwrap_err();
        assert!(missing.contains("missing: No such file"), "{missing}");
        assert!(public(dir.path()).await.unwrap_err().ends_with("is not a file"));
        for text in ["", "\n", "two\nlines\n"] {
            let error = password(&file(dir.path(), "password", text, 0o600)).await.unwrap_err();
            assert!(error.contains("one line"), "{error}");
        }
        let large = file(dir.path(), "large", &"x".repeat(1 + (1 << 20)), 0o600);
        assert!(public(&large).await.unwrap_err().contains("larger"));
    }
}
