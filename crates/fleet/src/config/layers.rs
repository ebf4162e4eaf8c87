//! Default, file, environment, flags: who says what, and who wins.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use durable_fs::Fs;

use super::keys::{KEYS, KeySpec};
use super::kind::{Kind, Raw};
use super::yaml::{self, Node};
use super::{ConfigError, DEFAULT_FILE};

/// The largest configuration file that is read.
const MAX_FILE: u64 = 1024 * 1024;
/// The largest file a `*_FILE` variable may name.
const MAX_SECRET: u64 = 64 * 1024;

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The built-in default.
    Default,
    /// A line of a file.
    File {
        /// The file.
        path: PathBuf,
        /// The line, from 1; 0 when unknown.
        line: u64,
    },
    /// An environment variable.
    Env(String),
    /// A file that an environment variable or a key with `_file` names.
    EnvFile {
        /// The variable, or where the key is.
        variable: String,
        /// The file.
        path: PathBuf,
    },
    /// `--set`.
    Flag,
    /// The program itself: an embedded fleet or a test.
    Code,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { path, line: 0 } => write!(f, "{}", path.display()),
            Self::File { path, line } => write!(f, "{}:{line}", path.display()),
            Self::Env(variable) => f.write_str(variable),
            Self::EnvFile { variable, path } => write!(f, "{variable} ({})", path.display()),
            Self::Flag => f.write_str("--set"),
            Self::Code => f.write_str("built in"),
        }
    }
}

/// What a process was given to configure itself with.
#[derive(Clone, Default)]
pub struct Sources {
    /// `--config`. Without it: the variable `RUGGED_CONFIG`, else `/etc/rugged/config.yaml` if that exists.
    pub file: Option<PathBuf>,
    /// Environment variables; those not starting with `RUGGED_` are ignored.
    pub env: BTreeMap<String, String>,
    /// `--set KEY=VALUE`, later ones winning.
    pub set: Vec<String>,
}

impl fmt::Debug for Sources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sources")
            .field("file", &self.file)
            .field("env", &self.env.keys().collect::<Vec<_>>())
            .field("set", &self.set.len())
            .finish()
    }
}

impl Sources {
    /// The flags given, and the environment of this process.
    #[must_use]
    pub fn from_process(file: Option<PathBuf>, set: Vec<String>) -> Self {
        let env = std::env::vars_os()
            .filter_map(|(name, value)| {
                let name = name.into_string().ok().filter(|name| name.starts_with("RUGGED_"))?;
                Some((name, value.to_string_lossy().into_owned()))
            })
            .collect();
        Self { file, env, set }
    }
}

/// The winning text per key.
pub(super) struct Layers {
    values: BTreeMap<&'static str, (Raw, Origin)>,
}

impl Layers {
    pub(super) fn defaults() -> Self {
        let default = |spec: &'static KeySpec| (spec.key, (Raw::Text(spec.default.to_owned()), Origin::Default));
        Self { values: KEYS.iter().map(default).collect() }
    }

    pub(super) fn read(sources: &Sources, fs: &dyn Fs) -> Result<(Self, Option<PathBuf>), ConfigError> {
        let mut layers = Self::defaults();
        let file = layers.add_file(sources, fs)?;
        layers.add_env(&sources.env, fs)?;
        for pair in &sources.set {
            let (key, value) = pair.split_once('=').ok_or(ConfigError::NotAPair)?;
            match in_file(key.trim()) {
                Some(spec) => {
                    let secret = read_secret(fs, value, Origin::Flag)?;
                    layers.values.insert(spec.key, secret);
                }
                None => layers.set(key.trim(), value, Origin::Flag)?,
            }
        }
        Ok((layers, file))
    }

    pub(super) fn set(&mut self, key: &str, value: &str, origin: Origin) -> Result<(), ConfigError> {
        let Some(spec) = KEYS.iter().find(|spec| spec.key == key) else {
            return Err(unknown(key, origin));
        };
        self.values.insert(spec.key, (Raw::Text(value.to_owned()), origin));
        Ok(())
    }

    pub(super) fn get(&self, key: &'static str) -> Result<&(Raw, Origin), ConfigError> {
        self.values.get(key).ok_or(ConfigError::Table(key))
    }

