//! Configuration: one file, overridden by the environment, overridden by flags.
//!
//! [`KEYS`] is the one table of keys. Every value is known with its [`Origin`]; unknown keys are errors; values of
//! secret kinds are masked wherever they are shown.

mod error;
mod keys;
mod kind;
mod layers;
mod mask;
mod schedule;
mod yaml;

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "tests arrange files as someone else would")]
mod tests;

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use celery_runtime::broker::{BrokerUrl, ConnectOptions, TlsFiles, TlsOptions, parse_list};
use celery_runtime::worker::RemoteControl;
use durable_fs::Fs;

pub use error::ConfigError;
pub use keys::{KEYS, KeySpec};
pub use kind::Kind;
pub use layers::{Origin, Sources};
pub use mask::mask_url;
pub use schedule::ScheduledTask;

use kind::{Raw, Value};

use crate::policy::PathPatterns;
use layers::Layers;

/// The file read when neither `--config` nor `RUGGED_CONFIG` names one; it may be absent.
pub const DEFAULT_FILE: &str = "/etc/rugged/config.yaml";

pub use tuf_core::key::KeyIdFormat;

/// Threshold and lifetime of one role.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RoleConfig {
    /// How many distinct keys must sign.
    pub threshold: u32,
    /// Lifetime in seconds.
    pub expiry_seconds: i64,
    /// Seconds before the expiry at which the role is renewed; a third of the lifetime where the configuration says 0.
    pub renew_before_seconds: i64,
}

/// The roles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Roles {
    /// `roles.root`; never renewed without a ceremony.
    pub root: RoleConfig,
    /// `roles.targets`.
    pub targets: RoleConfig,
    /// `roles.snapshot`.
    pub snapshot: RoleConfig,
    /// `roles.timestamp`.
    pub timestamp: RoleConfig,
    /// `roles.bins`: the hashed bins and the role that delegates to them.
    pub bins: RoleConfig,
}

/// Names of the keys of each role; an empty list means every key in the role's directory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyNames {
    /// `keys.root`.
    pub root: Vec<String>,
    /// `keys.targets`.
    pub targets: Vec<String>,
    /// `keys.snapshot`.
    pub snapshot: Vec<String>,
    /// `keys.timestamp`.
    pub timestamp: Vec<String>,
}

/// Whether a worker locks itself into its own directories.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SandboxMode {
    /// As far as the kernel can.
    #[default]
    Auto,
    /// Not at all.
    Off,
    /// Or it does not start.
    Required,
}

/// One value as `rugged config` shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// The key.
    pub key: &'static str,
    /// The value, secrets masked, derived defaults resolved.
    pub value: String,
    /// Where it comes from.
    pub origin: Origin,
}

/// A complete, valid configuration. Its `Debug` shows no secret.
#[derive(Clone)]
#[non_exhaustive]
pub struct Config {
    /// `environment`: `development`, `testing`, `staging` or `production`.
    pub environment: String,
    /// `broker_url`; may hold a password (see [`mask_url`]).
    pub broker_url: String,
    /// The file `broker_url` comes from, if any; it is read anew for every connection.
    pub broker_url_file: Option<PathBuf>,
    /// `broker_tls.*`.
    pub broker_tls: TlsFiles,
    /// `result_backend`.
    pub result_backend: String,
    /// `remote_control`.
    pub remote_control: RemoteControl,
    /// `instance`, the host name by default.
    pub instance: String,
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
    /// `sandbox`.
    pub sandbox: SandboxMode,
    /// `health_address`; `None` serves nothing.
    pub health_address: Option<SocketAddr>,
    /// `log_format` is `json`.
    pub log_json: bool,
    /// `log_level`.
    pub log_level: String,
    settings: Vec<Setting>,
    file: Option<PathBuf>,
}

impl Config {
    /// Reads what `sources` say.
    ///
    /// # Errors
    /// The first thing that is wrong, with where it stands.
    pub fn load(sources: &Sources, fs: &dyn Fs) -> Result<Self, ConfigError> {
        let (layers, file) = Layers::read(sources, fs)?;
        Self::resolve(&layers, file)
    }

    /// A configuration made in code, from the defaults.
    #[must_use]
    pub fn builder() -> ConfigBuilder {
        ConfigBuilder { pairs: Vec::new() }
    }

