//! The settings of the process around a worker. A system puts these keys into its table, beside its own.

use std::net::SocketAddr;
use std::path::PathBuf;

use celery_runtime::broker::TlsFiles;
use celery_runtime::worker::RemoteControl;

use crate::broker::BrokerSettings;
use crate::config::{ConfigError, Origin, SettingKind, SettingSpec, SettingsReader};
use crate::sandbox::SandboxMode;

/// Where tasks come from.
pub const BROKER_URL: SettingSpec = SettingSpec::new(
    "broker_url",
    SettingKind::Url,
    "memory://",
    "Address of the broker: `amqp://user:password@host:5672/vhost`, `amqps://…`, `redis://…`, `rediss://…`, or `memory://` \
     for one process. Several addresses, as a list or separated by `;`, are tried in turn, and the first that answers is \
     used until it fails. `?password_file=/path` after an address names a file with its password; the key \
     `broker_url_file`, in place of this key, names a file with the addresses. Both files are read for every connection.",
);
/// Certificates the broker is checked against.
pub const BROKER_TLS_CA: SettingSpec = SettingSpec::new(
    "broker_tls.ca",
    SettingKind::OptionalPath,
    "",
    "Certificates (PEM) of the authorities that `amqps://` and `rediss://` trust. The server's certificate and its name \
     are always checked. Empty: the authorities of the system.",
);
/// The client certificate.
pub const BROKER_TLS_CERT: SettingSpec = SettingSpec::new(
    "broker_tls.cert",
    SettingKind::OptionalPath,
    "",
    "Client certificate (PEM) for brokers that ask for one. Like the authorities and the key, it is read for every \
     connection, so that it can be replaced. Under the sandbox, put it in a directory that holds nothing else.",
);
/// The private key of the client certificate.
pub const BROKER_TLS_KEY: SettingSpec = SettingSpec::new(
    "broker_tls.key",
    SettingKind::OptionalPath,
    "",
    "Private key (PEM) of `broker_tls.cert`, readable by the worker's user alone. Empty: the file of the certificate holds it.",
);
/// What Celery's remote control may do.
pub const REMOTE_CONTROL: SettingSpec = SettingSpec::new(
    "remote_control",
    SettingKind::Choice(&["off", "inspect", "full"]),
    "inspect",
    "Which of Celery's remote control commands the worker obeys. `inspect`: it obeys commands that read its state (it shows \
     task arguments as text), refuses those that change it, and sends events. `full`: it also obeys shutdown, revoke, \
     terminate, rate limits and changes of queues. `off`: it obeys none and sends no events.",
);
/// The name of one process among its kind.
pub const INSTANCE: SettingSpec = SettingSpec::new(
    "instance",
    SettingKind::Optional,
    "",
    "Name of this process. It distinguishes the processes of one worker in logs, status and directory names. Empty: the host \
     name.",
);
/// Whether the worker confines itself.
pub const SANDBOX: SettingSpec = SettingSpec::new(
    "sandbox",
    SettingKind::Choice(&["auto", "off", "required"]),
    "auto",
    "Whether a worker confines itself to its own directories (Landlock). `auto`: as far as the kernel supports it, \
     with a warning about the rest. `required`: the worker refuses to start unless the kernel supports all of it.",
);
/// Where health is served.
pub const HEALTH_ADDRESS: SettingSpec = SettingSpec::new(
    "health_address",
    SettingKind::Address,
    "",
    "Address and port of `/livez`, `/readyz`, `/status` and `/metrics`, such as `0.0.0.0:9440`. Empty: not served.",
);
/// The format of log lines.
pub const LOG_FORMAT: SettingSpec = SettingSpec::new(
    "log_format",
    SettingKind::Choice(&["human", "json"]),
    "human",
    "Format of the log: lines for people, or one JSON object per line.",
);
/// How much is logged.
pub const LOG_LEVEL: SettingSpec = SettingSpec::new(
    "log_level",
    SettingKind::LogFilter,
    "info",
    "Lowest level that is logged: `error`, `warn`, `info`, `debug` or `trace`, with exceptions per module: `info,lapin=debug`.",
);

/// The settings of the process around a worker.
#[derive(Clone, Debug)]
pub struct ProcessSettings {
    /// `instance`, the host name by default.
    pub instance: String,
    /// `broker_url` and `broker_tls.*`.
    pub broker: BrokerSettings,
    /// `remote_control`.
    pub remote_control: RemoteControl,
    /// `sandbox`.
    pub sandbox: SandboxMode,
    /// `health_address`; `None` serves nothing.
    pub health_address: Option<SocketAddr>,
    /// `log_format` is `json`.
    pub log_json: bool,
    /// `log_level`.
    pub log_level: String,
    /// The configuration file that was read, if any.
    pub file: Option<PathBuf>,
}

impl ProcessSettings {
    /// The settings as `read` has them; every key of this module must be in its table. `file` is the file that was read.
    ///
    /// # Errors
    /// The first value that is not of its key's kind; [`ConfigError::Contradiction`] for TLS that would not be used.
    pub fn resolve(read: &SettingsReader<'_>, file: Option<PathBuf>) -> Result<Self, ConfigError> {
        let broker = BrokerSettings {
            url: read.text(BROKER_URL.key)?,
            url_file: match read.origin(BROKER_URL.key)? {
                Origin::NamedFile { path, .. } => Some(path.clone()),
                _ => None,
            },
            tls: TlsFiles {
                ca: read.optional_path(BROKER_TLS_CA.key)?,
                cert: read.optional_path(BROKER_TLS_CERT.key)?,
                key: read.optional_path(BROKER_TLS_KEY.key)?,
            },
        };
        let settings = Self {
            instance: read.optional_text(INSTANCE.key)?.unwrap_or_else(host_name),
            broker,
            remote_control: match read.text(REMOTE_CONTROL.key)?.as_str() {
                "off" => RemoteControl::Off,
                "full" => RemoteControl::Full,
                _ => RemoteControl::Inspect,
            },
            sandbox: match read.text(SANDBOX.key)?.as_str() {
                "off" => SandboxMode::Off,
                "required" => SandboxMode::Required,
                _ => SandboxMode::Auto,
            },
            health_address: read.address(HEALTH_ADDRESS.key)?,
            log_json: read.text(LOG_FORMAT.key)? == "json",
            log_level: read.text(LOG_LEVEL.key)?,
            file,
        };
        settings.broker.check()?;
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
