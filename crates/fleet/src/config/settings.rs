//! The configuration of a worker, with its types.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use celery_runtime::broker::ConnectOptions;
use service::config::Setting;
use service::settings::ProcessSettings;
use tuf_core::key::KeyIdFormat;

use super::roles::{KeyNames, RoleConfig, Roles};
use super::schedule::ScheduledTask;
use crate::policy::PathPatterns;
use crate::roles::{KeyRole, WorkerRole};

/// The names that targets of a release may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TargetNames {
    /// Those that every client can fetch.
    Portable,
    /// Every name that the specification allows.
    Any,
}

/// A complete, valid configuration. Its `Debug` shows no secret.
#[derive(Clone)]
#[non_exhaustive]
pub struct Config {
    /// `environment`: `development`, `testing`, `staging` or `production`.
    pub environment: String,
    /// The settings of the process: instance, broker, sandbox, health address, log.
    pub process: ProcessSettings,
    /// `result_backend`.
    pub result_backend: String,
    /// `post_to_tuf_path`.
    pub post_to_tuf_path: PathBuf,
    /// `inbound_targets_path`.
    pub inbound_targets_path: PathBuf,
    /// `repo_path`; see [`Config::metadata_path`], [`Config::targets_path`], [`Config::log_path`].
    pub repo_path: PathBuf,
    /// `signing_keys_path`; see [`Config::signing_keys_of`].
    pub signing_keys_path: PathBuf,
    /// `verification_keys_path`.
    pub verification_keys_path: PathBuf,
    /// `state_path`; see [`Config::state_of`].
    pub state_path: PathBuf,
    /// `trusted_root`: the pinned root metadata, `root.json` in [`Config::verification_keys_path`] by default, because
    /// only the administrator writes there: a root next to the metadata could be swapped by a role it is to check.
    pub trusted_root: PathBuf,
    /// `consistent_snapshot`.
    pub consistent_snapshot: bool,
    /// `keyid_format`.
    pub keyid_format: KeyIdFormat,
    /// `target_names`.
    pub target_names: TargetNames,
    /// `store_targets`.
    pub store_targets: bool,
    /// `number_of_bins`: 0, or a power of two from 2 to 16384.
    pub number_of_bins: u32,
    /// `scheduler_scan_period`.
    pub scheduler_scan_period: Duration,
    /// `publish_min_interval`.
    pub publish_min_interval: Duration,
    /// `reconcile_period`.
    pub reconcile_period: Duration,
    /// `schedule`, in order of the names.
    pub schedule: Vec<ScheduledTask>,
    /// `max_clock_skew`.
    pub max_clock_skew: Duration,
    /// `retention.keep_seconds`; `None` where `retention.enabled` is off.
    pub retention: Option<Duration>,
    /// `roles.*`.
    pub roles: Roles,
    /// `keys.*`.
    pub keys: KeyNames,
    /// `batch_max_drops`.
    pub batch_max_drops: u64,
    /// `batch_max_bytes`.
    pub batch_max_bytes: u64,
    /// `batch_max_files`.
    pub batch_max_files: u64,
    /// `drop_max_files`.
    pub drop_max_files: u64,
    /// `drop_max_path_bytes`.
    pub drop_max_path_bytes: u64,
    /// `drop_max_depth`.
    pub drop_max_depth: u64,
    /// `task_timeout`: the deadline of a wait for a result.
    pub task_timeout: Duration,
    /// `prefix_case_insensitive`.
    pub prefix_case_insensitive: bool,
    /// `repository_id`; `None` when it is not configured.
    pub repository_id: Option<String>,
    /// `policy.allowed_targets`.
    pub allowed_targets: PathPatterns,
    /// `policy.overwrite`.
    pub overwrite: PathPatterns,
    /// `tuf_tmp_cleanup_after`; `None`: never.
    pub tuf_tmp_cleanup_after: Option<Duration>,
    pub(super) settings: Vec<Setting>,
}

impl Config {
    /// Every value with its origin, in the order of [`ROWS`](super::ROWS), secrets masked.
    #[must_use]
    pub fn settings(&self) -> &[Setting] {
        &self.settings
    }

    /// The file that was read, if any.
    #[must_use]
    pub fn file(&self) -> Option<&Path> {
        self.process.file.as_deref()
    }

    /// The value of `key` as [`Config::settings`] shows it.
    #[must_use]
    pub fn setting(&self, key: &str) -> Option<&Setting> {
        self.settings.iter().find(|setting| setting.key == key)
    }

    /// Whether `environment` is `production`.
    #[must_use]
    pub fn is_production(&self) -> bool {
        self.environment == "production"
    }

    /// `metadata/` of the repository: served.
    #[must_use]
    pub fn metadata_path(&self) -> PathBuf {
        self.repo_path.join("metadata")
    }

    /// `targets/` of the repository: served.
    #[must_use]
    pub fn targets_path(&self) -> PathBuf {
        self.repo_path.join("targets")
    }

    /// `log/` of the repository: never served.
    #[must_use]
    pub fn log_path(&self) -> PathBuf {
        self.repo_path.join("log")
    }

    /// Threshold and lifetime of `role`.
    #[must_use]
    pub fn role(&self, role: KeyRole) -> RoleConfig {
        match role {
            KeyRole::Root => self.roles.root,
            KeyRole::Targets => self.roles.targets,
            KeyRole::Snapshot => self.roles.snapshot,
            KeyRole::Timestamp => self.roles.timestamp,
        }
    }

    /// The names of the keys of `role`; an empty list means every key in the role's directory.
    #[must_use]
    pub fn key_names(&self, role: KeyRole) -> &[String] {
        match role {
            KeyRole::Root => &self.keys.root,
            KeyRole::Targets => &self.keys.targets,
            KeyRole::Snapshot => &self.keys.snapshot,
            KeyRole::Timestamp => &self.keys.timestamp,
        }
    }

    /// The directory of the private keys of `role`.
    #[must_use]
    pub fn signing_keys_of(&self, role: KeyRole) -> PathBuf {
        self.signing_keys_path.join(role.as_str())
    }

    /// The private directory of the worker of `role` below [`Config::state_path`]; the volume is one worker's own, the
    /// directory keeps them apart where one process holds several.
    #[must_use]
    pub fn state_of(&self, role: WorkerRole) -> PathBuf {
        self.state_path.join(role.as_str())
    }

    /// The `broker_url` without its password.
    #[must_use]
    pub fn shown_broker_url(&self) -> String {
        self.process.broker.shown_url()
    }

    /// How to connect to the broker, under a name that its administrator sees.
    #[must_use]
    pub fn connect_options(&self, connection_name: String) -> ConnectOptions {
        self.process.broker.connect_options(connection_name)
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.settings.iter().map(|setting| (setting.key, &setting.value))).finish()
    }
}