    /// A configuration made in code with every path beneath `dir`: `post_to_tuf`, `incoming_targets`, `repo`,
    /// `keys/signing`, `keys/verification` and `state`. For embedded fleets and tests.
    #[must_use]
    pub fn beneath(dir: &Path) -> ConfigBuilder {
        let at = |below: &str| dir.join(below).to_string_lossy().into_owned();
        Self::builder()
            .set("post_to_tuf_path", at("post_to_tuf"))
            .set("inbound_targets_path", at("incoming_targets"))
            .set("repo_path", at("repo"))
            .set("signing_keys_path", at("keys/signing"))
            .set("verification_keys_path", at("keys/verification"))
            .set("state_path", at("state"))
    }

    /// Every value with its origin, in the order of [`KEYS`], secrets masked.
    #[must_use]
    pub fn settings(&self) -> &[Setting] {
        &self.settings
    }

    /// The file that was read, if any.
    #[must_use]
    pub fn file(&self) -> Option<&Path> {
        self.file.as_deref()
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

    /// The private keys of `role` (`root`, `targets`, `snapshot` or `timestamp`).
    #[must_use]
    pub fn signing_keys_of(&self, role: &str) -> PathBuf {
        self.signing_keys_path.join(role)
    }

    /// The private directory of the worker of `role` below [`Config::state_path`]; the volume is one worker's own, the
    /// directory keeps them apart where one process holds several.
    #[must_use]
    pub fn state_of(&self, role: &str) -> PathBuf {
        self.state_path.join(role)
    }

    /// The `broker_url` without its password.
    #[must_use]
    pub fn shown_broker_url(&self) -> String {
        mask_url(&self.broker_url)
    }

    /// How to connect to the broker, under a name its administrator sees.
    #[must_use]
    pub fn connect_options(&self, connection_name: String) -> ConnectOptions {
        ConnectOptions {
            connection_name,
            tls: TlsOptions { files: self.broker_tls.clone(), ..TlsOptions::default() },
            url_file: self.broker_url_file.clone(),
            ..ConnectOptions::default()
        }
    }

    /// The files that are read anew for every connection to the broker.
    #[must_use]
    pub fn broker_files(&self) -> Vec<PathBuf> {
        let urls = parse_list(&self.broker_url).unwrap_or_default();
        let TlsFiles { ca, cert, key } = self.broker_tls.clone();
        let named = [self.broker_url_file.clone(), ca, cert, key];
        named.into_iter().flatten().chain(urls.iter().flat_map(BrokerUrl::files)).collect()
    }

    /// Whoever configures TLS wants it.
    fn check_tls(&self) -> Result<(), ConfigError> {
        if self.broker_tls.key.is_some() && self.broker_tls.cert.is_none() {
            return Err(ConfigError::Contradiction("`broker_tls.key` is set and `broker_tls.cert` is not".into()));
        }
        let plain = ["amqp://", "pyamqp://", "redis://", "redis+socket://"];
        let is_plain = |url: &str| plain.iter().any(|scheme| url.trim().starts_with(scheme));
        if self.broker_tls != TlsFiles::default() && self.broker_url.split(';').any(is_plain) {
            return Err(ConfigError::Contradiction(
                "`broker_tls` is set and a `broker_url` has no TLS: it takes amqps:// or rediss://".into(),
            ));
        }
        Ok(())
    }

    fn resolve(layers: &Layers, file: Option<PathBuf>) -> Result<Self, ConfigError> {
        let read = Reader(layers);
        let verification_keys_path = read.path("verification_keys_path")?;
        let trusted_root = match read.text("trusted_root")? {
            empty if empty.is_empty() => verification_keys_path.join("root.json"),
            path => PathBuf::from(path),
        };
        let instance = match read.text("instance")? {
            empty if empty.is_empty() => host_name(),
            name => name,
        };
        let mut config = Self {
            environment: read.text("environment")?,
            broker_url: read.text("broker_url")?,
            broker_url_file: match layers.get("broker_url")? {
                (_, Origin::EnvFile { path, .. }) => Some(path.clone()),
                _ => None,
            },
            broker_tls: TlsFiles {
                ca: read.optional_path("broker_tls.ca")?,
                cert: read.optional_path("broker_tls.cert")?,
                key: read.optional_path("broker_tls.key")?,
            },
            result_backend: read.text("result_backend")?,
            instance,
            post_to_tuf_path: read.path("post_to_tuf_path")?,
            inbound_targets_path: read.path("inbound_targets_path")?,
            repo_path: read.path("repo_path")?,
            signing_keys_path: read.path("signing_keys_path")?,
            verification_keys_path,
            state_path: read.path("state_path")?,
            trusted_root,
            consistent_snapshot: read.bool("consistent_snapshot")?,
            keyid_format: if read.text("keyid_format")? == "legacy" { KeyIdFormat::Legacy } else { KeyIdFormat::Spec },
            store_targets: read.bool("store_targets")?,
            number_of_bins: u32::try_from(read.count("number_of_bins")?).unwrap_or(u32::MAX),
            scheduler_scan_period: read.duration("scheduler_scan_period")?,
            publish_min_interval: read.duration("publish_min_interval")?,
            reconcile_period: read.duration("reconcile_period")?,
            schedule: schedule::parse(read.text("schedule")?.trim()).ok_or(ConfigError::Table("schedule"))?,
            max_clock_skew: Duration::from_secs(read.count("max_clock_skew")?),
            retention: {
                let keep = Duration::from_secs(read.count("retention.keep_seconds")?);
                read.bool("retention.enabled")?.then_some(keep)
            },
            roles: Roles {
                root: read.role("roles.root.threshold", "roles.root.expiry", "roles.root.renew_before")?,
                targets: read.role("roles.targets.threshold", "roles.targets.expiry", "roles.targets.renew_before")?,
                snapshot: read.role(
                    "roles.snapshot.threshold",
                    "roles.snapshot.expiry",
                    "roles.snapshot.renew_before",
                )?,
                timestamp: read.role(
                    "roles.timestamp.threshold",
                    "roles.timestamp.expiry",
                    "roles.timestamp.renew_before",
                )?,
                bins: read.role("roles.bins.threshold", "roles.bins.expiry", "roles.bins.renew_before")?,
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
            task_timeout: read.duration("task_timeout")?,
            prefix_case_insensitive: read.bool("prefix_case_insensitive")?,
            repository_id: Some(read.text("repository_id")?).filter(|id| !id.is_empty()),
            allowed_targets: PathPatterns::new(&read.names("policy.allowed_targets")?),
            overwrite: PathPatterns::new(&read.names("policy.overwrite")?),
            tuf_tmp_cleanup_after: match read.count("tuf_tmp_cleanup_after")? {
                0 => None,
                seconds => Some(Duration::from_secs(seconds)),
            },
            remote_control: match read.text("remote_control")?.as_str() {
                "off" => RemoteControl::Off,
                "full" => RemoteControl::Full,
                _ => RemoteControl::Inspect,
            },
            sandbox: match read.text("sandbox")?.as_str() {
                "off" => SandboxMode::Off,
                "required" => SandboxMode::Required,
                _ => SandboxMode::Auto,
            },
            health_address: read.address("health_address")?,
            log_json: read.text("log_format")? == "json",
            log_level: read.text("log_level")?,
            settings: Vec::new(),
            file,
        };
        if config.allowed_targets.is_empty() {
            return Err(ConfigError::Contradiction(
                "`policy.allowed_targets` is empty: nothing could ever be released; `**` allows everything".into(),
            ));
        }
        config.check_tls()?;
        config.settings = read.settings(&config)?;
        Ok(config)
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.settings.iter().map(|setting| (setting.key, &setting.value))).finish()
    }
}

/// Makes a [`Config`] in code.
#[derive(Clone)]
pub struct ConfigBuilder {
    pairs: Vec<(String, String)>,
}

impl ConfigBuilder {
    /// Sets a key to a value as one would write it in the file; lists with commas. Later ones win.
    #[must_use]
    pub fn set(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.pairs.push((key.into(), value.into()));
        self
    }