    fn add_file(&mut self, sources: &Sources, fs: &dyn Fs) -> Result<Option<PathBuf>, ConfigError> {
        let named = sources
            .file
            .clone()
            .or_else(|| sources.env.get("RUGGED_CONFIG").filter(|path| !path.is_empty()).map(PathBuf::from));
        let optional = named.is_none();
        let path = named.unwrap_or_else(|| PathBuf::from(DEFAULT_FILE));
        let text = match read_text(fs, &path, MAX_FILE) {
            Ok(text) => text,
            Err(error) if optional && error.kind() == std::io::ErrorKind::NotFound => {
                return Ok(None);
            }
            Err(source) => return Err(ConfigError::Unreadable { path, source }),
        };
        match yaml::parse(&path, &text)? {
            Node::Empty => {}
            Node::Map(entries) => self.add_map(fs, &path, "", entries)?,
            Node::Scalar(_) | Node::List(_) => {
                let message = "a configuration is a mapping of keys to values".into();
                return Err(ConfigError::Yaml { path, line: None, message });
            }
        }
        Ok(Some(path))
    }

    fn add_map(
        &mut self,
        fs: &dyn Fs,
        path: &Path,
        prefix: &str,
        entries: Vec<(serde_saphyr::Spanned<String>, Node)>,
    ) -> Result<(), ConfigError> {
        for (name, node) in entries {
            let origin = Origin::File { path: path.to_owned(), line: name.referenced.line() };
            let key = if prefix.is_empty() { name.value } else { format!("{prefix}.{}", name.value) };
            if let Some(spec) = KEYS.iter().find(|spec| spec.key == key) {
                let raw = match spec.kind {
                    Kind::Schedule => Some(Raw::Text(as_json(node).to_string())),
                    _ => leaf(node),
                };
                let raw = raw.ok_or_else(|| invalid(spec, origin.clone(), "a mapping"))?;
                let before = self.values.insert(spec.key, (raw, origin.clone()));
                if before.is_some_and(|(_, before)| before != Origin::Default) {
                    return Err(ConfigError::Twice { key, origin });
                }
            } else if let Some(spec) = in_file(&key) {
                let named = match leaf(node) {
                    Some(Raw::Text(named)) if !named.is_empty() => named,
                    _ => return Err(invalid(spec, origin, "not the path of a file")),
                };
                let before = self.values.insert(spec.key, read_secret(fs, &named, origin.clone())?);
                if before.is_some_and(|(_, before)| before != Origin::Default) {
                    return Err(ConfigError::Twice { key: spec.key.into(), origin });
                }
            } else if KEYS.iter().any(|spec| spec.key.strip_prefix(&key).is_some_and(|rest| rest.starts_with('.'))) {
                match node {
                    Node::Map(entries) => self.add_map(fs, path, &key, entries)?,
                    Node::Empty => {}
                    Node::Scalar(_) | Node::List(_) => {
                        let expected = "a mapping of further keys".into();
                        return Err(ConfigError::Invalid { key, origin, value: "a value".into(), expected });
                    }
                }
            } else {
                return Err(unknown(&key, origin));
            }
        }
        Ok(())
    }

    fn add_env(&mut self, env: &BTreeMap<String, String>, fs: &dyn Fs) -> Result<(), ConfigError> {
        for (variable, value) in env {
            if !variable.starts_with("RUGGED_") || variable == "RUGGED_CONFIG" {
                continue;
            }
            if let Some(spec) = KEYS.iter().find(|spec| spec.env() == *variable) {
                self.values.insert(spec.key, (Raw::Text(value.clone()), Origin::Env(variable.clone())));
                continue;
            }
            let secret = KEYS.iter().find(|spec| {
                spec.kind.is_secret() && variable.strip_suffix("_FILE").is_some_and(|name| name == spec.env())
            });
            if let Some(spec) = secret {
                // As with RUGGED_CONFIG: where a variable cannot be taken out of an environment, it can be emptied.
                if value.is_empty() {
                    continue;
                }
                let secret = read_secret(fs, value, Origin::Env(variable.clone()))?;
                if env.contains_key(&spec.env()) {
                    return Err(ConfigError::Twice { key: spec.key.into(), origin: secret.1 });
                }
                self.values.insert(spec.key, secret);
            } else if !is_service_link(variable) {
                let suggestion = closest(variable, KEYS.iter().map(KeySpec::env));
                return Err(ConfigError::UnknownKey {
                    key: variable.clone(),
                    origin: Origin::Env("environment".into()),
                    suggestion,
                });
            }
        }
        Ok(())
    }
}

