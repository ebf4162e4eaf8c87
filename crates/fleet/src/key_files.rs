//! Keys on disk: private ones as PEM in `signing_keys_path/ROLE/NAME`, public ones as TUF key objects in
//! `verification_keys_path/ROLE/NAME.json`.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use durable_fs::{FileKind, Fs, durable};
use tuf_core::key::{FileSigner, KeyError, PublicKey, Signer};

/// Largest key file read, in bytes.
pub const MAX_KEY_FILE: u64 = 64 << 10;
/// Directories where orchestrators mount secrets, with modes that they choose.
const SECRETS: [&str; 2] = ["/run/secrets", "/run/credentials"];

/// Why keys cannot be used. Never holds key material.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeysError {
    /// The directory or a file in it cannot be read.
    #[error("cannot read {path}: {source}")]
    Io {
        /// The path.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// The directory holds no key.
    #[error("{0} holds no key: generate one with `rugged generate-keys`, or mount the role's key there")]
    None(PathBuf),
    /// Others can read a private key.
    #[error("{path} can be read by others (mode {mode:03o}): run `chmod 400 {path}`")]
    Exposed {
        /// The path.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// The file is not a key.
    #[error("{path}: {source}")]
    Malformed {
        /// The path.
        path: PathBuf,
        /// The reason.
        source: KeyError,
    },
}

/// The private keys in `dir`: those named, or all of them. Keys that others can read are refused, with a warning only
/// below `/run/secrets` and `/run/credentials`.
///
/// # Errors
/// [`KeysError`].
pub fn signers(fs: &dyn Fs, dir: &Path, names: &[String]) -> Result<Vec<Arc<dyn Signer>>, KeysError> {
    let mut signers: Vec<Arc<dyn Signer>> = Vec::new();
    for path in key_files(fs, dir, names, "")? {
        let io = |source| KeysError::Io { path: path.clone(), source };
        let mode = fs.stat(&path).map_err(io)?.mode & 0o777;
        if mode & 0o077 != 0 {
            if !SECRETS.iter().any(|mounted| path.starts_with(mounted)) {
                return Err(KeysError::Exposed { path, mode });
            }
            tracing::warn!(key.path = %path.display(), key.mode = %format_args!("{mode:03o}"), "key readable by others");
        }
        let pem = zeroizing(durable::read_bounded(fs, &path, MAX_KEY_FILE).map_err(io)?);
        let signer =
            FileSigner::from_pem(&pem.0).map_err(|source| KeysError::Malformed { path: path.clone(), source })?;
        signers.push(Arc::new(signer));
    }
    if signers.is_empty() {
        return Err(KeysError::None(dir.to_owned()));
    }
    Ok(signers)
}

/// The public keys in `dir` (`NAME.json`): those named, or all of them, in order of their names.
///
/// # Errors
/// [`KeysError`].
pub fn public_keys(fs: &dyn Fs, dir: &Path, names: &[String]) -> Result<Vec<PublicKey>, KeysError> {
    let mut keys = Vec::new();
    for path in key_files(fs, dir, names, ".json")? {
        let bytes = durable::read_bounded(fs, &path, MAX_KEY_FILE)
            .map_err(|source| KeysError::Io { path: path.clone(), source })?;
        let key = PublicKey::from_json(&bytes).map_err(|source| KeysError::Malformed { path: path.clone(), source })?;
        keys.push(key);
    }
    if keys.is_empty() {
        return Err(KeysError::None(dir.to_owned()));
    }
    Ok(keys)
}

fn key_files(fs: &dyn Fs, dir: &Path, names: &[String], suffix: &str) -> Result<Vec<PathBuf>, KeysError> {
    if !names.is_empty() {
        return Ok(names.iter().map(|name| dir.join(format!("{name}{suffix}"))).collect());
    }
    let entries = fs.read_dir(dir).map_err(|source| KeysError::Io { path: dir.to_owned(), source })?;
    let mut files: Vec<PathBuf> = entries
        .into_iter()
        .filter(|entry| entry.kind == FileKind::File)
        .filter(|entry| entry.name.to_str().is_some_and(|name| !name.starts_with('.') && name.ends_with(suffix)))
        .map(|entry| dir.join(entry.name))
        .collect();
    files.sort();
    Ok(files)
}

/// Bytes that are wiped when dropped.
struct Wiped(Vec<u8>);

fn zeroizing(bytes: Vec<u8>) -> Wiped {
    Wiped(bytes)
}

impl Drop for Wiped {
    fn drop(&mut self) {
        zeroize::Zeroize::zeroize(&mut self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use service::telemetry::{LogFormat, captured_lines};
    use testkit::sim_fs::SimFs;
    use tuf_core::key::ed25519;

    fn with_key(dir: &str, mode: u32) -> SimFs {
        let fs = SimFs::new();
        fs.plant_dir(dir);
        let pair = ed25519(&ring::rand::SystemRandom::new()).unwrap();
        let mut file = fs.create_new(&Path::new(dir).join("key"), mode).unwrap();
        io::Write::write_all(&mut file, pair.private_pem.as_bytes()).unwrap();
        fs
    }

    #[test]
    fn a_group_readable_key_is_refused_and_under_run_secrets_used_with_a_warning() {
        for mode in [0o440, 0o444, 0o404] {
            let fs = with_key("/keys", mode);
            let error = signers(&fs, Path::new("/keys"), &[]).map(drop).unwrap_err().to_string();
            assert_eq!(error, format!("/keys/key can be read by others (mode {mode:03o}): run `chmod 400 /keys/key`"));
            let fs = with_key("/run/secrets/targets", mode);
            let said = captured_lines(LogFormat::Json, || {
                assert_eq!(signers(&fs, Path::new("/run/secrets/targets"), &[]).unwrap().len(), 1);
            });
            assert!(
                said.contains("\"warn\"")
                    && said.contains("key readable by others")
                    && said.contains("\"key.path\":\"/run/secrets/targets/key\"")
                    && said.contains(&format!("\"key.mode\":\"{mode:03o}\"")),
                "{said}"
            );
        }
        let said = captured_lines(LogFormat::Json, || {
            let fs = with_key("/run/secrets/targets", 0o400);
            assert_eq!(signers(&fs, Path::new("/run/secrets/targets"), &[]).unwrap().len(), 1);
        });
        assert_eq!(said, "");
    }
}