    /// The configuration.
    ///
    /// # Errors
    /// An unknown key, or a value that is not of its kind.
    pub fn build(self) -> Result<Config, ConfigError> {
        let mut layers = Layers::defaults();
        for (key, value) in &self.pairs {
            layers.set(key, value, Origin::Code)?;
        }
        Config::resolve(&layers, None)
    }
}

impl fmt::Debug for ConfigBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.pairs.iter().map(|(key, _)| key)).finish()
    }
}

/// Typed reading of the winning values.
struct Reader<'a>(&'a Layers);

impl Reader<'_> {
    fn value(&self, key: &'static str) -> Result<Value, ConfigError> {
        let spec = KEYS.iter().find(|spec| spec.key == key).ok_or(ConfigError::Table(key))?;
        let (raw, origin) = self.0.get(key)?;
        spec.kind.parse(raw).ok_or_else(|| {
            let shown = match raw {
                _ if spec.kind.is_secret() => "not an address (it is not shown, as it may hold a password)".to_owned(),
                Raw::List(_) => "a list".to_owned(),
                Raw::Text(text) if text.is_empty() => "empty".to_owned(),
                Raw::Text(text) => {
                    let text: String = text.chars().filter(|c| !c.is_control()).take(64).collect();
                    format!("`{text}`")
                }
            };
            layers::invalid(spec, origin.clone(), &shown)
        })
    }

    fn text(&self, key: &'static str) -> Result<String, ConfigError> {
        match self.value(key)? {
            Value::Text(text) => Ok(text),
            _ => Err(ConfigError::Table(key)),
        }
    }

    fn path(&self, key: &'static str) -> Result<PathBuf, ConfigError> {
        self.text(key).map(PathBuf::from)
    }

    fn optional_path(&self, key: &'static str) -> Result<Option<PathBuf>, ConfigError> {
        Ok(Some(self.text(key)?).filter(|path| !path.is_empty()).map(PathBuf::from))
    }

    fn bool(&self, key: &'static str) -> Result<bool, ConfigError> {
        match self.value(key)? {
            Value::Bool(value) => Ok(value),
            _ => Err(ConfigError::Table(key)),
        }
    }

    fn count(&self, key: &'static str) -> Result<u64, ConfigError> {
        match self.value(key)? {
            Value::Count(count) => Ok(count),
            _ => Err(ConfigError::Table(key)),
        }
    }

    fn duration(&self, key: &'static str) -> Result<Duration, ConfigError> {
        match self.value(key)? {
            Value::Duration(duration) => Ok(duration),
            _ => Err(ConfigError::Table(key)),
        }
    }

    fn names(&self, key: &'static str) -> Result<Vec<String>, ConfigError> {
        match self.value(key)? {
            Value::Names(names) => Ok(names),
            _ => Err(ConfigError::Table(key)),
        }
    }

    fn address(&self, key: &'static str) -> Result<Option<SocketAddr>, ConfigError> {
        match self.value(key)? {
            Value::Address(address) => Ok(address),
            _ => Err(ConfigError::Table(key)),
        }
    }

    fn role(
        &self,
        threshold: &'static str,
        expiry: &'static str,
        renew_before: &'static str,
    ) -> Result<RoleConfig, ConfigError> {
        let lifetime = self.count(expiry)?;
        let renew = match self.count(renew_before)? {
            0 => lifetime / 3,
            seconds => seconds,
        };
        if renew >= lifetime {
            return Err(ConfigError::Contradiction(format!(
                "`{renew_before}` ({renew} s) is not less than `{expiry}` ({lifetime} s): the role would be renewed without end"
            )));
        }
        Ok(RoleConfig {
            threshold: u32::try_from(self.count(threshold)?).unwrap_or(u32::MAX),
            expiry_seconds: i64::try_from(lifetime).unwrap_or(i64::MAX),
            renew_before_seconds: i64::try_from(renew).unwrap_or(i64::MAX),
        })
    }

    fn settings(&self, config: &Config) -> Result<Vec<Setting>, ConfigError> {
        let mut settings = Vec::with_capacity(KEYS.len());
        for spec in KEYS {
            let (_, origin) = self.0.get(spec.key)?;
            let value = match (spec.key, self.value(spec.key)?) {
                ("instance", _) => config.instance.clone(),
                ("trusted_root", _) => config.trusted_root.display().to_string(),
                ("roles.root.renew_before", _) => config.roles.root.renew_before_seconds.to_string(),
                ("roles.targets.renew_before", _) => config.roles.targets.renew_before_seconds.to_string(),
                ("roles.snapshot.renew_before", _) => config.roles.snapshot.renew_before_seconds.to_string(),
                ("roles.timestamp.renew_before", _) => config.roles.timestamp.renew_before_seconds.to_string(),
                ("roles.bins.renew_before", _) => config.roles.bins.renew_before_seconds.to_string(),
                (_, Value::Text(url)) if spec.kind.is_secret() => mask_url(&url),
                (_, Value::Text(text)) => text,
                (_, Value::Bool(value)) => value.to_string(),
                (_, Value::Count(count)) => count.to_string(),
                (_, Value::Duration(duration)) => duration.as_secs_f64().to_string(),
                (_, Value::Names(names)) => names.join(","),
                (_, Value::Address(address)) => address.map(|address| address.to_string()).unwrap_or_default(),
            };
            settings.push(Setting { key: spec.key, value, origin: origin.clone() });
        }
        Ok(settings)
    }
}

fn host_name() -> String {
    hostname::get()
        .ok()
        .and_then(|name| name.into_string().ok())
        .filter(|name| !name.is_empty())
        .unwrap_or_else(|| "localhost".into())
}