/// The key whose value is in the file that `KEY_file` names.
fn in_file(key: &str) -> Option<&'static KeySpec> {
    let key = key.strip_suffix("_file")?;
    KEYS.iter().find(|spec| spec.kind.is_secret() && spec.key == key)
}

fn read_secret(fs: &dyn Fs, path: &str, named_by: Origin) -> Result<(Raw, Origin), ConfigError> {
    let path = PathBuf::from(path);
    let text =
        read_text(fs, &path, MAX_SECRET).map_err(|source| ConfigError::Unreadable { path: path.clone(), source })?;
    let origin = Origin::EnvFile { variable: named_by.to_string(), path };
    Ok((Raw::Text(text.trim_end_matches(['\r', '\n']).to_owned()), origin))
}

/// Kubernetes gives every container variables for every service of its namespace. A service called `rugged` or
/// `rugged-…` makes some that look like ours and are not meant for us.
fn is_service_link(variable: &str) -> bool {
    variable.ends_with("_SERVICE_HOST")
        || variable.contains("_SERVICE_PORT")
        || variable.ends_with("_PORT")
        || variable.contains("_TCP")
        || variable.contains("_UDP")
}

/// Follows links first, unlike any other read of the fleet: mounted configurations and secrets are links in Kubernetes,
/// and whoever may place the link may as well place the file.
fn read_text(fs: &dyn Fs, path: &Path, max: u64) -> std::io::Result<String> {
    let path = path.canonicalize()?;
    let bytes = durable_fs::durable::read_bounded(fs, &path, max)?;
    String::from_utf8(bytes).map_err(|_| std::io::Error::new(std::io::ErrorKind::InvalidData, "not UTF-8 text"))
}

fn leaf(node: Node) -> Option<Raw> {
    match node {
        Node::Empty => Some(Raw::Text(String::new())),
        Node::Scalar(text) => Some(Raw::Text(text)),
        Node::List(items) => {
            let texts = items.into_iter().map(|item| match item {
                Node::Scalar(text) => Some(text),
                _ => None,
            });
            texts.collect::<Option<Vec<_>>>().map(Raw::List)
        }
        Node::Map(_) => None,
    }
}

/// A mapping as JSON; every scalar is text.
fn as_json(node: Node) -> serde_json::Value {
    match node {
        Node::Empty => serde_json::Value::Object(serde_json::Map::new()),
        Node::Scalar(text) => text.into(),
        Node::List(items) => items.into_iter().map(as_json).collect(),
        Node::Map(entries) => entries.into_iter().map(|(name, node)| (name.value, as_json(node))).collect(),
    }
}

pub(super) fn invalid(spec: &KeySpec, origin: Origin, value: &str) -> ConfigError {
    ConfigError::Invalid { key: spec.key.into(), origin, value: value.into(), expected: spec.kind.expected() }
}

fn unknown(key: &str, origin: Origin) -> ConfigError {
    let suggestion = closest(key, KEYS.iter().map(|spec| spec.key.to_owned()));
    // What is not a key may be anything, a secret pasted into the wrong place included.
    let key = key.chars().filter(|c| !c.is_control()).take(64).collect();
    ConfigError::UnknownKey { key, origin, suggestion }
}

fn closest(given: &str, known: impl Iterator<Item = String>) -> Option<String> {
    if given.len() > 256 {
        return None;
    }
    known
        .map(|name| (strsim::normalized_damerau_levenshtein(given, &name), name))
        .filter(|(likeness, _)| *likeness >= 0.6)
        .max_by(|(one, _), (other, _)| one.total_cmp(other))
        .map(|(_, name)| name)
}
