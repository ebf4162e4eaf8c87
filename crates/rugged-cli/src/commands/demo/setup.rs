//! The demo's directory: configuration, keys and root, each created when missing.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use durable_fs::{Fs, durable};
use fleet::{Config, KeyRole};
use root_worker::KeyRequest;
use service::clock::{Clock as _, SystemClock};
use service::config::Sources;

use crate::error::CliError;
use crate::output::count;

/// The name of the configuration file in the demo's directory.
pub const CONFIG_FILE: &str = "config.yaml";

/// The configuration file of the demo in `dir`.
pub fn config_file(dir: &Path) -> PathBuf {
    dir.join(CONFIG_FILE)
}

/// Refuses a directory with a repository whose keys the demo does not have, before anything is written.
///
/// # Errors
/// When it holds one, or cannot be read.
pub fn refuse_other_repository(fs: &dyn Fs, dir: &Path) -> Result<(), CliError> {
    let there = |path: &Path| {
        Ok::<_, CliError>(durable::stat_if_there(fs, path).map_err(|error| CliError::reading(path, error))?.is_some())
    };
    let root = dir.join("repo/metadata/1.root.json");
    if !there(&root)? || there(&dir.join("keys/signing"))? {
        return Ok(());
    }
    let message = format!("{} exists, and its keys are not in {}", root.display(), dir.join("keys/signing").display());
    Err(CliError::request_refused(message).hint("choose another directory with --dir"))
}

/// Creates the directory and its configuration, and returns its absolute path.
///
/// # Errors
/// When it cannot be written, or holds the configuration of another directory or of production.
pub fn prepare_directory(fs: &dyn Fs, dir: &Path) -> Result<(PathBuf, Arc<Config>), CliError> {
    durable::create_dir_all(fs, dir, 0o755).map_err(|error| CliError::writing(dir, error))?;
    let dir = dir.canonicalize().map_err(|error| CliError::reading(dir, error))?;
    let file = config_file(&dir);
    if durable::stat_if_there(fs, &file).map_err(|error| CliError::reading(&file, error))?.is_none() {
        let text = config_text(&dir)?;
        durable::create(fs, &file, text.as_bytes(), 0o644).map_err(|error| CliError::writing(&file, error))?;
    }
    // The file alone counts, without the environment, so that later commands use the same settings.
    let config = Config::load(&Sources { file: Some(file.clone()), ..Sources::default() }, fs)?;
    if config.repo_path != dir.join("repo") || config.post_to_tuf_path != dir.join("post_to_tuf") {
        return Err(CliError::invalid_input(format!("{} names the paths of another directory", file.display()))
            .hint("if the demo was moved or the file edited, remove the file; the demo then writes a new one"));
    }
    if config.is_production() {
        return Err(CliError::request_refused(format!("{} sets `environment: production`", file.display()))
            .hint("choose another directory with --dir: the demo holds the keys of every role in one process"));
    }
    Ok((dir, Arc::new(config)))
}

fn config_text(dir: &Path) -> Result<String, CliError> {
    let path = |below: &str| {
        let path = dir.join(below);
        // A JSON string is a YAML string.
        let text = path
            .to_str()
            .ok_or_else(|| CliError::invalid_input(format!("the path {} is not UTF-8", path.display())))?;
        Ok::<_, CliError>(serde_json::Value::from(text).to_string())
    };
    Ok(format!(
        "# Written by `rugged demo`. `rugged --config FILE config` shows every setting.\n\
         environment: development\n\
         broker_url: memory://\n\
         post_to_tuf_path: {}\n\
         inbound_targets_path: {}\n\
         repo_path: {}\n\
         signing_keys_path: {}\n\
         verification_keys_path: {}\n\
         state_path: {}\n",
        path("post_to_tuf")?,
        path("incoming_targets")?,
        path("repo")?,
        path("keys/signing")?,
        path("keys/verification")?,
        path("state")?,
    ))
}

/// Generates keys for the roles that have none.
///
/// # Errors
/// When they cannot be written.
pub fn prepare_keys(fs: &dyn Fs, config: &Config) -> Result<String, CliError> {
    let has_key = |role: &KeyRole| {
        fs.read_dir(&config.verification_keys_path.join(role.as_str())).is_ok_and(|entries| !entries.is_empty())
    };
    let missing: Vec<KeyRole> = KeyRole::ALL.into_iter().filter(|role| !has_key(role)).collect();
    if missing.is_empty() {
        return Ok(format!("{} found", count(KeyRole::ALL.len() as u64, "role key")));
    }
    let made = root_worker::generate_keys(fs, config, &KeyRequest { roles: missing, ..KeyRequest::default() })?;
    Ok(format!("{} generated in keys/", count(made.len() as u64, "Ed25519 key")))
}

/// Writes and pins the first root, unless it exists.
///
/// # Errors
/// When it cannot be written.
pub fn prepare_root(fs: &Arc<dyn Fs>, config: &Config) -> Result<String, CliError> {
    let there = |path: &Path| durable::stat_if_there(fs.as_ref(), path).map_err(|error| CliError::reading(path, error));
    let first = config.metadata_path().join("1.root.json");
    if there(&first)?.is_some() && there(&config.trusted_root)?.is_some() {
        return Ok("repo/metadata/1.root.json found".to_owned());
    }
    root_worker::initialize(fs, config, SystemClock.now())?;
    Ok("repo/metadata/1.root.json signed and pinned".to_owned())
}
