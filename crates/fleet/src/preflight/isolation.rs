//! One key per process.

use std::io;

use durable_fs::{FileKind, Fs};

use crate::roles::{KeyRole, WorkerRole};
use crate::{Config, FleetError};

/// Fails if this process can open a file in the key directory of any role but `own`: an attacker who takes over one
/// worker must not get two keys. For worker processes only; a process that hosts several roles on purpose warns instead.
///
/// # Errors
/// [`FleetError::ForeignKey`]; [`FleetError::KeyDirectory`] when
/// the directory of keys cannot be listed for a reason other than being absent or closed to us.
pub fn one_key_per_process(fs: &dyn Fs, config: &Config, own: WorkerRole) -> Result<(), FleetError> {
    let unreadable = |dir: &std::path::Path, source: io::Error| match source.kind() {
        // Absent, or closed to this process: as it should be.
        io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied | io::ErrorKind::NotADirectory => Ok(Vec::new()),
        _ => Err(FleetError::KeyDirectory { path: dir.to_owned(), source }),
    };
    let keys = &config.signing_keys_path;
    // Only the worker's own directory may be mounted and the parent unlisted; the well-known roles are tried all the same.
    let mut roles: Vec<std::ffi::OsString> = KeyRole::ALL.map(|role| role.as_str().into()).into();
    for entry in fs.read_dir(keys).or_else(|error| unreadable(keys, error))? {
        if entry.kind == FileKind::Dir && !roles.contains(&entry.name) {
            roles.push(entry.name);
        }
    }
    for role in roles.iter().filter(|role| *role != own.as_str()) {
        let dir = keys.join(role);
        for entry in fs.read_dir(&dir).or_else(|error| unreadable(&dir, error))? {
            let path = dir.join(&entry.name);
            if entry.kind == FileKind::File && fs.open(&path).is_ok() {
                return Err(FleetError::ForeignKey { own, key: path, directory: dir });
            }
        }
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "tests arrange files as someone else would")]
mod tests {
    use super::*;
    use durable_fs::RealFs;
    use service::exit_code::WorkerExit;

    #[test]
    fn a_worker_that_can_open_another_roles_key_refuses_to_start() {
        let dir = tempfile::tempdir().unwrap();
        let config = Config::beneath(dir.path()).build().unwrap();
        assert!(one_key_per_process(&RealFs, &config, WorkerRole::Targets).is_ok(), "no keys at all");
        for role in [KeyRole::Targets, KeyRole::Snapshot] {
            std::fs::create_dir_all(config.signing_keys_of(role)).unwrap();
        }
        std::fs::write(config.signing_keys_of(KeyRole::Targets).join("targets"), "key").unwrap();
        assert!(
            one_key_per_process(&RealFs, &config, WorkerRole::Targets).is_ok(),
            "its own key, and an empty directory"
        );
        let error = one_key_per_process(&RealFs, &config, WorkerRole::Snapshot).unwrap_err();
        assert_eq!(error.exit_code(), WorkerExit::Refused);
        assert!(error.to_string().contains("targets/targets"), "{error}");
    }

    #[test]
    fn directories_of_roles_we_do_not_know_count_too() {
        let dir = tempfile::tempdir().unwrap();
        let config = Config::beneath(dir.path()).build().unwrap();
        std::fs::create_dir_all(config.signing_keys_path.join("mirrors")).unwrap();
        std::fs::write(config.signing_keys_path.join("mirrors").join("key"), "key").unwrap();
        assert!(one_key_per_process(&RealFs, &config, WorkerRole::Targets).is_err());
    }
}
