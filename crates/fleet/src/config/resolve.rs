//! From the winning values to a [`Config`].

use std::path::PathBuf;
use std::time::Duration;

use durable_fs::Fs;
use service::config::{ConfigError, Layers, SettingsReader, Sources};
use service::settings::ProcessSettings;
use tuf_core::key::KeyIdFormat;

use super::roles::{KeyNames, RoleConfig, Roles};
use super::schedule;
use super::settings::{Config, TargetNames};
use super::settings_table::SETTINGS;
use crate::policy::PathPatterns;

/// Settings that contradict each other.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SettingsContradiction {
    /// A role would be renewed without end.
    #[error(
        "`{renew_key}` ({renew_before} s) is not less than `{expiry_key}` ({expiry} s): the role would be renewed all the time"
    )]
    RenewalNotWithinLifetime {
        /// The key of the renewal.
        renew_key: &'static str,
        /// Its value in seconds.
        renew_before: u64,
        /// The key of the lifetime.
        expiry_key: &'static str,
        /// Its value in seconds.
        expiry: u64,
    },
    /// No target path may be added.
    #[error("`policy.allowed_targets` is empty: no target could ever be released; `**` allows every path")]
    NothingAllowed,
}

impl Config {
    /// Reads the configuration from `sources`.
    ///
    /// # Errors
    /// The first fault, with its origin.
    pub fn load(sources: &Sources, fs: &dyn Fs) -> Result<Self, ConfigError> {
        let (layers, file) = Layers::read(&SETTINGS, sources, fs)?;
        Self::resolve(&layers, file)
    }

    pub(super) fn resolve(layers: &Layers, file: Option<PathBuf>) -> Result<Self, ConfigError> {
        let read = SettingsReader::new(layers);
        let verification_keys_path = read.path("verification_keys_path")?;
        let trusted_root =
            read.optional_path("trusted_root")?.unwrap_or_else(|| verification_keys_path.join("root.json"));
        let mut config = Self {
            environment: read.text("environment")?,
            process: ProcessSettings::resolve(&read, file)?,
            result_backend: read.text("result_backend")?,
            post_to_tuf_path: read.path("post_to_tuf_path")?,
            inbound_targets_path: read.path("inbound_targets_path")?,
            repo_path: read.path("repo_path")?,
            signing_keys_path: read.path("signing_keys_path")?,
            verification_keys_path,
            state_path: read.path("state_path")?,
            trusted_root,
            consistent_snapshot: read.bool("consistent_snapshot")?,
            keyid_format: if read.text("keyid_format")? == "legacy" { KeyIdFormat::Legacy } else { KeyIdFormat::Spec },
            target_names: if read.text("target_names")? == "any" { TargetNames::Any } else { TargetNames::Portable },
            store_targets: read.bool("store_targets")?,
            number_of_bins: u32::try_from(read.count("number_of_bins")?).unwrap_or(u32::MAX),
            scheduler_scan_period: read.duration("scheduler_scan_period")?,
            publish_min_interval: read.duration("publish_min_interval")?,
            reconcile_period: read.duration("reconcile_period")?,
            schedule: schedule::parse(read.text("schedule")?.trim()).ok_or(ConfigError::NotInTable("schedule"))?,
            max_clock_skew: Duration::from_secs(read.count("max_clock_skew")?),
            retention: {
                let keep = Duration::from_secs(read.count("retention.keep_seconds")?);
                read.bool("retention.enabled")?.then_some(keep)
            },
            roles: Roles {
                root: role(&read, ["roles.root.threshold", "roles.root.expiry", "roles.root.renew_before"])?,
                targets: role(
                    &read,
                    ["roles.targets.threshold", "roles.targets.expiry", "roles.targets.renew_before"],
                )?,
                snapshot: role(
                    &read,
                    ["roles.snapshot.threshold", "roles.snapshot.expiry", "roles.snapshot.renew_before"],
                )?,
                timestamp: role(
                    &read,
                    ["roles.timestamp.threshold", "roles.timestamp.expiry", "roles.timestamp.renew_before"],
                )?,
                bins: role(&read, ["roles.bins.threshold", "roles.bins.expiry", "roles.bins.renew_before"])?,
            },
            keys: KeyNames {
                root: read.names("keys.root")?,
                targets: read.names("keys.targets")?,
                snapshot: read.names("keys.snapshot")?,
                timestamp: read.names("keys.timestamp")?,
            },
            batch_max_drops: read.count("batch_max_drops")?,
            batch_max_bytes: read.count("batch_max_bytes")?,
            batch_max_files: read.count("batch_max_files")?,
            drop_max_files: read.count("drop_max_files")?,
            drop_max_path_bytes: read.count("drop_max_path_bytes")?,
            drop_max_depth: read.count("drop_max_depth")?,
            task_timeout: read.duration("task_timeout")?,
            prefix_case_insensitive: read.bool("prefix_case_insensitive")?,
            repository_id: read.optional_text("repository_id")?,
            allowed_targets: PathPatterns::new(&read.names("policy.allowed_targets")?),
            overwrite: PathPatterns::new(&read.names("policy.overwrite")?),
            tuf_tmp_cleanup_after: match read.count("tuf_tmp_cleanup_after")? {
                0 => None,
                seconds => Some(Duration::from_secs(seconds)),
            },
            settings: Vec::new(),
        };
        if config.allowed_targets.is_empty() {
            return Err(ConfigError::contradiction(SettingsContradiction::NothingAllowed));
        }
        config.settings = read.settings(&derived(&config))?;
        Ok(config)
    }
}

/// The values whose default is derived from others, as listings show them.
fn derived(config: &Config) -> [(&'static str, String); 7] {
    let renewal = |role: &RoleConfig| role.renew_before_seconds.to_string();
    [
        ("instance", config.process.instance.clone()),
        ("trusted_root", config.trusted_root.display().to_string()),
        ("roles.root.renew_before", renewal(&config.roles.root)),
        ("roles.targets.renew_before", renewal(&config.roles.targets)),
        ("roles.snapshot.renew_before", renewal(&config.roles.snapshot)),
        ("roles.timestamp.renew_before", renewal(&config.roles.timestamp)),
        ("roles.bins.renew_before", renewal(&config.roles.bins)),
    ]
}

fn role(read: &SettingsReader<'_>, keys: [&'static str; 3]) -> Result<RoleConfig, ConfigError> {
    let [threshold, expiry_key, renew_key] = keys;
    let expiry = read.count(expiry_key)?;
    let renew_before = match read.count(renew_key)? {
        0 => expiry / 3,
        seconds => seconds,
    };
    if renew_before >= expiry {
        return Err(ConfigError::contradiction(SettingsContradiction::RenewalNotWithinLifetime {
            renew_key,
            renew_before,
            expiry_key,
            expiry,
        }));
    }
    Ok(RoleConfig {
        threshold: u32::try_from(read.count(threshold)?).unwrap_or(u32::MAX),
        expiry_seconds: i64::try_from(expiry).unwrap_or(i64::MAX),
        renew_before_seconds: i64::try_from(renew_before).unwrap_or(i64::MAX),
    })
}
